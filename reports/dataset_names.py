"""Names under which reports show datasets: two own datasets of one folder name are two."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from results.measurement import ListId, Measurement

Place = tuple[str, str]
"""Name of a dataset and its `root`, empty for a dataset that is known by its name."""
_Contents = dict[str, set[str]]
"""By name of a list the hashes of its videos."""


class DatasetNames:
    """The shown name of each dataset of some measurements.

    A dataset is shown by its name. Where two own datasets of one name, of another place and with other videos, are
    among the measurements, each is shown as `name (root)`.
    """

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        contents: dict[str, dict[str, _Contents]] = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
        for m in measurements:
            for listed in (m.evaluation.list, *([m.fitted.list] if m.fitted else ())):
                contents[listed.dataset][listed.root][listed.name].add(listed.content)
        self._shown: dict[Place, str] = {}
        for name, roots in contents.items():
            first = _first_roots(roots)
            several = len(set(first.values())) > 1
            for root, same in first.items():
                self._shown[name, root] = f"{name} ({same})" if several and same else name
        # A folder may itself be called `name (root)`.
        taken = Counter({(self._shown[place], place[0]): 1 for place in self._shown})
        double = {shown for shown, n in Counter(shown for shown, _ in taken).items() if n > 1}
        self._shown |= {p: f"{shown} ({p[1]})" for p, shown in self._shown.items() if shown in double and p[1]}

    def of(self, listed: ListId) -> str:
        """The shown name of a list's dataset."""
        return self._shown.get((listed.dataset, listed.root), listed.dataset)


def _first_roots(roots: Mapping[str, _Contents]) -> dict[str, str]:
    """For each place the first place with the same videos."""
    found: dict[str, str] = {}
    for root in sorted(roots):
        same = (other for other in dict.fromkeys(found.values()) if _same_videos(roots[root], roots[other]))
        found[root] = next(same, root)
    return found


def _same_videos(a: _Contents, b: _Contents) -> bool:
    """True if two places have lists in common, all with the same videos."""
    common = a.keys() & b.keys()
    return bool(common) and all(a[name] == b[name] for name in common)
