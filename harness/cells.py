"""Fits and evals as units of work with an identity: expanded from a request, keyed, and given their place on disk.

Identity holds what decides the number and nothing of how it was computed: no paths, workers, devices or batch on the
device. Two requests that mean the same give the same cells, in whatever order their arguments stood.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.data.dataset import Dataset
from harness.errors import UserError
from harness.options import MethodOptions, build_options
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
from harness.spec import Eval, Fit, LabelSet, Protocol, Recipe, Repeat, VideoList, Views, fingerprint
from results.record import PREDICTIONS_SUFFIX, RECORD_SUFFIX

if TYPE_CHECKING:
    from harness.engine.method import ClipMethod

ENGINE_VERSION = 1
"""Raised when a change of the engine changes numbers; finished cells then become stale."""


@dataclass(frozen=True)
class MethodRow:
    """A method with its options on a backbone: one row of a table."""

    choice: MethodChoice
    backbone: BackboneChoice
    cls: type[ClipMethod]
    options: MethodOptions
    source_sha256: str

    @property
    def name(self) -> str:
        """Registered name."""
        return self.choice.name

    def identity(self) -> dict[str, Any]:
        """What decides the method's numbers besides lists and recipe."""
        return {
            "name": self.name,
            "version": self.cls.version,
            "code": self.source_sha256,
            "options": self.options.as_dict(),
            "backbone": self.backbone.identity(),
        }

    def folder(self, runs: Path) -> Path:
        """The folder of the row's cells."""
        options = self.options.as_dict()
        changed = {k: v for k, v in options.items() if v != self.cls.options_type().as_dict()[k]}
        suffix = f"-{fingerprint(changed, 6)}" if changed else ""
        return runs / self.backbone.slug() / f"{self.name}{suffix}"

    @property
    def text(self) -> str:
        """The text around class names, for signatures."""
        return str(self.options.as_dict().get("template", self.cls.card.class_text))


