"""CLIP, loaded through open_clip: any architecture, any pretrained tag, a local file, or the embedded tiny model."""

from __future__ import annotations

import functools
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.pretrained import download_pretrained, get_pretrained_cfg
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn

from harness.engine.published_weights import load_clip, read_published
from harness.engine.weights import read_metadata, read_weights, state_sha256, strict_load
from harness.errors import UserError, unknown_name

MINI = "mini-clip"
DEFAULT_ARCH = "ViT-B-16"
DEFAULT_WEIGHTS = "openai"


@dataclass(frozen=True)
class BackboneFacts:
    """What a record says of a backbone. `weights_sha256` is over the tensors, not the file."""

    name: str
    arch: str
    weights: str
    weights_sha256: str
    image_size: int
    quick_gelu: bool


class Backbone(nn.Module):
    """A CLIP model with the hooks that video methods need.

    Attributes:
        clip: The open_clip model.
        facts: Name, architecture, weights and their hash.
        embed_dim: Joint dimension D.
        image_size: Side of the square input in pixels.
    """

    def __init__(self, clip: nn.Module, facts: BackboneFacts) -> None:
        super().__init__()
        self.clip = clip
        self.facts = facts
        self.image_size = facts.image_size
        self.embed_dim = int(_output_dim(clip))

    @property
    def text(self) -> Any:
        """The text tower: the CLIP model itself where open_clip keeps the text modules at its top level."""
        return self.clip if hasattr(self.clip, "token_embedding") else getattr(self.clip, "text", None)

    @property
    def visual(self) -> Any:
        """open_clip's vision tower."""
        return self.clip.visual

    @property
    def logit_scale(self) -> nn.Parameter:
        """The learned log temperature, a scalar parameter."""
        return cast(nn.Parameter, self.clip.logit_scale)

    def require_vit(self, method: str) -> VisionTransformer:
        """The vision tower, if it is a plain ViT with a class token; other towers cannot host prompts or messages."""
        visual = self.visual
        if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None or visual.pool_type != "tok":
            raise UserError(
                f"{method} changes the inside of a vision transformer; "
                f"{self.facts.arch} has a {type(visual).__name__}.",
                "Choose a ViT with a class token, such as ViT-B-16.",
            )
        return visual

    def require_causal_text(self, method: str) -> None:
        """Refuse a text tower that is not CLIP's own: prompts go into a causal transformer read at its end token.

        Raises:
            UserError: The architecture has another text tower.
        """
        if not self.has_causal_text:
            raise UserError(
                f"{method} changes the inside of CLIP's text transformer; {self.facts.arch} has another text tower.",
                "Choose an architecture with CLIP's own text tower, such as ViT-B-16.",
            )

    @property
    def vision_blocks(self) -> Any:
        """The residual blocks of a ViT, first to last; each maps (N, L, width) to the same shape."""
        return self.visual.transformer.resblocks

    @property
    def text_blocks(self) -> Any:
        """The residual blocks of the text tower, first to last."""
        return self.text.transformer.resblocks

    def text_parameters(self) -> list[nn.Parameter]:
        """All parameters that text features can depend on."""
        skip = ("visual.", "logit_scale", "logit_bias")
        return [p for n, p in self.clip.named_parameters() if not n.startswith(skip)]

    def embed_patches(self, images: Tensor) -> Tensor:
        """Class and patch tokens with positions, before `ln_pre`: (N, 3, H, W) -> (N, 1 + P, width)."""
        visual = self.visual
        x = visual.conv1(images).flatten(2).transpose(1, 2)
        cls = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        return torch.cat([cls, x], dim=1) + visual.positional_embedding.to(x.dtype)

    def project_class_token(self, x: Tensor) -> Tensor:
        """Image features of the class token after the last block: (N, L, width) -> (N, D), not normalised."""
        return self.visual.ln_post(x[:, 0]) @ self.visual.proj

    def encode_images(self, images: Tensor) -> Tensor:
        """Image features (N, 3, H, W) -> (N, D), not normalised."""
        features = self.visual(images)
        return features[0] if isinstance(features, tuple) else features

    def tokenize(self, texts: tuple[str, ...]) -> Tensor:
        """Token ids (C, context), zero padded.

        Raises:
            UserError: A text has more tokens than the context (open_clip would cut it silently).
        """
        return _tokenize(self.facts.arch, self.context_length, texts)

    @property
    def context_length(self) -> int:
        """Longest text in tokens, 77 for CLIP."""
        return int(getattr(self.text, "context_length", None) or getattr(self.clip, "context_length", 77))

    @property
    def has_causal_text(self) -> bool:
        """Whether the text tower is CLIP's: causal, read at the end-of-text token. Only then may texts be shortened."""
        text = self.text
        pool = getattr(text, "text_pool_type", None) or getattr(text, "pool_type", None)
        return hasattr(text, "token_embedding") and text.attn_mask is not None and pool == "argmax"

    def embed_tokens(self, tokens: Tensor, half: bool = False) -> Tensor:
        """Token embeddings without positions: (C, L) -> (C, L, text width).

        Args:
            tokens: Ids.
            half: Round to float16 and back, as ViFi-CLIP does when it stores its prompts in a buffer.
        """
        x = self.text.token_embedding(tokens)
        return x.half().to(x.dtype) if half else x

    def encode_embedded_text(
        self, x: Tensor, end: Tensor, before_block: Callable[[int, Tensor], Tensor] | None = None
    ) -> Tensor:
        """Text features of embedded tokens: (C, L, width), end positions (C,) -> (C, D), not normalised.

        L may be shorter than the context: attention is causal and only the end token is read, so what stands behind
        the longest text cannot influence the result.

        Args:
            x: Embedded tokens without positions.
            end: Position of each end token.
            before_block: Changes the tokens before a block: called with the block's number and (C, L, width).
        """
        text = self.text
        length = x.shape[1]
        x = x + text.positional_embedding[:length].to(x.dtype)
        mask = text.attn_mask[:length, :length]
        if before_block is None:
            return self.project_end_token(text.transformer(x, attn_mask=mask), end)
        for number, block in enumerate(self.text_blocks):
            x = block(before_block(number, x), attn_mask=mask)
        return self.project_end_token(x, end)

    def project_end_token(self, x: Tensor, end: Tensor) -> Tensor:
        """Text features of the end-of-text tokens after the last block: (C, L, width), (C,) -> (C, D)."""
        text = self.text
        x = text.ln_final(x)
        pooled = x[torch.arange(len(x), device=x.device), end]
        projection = text.text_projection
        return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection

    def encode_texts(self, texts: tuple[str, ...], half: bool = False) -> Tensor:
        """Text features (C, D) of raw texts, not normalised, encoded only up to the longest text.

        Args:
            texts: One text per row.
            half: Round token embeddings to float16, as `embed_tokens` does; without effect on other text towers.
        """
        tokens = self.tokenize(texts)
        device = self.logit_scale.device
        if not self.has_causal_text:
            return self.clip.encode_text(tokens.to(device))  # type: ignore[operator]
        end = tokens.argmax(dim=-1)
        tokens = tokens[:, : int(end.max()) + 1].to(device)  # cut before the move: reading a length from a GPU waits
        return self.encode_embedded_text(self.embed_tokens(tokens, half), end.to(device))

    def load_checkpoint(self, path: Path) -> None:
        """Put a published checkpoint's CLIP weights in place of this model's, strictly.

        ViFi-CLIP's files lack the token embedding, which it never trains: the present one stays.

        Raises:
            UserError: The file is missing or damaged, or a tensor is missing, unexpected or of another shape.
        """
        content, _ = read_weights(path)
        load_clip(self.clip, content, str(path), keep_absent=True)


