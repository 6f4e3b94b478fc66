"""LaTeX tables: they fit a page of two columns, compile with any name, and explain themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from reports.export import render_table
from reports.latex_text import tex
from tests.results.factories import Sample, write_sample

HOSTILE = (
    "[33] starts with a bracket", "* and a star", "a & b % c # d _ e { } $ ^ ~ \\ end", "\\input{/etc/passwd}",
    "M\u00fcller-\u0141ukasz \u03b1\u03b2 \u0394", "\u8dd1\u6b65 \u05e9\u05dc\u05d5\u05dd \U0001f3c3",
    "\u202eright to left", "x" * 400,
    "`tick` 'quote' \"double\" <tag> a|b", "line\nbreak\ttab", "\ud800 alone",
)  # fmt: skip
B2N = Sample(
    method="vificlip", title="ViFi-CLIP", protocol="b2n", part="base", dataset="hmdb51", repeat=("train_subset", 1),
    frames=32, embedded=False,
)  # fmt: skip


def write_b2n(runs: Path) -> None:
    """ViFi-CLIP with the paper's frames and with 8 frames on HMDB-51, beside a worse method with 8 frames."""
    worse = replace(B2N, method="image_ft", title="CLIP image-FT", frames=8, accuracy=0.2)
    for row in (replace(B2N, accuracy=0.7), replace(B2N, frames=8, accuracy=0.4), worse):
        for part in ("base", "novel"):
            for index in (1, 2, 3):
                write_sample(runs, replace(row, part=part, repeat=("train_subset", index), draw=index, videos=40))


@pytest.fixture(scope="module")
def b2n(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The LaTeX of `b2n` with published values."""
    runs = tmp_path_factory.mktemp("latex") / "runs"
    write_b2n(runs)
    return render_table("b2n", runs, True, "latex").text


@pytest.mark.slow
def test_a_table_spans_both_columns_and_has_a_rule_below_each_dataset(b2n: str) -> None:
    first = b2n.split("\\end{table*}")[0]
    assert first.count("\\begin{table*}") == first.count("\\caption{") == first.count("\\label{tab:b2n}") == 1
    assert "\\cmidrule(lr){2-4} \\cmidrule(lr){5-7} \\cmidrule(lr){8-10} \\cmidrule(lr){11-13}" in first
    assert "\\resizebox{" in first and first.count("\\\\\n") == len(
        re.findall(r"&.*\\\\$|^\\multi.*\\\\$", first, re.MULTILINE)
    )


@pytest.mark.slow
def test_ours_is_bold_and_the_published_line_has_marks_that_the_caption_explains(b2n: str) -> None:
    lines = b2n.splitlines()
    ours = next(i for i, line in enumerate(lines) if line.startswith("ViFi-CLIP (views frames 8)"))
    published = lines[ours + 1]
    assert published.startswith("\\quad published & ") and "\\textbf{53.3}$^{\\circ}$" in published
    assert "$\\pm$" in lines[ours]
    (caption,) = re.findall(r"\\caption\{(.*)\}$", b2n.split("\\end{table*}")[0], re.MULTILINE)
    for words in ("over 3 train subsets", "$^{\\circ}$: published value measured differently", "bold: not separable"):
        assert words in caption
    assert caption.count(". ") == 1 and caption.endswith(".")
    assert any(line.startswith("% ViFi-CLIP (views frames 8), HMDB-51 Base: measured differently (") for line in lines)
    assert any("\\textbf{" in line for line in lines)
    assert "not measured" not in b2n.split("\\end{table*}")[0], "a published method has one line"


@pytest.mark.parametrize("name", HOSTILE)
def test_text_has_only_characters_that_every_engine_reads(name: str) -> None:
    text = tex(name)
    assert text.isascii() and "\n" not in text and not re.search(r"(?<!\\)[&%#]", text) and "\\input" not in text


def test_different_names_stay_different() -> None:
    assert len({tex(name) for name in ("\u8dd1", "\u6b65", "a", "\u00e4", "\u03b1")}) == 5
    assert tex("M\u00fcller \u03b1") == 'M\\"{u}ller $\\alpha$'


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex, which is not installed")
@pytest.mark.parametrize("against", [True, False])
def test_every_table_compiles_and_is_no_wider_than_the_page(tmp_path: Path, grid_runs: Path, against: bool) -> None:
    runs = tmp_path / "runs"
    write_b2n(runs)
    for number, name in enumerate(HOSTILE):
        clean = name.encode("utf-8", "replace").decode("utf-8")
        few = Sample(protocol="few_shot", part="k16", shots=16, title=clean, method=f"method_{number}")
        write_sample(runs, few, notes=clean, dataset=clean[:40] if number % 2 else "mini_target")
    tables = "".join(render_table("all", folder, against, "latex").text for folder in (runs, grid_runs))
    document = (
        "\\documentclass[twocolumn,10pt]{article}\\usepackage[textwidth=6.875in]{geometry}"
        "\\usepackage{booktabs,graphicx}\\extrafloats{200}\\begin{document}\\makeatletter\\@twocolumntrue\\makeatother\n"
        + tables.replace("\\end{table*}", "\\end{table*}\\clearpage")
        + "\\end{document}\n"
    )
    (tmp_path / "t.tex").write_text(document, "utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([0-9.]+)pt too wide", done.stdout)]
    assert max(wide, default=0.0) < 1.0, done.stdout[-3000:]
