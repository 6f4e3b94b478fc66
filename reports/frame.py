"""Records to one tidy frame: the only place from which tables, statistics, figures and the board start."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from harness.base.errors import UserError
from results.record import STATUSES, Record, find_records, read_record

METRICS = ("top1", "top5", "mean_class")


def records_frame(runs: Path) -> pd.DataFrame:
    """One row per record under `runs`, one column per fact, accuracies in percent; sorted, with an index from 0.

    Columns that decide comparability are plain values (`views`, `text`, `init`, ...). `row` is a key shared by the
    records that a table averages, `group` a key shared by the rows that may be ranked together. The column `rules`
    holds the protocol's column rules, `path` the record file, `predictions_path` its predictions.

    Raises:
        UserError: The folder is missing or holds no record, or a record is not valid.
    """
    if not runs.is_dir():
        raise UserError(f"The runs folder {runs} does not exist.", "Name another, or fill it: python -m harness run")
    paths = find_records(runs)
    if not paths:
        raise UserError(f"The runs folder {runs} holds no record (*.record.json).", "Fill it: python -m harness run")
    frame = pd.DataFrame([_facts(path, read_record(path), runs) for path in paths])
    frame = _newest_of_each_cell(frame)
    order = ["protocol", "dataset", "method", "row", "part", "repeat_kind", "repeat_index", "record"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


def _facts(path: Path, record: Record, runs: Path) -> dict[str, Any]:
    """The columns of one record."""
    protocol, data, method, backbone, views = (
        record.protocol, record.data, record.method, record.backbone, record.views,
    )
    fit = record.fit or {}
    facts: dict[str, Any] = {
        "path": path,
        "record": path.relative_to(runs).as_posix(),
        "predictions_path": path.with_name(record.predictions["file"]),
        "predictions_sha256": record.predictions["sha256"],
        "cell": record.cell,
        "signature": record.signature,
        "protocol": protocol["id"],
        "protocol_version": protocol["version"],
        "division": protocol["division"],
        "part": protocol["part"],
        "rules": protocol["columns"],
        "incomplete": tuple(protocol.get("incomplete") or ()),
        "remarks": tuple(protocol.get("remarks") or ()),
        "dataset": data["dataset"],
        "list": data["list"],
        "list_sha256": data["list_sha256"],
        "list_origin": data["list_origin"],
        "labels_sha256": data["labels_sha256"],
        "label_variant": data["label_variant"],
        "classes": data["classes"],
        "n_expected": data["n_expected"],
        "n_evaluated": data["n_evaluated"],
        "n_undecodable": data["n_undecodable"],
        "embedded": bool(data["embedded"]),
        "method": method["name"],
        "title": method["title"] or method["name"],
        "method_version": method["version"],
        "family": method["family"],
        "origin": method["origin"],
        "source_sha256": method["source_sha256"],
        "options": _short(method["options"]) if method["options"] else "",
        "option_values": method["options"],
        "class_text": method["class_text"],
        "extra_data": ", ".join(method["extra_data"]),
        "params_total": method["params_total"],
        "params_trained": method["params_trained"],
        "unverified": method["unverified"],
        "paper": method["paper"],
        "source": method["source"],
        "backbone": backbone["name"],
        "arch": backbone.get("arch") or "",
        "weights": backbone["weights"],
        "weights_sha256": backbone["weights_sha256"],
        "trained": record.fit is not None,
        "fit": fit.get("key") or "",
        "fit_name": fit.get("name") or "",
        "shots": fit.get("shots"),
        "seed": fit.get("seed"),
        "recipe": _short(_without(fit.get("recipe") or {}, "seed")) if fit else "",
        "recipe_source": (fit.get("recipe") or {}).get("source") or "",
        "effective_batch": fit.get("effective_batch"),
        "init": _short(fit["init"]) if fit else "",
        "selection": fit.get("selection") or "",
        "views": views_text(views),
        "view_values": views,
        "frames": views["frames"],
        "size": views["size"],
        "text": _short(views.get("text")),
        "repeat_kind": record.repeat["kind"],
        "repeat_index": record.repeat["index"],
        **{name: record.metrics[name] for name in METRICS},
        "train_videos": record.overlap.get("train_videos") or 0,
        "seen_classes": tuple(record.overlap.get("seen_classes") or ()),
        "top1_strict": record.overlap.get("top1_strict"),
        "audits": record.overlap.get("audits") or [],
        "gflops": record.cost["gflops"],
        "score_gflops": record.cost["score_gflops"],
        "cost": record.cost,
        "environment": record.environment,
        "status": record.status,
        "created": record.created,
    }
    facts["row"] = _key(facts[name] for name in ROW_FACTS)
    facts["group"] = _key(_group_facts(facts))
    return facts


ROW_FACTS = (
    "protocol", "protocol_version", "division", "dataset", "method", "method_version", "source_sha256", "options",
    "backbone", "weights_sha256", "label_variant", "list_origin", "class_text", "extra_data", "views", "size", "text",
    "init", "selection",
)  # fmt: skip
"""Records that agree in all of these, and in the recipe of each part, are repeats and parts of one table row."""


def _group_facts(facts: dict[str, Any]) -> list[Any]:
    """What rows must share to be ranked together.

    The text *source* counts, not the template: prompts are a method's own, knowledge from a language model is not. An
    untrained method has no init and no selection, and joins the rows that start from the same weights and keep the
    last checkpoint.
    """
    names = ("protocol", "protocol_version", "division", "dataset", "backbone", "weights_sha256", "label_variant",
             "list_origin", "extra_data", "views", "size")  # fmt: skip
    text = "llm-rewritten" if facts["class_text"] == "llm-rewritten" else "names"
    return [*(facts[name] for name in names), text, _init_kind(facts["init"]), facts["selection"] or "last"]


def _init_kind(init: str) -> str:
    """`` for a fit that starts from the backbone's own weights, else the init as recorded."""
    return "" if init in ("", "clip", "none", "null", "backbone", "pretrained") else init


def views_text(views: dict[str, Any]) -> str:
    """`frames x clips x crops` with what departs from the published single view, e.g. `16x4x3-random`."""
    text = f"{views['frames']}x{views['clips']}x{views['crops']}"
    for name, usual in (("sampling", "centre"), ("normalize", "imagenet"), ("reader", "decord")):
        if views[name] != usual:
            text += f"-{views[name]}{'norm' if name == 'normalize' else ''}"
    return text


def _newest_of_each_cell(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with one record per cell, the newest; `duplicates` counts what was left out.

    Copies of one measurement are one: the one with the higher status stands, as where a board takes over a record.
    """
    order = frame.assign(earned=frame["status"].map(STATUSES.index))
    newest = order.sort_values(["created", "earned", "record"], kind="stable").drop(columns="earned")
    measured = newest["created"] + newest["predictions_sha256"]
    counts = measured.groupby(newest["cell"]).transform("nunique") - 1
    return newest.assign(duplicates=counts).drop_duplicates("cell", keep="last")


def _without(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name}


def _short(value: Any) -> str:
    """A text for any JSON value: texts as they are, mappings as `key=value` sorted, lists joined."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{key}={_short(value[key])}" for key in sorted(value))
    if isinstance(value, (list, tuple)):
        return "; ".join(_short(item) for item in value)
    return "" if value is None else str(value)


def _key(values: Iterable[Any]) -> str:
    """Twelve hex digits that stand for the values."""
    text = json.dumps([str(value) for value in values], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
