"""The predictions table: columns, odd names, clusters, and the fast reader beside it."""

from __future__ import annotations

import csv
import gzip
import hashlib
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.errors import EXIT_FAILED, UserError
from results.outcomes import Outcome, clusters_of, read_outcome, videos_of
from results.predictions import (
    COLUMNS,
    ID_COLUMNS,
    PROBABILITY_COLUMNS,
    encode_predictions,
    predictions_frame,
    read_predictions,
    write_predictions,
)
from results.submission.tables import decompress, parse_untrusted

ODD = [
    "a,b.mp4",
    '"quoted".mp4',
    "a\nb,1,2,3.mp4",
    "\n",
    "tab\t.mp4",
    " a ",
    "é中🏃",
    "-1",
    "007",
    "NA",
    "nan",
    "1e5",
    "'",
]
NAMES = st.one_of(
    st.sampled_from(ODD), st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)
)


def table(videos: list[str], clusters: list[str] | None = None, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 12, len(videos))
    ids = np.array([rng.permutation(12)[:5] for _ in videos], dtype=np.int64).reshape(-1, 5)
    ids[rng.random(len(videos)) < 0.1] = -1
    p = -np.sort(-rng.dirichlet(np.ones(12), len(videos)), axis=1)[:, :5]
    return predictions_frame(videos, labels, ids, np.round(p, 6), clusters)


def outcome(path: Path, frame: pd.DataFrame) -> Outcome:
    return read_outcome(path, write_predictions(path, frame), len(frame), top5=True)


def test_columns_end_with_the_cluster() -> None:
    names = ["video", "label", *ID_COLUMNS, *PROBABILITY_COLUMNS, "cluster"]
    assert names == COLUMNS
    assert list(table(["a.mp4"]).columns) == COLUMNS


@pytest.mark.slow
@given(st.lists(st.tuples(NAMES, st.one_of(st.just(""), NAMES)), min_size=1, max_size=8), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_names_survive_and_the_fast_reader_agrees(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], known: bool
) -> None:
    path = tmp_path_factory.mktemp("p") / "a.predictions.csv.gz"
    videos, clusters = [v for v, _ in rows], [c for _, c in rows]
    frame = table(videos, clusters if known else None)
    found = outcome(path, frame)
    again = read_predictions(path)
    pd.testing.assert_frame_equal(again, frame)
    assert again["video"].tolist() == videos
    assert again["cluster"].tolist() == (clusters if known else [""] * len(rows))
    assert videos_of(found) == [video.encode() for video in videos]
    assert clusters_of(found) == [cluster.encode() for cluster in again["cluster"]]
    assert found.hits.tolist() == (frame["label"] == frame["id1"]).tolist()
    assert found.labels.tolist() == frame["label"].tolist()
    assert found.clustered == (known and clusters[-1] != "")
    top5 = [row["label"] in [row[name] for name in ID_COLUMNS] for _, row in frame.iterrows()]
    assert found.top5 is not None and found.top5.tolist() == top5
    assert read_outcome(path, hashlib.sha256(found.data).hexdigest(), len(frame)).top5 is None


@pytest.mark.parametrize("videos", [["a.mp4", "b.mp4"], ["a,1.mp4", "b.mp4"], ["b.mp4", 'a"\n",7,7,x.mp4']])
def test_clusters_with_commas_and_quotes(tmp_path: Path, videos: list[str]) -> None:
    for clusters in (["g1", "g1"], ["g,1", ""], ['g"1\nx,1,2,3', "g\n2"], ["", ""]):
        found = outcome(tmp_path / "a.predictions.csv.gz", table(videos, clusters))
        assert clusters_of(found) == [cluster.encode() for cluster in clusters]
        assert videos_of(found) == [video.encode() for video in videos] and len(found.hits) == 2


def test_plain_tables_hold_no_quotes_and_equal_tables_are_equal_bytes() -> None:
    frame = table(["x/a.mp4", "x/b.mp4"], ["g01", "g01"])
    text = gzip.decompress(encode_predictions(frame)).decode()
    assert text.splitlines()[0] == ",".join(COLUMNS) and '"' not in text
    assert all(line.endswith(",g01") for line in text.splitlines()[1:])
    assert encode_predictions(frame) == encode_predictions(frame.copy())
    assert gzip.decompress(encode_predictions(table(["a"]))).decode().splitlines()[1].endswith(",")


