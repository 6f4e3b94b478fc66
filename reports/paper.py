"""Published numbers under the names that the harness has for methods, protocols and datasets."""

from __future__ import annotations

from functools import lru_cache

from reports.layout import LAYOUTS, Layout
from results.measurement import Measurement
from results.published_numbers import DATASETS, PublishedNumber, Setting, harness_names, published_numbers

NAMES_TEXT, REWRITTEN_TEXT = "names", "llm-rewritten"
"""Values of `MethodId.class_text` for class names and for texts that a language model wrote."""


def layout_of(number: PublishedNumber) -> Layout:
    """The layout that shows a number; the first layout of the table for a source that does not divide it in blocks.

    Raises:
        ValueError: `paper_tables.json` has no layout of the number's table.
    """
    return _layout(number.table, number.block)


@lru_cache(maxsize=64)
def _layout(table: str, block: str) -> Layout:
    for layout in LAYOUTS:
        if layout.table == table and block in ("", layout.block):
            return layout
    raise ValueError(f"paper_tables.json has no layout of the published table {table!r}, block {block!r}.")


def protocol_of(number: PublishedNumber) -> str:
    """The protocol whose columns a number belongs to; empty for a number of a table of costs."""
    return layout_of(number).protocol


def method_of(m: Measurement) -> str:
    """The method's name, with its option `config` for a method that wraps many models."""
    config = m.method.options.get("config")
    return f"{m.method.name}:{config}" if config else m.method.name


def published_method(m: Measurement) -> str:
    """The name under which papers list the measurement's method; the registered name if no paper lists it."""
    name = method_of(m)
    return next((published for published, ours in harness_names().items() if ours == name), name)


def published_ids(m: Measurement) -> frozenset[str]:
    """Ids of published methods that are the measurement's method.

    `methods.json` names the ids of the built-in methods. For any other method it is the id that is equal to the
    registered name, with hyphens instead of underscores.
    """
    name = method_of(m)
    listed = frozenset(published for published, ours in harness_names().items() if ours == name)
    return listed or frozenset((name.replace("_", "-"),))


def class_text_of(setting: Setting) -> str:
    """The class text of a published number, in the words of `MethodId.class_text`."""
    return REWRITTEN_TEXT if "language model" in (setting.text or "") else NAMES_TEXT


def has_published(m: Measurement) -> bool:
    """Whether a paper prints a number of the measurement's method under its protocol on its dataset."""
    return (method_of(m), m.protocol.name, m.evaluation.list.dataset) in _published()


@lru_cache(maxsize=1)
def _published() -> frozenset[tuple[str, str, str]]:
    names = harness_names()
    return frozenset(
        (names[n.method], protocol_of(n), DATASETS[n.dataset])
        for n in published_numbers()
        if n.method in names and n.dataset in DATASETS
    )
