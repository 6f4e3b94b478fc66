"""CLIP models through open_clip: any architecture with a pretrained tag, a local file, or the embedded tiny model."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.pretrained import get_pretrained_cfg
from open_clip.transformer import QuickGELU
from torch import Tensor

from harness.base.errors import UserError, unknown_name
from harness.cells.architectures import require_transformers
from harness.cells.backbone import BackboneChoice
from harness.cells.open_clip_source import canonical_tag, computes_quick_gelu
from harness.engine.model.clip_model import Backbone, BackboneFacts
from harness.engine.model.from_file import Base, FileChoice, created_arch, read_model
from harness.engine.model.offline import stay_offline_without_network
from harness.engine.model.published_weights import clip_state, fit_names
from harness.engine.model.tag_files import TagConfig, checksum_notes, find_tag_file, hub_folder
from harness.engine.model.tokenizer import tokenizer_of
from harness.engine.model.towers import NOT_IN_FEATURES
from harness.engine.model.weights import state_sha256, strict_load
from harness.weights.activation import require_activation, require_known
from harness.weights.describe import INFERRED, describe, is_path
from harness.weights.folder import WEIGHT_SUFFIXES
from harness.weights.hub import is_hub

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import ClipModel

MINI = "mini-clip"
DEFAULT_ARCH = "ViT-B-16"
DEFAULT_WEIGHTS = "openai"

__all__ = [
    "DEFAULT_ARCH", "DEFAULT_WEIGHTS", "MINI", "Backbone", "BackboneFacts", "as_backbone", "clip_from_openai_names",
    "create_clip", "load_backbone",
]  # fmt: skip


def load_backbone(
    arch: str | None = None,
    weights: str | Path | None = None,
    weights_dir: Path | None = None,
    base: str | Path | None = None,
    activation: str | None = None,
    of_method: bool = False,
) -> Backbone:
    """Return a CLIP model in fp32 and eval mode.

    Args:
        arch: An open_clip architecture (`ViT-B-16`), `mini-clip` for the embedded tiny model, or None to infer the
            architecture from a state dict with OpenAI's names.
        weights: An open_clip pretrained tag (`openai`, `laion2b_s34b_b88k`), a path (safetensors, OpenAI's archive, a
            state dict, the index of a sharded file, a published ViFi-CLIP `.pth`, a folder of the Hugging Face hub),
            `hf-hub:ORG/NAME`, `local-dir:DIR`, or `random` (drawn from seed 0; for checks without accuracy).
        weights_dir: Folder that is searched for the file of a tag before the file is downloaded.
        base: CLIP weights (tag or path) from which a published ViFi-CLIP file was tuned; None for `openai`. Published
            ViFi-CLIP files lack the token embedding, which is taken from these weights.
        activation: `quickgelu` or `gelu`, required for files that do not state it; `arch` states QuickGELU if its name
            ends with `-quickgelu`.
        of_method: Whether the file is a checkpoint of a method, whose own tensors are then left out.

    Raises:
        UserError: The architecture or tag is unknown, the weights are not available or do not fit, their activation is
            unknown, or they were trained with another activation.
    """
    if arch == MINI or (arch is None and weights == MINI):
        if weights not in (None, MINI):
            raise UserError(
                f"weights is {str(weights)!r}, but {MINI} is the embedded tiny CLIP with weights of its own.",
                "Leave the weights out, or name another architecture.",
            )
        if activation is not None:
            raise UserError(f"activation is {activation!r}, but {MINI} has its own.", "Leave the activation out.")
        return _mini()
    if weights is None:
        weights = DEFAULT_WEIGHTS
    if isinstance(weights, Path) or is_path(weights) or Path(weights).suffix in WEIGHT_SUFFIXES:
        choice = FileChoice(str(weights), arch, activation, None if base is None else str(base), of_method)
        return _from_file(choice, weights_dir)
    if is_hub(weights):
        folder = hub_folder(weights, weights_dir)
        choice = FileChoice(str(folder), arch, activation, None if base is None else str(base))
        backbone = _from_file(choice, weights_dir)
        backbone.file = describe(folder).file.path
        return backbone
    arch = arch or DEFAULT_ARCH
    if arch not in open_clip.list_models():
        raise unknown_name("architecture", arch, open_clip.list_models())
    tokenizer_of(arch)  # before weights are read: a missing package or file must cost no time
    if weights == "random":
        return _random(arch, quick_gelu=activation is not None and require_known(activation) == "quickgelu")
    return _from_tag(arch, weights, weights_dir, activation)


def _random(arch: str, quick_gelu: bool) -> Backbone:
    # The weights are drawn on the CPU. Without `devices=[]` torch would save and restore the generator of every GPU.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with _empty_is_nan():
            clip = create_clip(arch, quick_gelu)
        _initialise_empty(clip)
    return as_backbone(clip, arch, "random")


@contextlib.contextmanager
def _empty_is_nan() -> Iterator[None]:
    """Let `torch.empty` give NaN, so that tensors without initial values are found and equal in every process."""
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)


def _initialise_empty(clip: ClipModel) -> None:
    """Draw the tensors that open_clip leaves as `torch.empty`, such as the projection of CoCa's caption decoder."""
    with torch.no_grad():
        for parameter in clip.parameters():
            if not parameter.isfinite().all():
                parameter.normal_(std=0.02)


