"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of specifications, published values and golden outputs that lies beside the repository.

    `HARNESS_SHARED` names it; else a folder `shared` beside the repository, or beside one of its parents.
    """
    named = os.environ.get("HARNESS_SHARED")
    for folder in [Path(named)] if named else [parent / "shared" for parent in ROOT.parents]:
        if (folder / "published").is_dir():
            return folder
    pytest.skip("needs the shared reference folder: set HARNESS_SHARED")
