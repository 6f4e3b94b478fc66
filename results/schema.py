"""What each section of a record must hold: the entries that reports and statistics read, and their types."""

from __future__ import annotations

import math
from typing import Any

NUMBER = (int, float)
ENTRIES: dict[str, dict[str, tuple[type, ...]]] = {
    "protocol": {"id": (str,), "version": (int,), "division": (str,), "part": (str,), "columns": (list,)},
    "data": {
        "dataset": (str,), "list": (str,), "list_sha256": (str,), "list_origin": (str,), "labels": (str,),
        "labels_sha256": (str,), "label_variant": (str,), "classes": (list,), "n_expected": (int,),
        "n_evaluated": (int,), "n_undecodable": (int,), "embedded": (bool,),
    },
    "method": {
        "name": (str,), "title": (str,), "version": (int, str), "family": (str,), "origin": (str,),
        "source_sha256": (str,), "options": (dict,), "class_text": (str,), "extra_data": (list,),
        "params_total": (int,), "params_trained": (int,), "unverified": (str,), "paper": (str,), "source": (str,),
    },
    "backbone": {"name": (str,), "weights": (str,), "weights_sha256": (str,)},
    "repeat": {"kind": (str,), "index": (int,)},
    "views": {
        "frames": (int,), "clips": (int,), "crops": (int,), "sampling": (str,), "normalize": (str,), "reader": (str,),
        "size": (int,),
    },
    "metrics": {"top1": NUMBER, "top5": NUMBER, "mean_class": NUMBER},
    "cost": {"gflops": (*NUMBER, type(None)), "score_gflops": (*NUMBER, type(None))},
    "predictions": {"file": (str,), "sha256": (str,)},
}  # fmt: skip
OPTIONAL: dict[str, dict[str, tuple[type, ...]]] = {
    "protocol": {"incomplete": (list, type(None))},
    "backbone": {"arch": (str, type(None))},
    "overlap": {
        "train_videos": (int, type(None)), "seen_classes": (list, type(None)), "top1_strict": (*NUMBER, type(None)),
    },
    "fit": {
        "key": (str,), "name": (str,), "shots": (int, type(None)), "seed": (int, type(None)), "recipe": (dict,),
        "selection": (str,), "weights_sha256": (str,),
    },
    "environment": {},
}  # fmt: skip
"""Entries that need not be there, and sections of which only some entries are looked at."""
TEXTS = {
    "data": ("classes",), "method": ("extra_data",), "protocol": ("incomplete",), "overlap": ("seen_classes",),
}  # fmt: skip
"""Lists that hold texts only."""
REPEAT_KINDS = ("test_split", "class_subset", "train_subset", "seed", "single")


def section_problems(value: dict[str, Any]) -> list[str]:
    """What is wrong with a record's sections, one line each with the value found; empty if nothing."""
    problems = []
    for section, entries in ENTRIES.items():
        content = value[section]
        if not isinstance(content, dict):
            problems.append(f"{section} is {content!r}, expected an object")
            continue
        for name, types in entries.items():
            if name not in content:
                problems.append(f"{section}.{name} is missing")
            elif not _is(content[name], types):
                kinds = " or ".join(kind.__name__ for kind in types)
                problems.append(f"{section}.{name} is {content[name]!r}, expected {kinds}")
    problems += _plain_problems(value)
    return problems or _value_problems(value)


def _plain_problems(value: dict[str, Any]) -> list[str]:
    """What is wrong with the types of the other entries: texts, objects, and lists of texts."""
    problems = [
        f"{name} is {value[name]!r}, expected a text"
        for name in ("cell", "signature", "created")
        if not isinstance(value[name], str)
    ]
    if not isinstance(value["identity"], dict):
        problems.append(f"identity is {value['identity']!r}, expected an object")
    for section, entries in OPTIONAL.items():
        content = value[section]
        if section == "fit" and content is None:
            continue
        if not isinstance(content, dict):
            problems.append(f"{section} is {content!r}, expected an object")
            continue
        for name, types in entries.items():
            if name in content and not _is(content[name], types):
                problems.append(f"{section}.{name} is {content[name]!r}, expected {types[0].__name__}")
    if isinstance(value["fit"], dict) and "init" not in value["fit"]:
        problems.append("fit.init is missing")
    for section, names in TEXTS.items():
        for name in names:
            found = value[section].get(name) if isinstance(value[section], dict) else None
            if isinstance(found, list) and not all(isinstance(text, str) for text in found):
                problems.append(f"{section}.{name} holds {found!r:.80}, expected texts")
    return problems


def _is(value: Any, types: tuple[type, ...]) -> bool:
    """Whether a JSON value has one of the types; true and false are no numbers."""
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _value_problems(value: dict[str, Any]) -> list[str]:
    """What is wrong with the values of well-typed sections."""
    problems = [
        f"metrics.{name} is {number!r}, expected percent from 0 to 100"
        for name, number in value["metrics"].items()
        if not _is(number, NUMBER) or not (math.isfinite(number) and 0.0 <= number <= 100.0)
    ]
    problems += [
        f"cost.{name} is {number!r}, expected a number from 0 or null"
        for name, number in value["cost"].items()
        if name in ENTRIES["cost"] and number is not None and not (math.isfinite(number) and number >= 0.0)
    ]
    data = value["data"]
    if data["n_expected"] < 1:
        problems.append(f"data.n_expected is {data['n_expected']}, expected at least 1")
    if not 0 < data["n_evaluated"] <= data["n_expected"]:
        problems.append(f"data.n_evaluated is {data['n_evaluated']}, expected 1 to {data['n_expected']}")
    if value["repeat"]["kind"] not in REPEAT_KINDS:
        problems.append(f"repeat.kind is {value['repeat']['kind']!r}, expected one of {', '.join(REPEAT_KINDS)}")
    if not isinstance(value["fit"], (dict, type(None))):
        problems.append(f"fit is {value['fit']!r}, expected an object or null")
    if not value["protocol"]["columns"]:
        problems.append("protocol.columns is empty, expected at least one rule")
    for rule in value["protocol"]["columns"]:
        if not _is_rule(rule):
            problems.append(f"protocol.columns holds {rule!r}, expected a name and either a part or harmonic_of")
    file = value["predictions"]["file"]
    if "/" in file or "\\" in file or file.startswith(".") or not file.isprintable() or not file:
        problems.append(f"predictions.file is {file!r}, expected the name of a file beside the record")
    return problems


def _is_rule(rule: Any) -> bool:
    """Whether a column rule has a name and either a part or the two columns of a harmonic mean."""
    if not isinstance(rule, dict) or not isinstance(rule.get("name"), str):
        return False
    if ("part" in rule) == ("harmonic_of" in rule):
        return False
    if "part" in rule:
        return isinstance(rule["part"], str)
    of = rule["harmonic_of"]
    return isinstance(of, (list, tuple)) and len(of) == 2 and all(isinstance(name, str) for name in of)
