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
    """One fit and one eval; published on K-400 and defined for each dataset with the lists `train` and `val`.

    Published (specification, section 3): 16 frames, 4 clips x 3 crops, where the *training* sampler draws the four
    clips. `sampling="uniform"` is deterministic and makes a separate row.
    """

    title = "Fully supervised"
    datasets = ("k400",)
    views = Views(frames=16, clips=4, crops=3, sampling="random")
    columns = (Column("top1", "all"), Column("top5", "all", "top5"))

    def fits(self, dataset: DatasetFacts) -> Iterable[Fit]:
        """Yield the fit on the full training list."""
        if not (dataset.has_list("train") and dataset.has_list("val")):
            reason = f"{dataset.name} lacks the list train or val, expected both."
            raise UserError(reason, "supervised is published on k400, and runs on other datasets with both lists.")
        yield Fit(ListRef(dataset.name, "train", "all"))

    def evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """Yield the eval of the evaluation list over all classes."""
        yield Eval("all", ListRef(dataset.name, "val", "all"))
