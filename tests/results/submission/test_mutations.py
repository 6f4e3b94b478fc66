"""Every entry of a record and of a fit is changed, one at a time; the accepted changes are listed with the reason."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from results.codec import encode
from tests.results.submission.archives import seal
from tests.results.submission.forge import RECIPE, Forge, forge
from tests.results.submission.installed_facts import check

Place = tuple[str | int, ...]
MEASURED_HERE = "a circumstance of the machine, which no file proves; it enters no key, rank or score"
OWN = "a statement on an own method, printed as such; rule P031 compares those of built-in methods, W012 flags a source"
OF_A_PROTOCOL = "protocols that share a fit declare different recipes: the one in the record is compared and printed"
FREE = {
    "environment.python": MEASURED_HERE, "environment.platform": MEASURED_HERE,
    "environment.packages.torch": MEASURED_HERE, "environment.git.commit": MEASURED_HERE,
    "environment.cpus": MEASURED_HERE, "environment.device": MEASURED_HERE, "environment.threads": MEASURED_HERE,
    "environment.processes": MEASURED_HERE, "environment.compiled": MEASURED_HERE,
    "cost.eval_seconds": "a measured time, printed as such; only impossible values are refused",
    "cost.videos_per_second": "a measured rate, printed as such; only impossible values are refused",
    "cost.features_cached": "hides the throughput, which is then not shown",
    "cost.gflops": "a count of an own method; values far from those of its architecture are refused",
    "cost.score_gflops": "a count of an own method; only impossible values are refused",
    "created": "the time of acceptance orders generations; only impossible times are refused",
    "outcome.final_loss": "not printed beside a score",
    "outcome.seconds": "a measured time; only impossible values are refused",
    "outcome.resumed_at": "where a session began; a fit does not depend on it",
    "outcome.skipped_updates": "stated by the fit and printed nowhere else",
    "outcome.replaced": "stated by the fit; a replaced clip does not raise a score",
    "outcome.peak_memory_gib": "a measured size; only impossible values are refused",
    "name": "a fit's readable name is printed nowhere beside a score; its beginning is compared",
    "fit.name": "the name of a list may be shortened, as for lists that the harness draws",
    "fit.seconds": "rounded: a difference of 0.01 s to the fit is allowed",
    "fit.peak_memory_gib": "rounded: a difference of 0.01 GiB to the fit is allowed",
    "measurement.training.recipe.source": OWN, "measurement.training.declared.source": OWN,
    "described.training.recipe.source": OWN, "method.defaults.temperature": OWN, "method.defaults.width": OWN,
    "method.origin": OWN,
    "described.method.evaluation_options.temperature": "a fit does not depend on options of evaluation",
    "environment.git.dirty": "W011 for a record; a circumstance of the machine for a fit",
    "weights.file": "the name of a file on the submitter's machine; the checker and `reproduce` use the key",
    **{f"described.training.declared.{name}": OF_A_PROTOCOL for name in encode(RECIPE)},
}  # fmt: skip
"""Entries that a submitter can state freely, and why this is harmless."""


ANEW = "computed anew by the forger, so that nothing is changed"
OPEN = "the row is in the open division, which states the setting"
FREE_FOR_A_FORGER = {
    **FREE, "key": ANEW, "signature": ANEW, "predictions.file": ANEW, "predictions.sha256": ANEW,
    "measurement.evaluation.list.labels_sha256": ANEW,
    **{f"measurement.protocol.scope.{name}": ANEW for name in (
        "lists", "evaluation_lists", "training_origin", "own_training_lists", "recipes", "views", "evaluation_views")},
    "measurement.evaluation.transform": OPEN,
    **{f"measurement.evaluation.views.{name}": OPEN for name in (
        "frames", "clips", "crops", "sampling", "normalize", "reader", "input.mean", "input.std", "input.resize",
        "input.interpolation")},
    "measurement.method.evaluation_options.temperature": "another row of the same fit, with its own signature",
    **{f"method.{name}": OWN for name in ("title", "family", "paper", "source", "unverified")},
}  # fmt: skip
"""Entries that can also be changed if everything that follows from them is computed anew."""


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """All entries without entries of their own, and all lists and mappings that are empty."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from leaves(item, (*place, name))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves(item, (*place, index))
    else:
        yield place, value


def mutants(value: Any) -> Iterator[Any]:
    """Other values of the same type, and of other types."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1 if value else 10**6)
    elif isinstance(value, float):
        yield from (value * 1.5 + 0.25, value + 1e-3)
    elif isinstance(value, str):
        yield from (f"{value}x", value[:-1] if value else "0" * 64)
    else:
        yield from ("x", 1, [1])
    yield None if value is not None else 0


def changed(value: Any, place: Place, new: Any) -> Any:
    whole = copy.deepcopy(value)
    inner = whole
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = new
    return whole


def name_of(place: Place) -> str:
    return ".".join(str(step) for step in place if not isinstance(step, int))


@cache
def template() -> tuple[bytes, dict[str, bytes], dict[str, Any]]:
    """A valid submission of one record and one fit: pickled, and as files with their manifest."""
    made = forge("supervised", "mini_source")
    files = made.files()
    return pickle.dumps(made), files, made.manifest


def passes(path: Path) -> bool:
    checked = check(path)
    assert not any(finding.rule == "F999" for finding in checked.findings), checked.text()
    return checked.passed


def free_entries(kind: str, path: Path) -> set[str]:
    """Names of the entries of the record or fit file that can be changed alone; the manifest lists the changed file."""
    _, files, manifest = template()
    (name,) = (name for name in files if name.startswith(kind) and name.endswith(".json"))
    value, passed = json.loads(files[name]), set[str]()
    for place, old in leaves(value):
        for new in mutants(old):
            changed_files = {**files, name: json.dumps(changed(value, place, new)).encode()}
            if passes(seal(path, changed_files, manifest)):
                passed.add(name_of(place))
    return passed


def free_entries_of_a_forger(path: Path) -> set[str]:
    """Names of the entries of a record that can be changed if keys, signature, scope and card are computed anew."""
    whole, passed = template()[0], set[str]()
    for place, old in leaves(pickle.loads(whole).items[0].record):
        for new in mutants(old):
            made: Forge = pickle.loads(whole)
            (item,) = made.items
            item.record = changed(item.record, place, new)
            try:
                made.identify()
                made.write(path)
            except (KeyError, TypeError, AttributeError, ValueError, IndexError, AssertionError):
                continue  # not a record any more
            if passes(path):
                passed.add(name_of(place))
    return passed


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["records/", "fits/"])
def test_no_entry_is_free_but_the_listed_ones(kind: str, tmp_path: Path) -> None:
    passed = free_entries(kind, tmp_path / "a.zip")
    assert passed <= set(FREE), sorted(passed - set(FREE))


@pytest.mark.slow
def test_no_entry_is_free_for_a_forger_but_the_listed_ones(tmp_path: Path) -> None:
    passed = free_entries_of_a_forger(tmp_path / "a.zip")
    assert passed <= set(FREE_FOR_A_FORGER), sorted(passed - set(FREE_FOR_A_FORGER))
