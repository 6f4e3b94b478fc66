"""What the protocol does not allow."""

from __future__ import annotations

import copy
from typing import Any

from tests.results.submission.corrupted import forged, refiled
from tests.results.submission.forge import Forge

_change = [
    ("P001", "protocol of one's own", lambda r: r["protocol"].update(id="b2n_easy")),
    ("P001", "version of the protocol that is not current", lambda r: r["protocol"].update(version=7)),
    ("P002", "dataset of one's own", lambda r: r["data"].update(dataset="my_videos")),
    ("P003", "list of one's own", lambda r: r["data"].update(list_origin="own")),
    ("P009", "evaluation videos in training", lambda r: r["overlap"].update(train_videos=12)),
    ("P010", "closed division with more frames", lambda r: r["views"].update(frames=32)),
    ("P010", "closed division with more views", lambda r: r["views"].update(clips=4, sampling="uniform")),
    ("P011", "closed division with a language model", lambda r: r["method"].update(class_text="llm-rewritten")),
    ("P013", "closed division with extra data", lambda r: r["method"].update(extra_data=["k710"])),
    ("P014", "closed division from a file", lambda r: r["fit"].update(init="checkpoint")),
    ("P015", "status verified by oneself", lambda r: r.update(status="verified")),
    ("P015", "status reproduced by oneself", lambda r: r.update(status="reproduced")),
    ("P016", "origin built-in claimed", lambda r: r["method"].update(origin="built-in")),
    ("P018", "columns without the harmonic mean", lambda r: r["protocol"].update(columns=r["protocol"]["columns"][:2])),
    ("P019", "videos missing and marked", lambda r: r["protocol"].update(incomplete=["3 of 240 videos missing"])),
    ("P020", "embedded benchmark passed off as real", lambda r: r["data"].update(embedded=False)),
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


@forged("P004", "class names improved, with all hashes")
def _(made: Forge) -> None:
    for index in (1, 2, 3):
        item = made.of("novel", index)
        item.record["data"]["classes"] = [f"video of a {name}" for name in item.record["data"]["classes"]]
        item.derive()


def _train(fit: dict[str, Any], **changes: Any) -> None:
    if fit["train"]["list"] == "base_s1":
        fit["train"] |= changes


@forged("P005", "trained on all clips of the base classes")
def _(made: Forge) -> None:
    made.refit(lambda fit: _train(fit, list="base_train", n=278, n_used=278))


@forged("P005", "training list with more clips")
def _(made: Forge) -> None:
    made.refit(lambda fit: _train(fit, sha256="c" * 64, n=250, n_used=250))


@forged("P006", "worst repeat left out")
def _(made: Forge) -> None:
    key = made.of("novel", 2).record["fit"]["key"]
    made.items = [item for item in made.items if item.record["fit"]["key"] != key]
    del made.fits[key], made.weights[key]


@forged("P006", "joint column left out")
def _(made: Forge) -> None:
    made.items = [item for item in made.items if item.record["protocol"]["part"] != "joint"]


@forged("P006", "only the K that look well", "few_shot")
def _(made: Forge) -> None:
    kept = [item for item in made.items if item.record["fit"]["shots"] in (2, 16)]
    keys = {item.record["fit"]["key"] for item in kept}
    made.items = kept
    made.fits = {key: fit for key, fit in made.fits.items() if key in keys}
    made.weights = {key: data for key, data in made.weights.items() if key in keys}


@forged("P007", "second try of a repeat")
def _(made: Forge) -> None:
    other = copy.deepcopy(made)
    other.refit(lambda fit: (fit["recipe"].update(lr=1e-3), fit["weights"].update(sha256="d" * 64)))
    tried = [item for item in other.items if item.record["repeat"]["index"] == 2]
    for item in tried:
        item.frame = item.frame.copy()
        item.frame["p5"] = 0.0
        item.derive()
    key = tried[0].record["fit"]["key"]
    made.items += tried
    made.fits[key] = other.fits[key]


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


@forged("P008", "fit of another repeat")
def _(made: Forge) -> None:
    for item in made.items:
        item.record["fit"]["repeat"] = {"kind": "seed", "index": item.record["repeat"]["index"]}


@forged("P009", "seen classes not named")
def _(made: Forge) -> None:
    for index in (1, 2, 3):
        item = made.of("joint", index)
        item.record["overlap"] |= {"seen_classes": [], "top1_strict": None}


@forged("P012", "closed division with a chosen checkpoint")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["recipe"].update(selection="best"))


@forged("P016", "name of a built-in method")
def _(made: Forge) -> None:
    def rename(holder: dict[str, Any]) -> None:
        holder["name"] = "vificlip"

    made.change(lambda record: rename(record["method"]))
    made.refit(lambda fit: rename(fit["identity"]["method"]))


@forged("P017", "two programs under one name")
def _(made: Forge) -> None:
    # A second row that is complete in itself, of other code.
    other = copy.deepcopy(made)
    for item in other.items:
        item.record["method"]["source_sha256"] = "e" * 64
        item.identify()
    other.refit(lambda fit: fit["identity"]["method"].update(code="e" * 64))
    made.items += other.items
    made.fits |= other.fits
    made.weights |= other.weights


@refiled("P017", "manifest of another method")
def _(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["method"] = "theirmethod"


@forged("P019", "fitted on a part of the list")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["train"].update(n_used=100))


@forged("P021", "half of a row on another backbone")
def _(made: Forge) -> None:
    made.of("novel").record["backbone"]["weights_sha256"] = "f" * 64


@forged("P021", "tiny CLIP that is not the shipped one")
def _(made: Forge) -> None:
    def other(method: dict[str, Any]) -> None:
        method["backbone"] = {"arch": "mini-clip", "weights": "a" * 64}

    for item in made.items:
        other(item.record["identity"]["method"])
        item.identify()
    made.refit(lambda fit: other(fit["identity"]["method"]))


@forged("P022", "nothing trained in a fit")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["parameters"].update(trained=0))
    made.change(lambda record: record["method"].update(params_trained=0))
