"""Tables as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from reports.lines import MINUS, MISSING, TIMES, blocks, extra, extra_names, lines_of
from reports.table import Table


def latex(tables: Sequence[Table]) -> str:
    """`tabular` environments with booktabs rules; text of records is escaped."""
    out = ["% needs \\usepackage{booktabs}"]
    for table in tables:
        names = extra_names(table)
        width = 1 + len(names) + len(table.columns)
        out += [f"% {_tex(table.title)}", *([f"% {_tex(table.banner)}"] if table.banner else [])]
        out += ["\\begin{tabular}{l" + "c" * (width - 1) + "}", "\\toprule"]
        groups = [(name, len(list(same))) for name, same in groupby(dataset for dataset, _ in table.columns)]
        heads = [f"\\multicolumn{{{span}}}{{c}}{{{_tex(dataset)}}}" for dataset, span in groups]
        out.append(" & ".join(["", *[""] * len(names), *heads]) + " \\\\")
        out.append(" & ".join(["Method", *names, *(_tex(column) for _, column in table.columns)]) + " \\\\")
        for heading, rows in blocks(table):
            out += ["\\midrule", f"\\multicolumn{{{width}}}{{l}}{{\\textit{{{_tex(heading)}}}}} \\\\"]
            for row in rows:
                for number, (label, cells) in enumerate(lines_of(table, row)):
                    marks = {"bold": "\\textbf{%s}", "underline": "\\underline{%s}", "": "%s"}
                    texts = [marks[emphasis] % _tex(text) for text, emphasis in cells]
                    more = [_tex(value) for value in extra(row, names, number == 0)]
                    out.append(" & ".join([_tex(label), *more, *texts]) + " \\\\")
        out += ["\\bottomrule", "\\end{tabular}", *(f"% {_tex(note)}" for note in table.notes), ""]
    return "\n".join(out).rstrip() + "\n"


_TEX = {
    "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", MINUS: "$-$", "Δ": "$\\Delta$", MISSING: "--",
    "·": "$\\cdot$", TIMES: "$\\times$", "<": "\\textless{}", ">": "\\textgreater{}", "†": "$\\dagger$",
    "‡": "$\\ddagger$",
}  # fmt: skip


def _tex(text: str) -> str:
    """Text escaped for LaTeX, on one line."""
    return "".join(_TEX.get(char, char) for char in " ".join(text.split()))
