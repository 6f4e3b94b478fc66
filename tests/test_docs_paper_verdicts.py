"""The commands of docs/methods.md measure what their papers did: no setting differs but those that are named here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from harness.cells.cell import Cells
from reports.paper import protocol_of, published_ids
from reports.setting_differences import option_changes, setting_differences
from results.measurement import Measurement
from results.published_numbers import DATASETS, PublishedNumber, harness_names, published_numbers
from tests.test_docs_paper_commands import COMMANDS, PAGE, Command, options_of, planned, replaced, write_papers

METHODS = (
    "open_vclip", "froster", "tc_clip", "mote", "ost", "ez_clip", "st_adapter", "aim", "vita_clip", "mformer",
)  # fmt: skip
"""Methods with commands whose numbers are published for the backbone of the commands."""
FAST = ("open_vclip", "tc_clip", "st_adapter")
"""Methods whose first command is planned by default; all of them together take half a minute."""
_UNSTATED = (
    "frames 8, prescribed 32", "clips 3, prescribed 1", "sampling dense_hold:16, prescribed centre",
    "normalize clip, prescribed imagenet", "reader exact, prescribed decord", "resize floats, prescribed published",
    "changed recipe: augmentation=rand-m7-n4-mstd0.5-inc1+resized_crop:0.08-1:bilinear", "not a published recipe",
)  # fmt: skip
TRUE_DIFFERENCES: dict[tuple[str, ...], tuple[str, ...]] = {
    # Its scripts test one of the three splits, which `--repeat 1` measures, and other classes of K-600.
    # Its frames were extracted before training.
    ("ez-clip", "zero_shot"): (
        "reader decord, paper JPEG files", *(f"test split {i}, paper test split 1 alone" for i in (2, 3))
    ),
    ("ez-clip", "zero_shot", "K-600"): ("evaluation lists of the protocol, paper 11,462 videos of 232 classes",),
    # Its recipes are for complete base lists, which the protocol does not have, and for frames that are not drawn.
    ("ez-clip", "b2n"): (
        "reader decord, paper JPEG files", "training lists of the protocol, paper complete base lists",
        "not a published recipe",
        "training sampling segments_actionclip, paper the centre of each segment",
    ),
    # Its lists of K-400 are subsets of the published lists.
    ("froster", "b2n", "K-400"): (
        "training lists of the protocol, paper 3,108 to 3,121 of the 3,200 videos",
        "evaluation lists of the protocol, paper 9,883 of the 9,944 base and 9,857 of the 9,933 novel videos",
    ),
    # The state of the optimiser and the rates of the first fit are new in each fit here.
    ("ost-k400", "few_shot"): (
        "another form of the method in the paper: the optimiser and the schedule of the K-400 fit are continued",
    ),
    # The training and the views behind its zero-shot numbers are not published.
    ("vita-clip", "zero_shot"): _UNSTATED,
    # A switch of the released code without a printed number.
    ("mformer", "supervised"): ("option attention joint, paper trajectory",),
}  # fmt: skip
"""Differences that remain, by method, protocol and, where they depend on it, dataset. A difference that the page has
removed may remain here."""


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_papers(tmp_path_factory.mktemp("papers"))


def compared(cells: Cells) -> Iterator[tuple[PublishedNumber, tuple[str, ...]]]:
    """For each column, the published number with the fewest differences from the planned row, with the differences."""
    by_column: dict[tuple[str, ...], dict[PublishedNumber, dict[str, None]]] = {}
    for cell in cells.evals:
        m, defaults = cell.measurement, cell.row.defaults.as_dict()
        for number in numbers_of(m):
            column = by_column.setdefault((m.method.name, number.dataset, number.column), {})
            why = (*setting_differences(number, m), *option_changes(number, m, defaults))
            column.setdefault(number, {}).update(dict.fromkeys(why))
    for numbers in by_column.values():
        nearest = min(numbers, key=lambda number: (number.setting.measured_by.endswith("re-run"), len(numbers[number])))
        yield nearest, tuple(numbers[nearest])


def numbers_of(m: Measurement) -> Iterable[PublishedNumber]:
    key = (m.protocol.name, m.evaluation.list.dataset)
    listed = (number for number in published_numbers() if number.dataset and number.column != "gflops")
    return [n for n in listed if (protocol_of(n), DATASETS[n.dataset]) == key and n.method in published_ids(m)]


def remaining(number: PublishedNumber) -> tuple[str, ...]:
    """The differences of `TRUE_DIFFERENCES` for a number."""
    key = (number.method, protocol_of(number))
    return (*TRUE_DIFFERENCES.get(key, ()), *TRUE_DIFFERENCES.get((*key, number.dataset), ()))


def with_epoch(command: Command) -> Command:
    """The command with an epoch by number, as the page measures each candidate of a best epoch."""
    if "selection=" in " ".join(command.words):
        return command
    kept = [values[0] for option, *values in options_of(command.words[1:]) if option == "--keep-epochs"]
    # The epochs that the papers of few-shot fits evaluate have a distance of ten.
    usual = "11" if "few_shot" in command.words else "5"
    epoch = kept[0].split(",")[0] if kept and kept[-1] != "all" else usual
    return replace(command, words=replaced(command.words, ("--recipe", f"selection=epoch:{epoch}")))


def own_backbone() -> list[ParameterSet]:
    """The commands with the backbone of the published numbers."""
    commands = [c for c in COMMANDS if c.method in METHODS and "ViT-L-14" not in c.words]
    fast = [next(c for c in commands if c.method == method) for method in FAST]
    marks = [[] if command in fast else [pytest.mark.slow] for command in commands]
    return [pytest.param(command, id=str(command), marks=mark) for command, mark in zip(commands, marks, strict=True)]


@pytest.mark.parametrize("command", own_backbone())
def test_a_command_measures_what_the_paper_measured(
    command: Command, papers: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = shared / "splits" / "vificlip"
    found = list(compared(planned(command, papers, lists, monkeypatch)[0]))
    for number, why in found:
        selection = number.setting.further.get("selection", "")
        chosen = f"last epoch, paper {selection}"
        assert set(why) - {chosen} <= set(remaining(number)), (number.method, number.dataset, why)
        # The last epoch is not the best epoch of the paper: the page says which option evaluates a candidate.
        assert (chosen in why) is (selection.startswith("best") and "selection=" not in " ".join(command.words))
    if any(number.setting.further.get("selection", "").startswith("best") for number, _ in found):
        for number, why in compared(planned(with_epoch(command), papers, lists, monkeypatch)[0]):
            assert set(why) <= set(remaining(number)), (number.method, number.dataset, why)


@pytest.mark.slow
def test_every_command_with_a_published_number_is_compared(
    papers: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each method has one; the tables of `TRUE_DIFFERENCES` belong to published numbers."""
    lists = shared / "splits" / "vificlip"
    commands = [c for c in COMMANDS if c.method in METHODS and "ViT-L-14" not in c.words]
    numbers = {number for c in commands for number, _ in compared(planned(c, papers, lists, monkeypatch)[0])}
    assert {number.method.replace("-", "_") for number in numbers} >= set(METHODS)
    keys = {(n.method, protocol_of(n)) for n in numbers} | {(n.method, protocol_of(n), n.dataset) for n in numbers}
    assert set(TRUE_DIFFERENCES) <= keys
    (alone,) = [c for c in commands if c.method == "ez_clip" and "--repeat" in c.words and "hmdb51" in c.words]
    ((_, why),) = compared(planned(with_epoch(alone), papers, lists, monkeypatch)[0])
    assert why == ("reader decord, paper JPEG files",)


