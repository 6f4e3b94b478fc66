"""A recogniser of a request: a config and a checkpoint, and the facts that a plan needs. Without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.canonical import JsonValue
from harness.base.errors import UserError, unknown_name
from harness.data.lists.class_names import read_class_names
from harness.engine.model.own_network import identity, require_decoded, weights_name
from harness.engine.model.recognizer_config import RANDOM, SHORT, RecognizerConfig, Short, read_cached
from harness.spec import Views
from results.measurement import ModelId

if TYPE_CHECKING:
    from harness.engine.model.recognizer import RecognizerModel


@dataclass(frozen=True)
class Recognizer:
    """A config and a checkpoint of a recogniser that is not built yet.

    Args:
        config: The config.
        checkpoint: A weight file, or `random`.
    """

    config: RecognizerConfig
    checkpoint: str

    is_mini = False

    def views_of(self, views: Views) -> Views:
        """Return a protocol's views with this model's frames and without normalisation, which the model does itself."""
        config = self.config
        clips = config.short.clips or views.clips
        of_segments = "centre" if clips == 1 else "uniform"
        sampling = f"dense:{config.stride}" if config.is_3d else of_segments
        return replace(views, frames=config.frames, clips=clips, sampling=sampling, normalize="raw")

    def check_views(self, views: Views) -> None:
        """Refuse views that the model cannot take.

        Raises:
            UserError: The views have another number of frames, or normalise the frames.
        """
        require_decoded(self.config.name, self.config.frames, views)

    def slug(self) -> str:
        """Return a folder name."""
        return f"{self.config.name}-{self.weights_name}"

    @property
    def weights_name(self) -> str:
        """`random`, or the stem of the checkpoint's file."""
        return weights_name(self.checkpoint)

    def model_id(self) -> ModelId:
        """Return the identity of the model: hashes of the config's and of the checkpoint's content, not their paths."""
        config = self.config
        # Training settings of a config have no influence on scores and are not part of the identity.
        content: list[JsonValue] = [config.model, config.frames, config.size]  # type: ignore[list-item]
        return identity(config.name, content, self.checkpoint)

    def load(self) -> RecognizerModel:
        """Build the model and load its weights; `random` weights are drawn from seed 0.

        Raises:
            UserError: mmaction2 cannot build the model, or the checkpoint is missing, damaged or of another model.
        """
        from harness.engine.model.recognizer import load_recognizer  # imports torch, which a plan does not need

        return load_recognizer(self.config, None if self.checkpoint == RANDOM else Path(self.checkpoint))


def find_recognizer(config: str, checkpoint: str) -> Recognizer:
    """Return the recogniser of a short name, of the stem of a shipped config, or of the file of a config.

    Args:
        config: The short name, stem or path.
        checkpoint: Path of a weight file, or `random`.

    Raises:
        UserError: The config is missing, unknown or of another kind of model, or the checkpoint is missing.
    """
    from harness.engine.video.mm_configs import KINDS, shipped_configs, weights_address

    if not config:
        raise UserError(
            "mmaction2 needs the config of a recogniser, and none is given.",
            f"Give a config, e.g. mmaction2:config=uniformer-b-32,checkpoint=FILE. Short names: {', '.join(SHORT)}.",
        )
    short = SHORT.get(config, Short(config))
    path = Path(config) if config.endswith(".py") else shipped_configs().get(short.config)
    if path is None:
        raise unknown_name("recogniser", config, [*SHORT, *shipped_configs()])
    if not path.is_file():
        raise UserError(f"The config {path} does not exist.", f"Short names: {', '.join(SHORT)}.")
    kind = read_cached(path).get("model", {}).get("type")
    if kind not in KINDS:
        raise UserError(f"The config {path} holds a {kind}, expected one of {', '.join(KINDS)}.")
    if checkpoint != RANDOM and not Path(checkpoint).is_file():
        problem = f"the checkpoint {checkpoint} does not exist" if checkpoint else "none is given"
        # A short name with other frames has no published weights: those of the config do not fit its positions.
        address = None if short.frames else weights_address(path)
        raise UserError(f"{config} needs the weights of a checkpoint; {problem}.", _weights_hint(config, address))
    name = Path(config).stem if config.endswith(".py") else config
    return Recognizer(RecognizerConfig(name, path.resolve(), short), checkpoint)


def read_fixed_classes(path: Path) -> tuple[str, ...]:
    """Return the names of a head's classes in the order of its outputs, from a file of lines or a CSV `id,name`.

    Raises:
        UserError: The file is missing or malformed.
    """
    return read_class_names(path).names


def _weights_hint(config: str, address: str | None) -> str:
    source = f"Fetch {address}" if address else "mmaction2 offers none for it: use your own"
    given = f"mmaction2:config={config},checkpoint="
    return f"{source}, and give its path: {given}FILE. To run the pipeline without weights: {given}{RANDOM}."
