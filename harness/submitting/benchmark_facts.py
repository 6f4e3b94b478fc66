"""Facts that `submit check` compares with: protocols, lists, labels and built-in code of this installation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from harness import __version__
from harness.base.canonical import row_order_sha256, row_set_sha256
from harness.base.errors import UserError
from harness.cells.backbone import MINI_ARCH
from harness.cells.from_request import ENGINE_VERSION
from harness.cells.scope import PlannedEval, PlannedFit, scope_of
from harness.cells.seeds import with_seeds
from harness.data.embedded.dataset import EMBEDDED, EmbeddedDataset
from harness.data.leakage import LabelledList, audit_classes
from harness.data.lists.dataset import Dataset
from harness.data.official.cards import LABEL_VARIANTS, OFFICIAL, pinned_lists
from harness.data.official.dataset import OfficialDataset
from harness.plugins import registry
from harness.plugins.code_hash import file_code_sha256
from harness.spec import Eval, Fit, LabelSet, MethodCard, Protocol, Recipe, Repeat, VideoList
from harness.spec.method_spec import MethodSpec
from harness.spec.options import MethodOptions, build_options, evaluation_options
from harness.spec.overrides import recipe_with
from harness.spec.protocol import SEED
from harness.submitting.known_models import frame_gmacs, mini_model, model_problems, prescribed_views
from results.measurement import Expected, FitDescription, ListId, Measurement, Scope
from results.measurement_words import WRITTEN_TEXTS
from results.record import AuditFacts
from results.submission.copies import KnownTables
from results.submission.facts import Declared, EvalFacts, Facts, ListFacts, ListPlace, Program, ProtocolFacts
from results.submission.layout import Card


def facts_of(
    pairs: Iterable[tuple[str, str]], known: KnownTables | None = None, titles: Mapping[str, str] | None = None
) -> Facts:
    """The facts of (protocol, dataset) pairs; a pair that is not part of the benchmark is left out.

    Args:
        pairs: Pairs of a submission.
        known: Predictions tables of other submissions.
        titles: Titles of methods on the board by name; those of built-in methods are added.
    """
    protocols = tuple(sorted(registry.sources("protocol")))
    by_pair = {pair: facts for pair in pairs if pair[0] in protocols and (facts := pair_facts(*pair))}
    return Facts(
        protocols, by_pair, builtin_methods(), mini_model(), ENGINE_VERSION, __version__, datetime.now(UTC),
        lambda model: tuple(model_problems(model)), frame_gmacs, _declared, _recipes,
        known or KnownTables(),
        {**(titles or {}), **_titles()},
    )  # fmt: skip


def _declared(m: Measurement, shots: int | None) -> Declared | None:
    """The declarations of the built-in method of a measurement; None for other methods and other versions."""
    if m.method.name not in builtin_methods():
        return None
    spec = registry.method_spec(m.method.name)
    preset, protocol = "mini" if m.model.arch == MINI_ARCH else "", m.protocol.name
    # A built-in protocol with the fits of another one has the recipes of the other one.
    if protocol in registry.sources("protocol"):
        protocol = registry.load("protocol", protocol).recipe_like or protocol
    defaults = spec.options_for({}, protocol, m.evaluation.list.dataset, preset).as_dict()
    defaults.pop("frames", None)  # the harness sets this option from the views
    trained = m.fitted
    recipe = spec.recipe_for(protocol, trained.list.dataset, shots, preset) if trained is not None else None
    if recipe is not None and m.protocol.repeat.kind == SEED:
        recipe = recipe.of_seed(m.protocol.repeat.index)
    late = evaluation_options(spec.options_type)
    try:
        options = build_options(spec.options_type, {**m.method.options, **m.method.evaluation_options}, m.method.name)
    except UserError as error:
        return Declared(recipe, defaults, late, error.message)
    can_train = spec.recipe is not None or bool(spec.recipes)
    counts = spec.parameters_vit_b16 if m.model.arch == "ViT-B-16" and options.as_dict() == defaults else None
    return Declared(recipe, defaults, late, "", _card(m, spec, options), counts, can_train)


def _recipes(described: FitDescription) -> tuple[Recipe, ...]:
    """The recipes that built-in methods declare for the list of a fit of a built-in method; none for other methods.

    The method has one for each protocol. A method that starts from its fits can declare other settings for them.
    """
    name = described.method.name
    if name not in builtin_methods():
        return ()
    spec, preset = registry.method_spec(name), "mini" if described.model.arch == MINI_ARCH else ""
    dataset = described.training.list.dataset
    found = (spec.recipe_for(protocol, dataset, None, preset) for protocol in registry.sources("protocol"))
    own = [recipe for recipe in found if recipe is not None]
    changed = (recipe_with(recipe, settings) for settings in parent_settings(name) for recipe in own)
    return tuple(dict.fromkeys((*own, *changed)))


@cache
def parent_settings(method: str) -> tuple[dict[str, str], ...]:
    """The recipe settings that built-in methods declare for fits of a method that they start from."""
    specs = [registry.method_spec(name) for name in builtin_methods()]
    parents = [spec.parent_fit(options) for spec in specs for options in _choices(spec)]
    return tuple(dict(p.recipe) for p in dict.fromkeys(parents) if p is not None and p.method == method and p.recipe)


def _choices(spec: type[MethodSpec]) -> Iterator[MethodOptions]:
    """The default options of a method, and those with another choice of one option."""
    changes = [{f.name: value} for f in fields(spec.options_type) for value in f.metadata.get("choices", ())]
    for change in ({}, *changes):
        with contextlib.suppress(UserError):  # choices that need another option
            yield build_options(spec.options_type, change, spec.name)


def _card(m: Measurement, spec: type[MethodSpec], options: MethodOptions) -> Card:
    """The card of a built-in method under the options of a measurement."""
    # The title of a method with its own model contains the path of a file, of which a measurement holds the hash.
    card = spec.card_for(options) if spec.uses_clip else spec.card
    extra = (f"checkpoint {m.method.checkpoint[:8]}",) if m.method.checkpoint else ()
    return Card(
        name=m.method.name, title=card.title if spec.uses_clip else "", version=spec.version, family=card.family,
        class_text=_class_text(m, card), extra_data=(*card.extra_data, *extra), unverified=card.unverified,
        paper=card.paper, source=card.source,
    )  # fmt: skip


def _class_text(m: Measurement, card: MethodCard) -> str:
    """The expected class text: that of the card, or the claimed source of a file of class texts."""
    if not m.method.options.get("class_texts"):
        return card.class_text
    # The file is not part of a submission, so that its source can only be claimed.
    return m.method.class_text if m.method.class_text in WRITTEN_TEXTS else next(iter(WRITTEN_TEXTS))


@cache
def _titles() -> dict[str, str]:
    """Title of each built-in method."""
    return {name: registry.method_spec(name).card.title for name in builtin_methods()}


@cache
def builtin_methods() -> dict[str, Program]:
    """Code and version of each built-in method; torch is not imported."""
    methods = {}
    for source in registry.sources("method").values():
        if source.origin == "built-in" and source.file is not None:
            spec = registry.method_spec(source.name)
            # The classes need torch; a closed form is an override, which the text of the file shows.
            closed_form = "def fit_features(" in source.file.read_text(encoding="utf-8")
            methods[source.name] = Program(
                file_code_sha256(source.file), spec.version, closed_form, spec.fitted_buffers
            )
    return methods


@dataclass(frozen=True)
class _Prescribed:
    """A fit of a protocol on a dataset with its evals."""

    fit: Fit
    evals: tuple[Eval, ...]


@cache
def pair_facts(protocol: str, dataset: str) -> ProtocolFacts | None:
    """The facts of a protocol on a dataset; None for other datasets, for probes, and where they do not go together."""
    opened = _dataset(dataset)
    if opened is None:
        return None
    cls: type[Protocol] = registry.load("protocol", protocol)
    if not cls.trains:
        return None  # probes are compared with the method's own score and are not part of the board
    instance = cls()
    try:
        fits = tuple(_Prescribed(fit, tuple(instance.evals(opened, fit))) for fit in instance.fits(opened))
    except UserError:
        return None
    pinned = _Pinned(opened, cls)
    trained = tuple(pinned.trained(entry.fit, item) for entry in fits for item in entry.evals)
    untrained: dict[Expected, EvalFacts] = {}
    for entry in fits:
        for item in entry.evals:
            facts = pinned.untrained(item)
            untrained.setdefault(facts.place, facts)
    return ProtocolFacts(
        protocol=protocol, version=cls.version, dataset=dataset, embedded=opened.kind == "embedded",
        views_of=prescribed_views, columns=cls.columns, trained=trained, untrained=tuple(untrained.values()),
        parent=pinned.source, lists=pinned.lists, labels=pinned.labels, cluster=opened.cluster,
        scope=lambda row: _row_scope(cls, opened, fits, row),
        audit=lambda train, test: _audit(pinned.labels, train, test),
    )  # fmt: skip


def _dataset(name: str) -> Dataset | None:
    """A dataset whose list facts need no file of this machine: an official or embedded dataset; None for others."""
    if name in EMBEDDED:
        return EmbeddedDataset(name, Path())
    return OfficialDataset(name, ()) if name in OFFICIAL else None


class _Pinned:
    """Collects the lists and label sets that evaluations refer to."""

    def __init__(self, dataset: Dataset, protocol: type[Protocol]) -> None:
        self.dataset = dataset
        self.protocol = protocol
        self.lists: dict[tuple[str, str], ListFacts] = {}
        self.labels: dict[tuple[str, str, str], tuple[str, ...]] = {}
        # A parent fit on the dataset itself has seen its novel classes, and is not published.
        is_own = dataset.parent_source == dataset.name
        self.source = None if is_own else ListPlace(dataset.parent_source, "train", "all")

    def trained(self, fit: Fit, item: Eval) -> EvalFacts:
        """The facts of one evaluation of one fit."""
        train = ListPlace(fit.train.dataset, fit.train.list, fit.train.labels)
        test = ListPlace(item.test.dataset, item.test.list, item.test.labels)
        for listed in (train, test, *([self.source] if self.source is not None else [])):
            self._take(listed)
        views, repeat = item.views or self.protocol.views, item.repeat or fit.repeat
        return EvalFacts(item.part, repeat, test, views, train, fit.shots)

    def untrained(self, item: Eval) -> EvalFacts:
        """The facts of one evaluation of an untrained method."""
        test = ListPlace(item.test.dataset, item.test.list, item.test.labels)
        return EvalFacts(item.part, item.repeat or Repeat(), test, item.views or self.protocol.views)

    def _take(self, listed: ListPlace) -> None:
        """Add the facts of a list and its label set."""
        dataset, name, labels = listed.dataset, listed.name, listed.labels
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


def _list_facts(dataset: Dataset, name: str) -> ListFacts:
    if isinstance(dataset, OfficialDataset):
        pinned = pinned_lists().get(dataset.card.find_list(name).file)
        if pinned is None:
            return ListFacts(0, "")
        return ListFacts(pinned.rows, pinned.content_sha256, pinned.set_sha256, pinned.order_sha256)
    rows = dataset.list(name)
    hashes = rows.sha256, row_set_sha256(rows.rows), row_order_sha256(rows.rows)
    return ListFacts(len(rows), *hashes, dataset.content(rows) or "")


def _audit(
    labels: Mapping[tuple[str, str, str], tuple[str, ...]], train: ListId | None, test: ListId
) -> AuditFacts | None:
    """The leakage check of two lists by their classes; None if a label set is not known."""
    listed: list[LabelledList] = []
    for item in (test, *([train] if train is not None else [])):
        names = labels.get((item.dataset, item.labels, item.label_variant))
        if names is None:
            return None
        listed.append(LabelledList(item.dataset, item.name, LabelSet(names, item.label_variant)))
    return audit_classes(listed[1] if train is not None else None, listed[0]).facts()


@dataclass(frozen=True)
class _Stated(VideoList):
    """A list without rows, with the hash that records state; another rule compares that hash with the pinned one."""

    stated_sha256: str = ""

    @property
    def sha256(self) -> str:
        """The stated hash."""
        return self.stated_sha256


class _StatedDataset(OfficialDataset):
    """An official dataset with the lists that the records of a row state."""

    def __init__(self, name: str, variant: str, stated: Mapping[str, ListId]) -> None:
        super().__init__(name, (), variant=variant)
        self.stated = stated

    def list(self, name: str) -> VideoList:
        """The list as records state it."""
        stated = self.stated.get(name)
        return super().list(name) if stated is None else _Stated(stated.name, (), stated.origin, stated.sha256)


def _row_scope(
    protocol: type[Protocol], dataset: Dataset, fits: Iterable[_Prescribed], row: Sequence[Measurement]
) -> Scope | None:
    """The scope of a complete row, computed like the planner's from the recipes and views that its records state.

    Other rules compare these recipes and views with the protocol's. None if a record of the row is missing.
    """
    by_place = {Expected(m.protocol.part, m.protocol.repeat): m for m in row}
    lists: dict[str, dict[str, ListId]] = {}
    variants: dict[str, str] = {}
    for listed in [m.evaluation.list for m in row] + [m.fitted.list for m in row if m.fitted]:
        lists.setdefault(listed.dataset, {})[listed.name] = listed
        variants[listed.dataset] = listed.label_variant

    def dataset_of(name: str) -> Dataset:
        if name in OFFICIAL:
            return _StatedDataset(name, variants.get(name, "published"), lists.get(name, {}))
        opened = dataset if name == dataset.name else _dataset(name)
        assert opened is not None, name
        return opened

    planned = []
    seeds = max((m.protocol.repeat.index for m in row if m.protocol.repeat.kind == SEED), default=0)
    for fit, items in with_seeds([(entry.fit, entry.evals) for entry in fits], seeds, protocol.name):
        evals, recipe = [], None
        for item in items:
            repeat = item.repeat or (Repeat() if row[0].training is None else fit.repeat)
            m = by_place.get(Expected(item.part, repeat))
            if m is None:
                return None
            recipe = m.fitted.recipe if m.fitted else None
            evals.append(PlannedEval(item, repeat, m.protocol.prescribed, m.evaluation.views))
        planned.append(PlannedFit(fit, recipe, tuple(evals)))
    trainings = [m.fitted for m in row if m.fitted]
    views = trainings[0].views if trainings else row[0].evaluation.views
    start = trainings[0].start.key if trainings and trainings[0].start.kind == "fit" else ""
    return scope_of(planned, [views], start, dataset_of, chosen_source=False)
