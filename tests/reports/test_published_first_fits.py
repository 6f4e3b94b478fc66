"""Published numbers of methods that start from a fit on the source dataset, beside our rows."""

from __future__ import annotations

import pytest

from reports.paper import published_ids
from results.published_numbers import harness_names, names_from_fit, published_numbers
from tests.results.factories import Sample, sample_measurement


@pytest.mark.parametrize(
    ("method", "plain", "from_fit"), [("ost", "ost", "ost-k400"), ("tc_clip", "tc-clip", "tc-clip-p")]
)
def test_a_row_stands_beside_the_numbers_with_its_start(method: str, plain: str, from_fit: str) -> None:
    for init, expected in (("clip", plain), (f"fit {method} k400/train", from_fit)):
        sample = Sample(method=method, protocol="few_shot", dataset="hmdb51", part="k4", shots=4, init=init)
        measured = sample_measurement(sample, "val", "1" * 64, ("run", "walk"), 2)
        assert published_ids(measured) == {expected}


def test_numbers_of_methods_that_start_from_a_fit_are_in_tables_of_such_methods() -> None:
    assert names_from_fit() <= set(harness_names())
    for number in published_numbers():
        assert number.method not in names_from_fit() or number.table == "bridge_prompt"


def test_a_method_that_always_starts_from_a_fit_has_one_name() -> None:
    for init in ("clip", "fit vificlip k400/train"):
        sample = Sample(method="bridge_prompt", protocol="few_shot", dataset="hmdb51", part="k4", shots=4, init=init)
        measured = sample_measurement(sample, "val", "1" * 64, ("run", "walk"), 2)
        assert published_ids(measured) == {"vifi-clip-bridge-and-prompt"}
