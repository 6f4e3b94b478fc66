"""Fits, evals and settings under a protocol: checked output of its generators, and recipes for a custom protocol.

The built-in methods publish recipes for the built-in protocols. Under a custom protocol a method takes, in this order,
its own recipe for the protocol, its recipe for a built-in protocol that trains in the same way, or a recipe that the
command line gives as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from harness.base.errors import EXIT_FAILED, NotApplicableError, UserError, described, unknown_name
from harness.cells.selection import extra_evals
from harness.data.lists.dataset import Dataset
from harness.data.lists.own_lists import SUFFIX, read_own_list
from harness.plugins import registry
from harness.plugins.registered import KINDS, ROOT, files
from harness.spec import Eval, Fit, ListRef, Protocol, Recipe, VideoList
from harness.spec.method_spec import MethodSpec
from harness.spec.overrides import recipe_with

REQUIRED = ("epochs", "lr")
"""Settings of a recipe without a default: with both of them, `--recipe` is a whole recipe."""
T = TypeVar("T", Fit, Eval)


def prescribed_fits(protocol: type[Protocol], dataset: Dataset) -> list[tuple[Fit, tuple[Eval, ...]]]:
    """The fits that a protocol prescribes for a dataset, each with its evals.

    Raises:
        NotApplicableError: The protocol does not apply to the dataset.
        UserError: The protocol's code fails, or yields something other than fits and evals.
    """
    instance = protocol()
    try:
        fits = _all(Fit, instance.fits(dataset), "fits")
        return [
            (fit, (*_all(Eval, instance.evals(dataset, fit), "evals"), *extra_evals(instance, dataset, fit)))
            for fit in fits
        ]
    except UserError as error:
        if error.exit_code == EXIT_FAILED:  # a fault of the machine, not a combination that does not exist
            raise
        raise NotApplicableError(error.message, error.hint) from None
    except Exception as error:  # a plugin may raise anything; its author needs file, line and cause
        file = files["protocol"].get(protocol.name)
        raise UserError(
            f"The protocol {protocol.name!r} ({file}) failed on {dataset.shown}: {described(error, file)}.",
            "Fix fits() and evals() of the protocol; see docs/write_a_method.md, Protocols.",
            EXIT_FAILED,
        ) from error


def _all(kind: type[T], items: Iterable[T], name: str) -> list[T]:
    found = list(items)
    for item in found:
        if not isinstance(item, kind):
            raise TypeError(f"{name}() yields {item!r}, expected {kind.__name__}")
    return found


def own_lists(protocol: type[Protocol], refs: Iterable[ListRef], name: str, dataset: Dataset) -> dict[str, VideoList]:
    """The lists of a custom protocol that are files, by the name under which it refers to them.

    Args:
        protocol: The protocol; relative paths of files are relative to its file.
        refs: Lists that it refers to, of any dataset.
        name: Name or path by which it refers to the dataset.
        dataset: The dataset whose lists are returned.

    Raises:
        UserError: A file cannot be read, or is not a list.
    """
    folder = files["protocol"][protocol.name].parent
    named = {(ref.list, ref.labels) for ref in refs if ref.dataset == name and ref.list.endswith(SUFFIX)}
    return {file: read_own_list(folder / file, dataset.labels(labels)) for file, labels in sorted(named)}


def is_custom(protocol: type[Protocol]) -> bool:
    """Whether a protocol is a plugin and not one of the built-in protocols."""
    # Not `registry.origin_of`, which looks through all installed packages.
    return files["protocol"][protocol.name].parent != ROOT / KINDS["protocol"]


def similar_protocol(protocol: type[Protocol], dataset: Dataset, fit: Fit) -> str:
    """The built-in protocol whose recipes suit a fit: `Protocol.recipe_like`, or one that trains on such a list.

    Raises:
        UserError: `recipe_like` is not a protocol.
    """
    if protocol.recipe_like:
        if protocol.recipe_like not in registry.sources("protocol"):
            raise unknown_name("protocol", protocol.recipe_like, registry.sources("protocol"))
        return protocol.recipe_like
    # A source with many videos needs few epochs, K videos per class need many: the published recipes differ in this.
    if fit.train.dataset != dataset.name:
        return "zero_shot"
    if fit.train.labels == "base":
        return "b2n"
    return "few_shot" if fit.shots is not None else "supervised"


def options_protocol(spec: type[MethodSpec], protocol: type[Protocol], similar: str) -> str:
    """The protocol whose published option values apply: the protocol itself, or the similar one of its recipes."""
    parts = {part for key in spec.protocol_options for part in key.split("/")}
    return protocol.name if protocol.name in parts or not spec.protocol_options else similar


def declared_recipe(
    spec: type[MethodSpec], protocol: type[Protocol], similar: str, dataset: str, fit: Fit, preset: str,
    given: Mapping[str, str],
) -> Recipe:  # fmt: skip
    """The recipe of a method for a fit of a protocol, before the overrides of the user.

    Args:
        spec: The method.
        protocol: The protocol.
        similar: For a custom protocol, the built-in protocol whose recipes suit it; empty for a built-in protocol.
        dataset: Dataset of the training list.
        fit: The fit.
        preset: `mini` for the embedded tiny model.
        given: Recipe settings of the command line.

    Raises:
        NotApplicableError: The method declares none, and the command line gives no whole recipe.
    """
    declared = spec.recipe_for(protocol.name, dataset, fit.shots, preset)
    if declared is not None:
        return declared
    if similar:
        declared = spec.recipe_for(similar, dataset, fit.shots, preset)
        if declared is not None and not is_custom(protocol):
            return declared  # the fit is a fit of the other built-in protocol
        if declared is not None:
            source = f"own: not published for {protocol.name}; as for {similar} ({declared.source})"
            return replace(declared, source=source)
        if all(name in given for name in REQUIRED):
            return recipe_with(Recipe(epochs=1, lr=1.0, source="own: given with --recipe"), given)
    missing = f"{spec.name} has no recipe for {protocol.name} on {dataset}"
    own = f"Add recipes['{protocol.name}'] to the method, or set `recipe`."
    if not similar:
        raise NotApplicableError(f"{missing}.", own)
    others = ", ".join(sorted({key.split("/")[0] for key in spec.recipes} - {"mini"}))
    raise NotApplicableError(
        f"{missing}, and none for {similar}: give a whole recipe (--recipe epochs=N --recipe lr=X)"
        + (f", or set `recipe_like` of the protocol to one of {others}." if others else "."),
        own,
    )
