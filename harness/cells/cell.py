"""Fits and evals as units of work: each with its measurement, its key and its place on disk."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from harness.base.canonical import fingerprint
from harness.cells.request import BackboneChoice, MethodChoice
from harness.data.lists.dataset import Dataset
from harness.spec import Eval, Fit, LabelSet, MethodCard, Protocol, Recipe, Repeat, VideoList, Views
from harness.spec.method_spec import MethodSpec, OwnModel
from harness.spec.options import MethodOptions
from results.measurement import FitDescription, Measurement, MethodId, ModelId, Value, fit_key, keys_of
from results.measurement_words import plain, recipe_changes, recipe_text
from results.record import PREDICTIONS_SUFFIX, RECORD_SUFFIX


@dataclass(frozen=True)
class MethodRow:
    """A method with its options on a backbone.

    Args:
        choice: The method as the user named it.
        backbone: The CLIP model, or the model that the method brings along.
        spec: Card, recipes and options of the method.
        options: Options of the run.
        defaults: Options of the run if the user had given none.
        code: Hash of the method's source code.
    """

    choice: MethodChoice
    backbone: BackboneChoice | OwnModel
    spec: type[MethodSpec]
    options: MethodOptions
    defaults: MethodOptions
    code: str

    @property
    def name(self) -> str:
        """Registered name."""
        return self.choice.name

    @property
    def card(self) -> MethodCard:
        """The method's card under the row's options."""
        return self.spec.card_for(self.options)

    @cached_property
    def changed(self) -> dict[str, Value]:
        """The options that the user set to another value than the default."""
        values, usual = self.options.as_dict(), self.defaults.as_dict()
        return {name: value for name, value in values.items() if value != usual[name]}

    @property
    def shown(self) -> str:
        """Name with changed options, for people: `vificlip`, `vificlip:template=a {}`."""
        own = self.changed | ({"checkpoint": self.choice.checkpoint_sha256[:8]} if self.choice.checkpoint else {})
        return ":".join(filter(None, (self.name, ",".join(f"{name}={plain(own[name])}" for name in sorted(own)))))

    def method_id(self) -> MethodId:
        """The method as measurements state it."""
        values, checkpoint = self.options.as_dict(), self.choice.checkpoint
        late = {f.name for f in fields(self.options) if f.metadata.get("evaluation_only")}
        extra = [f"checkpoint {self.choice.checkpoint_sha256[:8]}"] if checkpoint else []
        return MethodId(
            name=self.name,
            version=self.spec.version,
            code=self.code,
            options={name: value for name, value in values.items() if name not in late},
            evaluation_options={name: value for name, value in values.items() if name in late},
            class_text=self.card.class_text,
            extra_data=(*self.card.extra_data, *extra),
            checkpoint=self.choice.checkpoint_sha256 if checkpoint else "",
        )

    def model_id(self) -> ModelId:
        """The model as measurements state it before its weights are read."""
        return self.backbone.model_id()

    def folder(self, runs: Path) -> Path:
        """The folder of the row's cells; options that matter only in evaluation share it, and so the fits in it."""
        late = {f.name for f in fields(self.options) if f.metadata.get("evaluation_only")}
        own = {name: value for name, value in self.changed.items() if name not in late}
        own |= {"checkpoint": self.choice.checkpoint_sha256} if self.choice.checkpoint else {}
        suffix = f"-{fingerprint(own, 6)}" if own else ""
        return runs / self.backbone.slug() / f"{self.name}{suffix}"


@dataclass(frozen=True)
class FitCell:
    """One training run.

    Args:
        row: The method.
        fit: The protocol's request for this run.
        dataset: Dataset of the training list.
        train: Training list.
        labels: Its label set.
        views: Views of training clips.
        described: The measurement's part that describes the fit.
        folder: Folder of the weights, `fit.json` and the evals.
        parent: The fit whose weights this one starts from.
    """

    row: MethodRow
    fit: Fit
    dataset: Dataset
    train: VideoList
    labels: LabelSet
    views: Views
    described: FitDescription
    folder: Path
    parent: FitCell | None = None

    @cached_property
    def key(self) -> str:
        """Key of the fit."""
        return fit_key(self.described)

    @property
    def recipe(self) -> Recipe:
        """Optimisation settings."""
        return self.described.training.recipe

    @property
    def name(self) -> str:
        """Readable name, e.g. `vificlip mini_target/base_s1 [epochs=1]`."""
        changes = recipe_text(recipe_changes(self.described.training))
        return f"{self.row.shown} {self.dataset.shown}/{self.fit.train.list}" + (f" [{changes}]" if changes else "")

    @property
    def start_name(self) -> str:
        """The name under which children record this fit as their start."""
        return f"{self.row.name} {self.dataset.name}/{self.fit.train.list}"


@dataclass(frozen=True)
class EvalCell:
    """One evaluation list scored by one fit, or by an untrained method.

    Args:
        row: The method.
        fit: The fit that is evaluated; None for an untrained method.
        eval: The protocol's request for this eval.
        protocol: The protocol.
        dataset: Dataset of the evaluation list.
        test: Evaluation list.
        labels: Its label set.
        views: Views of each video.
        repeat: The repeat that the eval belongs to.
        measurement: Everything known of the measurement before it is carried out.
        record: The record's file.
    """

    row: MethodRow
    fit: FitCell | None
    eval: Eval
    protocol: type[Protocol]
    dataset: Dataset
    test: VideoList
    labels: LabelSet
    views: Views
    repeat: Repeat
    measurement: Measurement
    record: Path

    @cached_property
    def key(self) -> str:
        """Key of the eval."""
        return keys_of(self.measurement).cell

    @cached_property
    def number(self) -> str:
        """Key of the score, which untrained evals of several protocols share."""
        return keys_of(self.measurement).number

    @property
    def name(self) -> str:
        """Readable name, e.g. `vificlip b2n mini_target novel 2 [epochs=1]`."""
        changes = recipe_text(recipe_changes(self.measurement.fitted))
        name = f"{self.row.shown} {self.protocol.name} {self.dataset.shown} {self.eval.part} {self.repeat.index}"
        return f"{name} [{changes}]" if changes else name

    @property
    def predictions(self) -> Path:
        """The predictions file beside the record."""
        return self.record.with_name(self.record.name.removesuffix(RECORD_SUFFIX) + PREDICTIONS_SUFFIX)


@dataclass(frozen=True)
class Cells:
    """All cells of a request.

    Args:
        fits: Each training run once, in order.
        evals: In the order of methods, protocols, datasets.
        missing_datasets: Datasets of the protocols that are not configured on this machine.
        left_out: (combination, reason) of methods, protocols and datasets that do not go together.
        embedded: Whether the embedded benchmark was chosen because nothing else is configured.
    """

    fits: tuple[FitCell, ...]
    evals: tuple[EvalCell, ...]
    missing_datasets: tuple[str, ...]
    embedded: bool
    left_out: tuple[tuple[str, str], ...] = ()
