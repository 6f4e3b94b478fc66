"""Loaders of cached frame features, which replace the loaders of decoded clips if the vision tower is frozen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from harness.base.errors import EXIT_FAILED, UserError
from harness.engine.compute.device import Device, casts_kept
from harness.engine.features.cache import (
    CacheFullError,
    FeatureCache,
    FeatureStore,
    fits_from_features,
    pools_from_features,
)
from harness.engine.features.context import Context
from harness.engine.job import EvalJob, FitJob, Job
from harness.engine.method import ClipMethod
from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw, FitBatches
from harness.engine.video.decode import Undecodable
from harness.engine.video.frames import normalise, split_views
from harness.engine.video.guarded_loader import GuardedLoader
from harness.engine.video.loaders import (
    DrawnBatch,
    EvalBatch,
    FitBatch,
    TrainingClips,
    drawn_loader,
    repeated_view,
)
from harness.engine.video.transforms import PackedClip
from harness.engine.video.view_transforms import video_seed
from harness.plugins.view_transforms import transform_identity
from harness.spec import Recipe, Views
from harness.spec.augmentation import parse_augmentation

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureBatch:
    """Frame features of clips of any draws.

    Args:
        draws: Draws of the clips that could be decoded.
        features: (len(draws), V*T, D) on the CPU; None if no clip could be decoded.
        failed: Undecodable clips by draw.
    """

    draws: list[Draw]
    features: Tensor | None
    failed: dict[Draw, Undecodable]


@dataclass(frozen=True)
class FeatureSource:
    """The stored features of a list and the clips from which missing features are computed.

    Args:
        store: Features of the method's vision tower under the views.
        dataset: Decodes the clip of a draw.
        seeds: The numbers from which the views of a draw are drawn; empty if the views are not random.
    """

    store: FeatureStore
    dataset: mm_pipeline.ListVideoDataset
    seeds: Callable[[Draw], tuple[int, ...]]


class ListFeatures:
    """Frame features of the videos of a list, read from a store and computed if the store lacks them.

    Args:
        job: Method on its device, list and views.
        context: Device, decode options, processes that share the work.
        source: Store and dataset.
        per_batch: Videos per device batch.

    Attributes:
        failed: Undecodable clips by draw, after `complete`.
        computed: Number of features that this process computed.
    """

    def __init__(self, job: Job, context: Context, source: FeatureSource, per_batch: int) -> None:
        self.method, self.rows, self.views = job.method, job.rows, job.views
        self.store, self.dataset, self.seeds = source.store, source.dataset, source.seeds
        self.context, self.processes, self.per_batch = context, context.processes, per_batch
        self.failed: dict[Draw, Undecodable] = {}
        self.computed = 0
        self._entries: dict[Draw, str | None] = {}

    def complete(self, draws: list[Draw], progress: Callable[[int], None] | None = None) -> None:
        """Compute the missing features of all draws and set `failed`. All processes call this.

        Args:
            draws: Every draw whose features will be read.
            progress: Called with the number of draws that are read or computed.
        """
        missing = self._missing(draws)
        # Processes take whole batches in turn, so that each runs full device batches.
        batches = [missing[i : i + self.per_batch] for i in range(0, len(missing), self.per_batch)]
        done = len(draws) - len(missing)
        failed_here: list[tuple[int, str, str]] = []
        with self.processes.together():
            own = [index for batch in batches[self.processes.rank :: self.processes.size] for index in batch]
            index_of = {draws[index]: index for index in own}
            for batch in self._decoded([draws[index] for index in own]):
                self._encode(batch)
                failed_here += [(index_of[draw], clip.reason, clip.sha256) for draw, clip in batch.failed.items()]
                # An estimate that needs no exchange: the other processes are about as fast.
                done += self.processes.size * (len(batch.draws) + len(batch.failed))
                if progress:
                    progress(min(done, len(draws)))
        gathered = [found for part in self.processes.gather(failed_here) for found in part]
        failed = {draws[index]: Undecodable(reason, sha256) for index, reason, sha256 in gathered}
        # Only the first of several files with the same content was decoded; all of them have its outcome.
        by_entry = {entry: clip for draw, clip in failed.items() if (entry := self._entry(draw)) is not None}
        for draw in draws:
            entry = self._entry(draw)
            if draw in failed:
                self.failed[draw] = failed[draw]
            elif entry in by_entry:
                self.failed[draw] = by_entry[entry]

    def complete_if_room(self, draws: list[Draw], progress: Callable[[int], None] | None = None) -> bool:
        """`complete`; False if a single process has no room for the features, with a warning.

        Raises:
            CacheFullError: There is no room, and other processes wait for this one.
        """
        try:
            self.complete(draws, progress)
        except CacheFullError as error:
            if self.processes.size > 1:
                raise
            logger.warning("%s Clips are decoded without the cache.", error.message)
            return False
        return True

    def _missing(self, draws: list[Draw]) -> list[int]:
        """Indices of the draws to decode: each missing content once, and every row without a file."""
        with self.processes.together():
            missing, checked = [], set()
            for index, draw in enumerate(draws if self.processes.is_leader else ()):
                entry = self._entry(draw)
                if entry is None or (entry not in checked and self.store.read(entry) is None):
                    missing.append(index)
                checked.add(entry)
        # Only the leading process hashes the files and looks for entries: hashing once is cheaper, and another
        # process would miss the entries that are being written by then.
        entries = self.processes.share([self._entries.get(draw) for draw in draws])
        self._entries.update(zip(draws, entries, strict=True))
        return list(self.processes.share(missing))

    def get(self, draw: Draw, remember: bool = False) -> Tensor:
        """The features (V*T, D) of a draw that is not in `failed`.

        They are computed again if their entry was removed from the store since `complete`.

        Args:
            draw: The draw.
            remember: Keep the features in memory for the next call.

        Raises:
            UserError: The features cannot be computed again.
        """
        entry = self._entry(draw)
        assert entry is not None
        features = self.store.read(entry)
        if features is None:  # a user may delete the folder of the cache at any time
            for batch in self._decoded([draw]):
                self._encode(batch)
            features = self.store.read(entry)
        if features is None:
            raise UserError(
                f"The features of {self.rows[draw.index][0]} were removed from the cache, and the video cannot be "
                "decoded again.",
                "Run again with --no-feature-cache.",
                EXIT_FAILED,
            )
        if remember:
            self.store.remember(entry, features)
        return features

    def _entry(self, draw: Draw) -> str | None:
        if draw not in self._entries:
            seconds = self.context.compute.decode_seconds
            self._entries[draw] = self.store.entry(self.rows[draw.index][0], *self.seeds(draw), seconds=seconds)
        return self._entries[draw]

    def _decoded(self, draws: list[Draw]) -> Iterable[DrawnBatch]:
        if not draws:
            return ()
        batches = [draws[i : i + self.per_batch] for i in range(0, len(draws), self.per_batch)]
        return drawn_loader(self.dataset, batches, self.context.compute, self.context.pins_memory)

    def _encode(self, batch: DrawnBatch) -> None:
        """Encode decoded clips exactly as an eval does, and store their features."""
        if batch.frames is None:
            return
        encoded = encode_clips(self.method, batch.frames, self.views, self.context.device)
        for draw, features in zip(batch.draws, encoded, strict=True):
            if (entry := self._entry(draw)) is not None:
                self.store.write(entry, features)
                self.computed += 1


@torch.no_grad()
def encode_clips(method: ClipMethod, frames: Tensor, views: Views, device: Device) -> Tensor:
    """Frame features (B, V*T, D) on the CPU of uint8 frames (B, V*T, 3, H, W), computed as in an eval."""
    training = method.training
    method.eval()  # in a fit too, so that fits and evals share entries
    video = split_views(normalise(frames, views, device.device), views)
    mixed = torch.autocast(device.kind, dtype=device.dtype, enabled=device.dtype != torch.float32)
    with mixed, casts_kept(device, method.backbone):
        features = method.encode_frames(video)
    # The fit that called this must go on in its mode.
    method.train(training)
    return torch.unflatten(features, 0, (-1, views.count)).flatten(1, 2).cpu()


def eval_features(job: EvalJob, context: Context, per_batch: int) -> ListFeatures | None:
    """The features of an evaluation list; None without a cache or if the method needs pixels."""
    if context.cache is None or not pools_from_features(job.method):
        return None
    random = job.views.sampling == "random"

    def seeds(draw: Draw) -> tuple[int, ...]:
        path = job.rows[draw.index][0]
        # Files of equal content and different names are transformed by different draws.
        transformed = (video_seed(path),) if job.transform and path is not None else ()
        return (*((job.seed, draw.index) if random else ()), *transformed)

    store = context.cache.open(job.method, job.views, context.device, transform=transform_identity(job.transform))
    source = FeatureSource(store, job.decoded(), seeds)
    return ListFeatures(job, context, source, per_batch)


def feature_batches(features: ListFeatures, batches: list[list[int]]) -> Iterator[FeatureBatch]:
    """The completed features of a list in batches of row numbers."""
    for batch in batches:
        # The epoch and the group of a draw do not count: evaluation views are those of the list alone.
        draws = [Draw(index) for index in batch]
        decoded = [draw for draw in draws if draw not in features.failed]
        failed = {draw: features.failed[draw] for draw in draws if draw in features.failed}
        stacked = torch.stack([features.get(draw) for draw in decoded]) if decoded else None
        yield FeatureBatch(decoded, stacked, failed)


def eval_batches(features: ListFeatures, batches: list[list[int]]) -> Iterator[EvalBatch]:
    """The completed features of an evaluation list, with the same composition of batches as `eval_loader`."""
    for batch in feature_batches(features, batches):
        failed = {draw.index: clip for draw, clip in batch.failed.items()}
        yield EvalBatch([draw.index for draw in batch.draws], None, failed, batch.features)


def fit_features(job: FitJob, context: Context, per_batch: int) -> ListFeatures | None:
    """The features of a training list; None if the recipe augments or blends pixels or the method needs them.

    Raises:
        UserError: The recipe sets `views_cached`, which is not possible with this method or with blending.
    """
    recipe = job.recipe
    blends = recipe.mixup > 0 or recipe.cutmix > 0
    if recipe.views_cached:
        _check_views_cached(job.method, recipe, blends)
    elif recipe.augmentation != "none":
        return None  # each epoch has other views, so that an entry would be read once only
    # Blending mixes pixels of two clips, which is not a mixture of their features.
    if context.cache is None or blends or not fits_from_features(job.method):
        return None
    return list_features(job, context, context.cache, per_batch)


def list_features(job: FitJob, context: Context, cache: FeatureCache, per_batch: int) -> ListFeatures:
    """The features of a training list, for a recipe and a method that allow cached features."""
    recipe = job.recipe
    pipeline = mm_pipeline.fit_pipeline(job.views, job.method.backbone.image_size, recipe)
    augmented = recipe.views_cached > 0 and recipe.augmentation != "none"
    source = FeatureSource(
        # Without augmentation the views equal those of an eval, so that fits and evals share entries.
        cache.open(job.method, job.views, context.device, recipe if augmented else None),
        mm_pipeline.ListVideoDataset(job.rows, pipeline, recipe.seed),
        lambda draw: (recipe.seed, draw.epoch, draw.index) if augmented else (),
    )
    return ListFeatures(job, context, source, per_batch)


def _check_views_cached(method: ClipMethod, recipe: Recipe, blends: bool) -> None:
    if blends:
        raise UserError(
            "views_cached caches features, so MixUp and CutMix, which need pixels, are not possible.",
            "Add --recipe mixup=0 --recipe cutmix=0: the row then says so in its recipe.",
        )
    if parse_augmentation(recipe.augmentation).erasing:
        raise UserError(
            f"views_cached caches features, so erasing in the augmentation {recipe.augmentation} is not possible.",
            "Leave erasing out of --recipe augmentation=...",
        )
    if not fits_from_features(method):
        raise UserError(
            f"views_cached needs a frozen, unchanged vision tower; {method.name} trains or changes its vision tower.",
            "Leave views_cached out for this method.",
        )


class FeatureLoader(DataLoader[FitBatch]):
    """Batches of `FitBatch` with features; epochs, order and replaced clips are the same as in `fit_loader`.

    It is a torch `DataLoader` because mmengine's Runner takes no other iterable.

    Args:
        features: Features of the training list.
        clips: The training list.
        batches: The order of clips.
        recipe: Settings of the fit.
    """

    def __init__(self, features: ListFeatures, clips: TrainingClips, batches: FitBatches, recipe: Recipe) -> None:
        super().__init__(features.dataset, batch_sampler=batches, num_workers=0)  # reading a file needs no worker
        self.features, self.clips, self.batches, self.recipe = features, clips, batches, recipe
        self.replaced: set[int] = set()

    def complete(self) -> bool:
        """Compute all features that the fit will need; False if there is no room and clips can be decoded instead.

        Raises:
            CacheFullError: There is no room, and the recipe or other processes need the cache.
        """
        rows = range(len(self.features.rows))
        if self.recipe.views_cached:
            # A fit of fewer epochs than views never reads the last views.
            views = range(min(self.recipe.views_cached, self.recipe.epochs))
            self.features.complete([self._view(Draw(index, view)) for view in views for index in rows])
            return True
        return self.features.complete_if_room([Draw(index) for index in rows])

    def close(self) -> None:
        """Do nothing: unlike `GuardedLoader`, this loader has no workers."""

    def __iter__(self) -> Iterator[FitBatch]:  # type: ignore[override]
        for draws in self.batches:
            features = torch.stack([self.features.get(self._decodable(draw), remember=True) for draw in draws])
            labels = torch.tensor([self.features.rows[draw.index][1] for draw in draws])
            yield FitBatch(None, labels, draws, features)

    def _view(self, draw: Draw) -> Draw:
        """The draw whose features a clip has in its epoch."""
        if self.recipe.views_cached and self.recipe.augmentation != "none":
            return repeated_view(draw, self.recipe.views_cached)
        return Draw(draw.index)

    def _decodable(self, draw: Draw) -> Draw:
        """The view of a draw, or the view of the next clip of its class that could be decoded."""
        failed = self.features.failed
        other: Draw | None = draw
        attempt = 0
        while other is not None and self._view(other) in failed:
            attempt += 1
            other = self.clips.draw(draw, attempt)
        if other is None:
            raise self.clips.none_decodes(draw, failed[self._view(draw)])
        if attempt and draw.index not in self.replaced:
            self.replaced.add(draw.index)
            self.clips.warn(draw, other, failed[self._view(draw)])
        return self._view(other)


DecodingLoader = GuardedLoader[PackedClip, FitBatch]
TrainingLoader = FeatureLoader | DecodingLoader
"""The two loaders of a fit: both iterate over `FitBatch`, and name the rows that they `replaced`."""


def training_loader(
    features: ListFeatures | None,
    decoding: Callable[[], DecodingLoader],
    clips: TrainingClips,
    batches: FitBatches,
    recipe: Recipe,
) -> TrainingLoader:
    """The loader of a fit.

    Args:
        features: Features of the training list; None if the fit decodes clips.
        decoding: Makes the loader of decoded clips.
        clips: The training list.
        batches: The order of clips.
        recipe: Settings of the fit.
    """
    if features is None:
        return decoding()
    loader = FeatureLoader(features, clips, batches, recipe)
    return loader if loader.complete() else decoding()
