"""Submissions whose records or settings violate protocol rules (P)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.results.submission.corrupted import forged, new_predictions, refiled, start, untrained
from tests.results.submission.forge import Forge
from tests.results.submission.forged_built_in import as_built_in

Json = dict[str, Any]


def _of(record: Json) -> tuple[Json, Json, Json]:
    """Protocol, method and evaluation of a record's measurement."""
    m = record["measurement"]
    return m["protocol"], m["method"], m["evaluation"]


def _own_list(record: Json) -> None:
    _of(record)[2]["list"].update(origin="own", content="c" * 64, root="0" * 8)


def _more_views(**changes: Any) -> Callable[[Json], None]:
    """Views that are stated to be the prescribed ones, so that the division stays closed."""

    def edit(record: Json) -> None:
        protocol, _, evaluation = _of(record)
        protocol["prescribed"]["views"].update(changes)
        evaluation["views"].update(changes)

    return edit


_change: list[tuple[str, str, Callable[[Json], Any]]] = [
    ("P001", "protocol of one's own", lambda r: _of(r)[0].update(name="b2n_easy")),
    ("P001", "version of the protocol that is not current", lambda r: _of(r)[0].update(version=7)),
    ("P002", "dataset of one's own", lambda r: _of(r)[2]["list"].update(dataset="my_videos")),
    ("P003", "list of one's own", _own_list),
    ("P003", "videos of another renderer", lambda r: _of(r)[2]["list"].update(content="c" * 64)),
    ("P009", "evaluation videos in training", lambda r: r["overlap"].update(train_videos=12)),
    ("P010", "closed division with more frames", _more_views(frames=32)),
    ("P010", "closed division with more views", _more_views(clips=4, sampling="uniform")),
    ("P010", "closed division with a transform", lambda r: (
        _of(r)[0]["prescribed"].update(transform="flip"), _of(r)[2].update(transform="flip"))),
    ("P010", "row in the table of another dataset", lambda r: _of(r)[0].update(table="ucf101")),
    ("P015", "status verified by oneself", lambda r: r.update(status="verified")),
    ("P015", "status reproduced by oneself", lambda r: r.update(status="reproduced")),
    ("P015", "remark of the keepers written by oneself", lambda r: r.update(remarks=["verified by us"])),
    ("P016", "origin built-in claimed", lambda r: r["method"].update(origin="built-in")),
    ("P018", "columns without the harmonic mean", lambda r: r.update(columns=r["columns"][:2])),
    ("P019", "sample of the list", lambda r: _of(r)[2].update(sample="every second video")),
    ("P020", "embedded benchmark passed off as real", lambda r: r.update(embedded=False)),
]  # fmt: skip
for _rule, _name, _edit in _change:
    forged(_rule, _name)(lambda made, edit=_edit: made.change(edit))


@forged("P010", "closed division with a chosen checkpoint")
def _(made: Forge) -> None:
    made.items, made.fits, made.weights = untrained().items, {}, {}
    made.change(lambda record: _of(record)[0]["prescribed"].update(selection="best"))


@forged("P011", "language model under another name")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["described"]["method"].update(class_text="gpt-4 descriptions"))


@forged("P014", "closed division from a file")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["described"]["training"].update(start=start("checkpoint")))


@forged("P014", "closed division on a backbone of a file")
def _(made: Forge) -> None:
    made.on_vit_b_16(f"sha256:{'b' * 64}")


@forged("P016", "name of a built-in method")
def _(made: Forge) -> None:
    def rename(fit: Json) -> None:
        fit["described"]["method"]["name"] = "vificlip"
        fit["name"] = fit["name"].replace("mymethod", "vificlip")

    made.refit(rename)


@forged("P017", "two programs under one name")
def _(made: Forge) -> None:
    # A second row that is complete in itself, of other code.
    other = copy.deepcopy(made)
    other.refit(lambda fit: fit["described"]["method"].update(code="e" * 64))
    for item in other.items:
        new_predictions(item)
    made.add(other)


@refiled("P017", "manifest of another method")
def _(files: dict[str, bytes], manifest: Json) -> None:
    manifest["method"] = "theirmethod"


@forged("P019", "fitted on a part of the list")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["described"]["training"].update(used=100))


@forged("P019", "random weights")
def _(made: Forge) -> None:
    made.on_vit_b_16("random")


@forged("P021", "tiny CLIP that is not the shipped one")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["described"]["model"].update(weights=f"sha256:{'a' * 64}"))


@forged("P022", "nothing trained in a fit")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["parameters"].update(trained=0))
    made.change(lambda record: record["method"].update(params_trained=0))


@forged("P023", "code that nobody knows")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["described"]["method"].update(code="unknown"))


@forged("P023", "training that nobody knows")
def _(made: Forge) -> None:
    made.fits, made.weights = {}, {}
    for item in made.items:
        item.m["training"] = "unknown"
    made.identify()


@forged("P025", "built-in method that calls another recipe declared")
def _(made: Forge) -> None:
    as_built_in(made, "vificlip")

    def declare(fit: Json) -> None:
        for recipe in ("recipe", "declared"):
            fit["described"]["training"][recipe].update(epochs=100)

    made.refit(declare)


@forged("P025", "built-in method that calls another template its default")
def _(made: Forge) -> None:
    made.items, made.fits, made.weights = untrained().items, {}, {}
    as_built_in(made, "vanilla_clip")
    made.change(lambda record: record["method"]["defaults"].update(template="a {}"))


@forged("P025", "closed division with a changed recipe")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["described"]["training"]["recipe"].update(epochs=100))
