"""mmengine and mmaction2 as they are used here, without their known faults; beside it only `mm_*.py` import them.

Handled here and in mm_hooks.py (numbers as in the documentation of the stack, docs/stack.md):
D1 mmcv-lite must be 2.1 (pinned in pyproject.toml, checked by `check env`); D2 mmaction2's wheel lacks the package
`drn`; D3 it imports an undeclared `importlib_metadata`; D4 resuming unpickles objects that torch refuses; D5
checkpoints are written in place; D6 decoding from memory crashes on truncated AVI files; D7 wrong frame counts in
headers (reader `exact`, and `check data`); D8, D9 wrong metrics (results/statistics/metrics.py instead); D10 no
distributed runs on CPUs, no autocast on CPUs; D11 the same augmentation in every epoch.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import logging
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")
warnings.filterwarnings("ignore", message=".*lr_scheduler.step.. before .optimizer.step.*")

if importlib.util.find_spec("importlib_metadata") is None:  # D3
    sys.modules["importlib_metadata"] = importlib.metadata

from mmaction.datasets import VideoDataset  # noqa: E402
from mmaction.datasets.transforms import DecordInit  # noqa: E402
from mmaction.registry import TRANSFORMS  # noqa: E402
from mmengine.fileio import LocalBackend, register_backend  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.model import BaseModel  # noqa: E402
from mmengine.optim import OptimWrapper  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

from harness.base.atomic import write_bytes  # noqa: E402
from harness.engine.batches import Draw, FitBatches  # noqa: E402
from harness.engine.checkpoints import newest_readable, resumed_at, sweep  # noqa: E402
from harness.engine.exact_reader import SequentialVideo  # noqa: E402
from harness.engine.mm_hooks import EpochCheckpoints, EpochOrder, FitProgress, PlainCheckpoints  # noqa: E402
from harness.engine.parallel import spread  # noqa: E402
from harness.engine.sharding import ShardedAdamW  # noqa: E402
from harness.engine.transforms import (  # noqa: E402
    ClipGrayScale,
    PackClip,
    PerFrameColorJitter,
    SampleViews,
    resize_side,
    seeded_draws,
)
from harness.engine.world import World  # noqa: E402
from harness.spec import Recipe, Views  # noqa: E402

logger = logging.getLogger(__name__)
Mean = Callable[[torch.Tensor], torch.Tensor]


def ensure_action_models() -> None:
    """Make `import mmaction.models` work with the wheel of mmaction2 1.2.0, which lacks one localizer (D2)."""
    spec = importlib.util.find_spec("mmaction")
    if spec is None or not spec.submodule_search_locations:
        return
    folder = Path(next(iter(spec.submodule_search_locations))) / "models" / "localizers" / "drn"
    name = "mmaction.models.localizers.drn"
    if folder.is_dir() or name in sys.modules:
        return
    package, module = ModuleType(name), ModuleType(f"{name}.drn")
    package.__path__ = []
    module.DRN = type("DRN", (), {"__doc__": "Placeholder: the wheel does not contain this localizer."})  # type: ignore[attr-defined]
    sys.modules[name], sys.modules[module.__name__] = package, module


# video input --------------------------------------------------------------------------------------------------------


@TRANSFORMS.register_module(force=True)
class PathDecordInit(DecordInit):  # type: ignore[misc]
    """mmaction2's DecordInit, opening files by path: decoding from memory crashes on truncated AVI files (D6)."""

    def _get_video_reader(self, filename: str) -> Any:
        import decord

        return decord.VideoReader(filename, num_threads=self.num_threads)


@TRANSFORMS.register_module(force=True)
class HarnessExactInit(DecordInit):  # type: ignore[misc]
    """The reader `exact`: frames of a sequential decode behind decord's interface (D7)."""

    def _get_video_reader(self, filename: str) -> Any:
        return SequentialVideo(filename)


for _transform in (SampleViews, PerFrameColorJitter, ClipGrayScale, PackClip):
    TRANSFORMS.register_module(name=f"Harness{_transform.__name__}", module=_transform, force=True)


def eval_pipeline(views: Views, size: int) -> list[dict[str, Any]]:
    """The published evaluation pipeline: centre frames, short side 256/224 of the size, centre crop.

    With three crops the short side is the size itself. Output: (crops * clips * frames, 3, size, size), crop-major.
    """
    if views.clips == 1 and views.sampling == "centre":
        sample = dict(type="SampleFrames", clip_len=1, frame_interval=1, num_clips=views.frames, test_mode=True)
    else:
        sample = dict(type="HarnessSampleViews", frames=views.frames, clips=views.clips, sampling=views.sampling)
    short = size if views.crops == 3 else resize_side(size)
    crop = dict(type="ThreeCrop" if views.crops == 3 else "CenterCrop", crop_size=size)
    return [
        *_reader(views), sample, dict(type="DecordDecode"), dict(type="Resize", scale=(-1, short)), crop,
        dict(type="FormatShape", input_format="NCHW"), dict(type="HarnessPackClip"),
    ]  # fmt: skip


