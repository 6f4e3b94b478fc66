"""Published numbers by the methods, protocols and datasets of the harness."""

from __future__ import annotations

from functools import lru_cache

from results.measurement import Measurement
from results.published_numbers import DATASETS, PublishedNumber, harness_names, published_numbers


def protocol_of(number: PublishedNumber) -> str:
    """The protocol whose columns a number belongs to; bridge-and-prompt rows share those of the other tables."""
    if number.table != "bridge_prompt":
        return number.table
    return "b2n" if number.column in ("base", "novel", "hm") else "few_shot"


def method_of(m: Measurement) -> str:
    """The method, with its option `config` where one method wraps many models."""
    config = m.method.options.get("config")
    return f"{m.method.name}:{config}" if config else m.method.name


def has_published(m: Measurement) -> bool:
    """True if a paper prints a number of the measurement's method under its protocol on its dataset."""
    return (method_of(m), m.protocol.name, m.evaluation.list.dataset) in _published()


@lru_cache(maxsize=1)
def _published() -> frozenset[tuple[str, str, str]]:
    names = harness_names()
    return frozenset(
        (names[n.method], protocol_of(n), DATASETS[n.dataset])
        for n in published_numbers()
        if n.method in names and n.dataset in DATASETS
    )
