"""Token ids of texts, with a check of their length."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import open_clip
from torch import Tensor

from harness.base.errors import UserError

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Tokenizer

OTHER = "ViT-B-16"
"""Architecture whose tokenizer is used for architectures that open_clip does not list, e.g. the embedded tiny CLIP."""


@functools.cache
def _tokenizer(arch: str) -> Tokenizer:
    """Return open_clip's tokenizer of an architecture; cached, because to build it takes a second."""
    tokenizer: Tokenizer = open_clip.get_tokenizer(arch if arch in open_clip.list_models() else OTHER)
    return tokenizer


@functools.lru_cache(maxsize=64)
def tokenize(arch: str, context: int, texts: tuple[str, ...]) -> Tensor:
    """Return token ids (C, context) of C texts, zero padded.

    Args:
        arch: open_clip architecture of the model.
        context: Length of the model's context in tokens.
        texts: The texts.

    Raises:
        UserError: A text has more tokens than the context.
    """
    tokenizer = _tokenizer(arch)
    tokens = tokenizer(list(texts), context_length=context)
    if hasattr(tokenizer, "encode"):
        # open_clip cuts long texts silently: two classes with a long common beginning would get equal features.
        for text in texts:
            length = len(tokenizer.encode(text)) + 2  # with the start and the end token
            if length > context:
                raise UserError(
                    f"The text {text[:60]!r}... has {length} tokens, the model reads {context}.",
                    "Shorten the class name.",
                )
    return tokens
