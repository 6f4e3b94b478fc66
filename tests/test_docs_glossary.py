"""docs/glossary.md is one table that defines each word once, and defines every word of the data types."""

from __future__ import annotations

import argparse
import re

import pytest

from harness.cli import build_parser, main
from results.record import STATUSES
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "glossary.md"


def glossary() -> list[tuple[str, str]]:
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    assert rows[0] == ("word", "meaning") and rows[1] == ("---", "---")
    return rows[2:]


def test_each_word_is_defined_once() -> None:
    words = [word for word, _ in glossary()]
    assert len(set(words)) == len(words) and all(meaning for _, meaning in glossary())


def test_the_words_of_the_benchmark_are_defined() -> None:
    words = {word for word, _ in glossary()}
    assert words >= {
        "dataset", "label set", "list", "protocol", "method", "recipe", "views", "fit", "eval", "cell", "record",
        "part", "repeat", "row", "group", "division", "signature", "published number", "stale", "superseded",
        "incomplete",
    }  # fmt: skip


def test_every_status_of_a_record_is_named() -> None:
    meanings = dict(glossary())
    assert all(f"`{status}`" in meanings["status"] for status in STATUSES)


ORDINARY = {
    "accept",
    "account",
    "against",
    "allow",
    "annotations",
    "api",
    "arch",
    "checkpointing",
    "clips",
    "code",
    "compile",
    "constraint",
    "cpus",
    "decode",
    "detach",
    "device",
    "dim",
    "dir",
    "drop",
    "dry",
    "end",
    "env",
    "executor",
    "file",
    "flips",
    "force",
    "format",
    "fraction",
    "frames",
    "going",
    "gpus",
    "grad",
    "help",
    "json",
    "k",
    "keep",
    "last",
    "limit",
    "memory",
    "missing",
    "no",
    "out",
    "parallel",
    "partition",
    "percent",
    "plot",
    "precision",
    "processes",
    "qos",
    "quiet",
    "report",
    "repository",
    "root",
    "sample",
    "sbatch",
    "seconds",
    "seed",
    "set",
    "shard",
    "shots",
    "start",
    "submitter",
    "summary",
    "time",
    "title",
    "top",
    "version",
    "weights",
    "workers",
}
"""Words of options that every reader knows, or that name something outside the benchmark."""


def parsers() -> list[tuple[str, argparse.ArgumentParser]]:
    """Every parser of the command line with its name, verbs and their parts."""
    found: list[tuple[str, argparse.ArgumentParser]] = []

    def visit(name: str, parser: argparse.ArgumentParser) -> None:
        found.append((name, parser))
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for verb, inner in action.choices.items():
                    visit(f"{name} {verb}", inner)

    visit("harness", build_parser())
    return found


def defined_words() -> set[str]:
    """The words of the glossary and of its meanings, singular and plural."""
    text = " ".join(f"{word} {meaning}" for word, meaning in glossary()).lower()
    words = set(re.findall(r"[a-z]+", text))
    return words | {f"{word}s" for word in words}


def test_the_words_of_every_option_are_defined_or_ordinary() -> None:
    known = defined_words() | ORDINARY
    unknown = {
        f"{name} {option}"
        for name, parser in parsers()
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--") and set(option.removeprefix("--").split("-")) - known
    }
    assert not unknown


BANNED = re.compile(
    r"\b(told|at hand|mend|one's own|asked for|stands beside|what it has|takes? over|left-?overs?|places?)\b"
    r"|\bruns folder\b",
    re.I,
)
"""Synonyms of the glossary's words and of common terms, see CONTRIBUTING.md."""


@pytest.mark.slow
def test_help_texts_use_the_words_of_the_glossary() -> None:
    wrong = [(name, match[0]) for name, parser in parsers() for match in BANNED.finditer(parser.format_help())]
    assert not wrong


def test_the_output_of_plan_list_and_console_uses_defined_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--method", "vificlip", "--protocol", "b2n", "--arch", "mini-clip", "--runs", "nowhere"]) == 0
    printed = capsys.readouterr()
    heads = {word for line in printed.out.splitlines() for word in re.findall(r"\b[A-Z]{3,}\b", line)}
    states = set(re.findall(r"\b(done|missing|stale)\b", printed.out + printed.err))
    assert {word.lower() for word in heads} - defined_words() - {
        "gmacs",
        "gib",
        "hours",
        "disk",
        "why",
        "reason",
    } == set()
    assert states and states <= defined_words()
    assert not BANNED.search(printed.out + printed.err)
