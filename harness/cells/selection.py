"""The evals that `--repeat`, `--shots` and `--part` select, and the protocols on which these selections do not act."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.base.errors import NotApplicableError, unknown_name
from harness.cells.request import Request
from harness.spec import Eval, Fit, Protocol, Repeat
from harness.spec.protocol import SEED, SINGLE, DatasetFacts

WITH_SOURCE = ("zero_shot", "zero_shot_full", "probes")
"""Protocols on which `--source` acts."""
FitWithEvals = tuple[Fit, tuple[Eval, ...]]
_ONE_FIT = (SINGLE, SEED)
"""Kinds of repeats that do not tell the training lists of a protocol apart; the shots do."""


@dataclass(frozen=True)
class Selection:
    """The selection of a request on one protocol and dataset.

    Args:
        repeats: Indices of repeats; empty for all.
        shots: Values of K; empty for all.
        parts: Parts of evals; empty for all that the protocol prescribes.
        notes: A sentence for each selection that does not act on the protocol.
    """

    repeats: tuple[int, ...]
    shots: tuple[int, ...]
    parts: tuple[str, ...]
    notes: tuple[str, ...]

    def takes(self, fit: Fit, item: Eval) -> bool:
        """Whether an eval of a fit is selected."""
        if item.optional and item.part not in self.parts:
            return False
        repeat = item.repeat or fit.repeat
        # The source eval of a zero-shot fit belongs to all test splits; that of a fit with seeds to its seed.
        of_all = item.optional and repeat.kind == SINGLE
        return (
            (not self.repeats or of_all or repeat.index in self.repeats)
            and (not self.shots or fit.shots in self.shots)
            and (not self.parts or item.part in self.parts)
        )


def selection_of(request: Request, name: str, fits: Sequence[FitWithEvals]) -> Selection:
    """The selection of a request on a protocol and dataset.

    Args:
        request: The request.
        name: Protocol and dataset, for messages.
        fits: The fits of the protocol on the dataset, with their evals.

    Raises:
        NotApplicableError: The selections act on the protocol, and no eval is left; or the protocol prescribes none.
    """
    repeats, shots, parts = _repeats(fits), _shots(fits), {item.part for _, items in fits for item in items}
    notes = []
    if request.repeats and not repeats and 1 not in request.repeats:
        notes.append(f"{_flags('repeat', request.repeats)} does not act on {name}, which has no repeats")
    if request.shots and not shots:
        fixed = sorted({fit.shots for fit, _ in fits if fit.shots is not None})
        reason = f"whose fits all take {fixed[0]} clips per class" if fixed else "whose training lists have no shots"
        notes.append(f"{_flags('shots', request.shots)} does not act on {name}, {reason}")
    chosen_parts = tuple(part for part in request.parts if part in parts)
    if request.parts and not chosen_parts:
        notes.append(f"{_flags('part', request.parts)} does not act on {name}, whose parts are {_listed(parts)}")
    selection = Selection(
        request.repeats if repeats else (), request.shots if shots else (), chosen_parts, tuple(notes)
    )  # fmt: skip
    if not any(not item.optional for _, items in fits for item in items):
        raise NotApplicableError(
            f"No fit of {name} is selected: fits() and evals() of the protocol yield none for the dataset.",
            "Fix fits() and evals() of the protocol, or give another dataset with --dataset NAME.",
        )
    if not any(selection.takes(fit, item) for fit, items in fits for item in items):
        raise NotApplicableError(_nothing(selection, name, repeats, shots))
    return selection


def extra_evals(protocol: Protocol, dataset: DatasetFacts, fit: Fit) -> tuple[Eval, ...]:
    """The evals of a fit that only `--part` selects."""
    return tuple(replace(item, optional=True) for item in protocol.extra_evals(dataset, fit))


def unused_source(request: Request, has_parents: bool) -> list[str]:
    """A sentence about `--source` if nothing of the request trains on another dataset than it evaluates.

    Args:
        request: The request.
        has_parents: Whether a method of the request starts from a parent fit, which is on the source.
    """
    if request.source is None or set(WITH_SOURCE) & set(request.protocols) or has_parents:
        return []
    return [
        f"--source {request.source} does not act on {', '.join(request.protocols)}: only {', '.join(WITH_SOURCE)} and "
        "methods with a parent fit have a source"
    ]


def unused_backbone(request: Request, methods: Iterable[str]) -> list[str]:
    """A sentence for each of the methods with a model of their own about the backbone of the request, if it has one.

    Args:
        request: The request.
        methods: Names of the methods whose model is not a backbone.
    """
    if request.backbone is None:
        return []
    flags = {"--arch": request.backbone.arch, "--weights": request.backbone.weights, "--base": request.backbone.base,
             "--activation": request.backbone.activation}  # fmt: skip
    given = " ".join(f"{flag} {value}" for flag, value in flags.items() if value)
    return [f"{given} does not act on {name}, which has a model of its own" for name in methods]


def check_parts(request: Request, known: Iterable[str]) -> None:
    """Check that each requested part is a part of a protocol of the request.

    Raises:
        UserError: No protocol of the request has the part.
    """
    parts = set(known)
    for part in request.parts:
        if part not in parts:
            raise unknown_name(f"part of {', '.join(request.protocols)}", part, parts)


def _repeats(fits: Sequence[FitWithEvals]) -> set[int]:
    """Indices of the repeats that a protocol averages; empty if it has none."""
    of_evals: set[Repeat] = {item.repeat or fit.repeat for fit, items in fits for item in items if not item.optional}
    return {repeat.index for repeat in of_evals if repeat.kind != SINGLE}


def _shots(fits: Sequence[FitWithEvals]) -> set[int]:
    """The values of K that tell the fits of a protocol apart; empty if every fit takes the same number."""
    shots = {fit.shots for fit, _ in fits if fit.shots is not None}
    # The 16 shots of base-to-novel belong to each of its repeats, so that --shots cannot select among them.
    return shots if len(shots) > 1 or all(fit.repeat.kind in _ONE_FIT for fit, _ in fits) else set()


def _nothing(selection: Selection, name: str, repeats: set[int], shots: set[int]) -> str:
    flags = [_flags("repeat", selection.repeats), _flags("shots", selection.shots), _flags("part", selection.parts)]
    known = [f"the repeats {_listed(repeats)}"] if selection.repeats else []
    known += [f"the shots {_listed(shots)}"] if selection.shots else []
    return f"No fit of {name} is selected by {' '.join(filter(None, flags))}; it has {' and '.join(known)}."


def _flags(name: str, values: Sequence[int | str]) -> str:
    return " ".join(f"--{name} {value}" for value in values)


def _listed(values: Iterable[int | str]) -> str:
    return ", ".join(map(str, sorted(values)))
