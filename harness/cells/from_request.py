"""From a request to its cells: the fits and evals of methods under protocols on datasets, each with its measurement.

Two requests that mean the same give the same cells, in whatever order their arguments stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from harness.base.errors import EXIT_FAILED, NotApplicableError, UserError
from harness.cells.cell import Cells, EvalCell, FitCell, MethodRow
from harness.cells.request import (
    BackboneChoice,
    MethodChoice,
    Request,
    choose_datasets,
    default_backbone,
    open_requested,
    recipe_with,
    single_view,
    views_for,
)
from harness.cells.scope import Planned, PlannedEval, list_id, scope_of
from harness.data.lists.dataset import Dataset
from harness.machine.settings import Settings
from harness.plugins import registry
from harness.plugins.code_hash import code_sha256, file_code_sha256
from harness.spec import Fit, Protocol, Recipe, Repeat, Views
from harness.spec.method_spec import MethodSpec, OwnModel
from results.measurement import (
    Evaluation,
    FitDescription,
    Measurement,
    Prescribed,
    ProtocolId,
    Scope,
    Start,
    Training,
    cell_key,
    fit_key,
)
from results.record import RECORD_SUFFIX

ENGINE_VERSION = 1
"""Raised when a change of the engine changes numbers; finished cells then become stale."""


@dataclass(frozen=True)
class _Context:
    """What all cells of one method under one protocol on one dataset share."""

    request: Request
    settings: Settings
    protocol: type[Protocol]
    row: MethodRow
    dataset_of: Callable[[str], Dataset]
    views: Views


def expand(request: Request, settings: Settings) -> Cells:
    """The fits and evals that a request needs; each fit once however many evals it serves.

    Raises:
        UserError: Unknown names, lists that are not there, a method without a recipe for a protocol.
    """
    fits: dict[str, FitCell] = {}
    evals: dict[str, EvalCell] = {}
    missing: list[str] = []
    left_out: list[tuple[str, str]] = []
    embedded = False
    opened: dict[str, Dataset] = {}

    def open_once(name: str) -> Dataset:
        if name not in opened:
            opened[name] = open_requested(name, request, settings)
            _mark_twins(opened)
        return opened[name]

    protocols = [registry.load("protocol", name) for name in request.protocols]
    for choice in request.methods:
        for protocol in protocols:
            names, absent = choose_datasets(request, protocol.name, protocol.datasets, settings)
            missing += [name for name in absent if name not in missing]
            for name in names:
                dataset = open_once(name)
                embedded = embedded or (not request.datasets and dataset.kind == "embedded")
                try:
                    made = list(_expand_one(choice, protocol, dataset, open_once, request, settings))
                except NotApplicableError as error:
                    left_out.append((f"{choice.name} {protocol.name} {dataset.shown}", error.message))
                    continue
                for cell in made:
                    if isinstance(cell, FitCell):
                        fits.setdefault(cell.key, cell)
                    else:
                        evals.setdefault(cell.key, cell)
    if not evals:
        raise UserError("; ".join(f"{name}: {reason}" for name, reason in left_out) or _nothing(request))
    return Cells(tuple(fits.values()), tuple(evals.values()), tuple(missing), embedded, tuple(left_out))


def _mark_twins(opened: Mapping[str, Dataset]) -> None:
    """Have messages tell own datasets of one name apart."""
    for dataset in opened.values():
        roots = {other.root_id for other in opened.values() if other.name == dataset.name}
        dataset.marked = len(roots) > 1


def _nothing(request: Request) -> str:
    chosen = [f"--repeat {n}" for n in request.repeats] + [f"--shots {k}" for k in request.shots]
    return f"No fit of {', '.join(request.protocols)} is selected by {' '.join(chosen) or 'this request'}."


def method_row(
    choice: MethodChoice,
    backbone: BackboneChoice | OwnModel,
    protocol: str = "",
    dataset: str = "",
    frames: int | None = None,
) -> MethodRow:
    """A method with the options of a protocol and dataset, and the user's, on a backbone or on a model of its own."""
    spec = registry.method_spec(choice.name)
    options, usual = (
        spec.options_for(values, protocol, dataset, _preset(backbone), frames) for values in (choice.options, {})
    )
    return MethodRow(choice, spec.own_model(options) or backbone, spec, options, usual, code_of(spec))


