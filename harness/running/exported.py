"""Exports of fits: one file of weights that states its fit, a model card beside it, and the loader of such files."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from harness.cells.backbone import MINI_ARCH, BackboneChoice
from harness.cells.exported_method import method_of_export
from harness.cells.resolve_method import method_row
from harness.engine.method_weights import export
from harness.machine.settings import Settings
from harness.running.build import build_row
from harness.running.load_fit import FittedMethod
from harness.running.predict import Model
from harness.spec import LabelSet
from harness.weights.exported import ExportedFit, metadata_of, read_exported
from results.measurement_words import model_text, plain, views_text
from results.record import Record, find_records, read_record

CARD_SUFFIX = ".card.md"


def export_fit(fit: FittedMethod, out: Path) -> tuple[Path, Path]:
    """Write the weights of a fit with its facts, and a model card beside them.

    Args:
        fit: A loaded fit.
        out: The file of the weights; the card is `NAME.card.md` in the same folder.

    Returns:
        (weights, card): the two files.
    """
    facts = facts_of(fit)
    weights = export(fit.method, out, fit.views.normalize, metadata_of(facts))
    card = out.with_name(f"{out.stem}{CARD_SUFFIX}")
    records = [read_record(path) for path in find_records(fit.folder)]
    write_bytes(card, model_card(facts, fit, records, out.name).encode())
    return weights, card


def facts_of(fit: FittedMethod) -> ExportedFit:
    """The facts of a fit that its exported weights state."""
    described = fit.content.described
    training = described.training
    return ExportedFit(
        method=described.method.name,
        options={**described.method.options, **described.method.evaluation_options},
        arch=fit.method.backbone.facts.arch,
        weights=described.model.weights,
        classes=fit.content.classes,
        views=training.views,
        training_list=f"{training.list.dataset}/{training.list.name}",
        recipe=training.recipe,
        key=fit.content.key,
    )


def model_card(facts: ExportedFit, fit: FittedMethod, records: list[Record], file: str) -> str:
    """The model card of exported weights, in Markdown."""
    card, training = fit.row.card, fit.content.described.training
    settings = [(f.name, plain(getattr(facts.recipe, f.name))) for f in fields(facts.recipe)]
    changed = ", ".join(f"{name}={plain(value)}" for name, value in sorted(facts.options.items()))
    quoted = shlex.quote(file)
    lines = [
        f"# {card.title}", "",
        f"Weights of the method `{facts.method}` ({card.source or 'no source stated'}), exported from a fit of "
        "clip-video-harness.", "",
        "| property | value |", "| --- | --- |",
        f"| backbone | {model_text(fit.content.described.model)} |",
        f"| training list | {facts.training_list}, {training.used} of {training.list.n} videos |",
        f"| classes | {len(facts.classes)} |",
        f"| views | {views_text(facts.views)} (frames x clips x crops) |",
        f"| input statistics | {facts.views.normalize} |",
        f"| options | {changed or 'none'} |",
        f"| paper | {card.paper or 'none stated'} |",
        f"| parameters | {fit.content.parameters.total:,} in total, {fit.content.parameters.trained:,} trained |",
        f"| key of the fit | {facts.key} |", "",
        "## Recipe", "", "| setting | value |", "| --- | --- |",
        *(f"| {name} | {_cell(value)} |" for name, value in settings), "",
        "## Scores", "",
        *_scores(records), "",
        "## Use", "", "```sh", f"python -m harness predict clip.mp4 --checkpoint {quoted}",
        f"python -m harness run --checkpoint {quoted} --protocol PROTOCOL --dataset DATASET", "```", "",
        "```python", "from harness.api import load_export, predict", "",
        f'predict(load_export({file!r}), "clip.mp4")', "```", "",
        "## Classes", "", *(f"{label}. {_cell(name)}" for label, name in enumerate(facts.classes)), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _scores(records: list[Record]) -> list[str]:
    """A table of the records of the fit, each with its signature."""
    if not records:
        return ["This fit was not scored."]
    lines = [
        "| evaluation list | part | top-1 | top-5 | mean class | signature |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for record in records:
        m, metrics = record.measurement, record.metrics
        numbers = " | ".join(f"{value:.2f}" for value in (metrics.top1, metrics.top5, metrics.mean_class))
        listed = f"{m.protocol.name} {m.evaluation.list.dataset}/{m.evaluation.list.name}{record.mark}"
        lines.append(f"| {_cell(listed)} | {m.protocol.part} | {numbers} | `{_cell(record.signature)}` |")
    return lines


def _cell(text: str) -> str:
    """Text in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def load_export(file: Path, settings: Settings) -> Model:
    """The method of an exported fit with its weights, its classes and its views.

    Raises:
        UserError: The file is not the export of a fit, or its method is not known or has other tensors.
    """
    facts = read_exported(file)
    if facts is None:
        raise UserError(
            f"{file} does not state a fit: it is not written by `export`, or by an earlier version.",
            "Name its method and classes: --method NAME --labels FILE",
        )
    backbone = BackboneChoice(MINI_ARCH if facts.arch == MINI_ARCH else None, None)
    row = method_row(method_of_export(facts, str(file)), backbone, frames=facts.views.frames)
    return Model(build_row(row, settings), LabelSet(facts.classes), facts.views)
