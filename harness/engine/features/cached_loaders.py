"""Lists of videos as batches of cached frame features, in the place of the loaders that decode."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from harness.base.errors import EXIT_FAILED, UserError
from harness.engine.compute.device import Device, casts_kept
from harness.engine.compute.processes import SINGLE_PROCESS, Processes
from harness.engine.features.cache import FeatureCache, FeatureStore, fits_from_features, pools_from_features
from harness.engine.method import ClipMethod
from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw, FitBatches
from harness.engine.video.frames import normalise, split_views
from harness.engine.video.guarded_loader import GuardedLoader
from harness.engine.video.loaders import (
    EvalBatch,
    FitBatch,
    Row,
    drawn_loader,
    no_clip_of_class,
    repeated_view,
    same_class,
)
from harness.machine.compute_options import ComputeOptions
from harness.spec import Recipe, Views

logger = logging.getLogger(__name__)


class ListFeatures:
    """The frame features of a list's videos: read from a store, computed where it lacks them.

    Args:
        store: Of the method's vision tower and the views.
        method: On its device.
        rows: (path or None, label) per video.
        views: How videos are looked at.
        device: Where to compute.
        compute: Workers, time limit.
        dataset: Decodes the clip of a draw.
        per_batch: Videos per device batch.
        drawn: What the views of a draw were drawn from, nothing where they are not random.
        processes: The processes that share the work.
    """

    def __init__(
        self, store: FeatureStore, method: ClipMethod, rows: list[Row], views: Views, device: Device,
    compute: ComputeOptions,
        dataset: Any, per_batch: int, drawn: Callable[[Draw], tuple[int, ...]], processes: Processes = SINGLE_PROCESS,
    ) -> None:  # fmt: skip
        self.store, self.method, self.rows, self.views, self.device = store, method, rows, views, device
        self.compute, self.dataset, self.per_batch, self.drawn = compute, dataset, per_batch, drawn
        self.processes = processes
        self.failed: dict[Draw, str] = {}
        self.computed = 0
        self._entries: dict[Draw, str | None] = {}

    def complete(self, draws: list[Draw], progress: Callable[[int], None] | None = None) -> None:
        """Compute what is missing; afterwards `failed` says which draws have no features, and why.

        Args:
            draws: All that is needed.
            progress: Called with how many of them are settled.
        """
        missing = self._missing(draws)
        batches = [missing[i : i + self.per_batch] for i in range(0, len(missing), self.per_batch)]
        settled = len(draws) - len(missing)
        told: list[tuple[int, str]] = []
        with self.processes.together():
            own = [place for batch in batches[self.processes.rank :: self.processes.size] for place in batch]
            place_of = {draws[place]: place for place in own}
            for decoded in self._decoded([draws[place] for place in own]):
                self._encode(decoded)
                told += [(place_of[draw], reason) for draw, reason in decoded.failed.items()]
                settled += self.processes.size * (len(decoded.draws) + len(decoded.failed))
                if progress:
                    progress(min(settled, len(draws)))
        reasons = {draws[place]: reason for some in self.processes.gather(told) for place, reason in some}
        same = {entry: reason for draw, reason in reasons.items() if (entry := self._entry(draw)) is not None}
        for draw in draws:
            entry = self._entry(draw)
            if draw in reasons or entry in same:  # the same content may be in the list twice
                self.failed[draw] = reasons[draw] if draw in reasons else same[entry or ""]
            elif entry is None:
                self.failed[draw] = "the file cannot be read"

    def _missing(self, draws: list[Draw]) -> list[int]:
        """The places in `draws` whose features are to be computed: each content once, unreadable files all."""
        with self.processes.together():
            missing, asked = [], set()
            for place, draw in enumerate(draws if self.processes.is_leader else ()):
                entry = self._entry(draw)
                if entry is None or (entry not in asked and self.store.read(entry) is None):
                    missing.append(place)
                asked.add(entry)
        # The leading process has read all files: its names of the entries spare the others that, and what it found
        # missing must not change while the others begin to compute.
        entries, missing = self.processes.share([[self._entries.get(draw) for draw in draws], missing])
        self._entries.update(zip(draws, entries, strict=True))
        return list(missing)

    def get(self, draw: Draw, remember: bool = False) -> Tensor:
        """The features (V*T, D) of a draw that did not fail; computed anew if its entry vanished meanwhile."""
        entry = self._entry(draw)
        assert entry is not None
        features = self.store.read(entry)
        if features is None:
            for batch in self._decoded([draw]):
                self._encode(batch)
            features = self.store.read(entry)
        if features is None:
            raise UserError(
                f"The features of {self.rows[draw.index][0]} could be neither kept nor computed again.",
                "Run again with --no-feature-cache.",
                EXIT_FAILED,
            )
        if remember:
            self.store.remember(entry, features)
        return features

    def _entry(self, draw: Draw) -> str | None:
        if draw not in self._entries:
            self._entries[draw] = self.store.entry(self.rows[draw.index][0], *self.drawn(draw))
        return self._entries[draw]

    def _decoded(self, draws: list[Draw]) -> Any:
        if not draws:
            return ()
        batches = [draws[i : i + self.per_batch] for i in range(0, len(draws), self.per_batch)]
        return drawn_loader(self.dataset, batches, self.compute, self.device.kind == "cuda")

    def _encode(self, batch: Any) -> None:
        """Encode decoded clips exactly as an eval does, and store them."""
        if batch.frames is None:
            return
        features = encode_clips(self.method, batch.frames, self.views, self.device)
        for draw, one in zip(batch.draws, features, strict=True):
            if (entry := self._entry(draw)) is not None:
                self.store.write(entry, one)
                self.computed += 1


@torch.no_grad()
def encode_clips(method: ClipMethod, frames: Tensor, views: Views, device: Device) -> Tensor:
    """Frame features (B, V*T, D) on the CPU of uint8 frames (B, V*T, 3, H, W), as an eval computes them."""
    training = method.training
    method.eval()
    video = split_views(normalise(frames, views, device.device), views)
    mixed = torch.autocast(device.kind, dtype=device.dtype, enabled=device.dtype != torch.float32)
    with mixed, casts_kept(device, method.backbone):
        features = method.encode_frames(video)
    method.train(training)
    return features.unflatten(0, (-1, views.count)).flatten(1, 2).cpu()


def eval_features(
    cache: FeatureCache | None, method: ClipMethod, rows: list[Row], views: Views, device: Device,
    compute: ComputeOptions,
    seed: int, per_batch: int, processes: Processes = SINGLE_PROCESS,
) -> ListFeatures | None:  # fmt: skip
    """The features of an evaluation list; None where the method needs pixels or nothing is to be cached."""
    if cache is None or not pools_from_features(method):
        return None
    random = views.sampling == "random"
    dataset = mm_pipeline.ListVideoDataset(rows, mm_pipeline.eval_pipeline(views, method.backbone.image_size), seed)
    return ListFeatures(
        cache.open(method, views, device), method, rows, views, device, compute, dataset, per_batch,
        lambda draw: (seed, draw.index) if random else (), processes,
    )  # fmt: skip


def eval_batches(features: ListFeatures, batches: list[list[int]]) -> Iterator[EvalBatch]:
    """Batches of `EvalBatch` of completed features, composed as `eval_loader` composes them."""
    for batch in batches:
        some = [Draw(index) for index in batch]
        good = [draw for draw in some if draw not in features.failed]
        failed = {draw.index: features.failed[draw] for draw in some if draw in features.failed}
        found = torch.stack([features.get(draw) for draw in good]) if good else None
        yield EvalBatch([draw.index for draw in good], None, failed, found)


def fit_features(
    cache: FeatureCache | None, method: ClipMethod, rows: list[Row], recipe: Recipe, views: Views, device: Device,
    compute: ComputeOptions, per_batch: int, processes: Processes = SINGLE_PROCESS,
) -> ListFeatures | None:  # fmt: skip
    """The features of a training list; None where the recipe augments or blends pixels, or the method needs them.

    Raises:
        UserError: The recipe asks for cached views, which this method or this recipe cannot have.
    """
    blends = recipe.mixup > 0 or recipe.cutmix > 0
    if recipe.views_cached:
        _check_views_cached(method, recipe, blends)
    elif recipe.augmentation != "none":
        return None
    if cache is None or blends or not fits_from_features(method):
        return None
    return list_features(cache, method, rows, recipe, views, device, compute, per_batch, processes)


def list_features(
    cache: FeatureCache, method: ClipMethod, rows: list[Row], recipe: Recipe, views: Views, device: Device,
    compute: ComputeOptions, per_batch: int, processes: Processes = SINGLE_PROCESS,
) -> ListFeatures:  # fmt: skip
    """The features of a training list under a recipe that allows them."""
    repeated = recipe.views_cached > 0 and recipe.augmentation != "none"
    dataset = mm_pipeline.ListVideoDataset(
        rows, mm_pipeline.fit_pipeline(views, method.backbone.image_size, recipe), recipe.seed
    )
    return ListFeatures(
        cache.open(method, views, device, recipe if repeated else None), method, rows, views, device, compute, dataset,
        per_batch, lambda draw: (recipe.seed, draw.epoch, draw.index) if repeated else (), processes,
    )  # fmt: skip


def _check_views_cached(method: ClipMethod, recipe: Recipe, blends: bool) -> None:
    if recipe.views_cached < 0:
        raise UserError(f"recipe.views_cached is {recipe.views_cached}, expected 0 or more.")
    if blends:
        raise UserError(
            "views_cached keeps features and no pixels, so clips cannot be blended.",
            "Add --recipe mixup=0 --recipe cutmix=0: the row then says so in its recipe.",
        )
    if not fits_from_features(method):
        raise UserError(
            f"views_cached needs a frozen, unchanged vision tower; {method.name} trains or changes its own.",
            "Leave views_cached out for this method.",
        )


class FeatureLoader(DataLoader):  # type: ignore[type-arg]
    """Batches of `FitBatch` with features; epochs, order and replaced clips are those of `fit_loader`.

    Args:
        features: Of the training list.
        batches: The fit's batches.
        recipe: Its settings.
    """

    def __init__(self, features: ListFeatures, batches: FitBatches, recipe: Recipe) -> None:
        super().__init__(features.dataset, batch_sampler=batches, num_workers=0)  # type: ignore[arg-type]
        self.features, self.recipe = features, recipe
        self.substitute = same_class(features.rows)
        self.replaced: set[int] = set()

    def complete(self) -> None:
        """Compute all features that the fit will need."""
        rows = range(len(self.features.rows))
        views = range(min(self.recipe.views_cached, self.recipe.epochs)) if self.recipe.views_cached else [-1]
        self.features.complete([self._view(Draw(index, view)) for view in views for index in rows])

    def close(self) -> None:
        """Nothing to end: features are read in this process."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        batches: Any = self.batch_sampler
        for draws in batches:
            found = torch.stack([self.features.get(self._decodable(draw), remember=True) for draw in draws])
            labels = torch.tensor([self.features.rows[draw.index][1] for draw in draws])
            yield FitBatch(None, labels, draws, found)

    def _view(self, draw: Draw) -> Draw:
        """The draw whose features a clip has in its epoch."""
        if self.recipe.views_cached and self.recipe.augmentation != "none":
            return repeated_view(draw, self.recipe.views_cached)
        return Draw(draw.index)

    def _decodable(self, draw: Draw) -> Draw:
        """What stands for a draw: its own view, or that of the next clip of its class that decodes."""
        other: Draw | None = draw
        attempt = 0
        while other is not None and self._view(other) in self.features.failed:
            attempt += 1
            other = self.substitute(draw, attempt)
        if other is None:
            raise no_clip_of_class(self.features.rows, draw, self.features.failed[self._view(draw)])
        if attempt and draw.index not in self.replaced:
            self.replaced.add(draw.index)
            reason = self.features.failed[self._view(draw)]
            logger.warning("clip %d is replaced by clip %d: %s", draw.index, other.index, reason)
        return self._view(other)


def training_loader(
    features: ListFeatures | None, decoding: Callable[[], GuardedLoader], batches: FitBatches, recipe: Recipe
) -> FeatureLoader | GuardedLoader:
    """The loader of a fit: of completed features where there are any, else the one that decodes."""
    if features is None:
        return decoding()
    loader = FeatureLoader(features, batches, recipe)
    loader.complete()
    return loader
