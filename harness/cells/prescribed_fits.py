"""The fits and evals that protocols prescribe for datasets, and the methods that they do not suit."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace

from harness.base.errors import NotApplicableError, UserError
from harness.cells.cell import MethodRow
from harness.cells.from_protocol import prescribed_fits
from harness.data.lists.dataset import Dataset
from harness.spec import Eval, Fit, Protocol


class PrescribedFits:
    """The fits and evals of each protocol on each dataset, computed once."""

    def __init__(self) -> None:
        self._fits: dict[tuple[type[Protocol], int], list[tuple[Fit, tuple[Eval, ...]]]] = {}

    def of(self, protocol: type[Protocol], dataset: Dataset) -> list[tuple[Fit, tuple[Eval, ...]]]:
        """The fits and evals that a protocol prescribes for a dataset.

        Raises:
            NotApplicableError: The protocol does not apply to the dataset.
            UserError: The protocol's code fails.
        """
        # By identity: a request opens each dataset once, and datasets are mutable.
        key = protocol, id(dataset)
        if key not in self._fits:
            self._fits[key] = prescribed_fits(protocol, dataset)
        return self._fits[key]

    def require_trained_classes(self, row: MethodRow, protocol: type[Protocol], dataset: Dataset) -> None:
        """Refuse classes that a method with a fixed set of classes does not have: other names, or another number.

        Raises:
            NotApplicableError: The protocol evaluates other classes than the training list has.
            UserError: The method's classes are not those of the dataset.
        """
        pairs = [(fit, item) for fit, items in self.of(protocol, dataset) for item in items]
        for fit, item in pairs:
            if (item.test.dataset, item.test.labels) != (fit.train.dataset, fit.train.labels):
                reason = "" if row.spec.uses_clip else " and no text tower"
                raise NotApplicableError(
                    f"{row.name} has a fixed set of classes{reason}, and {protocol.name} evaluates classes "
                    f"({item.test.dataset} {item.test.labels}) other than it trains on "
                    f"({fit.train.dataset} {fit.train.labels}).",
                    f"Use {_open_choice(row)}a protocol with one set of classes, such as supervised.",
                )
        for _, item in pairs:
            row.spec.check_classes(row.options, dataset.labels(item.test.labels))


def _open_choice(row: MethodRow) -> str:
    """The choice of an option with which the method can classify any classes, as the beginning of a sentence."""
    for option in fields(row.options):
        for choice in option.metadata.get("choices") or ():
            # Some choices do not go with the other options.
            with suppress(UserError):
                if row.spec.is_open(replace(row.options, **{option.name: choice})):
                    return f"--set {option.name}={choice}, or "
    return ""