@functools.cache
def _tokenizer(arch: str) -> Any:
    """open_clip's tokenizer of an architecture, CLIP's own for unknown ones; building it takes a second."""
    return open_clip.get_tokenizer(arch if arch in open_clip.list_models() else "ViT-B-16")


@functools.lru_cache(maxsize=64)
def _tokenize(arch: str, context: int, texts: tuple[str, ...]) -> Tensor:
    tokenizer = _tokenizer(arch)
    tokens = tokenizer(list(texts), context_length=context)
    if hasattr(tokenizer, "encode"):
        for text in texts:
            n = len(tokenizer.encode(text)) + 2
            if n > context:
                raise UserError(
                    f"The text {text[:60]!r}... has {n} tokens, the model reads {context}.", "Shorten the class name."
                )
    return cast(Tensor, tokens)


def _output_dim(clip: nn.Module) -> int:
    for holder in (clip, clip.visual):
        for attribute in ("output_dim", "embed_dim"):
            if isinstance(getattr(holder, attribute, None), int):
                return int(getattr(holder, attribute))
    text = getattr(clip, "text_projection", None)
    if text is None:
        raise UserError(
            f"The joint dimension of {type(clip).__name__} is unknown.", "Use an open_clip CLIP architecture."
        )
    return int(text.shape[-1])


