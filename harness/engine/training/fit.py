"""One training run: a method, a list and a recipe through mmengine's Runner, resumable at every epoch."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from harness.base.atomic import write_bytes
from harness.base.canonical import fingerprint
from harness.base.errors import EXIT_FAILED, UserError
from harness.base.files import file_sha256
from harness.engine.compute.device import Device
from harness.engine.compute.processes import SINGLE_PROCESS, Processes
from harness.engine.features.cache import FeatureCache
from harness.engine.features.cached_loaders import fit_features, training_loader
from harness.engine.method import ClipMethod
from harness.engine.model.compiled import compile_if_asked, compile_if_it_pays
from harness.engine.training import mm_runner
from harness.engine.training.closed_form import solve
from harness.engine.training.gradient_checkpointing import checkpointed
from harness.engine.training.schedule import rate_of_update
from harness.engine.training.sharding import Sharding
from harness.engine.training.step import batch_loss, build_optimizer
from harness.engine.video.batches import FitBatches
from harness.engine.video.loaders import Row, fit_loader
from harness.machine.compute_options import ComputeOptions
from harness.spec import LabelSet, Recipe, Views
from results.fit_file import FitOutcome

logger = logging.getLogger(__name__)
WEIGHTS = "weights.safetensors"
CURVE = "curve.jsonl"
Progress = Callable[[int, int, float | None], None]
"""Called with (iterations done, iterations in all, loss); the loss is None in a closed form."""


def fit(
    method: ClipMethod,
    rows: list[Row],
    label_set: LabelSet,
    recipe: Recipe,
    views: Views,
    folder: Path,
    device: Device,
    compute: ComputeOptions,
    progress: Progress | None = None,
    cache: FeatureCache | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> FitOutcome:
    """Train a method on a list; leaves `weights.safetensors` and `curve.jsonl` in `folder`.

    Interrupted at any moment and called again, it ends with the same weights: order, augmentation and blending are
    functions of (seed, epoch, position), and parameters, optimiser and loss scale are restored from the last epoch.

    Args:
        method: Set up on its backbone.
        rows: (path or None, label) of the training list.
        label_set: Classes of the training list.
        recipe: Optimisation settings.
        views: Frames and normalisation; one random view per clip and epoch.
        folder: Of this fit alone.
        device: Where to compute.
        compute: Device batch, workers, time limit.
        progress: Shown to people.
        cache: Where frame features are kept and found. They take the place of clips where the vision tower is frozen
            and the recipe augments and blends nothing, or asks for `views_cached`.
        processes: The processes that share each update evenly; the leading one writes.

    Raises:
        UserError: The list is too short, nothing learns, a class has no decodable clip, the loss is not finite,
            views are to be cached and cannot be, or the processes cannot share an update evenly.
    """
    with processes.together():
        method = method.to(device.device)
    if method.fits_at_once:
        return _fit_at_once(method, rows, label_set, recipe, views, folder, device, compute, progress, cache, processes)
    with processes.together():
        clips = compute.fit_clips or (16 if device.kind == "cpu" else 32)
        batches = FitBatches(len(rows), recipe, clips, processes.rank, processes.size)
        compile_if_asked(method.backbone, compute.compile, device)
        clips = batches.groups_per_batch * recipe.micro_batch
        features = fit_features(cache, method, rows, recipe, views, device, compute, clips, processes)
        if features is None:
            compile_if_it_pays(
                method.backbone, compute.compile, device, "fit", recipe.epochs * len(rows) * views.frames
            )
        shard = compute.shard if processes.size > 1 else "none"
        sharding = Sharding(method, device, vision=features is None) if shard == "fsdp" else None
    if sharding is not None:
        sharding.share(processes)
    with processes.together():
        optimizer = build_optimizer(method, recipe, shard)
    size, pin = method.backbone.image_size, device.kind == "cuda"
    loader = training_loader(
        features, lambda: fit_loader(rows, recipe, views, size, batches, compute, pin), batches, recipe
    )
    model = mm_runner.FitModel(method, batch_loss(method, label_set, recipe, views, device), processes.mean)
    if device.kind == "cuda":
        torch.cuda.reset_peak_memory_stats(device.device)
    trained = {f"method.{name}" for name in method.trained_state()}
    curve = _Curve(folder / CURVE)
    total = recipe.epochs * len(batches)
    started = time.perf_counter()

    def report(epoch: int, iteration: int, loss: float, rate: float) -> None:
        if not processes.is_leader:
            return
        curve.add(epoch, iteration, loss, rate, time.perf_counter() - started)
        if progress:
            progress(iteration + 1, total, loss)

    try:
        with checkpointed(method.backbone, compute.grad_checkpointing):
            status = mm_runner.run_fit(
                model, loader, batches, optimizer, recipe, folder,
                lambda update, peak: rate_of_update(update, recipe, batches.plan.micro_batches, peak),
                report, device.dtype, device.kind, lambda name: name in trained, processes,
                fingerprint([[path.name if path else None, label] for path, label in rows]),
            )  # fmt: skip
    except FloatingPointError as error:
        failure = UserError(
            f"The fit of {method.name} failed: {error}.", "Lower the rate: --recipe lr=...", EXIT_FAILED
        )
        raise processes.mark_common(failure) from None
    except RuntimeError as error:
        if sharding is None or "DTensor" not in str(error):
            raise
        reason = f"{method.name} uses weights of a block outside of it, which --shard fsdp shares out: {error}"
        raise processes.mark_common(UserError(reason, "Use --shard zero.", EXIT_FAILED)) from None
    finally:
        curve.close()
        loader.close()
    if sharding is not None:
        sharding.undo()
    peak = torch.cuda.max_memory_allocated(device.device) / 2**30 if device.kind == "cuda" else 0.0
    told = processes.gather([sorted(loader.replaced), peak])
    outcome: dict[str, Any] = {}
    with processes.together():
        if processes.is_leader:
            _write_weights(method, folder)
            _remove_session_files(folder)
            outcome = _outcome(batches, curve, status, told)
    return FitOutcome(**processes.share(outcome))


def _remove_session_files(folder: Path) -> None:
    """Remove what mmengine leaves of every session: an empty log and a dump of its configuration."""
    for path in folder.glob("[0-9]*_[0-9]*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix == ".py":
            path.unlink(missing_ok=True)


def _outcome(batches: FitBatches, curve: _Curve, status: dict[str, Any], told: list[Any]) -> dict[str, Any]:
    """The fields of `FitOutcome`; `told` holds (replaced rows, peak memory) of every process."""
    recipe = batches.recipe
    last = [row["loss"] for row in curve.read() if row["epoch"] == recipe.epochs - 1]
    return dict(
        updates=batches.plan.updates * recipe.epochs,
        updates_per_epoch=batches.plan.updates,
        unused_per_epoch=batches.plan.unused,
        final_loss=sum(last) / len(last) if last else None,
        seconds=curve.seconds(),
        resumed_at=status["epoch"],
        skipped_updates=status["skipped_updates"],
        replaced=sorted({row for rows, _ in told for row in rows}),
        peak_memory_gib=max(peak for _, peak in told),
    )


def _fit_at_once(
    method: ClipMethod, rows: list[Row], label_set: LabelSet, recipe: Recipe, views: Views, folder: Path,
    device: Device, compute: ComputeOptions, progress: Progress | None,
    cache: FeatureCache | None, processes: Processes,
) -> FitOutcome:  # fmt: skip
    """A fit in closed form: one update, and no loss to report."""
    with processes.together():
        compile_if_asked(method.backbone, compute.compile, device)
    started = time.perf_counter()
    replaced = solve(method, rows, label_set, recipe, views, device, compute, cache, progress, processes)
    with processes.together():
        if processes.is_leader:
            _write_weights(method, folder)
    seconds = round(time.perf_counter() - started, 3)
    return FitOutcome(1, 1, 0, None, seconds, resumed_at=0, skipped_updates=0, replaced=replaced)


def _write_weights(method: ClipMethod, folder: Path) -> None:
    with torch.no_grad():
        method.after_fit()
    state = {name: value.detach().cpu().contiguous() for name, value in method.trained_state().items()}
    write_bytes(folder / WEIGHTS, save(state))


def read_trained(path: Path, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """The trained tensors of a finished fit, name -> tensor.

    Args:
        path: The weights file.
        sha256: Hash of the file as the fit left it, where it is known.

    Raises:
        UserError: The file is missing, changed since, or not a safetensors file.
    """
    way_out = "Restore them, or fit again with --force."
    if not path.is_file():
        raise UserError(f"The weights {path} of a finished fit are missing.", way_out, EXIT_FAILED)
    if sha256 is not None and (found := file_sha256(path)) != sha256:
        message = f"The weights {path} are not those that the fit left: they have sha256 {found}, expected {sha256}."
        raise UserError(message, way_out, EXIT_FAILED)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"The weights {path} are damaged: {error}.", way_out, EXIT_FAILED) from None


def load_fit(method: ClipMethod, folder: Path, sha256: str | None = None) -> None:
    """Load the trained tensors of a finished fit into a method.

    Args:
        method: Set up on its backbone.
        folder: Of the fit.
        sha256: Of the weights as the fit left them, where it is known.

    Raises:
        UserError: The weights are missing, changed since, or of another method or backbone: never a silent fall-back.
    """
    path = folder / WEIGHTS
    state = read_trained(path, sha256)
    expected = method.trained_state()
    missing, unexpected = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    shapes = [n for n in state if n in expected and state[n].shape != expected[n].shape]
    if missing or unexpected or shapes:
        raise UserError(
            f"{path} does not fit {method.name}: missing {missing[:3]}, unexpected {unexpected[:3]}, "
            f"other shape {shapes[:3]}.",
            "The method or the backbone changed since the fit; fit again with --force.",
        )
    method.load_state_dict(state, strict=False)


class _Curve:
    """Loss and rate of every iteration, one JSON line each; a resumed fit overwrites the epochs it repeats."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None

    def add(self, epoch: int, iteration: int, loss: float, rate: float, seconds: float) -> None:
        if self._file is None:
            kept = [row for row in self.read() if row["epoch"] < epoch]
            self._before = max((row["seconds"] for row in kept), default=0.0)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())
            # A line at a time: a checkpoint on disk means that the rows of its epochs are there too.
            self._file = self.path.open("a", encoding="utf-8", buffering=1)
        row = {"epoch": epoch, "iteration": iteration, "loss": round(loss, 6), "lr": rate}
        self._file.write(json.dumps({**row, "seconds": round(self._before + seconds, 3)}) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Rows on disk; a last line cut by a kill is ignored."""
        rows = []
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    rows.append(json.loads(line))
                except ValueError:
                    break
        return rows

    def seconds(self) -> float:
        """Wall time of the fit's iterations over all sessions."""
        return max((row["seconds"] for row in self.read()), default=0.0)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
