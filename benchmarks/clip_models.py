"""Write the table of CLIP models with which `submit check` compares records: sizes and tags of every architecture.

    python benchmarks/clip_models.py

The checker does not read the installed open_clip, because the workflow of a board does not install it, and because
another version could know other models.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from harness.cells.open_clip_source import CLIP_INPUT, architecture_config, architectures, pretrained_tags
from harness.submitting.known_models import TABLE, KnownModel


def models_of_open_clip() -> dict[str, KnownModel]:
    """The models of the installed open_clip by architecture."""
    models = {}
    for arch in sorted({*architectures(), *pretrained_tags()}):
        known_tags = dict(sorted(pretrained_tags().get(arch, {}).items()))
        tags = {tag: known.quick_gelu for tag, known in known_tags.items()}
        inputs = {tag: known.input for tag, known in known_tags.items() if known.input != CLIP_INPUT}
        config = architecture_config(arch)
        if config is None:
            models[arch] = KnownModel(None, None, "", tags, inputs)
            continue
        # Text towers of the Hugging Face hub take their length from their own configuration.
        length = None if config.text_cfg.hf_model_name else config.text_cfg.context_length
        models[arch] = KnownModel(config.vision_cfg.image_size, length, config.tokenizer, tags, inputs)
    return models


def main() -> None:
    """Write the table."""
    table = {arch: asdict(model) for arch, model in models_of_open_clip().items()}
    lines = [f"{json.dumps(arch)}: {json.dumps(entry)}" for arch, entry in table.items()]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
