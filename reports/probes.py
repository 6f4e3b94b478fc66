"""The table 'does it use time, does it break': losses of probes against the method's own clean score.

A loss is the accuracy of the part without transform minus that of a part with a view transform, in percent points, on
the same videos and the same fit. Its interval is that of the paired difference. Probes are never ranked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.spec.view_transforms import BUILT_IN, CORRUPTIONS, TIME_PROBES
from reports.entries import Entry
from reports.labels import labels_of, named
from reports.layout import PAPER_TABLES, dataset_title, family_order
from reports.lines import MISSING, signed
from reports.notes import EMBEDDED_BANNER
from reports.row import Row
from reports.samples import GroupSamples
from reports.table import Table, TableCell, TableRow
from results.measurement_words import incomplete_mark, mean_lacks
from results.probes import is_probe
from results.row_statistics import pair_statistics
from results.statistics.intervals import Interval

TITLE = "Does it use time, does it break"
_TIME, _OTHER = "does it use time", "other transforms"
NOTES = (
    "Loss: accuracy of the method on the same videos without the transform, minus that with the transform, in percent "
    "points; a positive loss is a worse score. In brackets the 95 % interval of the paired difference for other "
    "videos. Each method is compared with its own clean score alone: losses are not ranked.",
    "shuffled, reversed: the sampled frames in another order; one_frame: the middle frame repeated; first_half: the "
    "first half of the frames, each repeated. A method that does not use the order of frames loses nothing when they "
    "are shuffled. Digits 1 to 3: strength of a corruption.",
)


@dataclass(frozen=True)
class ProbeLoss:
    """A part of a row of probes.

    Args:
        part: Name of the part.
        accuracy: Top-1 accuracy in percent.
        loss: Clean accuracy minus accuracy in percent points; None without a clean score on the same videos.
        interval: 95 % interval of the loss; None if all videos have one source.
    """

    part: str
    accuracy: float
    loss: float | None
    interval: Interval | None

    @property
    def text(self) -> str:
        """The loss with its interval; a dash without a clean score."""
        if self.loss is None:
            return MISSING
        if self.interval is None:
            return signed(self.loss)
        return f"{signed(self.loss)} [{signed(self.interval.low)}, {signed(self.interval.high)}]"


@dataclass(frozen=True)
class ProbeRow:
    """The probes of one fit, or of an untrained method.

    Args:
        row: The row with its records.
        label: Second label of the row.
        clean: Top-1 accuracy in percent without transform; None if it was not measured.
        losses: By part, without the clean part.
    """

    row: Row
    label: str
    clean: float | None
    losses: dict[str, ProbeLoss]

    @property
    def fit(self) -> str:
        """Training list of the fit, `untrained` for an untrained method."""
        trained = self.row.measurement.fitted
        return f"{trained.list.dataset} {trained.list.name}" if trained else "untrained"


def without_probes(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """The rows that may be ranked, and the rows of probes."""
    ranked: list[Row] = []
    probes: list[Row] = []
    for row in rows:
        (probes if any(is_probe(entry.measurement) for entry in row.entries) else ranked).append(row)
    return ranked, probes


def probe_rows(rows: Sequence[Row]) -> list[ProbeRow]:
    """The losses of rows of probes, in the order of the rows; their predictions are read."""
    losses: dict[str, ProbeRow] = {}
    labels = dict(zip((row.key for row in rows), labels_of(rows), strict=True))
    for _, members in groupby(sorted(rows, key=lambda row: (row.group, row.key)), lambda row: row.group):
        samples = GroupSamples(list(members))
        for row in samples.rows:
            losses[row.key] = _losses(row, labels[row.key], samples)
    return [losses[row.key] for row in rows]


def _losses(row: Row, label: str, samples: GroupSamples) -> ProbeRow:
    clean = next((name for name in row.cells if not any(_transforms(row, name))), None)
    reference = samples.of(row, clean) if clean else None
    losses = {}
    for name, cell in row.cells.items():
        if name == clean:
            continue
        sample, loss, interval = samples.of(row, name), None, None
        # On other videos the difference would also show the difficulty of the lists.
        if clean and reference and sample and _lists(row, clean) == _lists(row, name):
            pair = pair_statistics(reference, sample)
            loss, interval = pair.difference, pair.interval
        losses[name] = ProbeLoss(name, cell.mean, loss, interval)
    return ProbeRow(row, label, row.cells[clean].mean if clean else None, losses)


def _of_column(row: Row, column: str) -> list[Entry]:
    return [repeat.entry for repeat in row.cells[column].repeats]


def _transforms(row: Row, column: str) -> list[str]:
    return [entry.measurement.evaluation.transform for entry in _of_column(row, column)]


def _lists(row: Row, column: str) -> list[str]:
    return [entry.measurement.evaluation.list.sha256 for entry in _of_column(row, column)]


def by_dataset(probes: Sequence[ProbeRow]) -> dict[str, list[ProbeRow]]:
    """Rows of probes by dataset, in the order of the datasets' names and of the families of methods."""
    datasets = sorted({probe.row.dataset for probe in probes})
    ordered = sorted(probes, key=lambda probe: family_order(probe.row.family))
    return {name: [probe for probe in ordered if probe.row.dataset == name] for name in datasets}


