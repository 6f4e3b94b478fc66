"""Base-to-novel: fit on 16 shots of the base classes, evaluate on the base, the novel and all classes."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import Column, DatasetFacts, Eval, Fit, ListRef, Protocol, Repeat, UserError, register_protocol


@register_protocol("b2n")
class BaseToNovel(Protocol):
    """A fit for each training subset, three as published; the harmonic mean is that of the two unrounded means.

    Published (specification, section 1): `base_val` over the base classes and `novel_val` over the novel classes, never
    over their union. The column `joint`, which published tables lack, is the whole evaluation list over all classes.
    """

    title = "Base to novel"
    datasets = ("k400", "hmdb51", "ucf101", "ssv2")
    columns = (
        Column("base", "base"),
        Column("novel", "novel"),
        Column("hm", harmonic_of=("base", "novel")),
        Column("joint", "joint"),
    )
    shots = 16

    def fits(self, dataset: DatasetFacts) -> Iterable[Fit]:
        """Yield a fit for each of the training lists `base_s1`, `base_s2` and `base_s3` that the dataset has."""
        if not dataset.has_list("base_s1"):
            known = ", ".join(self.datasets)
            reason = dataset.why_absent("base_s1") or f"{dataset.name} has no base and novel classes."
            raise UserError(reason, f"b2n runs on {known}, and on custom datasets of at least four classes.")
        # A small custom dataset has fewer subsets: draws of the same clips are one subset, fitted and counted once.
        for index in (index for index in (1, 2, 3) if dataset.has_list(f"base_s{index}")):
            train = ListRef(dataset.name, f"base_s{index}", "base")
            yield Fit(train, Repeat("train_subset", index), self.shots)

    def evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """Yield the evals of the base classes, of the novel classes, and of all classes."""
        yield Eval("base", ListRef(dataset.name, "base_val", "base"))
        yield Eval("novel", ListRef(dataset.name, "novel_val", "novel"))
        yield Eval("joint", ListRef(dataset.name, "val", "all"))
