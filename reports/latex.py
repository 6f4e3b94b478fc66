"""Tables as LaTeX that fit the page of a two-column paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from reports.anchors import slug
from reports.labels import named, shorten
from reports.latex_text import tex
from reports.lines import (
    MAY_CHANGE,
    MISSING,
    UNRANKED,
    blocks,
    delta_text,
    extra,
    extra_names,
    ours_text,
    published_text,
)
from reports.table import Table, TableCell, TableRow
from reports.verdict import CANNOT_TELL, DIFFERENT, OUTSIDE
from results.means import DDOF

_LONGEST_NAME = 56
"""Characters of a name of a method; a longer name would make all other columns too small to read."""
_EMPHASES = {"bold": "\\textbf{%s}", "underline": "\\underline{%s}", "": "%s"}
_MARKS = {OUTSIDE: "$^{*}$", DIFFERENT: "$^{\\circ}$", CANNOT_TELL: "$^{?}$"}
"""Marks of published values by verdict; a value without a mark agrees with ours, or has none beside it."""
_WORDS = {OUTSIDE: "outside our interval", DIFFERENT: "measured differently", CANNOT_TELL: "our fits cannot tell"}


def latex(tables: Sequence[Table]) -> str:
    """`table*` environments with booktabs rules, scaled down if they are wider than the page.

    Text of records is escaped. The caption explains bold values and marks in one sentence; comments hold the notes and
    the verdicts in words.
    """
    out = ["% needs \\usepackage{booktabs,graphicx}"]
    for table in tables:
        out += [*_table(table), ""]
    return "\n".join(out).rstrip() + "\n"


def _table(table: Table) -> Iterator[str]:
    names = extra_names(table)
    yield from (f"% {tex(table.banner)}",) if table.banner else ()
    yield from ("\\begin{table*}[t]", "\\centering", f"\\caption{{{_caption(table)}}}")
    yield from (f"\\label{{tab:{_label(table)}}}", "\\small", "\\setlength{\\tabcolsep}{3pt}")
    # Scaled down only: a small table would otherwise be enlarged to the width of the page.
    yield "\\resizebox{\\ifdim\\width>\\textwidth\\textwidth\\else\\width\\fi}{!}{%"
    yield f"\\begin{{tabular}}{{l{'c' * (len(names) + len(table.columns))}}}"
    yield "\\toprule"
    yield from _heads(table, names)
    for heading, rows in blocks(table):
        yield "\\midrule"
        width = 1 + len(names) + len(table.columns)
        yield f"\\multicolumn{{{width}}}{{l}}{{\\textit{{{tex(heading)}}}}} \\\\"
        for row in rows:
            for number, (label, cells) in enumerate(_lines(table, row)):
                more = [tex(value) for value in extra(row, names, number == 0)]
                yield " & ".join([label, *more, *cells]) + " \\\\"
    yield from ("\\bottomrule", "\\end{tabular}}", "\\end{table*}")
    yield from (f"% {tex(text)}" for text in (*_verdicts(table), *table.notes))


def _label(table: Table) -> str:
    return slug(*table.name.split("_")).replace("_", "-").replace(".", "-")


def _heads(table: Table, names: Sequence[str]) -> Iterator[str]:
    """The datasets with a rule below each, then the columns."""
    groups = [(name, len(list(same))) for name, same in groupby(dataset for dataset, _ in table.columns)]
    heads = [f"\\multicolumn{{{span}}}{{c}}{{{tex(dataset)}}}" for dataset, span in groups]
    yield " & ".join(["", *[""] * len(names), *heads]) + " \\\\"
    start, rules = 2 + len(names), []
    for _, span in groups:
        rules.append(f"\\cmidrule(lr){{{start}-{start + span - 1}}}")
        start += span
    yield " ".join(rules)
    yield " & ".join(["Method", *map(tex, names), *(tex(column) for _, column in table.columns)]) + " \\\\"


def _lines(table: Table, row: TableRow) -> list[tuple[str, list[str]]]:
    """The lines of a row, escaped: our values, and below them the published values with the mark of their verdict."""
    title = f"{row.title} [{row.reference}]" if row.reference else row.title
    name = tex(shorten(named(title, row.label), _LONGEST_NAME))
    lines = []
    if row.is_delta:
        if table.with_ours:
            lines.append((name, [tex(delta_text(cell.delta_ours)) for cell in row.cells]))
        if table.with_published:
            values = [float(c.delta_published) if c.delta_published is not None else None for c in row.cells]
            lines.append(("\\quad published" if lines else name, [tex(delta_text(value)) for value in values]))
        return lines
    # A method that was only published has no line of dashes.
    if table.with_ours and (any(c.ours or c.plain is not None for c in row.cells) or not _printed(table, row)):
        texts = [_EMPHASES[cell.emphasis if cell.ours else ""] % tex(ours_text(cell)) for cell in row.cells]
        lines.append((name, texts))
    if _printed(table, row):
        label = "\\quad published" if lines else f"{name}, published" if table.with_ours else name
        lines.append((label, [_published(table, cell) for cell in row.cells]))
    return lines


def _printed(table: Table, row: TableRow) -> bool:
    return table.with_published and any(cell.published for cell in row.cells)


def _published(table: Table, cell: TableCell) -> str:
    text = tex(published_text(cell))
    emphasis = cell.published.emphasis if table.with_ours and cell.published else cell.emphasis
    return _EMPHASES[emphasis] % text + (_MARKS.get(cell.verdict.kind, "") if cell.verdict else "")


def _caption(table: Table) -> str:
    """The title, and one sentence on everything in the table that needs an explanation."""
    cells = [cell for row in table.rows for cell in row.cells]
    kinds = sorted({(c.ours.n, c.ours.kind.replace("_", " ")) for c in cells if c.ours and c.ours.spread is not None})
    parts = [f"$\\pm$: standard deviation (ddof {DDOF}) over {n} {tex(kind)}s" for n, kind in kinds]
    if any(cell.ours and cell.emphasis == "bold" for cell in cells):
        parts.append("bold: not separable from the best of our values (paired test, Holm)")
    found = {cell.verdict.kind for cell in cells if cell.verdict}
    parts += [f"{mark}: published value {_WORDS[kind]}" for kind, mark in _MARKS.items() if kind in found]
    texts = "".join(ours_text(cell) for cell in cells)
    parts += [f"{tex(MAY_CHANGE)}: may not hold if trained again"] if MAY_CHANGE in texts else []
    parts += [f"{tex(UNRANKED)}: not ranked"] if UNRANKED in texts else []
    parts += [f"{tex(MISSING)}: no value"] if any(ours_text(cell) == MISSING for cell in cells) else []
    sentence = "; ".join(parts)
    return f"{tex(table.title)}." + (f" {sentence}." if sentence else "")


def _verdicts(table: Table) -> Iterator[str]:
    """The verdicts in words, for the comments below a table."""
    for row in table.rows:
        for (dataset, column), cell in zip(table.columns, row.cells, strict=True):
            if cell.verdict and cell.ours:
                yield f"{row.name}, {dataset} {column}: {cell.verdict}"
