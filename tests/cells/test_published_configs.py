"""The 67 configurations of ViFi-CLIP as requests of the harness, compared value by value with a table of facts.

`vificlip_configs.csv` holds the settings of each file below `configs/` of muzairkhattak/ViFi-CLIP (e2d1948). Training
settings are empty for the files of `zero_shot/eval`, which the original uses for evaluation only.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.cells.cell import Cells, EvalCell
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.data.official.cards import load_card, published_labels, published_lists
from harness.machine.settings import load_settings
from harness.submitting.benchmark_facts import pair_facts
from results.measurement_words import open_reasons

METHODS = ("vificlip", "bridge_prompt", "image_ft", "text_ft")
CONFIGS = list(csv.DictReader((Path(__file__).parent / "vificlip_configs.csv").open()))
PUBLISHED = {
    "b2n": (METHODS[:2], ("hmdb51", "ucf101", "k400", "ssv2")), "few_shot": (METHODS[:2], ("hmdb51", "ucf101", "ssv2")),
    "supervised": (("vificlip", "image_ft", "text_ft"), ("k400",)),
    "zero_shot": (("vificlip",), ("hmdb51", "ucf101", "k600")),
    "zero_shot of one encoder": (("image_ft", "text_ft"), ("hmdb51",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def requested(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Cells]:
    """The cells of each protocol on its published datasets, from the authors' lists."""
    tmp = tmp_path_factory.mktemp("configs")
    # The authors' K-400 training list is not in the reference folder; its rows are not compared below.
    train = tmp / "k400" / "k400_splits" / "train.txt"
    train.parent.mkdir(parents=True)
    train.write_text("".join(f"train/{i:011d}_000000_000010.mp4 {i}\n" for i in range(400)))
    flags = {"runs": str(tmp / "runs"), "cache": str(tmp / "cache"), "data.k400": str(tmp / "k400")}
    settings = load_settings({**flags, "lists": str(shared / "splits" / "vificlip")}, {})

    def cells_of(key: str) -> Cells:
        (methods, datasets), protocol = PUBLISHED[key], key.split()[0]
        parts = ("all", "source") if protocol == "zero_shot" else ()
        request = Request(tuple(map(MethodChoice, methods)), (protocol,), datasets, parts=parts)
        return expand(request, settings)

    return {key: cells_of(key) for key in PUBLISHED}


def cell_of(config: Mapping[str, str], cells: Cells) -> EvalCell:
    """The eval that a configuration describes."""
    evaluated = "k400" if config["part"] == "source" else config["dataset"]
    # All targets of a zero-shot fit have equal evals of its source.
    found = {(cell.row.name, cell.eval.part, cell.dataset.name, cell.repeat.index): cell for cell in cells.evals}
    return found[config["method"], config["part"], evaluated, int(config["repeat"] or 1)]


def values_of(cell: EvalCell, is_trained: bool) -> dict[str, str]:
    """The settings of a cell under the names of the table; numbers as text."""
    fit = cell.fit
    assert fit is not None
    test = load_card(cell.dataset.name).find_list(cell.eval.test.list)
    views = cell.views
    values: dict[str, str | int | float] = {
        "frames": views.frames, "clips": views.clips, "crops": views.crops,
        "val_file": test.file, "val_rows": len(cell.test),
        "classes": len(cell.labels), "labels": load_card(cell.dataset.name).label_files[test.labels].file,
    }  # fmt: skip
    if is_trained:
        recipe, train = fit.recipe, load_card(fit.dataset.name).find_list(fit.fit.train.list)
        values |= {
            "epochs": recipe.epochs, "lr": recipe.lr, "accumulate": recipe.accumulate,
            "micro_batch": recipe.micro_batch, "train_file": train.file, "train_rows": len(fit.train),
        }  # fmt: skip
        assert fit.views.frames == views.frames
    if cell.row.name == "bridge_prompt":
        options = cell.row.options
        names = ("vision_tokens", "text_tokens", "vision_depth", "text_depth")
        values |= {name: getattr(options, name) for name in names}
    return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}


def test_the_table_holds_all_published_configurations() -> None:
    assert len(CONFIGS) == 67 == len({config["config"] for config in CONFIGS})


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config["config"].replace("/", "-"))
def test_a_published_configuration_is_a_request(config: Mapping[str, str], requested: Mapping[str, Cells]) -> None:
    is_one_encoder = config["protocol"] == "zero_shot" and config["method"] != "vificlip"
    cell = cell_of(config, requested["zero_shot of one encoder" if is_one_encoder else config["protocol"]])
    values = values_of(cell, is_trained=bool(config["epochs"]))
    settings = {name: value for name, value in config.items() if name in values and value != ""}
    assert {name: values[name] for name in settings} == settings
    assert set(values) - set(settings) <= {"train_rows"}, "only the rows of the K-400 training list are unknown"


@pytest.mark.parametrize("protocol", PUBLISHED)
def test_lists_and_class_names_are_the_published_ones(protocol: str, requested: Mapping[str, Cells]) -> None:
    cells = requested[protocol]
    used = {(c.dataset.name, c.fit.train.list): c.train for c in cells.fits if c.train.name != "train"}
    used |= {(c.dataset.name, c.eval.test.list): c.test for c in cells.evals}
    for (dataset, name), rows in used.items():
        assert rows.sha256 == published_lists()[load_card(dataset).find_list(name).file].content_sha256, (dataset, name)
    for cell in cells.evals:
        card, labels = load_card(cell.dataset.name), cell.eval.test.labels
        assert cell.labels.names == card.labels(labels).names
        file = published_labels()[card.label_files[labels].file]
        assert hashlib.sha256(card.label_bytes(labels)).hexdigest() == file.sha256


@pytest.mark.parametrize("protocol", ["b2n", "few_shot"])
def test_bridge_prompt_starts_from_one_fit_on_k400(protocol: str, requested: Mapping[str, Cells]) -> None:
    """The published prompts are trained on one ViFi-CLIP that was fitted on K-400, SSv2 included."""
    zero_shot = {cell.key for cell in requested["zero_shot"].fits if cell.row.name == "vificlip"}
    parents = {
        cell.dataset.name: cell.parent.key
        for cell in requested[protocol].fits
        if cell.row.name == "bridge_prompt" and cell.parent is not None
    }
    assert set(parents) == set(PUBLISHED[protocol][1]) and set(parents.values()) == zero_shot


def test_a_parent_fit_on_the_evaluated_dataset_is_named_and_open(requested: Mapping[str, Cells]) -> None:
    cells = requested["b2n"]
    bridged = {c.dataset.name: c for c in cells.evals if c.row.name == "bridge_prompt" and c.eval.part == "novel"}
    reasons = {name: open_reasons(cell.measurement) for name, cell in bridged.items()}
    assert "a chosen source" in reasons["k400"] and "a chosen source" not in reasons["ssv2"]
    (note,) = cells.notes
    assert "bridge_prompt b2n on k400 starts from a fit on all classes of k400, novel classes included" in note


def test_the_checker_accepts_the_published_parent_fit_of_ssv2_and_none_on_k400() -> None:
    ssv2, k400 = pair_facts("b2n", "ssv2"), pair_facts("b2n", "k400")
    assert ssv2 is not None and k400 is not None
    assert ssv2.parent is not None and (ssv2.parent.dataset, ssv2.parent.name) == ("k400", "train")
    assert k400.parent is None
