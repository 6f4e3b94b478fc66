"""`curve`: the training curve of fits, finished or not, as text and as a figure."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import add_folders, add_json, settings_of
from harness.commands._output import put, put_json, say
from harness.commands._parser import Verbs, verb_parser

if TYPE_CHECKING:
    from reports.training_curve import TrainingCurve


def add_parser(verbs: Verbs) -> None:
    """Arguments of `curve`."""
    parser = verb_parser(
        verbs, "curve", "training curve of fits",
        "Print the mean training loss and the learning rate of each epoch of fits, and draw the curves with --out.\n"
        "A fit that is still running shows the epochs so far.",
        "examples:\n"
        "  python -m harness curve runs/mini-clip/vificlip/mini_target-base_s1-9063c6c2\n"
        "  python -m harness curve mini_target-base_s1 mini_target-base_s2 --out curve.png\n",
    )  # fmt: skip
    parser.add_argument(
        "fit", nargs="+", metavar="FIT",
        help="folder of a fit, or the beginning of its name in the run folder",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="figure to draw: .png, .svg or .pdf")
    add_folders(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the curves, and draw them with `--out`."""
    from reports.training_curve import curve_text, draw_curves

    runs = settings_of(arguments).runs.path
    curves = [_curve(folder) for text in arguments.fit for folder in _folders(text, runs)]
    if arguments.out:
        draw_curves(curves, Path(arguments.out))
        say(f"curve: {arguments.out}")
    if arguments.json:
        put_json(curves)
    else:
        put("\n\n".join(map(curve_text, curves)))
    return EXIT_DONE


def _folders(text: str, runs: Path) -> list[Path]:
    """The folders of the fits of a name.

    Raises:
        UserError: No fit has the name.
    """
    from results.curve_file import CURVE

    if Path(text).is_dir():
        return [Path(text)]
    known = sorted(path.parent for path in runs.glob(f"*/*/*/{CURVE}"))
    named = [folder for folder in known if folder.name.startswith(text)]
    if not named:
        names = ", ".join(folder.name for folder in known[:8]) or "none"
        raise UserError(
            f"There is no fit {text} in {runs}.", f"Fits with a curve: {names}. Or give the folder of a fit."
        )
    return named


def _curve(folder: Path) -> TrainingCurve:
    """The curve of a fit.

    Raises:
        UserError: The fit has no curve: it is in closed form, has not finished an iteration, or the file was removed.
    """
    from harness.engine.training.curve import Curve
    from reports.training_curve import EpochRow, TrainingCurve
    from results.curve_file import CURVE
    from results.fit_file import read_fit_file

    by_epoch: dict[int, list[tuple[float, float, float]]] = {}
    for row in Curve(folder / CURVE).rows():
        by_epoch.setdefault(row.epoch, []).append((row.loss, row.lr, row.seconds))
    if not by_epoch:
        raise UserError(
            f"{folder} has no rows in {CURVE}, expected at least one iteration.",
            "Methods that are fitted in closed form have no curve. Is it the folder of a fit? See docs/runs.md.",
            EXIT_FAILED,
        )
    fitted = read_fit_file(folder)
    epochs = tuple(
        EpochRow(epoch + 1, sum(loss for loss, _, _ in rows) / len(rows), rows[-1][1], rows[-1][2])
        for epoch, rows in sorted(by_epoch.items())
    )
    return TrainingCurve(fitted.name if fitted else f"{folder.parent.name} {folder.name} (unfinished)", epochs)
