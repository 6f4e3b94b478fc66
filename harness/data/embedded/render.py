"""Rendering of the embedded benchmark: two small synthetic action datasets, and the weights of a tiny CLIP.

`mini_target` has the role of HMDB-51 and UCF-101 (24 classes, three evaluation splits, base and novel classes), and
`mini_source` that of K-400 (36 classes, none shared with the target). Classes are compositions of an object and a
motion. The clips are rendered once, on first use, into Motion-JPEG files. Numbers measured on them show that the
pipeline works; they say nothing about CLIP.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.base.files import file_sha256
from harness.data.embedded.drawing import draw_actor, draw_clip
from harness.data.embedded.lists import MINI_DATASETS, MINI_VERSION, mini_class_names, mini_list

_FRAMES_PER_SECOND = 12.0
_JPEG_QUALITY = 80.0
_EMBEDDING_ROWS = 49408  # of CLIP's vocabulary
_EMBEDDING_SEED = 20_240_613
_STALE_SECONDS = 86_400.0


def prepare_mini(
    dataset: str, folder: Path, progress: Callable[[int, int], None] | None = None, workers: int | None = None
) -> Path:
    """Return the folder with the rendered clips of a mini dataset; render the clips unless the folder is complete.

    Files are bit-identical from run to run on one machine, for any number of workers. The clips are rendered into a
    temporary folder beside the final one, which is renamed at the end, so that an interruption or a second process
    never leaves an incomplete folder under the final name.

    Args:
        dataset: One of `MINI_DATASETS`.
        folder: Parent folder; the clips are written to `folder/<dataset>-v<MINI_VERSION>`.
        progress: Called with the number of finished clips and the total after each clip, by one thread at a time.
        workers: Number of threads; None means one for each core, at most eight.

    Raises:
        ValueError: The dataset does not exist.
    """
    jobs = _jobs(dataset)
    final = folder / f"{dataset}-v{MINI_VERSION}"
    if _is_complete(final, jobs):
        return final
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder, final.name)
    part = Path(tempfile.mkdtemp(prefix=f".{final.name}-", suffix=".part", dir=folder))
    try:
        files = dict(_render_all(dataset, jobs, part, progress, workers))
        manifest = {"dataset": dataset, "version": MINI_VERSION, "files": dict(sorted(files.items()))}
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        part.chmod(0o755)  # mkdtemp makes a private folder, while data are shared
        _publish(part, final, jobs)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return final


def mini_damage(folder: Path) -> tuple[str, ...]:
    """Return the names of rendered files that are missing from `folder` or differ from its manifest, sorted."""
    files: dict[str, str] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    return tuple(
        n for n, digest in sorted(files.items()) if not (folder / n).is_file() or file_sha256(folder / n) != digest
    )


def load_mini_clip_state() -> dict[str, NDArray[np.float32]]:
    """Return the tiny CLIP's state dict, float32, under the key names of OpenAI's CLIP.

    The file keeps only the embedding rows of the words seen in pretraining. All other rows of `token_embedding.weight`
    (49408, width) are drawn from a fixed seed at the scale of the trained rows, so that unseen words stay distinct.
    """
    from safetensors.numpy import load  # imported here, because rendering does not need it

    raw = resources.files("harness.data").joinpath("assets", "mini_clip.safetensors").read_bytes()
    state: dict[str, NDArray[np.float32]] = load(raw)
    ids, rows = state.pop("token_embedding.ids"), state.pop("token_embedding.rows")
    rng = np.random.default_rng(_EMBEDDING_SEED)
    table = rng.standard_normal((_EMBEDDING_ROWS, rows.shape[1]), np.float32) * np.float32(rows.std())
    table[ids] = rows
    state["token_embedding.weight"] = table
    return state


def render_clip(dataset: str, path: str, target: Path) -> str:
    """Render one clip of a mini dataset into the file `target` and return its SHA-256.

    Args:
        dataset: One of `MINI_DATASETS`.
        path: A relative path as in the lists; dataset and path decide the content.
        target: The file to write, with the extension `.avi`.

    Raises:
        OSError: OpenCV could not open the file for writing, or could not write all of it.
    """
    class_name, group, clip = _parse(path)
    shape, motion = class_name.split(" ")
    seed = [MINI_VERSION, MINI_DATASETS.index(dataset), mini_class_names(dataset).index(class_name), group]
    actor = draw_actor(np.random.default_rng([*seed, 0]))  # clip numbers begin at 1, so 0 is free for the group
    frames = draw_clip(np.random.default_rng([*seed, clip]), actor, shape, motion)
    height, width = frames.shape[1:3]
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    # OpenCV's own AVI writer makes every frame a key frame, so frame counts and random access are exact.
    writer = cv2.VideoWriter(str(target), cv2.CAP_OPENCV_MJPEG, fourcc, _FRAMES_PER_SECOND, (width, height))
    if not writer.isOpened():
        raise OSError(f"OpenCV could not open {target} for writing Motion-JPEG video.")
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, _JPEG_QUALITY)
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    _check_whole(target)
    return file_sha256(target)


def _check_whole(file: Path) -> None:
    """Raise if a full disk cut a clip short. OpenCV reports no error, but the file's header states its size."""
    with file.open("rb") as stream:
        head = stream.read(8)
    size = file.stat().st_size
    if len(head) < 8 or size != 8 + int.from_bytes(head[4:8], "little"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))


