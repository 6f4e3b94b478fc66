"""Clips per second of the decoder and the published pipeline, on rendered video files."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

FILES, LENGTH, WIDTH, HEIGHT = 8, 120, 320, 240


def render(path: Path, seed: int) -> Path:
    """Write an MPEG-4 video of four seconds in the size of HMDB-51: a bright square that moves over smooth noise."""
    import av

    rng = np.random.default_rng(seed)
    ground = np.kron(rng.integers(30, 160, (HEIGHT // 16, WIDTH // 16, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = 800_000
        for i in range(LENGTH):
            image = np.roll(ground, i, axis=1)
            x, y = int(20 + 2 * i) % (WIDTH - 40), int(100 + 60 * np.sin(i / 9))
            image[y : y + 40, x : x + 40] = rng.integers(200, 256, 3)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def decode_rates(quick: bool = False) -> list[dict[str, Any]]:
    """Clips/s for 8, 16 and 32 frames at 224 pixels with one worker and with the default number, or the problem."""
    try:
        from harness.engine.video.decode import default_workers
        from harness.engine.video.loaders import eval_loader, in_batches
        from harness.machine.compute_options import ComputeOptions
        from harness.spec import Views
    except ImportError as error:
        return [{"problem": f"the video pipeline cannot be imported: {error}"}]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = [render(Path(folder) / f"{i}.mp4", i) for i in range(2 if quick else FILES)]
        for frames in (8,) if quick else (8, 16, 32):
            for workers in sorted({1, default_workers(gpu=torch.cuda.is_available())}):
                clips = [(files[i % len(files)], 0) for i in range((8 if quick else 32) * workers)]
                loader = eval_loader(
                    clips,
                    Views(frames=frames),
                    224,
                    in_batches(len(clips), 8),
                    ComputeOptions(workers=workers, quiet=True),
                    0,
                )
                started = time.perf_counter()
                done = sum(len(batch.rows) for batch in loader)
                rate = done / (time.perf_counter() - started)
                rows.append({"frames": frames, "workers": workers, "clips": done, "clips_per_second": round(rate, 2)})
    return rows
