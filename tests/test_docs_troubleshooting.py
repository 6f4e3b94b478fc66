"""Messages that docs/troubleshooting.md quotes are messages of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
HOLE = "\0"
ELSEWHERE = ("CUDA out of memory",)
"""Messages of other packages."""


def quoted() -> list[str]:
    """The messages in the first columns of the tables; tests/test_natural_mistakes.py produces those of its table."""
    found = []
    before, _, after = PAGE.read_text(encoding="utf-8").partition("## Natural mistakes")
    for row in re.findall(r"^\| (.+?) \| ", before + after.partition("\n## ")[2], flags=re.M):
        found += re.findall(r"`([^`]+)`", row)
    return [message for message in found if message not in ELSEWHERE]


def texts() -> Iterator[str]:
    """All texts in the code, with a mark where values are filled in."""
    for folder in ("harness", "results", "reports"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


@pytest.fixture(scope="module")
def code() -> str:
    return "\n".join(texts())


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_one_of_the_code(message: str, code: str) -> None:
    parts = [re.escape(part.strip(" .:'")) for part in message.split("...") if part.strip(" .:'")]
    assert not parts or re.search(r"[^\n]*".join(parts), code), message
