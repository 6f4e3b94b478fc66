"""Video features in the plane (t-SNE or UMAP), coloured by class, of one method or of several side by side."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from harness.base.errors import UserError, unknown_name
from reports.figures.palette import COLOURS
from reports.labels import shorten
from reports.plot import MARKERS, paper_style, write_plot

METHODS = ("tsne", "umap")
NEIGHBOURS = 5
WIDTH = 6.9
"""Width of a figure of several methods in inches; a single method takes one column and the legend."""
_PANEL, _LEGEND = 2.5, 1.9
_SHOWN = 2 * len(COLOURS)
"""Number of classes with a colour."""


@dataclass(frozen=True)
class MethodFeatures:
    """The features of a method.

    Args:
        title: Title of the method.
        videos: (N, D) features; their cosine similarity decides.
    """

    title: str
    videos: NDArray[np.float32]


@dataclass(frozen=True)
class FeatureMap:
    """Features of one or several methods, the classes of the videos, and how positions are computed.

    Args:
        methods: The methods, with features of the same N videos, N > 3.
        labels: N true class ids.
        classes: Class names by id.
        name: Name of the list of videos.
        by: `tsne` (scikit-learn) or `umap` (umap-learn).
        seed: Seed of the algorithm.
    """

    methods: tuple[MethodFeatures, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    name: str = ""
    by: str = "tsne"
    seed: int = 0

    def __post_init__(self) -> None:
        for method in self.methods:
            shape = method.videos.shape
            if len(shape) != 2 or shape[0] != len(self.labels) or shape[0] < 4:
                raise UserError(
                    f"The features have shape {shape} and the labels ({len(self.labels)},), expected (N, D) and (N,) "
                    "with N > 3."
                )
            if not np.isfinite(method.videos).all():
                raise UserError(
                    "A feature is NaN or infinite, expected finite values.", "Extract the features in fp32."
                )

    @property
    def caption(self) -> str:
        """The finding, and how the positions were computed."""
        ids = np.asarray(self.labels)
        shares = [f"{self.nearest(method):.0f} % with {method.title}" for method in self.methods]
        counts = np.bincount(ids)
        chance = 100.0 * float((counts * (counts - 1)).sum()) / (len(ids) * (len(ids) - 1))
        how = f"t-SNE, perplexity {_perplexity(len(ids)):.0f}" if self.by == "tsne" else "UMAP"
        return (
            f"Classified by the {self.neighbours} nearest other videos (cosine similarity), the accuracy is "
            f"{' and '.join(shares)}, on {len(ids)} videos of {len(set(self.labels))} classes; {chance:.0f} % of all "
            f"pairs of videos have one class. {self.name + ': p' if self.name else 'P'}ositions by {how}, seed "
            f"{self.seed}; only neighbourhoods have a meaning, not axes or distances between groups."
        )

    @property
    def neighbours(self) -> int:
        """Number of nearest videos that vote."""
        return min(NEIGHBOURS, len(self.labels) - 1)

    def nearest(self, method: MethodFeatures) -> float:
        """The accuracy in percent of classifying each video by its nearest other videos; the nearest decides a tie."""
        unit = _unit(method.videos)
        similarity = unit @ unit.T
        np.fill_diagonal(similarity, -np.inf)
        order = np.argsort(-similarity, axis=1, kind="stable")[:, : self.neighbours]
        ids = np.asarray(self.labels)
        right = 0
        for label, voters in zip(self.labels, ids[order], strict=True):
            values, first, counts = np.unique(voters, return_index=True, return_counts=True)
            right += bool(values[np.lexsort((first, -counts))[0]] == label)
        return 100.0 * right / len(ids)


def draw_feature_map(shown: FeatureMap, path: Path) -> None:
    """Draw one dot for each video; the 16 largest classes have a colour and a marker, other classes are grey.

    Args:
        shown: The features.
        path: File to write: .png, .pdf or .svg.

    Raises:
        UserError: The algorithm is unknown, or its library is not installed.
    """
    planes = [_plane(method.videos, shown.by, shown.seed) for method in shown.methods]
    with paper_style():
        width = min(WIDTH, _PANEL * len(planes) + _LEGEND)
        lines = textwrap.wrap(shown.caption, int(19.5 * width))
        below = 0.14 * len(lines) + 0.08
        height = _PANEL + 0.25 + below
        figure = Figure(figsize=(width, height))
        figure.text(0.0, 0.03 / height, "\n".join(lines), fontsize=7, va="bottom")
        side = (width - _LEGEND) / len(planes)
        for number, (method, points) in enumerate(zip(shown.methods, planes, strict=True)):
            size = (side - 0.12) / width, (side - 0.12) / height
            axes = figure.add_axes(((number * side + 0.04) / width, below / height, *size))
            _scatter(axes, points, shown)
            title = f"{shorten(method.title, 24)}: {shown.neighbours}-NN accuracy {shown.nearest(method):.0f} %"
            axes.set_title(title, fontsize=8, pad=3)
        handles, names = axes.get_legend_handles_labels()
        figure.legend(
            handles, names, loc="center right", bbox_to_anchor=(1.0, (below + side / 2) / height),
            title=_legend_title(shown), title_fontsize=7, handletextpad=0.2, labelspacing=0.25, alignment="left",
        )  # fmt: skip
        write_plot(figure, path, shown.caption)


def _legend_title(shown: FeatureMap) -> str:
    number = len(set(shown.labels))
    return "class" if number <= _SHOWN else f"{_SHOWN} largest of {number} classes"


def _scatter(axes: Axes, points: NDArray[np.float64], shown: FeatureMap) -> None:
    """Draw the videos of a method."""
    ids = np.asarray(shown.labels)
    present, counts = np.unique(ids, return_counts=True)
    largest = present[np.argsort(-counts, kind="stable")][:_SHOWN]
    rest = ~np.isin(ids, largest)
    axes.plot(points[rest, 0], points[rest, 1], ".", color="#88888866", markersize=3)
    for number, label in enumerate(largest.tolist()):
        members = ids == label
        # The marker of a colour is another one the second time.
        marker = MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]
        axes.plot(
            points[members, 0], points[members, 1], marker, color=COLOURS[number % len(COLOURS)], markersize=3.5,
            markeredgewidth=0, label=shorten(shown.classes[label], 24), linestyle="",
        )  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#bbbbbb")


class _Reducer(Protocol):
    """The estimators of scikit-learn and umap-learn."""

    def fit_transform(self, features: NDArray[np.float64], /) -> ArrayLike:
        """(N, 2) positions of (N, D) features."""
        ...


def _unit(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rows of length 1: on them Euclidean distances order pairs as cosine similarities do."""
    array = features.astype(np.float64)
    return np.asarray(array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12))


