"""The files of `findings/inputs`: each gives what its index says is right."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.engine.video.decode_check import compare_readers
from harness.engine.video.exact_reader import SequentialVideo
from harness.engine.video.local_file import NotAVideoError
from tests.engine.numbered import FFMPEG, ffmpeg_frames
from tests.engine.test_decord_reader import outcome


@pytest.fixture(scope="module")
def inputs(shared: Path) -> Path:
    folder = shared / "findings" / "inputs"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder


def number(image: np.ndarray) -> int:
    """The number that `numbered.py` of the inputs paints: 12 bits in 4 x 3 blocks of the central square."""
    height, width = image.shape[:2]
    side = min(width, height)
    left, top = (width - side) // 2 + side // 8, (height - side) // 2 + side // 8
    wide, high = (side - side // 4) // 4, (side - side // 4) // 3
    value = 0
    for bit in range(12):
        row, column = divmod(bit, 4)
        y, x = top + row * high + high // 4, left + column * wide + wide // 4
        value |= int(image[y : y + high // 2, x : x + wide // 2].mean() > 127) << bit
    return value


def numbers(path: Path) -> list[int]:
    video = SequentialVideo(str(path))
    return [number(image) for image in video.get_batch(np.arange(len(video))).asnumpy()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hevc_gop30_numbered.mp4", range(120)),
        ("h264_in_avi_gop25_numbered.avi", range(150)),
        ("mpeg2_interlaced_numbered.mpg", range(120)),
        ("duplicated_pts.mkv", range(100)),
        ("tail_without_frames.mp4", range(200)),
        ("h264_plain.ts", range(100)),
        ("av1.mp4", range(60)),
    ],
)
def test_exact_gives_the_painted_numbers(inputs: Path, name: str, expected: range) -> None:
    assert numbers(inputs / name) == list(expected)


@pytest.mark.slow
def test_an_edit_list_is_honoured(inputs: Path) -> None:
    """52 frames as ffmpeg gives; the cut ends between frames that are stored in another order than they are shown."""
    found = numbers(inputs / "edit_list_hides_33.mp4")
    assert len(found) == 52 and found[:50] == list(range(33, 83)) and found[50:] == [84, 86]


@pytest.mark.slow
def test_a_corrupt_packet_costs_one_frame(inputs: Path) -> None:
    found = numbers(inputs / "corrupt_packet_100_of_300.avi")
    assert len(found) == 299 and found[-1] == 299 and found[:100] == list(range(100))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("two_video_streams.mp4", (200, 120, 160)),
        ("matrix_90.mp4", (20, 320, 240)),
        ("matrix_270_rounded.mp4", (20, 320, 240)),
        ("matrix_hflip.mp4", (20, 240, 320)),
        ("xvid_packed_numbered.avi", (198, 120, 160)),
        ("h264_422p10.mkv", (20, 240, 320)),
    ],
)
def test_exact_gives_the_stream_and_the_turn_of_ffmpeg(inputs: Path, name: str, shape: tuple[int, int, int]) -> None:
    video = SequentialVideo(str(inputs / name))
    first = video.get_batch(np.array([0])).asnumpy()
    assert (len(video), *first.shape[1:3]) == shape


@pytest.mark.slow
@pytest.mark.skipif(FFMPEG is None, reason="compares with the command line of ffmpeg, which is not installed")
def test_exact_gives_the_frames_of_ffmpeg(inputs: Path) -> None:
    names = [path for path in sorted(inputs.iterdir()) if path.suffix in (".avi", ".mkv", ".mp4", ".mpg", ".ts")]
    compared = 0
    for path in names:
        try:
            video = SequentialVideo(str(path))
        except NotAVideoError:
            continue
        chosen = np.linspace(0, len(video) - 1, 8).astype(int)
        images = video.get_batch(chosen).asnumpy()
        expected = ffmpeg_frames(path, *images.shape[1:3])
        assert len(expected) == len(video), path.name
        assert int(np.abs(expected[chosen].astype(int) - images).max()) <= 2, path.name
        compared += 1
    assert compared == 15


def test_a_mirror_is_a_mirror(inputs: Path) -> None:
    """The same frames as those of the file without its matrix, left to right."""
    flat = (inputs / "matrix_90.mp4").read_bytes()
    turned = SequentialVideo(str(inputs / "matrix_90.mp4")).get_batch(np.array([3])).asnumpy()[0]
    mirrored = SequentialVideo(str(inputs / "matrix_hflip.mp4")).get_batch(np.array([3])).asnumpy()[0]
    assert len(flat) == (inputs / "matrix_hflip.mp4").stat().st_size
    np.testing.assert_array_equal(mirrored, np.rot90(turned)[:, ::-1])


@pytest.mark.parametrize("name", ["jpeg_named.mp4", "cover_art.mp3", "ffconcat_named.mp4"])
@pytest.mark.parametrize("reader", ["decord", "exact"])
def test_pictures_and_scripts_are_refused(inputs: Path, name: str, reader: str) -> None:
    reason = str(outcome(inputs / name, reader))
    assert reason.startswith(("the file is not a video, but", "the file has no video stream, but a cover picture"))
    with pytest.raises(NotAVideoError):
        SequentialVideo(str(inputs / name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["h264_plain.ts", "av1.mp4"])
def test_the_message_names_the_way_out(inputs: Path, name: str) -> None:
    assert str(outcome(inputs / name, "decord", 32)).endswith("; the reader exact does")
    assert outcome(inputs / name, "exact", 32) == 32


@pytest.mark.slow
@pytest.mark.parametrize("name", ["matrix_90.mp4", "matrix_270_rounded.mp4", "h264_422p10.mkv"])
def test_the_comparison_has_no_false_alarm(inputs: Path, name: str) -> None:
    check = compare_readers(inputs / name)
    assert (check.wrong, check.problem) == (0, "")


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("hevc_gop30_numbered.mp4", 24), ("h264_in_avi_gop25_numbered.avi", 27),
        *(pytest.param(name, least, marks=pytest.mark.slow) for name, least in (
            ("xvid_packed_numbered.avi", 16), ("mpeg2_interlaced_numbered.mpg", 26),
            ("edit_list_hides_33.mp4", 12),
        )),
    ],
)  # fmt: skip
def test_the_comparison_finds_other_frames(inputs: Path, name: str, least: int) -> None:
    assert compare_readers(inputs / name).wrong >= least


@pytest.mark.slow
@pytest.mark.skipif(FFMPEG is None, reason="the index was made with the command line of ffmpeg, which is not installed")
def test_ffmpeg_refuses_what_the_reader_refuses_to_follow(inputs: Path, tmp_path: Path) -> None:
    """The concat script makes ffmpeg open a file beside it, which the readers do not."""
    done: Any = subprocess.run(
        [str(FFMPEG), "-loglevel", "error", "-i", str(inputs / "ffconcat_named.mp4"), "-f", "null", "-"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "secret.mkv" in done.stderr
