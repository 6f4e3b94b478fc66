"""The start of methods that a fit on the source dataset may precede."""

from dataclasses import dataclass, replace

from harness.api import MethodCard, MethodOptions, MethodSpec, option

CLIP, SOURCE = "clip", "source"


@dataclass(frozen=True)
class StartOptions(MethodOptions):
    """The option that chooses the weights before the fit."""

    start: str = option(
        CLIP, "weights before the fit: clip, or source (a zero_shot fit of this method on the source dataset)",
        (CLIP, SOURCE),
    )  # fmt: skip


class StartSpec(MethodSpec):
    """A card that names the data of the first fit. The method defines `parent_fit`."""

    @classmethod
    def card_for(cls, options: StartOptions) -> MethodCard:  # type: ignore[override]
        """Return the card, which names the source of a fit that starts from one."""
        return cls.card if options.start == CLIP else replace(cls.card, extra_data=("source dataset of the first fit",))
