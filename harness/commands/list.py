"""`list`: the available methods, protocols and datasets; no plugin is imported."""

from __future__ import annotations

import argparse

from harness.base.errors import EXIT_DONE
from harness.commands._arguments import add_folders, add_json, add_plugins, load_plugins, settings_of
from harness.commands._output import put, put_json, table
from harness.commands._parser import Verbs, verb_parser
from harness.plugins import registry
from harness.plugins.loose_files import load_environment_plugins


def add_parser(verbs: Verbs) -> None:
    """Arguments of `list`."""
    parser = verb_parser(
        verbs, "list", "the available methods, protocols and datasets",
        "Print the name and origin of each, with a one-line summary. Nothing is imported, so a broken plugin cannot\n"
        "break the listing.",
        "example:\n  python -m harness list methods\n",
    )  # fmt: skip
    parser.add_argument("what", choices=("methods", "protocols", "datasets"), help="kind of names to print")
    add_json(parser)
    add_plugins(parser)
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    load_plugins(arguments)
    rows = _datasets(arguments) if arguments.what == "datasets" else _plugins(arguments.what.removesuffix("s"))
    if arguments.json:
        put_json(rows)
    else:
        put(table([list(row.values()) for row in rows], [key.upper() for key in rows[0]]))
    return EXIT_DONE


def _plugins(kind: str) -> list[dict[str, str]]:
    load_environment_plugins()
    return [
        {"name": name, "origin": s.origin, "summary": f"broken: {s.problem}" if s.problem else s.summary}
        for name, s in sorted(registry.sources(kind).items())
    ]


def _datasets(arguments: argparse.Namespace) -> list[dict[str, str]]:
    from harness.data.catalog import OFFICIAL, dataset_names

    settings = settings_of(arguments)
    rows = []
    for name in dataset_names(settings):
        videos = settings.data.get(name)
        if name.startswith("mini_"):
            state = "embedded, rendered on first use"
        else:
            state = f"{videos.path} ({videos.origin})" if videos else "not configured; --data NAME=DIR"
        kind = "official" if name in OFFICIAL else "embedded" if name.startswith("mini_") else "custom"
        rows.append({"name": name, "kind": kind, "folder": state})
    return rows
