"""From a request to its cells: the fits and evals of methods under protocols on datasets, each with its key.

Two requests that mean the same give the same cells, in whatever order their arguments stood.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from harness import registry
from harness.base.errors import EXIT_FAILED, NotApplicableError, UserError
from harness.cells import Cells, EvalCell, FitCell, MethodRow
from harness.data.dataset import Dataset
from harness.plugins.code_hash import code_sha256
from harness.request import (
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
from harness.settings import Settings
from harness.spec import Eval, Fit, LabelSet, Protocol, Repeat, VideoList, Views, fingerprint
from harness.spec.method_spec import OwnModel
from results.record import RECORD_SUFFIX

ENGINE_VERSION = 1
"""Raised when a change of the engine changes numbers; finished cells then become stale."""


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

    def dataset_of(name: str) -> Dataset:
        if name not in opened:
            opened[name] = open_requested(name, request, settings)
            opened[opened[name].name] = opened[name]
        return opened[name]

    protocols = [registry.load("protocol", name) for name in request.protocols]
    for choice in request.methods:
        for protocol in protocols:
            names, absent = choose_datasets(request, protocol.name, protocol.datasets, settings)
            missing += [name for name in absent if name not in missing]
            for name in names:
                dataset = dataset_of(name)
                embedded = embedded or (not request.datasets and dataset.kind == "embedded")
                try:
                    made = list(_expand_one(choice, protocol, dataset, dataset_of, request, settings))
                except NotApplicableError as error:
                    left_out.append((f"{choice.name} {protocol.name} {dataset.name}", error.message))
                    continue
                for cell in made:
                    if isinstance(cell, FitCell):
                        fits.setdefault(cell.key, cell)
                    else:
                        evals.setdefault(cell.key, cell)
    if not evals:
        raise UserError("; ".join(f"{name}: {reason}" for name, reason in left_out) or _nothing(request))
    return Cells(tuple(fits.values()), tuple(evals.values()), tuple(missing), embedded, tuple(left_out))


def _nothing(request: Request) -> str:
    chosen = [f"--repeat {n}" for n in request.repeats] + [f"--shots {k}" for k in request.shots]
    return f"No fit of {', '.join(request.protocols)} is selected by {' '.join(chosen) or 'this request'}."


def method_row(
    choice: MethodChoice, backbone: BackboneChoice, protocol: str = "", dataset: str = "", frames: int | None = None
) -> MethodRow:
    """A method with the options of a protocol and dataset, and the user's, on a backbone or on a model of its own."""
    spec = registry.method_spec(choice.name)
    options, usual = (
        spec.options_for(values, protocol, dataset, _preset(backbone), frames) for values in (choice.options, {})
    )
    return MethodRow(choice, spec.own_model(options) or backbone, spec, options, usual, code_sha256(spec))


def _row_and_views(
    choice: MethodChoice, protocol: type[Protocol], dataset: Dataset, request: Request
) -> tuple[MethodRow, Views]:
    """A method's row and how it looks at videos: as its backbone does, or as its own model does."""
    backbone = default_backbone(dataset, request)
    if registry.method_spec(choice.name).uses_clip:
        views = views_for(protocol.views, backbone, request.views)
        return method_row(choice, backbone, protocol.name, dataset.name, views.frames), views
    row = method_row(choice, backbone, protocol.name, dataset.name)
    if not row.spec.open_vocabulary:
        _require_trained_classes(row, protocol(), dataset)
    return row, views_for(protocol.views, row.backbone, request.views)


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
    choice: MethodChoice,
    protocol: type[Protocol],
    dataset: Dataset,
    dataset_of: Any,
    request: Request,
    settings: Settings,
) -> Iterator[FitCell | EvalCell]:
    """The fits (parents first) and evals of one method under one protocol on one dataset."""
    row, views = _row_and_views(choice, protocol, dataset, request)
    instance = protocol()
    trained = choice.checkpoint is None and (row.spec.recipe is not None or bool(row.spec.recipes))
    parent = _parent_cell(row, dataset, dataset_of, request, settings) if trained else None
    if parent is not None:
        yield parent
    seen_untrained: set[tuple[str, str, str]] = set()
    for fit in _fits(instance, dataset):
        if (request.repeats and fit.repeat.index not in request.repeats) or (
            request.shots and fit.shots is not None and fit.shots not in request.shots
        ):
            continue
        fit_cell = None
        if trained:
            source = dataset_of(fit.train.dataset)
            fit_cell = _fit_cell(row, protocol.name, fit, source, views, request.recipe, settings, parent)
            yield fit_cell
        for item in instance.evals(dataset, fit):
            repeat = item.repeat or (fit.repeat if trained else Repeat())
            if not trained:
                place = (item.part, item.test.list, item.test.labels)
                if place in seen_untrained:
                    continue  # repeats over training subsets are one measurement where nothing is trained
                seen_untrained.add(place)
            test = dataset_of(item.test.dataset)
            yield _eval_cell(row, protocol, item, repeat, fit_cell, test, views, request, settings)


