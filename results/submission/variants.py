"""Variants: several rows of one method under one protocol on one dataset, of which one is packed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from harness.base.errors import UserError
from results.measurement_words import Difference, recipe_changes, recipe_text
from results.row_settings import row_settings
from results.submission.stored import StoredRow

OPTIONS = ("method.options.", "method.evaluation_options.")
RECIPE = "training.recipe."


def one_variant(rows: Iterable[StoredRow], method: str, left_out: list[str]) -> list[StoredRow]:
    """Choose one row for each protocol and dataset: the only row, or the only row with the declared recipe.

    Raises:
        UserError: Several rows of one protocol and dataset remain.
    """
    places: dict[tuple[str, str, str], list[StoredRow]] = defaultdict(list)
    for row in rows:
        # With the root: two custom folders of one name are two datasets.
        listed = row.records[0].measurement.evaluation.list
        places[row.records[0].measurement.protocol.name, listed.dataset, listed.root].append(row)
    kept, unclear = [], []
    for variants in places.values():
        declared = [row for row in variants if not changed_recipe(row)]
        for row in variants if declared else ():
            if row not in declared:
                reason = f"changed recipe {changed_recipe(row)}; packed is the declared one"
                left_out += [f"{record.item.path}: {reason}" for record in row.records]
        remaining = declared or variants
        kept += remaining
        unclear += [remaining] if len(remaining) > 1 else []
    if unclear:
        raise _several(unclear, method)
    return kept


def changed_recipe(row: StoredRow) -> str:
    """The changes of the recipes of a row in words; empty if all recipes are the declared recipes."""
    texts = [recipe_text(recipe_changes(record.measurement.fitted)) for record in row.records]
    return "; ".join(dict.fromkeys(filter(None, texts)))


def row_text(row: StoredRow) -> str:
    """Readable name of a row: protocol, dataset and row key."""
    m = row.records[0].measurement
    return f"{m.protocol.name} {m.evaluation.list.dataset}, row {row.keys.row}"


def _several(unclear: list[list[StoredRow]], method: str) -> UserError:
    """The error that lists variants with their differences and the arguments that choose them."""
    lines, ways = [], {"--protocol NAME", "--dataset NAME"} if len(unclear) > 1 else set[str]()
    for variants in unclear:
        for row, settings in zip(variants, row_settings(variants), strict=True):
            shown = ", ".join(setting.short for setting in settings.values()) or "other lists or views"
            lines.append(f"{row_text(row)}: {shown}")
            ways |= {way for setting in settings.values() if (way := _way(setting, method))}
    chosen = " or ".join([*sorted(ways), "--row KEY (repeatable: all named rows are packed)"])
    return UserError(
        f"{method} has {len(lines)} variants to choose from:\n  " + "\n  ".join(lines), f"Choose with {chosen}."
    )


def _way(difference: Difference, method: str) -> str:
    """The argument that chooses a variant by a setting; empty if there is none."""
    for prefix in OPTIONS:
        if difference.path.startswith(prefix):
            return f"{method}:{difference.path.removeprefix(prefix)}=VALUE"
    return f"--recipe {difference.path.removeprefix(RECIPE)}=VALUE" if difference.path.startswith(RECIPE) else ""
