"""The signature: one line with every setting that decides whether two scores may be compared."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from harness.switches import PUBLISHED_OR_CLEAN

if TYPE_CHECKING:
    from harness.cells import EvalCell, MethodRow


def signature(cell: EvalCell) -> str:
    """The parts of an eval's signature, joined by `|`.

    Protocol and version, dataset and list (with the variant of class names and the mark of an own list), method and
    version, backbone, views, text, switches and changed options, start of the fit, recipe, checkpoint, repeat and
    division.
    """
    labels = "" if cell.labels.variant == "published" else f"+{cell.labels.variant}"
    origin = "" if cell.test.origin != "own" else "+own"
    return "|".join(
        (
            f"{cell.protocol.name}.{cell.protocol.version}",
            f"{cell.dataset.name}.{cell.test.name}{labels}{origin}",
            f"{cell.row.name}.{cell.row.spec.version}",
            cell.row.backbone.slug(),
            str(cell.views),
            f"text:{cell.row.text}",
            f"set:{settings_text(cell.row)}",
            f"init:{cell.fit.init if cell.fit else cell.row.init}",
            f"recipe:{recipe_text(cell)}",
            f"select:{cell.fit.recipe.selection if cell.fit else 'last'}",
            f"{cell.repeat.kind}.{cell.repeat.index}",
            cell.division,
        )
    )


def settings_text(row: MethodRow) -> str:
    """`name=value` of every switch of a method and of every option that is not at its default; `-` if there is none."""
    values, usual = row.options.as_dict(), row.defaults.as_dict()
    switches = {f.name for f in fields(row.options) if tuple(f.metadata.get("choices", ())) == PUBLISHED_OR_CLEAN}
    shown = sorted(n for n in values if n in switches or (values[n] != usual[n] and n != "template"))
    return ",".join(f"{name}={values[name]}" for name in shown) or "-"


def recipe_text(cell: EvalCell) -> str:
    """`published` or `own` by the source of the method's recipe, then every setting changed by the user.

    The seed is left out: runs that differ in it are repeats. `none` for an untrained method.
    """
    if cell.fit is None:
        return "none"
    usual, used = cell.fit.usual_recipe.as_dict(), cell.fit.recipe.as_dict()
    origin = "own" if cell.fit.usual_recipe.source.startswith("own") else "published"
    changed = sorted(n for n in used if n not in ("source", "seed") and used[n] != usual.get(n))
    return "+".join([origin, *(f"{name}={used[name]}" for name in changed)])
