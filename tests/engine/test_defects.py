"""The eleven defects of the stack (docs/stack.md): each is shown where it can be, and each is handled."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import decord
import numpy as np
import pytest
import torch
from mmaction.evaluation import mean_class_accuracy, top_k_accuracy
from mmengine import registry
from mmengine.dataset import worker_init_fn
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import MessageHub
from mmengine.optim import AmpOptimWrapper
from torch.utils.data import DataLoader, Dataset

from harness.engine.compute.device import Device
from harness.engine.training import mm_runner
from harness.engine.training.mm_hooks import PlainCheckpoints
from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw
from harness.engine.video.exact_reader import SequentialVideo
from harness.engine.video.loaders import Row, TrainingClips, eval_loader, fit_loader
from harness.machine import installation_check as environment_check
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views
from results.statistics.metrics import accuracies, rank
from tests.conftest import ROOT, machine_free, write_clip
from tests.engine.conftest import LABELS, RECIPE, VIEWS, tiny_method


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT, env=machine_free(), capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def in_a_fork(action: Callable[[], None]) -> str:
    """Run an action in a forked process; its traceback, empty if it ended without an error."""
    end, begin = os.pipe()
    if (child := os.fork()) == 0:
        report = "the process ended"
        try:
            action()
            report = ""
        except BaseException:
            report = traceback.format_exc()
        finally:
            os.write(begin, report.encode()[-4000:])
            os._exit(0)
    os.close(begin)
    with os.fdopen(end, "rb") as pipe:
        report = pipe.read().decode()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return report


def test_d01_the_version_of_mmcv_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """mmaction2 asserts mmcv < 2.2 when imported and declares no mmcv; our requirement and `check env` do."""
    plain = [r for r in importlib.metadata.requires("mmaction2") or [] if r.startswith("mmcv") and "extra" not in r]
    assert plain == []
    installed = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda n: "2.2.0" if n == "mmcv-lite" else installed(n))
    states = environment_check.check_environment(imports=False)
    state = next(s for s in states if s.name == "mmcv-lite")
    assert state.state == "bad"
    assert f"'mmcv-lite=={state.tested}'" in environment_check.fix_command(states)
    assert state.tested.startswith("2.1")


@pytest.mark.slow
def test_d12_transformers_beside_mmaction2() -> None:
    """With transformers 5 installed mmaction2 would import names that it does not have."""
    pytest.importorskip("transformers", reason="needs the extra hf")
    from harness.engine.video import mm_setup

    mm_setup.ensure_action_models()
    from mmaction.models import Recognizer2D
    from mmaction.registry import MODELS

    assert MODELS.get("Recognizer2D") is Recognizer2D


def test_d02_d03_models_of_mmaction2_import() -> None:
    """The wheel lacks one localizer and does not declare `importlib_metadata`: with our module its models import."""
    assert in_a_fork(_import_models_of_mmaction2_anew) == ""


def _import_models_of_mmaction2_anew() -> None:
    """Import as a process does that has torch and mmengine only, which take most of the seconds of an import."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("mmaction", "importlib_metadata") or name.endswith("video.mm_setup"):
            del sys.modules[name]
    for value in vars(registry).values():
        if isinstance(value, registry.Registry):
            value.children.pop("mmaction", None)
    sys.modules["importlib_metadata"] = None  # type: ignore[assignment]  # hidden: its import fails
    importlib.import_module("harness.engine.video.mm_setup").ensure_action_models()
    from mmaction.models import Recognizer2D

    assert Recognizer2D is sys.modules["mmaction.models"].Recognizer2D
    assert sys.modules["importlib_metadata"].__name__ == "importlib.metadata"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import mmaction.models", "No module named 'mmaction.models.localizers.drn"),
        (
            "import sys; sys.modules['importlib_metadata'] = None; import mmaction.utils.dependency",
            "importlib_metadata",
        ),
    ],
    ids=["d02", "d03"],
)
def test_d02_d03_stock_models_do_not_import(code: str, error: str) -> None:
    stock = python(code)
    assert stock.returncode == 1
    assert error in stock.stderr


