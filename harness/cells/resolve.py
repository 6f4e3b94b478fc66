"""Requests resolved: names and raw text become methods with options, opened datasets, protocols, views and recipes.

`resolve` reads a request and the settings once. Everything after it (`harness.cells.from_request`, plans, runs) reads
the `Combination`s that it returns (`harness.cells.resolved`).
"""

from __future__ import annotations

from harness.base.errors import EXIT_FAILED, NotApplicableError, UserError
from harness.cells.backbone import MINI_ARCH, BackboneChoice, preset_of, views_for
from harness.cells.cell import MethodRow
from harness.cells.datasets import OpenedDatasets, choose_datasets
from harness.cells.request import MethodChoice, Request
from harness.cells.resolve_method import code_of, method_row
from harness.cells.resolved import Chosen, Combination, ResolvedFit, ResolvedRequest
from harness.cells.scope import PlannedEval, PlannedFit
from harness.cells.selection import check_parts, extra_evals, selection_of, unused_source
from harness.data.lists.dataset import Dataset
from harness.machine.settings import Settings
from harness.plugins import registry
from harness.spec import Eval, Fit, ParentFit, Protocol, Recipe, Repeat, Views
from harness.spec.method_spec import OwnModel
from harness.spec.overrides import recipe_with, views_with
from results.measurement import Prescribed


def resolve(request: Request, settings: Settings) -> ResolvedRequest:
    """The combinations of a request; each option set, views, dataset and recipe is computed once.

    Raises:
        UserError: Unknown names or values.
    """
    resolver = _Resolver(request, settings)
    missing: dict[str, None] = {}
    targets: list[tuple[type[Protocol], Dataset]] = []
    for protocol in [registry.load("protocol", name) for name in request.protocols]:
        names, absent = choose_datasets(request, protocol.name, protocol.datasets, settings)
        missing |= dict.fromkeys(absent)
        targets += [(protocol, resolver.datasets.open(name)) for name in names]
    combinations: list[Combination] = []
    left_out: list[tuple[str, str]] = []
    for choice in request.methods:
        for protocol, dataset in targets:
            try:
                combinations.append(resolver.combination(choice, protocol, dataset))
            except NotApplicableError as error:
                reason = f"{error.message} {error.hint}".strip()
                left_out.append((f"{choice.name} {protocol.name} {dataset.shown}", reason))
    check_parts(request, resolver.parts)
    embedded = not request.datasets and any(dataset.kind == "embedded" for _, dataset in targets)
    return ResolvedRequest(tuple(combinations), tuple(missing), embedded, tuple(left_out), tuple(resolver.notes))


