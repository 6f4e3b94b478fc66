"""Base-to-novel: fit on 16 shots of the base classes, evaluate on the base, the novel and all classes."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import Column, DatasetFacts, Eval, Fit, ListRef, Protocol, Repeat, UserError, register_protocol


@register_protocol("b2n")
class BaseToNovel(Protocol):
    """Three fits, one a published training subset; the harmonic mean is taken of the two unrounded means.

    Published (specs, section 1): `base_val` over the base names and `novel_val` over the novel names, never over their
    union. The `joint` column adds what the published tables leave out: the whole evaluation list over all names.
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
        """One fit for each of `base_s1..base_s3`."""
        if not dataset.has_list("base_s1"):
            known = ", ".join(self.datasets)
            raise UserError(f"{dataset.name} has no base and novel classes.", f"b2n runs on {known}.")
        for index in (1, 2, 3):
            train = ListRef(dataset.name, f"base_s{index}", "base")
            yield Fit(train, Repeat("train_subset", index), self.shots)

    def evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """Base, novel, and all classes jointly."""
        yield Eval("base", ListRef(dataset.name, "base_val", "base"))
        yield Eval("novel", ListRef(dataset.name, "novel_val", "novel"))
        yield Eval("joint", ListRef(dataset.name, "val", "all"))
