"""Conversion of the class texts of other projects: JSON by class id becomes a file of class texts by class name.

Two layouts are in use: an object of ids and lists of texts (the descriptors of OST), and an object of ids and one
sentence each, which begins with the class name and a colon (the label files of FROSTER and TC-CLIP).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.canonical import JsonValue
from harness.base.errors import UserError
from harness.base.text_files import read_text
from harness.data.catalog import open_dataset
from harness.data.lists.class_names import read_class_names
from harness.data.official.cards import LABEL_VARIANTS, OFFICIAL
from harness.machine.settings import Settings
from harness.spec import LabelSet
from harness.spec.class_texts import FORM, name_key, parse_class_texts

ENTRY = (
    "LABELS=FILE or LABELS:KIND=FILE, such as hmdb51@corrected=hmdb.json, k600/split_1:spatial=one.json or "
    "names.csv=texts.json"
)
LAYOUTS = (
    'Accepted: {"0": ["text", ...], "1": ...} and {"0": "Name: sentence", ...}, with the ids of the label set in order.'
)


@dataclass(frozen=True)
class TextSource:
    """A JSON file of another project.

    Args:
        labels: Label set of its ids: `DATASET`, `DATASET/LABEL_SET`, either with `@VARIANT` for other class names
            (`hmdb51@corrected`), or the path of a file of class names.
        kind: Kind of its texts; empty without kinds.
        file: The file.
    """

    labels: str
    kind: str
    file: Path


@dataclass(frozen=True)
class ImportedTexts:
    """A written file of class texts.

    Args:
        file: The file.
        sections: For each section its name, the number of its classes, and the number of its texts.
        kinds: Kinds of the texts; a single empty text without kinds.
    """

    file: Path
    sections: tuple[tuple[str, int, int], ...]
    kinds: tuple[str, ...]

    def as_dict(self) -> dict[str, JsonValue]:
        """The fields, JSON-ready."""
        sections: list[JsonValue] = [{"name": name, "classes": n, "texts": texts} for name, n, texts in self.sections]
        return {"file": str(self.file), "kinds": list(self.kinds), "sections": sections}

    def text(self) -> str:
        """The fields for people."""
        lines = [f"{name}: {classes} classes, {texts} texts" for name, classes, texts in self.sections]
        return "\n".join([*lines, f"class texts written to {self.file}"])


def text_source(text: str) -> TextSource:
    """A `LABELS[:KIND]=FILE` text of the command line.

    Raises:
        UserError: The text has another form.
    """
    left, equals, file = text.partition("=")
    labels, colon, kind = left.rpartition(":") if ":" in left else (left, "", "")
    if not (equals and labels and file) or (colon and not kind):
        raise UserError(f"{text!r} is not {ENTRY}.")
    return TextSource(labels, kind, Path(file))


def import_texts(sources: Sequence[TextSource], writer: str, out: Path, settings: Settings) -> ImportedTexts:
    """Convert files of other projects into one file of class texts, with a section for each label set.

    Args:
        sources: The files, in the order of the sections.
        writer: `llm` for texts of a language model, `human` for texts of people.
        out: The file to write.
        settings: Folders of this machine, for the label sets of datasets.

    Raises:
        UserError: A file does not have one of the layouts, its ids are not those of the label set, its sentences begin
            with the names of other classes, or two files hold the same kind of texts of a label set.
    """
    sections: dict[str, dict[str, dict[str, list[str]]]] = {}
    for source in sources:
        labels = _labels(source.labels, settings)
        texts = _texts_by_id(source.file, labels, source.labels)
        _require_own_names(texts, labels, source, settings)
        section = sections.setdefault(source.labels, {name: {} for name in labels.names})
        for name, listed in zip(labels.names, texts, strict=True):
            if source.kind in section[name]:
                raise UserError(
                    f"Two files hold texts of the label set {source.labels}"
                    + (f" and the kind {source.kind}" if source.kind else "")
                    + f", the second is {source.file}; expected one file each.",
                    "Give each file a kind: LABELS:KIND=FILE.",
                )
            section[name][source.kind] = listed
    content = {
        "form": FORM,
        "source": writer,
        "sections": [
            {"name": name, "texts": {label: _plain(texts) for label, texts in section.items()}}
            for name, section in sections.items()
        ],
    }
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    # Parsed before it is written, so that a file that methods would refuse is never left behind.
    parsed = parse_class_texts(text, out)
    write_bytes(out, text.encode())
    counts = tuple(
        (s.name, len(s.texts), sum(len(listed) for texts in s.texts.values() for listed in texts.values()))
        for s in parsed.sections
    )
    return ImportedTexts(out, counts, parsed.kinds)


def _plain(texts: dict[str, list[str]]) -> JsonValue:
    """The texts of a class as the file holds them: a single text alone, and no object without kinds."""
    if "" in texts and len(texts) == 1:
        listed = texts[""]
        return listed[0] if len(listed) == 1 else listed
    return texts


def _labels(text: str, settings: Settings) -> LabelSet:
    """The label set of a dataset, or the names of a file."""
    if Path(text).is_file():
        return read_class_names(Path(text))
    if Path(text).is_dir():
        return open_dataset(text, settings).labels("all")
    label_set, at, variant = text.rpartition("@") if "@" in text else (text, "", "published")
    if at and not variant:
        raise UserError(f"{text} names no label set.", "Leave @ out, or name one: " + ", ".join(LABEL_VARIANTS))
    dataset, _, name = label_set.partition("/")
    return open_dataset(dataset, settings, variant=variant).labels(name or "all")


def _texts_by_id(file: Path, labels: LabelSet, shown: str) -> list[list[str]]:
    """The texts of a file in id order."""
    source = f"The file of texts {file}"
    try:
        content: JsonValue = json.loads(read_text(file, "The file of texts", LAYOUTS))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} cannot be read as JSON: {error}.", LAYOUTS) from None
    if not isinstance(content, dict) or set(content) != {str(i) for i in range(len(labels))}:
        found = f"{len(content)} keys" if isinstance(content, dict) else f"a JSON {type(content).__name__}"
        raise UserError(f"{source} has {found}, expected the ids 0 to {len(labels) - 1} of {shown}.", LAYOUTS)
    texts: list[list[str]] = []
    for i in range(len(labels)):
        value = content[str(i)]
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not listed or not all(isinstance(t, str) and t.strip() for t in listed):
            raise UserError(f"{source} has {value!r:.60} for the id {i}, expected a text or a list of texts.", LAYOUTS)
        texts.append([" ".join(str(text).split()) for text in listed])
    return texts


def _require_own_names(texts: Sequence[list[str]], labels: LabelSet, source: TextSource, settings: Settings) -> None:
    """Refuse sentences `Name: ...` that name other classes: the ids are then those of another label set.

    A wrong label set of equal size gives wrong class texts, which no later check finds.
    """
    wrong = _first_of_another_class(texts, labels)
    if wrong is None:
        return
    hint = "Name the label set of the ids: DATASET/LABEL_SET, or a file of class names."
    label_set = source.labels.partition("@")[0]
    if label_set.partition("/")[0] in OFFICIAL:
        others = (f"{label_set}@{variant}" for variant in LABEL_VARIANTS)
        fitting = (other for other in others if _first_of_another_class(texts, _labels(other, settings)) is None)
        hint = next((f"Its ids are those of {other}: give {other}={source.file}." for other in fitting), hint)
    raise UserError(
        f"The file of texts {source.file} with the labels {source.labels}: the text of id {wrong} begins with "
        f"{texts[wrong][0].partition(':')[0]!r}, and class {wrong} is {labels.names[wrong]!r}; expected the ids of "
        "this label set.",
        hint,
    )


def _first_of_another_class(texts: Sequence[list[str]], labels: LabelSet) -> int | None:
    """The first id whose sentence begins with the name of another class of a label set; None if there is none."""
    known = {name_key(name) for name in labels.names}
    for i, listed in enumerate(texts):
        named = name_key(listed[0].partition(":")[0]) if len(listed) == 1 and ":" in listed[0] else ""
        if named in known and named != name_key(labels.names[i]):
            return i
    return None
