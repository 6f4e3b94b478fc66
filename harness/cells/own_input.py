"""The input settings that weights were trained with: statistics, resizing and interpolation, read without torch.

They come from, in this order: the entry of a pretrained tag in open_clip; the metadata of a file that this project
exported; `open_clip_config.json` in the folder of a weight file, as repositories of the hub have it; the tags of the
architecture if they agree; the defaults of open_clip.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from harness.base.errors import UserError
from harness.cells.open_clip_source import CLIP_INPUT, pretrained_tags
from harness.spec.views import InputSettings
from harness.weights.describe import is_path, path_of
from harness.weights.folder import OPEN_CLIP_CONFIG, open_folder
from harness.weights.hub import cached_snapshot, is_hub, repository_of
from harness.weights.read import MOST_HEADER

PUBLISHED = "openai"
"""Weights with which the tables of the built-in protocols were published."""
METADATA = "input"
"""Name of the entry in the metadata of exported files."""
_RESIZES = ("shortest", "squash", "longest")
_INTERPOLATIONS = ("bicubic", "bilinear")


@dataclass(frozen=True)
class OwnInput:
    """The input settings of weights and where they are stated.

    Args:
        settings: Statistics and resizing.
        source: The statement, in words.
        stated: Whether the weights state them; otherwise they follow from the architecture.
    """

    settings: InputSettings
    source: str
    stated: bool

    def replaces_published(self, weights: str) -> bool:
        """Whether the weights take their own input by default, in place of the input of a published table.

        Published tables were measured with OpenAI's weights. Weights that state no input take the published one too if
        their architecture has CLIP's input.
        """
        return weights != PUBLISHED and (self.stated or self.settings != CLIP_INPUT)


@dataclass(frozen=True)
class _Preprocess:
    """`preprocess_cfg` in a hub configuration; open_clip takes its defaults for missing entries."""

    mean: tuple[float, float, float] = CLIP_INPUT.mean  # type: ignore[assignment]  # three values
    std: tuple[float, float, float] = CLIP_INPUT.std  # type: ignore[assignment]  # three values
    resize_mode: str = CLIP_INPUT.resize
    interpolation: str = CLIP_INPUT.interpolation


@dataclass(frozen=True)
class _HubConfig:
    """`open_clip_config.json`, of which the preprocessing is read here."""

    preprocess_cfg: _Preprocess = _Preprocess()


def own_input(arch: str, weights: str) -> OwnInput:
    """The input settings of a tag, of a weight file, or of random weights.

    Args:
        arch: open_clip architecture.
        weights: Tag, path of a weight file, or `random`.

    Raises:
        UserError: The configuration of a weight file is not readable, or states settings that are not known.
    """
    tags = pretrained_tags().get(arch, {})
    if weights in tags:
        return OwnInput(tags[weights].input, f"open_clip's entry of the tag {weights}", True)
    path = _file_of(weights)
    if path is not None:
        if (exported := _exported(path)) is not None:
            return OwnInput(exported, f"the metadata of {path.name}", True)
        # Files of the hub's cache are links; their configuration lies beside the link.
        for folder in (path.parent, path.resolve().parent):
            if (file := folder / OPEN_CLIP_CONFIG).is_file():
                return OwnInput(_configured(file), f"{OPEN_CLIP_CONFIG} of the folder of {path.name}", True)
    settings = {tag.input for tag in tags.values()}
    if len(settings) == 1:
        return OwnInput(settings.pop(), f"all tags of {arch} in open_clip", False)
    return OwnInput(CLIP_INPUT, "open_clip's default", False)


def _file_of(weights: str) -> Path | None:
    """The weight file that a file, a folder or a repository of the hub on this machine has; None for other weights."""
    if is_hub(weights):
        folder = cached_snapshot(repository_of(weights))
        return open_folder(folder).weights if folder is not None else None
    if not is_path(weights):
        return None
    path = path_of(weights)
    return open_folder(path).weights if path.is_dir() else path


def checked_input(settings: InputSettings, source: str) -> InputSettings:
    """Input settings of a file, with known words and three channels.

    Raises:
        UserError: Another number of channels, a deviation of 0, or an unknown way to resize.
    """
    problems = [
        f"{name} is {value!r}, expected one of {', '.join(known)}"
        for name, value, known in (
            ("resize_mode", settings.resize, _RESIZES), ("interpolation", settings.interpolation, _INTERPOLATIONS),
        )
        if value not in known
    ]  # fmt: skip
    if len(settings.mean) != 3 or len(settings.std) != 3 or min(settings.std, default=0.0) <= 0:
        problems.append(f"mean and std are {settings.mean} and {settings.std}, expected three values, std above 0")
    if problems:
        raise UserError(f"The input settings in {source} are not known: {'; '.join(problems)}.", "Correct the file.")
    return settings


def _configured(file: Path) -> InputSettings:
    try:
        config = msgspec.json.decode(file.read_bytes(), type=_HubConfig).preprocess_cfg
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(
            f"{file} is not a configuration of open_clip: {error}.", "Restore the file, or move it away."
        ) from None
    settings = InputSettings(config.mean, config.std, config.resize_mode, config.interpolation)
    return checked_input(settings, str(file))


def _exported(path: Path) -> InputSettings | None:
    """The settings in the metadata of an exported safetensors file; None for other files."""
    try:
        with path.open("rb") as file:
            # A safetensors file begins with the length of its JSON header.
            size = int.from_bytes(file.read(8), "little")
            if not 2 <= size <= MOST_HEADER:
                return None
            # Before the header is read: the first bytes of another file are an arbitrary length.
            start = file.read(1)
            if start != b"{":
                return None
            header = msgspec.json.decode(start + file.read(size - 1), type=dict[str, dict[str, msgspec.Raw]])
            metadata = header.get("__metadata__", {}).get(METADATA)
            if metadata is None:
                return None
            text = msgspec.json.decode(metadata, type=str)
            return checked_input(msgspec.json.decode(text, type=InputSettings), str(path))
    except (OSError, msgspec.MsgspecError):
        return None  # not an exported file; the loader says what is wrong with it


def metadata_text(settings: InputSettings) -> str:
    """Input settings as the text of a metadata entry."""
    return msgspec.json.encode(asdict(settings)).decode()
