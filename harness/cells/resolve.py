"""Requests resolved: names and raw text become methods with options, opened datasets, protocols, views and recipes.

`resolve` reads a request and the settings once. Everything after it (`harness.cells.from_request`, plans, runs) reads
the `Combination`s that it returns (`harness.cells.resolved`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.base.errors import NotApplicableError, UserError
from harness.cells.architecture_table import refusal
from harness.cells.backbone import MINI_ARCH, BackboneChoice, preset_of
from harness.cells.cell import MethodRow
from harness.cells.datasets import OpenedDatasets, choose_datasets
from harness.cells.from_protocol import declared_recipe, is_custom, options_protocol, own_lists, similar_protocol
from harness.cells.prescribed_fits import PrescribedFits
from harness.cells.request import MethodChoice, Request
from harness.cells.resolve_method import code_of, method_row
from harness.cells.resolve_views import RequestedViews, prescribed_views
from harness.cells.resolved import Chosen, Combination, ResolvedFit, ResolvedRequest
from harness.cells.scope import PlannedEval, PlannedFit
from harness.cells.seeds import check_seeds, with_seeds
from harness.cells.selection import check_parts, selection_of, unused_backbone, unused_source
from harness.data.lists.dataset import Dataset
from harness.data.lists.own_lists import TransferTarget, WithOwnLists
from harness.data.lists.sample import check_limit, sampled
from harness.machine.settings import Settings
from harness.plugins import registry
from harness.plugins.view_transforms import transform_identity
from harness.spec import Eval, Fit, ParentFit, Protocol, Recipe, Repeat, Views
from harness.spec.method_spec import OwnModel
from harness.spec.options import check_used
from harness.spec.overrides import recipe_with
from harness.spec.protocol import SEED
from harness.spec.updates import fitted_batch
from harness.weights.owner import require_export_of
from results.measurement import Prescribed


def resolve(request: Request, settings: Settings) -> ResolvedRequest:
    """The combinations of a request; each option set, views, dataset and recipe is computed once.

    Raises:
        UserError: Unknown names or values.
    """
    check_seeds(request)
    check_limit(request.limit)
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
    # If no combination reached its parts, the reasons of `left_out` are the message.
    if resolver.parts or not left_out:
        check_parts(request, resolver.parts)
    resolver.notes |= dict.fromkeys(unused_source(request, any(found.parent for found in combinations)))
    own = [found.row.name for found in combinations if not isinstance(found.row.backbone, BackboneChoice)]
    resolver.notes |= dict.fromkeys(unused_backbone(request, own))
    embedded = not request.datasets and any(dataset.kind == "embedded" for _, dataset in targets)
    return ResolvedRequest(tuple(combinations), tuple(missing), embedded, tuple(left_out), tuple(resolver.notes))


class _Resolver:
    """Resolves the combinations of one request and keeps the results that several of them share."""

    def __init__(self, request: Request, settings: Settings) -> None:
        self.datasets = OpenedDatasets(request, settings)
        self.parts: set[str] = set()
        self.notes: dict[str, None] = {}
        self._request = request
        self._configured = settings.data
        self._codes: dict[str, str] = {}
        self._views = RequestedViews(request)
        self._prescribed = PrescribedFits()
        self._targets: dict[int, TransferTarget] = {}
        self._parents: dict[tuple[ParentFit, BackboneChoice | OwnModel, int], ResolvedFit] = {}

    def combination(self, choice: MethodChoice, protocol: type[Protocol], dataset: Dataset) -> Combination:
        """A method under a protocol on a dataset.

        Raises:
            NotApplicableError: The three do not go together.
            UserError: An unknown method, option or value.
        """
        row = self._row(choice, protocol, dataset)
        is_trained = choice.checkpoint is None and (row.spec.recipe is not None or bool(row.spec.recipes))
        published = self._published_views(protocol, dataset)
        prescribed: list[PlannedFit] = []
        chosen: list[Chosen] = []
        fits = self._prescribed.of(protocol, dataset)
        if is_trained:
            fits = with_seeds(fits, self._request.seeds, f"{protocol.name} on {dataset.shown}")
        self.parts |= {item.part for _, items in fits for item in items}
        selection = selection_of(self._request, f"{protocol.name} on {dataset.shown}", fits)
        self.notes |= dict.fromkeys(selection.notes)
        datasets = self._opened(protocol, dataset, fits)
        self.notes |= dict.fromkeys(note for opened in datasets.values() for note in opened.notes)
        training_views: dict[Views, None] = {}
        for fit, items in fits:
            training, source = None, datasets[fit.train.dataset]
            views = self._views.of_training(prescribed_views(published, source), row.backbone)
            training_views[views] = None
            if is_trained:
                # A method without a recipe is named first: no folder of videos would help it.
                declared = self._declared(row, protocol, dataset, fit, source)
                self._require_videos(dataset, source)
                requested = recipe_with(declared, self._request.recipe)
                row.spec.check_recipe(requested)
                recipe = _fitted_recipe(requested, source, fit)
                trained_by = self._trained_by(protocol, dataset, fit)
                training = ResolvedFit(row, trained_by, fit, source, declared, recipe, views)
            repeat = fit.repeat if is_trained else Repeat()
            evals = tuple(self._eval(item, row, published, repeat, datasets[item.test.dataset]) for item in items)
            columns = tuple(planned for planned in evals if not planned.eval.optional)
            prescribed.append(PlannedFit(fit, training.recipe if training else None, columns))
            selected = [planned for planned in evals if selection.takes(fit, planned.eval)]
            if selected:
                chosen.append(Chosen(training, tuple((e, datasets[e.eval.test.dataset]) for e in selected)))
        _require_frames(row, chosen)
        _require_classes(row, chosen)
        # After the fits: a missing recipe of the protocol is named before missing videos of the parent fit.
        parent_fit = row.spec.parent_fit(row.options) if is_trained else None
        parent = self._parent(parent_fit, row.backbone, dataset) if parent_fit is not None else None
        _require_other_fit(row, chosen, parent)
        if parent is not None and parent.dataset.name == dataset.name:
            self.notes[
                f"{row.name} {protocol.name} on {dataset.shown} starts from a fit on all classes of {dataset.shown}, "
                "novel classes included, which is not published: name another source with --source NAME"
            ] = None
        return Combination(
            row, protocol, dataset, datasets, tuple(training_views), tuple(prescribed), tuple(chosen), parent,
            chosen_source=self._is_source_chosen(dataset, parent),
        )  # fmt: skip

    def _opened(
        self, protocol: type[Protocol], dataset: Dataset, fits: Iterable[tuple[Fit, tuple[Eval, ...]]]
    ) -> dict[str, Dataset]:
        """The datasets to which the fits and evals of a protocol refer, by the name that the protocol uses."""
        datasets = {dataset.name: dataset}
        refs = [ref for fit, items in fits for ref in (fit.train, *(item.test for item in items))]
        for name in dict.fromkeys(ref.dataset for ref in refs):
            if name not in datasets:
                datasets[name] = self.datasets.open(name)
            if is_custom(protocol) and (own := own_lists(protocol, refs, name, datasets[name])):
                if limit := self._request.limit:
                    own = {file: sampled(rows, limit) for file, rows in own.items()}
                datasets[name] = WithOwnLists(datasets[name], own)
        return datasets

    def _is_source_chosen(self, dataset: Dataset, parent: ResolvedFit | None) -> bool:
        """Whether the user chose a dataset to train on that is not the protocol's or the method's published one."""
        if parent is not None and parent.dataset.name == dataset.name:
            # Nothing is published for a parent fit on the dataset itself, which has seen the novel classes.
            return True
        return self._request.source is not None and (dataset.source is not None or parent is not None)

    def _row(self, choice: MethodChoice, protocol: type[Protocol], dataset: Dataset) -> MethodRow:
        backbone = self._request.backbone or _default_backbone(dataset)
        spec = registry.method_spec(choice.name)
        # Options may depend on the number of frames. A model other than CLIP sets the frames itself.
        views = self._published_views(protocol, dataset)
        frames = self._views.requested(views, backbone).frames if spec.uses_clip else None
        fits = self._prescribed.of(protocol, dataset) if spec.protocol_options and _borrows(protocol) else []
        # The first fit decides: a row has one set of options.
        name = options_protocol(spec, protocol, similar_protocol(protocol, dataset, fits[0][0])) if fits else ""
        row = method_row(choice, backbone, name or protocol.name, dataset.name, frames, self._code(choice.name))
        if choice.checkpoint is not None and spec.uses_clip:
            require_export_of(choice.checkpoint, choice.name)
        check_used(row.options, row.changed, row.name)
        self._require_tower(row)
        if not spec.is_open(row.options):
            self._prescribed.require_trained_classes(row, protocol, dataset)
        return row

    @staticmethod
    def _require_tower(row: MethodRow) -> None:
        """Refuse a built-in method that does not work on the architecture, as the table of architectures states.

        Raises:
            NotApplicableError: The method cannot be set up there.
        """
        backbone = row.backbone
        # A weight file without --arch may have any architecture.
        if not isinstance(backbone, BackboneChoice) or backbone.is_mini or backbone.arch is None:
            return
        builtin = registry.sources("method")[row.name].origin == "built-in"
        if builtin and (reason := refusal(backbone.arch, row.name, bool(row.changed))):
            raise NotApplicableError(f"{row.name} does not work on {backbone.arch}: {reason}.")

    def _code(self, method: str) -> str:
        """sha256 of a method's source code; finding it looks through all installed packages."""
        if method not in self._codes:
            self._codes[method] = code_of(registry.method_spec(method))
        return self._codes[method]

    @staticmethod
    def _trained_by(protocol: type[Protocol], dataset: Dataset, fit: Fit) -> str:
        """The protocol that trains a fit: the protocol itself, or the one with whose fits it shares its fits."""
        shares = not protocol.trains or (bool(protocol.recipe_like) and not is_custom(protocol))
        return similar_protocol(protocol, dataset, fit) if shares else protocol.name

    def _published_views(self, protocol: type[Protocol], dataset: Dataset) -> Views:
        """The views of a protocol; of a protocol that evaluates fits of another protocol those of the other one."""
        if protocol.trains:
            return protocol.views
        fit, _ = self._prescribed.of(protocol, dataset)[0]
        return registry.load("protocol", similar_protocol(protocol, dataset, fit)).views

    def _eval(self, item: Eval, row: MethodRow, views: Views, repeat: Repeat, dataset: Dataset) -> PlannedEval:
        published = prescribed_views(item.views or views, dataset)
        prescribed = Prescribed(row.backbone.views_of(published), transform_identity(item.transform))
        evaluated = self._views.evaluated(row.published_input(published), row.backbone)
        return PlannedEval(item, item.repeat or repeat, prescribed, evaluated)

    def _parent(self, parent: ParentFit, backbone: BackboneChoice | OwnModel, dataset: Dataset) -> ResolvedFit:
        """The fit that a method starts from, on the same backbone and with its own method's recipe.

        Raises:
            UserError: A file of class texts lacks a class of its training list.
        """
        key = parent, backbone, id(dataset)
        if key not in self._parents:
            protocol = registry.load("protocol", parent.protocol)
            frames = self._views.requested(protocol.views, backbone).frames
            choice, code = MethodChoice(parent.method, dict(parent.options)), self._code(parent.method)
            row = method_row(choice, backbone, parent.protocol, dataset.name, frames, code)
            target = self._targets.setdefault(id(dataset), TransferTarget(dataset))
            fit, _ = self._prescribed.of(protocol, target)[0]
            source = dataset if fit.train.dataset == dataset.name else self.datasets.open(fit.train.dataset)
            self._require_videos(dataset, source)
            # The method that starts from the fit declares its settings, too.
            declared = recipe_with(self._declared(row, protocol, dataset, fit, source, {}), dict(parent.recipe))
            recipe = _fitted_recipe(declared, source, fit)
            views = self._views.of_training(prescribed_views(protocol.views, source), backbone)
            self._parents[key] = ResolvedFit(row, parent.protocol, fit, source, declared, recipe, views)
            _require_classes(row, [Chosen(self._parents[key], ())])
        return self._parents[key]

    def _require_videos(self, dataset: Dataset, source: Dataset) -> None:
        """Refuse a fit for a custom dataset on an official source that is not configured.

        Raises:
            NotApplicableError: The source has no video folder on this machine.
        """
        if dataset.kind == "custom" and source.kind == "official" and source.name not in self._configured:
            raise NotApplicableError(
                f"The fit for {dataset.shown} is on {source.name}, whose videos are not configured: give them with "
                f"--data {source.name}=DIR, or name another dataset with --source NAME (mini_source: synthetic clips, "
                "for tests)."
            )

    def _declared(
        self, row: MethodRow, protocol: type[Protocol], dataset: Dataset, fit: Fit, source: Dataset,
        given: Mapping[str, str] | None = None,
    ) -> Recipe:  # fmt: skip
        similar = similar_protocol(protocol, dataset, fit) if _borrows(protocol) else ""
        settings = self._request.recipe if given is None else given
        declared = declared_recipe(row.spec, protocol, similar, source.name, fit, preset_of(row.backbone), settings)
        return declared.of_seed(fit.repeat.index) if fit.repeat.kind == SEED else declared


