"""A seeded mutator of bytes, texts and JSON values: what damaged and hostile files look like."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

TOKENS = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n\n", b"\t", b"  ", b"../", b"/etc/passwd", b"..\\", b"\\",
    b'"', b"'", b",", b";", b"-1", b"0", b"00", b"1e999", b"nan", b"NaN", b"Infinity", b"null", b"true", b"{}", b"[]",
    b"[" * 6000, b"9" * 5000, b"-" + b"9" * 400, b"\xc2\x85", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\\ud800",
    b"a" * 200_000, b"%s%n", b"{{7*7}}", b"${HOME}", b"\x1f\x8b\x08\x00", b"PK\x03\x04", b"\x80\x04\x95",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, -(2**70), 0.5, -0.0, 1e308, float("nan"), float("inf"), "", " ",
    "0", "a", "../x", "/etc/passwd", "..", "\0", "\ud800", "\u2028", "x" * 5000, "<script>", [], {}, [[]], [None],
    [1, "a", {}], {"": None}, {"a": {"b": [{}]}}, [["a", "b"]] * 3,
)  # fmt: skip


def mutated(data: bytes, draw: random.Random) -> bytes:
    """`data` after one to four small or large changes."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice((1, 1, 2, 8, 64, 1000)))
        kind = draw.randrange(8)
        if kind == 0 and data:
            at = draw.randrange(len(data))
            data = data[:at] + bytes((data[at] ^ (1 << draw.randrange(8)),)) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[end:]
        elif kind == 2:
            data = data[:end] + data[at:]
        elif kind == 3:
            data = data[:at] + draw.choice(TOKENS) + data[at:]
        elif kind == 4:
            data = data[:at] + draw.choice(TOKENS) + data[end:]
        elif kind == 5:
            data = data[: draw.choice((0, at, at))]
        elif kind == 6:
            data = data[:at] + draw.randbytes(end - at) + data[end:]
        else:
            lines = data.split(b"\n")
            draw.shuffle(lines)
            data = b"\n".join(lines[: draw.randrange(len(lines) + 1)])
    return data


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all entries inside a JSON value, the value itself aside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in [(*here, key), *places(inner, (*here, key))]]


def mutated_json(data: bytes, draw: random.Random) -> bytes:
    """A JSON text of which one to three entries were replaced, removed or added."""
    value = json.loads(data)
    for _ in range(draw.choice((1, 1, 2, 3))):
        found = places(value)
        if not found:
            break
        *way, last = draw.choice(found)
        inner = value
        for key in way:
            inner = inner[key]
        if draw.random() < 0.2:
            del inner[last]
        elif draw.random() < 0.2 and isinstance(inner, dict):
            inner[draw.choice(("", "extra", "schema", "__class__", "\0"))] = copy.deepcopy(draw.choice(VALUES))
        else:
            inner[last] = copy.deepcopy(draw.choice(VALUES))
    return json.dumps(value).encode()
