"""docs/stack.md names every dependency and every test that it refers to."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "stack.md").read_text(encoding="utf-8")


FOLDERS = ("harness", "methods", "protocols", "results", "reports")
NOT_DECLARED = {
    "_typeshed": "for type checkers only",
    "cv2": "mmcv-lite and mmaction2 each require one of its two distributions",
    "umap": "an alternative to t-SNE where it is installed",
}


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    requirements = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    return {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements} - {project["name"]}


def imported() -> set[str]:
    """Top-level modules of other packages that the product imports."""
    modules: set[str] = set()
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    return modules - set(sys.stdlib_module_names) - set(FOLDERS)


@pytest.mark.slow
def test_every_imported_package_is_declared() -> None:
    """A package that another package happens to install can vanish with its next release."""
    names = {name.lower().replace("_", "-") for name in declared()}
    owners = packages_distributions()
    undeclared = {
        module for module in imported() - set(NOT_DECLARED)
        if not names & {owner.lower().replace("_", "-") for owner in owners.get(module, [module])}
    }  # fmt: skip
    assert undeclared == set()


def test_every_dependency_is_explained() -> None:
    names = declared()
    explained = " ".join(re.findall(r"^\| (.+?) \|", PAGE.partition("## Eleven defects")[0], flags=re.M))
    assert {name for name in names if not re.search(rf"\b{re.escape(name)}\b", explained)} == set()


def test_the_tests_that_the_page_names_exist() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "engine").glob("*.py"))
    for name in re.findall(r"`(test_\w+)`", PAGE):
        assert f"def {name}(" in code, name
    for name in re.findall(r"`(test_\w+\.py)`", PAGE):
        assert (ROOT / "tests" / "engine" / name).is_file(), name
