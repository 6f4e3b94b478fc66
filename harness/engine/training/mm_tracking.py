"""Tracking of a fit through mmengine's visualisers: TensorBoard events and JSON lines in the folder of the fit.

mmengine's visualiser appends: after an interruption the iterations that a fit repeats would be there twice. The
backends of this module drop the repeated iterations, as `curve.jsonl` does. They also write no configuration, which
would hold paths of this machine.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import VISBACKENDS
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend, Visualizer
from torch import Tensor

from harness.base.atomic import write_bytes
from harness.engine.video.loaders import FitBatch

TRACK = "track"
"""Folder of the files below the folder of a fit."""
SCALARS = "scalars.json"


@VISBACKENDS.register_module(force=True)
class TrackedLines(LocalVisBackend):  # type: ignore[misc]
    """JSON lines, one for each iteration."""

    def add_config(self, config: Config, **kwargs: str) -> None:
        """Write nothing."""

    def begin(self, iteration: int) -> None:
        """Remove the lines from an iteration on, which this session repeats, and a line that a kill left torn."""
        path, kept = Path(self._save_dir) / SCALARS, []
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                if json.loads(line)["step"] >= iteration:
                    break
            except (ValueError, KeyError, TypeError):
                break
            kept.append(f"{line}\n")
        write_bytes(path, "".join(kept).encode())


@VISBACKENDS.register_module(force=True)
class TrackedEvents(TensorboardVisBackend):  # type: ignore[misc]
    """TensorBoard events, one for each iteration and value."""

    def add_config(self, config: Config, **kwargs: str) -> None:
        """Write nothing."""

    def begin(self, iteration: int) -> None:
        """Start the events of a session; TensorBoard drops earlier events from the iteration on."""
        from torch.utils.tensorboard import SummaryWriter

        self._tensorboard = SummaryWriter(self._save_dir, purge_step=iteration or None)
        self._env_initialized = True  # mmengine's own initialisation has no `purge_step`


def tracking_visualizer(folder: Path) -> dict[str, str | list[dict[str, str]]]:
    """The configuration of mmengine's visualiser for the files below the folder of a fit."""
    backends = [{"type": name, "save_dir": str(folder / TRACK)} for name in ("TrackedLines", "TrackedEvents")]
    return {"type": "Visualizer", "vis_backends": backends}


class _NoFigure(Visualizer):  # type: ignore[misc]
    """A visualiser that draws nothing: matplotlib, which takes half a second to import, is not needed."""

    def _initialize_fig(self, fig_cfg: dict[str, bool]) -> tuple[None, _Resolution, None]:
        return None, _Resolution(), None


class _Resolution:
    """The part of a figure of matplotlib that mmengine's visualiser reads when it is built."""

    def get_dpi(self) -> float:
        """Return the default of matplotlib in dots per inch."""
        return 100.0


@functools.cache
def no_visualizer() -> Visualizer:
    """Return mmengine's visualiser for fits without tracking. One serves all fits of a process."""
    return _NoFigure("harness")


class FitTracking(Hook):  # type: ignore[misc]
    """Sends loss, learning rate, clips per second and epoch of every iteration to the visualiser of the Runner.

    Args:
        processes: Number of processes, each of which computes a batch in an iteration.
    """

    # After `FitProgress` (NORMAL), which sets the rate.
    priority = "LOW"

    def __init__(self, processes: int) -> None:
        self.processes, self._begun = processes, 0.0

    def before_train(self, runner: Runner) -> None:
        """Begin a session at the iteration of the checkpoint."""
        for backend in runner.visualizer._vis_backends.values():
            backend.begin(runner.iter)

    def before_train_epoch(self, runner: Runner) -> None:
        """Measure the time of the first batch from here: writing a checkpoint is not a part of it."""
        self._begun = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: FitBatch, outputs: Mapping[str, Tensor]
    ) -> None:
        """Add the values of an iteration."""
        now = time.perf_counter()
        clips = len(data_batch.labels) * self.processes
        values = {
            "loss": float(outputs["loss"]),
            "learning_rate": float(runner.optim_wrapper.optimizer.param_groups[0]["lr"]),
            "clips_per_second": round(clips / max(now - self._begun, 1e-9), 3),
            "epoch": runner.epoch + 1,
        }
        runner.visualizer.add_scalars(values, step=runner.iter)
        self._begun = now
