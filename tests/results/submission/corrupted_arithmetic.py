"""Numbers that do not follow from the predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS
from tests.results.submission.corrupted import edit_json, forged, refiled
from tests.results.submission.forge import Forge, tensors


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
    item.record["data"] |= {"n_undecodable": 0, "undecodable": []}


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


@forged("A011", "cell key of another cell")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.record["cell"] = item.record["cell"][:8] + "0" * 8


@forged("A012", "identity with other options than the record")
def _(made: Forge) -> None:
    for item in made.items:
        item.record["method"]["options"] = {"width": 8}


@forged("A013", "signature of another method")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.record["signature"] = item.record["signature"].replace("mymethod", "vificlip")


@forged("A013", "signature with fewer frames")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.record["signature"] = item.record["signature"].replace("4x1x1", "8x1x1")


@forged("A014", "class names changed under the old hash")
def _(made: Forge) -> None:
    made.of("novel").record["data"]["classes"][0] = "something easier"


@forged("A015", "record with another learning rate than its fit")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.record["fit"]["recipe"] = {**item.record["fit"]["recipe"], "lr": 1e-6}


@forged("A015", "fit with an identity that is not its key's")
def _(made: Forge) -> None:
    next(iter(made.fits.values()))["identity"]["engine"] = 2


@forged("A015", "weights of another fit")
def _(made: Forge) -> None:
    made.weights[next(iter(made.weights))] = tensors(99.0)


@forged("A015", "fewer trained parameters than the fit has")
def _(made: Forge) -> None:
    made.change(lambda record: record["method"].update(params_trained=1))


@refiled("A016", "card with another title")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, "card.json", lambda card: card.update(title="Better method"))


@refiled("A016", "environment of another machine")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, "environment.json", lambda value: value["environments"][0].update(device="TPU"))
