from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from harness.base.errors import UserError
from harness.data.leakage import seen_classes
from harness.data.official.dataset import OfficialDataset
from harness.plugins.registry import load
from harness.spec import ListRef, Repeat, Views, ZeroShotTest
from harness.spec.lists import OFFICIAL
from harness.spec.view_transforms import BUILT_IN

ALL_LISTS = frozenset(
    ["train", "val", "base_s1", "base_s2", "base_s3", "base_val", "novel_val"]
    + [f"few_shot_{shots}" for shots in (2, 4, 8, 16)]
)
THREE_SPLITS = tuple(ZeroShotTest(f"val{i}", "all", "test_split", i) for i in (1, 2, 3))


@dataclass
class Facts:
    name: str = "ucf101"
    source: str | None = "k400"
    zero_shot_tests: tuple[ZeroShotTest, ...] = THREE_SPLITS
    lists: frozenset[str] = field(default=ALL_LISTS)
    chosen_source: str | None = None

    def has_list(self, name: str) -> bool:
        return name in self.lists

    def why_absent(self, name: str) -> str:
        return ""


def protocol(name):
    return load("protocol", name)()


def test_b2n_is_three_fits_with_base_novel_and_joint_evals():
    b2n = protocol("b2n")
    fits = list(b2n.fits(Facts()))
    assert [fit.repeat for fit in fits] == [Repeat("train_subset", i) for i in (1, 2, 3)]
    assert [fit.train for fit in fits] == [ListRef("ucf101", f"base_s{i}", "base") for i in (1, 2, 3)]
    assert {fit.shots for fit in fits} == {16}
    for fit in fits:
        assert [(e.part, e.test.list, e.test.labels) for e in b2n.evals(Facts(), fit)] == [
            ("base", "base_val", "base"),
            ("novel", "novel_val", "novel"),
            ("joint", "val", "all"),
        ]
    assert [column.name for column in b2n.columns] == ["base", "novel", "hm", "joint"]
    assert b2n.columns[2].harmonic_of == ("base", "novel")


def test_zero_shot_is_one_fit_and_nine_evals_over_three_targets():
    zero_shot = protocol("zero_shot")
    subsets = tuple(ZeroShotTest(f"zs_split{i}", f"zs_split{i}", "class_subset", i) for i in (1, 2, 3))
    targets = [Facts("hmdb51"), Facts("ucf101"), Facts("k600", zero_shot_tests=subsets)]
    fits = {fit for target in targets for fit in zero_shot.fits(target)}
    assert fits == {next(iter(zero_shot.fits(targets[0])))}
    fit = fits.pop()
    assert fit.train == ListRef("k400", "train", "all")
    evals = [e for target in targets for e in zero_shot.evals(target, fit)]
    assert len(evals) == 9
    assert [e.repeat for e in evals[:3]] == [Repeat("test_split", i) for i in (1, 2, 3)]
    assert evals[-1].test == ListRef("k600", "zs_split3", "zs_split3")
    assert evals[-1].repeat == Repeat("class_subset", 3)
    assert [(c.name, c.metric) for c in zero_shot.columns] == [("top1", "top1"), ("top5", "top5")]


def test_few_shot_evaluates_on_the_first_test_split_only():
    few_shot = protocol("few_shot")
    fits = list(few_shot.fits(Facts()))
    assert [(fit.shots, fit.train.list) for fit in fits] == [(k, f"few_shot_{k}") for k in (2, 4, 8, 16)]
    evals = [e for fit in fits for e in few_shot.evals(Facts(), fit)]
    assert {e.test for e in evals} == {ListRef("ucf101", "val", "all")}
    assert [e.part for e in evals] == [column.part for column in few_shot.columns] == ["k2", "k4", "k8", "k16"]


def test_few_shot_on_a_small_dataset_runs_the_k_that_it_has():
    facts = Facts(lists=ALL_LISTS - {"few_shot_8", "few_shot_16"})
    assert [fit.shots for fit in protocol("few_shot").fits(facts)] == [2, 4]


