"""Generated videos with painted frame numbers: the reader `exact` gives frame i for index i, and ffmpeg's frames.

The matrix is codec x container x key frames x B-frames, display matrices, damage. Some of each kind run by default.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from harness.engine.video.decode_check import compare_readers
from harness.engine.video.exact_reader import SequentialVideo
from tests.engine.numbered import FFMPEG, Coding, damaged, ffmpeg_frames, paint, read, with_matrix, write

FRAMES = 40
QUIET = (("x265-params", "log-level=none:pools=none:frame-threads=1"),)
OPEN_GOP = (("x264-params", "open-gop=1"),)
FAST = [
    Coding("libx264", "mp4", b_frames=2), Coding("libx264", "avi", gop=10), Coding("libx264", "ts", b_frames=2),
    Coding("libx265", "mp4", gop=10, b_frames=3, options=QUIET), Coding("mpeg4", "avi", b_frames=2),
    Coding("mpeg2video", "mpg", b_frames=2), Coding("mpeg1video", "mpg"), Coding("libvpx-vp9", "webm"),
    Coding("wmv2", "wmv"), Coding("mjpeg", "avi", pix_fmt="yuvj420p"), Coding("flv", "flv"),
    Coding("prores_ks", "mov", pix_fmt="yuv422p10le"), Coding("libx264", "mkv", pix_fmt="yuv420p10le"),
]  # fmt: skip
_ALL = [
    *(Coding("libx264", extension, gop, b) for extension in ("mp4", "mkv", "mov", "ts", "flv", "m4v")
      for gop, b in ((1, 0), (250, 0), (12, 3))),
    *(Coding("libx264", "avi", gop) for gop in (1, 5, 250)),
    *(Coding("libx264", extension, 10, 3, options=OPEN_GOP) for extension in ("mp4", "mkv", "ts")),
    *(Coding("libx265", extension, gop, b, options=QUIET) for extension in ("mp4", "mkv", "ts")
      for gop, b in ((10, 4), (250, 0))),
    *(Coding("mpeg4", extension, gop, b) for extension in ("avi", "mp4", "mkv", "mov")
      for gop, b in ((12, 2), (250, 0))),
    *(Coding("mpeg2video", extension, 12, b) for extension in ("mpg", "ts", "mkv", "avi") for b in (0, 2)),
    *(Coding("mpeg1video", extension, 12, 2) for extension in ("mpg", "mkv")),
    *(Coding("libvpx", extension, gop) for extension in ("webm", "mkv") for gop in (5, 128)),
    *(Coding("libvpx-vp9", extension, gop) for extension in ("webm", "mp4", "mkv") for gop in (5, 128)),
    *(Coding(codec, extension) for codec in ("wmv1", "wmv2", "msmpeg4") for extension in ("avi", "wmv")),
    *(Coding("libx264", "mp4", 12, 2, pix_fmt) for pix_fmt in ("yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le")),
    Coding("libx265", "mp4", 12, 2, "yuv420p10le", QUIET), Coding("ffv1", "mkv"), Coding("ffv1", "avi"),
    Coding("huffyuv", "avi", pix_fmt="yuv422p"), Coding("png", "mov", pix_fmt="rgb24"), Coding("rawvideo", "avi"),
    Coding("snow", "avi"), Coding("gif", "gif", pix_fmt="rgb8"), Coding("qtrle", "mov", pix_fmt="rgb24"),
]  # fmt: skip
MORE = [coding for coding in dict.fromkeys(_ALL) if coding not in FAST]


def images(path: Path) -> NDArray[np.uint8]:
    """All frames by the reader `exact`, asked for out of order."""
    video = SequentialVideo(str(path))
    order = np.random.default_rng(0).permutation(len(video))
    return video.get_batch(order).asnumpy()[np.argsort(order)]


def equal_to_ffmpeg(path: Path, found: NDArray[np.uint8]) -> bool:
    """Whether ffmpeg gives equal frames, up to the rounding of two builds; True where ffmpeg is not installed."""
    if FFMPEG is None:
        return True
    expected = ffmpeg_frames(path, *found.shape[1:3])
    return expected.shape == found.shape and int(np.abs(expected.astype(int) - found).max()) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("coding", FAST, ids=str)
def test_frame_i_for_index_i(tmp_path: Path, coding: Coding) -> None:
    found = images(write(tmp_path / f"video.{coding.extension}", coding, range(FRAMES)))
    assert [read(image) for image in found] == list(range(FRAMES))


@pytest.mark.slow
@pytest.mark.parametrize("coding", FAST + MORE, ids=str)
def test_frame_i_for_index_i_as_ffmpeg(tmp_path: Path, coding: Coding) -> None:
    path = write(tmp_path / f"video.{coding.extension}", coding, range(FRAMES))
    found = images(path)
    assert [read(image) for image in found] == list(range(FRAMES))
    assert equal_to_ffmpeg(path, found)


@pytest.mark.slow
@pytest.mark.skipif(FFMPEG is None, reason="compares with the command line of ffmpeg, which is not installed")
def test_ffmpeg_is_compared(tmp_path: Path) -> None:
    """The comparison of this file notices another frame."""
    path = write(tmp_path / "video.mp4", FAST[0], range(FRAMES))
    assert equal_to_ffmpeg(path, images(path)) and not equal_to_ffmpeg(path, images(path)[::-1])


# display matrices ---------------------------------------------------------------------------------------------------

ONE = 65536
MATRICES = {
    "upright": ((ONE, 0, 0, ONE), lambda image: image),
    "90": ((0, ONE, -ONE, 0), lambda image: np.rot90(image, -1)),
    "180": ((-ONE, 0, 0, -ONE), lambda image: np.rot90(image, 2)),
    "270": ((0, -ONE, ONE, 0), lambda image: np.rot90(image)),
    "270 rounded": ((2, -ONE, ONE, 2), lambda image: np.rot90(image)),
    "left to right": ((-ONE, 0, 0, ONE), lambda image: image[:, ::-1]),
    "upside down": ((ONE, 0, 0, -ONE), lambda image: image[::-1]),
    "transposed": ((0, ONE, ONE, 0), lambda image: image.transpose(1, 0, 2)),
    "transposed over the other diagonal": ((0, -ONE, -ONE, 0), lambda image: np.rot90(image.transpose(1, 0, 2), 2)),
    "by one degree": ((65526, 1144, -1144, 65526), lambda image: image),
    "by five degrees": ((65287, 5712, -5712, 65287), lambda image: image),
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_display_matrix_turns_and_mirrors(tmp_path: Path, name: str) -> None:
    matrix, turn = MATRICES[name]
    flat = write(tmp_path / "flat.mp4", Coding("libx264", "mp4"), range(3))
    path = with_matrix(tmp_path / "turned.mp4", flat, *matrix)
    found, expected = images(path), np.stack([turn(image) for image in images(flat)])
    np.testing.assert_array_equal(found, expected)
    assert [read(image) for image in images(flat)] == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p10le", "yuv444p"])
@pytest.mark.parametrize("name", [name for name in MATRICES if "five" not in name])
def test_a_display_matrix_as_ffmpeg(tmp_path: Path, name: str, pix_fmt: str) -> None:
    """All but five degrees: ffmpeg turns by any angle above one degree, and fills the corners with black."""
    flat = write(tmp_path / "flat.mp4", Coding("libx264", "mp4", pix_fmt=pix_fmt), range(3))
    path = with_matrix(tmp_path / "turned.mp4", flat, *MATRICES[name][0])
    assert equal_to_ffmpeg(path, images(path))


# damage -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["avi", "mp4"])
def test_a_corrupt_packet_is_skipped(tmp_path: Path, extension: str) -> None:
    whole = write(tmp_path / f"whole.{extension}", Coding("mpeg4", extension, gop=6), range(FRAMES))
    path = damaged(tmp_path / f"damaged.{extension}", whole, 20)
    video, found = SequentialVideo(str(path)), images(path)
    assert (len(video), video.skipped) == (FRAMES - 1, 1)
    numbers = [read(image) for image in found]
    assert numbers[:20] == list(range(20)) and numbers[23:] == list(range(24, FRAMES))
    assert equal_to_ffmpeg(path, found)


@pytest.mark.slow
@pytest.mark.parametrize("b_frames", [0, 2])
def test_the_decoder_is_flushed_after_a_fault(tmp_path: Path, b_frames: int) -> None:
    """The last packets do not decode: the frames that the decoder still holds are frames of the video."""
    path = write(tmp_path / "video0.mp4", Coding("libx264", "mp4", b_frames=b_frames), range(20))
    for number in range(16, 20):
        path = damaged(tmp_path / f"video{number}.mp4", path, number)
    found = images(path)
    numbers = [read(image) for image in found]
    assert numbers[:14] == list(range(14)) and len(numbers) >= 16 and equal_to_ffmpeg(path, found)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [((96, 64), (64, 96)), ((64, 64), (192, 128))])
def test_frames_of_another_size_are_scaled_to_the_first(
    tmp_path: Path, first: tuple[int, int], second: tuple[int, int]
) -> None:
    parts = [
        write(tmp_path / f"{i}.h264", Coding("libx264", "h264"), range(8), s) for i, s in enumerate((first, second))
    ]
    path = tmp_path / "both.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    found = images(path)
    assert found.shape == (16, first[1], first[0], 3)
    assert [read(image) for image in found[:8]] == list(range(8))
    assert equal_to_ffmpeg(path, found)


@pytest.mark.slow
@pytest.mark.parametrize("large_is_default", [False, True])
def test_the_stream_that_ffmpeg_chooses(tmp_path: Path, large_is_default: bool) -> None:
    """A default stream before others, then the larger one."""
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, size in zip(streams, ((48, 32), (96, 64)), strict=True):
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        streams[large_is_default].disposition = av.stream.Disposition.default
        for number in range(12):
            for stream, count in zip(streams, (1, 2), strict=True):
                for _ in range(count):
                    image = paint(number, stream.width, stream.height)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())
    found = images(path)
    assert found.shape == ((24, 64, 96, 3) if large_is_default else (12, 32, 48, 3))
    assert equal_to_ffmpeg(path, found)


def test_the_matrix_has_sixty_clips() -> None:
    assert len({str(coding) for coding in FAST + MORE}) == len(FAST + MORE) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p10le"])
def test_the_comparison_tells_other_frames_from_other_rounding(tmp_path: Path, pix_fmt: str) -> None:
    """With and without scaled chroma: frames of H.264 are equal, some of HEVC with several key frames are not."""
    equal = write(tmp_path / "equal.mp4", Coding("libx264", "mp4", b_frames=2, pix_fmt=pix_fmt), range(FRAMES))
    other = write(tmp_path / "other.mp4", Coding("libx265", "mp4", 10, 3, pix_fmt, QUIET), range(FRAMES))
    assert (compare_readers(equal).wrong, compare_readers(equal).problem) == (0, "")
    assert compare_readers(other).wrong >= 5
