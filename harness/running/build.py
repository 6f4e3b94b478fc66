"""Build the method of a cell: on its backbone, on a parent fit, or with the weights of a finished fit."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from harness.base.errors import EXIT_FAILED, UserError
from harness.base.imports import without_collections
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import EvalCell, FitCell, MethodRow
from harness.engine.method import ClipMethod
from harness.engine.model.clip_model import Backbone
from harness.engine.training.trained_weights import load_fit, read_trained
from harness.machine.settings import Settings
from harness.weights.describe import describe
from harness.weights.identity import checkpoint_activation
from harness.weights.index import WeightsIndex
from results.fit_file import FitFile, read_fit_file
from results.measurement import ModelId, Start


def build_row(row: MethodRow, settings: Settings) -> ClipMethod:
    """Build an untrained method on a newly loaded backbone or on its own model, with its checkpoint if it has one."""
    with without_collections():
        from harness.engine.method import method_class
        from harness.engine.method_weights import load_published

    cls = method_class(row.name)  # imports the plugin, which planning does not need
    if not isinstance(row.backbone, BackboneChoice):
        return cls(row.backbone.load(), row.options)
    if not row.choice.checkpoint:
        return cls(load_chosen_backbone(row.backbone, settings), row.options)
    method = cls(_backbone_below(Path(row.choice.checkpoint), row.backbone, settings), row.options)
    load_published(method, Path(row.choice.checkpoint))
    return method


def _backbone_below(checkpoint: Path, choice: BackboneChoice, settings: Settings) -> Backbone:
    """The backbone into which a checkpoint is loaded.

    Raises:
        UserError: The backbone cannot be loaded; of a checkpoint that lacks tensors of CLIP, the reason is named.
    """
    described = describe(checkpoint)
    try:
        return load_chosen_backbone(choice, settings)
    except UserError as error:
        if described.is_complete:
            raise
        raise UserError(
            f"{checkpoint} ({described.title}) lacks the token embedding, which the CLIP weights "
            f"{choice.weights or 'openai'} have. {error.message}",
            f"Name CLIP weights with --base TAG|FILE. {error.hint}",
            error.exit_code,
        ) from None


def load_chosen_backbone(choice: BackboneChoice, settings: Settings) -> Backbone:
    """Load a backbone; the hash of the tensors of a tag is stored for plans, which read no weights."""
    with without_collections():
        from harness.engine.model.backbone import load_backbone

    activation = choice.activation
    if choice.of_method and choice.weights is not None:
        activation = checkpoint_activation(choice.weights, activation, of_method=True)
    backbone = load_backbone(
        choice.arch, choice.weights, settings.weights.path, choice.base, activation, choice.of_method
    )
    for note in backbone.notes:
        sys.stderr.write(f"note: {note}\n")
    if backbone.file is not None:
        model = choice.model_id()
        index = WeightsIndex(settings.cache.path, settings.weights.path)
        # A plan compares this hash with the recorded one, and need not read gigabytes of weights.
        index.remember(model.arch, model.weights, backbone.file, backbone.facts.weights_sha256)
    return backbone


def loaded_model(row: MethodRow, method: ClipMethod) -> ModelId:
    """The model of a row as measurements state it after its weights were read."""
    from harness.engine.model.tokenizer import pad_id

    facts, clip = method.backbone.facts, isinstance(row.backbone, BackboneChoice)
    return replace(
        row.model_id,
        tensors_sha256=facts.weights_sha256,
        image_size=facts.image_size,
        activation=("quick_gelu" if facts.quick_gelu else "gelu") if clip else "",
        text_length=method.backbone.context_length if clip else 0,
        padding=pad_id(facts.arch) if clip else 0,
    )


def build_fit_start(cell: FitCell, settings: Settings) -> tuple[ClipMethod, Start]:
    """Build the method of a fit before its first update; returns it with the description of its start.

    Raises:
        UserError: The parent fit is not finished, or its weight file differs from the recorded one.
    """
    method, start = build_row(cell.row, settings), cell.described.training.start
    if cell.parent is None:
        return method, start
    parent = read_fit_file(cell.parent.folder)
    if parent is None or parent.key != cell.parent.key:
        message = f"The parent fit {cell.parent.name} is not finished."
        raise UserError(message, "Run the same command again.", EXIT_FAILED)
    method.adopt(read_trained(cell.parent.folder / parent.weights.file, parent.weights.sha256))
    training = parent.described.training
    complete = training.used == training.list.n and training.start.complete
    return method, replace(start, weights_sha256=parent.weights.sha256, complete=complete)


def require_recorded(fitted: FitFile, model: ModelId, start: Start, name: str) -> None:
    """Check that the model and the parent fit have the weights from which a fit was trained.

    Args:
        fitted: Content of the fit's `fit.json`.
        model: The loaded model.
        start: The start of the fit with the present weights of its parent fit.
        name: Name of the fit, for messages.

    Raises:
        UserError: The model or the parent fit has other tensors than the recorded ones.
    """
    recorded = fitted.described.model.tensors_sha256
    if model.tensors_sha256 != recorded:
        raise UserError(
            f"The fit {name} was fitted on the weights {fitted.described.model.weights} with tensors of sha256 "
            f"{recorded}; the weights on this machine have {model.tensors_sha256}.",
            "Restore those weights, or run the same command again to fit again.",
            EXIT_FAILED,
        )
    expected = fitted.described.training.start.weights_sha256
    if start.weights_sha256 != expected:
        raise UserError(
            f"The fit {name} started from the weights {expected[:8]} of {start.name}, which was computed again and now "
            f"has the weights {start.weights_sha256[:8]}.",
            "Run the same command again to fit again.",
            EXIT_FAILED,
        )


def fitted_method(cell: EvalCell, settings: Settings) -> tuple[ClipMethod, FitFile | None]:
    """Build the method that an eval scores; returns it with the content of its `fit.json`, None if it is untrained.

    Raises:
        UserError: The fit is not finished or stale, or the weights of the fit or its parent differ from the recorded
            ones.
    """
    if cell.fit is None:
        return build_row(cell.row, settings), None
    fitted = read_fit_file(cell.fit.folder)
    if fitted is None or fitted.key != cell.fit.key:
        raise UserError(f"The fit {cell.fit.name} is not finished.", "Run the same command again.", EXIT_FAILED)
    method, start = build_fit_start(cell.fit, settings)
    require_recorded(fitted, loaded_model(cell.row, method), start, cell.fit.name)
    load_fit(method, cell.fit.folder, fitted.weights.sha256)
    return method, fitted