def test_supervised_uses_the_published_views():
    supervised = protocol("supervised")
    assert supervised.views == Views(frames=16, clips=4, crops=3, sampling="random")
    assert supervised.views.count == 12
    (fit,) = supervised.fits(Facts("k400"))
    assert fit.train == ListRef("k400", "train", "all")
    (scored,) = supervised.evals(Facts("k400"), fit)
    assert scored.test == ListRef("k400", "val", "all")


@pytest.mark.parametrize("target", OFFICIAL)
@pytest.mark.parametrize("source", OFFICIAL)
def test_zero_shot_goes_from_any_dataset_to_any_other(target, source):
    dataset = OfficialDataset(target, ())
    dataset.source = source
    zero_shot = protocol("zero_shot")
    (fit,) = zero_shot.fits(dataset)
    assert fit.train == ListRef(source, "train", "all")
    evals = list(zero_shot.evals(dataset, fit))
    assert [e.test.list for e in evals] == {
        "k400": ["val"], "ssv2": ["val"], "k600": ["zs_split1", "zs_split2", "zs_split3"],
    }.get(target, ["val1", "val2", "val3"])  # fmt: skip
    trained = OfficialDataset(source, ()).labels("all")
    seen = seen_classes(trained, dataset.labels(evals[0].test.labels), source, target)
    # Curated relations hold in both directions, and between two datasets that share a class with K-400.
    shared = {("ucf101", "k400"): "bench pressing", ("k400", "ucf101"): "BenchPress", ("hmdb51", "ucf101"): "PullUps"}
    if name := shared.get((source, target)):
        assert {found.name: found.relation for found in seen}[name] in ("exact", "same")


def test_zero_shot_on_k400_needs_a_source():
    with pytest.raises(UserError, match="k400 is a zero-shot target only with another source"):
        list(protocol("zero_shot").fits(OfficialDataset("k400", ())))


@pytest.mark.parametrize("target", ["ucf101", "hmdb51"])
def test_zero_shot_full_is_one_eval_of_all_clips_by_the_fit_of_zero_shot(target):
    dataset = OfficialDataset(target, ())
    full = protocol("zero_shot_full")
    (fit,) = full.fits(dataset)
    assert [fit] == list(protocol("zero_shot").fits(dataset))
    (item,) = full.evals(dataset, fit)
    assert (item.part, item.test, item.repeat) == ("all", ListRef(target, "full", "all"), None)
    with pytest.raises(UserError, match="ssv2 has no list of all clips"):
        list(full.fits(OfficialDataset("ssv2", ())))


def test_probes_evaluate_the_fit_of_another_protocol_on_each_transform():
    probes = protocol("probes")
    (fit,) = probes.fits(Facts())
    assert (fit.train, fit.shots) == (ListRef("ucf101", "few_shot_16", "all"), 16)
    assert next(iter(probes.fits(Facts(lists=frozenset(["train", "val"]))))).train.list == "train"
    assert next(iter(probes.fits(Facts(chosen_source="k400")))).train == ListRef("k400", "train", "all")
    evals = list(probes.evals(Facts(), fit))
    assert [e.transform for e in evals] == ["", *BUILT_IN] and not probes.trains
    assert [e.part for e in evals] == ["clean", *BUILT_IN] == [column.name for column in probes.columns]
    assert {e.test for e in evals} == {ListRef("ucf101", "val", "all")}
    with pytest.raises(UserError, match="neither few-shot lists nor a training list"):
        list(probes.fits(Facts(lists=frozenset())))


@pytest.mark.parametrize("name", ["b2n", "few_shot", "supervised", "zero_shot"])
def test_a_dataset_without_the_lists_is_refused_by_name(name):
    with pytest.raises(UserError, match="nothing"):
        list(protocol(name).fits(Facts("nothing", None, (), frozenset())))


@pytest.mark.parametrize("name", ["b2n", "few_shot", "supervised", "zero_shot"])
def test_every_eval_feeds_a_column(name):
    p = protocol(name)
    parts = {column.part for column in p.columns if not column.harmonic_of}
    evals = [e for fit in p.fits(Facts()) for e in p.evals(Facts(), fit)]
    assert {e.part for e in evals} == parts
    for column in p.columns:
        assert column.harmonic_of is None or set(column.harmonic_of) <= parts
    assert p.title and p.datasets
