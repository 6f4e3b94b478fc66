"""`predict` on the user's videos: files, folders, tables, parts, windows, arrays, and the files that it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import api
from harness.api import UserError
from harness.data.files.find_videos import find_videos
from harness.spec.parts import Cut, Part, VideoLength
from tests.conftest import CLASSES, in_process, write_clip

MINI = ("--arch", "mini-clip", "--frames", "2", "--workers", "0")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of 48 and 24 frames at 12 frames per second, and a file with the class names."""
    root = tmp_path_factory.mktemp("own")
    write_clip(root / "v" / "long one.avi", CLASSES[0], frames=48)
    write_clip(root / "v" / "sub" / "short.avi", CLASSES[3], frames=24)
    (root / "v" / "notes.txt").write_text("not a video")
    (root / "names.txt").write_text("\n".join(CLASSES))
    return root


def predict(clips: Path, *arguments: object) -> int:
    return in_process("predict", *arguments, "--labels", clips / "names.txt", *MINI)


@pytest.fixture(scope="module")
def method() -> api.ClipMethod:
    return api.build_method("vanilla_clip", api.load_backbone("mini-clip"))


@pytest.mark.slow
def test_a_folder_is_all_its_videos_and_csv_has_one_line_for_each(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new folder" / "p.csv"
    assert predict(clips, clips / "v", "--top-k", "2", "--out", out, "--sheet", tmp_path / "s.jpg") == 0
    printed = capsys.readouterr()
    with out.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [Path(line["video"]).name for line in lines] == ["long one.avi", "short.avi"]
    assert list(lines[0]) == ["video", "start", "end", "class1", "p1", "class2", "p2", "problem"]
    for line, text in zip(lines, printed.out.splitlines(), strict=True):
        assert text == (
            f"{line['video']}: {line['class1']} {100 * float(line['p1']):.1f} %, "
            f"{line['class2']} {100 * float(line['p2']):.1f} %"
        )
    sheet = np.asarray(Image.open(tmp_path / "s.jpg").convert("RGB"))
    assert sheet.shape[0] > 2 * 128 and sheet.shape[1] > 6 * 128 and sheet.std() > 20


@pytest.mark.slow
def test_a_table_names_videos_and_a_broken_file_does_not_stop_the_others(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = clips / "list.csv"
    (clips / "broken.avi").write_bytes(b"no video")
    table.write_text("id,path,class\n1,v/long one.avi,a\n2,gone.avi,b\n3,broken.avi,b\n")
    assert predict(clips, table, "--out", tmp_path / "p.json", "--json") == 1
    rows = json.loads(capsys.readouterr().out)
    assert rows == json.loads((tmp_path / "p.json").read_text())
    assert [bool(row["problem"]) for row in rows] == [False, True, True] and rows[1]["problem"] == "does not exist"
    assert len(rows[0]["classes"]) == 4 and sum(p for _, p in rows[0]["classes"]) == pytest.approx(1.0)


@pytest.mark.slow
def test_windows_cover_the_video_and_are_plotted(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot, sheet = tmp_path / "scores.svg", tmp_path / "sheet.png"
    files = ("--out", tmp_path / "p.csv", "--plot", plot, "--sheet", sheet)
    assert predict(clips, clips / "v" / "long one.avi", "--window", "1.5", "--step", "1", *files, "--top-k", "1") == 0
    with (tmp_path / "p.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["start"], line["end"]) for line in lines] == [
        ("0.0", "1.5"), ("1.0", "2.5"), ("2.0", "3.5"), ("2.5", "4.0")
    ]  # fmt: skip
    text = plot.read_text()
    assert all(name in text for name in (*CLASSES, "long one.avi", "time (s)"))
    assert " [1-2.5 s]: " in capsys.readouterr().out and Image.open(sheet).size[1] > 4 * 128


@pytest.mark.slow
def test_a_part_sees_the_frames_of_the_part_only(clips: Path, method: api.ClipMethod) -> None:
    """The scores of a part are those of a file, and of an array, that holds these frames alone."""
    import decord

    video = clips / "v" / "long one.avi"
    frames = decord.VideoReader(str(video)).get_batch(range(12, 30)).asnumpy()
    options = dict(labels=CLASSES, views=api.Views(frames=3), workers=0)
    (part,) = api.predict(method, video, start=1.0, end=2.5, **options)
    (exact,) = api.predict(
        method, video, start=1.0, end=2.5, **{**options, "views": api.Views(frames=3, reader="exact")}
    )
    (array,) = api.predict(method, frames, **options)
    (whole,) = api.predict(method, video, **options)
    assert (part.start, part.end, str(array.video)) == (1.0, 2.5, "array 1")
    assert dict(part.classes) == pytest.approx(dict(array.classes), abs=1e-6)
    assert dict(exact.classes) == pytest.approx(dict(array.classes), abs=1e-6)
    assert dict(part.classes) != pytest.approx(dict(whole.classes), abs=1e-4)
    assert part.video == video


@pytest.mark.slow
def test_arrays_are_evaluated_with_their_classes(clips: Path, method: api.ClipMethod) -> None:
    frames = np.zeros((4, 40, 50, 3), np.uint8)
    (short,) = clips.joinpath("v", "sub").glob("*.avi")
    scores = api.evaluate(
        method, [(frames, CLASSES[0]), (short, CLASSES[3])], CLASSES, api.Views(frames=2), workers=0, quiet=True
    )
    assert scores.ids.shape == (2, 4) and not scores.failed


def test_arrays_are_cut_into_windows_and_files_are_mixed_with_arrays(clips: Path, method: api.ClipMethod) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (20, 40, 50, 3), dtype=np.uint8)
    options = dict(labels=CLASSES, views=api.Views(frames=2), workers=0)
    windows = api.predict(method, [frames], window=1.0, fps=10.0, **options)
    assert [(p.start, p.end) for p in windows] == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]
    mixed = api.predict(method, [clips / "v" / "sub", frames], top_k=1, **options)
    assert [(p.video.name, len(p.classes)) for p in mixed] == [("short.avi", 1), ("array 2", 1)]
    (rateless,) = api.predict(method, frames, start=1.0, **options)
    assert "states no frame rate" in rateless.problem


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (4, 3, 8, 8), (8, 8, 3)])
def test_arrays_of_another_shape_are_refused(method: api.ClipMethod, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"Array 1 has shape .* expected \(T, H, W, 3\) and uint8"):
        api.predict(method, np.zeros(shape, np.uint8), CLASSES)
    with pytest.raises(UserError, match="type float32"):
        api.predict(method, [np.zeros((2, 8, 8, 3), np.float32)], CLASSES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--start", "-1"), "start is -1, expected a number of seconds from 0"),
        (("--start", "nan"), "start is nan, expected"),
        (("--start", "2", "--end", "2"), "end is 2, expected a number of seconds after start, 2"),
        (("--end", "0"), "end is 0, expected"),
        (("--window", "0"), "window is 0, expected a number of seconds above 0"),
        (("--window", "inf"), "window is inf, expected"),
        (("--step", "1"), "step is 1 without a window"),
        (("--window", "1", "--step", "-1"), "step is -1, expected"),
        (("--window", "3", "--end", "2"), "window is 3 s, expected at most the length of the part"),
        (("--top-k", "0"), "--top-k is 0, expected a number of classes from 1"),
        (("--frames", "0"), "at least one frame"),
        (("--out", "p.txt"), "--out is p.txt, expected a file that ends in .csv, .json"),
        (("--out", "p"), "--out is p, expected"),
        (("--sheet", "s.svg"), "--sheet is s.svg, expected a file that ends in .png"),
        (("--window", "1", "--plot", "p.gif"), "--plot is p.gif, expected a file that ends in .png, .svg, .pdf"),
        (("--plot", "p.png"), "--plot needs sliding windows"),
    ],
)
def test_bad_values_are_one_error(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert in_process("predict", clips / "v", "--labels", clips / "names.txt", "--arch", "mini-clip", *options) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("error") == 1 and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--start", "4"), "the part begins at 4 s, the video ends at 4 s"),
        (("--end", "9"), "the part ends at 9 s, the video at 4 s"),
        (("--window", "5"), "the window of 5 s is longer than the video from 0 s on, 4 s"),
        (("--window", "2", "--start", "3"), "the window of 2 s is longer than the video from 3 s on, 1 s"),
        (("--window", "1", "--step", "1e-6"), "windows of 1 s, expected at most"),
    ],
)
def test_parts_outside_of_a_video_are_one_problem_and_write_nothing(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], problem: str
) -> None:
    assert predict(clips, clips / "v" / "long one.avi", *options, "--out", tmp_path / "p.csv") == 1
    printed = capsys.readouterr()
    assert problem in printed.err.splitlines()[0] and "not written: " in printed.err and not printed.out
    assert list(tmp_path.iterdir()) == []


