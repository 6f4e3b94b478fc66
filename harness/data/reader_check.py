"""Comparison of decord with a sequential decode: outcome of a clip, seeded sample, and text for people."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SAMPLE = 8
"""Clips of the sample that `run` compares before it evaluates a list with decord."""
_SHOWN = 3


@dataclass(frozen=True)
class DecodeCheck:
    """Comparison of decord's random access with a sequential decode of one clip.

    Args:
        wrong: Number of published frame indices at which the two readers return different frames.
        declared: Number of frames that decord declares.
        decoded: Number of frames of a sequential decode.
        problem: The reason why the clip could not be compared; empty otherwise.
        skipped: Number of corrupt packets, which the reader `exact` skips as ffmpeg does.
    """

    wrong: int = 0
    declared: int = 0
    decoded: int = 0
    problem: str = ""
    skipped: int = 0


def sample(paths: Sequence[str], size: int = SAMPLE) -> list[str]:
    """Return a sample of list paths that depends on the paths alone, in list order."""
    ordered = sorted(paths)
    chosen = set(random.Random("\n".join(ordered)).sample(ordered, min(size, len(ordered))))
    return [path for path in paths if path in chosen]


def differing(checks: Mapping[str, DecodeCheck]) -> list[str]:
    """Return the paths on which the readers return different frames, the most different first."""
    return sorted((path for path, check in checks.items() if check.wrong), key=lambda path: -checks[path].wrong)


def readers_text(checks: Mapping[str, DecodeCheck], name: str, custom: bool, sampled: bool) -> str:
    """Sentences on the number of clips on which the readers differ, and on the flag that changes the reader.

    Args:
        checks: Comparisons by list path.
        name: Dataset, or dataset and list.
        custom: Whether the dataset has no published numbers.
        sampled: Whether the clips are a sample.
    """
    compared = sum(not check.problem for check in checks.values())
    paths = differing(checks)
    clips = f"{compared} sampled clips" if sampled else f"{compared} clips"
    text = f"{name}: decord returns other frames than a sequential decode on {len(paths)} of {clips}"
    if not paths:
        return f"{text}."
    shown = ", ".join(f"{path}: {checks[path].wrong} wrong frames" for path in paths[:_SHOWN])
    more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
    if custom:
        fix = "Leave `--views reader=decord` out: the reader exact, the default of custom datasets, gives their frames."
    else:
        fix = (
            "The published numbers were measured with decord, so it stays the default; --views reader=exact gives the "
            "frames of the files, as another row."
        )
    return f"{text} ({shown}{more}). {fix}"
