"""`check data`: the lists and videos of a dataset on this machine, list by list, with all problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from harness.base.errors import UserError
from harness.data.equal_clips import ListedClips, refuse_equal_clips
from harness.data.lists.dataset import Dataset
from harness.data.official.dataset import OfficialDataset
from harness.data.reader_check import DecodeCheck, readers_text, sample
from harness.data.shared_people import people_in_both, people_warning
from harness.spec import VideoList

_SHOWN = 5
FRAME_FOLDER = "frame folder"
"""Stands for the extension of a clip that is a folder of frames."""


class ListCheckJson(TypedDict):
    """JSON form of a `ListCheck`."""

    name: str
    origin: str
    level: str
    rows: int
    found: int | None
    problem: str


class DecodeJson(TypedDict):
    """JSON form of the comparison of the readers: clips compared; wrong frames, corrupt packets, problems by path."""

    compared: int
    disagree: dict[str, int]
    damaged: dict[str, int]
    undecodable: dict[str, str]


class DataJson(TypedDict):
    """JSON form of a `DataReport`."""

    dataset: str
    kind: str
    root: str | None
    files: int
    extensions: dict[str, int]
    unlisted: int
    how: dict[str, int]
    complete: bool
    lists: list[ListCheckJson]
    missing: list[str]
    ambiguous: list[str]
    copies: list[str]
    people: list[str]
    decode: DecodeJson | None


@dataclass(frozen=True)
class Coverage:
    """Number of clips of a list on disk.

    Args:
        expected: Rows of the list.
        found: Rows whose video is on disk.
        missing: Paths without a video.
        ambiguous: Paths whose base name belongs to several different files; they count as missing.
    """

    expected: int
    found: int
    missing: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListCheck:
    """One list: its file and its coverage.

    Args:
        name: Name of the list.
        origin: `published`, `generated` or `own`; empty if the list could not be read.
        level: Acceptance level of an official list, `unverified` without one; empty where no such list was published.
        coverage: Clips on disk, None if the videos could not be searched.
        rows: Rows of the list.
        problem: The reason why the list or its coverage is not available; empty otherwise.
    """

    name: str
    origin: str = ""
    level: str = ""
    coverage: Coverage | None = None
    rows: int = 0
    problem: str = ""

    def as_dict(self) -> ListCheckJson:
        """JSON-ready form."""
        return {
            "name": self.name,
            "origin": self.origin,
            "level": self.level,
            "rows": self.rows,
            "found": self.coverage.found if self.coverage else None,
            "problem": self.problem,
        }

    def text(self) -> str:
        """The check on one line."""
        level = f"level {self.level}" if self.level.isdigit() else self.level
        facts = ", ".join(filter(None, (self.origin, level)))
        if self.coverage is not None:
            return f"{self.name}: {self.coverage.found:,} of {self.rows:,} clips ({facts})"
        rows = f"{self.rows:,} rows ({facts}); " if self.rows else ""
        return f"{self.name}: {rows}{self.problem}"


@dataclass
class DataReport:
    """The state of one dataset on this machine.

    Args:
        dataset: Name of the dataset.
        kind: `embedded`, `official` or `custom`.
        root: Folder of its videos, None if no folder is configured.
        files: Video files below the root.
        extensions: Number of files of each extension.
        unlisted: Video files that no list names.
        how: Number of found clips by the rule that found them: `path`, `name`, `case`, `id` (see `Inventory`).
        lists: One check per list.
        copies: Clips with equal bytes on both sides of the split or under two classes, as a sentence; empty without.
        people: People and source videos on both sides of a stated split, as a sentence; empty without.
        decode: The comparison of each found clip by list path; None if clips were not compared.
    """

    dataset: str
    kind: str
    root: Path | None = None
    files: int = 0
    extensions: Mapping[str, int] = field(default_factory=dict)
    unlisted: int = 0
    how: Mapping[str, int] = field(default_factory=dict)
    lists: list[ListCheck] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    decode: dict[str, DecodeCheck] | None = None

    @property
    def complete(self) -> bool:
        """Whether every list was read and all its clips are on disk."""
        return all(not check.problem and check.coverage and not check.coverage.missing for check in self.lists)

    @property
    def missing(self) -> tuple[str, ...]:
        """Clips of all lists without a video, ambiguous clips included, sorted."""
        return tuple(sorted({path for check in self.lists if check.coverage for path in check.coverage.missing}))

    @property
    def ambiguous(self) -> tuple[str, ...]:
        """Clips of all lists whose base name belongs to several different files, sorted."""
        return tuple(sorted({path for check in self.lists if check.coverage for path in check.coverage.ambiguous}))

    @property
    def disagree(self) -> tuple[str, ...]:
        """Clips on which decord's random access and a sequential decode disagree, sorted."""
        return tuple(sorted(path for path, check in (self.decode or {}).items() if check.wrong))

    @property
    def damaged(self) -> Mapping[str, int]:
        """Clips with corrupt packets, and their number."""
        return {path: check.skipped for path, check in sorted((self.decode or {}).items()) if check.skipped}

    @property
    def undecodable(self) -> Mapping[str, str]:
        """Clips that could not be compared, with the reason."""
        return {path: check.problem for path, check in sorted((self.decode or {}).items()) if check.problem}

    def text(self) -> str:
        """The report as text: a table of lists, then the clips that are missing, ambiguous or decode differently."""
        lines = [f"{self.dataset}: {self.files:,} video files in {self.root or 'no configured folder'}"]
        if self.extensions:
            kinds = ", ".join(
                f"{count:,} {name}s" if name == FRAME_FOLDER else f"{count:,} .{name}"
                for name, count in self.extensions.items()
            )
            lines.append(f"  {kinds}; {self.unlisted:,} in no list")
        lines += [f"  {check.text()}" for check in self.lists]
        for title, paths in (("missing", self.missing), ("ambiguous", self.ambiguous)):
            if paths:
                more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
                lines.append(f"  {title}: {len(paths):,} clips: {', '.join(paths[:_SHOWN])}{more}")
        lines += [f"  copies: {copies}" for copies in self.copies]
        lines += [f"  people: {people}" for people in self.people]
        if self.decode is not None:
            is_custom = self.kind == "custom"
            lines.append(f"  {readers_text(self.decode, 'readers', is_custom, sampled=False)}")
            lines += [
                f"  damaged: {path}: {count} corrupt packets, which the reader exact skips as ffmpeg does"
                for path, count in self.damaged.items()
            ]
            lines += [f"  undecodable: {path}: {reason}" for path, reason in self.undecodable.items()]
        return "\n".join(lines)

    def as_dict(self) -> DataJson:
        """JSON-ready form, with all missing clips."""
        decode: DecodeJson | None = None
        if self.decode is not None:
            decode = {
                "compared": len(self.decode) - len(self.undecodable),
                "disagree": {path: self.decode[path].wrong for path in self.disagree},
                "damaged": dict(self.damaged),
                "undecodable": dict(self.undecodable),
            }
        return {
            "dataset": self.dataset,
            "kind": self.kind,
            "root": str(self.root) if self.root else None,
            "files": self.files,
            "extensions": dict(self.extensions),
            "unlisted": self.unlisted,
            "how": dict(self.how),
            "complete": self.complete,
            "lists": [check.as_dict() for check in self.lists],
            "missing": list(self.missing),
            "ambiguous": list(self.ambiguous),
            "copies": list(self.copies),
            "people": list(self.people),
            "decode": decode,
        }


