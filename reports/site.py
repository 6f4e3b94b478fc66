"""The leaderboard: one self-contained HTML file, `leaderboard.json` and `leaderboard.csv`."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.base.atomic import write_bytes
from reports.aggregate import rows_of
from reports.anchors import slug
from reports.board import groups_of
from reports.board_json import board_csv, board_json
from reports.board_rows import FILTERS, BoardCell, Group
from reports.changes import KINDS, Changes, changes_since
from reports.citation import bibtex, code_url
from reports.entries import Damaged, read_entries
from reports.export import tables_of
from reports.figures.forest import ForestScale, forest, forest_scale
from reports.figures.probes import probe_losses
from reports.layout import ALL_TABLES, column_title, dataset_title, layouts, protocol_title
from reports.overview import overview
from reports.page.heads import explanation_id, explanations
from reports.page.notes import coverage, linked_columns, notes_of, printed_facts, unknown_sources
from reports.page.pages import INDEX, pages_of
from reports.page.pairs import pair_matrix
from reports.page.panel import panel_figures
from reports.page.standing import standing
from reports.probes import TITLE, by_dataset, probe_rows, probe_tables, without_probes
from reports.publish import BESIDE_RUNS, Publishing, base_of_records
from reports.ranks import analyse
from reports.sample_pages import SAMPLES
from reports.sections import comparison_sections, dataset_sections, group_figures, method_sections, primary_cell
from reports.statistics_words import AGAIN, NOT_SEPARABLE, SEPARABLE, TOO_FEW_SOURCES
from reports.table_html import html
from results.means import DDOF

_GAPS = {"": "\N{EN DASH}", SEPARABLE: "separable", NOT_SEPARABLE: "not separable", TOO_FEW_SOURCES: "too few sources"}
TEMPLATES = Path(__file__).with_name("templates")
FIGURES_FROM = 6
"""Number of rows from which a table has figures although it is not the largest table of its dataset."""


@dataclass(frozen=True)
class BuiltReport:
    """A board that was written.

    Args:
        index: Its `index.html`.
        damaged: Files that are left out of the board; the page names them.
        changes: The changes since an earlier board, if they were requested.
        groups: The tables of the board.
    """

    index: Path
    damaged: tuple[Damaged, ...] = ()
    changes: Changes | None = None
    groups: tuple[Group, ...] = ()


def build_report(
    runs: Path | Sequence[Path], out: Path, publishing: Publishing = BESIDE_RUNS
) -> BuiltReport:  # fmt: skip
    """Write the board of all records below a run folder, or several run folders, to the folder `out`.

    A page loads no other file and can be read without scripts. Damaged records are left out; the page names them. A
    board of empty run folders shows the published values.

    Args:
        runs: Run folders.
        out: Folder of the board.
        publishing: Address or copies of the records, the earlier board, and whether the board has pages of samples.

    Raises:
        UserError: A folder is missing, or the board cannot be written there.
    """
    with _quiet_collector():
        return _build([runs] if isinstance(runs, Path) else runs, out, publishing)


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """Turn garbage collection off while the board is built: it creates millions of objects and hardly any cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():
                # Both calls together only move all objects to the oldest generation. Otherwise the next allocation
                # starts a search through the whole board, which takes as long as a tenth of the report.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def _build(runs: Sequence[Path], out: Path, publishing: Publishing) -> BuiltReport:
    read = read_entries(runs, allow_none=True)
    ranked, probes = without_probes(rows_of(read.entries))
    analysis = analyse(ranked)
    rows, ranks = analysis.rows, analysis.ranks
    groups = groups_of(rows, ranks)
    losses = probe_rows(probes)
    facts, settings = printed_facts(groups)
    times = [entry.time for row in rows for entry in row.entries]
    paper = tables_of(layouts(ALL_TABLES), rows, ranks, against_paper=True, fill_unmeasured=False)
    comparisons, unread = comparison_sections(groups)
    damaged = (*read.damaged, *unread)
    changes = changes_since(publishing.since, groups) if publishing.since else None
    pages = pages_of(groups)
    render = partial(
        _environment().get_template("board.html.jinja").render,
        pages=pages,
        changes=changes,
        change_kinds=KINDS,
        samples=f"{SAMPLES}/{INDEX}" if publishing.samples else "",
        tabs=list(dict.fromkeys(group.protocol for group in groups)),
        glance=overview(groups),
        figures={group.anchor: list(group_figures(group).values()) for group in groups if _drawn(group)},
        comparisons=comparisons,
        probes=Markup(html(probe_tables(losses))) if losses else "",
        probe_figures=[probe_losses(members, dataset_title(name)) for name, members in by_dataset(losses).items()],
        methods=method_sections(rows),
        datasets=dataset_sections((*rows, *probes)),
        damaged=damaged,
        paper=Markup(html(paper)),
        probes_title=TITLE,
        values=_values(groups),
        more_filters=[(name, title) for name, title in FILTERS if name not in ("protocol", "dataset")],
        measured_protocols={row.protocol for row in rows},
        panels=panel_figures(rows, analysis.classes),
        explanations=explanations(groups),
        printed_facts=facts,
        settings=settings,
        n_methods=len({row.method for row in rows}),
        n_datasets=len({row.dataset for row in rows}),
        n_rows=sum(len(group.rows) for group in groups),
        n_measured=len(rows),
        n_records=sum(len(row.entries) for row in rows),
        n_superseded=sum(len(row.superseded) for row in rows),
        n_embedded=sum(row.embedded for row in rows),
        newest=max(times, default=""),
        oldest=min(filter(None, times), default=""),  # an unknown time is empty, the smallest text
        ddof=DDOF,
        base=base_of_records(read, runs, out, publishing),
        css=Markup((TEMPLATES / "board.css").read_text(encoding="utf-8")),
        # Without indentation, because every page of the board contains the script.
        js=Markup(re.sub(r"\n\s+", "\n", (TEMPLATES / "board.js").read_text(encoding="utf-8"))),
    )  # fmt: skip
    # Names of videos and classes may contain lone surrogates, which UTF-8 cannot encode.
    for page in pages:
        text = render(page=page, sections=_sections(page.groups))
        write_bytes(out / page.file, text.encode("utf-8", errors="replace"))
    write_bytes(out / "leaderboard.json", board_json(groups, damaged).encode("utf-8", errors="replace"))
    write_bytes(out / "leaderboard.csv", board_csv(groups).encode("utf-8", errors="replace"))
    return BuiltReport(out / INDEX, damaged, changes, tuple(groups))