def probe_tables(probes: Sequence[ProbeRow]) -> list[Table]:
    """One table for each dataset with probes."""
    return [_table(dataset, members) for dataset, members in by_dataset(probes).items()]


def parts_of(probes: Sequence[ProbeRow]) -> list[str]:
    """The transformed parts of some rows: those of built-in transforms first."""
    found = {part for probe in probes for part in probe.losses}
    return [*(part for part in BUILT_IN if part in found), *sorted(found - set(BUILT_IN))]


def _table(dataset: str, probes: list[ProbeRow]) -> Table:
    parts = parts_of(probes)
    return Table(
        name=f"probes_{dataset}",
        title=f"{TITLE}: {dataset_title(dataset)}",
        columns=(("", "clean"), *map(_heading, parts)),
        rows=tuple(_row(probe, parts) for probe in probes),
        with_ours=True,
        with_published=False,
        notes=(*NOTES, *_lacking(probes)),
        banner=EMBEDDED_BANNER if any(probe.row.embedded for probe in probes) else "",
        keys=((dataset, "clean"), *((dataset, part) for part in parts)),
    )


def _heading(part: str) -> tuple[str, str]:
    """The two lines of a column's heading."""
    kind, _, strength = part.rpartition("_")
    if part in TIME_PROBES:
        return _TIME, part
    return (kind, strength) if kind in CORRUPTIONS and part in BUILT_IN else (_OTHER, part)


def _row(probe: ProbeRow, parts: Sequence[str]) -> TableRow:
    clean = TableCell(plain=probe.clean)
    cells = [_cell(probe.losses[part]) if part in probe.losses else TableCell() for part in parts]
    row = probe.row
    family = row.family or PAPER_TABLES.default_family
    return TableRow(
        row.title, family, (clean, *cells), row.method, setting=row.signature, extra=(("Fit", probe.fit),),
        label=probe.label,
    )  # fmt: skip


def _cell(loss: ProbeLoss) -> TableCell:
    return TableCell(plain=loss.text, loss=loss.loss, interval=loss.interval)


def _lacking(probes: Sequence[ProbeRow]) -> list[str]:
    """A note for each row that is incomplete or a sample."""
    notes = []
    for probe in probes:
        reasons = dict.fromkeys(reason for entry in probe.row.entries for reason in mean_lacks(entry.measurement))
        if reasons:
            notes.append(f"{named(probe.row.title, probe.label)}{incomplete_mark(tuple(reasons))}")
    return notes


def probe_lines(rows: Sequence[Row]) -> list[str]:
    """The losses as lines of text, which `run` prints when it ends."""
    lines = []
    for probe in probe_rows(rows):
        row = probe.row
        clean = MISSING if probe.clean is None else f"{probe.clean:.1f}"
        title = named(row.title, probe.label)
        lines.append(f"{title:<16} {row.protocol} {row.dataset} {row.views}  clean {clean}, losses against it:")
        of_kind = groupby(probe.losses.values(), lambda loss: _heading(loss.part)[0])
        lines += [f"  {'  '.join(f'{loss.part} {loss.text}' for loss in losses)}" for _, losses in of_kind]
    return lines