def _fits(protocol: Protocol, dataset: Dataset) -> list[Fit]:
    try:
        return list(protocol.fits(dataset))
    except UserError as error:
        if error.exit_code == EXIT_FAILED:  # the machine's trouble, not a combination that does not exist
            raise
        raise NotApplicableError(error.message, error.hint) from None


def _parent_cell(
    row: MethodRow, dataset: Dataset, dataset_of: Any, request: Request, settings: Settings
) -> FitCell | None:
    """The fit that a method starts from, on the same backbone and with its own published recipe."""
    parent = row.spec.parent_fit(row.options)
    if parent is None:
        return None
    protocol = registry.load("protocol", parent.protocol)
    fit = _fits(protocol(), dataset)[0]
    views = views_for(protocol.views, row.backbone, request.views)
    source = dataset_of(fit.train.dataset)
    parent_row = method_row(MethodChoice(parent.method), row.backbone, parent.protocol, dataset.name, views.frames)
    return _fit_cell(parent_row, parent.protocol, fit, source, views, {}, settings, None)


def _fit_cell(
    row: MethodRow,
    protocol: str,
    fit: Fit,
    dataset: Dataset,
    views: Views,
    overrides: Mapping[str, str],
    settings: Settings,
    parent: FitCell | None,
) -> FitCell:
    recipe = row.spec.recipe_for(protocol, dataset.name, fit.shots, _preset(row.backbone))
    if recipe is None:
        raise NotApplicableError(
            f"{row.name} has no recipe for {protocol} on {dataset.name}.",
            f"Add recipes['{protocol}'] to the method, or set `recipe`.",
        )
    usual, recipe = recipe, recipe_with(recipe, overrides)
    train, labels = dataset.list(fit.train.list), dataset.labels(fit.train.labels)
    clip = single_view(views)
    identity = {
        "engine": ENGINE_VERSION,
        "method": row.identity(),
        "train": _list_identity(dataset, train, labels),
        "recipe": {k: v for k, v in recipe.as_dict().items() if k != "source"},
        "views": asdict(clip),
        "init": "clip" if parent is None else parent.key,
    }
    key = fingerprint(identity, 16)
    folder = row.folder(settings.runs.path) / f"{dataset.name}-{train.name}-{key[:8]}"
    return FitCell(row, fit, dataset, train, labels, recipe, clip, key, identity, folder, usual, parent)


def _list_identity(dataset: Dataset, rows: VideoList, labels: LabelSet) -> dict[str, Any]:
    identity = {
        "dataset": dataset.name,
        "list": rows.name,
        "sha256": rows.sha256,
        "labels": labels.sha256,
        "variant": labels.variant,
        "n": len(rows),
    }
    content = dataset.content(rows)
    return identity if content is None else {**identity, "content": content}


def _eval_cell(
    row: MethodRow,
    protocol: type[Protocol],
    item: Eval,
    repeat: Repeat,
    fit: FitCell | None,
    dataset: Dataset,
    views: Views,
    request: Request,
    settings: Settings,
) -> EvalCell:
    test, labels = dataset.list(item.test.list), dataset.labels(item.test.labels)
    measured = {
        "engine": ENGINE_VERSION,
        "fit": fit.key if fit else None,
        "method": row.identity(),
        "test": _list_identity(dataset, test, labels),
        "views": asdict(views),
    }
    place = {"id": protocol.name, "version": protocol.version, "part": item.part, "repeat": asdict(repeat)}
    identity = {**measured, "protocol": place}
    key = fingerprint(identity, 16)
    folder = fit.folder if fit else row.folder(settings.runs.path) / "untrained"
    record = folder / "evals" / f"{protocol.name}-{dataset.name}-{test.name}-{item.part}-{key[:8]}{RECORD_SUFFIX}"
    return EvalCell(
        row=row, fit=fit, eval=item, protocol=protocol, dataset=dataset, test=test, labels=labels, views=views,
        repeat=repeat, key=key, measurement=fingerprint(measured, 16), identity=identity, record=record,
        division=_division(row, fit, request, views != views_for(protocol.views, row.backbone, {})),
    )  # fmt: skip


def _division(row: MethodRow, fit: FitCell | None, request: Request, own_views: bool) -> str:
    """`closed`: the protocol's views, published class names, last checkpoint, no extra data; `open` otherwise."""
    card = row.card
    # What a checkpoint was trained on is its authors' word.
    more_data = card.extra_data or row.choice.checkpoint or request.source
    own = bool(own_views or more_data) or card.class_text == "llm-rewritten"
    return "open" if own or (fit is not None and fit.recipe.selection != "last") else "closed"
