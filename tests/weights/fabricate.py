"""One small CLIP, written in every form in which people have weights."""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

WIDTH, TEXT_WIDTH, DIM, PATCH, GRID, CONTEXT, VOCABULARY, LAYERS = 128, 64, 32, 8, 2, 16, 300, 2
SCALARS = {"input_resolution": PATCH * GRID, "context_length": CONTEXT, "vocab_size": VOCABULARY}
CONFIG = {
    "embed_dim": DIM,
    "vision_cfg": {"image_size": PATCH * GRID, "layers": LAYERS, "width": WIDTH, "patch_size": PATCH},
    "text_cfg": {
        "context_length": CONTEXT, "vocab_size": VOCABULARY, "width": TEXT_WIDTH, "heads": 1, "layers": LAYERS
    },
}  # fmt: skip


def state(seed: int = 0) -> dict[str, Tensor]:
    """The weights under OpenAI's names, rounded to float16 as OpenAI's are."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "visual.conv1.weight": (WIDTH, 3, PATCH, PATCH), "visual.class_embedding": (WIDTH,),
        "visual.positional_embedding": (GRID**2 + 1, WIDTH), "visual.proj": (WIDTH, DIM),
        "token_embedding.weight": (VOCABULARY, TEXT_WIDTH), "positional_embedding": (CONTEXT, TEXT_WIDTH),
        "text_projection": (TEXT_WIDTH, DIM), "logit_scale": (),
    }  # fmt: skip
    norms = [("visual.ln_pre", WIDTH), ("visual.ln_post", WIDTH), ("ln_final", TEXT_WIDTH)]
    for prefix, width in (("visual.", WIDTH), ("", TEXT_WIDTH)):
        for layer in range(LAYERS):
            block = f"{prefix}transformer.resblocks.{layer}."
            norms += [(f"{block}ln_1", width), (f"{block}ln_2", width)]
            for name, shape in (
                ("attn.in_proj_", (3 * width, width)), ("attn.out_proj.", (width, width)),
                ("mlp.c_fc.", (4 * width, width)), ("mlp.c_proj.", (width, 4 * width)),
            ):  # fmt: skip
                shapes |= {f"{block}{name}weight": shape, f"{block}{name}bias": shape[:1]}
    for name, width in norms:
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return {n: torch.from_numpy(rng.normal(0, 0.2, s).astype(np.float16)).float() for n, s in shapes.items()}


def transformers_state(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names of transformers' CLIPModel, with its buffers of positions."""
    renamed: dict[str, Tensor] = {
        "logit_scale": weights["logit_scale"],
        "visual_projection.weight": weights["visual.proj"].T.contiguous(),
        "text_projection.weight": weights["text_projection"].T.contiguous(),
        "vision_model.embeddings.class_embedding": weights["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": weights["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": weights["visual.positional_embedding"],
        "vision_model.embeddings.position_ids": torch.arange(GRID**2 + 1)[None],
        "text_model.embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": weights["positional_embedding"],
        "text_model.embeddings.position_ids": torch.arange(CONTEXT)[None],
    }
    norms = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm",
             "ln_final": "text_model.final_layer_norm"}  # fmt: skip
    inside = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
              "attn.out_proj": "self_attn.out_proj"}  # fmt: skip
    for name, value in weights.items():
        block = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)", name)
        if block:
            layer = f"{'vision' if block[1] else 'text'}_model.encoder.layers.{block[2]}."
            if block[3] == "attn.in_proj":
                for kind, part in zip("qkv", value.chunk(3), strict=True):
                    renamed[f"{layer}self_attn.{kind}_proj.{block[4]}"] = part.clone()
            else:
                renamed[f"{layer}{inside[block[3]]}.{block[4]}"] = value
        elif name.rpartition(".")[0] in norms:
            renamed[f"{norms[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}"] = value
    return renamed


def transformers_config(activation: str = "quick_gelu", heads: int = WIDTH // 64) -> str:
    """The `config.json` of transformers' CLIPModel."""
    towers = {"vision_config": {"num_attention_heads": heads}, "text_config": {"num_attention_heads": 1}}
    return json.dumps({"model_type": "clip", **{k: {**v, "hidden_act": activation} for k, v in towers.items()}})


def torchscript(path: Path, weights: dict[str, Tensor]) -> None:
    """A TorchScript archive with OpenAI's scalars, as OpenAI published its weights."""
    root = nn.Module()
    for name, value in weights.items():
        *parents, last = name.split(".")
        module = root
        for part in parents:
            if not hasattr(module, part):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        module.register_parameter(last, nn.Parameter(value, requires_grad=False))
    for name, number in SCALARS.items():
        root.register_buffer(name, torch.tensor(number))
    root.forward = lambda x: x + root.logit_scale
    torch.jit.save(torch.jit.trace(root, torch.zeros(1)), path)


def sharded(folder: Path, weights: dict[str, Tensor], write: Callable[[dict[str, Tensor], Path], Any]) -> Path:
    """Two shards and their index in the layout of transformers."""
    folder.mkdir(exist_ok=True)
    suffix = "safetensors" if write is save_file else "bin"
    names = sorted(weights)
    shards = {f"model-0000{i + 1}-of-00002.{suffix}": names[i::2] for i in range(2)}
    for file, own in shards.items():
        write({name: weights[name].contiguous() for name in own}, folder / file)
    index = folder / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": {n: file for file, own in shards.items() for n in own}}))
    return index


def legacy(content: Any) -> bytes:
    """The bytes that torch.save wrote before version 1.6."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def zip_of(data: bytes, folder: str = "archive") -> bytes:
    """A zip file of PyTorch whose pickle is given."""
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{folder}/data.pkl", data)
    return file.getvalue()


LEGACY_HEAD = b"".join(
    pickle.dumps(value, 2)
    for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})
)
"""The three pickles before the content of a file of torch < 1.6."""
