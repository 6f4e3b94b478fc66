"""The method of exported weights, which state it themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

from harness.base.canonical import is_file_hash
from harness.base.errors import UserError
from harness.cells.request import MethodChoice
from harness.plugins import registry
from harness.spec.options import OptionValue, unused_because
from harness.weights.exported import ExportedFit, read_exported
from harness.weights.identity import FILE_HASH


def method_of_export(facts: ExportedFit, file: str) -> MethodChoice:
    """The method of exported weights, with the options of the fit and the file as its checkpoint."""
    return MethodChoice(facts.method, _stated_options(facts, file, {}), file)


def with_checkpoint(choice: MethodChoice, checkpoint: str) -> MethodChoice:
    """A method with a checkpoint. Options that an export of the method states apply where the user gives no value.

    Args:
        choice: The method as the user named it.
        checkpoint: Path of the file; whether it exists is checked when the row is resolved.

    Raises:
        UserError: The file is damaged, or was fitted with a file of class texts that the user does not name.
    """
    facts = read_exported(checkpoint) if Path(checkpoint).is_file() else None
    stated: Mapping[str, OptionValue] = {}
    if facts is not None and facts.method == choice.name:
        stated = _stated_options(facts, checkpoint, choice.options)
    return replace(choice, options={**stated, **choice.options}, checkpoint=checkpoint)


def _stated_options(facts: ExportedFit, file: str, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """The options of an export's fit that can be given again."""
    spec = registry.method_spec(facts.method)
    of_files = {f.name for f in fields(spec.options_type) if f.metadata.get("file")}
    if "class_texts" not in given and is_file_hash(texts := str(facts.options.get("class_texts", ""))):
        # Texts act in evaluation, too, so that class names in their place would give other scores without an error.
        raise UserError(
            f"The weights {file} were fitted with a file of class texts ({texts}), which the export does not hold.",
            f"Name the file: --method {facts.method}:class_texts=FILE --checkpoint {file}",
        )
    stated: dict[str, OptionValue] = {
        name: value
        for name, value in facts.options.items()
        # Files are stated by their hash. Weights that a fit started from are overwritten by the exported ones.
        if not (name in of_files and str(value).startswith(FILE_HASH))
    }
    options = spec.options_for({**stated, **given})
    # An option without effect has the default of the protocol, which may differ from that of the fit.
    return {name: value for name, value in stated.items() if not unused_because(options, name)}


def exported_methods(checkpoint: str | None) -> tuple[MethodChoice, ...]:
    """The method of a checkpoint that states it; empty without a checkpoint.

    Raises:
        UserError: The checkpoint states no method.
    """
    if checkpoint is None:
        return ()
    facts = read_exported(checkpoint)
    if facts is None:
        raise UserError(
            f"--method is missing: the checkpoint {checkpoint} states no method, as exports of fits do.",
            "Name the method of the checkpoint: --method NAME",
        )
    return (method_of_export(facts, checkpoint),)
