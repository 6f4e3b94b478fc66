"""Tables as GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from reports.lines import blocks, extra, extra_names, lines_of
from reports.table import Table


def markdown(tables: Sequence[Table]) -> str:
    """Tables as GitHub-flavoured Markdown; text of records is escaped."""
    out = []
    for table in tables:
        names = extra_names(table)
        out += [f"### {_md(table.title)}", ""]
        out += [f"> {_md(table.banner)}", ""] if table.banner else []
        heads = [f"{dataset} {column}".strip() for dataset, column in table.columns]
        out.append("| " + " | ".join(["Method", *names, *map(_md, heads)]) + " |")
        out.append("| " + " | ".join([":--"] + ["--:"] * (len(names) + len(heads))) + " |")
        for heading, rows in blocks(table):
            out.append("| *" + _md(heading) + "* |" + " |" * (len(names) + len(heads)))
            for row in rows:
                for number, (label, cells) in enumerate(lines_of(table, row)):
                    marks = {"bold": "**{}**", "underline": "<u>{}</u>", "": "{}"}
                    texts = [marks[emphasis].format(_md(text)) for text, emphasis in cells]
                    out.append("| " + " | ".join([_md(label), *extra(row, names, number == 0), *texts]) + " |")
        out += ["", *(f"- {_md(note)}" for note in table.notes), ""]
    return "\n".join(out).rstrip() + "\n"


def _md(text: str) -> str:
    """Text escaped for Markdown, on one line."""
    # The backslash comes first: later it would escape the escapes of the other characters.
    for char in "\\`*_[]<>|#":
        text = text.replace(char, f"\\{char}")
    return " ".join(text.split())