def _drawn(group: Group) -> bool:
    """Whether a table has figures: the largest table of a dataset, and other tables of several rows."""
    return not group.published and (group.anchor.endswith("-0") or len(group.rows) >= FIGURES_FROM)


def _sections(groups: Sequence[Group]) -> list[tuple[str, list[tuple[str, list[Group]]]]]:
    """Groups by protocol and then by dataset."""
    return [
        (protocol, [(dataset, list(same)) for dataset, same in groupby(members, lambda group: group.dataset)])
        for protocol, members in groupby(groups, lambda group: group.protocol)
    ]


def _values(groups: Sequence[Group]) -> Mapping[str, list[str]]:
    """All values of each filter, first the values of measured rows."""
    ordered = sorted(groups, key=lambda group: group.published)
    values: dict[str, dict[str, None]] = {name: {} for name, _ in FILTERS}
    for group in ordered:
        for row in group.rows:
            for name, found in values.items():
                # The settings of published rows are free texts, by which nobody can choose.
                if row.row or name in ("protocol", "dataset", "status"):
                    found.update(dict.fromkeys(row.filters.choices(name)))
    ways = dict.fromkeys(group.measured_as for group in ordered if not group.published)
    return {**{name: list(found) for name, found in values.items()}, "measured_as": list(ways)}


def _count(parameters: int) -> str:
    """A number of parameters with three digits at most: `127 M`, `0.21 M`, `17 k`, `none`."""
    if parameters >= 100_000:
        millions = parameters / 1e6
        return f"{millions:.0f} M" if millions >= 10 else f"{millions:.1f} M" if millions >= 1 else f"{millions:.2f} M"
    return f"{parameters / 1e3:.0f} k" if parameters >= 1000 else str(parameters) if parameters else "none"


def _forest(cell: BoardCell, scale: ForestScale, title: str) -> Markup:
    return Markup(forest(cell, scale, title))


def _scale(group: Group) -> ForestScale:
    return forest_scale(row.cells[group.primary] for row in group.rows if group.primary in row.cells)


def _heading(group: Group) -> str:
    """Protocol, dataset and measurement of a table; different for all tables of a board."""
    return f"{protocol_title(group.protocol)} on {dataset_title(group.dataset)}, {group.heading}"


def _gflops(value: float | None) -> str:
    """GFLOPs with three significant digits; a dash if they could not be counted."""
    return "\N{EN DASH}" if value is None or value != value else f"{value:.1f}" if value >= 100 else f"{value:.3g}"


def _spread(group: Group) -> str:
    """Meaning of ± in a group (kind of repeat, n and ddof), for copies of its table."""
    cells = [cell.cell for row in group.rows for cell in row.cells.values() if cell.cell]
    kinds = {(cell.kind, cell.n) for cell in cells if cell.spread is not None}
    if group.published:
        return "\N{PLUS-MINUS SIGN} as printed"
    words = " or ".join(f"{n} {kind.replace('_', ' ')}s" for kind, n in sorted(kinds))
    return f"\N{PLUS-MINUS SIGN} is the standard deviation (ddof {DDOF}) over {words}" if kinds else ""


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """The templates; every value is escaped unless it is `Markup`."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(
        protocol_title=protocol_title, dataset_title=dataset_title, column_title=column_title, slug=slug,
        separable=SEPARABLE, another_training=AGAIN, standing=standing, scale_of=_scale, pair_matrix=pair_matrix,
        bibtex=bibtex, code_url=code_url, forest=_forest, notes_of=notes_of, unknown_sources=unknown_sources,
        coverage=coverage, linked_columns=linked_columns, primary_cell=primary_cell, explanation_id=explanation_id,
    )  # fmt: skip
    environment.filters["millions"] = lambda count: f"{count / 1e6:.1f}" if count else "0"
    environment.filters["count"] = _count
    environment.filters["gap"] = lambda sentence: _GAPS.get(sentence, sentence)
    environment.filters["heading"] = _heading
    environment.filters["number"] = lambda value, other: other if value is None or value != value else value
    environment.filters["gflops"] = _gflops
    environment.filters["spread"] = _spread
    environment.filters["signed"] = lambda value: f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")
    environment.filters["p"] = lambda p: "\N{EN DASH}" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}"
    environment.filters["words"] = lambda text: str(text).replace("_", " ")
    return environment