def without_clusters(path: Path) -> str:
    """A file as an older version wrote it."""
    frame = table(["a.mp4", "b.mp4"])
    text = frame.drop(columns="cluster").to_csv(index=False, float_format="%.6f", lineterminator="\n")
    path.write_bytes(gzip.compress(text.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_older_file_without_clusters_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "a.predictions.csv.gz"
    sha = without_clusters(path)
    for read in (lambda: read_predictions(path), lambda: read_outcome(path, sha, 2)):
        with pytest.raises(UserError, match="column cluster is missing") as caught:
            read()
        assert str(path) in caught.value.message and "\n" not in caught.value.message
        assert "python -m harness run" in caught.value.hint and caught.value.exit_code == EXIT_FAILED


def test_wrong_tables_are_one_error(tmp_path: Path) -> None:
    path = tmp_path / "a.predictions.csv.gz"
    frame = table(["a.mp4", "b.mp4"], ["g", "g"])
    text = gzip.decompress(encode_predictions(frame)).decode()
    for changed, message in (
        (text.replace("cluster", "group", 1), "column cluster is missing"),
        (text.replace("video,label", "video,extra,label", 1), "extra"),
        (text.replace("\na.mp4,", "\na.mp4,x", 1), "whole numbers"),
        ("", "cannot be read"),
        (text.rsplit(",", 2)[0] + "\n", "probabilities numbers, as `run` writes them, found"),
        ("\n".join([text.splitlines()[0], *(f"{line},more" for line in text.splitlines()[1:])]), "more than 13 fields"),
    ):
        path.write_bytes(gzip.compress(changed.encode()))
        with pytest.raises(UserError, match=message) as caught:
            read_predictions(path)
        assert str(path) in caught.value.message
        with pytest.raises(UserError, match=r"missing|unknown|whole numbers|contains \d videos"):
            read_outcome(path, hashlib.sha256(path.read_bytes()).hexdigest(), 3)
    path.write_bytes(b"no gzip")
    with pytest.raises(UserError, match="cannot be read"):
        read_predictions(path)
    sha = write_predictions(path, frame)
    with pytest.raises(UserError, match="differ from the predictions of the record"):
        read_outcome(path, "0" * 64, 2)
    with pytest.raises(UserError, match="contains 2 videos, the record states 3"):
        read_outcome(path, sha, 3)
    path.unlink()
    for read in (lambda: read_predictions(path), lambda: read_outcome(path, sha, 2)):
        with pytest.raises(UserError, match="missing"):
            read()


def test_clusters_must_be_as_many_as_videos() -> None:
    with pytest.raises(ValueError, match="1 clusters for 2 videos"):
        table(["a", "b"], ["g"])


def test_a_submission_reads_the_same_table() -> None:
    frame = table(["a,1.mp4", "b.mp4"], ["g,1", ""])
    pd.testing.assert_frame_equal(parse_untrusted(decompress(encode_predictions(frame))), frame)


@pytest.mark.slow
def test_the_fast_reader_is_fast(tmp_path: Path) -> None:
    """A list of UCF-101's length in a few milliseconds: ten thousand of them are read for a board."""
    path = tmp_path / "a.predictions.csv.gz"
    videos = [f"ApplyEyeMakeup/v_ApplyEyeMakeup_g{i % 25:02d}_c{i:04d}.avi" for i in range(3783)]
    frame = table(videos, [f"g{i % 25:02d}" for i in range(3783)])
    sha = write_predictions(path, frame)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        read_outcome(path, sha, 3783)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.03


@pytest.mark.parametrize("odd", ["b.avi", "c,d", 'e"f', "g\nh", "", "\u00fc", "i\rj"])
@pytest.mark.parametrize("absent", [False, True])
def test_the_text_is_that_of_pandas(odd: str, absent: bool) -> None:
    """For every quoting; an absent or infinite probability, which no run writes, is written as pandas writes it."""
    draw = np.random.default_rng(0)
    frame = predictions_frame(["a/1.avi", odd, "2"], np.arange(3), draw.integers(0, 5, (3, 4)), draw.random((3, 4)))
    if absent:
        frame.loc[1, "p1"], frame.loc[2, "p2"] = np.nan, np.inf
    quoting = csv.QUOTE_NONNUMERIC if "\r" in odd else csv.QUOTE_MINIMAL
    text = frame[COLUMNS].to_csv(index=False, float_format="%.6f", lineterminator="\n", quoting=quoting)
    assert gzip.decompress(encode_predictions(frame)).decode() == text
