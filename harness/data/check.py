"""`check data`: what of a dataset is on this machine, list by list, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.base.errors import UserError
from harness.data.lists.dataset import Dataset
from harness.data.official.dataset import OfficialDataset
from harness.spec import VideoList

_SHOWN = 5


@dataclass(frozen=True)
class DecodeCheck:
    """Comparison of decord's random access with a sequential decode of one clip.

    Args:
        wrong: Number of published frame indices at which the two readers return different frames.
        declared: Number of frames that decord declares.
        decoded: Number of frames of a sequential decode.
        problem: Why the clip could not be compared, empty otherwise.
    """

    wrong: int = 0
    declared: int = 0
    decoded: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Coverage:
    """How many of a list's clips are on disk.

    Args:
        expected, found: Rows of the list, and those whose video was found.
        missing: Paths without a video.
        ambiguous: Paths whose base name several different files have; they count as missing.
    """

    expected: int
    found: int
    missing: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListCheck:
    """One list: its file and its coverage.

    Args:
        problem: Why the list or its coverage is not available, in words; empty otherwise.
        level: Acceptance level of an official list, `own` or empty where there is none.
    """

    name: str
    origin: str = ""
    level: str = ""
    coverage: Coverage | None = None
    rows: int = 0
    problem: str = ""


@dataclass
class DataReport:
    """The state of one dataset on this machine.

    Args:
        root: Where its videos are looked for, None if that is not configured.
        files: Video files below the root.
        extensions: Number of files of each extension.
        unlisted: Video files that no list names.
        how: How found clips were found: `path`, `name`, `case`, `id` (see `Inventory`).
        lists: One check a list.
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
    decode: dict[str, DecodeCheck] | None = None

    @property
    def complete(self) -> bool:
        """Whether every list is there and every clip was found."""
        return all(not check.problem and check.coverage and not check.coverage.missing for check in self.lists)

    @property
    def missing(self) -> tuple[str, ...]:
        """All clips of all lists without a video, sorted; ambiguous ones included."""
        return tuple(sorted({path for check in self.lists if check.coverage for path in check.coverage.missing}))

    @property
    def ambiguous(self) -> tuple[str, ...]:
        """All clips of all lists that several different files could be, sorted."""
        return tuple(sorted({path for check in self.lists if check.coverage for path in check.coverage.ambiguous}))

    @property
    def disagree(self) -> tuple[str, ...]:
        """Clips on which decord's random access and a sequential decode disagree, sorted."""
        return tuple(sorted(path for path, check in (self.decode or {}).items() if check.wrong))

    @property
    def undecodable(self) -> Mapping[str, str]:
        """Clips that could not be compared, with the reason."""
        return {path: check.problem for path, check in sorted((self.decode or {}).items()) if check.problem}

    def text(self) -> str:
        """The report for people: a table of lists, then what is missing, ambiguous or differs."""
        lines = [f"{self.dataset}: {self.files:,} video files in {self.root or 'no configured folder'}"]
        if self.extensions:
            kinds = ", ".join(f"{count:,} .{name}" for name, count in self.extensions.items())
            lines.append(f"  {kinds}; {self.unlisted:,} named by no list")
        for check in self.lists:
            level = f"level {check.level}" if check.level.isdigit() else check.level
            facts = ", ".join(filter(None, (check.origin, level)))
            if check.coverage is not None:
                lines.append(f"  {check.name}: {check.coverage.found:,} of {check.rows:,} clips ({facts})")
            else:
                rows = f"{check.rows:,} rows ({facts}); " if check.rows else ""
                lines.append(f"  {check.name}: {rows}{check.problem}")
        for title, paths in (("missing", self.missing), ("ambiguous", self.ambiguous)):
            if paths:
                more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
                lines.append(f"  {title}: {len(paths):,} clips: {', '.join(paths[:_SHOWN])}{more}")
        if self.decode is not None:
            compared = len(self.decode) - len(self.undecodable)
            differ = len(self.disagree)
            lines.append(f"  readers: decord and a sequential decode disagree on {differ} of {compared} clips")
            lines += [f"    {path}: {self.decode[path].wrong} wrong frames" for path in self.disagree[:_SHOWN]]
            lines += [f"  undecodable: {path}: {reason}" for path, reason in self.undecodable.items()]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form, every missing clip included."""
        return {
            "dataset": self.dataset,
            "kind": self.kind,
            "root": str(self.root) if self.root else None,
            "files": self.files,
            "extensions": dict(self.extensions),
            "unlisted": self.unlisted,
            "how": dict(self.how),
            "complete": self.complete,
            "lists": [
                {
                    "name": c.name,
                    "origin": c.origin,
                    "level": c.level,
                    "rows": c.rows,
                    "found": c.coverage.found if c.coverage else None,
                    "problem": c.problem,
                }
                for c in self.lists
            ],
            "missing": list(self.missing),
            "ambiguous": list(self.ambiguous),
            "decode": None
            if self.decode is None
            else {
                "compared": len(self.decode) - len(self.undecodable),
                "disagree": {path: self.decode[path].wrong for path in self.disagree},
                "undecodable": dict(self.undecodable),
            },
        }


def coverage(dataset: Dataset, video_list: VideoList) -> Coverage:
    """How many clips of a list are on disk, and which are not.

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
) -> DataReport:
    """Return which lists and videos of a dataset are on this machine, and the comparison of the readers if requested.

    Args:
        dataset: From `open_dataset`.
        compare: Function that compares decord with a sequential decode of a clip (about 0.1 to 0.3 s per clip).
        progress: Called with clips compared and clips in all.
    """
    report = DataReport(dataset.name, dataset.kind)
    dataset.prepare()
    inventory_problem = ""
    if isinstance(dataset, OfficialDataset):
        report.root = dataset.root
        try:
            report.files, report.extensions = len(dataset.inventory), dataset.inventory.extensions
        except UserError as error:
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
        report.extensions = dict(Counter(file.suffix.lstrip(".").lower() for file in set(files.values())))
        report.root = _common_root(files)
    if compare is not None:
        report.decode = {}
        for done, (path, file) in enumerate(sorted(files.items()), 1):
            report.decode[path] = compare(file)
            if progress:
                progress(done, len(files))
    return report


def _check_list(dataset: Dataset, name: str, inventory_problem: str, files: dict[str, Path]) -> ListCheck:
    """One list; adds the files of its found clips to `files`."""
    try:
        video_list = dataset.list(name)
    except UserError as error:
        return ListCheck(name, problem=error.message)
    level = ""
    if isinstance(dataset, OfficialDataset) and (acceptance := dataset.acceptance(name)):
        level = str(acceptance.level or "unverified")
    if inventory_problem:
        return ListCheck(name, video_list.origin, level, None, len(video_list), inventory_problem)
    found = coverage(dataset, video_list)
    absent = set(found.missing)
    for path in video_list.paths:
        if path not in absent and (file := dataset.locate(path)):
            files[path] = file
    return ListCheck(name, video_list.origin, level, found, len(video_list))


def _common_root(files: Mapping[str, Path]) -> Path | None:
    """The folder that list paths are relative to, from one found clip."""
    for path, file in files.items():
        text = file.as_posix()
        return Path(text.removesuffix(path)) if text.endswith(path) else file.parent
    return None