OWN_SOURCES = {
    "aim": "aim", "ez_clip": "ez-clip", "froster": "froster", "mote": "mote", "motionformer": "mformer", "ost": "ost",
    "st_adapter": "st-adapter", "tc_clip": "tc-clip",
}  # fmt: skip
"""Sources of the later methods' own numbers, and the beginning of the methods' ids."""


def test_own_numbers_of_later_methods_state_reader_and_class_names() -> None:
    """A setting that a source file leaves out counts as the protocol's: both were once left out and differed."""
    own = [n for n in published_numbers() if n.method.startswith(OWN_SOURCES.get(n.source, "-"))]
    assert {n.source for n in own} == set(OWN_SOURCES)
    for number in own:
        assert "reader" in number.setting.further, number
        if number.dataset in ("HMDB-51", "UCF-101"):
            assert "label_set" in number.setting.further, number


NAMES_OF_HMDB = {
    ("froster", "zero_shot"): "corrected", ("froster", "b2n"): "published", ("mote", "zero_shot"): "corrected",
    ("tc-clip", "few_shot"): "published", ("tc-clip-llm", "few_shot"): "corrected", ("ost", "few_shot"): "published",
    ("ez-clip", "b2n"): "corrected", ("open-vclip", "zero_shot"): "corrected",
}  # fmt: skip
"""Class names of HMDB-51 in the label files of the originals, two pairs of which are exchanged in `published`."""


