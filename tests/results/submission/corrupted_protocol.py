"""Submissions that break the protocol."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.results.submission.corrupted import forged, refiled
from tests.results.submission.forge import Forge, Item, with_parent

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
    ("P009", "evaluation videos in training", lambda r: r["overlap"].update(train_videos=12)),
    ("P010", "closed division with more frames", _more_views(frames=32)),
    ("P010", "closed division with more views", _more_views(clips=4, sampling="uniform")),
    ("P010", "closed division with a transform", lambda r: (
        _of(r)[0]["prescribed"].update(transform="flip"), _of(r)[2].update(transform="flip"))),
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


@forged("P003", "hard videos left out of the list")
def _(made: Forge) -> None:
    item = made.of("novel")
    wrong = item.frame.index[item.frame["id1"] != item.frame["label"]][:20]
    item.frame = item.frame.drop(wrong).reset_index(drop=True)
    item.derive()


@forged("P003", "labels moved, with all hashes")
def _(made: Forge) -> None:
    item = made.of("novel")
    wrong = item.frame.index[item.frame["id1"] != item.frame["label"]][:10]
    item.frame.loc[wrong, "label"] = item.frame.loc[wrong, "id1"]
    item.derive()


@forged("P003", "list of another part")
def _(made: Forge) -> None:
    """The easier list in place of the prescribed one; both have twelve classes."""
    base, novel = made.of("base"), made.of("novel")
    novel.frame = base.frame.assign(p5=0.0)
    novel.m["evaluation"]["list"]["name"] = "base_val"
    novel.derive()


@forged("P003", "every video a cluster of its own")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.frame["cluster"] = item.frame["video"]
    item.derive()


@forged("P004", "class names improved, with all hashes")
def _(made: Forge) -> None:
    for index in (1, 2, 3):
        item = made.of("novel", index)
        item.record["classes"] = [f"video of a {name}" for name in item.record["classes"]]
        item.derive()


@forged("P004", "novel list scored with the names of the base classes")
def _(made: Forge) -> None:
    for index in (1, 2, 3):
        item = made.of("novel", index)
        item.record["classes"] = list(made.of("base").record["classes"])
        item.m["evaluation"]["list"]["labels"] = "base"
        item.derive()


def _train(fit: Json, **changes: Any) -> None:
    training = fit["described"]["training"]
    if training["list"]["name"] == "base_s1":
        training["list"] |= changes
        training["used"] = training["list"]["n"]


@forged("P005", "trained on all clips of the base classes")
def _(made: Forge) -> None:
    made.refit(lambda fit: _train(fit, name="base_train", n=278))


@forged("P005", "training list with more clips")
def _(made: Forge) -> None:
    made.refit(lambda fit: _train(fit, sha256="c" * 64, n=250))


@forged("P005", "own training list under the published name")
def _(made: Forge) -> None:
    made.refit(lambda fit: _train(fit, origin="own"))


@forged("P005", "training list with better class names")
def _(made: Forge) -> None:
    from harness.base.canonical import labels_sha256

    def improve(fit: Json) -> None:
        fit["classes"] = [f"video of a {name}" for name in fit["classes"]]
        fit["described"]["training"]["list"]["labels_sha256"] = labels_sha256(fit["classes"])

    made.refit(improve)


@forged("P005", "other number of shots than the list's")
def _(made: Forge) -> None:
    made.change(lambda record: record["fit"].update(shots=2))


@forged("P005", "parent fit on the evaluation list")
def _(made: Forge) -> None:
    with_parent(made, "mini_target", "val")


@forged("P019", "parent fit that lacked videos")
def _(made: Forge) -> None:
    with_parent(made)
    _parent(made)["described"]["training"]["used"] = 10
    made.refit(lambda fit: fit["described"]["training"]["start"].update(complete=not _is_child(fit)))


@forged("P014", "parent fit that starts from a file")
def _(made: Forge) -> None:
    _reparent(made, lambda training: training.update(start=_start("checkpoint")))


@forged("P025", "parent fit of a changed recipe")
def _(made: Forge) -> None:
    _reparent(made, lambda training: training["recipe"].update(epochs=100))


def _parent(made: Forge) -> Json:
    """The fit from which the others start."""
    return next(fit for fit in made.fits.values() if fit["described"]["training"]["list"]["dataset"] == "mini_source")


def _reparent(made: Forge, edit: Callable[[Json], Any]) -> None:
    """A parent fit that is changed, and the fits and records that then start from it."""
    with_parent(made)
    edit(_parent(made)["described"]["training"])
    made.refit(lambda fit: None)  # gives the parent its key
    key = _parent(made)["key"]
    made.refit(lambda fit: fit["described"]["training"]["start"].update(key=key) if _is_child(fit) else None)


def _is_child(fit: Json) -> bool:
    return bool(fit["described"]["training"]["start"]["kind"] == "fit")


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
    other = copy.deepcopy(made)
    made.keep(lambda item: item.m["protocol"]["repeat"]["index"] != 1)
    other.keep(lambda item: item.m["protocol"]["repeat"]["index"] == 1)
    other.refit(lambda fit: fit["described"]["model"].update(tensors_sha256="f" * 64))
    made.add(other)


def _new_predictions(item: Item) -> None:
    item.frame = item.frame.copy()
    item.frame["p5"] = 0.0
    item.derive()


@forged("P007", "second try of an evaluation")
def _(made: Forge) -> None:
    """Read by another reader, and stated to be of the same row."""
    again = copy.deepcopy(made.of("novel"))
    again.m["evaluation"]["views"]["reader"] = "exact"
    _new_predictions(again)
    made.items.append(again)


def _untrained() -> Forge:
    from tests.results.submission.forge import forge

    return forge("b2n", "mini_target", trained=False)


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


@forged("P009", "seen classes not named")
def _(made: Forge) -> None:
    for index in (1, 2, 3):
        item = made.of("joint", index)
        item.record["overlap"] |= {"seen_classes": [], "top1_strict": None}


@forged("P009", "hard classes named as seen")
def _(made: Forge) -> None:
    for index in (1, 2, 3):
        item = made.of("novel", index)
        item.record["overlap"]["seen_classes"] = item.record["classes"][1:]
        item.derive()


@forged("P010", "closed division with a chosen checkpoint")
def _(made: Forge) -> None:
    untrained = _untrained()
    made.items, made.fits, made.weights = untrained.items, {}, {}
    made.change(lambda record: _of(record)[0]["prescribed"].update(selection="best"))


@forged("P011", "language model under another name")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["described"]["method"].update(class_text="gpt-4 descriptions"))


@forged("P014", "closed division from a file")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["described"]["training"].update(start=_start("checkpoint")))


def _start(kind: str, **values: Any) -> Json:
    return {"kind": kind, "name": "", "key": "", "weights_sha256": "", "complete": True, **values}


@forged("P014", "closed division on a backbone of a file")
def _(made: Forge) -> None:
    model = {"arch": "ViT-B-16", "weights": f"sha256:{'b' * 64}"}
    made.refit(lambda fit: fit["described"]["model"].update(model))
    made.change(_more_views(frames=32))


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
        _new_predictions(item)
    made.add(other)


@refiled("P017", "manifest of another method")
def _(files: dict[str, bytes], manifest: Json) -> None:
    manifest["method"] = "theirmethod"


@forged("P019", "fitted on a part of the list")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["described"]["training"].update(used=100))


@forged("P019", "random weights")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["described"]["model"].update(arch="ViT-B-16", weights="random"))
    made.change(_more_views(frames=32))


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


@forged("P025", "built-in method that calls another recipe declared")
def _(made: Forge) -> None:
    made.refit(_vificlip)
    made.change(lambda record: record["method"].update(origin="built-in"))


def _vificlip(fit: Json) -> None:
    fit["described"]["method"]["name"] = "vificlip"
    fit["name"] = fit["name"].replace("mymethod", "vificlip")


@forged("P025", "built-in method that calls another template its default")
def _(made: Forge) -> None:
    untrained = _untrained()
    made.items, made.fits, made.weights = untrained.items, {}, {}
    defaults = {"text_embedding": "published", "logits": "clean", "template": "a {}", "ensemble": "none"}
    method = {"origin": "built-in", "defaults": defaults}
    made.change(lambda record: (record["method"].update(method), _of(record)[1].update(name="vanilla_clip")))


@forged("P025", "closed division with a changed recipe")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["described"]["training"]["recipe"].update(epochs=100))


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
