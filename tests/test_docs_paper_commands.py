"""The commands of docs/methods.md that measure methods as their papers did, and the rows below them: each is a plan."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet

from harness import cli
from harness.base.errors import UserError
from harness.cells.cell import Cells
from harness.cells.from_request import expand
from harness.cells.plan import Plan, make_plan
from harness.commands._run_arguments import described_run
from harness.data.official.cards import LABEL_VARIANTS, OFFICIAL, load_card
from harness.plugins import registry
from reports.paper import published_ids
from results.published_numbers import DATASETS, PAPER, harness_names, published_numbers
from tests.conftest import ROOT
from tests.methods.test_later_checkpoints import build, viclip_file

PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
PROTOCOLS = {"zero-shot": "zero_shot", "few-shot": "few_shot"}
SINGLE = ("--method", "--protocol", "--dataset", "--label-set", "--arch", "--checkpoint")
"""Options of which a row replaces the value; settings `KEY=VALUE` are replaced by key."""


@dataclass(frozen=True)
class Command:
    """A command of the page, or of a row of a table below it.

    Args:
        words: The arguments of `python -m harness`.
        where: The row as printed; empty for the command of a block.
    """

    words: tuple[str, ...]
    where: str = ""

    @property
    def method(self) -> str:
        """Registered name of the first method."""
        return self.words[self.words.index("--method") + 1].partition(":")[0]

    def __str__(self) -> str:
        return re.sub(r"[^\w.]+", "-", self.where or " ".join(self.words))[:80]


def options_of(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The options of a command line, each with its values."""
    option: list[str] = []
    for word in words:
        if word.startswith("--") and option:
            yield tuple(option)
            option = []
        option.append(word)
    if option:
        yield tuple(option)


def replaced(words: tuple[str, ...], option: tuple[str, ...]) -> tuple[str, ...]:
    """A command line with an option in place of the one of the same name, or of the same setting of that name."""
    flag, *values = option

    def is_same(other: tuple[str, ...]) -> bool:
        same_setting = len(other) > 1 and other[1].partition("=")[0] == values[0].partition("=")[0]
        return other[0] == flag and (flag in SINGLE or same_setting)

    verb, rest = words[0], list(options_of(words[1:]))
    kept = [other for other in rest if not is_same(other)]
    return (verb, *(word for part in (*kept, option) for word in part))


def commands_of(block: str) -> list[Command]:
    lines = block.replace("\\\n", " ").splitlines()
    return [Command(tuple(shlex.split(line)[3:])) for line in lines if line.startswith("python -m harness run")]


def changed(command: Command, cells: list[str]) -> Iterator[Command]:
    """The commands of a row: method, protocol with datasets, and the changes; one command for each dataset."""
    words = command.words
    texts = " ".join(cells[:3])
    if protocol := next((p for p in (*PROTOCOLS, *registry.sources("protocol")) if p in cells[1].split(",")[0]), ""):
        words = replaced(words, ("--protocol", PROTOCOLS.get(protocol, protocol)))
    if "ViT-L/14" in cells[0]:
        words = replaced(words, ("--arch", "ViT-L-14"))
    for name in re.findall(r"without `(\w+)`", texts):
        words = tuple(
            word for option in (words[:1], *options_of(words[1:]))
            if not (option[0] == "--views" and option[1].startswith(f"{name}=")) for word in option
        )  # fmt: skip
    # The fragments of the first alternative, which the row gives in the order of its datasets.
    for fragment in re.findall(r"`([^`]+)`", cells[2] if len(cells) > 2 else ""):
        if fragment.startswith("--"):
            for option in options_of(shlex.split(fragment)):
                words = replaced(words, option)
        elif re.match(r"\w+:\w+=", fragment):
            words = replaced(words, ("--method", fragment.replace("=FILE", "=sentences.json")))
    titles = () if "all but" in cells[1] else re.findall("K-400|K-600|HMDB-51|UCF-101|SSv2", cells[1])
    if "the label set of UCF-101 does not apply" in texts:
        words = tuple(w for option in (words[:1], *options_of(words[1:])) if option[0] != "--label-set" for w in option)
    named = [DATASETS[title] for title in titles]
    if not named or "--dataset" in (cells[2] if len(cells) > 2 else ""):
        yield replace(command, words=words, where=texts)
    for name in named if "--dataset" not in (cells[2] if len(cells) > 2 else "") else ():
        yield replace(command, words=replaced(words, ("--dataset", name)), where=f"{texts} {name}")


