"""The work of a fit and of an eval: method, list, label set, views, and the recipe or the seed."""

from __future__ import annotations

from dataclasses import dataclass

from harness.engine.method import ClipMethod
from harness.engine.video.loaders import Row
from harness.engine.video.mm_pipeline import ListVideoDataset, eval_pipeline
from harness.spec import LabelSet, Recipe, Views


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


@dataclass(frozen=True)
class EvalJob(Job):
    """An evaluation list, which a method scores.

    Args:
        seed: Seed of random views; unused where views are not random.
        transform: Name of a view transform that changes the frames of each view; empty for none.
    """

    seed: int = 0
    transform: str = ""

    def clips(self) -> ListVideoDataset:
        """The clips of the list, decoded, cropped and transformed."""
        pipeline = eval_pipeline(self.views, self.method.backbone.image_size, self.transform)
        return ListVideoDataset(self.rows, pipeline, self.seed)
