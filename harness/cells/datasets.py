"""The datasets of a request: which ones a protocol runs on, and each of them opened once."""

from __future__ import annotations

from pathlib import Path

from harness.base.errors import UserError
from harness.cells.request import Request
from harness.data.catalog import open_dataset
from harness.data.lists.dataset import Dataset
from harness.data.lists.sample import SampledDataset
from harness.machine.settings import Settings
from harness.spec.lists import dataset_key

EMBEDDED_DEFAULT = {"supervised": "mini_source"}
"""Embedded dataset of a protocol; `mini_target` for all others."""


def choose_datasets(
    request: Request, protocol: str, published: tuple[str, ...], settings: Settings
) -> tuple[list[str], list[str]]:
    """The datasets to run a protocol on, and those of the protocol that are not configured.

    These are the protocol's datasets with a configured video folder, or the embedded benchmark if there is none.
    """
    if request.datasets:
        return list(request.datasets), []
    present = [name for name in published if name in settings.data]
    if present:
        return present, [name for name in published if name not in settings.data]
    return [EMBEDDED_DEFAULT.get(protocol, "mini_target")], []


class OpenedDatasets:
    """Datasets by the name or path that the request or a protocol gives, each opened on first use and kept.

    Args:
        request: Label variant, list origin and zero-shot source of its datasets.
        settings: Folders of videos, lists and caches.
    """

    def __init__(self, request: Request, settings: Settings) -> None:
        self._request = request
        self._settings = settings
        self._opened: dict[str, Dataset] = {}

    def open(self, name: str) -> Dataset:
        """The dataset of a name or path.

        Raises:
            UserError: There is no such dataset, or its configured video folder does not exist.
        """
        name = name if Path(name).exists() else dataset_key(name)  # a path keeps its case
        if name not in self._opened:
            self._opened[name] = _open(name, self._request, self._settings)
            self._mark_equal_names()
        return self._opened[name]

    def _mark_equal_names(self) -> None:
        """Have messages tell custom datasets of one name apart."""
        for dataset in self._opened.values():
            roots = {other.root_id for other in self._opened.values() if other.name == dataset.name}
            dataset.marked = len(roots) > 1


def _open(name: str, request: Request, settings: Settings) -> Dataset:
    if name in settings.data and not settings.data[name].path.exists():
        # Refused here: a folder that is not mounted would otherwise show as missing lists or missing videos.
        raise UserError(
            f"The video folder {settings.data[name].path} of {name} does not exist.",
            f"Give the folder that holds its videos: --data {name}=DIR, or harness.toml under [data].",
        )
    dataset = open_dataset(name, settings, lists=request.lists, variant=request.variant)
    if request.source is not None:
        dataset.parent_source = source = dataset_key(request.source)
        if dataset.source is not None or dataset.zero_shot_tests:
            dataset.source = dataset.chosen_source = source
    return SampledDataset(dataset, request.limit) if request.limit else dataset
