"""Few-shot: fit on K clips of every class, evaluate on the first official test split."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import Column, DatasetFacts, Eval, Fit, ListRef, Protocol, UserError, register_protocol

SHOTS = (2, 4, 8, 16)


@register_protocol("few_shot")
class FewShot(Protocol):
    """One fit for each K = 2, 4, 8, 16; each K is a column without repeats.

    Published (specification, section 1): one training list for each K, evaluated on `val1` (SSv2: `validation`). The
    lists `val2` and `val3` hold training clips and are therefore never evaluated. A small custom dataset has only the
    values of K for which each class has enough clips.
    """

    title = "Few-shot"
    datasets = ("hmdb51", "ucf101", "ssv2")
    columns = tuple(Column(f"k{shots}", f"k{shots}") for shots in SHOTS)

    def fits(self, dataset: DatasetFacts) -> Iterable[Fit]:
        """Yield a fit for each K for which the dataset has a training list."""
        available = [shots for shots in SHOTS if dataset.has_list(f"few_shot_{shots}")]
        if not available:
            raise UserError(f"{dataset.name} has no few-shot lists.", f"few_shot runs on {', '.join(self.datasets)}.")
        for shots in available:
            yield Fit(ListRef(dataset.name, f"few_shot_{shots}", "all"), shots=shots)

    def evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """Yield the eval of the evaluation list; its part is named after K."""
        yield Eval(f"k{fit.shots}", ListRef(dataset.name, "val", "all"))
