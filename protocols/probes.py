"""Probes of finished fits: does a method use time, and does it break under corruptions of its pixels?"""

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
    register_protocol,
    view_transforms,
)

CLEAN = "clean"
BUILT_IN = view_transforms(plugins=False)
SHOTS = (16, 8, 4, 2)


@register_protocol("probes")
class Probes(Protocol):
    """Evaluations of a finished fit on transformed views of one evaluation list; nothing is trained.

    The fit is the one of few_shot with most shots; on a dataset without few-shot lists that of supervised; with
    `--source NAME` that of zero_shot on NAME. The part `clean` has no transform; each other part is named after its
    transform. View transforms of plugins are evaluated if their part is requested (`--part NAME`).
    """

    title = "Probes: does it use time, does it break"
    datasets = ("hmdb51", "ucf101", "ssv2")
    columns = (Column(CLEAN, CLEAN), *(Column(name, name) for name in BUILT_IN))
    trains = False

    def fits(self, dataset: DatasetFacts) -> Iterable[Fit]:
        """Yield the finished fit that is evaluated."""
        if dataset.chosen_source:
            yield Fit(ListRef(dataset.chosen_source, "train", "all"))
            return
        for shots in SHOTS:
            if dataset.has_list(f"few_shot_{shots}"):
                yield Fit(ListRef(dataset.name, f"few_shot_{shots}", "all"), shots=shots)
                return
        if not (dataset.has_list("train") and dataset.has_list("val")):
            raise UserError(
                f"{dataset.name} has neither few-shot lists nor a training list, expected the list of a finished fit.",
                "Name the dataset of the fit with --source NAME.",
            )
        yield Fit(ListRef(dataset.name, "train", "all"))

    def evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """Yield an eval without transform, and one for each built-in view transform."""
        test = self._test(dataset)
        yield Eval(CLEAN, test)
        for name in BUILT_IN:
            yield Eval(name, test, transform=name)

    def extra_evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """Yield an eval for each view transform of a plugin."""
        # Transforms of plugins follow the built-in ones.
        for name in view_transforms()[len(BUILT_IN) :]:
            yield Eval(name, self._test(dataset), transform=name)

    def _test(self, dataset: DatasetFacts) -> ListRef:
        """The first evaluation list of the dataset."""
        if dataset.has_list("val"):
            return ListRef(dataset.name, "val", "all")
        first = dataset.zero_shot_tests[0]
        return ListRef(dataset.name, first.list, first.labels)
