"""Frames of evaluated videos as a model saw them, for the pages of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.data.catalog import open_dataset
from harness.data.lists.dataset import Dataset
from harness.engine.video.loaders import scored_loader
from harness.engine.video.mm_own_clips import OwnClip, OwnClips
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings
from results.measurement import Measurement


class SampleFrames:
    """Decodes videos of the evaluation lists of records.

    Args:
        settings: Folders of videos and caches.
        compute: Number of workers and time limit.
    """

    def __init__(self, settings: Settings, compute: ComputeOptions) -> None:
        self._settings, self._compute = settings, compute
        self._datasets: dict[tuple[str, str], Dataset] = {}

    def __call__(self, m: Measurement, videos: Sequence[str]) -> Mapping[str, NDArray[np.uint8]]:
        """The frames of a view: of the single centre view, which is the whole input if the eval has one view.

        Args:
            m: Measurement of a record.
            videos: Paths in its evaluation list.

        Returns:
            (T, H, W, 3) uint8 RGB by path; a missing video and one that cannot be decoded are absent.

        Raises:
            UserError: The videos of the dataset are not on this machine.
        """
        dataset = self._opened(m)
        files = {video: file for video in dict.fromkeys(videos) if (file := dataset.locate(video)) is not None}
        names = list(files)
        clips = OwnClips([OwnClip(files[name]) for name in names], m.evaluation.views.single, m.model.image_size, 0)
        # One process: a page shows a few dozen videos, and starting workers takes longer than decoding them.
        compute = replace(self._compute, workers=0)
        shown = {}
        for batch in scored_loader(clips, [[row] for row in range(len(names))], compute):
            if batch.frames is not None:
                shown[names[batch.rows[0]]] = np.ascontiguousarray(batch.frames[0].numpy().transpose(0, 2, 3, 1))
        return shown

    def _opened(self, m: Measurement) -> Dataset:
        listed = m.evaluation.list
        key = listed.dataset, listed.label_variant
        if key not in self._datasets:
            dataset = open_dataset(listed.dataset, self._settings, variant=listed.label_variant)
            dataset.prepare()
            self._datasets[key] = dataset
        return self._datasets[key]