@pytest.mark.parametrize(("method", "protocol"), NAMES_OF_HMDB)
def test_class_names_of_hmdb51_are_those_of_the_original(
    method: str, protocol: str, papers: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of the page for HMDB-51 takes the same names as the source of the number."""
    stated = {
        n.setting.further["label_set"] for n in published_numbers()
        if (n.method, protocol_of(n), n.dataset) == (method, protocol, "HMDB-51") and "label_set" in n.setting.further
    }  # fmt: skip
    wanted = NAMES_OF_HMDB[method, protocol]
    assert stated == {wanted}
    name = harness_names()[method].partition(":")[0]
    sentences = method.endswith("llm")
    commands = [
        c for c in COMMANDS if c.method == name and {protocol, "hmdb51"} <= set(c.words) and "--part" not in c.words
        and ("sentences.json" in " ".join(c.words)) is (sentences or name == "froster")
    ]  # fmt: skip
    assert commands
    for command in commands:
        assert (("corrected" in command.words) is (wanted == "corrected")), command


@pytest.mark.parametrize("name", ["st_adapter", "aim", "mformer"])
def test_numbers_that_the_page_prints_are_published_numbers(name: str) -> None:
    """The column `published` of the tables with numbers, for one method with its configurations."""
    values = {n.value for n in published_numbers() if harness_names().get(n.method, "").partition(":")[0] == name}
    printed: set[str] = set()
    for _, header, rows in re.findall(r"(^|\n)(\|[^\n]*published[^\n]*\|)\n\|[ |-]+\|\n((?:\|[^\n]*\n)+)", PAGE):
        column = next(i for i, cell in enumerate(header.split(" | ")) if "published" in cell)
        cells = (row.split(" | ")[column] for row in rows.splitlines() if f"`{name}`" in row.split(" | ")[0])
        printed |= {number for cell in cells for number in re.findall(r"\d+\.\d", cell)}
    assert printed and printed <= values


DEFAULTS = {
    "open_vclip": "zero_shot", "froster": "zero_shot", "tc_clip": "few_shot", "mote": "zero_shot", "ost": "few_shot",
    "ez_clip": "zero_shot", "st_adapter": "supervised", "aim": "supervised", "vita_clip": "zero_shot",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("method", "protocol"), DEFAULTS.items())
def test_the_default_way_of_a_later_method_differs_from_its_paper(
    method: str, protocol: str, papers: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = "k400" if protocol == "supervised" else "ucf101"
    command = Command(("run", "--method", method, "--protocol", protocol, "--dataset", dataset))
    cells, _ = planned(command, papers, shared / "splits" / "vificlip", monkeypatch)
    found = list(compared(cells))
    assert found and all(why for _, why in found)