class _Resolver:
    """Resolves the combinations of one request and keeps the results that several of them share."""

    def __init__(self, request: Request, settings: Settings) -> None:
        self.datasets = OpenedDatasets(request, settings)
        self.parts: set[str] = set()
        self.notes: dict[str, None] = dict.fromkeys(unused_source(request))
        self._request = request
        self._codes: dict[str, str] = {}
        self._views: dict[tuple[Views, BackboneChoice | OwnModel, bool], Views] = {}
        self._prescribed: dict[tuple[type[Protocol], int], list[tuple[Fit, tuple[Eval, ...]]]] = {}
        self._parents: dict[tuple[ParentFit, BackboneChoice | OwnModel, int], ResolvedFit] = {}

    def combination(self, choice: MethodChoice, protocol: type[Protocol], dataset: Dataset) -> Combination:
        """A method under a protocol on a dataset.

        Raises:
            NotApplicableError: The three do not go together.
            UserError: An unknown method, option or value.
        """
        row = self._row(choice, protocol, dataset)
        is_trained = choice.checkpoint is None and (row.spec.recipe is not None or bool(row.spec.recipes))
        parent_fit = row.spec.parent_fit(row.options) if is_trained else None
        parent = self._parent(parent_fit, row.backbone, dataset) if parent_fit is not None else None
        views = self._training_views(protocol.views, row.backbone)
        datasets = {dataset.name: dataset}
        prescribed: list[PlannedFit] = []
        chosen: list[Chosen] = []
        fits = self._fits(protocol, dataset)
        self.parts |= {item.part for _, items in fits for item in items}
        selection = selection_of(self._request, f"{protocol.name} on {dataset.shown}", fits)
        self.notes |= dict.fromkeys(selection.notes)
        for fit, items in fits:
            for name in (fit.train.dataset, *(item.test.dataset for item in items)):
                if name not in datasets:
                    datasets[name] = self.datasets.open(name)
            training = None
            if is_trained:
                source = datasets[fit.train.dataset]
                declared = _declared(row, protocol.name, fit, source)
                recipe = recipe_with(declared, self._request.recipe)
                training = ResolvedFit(row, protocol.name, fit, source, declared, recipe, views)
            evals = tuple(self._eval(item, row, protocol, fit.repeat if is_trained else Repeat()) for item in items)
            columns = tuple(planned for planned in evals if not planned.eval.optional)
            prescribed.append(PlannedFit(fit, training.recipe if training else None, columns))
            selected = [planned for planned in evals if selection.takes(fit, planned.eval)]
            if selected:
                chosen.append(Chosen(training, tuple((e, datasets[e.eval.test.dataset]) for e in selected)))
        return Combination(
            row, protocol, dataset, datasets, views, tuple(prescribed), tuple(chosen), parent,
            chosen_source=self._request.source is not None and dataset.source is not None,
        )  # fmt: skip

    def _row(self, choice: MethodChoice, protocol: type[Protocol], dataset: Dataset) -> MethodRow:
        backbone = self._request.backbone or _default_backbone(dataset)
        spec = registry.method_spec(choice.name)
        # Options may depend on the number of frames. A model other than CLIP sets the frames itself.
        frames = self._requested(protocol.views, backbone).frames if spec.uses_clip else None
        row = method_row(choice, backbone, protocol.name, dataset.name, frames, self._code(choice.name))
        if not spec.uses_clip and not spec.open_vocabulary:
            self._require_trained_classes(row, protocol, dataset)
        return row

    def _code(self, method: str) -> str:
        """sha256 of a method's source code; finding it looks through all installed packages."""
        if method not in self._codes:
            self._codes[method] = code_of(registry.method_spec(method))
        return self._codes[method]

    def _require_trained_classes(self, row: MethodRow, protocol: type[Protocol], dataset: Dataset) -> None:
        """Refuse classes that a method with a fixed set of classes does not have: other names, or another number."""
        pairs = [(fit, item) for fit, items in self._fits(protocol, dataset) for item in items]
        for fit, item in pairs:
            if (item.test.dataset, item.test.labels) != (fit.train.dataset, fit.train.labels):
                raise NotApplicableError(
                    f"{row.name} has a fixed set of classes and no text tower, and {protocol.name} evaluates classes "
                    f"({item.test.dataset} {item.test.labels}) other than it trains on "
                    f"({fit.train.dataset} {fit.train.labels}).",
                    "Use a protocol with one set of classes, such as supervised.",
                )
        for _, item in pairs:
            row.spec.check_classes(row.options, dataset.labels(item.test.labels))

    def _fits(self, protocol: type[Protocol], dataset: Dataset) -> list[tuple[Fit, tuple[Eval, ...]]]:
        """The fits and evals that a protocol prescribes for a dataset.

        Raises:
            NotApplicableError: The protocol does not apply to the dataset.
        """
        key = protocol, id(dataset)
        if key not in self._prescribed:
            instance = protocol()
            try:
                fits = list(instance.fits(dataset))
            except UserError as error:
                if error.exit_code == EXIT_FAILED:  # a fault of the machine, not a combination that does not exist
                    raise
                raise NotApplicableError(error.message, error.hint) from None
            self._prescribed[key] = [
                (fit, (*instance.evals(dataset, fit), *extra_evals(instance, dataset, fit))) for fit in fits
            ]
        return self._prescribed[key]

    def _eval(self, item: Eval, row: MethodRow, protocol: type[Protocol], repeat: Repeat) -> PlannedEval:
        published = item.views or protocol.views
        prescribed = Prescribed(row.backbone.views_of(published))
        return PlannedEval(item, item.repeat or repeat, prescribed, self._evaluated(published, row.backbone))

    def _requested(self, published: Views, backbone: BackboneChoice | OwnModel) -> Views:
        """Published views with the overrides of `--views`."""
        key = published, backbone, False
        if key not in self._views:
            self._views[key] = views_for(published, backbone, self._request.views)
        return self._views[key]

    def _evaluated(self, published: Views, backbone: BackboneChoice | OwnModel) -> Views:
        """Published views with the overrides of `--views` and `--eval-views`."""
        key = published, backbone, True
        if key not in self._views:
            # Not `views_for`: the backbone's own number of frames would replace the requested one.
            views = views_with(self._requested(published, backbone), self._request.eval_views)
            backbone.check_views(views)
            self._views[key] = views
        return self._views[key]

    def _training_views(self, published: Views, backbone: BackboneChoice | OwnModel) -> Views:
        """The single view of a training clip: clips, crops and their sampling are settings of evaluation."""
        views = self._requested(published, backbone)
        return Views(frames=views.frames, normalize=views.normalize, reader=views.reader)

    def _parent(self, parent: ParentFit, backbone: BackboneChoice | OwnModel, dataset: Dataset) -> ResolvedFit:
        """The fit that a method starts from, on the same backbone and with the recipe that its own method declares."""
        key = parent, backbone, id(dataset)
        if key not in self._parents:
            protocol = registry.load("protocol", parent.protocol)
            frames = self._requested(protocol.views, backbone).frames
            choice, code = MethodChoice(parent.method), self._code(parent.method)
            row = method_row(choice, backbone, parent.protocol, dataset.name, frames, code)
            fit, _ = self._fits(protocol, dataset)[0]
            source = dataset if fit.train.dataset == dataset.name else self.datasets.open(fit.train.dataset)
            recipe = _declared(row, parent.protocol, fit, source)
            views = self._training_views(protocol.views, backbone)
            self._parents[key] = ResolvedFit(row, parent.protocol, fit, source, recipe, recipe, views)
        return self._parents[key]


def _default_backbone(dataset: Dataset) -> BackboneChoice:
    """The tiny CLIP for embedded datasets, OpenAI's ViT-B/16 for all others."""
    return BackboneChoice(MINI_ARCH, None) if dataset.kind == "embedded" else BackboneChoice("ViT-B-16", "openai")


def _declared(row: MethodRow, protocol: str, fit: Fit, dataset: Dataset) -> Recipe:
    """The recipe that a method declares for a fit.

    Raises:
        NotApplicableError: The method declares none.
    """
    declared = row.spec.recipe_for(protocol, dataset.name, fit.shots, preset_of(row.backbone))
    if declared is None:
        raise NotApplicableError(
            f"{row.name} has no recipe for {protocol} on {dataset.name}.",
            f"Add recipes['{protocol}'] to the method, or set `recipe`.",
        )
    return declared