def _require_frames(row: MethodRow, chosen: Iterable[Chosen]) -> None:
    """Refuse views of the selected fits and evals with a number of frames that the method cannot take.

    Raises:
        UserError: The method takes another number of frames.
    """
    if not row.spec.uses_clip:  # other models set the frames themselves
        return
    for item in chosen:
        views = [item.training.views] if item.training is not None else []
        for frames in {view.frames for view in (*views, *(planned.views for planned, _ in item.evals))}:
            row.spec.check_frames(row.options, frames)


def _require_classes(row: MethodRow, chosen: Iterable[Chosen]) -> None:
    """Refuse the label sets of the selected lists that the method, or its file of class texts, does not have.

    Raises:
        UserError: A label set is refused; the message names the dataset and the label set.
    """
    fitted = {(item.training.dataset, item.training.fit.train) for item in chosen if item.training is not None}
    evaluated = {(dataset, planned.eval.test) for item in chosen for planned, dataset in item.evals}
    for refs, check in ((fitted, row.spec.check_training_classes), (fitted | evaluated, row.spec.check_classes)):
        by_name = {(dataset.shown, ref.labels): (dataset, ref) for dataset, ref in refs}
        for (shown, labels), (dataset, _) in sorted(by_name.items(), key=lambda item: item[0]):
            try:
                check(row.options, dataset.labels(labels))
            except UserError as error:
                where = f"{row.name} on {shown}, label set {labels!r}"
                kind = NotApplicableError if isinstance(error, NotApplicableError) else UserError
                raise kind(f"{where}: {error.message}", error.hint) from None


