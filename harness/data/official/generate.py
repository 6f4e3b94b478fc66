"""Every list that the official annotations give, by the published rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.base.errors import UserError
from harness.data.lists import rules
from harness.data.official.annotations.annotation_folder import AnnotationFolder
from harness.data.official.annotations.hmdb51 import read_hmdb51
from harness.data.official.annotations.kinetics import find_kinetics, read_kinetics
from harness.data.official.annotations.ssv2 import read_ssv2
from harness.data.official.annotations.ucf101 import read_ucf101
from harness.data.official.annotations.zsar import has_zsar, read_zsar
from harness.data.official.cards import Card


@dataclass
class Generated:
    """The lists of a dataset that could be generated, and why the others could not.

    Args:
        lists: Rows by list name.
        reasons: For each list of the card that is not in `lists`, what it needs.
    """

    lists: dict[str, rules.Rows]
    reasons: dict[str, str] = field(default_factory=dict)


def generate(card: Card, folder: AnnotationFolder, present: Callable[[str], bool] | None = None) -> Generated:
    """All lists derivable from the annotations in a folder.

    Args:
        card: The dataset.
        folder: Official annotation files, anywhere below it.
        present: Whether a path's video is on disk. Restricts the Kinetics training lists, whose official CSVs name more
            clips than anybody has.

    Raises:
        UserError: The folder holds none of the dataset's annotations, or a damaged file.
    """
    if card.name == "ucf101":
        lists = read_ucf101(folder, card)
    elif card.name == "hmdb51":
        lists = read_hmdb51(folder, card)
    elif card.name == "ssv2":
        lists = read_ssv2(folder, card)
    else:
        lists = _kinetics(card, folder, present)
    made = Generated(lists)
    if "base" in card.subsets:
        _add_b2n(card, made)
    for name in card.lists:
        if name not in made.lists and name not in made.reasons:
            made.reasons[name] = _reason(card, name)
    return made


def _kinetics(card: Card, folder: AnnotationFolder, present: Callable[[str], bool] | None) -> dict[str, rules.Rows]:
    version = int(card.name.removeprefix("k"))
    lists: dict[str, rules.Rows] = {}
    for split in ("train", "val"):
        file = find_kinetics(folder, version, split)
        if file is None:
            continue
        left_out = {f"{split}/{stem}.mp4" for stem in card.left_out.get(split, ())}
        rows = read_kinetics(file, card.names, split)
        if split == "train" and present is not None:
            rows = tuple(row for row in rows if present(row[0]))
        lists[split] = tuple(row for row in rows if row[0] not in left_out)
    if card.name == "k600" and has_zsar(folder):
        lists.update(read_zsar(folder, card))
    if not lists:
        raise UserError(
            f"{folder.folder} holds no annotations of {card.title}.", f"Expected {card.annotations}: {card.page}"
        )
    return lists


def _add_b2n(card: Card, made: Generated) -> None:
    """Base-to-novel lists from `train` and the first evaluation list; class sets are the published ones."""
    split = card.split
    val = made.lists.get(card.aliases.get("val", "val"))
    if val is not None:
        made.lists["base_val"] = rules.restrict(val, split.base)
        made.lists["novel_val"] = rules.restrict(val, split.novel)
    train = made.lists.get("train")
    if train is None:
        return
    base_train = made.lists["base_train"] = rules.restrict(train, split.base)
    for seed in rules.BASE_SEEDS:
        try:
            made.lists[f"base_s{seed}"] = rules.base_draw(base_train, len(split.base), seed)
        except UserError as error:
            made.reasons[f"base_s{seed}"] = error.message


def _reason(card: Card, name: str) -> str:
    if name.startswith("few_shot_"):
        return "drawn by an unknown rule: import the published file"
    if name == "train_tiny":
        return "drawn by an unknown rule, and used by no protocol"
    if name.startswith("zs_split"):
        return "needs the three ER-ZSAR files"
    if name in ("val", "base_val", "novel_val"):
        return "needs the validation annotations"
    return "needs the training annotations"