def coverage(dataset: Dataset, video_list: VideoList) -> Coverage:
    """Search the clips of a list on disk.

    Raises:
        UserError: The dataset has no configured video folder.
    """
    missing = tuple(path for path in video_list.paths if dataset.locate(path) is None)
    ambiguous: tuple[str, ...] = ()
    if isinstance(dataset, OfficialDataset):
        ambiguous = tuple(path for path in missing if dataset.inventory.find(path).candidates)
    return Coverage(len(video_list), len(video_list) - len(missing), missing, ambiguous)


def check_data(
    dataset: Dataset,
    compare: Callable[[Path], DecodeCheck] | None = None,
    progress: Callable[[int, int], None] | None = None,
    after_sample: Callable[[str], None] | None = None,
) -> DataReport:
    """Return which lists and videos of a dataset are on this machine, and the comparison of the readers if requested.

    Args:
        dataset: From `open_dataset`.
        compare: Function that compares decord with a sequential decode of a clip (about 0.1 to 0.3 s per clip).
        progress: Called with clips compared and clips in all.
        after_sample: Called with the outcome of a seeded sample of the clips, which is compared first.
    """
    report = DataReport(dataset.name, dataset.kind)
    dataset.prepare()
    inventory_problem = ""
    if isinstance(dataset, OfficialDataset):
        report.root = dataset.root
        try:
            report.files, report.extensions = len(dataset.inventory), dataset.inventory.extensions
        except UserError as error:  # the lists are still worth checking
            inventory_problem = error.message
    files: dict[str, Path] = {}
    for name in dataset.list_names():
        report.lists.append(_check_list(dataset, name, inventory_problem, files))
    if isinstance(dataset, OfficialDataset):
        if not inventory_problem:
            report.how = dict(Counter(dataset.inventory.find(path).how for path in files))
            report.unlisted = report.files - len(set(files.values()))
    else:
        report.files = len(set(files.values()))
        report.extensions = dict(Counter(map(_extension, set(files.values()))))
        report.root = _common_root(files)
        report.copies = _copies(dataset)
        if dataset.has_list("train") and dataset.has_list("val"):
            people = people_in_both(dataset, dataset.list("train"), dataset.list("val"))
            report.people = [people_warning(dataset, people)] if people else []
    if compare is not None:
        report.decode = {}
        # The sample first: a user learns of wrong frames long before all clips are compared.
        first = sample(sorted(files))
        ordered = dict.fromkeys([*first, *sorted(files)])
        for done, path in enumerate(ordered, 1):
            report.decode[path] = compare(files[path])
            if progress:
                progress(done, len(files))
            if after_sample and done == len(first) < len(files):
                after_sample(readers_text(report.decode, dataset.name, dataset.kind == "custom", sampled=True))
    return report


