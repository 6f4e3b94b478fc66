"""Make `harness/data/assets/architectures.json`: multiply-adds of each architecture, and methods that do not work.

Models are built on torch's meta device, without weights: `python benchmarks/architecture_table.py [ARCH ...]`. Without
names, all architectures of the table are made again. An architecture whose model cannot be built is left out.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from harness.base.errors import UserError
from harness.cells.architecture_table import ARCHITECTURES, Architecture
from harness.engine.cost.profile import count_gmacs, meta_backbone, plain_attention
from harness.engine.method import method_class
from harness.plugins import registry

TABLE = Path(__file__).resolve().parents[1] / "harness" / "data" / "assets" / "architectures.json"
FRAMES = 8


def measured(arch: str) -> Architecture:
    """The row of an architecture.

    Raises:
        UserError: The model cannot be built, or has no vision tower that takes frames.
    """
    empty = meta_backbone(arch)
    side, refused = empty.image_size, {}
    with torch.no_grad(), plain_attention():
        _, gmacs = count_gmacs(lambda: empty.clip.encode_image(torch.empty(1, 3, side, side, device="meta")))
    for name, source in sorted(registry.sources("method").items()):
        spec = registry.method_spec(name)
        if source.origin != "built-in" or not spec.uses_clip:
            continue
        try:
            with torch.device("meta"):
                method = method_class(name)(copy.deepcopy(empty), spec.options_for({}, frames=FRAMES)).eval()
            with torch.no_grad():
                method.encode_video(torch.empty(1, FRAMES, 3, side, side, device="meta"))
        except UserError as error:
            refused[name] = error.message.removesuffix(".")
    return Architecture(round(gmacs, 3), side, refused)


def main(names: list[str]) -> None:
    """Make the rows of the given architectures, or of all in the table."""
    table = dict(ARCHITECTURES)
    for arch in names or sorted(table):
        try:
            table[arch] = measured(arch)
        except Exception as error:  # optional packages and towers of other kinds fail in many ways
            logging.warning("left out: %s: %s", arch, error)
    content = {arch: asdict(row) for arch, row in sorted(table.items())}
    TABLE.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
