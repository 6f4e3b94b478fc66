"""Atomic files: what other threads see meanwhile, and the mode of the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.base.atomic import write_bytes


def test_the_mask_of_the_process_is_never_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B31: while the mask is 0, other threads would make files that everybody may write."""
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda mask: pytest.fail("the mask was changed"))
            write_bytes(tmp_path / "file", b"content")
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
