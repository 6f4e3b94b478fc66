"""mmengine's Runner as a fit uses it: atomic checkpoints, any device and precision, any number of processes.

Handled here and in mm_hooks.py (numbers as in docs/stack.md): D4 resuming unpickles objects that torch refuses; D5
checkpoints are written in place; D10 no distributed runs on CPUs, no autocast on CPUs. The other known faults: D1
mmcv-lite must be 2.1 (pyproject.toml, `check env`); D2, D3 in video/mm_setup.py; D6, D7, D11 in video/mm_pipeline.py;
D8, D9 wrong metrics (results/metrics.py computes them instead).
"""

from __future__ import annotations

import io
import logging
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

import harness.engine.video.mm_setup  # noqa: F401  (before mmengine)
from harness.base.atomic import write_bytes
from harness.engine.compute.processes import Processes
from harness.engine.training.checkpoints import newest_readable, resumed_at, sweep
from harness.engine.training.mm_hooks import EpochCheckpoints, EpochOrder, FitProgress, PlainCheckpoints
from harness.engine.training.parallel import spread
from harness.engine.training.sharding import ShardedAdamW
from harness.engine.video.batches import FitBatches
from harness.spec import Recipe

logger = logging.getLogger(__name__)
Mean = Callable[[torch.Tensor], torch.Tensor]


class AtomicLocalBackend(LocalBackend):  # type: ignore[misc]
    """mmengine's local files, written to a temporary name and renamed (D5)."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes atomically."""
        write_bytes(Path(filepath), bytes(obj))

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        """Write text atomically."""
        write_bytes(Path(filepath), obj.encode(encoding))


register_backend("local", AtomicLocalBackend, force=True, prefixes="")


class PrecisionOptimWrapper(OptimWrapper):  # type: ignore[misc]
    """mmengine's OptimWrapper with autocast and loss scaling on any device (D10: theirs asserts a GPU).

    Args:
        dtype: `float32`, `bfloat16` or `float16`; only the last is loss-scaled.
        device: Type of the device, `cpu` or `cuda`.
        keep_casts: Keep the casts of weights over a forward pass; not where weights are gathered block by block, to be
            dropped again.
    """

    def __init__(self, dtype: torch.dtype, device: str, keep_casts: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keep_casts = keep_casts
        self.dtype, self.device_type = dtype, device
        self.scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
        self.skipped_updates = 0

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass, beside mmengine's own accumulation context."""
        with (
            super().optim_context(model),
            torch.autocast(
                self.device_type, dtype=self.dtype, enabled=self.dtype != torch.float32, cache_enabled=self.keep_casts
            ),
        ):
            yield

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Scaled backward pass."""
        self.scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        """Unscale, clip if asked, step; an overflow skips the update and is counted."""
        if self.clip_grad_kwargs:
            self.scaler.unscale_(self.optimizer)
            self._clip_grad()
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()
        self.skipped_updates += int(self.scaler.get_scale() < before)

    def state_dict(self) -> dict[str, Any]:
        """State of optimiser and scaler."""
        state: dict[str, Any] = self.optimizer.state_dict()
        state["scaler"], state["skipped_updates"] = self.scaler.state_dict(), self.skipped_updates
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore optimiser and scaler."""
        self.scaler.load_state_dict(state_dict.pop("scaler"))
        self.skipped_updates = int(state_dict.pop("skipped_updates"))
        self.optimizer.load_state_dict(state_dict)


class FitModel(BaseModel):  # type: ignore[misc]
    """The model that mmengine trains: hands each device batch to a loss function under the optimiser's context.

    Args:
        method: What is trained.
        loss: From a device batch to its loss.
        mean: From the loss of this process to the mean over all of them.
    """

    def __init__(self, method: nn.Module, loss: Callable[[Any], torch.Tensor], mean: Mean = lambda loss: loss) -> None:
        super().__init__(data_preprocessor=nn.Identity())
        self.method, self.batch_loss, self.mean = method, loss, mean

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "loss") -> dict[str, torch.Tensor]:
        """The loss of a device batch (mmengine's calling convention)."""
        return {"loss": self.batch_loss(inputs)}

    def train_step(
        self, data: Any, optim_wrapper: OptimWrapper, through: nn.Module | None = None
    ) -> dict[str, torch.Tensor]:
        """One micro-iteration: forward, backward, and an update where the accumulation is complete.

        The loss is looked at last: reading it waits for a GPU, which would then have no backward pass queued. A loss
        that is not finite ends the fit, on all processes, before a checkpoint could hold what it did. `through` is what
        wraps this model and is called in its place.
        """
        model = self if through is None else through
        with optim_wrapper.optim_context(model):
            loss = model(data)["loss"]
        optim_wrapper.update_params(loss)
        loss = self.mean(loss.detach())
        if not torch.isfinite(loss).item():
            raise FloatingPointError(f"the training loss became {loss.item()}")
        return {"loss": loss}


