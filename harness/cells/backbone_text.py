"""A backbone in words for `plan` and `show`: its input settings, its texts, and the methods that it does not run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.base.canonical import JsonValue
from harness.cells.architecture_table import ARCHITECTURES
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import EvalCell, FitCell
from harness.cells.open_clip_source import CLIP_INPUT, ArchitectureConfig, architecture_config, pretrained_tags
from harness.spec.views import InputSettings
from harness.weights.sizes import QUICK_SUFFIX


def input_lines(cells: Iterable[FitCell | EvalCell]) -> Iterator[str]:
    """A sentence for each backbone and input of cells, without the embedded tiny CLIP."""
    used: dict[tuple[BackboneChoice, str], None] = {}
    for cell in cells:
        backbone = cell.row.backbone
        if isinstance(backbone, BackboneChoice) and not backbone.is_mini:
            used[backbone, cell.views.normalize] = None
    for backbone, normalize in used:
        own = backbone.own_input
        arch = backbone.model_id().arch
        name = f"{arch}/{Path(backbone.weights or 'openai').name}"
        if normalize == "model":
            text = f"normalize=model: {own.settings} ({own.source})"
        else:
            published = " as published" if normalize == "imagenet" and backbone.takes_published_input else ""
            text = (
                f"normalize={normalize}{published}; --views normalize=model takes that of the weights: {own.settings} "
                f"({own.source})"
            )
        config = architecture_config(arch) or architecture_config(arch.removesuffix(QUICK_SUFFIX))
        yield f"input of {name}: {text}{'; ' + _texts(config) if config else ''}"


def _texts(config: ArchitectureConfig) -> str:
    tokenizer = "CLIP's tokenizer" if config.tokenizer == "clip" else f"the tokenizer {config.tokenizer}"
    return f"texts of {config.text_cfg.context_length} tokens by {tokenizer}"


@dataclass(frozen=True)
class ArchitectureCard:
    """The facts of an architecture that `show` prints.

    Args:
        name: The architecture.
        dimension: Joint dimension of image and text features.
        image_size: Side of the square input in pixels.
        text_length: Tokens of a text.
        tokenizer: `clip`, or the name of a tokenizer on the Hugging Face hub.
        needs: Extra of this package that it needs; empty for none.
        logit_bias: Whether its logits have a bias.
        vision, text: Kinds of the towers; empty if the table of architectures lacks it.
        parameters: Number of parameters; 0 if not known.
        compared: `values` or `shapes`, see the table; empty if not known.
        refused: Reason of each built-in method that does not run.
        inputs: Input settings and the tags that were trained with them.
    """

    name: str
    dimension: int
    image_size: int
    text_length: int
    tokenizer: str
    needs: str
    logit_bias: bool
    vision: str
    text: str
    parameters: int
    compared: str
    refused: dict[str, str]
    inputs: tuple[tuple[InputSettings, tuple[str, ...]], ...]

    def as_dict(self) -> dict[str, JsonValue]:
        """The card as JSON values."""
        values = asdict(self)
        values["inputs"] = [{**asdict(settings), "tags": list(tags)} for settings, tags in self.inputs]
        return values

    def text_lines(self) -> str:
        """The card for people."""
        needs = f" (needs the extra {self.needs})" if self.needs else ""
        lines = [f"{self.name} (architecture of open_clip)"]
        if self.parameters:
            lines.append(f"  towers: {self.vision}, {self.text}; {self.parameters:,} parameters")
            lines.append(f"  compared with open_clip in the slow tests by {self.compared}")
        lines += [
            f"  dimension: {self.dimension}, side {self.image_size}, logit bias: {'yes' if self.logit_bias else 'no'}",
            f"  texts: {self.text_length} tokens, tokenizer {self.tokenizer}{needs}",
            "  input (--views normalize=model)",
            *(f"    {', '.join(tags) or 'no tags'}: {settings}" for settings, tags in self.inputs),
            *(f"  not run: {name}: {reason}" for name, reason in self.refused.items()),
        ]
        return "\n".join(lines)


def architecture_card(name: str) -> ArchitectureCard | None:
    """The card of an architecture of the installed open_clip; None for other names."""
    config = architecture_config(name)
    if config is None:
        return None
    by_input: dict[InputSettings, list[str]] = defaultdict(list)
    for tag, facts in pretrained_tags().get(name, {}).items():
        by_input[facts.input].append(tag)
    known = ARCHITECTURES.get(name)
    return ArchitectureCard(
        name=name, dimension=config.embed_dim, image_size=config.vision_cfg.image_size,
        text_length=config.text_cfg.context_length, tokenizer=config.tokenizer,
        needs="hf" if config.needs_transformers else "", logit_bias=config.init_logit_bias is not None,
        vision=known.vision if known else "", text=known.text if known else "",
        parameters=known.parameters if known else 0, compared=known.compared if known else "",
        refused={method: refusal.reason for method, refusal in known.refused.items()} if known else {},
        inputs=tuple((settings, tuple(tags)) for settings, tags in (by_input or {CLIP_INPUT: []}).items()),
    )  # fmt: skip
