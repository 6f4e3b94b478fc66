"""`list`: what methods, protocols and datasets there are, without importing any of them."""

from __future__ import annotations

import argparse
from typing import Any

from harness.base.errors import EXIT_DONE
from harness.commands._arguments import add_places, load_plugins, put, settings_of, table
from harness.plugins import registry
from harness.plugins.loose_files import load_environment_plugins


def add_parser(verbs: Any) -> None:
    """Arguments of `list`."""
    parser = verbs.add_parser(
        "list",
        help="what methods, protocols and datasets there are",
        description="Print names, where each comes from, and one line on it. Nothing is imported, so a broken plugin\n"
        "cannot break the listing.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("methods", "protocols", "datasets"))
    parser.add_argument("--json", action="store_true", help="print data on stdout")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    load_plugins(arguments)
    rows = _datasets(arguments) if arguments.what == "datasets" else _plugins(arguments.what.removesuffix("s"))
    if arguments.json:
        put(rows)
    else:
        put(table([list(row.values()) for row in rows], [key.upper() for key in rows[0]]))
    return EXIT_DONE


def _plugins(kind: str) -> list[dict[str, str]]:
    load_environment_plugins()
    found = sorted(registry.sources(kind).items())
    return [
        {"name": name, "origin": s.origin, "summary": f"broken: {s.problem}" if s.problem else s.summary}
        for name, s in found
    ]


def _datasets(arguments: argparse.Namespace) -> list[dict[str, str]]:
    from harness.data.catalog import OFFICIAL, dataset_names

    settings = settings_of(arguments)
    rows = []
    for name in dataset_names(settings):
        place = settings.data.get(name)
        if name.startswith("mini_"):
            state = "embedded, rendered on first use"
        else:
            state = f"{place.path} ({place.origin})" if place else "not configured; --data NAME=DIR"
        kind = "official" if name in OFFICIAL else "embedded" if name.startswith("mini_") else "custom"
        rows.append({"name": name, "kind": kind, "place": state})
    return rows