def _perplexity(videos: int) -> float:
    return min(30.0, (videos - 1) / 3)


def _plane(features: NDArray[np.float32], method: str, seed: int) -> NDArray[np.float64]:
    """(N, 2) positions of (N, D) features by t-SNE or UMAP.

    Raises:
        UserError: The method is unknown, or its library is not installed.
    """
    unit = _unit(features)
    reducer: _Reducer
    if method == "tsne":
        try:
            from sklearn.manifold import TSNE
        except ImportError:
            raise UserError("t-SNE needs scikit-learn.", "pip install scikit-learn") from None
        init = "pca" if unit.shape[1] > 1 else "random"
        reducer = TSNE(init=init, perplexity=_perplexity(len(unit)), random_state=seed)
    elif method == "umap":
        try:
            from umap import UMAP
        except ImportError:
            raise UserError("UMAP needs umap-learn.", "pip install umap-learn, or use tsne") from None
        reducer = UMAP(n_neighbors=min(15, len(unit) - 1), metric="cosine", random_state=seed)
    else:
        raise unknown_name("feature map", method, METHODS)
    from threadpoolctl import threadpool_limits  # both libraries install it

    with threadpool_limits(1):  # for a few hundred points, threads cost more than they save
        return np.asarray(reducer.fit_transform(unit), dtype=np.float64)
