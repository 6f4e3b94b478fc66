"""Estimated GPU hours of `vificlip` per protocol and dataset: the table of docs/real_data.md.

Clips of all fits (list length x epochs) and views of all evals, divided by the throughput measured on one H200
(benchmarks/results/throughput-h200.json, 16 frames, bf16) times 16 / frames. Vision blocks count as compiled where
`--compile auto` compiles them. Other GPUs are scaled by the vendor's dense bf16 rate. Nothing is timed here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.data.official.cards import Card, load_card, published_lists
from harness.plugins import registry
from harness.spec import Protocol, Views, ZeroShotTest

METHOD = "vificlip"
THROUGHPUT = Path(__file__).with_name("results") / "throughput-h200.json"
WORTH_SECONDS = 90.0
"""`--compile auto` compiles where it saves more than this, see `harness/engine/model/compiled.py`."""
TFLOPS = {"H200, H100": 989.0, "A100": 312.0, "RTX 4090": 165.0}
"""Dense bf16 rates of the vendor's data sheets, in TFLOP/s (H100 and A100: SXM)."""
OTHER_ROWS = {("k400", "train"): 246_534}
"""Rows of the official CSV; the published list has fewer, and its length is not known."""
PAIRS = (
    ("b2n", "ucf101"), ("b2n", "hmdb51"), ("b2n", "ssv2"), ("b2n", "k400"),
    ("few_shot", "ucf101"), ("few_shot", "hmdb51"), ("few_shot", "ssv2"),
    ("zero_shot", "hmdb51"), ("zero_shot", "ucf101"), ("zero_shot", "k600"), ("supervised", "k400"),
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What a protocol asks about an official dataset, from its card alone."""

    card: Card

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.card.name

    @property
    def source(self) -> str | None:
        """Dataset that `zero_shot` fits on."""
        return self.card.source

    @property
    def zero_shot_tests(self) -> tuple[ZeroShotTest, ...]:
        """Evaluation lists of `zero_shot`."""
        return self.card.zero_shot_tests

    def has_list(self, name: str) -> bool:
        """Whether the dataset defines a list of this name."""
        return name in self.card.lists or name in self.card.aliases

    def why_absent(self, name: str) -> str:
        """Empty: official datasets have no special reason."""
        return ""


@dataclass(frozen=True)
class Work:
    """Work of a method under a protocol on a dataset.

    Args:
        clips: Training clips of each fit, over all epochs.
        views: Views of each evaluation list.
        frames: Frames of a view.
    """

    clips: tuple[int, ...]
    views: tuple[int, ...]
    frames: int


def rows_of(dataset: str, name: str) -> int:
    """Number of videos of a list."""
    if (dataset, name) in OTHER_ROWS:
        return OTHER_ROWS[dataset, name]
    return published_lists()[load_card(dataset).find_list(name).file].rows


def work_of(protocol: str, dataset: str) -> Work:
    """The fits and evals of `vificlip` under a protocol on a dataset."""
    kind: type[Protocol] = registry.load("protocol", protocol)
    facts, rules = Facts(load_card(dataset)), kind()
    clips, views = [], []
    for fit in rules.fits(facts):
        recipe = registry.method_spec(METHOD).recipe_for(protocol, dataset, fit.shots)
        assert recipe is not None
        clips.append(rows_of(fit.train.dataset, fit.train.list) * recipe.epochs)
        for item in rules.evals(facts, fit):
            views.append(rows_of(item.test.dataset, item.test.list) * (item.views or kind.views).count)
    return Work(tuple(clips), tuple(views), kind.views.frames)


def rates() -> dict[tuple[str, bool], float]:
    """Measured clips/s at 16 frames by (`fit` or `eval`, compiled)."""
    rows = json.loads(THROUGHPUT.read_text(encoding="utf-8"))["rows"]
    kept = [row for row in rows if (row["method"], row["frames"], row["path"]) == (METHOD, 16, "ours")]
    best: dict[tuple[str, bool], float] = {}
    for row in kept:
        key = (row["phase"], row["compiled"])
        best[key] = max(best.get(key, 0.0), row["clips_per_second"]["median"])
    return best


def hours(counts: tuple[int, ...], phase: str, frames: int) -> float:
    """Hours of cells with given numbers of clips on one H200."""
    measured, scale = rates(), frames / Views(frames=16).frames
    total = 0.0
    for count in counts:
        plain, compiled = (count * scale / measured[phase, is_compiled] for is_compiled in (False, True))
        total += compiled if plain - compiled > WORTH_SECONDS else plain
    return total / 3600


def table() -> Iterator[str]:
    """The lines of the table, as Markdown."""
    names = list(TFLOPS)
    yield f"| protocol | dataset | fits | training clips x epochs | evaluated views | {' | '.join(names)} |"
    yield "| --- " * (5 + len(names)) + "|"
    for protocol, dataset in PAIRS:
        work = work_of(protocol, dataset)
        fits, evals = hours(work.clips, "fit", work.frames), hours(work.views, "eval", work.frames)
        factors = [TFLOPS[names[0]] / rate for rate in TFLOPS.values()]
        cells = [f"{_hours_text(fits * factor)} + {_hours_text(evals * factor)}" for factor in factors]
        counts = f"{len(work.clips)} | {sum(work.clips):,} | {sum(work.views):,}"
        yield f"| `{protocol}` | `{dataset}` | {counts} | {' | '.join(cells)} |"


def _hours_text(value: float) -> str:
    return "< 0.1" if value < 0.1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


if __name__ == "__main__":
    print("\n".join(table()))
