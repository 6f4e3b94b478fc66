"""The numbers of attention maps, and which frames a figure shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from reports.attention_figure import ClipAttention, MethodAttention, draw_attention


def maps_at(*patches: int, frames: int = 2) -> NDArray[np.float32]:
    """(frames, 2, 2) maps with equal shares of some of the four patches."""
    shares = np.zeros((frames, 4), np.float32)
    shares[:, list(patches)] = 1 / len(patches)
    return shares.reshape(frames, 2, 2)


def test_spread_and_moved_attention() -> None:
    everywhere, one, other = (MethodAttention("m", maps_at(*patches)) for patches in ((0, 1, 2, 3), (0,), (3,)))
    assert everywhere.spread == pytest.approx(1.0) and one.spread == pytest.approx(0.25)
    assert MethodAttention("m", maps_at(1, 2)).spread == pytest.approx(0.5)
    assert one.moved(other) == pytest.approx(1.0) and one.moved(one) == 0.0
    assert one.moved(everywhere) == pytest.approx(0.75) == everywhere.moved(one)
    assert everywhere.times_uniform == pytest.approx(np.ones((2, 2, 2)))


@pytest.mark.slow
def test_a_long_clip_shows_frames_of_its_whole_length(tmp_path: Path) -> None:
    frames = np.zeros((32, 8, 8, 3), np.uint8)
    methods = (
        MethodAttention("vanilla CLIP", maps_at(0, 1, 2, 3, frames=32)),
        MethodAttention("$a$ <b>", maps_at(0, 1, frames=32)),
    )
    clip = ClipAttention(frames, tuple(f"{n} s" for n in range(32)), methods)
    assert clip.columns == [2, 6, 10, 14, 18, 22, 26, 30]
    assert clip.caption.startswith(
        "vanilla CLIP spreads its attention over 100 % of the patches; $a$ <b> moves 50 % of it and spreads over 50 %"
    )
    assert "8 of 32 frames." in clip.caption
    draw_attention(clip, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == 2070 and picture.height < 1400
