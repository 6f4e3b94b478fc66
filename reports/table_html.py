"""Tables as HTML fragments without style or script."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from markupsafe import Markup, escape

from reports.lines import blocks, extra, extra_names, lines_of
from reports.page.beside import KINDS, verdict_words
from reports.table import Table, TableRow
from reports.verdict import NOT_MEASURED, Verdict

_TAGS = {"bold": Markup("<b>{}</b>"), "underline": Markup("<u>{}</u>"), "": Markup("{}")}


def html(tables: Sequence[Table]) -> str:
    """One section for each table; text of records is escaped."""
    return str(Markup("\n").join(_section(table) for table in tables)) + "\n"


def _section(table: Table) -> Markup:
    names = extra_names(table)
    out = [Markup('<section class="paper"><h3>{}</h3>').format(table.title)]
    if table.banner:
        out.append(Markup('<p class="banner">{}</p>').format(table.banner))
    opening = '<div class="scroll" tabindex="0" role="region" aria-label="{0}"><table aria-label="{0}">{1}'
    out.append(Markup(opening).format(table.title, _head(table, names)))
    for heading, rows in blocks(table):
        family = Markup("<tbody><tr><th class=family scope=rowgroup colspan={}>{}</th></tr>")
        out.append(family.format(1 + len(names) + len(table.columns), heading))
        out += [_row(table, row, names) for row in rows]
        out.append(Markup("</tbody>"))
    out.append(Markup("</table></div>"))
    if table.notes:
        notes = Markup("").join(Markup("<li>{}</li>").format(note) for note in table.notes)
        out.append(Markup("<ul class=notes>{}</ul>").format(notes))
    return Markup("\n").join([*out, Markup("</section>")])


def _head(table: Table, names: Sequence[str]) -> Markup:
    """Two lines of headings, datasets over columns; one line for a table without datasets."""
    if not any(dataset for dataset, _ in table.columns):
        names_of_all = ["Method", *names, *(column for _, column in table.columns)]
        heads = Markup("").join(Markup("<th scope=col>{}</th>").format(name) for name in names_of_all)
        return Markup("<thead><tr>{}</tr></thead>").format(heads)
    datasets = [(dataset, len(list(same))) for dataset, same in groupby(dataset for dataset, _ in table.columns)]
    tall = Markup("").join(Markup("<th scope=col rowspan=2>{}</th>").format(name) for name in ["Method", *names])
    wide = Markup("").join(
        Markup("<th scope=colgroup colspan={}>{}</th>").format(span, dataset) for dataset, span in datasets
    )
    low = Markup("").join(Markup("<th scope=col>{}</th>").format(column) for _, column in table.columns)
    return Markup("<thead><tr>{}{}</tr><tr>{}</tr></thead>").format(tall, wide, low)


def _beside(printed: Markup, verdict: Verdict) -> Markup:
    """The published value below ours, with the verdict as glyph, words and colour."""
    if verdict.kind == NOT_MEASURED:
        return Markup("<small class=below>{}</small>").format(printed)
    text = Markup('<small class="pub {}">{} <b>{}</b></small>')
    return text.format(KINDS[verdict.kind], printed, verdict_words(verdict))


def _row(table: Table, row: TableRow, names: Sequence[str]) -> Markup:
    """A row; published value, difference and verdict are shown below our value in each cell."""
    lines = lines_of(table, row)
    cells = Markup("").join(Markup("<td>{}</td>").format(value) for value in extra(row, names, True))
    for column, cell in enumerate(row.cells):
        stacked = [_TAGS[values[column][1]].format(escape(values[column][0])) for _, values in lines]
        if cell.published and cell.verdict and len(stacked) == 3:
            below = _beside(stacked[1], cell.verdict)
        else:
            below = Markup("").join(Markup("<small class=below>{}</small>").format(text) for text in stacked[1:2])
        cells += Markup("<td>{}{}</td>").format(stacked[0], below)
    return Markup("<tr><th scope=row>{}</th>{}</tr>").format(lines[0][0], cells)
