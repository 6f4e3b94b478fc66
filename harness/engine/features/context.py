"""The resources with which a fit or an eval is computed. They change its speed and not its result."""

from __future__ import annotations

from dataclasses import dataclass

from harness.engine.compute.device import Device
from harness.engine.compute.processes import SINGLE_PROCESS, Processes
from harness.engine.features.cache import FeatureCache
from harness.engine.video.clip_memory import ClipMemory
from harness.machine.compute_options import ComputeOptions


@dataclass(frozen=True)
class Context:
    """Device, options, feature cache and processes of a computation.

    Args:
        device: Device and precision of the forward pass.
        compute: Device batch, decode workers, time limit per video, compilation, sharding.
        cache: Cache of frame features of frozen vision towers; None computes all features.
        processes: The processes that share the work.
        clips: Decoded clips of earlier fits and evals; None decodes all clips.
    """

    device: Device
    compute: ComputeOptions
    cache: FeatureCache | None = None
    processes: Processes = SINGLE_PROCESS
    clips: ClipMemory | None = None

    @property
    def pins_memory(self) -> bool:
        """Whether batches are put into pinned memory, from which a GPU copies while it computes."""
        return self.device.kind == "cuda"
