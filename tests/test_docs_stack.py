"""docs/stack.md names every dependency and every test that it refers to."""

from __future__ import annotations

import re
import tomllib

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "stack.md").read_text(encoding="utf-8")


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    requirements = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    names = {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements} - {project["name"]}
    explained = " ".join(re.findall(r"^\| (.+?) \|", PAGE.partition("## Eleven defects")[0], flags=re.M))
    assert {name for name in names if not re.search(rf"\b{re.escape(name)}\b", explained)} == set()


def test_the_tests_that_the_page_names_exist() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "engine").glob("*.py"))
    for name in re.findall(r"`(test_\w+)`", PAGE):
        assert f"def {name}(" in code, name
    for name in re.findall(r"`(test_\w+\.py)`", PAGE):
        assert (ROOT / "tests" / "engine" / name).is_file(), name