def code_of(spec: type[MethodSpec]) -> str:
    """Hash of a method's source code; of a built-in from its file, so that planning does not import torch."""
    source = registry.sources("method")[spec.name]
    if source.origin == "built-in" and source.file is not None:
        return file_code_sha256(source.file)
    return code_sha256(spec)


def _context(
    choice: MethodChoice, protocol: type[Protocol], dataset: Dataset, dataset_of: Callable[[str], Dataset],
    request: Request, settings: Settings,
) -> _Context:  # fmt: skip
    """A method's row and its views: as its backbone takes them, or as its own model does."""
    backbone = default_backbone(dataset, request)
    if registry.method_spec(choice.name).uses_clip:
        views = views_for(protocol.views, backbone, request.views)
        row = method_row(choice, backbone, protocol.name, dataset.name, views.frames)
        return _Context(request, settings, protocol, row, dataset_of, views)
    row = method_row(choice, backbone, protocol.name, dataset.name)
    if not row.spec.open_vocabulary:
        _require_trained_classes(row, protocol(), dataset)
    views = views_for(protocol.views, row.backbone, request.views)
    return _Context(request, settings, protocol, row, dataset_of, views)


def _require_trained_classes(row: MethodRow, protocol: Protocol, dataset: Dataset) -> None:
    """Refuse, for a method whose classes are fixed, other classes: of a protocol, or of a dataset by their number."""
    pairs = [(fit, item) for fit in _fits(protocol, dataset) for item in protocol.evals(dataset, fit)]
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


def _preset(backbone: BackboneChoice | OwnModel) -> str:
    return "mini" if backbone.is_mini else ""


def _expand_one(
    choice: MethodChoice, protocol: type[Protocol], dataset: Dataset, open_once: Callable[[str], Dataset],
    request: Request, settings: Settings,
) -> Iterator[FitCell | EvalCell]:  # fmt: skip
    """The fits (parents first) and evals of one method under one protocol on one dataset."""

    def dataset_of(name: str) -> Dataset:
        return dataset if name == dataset.name else open_once(name)

    context = _context(choice, protocol, dataset, dataset_of, request, settings)
    row = context.row
    trained = choice.checkpoint is None and (row.spec.recipe is not None or bool(row.spec.recipes))
    parent = _parent_cell(context, dataset) if trained else None
    if parent is not None:
        yield parent
    planned = _planned(context, dataset, trained)
    source = request.source is not None and dataset.source is not None
    scope = scope_of(planned, single_view(context.views), parent.key if parent else "", dataset_of, source)
    yielded: set[str] = set()
    for item in planned:
        if not _selected(item.fit, request):
            continue
        fit_cell = _fit_cell(context, item.fit, item.recipe, parent) if item.recipe is not None else None
        if fit_cell is not None:
            yield fit_cell
        for one in item.evals:
            cell = _eval_cell(context, one, scope, fit_cell)
            if cell.key not in yielded:  # repeats over training subsets are one eval where nothing is trained
                yielded.add(cell.key)
                yield cell


def _selected(fit: Fit, request: Request) -> bool:
    repeats, shots = request.repeats, request.shots
    return (not repeats or fit.repeat.index in repeats) and (not shots or fit.shots is None or fit.shots in shots)


def _fits(protocol: Protocol, dataset: Dataset) -> list[Fit]:
    try:
        return list(protocol.fits(dataset))
    except UserError as error:
        if error.exit_code == EXIT_FAILED:  # the machine's trouble, not a combination that does not exist
            raise
        raise NotApplicableError(error.message, error.hint) from None


