"""The paper's tables as layouts: titles, stacked blocks, columns in the print's order, and which have a delta row."""

from __future__ import annotations

from dataclasses import dataclass

from harness.base.errors import unknown_name

FAMILIES = {
    "unimodal": "Methods with uni-modal training",
    "adapting": "Adapting image-text pre-training",
    "tuning": "Tuning pre-trained image-text models",
}
DELTA_LABEL = "+Δ over the best adapting method"
DELTA_METHOD = "vifi-clip"
"""The delta row is this method minus the best of the *adapting* family, column by column."""

BEST, SECOND = "bold", "underline"


@dataclass(frozen=True)
class Layout:
    """One printed table, or one of several that stand under one name.

    Args:
        table: The name that `--table` takes.
        block: Which of the stacked tables.
        title: Shown above it.
        protocol: The protocol whose records fill it; empty for compute.
        source: The source whose rows and order it repeats.
        columns: (dataset as printed, column) in order.
        delta: Whether it ends in a delta row.
    """

    table: str
    block: str
    title: str
    protocol: str
    source: str
    columns: tuple[tuple[str, str], ...]
    delta: bool = True


def _columns(datasets: tuple[str, ...], names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((dataset, name) for dataset in datasets for name in names)


SLIDES, README = "vificlip_slides", "vificlip_readme"
SHOTS = ("k2", "k4", "k8", "k16")
TRIPLE = ("base", "novel", "hm")
LAYOUTS = (
    Layout("zero_shot", "hmdb51_ucf101", "Zero-shot: HMDB-51 and UCF-101", "zero_shot", SLIDES,
           _columns(("HMDB-51", "UCF-101"), ("top1",))),
    Layout("zero_shot", "k600", "Zero-shot: Kinetics-600", "zero_shot", SLIDES, _columns(("K-600",), ("top1", "top5"))),
    Layout("b2n", "", "Base to novel", "b2n", SLIDES, _columns(("K-400", "HMDB-51", "UCF-101", "SSv2"), TRIPLE)),
    Layout("few_shot", "", "Few-shot", "few_shot", SLIDES, _columns(("HMDB-51", "UCF-101", "SSv2"), SHOTS)),
    Layout("supervised", "", "Fully supervised on Kinetics-400", "supervised", SLIDES,
           (*_columns(("K-400",), ("top1", "top5", "gflops", "throughput")),), delta=False),
    Layout("compute", "", "Compute", "", SLIDES, _columns(("",), ("gflops", "throughput", "params_m")), delta=False),
    Layout("bridge_prompt", "base_to_novel", "Bridge and prompt: base to novel", "b2n", README,
           _columns(("HMDB-51", "UCF-101", "SSv2"), TRIPLE), delta=False),
    Layout("bridge_prompt", "few_shot", "Bridge and prompt: few-shot", "few_shot", README,
           _columns(("HMDB-51", "UCF-101", "SSv2"), SHOTS), delta=False),
)  # fmt: skip
TABLE_NAMES = (*dict.fromkeys(layout.table for layout in LAYOUTS), "all")

COLUMN_TITLES = {
    "top1": "Top-1", "top5": "Top-5", "base": "Base", "novel": "Novel", "hm": "HM", "joint": "Joint", "k2": "K=2",
    "k4": "K=4", "k8": "K=8", "k16": "K=16", "gflops": "GFLOPs", "throughput": "TP", "params_m": "Params (M)",
}  # fmt: skip
DATASET_TITLES = {
    "k400": "K-400", "k600": "K-600", "hmdb51": "HMDB-51", "ucf101": "UCF-101", "ssv2": "SSv2",
    "mini_source": "mini source", "mini_target": "mini target",
}  # fmt: skip
PROTOCOL_TITLES = {
    "zero_shot": "Zero-shot", "b2n": "Base to novel", "few_shot": "Few-shot", "supervised": "Fully supervised",
}  # fmt: skip


def layouts(table: str) -> tuple[Layout, ...]:
    """The layouts of a table's name; of `all`, every one.

    Raises:
        UserError: There is no such table.
    """
    if table not in TABLE_NAMES:
        raise unknown_name("table", table, TABLE_NAMES)
    return tuple(layout for layout in LAYOUTS if table in ("all", layout.table))
