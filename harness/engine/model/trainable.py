"""A model around CLIP of which a chosen part of the parameters is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from harness.base.errors import UserError
from harness.engine.model.clip_model import Backbone
from harness.engine.model.towers import NOT_IN_FEATURES


class TrainableClip(nn.Module):
    """CLIP, added modules, and the choice of the trained parameters.

    Attributes:
        backbone: The CLIP model.
    """

    name: ClassVar[str] = ""
    backbone: Backbone

    @property
    def embed_dim(self) -> int:
        """Joint dimension D of image and text features."""
        return self.backbone.embed_dim

    def freeze_clip(self) -> None:
        """Freeze all parameters of the backbone. Parameters that are added afterwards are trained."""
        self.backbone.requires_grad_(False)

    def learn_all(self) -> None:
        """Train all parameters on which class scores depend: all but CoCa's caption decoder and a bias of all logits.

        Those get no gradient, or only rounding errors of a gradient, which Adam would scale to full updates.
        """
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(not name.removeprefix("backbone.clip.").startswith(NOT_IN_FEATURES))

    def learn_only(self, *prefixes: str) -> None:
        """Train exactly the parameters whose names start with one of the prefixes; freeze all other parameters.

        Names are those of open_clip below `backbone.clip.` (`visual.`, `transformer.`, `logit_scale`), or the
        method's own names.

        Raises:
            UserError: No parameter has a prefix: the method would silently train less than it states.
        """
        self.requires_grad_(False)
        for prefix in prefixes:
            hits = [p for n, p in self.named_parameters() if n.removeprefix("backbone.clip.").startswith(prefix)]
            if not hits:
                raise UserError(f"{self.name or type(self).__name__}: no parameter is named {prefix}*.")
            for parameter in hits:
                parameter.requires_grad_(True)

    def trainable(self) -> list[nn.Parameter]:
        """Return the parameters that are trained."""
        return [p for p in self.parameters() if p.requires_grad]

    def trained_state(self) -> dict[str, Tensor]:
        """Return the tensors that a fit can change, by name: trained parameters and the method's own buffers."""
        names = {n for n, p in self.named_parameters() if p.requires_grad}
        # Statistics of BatchNorm change in a fit only if the method uses batch statistics.
        kept = () if self.backbone.batch_statistics else ("backbone.",)
        names |= {n for n, _ in self.named_buffers() if not n.startswith(kept)}
        return {n: v for n, v in self.state_dict().items() if n in names}

    def parameter_counts(self) -> tuple[int, int]:
        """Return (total, trained) numbers of parameters."""
        return sum(p.numel() for p in self.parameters()), sum(p.numel() for p in self.trainable())

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Replace tensors by the trained tensors of the parent fit, strictly.

        Args:
            state: The parent's `trained_state()`: tensors of the backbone, and the own tensors of a parent of this
                method.

        Raises:
            UserError: A tensor is unknown here or has another shape.
        """
        own = self.state_dict()
        unknown = [n for n in state if n not in own]
        shapes = [
            f"{n} {tuple(v.shape)}, here {tuple(own[n].shape)}"
            for n, v in state.items()
            if n in own and own[n].shape != v.shape
        ]
        if not state or unknown or shapes:
            raise UserError(
                f"{self.name} cannot start from this fit of {len(state)} tensors: it holds {len(unknown)} unknown "
                f"tensors {sorted(unknown)[:3]} and {len(shapes)} tensors of another shape {shapes[:3]}.",
                "The parent must be fitted on the same backbone, with the same options if it is a fit of this method.",
            )
        self.load_state_dict(dict(state), strict=False)
