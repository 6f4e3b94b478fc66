"""Fits and evals as units of work with an identity and a place on disk.

Identity holds what decides the number and nothing of how it was computed: no paths, workers, devices or batch on the
device.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.dataset import Dataset
from harness.request import BackboneChoice, MethodChoice
from harness.signature import signature
from harness.spec import Eval, Fit, LabelSet, MethodCard, Protocol, Recipe, Repeat, VideoList, Views, fingerprint
from harness.spec.method_spec import MethodSpec, OwnModel
from harness.spec.options import MethodOptions
from results.record import PREDICTIONS_SUFFIX, RECORD_SUFFIX


@dataclass(frozen=True)
class MethodRow:
    """A method with its options on a backbone: one row of a table."""

    choice: MethodChoice
    backbone: BackboneChoice | OwnModel
    spec: type[MethodSpec]
    options: MethodOptions
    defaults: MethodOptions
    source_sha256: str

    @property
    def name(self) -> str:
        """Registered name."""
        return self.choice.name

    def identity(self) -> dict[str, Any]:
        """What decides the method's numbers besides lists and recipe."""
        return {
            "name": self.name,
            "version": self.spec.version,
            "code": self.source_sha256,
            "options": self.options.as_dict(),
            "backbone": self.backbone.identity(),
            **({"checkpoint": self.choice.checkpoint_sha256} if self.choice.checkpoint else {}),
        }

    def folder(self, runs: Path) -> Path:
        """The folder of the row's cells."""
        usual = self.defaults.as_dict()
        own = {name: value for name, value in self.options.as_dict().items() if value != usual[name]}
        own |= {"checkpoint": self.choice.checkpoint_sha256} if self.choice.checkpoint else {}
        suffix = f"-{fingerprint(own, 6)}" if own else ""
        return runs / self.backbone.slug() / f"{self.name}{suffix}"

    @property
    def text(self) -> str:
        """The text around class names, for signatures."""
        return str(self.options.as_dict().get("template", self.spec.card.class_text))

    @property
    def init(self) -> str:
        """What an untrained method is: `clip`, the weights of its own model, or a given checkpoint by its content."""
        if self.choice.checkpoint:
            return f"checkpoint-{self.choice.checkpoint_sha256[:8]}"
        return self.backbone.init

    @property
    def card(self) -> MethodCard:
        """The method's card under the row's options."""
        return self.spec.card_for(self.options)


@dataclass(frozen=True)
class FitCell:
    """One training run with its identity and folder.

    `parent` is the fit whose weights it starts from, `usual_recipe` the method's own before the user's changes.
    """

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
    usual_recipe: Recipe
    parent: FitCell | None = None

    @property
    def name(self) -> str:
        """Readable name, e.g. `vificlip mini_target/base_s1`."""
        return f"{self.row.name} {self.fit.train.dataset}/{self.fit.train.list}"

    @property
    def init(self) -> str:
        """What the fit starts from: `clip`, another fit by name, or `checkpoint` for a given file."""
        if self.parent is not None:
            return f"fit {self.parent.name}"
        return "clip" if self.row.options.as_dict().get("stage_one", "clip") in ("clip", "fit") else "checkpoint"


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
        return signature(self)


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
