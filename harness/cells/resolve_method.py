"""A method of a request resolved: its specification, its options, its model and the hash of its code."""

from __future__ import annotations

from harness.cells.backbone import BackboneChoice, preset_of
from harness.cells.cell import MethodRow
from harness.cells.request import MethodChoice
from harness.plugins import registry
from harness.plugins.code_hash import code_sha256, file_code_sha256
from harness.spec.method_spec import MethodSpec, OwnModel


def method_row(
    choice: MethodChoice,
    backbone: BackboneChoice | OwnModel,
    protocol: str = "",
    dataset: str = "",
    frames: int | None = None,
    code: str = "",
) -> MethodRow:
    """A method on a backbone, or on its own model, with the options of a protocol and dataset and those of the user.

    Args:
        choice: The method and its raw options.
        backbone: The backbone; a method with its own model does not use it.
        protocol: Name of the protocol, whose published option values apply; empty outside of a protocol.
        dataset: Name of the dataset, likewise.
        frames: Frames of a view, for methods with an option `frames`.
        code: sha256 of the method's source code; computed if empty.

    Raises:
        UserError: No such method, or an unknown option or value.
    """
    spec = registry.method_spec(choice.name)
    if choice.checkpoint is not None and spec.uses_clip and isinstance(backbone, BackboneChoice):
        backbone = backbone.for_checkpoint(choice.checkpoint)
    defaults = spec.options_for({}, protocol, dataset, preset_of(backbone), frames)
    options = defaults
    if choice.options:
        options = spec.options_for(choice.options, protocol, dataset, preset_of(backbone), frames)
    return MethodRow(choice, spec.own_model(options) or backbone, spec, options, defaults, code or code_of(spec))


def code_of(spec: type[MethodSpec]) -> str:
    """sha256 of a method's source code; of a built-in from its file, so that planning does not import torch."""
    source = registry.sources("method")[spec.name]
    if source.origin == "built-in" and source.file is not None:
        return file_code_sha256(source.file)
    return code_sha256(spec)
