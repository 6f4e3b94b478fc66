"""Videos per second of a row, from evals that computed the video features themselves."""

from __future__ import annotations

from reports.row import Row

CACHED = "cached"
SEVERAL = "several devices"


def throughput(row: Row) -> float | str | None:
    """Videos per second over all evals of a row, a word if there is no meaningful value, None if it is unknown.

    An eval that took frame features from the cache did not run the vision tower: it is left out, and the result is
    `cached` if all evals did. The result is `several devices` if the evals ran on different devices.
    """
    costs = [(entry.record.cost, entry.record.environment.device, entry.measurement.evaluation.evaluated)
             for entry in row.entries]  # fmt: skip
    timed = [(cost.videos_per_second, device, n) for cost, device, n in costs if not cost.features_cached]
    if not timed:
        return CACHED
    timed = [(speed, device, n) for speed, device, n in timed if speed > 0]
    if len({device for _, device, _ in timed}) > 1:
        return SEVERAL
    # The mean over videos, and not over evals: long lists count more.
    seconds = sum(n / speed for speed, _, n in timed)
    return sum(n for _, _, n in timed) / seconds if seconds else None