def load_backbone(
    arch: str | None = None,
    weights: str | Path | None = None,
    weights_dir: Path | None = None,
    base: str | Path | None = None,
) -> Backbone:
    """A CLIP model in fp32 and eval mode.

    Args:
        arch: An open_clip architecture (`ViT-B-16`), `mini-clip` for the embedded tiny model, or None to infer the
            architecture from an OpenAI-named state dict.
        weights: An open_clip pretrained tag (`openai`, `laion2b_s34b_b88k`), a path (safetensors, OpenAI's archive, a
            state dict, a published ViFi-CLIP `.pth`), or `random` (drawn from seed 0; for checks without accuracy).
        weights_dir: Folder in which files of a tag are looked for before anything is downloaded.
        base: CLIP weights (tag or path) that a published ViFi-CLIP file was tuned from, `openai` if not given; the
            token embedding, which such files lack, is taken from them.

    Raises:
        UserError: Unknown architecture or tag, weights that cannot be had, weights that do not fit, or an activation
            other than the one the weights were trained with.
    """
    if arch == MINI or (arch is None and weights == MINI):
        return _mini()
    if weights is None:
        weights = DEFAULT_WEIGHTS
    if (
        isinstance(weights, Path)
        or Path(weights).suffix in (".pt", ".pth", ".bin", ".safetensors")
        or Path(weights).is_file()
    ):
        return _from_file(arch, Path(weights), weights_dir, base)
    arch = arch or DEFAULT_ARCH
    if arch not in open_clip.list_models():
        raise unknown_name("architecture", arch, open_clip.list_models())
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            clip = _create(arch, quick_gelu=False)
        return _finish(clip, arch, "random")
    return _from_tag(arch, str(weights), weights_dir)


def _create(arch: str, quick_gelu: bool, device: str = "cpu") -> nn.Module:
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns that nothing is pretrained: that is the point here
    try:
        return open_clip.create_model(
            arch,
            pretrained=None,
            device=device,
            force_quick_gelu=quick_gelu,
            pretrained_image=False,
            pretrained_text=False,
        )
    finally:
        logging.getLogger().setLevel(level)


def _from_tag(arch: str, tag: str, weights_dir: Path | None) -> Backbone:
    config = get_pretrained_cfg(arch, tag)
    if not config:
        tags = open_clip.list_pretrained_tags_by_model(arch)
        raise unknown_name(f"pretrained tag of {arch}", tag, tags)
    wants_quick = bool(config.get("quick_gelu", False))
    has_quick = bool((open_clip.get_model_config(arch) or {}).get("quick_gelu", False))
    if has_quick and not wants_quick:
        raise UserError(
            f"{arch} computes QuickGELU, but the weights {tag!r} were trained with GELU.",
            f"Use --arch {arch.removesuffix('-quickgelu')}.",
        )
    path = _find_tag_file(arch, tag, config, weights_dir)
    content, _ = read_weights(path)
    clip = _create(arch, quick_gelu=wants_quick)
    load_clip(clip, content, f"{arch}/{tag} ({path.name})")
    return _finish(clip, arch, tag)


def _find_tag_file(arch: str, tag: str, config: dict[str, Any], weights_dir: Path | None) -> Path:
    """The weight file of a tag: in the weights folder, else open_clip's cache or a download."""
    candidates = [f"{arch}-{tag}.safetensors", f"{arch}-{tag}.pt", f"{arch}-{tag}.bin"]
    if config.get("url"):
        candidates.append(Path(config["url"]).name)
    for name in candidates:
        if weights_dir is not None and (weights_dir / name).is_file():
            return weights_dir / name
    try:
        _stay_offline_without_network()
        return Path(download_pretrained(config))
    except Exception as error:  # no network, a proxy, a full disk, a hub error: all mean "not here"
        sources = [f"  {config['url']}"] if config.get("url") else []
        if config.get("hf_hub"):
            sources.append(f"  Hugging Face hub: {config['hf_hub'].rstrip('/')} (open_clip_model.safetensors)")
        folder = weights_dir or Path("WEIGHTS_FOLDER")
        raise UserError(
            f"The weights {arch}/{tag} are not on this machine and could not be downloaded ({type(error).__name__}).",
            "Fetch one of\n  "
            + "\n  ".join(sources)
            + f"\n  and save it as {folder / candidates[0]}"
            + (f" or {folder / candidates[-1]}" if config.get("url") else "")
            + "\n  (or set HARNESS_WEIGHTS, or give the file with --weights FILE). To try the harness without them:"
            " --arch mini-clip.",
        ) from None


