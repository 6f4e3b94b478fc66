"""Zero-shot transfer to all clips of a dataset, as in half of the published numbers, and not to its test splits."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import Column, DatasetFacts, Eval, Fit, ListRef, Protocol, UserError, register_protocol


@register_protocol("zero_shot_full")
class ZeroShotFull(Protocol):
    """The fit of `zero_shot`, evaluated once on all clips of UCF-101 (13,320) or HMDB-51 (6,766).

    FROSTER and others print such numbers beside means over the three test splits. The two are different columns: the
    full list holds the clips of the official training lists, and has no repeats.
    """

    title = "Zero-shot, all clips"
    datasets = ("hmdb51", "ucf101")
    columns = (Column("top1", "all"), Column("top5", "all", "top5"))
    recipe_like = "zero_shot"

    def fits(self, dataset: DatasetFacts) -> Iterable[Fit]:
        """Yield the fit on the whole training list of the target's source, the same as that of `zero_shot`."""
        if dataset.source is None or not dataset.has_list("full"):
            raise UserError(
                f"{dataset.name} has no list of all clips for zero-shot transfer.",
                f"Targets are {', '.join(self.datasets)}; zero_shot evaluates the test lists of other datasets.",
            )
        yield Fit(ListRef(dataset.source, "train", "all"))

    def evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """Yield the eval of all clips."""
        yield Eval("all", ListRef(dataset.name, "full", "all"))