def stub_runner() -> Any:
    hub = MessageHub(f"d04-{os.getpid()}")
    for loss in (0.5, 0.25):
        hub.update_scalar("train/loss", loss)
    hub.update_info("seen", np.int64(3))
    return SimpleNamespace(message_hub=hub)


def test_d04_checkpoints_load_without_unpickling(tmp_path: Path) -> None:
    """mmengine pickles its history objects, which torch refuses to load; ours are plain and come back whole."""
    runner = stub_runner()
    stock = {
        "message_hub": runner.message_hub.state_dict(), "meta": {"epoch": 1, "cfg": "", "n": np.float64(0.5)},
        "state_dict": {"method.a": torch.ones(2), "method.frozen": torch.ones(2)},
    }  # fmt: skip
    torch.save(stock, tmp_path / "stock.pth")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        torch.load(tmp_path / "stock.pth", weights_only=True)

    hook = PlainCheckpoints(lambda name: name != "method.frozen")
    hook.before_save_checkpoint(runner, stock)
    torch.save(stock, tmp_path / "plain.pth")
    loaded = torch.load(tmp_path / "plain.pth", weights_only=True)
    assert set(loaded["state_dict"]) == {"method.a"}
    assert loaded["meta"] == {"epoch": 1, "n": 0.5}
    hook.after_load_checkpoint(runner, loaded)
    fresh = MessageHub(f"d04-fresh-{os.getpid()}")
    fresh.load_state_dict(loaded["message_hub"])
    assert fresh.get_scalar("train/loss").current() == 0.25
    assert fresh.get_scalar("train/loss").mean() == 0.375
    assert fresh.get_info("seen") == 3


def killed_while_writing(backend: LocalBackend, path: Path) -> None:
    """Write 4 MiB in a child that the system kills when the file has grown to 1 MiB."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        backend.put(b"n" * 2**22, path)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGXFSZ


def test_d05_a_kill_while_writing_leaves_no_torn_checkpoint(tmp_path: Path) -> None:
    """mmengine's backend writes in place; ours leaves the old file as it was. The Runner uses ours."""
    old = b"o" * 2**21
    for folder, backend in (("stock", LocalBackend()), ("ours", mm_runner.AtomicLocalBackend())):
        path = tmp_path / folder / "epoch_2.pth"
        path.parent.mkdir()
        path.write_bytes(old)
        killed_while_writing(backend, path)
    assert (tmp_path / "stock" / "epoch_2.pth").read_bytes() == b"n" * 2**20
    assert (tmp_path / "ours" / "epoch_2.pth").read_bytes() == old
    assert isinstance(get_file_backend(str(tmp_path / "epoch_1.pth")), mm_runner.AtomicLocalBackend)
    get_file_backend("x").put_text("text", tmp_path / "last_checkpoint")
    assert (tmp_path / "last_checkpoint").read_text() == "text"


