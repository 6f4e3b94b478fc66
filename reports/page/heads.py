"""Explanations of the columns of the board, one sentence for each head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.spec import Column
from reports.anchors import slug
from reports.board_rows import Group
from reports.layout import PAPER_TABLES, column_title, protocol_title

PARTS = {
    "base": "the classes of the training list",
    "novel": "classes that were not trained on",
    "joint": "all classes together",
    "all": "the whole evaluation list",
}
METRICS = {"top1": "Top-1 accuracy", "top5": "Top-5 accuracy", "mean_class": "Mean of the accuracies of the classes"}
COMMON = (
    ("rank", "#", "1 + the number of rows that are better and separable on the same videos (paired test, Holm's "
     "correction over all pairs). Equal ranks mean that the test videos cannot separate the rows. A dagger marks a "
     "rank that another training may change. Rows without a rank are below the ranked rows."),
    ("method", "Method", "The method, the settings that the row changes, its status and its marks. Submitted: not "
     "checked by a board; verified: recomputed from the predictions; reproduced: evaluated again by another party. "
     "Open the row for intervals, repeats, signature, command and records."),
    ("forest", "Interval", "The sorted column as a picture: the large dot is the mean, the line its 95 % interval for "
     "other videos, small dots are repeats, the diamond is the published value, the dotted line is the leader."),
    ("params", "Trained", "Parameters that the method trains."),
    ("gflops", "GFLOPs", "10^9 multiply-adds of the video features of one view."),
    ("text", "Class text", "The texts of the classes: the class name alone, a template, or texts of a language model."),
    ("frames", "Frames", "Frames of a view that the source states."),
    ("by", "Measured by", "Authors of the measurement, often not those of the method."),
    ("status-submitted", "Status submitted", "Submitted: as the author of the record measured it, and not checked by a "
     "board. Every record that run writes has this status, also one that was never sent anywhere."),
    ("status-verified", "Status verified", "Verified: a board accepted the record, and every number follows from the "
     "predictions."),
    ("status-reproduced", "Status reproduced", "Reproduced: another party evaluated a sample again from the weights, "
     "and the results agree."),
)  # fmt: skip
"""(name, title, explanation) of the columns that all tables share, and of the statuses of their rows."""


@dataclass(frozen=True)
class Explanation:
    """The explanation of a column.

    Args:
        anchor: Id of the explanation.
        title: Title of the column, with its protocol.
        text: One or two sentences.
    """

    anchor: str
    title: str
    text: str


def explanation_id(protocol: str, column: str) -> str:
    """The id of the explanation of a column; columns of all tables have an empty protocol."""
    return slug("x", protocol, column) if protocol else f"x-{column}"


def explanations(groups: Sequence[Group]) -> list[Explanation]:
    """The explanations of all columns of the groups, each once."""
    found = {name: Explanation(f"x-{name}", title, text) for name, title, text in COMMON}
    for group in groups:
        rules = {rule.name: rule for row in group.rows if row.row for rule in row.row.rules}
        for column in group.columns:
            anchor = explanation_id(group.protocol, column)
            if anchor not in found:
                title = f"{protocol_title(group.protocol)}, {column_title(column)}"
                found[anchor] = Explanation(anchor, title, _text(column, rules.get(column)))
    return list(found.values())


def _text(column: str, rule: Column | None) -> str:
    printed = PAPER_TABLES.columns.get(column)
    pair = rule.harmonic_of if rule else printed.harmonic_of if printed else None
    if pair:
        first, second = (column_title(name) for name in pair)
        return f"Harmonic mean of the unrounded means of {first} and {second}, in percent."
    part = rule.part if rule else column
    metric = METRICS.get(rule.metric if rule else column, METRICS["top1"] if not rule else f"Metric {rule.metric}")
    where = PARTS.get(part, "")
    if printed and printed.shots:
        where = f"the evaluation lists, after training on {printed.shots} videos of each class"
    elif not where:
        where = f"the part {part}" if rule and part else "the evaluation list"
    return f"{metric} in percent on {where}, as the mean over the repeats of the protocol."
