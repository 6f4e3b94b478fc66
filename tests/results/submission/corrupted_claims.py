"""Statements that do not follow from the benchmark, the method or the installation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from tests.results.submission.archives import tensors
from tests.results.submission.corrupted import forged, refiled, untrained
from tests.results.submission.forge import Forge
from tests.results.submission.forged_built_in import as_built_in

Json = dict[str, Any]


def _in_fits(rule: str, name: str, edit: Callable[[Json], Any], record: Callable[[Json], Any] | None = None) -> None:
    """A case whose fits and records state the same falsehood."""

    def make(made: Forge) -> None:
        made.refit(edit)
        made.change(record or (lambda record: None))

    forged(rule, name)(make)


def _in_records(rule: str, name: str, edit: Callable[[Json], Any]) -> None:
    forged(rule, name)(lambda made: made.change(edit))


def _as_built_in(rule: str, name: str, method: str, edit: Callable[[Json], Any]) -> None:
    """A case of a built-in method, without a fit for an untrained one."""

    def make(made: Forge) -> None:
        if method == "vanilla_clip":
            made.items, made.fits, made.weights = untrained().items, {}, {}
        as_built_in(made, method)
        made.change(edit)

    forged(rule, name)(make)


def _model(**changes: Any) -> Callable[[Json], Any]:
    return lambda fit: fit["described"]["model"].update(changes)


_in_fits("A017", "more trained parameters than there are", lambda fit: fit["parameters"].update(total=1),
         lambda record: record["method"].update(params_total=1))  # fmt: skip
_in_fits("A017", "a million updates", lambda fit: fit["outcome"].update(updates=10**6))
_in_fits("A017", "a fit of no update", lambda fit: fit["outcome"].update(updates=0))
_in_fits("A017", "a fit that needs more memory than there is", lambda fit: fit["outcome"].update(peak_memory_gib=1e5),
         lambda record: record["fit"].update(peak_memory_gib=1e5))  # fmt: skip


@forged("A017", "fewer trained parameters than the weights hold")
def _(made: Forge) -> None:
    made.weights = {key: tensors(number, 5000) for number, key in enumerate(made.fits)}
    for key, data in made.weights.items():
        made.fits[key]["weights"]["sha256"] = hashlib.sha256(data).hexdigest()
    made.refit(lambda fit: None)


_in_records(
    "A017", "a view that costs nearly nothing", lambda record: record["cost"].update(gflops=0.0, score_gflops=1.0)
)
_in_records("A017", "scores that cost more than all computers can do",
            lambda record: record["cost"].update(gflops=1.0, score_gflops=1e308))  # fmt: skip
_in_records("A017", "more videos in a second than the list has",
            lambda record: record["cost"].update(videos_per_second=1e6, eval_seconds=1.0))  # fmt: skip
_in_records("A018", "measured in the year 9999", lambda record: record.update(created="9999-01-01T00:00:00+00:00"))
_in_records("A018", "measured soon", lambda record: record.update(created="soon"))
_in_fits("A018", "fit after its records", lambda fit: fit.update(created="2026-02-01T00:00:00+00:00"))
_in_records("A018", "precision of an eval that its environment does not have",
            lambda record: record["measurement"]["evaluation"].update(precision="bf16"))  # fmt: skip
_in_fits(
    "A018",
    "precision that does not exist",
    lambda fit: (fit["described"]["training"].update(precision="exact"), fit["environment"].update(dtype="exact")),
)
_in_records(
    "A016",
    "another title in one repeat",
    lambda record: record["method"].update(title=f"Title {record['measurement']['protocol']['repeat']['index']}"),
)
refiled("A016", "title of the manifest alone")(lambda _files, manifest: manifest.update(title="Better"))
refiled("F012", "code address that runs code")(lambda _files, manifest: manifest.update(code="javascript:alert(1)"))
refiled("P033", "harness of the future")(lambda _files, manifest: manifest.update(harness="99.9"))
_in_fits("P033", "engine of the future", lambda fit: fit["described"].update(engine=999))
_in_records("P009", "leakage checks left out", lambda record: record["overlap"].update(audits=[]))
_in_records("P009", "leakage check against another list",
            lambda record: record["overlap"]["audits"][0].update(train="mini_source/train"))  # fmt: skip
_in_records("P016", "origin that reads as built-in", lambda record: record["method"].update(origin="Built-in"))
_in_records("P016", "origin with a blank behind it", lambda record: record["method"].update(origin="built-in "))
_in_fits("P014", "model other than CLIP in the closed division", _model(arch="mynet", config="c" * 64))
_in_fits("P021", "tiny CLIP of a larger input", _model(image_size=128))
_in_fits("P030", "unknown option", lambda fit: fit["described"]["method"]["options"].update(tta_on_test_labels=True))
_in_fits("P032", "more frames in training than in evaluation",
         lambda fit: fit["described"]["training"]["views"].update(frames=32))  # fmt: skip
_as_built_in("P031", "built-in method under another title", "vanilla_clip",
             lambda record: record["method"].update(title="State of the art"))  # fmt: skip


@forged("P030", "unknown option of a built-in method")
def _(made: Forge) -> None:
    as_built_in(made, "vificlip")
    made.refit(lambda fit: fit["described"]["method"]["options"].update(width=4))
    made.change(lambda record: record["method"]["defaults"].update(width=4))


@forged("P022", "trained built-in method without a fit")
def _(made: Forge) -> None:
    made.items, made.fits, made.weights = untrained().items, {}, {}
    as_built_in(made, "vificlip")


_as_built_in("P034", "built-in method of changed code", "vanilla_clip",
             lambda record: record["measurement"]["method"].update(code="d" * 64))  # fmt: skip
_as_built_in("P034", "built-in method of a version that does not exist", "vanilla_clip",
             lambda record: record["measurement"]["method"].update(version=77))  # fmt: skip
for _name, _changes in {
    "weights that are no tag": {"weights": "file best_on_test.pt"},
    "weights of another architecture": {"weights": "laion2b_s32b_b79k"},
    "architecture that does not exist": {"arch": "ViT-XXL-1"},
    "larger input than the architecture's": {"image_size": 336},
    "other activation than the weights'": {"activation": "gelu"},
    "longer texts": {"text_length": 248},
}.items():

    @forged("P029", _name)
    def _(made: Forge, changes: Json = _changes) -> None:
        made.items, made.fits, made.weights = untrained().items, {}, {}
        made.on_vit_b_16()
        made.change(lambda record: record["measurement"]["model"].update(changes))
