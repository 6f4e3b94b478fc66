"""Numbers that do not follow from the predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS
from tests.results.submission.archives import tensors
from tests.results.submission.corrupted import edit_json, forged, record_name, refiled
from tests.results.submission.forge import Forge, with_parent


@forged("A001", "better predictions under the old hash")
def _(made: Forge) -> None:
    item = made.of("novel")
    old = item.record["predictions"]
    item.frame["id1"] = item.frame["label"]
    item.record["predictions"] = old


@forged("A002", "easy video twice, hard one left out")
def _(made: Forge) -> None:
    item = made.of("novel")
    right = (item.frame["id1"] == item.frame["label"]).to_numpy()
    item.frame.loc[(~right).nonzero()[0][0]] = item.frame.loc[right.nonzero()[0][0]]
    item.derive()


@forged("A003", "prediction left out")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.frame = item.frame.iloc[:-1]
    item.measure()
    item.name()


@forged("A004", "labels moved to the predictions")
def _(made: Forge) -> None:
    item = made.of("novel")
    wrong = item.frame.index[item.frame["id1"] != item.frame["label"]][:10]
    item.frame.loc[wrong, "label"] = item.frame.loc[wrong, "id1"]
    item.measure()
    item.name()


@forged("A005", "id beyond the classes")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.frame.loc[0, "id5"] = 400
    item.name()


@forged("A005", "one class in all five places")
def _(made: Forge) -> None:
    item = made.of("novel")
    for column in ID_COLUMNS[1:]:
        item.frame[column] = item.frame["id1"]
    item.derive()


@forged("A006", "probabilities that add up to more than one")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.frame[PROBABILITY_COLUMNS] = 0.9
    item.name()


@forged("A006", "other classes with more than the fifth probability")
def _(made: Forge) -> None:
    made.of("novel").frame["p5"] = 0.0
    made.of("novel").name()


@forged("A006", "five probabilities of next to nothing")
def _(made: Forge) -> None:
    columns = made.of("novel").frame[PROBABILITY_COLUMNS]
    made.of("novel").frame[PROBABILITY_COLUMNS] = (columns / 10).round(6)
    made.of("novel").name()


@forged("A006", "probabilities out of order")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.frame[["p1", "p5"]] = item.frame[["p5", "p1"]].to_numpy()
    item.name()


for _metric, _gain in (("top1", 1.0), ("top5", 0.5), ("mean_class", 1e-6)):

    @forged("A007", f"{_metric} raised")
    def _(made: Forge, metric: str = _metric, gain: float = _gain) -> None:
        made.of("novel").record["metrics"][metric] += gain


@forged("A007", "accuracy of another part")
def _(made: Forge) -> None:
    made.of("novel").record["metrics"] = dict(made.of("base").record["metrics"])


@forged("A008", "undecodable videos not named")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.frame.loc[:2, ID_COLUMNS], item.frame.loc[:2, PROBABILITY_COLUMNS] = -1, 0.0
    item.derive()
    item.record["undecodable"] = []


def _score(column: str, edit: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    return lambda _files, manifest: edit(next(s for s in manifest["scores"] if s["column"] == column))


refiled("A009", "mean of the best repeats")(_score("novel", lambda s: s.update(mean=s["mean"] + 2.0)))
refiled("A009", "harmonic mean that is none")(_score("hm", lambda s: s.update(mean=s["mean"] + 0.1)))
refiled("A009", "interval too narrow")(_score("novel", lambda s: s.update(low=s["mean"], high=s["mean"])))
refiled("A009", "spread made smaller")(_score("base", lambda s: s.update(spread=s["spread"] / 2)))
refiled("A009", "more repeats than there are")(_score("base", lambda s: s.update(n=10)))


@refiled("A009", "column left out")
def _(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["scores"] = [s for s in manifest["scores"] if s["column"] != "joint"]


@forged("A010", "strict score raised")
def _(made: Forge) -> None:
    made.of("joint").record["overlap"]["top1_strict"] += 5.0


@refiled("A011", "cell key of another cell")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, record_name(files), lambda record: record.update(key=record["key"][:8] + "0" * 8))


def _in_measurement(*path: str, value: Any) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    """An edit of one field of a record's measurement, with the old key and signature."""

    def change(record: dict[str, Any]) -> None:
        place = record["measurement"]
        for name in path[:-1]:
            place = place[name]
        assert place[path[-1]] != value
        place[path[-1]] = value

    return lambda files, _manifest: edit_json(files, record_name(files), change)


