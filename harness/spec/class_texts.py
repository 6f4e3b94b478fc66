"""Files of class texts: sentences or descriptors of classes, written by a language model or by people.

The form of the file is described in docs/class_texts.md. A file holds sections, each with the texts of some classes; a
label set takes its texts from the first section that has all of its classes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.base.canonical import JsonValue
from harness.base.errors import UserError
from harness.base.files import cached_file_sha256, file_sha256
from harness.base.text_files import read_text
from harness.spec.labels import LabelSet, tokenizer_text

FORM = "class texts 1"
"""Value of `form` in the files that this version reads and writes."""
CLASS_TEXT_OF = {"llm": "llm-rewritten", "human": "human-written"}
"""Class text in measurements by the source of a file: it decides the group of a row."""
HELP = "The form of the file is described in docs/class_texts.md; `data import-texts` converts files of other projects."
_SHOWN = 3
Texts = tuple[str, ...]
TextsByKind = Mapping[str, Texts]
"""The texts of a class by kind; the kind is empty where a file does not distinguish kinds."""


def name_key(name: str) -> str:
    """A class name without case, blanks and punctuation: `brush_hair`, `Brush Hair` and `BrushHair` are one key."""
    text = tokenizer_text(name)
    return "".join(char for char in text if char.isalnum()) or text  # a name of punctuation only


@dataclass(frozen=True)
class TextSection:
    """The texts of some classes.

    Args:
        name: Name of the section for messages, such as `hmdb51`.
        texts: The texts by class name.
    """

    name: str
    texts: Mapping[str, TextsByKind]

    @functools.cached_property
    def _by_key(self) -> Mapping[str, TextsByKind | None]:
        """The texts by `name_key`; None for a key that two names share, which are then found by exact spelling only."""
        found: dict[str, TextsByKind | None] = {}
        for name, texts in self.texts.items():
            key = name_key(name)
            found[key] = None if key in found else texts
        return found

    def of(self, name: str) -> TextsByKind | None:
        """The texts of a class by its name, however it is spelt; None if the section lacks the class."""
        exact = self.texts.get(name)
        return exact if exact is not None else self._by_key.get(name_key(name))


@dataclass(frozen=True)
class ClassTexts:
    """The content of a file of class texts.

    Args:
        path: The file.
        source: `llm` for texts of a language model, `human` for texts of people.
        kinds: Kinds of texts, which all classes of the file have; a single empty text without kinds.
        sections: The sections in the order of the file.
    """

    path: Path
    source: Literal["llm", "human"]
    kinds: Texts
    sections: tuple[TextSection, ...]

    @property
    def class_text(self) -> str:
        """The class text of a measurement with this file."""
        return CLASS_TEXT_OF[self.source]

    def of(self, label_set: LabelSet, kind: str = "") -> tuple[Texts, ...]:
        """The texts of each class of a label set, in id order.

        Raises:
            UserError: The file has no texts of this kind, or lacks a class.
        """
        if kind not in self.kinds:
            raise self.without_kind(kind)
        found = [texts for _, texts in self._found(label_set)]
        return tuple(texts[kind] for texts in found)

    def without_kind(self, kind: str) -> UserError:
        """The error of a file without texts of a kind."""
        named = ", ".join(map(repr, self.kinds))
        found = "texts without kinds" if self.kinds == ("",) else f"texts of the kinds {named}"
        expected = f"texts of the kind {kind!r}" if kind else "texts without kinds"
        return UserError(f"The class texts {self.path} hold {found}, expected {expected}.", HELP)

    def _found(self, label_set: LabelSet) -> list[tuple[str, TextsByKind]]:
        """The texts of each class from the first section that has all classes.

        Raises:
            UserError: No section has all classes.
        """
        nearest: tuple[str, list[str]] | None = None
        for section in self.sections:
            texts = [(name, section.of(name)) for name in label_set.names]
            lacking = [name for name, found in texts if found is None]
            if not lacking:
                return [(name, found) for name, found in texts if found is not None]
            if nearest is None or len(lacking) < len(nearest[1]):
                nearest = section.name, lacking
        section_name, lacking = nearest or ("", list(label_set.names))
        shown = ", ".join(map(repr, lacking[:_SHOWN])) + (", ..." if len(lacking) > _SHOWN else "")
        raise UserError(
            f"The class texts {self.path} lack {len(lacking)} of {len(label_set)} classes in "
            f"{f'the section {section_name!r}' if section_name else 'the file'}, which is the nearest of "
            f"{len(self.sections)}: {shown}; expected a section with texts for every class.",
            HELP,
        )


def read_class_texts(path: str | Path) -> ClassTexts:
    """Read a file of class texts; an unchanged file is read once.

    Raises:
        UserError: The file is missing, does not have the form of docs/class_texts.md, or changed in this process.
    """
    file = Path(path)
    try:
        stat = file.stat()
        state = stat.st_mtime_ns, stat.st_size
    except OSError:
        state = 0, 0  # `read_text` names the reason
    return _read(file.absolute(), state)


@functools.lru_cache(maxsize=16)
def _read(path: Path, state: tuple[int, int]) -> ClassTexts:
    texts = parse_class_texts(read_text(path, "The file of class texts", HELP), path)
    # Measurements of this process hold the hash of the first read; other texts must not be scored under it.
    if file_sha256(path) != cached_file_sha256(path.resolve()):
        raise UserError(f"The file of class texts {path} changed while this process ran.", "Start the command again.")
    return texts


def parse_class_texts(text: str, path: Path) -> ClassTexts:
    """The class texts of a JSON text.

    Args:
        text: The content of the file.
        path: The file, for messages.

    Raises:
        UserError: The text does not have the form of docs/class_texts.md.
    """
    source = f"The file of class texts {path}"
    try:
        content: JsonValue = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} cannot be read as JSON: {error}.", HELP) from None
    if not isinstance(content, dict) or content.get("form") != FORM:
        found = f"form {content.get('form')!r}" if isinstance(content, dict) else f"a JSON {type(content).__name__}"
        raise UserError(f"{source} has {found}, expected an object with the form {FORM!r}.", HELP)
    unknown = sorted(set(content) - {"form", "source", "about", "sections", "classes", "texts"})
    if unknown:
        raise UserError(f"{source} has the unknown field {unknown[0]!r}.", HELP)
    writer = content.get("source")
    if writer not in ("llm", "human"):
        raise UserError(f"{source} has the source {writer!r}, expected 'llm' or 'human'.", HELP)
    if ("sections" in content) == ("texts" in content):
        raise UserError(f"{source} needs either `texts`, for one set of classes, or `sections`.", HELP)
    listed = content.get("sections", [{**content, "name": path.stem}])
    if not isinstance(listed, list) or not listed:
        raise UserError(f"{source} has the sections {listed!r:.60}, expected a list of objects.", HELP)
    sections = tuple(_section(entry, f"{source}, section {i}") for i, entry in enumerate(listed))
    kinds = _common_kinds(sections, source)
    return ClassTexts(path, "llm" if writer == "llm" else "human", kinds, sections)


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """A JSON object whose keys are distinct; of a repeated key `json` would keep the last value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return found


