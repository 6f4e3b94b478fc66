"""Video features in the plane, coloured by class: t-SNE or UMAP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.base.errors import UserError, unknown_name
from reports.figures.palette import COLOURS
from reports.labels import shorten
from reports.plot import MARKERS, canvas, svg

METHODS = ("tsne", "umap")


def feature_map(
    features: ArrayLike,
    labels: Sequence[int],
    classes: Sequence[str],
    method: str = "tsne",
    title: str = "",
    seed: int = 0,
    name: str = "features",
) -> str:
    """An SVG with one dot for each video; the 16 largest classes have a colour and a marker, other classes are grey.

    Args:
        features: (N, D) video features, N > 3; their cosine similarity decides.
        labels: N true class ids.
        classes: Class names by id.
        method: `tsne` (scikit-learn) or `umap` (umap-learn).
        title: Title of the figure.
        seed: Seed of the embedding.
        name: Prefix that makes the ids unique on a page.

    Raises:
        UserError: The shapes do not fit, a feature is not finite, or the library is not installed.
    """
    array = np.asarray(features, dtype=np.float64)
    ids = np.asarray(labels, dtype=np.int64)
    if array.ndim != 2 or len(array) != len(ids) or len(array) < 4:
        raise UserError(
            f"The features have shape {array.shape} and the labels {ids.shape}, expected (N, D) and (N,) with N > 3."
        )
    if not np.isfinite(array).all():
        raise UserError("A feature is NaN or infinite, expected finite values.", "Extract the features in fp32.")
    points = _plane(array, method, seed)
    present, counts = np.unique(ids, return_counts=True)
    largest = present[np.argsort(-counts, kind="stable")][: 2 * len(COLOURS)]
    titles = [shorten(classes[label], 28) for label in largest]
    with canvas(4.2, 4.4, legend=titles) as (figure, axes):
        rest = ~np.isin(ids, largest)
        axes.plot(points[rest, 0], points[rest, 1], ".", color="#88888866", markersize=3)
        for number, label in enumerate(largest):
            members = ids == label
            marker = MARKERS[number // len(COLOURS)]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(points[members, 0], points[members, 1], marker, color=colour, markersize=3.5,
                      label=titles[number], linestyle="")  # fmt: skip
        axes.set(xticks=[], yticks=[], title=shorten(title, 60))
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
        return svg(figure, name, f"Video features in the plane ({method}). {title}")


class _Reducer(Protocol):
    """The estimators of scikit-learn and umap-learn."""

    def fit_transform(self, features: NDArray[np.float64], /) -> ArrayLike:
        """(N, 2) positions of (N, D) features."""
        ...


def _plane(features: NDArray[np.float64], method: str, seed: int) -> NDArray[np.float64]:
    """(N, 2) positions of (N, D) features by t-SNE or UMAP.

    Raises:
        UserError: The method is unknown, or its library is not installed.
    """
    # On unit vectors Euclidean distances order pairs as cosine similarities do.
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    reducer: _Reducer
    if method == "tsne":
        try:
            from sklearn.manifold import TSNE
        except ImportError:
            raise UserError("t-SNE needs scikit-learn.", "pip install scikit-learn") from None
        # 30 is scikit-learn's default; it refuses a perplexity that is not below the number of points.
        perplexity = min(30.0, (len(unit) - 1) / 3)
        reducer = TSNE(init="pca" if unit.shape[1] > 1 else "random", perplexity=perplexity, random_state=seed)
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
