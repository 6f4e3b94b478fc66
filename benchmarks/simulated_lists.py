"""Evaluation lists and outcomes with known dependence, for the simulations of `simulate_statistics.py`.

The generator of docs/statistics.md: each class has a fixed accuracy. An outcome is right if a uniform number is below
the accuracy of the class plus the effect of the fit. A video takes the number of its cluster with probability
sqrt(ICC), else a number of its own, so that two videos of a cluster have the correlation ICC. A cluster takes its
numbers from those that all fits share with probability sqrt(0.5), else from those of the fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.official.annotations.annotation_folder import AnnotationFolder
from harness.data.official.cards import load_card
from harness.data.official.generate import generate
from results.statistics.list_design import ListDesign, list_design

CLASS_SEED = 7
"""Seed of the accuracies of the classes, which are the same in all simulated lists."""
AGREEMENT = 0.5
"""Correlation of the outcomes of a video between fits."""
_CHUNK = 2_000_000
"""Largest number of outcomes of one fit at once, which bounds the memory."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SimulatedList:
    """Classes and clusters of N videos.

    Args:
        name: Name in the tables.
        classes: (N,) class ids from 0.
        clusters: (N,) cluster ids from 0.
    """

    name: str
    classes: NDArray[np.int64]
    clusters: NDArray[np.int64]

    @property
    def videos(self) -> int:
        """Number of videos."""
        return len(self.classes)

    @cached_property
    def design(self) -> ListDesign:
        """Strata and clusters."""
        return list_design(self.classes, self.clusters)

    @cached_property
    def plain(self) -> ListDesign:
        """The same strata, with every video as its own cluster."""
        return list_design(self.classes, np.arange(self.videos))

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(G,) numbers of videos of the clusters."""
        return np.bincount(self.clusters)


def nested_list(name: str, classes: int, clusters_per_class: int, cluster_size: int) -> SimulatedList:
    """A list whose clusters are equally large and lie inside classes."""
    clusters = np.repeat(np.arange(classes * clusters_per_class), cluster_size)
    return SimulatedList(name, clusters // clusters_per_class, clusters)


def independent_list(videos: int = 750, classes: int = 25) -> SimulatedList:
    """A list of independent videos; 750 videos of 25 classes are the novel half of HMDB-51."""
    return nested_list(f"{videos} independent", classes, videos // classes, 1)


def ucf_like_list(seed: int = 0) -> SimulatedList:
    """A list with the shape of the test lists of UCF-101: 101 classes of 7 groups of 4 to 7 videos."""
    sizes = np.random.default_rng(seed).integers(4, 8, size=707)
    clusters = np.repeat(np.arange(707), sizes)
    return SimulatedList("like UCF", clusters // 7, clusters)


def official_list(name: str, annotations: Path, split: str = "val1") -> SimulatedList:
    """A test list of `ucf101` or `hmdb51`, generated from the official annotations.

    Args:
        name: Name of the dataset.
        annotations: Folder of the official annotation files of the dataset.
        split: Name of the list.
    """
    card = load_card(name)
    rows = generate(card, AnnotationFolder(annotations)).lists[split]
    sources = [card.clusters.of(path) for path, _ in rows]
    clusters = np.unique(sources, return_inverse=True)[1]
    return SimulatedList({"ucf101": "UCF", "hmdb51": "HMDB"}[name], np.array([label for _, label in rows]), clusters)


def class_accuracies(classes: int, mean: float, sd: float) -> Floats:
    """(classes,) accuracies from a beta distribution, always the same for equal arguments."""
    if sd == 0.0:
        return np.full(classes, mean)
    size = mean * (1.0 - mean) / sd**2 - 1.0
    return np.random.default_rng(CLASS_SEED).beta(mean * size, (1.0 - mean) * size, size=classes)


def uniforms(listed: SimulatedList, icc: float, fits: int, lists: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Chunks (K, R, N) of uniform numbers of `lists` simulated lists and R fits."""
    for start in range(0, lists, step := max(1, _CHUNK // listed.videos)):
        count = min(step, lists - start)
        common = _one_set(listed, icc, count, rng)
        of_fits = []
        for _ in range(fits):
            own = _one_set(listed, icc, count, rng) if fits > 1 else common
            shared = rng.random((count, len(listed.sizes))) < AGREEMENT**0.5
            of_fits.append(np.where(shared[:, listed.clusters], common, own))
        yield np.stack(of_fits, axis=1)


def _one_set(listed: SimulatedList, icc: float, count: int, rng: np.random.Generator) -> Floats:
    own = rng.random((count, listed.videos))
    if icc == 0.0:
        return own
    of_cluster = rng.random((count, len(listed.sizes)))[:, listed.clusters]
    return np.where(rng.random((count, listed.videos)) < icc**0.5, of_cluster, own)
