"""Make `harness/data/assets/architectures.json`, the facts of each architecture, and the table in docs/backbones.md.

Models are built on torch's meta device, without weights: `python benchmarks/architecture_table.py [ARCH ...]`. Without
names, all architectures of the installed open_clip are built. Tokenizers and configurations of Hugging Face are small
files or copies of the published sizes in a temporary cache (tests/engine/hub_cache.py), so that no network is needed.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from harness.base.errors import UserError
from harness.cells.architecture_table import ARCHITECTURES, Architecture, Refusal
from harness.cells.open_clip_source import architecture_config, architectures
from harness.engine.cost.profile import count_gmacs, meta_backbone, plain_attention, shapes_alone
from harness.engine.method import ClipMethod, method_class
from harness.engine.model.clip_model import Backbone
from harness.engine.training.gradient_checkpointing import blocks_of
from harness.plugins import registry
from harness.spec import LabelSet
from harness.spec.method_spec import MethodSpec
from harness.spec.options import OptionValue
from tests.engine import hub_cache

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "harness" / "data" / "assets" / "architectures.json"
DOCS = ROOT / "docs" / "backbones.md"
BEGIN, END = "<!-- table of architectures -->", "<!-- end of the table -->"
FRAMES = 8
STEPS = ("encode_frames", "encode_video", "encode_text")
TOWER = "changes the inside of"
"""Words of the errors of a method that does not fit a tower."""
_REFUSED_KINDS: dict[tuple[str, str, str], bool] = {}
"""Whether no option changes a refusal, by method and kinds of the towers."""


def measured(arch: str) -> Architecture:
    """The row of an architecture.

    Raises:
        UserError: The model cannot be built.
    """
    empty = meta_backbone(arch).requires_grad_(False)
    side = empty.image_size
    with torch.no_grad(), plain_attention():
        images = torch.empty(1, 3, side, side, device="meta")
        features, gmacs = count_gmacs(lambda: empty.encode_images(images))
    assert features.shape == (1, empty.embed_dim), f"{arch}: features of shape {tuple(features.shape)}"
    return Architecture(
        vision=empty.vision_kind, text=empty.text_kind, parameters=sum(p.numel() for p in empty.clip.parameters()),
        gmacs=round(gmacs, 3), image_size=side, blocks=len(blocks_of(empty)),
        batch_norms=sum(isinstance(module, _BatchNorm) for module in empty.modules()), refused=_refused(empty),
    )  # fmt: skip


def _refused(empty: Backbone) -> dict[str, Refusal]:
    """The built-in methods that cannot be set up on a backbone, or that cannot encode a short class name there."""
    refused = {}
    for name, source in sorted(registry.sources("method").items()):
        spec = registry.method_spec(name)
        if source.origin != "built-in" or not spec.uses_clip:
            continue
        if reason := _reason(name, {}, empty):
            refused[name] = Refusal(reason, TOWER in reason and _is_refused_by_towers(spec, empty))
    return refused


def _is_refused_by_towers(spec: type[MethodSpec], empty: Backbone) -> bool:
    """Whether a method refuses the kinds of the towers with each choice of each option."""
    # An option may leave out the tower that does not fit, such as `lora:encoder=vision`.
    kinds = spec.name, empty.vision_kind, empty.text_kind
    if kinds not in _REFUSED_KINDS:
        reasons = (_reason(spec.name, changed, empty) for changed in _changed_options(spec))
        _REFUSED_KINDS[kinds] = all(TOWER in reason for reason in reasons)
    return _REFUSED_KINDS[kinds]


def _changed_options(spec: type[MethodSpec]) -> Iterator[dict[str, OptionValue]]:
    """Each other choice of each option of a method, with defaults for all other options."""
    for option in fields(spec.options_type):
        default = option.default
        choices = (not default,) if isinstance(default, bool) else option.metadata.get("choices") or ()
        yield from ({option.name: value} for value in choices if value != default)


def _reason(name: str, options: dict[str, OptionValue], empty: Backbone) -> str:
    """The error of a method on a backbone without its final full stop; empty if it works."""
    cls, side = method_class(name), empty.image_size
    try:
        with torch.device("meta"):
            method = cls(copy.deepcopy(empty), cls.options_for(options, frames=FRAMES)).eval()
        # Steps that a method does not override are those of the first method, whose steps are CLIP's own.
        steps = [s for s in STEPS if name == "vanilla_clip" or getattr(cls, s) is not getattr(ClipMethod, s)]
        with torch.no_grad(), shapes_alone(empty):
            if {"encode_frames", "encode_video"} & set(steps):
                method.encode_video(torch.empty(1, FRAMES, 3, side, side, device="meta"))
            if "encode_text" in steps:
                method.encode_text(LabelSet(("run",)))
    except UserError as error:
        return error.message.removesuffix(".")
    return ""


def documented(table: Mapping[str, Architecture]) -> str:
    """The table of docs/backbones.md."""
    lines = [
        "| architecture | vision tower | text tower | parameters M | dimension | side | context | tokenizer | compared "
        "| methods that do not run |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for arch, row in sorted(table.items(), key=lambda item: item[0].lower()):
        config = architecture_config(arch)
        if config is None:
            continue
        refused = ", ".join(sorted(row.refused)) or "-"
        tokenizer = config.tokenizer if config.tokenizer == "clip" else f"{config.tokenizer} [hf]"
        lines.append(
            f"| {arch} | {row.vision} | {row.text.removesuffix(' text tower')} | {row.parameters / 1e6:.1f} | "
            f"{config.embed_dim} | {row.image_size} | {config.text_cfg.context_length} | {tokenizer} | "
            f"{row.compared} | {refused} |"
        )
    return "\n".join(lines)


def main(names: list[str]) -> None:
    """Make the rows of the given architectures, or of all, and write the table of the docs."""
    table = dict(ARCHITECTURES)
    for arch in names or architectures():
        started = time.monotonic()
        table[arch] = measured(arch)
        logging.warning("%s: %s, %.0f s", arch, table[arch].vision, time.monotonic() - started)
        content = {name: asdict(row) for name, row in sorted(table.items())}
        TABLE.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    text = DOCS.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    DOCS.write_text(f"{before}{BEGIN}\n\n{documented(table)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    with hub_cache.in_cache_of_all():
        main(sys.argv[1:])
