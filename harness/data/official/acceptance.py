"""Comparison of a list with the published one by four acceptance levels; needs only the pinned fingerprints.

    1  the bytes are equal (sha256; git blob id where only that is known)
    2  equal after normalising line ends
    3  the same set of (base name, label)
    4  the same classes with different clips: reported with the classes that differ and the numbers of clips
A list of levels 1 to 3 counts as the published list.
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
    """Result of comparing a list with the published one.

    Args:
        level: 1 to 4; None where the fingerprint is too incomplete to compare, or the classes differ.
        note: The differences in words; empty at level 1.
        missing: At level 4, the number of clips that differing classes have fewer, summed over classes.
        extra: At level 4, the number of clips that differing classes have more, summed over classes.
        changed_classes: At level 4, ids of the classes whose clips differ.
    """

    level: int | None
    note: str = ""
    missing: int = 0
    extra: int = 0
    changed_classes: tuple[int, ...] = ()

    @property
    def is_published(self) -> bool:
        """Whether the list counts as the published one (levels 1 to 3)."""
        return self.level is not None and self.level <= 3


def git_blob(data: bytes) -> str:
    """Git's id of a file's content: sha1 of `blob <size>`, a zero byte and the bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def published_bytes(rows: Sequence[Row], pinned: Fingerprint) -> bytes:
    """The rows as bytes with the line ends of the published file.

    Where the line ends are unknown, the combination that gives the published git blob id is taken, or else LF.
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
    """Compare a list file with the fingerprint of the published file.

    Args:
        rows: Its rows.
        data: Its bytes.
        pinned: Fingerprint of the published file.
    """
    if hashlib.sha256(data).hexdigest() == pinned.sha256 or git_blob(data) == pinned.git_blob:
        return Acceptance(1)
    if not pinned.sha256:
        return Acceptance(None, "only the git blob id of the published file is known, and it differs")
    if hashlib.sha256(format_list(rows)).hexdigest() == pinned.content_sha256:
        return Acceptance(2, MEANING[2])
    # Base names only: a list that differs in folders or extensions names the same videos.
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
    changed = tuple(i for i, digest in enumerate(digests) if digest != pinned.class_digest(i))
    differences = [len(lines[i]) - pinned.counts[i] for i in changed]
    missing, extra = -sum(d for d in differences if d < 0), sum(d for d in differences if d > 0)
    note = f"{len(changed)} of {len(lines)} classes differ ({missing} clips fewer, {extra} more): {_shown(changed)}"
    return Acceptance(4, note, missing, extra, changed)


def _shown(labels: Sequence[int], most: int = 8) -> str:
    text = ", ".join(map(str, labels[:most]))
    return f"ids {text}" + (f" and {len(labels) - most} more" if len(labels) > most else "")
