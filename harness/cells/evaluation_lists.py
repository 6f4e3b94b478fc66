"""The evaluation lists of protocols on datasets, with their sizes and clusters; no method, video or record is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.cells.datasets import OpenedDatasets
from harness.cells.request import Request
from harness.data.lists.clusters import INDEPENDENT, ClusterCard
from harness.data.lists.dataset import Dataset
from harness.data.official.cards import pinned_lists
from harness.data.official.dataset import OfficialDataset
from harness.machine.settings import Settings
from harness.plugins import registry
from harness.spec import Protocol
from results.power import ListSize

ABSENT_CLUSTERS = "clusters as in the first official test list, because the list is not prepared"
UNKNOWN_CLUSTERS = "no clusters: the sources of the videos are unknown"


def evaluation_lists(protocols: Sequence[str], datasets: Sequence[str], settings: Settings) -> tuple[ListSize, ...]:
    """The evaluation lists of all combinations of protocols and datasets, each once per protocol.

    Args:
        protocols: Names of protocols.
        datasets: Names or paths; empty for the published datasets of each protocol.
        settings: Folders of lists and caches.

    Raises:
        UserError: A name is unknown, a protocol does not apply to a dataset, or the size of a list is neither on this
            machine nor published; the hint names the command that prepares the list.
    """
    opened = OpenedDatasets(Request((), tuple(protocols), tuple(datasets)), settings)
    sizes: dict[tuple[str, str, str], ListSize] = {}
    for protocol in [registry.load("protocol", name) for name in dict.fromkeys(protocols)]:
        for name in dict.fromkeys(datasets or protocol.datasets):
            for size in _sizes(protocol, opened.open(name), opened):
                sizes.setdefault((size.protocol, size.dataset, size.list), size)
    return tuple(sizes.values())


def _sizes(protocol: type[Protocol], target: Dataset, opened: OpenedDatasets) -> list[ListSize]:
    """The lists of a protocol on a dataset, each with all parts that it measures."""
    parts: dict[tuple[str, str], dict[str, None]] = {}
    instance = protocol()
    for fit in instance.fits(target):
        for item in instance.evals(target, fit):
            parts.setdefault((item.test.dataset, item.test.list), {})[item.part] = None
    measured = []
    for (name, listed), names in parts.items():
        dataset = target if name == target.name else opened.open(name)
        measured.append(_size(protocol.name, dataset, listed, tuple(names)))
    return measured


def _size(protocol: str, dataset: Dataset, name: str, parts: tuple[str, ...]) -> ListSize:
    """Size and clusters from the rows of a list, or the published facts of an official list that is not prepared."""
    if isinstance(dataset, OfficialDataset) and dataset.list_file(name) is None:
        entry = pinned_lists().get(dataset.card.find_list(name).file)
        if entry is not None and entry.rows:
            squares = _published_size(dataset)
            guess = () if squares == 1.0 else (ABSENT_CLUSTERS if squares else UNKNOWN_CLUSTERS,)
            return ListSize(protocol, dataset.name, name, parts, entry.rows, None, squares or 1.0, False, guess)
    rows = dataset.list(name).rows
    clusters = [dataset.cluster(path) for path, _ in rows]
    # A video without a known source is a source of its own.
    sources = Counter(cluster or f"video {path}" for cluster, (path, _) in zip(clusters, rows, strict=True))
    squares = sum(n * n for n in sources.values()) / len(rows)
    unknown = not any(clusters)
    guess = (UNKNOWN_CLUSTERS,) if unknown else ()
    return ListSize(
        protocol, dataset.name, name, parts, len(rows), None if unknown else len(sources), squares, True, guess
    )  # fmt: skip


def _published_size(dataset: OfficialDataset) -> float | None:
    """Mean cluster size that a video of the first official test list sees; None if the sources are unknown."""
    card = dataset.cluster_card
    if card == INDEPENDENT:
        return 1.0
    return card.size if isinstance(card, ClusterCard) else None
