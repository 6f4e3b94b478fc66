"""The embedded datasets `mini_source` and `mini_target` with the interface of a dataset.

Their videos are rendered once, on first use, into the cache folder (`harness.data.embedded.render`). Their official
lists are in `harness.data.embedded.lists`; all other lists follow from the same rules as on the real datasets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from harness.base.canonical import fingerprint
from harness.base.errors import unknown_name
from harness.data.embedded.lists import MINI_VERSION, mini_class_names, mini_list
from harness.data.lists import rules
from harness.data.lists.clusters import Card as Clusters
from harness.data.lists.clusters import ClusterCard, NamedClusters
from harness.data.lists.dataset import Dataset
from harness.spec import LabelSet, VideoList, ZeroShotTest

EMBEDDED = {"mini_source": "Mini source (synthetic)", "mini_target": "Mini target (synthetic)"}
_FEW_SHOT_SEED = 0
_CLUSTERS = NamedClusters(ClusterCard("class and group", r"v_(?P<cluster>.+_g\d{2})_c\d{2}"))


class EmbeddedDataset(Dataset):
    """`mini_source` (in the role of K-400) or `mini_target` (in the role of HMDB-51 and UCF-101).

    Args:
        name: `mini_source` or `mini_target`.
        cache: Parent folder of the rendered videos.
    """

    kind = "embedded"
    parent_source = "mini_source"

    def __init__(self, name: str, cache: Path) -> None:
        if name not in EMBEDDED:
            raise unknown_name("dataset", name, EMBEDDED)
        self.name = name
        self.title = EMBEDDED[name]
        self._cache = cache
        self._folder: Path | None = None
        if name == "mini_target":
            self.source = "mini_source"
            self.zero_shot_tests = tuple(ZeroShotTest(f"val{i}", "all", "test_split", i) for i in (1, 2, 3))
        else:  # a target only with another source, as K-400
            self.zero_shot_tests = (ZeroShotTest("val", "all", "single", 1),)

    @cached_property
    def _labels(self) -> dict[str, LabelSet]:
        names = mini_class_names(self.name)
        return {
            "all": LabelSet(names),
            "base": LabelSet(tuple(names[i] for i in self._split.base)),
            "novel": LabelSet(tuple(names[i] for i in self._split.novel)),
        }

    @cached_property
    def _split(self) -> rules.ClassSplit:
        return rules.base_novel_split(rules.class_counts(self._official("train"), self._classes))

    @cached_property
    def _classes(self) -> int:
        return len(mini_class_names(self.name))

    @cached_property
    def _b2n(self) -> dict[str, rules.Rows]:
        return rules.derived_b2n(self._official("train"), self._official("val"), self._split)

    def _official(self, name: str) -> rules.Rows:
        if name == "val" and self.name == "mini_target":
            name = "val1"
        return mini_list(self.name, name)

    def list_names(self) -> tuple[str, ...]:
        """All list names of the interface `Dataset`; `val1..val3` and `full` only on the target."""
        official = ("train", "val", "val1", "val2", "val3", "full") if self.name == "mini_target" else ("train", "val")
        few_shot = tuple(f"few_shot_{shots}" for shots in rules.FEW_SHOTS)
        base = tuple(f"base_s{seed}" for seed in rules.BASE_SEEDS)
        return (*official, "base_train", *base, "base_val", "novel_val", *few_shot)

    def list(self, name: str) -> VideoList:
        """The rows of a list; the origin is always `generated`.

        Raises:
            UserError: The dataset has no such list.
        """
        if name not in self.list_names():
            raise unknown_name(f"list of {self.name}", name, self.list_names())
        if name.startswith("few_shot_"):
            shots = int(name.removeprefix("few_shot_"))
            rows = rules.own_draw(self._official("train"), self._classes, shots, _FEW_SHOT_SEED)
        elif name == "full":
            rows = rules.full_list(self._official("train"), *(self._official(f"val{i}") for i in (1, 2, 3)))
        elif name in ("base_train", "base_val", "novel_val") or name.startswith("base_s"):
            rows = self._b2n[name]
        else:
            rows = self._official(name)
        return VideoList(name, rows, "generated")

    def labels(self, name: str) -> LabelSet:
        """The label set `all`, `base` or `novel`.

        Raises:
            UserError: The dataset has no such label set.
        """
        if name not in ("all", "base", "novel"):
            raise unknown_name(f"label set of {self.name}", name, ("all", "base", "novel"))
        return self._labels[name]

    def content(self, video_list: VideoList) -> str:
        """Fingerprint of the version of the renderer: another version draws other videos of the same paths."""
        return fingerprint({"embedded": self.name, "version": MINI_VERSION})

    def cluster(self, path: str) -> str:
        """The class and group of a clip."""
        return _CLUSTERS.of(path)

    @property
    def cluster_card(self) -> Clusters:
        """The clusters of the clips."""
        return _CLUSTERS.card

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Render the videos unless the cache already holds them.

        Args:
            progress: Called with the number of finished clips and the total.
        """
        if self._folder is None:
            # Imported here, because listing datasets must not need the packages that draw and encode.
            from harness.data.embedded.render import prepare_mini

            self._folder = prepare_mini(self.name, self._cache, progress)

    def locate(self, path: str) -> Path | None:
        """The rendered file, or None if `prepare` has not been called or the file does not exist."""
        if self._folder is None:
            return None
        file = self._folder / path
        return file if file.is_file() else None
