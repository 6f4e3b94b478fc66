"""The command that measures a row again."""

from __future__ import annotations

import shlex
from typing import Any


def reproduce_command(facts: dict[str, Any]) -> str:
    """`python -m harness run ...` for a row of the tidy frame, quoted for a shell."""
    method = str(facts["method"])
    options = facts.get("option_values") or {}
    if options:
        method += ":" + ",".join(f"{name}={_value(value)}" for name, value in sorted(options.items()))
    parts = ["python", "-m", "harness", "run", "--method", method, "--protocol", str(facts["protocol"]),
             "--dataset", str(facts["dataset"])]  # fmt: skip
    return shlex.join(parts)


def _value(value: Any) -> str:
    """An option's value as the command line takes it: quoted where a comma or a blank would end it."""
    text = str(value)
    return f'"{text}"' if any(char in text for char in ", '") else text
