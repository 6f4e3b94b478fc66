"""People and source videos of a custom dataset that are in a training list and in an evaluation list.

A drawn split keeps the clips of a person on one side. A stated split may not: a method that has seen a person in
training may recognise the person, and not the action. Such a split is legal, so that it is a warning and not an error.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.data.lists.dataset import Dataset
from harness.spec import VideoList

_SHOWN = 3
Pair = tuple[str, str]


def people_in_both(dataset: Dataset, train: VideoList, test: VideoList) -> dict[str, Pair]:
    """The people with clips in both lists, sorted by name: the first training and the first evaluation path of each.

    Args:
        dataset: The dataset of both lists.
        train: The training list.
        test: The evaluation list.
    """
    trained, evaluated = _first_paths(dataset, train), _first_paths(dataset, test)
    return {person: (trained[person], evaluated[person]) for person in sorted(trained.keys() & evaluated.keys())}


def _first_paths(dataset: Dataset, rows: VideoList) -> dict[str, str]:
    """The first path of each person of a list, in the order of paths."""
    first: dict[str, str] = {}
    for path in sorted(rows.paths):
        if person := dataset.person(path):
            first.setdefault(person, path)
    return first


def people_warning(dataset: Dataset, people: Mapping[str, Pair]) -> str:
    """The warning that names people on both sides of a split; empty if there are none.

    Args:
        dataset: The dataset.
        people: From `people_in_both`.
    """
    if not people:
        return ""
    number = "1 person or source video is" if len(people) == 1 else f"{len(people)} people or source videos are"
    named = [f"{person} ({train} and {test})" for person, (train, test) in people.items()]
    more = ", ..." if len(people) > _SHOWN else ""
    return (
        f"{number} on both sides of the split of {dataset.shown}: {', '.join(named[:_SHOWN])}{more}. Scores may be too "
        "high: move all clips of a person to one side, or state no split, and one is drawn without this fault."
    )
