"""Zero-shot transfer: fit once on all of the source dataset, evaluate on every test split of the target."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import Column, DatasetFacts, Eval, Fit, ListRef, Protocol, Repeat, UserError, register_protocol


@register_protocol("zero_shot")
class ZeroShot(Protocol):
    """One fit on K-400 (or the target's own source), shared by all targets; the mean is over test splits.

    Published (specs, section 1): HMDB-51 and UCF-101 over their three test splits, K-600 over three draws of 160 of its
    220 new classes. The splits of HMDB-51 and the class draws of K-600 overlap, so the spread is not one of
    independent samples; the repeat's kind says which of the two it is.
    """

    title = "Zero-shot"
    datasets = ("hmdb51", "ucf101", "k600")
    columns = (Column("top1", "all"), Column("top5", "all", "top5"))

    def fits(self, dataset: DatasetFacts) -> Iterable[Fit]:
        """The one fit on the whole training list of the target's source."""
        if dataset.source is None or not dataset.zero_shot_tests:
            raise UserError(f"{dataset.name} is no zero-shot target.", f"Targets are {', '.join(self.datasets)}.")
        yield Fit(ListRef(dataset.source, "train", "all"))

    def evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """Every test split or class subset of the target."""
        for test in dataset.zero_shot_tests:
            repeat = Repeat(test.repeat_kind, test.repeat_index)
            yield Eval("all", ListRef(dataset.name, test.list, test.labels), repeat)
