"""Files in the cache of the Hugging Face hub and in OpenAI's cache, found without network."""

from __future__ import annotations

import os
from pathlib import Path

from harness.base.errors import UserError
from harness.weights.folder import WEIGHT_NAMES, WEIGHT_SUFFIXES, snapshot_of

HUB = "hf-hub:"
"""Prefix of a repository on the Hugging Face hub in open_clip's spelling."""


def is_hub(weights: str) -> bool:
    """Whether a value of `--weights` names a repository on the hub."""
    return weights.startswith(HUB)


def repository_of(weights: str) -> str:
    """The repository `ORG/NAME` that a value of `--weights` names.

    Raises:
        UserError: The value is not `hf-hub:ORG/NAME`.
    """
    name = weights.removeprefix(HUB)
    parts = name.split("/")
    if len(parts) != 2 or not all(parts) or not all(set(part) - {"."} for part in parts):
        raise UserError(
            f"--weights is {weights!r}, expected {HUB}ORG/NAME.", f"Example: {HUB}laion/CLIP-ViT-B-16-laion2B-s34B-b88K"
        )
    return name


def hub_cache() -> Path:
    """The cache of the Hugging Face hub."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    home = Path(os.environ.get("HF_HOME", caches / "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()


def openai_cache() -> Path:
    """The folder in which OpenAI's package and open_clip keep files that have an address of their own."""
    return Path("~/.cache/clip").expanduser()


def cached_snapshot(repository: str, *caches: Path) -> Path | None:
    """The folder of a repository's weights in a cache, or None.

    Args:
        repository: `ORG/NAME`.
        caches: Folders in the layout of the hub's cache, first choice first; the hub's cache itself comes last.
    """
    for cache in (*caches, hub_cache()):
        folder = cache / f"models--{repository.strip('/').replace('/', '--')}"
        if not (folder / "snapshots").is_dir():
            continue
        try:
            snapshot = snapshot_of(folder)
        except UserError:  # several snapshots and no reference
            continue
        # A repository whose configuration alone was downloaded has a snapshot, too.
        if any(file.suffix in WEIGHT_SUFFIXES or file.name in WEIGHT_NAMES for file in snapshot.iterdir()):
            return snapshot
    return None


def cached_file(repository: str, name: str, *caches: Path) -> Path | None:
    """A file of a repository in a cache, or None; without a name open_clip's weight file.

    Args:
        repository: `ORG/NAME`.
        name: File name; empty for `open_clip_model.safetensors` or `open_clip_pytorch_model.bin`.
        caches: As in `cached_snapshot`.
    """
    snapshot = cached_snapshot(repository, *caches)
    if snapshot is None:
        return None
    # The hub holds safetensors beside the file that a tag names, and open_clip prefers it.
    names = (Path(name).with_suffix(".safetensors").name, name) if name else WEIGHT_NAMES[:2]
    return next((snapshot / file for file in names if (snapshot / file).is_file()), None)


def is_current(path: Path) -> bool:
    """Whether a file is the newest in the hub's cache; a file elsewhere is."""
    snapshots = path.parent.parent
    if snapshots.name != "snapshots":
        return True
    main = snapshots.parent / "refs" / "main"
    try:
        return main.read_text(encoding="utf-8").strip() == path.parent.name
    except OSError:
        return True
