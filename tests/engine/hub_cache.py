"""Tokenizers and text towers of Hugging Face in a cache of the hub's layout, since tests cannot reach the hub.

The tokenizers know a few words and letters. The configurations have the widths and depths of the published models,
whose files are on the hub; the numbers of the published models are in the papers and in `config.json` of each.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

Config = Mapping[str, str | int | float | bool]

WORDS = ("a", "photo", "of", "person", "run", "jump", "fly", "wave", "walk", "riding", "bike", "video",
         "the", "is", "who")  # fmt: skip
_ROBERTA: Config = {"model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
_NLLB: Config = {"model_type": "m2m_100", "vocab_size": 256206, "d_model": 1024, "max_position_embeddings": 1024,
                 "scale_embedding": True}  # fmt: skip
_MT5: Config = {"model_type": "mt5", "vocab_size": 250112, "feed_forward_proj": "gated-gelu",
                "is_encoder_decoder": True, "tie_word_embeddings": False}  # fmt: skip
TOWERS: dict[str, Config] = {
    "roberta-base": _ROBERTA,
    "xlm-roberta-base": _ROBERTA | {"model_type": "xlm-roberta", "vocab_size": 250002},
    "xlm-roberta-large": _ROBERTA
    | {"model_type": "xlm-roberta", "vocab_size": 250002, "hidden_size": 1024, "num_hidden_layers": 24,
       "num_attention_heads": 16, "intermediate_size": 4096},
    "facebook/nllb-200-distilled-600M": _NLLB
    | {"encoder_layers": 12, "decoder_layers": 12, "encoder_attention_heads": 16, "decoder_attention_heads": 16,
       "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096},
    "facebook/nllb-200-distilled-1.3B": _NLLB
    | {"encoder_layers": 24, "decoder_layers": 24, "encoder_attention_heads": 16, "decoder_attention_heads": 16,
       "encoder_ffn_dim": 8192, "decoder_ffn_dim": 8192},
    "google/mt5-base": _MT5 | {"d_model": 768, "d_ff": 2048, "d_kv": 64, "num_layers": 12, "num_heads": 12},
    "google/mt5-xl": _MT5 | {"d_model": 2048, "d_ff": 5120, "d_kv": 64, "num_layers": 24, "num_heads": 32},
}  # fmt: skip
"""Configurations of the text towers in open_clip's architectures."""
TOKENIZERS_WITH_BOS = ("roberta", "xlm", "bert", "nllb")


def snapshot(cache: Path, repository: str) -> Path:
    """The folder of the only revision of a repository in a cache, which is created."""
    root = cache / f"models--{repository.replace('/', '--')}"
    folder = root / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True, exist_ok=True)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / "main").write_text("0" * 40)
    return folder


def add_tokenizer(cache: Path, repository: str) -> None:
    """Write a small tokenizer whose special tokens have the ids of the published tokenizer's family."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    # XLM and NLLB: <s> 0, <pad> 1, </s> 2; T5 and SigLIP: <pad> 0, </s> 1; BERT: [PAD] 0, [CLS] 1, [SEP] 2 here.
    sides = any(part in repository for part in TOKENIZERS_WITH_BOS)
    first = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"] if "bert-base" in repository else (
        ["<s>", "<pad>", "</s>", "<unk>"] if sides else ["<pad>", "</s>", "<unk>"]
    )  # fmt: skip
    pad, end = ("[PAD]", "[SEP]") if "bert-base" in repository else ("<pad>", "</s>")
    begin = {"bert-base": "[CLS]"}.get(repository[:9], "<s>") if sides else ""
    unknown = next(word for word in first if "unk" in word.lower())
    vocabulary = {word: index for index, word in enumerate([*first, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    pairs = [(word, vocabulary[word]) for word in (begin, end) if word]
    tokenizer.post_processor = processors.TemplateProcessing(f"{begin} $A {end}".strip(), None, pairs)
    folder = snapshot(cache, repository)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": pad, "eos_token": end, "unk_token": unknown}
    names |= {"sep_token": end, **({"cls_token": begin, "bos_token": begin} if begin else {})}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    if repository not in TOWERS:  # transformers reads the configuration of a model before its tokenizer
        (folder / "config.json").write_text("{}")


def add_tower(cache: Path, repository: str, **smaller: int) -> None:
    """Write the configuration of a text tower, with other sizes where given."""
    (snapshot(cache, repository) / "config.json").write_text(json.dumps({**TOWERS[repository], **smaller}))


def fill(cache: Path) -> Path:
    """Write the tokenizers and towers of all architectures of the installed open_clip; returns the cache."""
    from harness.cells.open_clip_source import architecture_config, architectures

    configs = [config for arch in architectures() if (config := architecture_config(arch)) is not None]
    for name in sorted({config.text_cfg.hf_tokenizer_name for config in configs} - {""}):
        add_tokenizer(cache, name)
    for name in sorted({config.text_cfg.hf_model_name for config in configs} - {""}):
        add_tower(cache, name)
    return cache


@contextmanager
def in_cache_of_all() -> Iterator[Path]:
    """Let the hub's client read tokenizers and towers of all architectures from a temporary cache."""
    with tempfile.TemporaryDirectory() as folder, used(fill(Path(folder))) as cache:
        yield cache


@contextmanager
def used(cache: Path) -> Iterator[Path]:
    """Let the hub's client read nothing but a cache in the `with` block."""
    import huggingface_hub.constants as hub

    from harness.engine.model import tokenizer

    before = hub.HF_HUB_CACHE, hub.HF_HUB_OFFLINE
    hub.HF_HUB_CACHE, hub.HF_HUB_OFFLINE = str(cache), True
    tokenizer._tokenizer.cache_clear()
    tokenizer.tokenize.cache_clear()
    try:
        yield cache
    finally:
        hub.HF_HUB_CACHE, hub.HF_HUB_OFFLINE = before
        tokenizer._tokenizer.cache_clear()
        tokenizer.tokenize.cache_clear()
