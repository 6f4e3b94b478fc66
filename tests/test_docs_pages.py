"""Commands and plugins on the pages: each block says whether it runs, and what runs is run.

A block of commands (`sh`) or Python (`python`) stands below a mark, an HTML comment on the line before it:

    runs                 every command of the block runs in this test, in the order of the page, in one folder
    runs: prints below   as `runs`; the next block shows the end of its stdout, in which `...` stands for anything
    runs: slow           as `runs`, in a test that is marked slow
    runs: python         Python code that runs in this test
    runs: slow python    as `runs: python`, in a test that is marked slow
    runs: tests/FILE     the test file runs it and names the page
    plugin               a complete plugin, which keeps the contract of methods
    installs             changes an installation
    needs: WORDS         waits for data, results, processes, a GPU or a cluster; the command line is parsed
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet

from harness import cli
from harness.api import LabelSet
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import method_class
from harness.plugins import registry
from harness.plugins.loose_files import load_file
from tests.conftest import ROOT, in_process

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/*/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
MARK = re.compile(r"<!-- (runs|plugin|installs|needs)(?:: (.+))? -->")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.S | re.M)
CODE = ("sh", "python")


@dataclass(frozen=True)
class Block:
    """A block of code on a page.

    Args:
        page: Path of the page in the repository.
        number: Position among the page's blocks, from 1.
        language: `sh`, `python`, `text`, ...
        mark, detail: Of the comment on the line before it; empty if there is none.
        text: Content.
    """

    page: str
    number: int
    language: str
    mark: str
    detail: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The command lines, without comments; a backslash joins lines."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]

    def __str__(self) -> str:
        return f"{self.page}:{self.number}"


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = []
    for number, match in enumerate(FENCE.finditer(text), 1):
        before = text[: match.start()].rstrip("\n").rpartition("\n")[2]
        mark = MARK.fullmatch(before) if text[: match.start()].endswith("-->\n") else None
        word, detail = (mark[1], mark[2] or "") if mark else ("", "")
        blocks.append(Block(page, number, match[1], word, detail, match[2]))
    return blocks


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
MARKED = [block for block in BLOCKS if block.language in CODE and block.mark]


def of(mark: str, *details: str) -> list[Block]:
    return [block for block in MARKED if block.mark == mark and (block.detail in details or not details)]


def pages_with(*details: str) -> list[str]:
    return list(dict.fromkeys(block.page for block in of("runs", *details)))


def harness_arguments(line: str) -> Iterator[list[str]]:
    """The arguments of every `python -m harness` on a command line."""
    for command in line.split("&&"):
        words = shlex.split(command, comments=True)
        if "harness" in words and words[words.index("harness") - 1] == "-m":
            yield words[words.index("harness") + 1 :]


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / ".cache"))
    return tmp_path


def run_blocks(blocks: list[Block], capsys: pytest.CaptureFixture[str]) -> None:
    """Run the commands of blocks in this process and compare the output of those that show it."""
    for block in blocks:
        capsys.readouterr()
        for line in block.commands:
            found = list(harness_arguments(line))
            assert found, f"{block}: only commands of the harness run here: {line}"
            for arguments in found:
                assert in_process(*arguments) == 0, f"{block}: {line}"
        if block.detail == "prints below":
            below = next(b for b in BLOCKS if b.page == block.page and b.number == block.number + 1)
            pattern = re.escape(below.text.strip()).replace(re.escape("..."), ".*")
            printed = capsys.readouterr().out.strip()
            assert re.search(pattern + r"\Z", printed, flags=re.S), f"{block}\n{printed}"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_code_is_marked(page: str) -> None:
    unmarked = [str(block) for block in blocks_of(page) if block.language in CODE and not block.mark]
    assert not unmarked, f"blocks without a mark (see {Path(__file__).name}): {unmarked}"
    bare = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.S | re.M)
    assert not re.findall(r"^    (?:python|torchrun|git|harness) .*$", bare, flags=re.M), "commands belong into ```sh"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_of_the_harness_is_one(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")
    for block in blocks_of(page):
        for line in block.commands if block.language == "sh" else ():
            for arguments in harness_arguments(line):
                if "..." not in arguments:
                    cli.build_parser().parse_args(arguments)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("", "prints below"))
@pytest.mark.usefixtures("plugins_forgotten")
def test_commands_of_a_page_run(page: str, working_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_blocks([block for block in of("runs", "", "prints below") if block.page == page], capsys)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("slow"))
@pytest.mark.usefixtures("plugins_forgotten")
def test_long_commands_of_a_page_run(page: str, working_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_blocks([block for block in of("runs", "", "prints below", "slow") if block.page == page], capsys)


@pytest.mark.slow
@pytest.mark.parametrize("block", of("plugin"), ids=str)
@pytest.mark.usefixtures("plugins_forgotten")
def test_a_plugin_of_a_page_is_loaded_and_scores(block: Block, working_folder: Path) -> None:
    file = working_folder / "plugin.py"
    file.write_text(block.text, encoding="utf-8")
    before = registry.sources("method").keys()
    load_file(file)
    names = registry.sources("method").keys() - before
    assert names
    for name in names:
        cls = method_class(name)
        method = cls(tiny_backbone(), cls.options_for({}, frames=4)).eval()
        with torch.no_grad():
            logits = method(torch.zeros(2, 4, 3, 32, 32), LabelSet(("run", "jump")))
        assert tuple(logits.shape) == (2, 2) and logits.isfinite().all()


def first_fast(blocks: list[Block]) -> list[ParameterSet]:
    """The first block runs by default; the same check of the next ones takes more than a second each."""
    return [pytest.param(block, id=str(block), marks=[pytest.mark.slow] if i else []) for i, block in enumerate(blocks)]


@pytest.mark.slow
@pytest.mark.parametrize("block", first_fast(of("plugin")))
@pytest.mark.usefixtures("plugins_forgotten")
def test_a_plugin_of_a_page_keeps_the_contract(
    block: Block, working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (working_folder / "plugin.py").write_text(block.text, encoding="utf-8")
    code = in_process("check", "method", working_folder / "plugin.py")
    assert code == 0, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("block", of("runs", "python"), ids=str)
def test_python_of_a_page_runs(block: Block, working_folder: Path) -> None:
    exec(compile(block.text, str(block), "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize("block", of("runs", "slow python"), ids=str)
def test_long_python_of_a_page_runs(block: Block, working_folder: Path) -> None:
    exec(compile(block.text, str(block), "exec"), {})


def test_blocks_that_another_test_runs_name_it() -> None:
    elsewhere = [block for block in of("runs") if block.detail.startswith("tests/")]
    assert elsewhere
    for block in elsewhere:
        assert Path(block.page).name in (ROOT / block.detail).read_text(encoding="utf-8"), block
    known = {"", "prints below", "slow", "python", "slow python"}
    assert {block.detail for block in of("runs")} - known == {block.detail for block in elsewhere}
    assert all(block.detail for block in of("needs"))


def anchors(text: str) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_repository_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    prefix = "harness|methods|protocols|results|reports|tests|benchmarks|docs|examples"
    named = set(re.findall(rf"`((?:{prefix})/[\w/.-]+\.(?:py|md|json|sh|txt))`", text))
    real = [name for name in sorted(named) if not re.search(r"[A-Z]{4}", name.rpartition("/")[2].partition(".")[0])]
    assert not [name for name in real if not ((ROOT / name).exists() or (ROOT / "tests" / name).exists())]
