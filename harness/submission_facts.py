"""What `submit check` compares with: protocols, lists, labels and built-in code of this installation, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path

from harness import registry
from harness.base.canonical import row_set_sha256
from harness.base.errors import UserError
from harness.data.cards import LABEL_VARIANTS, OFFICIAL, published_lists
from harness.data.dataset import Dataset
from harness.data.embedded import EMBEDDED, EmbeddedDataset
from harness.data.official import OfficialDataset
from harness.data.overlap import STRICT_RELATIONS, seen_classes
from harness.plugins.code_hash import file_code_sha256
from harness.request import MINI_ARCH, MINI_FRAMES, BackboneChoice
from harness.spec import Eval, Fit, LabelSet, Protocol, Repeat
from results.submission.facts import EvalFacts, Facts, ListFacts, ProtocolFacts


def facts_of(pairs: Iterable[tuple[str, str]], known: Mapping[str, str] | None = None) -> Facts:
    """The facts of (protocol, dataset) pairs; a pair that is not of the benchmark has none.

    Args:
        pairs: As a submission names them.
        known: Predictions of other rows, `Facts.known`.
    """
    protocols = tuple(sorted(registry.sources("protocol")))
    found = {pair: facts for pair in pairs if pair[0] in protocols and (facts := pair_facts(*pair))}
    weights = BackboneChoice(MINI_ARCH, None).identity()["weights"]
    return Facts(protocols, found, builtin_code(), weights, known or {})


@cache
def builtin_code() -> dict[str, str]:
    """sha256 of the code of each built-in method, read without importing it."""
    found = registry.sources("method").values()
    return {s.name: file_code_sha256(s.file) for s in found if s.origin == "built-in" and s.file is not None}


@cache
def pair_facts(protocol: str, dataset: str) -> ProtocolFacts | None:
    """The facts of a protocol on a dataset; None for other datasets, and where the two do not go together."""
    opened = _dataset(dataset)
    if opened is None:
        return None
    cls: type[Protocol] = registry.load("protocol", protocol)
    instance = cls()
    try:
        fits = [(fit, list(instance.evals(opened, fit))) for fit in instance.fits(opened)]
    except UserError:
        return None
    pinned = _Pinned(opened)
    trained = tuple(pinned.trained(fit, item) for fit, items in fits for item in items)
    untrained: dict[tuple[str, str, str], EvalFacts] = {}
    for _, items in fits:
        for item in items:
            repeat = item.repeat or Repeat()
            facts = EvalFacts(item.part, item.test.list, item.test.labels, repeat.kind, repeat.index)
            untrained.setdefault((item.part, item.test.list, item.test.labels), facts)
    return ProtocolFacts(
        protocol=protocol, version=cls.version, dataset=dataset, embedded=opened.kind == "embedded",
        views=asdict(cls.views), mini_frames=MINI_FRAMES, columns=tuple(c.as_dict() for c in cls.columns),
        trained=trained, untrained=tuple(untrained.values()), lists=pinned.lists, labels=pinned.labels,
    )  # fmt: skip


def _dataset(name: str) -> Dataset | None:
    """A dataset whose lists need no file on this machine: pinned ones, and those of the embedded benchmark."""
    if name in EMBEDDED:
        return EmbeddedDataset(name, Path())
    return OfficialDataset(name, ()) if name in OFFICIAL else None


class _Pinned:
    """Collects the lists and label sets that evaluations refer to."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.lists: dict[tuple[str, str], ListFacts] = {}
        self.labels: dict[tuple[str, str, str], tuple[str, ...]] = {}

    def trained(self, fit: Fit, item: Eval) -> EvalFacts:
        """The facts of one evaluation of one fit."""
        repeat, train, test = item.repeat or fit.repeat, fit.train, item.test
        source = self._take(train.dataset, train.list, train.labels)
        target = self._take(test.dataset, test.list, test.labels)
        parent: tuple[int, ...] = ()
        if self.dataset.source is not None:
            whole = self._take(self.dataset.source, "train", "all")
            parent = _seen(whole, target, self.dataset.source, test.dataset)
        same = train.dataset == test.dataset and source == target
        seen = () if same else _seen(source, target, train.dataset, test.dataset)
        return EvalFacts(
            item.part, test.list, test.labels, repeat.kind, repeat.index, (train.dataset, train.list, train.labels),
            (fit.repeat.kind, fit.repeat.index), fit.shots, seen, parent,
        )  # fmt: skip

    def _take(self, dataset: str, name: str, labels: str) -> LabelSet:
        """Note a list and its label set; returns the published label set."""
        opened = self.dataset if dataset == self.dataset.name else _dataset(dataset)
        assert opened is not None, dataset
        if (dataset, name) not in self.lists:
            self.lists[dataset, name] = _list_facts(opened, name)
        published = opened.labels(labels)
        self.labels[dataset, labels, "published"] = published.names
        if isinstance(opened, OfficialDataset):
            for variant in LABEL_VARIANTS:
                other = opened.card.labels(labels, variant)
                self.labels[dataset, labels, other.variant] = other.names
        return published


def _list_facts(dataset: Dataset, name: str) -> ListFacts:
    if isinstance(dataset, OfficialDataset):
        pinned = published_lists().get(dataset.card.find_list(name).file)
        return ListFacts(0, "") if pinned is None else ListFacts(pinned.rows, pinned.content_sha256, pinned.set_sha256)
    rows = dataset.list(name)
    return ListFacts(len(rows), rows.sha256, row_set_sha256(rows.rows))


def _seen(train: LabelSet, test: LabelSet, train_dataset: str, test_dataset: str) -> tuple[int, ...]:
    found = seen_classes(train, test, train_dataset, test_dataset)
    return tuple(entry.id for entry in found if entry.relation in STRICT_RELATIONS)
