"""The base class of methods: how CLIP becomes a video classifier, and which parameters learn.

The harness owns everything else: lists, loaders, modes, precision, accuracy. The label set is an argument of every
call and never state, so the text of base classes cannot leak into novel ones.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.base.errors import EXIT_FAILED, UserError, described
from harness.engine.model.backbone import Backbone
from harness.plugins import registry
from harness.spec import LabelSet, Recipe
from harness.spec.method_spec import MethodSpec
from harness.spec.options import MethodOptions, build_options

Encoded = Any
"""What `encode_video` and `encode_text` return: a tensor of features, or a tuple where a method needs more."""


class ClipMethod(MethodSpec, nn.Module):
    """A video classifier made from CLIP. Override one step; the others have CLIP's own meaning.

    The class attributes (`card`, `recipe`, `recipes`, `options_type`, ...) are those of `MethodSpec`.
    """

    def __init__(self, backbone: Backbone, options: MethodOptions | None = None, seed: int = 1024) -> None:
        super().__init__()
        self.backbone = backbone
        self.options = options if options is not None else self.options_type()
        self._frozen_text: tuple[Any, Tensor] | None = None
        with torch.random.fork_rng(devices=[]):  # new parameters are a function of the seed, not of what ran before
            torch.manual_seed(seed)
            self._set_up()

    def _set_up(self) -> None:
        """Call `setup()`; whatever it raises becomes a `UserError` of one line that names the method and the place."""
        try:
            self.setup()
        except UserError:
            raise
        except Exception as error:  # a plugin may raise anything; the run and the author need a line each
            file = Path(sys.modules[type(self).__module__].__file__ or "").resolve()
            raise UserError(
                f"setup() of the method {self.name or type(self).__name__!r} ({file}) failed on the backbone "
                f"{self.backbone.facts.name}: {described(error, file)}",
                f"To try it alone: python -m harness check method {file}",
                EXIT_FAILED,
            ) from error

    # what a method may override -------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Add parameters and decide which learn. Called once, after the backbone is in place."""

    def prompts(self, label_set: LabelSet) -> tuple[str, ...]:
        """One text per class, in id order. The default is the option `template`, or the bare class name."""
        template = getattr(self.options, "template", "{}")
        return tuple(template.replace("{}", name) for name in label_set.names)

    def encode_frames(self, video: Tensor) -> Tensor:
        """Frame features (B, T, 3, H, W) -> (B, T, D), projected, not normalised."""
        batch, frames = video.shape[:2]
        return self.backbone.encode_images(video.flatten(0, 1)).unflatten(0, (batch, frames))

    def pool(self, frames: Tensor) -> Tensor:
        """Video features (B, T, D) -> (B, D): the mean over frames, taken before normalisation as in ViFi-CLIP."""
        return frames.mean(dim=1)

    def encode_text(self, label_set: LabelSet) -> Encoded:
        """Text features (C, D) of a label set, not normalised."""
        return self.encode_prompts(self.prompts(label_set))

    def encode_video(self, video: Tensor) -> Encoded:
        """Video features (B, D) of one view per video, not normalised."""
        return self.pool(self.encode_frames(video))

    def score(self, video: Encoded, text: Encoded) -> Tensor:
        """Logits (B, C): cosine times the learned scale. The product is taken in fp32 whatever the precision.

        The original's mixed precision rounds logits near 25 to 1/64, which makes ties (specification, section 3.5);
        the option `logits=published` does so too.
        """
        with self.in_fp32(video):
            video, text = F.normalize(video.float(), dim=-1), F.normalize(text.float(), dim=-1)
            video = self.backbone.logit_scale.float().exp() * video
            if getattr(self.options, "logits", "clean") == "published":
                return (video.half() @ text.half().t()).float()
            return video @ text.t()

    def loss(self, video: Tensor, targets: Tensor, label_set: LabelSet) -> Tensor:
        """Training loss of videos (B, T, 3, H, W) with soft targets (B, C), mean over the batch.

        A method whose loss needs no more than encoded videos and texts overrides `feature_loss` instead: only then can
        a fit on a frozen vision tower take cached features in the place of videos.
        """
        return self.feature_loss(self.encode_video(video), self.encode_text(label_set), targets)

    def feature_loss(self, video: Encoded, text: Encoded, targets: Tensor) -> Tensor:
        """Training loss of encoded videos and texts: cross-entropy with soft targets (B, C), in nats."""
        logits = self.score(video, text).float()
        return -(targets * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()

    def after_fit(self) -> None:
        """Change what was learnt, once: called after the last update of a fit, before its trained tensors are saved.

        Only what `trained_state()` holds may change, e.g. to average or interpolate weights.
        """

    def fit_features(self, features: Tensor, labels: Tensor, label_set: LabelSet) -> None:
        """Set what learns from all training videos at once: a closed form in the place of gradient steps.

        A method that overrides this is not trained by an optimiser. It needs a frozen vision tower that
        `encode_frames` and `encode_video` leave as they are, and a recipe that augments, blends and smooths nothing.

        Args:
            features: (N, D) video features as `encode_video` returns them, fp32, in list order.
            labels: (N,) ids.
            label_set: Classes of the training list.
        """
        raise NotImplementedError(f"{type(self).__name__} is trained by gradient steps")

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """Optimiser groups. `lr` is the group's peak rate; the default is one group with weight decay on everything.

        As published for ViFi-CLIP, biases, norms and embeddings are decayed too.
        """
        return [{"params": self.trainable(), "lr": recipe.lr, "weight_decay": recipe.weight_decay}]

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Put the trained tensors of the parent fit in place of the backbone's, strictly.

        Args:
            state: The parent's `trained_state()`: names that begin with `backbone.`.

        Raises:
            UserError: A tensor that is unknown here or of another shape.
        """
        own = self.state_dict()
        unknown = [n for n in state if n not in own or not n.startswith("backbone.")]
        shapes = [
            f"{n} {tuple(v.shape)}, here {tuple(own[n].shape)}"
            for n, v in state.items()
            if n in own and own[n].shape != v.shape
        ]
        if not state or unknown or shapes:
            raise UserError(
                f"{self.name} cannot start from this fit: {len(unknown)} unknown tensors {sorted(unknown)[:3]}, "
                f"{len(shapes)} of another shape {shapes[:3]}, {len(state)} in all.",
                "The parent must be fitted on the same backbone.",
            )
        self.load_state_dict(dict(state), strict=False)

    # what the harness calls -----------------------------------------------------------------------------------------

    def forward(self, video: Tensor, label_set: LabelSet) -> Tensor:
        """Logits (B, C) of videos (B, T, 3, H, W), normalised, for the classes of a label set."""
        return self.score(self.encode_video(video), self.encode_text(label_set))

    def encode_prompts(self, texts: tuple[str, ...]) -> Tensor:
        """Text features (N, D) of texts, not normalised; computed once as long as nothing on the text side learns.

        What is kept is given up when a text, a weight, the device or the precision changes.
        """
        half = getattr(self.options, "text_embedding", "clean") == "published"
        parameters = self.backbone.text_parameters()
        if any(p.requires_grad for p in parameters) or torch.is_inference_mode_enabled():
            return self.backbone.encode_texts(texts, half)
        device = self.backbone.logit_scale.device
        mixed = device.type != "meta" and torch.is_autocast_enabled(device.type)
        autocast = torch.get_autocast_dtype(device.type) if mixed else None
        key = (texts, half, device, autocast, tuple((id(p), p._version) for p in parameters))
        if self._frozen_text is None or self._frozen_text[0] != key:
            with torch.no_grad():
                self._frozen_text = key, self.backbone.encode_texts(texts, half)
        return self._frozen_text[1]

    @staticmethod
    def in_fp32(like: Tensor) -> AbstractContextManager[Any]:
        """A context in which products are taken as their inputs are, without autocast, on the device of a tensor."""
        return torch.autocast(like.device.type, enabled=False) if like.device.type != "meta" else nullcontext()

    def freeze_clip(self) -> None:
        """Stop all backbone parameters from learning; parameters added afterwards learn."""
        self.backbone.requires_grad_(False)

    def learn_only(self, *prefixes: str) -> None:
        """Let exactly the parameters whose names start with one of the prefixes learn.

        Names are those of open_clip below `backbone.clip.` (`visual.`, `transformer.`, `logit_scale`), or the
        method's own names.

        Raises:
            UserError: A prefix fits no parameter: the method would silently train less than it says.
        """
        self.requires_grad_(False)
        for prefix in prefixes:
            hits = [p for n, p in self.named_parameters() if n.removeprefix("backbone.clip.").startswith(prefix)]
            if not hits:
                raise UserError(f"{self.name or type(self).__name__}: no parameter is named {prefix}*.")
            for parameter in hits:
                parameter.requires_grad_(True)

    def trainable(self) -> list[nn.Parameter]:
        """The parameters that learn."""
        return [p for p in self.parameters() if p.requires_grad]

    def trained_state(self) -> dict[str, Tensor]:
        """The tensors a fit can change: parameters that learn and the method's own buffers, by name."""
        names = {n for n, p in self.named_parameters() if p.requires_grad}
        names |= {n for n, _ in self.named_buffers() if not n.startswith("backbone.")}
        return {n: v for n, v in self.state_dict().items() if n in names}

    @property
    def fits_at_once(self) -> bool:
        """Whether `fit_features` takes the place of gradient steps."""
        return type(self).fit_features is not ClipMethod.fit_features

    @property
    def embed_dim(self) -> int:
        """Joint dimension D of image and text features."""
        return self.backbone.embed_dim

    def parameter_counts(self) -> tuple[int, int]:
        """(total, trained) numbers of parameters."""
        return sum(p.numel() for p in self.parameters()), sum(p.numel() for p in self.trainable())


def build_method(name: str, backbone: Backbone, **options: Any) -> ClipMethod:
    """The method of a name on a backbone, with its options checked.

    Raises:
        UserError: Unknown method or option, or the method cannot be set up on this backbone.
    """
    cls = method_class(name)
    return cls(backbone, build_options(cls.options_type, options, name))


def method_class(name: str) -> type[ClipMethod]:
    """The registered class of a name, checked to be a `ClipMethod` with a card, recipes and options.

    Raises:
        UserError: Unknown name, or a class that is not a method.
    """
    return registry.checked_method(name, registry.load("method", name), ClipMethod)
