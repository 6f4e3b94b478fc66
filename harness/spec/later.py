"""Fields that were added to a dataclass after files with it were written.

Files and keys hold a later field only if its value is not the default. Results without the field keep their keys, and a
default value has one form.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LATER = "later"
T = TypeVar("T")


def later(default: T) -> T:
    """A dataclass field that files and keys hold only where its value differs from the default.

    Args:
        default: Value of the field in results that were written before the field existed: the earlier behaviour.
    """
    made: T = dataclasses.field(default=default, metadata={_LATER: True})
    return made


@cache
def later_fields(kind: type[DataclassInstance]) -> frozenset[str]:
    """Names of the later fields of a dataclass."""
    return frozenset(field.name for field in dataclasses.fields(kind) if field.metadata.get(_LATER))