@pytest.fixture(scope="module")
def truncated(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """AVI files cut at three places: the container of UCF-101 and HMDB-51."""
    folder, files = tmp_path_factory.mktemp("truncated"), []
    for fourcc in ("MJPG", "XVID"):
        data = write_clip(folder / f"{fourcc}.avi", frames=40, fourcc=fourcc).read_bytes()
        for percent in (30, 60, 90):
            files.append(folder / f"{fourcc}_{percent}.avi")
            files[-1].write_bytes(data[: len(data) * percent // 100])
    return files


FROM_MEMORY = "import decord, io, sys; decord.VideoReader(io.BytesIO(open(sys.argv[1], 'rb').read()), num_threads=1)[3]"


def test_d06_truncated_avi_files_are_opened_by_path(truncated: list[Path]) -> None:
    """Opened from memory, as mmaction2 does, they crash the process. decord refuses them by name, and does not predict
    the whole clip from its beginning; `exact` decodes the frames that are left, as ffmpeg does."""
    assert python(FROM_MEMORY, truncated[0]).returncode == -signal.SIGSEGV
    pipeline = mm_pipeline.eval_pipeline(VIEWS, 32)
    assert pipeline[0]["type"] == "HarnessDecordInit"
    rows: list[Row] = [(path, 0) for path in truncated]
    batch = next(iter(eval_loader(rows, VIEWS, 32, [list(range(len(rows)))], ComputeOptions(workers=2), 0)))
    assert batch.rows == [] and sorted(batch.failed) == list(range(6))
    for clip in batch.failed.values():
        assert clip.reason.startswith("the file is cut off: its header states")
        assert clip.reason.endswith("the reader exact decodes the frames that are left")
    exact = Views(frames=2, reader="exact")
    batch = next(iter(eval_loader(rows, exact, 32, [list(range(len(rows)))], ComputeOptions(workers=2), 0)))
    assert batch.failed == {}
    assert batch.frames.shape == (6, 2, 3, 32, 32)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cut made without re-encoding, as is common for Kinetics: it declares frames whose references were left out."""
    folder = tmp_path_factory.mktemp("cut")
    with av.open(str(folder / "whole.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 96, 72, "yuv420p", 60
        for i in range(60):
            image = np.full((72, 96, 3), 4 * i, np.uint8)
            image[:, :i] = 255
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())
    with av.open(str(folder / "whole.mp4")) as source, av.open(str(folder / "cut.mp4"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in list(source.demux(video=0))[5:]:
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    return folder / "cut.mp4"


def test_d07_frames_that_cannot_be_decoded_are_not_made_up(cut: Path) -> None:
    """decord repeats stale frames for those that are missing, in silence; the reader `exact` counts what decodes."""
    stock = decord.VideoReader(str(cut), num_threads=1)
    with av.open(str(cut)) as container:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert len(stock) > len(decoded)
    made_up = stock.get_batch(range(len(stock))).asnumpy()
    assert (made_up[1:] == made_up[:-1]).all(axis=(1, 2, 3)).sum() >= len(stock) - len(decoded) - 1
    assert not (decoded[1:] == decoded[:-1]).all(axis=(1, 2, 3)).any()

    exact = SequentialVideo(str(cut))
    assert len(exact) == len(decoded)
    np.testing.assert_array_equal(exact.get_batch(np.arange(len(exact))).asnumpy(), decoded)
    batch = next(
        iter(eval_loader([(cut, 0)], Views(frames=12, reader="exact"), 64, [[0]], ComputeOptions(workers=0), 0))
    )
    assert batch.frames is not None and len(torch.unique(batch.frames[0], dim=0)) == 12


def test_d08_mean_class_accuracy_is_over_the_classes_of_the_list() -> None:
    """mmaction2 averages over predicted classes too: 1/6 instead of 1/2 where the list holds two of six classes."""
    labels = [0, 0, 1, 1]
    predicted = [0, 2, 3, 1]
    scores = [np.eye(6)[i] for i in predicted]
    assert float(mean_class_accuracy(scores, labels)) != pytest.approx(0.5)
    assert accuracies(labels, np.array(predicted)[:, None]).mean_class == pytest.approx(50)


def test_d09_scores_that_are_not_finite_are_no_predictions() -> None:
    """mmaction2 gives NaN scores 100 % on the last class, and equal scores to the last class; ours refuses, and ties
    go to the first."""
    spoiled = np.full((3, 5), np.nan)
    assert top_k_accuracy(list(spoiled), [4, 4, 4], topk=(1,))[0] == 1.0
    assert top_k_accuracy(list(np.zeros((3, 5))), [4, 4, 4], topk=(1,))[0] == 1.0
    with pytest.raises(ValueError, match="not finite"):
        rank(spoiled)
    assert rank(np.zeros((3, 5)), 1).tolist() == [[0], [0], [0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_d10_mixed_precision_fits_on_a_cpu(small_fit: Callable[..., Any], dtype: torch.dtype) -> None:
    """mmengine's wrapper asserts a GPU; ours autocasts and, for float16, scales the loss on any device."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    if not torch.cuda.is_available():
        with pytest.raises(AssertionError):
            AmpOptimWrapper(optimizer=optimizer)
    method = tiny_method()
    initial = {name: value.clone() for name, value in method.trained_state().items()}
    seen: set[Any] = set()
    tower = method.backbone.clip.visual.conv1
    tower.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    _, outcome, folder = small_fit(method=method, device=Device(torch.device("cpu"), dtype), epochs=1)
    assert seen == {dtype}
    assert outcome.skipped_updates == 0
    state = method.trained_state()
    assert all(value.dtype == torch.float32 and torch.isfinite(value).all() for value in state.values())
    assert any(not torch.equal(state[name], value) for name, value in initial.items())
    checkpoint = torch.load(folder / "epoch_1.pth", weights_only=True)
    assert ("scale" in checkpoint["optimizer"]["scaler"]) == (dtype == torch.float16)


def test_d10_the_model_stays_on_the_device_that_was_asked_for(
    small_fit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """mmengine's Runner moves the model to whatever accelerator it finds; here it is made to find torch's `meta`."""
    monkeypatch.setattr("mmengine.runner.runner.get_device", lambda: "meta")
    stock = torch.nn.Linear(2, 2)
    stub: Any = SimpleNamespace(distributed=False, logger=logging.getLogger(__name__))
    assert mm_runner.Runner.wrap_model(stub, None, stock).weight.device.type == "meta"
    method, outcome, _ = small_fit(epochs=1)
    assert {parameter.device.type for parameter in method.parameters()} == {"cpu"}
    assert outcome.final_loss is not None


def test_d10_an_overflow_skips_the_update() -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    wrapper = mm_runner.PrecisionOptimWrapper(torch.float16, "cpu", optimizer=torch.optim.SGD([parameter], lr=0.1))
    wrapper.update_params(parameter.sum() * float("inf"))
    assert parameter.item() == 1.0
    assert wrapper.skipped_updates == 1
    wrapper.update_params(parameter.sum())
    assert parameter.item() == pytest.approx(0.9)
    other = mm_runner.PrecisionOptimWrapper(torch.float16, "cpu", optimizer=torch.optim.SGD([parameter], lr=0.1))
    other.load_state_dict(wrapper.state_dict())
    assert (other.skipped_updates, other.scaler.get_scale()) == (1, wrapper.scaler.get_scale())


class Drawn(Dataset[float]):
    """What an augmentation draws from NumPy's global generator."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> float:
        return float(np.random.rand())


def seed_worker(worker: int) -> None:
    worker_init_fn(worker, num_workers=1, rank=0, seed=7)


def test_d11_augmentation_is_new_in_every_epoch_and_the_same_in_every_run(rows: list[Row]) -> None:
    """mmengine's workers draw the same in every epoch; ours draw from (seed, epoch, position), whatever the workers."""
    stock = DataLoader(Drawn(), num_workers=1, worker_init_fn=seed_worker)
    assert [float(x) for x in stock] == [float(x) for x in stock]

    def epoch(number: int, workers: int, seed: int = 1024) -> torch.Tensor:
        recipe = replace(RECIPE, seed=seed)
        order: Any = [[Draw(i, number, i, i // 4) for i in range(8)]]  # the same clips at the same positions
        return next(
            iter(fit_loader(TrainingClips(rows[:8], LABELS), recipe, VIEWS, 32, order, ComputeOptions(workers=workers)))
        ).frames

    first = epoch(0, 2)
    assert torch.equal(first, epoch(0, 0)) and torch.equal(first, epoch(0, 3))
    assert not any(torch.equal(a, b) for a, b in zip(first, epoch(1, 2), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, epoch(0, 2, seed=1), strict=True))


def test_global_generators_are_put_back(rows: list[Row]) -> None:
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[union-attr]
    next(iter(eval_loader(rows[:2], VIEWS, 32, [[0, 1]], ComputeOptions(workers=0), 0)))
    assert before == (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # type: ignore[union-attr]