def create_clip(arch: str, quick_gelu: bool, device: str = "cpu") -> ClipModel:
    """Return a model of an open_clip architecture with initial values; on the device `meta` without values.

    Raises:
        UserError: The text tower comes from Hugging Face, and the package `transformers` or the configuration of the
            tower is missing.
    """
    require_transformers(arch)
    tower = (open_clip.get_model_config(arch) or {})["text_cfg"].get("hf_model_name")
    if tower:
        stay_offline_without_network()
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns about models without pretrained weights
    try:
        # As default device, because open_clip builds a model on the CPU before it moves it: 4 GiB for a ViT-H/14.
        with torch.device(device):
            clip: ClipModel = open_clip.create_model(
                arch,
                pretrained=None,
                device=device,
                force_quick_gelu=quick_gelu,
                pretrained_image=False,
                pretrained_text=False,
            )
        return clip
    except OSError as error:
        if not tower:
            raise
        raise UserError(
            f"The configuration of the text tower {tower} of {arch} could not be read: {str(error).split('.')[0]}.",
            f"Save config.json of https://huggingface.co/{tower} in the hub's cache: on a machine with network `hf "
            f"download {tower} config.json`, then copy the folder (HF_HUB_CACHE).",
        ) from None
    finally:
        logging.getLogger().setLevel(level)


def _from_tag(arch: str, tag: str, weights_dir: Path | None, activation: str | None) -> Backbone:
    tag = canonical_tag(arch, tag)
    config: TagConfig = get_pretrained_cfg(arch, tag)
    if not config:
        tags = open_clip.list_pretrained_tags_by_model(arch)
        raise unknown_name(f"pretrained tag of {arch}", tag, tags)
    has_quick = bool((open_clip.get_model_config(arch) or {}).get("quick_gelu", False))
    wants_quick = computes_quick_gelu(arch, bool(config.get("quick_gelu", False)))
    # Weights run with the other activation give accuracies that are a little too low, and no error.
    if has_quick and not wants_quick:
        raise UserError(
            f"{arch} computes QuickGELU, but the weights {tag!r} were trained with GELU.",
            f"Use --arch {arch.removesuffix('-quickgelu')}.",
        )
    if activation is not None and (require_known(activation) == "quickgelu") != wants_quick:
        raise UserError(
            f"activation is {activation!r}, but the weights {tag!r} of {arch} were trained with "
            f"{'QuickGELU' if wants_quick else 'GELU'}.",
            "Leave the activation out.",
        )
    # Read here rather than by open_clip: strictly, and with one reader for the formats of all tags.
    path = find_tag_file(arch, tag, config, weights_dir)
    described = describe(path)
    require_activation(str(path), described.statement, wants_quick)
    clip = create_clip(arch, quick_gelu=wants_quick)
    strict_load(clip, fit_names(clip, clip_state(described)), f"{arch}/{tag} ({path.name})")
    backbone = as_backbone(clip, arch, tag)
    backbone.file = path
    backbone.notes = checksum_notes(path, config)
    return backbone


def _from_file(choice: FileChoice, weights_dir: Path | None) -> Backbone:
    model = read_model(choice)
    arch = model.arch
    if model.base is not None:
        base = _base_of(model.base, weights_dir)
        clip, arch = base.clip, base.facts.arch
    elif arch == INFERRED:
        described = model.described
        clip = clip_from_openai_names(model.state, described.given, model.quick_gelu, described.heads)
    else:
        clip = create_clip(created_arch(arch), model.quick_gelu)
    notes = model.fill(clip)
    backbone = as_backbone(clip, arch, model.described.file.path.name, model.described.file.path)
    backbone.notes = notes
    return backbone


