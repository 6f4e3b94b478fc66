"""The base class of methods: how CLIP becomes a video classifier, and which parameters are trained.

The harness owns everything else: lists, loaders, modes, precision, accuracy. The label set is an argument of every
call and never state, so that the text of base classes cannot leak into the evaluation of novel classes.
"""

from __future__ import annotations

import math
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import TypeVar

from harness.base.errors import EXIT_FAILED, UserError, described
from harness.engine.model.clip_model import Backbone
from harness.engine.model.frozen_text import FrozenText
from harness.engine.model.trainable import TrainableClip
from harness.engine.training_batch import TrainingBatch
from harness.plugins import registry
from harness.spec import LabelSet, Recipe
from harness.spec.method_spec import MethodSpec
from harness.spec.options import MethodOptions, build_options
from harness.spec.shared_options import shared_options

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Block

Encoded = Tensor | tuple[Tensor, ...]
"""Return type of `encode_video` and `encode_text`: a tensor of features, or a tuple of tensors."""
VideoT = TypeVar("VideoT", bound=Encoded, default=Tensor)
TextT = TypeVar("TextT", bound=Encoded, default=Tensor)


class ParameterGroup(TypedDict):
    """A parameter group as `torch.optim` takes it.

    Keys:
        params: The parameters.
        lr: Peak learning rate of the group; the recipe's schedule scales it.
        weight_decay: Weight decay of the group.
    """

    params: list[nn.Parameter]
    lr: float
    weight_decay: float


