"""Text for LaTeX that compiles with pdflatex, XeLaTeX and LuaLaTeX, whatever characters a name has."""

from __future__ import annotations

import unicodedata

from reports.lines import MAY_CHANGE, MINUS, MISSING, TIMES, UNRANKED

_COMMANDS = {
    "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "\N{PLUS-MINUS SIGN}": "$\\pm$", MINUS: "$-$",
    "\N{GREEK CAPITAL LETTER DELTA}": "$\\Delta$", MISSING: "--", "\N{MIDDLE DOT}": "$\\cdot$", TIMES: "$\\times$",
    "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", "`": "{`}", '"': "''", "-": "-",
    # A bracket or star after the `\\` of a line above would be read as its argument.
    "[": "{[}", "]": "{]}", "*": "{*}",
    MAY_CHANGE: "$^{\\dagger}$", UNRANKED: "$^{\\ddagger}$",
    "\N{LATIN SMALL LETTER SHARP S}": "{\\ss}", "\N{LATIN SMALL LETTER AE}": "{\\ae}",
    "\N{LATIN CAPITAL LETTER AE}": "{\\AE}", "\N{LATIN SMALL LETTER O WITH STROKE}": "{\\o}",
    "\N{LATIN CAPITAL LETTER O WITH STROKE}": "{\\O}", "\N{LATIN SMALL LETTER L WITH STROKE}": "{\\l}",
    "\N{LATIN CAPITAL LETTER L WITH STROKE}": "{\\L}", "\N{LATIN SMALL LETTER DOTLESS I}": "{\\i}",
    "\N{EM DASH}": "---", "\N{HORIZONTAL ELLIPSIS}": "\\ldots{}", "\N{RIGHTWARDS ARROW}": "$\\rightarrow$",
    "\N{LEFT SINGLE QUOTATION MARK}": "`", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``", "\N{RIGHT DOUBLE QUOTATION MARK}": "''", "\N{DEGREE SIGN}": "$^{\\circ}$",
}  # fmt: skip
_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "\\`", "\N{COMBINING ACUTE ACCENT}": "\\'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "\\^", "\N{COMBINING TILDE}": "\\~", "\N{COMBINING DIAERESIS}": '\\"',
    "\N{COMBINING RING ABOVE}": "\\r", "\N{COMBINING CEDILLA}": "\\c", "\N{COMBINING CARON}": "\\v",
    "\N{COMBINING MACRON}": "\\=", "\N{COMBINING BREVE}": "\\u", "\N{COMBINING DOT ABOVE}": "\\.",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "\\H",
}  # fmt: skip
_GREEK = frozenset(
    (
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
        "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    )
)  # fmt: skip


def tex(text: str) -> str:
    """Text escaped for LaTeX, on one line; a character that pdflatex has no command for becomes its number."""
    return "".join(map(_character, " ".join(text.split())))


def _character(char: str) -> str:
    if char in _COMMANDS:
        return _COMMANDS[char]
    if " " <= char <= "~":
        return char
    parts = unicodedata.normalize("NFD", char)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        return f"{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    name = unicodedata.name(char, "").lower()
    letter = name.rpartition(" ")[2]
    if name == f"greek small letter {letter}" and letter in _GREEK:
        return f"$\\{letter}$"
    return f"{{[}}U+{ord(char):04X}{{]}}"
