"""Whether a list is the published one: the four acceptance levels, from pinned fingerprints alone.

    1  the bytes are equal (sha256; git blob id where only that is known)
    2  equal after normalising line ends
    3  the same set of (base name, label)
    4  the same classes, with other clips: reported with the classes that differ and by how many clips
Levels 1 to 3 are the published list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from harness.data.lists.grammar import Row, base_name, format_list
from harness.data.official.cards import Fingerprint

MEANING = {
    1: "bytes equal",
    2: "equal up to line ends",
    3: "same clips and labels, other order or folders",
    4: "same classes, other clips",
}


@dataclass(frozen=True)
class Acceptance:
    """How near a list is to the published one.

    Args:
        level: 1 to 4, or None where nothing is known to compare with or the classes differ.
        note: What differs, in words; empty at level 1.
        missing, extra: At level 4, how many clips fewer or more each differing class has, summed over classes.
        changed_classes: At level 4, ids of the classes whose clips differ.
    """

    level: int | None
    note: str = ""
    missing: int = 0
    extra: int = 0
    changed_classes: tuple[int, ...] = ()

    @property
    def is_published(self) -> bool:
        """Whether this is the published list (levels 1 to 3)."""
        return self.level is not None and self.level <= 3


def git_blob(data: bytes) -> str:
    """Git's id of a file's content: sha1 of `blob <size>`, a zero byte and the bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def published_bytes(rows: Sequence[Row], pinned: Fingerprint) -> bytes:
    """The rows as a file with the published file's line ends.

    Where these are unknown, the combination that gives the published git blob id, or else LF.
    """
    if pinned.sha256:
        return format_list(rows, "\r\n" if pinned.eol == "crlf" else "\n", pinned.final_newline)
    for eol in ("\n", "\r\n"):
        for final in (True, False):
            data = format_list(rows, eol, final)
            if git_blob(data) == pinned.git_blob:
                return data
    return format_list(rows)


def compare(rows: Sequence[Row], data: bytes, pinned: Fingerprint) -> Acceptance:
    """The acceptance level of a list whose file has the given bytes and rows."""
    if hashlib.sha256(data).hexdigest() == pinned.sha256 or git_blob(data) == pinned.git_blob:
        return Acceptance(1)
    if not pinned.sha256:
        return Acceptance(None, "only the git blob id of the published file is known, and it differs")
    if hashlib.sha256(format_list(rows)).hexdigest() == pinned.content_sha256:
        return Acceptance(2, MEANING[2])
    lines: list[list[str]] = [[] for _ in pinned.counts]
    for path, label in rows:
        if label >= len(lines):
            return Acceptance(None, f"label {label} is outside the published {len(lines)} classes")
        lines[label].append(f"{base_name(path)} {label}\n")
    everything = "".join(sorted(line for group in lines for line in group))
    if hashlib.sha256(everything.encode()).hexdigest() == pinned.set_sha256:
        return Acceptance(3, MEANING[3])
    empty = [label for label, group in enumerate(lines) if not group]
    if empty:
        return Acceptance(None, f"classes without a clip: {_shown(empty)}")
    digests = [hashlib.sha256("".join(sorted(group)).encode()).hexdigest()[:6] for group in lines]
    changed = tuple(i for i, digest in enumerate(digests) if digest != pinned.class_digests[i])
    differences = [len(lines[i]) - pinned.counts[i] for i in changed]
    missing, extra = -sum(d for d in differences if d < 0), sum(d for d in differences if d > 0)
    note = f"{len(changed)} of {len(lines)} classes differ ({missing} clips fewer, {extra} more): {_shown(changed)}"
    return Acceptance(4, note, missing, extra, changed)


def _shown(labels: Sequence[int], most: int = 8) -> str:
    text = ", ".join(map(str, labels[:most]))
    return f"ids {text}" + (f" and {len(labels) - most} more" if len(labels) > most else "")
