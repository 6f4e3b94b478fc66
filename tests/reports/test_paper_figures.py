"""`report --figures`: the figures of the board as PDF and PNG in the widths of papers, with captions."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest
from PIL import Image

from reports.figures.palette import SHAPES
from reports.figures.paper import PAPERS, write_figure
from reports.figures.svg import Drawing, Figure, Pen, fitted_names, text_width
from tests.conftest import in_process
from tests.results.factories import write_sample

HOSTILE = '$x_1$ "a" & <b> \N{CJK UNIFIED IDEOGRAPH-6587} 100 %'
NAMES = {"b2n-mini_target-0-accuracies", "b2n-mini_target-0-classes", "b2n-mini_target-0-confusion"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows of base-to-novel, one with a hostile title."""
    folder = tmp_path_factory.mktemp("figures") / "runs"
    for part in ("base", "novel"):
        # Without trained parameters there are no figures of costs: the files of a figure take half a second.
        for method, title, accuracy in (("other", HOSTILE, 0.7), ("vanilla_clip", "", 0.4)):
            write_sample(folder, part=part, method=method, title=title, accuracy=accuracy, trained=False)
    return folder


def text_sizes(pdf: bytes) -> set[float]:
    """The font sizes of the texts of a PDF in points."""
    sizes: set[float] = set()
    for stream in re.findall(rb"stream\n(.*?)\nendstream", pdf, flags=re.S):
        try:
            content = zlib.decompress(stream)
        except zlib.error:
            continue
        sizes |= {float(size) for size in re.findall(rb"/F\S+ ([\d.]+) Tf", content)}
    return sizes


@pytest.mark.slow
def test_the_figures_of_the_board_are_written_for_a_column(
    runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures"
    assert in_process("report", "--runs", runs, "--figures", out) == 0
    assert capfd.readouterr().err.strip() == f"figures: {2 * len(NAMES)} files in {out}"
    assert {path.name for path in out.iterdir()} == {f"{name}.{kind}" for name in NAMES for kind in ("pdf", "png")} | {
        "captions.md"
    }
    captions = (out / "captions.md").read_text("utf-8")
    assert all(f"- `{name}`: " in captions for name in NAMES) and HOSTILE[:5] in captions
    assert "Base to novel on mini target" in captions and "HM" in captions
    pdf = (out / "b2n-mini_target-0-accuracies.pdf").read_bytes()
    width = re.search(rb"MediaBox \[ 0 0 ([\d.]+) ", pdf)
    assert width and float(width[1]) == pytest.approx(72 * 3.4), "one column"
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf, "embedded TrueType fonts"
    assert text_sizes(pdf) == {7.0}
    with Image.open(out / "b2n-mini_target-0-accuracies.png") as picture:
        assert picture.width == 1020 and "HM" in picture.text["Description"]


def everything() -> Figure:
    """A figure of all elements that a drawing can have."""
    drawing = Drawing(PAPERS["page"].pixels, 200)
    for number, shape in enumerate((*SHAPES, "dot")):
        drawing.marker((30 + 60 * number, 40), shape, Pen("#2d96d2", opacity=0.8), "tooltip")
    drawing.line([(20, 80), (200, 90), (300, 80)], Pen(width=2, opacity=0.4, dash="4 3"))
    drawing.rectangle(20, 110, 100, 30, Pen("#d27800"))
    drawing.text((200, 130), HOSTILE, "middle", 9.0)
    drawing.text((400, 130), "turned", "end", turn=-90)
    return Figure(drawing.svg("all"), "All elements.")


@pytest.mark.slow
def test_every_element_of_a_drawing_is_drawn(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    pdf, png = write_figure(everything(), tmp_path / "v1.2-all", PAPERS["page"])
    assert (pdf.name, png.name) == ("v1.2-all.pdf", "v1.2-all.png"), "a dot in the name is not a suffix"
    assert not recwarn.list, "a script without a font causes no warning"
    assert text_sizes(pdf.read_bytes()) == {7.0, 8.0}, "a label of 9 px is not smaller than 7 points"
    with Image.open(png) as picture:
        assert picture.width == 2070
        scale = picture.width / PAPERS["page"].pixels
        grey = picture.convert("L")

        def dark(x: float, y: float, reach: int = 5) -> bool:
            box = [round(scale * end) for end in (x - reach, y - reach, x + reach, y + reach)]
            return bool(grey.crop((box[0], box[1], box[2], box[3])).getextrema()[0] < 200)

        assert all(dark(30 + 60 * number, 40) for number in range(len(SHAPES) + 1))
        assert dark(200, 90) and dark(60, 125) and dark(200, 127) and dark(396, 150), "line, rectangle, texts"
        assert not dark(600, 170) and not dark(440, 130)
    again = write_figure(everything(), tmp_path / "again", PAPERS["page"])
    assert [path.read_bytes() for path in again] == [pdf.read_bytes(), png.read_bytes()], "equal figures, equal files"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--width", "page"), "--width belongs to --figures, which was not given"),
        (("--figures", "f", "--table", "b2n"), "--figures writes only figures, found --table"),
        (("--figures", "f", "--out", "x"), "--figures writes only figures, found --out"),
        (("--figures", "f", "--samples"), "--figures writes only figures, found --samples"),
        (("--figures", "f", "--export", "croissant"), "--figures writes only figures, found --export"),
    ],
)
def test_options_that_do_not_belong_to_figures(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...],
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert in_process("report", "--runs", tmp_path, *options) == 2
    assert message in capfd.readouterr().err and not list(tmp_path.iterdir())


def test_a_run_folder_without_records_has_no_figures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").mkdir()
    assert in_process("report", "--runs", tmp_path / "runs", "--figures", tmp_path / "f") == 2
    assert "record" in capfd.readouterr().err and not (tmp_path / "f").exists()


def test_a_single_row_has_no_figures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_sample(tmp_path / "runs", part="base")
    assert in_process("report", "--runs", tmp_path / "runs", "--figures", tmp_path / "f") == 2
    assert "has one measured row; a figure shows at least two" in capfd.readouterr().err
    assert not (tmp_path / "f").exists()


def test_shortened_names_stay_different() -> None:
    names = ["a long title (one)", "a long title (two)", "short", "short"]
    shown = fitted_names(names, 60)
    assert len(set(shown)) == 4 and all(text_width(name) <= 1.1 * 60 for name in shown)
    assert fitted_names(names[:3], 500) == names[:3]
