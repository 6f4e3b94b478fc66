"""CONTRIBUTING.md names every folder of the harness, and files and tests that exist."""

from __future__ import annotations

import re

from tests.conftest import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_folder_is_listed() -> None:
    folders = {path.parent.name for path in (ROOT / "harness").glob("*/__init__.py")}
    assert folders and not [name for name in sorted(folders) if f"`harness/{name}/`" not in PAGE]
    engine = {path.parent.name for path in (ROOT / "harness" / "engine").glob("*/__init__.py")}
    assert engine and not [name for name in sorted(engine) if f"`{name}/`" not in PAGE]


def test_the_tests_of_the_table_exist() -> None:
    table = PAGE.partition("## Where to change what")[2].partition("\n## ")[0]
    rows = [row.split(" | ") for row in re.findall(r"^\| (.+) \|$", table, flags=re.M)[2:]]
    assert len(rows) >= 10 and all(len(row) == 3 for row in rows)
    for _, _, tests in rows:
        named = re.findall(r"`([\w/.]+)`", tests)
        assert named and not [name for name in named if not (ROOT / "tests" / name).exists()]


def test_the_constants_that_the_page_names_exist() -> None:
    versions = PAGE.partition("## Versions")[2].partition("\n## ")[0]
    for name, files in re.findall(r"^\| `([A-Z_]+)` in (.+?) \|", versions, flags=re.M):
        for file in re.findall(r"`([\w/.]+)`", files):
            assert re.search(rf"^{name} = \d+$", (ROOT / file).read_text(encoding="utf-8"), flags=re.M), (name, file)