def page_commands() -> list[Command]:
    """The commands of the blocks of the page, and of the rows of the tables below them."""
    found: list[Command] = []
    for block, table in re.findall(r"^```sh\n(.*?)^```\n((?:(?!```|## )[^\n]*\n)*)", PAGE, flags=re.S | re.M):
        of_block = commands_of(block)
        found += of_block
        for line in table.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            name = re.match(r"`(\w+)`", cells[0])
            bases = [command for command in found if name and command.method == name[1]]
            if line.startswith("| `") and bases and cells[0]:
                found += changed(bases[0], cells)
    return found


COMMANDS = page_commands()


LATER = (
    "open_vclip", "froster", "tc_clip", "mote", "ost", "ez_clip", "st_adapter", "aim", "vita_clip", "viclip",
    "mmaction2", "mformer",
)  # fmt: skip
"""Methods that were published with other settings than the defaults; `lora` was published for pictures alone."""
CLASSES = {
    "k400/k400_splits/train.txt": 400, "k600/k600_splits/train.txt": 600, "k600/k600_splits/val.txt": 600,
    "ssv2/ssv2_splits/train.txt": 174,
}  # fmt: skip
"""Lists that the reference folder lacks, with their number of classes; the tests write one row of each class."""


@pytest.fixture(scope="module")
def papers(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_papers(tmp_path_factory.mktemp("papers"))


def write_papers(folder: Path) -> Path:
    """Write the files that the commands name, and the lists of `CLASSES`; returns the folder."""
    for file, classes in CLASSES.items():
        write_list(folder / file, classes)
    for command in COMMANDS:
        for file in re.findall(r"[\w.-]+\.(?:pyth|pth|json)", " ".join(command.words)):
            write_file(folder / file)
    return folder


def write_list(path: Path, classes: int) -> None:
    """A list of K-400, K-600 or SSv2 with one row of each class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = "1{0:05d}.webm {0}" if "ssv2" in path.parts else path.stem + "/{0:011d}_000000_000010.mp4 {0}"
    path.write_text("".join(form.format(i) + "\n" for i in range(classes)))


def write_file(path: Path) -> None:
    """A file that a command names: class texts of the kinds that its method reads, or weights."""
    if path.suffix != ".json":
        # The plan of ViCLIP reads which tensors the file holds; other files are hashed.
        torch.save(viclip_file(build("viclip")) if "ViClip" in path.name else {}, path)
        return
    kinds = ("spatial", "temporal") if path.stem == "ost" else ()
    sections = []
    for dataset in OFFICIAL:
        for variant in LABEL_VARIANTS:
            names = load_card(dataset).labels("all", variant).names
            texts = {name: {kind: [name] for kind in kinds} if kinds else f"{name}: a video" for name in names}
            sections.append({"name": f"{dataset} {variant}", "texts": texts})
    path.write_text(json.dumps({"form": "class texts 1", "source": "llm", "sections": sections}))


def planned(command: Command, folder: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Cells, Plan]:
    """The cells and the plan of a command in a folder, with the published lists of another folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")
    lists = ("--lists-dir", str(published))
    data = [word for name in ("k400", "k600", "ssv2") for word in ("--data", f"{name}={folder / name}")]
    arguments = cli.build_parser().parse_args([*command.words, *lists, *data, "--runs", str(folder / "runs")])
    request, settings = described_run(arguments)
    cells = expand(request.request, settings)
    return cells, make_plan(cells)


def test_fits_of_tc_clip_can_start_from_a_k400_fit(papers: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows `P` of its tables: the first fit has the same options, and the views and recipe of zero-shot."""
    lists = shared / "splits" / "vificlip"
    commands = [c for c in COMMANDS if c.method == "tc_clip" and "start=source" in " ".join(c.words)]
    assert {c.words[c.words.index("--protocol") + 1] for c in commands} == {"few_shot", "b2n"}
    for command in (commands[0], commands[-1]):
        changed = replaced(command.words, ("--method", "tc_clip:start=source,tokens=48"))
        fits = planned(Command(changed), papers, lists, monkeypatch)[0].fits
        (parent,) = (fit for fit in fits if fit.parent is None)
        children = [fit for fit in fits if fit.parent is not None]
        training, options = parent.described.training, parent.row.options
        assert (parent.dataset.name, parent.protocol, training.recipe.epochs) == ("k400", "zero_shot", 10)
        assert (options.tokens, options.start, training.recipe.initial_share) == (48, "clip", 0.0)
        assert {fit.described.training.start.key for fit in children} == {parent.key}
        assert {fit.row.options.tokens for fit in children} == {48} and "source" in str(children[0].row.card.extra_data)


def test_few_shot_fits_of_ost_can_start_from_a_k400_fit(
    papers: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the descriptors of its command, and the last weights: CLIP is mixed in for zero-shot evaluation alone."""
    command = next(c for c in COMMANDS if c.method == "ost" and "start=source" in " ".join(c.words))
    lists = shared / "splits" / "vificlip"
    fits = planned(command, papers, lists, monkeypatch)[0].fits
    (parent,) = (fit for fit in fits if fit.parent is None)
    children = [fit for fit in fits if fit.parent is not None]
    assert {fit.described.training.start.key for fit in children} == {parent.key} and len(children) > 1
    training, options = parent.described.training, parent.row.options
    assert (parent.dataset.name, parent.protocol, training.recipe.epochs) == ("k400", "zero_shot", 10)
    assert (training.recipe.initial_share, training.declared.initial_share) == (0.0, 0.0)
    assert (options.class_texts, options.stop, options.start) == ("ost.json", "batch", "clip")
    plain = replaced(command.words, ("--method", "ost:class_texts=ost.json,stop=batch"))
    others = planned(Command(plain), papers, lists, monkeypatch)[0].fits
    assert {f.described.training.recipe.lr for f in others} == {f.described.training.recipe.lr for f in children}
    assert not {fit.key for fit in others} & {fit.key for fit in children}
    itself = replaced(command.words, ("--protocol", "zero_shot"))
    with pytest.raises(UserError, match="ost would start its fit on k400/train from a fit on the same list"):
        planned(Command(itself), papers, lists, monkeypatch)


def test_every_later_method_has_a_command() -> None:
    assert {command.method for command in COMMANDS} == set(LATER)
    assert len(COMMANDS) > 40


def test_the_commands_of_rows_are_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of blocks are parsed in test_docs_pages.py."""
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")
    parser = cli.build_parser()
    for command in COMMANDS:
        parser.parse_args(command.words)


def first_fast() -> list[ParameterSet]:
    """The plan of one command is made by default; all of them together take ten seconds."""
    fast = next(command for command in COMMANDS if command.method == "mformer")
    marks = [[] if command is fast else [pytest.mark.slow] for command in COMMANDS]
    return [pytest.param(command, id=str(command), marks=mark) for command, mark in zip(COMMANDS, marks, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("command", first_fast())
def test_a_command_is_a_plan(command: Command, papers: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, plan = planned(command, papers, shared / "splits" / "vificlip", monkeypatch)
    assert plan.evals and not cells.left_out
    for option, *values in options_of(command.words[1:]):
        key, _, value = values[0].partition("=")
        if option == "--protocol":
            assert {cell.protocol.name for cell in cells.evals} == set(values)
        elif option == "--dataset":
            evaluated_on = {"k400"} if "source" in command.words else set(values)
            assert {cell.dataset.name for cell in cells.evals} == evaluated_on
        elif option == "--arch":
            assert {cell.measurement.model.arch for cell in cells.evals} == set(values)
        elif option == "--eval-views" or (option == "--views" and f"{key}=" not in evaluated(command)):
            assert {str(getattr(cell.views, key)) for cell in cells.evals} == {value}
        if option == "--views" and key in ("frames", "normalize", "sampling"):
            assert {str(getattr(cell.views, key)) for cell in cells.fits} <= {value}


def evaluated(command: Command) -> str:
    """The settings of `--eval-views`, which replace those of `--views`."""
    return " ".join(values[0] for option, *values in options_of(command.words[1:]) if option == "--eval-views")


SUPERVISED = sorted({n.method for n in published_numbers() if n.table == "supervised" and n.source == PAPER})


@pytest.mark.slow
def test_every_row_of_the_supervised_table_can_be_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row names a built-in method, with its network, and all of them have a plan on K-400."""
    assert len(SUPERVISED) == 10
    for name in ("train", "val"):
        write_list(tmp_path / "k400" / "k400_splits" / f"{name}.txt", 400)
    chosen: list[str] = []
    for method in SUPERVISED:
        name, _, config = harness_names()[method].partition(":")
        assert registry.sources("method")[name].origin == "built-in"
        chosen.append(f"{name}:config={config},checkpoint=random" if config else name)
    command = Command(("run", "--method", *chosen, "--protocol", "supervised", "--dataset", "k400"))
    cells, plan = planned(command, tmp_path, tmp_path, monkeypatch)
    assert len(plan.evals) == 10 and not cells.left_out
    for method, cell in zip(SUPERVISED, cells.evals, strict=True):
        assert method in published_ids(cell.measurement)
