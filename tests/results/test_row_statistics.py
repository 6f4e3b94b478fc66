"""Statistics of cells and pairs against the values of the specification, which were made without this code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.row_samples import RowSample, Scored, harmonic_sample, row_sample
from results.row_statistics import cell_statistics, pair_statistics, reproduced_half_width
from results.statistics.list_design import ListDesign, list_design


@pytest.fixture(scope="module")
def reference(shared: Path) -> Any:
    file = shared / "golden" / "statistics_reference.json"
    if not file.is_file():
        pytest.skip(f"{file} is not on this machine")
    return json.loads(file.read_text("utf-8"))


def sample_of(repeats: list[dict[str, Any]], names: list[str], plain: bool = False) -> RowSample:
    """The sample of fits on lists; equal lists of a case share their design."""
    designs: dict[str, ListDesign] = {}
    scored = []
    for index, repeat in enumerate(repeats, start=1):
        key = json.dumps([repeat["class"], repeat["cluster"]])
        if key not in designs:
            videos = [len(designs) * 1000 + i for i in range(len(repeat["class"]))]
            clusters = [names.index(name) for name in repeat["cluster"]]
            designs[key] = list_design(repeat["class"], videos if plain else clusters)
        scored.append(Scored(index, str(index), designs[key], np.array(repeat["right"], dtype=bool), True))
    return row_sample(scored)


def test_cells(reference: Any) -> None:
    for case in reference["cells"]:
        expected = case["expected"]
        sample = sample_of(case["repeats"], expected["clusters"])
        found = cell_statistics(sample, sample_of(case["repeats"], expected["clusters"], True).scores)
        assert found is not None
        close = pytest.approx
        assert sample.scores.values.tolist() == close(expected["accuracies"], abs=1e-12)
        assert sample.scores.scores.tolist() == close(expected["scores"], abs=1e-12), case["name"]
        assert sample.scores.shares.tolist() == close(expected["cluster_weights"], abs=1e-12)
        assert sample.scores.strata == expected["strata"], case["name"]
        assert (found.variance, found.sources) == close((expected["variance"], expected["effective_clusters"]), abs=1e-12)
        assert found.df == close(expected["df"], abs=1e-11), case["name"]
        assert found.other == close([100 * x for x in expected["interval"]], abs=1e-9), case["name"]
        if "interval_again" in expected:
            assert found.fit_variance == close(expected["between_fits"], abs=1e-12)
            assert found.again == close([100 * x for x in expected["interval_again"]], abs=1e-9)
        else:
            assert found.again is None and found.fit_variance is None


def test_pairs(reference: Any) -> None:
    for case in reference["pairs"]:
        expected = case["expected"]
        a, b = (
            sample_of([{"right": right, "class": case["class"], "cluster": case["cluster"]} for right in case[side]],
                      expected["clusters"])
            for side in "ab"
        )  # fmt: skip
        found = pair_statistics(a, b)
        close = pytest.approx
        assert found.difference == close(100 * expected["difference"], abs=1e-9)
        assert found.p == close(expected["p_flip"], abs=1e-12), case["name"]
        assert (found.variance, found.df) == close((expected["variance"], expected["df"]), abs=1e-12)
        if case["name"] != "identical":
            assert found.interval == close([100 * x for x in expected["interval"]], abs=1e-9)
        if "p_again" in expected:
            assert found.fit_variance == close(expected["between_fits"], abs=1e-12)
            assert found.again == close([max(-100, min(100, 100 * x)) for x in expected["interval_again"]], abs=1e-9)
            assert found.p_again == close(expected["p_again"], abs=1e-10)


def test_harmonic_means(reference: Any) -> None:
    for case in reference["harmonic_means"]:
        expected = case["expected"]
        base, novel = (sample_of([case[part]], expected["clusters"]) for part in ("base", "novel"))
        sample = harmonic_sample(base, novel)
        assert sample is not None
        found = cell_statistics(sample, sample.scores)
        assert found is not None and sample.scores.mean == pytest.approx(expected["harmonic_mean"], abs=1e-12)
        assert sample.scores.scores.tolist() == pytest.approx(expected["scores"], abs=1e-12)
        assert (found.variance, found.df) == pytest.approx((expected["variance"], expected["df"]), abs=1e-12)
        assert found.other == pytest.approx([100 * x for x in expected["interval"]], abs=1e-9)


def test_reproduction(reference: Any) -> None:
    for case in reference["reproduction_percent"]:
        half = reproduced_half_width(case["ours"], case["published_repeats"])
        mean = np.mean(case["ours"])
        digit = case.get("half_digit", 0.0)
        assert [mean - half - digit, mean + half + digit] == pytest.approx(case["expected"], abs=1e-9)
