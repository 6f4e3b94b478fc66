"""mmengine's Runner as a fit uses it: atomic checkpoints, any device and precision, any number of processes.

Handled here and in mm_hooks.py (numbers as in docs/stack.md): D4 resuming unpickles objects that torch refuses; D5
checkpoints are written in place; D10 no distributed runs on CPUs, no autocast on CPUs. The other known faults: D1
mmcv-lite must be 2.1 (pyproject.toml, `check env`); D2, D3 in video/mm_setup.py; D6, D7, D11 in video/mm_pipeline.py;
D8, D9 wrong metrics (results/statistics/metrics.py computes them instead).
"""

from __future__ import annotations

import io
import logging
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.optim.optimizer import StateDict

import harness.engine.video.mm_setup  # noqa: F401  (before mmengine)
from harness.base.atomic import write_bytes
from harness.engine.compute.processes import Processes
from harness.engine.features.cached_loaders import TrainingLoader
from harness.engine.features.context import Context
from harness.engine.method import ClipMethod
from harness.engine.training.checkpoints import newest_readable, read_resume_point, sweep
from harness.engine.training.gradient_clipping import clip_gradients
from harness.engine.training.kept_weights import KeptEpochs
from harness.engine.training.mm_hooks import EpochCheckpoints, EpochOrder, FitProgress, PlainCheckpoints
from harness.engine.training.mm_tracking import TRACK, FitTracking, no_visualizer, tracking_visualizer
from harness.engine.training.parallel import spread
from harness.engine.training.schedule import rate_of_update
from harness.engine.training.sharding import ShardedAdamW
from harness.engine.video.batches import FitBatches
from harness.engine.video.loaders import FitBatch
from harness.spec import Recipe

logger = logging.getLogger(__name__)
Mean = Callable[[torch.Tensor], torch.Tensor]
BatchT = TypeVar("BatchT")


class AtomicLocalBackend(LocalBackend):  # type: ignore[misc]
    """mmengine's local files, written to a temporary name and renamed (D5)."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes atomically."""
        write_bytes(Path(filepath), bytes(obj))

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        """Write text atomically."""
        write_bytes(Path(filepath), obj.encode(encoding))


# At import, because the backend must be replaced before mmengine uses it for the first time.
register_backend("local", AtomicLocalBackend, force=True, prefixes="")


