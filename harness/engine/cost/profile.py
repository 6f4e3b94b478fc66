"""Parameters and multiply-adds of methods on an architecture, and the published numbers.

Tensors are on torch's `meta` device, so that nothing is computed. Published "GFLOPs" of this field are multiply-adds
per view (fvcore counts one multiply-add as one operation); the same unit is used here. Specification, section 8.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import open_clip
import torch
from open_clip.hf_model import HFTextEncoder
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from harness.base.errors import UserError, unknown_name
from harness.engine.cost.shapes_only import ShapesOnly
from harness.engine.method import ClipMethod, method_class
from harness.engine.model.backbone import DEFAULT_ARCH, Backbone, BackboneFacts, create_clip
from harness.engine.model.network_model import NetworkModel
from harness.engine.model.own_network import OwnNetwork
from harness.engine.model.recognizer_config import RANDOM
from harness.spec import LabelSet

logger = logging.getLogger(__name__)
T = TypeVar("T")
FRAMES = (16, 32)
CLASSES = 400


@dataclass(frozen=True)
class Published:
    """Published numbers of a method.

    Args:
        gmacs: 10^9 multiply-adds per view, printed as GFLOPs; None if no number was found.
        parameters: 10^6 parameters.
        explanation: Cause of the difference to the count of this module.
    """

    gmacs: float | None
    parameters: float
    explanation: str


@dataclass(frozen=True)
class ProfileRow:
    """One method at one number of frames.

    Args:
        method: Name of the method; the protocol in parentheses if the options of the method differ by protocol.
        arch: Architecture.
        frames: Frames per view.
        parameters_total: Parameters of backbone and method.
        parameters_trained: Parameters that a fit can change.
        video_gmacs: 10^9 multiply-adds per view for video features, without text features.
        score_gmacs: 10^9 multiply-adds per view for the score of one class.
        score_gmacs_all: 10^9 multiply-adds per view for the scores of 400 classes.
        text_gmacs: 10^9 multiply-adds per text of full context length; texts are encoded once per label set.
        texts_per_class: Number of texts that describe one class.
        published: Numbers of the paper, if it states them.
    """

    method: str
    arch: str
    frames: int
    parameters_total: int
    parameters_trained: int
    video_gmacs: float
    score_gmacs: float
    score_gmacs_all: float
    text_gmacs: float
    texts_per_class: int
    published: Published | None = None


PUBLISHED = {
    "vificlip": Published(
        281.0,
        124.7,
        "16 frames, no text: 281.0 from matrix products, 281.3 with the layer norms that fvcore counts too. 124.3 M "
        "learn (all but the token embedding); the other 0.39 M are the size of one 768 x 512 matrix, cause unknown",
    ),
    "xclip": Published(
        287.0,
        131.5,
        "16 frames with one sentence (2.98) and the prompt generator for one class (0.2), which ViFi-CLIP's 281 leaves "
        "out; without text the difference is 1 %. Here the message also passes the MLP before it is dropped (+0.9). "
        "131.5 M learn; the whole model with its frozen text tower has 194.9 M",
    ),
    "aim": Published(
        606 / 3,
        11,
        "8 frames, printed for 3 views: 202.1 here for a view of 8, 811.2 for 32 (printed: 809). 10.7 M learn beside a "
        "linear layer of 0.3 M",
    ),
    "ez_clip": Published(
        None,
        5.2,
        "the abstract states learned parameters alone: 5.20 M here at 8 frames; the prompts of 8 more frames are "
        "0.07 M",
    ),
    "mformer": Published(
        959.0,
        109.1,
        "336 pixels, 16 frames: 958.4 from matrix products, 958.75 with the layer norms that fvcore counts too. "
        "109.1 M holds a patch layer of 0.59 M that the network does not use and that is left out here",
    ),
    "actionclip": Published(
        563.0,
        168.5,
        "32 frames, no text (563.2 with layer norms); at 16 frames it is 281.3. 168.6 M is the whole model, token "
        "embedding included, all of which learns; ViFi-CLIP's and X-CLIP's columns count otherwise",
    ),
}


def profile(
    arch: str = DEFAULT_ARCH, methods: Iterable[str] | None = None, frames: Iterable[int] = FRAMES
) -> list[ProfileRow]:
    """Count parameters and multiply-adds: one row per method, protocol with own options, and number of frames.

    Args:
        arch: Name of an open_clip architecture.
        methods: Names of methods; all registered methods if not given, except those whose own model has no default.
        frames: Numbers of frames per view; a network other than CLIP has its own.

    Raises:
        UserError: The architecture or a method is unknown, or a method cannot be set up on the architecture.
    """
    from harness.plugins import registry

    if arch not in open_clip.list_models():
        raise unknown_name("architecture", arch, open_clip.list_models())
    names = sorted(registry.sources("method")) if methods is None else list(methods)
    rows, empty = [], meta_backbone(arch)
    with torch.no_grad(), plain_attention(), shapes_alone(empty):
        text_gmacs = _count_text(copy.deepcopy(empty).requires_grad_(False))
    # A text tower of another kind may refuse a method, which has to be left out.
    shapes = _TextShapes(empty.clip, empty.facts) if empty.has_causal_text else empty
    for name in names:
        try:
            cls = method_class(name)
            if not cls.uses_clip:
                rows += _row_of_own_network(cls, is_named=methods is not None)
                continue
            # Options by protocol change the size of a method; the preset `mini` and single datasets are left out.
            variants = [key for key in cls.protocol_options if key != "mini" and "/" not in key] or [""]
            # A method changes its backbone (prompts, frozen parameters), and this one serves all methods.
            rows += [
                _row(cls, copy.deepcopy(shapes), variant, count, text_gmacs) for variant in variants for count in frames
            ]
        except UserError as error:
            if methods is not None:
                raise
            # A method that cannot be loaded or set up must not hide the rows of all other methods.
            logger.warning("left out: %s: %s", name, " ".join(error.message.split()))
    return rows


class _TextShapes(Backbone):
    """A backbone on the meta device that gives text features without encoding texts, which took half of the time.

    The multiply-adds of a score depend on the shape of the text features only; those of a text are counted once, on the
    text tower itself.
    """

    def encode_texts(self, texts: tuple[str, ...], half: bool = False) -> Tensor:
        """Return the shape of the features of raw texts, (C, D)."""
        return torch.empty(len(texts), self.embed_dim, device="meta")

    def encode_embedded_text(
        self, x: Tensor, end: Tensor, before_block: Callable[[int, Tensor], Tensor] | None = None
    ) -> Tensor:
        """Return the shape of the features of embedded texts (C, L, width), (C, D)."""
        return torch.empty(len(x), self.embed_dim, device="meta")


def meta_backbone(arch: str) -> Backbone:
    """The backbone of an architecture on the meta device, which has shapes but no values."""
    clip = create_clip(arch, quick_gelu=False, device="meta").eval()
    size = clip.visual.image_size
    side = int(size[0] if isinstance(size, (tuple, list)) else size)
    return Backbone(clip, BackboneFacts(f"{arch}/none", arch, "none", "", side, False))


def _row(cls: type[ClipMethod], backbone: Backbone, protocol: str, frames: int, text_gmacs: float) -> ProfileRow:
    arch = backbone.facts.arch
    with torch.device("meta"):
        method = cls(backbone, cls.options_for({}, protocol, frames=frames)).eval()
    total, trained = method.parameter_counts()
    method.requires_grad_(False)  # the counter expects a graph behind parameters that are passed as inputs
    with torch.no_grad(), plain_attention(), shapes_alone(backbone):
        side = backbone.image_size
        video = torch.empty(1, frames, 3, side, side, device="meta")
        encoded, video_gmacs = count_gmacs(lambda: method.encode_video(video))
        texts = [method.encode_text(LabelSet(tuple(f"class {i}" for i in range(n)))) for n in (1, CLASSES)]
        single, many = (count_gmacs(lambda: method.score(encoded, text))[1] for text in texts)  # noqa: B023
    return ProfileRow(
        method=f"{cls.name} ({protocol})" if protocol else cls.name,
        arch=arch,
        frames=frames,
        parameters_total=total,
        parameters_trained=trained,
        video_gmacs=video_gmacs,
        score_gmacs=single,
        score_gmacs_all=many,
        text_gmacs=text_gmacs,
        texts_per_class=len(method.prompts(LabelSet(("class",)))),
        published=PUBLISHED.get(cls.name) if arch.startswith("ViT-B-16") else None,
    )


def _row_of_own_network(cls: type[ClipMethod], is_named: bool) -> list[ProfileRow]:
    """The row of a method with a video network instead of CLIP; none for other models, which are built from a config.

    Raises:
        UserError: The method is named, and its model has no default.
    """
    try:
        options = cls.options_for({"checkpoint": RANDOM})
        chosen = cls.own_model(options)
    except UserError:
        chosen = None
    if not isinstance(chosen, OwnNetwork):
        if is_named:
            raise UserError(f"{cls.name} has its own model, which has no default; profile cannot count it.")
        return []
    with torch.device("meta"):
        network = chosen.build().eval()
    facts = BackboneFacts(f"{chosen.name}/none", chosen.name, "none", "", chosen.input.size, False)
    model = NetworkModel(network, facts, chosen.classes)
    total, trained = cls(model, options).parameter_counts()  # type: ignore[arg-type]  # instead of CLIP
    with torch.no_grad(), plain_attention():
        side = chosen.input.size
        video = torch.empty(1, chosen.input.frames, 3, side, side, device="meta")
        _, gmacs = count_gmacs(lambda: model.scores(video))
    return [
        ProfileRow(
            cls.name, chosen.name, chosen.input.frames, total, trained, gmacs, 0.0, 0.0, 0.0, 0, PUBLISHED.get(cls.name)
        )
    ]


def _count_text(backbone: Backbone) -> float:
    """10^9 multiply-adds of one text of full context length. Prompt vectors replace words, so they add no length."""
    length = backbone.context_length
    if backbone.has_causal_text:
        width = backbone.text.ln_final.weight.shape[0]
        x = torch.empty(1, length, width, device="meta")
        end = torch.zeros(1, dtype=torch.long, device="meta")
        return count_gmacs(lambda: backbone.encode_embedded_text(x, end))[1]
    return count_gmacs(lambda: backbone.clip.encode_text(torch.zeros(1, length, dtype=torch.long, device="meta")))[1]


@contextmanager
def shapes_alone(backbone: Backbone) -> Iterator[None]:
    """Let a text tower of Hugging Face compute on the meta device in the `with` block.

    transformers leaves a mask out if its values mask nothing; a tensor on the meta device has no values to read.
    """
    if not isinstance(backbone.text, HFTextEncoder):
        yield
        return
    from transformers import masking_utils

    name = "_ignore_bidirectional_mask_sdpa"
    before = getattr(masking_utils, name, None)
    setattr(masking_utils, name, lambda *_, **__: False)
    try:
        yield
    finally:
        if before is not None:
            setattr(masking_utils, name, before)


def count_gmacs(run: Callable[[], T]) -> tuple[T, float]:
    """The result of a computation on the meta device, and its 10^9 multiply-adds."""
    shapes = ShapesOnly()  # type: ignore[no-untyped-call]  # torch's mode has no types
    with shapes, FlopCounterMode(display=False) as counter:
        result = run()
    return result, counter.get_total_flops() / 2e9


@contextmanager
def plain_attention() -> Iterator[None]:
    """Switch off the fused path of `nn.MultiheadAttention`, whose operations the counter does not see."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
