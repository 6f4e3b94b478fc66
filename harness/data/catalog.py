"""The known datasets, and `open_dataset`: from a name or a path to a dataset."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from harness.base.errors import UserError, unknown_name
from harness.data.embedded.dataset import EMBEDDED, EmbeddedDataset
from harness.data.folders.clip import GivenFiles
from harness.data.folders.dataset import SPLIT_SEED, FolderDataset
from harness.data.folders.tables import SUFFIXES
from harness.data.lists.dataset import Dataset
from harness.data.official.cards import LABEL_VARIANTS, OFFICIAL
from harness.data.official.dataset import OfficialDataset
from harness.machine.settings import Settings
from harness.spec.lists import dataset_key

__all__ = ["OFFICIAL", "dataset_names", "open_dataset"]


def dataset_names(settings: Settings | None = None) -> tuple[str, ...]:
    """Names of the official and the embedded datasets, then of the custom datasets in the settings."""
    custom = sorted(set(settings.data) - {*OFFICIAL, *EMBEDDED}) if settings else []
    return (*OFFICIAL, *EMBEDDED, *custom)


def open_dataset(
    name_or_path: str,
    settings: Settings,
    *,
    lists: str = "published",
    seed: int = SPLIT_SEED,
    variant: str = "published",
    source: str | None = None,
) -> Dataset:
    """Open a dataset by name, or a custom dataset by path.

    Args:
        name_or_path: A name of `dataset_names`, a folder of class folders, or a .csv, .tsv or .txt table.
        settings: Folders of videos, lists and caches.
        lists: `published`, or `own` to replace absent published lists by draws with `seed`.
        seed: Seed of own draws and of a custom dataset's split.
        variant: `published`, `corrected` or `split` class names (see `Card.labels`).
        source: Dataset whose training list is fitted for zero-shot transfer to a custom dataset; the default is `k400`,
            configured or not: a fit on the synthetic clips of `mini_source` has to be requested.

    Raises:
        UserError: There is no such dataset (the hint gives the nearest names), or an option has an unknown value.
    """
    _check_choice("lists", lists, ("published", "own"))
    _check_choice("label set", variant, LABEL_VARIANTS)
    if not Path(name_or_path).exists():
        name_or_path = dataset_key(name_or_path)
    if name_or_path in EMBEDDED:
        return EmbeddedDataset(name_or_path, settings.cache.path / "mini")
    if name_or_path in OFFICIAL:
        root = settings.data[name_or_path].path if name_or_path in settings.data else None
        folders = [settings.lists.path, *([root] if root else [])]
        own_seed = seed if lists == "own" else None
        return OfficialDataset(name_or_path, folders, root, settings.cache.path, own_seed, variant)
    source = source or "k400"
    if name_or_path in settings.data:
        path = settings.data[name_or_path].path
        return FolderDataset(path, name_or_path, source, seed, _given_files(path, name_or_path, settings))
    path = Path(name_or_path)
    near = "" if path.exists() else _near_path(path)
    if _looks_like_path(name_or_path) and not path.exists():
        raise UserError(
            f"The dataset {name_or_path} does not exist.",
            f"{near}Give a folder of class folders, a CSV with the columns path,class, or a name of "
            "`python -m harness list datasets`.",
        )
    if path.is_dir() or path.is_file():
        name = path.stem if path.is_file() else path.resolve().name
        if name in dataset_names():
            name = f"custom_{name}"  # results of a custom folder must not carry the name of an official dataset
        return FolderDataset(path, name, source, seed, _given_files(path, name, settings))
    unknown = unknown_name("dataset", name_or_path, dataset_names(settings))
    raise UserError(unknown.message, f"{near}{unknown.hint}")


def _given_files(path: Path, name: str, settings: Settings) -> GivenFiles:
    """Video root (`--data NAME=DIR`) and class names (`--data-labels NAME=FILE`) of a custom dataset.

    NAME is the name of the dataset, or that of its file or folder.
    """
    names = (name, path.stem if path.is_file() else path.resolve().name)
    videos = next((settings.data[n].path for n in names if n in settings.data), None)
    labels = next((settings.labels[n].path for n in names if n in settings.labels), None)
    if videos is not None and videos.resolve() == path.resolve():  # a dataset by the name of its own folder
        videos = None
    return GivenFiles(videos, labels, settings.cache.path)


def _near_path(path: Path) -> str:
    """`Did you mean the folder NAME? ` for a misspelt path of a folder or table; empty if no path is near."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_dir() or entry.suffix in SUFFIXES]
    except OSError:  # the parent does not exist, either
        return ""
    near = difflib.get_close_matches(path.name, names, n=1)
    if not near:
        return ""
    kind = "folder" if (path.parent / near[0]).is_dir() else "table"
    return f"Did you mean the {kind} {path.parent / near[0]}? "


def _looks_like_path(text: str) -> bool:
    return os.sep in text or "/" in text or text.startswith(".") or Path(text).suffix in SUFFIXES


def _check_choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{option} {value!r}, expected one of {', '.join(allowed)}.")
