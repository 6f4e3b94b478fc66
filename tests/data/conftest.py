"""Published and official lists of the shared reference folder, read once a session."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from harness.data.lists.grammar import parse_list
from harness.data.official.cards import load_card
from harness.data.official.import_lists import ImportReport, import_lists


@pytest.fixture(scope="session")
def official(shared: Path) -> Path:
    """The datasets' own annotation files."""
    return shared / "splits" / "official"


@pytest.fixture(scope="session")
def published(shared: Path) -> Path:
    """The authors' lists, `datasets_splits` and `labels` beside each other."""
    return shared / "splits" / "vificlip"


@pytest.fixture(scope="session")
def imported(published: Path, tmp_path_factory) -> ImportReport:
    """The authors' lists after `import_lists`; its `out` is a folder as the setting `lists` names one."""
    return import_lists(published, tmp_path_factory.mktemp("lists"))


@pytest.fixture(scope="session")
def published_rows(published: Path):
    """A function: rows of a published list by dataset and list name."""

    @cache
    def read(dataset: str, name: str):
        card = load_card(dataset)
        entry = card.find_list(name)
        data = (published / "datasets_splits" / entry.file).read_bytes()
        return parse_list(data, entry.file, len(card.labels(entry.labels)), card.form)

    return read


@pytest.fixture(scope="session")
def ssv2_annotations(official: Path, published_rows, tmp_path_factory):
    """A function: a folder of SSv2 JSONs in the newer or the older naming.

    The JSONs are handed out after registration only. These hold the published validation rows in their order, and the
    training rows in an order that is the official one within each class.
    """

    templates = [name.replace("something", "[something]") for name in load_card("ssv2").names]
    train = [line.split() for line in (official / "ssv2" / "train_grouped_by_class.txt").read_text().splitlines()]
    val = [(path, str(label)) for path, label in published_rows("ssv2", "val")]
    texts = {"labels": (official / "ssv2" / "something-something-v2-labels.json").read_bytes()}
    for stem, rows in (("train", train), ("validation", val)):
        items = [
            {"id": path.removesuffix(".webm"), "label": "", "template": templates[int(label)], "placeholders": []}
            for path, label in rows
        ]
        texts[stem] = json.dumps(items).encode()

    def write(prefix: str) -> Path:
        folder = tmp_path_factory.mktemp("ssv2")
        for stem, text in texts.items():
            (folder / f"{prefix}{stem}.json").write_bytes(text)
        return folder

    return write
