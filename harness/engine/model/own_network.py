"""Video networks of methods that use no CLIP: settings and a checkpoint, known before the network is built.

`Recognizer` (harness.engine.model.chosen_recognizer) is the counterpart for mmaction2. No torch is imported here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.canonical import JsonValue, canonical_json
from harness.base.errors import UserError
from harness.base.files import cached_file_sha256
from harness.engine.model.recognizer_config import RANDOM
from harness.spec import Views
from results.measurement import ModelId

if TYPE_CHECKING:
    from torch import nn

    from harness.engine.model.network_model import NetworkModel


@dataclass(frozen=True)
class NetworkInput:
    """The views that a video network takes. Frames are passed as decoded, and the network normalises them.

    Args:
        frames: Frames per view.
        size: Side of the square input in pixels.
        sampling: Sampling of the frames, as in `Views.sampling`.
        clips: Temporal views; None for the number of the protocol.
        resize: Resizing before the crops, as in `Views.resize`.
        reader: Reader of the videos, as in `Views.reader`; empty for that of the protocol.
    """

    frames: int
    size: int
    sampling: str
    clips: int | None = None
    resize: str = "published"
    reader: str = ""


@dataclass(frozen=True)
class OwnNetwork:
    """A video network with a checkpoint, as `MethodSpec.own_model` returns it.

    Args:
        name: Name of the network.
        input: The views that it takes.
        classes: Number of outputs.
        settings: Settings of the network that decide its scores; their hash is part of the model's identity.
        checkpoint: A weight file, or `random`.
        build: Returns the network with initial values: a module from videos (B, T, 3, H, W), RGB 0..255, to scores
            (B, C).
        unused: Prefixes of the tensors that checkpoints hold and the network does not have.
    """

    name: str
    input: NetworkInput
    classes: int
    settings: tuple[tuple[str, str | int | float | bool], ...]
    checkpoint: str
    build: Callable[[], nn.Module] = field(compare=False)
    unused: tuple[str, ...] = ()

    is_mini = False

    def require_checkpoint(self, hint: str) -> None:
        """Refuse a checkpoint that is not a file.

        Raises:
            UserError: None is given, or there is no such file.
        """
        if self.checkpoint == RANDOM or Path(self.checkpoint).is_file():
            return
        problem = f"the checkpoint {self.checkpoint} does not exist" if self.checkpoint else "none is given"
        raise UserError(f"{self.name} needs the weights of a checkpoint; {problem}.", hint)

    def views_of(self, views: Views) -> Views:
        """Return a protocol's views with the network's frames, sampling, resizing and reader, without normalisation."""
        own = self.input
        clips, reader = own.clips or views.clips, own.reader or views.reader
        return replace(
            views, frames=own.frames, clips=clips, sampling=own.sampling, resize=own.resize, reader=reader,
            normalize="raw",
        )  # fmt: skip

    def check_views(self, views: Views) -> None:
        """Refuse views with another number of frames, or with normalised frames.

        Raises:
            UserError: The network cannot take the views.
        """
        require_decoded(self.name, self.input.frames, views)

    def slug(self) -> str:
        """Return a folder name."""
        return f"{self.name}-{self.weights_name}"

    @property
    def weights_name(self) -> str:
        """`random`, or the stem of the checkpoint's file."""
        return weights_name(self.checkpoint)

    def model_id(self) -> ModelId:
        """Return the identity of the model: hashes of its settings and of the content of the checkpoint."""
        content: list[JsonValue] = [dict(self.settings), self.input.frames, self.input.size, self.classes]
        return identity(self.name, content, self.checkpoint)

    def load(self) -> NetworkModel:
        """Build the network and load its weights; `random` weights are drawn from seed 0.

        Raises:
            UserError: The checkpoint is missing, damaged or of another network.
        """
        from harness.engine.model.network_model import load_network  # imports torch, which a plan does not need

        return load_network(self)


def require_decoded(name: str, frames: int, views: Views) -> None:
    """Refuse views with another number of frames than a model takes, or with normalised frames.

    Raises:
        UserError: The model cannot take the views.
    """
    if views.frames != frames or views.normalize != "raw":
        raise UserError(
            f"{name} takes {frames} frames as decoded (normalize=raw), found {views}.",
            "Leave frames and normalize out of --views.",
        )


def weights_name(checkpoint: str) -> str:
    """`random`, or the stem of a checkpoint's file."""
    return RANDOM if checkpoint == RANDOM else Path(checkpoint).stem


def identity(name: str, content: list[JsonValue], checkpoint: str) -> ModelId:
    """Return the identity of a model with a checkpoint: hashes of its settings and of the checkpoint, not its path.

    Args:
        name: Name of the model.
        content: Settings that decide scores.
        checkpoint: A weight file, or `random`.
    """
    settings_sha256 = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    if checkpoint == RANDOM:
        return ModelId(name, RANDOM, settings_sha256)
    return ModelId(name, f"sha256:{cached_file_sha256(Path(checkpoint).resolve())}", settings_sha256)
