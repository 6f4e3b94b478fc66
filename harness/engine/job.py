"""The work of a fit and of an eval: method, list, label set, views, and the recipe or the seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.engine.method import ClipMethod
from harness.engine.video.clip_memory import ClipMemory, KeptClips, Pipeline
from harness.engine.video.guarded_loader import GuardedLoader
from harness.engine.video.loaders import EvalBatch, Row, scored_loader
from harness.engine.video.mm_own_clips import OwnClip, OwnClips
from harness.engine.video.mm_pipeline import ListVideoDataset, eval_pipeline
from harness.engine.video.transforms import PackedClip
from harness.machine.compute_options import ComputeOptions
from harness.spec import LabelSet, Recipe, Views
from harness.spec.augmentation import parse_augmentation

DEPTH = 5
"""Classes kept per video."""


@dataclass(frozen=True)
class Job:
    """A method and a list of videos.

    Args:
        method: The method, set up on its backbone.
        rows: (path, class id) per video of the list. A row with the path None is not evaluated: it is in `failed`.
        label_set: Classes of the list.
        views: Frames, clips, crops, sampling and input statistics.
    """

    method: ClipMethod
    rows: list[Row]
    label_set: LabelSet
    views: Views


@dataclass(frozen=True)
class FitJob(Job):
    """A training list, from which a method learns.

    Args:
        recipe: Optimisation settings.
    """

    recipe: Recipe

    def kept(self, memory: ClipMemory | None) -> KeptClips | None:
        """The clips of earlier epochs and fits in memory; None if each epoch decodes another view of a clip.

        Args:
            memory: Clips of earlier cells; None to decode all.
        """
        views = self.views.training
        if memory is None or parse_augmentation(self.recipe.augmentation).steps or views.sampling == "random":
            return None
        pipeline = Pipeline(views, self.method.backbone.image_size, "", None)
        return KeptClips(memory, pipeline, lambda draw: self.rows[draw.index][0])


@dataclass(frozen=True)
class EvalJob(Job):
    """An evaluation list, which a method scores.

    Args:
        seed: Seed of random views; unused where views are not random.
        transform: Name of a view transform that changes the frames of each view; empty for none.
        depth: Classes kept per video.
    """

    seed: int = 0
    transform: str = ""
    depth: int = DEPTH

    def decoded(self) -> ListVideoDataset:
        """The clips of the list, decoded, cropped and transformed."""
        pipeline = eval_pipeline(self.views, self.method.backbone.image_size, self.transform)
        return ListVideoDataset(self.rows, pipeline, self.seed)

    def loader(
        self, batches: list[list[int]], compute: ComputeOptions, pin: bool = False, memory: ClipMemory | None = None
    ) -> GuardedLoader[PackedClip, EvalBatch]:
        """The decoded clips of the list in batches of row numbers.

        Args:
            batches: Rows of each batch.
            compute: Number of workers and time limit.
            pin: Put batches into pinned memory, for a GPU.
            memory: Clips of earlier evals; None to decode all.
        """
        dataset = self.decoded()
        return scored_loader(dataset, batches, compute, pin, self._kept(dataset, memory) if memory else None)

    def _kept(self, dataset: ListVideoDataset, memory: ClipMemory) -> KeptClips:
        random = self.views.sampling == "random"
        pipeline = Pipeline(self.views, self.method.backbone.image_size, self.transform, self.seed if random else None)
        return KeptClips(memory, pipeline, dataset.video)


@dataclass(frozen=True)
class OwnClipsJob(EvalJob):
    """Videos of the user, parts of videos and arrays of frames, which a method scores.

    Args:
        clips: One clip for each row; the paths of the rows only name the clips.
    """

    clips: tuple[OwnClip, ...] = ()

    def loader(
        self, batches: list[list[int]], compute: ComputeOptions, pin: bool = False, memory: ClipMemory | None = None
    ) -> GuardedLoader[PackedClip, EvalBatch]:
        """The decoded clips in batches of row numbers; none are kept in memory."""
        if any(clip.frames is not None for clip in self.clips):
            compute = replace(compute, workers=0)  # each worker would receive a copy of all arrays
        dataset = OwnClips(list(self.clips), self.views, self.method.backbone.image_size, self.seed)
        return scored_loader(dataset, batches, compute, pin)