def _stay_offline_without_network() -> None:
    """Make the hub client look in its cache only where its host cannot even be resolved.

    Otherwise it retries for a minute before saying so. Behind a proxy names need not resolve here, so it is left alone.
    """
    import huggingface_hub.constants as hub

    proxied = any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    host = urlsplit(hub.ENDPOINT).hostname
    if proxied or not host:
        return
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        hub.HF_HUB_OFFLINE = True


def _from_file(arch: str | None, path: Path, weights_dir: Path | None, base: str | Path | None) -> Backbone:
    content, kind = read_weights(path)
    found = read_published(content)
    if found.absent:  # published ViFi-CLIP: what it lacks comes from the CLIP weights that it was tuned from
        clip = load_backbone(arch, base, weights_dir).clip
        load_clip(clip, content, str(path), keep_absent=True)
        return _finish(clip, arch or DEFAULT_ARCH, path.name)
    noted = read_metadata(path).get("quick_gelu")  # in files that this project exported
    if arch is None:
        clip = clip_from_openai_names(found.clip, str(path), quick_gelu=noted != "false")
    else:
        if arch not in open_clip.list_models():
            raise unknown_name("architecture", arch, open_clip.list_models())
        config = open_clip.get_model_config(arch) or {}
        quick = kind == "torchscript" or found.family in ("xclip", "actionclip", "efficient_prompt") or noted == "true"
        if config.get("quick_gelu", False) and noted == "false":
            raise UserError(
                f"{path.name} needs GELU, {arch} computes QuickGELU.", f"Use {arch.removesuffix('-quickgelu')}."
            )
        clip = _create(arch, quick_gelu=quick)
    load_clip(clip, content, str(path))
    return _finish(clip, arch or "inferred", path.name)


def clip_from_openai_names(state: dict[str, Tensor], what: str = "the state dict", quick_gelu: bool = True) -> CLIP:
    """An untrained CLIP of the sizes of an OpenAI-named state dict: heads = width // 64, QuickGELU unless told.

    Raises:
        UserError: A tensor that determines a size is missing.
    """
    try:
        width, _, patch, _ = state["visual.conv1.weight"].shape
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
    vision_layers = len({n.split(".")[3] for n in state if n.startswith("visual.transformer.resblocks.")})
    text_layers = len({n.split(".")[2] for n in state if n.startswith("transformer.resblocks.")})
    vision = CLIPVisionCfg(layers=vision_layers, width=width, patch_size=patch, image_size=grid * patch)
    text = CLIPTextCfg(
        context_length=context, vocab_size=vocabulary, width=text_width, heads=text_width // 64, layers=text_layers
    )
    return CLIP(embed_dim, vision, text, quick_gelu=quick_gelu)


def _mini() -> Backbone:
    from harness.data.mini import load_mini_clip_state

    state = {name: torch.from_numpy(value).float() for name, value in load_mini_clip_state().items()}
    clip = clip_from_openai_names(state, "the embedded weights")
    strict_load(clip, state, "the embedded weights")
    return _finish(clip, MINI, "embedded")


def _finish(clip: nn.Module, arch: str, weights: str) -> Backbone:
    clip = clip.float().eval()
    size = clip.visual.image_size
    facts = BackboneFacts(
        name=MINI if arch == MINI else f"{arch}/{weights}",
        arch=arch,
        weights=weights,
        weights_sha256=state_sha256(dict(clip.state_dict())),
        image_size=int(size[0] if isinstance(size, (tuple, list)) else size),
        quick_gelu=any(isinstance(m, QuickGELU) for m in clip.modules()),
    )
    return Backbone(clip, facts)
