"""The figures of the board as files for a paper, with their captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from reports.aggregate import rows_of
from reports.anchors import slug
from reports.board import groups_of
from reports.board_rows import Group
from reports.entries import Damaged, read_entries
from reports.figures.paper import PAPERS, Paper, write_figure
from reports.figures.probes import probe_losses
from reports.figures.svg import Figure
from reports.layout import dataset_title, protocol_title
from reports.probes import TITLE, ProbeRow, by_dataset, probe_rows, without_probes
from reports.ranks import analyse
from reports.sections import comparison_sections, group_figures

CAPTIONS = "captions.md"


def write_figures(runs: Sequence[Path], out: Path, width: str = "column") -> tuple[list[Path], tuple[Damaged, ...]]:
    """Write each figure of the board as PDF and PNG, and `captions.md` with the finding of each figure.

    Args:
        runs: Run folders.
        out: Folder of the files.
        width: `column` or `page`, a name of `PAPERS`.

    Returns:
        The PDF and PNG files, and the files of the run folders that cannot be read.

    Raises:
        UserError: A run folder is missing, it has no record or no table with two rows, or the files cannot be written.
    """
    paper = PAPERS[width]
    read = read_entries(runs)
    ranked, probes = without_probes(rows_of(read.entries))
    analysis = analyse(ranked)
    groups = [group for group in groups_of(analysis.rows, analysis.ranks) if not group.published]
    comparisons, unread = comparison_sections(groups, paper.pixels)
    files: list[Path] = []
    captions: list[str] = []
    figures = [*_of_tables(groups, paper), *_of_probes(probe_rows(probes), paper)]
    stems = {slug("c", group.anchor): _stem(group) for group in groups}
    for section in comparisons:
        named = {"classes": section.figure, "confusion": section.confusion}
        figures += [(f"{stems[section.anchor]}-{name}", section.title, shown) for name, shown in named.items() if shown]
    if not figures:
        raise UserError(
            f"Every table of {', '.join(map(str, runs))} has one measured row; a figure shows at least two.",
            "Measure another method: python -m harness run --method NAME --protocol b2n",
        )
    for stem, title, figure in figures:
        files += write_figure(figure, out / stem, paper)
        captions.append(f"- `{stem}`: {title}. {figure.caption}")
    write_bytes(out / CAPTIONS, ("\n".join(captions) + "\n").encode("utf-8", errors="replace"))
    return files, (*read.damaged, *unread)


def _stem(group: Group) -> str:
    """The beginning of the names of a table's files, such as `b2n-hmdb51-0`."""
    return group.anchor.removeprefix("t-")


def _of_tables(groups: Sequence[Group], paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """(file name without suffix, title, figure) of all tables."""
    for group in groups:
        title = f"{protocol_title(group.protocol)} on {dataset_title(group.dataset)}, {group.heading}"
        for name, figure in group_figures(group, paper.pixels).items():
            yield f"{_stem(group)}-{name}", title, figure


def _of_probes(losses: Sequence[ProbeRow], paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """(file name without suffix, title, figure) of the view transforms, one for each dataset."""
    for name, members in by_dataset(losses).items():
        figure = probe_losses(members, dataset_title(name), paper.pixels)
        if figure:
            yield slug("probes", name), f"{TITLE} on {dataset_title(name)}", figure