for _name, _path, _value in (
    ("other options than the key's", ("method", "options"), {"width": 8}),
    ("other evaluation options than the key's", ("method", "evaluation_options"), {"temperature": 2}),
    ("other recipe than the key's", ("training", "recipe", "lr"), 1e-6),
    ("other views than the key's", ("evaluation", "views", "frames"), 2),
    ("other backbone than the key's", ("model", "arch"), "ViT-B-16"),
    ("other engine than the key's", ("engine",), 7),
    ("other part than the key's", ("protocol", "part"), "base"),
):
    refiled("A011", _name)(_in_measurement(*_path, value=_value))


@refiled("A011", "fit with a description that is not its key's")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    name = next(name for name in files if name.startswith("fits/"))
    edit_json(files, name, lambda fit: fit["described"].update(engine=7))


for _name, _old, _new in (
    ("signature of another method", "mymethod", "vificlip"), ("signature with fewer frames", "4x1x1", "8x1x1"),
    ("signature of the open division", "closed", "open"), ("signature of a published recipe", "own", "published"),
    ("signature without its options", "temperature=1,width=4", "-"),
):  # fmt: skip

    @forged("A013", _name)
    def _(made: Forge, old: str = _old, new: str = _new) -> None:
        item = made.of("novel")
        assert old in item.record["signature"]
        item.record["signature"] = item.record["signature"].replace(old, new)


@forged("A014", "class names changed under the old hash")
def _(made: Forge) -> None:
    made.of("novel").record["classes"][0] = "something easier"


@forged("A014", "class names of a fit changed under the old hash")
def _(made: Forge) -> None:
    next(iter(made.fits.values()))["classes"][0] = "something easier"


def _records_alone(name: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    """A field that no key of a fit contains, in the records and not in their fits."""
    forged("A015", name)(lambda made: made.change(edit))


_records_alone("other device batch than the fit", lambda r: r["measurement"]["training"].update(device_batch=8))
_records_alone("other precision than the fit", lambda r: r["measurement"]["training"].update(precision="bf16"))
_records_alone("other tensors than the fit", lambda r: r["measurement"]["model"].update(tensors_sha256="f" * 64))
_records_alone("other image size than the fit", lambda r: r["measurement"]["model"].update(image_size=336))
_records_alone("other updates than the fit", lambda r: r["fit"].update(updates=1))
_records_alone("other batch than the fit", lambda r: r["fit"].update(effective_batch=64))
_records_alone("less time than the fit took", lambda r: r["fit"].update(seconds=0.1))
_records_alone("less memory than the fit took", lambda r: r["fit"].update(peak_memory_gib=8.0))
_records_alone("name of another fit", lambda r: r["fit"].update(name="vificlip mini_target/base_s1"))


@forged("A015", "base of a second computation of the fit")
def _(made: Forge) -> None:
    for index in (1, 2, 3):
        item = made.of("base", index)
        item.m["training"]["weights_sha256"] = item.m["training"]["weights_sha256"][::-1]
        item.identify()


def _start_alone(case: str, **changes: Any) -> None:
    """A field of the start of a fit that differs from the parent fit."""

    @forged("A015", case)
    def _(made: Forge) -> None:
        with_parent(made)
        made.refit(lambda fit: fit["described"]["training"]["start"].update(changes)
                   if fit["described"]["training"]["start"]["kind"] == "fit" else None)  # fmt: skip


_start_alone("other weights than the parent fit has", weights_sha256="d" * 64)
_start_alone("name of another parent fit", name="vificlip mini_target/val")


@forged("A015", "parent fit that lacked videos, stated to be complete")
def _(made: Forge) -> None:
    with_parent(made)
    for fit in made.fits.values():
        if fit["described"]["training"]["list"]["dataset"] == "mini_source":
            fit["described"]["training"]["used"] = 10


@forged("A015", "weights of another fit")
def _(made: Forge) -> None:
    made.weights[next(iter(made.weights))] = tensors(99.0)


@forged("A015", "fit that states other weights than it has")
def _(made: Forge) -> None:
    next(iter(made.fits.values()))["weights"]["sha256"] = "d" * 64
    made.weights.pop(next(iter(made.weights)))


@forged("A015", "fewer trained parameters than the fit has")
def _(made: Forge) -> None:
    made.change(lambda record: record["method"].update(params_trained=1))


@refiled("A016", "card with another title")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, "card.json", lambda card: card.update(title="Better method"))


@refiled("A016", "environment of another machine")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, "environment.json", lambda value: value["environments"][0].update(device="TPU"))
