"""Fully supervised: fit on the whole training list, evaluate with four temporal clips and three crops."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import (
    Column,
    DatasetFacts,
    Eval,
    Fit,
    ListRef,
    Protocol,
    UserError,
    Views,
    register_protocol,
)


@register_protocol("supervised")
class Supervised(Protocol):
    """One fit, one evaluation; published on K-400 and defined for any dataset with a `train` and a `val` list.

    Published (specs, section 3): 16 frames, 4 clips x 3 crops, where the four clips are drawn by the *training*
    sampler; `sampling="uniform"` is the deterministic option and makes a separate row.
    """

    title = "Fully supervised"
    datasets = ("k400",)
    views = Views(frames=16, clips=4, crops=3, sampling="random")
    columns = (Column("top1", "all"), Column("top5", "all", "top5"))

    def fits(self, dataset: DatasetFacts) -> Iterable[Fit]:
        """The one fit on the full training list."""
        if not (dataset.has_list("train") and dataset.has_list("val")):
            raise UserError(f"{dataset.name} has no full training and evaluation list.", "Published: k400.")
        yield Fit(ListRef(dataset.name, "train", "all"))

    def evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """The evaluation list over all classes."""
        yield Eval("all", ListRef(dataset.name, "val", "all"))
