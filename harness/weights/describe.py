"""A weight file in words: its format, family, architecture and activation, found without reading its tensors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.base.errors import UserError
from harness.base.files import cached_file_sha256
from harness.weights.activation import GELU, QUICK_GELU, Statement
from harness.weights.families import PUBLISHED, TITLES, PublishedWeights, read_published
from harness.weights.folder import WeightFolder, open_folder
from harness.weights.read import WeightFile, open_weights
from harness.weights.sizes import Sizes, architectures_of, known_architectures, named, sizes_of, sizes_of_transformers
from harness.weights.stored import StoredTensor

_TAGS = ("openai", "random")
INFERRED = "inferred"
"""Name of an architecture whose sizes are those of a weight file and of no architecture of open_clip."""
LOCAL_DIR = "local-dir:"
"""Prefix of a folder in open_clip's spelling."""


@dataclass(frozen=True)
class Description:
    """A weight file, or the weight file of a folder, before its tensors are read.

    Args:
        given: Path of the file or folder as the user wrote it.
        file: The weight file.
        published: Descriptions of its tensors, by the names of open_clip and of the built-in methods.
        sizes: Sizes that the shapes state; None for towers other than CLIP's own.
        statement: Activation that the file or the folder's configuration states.
        folder: The folder that the file was found in; None if the file itself was given.
    """

    given: str
    file: WeightFile
    published: PublishedWeights[StoredTensor]
    sizes: Sizes | None
    statement: Statement
    folder: WeightFolder | None = None

    @property
    def title(self) -> str:
        """Family for people, e.g. `ViFi-CLIP`."""
        return "CLIP of OpenAI" if self.published.scalars else TITLES[self.published.family]

    @property
    def is_complete(self) -> bool:
        """Whether the file holds all of CLIP."""
        return not self.published.absent

    @property
    def architectures(self) -> tuple[str, ...]:
        """Architectures of open_clip that the file can belong to: the stated one, or those with its shapes."""
        if self.statement.arch:
            return (self.statement.arch,)
        return architectures_of(self.sizes) if self.sizes is not None else ()

    def architecture(self, activation: str) -> str:
        """The only architecture of open_clip that the file can belong to; empty if there is none.

        Raises:
            UserError: Several architectures have these shapes.
        """
        names = self.architectures
        if len(names) > 1:
            raise UserError(
                f"{self.given} has the shapes of several architectures: {', '.join(names)}.", "Give one with --arch."
            )
        if not names or self.statement.arch:
            return "".join(names)
        return named(names[0], activation == QUICK_GELU)

    @property
    def heads(self) -> tuple[int, int] | None:
        """Attention heads of vision and text tower that the file or its folder states; None if neither does."""
        if self.folder is not None and self.folder.heads is not None:
            return self.folder.heads
        stated = re.fullmatch(r"(\d{1,3}),(\d{1,3})", self.file.metadata.get("heads", ""))
        return (int(stated[1]), int(stated[2])) if stated else None

    @property
    def sha256(self) -> str:
        """Hash of the file, or of all files that define the model: shards and configuration."""
        files = list(self.file.files)
        if self.folder is not None and self.folder.config is not None:
            files.append(self.folder.config)
        hashes = [cached_file_sha256(path.resolve()) for path in files]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def is_path(weights: str) -> bool:
    """Whether a value of `--weights` names a file or folder on this machine."""
    path = Path(weights)
    # A folder of this name in the working folder must not change what the two most used words mean.
    return weights.startswith(LOCAL_DIR) or path.is_file() or (path.is_dir() and weights not in _TAGS)


def path_of(weights: str) -> Path:
    """The file or folder that a value of `--weights` names."""
    return Path(weights.removeprefix(LOCAL_DIR))


def describe(weights: str | Path) -> Description:
    """Describe a weight file or a folder of weights.

    Raises:
        UserError: The file is missing, damaged, of another format, or holds no CLIP weights.
    """
    path = path_of(str(weights))
    folder = None
    if path.is_dir():
        folder = open_folder(path)
        path = folder.weights
    elif str(weights).startswith(LOCAL_DIR):
        raise UserError(f"The folder {path} of --weights {weights} does not exist.", "Give the path of a folder.")
    if not path.exists():
        raise UserError(f"The weight file {path} does not exist.", "Give the path of a file, or an open_clip tag.")
    state = path.stat()
    return _described(str(weights), path, folder, (state.st_size, state.st_mtime_ns, state.st_ino))


@cache
def _described(given: str, path: Path, folder: WeightFolder | None, stamp: tuple[int, ...]) -> Description:
    """The description, kept while the file stays as it is: plans ask for it once for each row."""
    file = open_weights(path)
    published = read_published(file.content, str(path))
    shapes = {name: tensor.shape for name, tensor in published.clip.items()}
    sizes = sizes_of_transformers(shapes) if published.family == "transformers" else sizes_of(shapes)
    return Description(given, file, published, sizes, _statement(file.metadata, published, folder), folder)


def _statement(
    metadata: Mapping[str, str], published: PublishedWeights[StoredTensor], folder: WeightFolder | None
) -> Statement:
    if metadata.get("quick_gelu") in ("true", "false"):
        activation = QUICK_GELU if metadata["quick_gelu"] == "true" else GELU
        arch = metadata.get("arch", "")
        # Exports of models that open_clip does not list, such as the embedded tiny CLIP, state a name of this project.
        return Statement(activation, "stated in the file", arch if arch in known_architectures() else "")
    if published.family in PUBLISHED:
        return Statement(QUICK_GELU, f"{TITLES[published.family]} starts from OpenAI's weights")
    if published.scalars:
        return Statement(QUICK_GELU, "it holds OpenAI's input_resolution, context_length and vocab_size")
    if folder is not None and folder.config is not None:
        return Statement(folder.activation, f"stated in {folder.config.name}")
    return Statement()
