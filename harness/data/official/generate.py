"""Generation of lists from the official annotations by the published rules."""

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
    """The generated lists of a dataset, and the reason for each list that could not be generated.

    Args:
        lists: Rows by list name.
        reasons: For each list of the card that is not in `lists`, the missing files or the missing rule, in words.
    """

    lists: dict[str, rules.Rows]
    reasons: dict[str, str] = field(default_factory=dict)


def generate(card: Card, folder: AnnotationFolder, present: Callable[[str], bool] | None = None) -> Generated:
    """All lists that the annotations in a folder give.

    Args:
        card: The dataset.
        folder: Official annotation files, sub-folders included.
        present: Returns whether the video of a list path is on disk. Restricts the Kinetics training lists, because
            many clips of the official CSVs can no longer be downloaded.

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
    generated = Generated(lists)
    if "base" in card.subsets:
        _add_b2n(card, generated)
    for name in card.lists:
        if name not in generated.lists and name not in generated.reasons:
            generated.reasons[name] = _reason(name)
    return generated


def _kinetics(card: Card, folder: AnnotationFolder, present: Callable[[str], bool] | None) -> dict[str, rules.Rows]:
    version = int(card.name.removeprefix("k"))
    lists: dict[str, rules.Rows] = {}
    for split in ("train", "val"):
        file = find_kinetics(folder, version, split)
        if file is None:
            continue
        # The official annotations name clips that the published lists lack.
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


def _add_b2n(card: Card, generated: Generated) -> None:
    """Add the base-to-novel lists, made of `train` and the first evaluation list; class sets are the published ones."""
    split = card.split
    val = generated.lists.get(card.aliases.get("val", "val"))
    if val is not None:
        generated.lists["base_val"] = rules.restrict(val, split.base)
        generated.lists["novel_val"] = rules.restrict(val, split.novel)
    train = generated.lists.get("train")
    if train is None:
        return
    base_train = generated.lists["base_train"] = rules.restrict(train, split.base)
    for seed in rules.BASE_SEEDS:
        try:
            generated.lists[f"base_s{seed}"] = rules.base_draw(base_train, len(split.base), seed)
        except UserError as error:
            generated.reasons[f"base_s{seed}"] = error.message


def _reason(name: str) -> str:
    """The reason why a list could not be generated."""
    if name.startswith("few_shot_"):
        return "drawn by an unknown rule: import the published file"
    if name == "train_tiny":
        return "drawn by an unknown rule, and used by no protocol"
    if name.startswith("zs_split"):
        return "needs the three ER-ZSAR files"
    if name in ("val", "base_val", "novel_val"):
        return "needs the validation annotations"
    return "needs the training annotations"
