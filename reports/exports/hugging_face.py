"""Rows as files of a model repository of Hugging Face: `.eval_results/*.yaml`, and a model card with its results."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from reports.anchors import slug
from reports.board_rows import BoardCell, BoardRow, Group
from reports.exports.every_eval import ExportedFile
from reports.layout import column_title, dataset_title, protocol_title
from reports.lines import MISSING
from reports.row import Row
from results.codec import JsonLike
from results.provenance import HARNESS

HUB_DATASETS = HARNESS
"""Organisation of the dataset ids in the files: no dataset of the Hub has the videos of these lists, so that the ids
must be replaced where a board has datasets of its own there."""

_METRICS = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "mean_class": "mean-class accuracy"}


def hugging_face(group: Group, board: BoardRow, row: Row) -> Iterator[ExportedFile]:
    """The files of a measured row, in a separate folder for each row."""
    folder = slug(row.method, row.key)
    entries = [_entry(group, board, row, column) for column, cell in board.cells.items() if cell.cell]
    yield ExportedFile(f"{folder}/.eval_results/{HARNESS}.yaml", _yaml(entries).encode())
    yield ExportedFile(f"{folder}/README.md", _card(group, board, row).encode())


def _entry(group: Group, board: BoardRow, row: Row, column: str) -> JsonLike:
    cell = board.cells[column]
    spread = f" ± {cell.cell.spread:.2f} over {cell.cell.n}" if cell.cell and cell.cell.spread is not None else ""
    rule = row.rule(column)
    metric = f"harmonic mean of {' and '.join(rule.harmonic_of)}" if rule.harmonic_of else _METRICS[rule.metric]
    entry: dict[str, JsonLike] = {
        "dataset": {"id": f"{HUB_DATASETS}/{slug(group.dataset)}", "task_id": slug(group.protocol, column)},
        "value": round(cell.value, 4),
        "notes": f"{metric} in percent{spread}; {board.signature}",
    }
    return {**entry, "date": row.newest.time} if row.newest.time else entry


def _card(group: Group, board: BoardRow, row: Row) -> str:
    """The model card, with the results as `model-index` in its metadata."""
    card, m = row.record.method, row.measurement
    results: list[JsonLike] = [
        {
            "task": {"type": "video-classification", "name": protocol_title(group.protocol)},
            "dataset": {"type": slug(group.dataset), "name": dataset_title(group.dataset)},
            "metrics": [
                {"type": "accuracy", "name": column_title(column), "value": round(cell.value, 4)}
                for column, cell in board.cells.items()
                if cell.cell
            ],
        }
    ]
    metadata: JsonLike = {
        "pipeline_tag": "video-classification",
        "tags": ["clip", "video-classification", HARNESS],
        "datasets": [slug(group.dataset)],
        "metrics": ["accuracy"],
        "model-index": [{"name": board.name, "results": results}],
    }
    scores = [
        f"| {_cell(column_title(column))} | {cell.value:.2f} | {_range(cell)} | {cell.rank or MISSING} |"
        for column, cell in board.cells.items()
        if cell.cell
    ]
    lines = [
        "---", _yaml(metadata).rstrip(), "---", "", f"# {_cell(board.name)}", "",
        f"Measured with {HARNESS} ({row.record.environment.harness or 'version not known'})"
        f"{f' on {row.newest.time[:10]}' if row.newest.time else ''}: {protocol_title(group.protocol)} on "
        f"{_cell(dataset_title(group.dataset))}.", "",
        "| column | % | 95 % interval, other videos | rank |", "| --- | --- | --- | --- |", *scores, "",
        "| property | value |", "| --- | --- |",
        f"| backbone | {_cell(row.backbone)} |", f"| views | {_cell(row.views)} |",
        f"| class text | {_cell(row.text)} |", f"| paper | {_cell(card.paper or 'none stated')} |",
        f"| source | {_cell(card.source or 'none stated')} |",
        f"| trained parameters | {card.params_trained:,} of {card.params_total:,} |",
        f"| protocol | {_cell(m.protocol.name)}, version {m.protocol.version} |", "",
        *(f"Not ranked: {_cell(reason)}\n" for reason in board.reasons),
        "```sh", board.command.text if board.command else "", "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _range(cell: BoardCell) -> str:
    interval = cell.cell.interval if cell.cell else None
    return f"{interval.low:.1f} to {interval.high:.1f}" if interval else MISSING


def _cell(text: str) -> str:
    """Text of a record in Markdown, on one line."""
    for char in "\\`*_[]<>|#":
        text = text.replace(char, f"\\{char}")
    return " ".join(text.split())


def _yaml(value: JsonLike) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1_000_000)
    return text
