"""Folders of weights: a download from the Hugging Face hub, or a folder in its cache, and the model that they state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from harness.base.errors import UserError
from harness.weights.activation import GELU, QUICK_GELU

OPEN_CLIP_CONFIG = "open_clip_config.json"
TRANSFORMERS_CONFIG = "config.json"
WEIGHT_NAMES = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "model.safetensors.index.json",
    "pytorch_model.bin", "pytorch_model.bin.index.json",
)  # fmt: skip
"""Names of weight files on the Hugging Face hub, first choice first."""
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
_MOST_CONFIG = 2**20
S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True)
class WeightFolder:
    """A folder of weights.

    Args:
        weights: The weight file in it.
        config: The configuration in it; None without one.
        activation: Activation that the configuration states; empty if it states none.
        heads: Attention heads of vision and text tower that transformers' configuration states; None without it.
    """

    weights: Path
    config: Path | None = None
    activation: str = ""
    heads: tuple[int, int] | None = None

    @property
    def is_open_clip(self) -> bool:
        """Whether open_clip's configuration states the whole model."""
        return self.config is not None and self.config.name == OPEN_CLIP_CONFIG


class _Tower(msgspec.Struct):
    # The value that transformers' CLIPConfig has where a file omits it.
    hidden_act: str = "quick_gelu"
    num_attention_heads: int = 0


class _Transformers(msgspec.Struct):
    model_type: str = ""
    vision_config: _Tower | None = None
    text_config: _Tower | None = None


class _OpenClipModel(msgspec.Struct):
    quick_gelu: bool = False


class _OpenClip(msgspec.Struct):
    model_cfg: _OpenClipModel


def open_folder(folder: Path) -> WeightFolder:
    """The weight file and the configuration of a folder.

    Raises:
        UserError: The folder holds no weight file or several, or its configuration is damaged or of another model.
    """
    snapshot = snapshot_of(folder)
    names = [name for name in WEIGHT_NAMES if (snapshot / name).is_file()]
    if names:
        weights = snapshot / names[0]
    else:
        files = sorted(p for p in snapshot.iterdir() if p.suffix in WEIGHT_SUFFIXES and p.is_file())
        if len(files) != 1:
            listed = ", ".join(p.name for p in files[:4]) or "none"
            raise UserError(
                f"The folder {folder} holds {len(files)} weight files ({listed}), expected one, or a file named "
                f"{' or '.join(WEIGHT_NAMES[:3])}.",
                "Give the weight file itself.",
            )
        weights = files[0]
    open_clip, transformers = snapshot / OPEN_CLIP_CONFIG, snapshot / TRANSFORMERS_CONFIG
    if open_clip.is_file():
        stated = _decoded(open_clip, _OpenClip)
        return WeightFolder(weights, open_clip, QUICK_GELU if stated.model_cfg.quick_gelu else GELU)
    if transformers.is_file():
        return _of_transformers(weights, transformers)
    return WeightFolder(weights)


def _of_transformers(weights: Path, file: Path) -> WeightFolder:
    config = _decoded(file, _Transformers)
    if config.model_type != "clip" or config.vision_config is None or config.text_config is None:
        raise UserError(
            f"{file} describes a model of the type {config.model_type or 'none'!r}, expected 'clip'.",
            "Give the folder of a CLIPModel, or open_clip's files of the model.",
        )
    towers = (config.vision_config, config.text_config)
    activations = {tower.hidden_act for tower in towers}
    if len(activations) != 1 or not activations <= {QUICK_GELU, GELU}:
        raise UserError(
            f"{file} states the activations {' and '.join(sorted(activations))}, expected quick_gelu or gelu in both "
            "towers.",
            "Choose other weights.",
        )
    heads = (towers[0].num_attention_heads, towers[1].num_attention_heads)
    return WeightFolder(weights, file, activations.pop(), heads if all(heads) else None)


def snapshot_of(folder: Path) -> Path:
    """The newest snapshot, if the folder is that of a repository in the cache of the Hugging Face hub."""
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return folder
    # The cache of the hub keeps older downloads; this file names the snapshot of the newest one.
    main = folder / "refs" / "main"
    if main.is_file() and (chosen := snapshots / main.read_text(encoding="utf-8").strip()).is_dir():
        return chosen
    revisions = sorted(p for p in snapshots.iterdir() if p.is_dir())
    if len(revisions) != 1:
        raise UserError(
            f"The folder {folder} holds {len(revisions)} snapshots, expected one.", "Give the folder of a snapshot."
        )
    return revisions[0]


def _decoded(file: Path, kind: type[S]) -> S:
    try:
        if file.stat().st_size > _MOST_CONFIG:
            raise ValueError(f"it has {file.stat().st_size} bytes, expected at most {_MOST_CONFIG}")
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (ValueError, RecursionError) as error:
        raise UserError(f"The configuration {file} is damaged: {error}.", "Download it again.") from None
