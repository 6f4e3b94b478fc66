"""A new method or protocol as a package: a working module, its test, a README and an entry point."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path

from harness.base.errors import UserError
from harness.plugins import registry

TEMPLATES = Path(__file__).resolve().parent / "skeletons"


def write_skeleton(kind: str, name: str, parent: Path) -> list[Path]:
    """Write the package of a new method or protocol into the folder `parent / name`.

    Args:
        kind: `method` or `protocol`.
        name: Name of the plugin, its module and its folder.
        parent: An existing or new folder.

    Returns:
        The files written.

    Raises:
        UserError: The name is not valid or taken, or the folder exists or cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    _check_name(kind, name)
    folder = parent / name
    if folder.exists():
        raise UserError(f"{folder} exists already; nothing was written.", "Choose another name, or another --out.")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    words = name.split("_")
    values = {
        "kind": kind, "name": name, "title": " ".join(words).strip().capitalize(),
        "cls": "".join(word.capitalize() for word in words),
    }  # fmt: skip
    files = {
        folder / "pyproject.toml": "pyproject.toml.jinja", folder / f"{name}.py": f"{kind}/module.py.jinja",
        folder / f"test_{name}.py": f"{kind}/test.py.jinja", folder / "README.md": f"{kind}/README.md.jinja",
    }  # fmt: skip
    # Rendered before the folder is made, so that an error leaves nothing behind.
    texts = {path: environment.get_template(template).render(values) for path, template in files.items()}
    try:
        folder.mkdir(parents=True)
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error}", "Choose another --out.") from None
    return list(texts)


def _check_name(kind: str, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UserError(
            f"{name!r} is not a valid name for a {kind}, its module and its file.",
            "Use small letters, digits and single '_', beginning with a letter, e.g. attention_pooling.",
        )
    taken = registry.sources(kind).get(name)
    if taken is not None:
        raise UserError(f"The {kind} {name!r} exists already ({taken.origin}).", "Choose another name.")
    # A folder of this name would hide that module from the plugin, or that module the plugin.
    if importlib.util.find_spec(name) is not None:
        raise UserError(f"{name!r} is the name of a Python module that is installed here.", "Choose another name.")