class PrecisionOptimWrapper(OptimWrapper):  # type: ignore[misc]
    """mmengine's OptimWrapper with autocast and loss scaling on any device (D10: theirs asserts a GPU).

    Args:
        dtype: `float32`, `bfloat16` or `float16`; the loss is scaled for `float16` only.
        device: Type of the device, `cpu` or `cuda`.
        optimizer: The optimiser.
        accumulative_counts: Iterations per update.
        clip_norm: Largest L2 norm of the gradient of an update; 0 for no limit.
        keep_casts: Cache the casts of weights during a forward pass. False for FSDP, which frees the weights of each
            block after use, so that a cached cast would keep them in memory.
    """

    def __init__(
        self,
        dtype: torch.dtype,
        device: str,
        optimizer: torch.optim.Optimizer,
        accumulative_counts: int = 1,
        clip_norm: float = 0.0,
        keep_casts: bool = True,
    ) -> None:
        super().__init__(optimizer, accumulative_counts=accumulative_counts)
        self.keep_casts, self.clip_norm = keep_casts, clip_norm
        self.dtype, self.device_type = dtype, device
        # bfloat16 has the exponent range of float32, so that its gradients do not underflow.
        self.scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
        self.skipped_updates = 0

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass, inside mmengine's accumulation context."""
        with (
            super().optim_context(model),
            torch.autocast(
                self.device_type, dtype=self.dtype, enabled=self.dtype != torch.float32, cache_enabled=self.keep_casts
            ),
        ):
            yield

    def backward(self, loss: torch.Tensor) -> None:
        """Scaled backward pass."""
        self.scaler.scale(loss).backward()
        self._inner_count += 1  # mmengine decides by it when an update is complete

    def step(self) -> None:
        """Unscale, clip and step; an overflow skips the update and is counted."""
        before = self.scaler.get_scale()  # the scaler lowers its scale exactly after an overflow
        if self.clip_norm:
            # The limit is for gradients of the loss, not of the scaled loss.
            self.scaler.unscale_(self.optimizer)
            clip_gradients(self.optimizer, self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.skipped_updates += int(self.scaler.get_scale() < before)

    def state_dict(self) -> StateDict:
        """State of optimiser and scaler."""
        state: StateDict = self.optimizer.state_dict()
        # mmengine saves only what this function returns; without the scale a resumed fp16 fit would start from the
        # first one.
        state["scaler"], state["skipped_updates"] = self.scaler.state_dict(), self.skipped_updates
        return state

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Restore optimiser and scaler."""
        # Without a scale if an earlier session ran in bf16 or fp32: this one then starts with the default scale.
        if scale := state_dict.pop("scaler"):
            self.scaler.load_state_dict(scale)
        self.skipped_updates = int(state_dict.pop("skipped_updates"))
        self.optimizer.load_state_dict(state_dict)


class FitModel(BaseModel, Generic[BatchT]):  # type: ignore[misc]
    """The model that mmengine trains: passes each device batch to a loss function under the optimiser's context.

    Args:
        method: The method to train.
        loss: Computes the loss of a device batch.
        mean: Computes the mean of a loss over all processes.
    """

    def __init__(
        self, method: ClipMethod, loss: Callable[[BatchT], torch.Tensor], mean: Mean = lambda loss: loss
    ) -> None:
        # mmengine's default preprocessor would walk through each batch and move its tensors; the loss does that itself.
        super().__init__(data_preprocessor=nn.Identity())
        self.method, self.batch_loss, self.mean = method, loss, mean

    def forward(self, inputs: BatchT, data_samples: None = None, mode: str = "loss") -> dict[str, torch.Tensor]:
        """The loss of a device batch (mmengine's calling convention)."""
        return {"loss": self.batch_loss(inputs)}

    def train_step(
        self, data: BatchT, optim_wrapper: OptimWrapper, through: nn.Module | None = None
    ) -> dict[str, torch.Tensor]:
        """One micro-iteration: forward, backward, and an update if the accumulation is complete.

        Args:
            data: A device batch.
            optim_wrapper: Optimiser with precision and accumulation.
            through: The wrapper of this model for several processes, which is called in its place.

        Raises:
            FloatingPointError: The loss is not finite. Raised on all processes, before the next checkpoint is written.
        """
        model = self if through is None else through
        with optim_wrapper.optim_context(model):
            loss = model(data)["loss"]
        optim_wrapper.update_params(loss)
        # Read only after the backward pass is queued, because reading waits for the GPU.
        loss = self.mean(loss.detach())
        if not torch.isfinite(loss).item():
            raise FloatingPointError(f"the training loss became {loss.item()}")
        return {"loss": loss}


class FitRunner(Runner):  # type: ignore[misc]
    """mmengine's Runner, changed so that it leaves the model on its device and prints nothing to stdout."""

    def wrap_model(self, model_wrapper_cfg: Mapping[str, str] | None, model: nn.Module) -> nn.Module:
        """Return the model unchanged: mmengine would move it to a GPU even with `--device cpu`."""
        return model

    def _init_model_weights(self) -> None:
        """Do nothing: a method sets its weights when it is built, and mmengine cannot broadcast sharded parameters."""

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str = "cpu",
    ) -> None:
        """Resume without mmengine's output on stdout (expected missing keys), which would spoil `--json` output."""
        with redirect_stdout(io.StringIO()) as printed:
            super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
        logger.debug("%s", printed.getvalue())


@dataclass(frozen=True)
class Training:
    """The parts of a fit that mmengine's Runner puts together.

    Args:
        model: The model on its device.
        loader: Yields device batches.
        batches: The order of clips; its epoch is set here.
        optimizer: Optimiser over the trained parameters; each group has its `peak_lr`.
        recipe: Optimisation settings.
        clips: Fingerprint of the training clips that are present; checkpoints of other clips are not resumed.
        kept: Epochs whose trained tensors are written into the folder of the fit, counted from 1.
    """

    model: FitModel[FitBatch]
    loader: TrainingLoader
    batches: FitBatches
    optimizer: torch.optim.Optimizer
    recipe: Recipe
    clips: str = ""
    kept: tuple[int, ...] = ()


@dataclass(frozen=True)
class Ended:
    """Facts of a finished training.

    Args:
        resumed_at: Epoch at which this session began, 0 for a fresh fit.
        skipped_updates: Updates skipped because of float16 overflow.
    """

    resumed_at: int
    skipped_updates: int


def run_fit(
    training: Training, folder: Path, context: Context, report: Callable[[int, int, float, float], None]
) -> Ended:
    """Train with mmengine's Runner, resuming from the newest checkpoint of the folder if there is one.

    The leading process chooses the checkpoint and all processes read it, so all of them must see the folder.

    Args:
        training: Model, loader, optimiser and recipe.
        folder: Folder of the fit, for checkpoints.
        context: Device and processes.
        report: Called with (epoch, iteration, loss, rate of the first group) after each iteration.

    Raises:
        FloatingPointError: The loss is not finite.
    """
    resume = _checkpoint_to_resume(folder, training.clips, context.processes)
    if resume is None and context.processes.is_leader:
        shutil.rmtree(folder / TRACK, ignore_errors=True)  # of an earlier fit, which this one replaces
    with _quiet_mmengine():
        runner = _build_runner(training, folder, context, report, resume)
        start = read_resume_point(resume)
        if context.processes.is_leader:
            KeptEpochs(folder, training.kept).begin(start.epoch)
        # Clips that an earlier session replaced belong to the fit's record, too.
        training.loader.replaced.update(start.replaced)
        try:
            runner.train()
        finally:
            runner.visualizer.close()  # events of an interrupted fit are still in memory
    return Ended(start.epoch, runner.optim_wrapper.skipped_updates)


def _checkpoint_to_resume(folder: Path, clips: str, processes: Processes) -> Path | None:
    checkpoint: Path | None = None
    with processes.together():
        if processes.is_leader:
            sweep(folder)
            checkpoint = newest_readable(folder, clips)
    # A name instead of a path: the run folder may have another path on another machine.
    name: str | None = processes.share(None if checkpoint is None else checkpoint.name)
    return None if name is None else folder / name


def _build_runner(
    training: Training,
    folder: Path,
    context: Context,
    report: Callable[[int, int, float, float], None],
    resume: Path | None,
) -> FitRunner:
    recipe, batches, device = training.recipe, training.batches, context.device
    trained = {f"method.{name}" for name in training.model.method.trained_state()}

    # One process writes: the loss is the mean over all of them.
    tracked = context.compute.track and context.processes.is_leader

    def rate(update: int, peak: float) -> float:
        return rate_of_update(update, recipe, batches.plan.micro_batches, peak)

    return FitRunner(
        model=spread(training.model, context.processes),
        work_dir=str(folder),
        train_dataloader=training.loader,
        train_cfg=dict(by_epoch=True, max_epochs=recipe.epochs),
        optim_wrapper=PrecisionOptimWrapper(
            dtype=device.dtype,
            device=device.kind,
            keep_casts=not isinstance(training.optimizer, ShardedAdamW),
            optimizer=training.optimizer,
            accumulative_counts=batches.batches_per_update,
            clip_norm=recipe.clip_norm,
        ),
        # mmengine's hooks would change rates, print and save unsafe checkpoints; the hooks below replace them.
        default_hooks=dict(
            logger=None, timer=None, checkpoint=None, sampler_seed=None, param_scheduler=None, runtime_info=None
        ),
        custom_hooks=[
            EpochOrder(batches),
            FitProgress(rate, batches.batches_per_update, report),
            EpochCheckpoints(context.processes, training.clips, KeptEpochs(folder, training.kept), trained),
            PlainCheckpoints(lambda name: name in trained),
            *([FitTracking(context.processes.size)] if tracked else []),
        ],
        visualizer=tracking_visualizer(folder) if tracked else no_visualizer(),
        resume=resume is not None,
        # mmengine resumes the file of `load_from`. Without it, it would read its own `last_checkpoint`, which may name
        # a checkpoint that a kill damaged.
        load_from=None if resume is None else str(resume),
        randomness=dict(seed=recipe.seed),
        default_scope="mmaction",
        log_level="ERROR",
        experiment_name=f"{folder.name}-{uuid.uuid4().hex}",  # mmengine's singletons are keyed by this name
    )


@contextmanager
def _quiet_mmengine() -> Iterator[None]:
    """Set mmengine's logger to ERROR: the harness reports progress and keeps its own curve."""
    level = MMLogger.get_current_instance().level
    MMLogger.get_current_instance().setLevel("ERROR")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="mmengine")
            yield
    finally:
        MMLogger.get_current_instance().setLevel(level)