def _require_other_fit(row: MethodRow, chosen: Iterable[Chosen], parent: ResolvedFit | None) -> None:
    """Refuse a fit that would start from a fit of the same method on the same list.

    Raises:
        NotApplicableError: The start is the fit itself.
    """
    for training in (item.training for item in chosen):
        if parent is None or training is None or training.row.name != parent.row.name:
            continue
        if (training.dataset.name, training.fit.train) == (parent.dataset.name, parent.fit.train):
            raise NotApplicableError(
                f"{row.name} would start its fit on {training.dataset.name}/{training.fit.train.list} from a fit on "
                "the same list; expected another protocol, such as few_shot, or an option that starts from CLIP."
            )


def _borrows(protocol: type[Protocol]) -> bool:
    """Whether a protocol takes recipes and option values of other protocols: methods publish none for it."""
    return is_custom(protocol) or bool(protocol.recipe_like) or not protocol.trains


def _default_backbone(dataset: Dataset) -> BackboneChoice:
    """The tiny CLIP for embedded datasets, OpenAI's ViT-B/16 for all others."""
    return BackboneChoice(MINI_ARCH, None) if dataset.kind == "embedded" else BackboneChoice(None, None)


def _fitted_recipe(recipe: Recipe, dataset: Dataset, fit: Fit) -> Recipe:
    """The recipe, with a smaller effective batch if the training list of a custom dataset or a sample does not fill it.

    Published recipes are made for lists of thousands of clips. Lists of official datasets always fill them, and may be
    absent on this machine; they are not read here.
    """
    if dataset.kind != "custom" and not dataset.sample:
        return recipe
    return fitted_batch(len(dataset.list(fit.train.list)), recipe)
