"""Fits and evals as units of work: each with its measurement, its key and its files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from harness.base.canonical import fingerprint
from harness.base.errors import UserError
from harness.base.files import cached_file_sha256
from harness.cells.backbone import BackboneChoice
from harness.cells.request import MethodChoice
from harness.data.lists.dataset import Dataset
from harness.spec import Eval, Fit, LabelSet, MethodCard, Protocol, Recipe, Repeat, VideoList, Views
from harness.spec.method_spec import MethodSpec, OwnModel
from harness.spec.options import MethodOptions, OptionValue, evaluation_options
from harness.spec.protocol import SEED
from harness.weights.describe import describe
from harness.weights.families import PUBLISHED
from results.measurement import FitDescription, Measurement, MethodId, ModelId, fit_key, keys_of
from results.measurement_words import plain, recipe_changes, recipe_text
from results.record import PREDICTIONS_SUFFIX, RECORD_SUFFIX

CHECKPOINT_STATISTICS = ("imagenet", "clip", "model")
"""Input statistics that a checkpoint can have by name."""


@dataclass(frozen=True)
class MethodRow:
    """A method with its options on a backbone.

    Args:
        choice: The method as the user named it.
        backbone: The CLIP model, or the method's own model.
        spec: Card, recipes and options of the method.
        options: Options of the run.
        defaults: Options of the run without those that the user set.
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
        """The method's card under the row's options; a file of class texts states their source."""
        card, texts = self.spec.card_for(self.options), self.spec.class_texts_file(self.options)
        return card if texts is None else replace(card, class_text=texts.class_text)

    @cached_property
    def changed(self) -> dict[str, OptionValue]:
        """The options whose value differs from the default."""
        values, defaults = self.options.as_dict(), self.defaults.as_dict()
        return {name: value for name, value in values.items() if value != defaults[name]}

    @cached_property
    def checkpoint_sha256(self) -> str:
        """sha256 of the method's checkpoint, empty without one; keys hold this hash and not the file's path.

        Raises:
            UserError: There is no such file.
        """
        if self.choice.checkpoint is None:
            return ""
        path = Path(self.choice.checkpoint)
        if not path.is_file():
            raise UserError(f"The checkpoint {self.choice.checkpoint} does not exist.", "Give the path of a file.")
        return cached_file_sha256(path.resolve())

    def published_input(self, views: Views) -> Views:
        """Views with the input statistics of the row's checkpoint; those of the protocol without a checkpoint.

        An export states the statistics of its fit. The files of a method's authors have those of its original.
        """
        if self.choice.checkpoint is None or not self.spec.uses_clip or not Path(self.choice.checkpoint).is_file():
            return views
        described = describe(self.choice.checkpoint)
        normalize = described.file.metadata.get("normalize", "")
        if described.published.family in PUBLISHED:
            normalize = self.spec.checkpoint_normalize
        return replace(views, normalize=normalize) if normalize in CHECKPOINT_STATISTICS else views

    @property
    def shown(self) -> str:
        """Name with changed options, for people: `vificlip`, `vificlip:template=a {}`."""
        changed = self.changed | ({"checkpoint": self.checkpoint_sha256[:8]} if self.checkpoint_sha256 else {})
        texts = [f"{name}={plain(changed[name])}" for name in sorted(changed)]
        return ":".join(filter(None, (self.name, ",".join(texts))))

    @cached_property
    def method_id(self) -> MethodId:
        """The method as measurements state it."""
        values, late = self.options.as_dict(), evaluation_options(type(self.options))
        extra = [f"checkpoint {self.checkpoint_sha256[:8]}"] if self.checkpoint_sha256 else []
        return MethodId(
            name=self.name,
            version=self.spec.version,
            code=self.code,
            options={name: value for name, value in values.items() if name not in late},
            evaluation_options={name: value for name, value in values.items() if name in late},
            class_text=self.card.class_text,
            extra_data=(*self.card.extra_data, *extra),
            checkpoint=self.checkpoint_sha256,
        )

    @cached_property
    def model_id(self) -> ModelId:
        """The model as measurements state it before its weights are read."""
        return self.backbone.model_id()

    def folder(self, runs: Path) -> Path:
        """The folder of the row's cells. Options of evaluation alone do not change it, so that they share the fits."""
        late = evaluation_options(type(self.options))
        # Only changed options: the folders of finished cells stay if a method gets a new option.
        changed = {name: value for name, value in self.changed.items() if name not in late}
        changed |= {"checkpoint": self.checkpoint_sha256} if self.checkpoint_sha256 else {}
        suffix = f"-{fingerprint(changed, 6)}" if changed else ""
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
        protocol: The protocol that trains the fit.
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
    protocol: str = ""

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
        seed = f" seed {self.fit.repeat.index}" if self.fit.repeat.kind == SEED else ""
        name = f"{self.row.shown} {self.dataset.shown}/{self.fit.train.list}{seed}"
        return f"{name} [{changes}]" if changes else name

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
        measurement: The measurement, as far as it is known before it is carried out.
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
    def unfitted(self) -> UserError:
        """The error of an eval whose protocol trains nothing and whose fit is not finished."""
        assert self.fit is not None
        protocol = self.fit.protocol
        source = f" --dataset {self.dataset.name} --source {self.fit.dataset.name}" if protocol == "zero_shot" else ""
        dataset = source or f" --dataset {self.fit.dataset.name}"
        return UserError(
            f"The fit {self.fit.name} is not finished, and {self.protocol.name} evaluates finished fits without "
            "training.",
            f"Train it: python -m harness run --method {self.row.name} --protocol {protocol}{dataset}, with the other "
            f"options of this command; or add --protocol {protocol} to this command.",
        )

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
        notes: A sentence for each selection of the request that does not act on a protocol.
        warnings: A sentence for each dataset with people on both sides of its split.
    """

    fits: tuple[FitCell, ...]
    evals: tuple[EvalCell, ...]
    missing_datasets: tuple[str, ...]
    embedded: bool
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
