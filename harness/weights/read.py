"""Weight files opened: format, notes and the description of every tensor, without reading the tensors."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from harness.base.errors import UserError
from harness.weights import pickled
from harness.weights.content import LEGACY_MAGIC, format_of
from harness.weights.stored import MOST_ENTRIES, Location, StoredTensor, StoredTree, contiguous, require_bounded

FileKind = Literal["safetensors", "torchscript", "checkpoint", "legacy", "sharded"]
KIND_TEXTS: Mapping[FileKind, str] = {
    "safetensors": "safetensors", "torchscript": "TorchScript archive", "checkpoint": "file of torch.save",
    "legacy": "file of torch.save before torch 1.6", "sharded": "sharded weights with an index",
}  # fmt: skip
MOST_HEADER = 16 * 2**20
"""Bytes of a header of safetensors or of an index. Those of CLIP have less than 0.1 MB."""
_MOST_SHARDS = 1000
_SAFETENSORS_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
    "BOOL": "bool",
}  # fmt: skip
Json: TypeAlias = "str | int | float | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True)
class WeightFile:
    """A weight file whose tensors are described and not read.

    Args:
        path: The file.
        kind: Kind of the file.
        content: Descriptions of the tensors, nested as they were saved.
        locations: Bytes of each storage, by the name that descriptions use.
        metadata: Text in the header of a safetensors file.
    """

    path: Path
    kind: FileKind
    content: StoredTree
    locations: Mapping[str, Location]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold the weights: the file itself, or its shards."""
        return tuple(sorted({self.path, *(location.file for location in self.locations.values())}))


def open_weights(path: Path) -> WeightFile:
    """Open a weight file, recognised by its content, without executing anything in it and without reading tensors.

    The memory that this takes does not depend on what the file claims: pickles, headers and tensors that are larger
    than the file can hold are refused.

    Raises:
        UserError: The file is missing, has another format, or is damaged.
    """
    if not path.is_file():
        raise UserError(f"The weight file {path} does not exist.", "Give the path of a file, or an open_clip tag.")
    try:
        opened = _READERS[format_of(path)](path)
        require_bounded(path, opened.content, opened.locations)
        return opened
    except UserError:
        raise
    except Exception as error:  # a damaged file raises many types in zipfile, pickle and json
        raise UserError(
            f"The weight file {path} is damaged: {type(error).__name__}: {error}", "Download or save the file again."
        ) from error


def _open_safetensors(path: Path) -> WeightFile:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER:
            raise ValueError(f"a header of {length} bytes, expected at most {MOST_HEADER}")
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", None) or {}
    tensors: dict[str, StoredTensor] = {}
    locations: dict[str, Location] = {}
    size, last = path.stat().st_size, 8 + length
    for name, entry in header.items():
        shape = tuple(int(n) for n in entry["shape"])
        begin, end = (8 + length + int(position) for position in entry["data_offsets"])
        if entry["dtype"] not in _SAFETENSORS_TYPES:
            raise ValueError(f"{name} has the type {entry['dtype']}, expected one of {', '.join(_SAFETENSORS_TYPES)}")
        tensor = StoredTensor(_SAFETENSORS_TYPES[entry["dtype"]], shape, contiguous(shape), 0, name)
        if min(shape, default=0) < 0 or not 8 + length <= begin <= end or tensor.nbytes != end - begin:
            raise ValueError(f"{name} of shape {shape} has {end - begin} bytes, expected {tensor.nbytes}")
        last = max(last, end)
        tensors[name], locations[name] = tensor, Location(path, begin, end - begin)
    if last != size:
        raise ValueError(f"its tensors end at byte {last}, but the file has {size}")
    return WeightFile(path, "safetensors", tensors, locations, {str(k): str(v) for k, v in metadata.items()})


def _open_zip(path: Path) -> WeightFile:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        # The folder in the archive has the name under which the file was saved, not its present name.
        roots = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(roots) != 1:
            kind = "an .npz file of NumPy" if any(name.endswith(".npy") for name in members) else "not of PyTorch"
            raise UserError(
                f"The zip file {path} is {kind}: it holds no data.pkl.",
                "Give a safetensors file or a file that torch.save wrote.",
            )
        root = roots[0].removesuffix("data.pkl")
        if (size := members[roots[0]].file_size) > pickled.MOST_BYTES:
            raise ValueError(f"a pickle of {size} bytes, expected at most {pickled.MOST_BYTES}")
        with archive.open(roots[0]) as file:
            content, storages = pickled.load(file)
        locations = {}
        for name, nbytes in storages.items():
            info = members.get(f"{root}data/{name}")
            if info is None or info.file_size < nbytes:
                raise ValueError(f"storage {name} holds {info.file_size if info else 0} of {nbytes} bytes")
            locations[name] = Location(path, 0, info.file_size, info.filename)
    if f"{root}constants.pkl" in members:
        return WeightFile(path, "torchscript", _module_tensors(content), locations)
    return WeightFile(path, "checkpoint", _named_tensors(path, content), locations)


