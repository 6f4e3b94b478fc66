"""Texts of the fields of a measurement in the JSON objects whose hashes are its keys."""

from __future__ import annotations

import math
from dataclasses import dataclass, is_dataclass
from functools import cached_property
from json.encoder import encode_basestring
from operator import attrgetter

from harness.base.canonical import canonical_json
from results.codec import JsonLike
from results.measurement_parts import (
    Evaluation,
    Expected,
    FieldValue,
    MethodId,
    ModelId,
    Plain,
    ProtocolId,
    Training,
    computed_once,
)

Part = ProtocolId | MethodId | ModelId | Training | Evaluation
"""Parts of a measurement that are dataclasses."""


@dataclass(frozen=True)
class PartTexts:
    """Makes the entries of a part of a measurement in the JSON object whose hash is a key.

    Args:
        name: The field of the measurement that holds the part.
        paths: Paths, in the part, of the fields that enter a key; empty for a part without fields.
        later: Positions of later fields in `paths`, and their entries at the default.
    """

    name: str
    paths: tuple[str, ...]
    later: tuple[tuple[int, str], ...]

    def of(self, part: Part | Plain) -> list[str]:
        """The entries of all fields of a part; empty texts for later fields at their default."""
        if not is_dataclass(part):
            return [f'"{self.name}":{field_text(part)}']
        # Records share most of their parts, and the texts take longer than the hashes.
        return computed_once(part, "_texts", lambda: self._texts(part))

    def _texts(self, part: Part) -> list[str]:
        values = zip(self.names, attrgetter(*self.paths)(part), strict=True)
        # Most values are texts, for which a function call takes as long as the encoding.
        texts = [
            name + (encode_basestring(value) if type(value) is str else field_text(value)) for name, value in values
        ]
        for index, default in self.later:
            if texts[index] == default:
                texts[index] = ""
        return texts

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the fields in the JSON object, with quotes and colon."""
        return tuple(f'"{self.name}.{path}":' for path in self.paths)


def field_text(value: FieldValue) -> str:
    """Canonical JSON of a value; 5 and 5.0 give the same text."""
    # Most values are texts and numbers; the general encoder is several times slower for them.
    if type(value) is str:
        return encode_basestring(value)
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(int(value) if int(value) == value else value)
    if value is None or type(value) is bool:
        return _CONSTANTS[value]
    if type(value) is dict and not value:
        return "{}"
    if isinstance(value, (tuple, list)):
        return f"[{','.join([field_text(item) for item in value])}]"
    return canonical_json(normal(value))


_CONSTANTS = {None: "null", True: "true", False: "false"}


def normal(value: FieldValue | JsonLike) -> JsonLike:
    """A value as it is hashed: 5.0 becomes 5, and tuples become lists."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (list, tuple)):
        return [normal(item) for item in value]
    if isinstance(value, Expected):
        raise TypeError(f"an expected evaluation enters no key, found {value}")
    if isinstance(value, dict):
        return {name: normal(item) for name, item in value.items()}
    return value