class FitRunner(Runner):  # type: ignore[misc]
    """mmengine's Runner that leaves the model on its device and prints nothing to stdout."""

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """The model as it is: mmengine would move it to a GPU even where `--device cpu` was asked for."""
        return model

    def _init_model_weights(self) -> None:
        """Nothing: weights are set when a method is built, and what processes share cannot be sent by mmengine."""

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume; what mmengine prints of it (expected missing keys) must not get into `--json` output."""
        with redirect_stdout(io.StringIO()) as printed:
            super().resume(filename, *args, **{"map_location": "cpu", **kwargs})
        logger.debug("%s", printed.getvalue())


def run_fit(
    model: FitModel,
    loader: Any,
    batches: FitBatches,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    work_dir: Path,
    rate: Callable[[int, float], float],
    report: Callable[[int, int, float, float], None],
    dtype: torch.dtype,
    device: str,
    learns: Callable[[str], bool],
    processes: Processes,
    clips: str = "",
) -> dict[str, Any]:
    """Train with mmengine's Runner, resuming from the newest checkpoint of `work_dir` if there is one.

    The leading process chooses the checkpoint; all read it, so that `work_dir` lies where every process sees it.
    `clips` tells the training clips apart from others of the same list.

    Returns:
        `epoch` at the start, and `skipped_updates` (overflows under float16).
    """
    resume: Path | None = None
    with processes.together():
        if processes.is_leader:
            sweep(work_dir)
            resume = newest_readable(work_dir, clips)
    name = processes.share(None if resume is None else resume.name)
    resume = None if name is None else work_dir / name
    with _quiet_mmengine():
        runner = FitRunner(
            model=spread(model, processes),
            work_dir=str(work_dir),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=True, max_epochs=recipe.epochs),
            optim_wrapper=PrecisionOptimWrapper(
                dtype=dtype,
                device=device,
                keep_casts=not isinstance(optimizer, ShardedAdamW),
                optimizer=optimizer,
                accumulative_counts=batches.batches_per_update,
            ),
            default_hooks=dict(
                logger=None, timer=None, checkpoint=None, sampler_seed=None, param_scheduler=None, runtime_info=None
            ),
            custom_hooks=[
                EpochOrder(batches),
                FitProgress(rate, batches.batches_per_update, report),
                EpochCheckpoints(processes, clips),
                PlainCheckpoints(learns),
            ],
            resume=resume is not None,
            load_from=None if resume is None else str(resume),
            randomness=dict(seed=recipe.seed),
            default_scope="mmaction",
            log_level="ERROR",
            experiment_name=f"{work_dir.name}-{uuid.uuid4().hex}",  # mmengine's singletons are keyed by this name
        )
        started = resumed_at(resume)
        loader.replaced.update(started.pop("replaced"))
        runner.train()
    return {**started, "skipped_updates": runner.optim_wrapper.skipped_updates}


@contextmanager
def _quiet_mmengine() -> Iterator[None]:
    """Mmengine's own logger at ERROR: the harness reports progress and keeps its own curve."""
    level = MMLogger.get_current_instance().level
    MMLogger.get_current_instance().setLevel("ERROR")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="mmengine")
            yield
    finally:
        MMLogger.get_current_instance().setLevel(level)
