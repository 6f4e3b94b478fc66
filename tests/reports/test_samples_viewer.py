"""The sample viewer: videos that two rows decide differently, confused classes, and the frames that the models saw."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reports.entries import read_entries
from reports.sample_videos import KINDS, MOST_DIFFERENT, VIDEOS_OF_PAIR, samples_of
from results.predictions import ID_COLUMNS, read_predictions
from tests.conftest import TINY_RUN, in_process
from tests.reports.test_publishing import followed, serving
from tests.reports.test_site import Page
from tests.results.factories import Sample, write_sample

FEW = Sample(protocol="few_shot", part="k16", shots=16)
EVIL = "<script>alert(1)</script> \"q\" {{ 7*7 }} \u202e"


def two_rows(runs: Path, **changes: str | bool | tuple[str, ...]) -> None:
    for method, accuracy in (("a", 0.7), ("b", 0.4)):
        write_sample(runs, FEW, method=method, accuracy=accuracy, **changes)


def test_samples_are_all_differences_by_kind_and_the_most_frequent_confusions(tmp_path: Path) -> None:
    two_rows(tmp_path)
    a, b = read_entries(tmp_path).entries
    found = samples_of(a, b)
    tables = [read_predictions(entry.predictions) for entry in (a, b)]
    first = [table[ID_COLUMNS[0]].to_numpy() for table in tables]
    label = tables[0]["label"].to_numpy()
    right = [ids == label for ids in first]
    both_wrong = ~right[0] & ~right[1] & (first[0] != first[1])
    expected = (right[0] & ~right[1], right[1] & ~right[0], both_wrong)
    assert dict(found.counts) == dict(zip(KINDS, (int(mask.sum()) for mask in expected), strict=True))
    for kind, mask in zip(KINDS, expected, strict=True):
        shown = [video.video for video in found.different if video.kind == kind]
        assert set(shown) <= set(tables[0]["video"][mask]) and len(shown) == min(MOST_DIFFERENT, int(mask.sum()))
    counts: dict[tuple[int, int], int] = {}
    for truth, guess in zip(label[~right[0]].tolist(), first[0][~right[0]].tolist(), strict=True):
        counts[truth, guess] = counts.get((truth, guess), 0) + 1
    best = found.confused_a[0]
    assert best.count == max(counts.values()) and best.of == int((label == label[0]).sum())
    assert all(len(pair.videos) == min(VIDEOS_OF_PAIR, pair.count) for pair in found.confused_a)


@pytest.mark.slow
def test_a_page_without_videos_says_why_and_shows_the_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_DATA_HMDB51", raising=False)
    two_rows(tmp_path / "runs", dataset="hmdb51", embedded=False)
    site = tmp_path / "site"
    assert in_process("report", "--samples", "--runs", tmp_path / "runs", "--out", site) == 0
    err = capsys.readouterr().err
    assert "No video folder is configured for hmdb51" in err and "samples: 1 pages in" in err
    (page,) = [path for path in (site / "samples").glob("*.html") if path.name != "index.html"]
    text = Page(page.read_text("utf-8")).visible()
    assert "only A is right" in text and "no frames" in text and "Most confused classes of A" in text
    assert not (site / "samples" / "frames").exists()
    with serving(site) as address:
        assert any(name.endswith(f"samples/{page.name}") for name in followed(address))


@pytest.mark.slow
def test_foreign_text_is_text(tmp_path: Path) -> None:
    names = tuple(f"{EVIL} {i}" for i in range(12))
    two_rows(tmp_path / "runs", title=EVIL, class_names=names)
    site = tmp_path / "site"
    assert in_process("report", "--samples", "--runs", tmp_path / "runs", "--out", site) == 0
    for path in (site / "samples").glob("*.html"):
        page = Page(path.read_text("utf-8"))
        assert [tag for tag, _ in page.tags].count("script") == (path.name != "index.html")
        assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
        assert "{{ 7*7 }}" in page.visible()


@pytest.mark.slow
def test_without_the_flag_nothing_is_written_and_nothing_is_linked(tmp_path: Path) -> None:
    two_rows(tmp_path / "runs")
    assert in_process("report", "--runs", tmp_path / "runs", "--out", tmp_path / "site") == 0
    assert not (tmp_path / "site" / "samples").exists()
    assert "samples/index.html" not in (tmp_path / "site" / "index.html").read_text("utf-8")


@pytest.mark.slow
def test_frames_of_real_videos_are_those_that_the_models_saw(
    small_dataset: Path, finished_runs: Path, tmp_path: Path
) -> None:
    runs, site = tmp_path / "runs", tmp_path / "site"
    shutil.copytree(finished_runs, runs)
    places = ("--runs", runs, "--cache", finished_runs.parent / "cache")
    untrained = [word for word in TINY_RUN if (word != "--recipe" and "=" not in word) or word.startswith("frames")]
    assert in_process("run", "--method", "vanilla_clip", *untrained, "--dataset", small_dataset, *places) == 0
    assert in_process("report", "--samples", *places, "--data", f"shapes={small_dataset}", "--out", site) == 0
    pages = [path for path in (site / "samples").glob("*.html") if path.name != "index.html"]
    assert pages
    images = sorted((site / "samples" / "frames").glob("*.jpg"))
    assert images
    for path in images:
        with Image.open(path) as picture:
            assert picture.size == (2 * 112, 112), "the views have two frames"
            assert np.asarray(picture).std() > 1
    with serving(site) as address:
        followed(address)
    used = {a["src"] for page in pages for tag, a in Page(page.read_text("utf-8")).tags if tag == "img"}
    assert used == {f"frames/{path.name}" for path in images}
    records = [json.loads(path.read_bytes()) for path in runs.rglob("*.record.json")]
    assert {record["measurement"]["evaluation"]["views"]["frames"] for record in records} == {2}