@dataclass(frozen=True)
class FitCell:
    """One training run with its identity and folder."""

    row: MethodRow
    fit: Fit
    dataset: Dataset
    train: VideoList
    labels: LabelSet
    recipe: Recipe
    views: Views
    key: str
    identity: dict[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        """Readable name, e.g. `vificlip mini_target/base_s1`."""
        return f"{self.row.name} {self.fit.train.dataset}/{self.fit.train.list}"


@dataclass(frozen=True)
class EvalCell:
    """One scored list of one fit, or of an untrained method, with its identity and record file."""

    row: MethodRow
    fit: FitCell | None
    eval: Eval
    protocol: type[Protocol]
    dataset: Dataset
    test: VideoList
    labels: LabelSet
    views: Views
    repeat: Repeat
    key: str
    measurement: str
    identity: dict[str, Any]
    record: Path
    division: str

    @property
    def name(self) -> str:
        """Readable name, e.g. `vificlip b2n mini_target novel 2`."""
        return f"{self.row.name} {self.protocol.name} {self.dataset.name} {self.eval.part} {self.repeat.index}"

    @property
    def predictions(self) -> Path:
        """The predictions file beside the record."""
        return self.record.with_name(self.record.name.removesuffix(RECORD_SUFFIX) + PREDICTIONS_SUFFIX)

    @property
    def signature(self) -> str:
        """The settings that decide comparability, in one line."""
        backbone, protocol = self.row.backbone.slug(), self.protocol
        selection = self.fit.recipe.selection if self.fit else "last"
        labels = "" if self.labels.variant == "published" else f"+{self.labels.variant}"
        origin = "" if self.test.origin != "own" else "+own"
        return "|".join(
            (
                f"{protocol.name}.{protocol.version}",
                f"{self.dataset.name}.{self.test.name}{labels}{origin}",
                f"{self.row.name}.{self.row.cls.version}",
                backbone,
                str(self.views),
                f"text:{self.row.text}",
                "init:clip",
                f"select:{selection}",
                f"{self.repeat.kind}.{self.repeat.index}",
                self.division,
            )
        )


@dataclass(frozen=True)
class Cells:
    """All cells of a request.

    Args:
        fits: Each training run once, in order.
        evals: In the order of methods, protocols, datasets.
        missing_datasets: Datasets of the protocols that are not configured on this machine.
        embedded: Whether the embedded benchmark was chosen because nothing else is configured.
    """

    fits: tuple[FitCell, ...]
    evals: tuple[EvalCell, ...]
    missing_datasets: tuple[str, ...]
    embedded: bool


def expand(request: Request, settings: Settings) -> Cells:
    """The fits and evals that a request needs; each fit once however many evals it serves.

    Raises:
        UserError: Unknown names, lists that are not there, a method without a recipe for a protocol.
    """
    fits: dict[str, FitCell] = {}
    evals: dict[str, EvalCell] = {}
    missing: list[str] = []
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
                row = method_row(choice, default_backbone(dataset, request))
                for cell in _expand_one(row, protocol, dataset, dataset_of, request, settings):
                    if isinstance(cell, FitCell):
                        fits.setdefault(cell.key, cell)
                    else:
                        evals.setdefault(cell.key, cell)
    return Cells(tuple(fits.values()), tuple(evals.values()), tuple(missing), embedded)


def method_row(choice: MethodChoice, backbone: BackboneChoice) -> MethodRow:
    """A method with checked options on a backbone."""
    from harness.engine.method import method_class

    cls = method_class(choice.name)
    options = build_options(cls.options_type, choice.options, choice.name)
    return MethodRow(choice, backbone, cls, options, code_sha256(cls))


def _expand_one(
    row: MethodRow, protocol: type[Protocol], dataset: Dataset, dataset_of: Any, request: Request, settings: Settings
) -> Iterator[FitCell | EvalCell]:
    instance = protocol()
    views = views_for(protocol.views, row.backbone, request.views)
    trained = row.cls.recipe is not None or bool(row.cls.recipes)
    seen_untrained: set[tuple[str, str, str]] = set()
    for fit in instance.fits(dataset):
        if (request.repeats and fit.repeat.index not in request.repeats) or (
            request.shots and fit.shots is not None and fit.shots not in request.shots
        ):
            continue
        fit_cell = (
            _fit_cell(row, protocol, fit, dataset_of(fit.train.dataset), views, request, settings) if trained else None
        )
        if fit_cell:
            yield fit_cell
        for item in instance.evals(dataset, fit):
            repeat = item.repeat or (fit.repeat if trained else Repeat())
            if not trained:
                place = (item.part, item.test.list, item.test.labels)
                if place in seen_untrained:
                    continue  # repeats over training subsets are one measurement where nothing is trained
                seen_untrained.add(place)
            yield _eval_cell(
                row, protocol, item, repeat, fit_cell, dataset_of(item.test.dataset), views, request, settings
            )


def _fit_cell(
    row: MethodRow,
    protocol: type[Protocol],
    fit: Fit,
    dataset: Dataset,
    views: Views,
    request: Request,
    settings: Settings,
) -> FitCell:
    preset = "mini" if row.backbone.is_mini else ""
    recipe = row.cls.recipe_for(protocol.name, dataset.name, fit.shots, preset)
    if recipe is None:
        raise UserError(
            f"{row.name} has no recipe for {protocol.name} on {dataset.name}.",
            f"Add recipes['{protocol.name}'] to the method, or set `recipe`.",
        )
    recipe = recipe_with(recipe, request.recipe)
    train, labels = dataset.list(fit.train.list), dataset.labels(fit.train.labels)
    clip = single_view(views)
    identity = {
        "engine": ENGINE_VERSION,
        "method": row.identity(),
        "train": {
            "dataset": dataset.name, "list": train.name, "sha256": train.sha256, "labels": labels.sha256,
            "variant": labels.variant, "n": len(train),
        },
        "recipe": {k: v for k, v in recipe.as_dict().items() if k != "source"},
        "views": asdict(clip),
        "init": "clip",
    }  # fmt: skip
    key = fingerprint(identity, 16)
    folder = row.folder(settings.runs.path) / f"{dataset.name}-{train.name}-{key[:8]}"
    return FitCell(row, fit, dataset, train, labels, recipe, clip, key, identity, folder)


def _eval_cell(
    row: MethodRow, protocol: type[Protocol], item: Eval, repeat: Repeat, fit: FitCell | None,
    dataset: Dataset, views: Views, request: Request, settings: Settings,
) -> EvalCell:  # fmt: skip
    test, labels = dataset.list(item.test.list), dataset.labels(item.test.labels)
    measured = {
        "engine": ENGINE_VERSION,
        "fit": fit.key if fit else None,
        "method": row.identity(),
        "test": {
            "dataset": dataset.name, "list": test.name, "sha256": test.sha256, "labels": labels.sha256,
            "variant": labels.variant, "n": len(test),
        },
        "views": asdict(views),
    }  # fmt: skip
    identity = {**measured, "protocol": {"id": protocol.name, "version": protocol.version, "part": item.part,
                                         "repeat": asdict(repeat)}}  # fmt: skip
    key = fingerprint(identity, 16)
    folder = fit.folder if fit else row.folder(settings.runs.path) / "untrained"
    record = folder / "evals" / f"{protocol.name}-{dataset.name}-{test.name}-{item.part}-{key[:8]}{RECORD_SUFFIX}"
    return EvalCell(
        row, fit, item, protocol, dataset, test, labels, views, repeat, key, fingerprint(measured, 16), identity,
        record, _division(row, fit, request),
    )  # fmt: skip


def _division(row: MethodRow, fit: FitCell | None, request: Request) -> str:
    """`closed`: the protocol's views, published class names, last checkpoint, no extra data; `open` otherwise."""
    card = row.cls.card
    own = bool(request.views) or bool(card.extra_data) or card.class_text == "llm-rewritten"
    return "open" if own or (fit is not None and fit.recipe.selection != "last") else "closed"


@cache
def code_sha256(cls: type) -> str:
    """sha256 of the code that defines a plugin: its file and the underscored helpers beside it, as syntax trees.

    Comments, formatting and docstrings do not count, so that mending them leaves finished cells finished.
    """
    file = Path(sys.modules[cls.__module__].__file__ or "").resolve()
    digest = hashlib.sha256()
    for path in [file, *(p for p in sorted(file.parent.glob("_*.py")) if p.name != "__init__.py")]:
        digest.update(path.name.encode() + b"\0" + _code(path.read_text(encoding="utf-8")).encode() + b"\0")
    return digest.hexdigest()


def _code(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body
            if (
                body
                and isinstance(body[0], ast.Expr)
                and isinstance(body[0].value, ast.Constant)
                and isinstance(body[0].value.value, str)
            ):
                node.body = body[1:] or [ast.Pass()]
    return ast.dump(tree)
