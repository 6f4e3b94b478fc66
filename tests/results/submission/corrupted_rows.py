"""Submissions whose rows are incomplete, mixed or have another scope (rules P006 to P008, P024, P026)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.results.submission.corrupted import forged, new_predictions
from tests.results.submission.forge import Forge

Json = dict[str, Any]


@forged("P006", "worst repeat left out")
def _(made: Forge) -> None:
    made.keep(lambda item: item.m["protocol"]["repeat"]["index"] != 2)


@forged("P006", "joint column left out")
def _(made: Forge) -> None:
    made.keep(lambda item: item.m["protocol"]["part"] != "joint")


@forged("P006", "only the K that look well", "few_shot")
def _(made: Forge) -> None:
    made.keep(lambda item: item.record["fit"]["shots"] in (2, 16))


@forged("P006", "half of a row on another backbone")
def _(made: Forge) -> None:
    made.on_vit_b_16()
    other = copy.deepcopy(made)
    made.keep(lambda item: item.m["protocol"]["repeat"]["index"] != 1)
    other.keep(lambda item: item.m["protocol"]["repeat"]["index"] == 1)
    other.refit(lambda fit: fit["described"]["model"].update(tensors_sha256="f" * 64))
    made.add(other)


@forged("P007", "second try of an evaluation")
def _(made: Forge) -> None:
    """Read by another reader, and stated to be of the same row."""
    again = copy.deepcopy(made.of("novel"))
    again.m["evaluation"]["views"]["reader"] = "exact"
    new_predictions(again)
    made.items.append(again)


@forged("P007", "evaluation that the protocol does not have")
def _(made: Forge) -> None:
    more = copy.deepcopy(made.of("joint"))
    more.m["protocol"]["part"] = "all"
    more.identify()
    made.items.append(more)


@forged("P008", "one set of weights as three fits")
def _(made: Forge) -> None:
    same = next(iter(made.fits.values()))["weights"]["sha256"]
    data = next(iter(made.weights.values()))
    made.refit(lambda fit: fit["weights"].update(sha256=same))
    made.weights = dict.fromkeys(made.weights, data)


@forged("P008", "predictions of one fit for two repeats")
def _(made: Forge) -> None:
    for part in ("base", "novel", "joint"):
        made.of(part, 2).frame = made.of(part, 1).frame.copy()
        made.of(part, 2).derive()


def _other_fit(made: Forge, part: str, edit: Callable[[Json], Any]) -> None:
    """The records of a part from other fits, stated to be of the same row: the scope stays."""
    other = copy.deepcopy(made)
    scope = copy.deepcopy(made.items[0].m["protocol"]["scope"])
    other.refit(edit)
    other.items = [item for item in other.items if item.m["protocol"]["part"] == part]
    other.weights = {}
    made.items = [item for item in made.items if item.m["protocol"]["part"] != part]
    for item in other.items:
        item.m["protocol"]["scope"] = scope
        item.identify()
    made.add(other)


def _longer(fit: Json) -> None:
    for recipe in ("recipe", "declared"):
        fit["described"]["training"][recipe]["epochs"] = 16
    fit["weights"]["sha256"] = fit["weights"]["sha256"][::-1]


@forged("P024", "base of a longer fit than novel and joint")
def _(made: Forge) -> None:
    _other_fit(made, "base", _longer)


@forged("P024", "base of a fit of another seed than novel and joint")
def _(made: Forge) -> None:
    def reseed(fit: Json) -> None:
        for recipe in ("recipe", "declared"):
            fit["described"]["training"][recipe]["seed"] = 7
        fit["weights"]["sha256"] = fit["weights"]["sha256"][::-1]

    _other_fit(made, "base", reseed)


@forged("P024", "repeats of several recipes")
def _(made: Forge) -> None:
    def edit(fit: Json) -> None:
        if fit["described"]["training"]["list"]["name"] == "base_s2":
            _longer(fit)

    scope = copy.deepcopy(made.items[0].m["protocol"]["scope"])
    made.refit(edit)
    made.weights = {}
    for item in made.items:
        item.m["protocol"]["scope"] = scope
        item.identify()


def _scope(name: str, value: Any) -> Callable[[Forge], None]:
    def edit(made: Forge) -> None:
        for item in made.items:
            item.m["protocol"]["scope"][name] = value
            item.identify()

    return edit


for _field in ("lists", "evaluation_lists", "recipes", "views", "evaluation_views"):
    forged("P026", f"scope of other {_field.replace('_', ' ')}")(_scope(_field, "0" * 16))
forged("P026", "scope that expects less")(_scope("expected", []))


@forged("P026", "two scopes in a row")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.m["protocol"]["scope"] = {**item.m["protocol"]["scope"], "evaluation_lists": "0" * 16}
    item.identify()
