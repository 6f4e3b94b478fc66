"""Weight files and folders of weights as CLIP models: their architecture, their activation and their tensors."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import open_clip
from torch import Tensor, nn

from harness.base.errors import UserError, unknown_name
from harness.engine.model.published_weights import clip_state, fit_names
from harness.engine.model.resize import resize_positions
from harness.engine.model.weights import strict_load
from harness.weights.activation import QUICK_GELU, decide
from harness.weights.describe import INFERRED, Description, describe, is_path
from harness.weights.sizes import QUICK_SUFFIX

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import ClipModel


@dataclass(frozen=True)
class FileChoice:
    """A weight file and the settings that complete it.

    Args:
        weights: Path of a file or folder, or `local-dir:` and a folder.
        arch: Architecture; None to take that of the file.
        activation: `quickgelu`, `gelu`, or None where the file or the architecture states it.
        base: CLIP weights that complete a file of ViFi-CLIP: a tag or a file; None for `openai`.
        of_method: Whether the file is the checkpoint of a method, whose own tensors are left out here.
    """

    weights: str
    arch: str | None = None
    activation: str | None = None
    base: str | None = None
    of_method: bool = False


@dataclass(frozen=True)
class FileModel:
    """The model that a weight file needs, and its weights.

    Args:
        described: The file.
        arch: Name of the architecture; `inferred` for the sizes of the file, empty if the base decides.
        quick_gelu: Whether the towers compute QuickGELU.
        state: CLIP's tensors under OpenAI's names.
        base: Base of a file that lacks tensors of CLIP; None for a file that holds all of CLIP.
    """

    described: Description
    arch: str
    quick_gelu: bool
    state: dict[str, Tensor]
    base: Base | None = None

    def fill(self, clip: ClipModel) -> tuple[str, ...]:
        """Load the weights into a model of the architecture; returns the changes that were made to them.

        Raises:
            UserError: The weights do not fit the model.
        """
        _require_heads(self.described, clip, self.arch)
        state = fit_names(clip, self.state)
        # A model that is not named has the sizes of the file.
        notes = resize_positions(clip, state) if self.arch != INFERRED else ()
        strict_load(clip, state, self.described.given, self.described.published.absent)
        return notes


@dataclass(frozen=True)
class Base:
    """The CLIP weights from which a file of ViFi-CLIP was tuned: they have the token embedding, which it lacks.

    Args:
        arch: Architecture; None to take that of a file.
        weights: Tag or file.
        activation: `quickgelu` for a file; None for a tag, which states its activation.
        asked_by: The file that is completed, for messages.
    """

    arch: str | None
    weights: str
    activation: str | None
    asked_by: str

    def missing(self, error: UserError) -> UserError:
        """An error about the base with the reason why it is needed."""
        return UserError(
            f"{self.asked_by} lacks the token embedding, which the CLIP weights {self.weights} have. {error.message}",
            f"Name CLIP weights with --base TAG|FILE. {error.hint}",
        )

    def require_quick_gelu(self, quick_gelu: bool) -> None:
        """Refuse a base with another activation.

        Raises:
            UserError: The base computes GELU.
        """
        if not quick_gelu:
            raise UserError(
                f"{self.asked_by} needs QuickGELU, but --base {self.weights} computes GELU.",
                "Give OpenAI's weights of the same architecture.",
            )


def read_model(choice: FileChoice) -> FileModel:
    """Read a weight file, and find the model that it needs.

    Raises:
        UserError: The file is damaged or holds more than CLIP, or its activation is unknown or contradicted.
    """
    described = describe(choice.weights)
    _require_clip(described, choice)
    quick_gelu = decide(described.given, described.statement, choice.arch, choice.activation) == QUICK_GELU
    if not described.is_complete:
        base = _base(described, choice)
        return FileModel(described, base.arch or "", quick_gelu, clip_state(described), base)
    if choice.base is not None:
        raise UserError(
            f"--base is {choice.base}, but {described.given} ({described.title}) holds all of CLIP.",
            "Leave --base out: it completes files of ViFi-CLIP.",
        )
    arch = choice.arch or _of_config(described) or described.architecture(QUICK_GELU if quick_gelu else "") or INFERRED
    if arch != INFERRED and created_arch(arch) not in open_clip.list_models():
        raise unknown_name("architecture", arch, open_clip.list_models())
    return FileModel(described, arch, quick_gelu, clip_state(described))


def created_arch(arch: str) -> str:
    """The architecture of open_clip behind a name: `NAME-quickgelu` is understood for all, open_clip lists some."""
    return arch if arch in open_clip.list_models() else arch.removesuffix(QUICK_SUFFIX)


def _base(described: Description, choice: FileChoice) -> Base:
    base = choice.base or "openai"
    asked_by = f"{described.given} ({described.title})"
    if is_path(base):
        return Base(choice.arch, base, "quickgelu", asked_by)
    return Base(choice.arch or described.architecture(QUICK_GELU) or None, base, None, asked_by)


def _require_clip(described: Description, choice: FileChoice) -> None:
    """Refuse files that hold more than CLIP."""
    published = described.published
    if published.own and not choice.of_method:
        raise UserError(
            f"{described.given} holds {len(published.own)} tensors of a method, not CLIP alone ({described.title}; "
            f"first: {min(published.own)}).",
            "Name the method and give the file with --checkpoint (Python: load_published(method, path)).",
        )
    if published.family == "tcclip":
        raise UserError(f"{described.given} is a checkpoint of TC-CLIP, not CLIP alone.", "Give the weights of CLIP.")


def _require_heads(described: Description, clip: ClipModel, arch: str) -> None:
    """Refuse a configuration with other attention heads than the architecture."""
    heads = attention_heads(clip)
    if described.heads is not None and heads is not None and heads != described.heads:
        raise UserError(
            f"{described.given} states {described.heads[0]} and {described.heads[1]} attention heads, {arch} has "
            f"{heads[0]} and {heads[1]}.",
            "Give the architecture of the weights with --arch.",
        )


def attention_heads(clip: ClipModel) -> tuple[int, int] | None:
    """Attention heads of vision and text tower, which no tensor states; None for towers of other kinds."""
    text = clip if hasattr(clip, "transformer") else getattr(clip, "text", None)
    heads = []
    for tower in (clip.visual, text):
        blocks = getattr(getattr(tower, "transformer", None), "resblocks", None)
        attention = getattr(blocks[0], "attn", None) if blocks else None
        if isinstance(attention, nn.MultiheadAttention):
            heads.append(attention.num_heads)
    return (heads[0], heads[1]) if len(heads) == 2 else None


def _of_config(described: Description) -> str:
    """The name of the model in open_clip's configuration of a folder; empty without one.

    A model that open_clip does not list is added to its table, under a name that holds the hash of the configuration.
    """
    if described.folder is None or described.folder.config is None or not described.folder.is_open_clip:
        return ""
    content = described.folder.config.read_bytes()
    config = json.loads(content)["model_cfg"]
    for name in open_clip.list_models():
        if open_clip.get_model_config(name) == config:
            return str(name)
    name = f"config-{hashlib.sha256(content).hexdigest()[:8]}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        open_clip.add_model_config(file)
    if name not in open_clip.list_models():
        raise UserError(
            f"{described.folder.config} describes no model of open_clip: embed_dim, vision_cfg or text_cfg is missing.",
            "Download the file again.",
        )
    return name
