"""The settings that a source states, compared with those of a measurement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.spec import Recipe, Views
from harness.spec.dense import DENSE_RULES
from reports.aggregate import rows_of
from reports.entries import read_entries
from reports.page.beside import two_words
from reports.paper import has_published, published_ids, published_method
from reports.setting_differences import setting_differences
from reports.verdict import differences as row_differences
from results.measurement import Measurement
from results.published_numbers import NOT_STATED, PublishedNumber, Setting, published_numbers
from tests.results.factories import Sample, sample_measurement, write_sample

HMDB = Sample(
    protocol="few_shot", dataset="hmdb51", part="k2", shots=2, frames=32, arch="ViT-B-16", weights="openai",
    options=(("stop", "pair"),),
)  # fmt: skip
ON_LIST = "best epoch on the evaluation list"


def measured(changes: dict[str, object] | None = None, **sample: object) -> Measurement:
    """A measurement of HMDB-51 with 2 videos of each class.

    Args:
        changes: Fields of the views of eval and fit, or of the recipe, that differ, after `views.` or `training.`.
        sample: Fields of the sample.
    """
    names = ("brush hair", "cartwheel")
    m = sample_measurement(replace(HMDB, **sample), "val1", "0" * 64, names, 30)  # type: ignore[arg-type]
    assert m.fitted is not None
    for path, value in (changes or {}).items():
        part, _, name = path.partition(".")
        views: dict[str, object] = {name: value}
        if part == "views":
            m = replace(m, evaluation=replace(m.evaluation, views=replace(m.evaluation.views, **views)))  # type: ignore[arg-type]
        else:
            fitted = replace(m.fitted, views=replace(m.fitted.views, **views))  # type: ignore[type-var, union-attr, arg-type]
            m = replace(m, training=fitted)
    return m


def published_number(text: str = "a photo of a {name}.", **more: str) -> PublishedNumber:
    """A number whose source states the settings `more`."""
    setting = Setting(32, "1x1", text, "CLIP ViT-B/16 (OpenAI)", "the authors", None, tuple(more.items()))
    return PublishedNumber(
        "paper", "few_shot", "", "own-method", "Own", "tuning", None, "HMDB-51", "k2", "50.0", None, "", setting, ()
    )


def differences(m: Measurement, **more: str) -> list[str]:
    """The differences from a number whose source states the settings `more`, each once."""
    return list(dict.fromkeys(setting_differences(published_number(**more), m)))


def recipe(**changes: object) -> dict[str, object]:
    return {"recipe": tuple(changes.items())}


@pytest.mark.parametrize(
    ("sample", "stated", "expected"),
    [
        # The choice of the evaluated epoch.
        ({}, {"selection": ON_LIST}, ["last epoch, paper best epoch on the evaluation list"]),
        (recipe(selection="epoch:5"), {"selection": ON_LIST}, []),
        (recipe(selection="epoch:11"), {"selection": "best epoch on the K-400 evaluation list"}, []),
        (recipe(average="2-11"), {"selection": ON_LIST}, [
            "mean of the epochs 2-11, paper best epoch on the evaluation list", "changed recipe: average=2-11",
        ]),
        (recipe(selection="epoch:11"), {"selection": ON_LIST, "candidates": "1, 11"}, []),
        (recipe(selection="epoch:5"), {"selection": ON_LIST, "candidates": "1, 11"}, [
            "epoch 5, paper one of the epochs 1, 11",
        ]),
        ({}, {"selection": ON_LIST, "candidates": "1, 11"}, ["last epoch, paper best epoch on the evaluation list"]),
        ({}, {"selection": "last epoch"}, []),
        (recipe(selection="epoch:5"), {"selection": "last epoch"}, ["epoch 5, paper last epoch"]),
        ({}, {"selection": NOT_STATED}, []),
        (recipe(selection="epoch:5"), {"selection": NOT_STATED}, [
            "checkpoint selection epoch:5 (chosen on the evaluation list), prescribed last",
            "changed recipe: selection=epoch:5",
        ]),
        # The recipe.
        (recipe(initial_share=0.2), {"initial_share": "0.2"}, []),
        ({}, {"initial_share": "0.2"}, ["initial_share 0, paper 0.2"]),
        ({}, {"initial_share": "0 or 0.3"}, []),
        (recipe(initial_share=0.3), {"initial_share": "0 or 0.3"}, []),
        (recipe(initial_share=0.5), {"initial_share": "0 or 0.3"}, ["initial_share 0.5, paper 0 or 0.3"]),
        (recipe(average="2-11"), {"average": "2-11", "selection": "last epoch"}, []),
        ({}, {"average": "2-11"}, ["average none, paper 2-11"]),
        (recipe(augmentation="none", flip=False), {"augmentation": "none", "flip": "false"}, []),
        (recipe(augmentation="none", lr=1e-3), {"augmentation": "none"}, ["changed recipe: lr=0.001"]),
        ({}, {"augmentation": "resized_crop:0.08-1"}, ["augmentation published, paper resized_crop:0.08-1"]),
        (recipe(augmentation="none"), {"augmentation": NOT_STATED}, ["changed recipe: augmentation=none"]),
        # Class names, class texts, options.
        ({"label_variant": "split"}, {"label_set": "split"}, []),
        ({"label_variant": "split"}, {}, ["split class names"]),
        ({}, {"label_set": "split"}, ["published class names, paper split"]),
        ({}, {"label_set": "published or split"}, []),
        ({"options": (("stop", "batch"),)}, {"options": "stop=batch"}, []),
        ({}, {"options": "stop=batch"}, ["option stop pair, paper batch"]),
        ({}, {"options": "head=classes"}, ["option head none, paper classes"]),
        # Lists and forms of a method that the harness does not have.
        ({}, {"training_list": "complete base lists"}, ["training lists of the protocol, paper complete base lists"]),
        ({}, {"evaluation_list": "test split 1 alone"}, ["evaluation lists of the protocol, paper test split 1 alone"]),
        ({}, {"variant": "other adapters"}, ["another form of the method in the paper: other adapters"]),
        # Names that are no settings are information.
        ({}, {"repeats": "split 1", "coverage": "all"}, []),
    ],
)  # fmt: skip
def test_a_stated_setting_is_compared_with_the_source(
    sample: dict[str, object], stated: dict[str, str], expected: list[str]
) -> None:
    assert differences(measured(**sample), **stated) == expected


DENSE: dict[str, object] = {"views.sampling": "dense_mid:4", "views.clips": 3}


@pytest.mark.parametrize(
    ("changes", "stated", "expected"),
    [
        # A rule samples the frames of a single view, too.
        ({"views.sampling": "segments"}, {"sampling": "segments"}, []),
        ({}, {"sampling": "segments"}, ["sampling centre, paper segments"]),
        ({"views.sampling": "segments"}, {}, ["sampling segments, prescribed centre"]),
        ({"views.sampling": "uniform"}, {"sampling": "random"}, []),
        (DENSE, {"sampling": "dense_mid:4"}, ["clips 3, paper 1"]),
        (DENSE, {"sampling": "dense_mid"}, ["clips 3, paper 1"]),
        (DENSE, {"sampling": "dense_hold"}, ["clips 3, paper 1", "sampling dense_mid:4, paper dense_hold"]),
        (DENSE, {"sampling": "dense_mid:16"}, ["clips 3, paper 1", "sampling dense_mid:4, paper dense_mid:16"]),
        # Statistics, reader, resize and combination of views.
        ({"views.normalize": "clip"}, {"normalize": "clip"}, []),
        ({"views.reader": "exact"}, {}, ["reader exact, prescribed decord"]),
        ({"views.reader": "exact"}, {"reader": "exact"}, []),
        ({"views.resize": "slowfast", "views.combine": "logits"}, {"resize": "slowfast", "combine": "logits"}, []),
        ({}, {"resize": "slowfast"}, ["resize published, paper slowfast"]),
        ({"views.combine": "logits"}, {}, ["combine logits, prescribed probabilities"]),
        ({"views.combine": "logits"}, {"combine": NOT_STATED}, []),
        # The views of the fit.
        ({"views.normalize": "clip"}, {"normalize": "clip", "training_normalize": "clip"},
         ["training normalize imagenet, paper clip"]),
        ({"training.sampling": "dense_mid:4"}, {"training_sampling": "dense_mid"}, []),
        ({}, {"training_sampling": "the centre of each segment"},
         ["training sampling centre, paper the centre of each segment"]),
    ],
)  # fmt: skip
def test_views_are_compared_with_the_source(
    changes: dict[str, object], stated: dict[str, str], expected: list[str]
) -> None:
    assert differences(measured(changes), **stated) == expected


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ("last epoch, paper best epoch on the evaluation list", "last epoch"),
        ("option stop pair, paper batch", "other option"), ("initial_share 0, paper 0.2", "0.2 initial share"),
        ("published class names, paper split", "published names"), ("split class names", "split names"),
        ("training lists of the protocol, paper complete base lists", "other training"),
        ("evaluation lists of the protocol, paper test split 1 alone", "other videos"),
        ("another form of the method in the paper: other adapters", "other form"),
        ("training normalize imagenet, paper clip", "training views"),
    ],
)  # fmt: skip
def test_differences_have_two_words(difference: str, words: str) -> None:
    assert two_words(difference) == words


@pytest.mark.parametrize("method", ["froster", "open_vclip", "vita_clip"])
def test_methods_of_later_papers_have_published_numbers(method: str) -> None:
    m = measured(method=method, protocol="zero_shot", part="all", dataset="ucf101")
    assert has_published(m) and published_ids(m) == {published_method(m)} == {method.replace("_", "-")}


@pytest.mark.parametrize(
    ("indices", "why"),
    [
        ((1,), ()), ((2,), ("test split 2, paper test split 1 alone", "1 of 3 repeats")),
        ((1, 2, 3), ("test split 2, paper test split 1 alone", "test split 3, paper test split 1 alone")),
    ],
)  # fmt: skip
def test_a_source_that_measured_one_repeat_is_compared_with_this_repeat(
    tmp_path: Path, indices: tuple[int, ...], why: tuple[str, ...]
) -> None:
    for index in indices:
        write_sample(tmp_path, replace(HMDB, protocol="zero_shot", part="all"), repeat=("test_split", index))
    (row,) = rows_of(read_entries(tmp_path).entries)
    number = replace(published_number(repeat="1"), table="zero_shot", column="top1")
    assert row_differences(number, row.cells["top1"], row) == why


INFORMATION = ("repeats", "extra_data", "precision")
NO_SETTING = ("the centre of each segment", "JPEG files")
"""Stated values that no setting of a run can have, so that they differ from every row."""
COMPARED = ("selection", "candidates", "repeat", "label_set", "options", "training_list", "evaluation_list", "variant")


def test_every_stated_setting_has_a_name_and_a_value_that_are_compared() -> None:
    """A misspelt name or value would be a difference from every row, or from none."""
    views = {"sampling", "normalize", "reader", "resize", "combine"}
    recipes = {"average", "initial_share", "augmentation", "flip", "micro_batch", "accumulate"}
    for setting in {number.setting for number in published_numbers()}:
        stated = dict(setting.further)
        in_training = {name.removeprefix("training_"): text for name, text in stated.items() if name != "training_list"}
        assert stated.keys() - views - recipes <= {*INFORMATION, *COMPARED, *(f"training_{name}" for name in views)}
        assert stated.get("selection", "last epoch").startswith(("last epoch", "best epoch on "))
        assert all(epoch.isdecimal() for epoch in stated.get("candidates", "1").split(", "))
        assert stated.get("label_set", "split") in ("published", "corrected", "split", "published or split")
        if setting.views:
            clips, _, crops = setting.views.partition("x")
            assert int(clips) and int(crops)
        for name, text in in_training.items():
            for value in text.split(" or ") if text not in NO_SETTING else ():
                if name in views:
                    stride = ":8" if name == "sampling" and value in DENSE_RULES else ""
                    Views(**{name: value + stride})  # type: ignore[arg-type]
                elif name == "augmentation":
                    Recipe(epochs=30, lr=1.0, augmentation=value)
                elif name == "average":
                    assert Recipe(epochs=30, lr=1.0, average=value).average == value
                elif name == "initial_share":
                    assert 0 <= float(value) < 1