def fit_pipeline(views: Views, size: int, recipe: Recipe) -> list[dict[str, Any]]:
    """The published training pipeline, or plain evaluation views where the recipe asks for no augmentation."""
    single = Views(frames=views.frames, normalize=views.normalize, reader=views.reader)
    if recipe.augmentation == "none":
        return eval_pipeline(single, size)
    flip = [dict(type="Flip", flip_ratio=0.5)] if recipe.flip else []
    return [
        *_reader(views),
        dict(type="SampleFrames", clip_len=1, frame_interval=1, num_clips=views.frames),
        dict(type="DecordDecode"),
        dict(type="Resize", scale=(-1, resize_side(size))),
        dict(
            type="MultiScaleCrop", input_size=size, scales=(1, 0.875, 0.75, 0.66), max_wh_scale_gap=1,
            random_crop=False, num_fixed_crops=5,
        ),
        dict(type="Resize", scale=(size, size), keep_ratio=False),
        *flip,
        dict(type="HarnessPerFrameColorJitter"),
        dict(type="HarnessClipGrayScale"),
        dict(type="FormatShape", input_format="NCHW"),
        dict(type="HarnessPackClip"),
    ]  # fmt: skip


def _reader(views: Views) -> list[dict[str, Any]]:
    return [dict(type="PathDecordInit" if views.reader == "decord" else "HarnessExactInit")]


class ListVideoDataset(VideoDataset):  # type: ignore[misc]
    """mmaction2's VideoDataset over rows in memory, indexed by `Draw`.

    Rows are given rather than an annotation file because that format cannot hold blanks in paths. Every clip is drawn
    from its own seed (D11).

    Args:
        rows: (path on disk or None, label) per video.
        pipeline: mmaction2 transforms.
        seed: Base seed of all draws.
    """

    def __init__(self, rows: list[tuple[Path | None, int]], pipeline: list[dict[str, Any]], seed: int) -> None:
        self.rows, self.seed = rows, seed
        # Built here, in mmaction2's own registry: whichever default scope is active then does not matter.
        transforms = [TRANSFORMS.build(step) for step in pipeline]
        super().__init__(ann_file="", pipeline=transforms, test_mode=True, serialize_data=False)

    def load_data_list(self) -> list[dict[str, Any]]:
        """The rows as mmaction2 expects them."""
        return [dict(filename="" if path is None else str(path), label=label) for path, label in self.rows]

    def __getitem__(self, draw: Draw) -> Any:
        path, _ = self.rows[draw.index]
        if path is None:
            raise FileNotFoundError("not found under the dataset's folder")
        # In evaluation the epoch is -1 and the draw depends on the row alone: views are the same in every run.
        place = draw.index if draw.epoch < 0 else draw.position
        with seeded_draws(self.seed, draw.epoch + 1, place):
            return self.prepare_data(draw.index)


# fits ---------------------------------------------------------------------------------------------------------------


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
    world: World,
    clips: str = "",
) -> dict[str, Any]:
    """Train with mmengine's Runner, resuming from the newest checkpoint of `work_dir` if there is one.

    The leading process chooses the checkpoint; all read it, so that `work_dir` lies where every process sees it.
    `clips` tells the training clips apart from others of the same list.

    Returns:
        `epoch` at the start, and `skipped_updates` (overflows under float16).
    """
    resume: Path | None = None
    with world.together():
        if world.leads:
            sweep(work_dir)
            resume = newest_readable(work_dir, clips)
    name = world.share(None if resume is None else resume.name)
    resume = None if name is None else work_dir / name
    with _quiet_mmengine():
        runner = FitRunner(
            model=spread(model, world),
            work_dir=str(work_dir),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=True, max_epochs=recipe.epochs),
            optim_wrapper=PrecisionOptimWrapper(
                dtype=dtype, device=device, keep_casts=not isinstance(optimizer, ShardedAdamW), optimizer=optimizer,
                accumulative_counts=batches.batches_per_update,
            ),
            default_hooks=dict(
                logger=None, timer=None, checkpoint=None, sampler_seed=None, param_scheduler=None, runtime_info=None
            ),
            custom_hooks=[
                EpochOrder(batches),
                FitProgress(rate, batches.batches_per_update, report),
                EpochCheckpoints(world, clips),
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
