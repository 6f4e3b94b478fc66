"""Names under which reports show datasets; two custom datasets with one folder name get different names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from results.measurement import ListId, Measurement

NameAndRoot = tuple[str, str]
"""Name and `root` of a dataset; the root is empty for a dataset that is not custom."""
_Contents = dict[str, set[str]]
"""Hashes of the videos by name of the list."""


class DatasetNames:
    """The shown name of each dataset of the measurements.

    A dataset is shown by its name. Custom datasets with the same name, different folders and different videos are
    shown as `name (root)`.
    """

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        contents: dict[str, dict[str, _Contents]] = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
        for m in measurements:
            for listed in (m.evaluation.list, *([m.fitted.list] if m.fitted else ())):
                contents[listed.dataset][listed.root][listed.name].add(listed.content)
        self._shown: dict[NameAndRoot, str] = {}
        for name, roots in contents.items():
            first = _first_roots(roots)
            # Copies of one dataset in several folders keep the plain name.
            several = len(set(first.values())) > 1
            for root, same in first.items():
                self._shown[name, root] = f"{name} ({same})" if several and same else name
        # A folder may itself be called `name (root)`, the name given to another dataset above.
        taken = Counter({(shown, dataset[0]): 1 for dataset, shown in self._shown.items()})
        double = {shown for shown, n in Counter(shown for shown, _ in taken).items() if n > 1}
        self._shown |= {p: f"{shown} ({p[1]})" for p, shown in self._shown.items() if shown in double and p[1]}

    def of(self, listed: ListId) -> str:
        """The shown name of a list's dataset."""
        return self._shown.get((listed.dataset, listed.root), listed.dataset)


def _first_roots(roots: Mapping[str, _Contents]) -> dict[str, str]:
    """For each root, the first root with the same videos."""
    first: dict[str, str] = {}
    for root in sorted(roots):
        same = (other for other in dict.fromkeys(first.values()) if _same_videos(roots[root], roots[other]))
        first[root] = next(same, root)
    return first


def _same_videos(a: _Contents, b: _Contents) -> bool:
    """Whether two roots have lists in common, and all common lists have the same videos."""
    common = a.keys() & b.keys()
    return bool(common) and all(a[name] == b[name] for name in common)
