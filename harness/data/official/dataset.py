"""Official datasets: the card, the list files found on this machine, and the index of the videos."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from harness.base.errors import UserError
from harness.data.files.inventory import Inventory
from harness.data.lists import rules
from harness.data.lists.clusters import Card as Clusters
from harness.data.lists.dataset import Dataset
from harness.data.lists.grammar import parse_list
from harness.data.official.acceptance import Acceptance, compare
from harness.data.official.cards import ListCard, load_card, pinned_lists, published_lists
from harness.spec import LabelSet, VideoList

OWN_FEW_SHOT = tuple(f"few_shot_{shots}" for shots in rules.FEW_SHOTS)


class OfficialDataset(Dataset):
    """`k400`, `k600`, `hmdb51`, `ucf101` or `ssv2`.

    Args:
        name: Name of the dataset.
        lists: Folders that are searched for list files in the published relative layout (with or without the leading
            `datasets_splits`).
        root: Root of the videos, None if they are not on this machine.
        cache: Folder that keeps the index of `root`.
        own_seed: Seed with which an absent published few-shot or 16-shot list is replaced by an own draw; with None
            an absent list is an error.
        variant: `published`, `corrected` or `split` class names.
    """

    kind = "official"

    def __init__(
        self,
        name: str,
        lists: Sequence[Path],
        root: Path | None = None,
        cache: Path | None = None,
        own_seed: int | None = None,
        variant: str = "published",
    ) -> None:
        self.card = load_card(name)
        self.name = name
        self.title = self.card.title
        self.source = self.card.source
        self.zero_shot_tests = self.card.zero_shot_tests
        self.root = root
        self.own_seed = own_seed
        self.draws = own_seed is not None
        self.variant = variant
        self._folders = tuple(lists)
        self._cache = cache
        self._clusters = self.card.clusters
        self._read: dict[str, tuple[VideoList, Acceptance | None]] = {}

    def list_names(self) -> tuple[str, ...]:
        """The lists that protocols use, and their aliases; their files may be absent."""
        return (*(name for name in self.card.lists if name != "train_tiny"), *self.card.aliases)

    def labels(self, name: str) -> LabelSet:
        """A label set by name, in the variant of this dataset object.

        Raises:
            UserError: The dataset has no such label set.
        """
        return self.card.labels(name, self.variant)

    def list(self, name: str) -> VideoList:
        """The rows of a list from its file, or of an own draw where `own_seed` is given.

        The origin is `published` at acceptance levels 1 to 3, `generated` for other files, and `own` for draws.

        Raises:
            UserError: The dataset has no such list, or the file is damaged (the message names line and rule), or absent
                (the hint names the command that makes it).
        """
        return self._load(name)[0]

    def acceptance(self, name: str) -> Acceptance | None:
        """Comparison of a list with the published one; None for own draws and where no such list was published.

        Raises:
            UserError: As `list`.
        """
        return self._load(name)[1]

    def list_file(self, name: str) -> Path | None:
        """The file of a list in the first folder that holds it, or None."""
        entry = self.card.find_list(name)
        for folder in self._folders:
            for file in (folder / entry.file, folder / "datasets_splits" / entry.file):
                if file.is_file():
                    return file
        return None

    def _load(self, name: str) -> tuple[VideoList, Acceptance | None]:
        entry = self.card.find_list(name)
        if name not in self._read:
            file = self.list_file(name)
            if file is not None:
                self._read[name] = self._from_file(name, entry, file)
            elif self.own_seed is not None and (rows := self._draw(entry.name, self.own_seed)) is not None:
                self._read[name] = VideoList(f"{name}_own{self.own_seed}", rows, "own"), None
            else:
                raise self._absent(entry)
        return self._read[name]

    def _from_file(self, name: str, entry: ListCard, file: Path) -> tuple[VideoList, Acceptance | None]:
        try:
            data = file.read_bytes()
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error}") from None
        rows = parse_list(data, file, len(self.card.labels(entry.labels)), self.card.form)
        pinned = pinned_lists().get(entry.file)
        acceptance = compare(rows, data, pinned) if pinned else None
        published = acceptance is not None and acceptance.is_published
        return VideoList(name, rows, "published" if published else "generated"), acceptance

    def _draw(self, name: str, seed: int) -> rules.Rows | None:
        """An own draw that replaces an absent few-shot or 16-shot list; None for any other list."""
        if name in OWN_FEW_SHOT:
            shots = int(name.removeprefix("few_shot_"))
            return rules.own_draw(self.list("train").rows, len(self.card.names), shots, seed)
        if name.removeprefix("base_s") in map(str, rules.BASE_SEEDS):
            base_train = self.list("base_train").rows
            index = int(name.removeprefix("base_s"))
            # Three repeats need three seeds, and the draws of seed 1 must differ from those of seed 2.
            return rules.own_draw(base_train, len(self.card.split.base), rules.BASE_SHOTS, 1000 * seed + index)
        if name == "base_train":
            return rules.restrict(self.list("train").rows, self.card.split.base)
        return None

    def _absent(self, entry: ListCard) -> UserError:
        published = entry.file in published_lists()
        ways = [f"python -m harness data prepare {self.name} --annotations DIR"]
        if published:
            ways.append("python -m harness data import-lists DIR (the authors' files)")
        if entry.name in OWN_FEW_SHOT or entry.name.startswith("base_s"):
            ways.append("or --lists own for an own draw, which is never ranked with the published lists")
        folders = ", ".join(map(str, self._folders)) or "any folder, because none is configured"
        return UserError(f"{self.name}: the list {entry.file} is not in {folders}.", "; ".join(ways))

    def cluster(self, path: str) -> str:
        """The cluster of a video by the card of the dataset; empty if the sources are unknown."""
        return self._clusters.of(path)

    @property
    def cluster_card(self) -> Clusters:
        """The clusters of the videos."""
        return self.card.cluster

    @cached_property
    def inventory(self) -> Inventory:
        """The index of the video files.

        Raises:
            UserError: No data root is configured, or it does not exist.
        """
        if self.root is None:
            raise UserError(
                f"No video folder is configured for {self.name}.",
                f"Set HARNESS_DATA_{self.name.upper()}, or [data] {self.name} = ... in harness.toml. "
                f"Videos: {self.card.page}",
            )
        return Inventory.open(self.root, self._cache)

    def locate(self, path: str) -> Path | None:
        """The video of a list path, found by base name in any folder layout; None if it is missing or ambiguous.

        Raises:
            UserError: No data root is configured.
        """
        return self.inventory.find(path).file
