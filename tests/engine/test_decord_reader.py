"""The published reader: several views in ascending order as the original, and refusals with a reason and a way out."""

from __future__ import annotations

import math
from pathlib import Path

import av
import decord
import numpy as np
import pytest

from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw
from harness.engine.video.decode import Undecodable, decode
from harness.engine.video.transforms import SampleViews, seeded_draws
from harness.spec import Views
from tests.engine.numbered import Coding, damaged, write


def outcome(path: Path, reader: str, frames: int = 4) -> int | str:
    """The number of decoded frames of a clip, or the reason why it was not decoded."""
    pipeline = mm_pipeline.eval_pipeline(Views(frames=frames, reader=reader), 32)
    clip = decode(mm_pipeline.ListVideoDataset([(path, 0)], pipeline, 0), Draw(0))
    return clip.reason if isinstance(clip, Undecodable) else len(clip["frames"])


@pytest.mark.parametrize(
    "name",
    [
        "Golf_Tips_-_Hit_The_Driver_300+_Yards!!!_golf",
        pytest.param("hitting baseball/baseball.mp4", marks=pytest.mark.slow),
    ],
)
def test_several_views_are_decoded_in_ascending_order(shared: Path, name: str) -> None:
    """As ViFi-CLIP's DecordDecode: each unique index once, in ascending order, then mapped back."""
    file = next(p for p in sorted((shared / "videos").rglob("*.*")) if name in str(p))
    differing = 0
    for seed in range(2):
        drawn = decord.VideoReader(str(file), num_threads=1)
        with seeded_draws(seed):
            indices = SampleViews(8, 4, "random")({"total_frames": len(drawn)})["frame_inds"]
        unique, positions = np.unique(indices, return_inverse=True)
        reader = decord.VideoReader(str(file), num_threads=1)
        original = np.stack([reader[int(i)].asnumpy() for i in unique])[positions]
        step = mm_pipeline.TRANSFORMS.build({"type": "HarnessDecode"})
        clip = {"filename": str(file), "video_reader": decord.VideoReader(str(file), num_threads=1)}
        found = np.stack(step({**clip, "frame_inds": indices})["imgs"])
        np.testing.assert_array_equal(found, original)
        differing += not np.array_equal(drawn.get_batch(indices).asnumpy(), original)
    assert differing, "decord returns equal frames in any order: the order is no longer tested"


def test_frames_of_a_repeated_index_are_separate(tmp_path: Path) -> None:
    """A transform that changes an image in place must not change another one."""
    path = write(tmp_path / "two.mp4", Coding("libx264", "mp4"), range(2))
    step = mm_pipeline.TRANSFORMS.build({"type": "HarnessDecode"})
    reader = decord.VideoReader(str(path), num_threads=1)
    images = step({"filename": str(path), "video_reader": reader, "frame_inds": np.array([1, 0, 1])})["imgs"]
    images[0][:] = 0
    assert images[2].any()


@pytest.mark.parametrize(
    ("name", "coding", "content"),
    [
        ("av1.mp4", Coding("libsvtav1", "mp4"), "libdav1d in mov"),
        ("moving.gif", Coding("gif", "gif", pix_fmt="rgb8"), "gif in gif"),
        ("wide.avi", Coding("ffv1", "avi", pix_fmt="yuv420p10le"), ""),
    ],
)
def test_a_codec_that_decord_lacks_names_the_reader_that_works(
    tmp_path: Path, name: str, coding: Coding, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVT_LOG", "0")
    path = write(tmp_path / name, coding, range(12))
    if content:
        assert outcome(path, "decord") == f"decord does not decode {content}; the reader exact does"
    assert outcome(path, "exact") == 4


def picture(path: Path, codec: str, pix_fmt: str) -> None:
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream(codec, rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        image = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(image), *stream.encode()])


NOT_VIDEOS = {
    "": "the file is empty",
    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n": "a playlist of other files",
    "ffconcat version 1.0\nfile other.mp4\n": "a concat script that names other files",
    "\ufeff\n ffconcat version 1.0\nfile other.mp4\n": "a concat script that names other files",
    "<!DOCTYPE html><p>Not found</p>": "a web page",
    "version https://git-lfs.github.com/spec/v1\n": "git lfs pull",
    '<?xml version="1.0"?><MPD/>': "but text",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n": "but text",
}


@pytest.mark.parametrize("reader", ["decord", "exact"])
def test_other_files_are_refused_by_name(tmp_path: Path, reader: str) -> None:
    write(tmp_path / "other.mp4", Coding("libx264", "mp4"), range(2))
    path = tmp_path / "clip.mp4"
    for content, reason in NOT_VIDEOS.items():
        path.write_text(content, encoding="utf-8")
        assert reason in str(outcome(path, reader)), content
    for codec, pix_fmt, kind in (("mjpeg", "yuvj420p", "jpeg"), ("png", "rgb24", "png"), ("bmp", "bgr24", "bmp")):
        picture(path, codec, pix_fmt)
        assert outcome(path, reader) == f"the file is not a video, but a picture ({kind})"
    with av.open(str(path), "w", format="gif") as container:
        stream = container.add_stream("gif", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
        image = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(image), *stream.encode()])
    assert "gif" in str(outcome(path, "exact"))
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux([*sound.encode(frame), *sound.encode()])
    assert outcome(path, reader) == "the file has no video stream"
    path.write_bytes(bytes(range(256)) * 20)
    assert str(outcome(path, reader)).endswith("the file is damaged, or not a video; no reader decodes it")


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["avi", "mkv", "wmv"])
def test_a_cut_off_file_is_named_by_decord(tmp_path: Path, extension: str) -> None:
    """decord would predict the whole clip from its beginning, without a message."""
    coding = Coding("wmv2" if extension == "wmv" else "mpeg4", extension)
    whole = write(tmp_path / f"whole.{extension}", coding, range(60))
    size = whole.stat().st_size
    assert outcome(whole, "decord") == 4
    cut = tmp_path / f"cut.{extension}"
    for share in (0.3, 0.6, 0.9):
        cut.write_bytes(whole.read_bytes()[: math.ceil(size * share)])
        reason, left = str(outcome(cut, "decord")), outcome(cut, "exact")
        assert reason.startswith("the file is cut off: its header states")
        assert reason.endswith("the reader exact decodes the frames that are left") == (left == 4)
    assert left == 4


@pytest.mark.parametrize("reader", ["decord", "exact"])
@pytest.mark.parametrize("name", ["20:06/clip:1.mp4", "http:/x.mp4", "a#b?c=1&d/%41.mp4", "-dash/|pipe:0.mp4"])
def test_a_colon_is_part_of_a_name(tmp_path: Path, reader: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    path.parent.mkdir()
    write(path.with_name("x.mp4"), Coding("libx264", "mp4"), range(3)).rename(path)
    monkeypatch.chdir(tmp_path)
    assert outcome(path, reader) == 4
    assert outcome(Path(name), reader) == 4


@pytest.mark.slow
def test_a_damaged_packet_names_the_reader_that_skips_it(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.avi", Coding("mpeg4", "avi", gop=6), range(40))
    path = damaged(tmp_path / "damaged.avi", whole, 20)
    assert str(outcome(path, "decord", 32)).endswith("the reader exact does")
    assert outcome(path, "exact", 32) == 32