def _planned(context: _Context, dataset: Dataset, trained: bool) -> tuple[Planned, ...]:
    """Everything that the protocol prescribes for the method on the dataset."""
    protocol, row, request = context.protocol(), context.row, context.request
    found = []
    for fit in _fits(protocol, dataset):
        source = context.dataset_of(fit.train.dataset)
        recipe = recipe_with(_declared(row, protocol.name, fit, source), request.recipe) if trained else None
        evals = []
        for item in protocol.evals(dataset, fit):
            published = item.views or protocol.views
            views = views_for(views_for(published, row.backbone, request.views), row.backbone, request.eval_views)
            repeat = item.repeat or (fit.repeat if trained else Repeat())
            evals.append(PlannedEval(item, repeat, Prescribed(row.backbone.views_of(published)), views))
        found.append(Planned(fit, recipe, tuple(evals)))
    return tuple(found)


def _declared(row: MethodRow, protocol: str, fit: Fit, dataset: Dataset) -> Recipe:
    """The recipe that the method declares for a fit.

    Raises:
        NotApplicableError: It declares none.
    """
    declared = row.spec.recipe_for(protocol, dataset.name, fit.shots, _preset(row.backbone))
    if declared is None:
        raise NotApplicableError(
            f"{row.name} has no recipe for {protocol} on {dataset.name}.",
            f"Add recipes['{protocol}'] to the method, or set `recipe`.",
        )
    return declared


def _parent_cell(context: _Context, dataset: Dataset) -> FitCell | None:
    """The fit that a method starts from, on the same backbone and with the recipe that its own method declares."""
    row = context.row
    parent = row.spec.parent_fit(row.options)
    if parent is None:
        return None
    protocol = registry.load("protocol", parent.protocol)
    views = views_for(protocol.views, row.backbone, context.request.views)
    parent_row = method_row(MethodChoice(parent.method), row.backbone, parent.protocol, dataset.name, views.frames)
    own = _Context(context.request, context.settings, protocol, parent_row, context.dataset_of, views)
    fit = _fits(protocol(), dataset)[0]
    source = context.dataset_of(fit.train.dataset)
    return _fit_cell(own, fit, _declared(parent_row, parent.protocol, fit, source), None)


def _fit_cell(context: _Context, fit: Fit, recipe: Recipe, parent: FitCell | None) -> FitCell:
    row, dataset = context.row, context.dataset_of(fit.train.dataset)
    train, labels = dataset.list(fit.train.list), dataset.labels(fit.train.labels)
    views = single_view(context.views)
    start = Start(row.spec.start_kind(row.options))
    if parent is not None:
        start = Start("fit", parent.start_name, parent.key)
    training = Training(
        list=list_id(dataset, train, labels, fit.train.labels),
        recipe=recipe,
        declared=_declared(row, context.protocol.name, fit, dataset),
        views=views,
        start=start,
    )
    described = FitDescription(row.method_id(), row.model_id(), training, ENGINE_VERSION)
    folder = row.folder(context.settings.runs.path) / f"{dataset.name}-{train.name}-{fit_key(described)[:8]}"
    return FitCell(row, fit, dataset, train, labels, views, described, folder, parent)


def _eval_cell(context: _Context, planned: PlannedEval, scope: Scope, fit: FitCell | None) -> EvalCell:
    row, protocol, item = context.row, context.protocol, planned.eval
    dataset = context.dataset_of(item.test.dataset)
    test, labels = dataset.list(item.test.list), dataset.labels(item.test.labels)
    measurement = Measurement(
        protocol=ProtocolId(protocol.name, protocol.version, item.part, planned.repeat, planned.prescribed, scope),
        method=row.method_id(),
        model=row.model_id(),
        training=fit.described.training if fit else None,
        evaluation=Evaluation(list_id(dataset, test, labels, item.test.labels), planned.views),
        engine=ENGINE_VERSION,
    )
    folder = fit.folder if fit else row.folder(context.settings.runs.path) / "untrained"
    name = f"{protocol.name}-{dataset.name}-{test.name}-{item.part}-{cell_key(measurement)[:8]}{RECORD_SUFFIX}"
    return EvalCell(
        row=row, fit=fit, eval=item, protocol=protocol, dataset=dataset, test=test, labels=labels,
        views=planned.views, repeat=planned.repeat, measurement=measurement, record=folder / "evals" / name,
    )  # fmt: skip
