"""Zero-shot transfer: fit once on all of the source dataset, evaluate on every test list of the target."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import Column, DatasetFacts, Eval, Fit, ListRef, Protocol, Repeat, UserError, register_protocol


@register_protocol("zero_shot")
class ZeroShot(Protocol):
    """One fit on K-400 (or on the dataset of `--source`), shared by all targets; the mean is over test splits.

    Published (specification, section 1): HMDB-51 and UCF-101 over their three test splits, K-600 over three draws of
    160 of its 220 new classes. The test splits of HMDB-51 and the class subsets of K-600 overlap, so that their spread
    is not that of independent samples. The kind of the repeat is `test_split` or `class_subset`.
    """

    title = "Zero-shot"
    datasets = ("hmdb51", "ucf101", "k600", "ssv2")
    columns = (Column("top1", "all"), Column("top5", "all", "top5"))

    def fits(self, dataset: DatasetFacts) -> Iterable[Fit]:
        """Yield the fit on the whole training list of the target's source."""
        if not dataset.zero_shot_tests:
            raise UserError(f"{dataset.name} is not a zero-shot target.", f"Targets are {', '.join(self.datasets)}.")
        if dataset.source is None:
            raise UserError(
                f"{dataset.name} is a zero-shot target only with another source.", "Name a dataset with --source NAME."
            )
        yield Fit(ListRef(dataset.source, "train", "all"))

    def evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """Yield an eval for each test split or class subset of the target."""
        for test in dataset.zero_shot_tests:
            repeat = Repeat(test.repeat_kind, test.repeat_index)
            yield Eval("all", ListRef(dataset.name, test.list, test.labels), repeat)

    def extra_evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """Yield the eval of the source's evaluation list, part `source`: K-400 validation for published targets."""
        yield Eval("source", ListRef(fit.train.dataset, "val", "all"))