def _section(entry: JsonValue, where: str) -> TextSection:
    if not isinstance(entry, dict) or not isinstance(entry.get("texts"), dict) or not entry["texts"]:
        raise UserError(f"{where} has no object `texts` with the texts of its classes.", HELP)
    texts, classes, name = entry["texts"], entry.get("classes"), entry.get("name", "")
    assert isinstance(texts, dict)
    if not isinstance(name, str):
        raise UserError(f"{where} has the name {name!r}, expected a text.", HELP)
    where = f"{where} ({name})" if name else where
    if classes is not None:
        texts = _by_name(texts, classes, where)
    return TextSection(name, {key: _texts_of(value, f"{where}, class {key!r}") for key, value in texts.items()})


def _by_name(texts: Mapping[str, JsonValue], classes: JsonValue, where: str) -> dict[str, JsonValue]:
    """Texts by id as texts by name: the id of a class is its position in `classes`."""
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UserError(f"{where} has the classes {classes!r:.60}, expected a list of class names.", HELP)
    names = LabelSet(tuple(map(str, classes))).names
    ids = [str(i) for i in range(len(names))]
    if unknown := sorted(set(texts) ^ set(ids), key=lambda text: (len(text), text)):  # 2 before 10
        raise UserError(
            f"{where} has {len(names)} classes and the ids of {len(texts)} texts, which differ in {unknown[0]!r}; "
            f"expected the ids 0 to {len(names) - 1}.",
            HELP,
        )
    return {names[int(i)]: texts[i] for i in ids}


def _texts_of(value: JsonValue, where: str) -> TextsByKind:
    """A sentence, a list of texts, or an object of these by kind."""
    by_kind = value if isinstance(value, dict) else {"": value}
    found: dict[str, Texts] = {}
    for kind, texts in by_kind.items():
        listed = [texts] if isinstance(texts, str) else texts
        if not isinstance(listed, list) or not listed or not all(isinstance(t, str) and t.strip() for t in listed):
            of_kind = f" of the kind {kind!r}" if kind else ""
            raise UserError(
                f"{where} has the texts{of_kind} {texts!r:.60}, expected a text or a list of texts, none blank.",
                HELP,
            )
        found[kind] = tuple(map(str, listed))
    if not found or (isinstance(value, dict) and "" in found):
        raise UserError(f"{where} has the kinds {sorted(found)}, expected at least one, each with a name.", HELP)
    return found


def _common_kinds(sections: Iterable[TextSection], source: str) -> Texts:
    """The kinds of the first class, which all other classes have too."""
    kinds: Texts | None = None
    for section in sections:
        for name, texts in section.texts.items():
            kinds = tuple(texts) if kinds is None else kinds
            if set(texts) != set(kinds):
                raise UserError(
                    f"{source}: the class {name!r} has texts of the kinds {sorted(texts)}, another class of the kinds "
                    f"{sorted(kinds)}; expected the same kinds for every class.",
                    HELP,
                )
    return kinds or ("",)
