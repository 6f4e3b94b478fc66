"""Token ids of texts by the tokenizer of an architecture, with a check of their length.

open_clip has two kinds of tokenizers: its own byte-pair encoding of CLIP, and tokenizers of Hugging Face, which need
the package `transformers` and files of the hub.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer, get_clean_fn
from torch import Tensor

from harness.base.errors import UserError
from harness.cells.architectures import require_transformers
from harness.engine.model.offline import stay_offline_without_network

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Tokenizer

OTHER = "ViT-B-16"
"""Architecture with CLIP's tokenizer, which the embedded tiny CLIP has as well."""


def tokenizer_of(arch: str) -> Tokenizer:
    """Return open_clip's tokenizer of an architecture.

    Raises:
        UserError: The architecture needs a tokenizer of Hugging Face, and the package `transformers` or the files of
            the tokenizer are missing.
    """
    text = (open_clip.get_model_config(arch) or {}).get("text_cfg", {})
    name = text.get("hf_tokenizer_name", "")
    # All others have CLIP's tokenizer, which is built once: it takes a second.
    return _tokenizer(arch if name or text.get("tokenizer_kwargs") else OTHER, name)


@functools.cache
def _tokenizer(arch: str, name: str) -> Tokenizer:
    require_transformers(arch)
    try:
        if name:
            stay_offline_without_network()
        tokenizer: Tokenizer = open_clip.get_tokenizer(arch)
    except Exception as error:  # a missing file, no network, a hub error and a damaged file raise different types
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"The tokenizer {name} of {arch} could not be read: {type(error).__name__}: {reason}",
            f"Save tokenizer.json and tokenizer_config.json of https://huggingface.co/{name} in the hub's cache: on a "
            f"machine with network `hf download {name} tokenizer.json tokenizer_config.json config.json`, then copy "
            "the folder (HF_HUB_CACHE).",
        ) from None
    if isinstance(tokenizer, SimpleTokenizer) and tokenizer.clean_fn is get_clean_fn("lower"):
        tokenizer.clean_fn = _clean_lower
    return tokenizer


_PLAIN = re.compile("[ !-%'-~]*")
"""Printable characters of ASCII without `&`, which begins a character reference of HTML."""


def _clean_lower(text: str) -> str:
    """Return what open_clip's function returns; plain texts have nothing to repair, which takes half of the time."""
    if _PLAIN.fullmatch(text):
        return " ".join(text.split()).lower()
    cleaned: str = get_clean_fn("lower")(text)
    return cleaned


def pad_id(arch: str) -> int:
    """Return the id of the token that fills the context behind a text: 0 for CLIP's tokenizer.

    Raises:
        UserError: The tokenizer cannot be built.
    """
    if not (open_clip.get_model_config(arch) or {}).get("text_cfg", {}).get("hf_tokenizer_name"):
        return 0  # without building the tokenizer, which takes a second
    tokenizer = tokenizer_of(arch)
    return int(tokenizer.tokenizer.pad_token_id or 0) if isinstance(tokenizer, HFTokenizer) else 0


@functools.lru_cache(maxsize=64)
def tokenize(arch: str, context: int, texts: tuple[str, ...]) -> Tensor:
    """Return token ids (C, context) of C texts, padded by the tokenizer.

    Args:
        arch: open_clip architecture of the model.
        context: Length of the model's context in tokens.
        texts: The texts.

    Raises:
        UserError: A text has more tokens than the context, or the tokenizer cannot be built.
    """
    tokenizer = tokenizer_of(arch)
    if isinstance(tokenizer, SimpleTokenizer) and tokenizer.reduction_fn is None:
        return _simple_tokens(tokenizer, context, texts)
    for text in texts:
        _refuse_long(text, _length(tokenizer, text), context)
    tokens: Tensor = tokenizer(list(texts), context_length=context)
    return tokens


def _simple_tokens(tokenizer: SimpleTokenizer, context: int, texts: tuple[str, ...]) -> Tensor:
    """Return what `SimpleTokenizer.__call__` returns, but encode each text once: the length is that of the same ids."""
    tokens = torch.zeros(len(texts), context, dtype=torch.long)
    for row, text in zip(tokens, texts, strict=True):
        ids = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
        _refuse_long(text, len(ids), context)
        row[: len(ids)] = torch.tensor(ids)
    return tokens


def _refuse_long(text: str, length: int, context: int) -> None:
    # open_clip cuts long texts silently: two classes with a long common beginning would get equal features.
    if length > context:
        raise UserError(
            f"The text {text[:60]!r}... has {length} tokens, the model reads {context}.",
            "Shorten the class name.",
        )


def _length(tokenizer: Tokenizer, text: str) -> int:
    """Return the number of tokens of a whole text, the tokenizer's special tokens included."""
    if isinstance(tokenizer, HFTokenizer):
        # The steps of HFTokenizer.__call__, without truncation.
        cleaned = tokenizer.clean_fn(text)
        if tokenizer.tokenizer_mode == "clips":
            return len(tokenizer.tokenizer(cleaned, add_special_tokens=False).input_ids) + 3
        return len(tokenizer.tokenizer(cleaned, truncation=False, verbose=False).input_ids)
    if isinstance(tokenizer, SimpleTokenizer):
        return len(tokenizer.encode(text)) + 2  # with the start and the end token
    raise UserError(
        f"open_clip gave a tokenizer of type {type(tokenizer).__name__}, whose texts cannot be measured.",
        "Install open_clip_torch 3.x.",
    )