def _extension(clip: Path) -> str:
    return FRAME_FOLDER if clip.is_dir() else clip.suffix.lstrip(".").lower()


def _copies(dataset: Dataset) -> list[str]:
    """The refusals of clips with equal bytes that a run of this dataset would meet."""
    sides = [
        ListedClips(dataset, dataset.list(name), dataset.labels("all"))
        for name in ("train", "val")
        if dataset.kind == "custom" and dataset.has_list(name)
    ]
    copies = []
    # Each side alone for clips under two classes, then both sides for copies across the split.
    for train, test in [(None, side) for side in sides] + ([(sides[0], sides[1])] if len(sides) == 2 else []):
        try:
            refuse_equal_clips(train, test)
        except UserError as error:
            copies.append(error.message)
    return list(dict.fromkeys(copies))


def _check_list(dataset: Dataset, name: str, inventory_problem: str, files: dict[str, Path]) -> ListCheck:
    """Check one list, and add the files of its clips on disk to `files`."""
    try:
        video_list = dataset.list(name)
    except UserError as error:
        return ListCheck(name, problem=error.message)
    level = ""
    if isinstance(dataset, OfficialDataset) and (acceptance := dataset.acceptance(name)):
        level = str(acceptance.level or "unverified")
    if inventory_problem:
        return ListCheck(name, video_list.origin, level, None, len(video_list), inventory_problem)
    covered = coverage(dataset, video_list)
    missing = set(covered.missing)
    for path in video_list.paths:
        if path not in missing and (file := dataset.locate(path)):
            files[path] = file
    return ListCheck(name, video_list.origin, level, covered, len(video_list))


def _common_root(files: Mapping[str, Path]) -> Path | None:
    """The folder to which list paths are relative, from the first clip on disk."""
    for path, file in files.items():
        text = file.as_posix()
        return Path(text.removesuffix(path)) if text.endswith(path) else file.parent
    return None
