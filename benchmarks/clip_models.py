"""Write the table of CLIP models with which `submit check` compares records: sizes and tags of every architecture.

    python benchmarks/clip_models.py

The checker does not read the installed open_clip, because the workflow of a board does not install it, and because
another version could know other models.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.cells.architectures import architectures, pretrained_tags
from harness.submitting.known_models import TABLE, TEXT_LENGTH, KnownModel


def models_of_open_clip() -> dict[str, KnownModel]:
    """The models of the installed open_clip by architecture."""
    import open_clip

    folder = Path(open_clip.__file__).parent / "model_configs"
    models = {}
    for arch in sorted({*architectures(), *pretrained_tags()}):
        file = folder / f"{arch}.json"
        config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        vision, text = config.get("vision_cfg") or {}, config.get("text_cfg") or {}
        # Text towers of the Hugging Face hub take their length from their own configuration.
        length = None if text.get("hf_model_name") or not config else text.get("context_length", TEXT_LENGTH)
        size = vision.get("image_size")
        tags = {tag: known.quick_gelu for tag, known in sorted(pretrained_tags().get(arch, {}).items())}
        models[arch] = KnownModel(size if isinstance(size, int) else None, length, tags)
    return models


def main() -> None:
    """Write the table."""
    table = {arch: vars(model) for arch, model in models_of_open_clip().items()}
    lines = [f"{json.dumps(arch)}: {json.dumps(entry)}" for arch, entry in table.items()]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
