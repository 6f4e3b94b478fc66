"""The reference values of the statistics, which explicit matrices and enumerations gave, and rows built from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from results.statistics.list_design import ListDesign, list_design
from results.statistics.row_scores import RowScores, accuracy_row
from results.statistics.scores import Scores, accuracy_scores

TOLERANCE = 1e-12


def reference(shared: Path, section: str) -> list[dict[str, Any]]:
    """The cases of a section of `statistics_reference.json`."""
    file = shared / "golden" / "statistics_reference.json"
    if not file.is_file():
        pytest.skip(f"needs {file}")
    cases: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))[section]
    return cases


def close(expected: Any) -> Any:
    """Within the stated tolerance, absolute."""
    return pytest.approx(expected, rel=0, abs=TOLERANCE)


def design(classes: Sequence[int], names: Sequence[str], ids: dict[str, int] | None = None) -> ListDesign:
    """A list with clusters by name; `ids` keeps the ids of several lists apart."""
    numbers = {name: i for i, name in enumerate(sorted(set(names)))} if ids is None else ids
    return list_design(classes, [numbers.setdefault(name, len(numbers)) for name in names])


def scores_of(repeats: Sequence[dict[str, Any]]) -> Scores:
    """Scores of a mean over repeats; repeats with equal classes and clusters are on one list."""
    ids: dict[str, int] = {name: i for i, name in enumerate(sorted({c for r in repeats for c in r["cluster"]}))}
    lists: dict[tuple[tuple[int, ...], tuple[str, ...]], ListDesign] = {}
    designs = []
    for repeat in repeats:
        key = tuple(repeat["class"]), tuple(repeat["cluster"])
        if key not in lists:
            lists[key] = design(repeat["class"], repeat["cluster"], ids)
        designs.append(lists[key])
    return accuracy_scores(designs, [repeat["right"] for repeat in repeats])


def rows_of(case: dict[str, Any]) -> tuple[RowScores, RowScores]:
    """The two rows of a pair, on one list."""
    listed = design(case["class"], case["cluster"])
    fits = len(case["a"])
    a, b = (accuracy_row([listed] * fits, case[side], range(fits), True) for side in "ab")
    return a, b