def _open_legacy(path: Path) -> WeightFile:
    """Open a file of torch < 1.6: pickles of magic number, version, system, content and storage names, then values."""
    locations = {}
    with path.open("rb") as file:
        magic, _ = pickled.load(file)
        if magic != LEGACY_MAGIC:
            raise ValueError("another magic number")
        for _ in ("version", "system"):
            pickled.load(file)
        content, storages = pickled.load(file)
        names, _ = pickled.load(file)
        position, size = file.tell(), path.stat().st_size
        for name in names if isinstance(names, list) else ():
            if not isinstance(name, str) or name not in storages:
                raise ValueError("a storage that belongs to no tensor")
            nbytes = storages[name]
            position += 8  # the number of values comes before them
            if position + nbytes > size:
                raise ValueError(f"storage {name} ends at byte {position + nbytes}, but the file has {size}")
            locations[name] = Location(path, position, nbytes)
            position += nbytes
    return WeightFile(path, "legacy", _named_tensors(path, content), locations)


def _open_index(path: Path) -> WeightFile:
    """Open the shards that an index names, in the folder of the index."""
    if path.stat().st_size > MOST_HEADER:
        raise ValueError(f"a JSON file of {path.stat().st_size} bytes, expected at most {MOST_HEADER}")
    index = json.loads(path.read_bytes())
    shard_of = index.get("weight_map")
    if not isinstance(shard_of, dict):
        raise UserError(
            f"{path} is a JSON file, such as the configuration of a model, not a weight file.",
            "Give the weight file, or the folder that holds both files.",
        )
    content: dict[str, StoredTensor] = {}
    locations: dict[str, Location] = {}
    shards = sorted({str(name) for name in shard_of.values()})
    if len(shards) > _MOST_SHARDS:
        raise ValueError(f"{len(shards)} shards, expected at most {_MOST_SHARDS}")
    for shard in shards:
        file = path.parent / shard
        if Path(shard).name != shard:  # an index may not name files of other folders
            raise ValueError(f"the shard {shard!r} is not a file name")
        if not file.is_file():
            raise UserError(
                f"{path} names the shard {shard}, which is not in its folder.",
                f"Download all {len(shards)} shards into {path.parent}.",
            )
        kind = format_of(file)
        if kind == "index":
            raise ValueError(f"the shard {shard} is an index")
        opened = _READERS[kind](file)
        locations |= {f"{shard}:{name}": location for name, location in opened.locations.items()}
        for name, tensor in opened.content.items():
            if isinstance(tensor, StoredTensor) and shard_of.get(name) == shard:
                content[name] = StoredTensor(
                    tensor.dtype, tensor.shape, tensor.stride, tensor.offset, f"{shard}:{tensor.storage}"
                )
    absent = sorted(set(shard_of) - set(content))
    if absent:
        raise UserError(
            f"The shards of {path} lack {len(absent)} tensors that it names (first: {absent[0]}).",
            "Download the index and all shards again.",
        )
    return WeightFile(path, "sharded", content, locations)


_READERS: Mapping[str, Callable[[Path], WeightFile]] = {
    "safetensors": _open_safetensors, "zip": _open_zip, "legacy": _open_legacy, "index": _open_index,
}  # fmt: skip


def _named_tensors(path: Path, content: pickled.Pickled) -> StoredTree:
    """The tensors and nested mappings of a saved mapping that have a name.

    Raises:
        UserError: The content is not a mapping.
    """
    if not isinstance(content, dict):
        raise UserError(
            f"{path} holds a {type(content).__name__}, expected a mapping of names to tensors.",
            "Save its state dict: torch.save(model.state_dict(), FILE).",
        )
    return _Trees().of(content)


class _Trees:
    """Mappings of a pickle as trees of tensors; a mapping that several names refer to gives one tree."""

    def __init__(self) -> None:
        self._known: dict[int, dict[str, StoredTensor | StoredTree]] = {}

    def of(self, content: dict[pickled.Pickled, pickled.Pickled]) -> StoredTree:
        """The tensors and mappings below a mapping."""
        if id(content) in self._known:
            return self._known[id(content)]
        tree = self._known[id(content)] = {}
        for name, value in content.items():
            if isinstance(name, str) and isinstance(value, StoredTensor):
                tree[name] = value
            elif isinstance(name, str) and isinstance(value, dict):
                tree[name] = self.of(value)
        return tree


def _module_tensors(module: pickled.Pickled) -> dict[str, StoredTensor]:
    """The tensors of a TorchScript module and its submodules by their dotted names."""
    tensors: dict[str, StoredTensor] = {}
    pending = [("", module)]
    for _ in range(MOST_ENTRIES):
        if not pending:
            return tensors
        prefix, inner = pending.pop()
        for name, value in inner.state.items() if isinstance(inner, pickled.Inert) else ():
            if isinstance(value, StoredTensor):
                tensors[f"{prefix}{name}"] = value
            elif isinstance(value, pickled.Inert):
                pending.append((f"{prefix}{name}.", value))
    raise ValueError(f"more than {MOST_ENTRIES} modules")  # a module that contains itself