def _parse(path: str) -> tuple[str, int, int]:
    *words, group, clip = path.removeprefix("v_").removesuffix(".avi").split("_")
    return " ".join(words), int(group[1:]), int(clip[1:])


def _jobs(dataset: str) -> tuple[str, ...]:
    """Return the paths of all clips of a dataset: the union of its lists, sorted."""
    names = ("train", "val1", "val2", "val3") if dataset == "mini_target" else ("train", "val")
    return tuple(sorted({path for name in names for path, _ in mini_list(dataset, name)}))


def _render_all(
    dataset: str, jobs: tuple[str, ...], part: Path, progress: Callable[[int, int], None] | None, workers: int | None
) -> Iterator[tuple[str, str]]:
    """Yield (path, SHA-256) of each clip after rendering it into `part`."""
    stop = threading.Event()

    def work(path: str) -> str:
        return "" if stop.is_set() else render_clip(dataset, path, part / path)

    # Threads, because OpenCV releases the interpreter lock, and processes would need a guarded main module in callers.
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        try:
            for done, (path, digest) in enumerate(zip(jobs, pool.map(work, jobs), strict=True), start=1):
                if progress is not None:
                    progress(done, len(jobs))
                yield path, digest
        finally:
            stop.set()  # after an interruption the clips in the queue are not drawn


def _publish(part: Path, final: Path, jobs: tuple[str, ...]) -> None:
    """Rename `part` to `final`, unless another process has made a complete folder in the meantime.

    Raises:
        OSError: The folder could not be renamed although there is no complete folder of that name.
    """
    for attempt in range(3):
        try:
            part.rename(final)
        except OSError:
            if _is_complete(final, jobs):
                return
            if attempt == 2:
                raise
            # The name belongs to an incomplete folder, e.g. with clips deleted by hand. Rename it, then delete it.
            trash = Path(tempfile.mkdtemp(prefix=f".{final.name}-", suffix=".old", dir=final.parent))
            with contextlib.suppress(OSError):  # the other process may have done it first
                final.rename(trash / "old")
            shutil.rmtree(trash, ignore_errors=True)
        else:
            return


def _is_complete(final: Path, jobs: tuple[str, ...]) -> bool:
    """Return whether a folder has a manifest of this version and all its clips; `mini_damage` checks their content."""
    try:
        manifest = json.loads((final / "manifest.json").read_text(encoding="utf-8"))
        present = {entry.name for entry in os.scandir(final) if entry.stat().st_size > 0}
    except (OSError, ValueError):
        return False
    return manifest.get("version") == MINI_VERSION and set(manifest.get("files", ())) == set(jobs) <= present


def _sweep(folder: Path, name: str) -> None:
    """Delete temporary folders of killed runs that are older than a day; younger ones may be in use."""
    for left in folder.glob(f".{name}-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
