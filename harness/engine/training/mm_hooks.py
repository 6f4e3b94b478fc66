"""Hooks of mmengine's Runner for fits: order of clips, learning rates, reports of iterations, and checkpoints.

Checkpoints hold plain types only (D4 of docs/stack.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.optim.optimizer import StateDict

from harness.engine.compute.processes import Processes
from harness.engine.training.checkpoints import CHECKPOINT, epoch_checkpoints
from harness.engine.training.kept_weights import KeptEpochs
from harness.engine.training.parallel import SpreadModel, consolidate
from harness.engine.training.sharding import gathered, shared_out
from harness.engine.video.batches import FitBatches
from harness.engine.video.loaders import FitBatch


def model_of(runner: Runner) -> nn.Module:
    """The model of a runner without its wrapper for several processes."""
    model: nn.Module = runner.model.module if isinstance(runner.model, SpreadModel) else runner.model
    return model


class PlainCheckpoints(Hook):  # type: ignore[misc]
    """Converts the objects of a checkpoint to plain types, so that torch loads it with `weights_only` (D4).

    It also drops frozen parameters, whose values come from the backbone.

    Args:
        keep: Whether the checkpoint holds the parameter of a name.
    """

    # After `EpochCheckpoints` (LOW), which adds whole parameters to the checkpoint that is converted here.
    priority = "VERY_LOW"

    def __init__(self, keep: Callable[[str], bool]) -> None:
        self.keep = keep

    def before_save_checkpoint(self, runner: Runner, checkpoint: StateDict) -> None:
        """Convert the checkpoint to plain types."""
        checkpoint["message_hub"] = _plain(checkpoint["message_hub"])
        # `cfg` repeats the arguments of the Runner as text, the folder of this machine among them.
        checkpoint["meta"] = {k: v for k, v in _plain(checkpoint["meta"]).items() if k != "cfg"}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if self.keep(k)}

    def after_load_checkpoint(self, runner: Runner, checkpoint: StateDict) -> None:
        """Restore mmengine's history objects."""
        checkpoint["message_hub"] = _restored(checkpoint["message_hub"])


def _plain(value: Any) -> Any:
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        return {"__history__": True, "max_length": value.max_length, "log": log.tolist(), "count": count.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        # A named tuple is a class of its own, which `weights_only` refuses.
        return type(value)(_plain(v) for v in value) if type(value) in (list, tuple) else [_plain(v) for v in value]
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, dict) and value.get("__history__"):
        return HistoryBuffer(value["log"], value["count"], value["max_length"])
    if isinstance(value, dict):
        return {k: _restored(v) for k, v in value.items()}
    return value


class EpochCheckpoints(Hook):  # type: ignore[misc]
    """Writes a checkpoint after every epoch and keeps the last two.

    Args:
        processes: The leading process writes; with FSDP all processes gather the parameters.
        clips: Fingerprint of the training clips that are present.
        kept: Writes the trained tensors of the epochs that are needed after the fit.
        trained: Names of these tensors in the model, which begin with `method.`.
    """

    priority = "LOW"

    def __init__(self, processes: Processes, clips: str, kept: KeptEpochs, trained: Collection[str]) -> None:
        self.processes, self.clips, self.kept, self.trained = processes, clips, kept, trained
        self._shared: dict[str, Tensor] = {}

    def after_train_epoch(self, runner: Runner) -> None:
        """Save the epoch, then remove checkpoints older than the previous epoch."""
        # All processes take part in these three exchanges; only then the leading process goes on alone.
        consolidate(runner.optim_wrapper.optimizer)
        self._shared = gathered(model_of(runner))
        replaced = self.processes.gather(sorted(runner.train_loop.dataloader.replaced))
        if not self.processes.is_leader:
            return
        done = runner.epoch + 1
        if done in self.kept.epochs:
            self.kept.add(done, self._trained(runner))
        meta = {"replaced": sorted({row for rows in replaced for row in rows}), "clips": self.clips}
        runner.save_checkpoint(runner.work_dir, CHECKPOINT.format(done), meta=meta, by_epoch=True)
        # After the new file is complete (D5: mmengine removes the old one first). Two stay, because `newest_readable`
        # falls back to the previous one if the newest is damaged.
        for old in epoch_checkpoints(Path(runner.work_dir))[2:]:
            old.unlink(missing_ok=True)
        self._shared = {}

    def _trained(self, runner: Runner) -> dict[str, Tensor]:
        """The trained tensors by the names of the method, without shards."""
        state = {**model_of(runner).state_dict(), **self._shared}
        return {name.removeprefix("method."): state[name] for name in self.trained}

    def before_save_checkpoint(self, runner: Runner, checkpoint: StateDict) -> None:
        """Replace the shards of parameters by unsharded parameters."""
        checkpoint["state_dict"].update(self._shared)

    def after_load_checkpoint(self, runner: Runner, checkpoint: StateDict) -> None:
        """Shard the parameters that this session shards."""
        checkpoint["state_dict"] = shared_out(checkpoint["state_dict"], model_of(runner))


class EpochOrder(Hook):  # type: ignore[misc]
    """Sets the epoch of the batch sampler, and the iteration of a resumed fit.

    Args:
        batches: The batch sampler.
    """

    def __init__(self, batches: FitBatches) -> None:
        self.batches = batches

    def after_load_checkpoint(self, runner: Runner, checkpoint: StateDict) -> None:
        """Set the iteration for this session's device batch and processes; the last session may have had others."""
        checkpoint["meta"]["iter"] = checkpoint["meta"]["epoch"] * len(self.batches)

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the epoch."""
        self.batches.epoch = runner.epoch


class FitProgress(Hook):  # type: ignore[misc]
    """Sets the learning rate of each group before an update, and reports loss and rate after every iteration.

    Args:
        rate: Computes the rate of (update, peak rate).
        per_update: Iterations per update.
        report: Called with (epoch, iteration, loss, rate of the first group).
    """

    def __init__(
        self, rate: Callable[[int, float], float], per_update: int, report: Callable[[int, int, float, float], None]
    ) -> None:
        self.rate, self.per_update, self.report = rate, per_update, report

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: FitBatch | None = None) -> None:
        """Set the rate of the next update."""
        # mmengine counts iterations, the schedule counts updates: with accumulation several iterations make one.
        update = runner.iter // self.per_update
        for group in runner.optim_wrapper.optimizer.param_groups:
            group["lr"] = self.rate(update, group["peak_lr"])

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: FitBatch, outputs: Mapping[str, Tensor]
    ) -> None:
        """Report (epoch, iteration, loss, rate)."""
        rate = runner.optim_wrapper.optimizer.param_groups[0]["lr"]
        self.report(runner.epoch, runner.iter, float(outputs["loss"]), float(rate))