def _base_of(base: Base, weights_dir: Path | None) -> Backbone:
    try:
        backbone = load_backbone(base.arch, base.weights, weights_dir, activation=base.activation)
    except UserError as error:
        raise base.missing(error) from None
    base.require_quick_gelu(backbone.facts.quick_gelu)
    return backbone


def clip_from_openai_names(
    state: Mapping[str, Tensor], what: str = "the state dict", quick_gelu: bool = True,
    heads: tuple[int, int] | None = None,
) -> ClipModel:  # fmt: skip
    """Return an untrained CLIP of the sizes of a state dict with OpenAI's names.

    Args:
        state: Tensors by name.
        what: Name of the state dict in the error.
        quick_gelu: Activation of the blocks: QuickGELU as in OpenAI's models, or GELU.
        heads: Attention heads of vision and text tower; None for heads of width 64, as in OpenAI's models.

    Raises:
        UserError: A tensor that determines a size is missing.
    """
    try:
        width, _, patch, _ = state["visual.conv1.weight"].shape
        # One position belongs to the class token; the patches form a square.
        grid = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
        text_width = state["ln_final.weight"].shape[0]
        vocabulary = state["token_embedding.weight"].shape[0]
        context = state["positional_embedding"].shape[0]
        embed_dim = state["text_projection"].shape[1]
    except (KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"The sizes of CLIP cannot be read from {what}: {error} is missing or has another shape.",
            "Give the architecture with --arch.",
        ) from None
    # The numbers of layers are the numbers of different block indices in the names.
    vision_layers = len({n.split(".")[3] for n in state if n.startswith("visual.transformer.resblocks.")})
    text_layers = len({n.split(".")[2] for n in state if n.startswith("transformer.resblocks.")})
    if heads is None and (width % 64 or text_width % 64):
        raise UserError(
            f"The attention heads of {what} are unknown: its towers have the widths {width} and {text_width}, which "
            "are not multiples of 64, and no tensor states the number of heads.",
            "Give the architecture with --arch.",
        )
    vision_heads, text_heads = heads or (width // 64, text_width // 64)
    vision = CLIPVisionCfg(
        layers=vision_layers, width=width, patch_size=patch, image_size=grid * patch, head_width=width // vision_heads
    )
    text = CLIPTextCfg(
        # No tensor states the number of heads. OpenAI's build_model (clip/model.py) divides by 64 as well.
        context_length=context,
        vocab_size=vocabulary,
        width=text_width,
        heads=text_heads,
        layers=text_layers,
    )
    clip: ClipModel = CLIP(embed_dim, vision, text, quick_gelu=quick_gelu)
    return clip


def _mini() -> Backbone:
    # A copy takes a tenth of the time of a new model, and a run loads the model once for each cell.
    return copy.deepcopy(_mini_prototype())


@functools.cache
def _mini_prototype() -> Backbone:
    from harness.data.embedded.render import load_mini_clip_state

    state = {name: torch.from_numpy(value).float() for name, value in load_mini_clip_state().items()}
    clip = clip_from_openai_names(state, "the embedded weights")
    strict_load(clip, state, "the embedded weights")
    return as_backbone(clip, MINI, "embedded")


def as_backbone(clip: ClipModel, arch: str, weights: str, file: Path | None = None) -> Backbone:
    """Return a backbone of an open_clip model, which is set to fp32 and eval mode.

    Args:
        clip: The open_clip model.
        arch: Name of its architecture for records.
        weights: Name of its weights for records.
        file: The weight file if the weights are not a tag; it may state its input.
    """
    # OpenAI's files are float16. Fits need fp32 master weights; autocast lowers the precision of products.
    clip = clip.float().eval()
    for name, parameter in clip.named_parameters():
        parameter.requires_grad_(not name.startswith(NOT_IN_FEATURES))
    size = clip.visual.image_size
    choice = BackboneChoice(MINI, None) if arch == MINI else BackboneChoice(_listed(arch), str(file or weights))
    facts = BackboneFacts(
        name=MINI if arch == MINI else f"{arch}/{weights}",
        arch=arch,
        weights=weights,
        weights_sha256=state_sha256(dict(clip.state_dict())),
        image_size=int(size[0] if isinstance(size, (tuple, list)) else size),
        quick_gelu=any(isinstance(m, QuickGELU) for m in clip.modules()),
        input=choice.own_input.settings,
        published_input=choice.takes_published_input,
    )
    return Backbone(clip, facts)


def _listed(arch: str) -> str | None:
    """An architecture of open_clip; None for a model that was built in another way."""
    return arch if arch in open_clip.list_models() else None
