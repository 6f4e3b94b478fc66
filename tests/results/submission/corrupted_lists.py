"""Submissions with other lists, labels, parent fits or seen classes than the protocol prescribes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.plugins import registry
from results.codec import encode
from tests.results.submission.corrupted import forged, start
from tests.results.submission.forge import Forge, with_parent
from tests.results.submission.forged_tables import nudged
from tests.results.submission.installed_facts import installed_facts

Json = dict[str, Any]


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
    novel.frame = nudged(base.frame)
    novel.m["evaluation"]["list"]["name"] = "base_val"
    novel.derive()


@forged("P003", "rows in another order, with all hashes")
def _(made: Forge) -> None:
    """One list for the row keys, so that the rows of all other methods would lose their ranks."""
    for index in (1, 2, 3):
        item = made.of("novel", index)
        item.frame = item.frame.iloc[::-1].reset_index(drop=True)
        item.derive()


@forged("P003", "rows in another order in one repeat")
def _(made: Forge) -> None:
    item = made.of("novel", 2)
    item.frame = item.frame.sample(frac=1.0, random_state=0).reset_index(drop=True)
    item.derive()


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
        fit["name"] = f"mymethod mini_target/{training['list']['name']}"


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
    _reparent(made, lambda training: training.update(start=start("checkpoint")))


@forged("P025", "parent fit of a changed recipe")
def _(made: Forge) -> None:
    _reparent(made, lambda training: training["recipe"].update(epochs=100))


def _parent(made: Forge) -> Json:
    """The fit from which the others start."""
    return next(fit for fit in made.fits.values() if fit["described"]["training"]["list"]["dataset"] == "mini_source")


def _reparent(made: Forge, edit: Callable[[Json], Any]) -> None:
    """A parent fit that is changed, and the fits and records that then start from it."""
    with_parent(made)
    made.refit(lambda fit: None if _is_child(fit) else edit(fit["described"]["training"]))
    key = _parent(made)["key"]
    made.refit(lambda fit: fit["described"]["training"]["start"].update(key=key) if _is_child(fit) else None)


def built_in_parent(made: Forge, edit: Callable[[Json], Any]) -> None:
    """A parent fit of the built-in `vificlip`, with its code and its declared recipe, then changed."""
    program = installed_facts(frozenset([("b2n", "mini_target")])).builtin["vificlip"]
    recipe = encode(registry.method_spec("vificlip").recipe_for("zero_shot", "mini_source", None, "mini"))

    def claim(described: Json) -> None:
        described["method"] |= {"name": "vificlip", "version": program.version, "code": program.code}
        described["training"] |= {"recipe": recipe, "declared": recipe}
        edit(described)

    with_parent(made)
    _parent(made)["name"] = "vificlip mini_source/train"
    made.refit(lambda fit: None if _is_child(fit) else claim(fit["described"]))
    child_start = {name: _parent(made)[name] for name in ("key", "name")}
    made.refit(lambda fit: fit["described"]["training"]["start"].update(child_start) if _is_child(fit) else None)


@forged("P034", "parent fit of a built-in method with other code")
def _(made: Forge) -> None:
    built_in_parent(made, lambda described: described["method"].update(code="0" * 64))


@forged("P034", "parent fit of a built-in method in another version")
def _(made: Forge) -> None:
    built_in_parent(made, lambda described: described["method"].update(version=99))


@forged("P025", "parent fit of a built-in method with a recipe that it does not declare")
def _(made: Forge) -> None:
    def raised(described: Json) -> None:
        for name in ("recipe", "declared"):
            described["training"][name] = {**described["training"][name], "lr": 1.0}

    built_in_parent(made, raised)


def _is_child(fit: Json) -> bool:
    return bool(fit["described"]["training"]["start"]["kind"] == "fit")


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
