"""Rows as files of Every Eval Ever (evalevalai.com), schema 0.3.0: one aggregate file per row, one line per video."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from reports.anchors import slug
from reports.board_rows import BoardRow, Group
from reports.entries import Entry
from reports.layout import column_title, dataset_title, protocol_title
from reports.row import Cell, Row
from results.codec import JsonLike
from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS, read_predictions
from results.provenance import HARNESS
from results.statistics.intervals import Interval

SCHEMA = "0.3.0"
_METRICS = {"top1": ("accuracy", 1), "top5": ("top_5_accuracy", 5), "mean_class": ("mean_class_accuracy", 1)}


@dataclass(frozen=True)
class ExportedFile:
    """A file of an export: its path in the folder of the export, with `/`, and its content."""

    path: str
    data: bytes


def every_eval(group: Group, board: BoardRow, row: Row) -> Iterator[ExportedFile]:
    """The aggregate file of a measured row and the file of its videos.

    Raises:
        UserError: The predictions of a record cannot be read.
    """
    model = f"{HARNESS}/{slug(row.method, row.key)}"
    # The same row gives the same name: version 4 states random bits, here those of a hash.
    name = uuid.UUID(bytes=hashlib.sha256(row.key.encode()).digest()[:16], version=4)
    folder = f"data/{HARNESS}/{model}"
    run = f"{HARNESS}/{model}/{_epoch(row.newest.time)}"
    lines = [line for entry in row.entries for line in _videos(entry, run, model)]
    samples = "".join(f"{_json(line)}\n" for line in lines).encode()
    detailed: JsonLike = {
        "format": "jsonl", "file_path": f"{folder}/{name}_samples.jsonl", "hash_algorithm": "sha256",
        "checksum": hashlib.sha256(samples).hexdigest(), "total_rows": len(lines),
    }  # fmt: skip
    environment = row.record.environment
    aggregate: JsonLike = {
        "schema_version": SCHEMA,
        "evaluation_id": run,
        "evaluation_timestamp": row.newest.time,
        "retrieved_timestamp": _epoch(row.newest.time),
        "source_metadata": {
            "source_name": HARNESS, "source_type": "evaluation_run", "source_organization_name": HARNESS,
            "evaluator_relationship": "other", "additional_details": {"status": " ".join(row.statuses)},
        },
        "eval_library": {
            "name": HARNESS, "version": environment.packages.get(HARNESS, "unknown"),
            "additional_details": {"commit": environment.git.commit or "unknown"},
        },
        "model_info": {
            "name": board.name, "id": model, "developer": HARNESS,
            "additional_details": {
                "deployment_type": "self_deployed", "model_availability": "unknown", "backbone": row.backbone,
                "signature": board.signature, "command": board.command.text if board.command else "",
                "paper": row.record.method.paper, "source": row.record.method.source,
            },
        },
        "evaluation_results": [*_cells(group, board), *(_record(entry) for entry in row.entries)],
        "detailed_evaluation_results": detailed,
    }  # fmt: skip
    yield ExportedFile(f"{folder}/{name}.json", f"{_json(aggregate)}\n".encode())
    yield ExportedFile(f"{folder}/{name}_samples.jsonl", samples)


def _cells(group: Group, board: BoardRow) -> Iterator[JsonLike]:
    """The cells of the row in the table: means over repeats, and harmonic means."""
    for column, shown in board.cells.items():
        cell = shown.cell
        if cell is None:
            continue
        metric = board.row.rule(column).metric if board.row and cell.harmonic_of is None else "harmonic_mean"
        title = f"{protocol_title(group.protocol)} on {dataset_title(group.dataset)}, {column_title(column)}"
        yield {
            "evaluation_result_id": f"{board.anchor}-{column}",
            "evaluation_name": title,
            "source_data": {"dataset_name": group.dataset, "source_type": "other"},
            "metric_config": _metric(metric),
            "score_details": {
                "score": cell.mean,
                "details": {"rank": str(shown.rank or ""), "not_ranked": shown.reason, "repeats": str(cell.n)},
                "uncertainty": _uncertainty(cell),
            },
        }


def _uncertainty(cell: Cell) -> JsonLike:
    spread = {} if cell.spread is None else {"standard_deviation": cell.spread, "num_samples": cell.n}
    return {**spread, **({"confidence_interval": _interval(cell.interval)} if cell.interval else {})}


def _interval(interval: Interval) -> JsonLike:
    return {
        "lower": interval.low, "upper": interval.high, "confidence_level": 0.95,
        "method": "Wilson's interval with an effective number of videos, for other videos of the same classes",
    }  # fmt: skip


def _record(entry: Entry) -> JsonLike:
    """The top-1 accuracy of one record, which the lines of its videos refer to."""
    m, record = entry.measurement, entry.record
    return {
        "evaluation_result_id": record.key,
        "evaluation_name": _name(entry),
        "source_data": {
            "dataset_name": m.evaluation.list.dataset, "source_type": "other",
            "additional_details": {"list": m.evaluation.list.name, "list_sha256": m.evaluation.list.sha256},
        },
        "evaluation_timestamp": entry.time,
        "metric_config": _metric("top1"),
        "score_details": {
            "score": record.metrics.top1,
            "details": {"top5": str(record.metrics.top5), "mean_class": str(record.metrics.mean_class)},
            "uncertainty": {"num_samples": m.evaluation.evaluated},
        },
    }  # fmt: skip


def _metric(metric: str) -> JsonLike:
    name, k = _METRICS.get(metric, (metric, 1))
    return {
        "metric_id": name, "metric_name": name.replace("_", " "), "metric_kind": "accuracy", "metric_unit": "percent",
        "metric_parameters": {"k": k}, "lower_is_better": False, "score_type": "continuous", "min_score": 0.0,
        "max_score": 100.0,
    }  # fmt: skip


def _name(entry: Entry) -> str:
    m = entry.measurement
    return f"{m.protocol.name}/{m.evaluation.list.dataset}/{m.evaluation.list.name}"


def _videos(entry: Entry, run: str, model: str) -> Iterator[JsonLike]:
    """One line for each video of a record."""
    frame, classes = read_predictions(entry.predictions), entry.record.classes
    columns = [frame["video"], frame["label"], frame[ID_COLUMNS[0]], frame[PROBABILITY_COLUMNS[0]]]
    for video, label, first, probability in zip(*(column.tolist() for column in columns), strict=True):
        truth = classes[label] if 0 <= label < len(classes) else str(label)
        predicted = classes[first] if 0 <= first < len(classes) else ""
        yield {
            "schema_version": SCHEMA, "evaluation_id": run, "model_id": model, "evaluation_name": _name(entry),
            "evaluation_result_id": entry.record.key, "sample_id": video,
            "sample_hash": hashlib.sha256(f"{video}{truth}".encode()).hexdigest(), "interaction_type": "single_turn",
            "input": {"raw": video, "reference": [truth]},
            "output": {"raw": [predicted]},
            "answer_attribution": [
                {
                    "turn_idx": 0, "source": "output.raw", "extracted_value": predicted,
                    "extraction_method": "most probable class", "is_terminal": True,
                }
            ],
            "evaluation": {"score": float(first == label), "is_correct": first == label},
            "metadata": {"probability": f"{probability:.6f}"},
        }  # fmt: skip


def _epoch(time: str) -> str:
    """Seconds since 1970 of an ISO 8601 time; 0 if it is not known."""
    return str(int(datetime.fromisoformat(time).timestamp())) if time else "0"


def _json(value: JsonLike) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