def test_folders_tables_and_lists_name_their_videos(clips: Path, tmp_path: Path) -> None:
    (long,) = clips.joinpath("v").glob("*.avi")
    for name, text in (
        ("a.csv", "v/long one.avi\n"), ("b.csv", "\ufeffclass,Video\nx,v/long one.avi\n"),
        ("c.txt", "v/long one.avi 3\n"), ("d.txt", "\nv/long one.avi\n\n"),
        ("e.tsv", "path\tclass\nv/long one.avi\tx\n"),
    ):  # fmt: skip
        (clips / name).write_text(text, encoding="utf-8")
        assert find_videos([clips / name]) == [long], name
    (tmp_path / "list.txt").write_text("long one.avi 0\nno such file.avi 1\n")
    assert find_videos([tmp_path / "list.txt"], clips / "v") == [long, clips / "v" / "no such file.avi"]
    assert find_videos([clips / "v", long, tmp_path / "gone.avi"])[-1] == tmp_path / "gone.avi"
    for name, text in (("empty.csv", ""), ("head.csv", "path,class\n"), ("hole.csv", "class,path\na,b\nc\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=name):
            find_videos([tmp_path / name])
    with pytest.raises(UserError, match="holds no video file"):
        find_videos([tmp_path])


def test_the_last_window_ends_with_the_part() -> None:
    length = VideoLength(100, 10.0)
    assert [part.start for part in Cut(window=4.0, step=3.0).parts(length)] == [0.0, 3.0, 6.0]
    assert [part.start for part in Cut(window=4.0, step=5.0).parts(length)] == [0.0, 5.0, 6.0]
    assert Cut(start=2.0, end=6.0, window=4.0).parts(length) == (Part(2.0, 6.0),)
    assert VideoLength(3, 10.0).frames_of(Part(0.2, 0.21)) == (2, 3)
    assert VideoLength(30, 29.97).frames_of(Part(0.0, 1.001)) == (0, 30)


@pytest.mark.slow
def test_windows_of_a_large_file_are_decoded_in_one_pass(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader `exact` keeps no large file in memory; overlapping windows must not decode it from its begin again."""
    from harness.engine.video import exact_reader

    (path,) = clips.joinpath("v").glob("*.avi")
    windows = [np.arange(start, start + 12, 3) for start in range(0, 37, 4)]
    whole = exact_reader.SequentialVideo(str(path))
    expected = [whole.get_batch(window).asnumpy() for window in windows]
    monkeypatch.setattr(exact_reader, "KEEP_BYTES", 20 * 96 * 72 * 3)  # less than the file, more than a window
    large, decoded = exact_reader.SequentialVideo(str(path)), []
    original = large._decode

    def counted():
        for frame in original():
            decoded.append(1)
            yield frame

    monkeypatch.setattr(large, "_decode", counted)
    found = [large.get_batch(window).asnumpy() for window in windows]
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert len(decoded) <= 48 + 12
    np.testing.assert_array_equal(large.get_batch(windows[1]).asnumpy(), expected[1])  # back to the begin
    large.close()


def test_a_file_without_its_end_is_named(
    method: api.ClipMethod, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_clip(tmp_path / "whole.avi", CLASSES[0], seed=1)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    views = api.Views(frames=2, reader="exact")
    first, second = api.predict(method, [whole, cut], labels=CLASSES, views=views, workers=0)
    assert first.classes and second.classes
    (message,) = [record.getMessage() for record in caplog.records if "cut off" in record.getMessage()]
    assert str(cut) in message and "copy the file again" in message
