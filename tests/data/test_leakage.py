from __future__ import annotations

from collections import Counter

import pytest

from harness.base.errors import EXIT_FAILED, UserError
from harness.data.leakage import audit, normalise, seen_classes
from harness.data.official.cards import load_card
from harness.spec import LabelSet, VideoList

K400 = load_card("k400")
XY = LabelSet(("x", "y"))


def rows(name, *paths):
    return VideoList(name, tuple((path, 0) for path in paths))


def check(train, test, dataset="ucf101", test_dataset=None):
    return audit(train, XY, test, XY, dataset, test_dataset or dataset)


def test_a_video_on_both_sides_is_refused_whatever_folder_case_or_extension():
    train = rows("few_shot_2", "v_Punch_g01_c01.avi", "v_Punch_g02_c01.avi")
    with pytest.raises(UserError, match=r"1 video of the evaluation list ucf101/val2 .* v_punch_g02_c01") as caught:
        check(train, rows("val2", "Punch/v_punch_g02_c01.mp4"))
    assert caught.value.exit_code == EXIT_FAILED and caught.value.hint


def test_a_ucf_source_group_on_both_sides_is_refused():
    with pytest.raises(UserError, match=r"1 source group .* ucf101:punch_g01"):
        check(rows("train", "v_Punch_g01_c01.avi"), rows("val", "v_Punch_g01_c02.avi"))


def test_the_same_group_number_of_another_class_is_no_leak():
    assert check(rows("train", "v_Punch_g01_c01.avi"), rows("val", "v_YoYo_g01_c01.avi")).same_classes


def test_a_youtube_id_on_both_sides_is_refused_across_kinetics_versions():
    train = rows("train", "train/0wR5jVB-WPk_000417_000427.mp4")
    with pytest.raises(UserError, match=r"1 YouTube id .* 0wR5jVB-WPk"):
        check(train, rows("zs_split1", "test/0wR5jVB-WPk_000001_000011.mp4"), "k400", "k600")


def test_custom_datasets_compare_whole_paths():
    train = rows("train", "walk/001.avi")
    assert check(train, rows("val", "run/001.avi"), "mine").same_classes
    with pytest.raises(UserError, match="1 video"):
        check(train, rows("val", "walk/001.avi"), "mine")


def test_an_untrained_method_has_seen_nothing():
    untrained = audit(None, None, rows("val", "a.avi"), XY, "", "ucf101")
    assert (untrained.seen, untrained.train, untrained.source) == ((), "", "no training")


@pytest.mark.parametrize(
    ("dataset", "labels", "relations", "strict"),
    [
        ("hmdb51", "all", {"same": 19, "broader": 14, "related": 6}, 33),
        ("ucf101", "all", {"same": 58, "narrower": 8, "related": 7}, 66),
    ],
)
def test_k400_relations_are_the_curated_ones(dataset, labels, relations, strict):
    test = load_card(dataset).labels(labels)
    transfer = audit(rows("t", "a.mp4"), K400.labels("all"), rows("v", "b.avi"), test, "k400", dataset)
    counts = Counter("same" if entry.relation == "exact" else entry.relation for entry in transfer.seen)
    assert counts == relations
    assert len(transfer.seen_ids()) == strict
    assert set(transfer.seen_ids(["related"])).isdisjoint(transfer.seen_ids())
    facts = transfer.facts()
    assert facts.seen_ids == transfer.seen_ids() and len(facts.seen) == sum(relations.values())
    assert "curated" in facts.source


def test_k600_subsets_have_no_class_of_k400():
    for name in ("zs_split1", "zs_split2", "zs_split3"):
        seen = seen_classes(K400.labels("all"), load_card("k600").labels(name), "k400", "k600")
        assert seen and {entry.relation for entry in seen} <= {"narrower", "related"}


def test_the_true_class_of_a_swapped_hmdb_name_decides():
    card = load_card("hmdb51")
    for variant, name in (("published", "sword exercise"), ("corrected", "sword")):
        seen = {e.id: e for e in seen_classes(K400.labels("all"), card.labels("all", variant), "k400", "hmdb51")}
        assert seen[44].name == name
        assert (seen[44].relation, seen[45].relation) == ("same", "related")  # id 44 holds clips of `sword`


def test_names_split_into_words_have_the_relations_of_the_whole_names():
    card = load_card("ucf101")
    whole, split = (
        seen_classes(K400.labels("all"), card.labels("all", variant), "k400", "ucf101")
        for variant in ("published", "split")
    )
    assert [(e.id, e.relation, e.counterparts) for e in whole] == [(e.id, e.relation, e.counterparts) for e in split]
    assert len(split) == 73 and "Tai Chi" in {e.name for e in split}


def test_relations_count_only_classes_that_are_trained_on():
    base = load_card("k400").labels("base")
    hmdb = load_card("hmdb51").labels("all")
    all_seen = seen_classes(K400.labels("all"), hmdb, "k400", "hmdb51")
    base_seen = seen_classes(base, hmdb, "k400", "hmdb51")
    assert 0 < len(base_seen) < len(all_seen)
    assert all(set(entry.counterparts) <= set(base.names) for entry in base_seen)


def test_near_duplicates_between_base_and_novel_are_reported_and_not_left_out():
    card = load_card("ucf101")
    joint = audit(
        rows("base_s1", "v_Punch_g01_c01.avi"), card.labels("base"),
        rows("novel_val", "v_Swing_g01_c01.avi"), card.labels("novel"), "ucf101", "ucf101",
    )  # fmt: skip
    (near,) = joint.seen
    assert (near.name, near.relation, near.counterparts) == ("Swing", "near", ("GolfSwing", "TennisSwing"))
    assert joint.seen_ids() == ()


def test_base_classes_are_exact_in_a_joint_evaluation():
    card = load_card("hmdb51")
    seen = seen_classes(card.labels("base"), card.labels("all"), "hmdb51", "hmdb51")
    exact = [entry.id for entry in seen if entry.relation == "exact"]
    assert tuple(exact) == tuple(sorted(card.split.base))


def test_names_are_compared_without_case_blanks_and_signs():
    assert normalise("ApplyLipstick") == normalise("apply lip-stick")
    assert normalise("punching person (boxing)") == "punchingpersonboxing"


@pytest.mark.parametrize(("dataset", "clips"), [("hmdb51", (233, 254)), ("ucf101", (627, 623))])
def test_few_shot_training_clips_in_val2_and_val3_are_refused(published_rows, dataset, clips):
    labels = load_card(dataset).labels("all")
    train = VideoList("few_shot_16", published_rows(dataset, "few_shot_16"))
    audit(train, labels, VideoList("val1", published_rows(dataset, "val1")), labels, dataset, dataset)
    for name, count in zip(("val2", "val3"), clips, strict=True):
        with pytest.raises(UserError, match=f"^{count} videos of the evaluation list {dataset}/{name}"):
            audit(train, labels, VideoList(name, published_rows(dataset, name)), labels, dataset, dataset)


@pytest.mark.parametrize("dataset", ["ucf101", "hmdb51", "ssv2", "k400"])
def test_no_published_protocol_leaks(published_rows, dataset):
    card = load_card(dataset)
    for seed in (1, 2, 3):
        train = VideoList(f"base_s{seed}", published_rows(dataset, f"base_s{seed}"))
        for name, labels in (("base_val", "base"), ("novel_val", "novel"), ("val", "all")):
            test = VideoList(name, published_rows(dataset, name))
            audit(train, card.labels("base"), test, card.labels(labels), dataset, dataset)