class ClipMethod(MethodSpec, TrainableClip, Generic[VideoT, TextT]):
    """A video classifier made from CLIP. Override single steps; each step that is not overridden is CLIP's own.

    The class attributes (`card`, `recipe`, `recipes`, `options_type`, ...) are those of `MethodSpec`. The functions
    that choose the trained parameters (`freeze_clip`, `learn_only`, ...) are those of `TrainableClip`. A method whose
    features are tuples may state their types for type checkers: `ClipMethod[tuple[Tensor, Tensor], Tensor]`.

    Attributes:
        backbone: The CLIP model.
        options: The values of the method's options, an instance of `options_type`.
    """

    options: MethodOptions

    def __init__(self, backbone: Backbone, options: MethodOptions | None = None, seed: int = 1024) -> None:
        super().__init__()
        self.backbone = backbone
        self.options = options if options is not None else self.options_type()
        self._frozen_text = FrozenText()
        self.backbone.batch_statistics = self.batch_statistics
        with torch.random.fork_rng(devices=[]):  # initial values depend on the seed only, not on what ran before
            torch.manual_seed(seed)
            _call_setup(self)

    # steps that a method may override --------------------------------------------------------------------------------

    def setup(self) -> None:
        """Add parameters and choose the trained parameters. Called once, after `backbone` and `options` are set."""

    def prompts(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return one text per class, in id order: the option `template` around the name, or the bare class name.

        With a file of class texts (option `class_texts`) that has one text per class, the text replaces the name.

        Raises:
            UserError: The file has several texts for a class, which only `encode_text` or `texts_of` can use.
        """
        template = shared_options(self.options).template
        texts = self.texts_of(label_set)
        for name, listed in zip(label_set.names, texts, strict=True):
            if len(listed) > 1:
                raise UserError(
                    f"The class {name!r} has {len(listed)} texts in the file of class texts, and prompts() of "
                    f"{self.name or type(self).__name__} returns one text per class.",
                    "Override encode_text() and call texts_of(), or give a file with one text per class.",
                )
        return tuple(template.replace("{}", listed[0]) for listed in texts)

    def encode_frames(self, video: Tensor) -> Tensor:
        """Return frame features (B, T, D) of videos (B, T, 3, H, W), projected, not normalised."""
        batch, frames = video.shape[:2]
        # All frames in one pass: a vision tower is far from full with the frames of a single video.
        return torch.unflatten(self.backbone.encode_images(video.flatten(0, 1)), 0, (batch, frames))

    def pool(self, frames: Tensor) -> Tensor:
        """Return video features (B, D): the mean of frame features (B, T, D) before normalisation, as in ViFi-CLIP."""
        return frames.mean(dim=1)

    def encode_text(self, label_set: LabelSet) -> TextT:
        """Return text features (C, D) of a label set, not normalised.

        Of several texts per class in a file of class texts, the mean direction: each text has the same weight.
        """
        texts = self.texts_of(label_set)
        if all(len(listed) == 1 for listed in texts):
            return self.encode_prompts(self.prompts(label_set))  # type: ignore[return-value]
        template = shared_options(self.options).template
        features = self.encode_prompts(tuple(template.replace("{}", text) for listed in texts for text in listed))
        directions = F.normalize(features.float(), dim=-1).split([len(listed) for listed in texts])
        return torch.stack([part.mean(dim=0) for part in directions])  # type: ignore[return-value]

    def encode_video(self, video: Tensor) -> VideoT:
        """Return video features (B, D) of one view per video (B, T, 3, H, W), not normalised."""
        return self.pool(self.encode_frames(video))  # type: ignore[return-value]

    def score(self, video: VideoT, text: TextT) -> Tensor:
        """Return logits (B, C): cosine times the learned scale, plus the model's bias if it has one.

        The product is taken in fp32 whatever the precision.
        The mixed precision of the original ViFi-CLIP rounds logits near 25 to 1/64, which makes ties (specification,
        section 3.5); with the option `logits=published` the product is rounded too.

        Raises:
            UserError: `encode_video` or `encode_text` returns a tuple, which only a method's own `score` can use.
        """
        if not isinstance(video, Tensor) or not isinstance(text, Tensor):
            raise UserError(
                f"{self.name or type(self).__name__} encodes videos as {type(video).__name__} and texts as "
                f"{type(text).__name__}; score() of ClipMethod expects tensors.",
                "Override score() for other features.",
                EXIT_FAILED,
            )
        return self.scaled_cosines(video, text)

    def loss(self, video: Tensor, targets: Tensor, label_set: LabelSet) -> Tensor:
        """Return the training loss, mean over the batch.

        Override `feature_loss` instead if the loss needs no more than encoded videos and texts: only then can a fit
        on a frozen vision tower read cached features instead of videos.

        Args:
            video: (B, T, 3, H, W).
            targets: (B, C) soft targets.
            label_set: Classes of the training list.
        """
        return self.feature_loss(self.encode_video(video), self.encode_text(label_set), targets)

    def feature_loss(self, video: VideoT, text: TextT, targets: Tensor) -> Tensor:
        """Return the training loss of encoded videos and texts: cross-entropy with soft targets (B, C), in nats."""
        # A log-softmax over hundreds of classes loses its small terms in half precision.
        logits = self.score(video, text).float()
        return -(targets * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """Return the training loss of a batch that also has hard labels and random generators, mean over the batch.

        The default calls `loss` with the soft targets. Override it for a loss of the class ids (`batch.labels`), or of
        draws per clip or epoch (`batch.generators_of_clips()`, `batch.generator_of_epoch()`).
        """
        return self.loss(batch.video, batch.targets, batch.label_set)

    def after_fit(self) -> None:
        """Change the trained tensors once, after the last update of a fit and before they are saved.

        Only tensors of `trained_state()` may change. The recipe's `average` is applied before, its `initial_share`
        afterwards.
        """

    def shares_initial(self, name: str) -> bool:
        """Return whether the recipe's `initial_share` of the weights before the fit is mixed into a trained tensor.

        By default into those of the backbone, whose initial values are CLIP's; added parameters start at random values.
        """
        return name.startswith("backbone.")

    @torch.no_grad()
    def patch_attention(self, video: Tensor) -> Tensor:
        """Return the attention (B, T, P) of the class tokens to the patches in the last vision block, mean over heads.

        By default it is computed from the tokens that the last `ln_1` of the vision tower returns in `encode_video`.
        Override it in a method whose last block has other keys than its own tokens.

        Args:
            video: (B, T, 3, H, W), normalised.

        Raises:
            UserError: The vision tower is not a ViT with a class token.
        """
        visual = self.backbone.require_vit("The attention map")
        *_, block = self.backbone.vision_blocks
        seen: list[Tensor] = []
        handle = block.ln_1.register_forward_hook(lambda _, inputs, normed: seen.append(normed.detach()))
        try:
            # The method's own pass, so that prompts and messages are among the tokens.
            self.encode_video(video)
        finally:
            handle.remove()
        query, key, _ = self.project_vision_tokens(block, seen[-1].flatten(0, -3)).chunk(3, dim=-1)
        sides = zip(video.shape[-2:], visual.conv1.kernel_size, strict=True)
        patches = math.prod(side // patch for side, patch in sides)
        start = self.first_patch(video.shape[1])
        shares = class_row(query, key, block.attn.num_heads)[:, start : start + patches]
        return torch.unflatten(shares, 0, video.shape[:2])

    def project_vision_tokens(self, block: Block, normed: Tensor) -> Tensor:
        """Return queries, keys and values (N, L, 3 * width) of normed tokens (N, L, width) in a vision block."""
        attention = block.attn
        projected: Tensor = F.linear(normed, attention.in_proj_weight, attention.in_proj_bias)
        return projected

    def first_patch(self, frames: int) -> int:
        """Return the position of the first patch among the tokens of the last vision block, for T frames."""
        return 1

    def fit_features(self, features: Tensor, labels: Tensor, label_set: LabelSet) -> None:
        """Set the trained parameters from all training videos at once: a closed form instead of gradient steps.

        A method that overrides this function is not trained by an optimiser. It needs a frozen vision tower that
        `encode_frames` and `encode_video` do not change, and a recipe without augmentation, blending and smoothing.

        Args:
            features: (N, D) video features as `encode_video` returns them, fp32, in list order.
            labels: (N,) class ids.
            label_set: Classes of the training list.
        """
        raise NotImplementedError(f"{type(self).__name__} is trained by gradient steps")

    def parameter_groups(self, recipe: Recipe) -> list[ParameterGroup]:
        """Return the groups of the optimiser. The default is a single group with weight decay on all parameters.

        As published for ViFi-CLIP, biases, norms and embeddings are decayed too.
        """
        return [{"params": self.trainable(), "lr": recipe.lr, "weight_decay": recipe.weight_decay}]

    # functions that a method may call --------------------------------------------------------------------------------

    def forward(self, video: Tensor, label_set: LabelSet) -> Tensor:
        """Return logits (B, C) of normalised videos (B, T, 3, H, W) for the classes of a label set."""
        return self.score(self.encode_video(video), self.encode_text(label_set))

    def encode_prompts(self, texts: tuple[str, ...]) -> Tensor:
        """Return text features (N, D) of N texts, not normalised; cached while the text side is frozen."""
        # ViFi-CLIP keeps the token embeddings of its prompts in a float16 buffer.
        half = shared_options(self.options).text_embedding == "published"
        return self._frozen_text.encode(self.backbone, texts, half)

    def texts_of(self, label_set: LabelSet, kind: str = "") -> tuple[tuple[str, ...], ...]:
        """Return the texts of each class, in id order: those of the option `class_texts`, or the class name alone.

        Args:
            label_set: The classes.
            kind: Kind of the texts in the file; empty for a file without kinds. Class names serve for every kind.

        Raises:
            UserError: The file lacks a class or the kind.
        """
        file = self.class_texts_file(self.options)
        return tuple((name,) for name in label_set.names) if file is None else file.of(label_set, kind)

    def scaled_cosines(self, video: Tensor, text: Tensor) -> Tensor:
        """Return logits (B, C) of video features (B, D) and text features (C, D), as `score` does for tensors."""
        # Cosines of similar classes differ by less than the resolution of half precision.
        with self.in_fp32(video):
            videos, texts = F.normalize(video.float(), dim=-1), F.normalize(text.float(), dim=-1)
            videos = self.backbone.logit_scale.float().exp() * videos
            if shared_options(self.options).logits == "published":
                return self.backbone.add_bias((videos.half() @ texts.half().t()).float())
            return self.backbone.add_bias(videos @ texts.t())

    @staticmethod
    def in_fp32(like: Tensor) -> torch.autocast | nullcontext[None]:
        """Context without autocast on the device of a tensor: products keep the precision of their inputs."""
        # Autocast does not know the device `meta`, on which costs are counted.
        return torch.autocast(like.device.type, enabled=False) if like.device.type != "meta" else nullcontext()

    @property
    def fits_at_once(self) -> bool:
        """Whether the method is trained by `fit_features` instead of gradient steps."""
        # By the override and not by a flag, so that a method cannot state one and do the other.
        return type(self).fit_features is not ClipMethod.fit_features


def class_row(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """Return the softmax attention (N, L) of token 0 to L tokens, mean over heads.

    Args:
        query: (N, M, width) queries, of which the first is used.
        key: (N, L, width) keys.
        heads: Number of attention heads.
    """
    # Only the row of the class token: the map of all tokens would take L times the memory.
    first = query[:, :1].unflatten(-1, (heads, -1)).transpose(1, 2)
    keys = key.unflatten(-1, (heads, -1)).transpose(1, 2)
    scores = first @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1])
    shares: Tensor = scores.softmax(dim=-1).mean(dim=1)[:, 0]
    return shares


def _call_setup(method: ClipMethod[VideoT, TextT]) -> None:
    """Call `setup()`; an exception becomes a `UserError` that names the method, its file and the line."""
    try:
        method.setup()
    except UserError:
        raise
    except Exception as error:  # a plugin may raise anything; the run and its author need one line each
        file = Path(sys.modules[type(method).__module__].__file__ or "").resolve()
        raise UserError(
            f"setup() of the method {method.name or type(method).__name__!r} ({file}) failed on the backbone "
            f"{method.backbone.facts.name}: {described(error, file)}",
            f"To try it alone: python -m harness check method {file}",
            EXIT_FAILED,
        ) from error


def build_method(
    name: str, backbone: Backbone, **options: str | float | bool | tuple[str | float, ...] | None
) -> ClipMethod:
    """Return a method on a backbone, with its options checked.

    Args:
        name: Registered name of the method.
        backbone: The CLIP model.
        options: Option values by name, as text or of the option's type.

    Raises:
        UserError: The method or an option is unknown, or the method cannot be set up on this backbone.
    """
    cls = method_class(name)
    return cls(backbone, build_options(cls.options_type, options, name))


def method_class(name: str) -> type[ClipMethod]:
    """Return the registered class of a name, checked to be a `ClipMethod` with a card, recipes and options.

    Raises:
        UserError: The name is unknown, or its class is not a method.
    """
    return registry.checked_method(name, registry.load("method", name), ClipMethod)
