"""Fits whose blocks are shared out among processes: the curve, scores and checkpoints of one process."""

from __future__ import annotations

import json
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.base.errors import UserError
from harness.engine.compute.device import Device
from harness.engine.training.sharding import Sharding
from harness.machine.compute_options import ComputeOptions
from tests.conftest import in_process
from tests.endurance.preloaded import Server
from tests.engine.conftest import CPU, tiny_method
from tests.engine.test_processes import _kill_when, arguments, assert_same_scores, curve, launch, records, torchrun

EPOCHS = ("--recipe", "epochs=3")
REACHES_IN = '''
from harness.api import ClipMethod, MethodCard, Recipe, register_method


@register_method("reaches_in")
class ReachesIn(ClipMethod):
    """Penalises a weight of a block, which it reads without calling the block."""

    card = MethodCard(title="Reaches in")
    recipe = Recipe(epochs=1, lr=1e-3)

    def loss(self, video, targets, label_set):
        weight = self.backbone.vision_blocks[0].ln_1.weight
        return super().loss(video, targets, label_set) + (weight * video.new_ones(weight.shape)).mean()
'''


def compare(runs: Path, alone: Path, method: str, epochs: int = 3, close: float = 1e-4) -> dict[str, Any]:
    """Fails unless the fits have one curve and their evals one outcome; returns the fit's `fit.json`."""
    assert records(runs).keys() == records(alone).keys()
    ours, theirs = ([row["loss"] for row in curve(folder, f"{method}*")] for folder in (runs, alone))
    assert len(ours) == len(theirs) == epochs and (epochs == 1 or len(set(theirs)) > 1)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=close)
    assert_same_scores(runs, alone, f"{method}*", 1e-3)
    fit_file: dict[str, Any] = json.loads(next(runs.glob(f"*/{method}*/*/fit.json")).read_text())
    return fit_file


def two_processes(server: Server, command: list[str]) -> None:
    """Run a command in two processes of the server, with the environment that torchrun gives them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    pair = [server.start(*command, environment={**shared, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"]
    limit = threading.Timer(200, lambda: [run.kill(signal.SIGKILL) for run in pair])
    limit.start()
    try:
        ended = [run.wait() for run in pair]
    finally:
        limit.cancel()
    assert [done.code for done in ended] == [0, 0], "".join(done.err for done in ended)


def test_two_processes_that_share_all_blocks_give_what_one_does(
    server: Server, small_dataset: Path, tmp_path: Path
) -> None:
    alone, runs = tmp_path / "alone", tmp_path / "runs"
    assert in_process(*arguments(small_dataset, alone, *EPOCHS)) == 0
    two_processes(server, arguments(small_dataset, runs, *EPOCHS, "--shard", "fsdp"))
    fitted = compare(runs, alone, "vificlip")
    assert fitted["environment"]["processes"] == 2
    assert not [path for path in runs.rglob("*") if path.suffix in (".pth", ".tmp")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["image_ft", "text_ft", "xclip", "bridge_prompt:stage_one=clip", "efficient_prompt", "actionclip"]
)
def test_every_way_to_learn(small_dataset: Path, tmp_path: Path, method: str) -> None:
    """One tower, a frozen one, messages between frames, prompts in frozen towers, layers of a method's own."""
    alone, runs = tmp_path / "alone", tmp_path / "runs"
    recipe = (*EPOCHS, "--recipe", "micro_batch=4")
    assert in_process(*arguments(small_dataset, alone, *recipe, methods=(method,))) == 0
    more = ("--shard", "fsdp", "--grad-checkpointing")
    torchrun(2, arguments(small_dataset, runs, *recipe, *more, methods=(method,)))
    compare(runs, alone, method.partition(":")[0])


@pytest.mark.slow
def test_a_teacher_and_clipped_gradients(small_dataset: Path, tmp_path: Path) -> None:
    """FROSTER trains all of CLIP beside a frozen copy, and clips the gradient of sharded and replicated parameters.

    AdamW gives each gradient element below rounding an update of the full rate, whose sign depends on the order of
    summation: at the rate of this recipe the curves of one process with one and with two device batches differ by 4e-5
    after three updates. A larger `eps` leaves out these elements, and the bound is ten times tighter than elsewhere.
    """
    alone, runs = tmp_path / "alone", tmp_path / "runs"
    recipe = (*EPOCHS, "--recipe", "micro_batch=4", "--recipe", "average=none", "--recipe", "eps=1e-4")
    assert in_process(*arguments(small_dataset, alone, *recipe, methods=("froster",))) == 0
    torchrun(2, arguments(small_dataset, runs, *recipe, "--shard", "fsdp", methods=("froster",)))
    compare(runs, alone, "froster", close=1e-5)


@pytest.mark.slow
def test_cached_features_leave_the_vision_tower_in_one_piece(small_dataset: Path, tmp_path: Path) -> None:
    alone, runs = tmp_path / "alone", tmp_path / "runs"
    plain = ("--recipe", "augmentation=none", "--recipe", "mixup=0", "--recipe", "cutmix=0")
    assert in_process(*arguments(small_dataset, alone, *EPOCHS, *plain, methods=("text_ft",))) == 0
    torchrun(2, arguments(small_dataset, runs, *EPOCHS, *plain, "--shard", "fsdp", methods=("text_ft",)))
    compare(runs, alone, "text_ft")


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then", "processes"), [
    ("fsdp", "fsdp", 2), ("fsdp", "none", 1), ("fsdp", "zero", 2), ("none", "fsdp", 2), ("zero", "fsdp", 2),
])  # fmt: skip
def test_killed_and_resumed_in_any_way(
    small_dataset: Path, tmp_path: Path, first: str, then: str, processes: int
) -> None:
    """Checkpoints are whole and plain, so that any number of processes goes on, sharing or not."""
    long = ("--recipe", "epochs=12")
    alone, runs = tmp_path / "alone", tmp_path / "runs"
    assert in_process(*arguments(small_dataset, alone, *long)) == 0
    process = launch(2, arguments(small_dataset, runs, *long, "--shard", first))
    _kill_when(process, lambda: any(p.name == "epoch_3.pth" for p in runs.rglob("epoch_*.pth")))
    checkpoint = torch.load(next(runs.rglob("epoch_3.pth")), weights_only=True)
    assert all(type(value) is torch.Tensor for value in checkpoint["state_dict"].values())
    if processes == 1:
        assert in_process(*arguments(small_dataset, runs, *long, "--shard", then)) == 0
    else:
        torchrun(2, arguments(small_dataset, runs, *long, "--shard", then))
    assert compare(runs, alone, "vificlip", 12)["outcome"]["resumed_at"] >= 3


@pytest.mark.slow
def test_moments_are_those_of_one_process(small_dataset: Path, tmp_path: Path) -> None:
    """AdamW hides a factor of the gradients from the curve, not from its moments."""
    one = _third_epoch(small_dataset, tmp_path / "one", 1, ())
    two = _third_epoch(small_dataset, tmp_path / "two", 2, ("--shard", "fsdp"))
    groups, others = (checkpoint["optimizer"]["param_groups"] for checkpoint in (one, two))
    assert groups == others and one["state_dict"].keys() == two["state_dict"].keys()
    states, others = (checkpoint["optimizer"]["state"] for checkpoint in (one, two))
    assert states.keys() == others.keys() and len(states) > 50
    for number, state in states.items():
        assert state.keys() == others[number].keys() == {"step", "exp_avg", "exp_avg_sq"}
        for name, value in state.items():
            close = 1e-8 + 1e-3 * float(value.abs().max())
            torch.testing.assert_close(others[number][name], value, rtol=1e-2, atol=close)


def _third_epoch(dataset: Path, runs: Path, processes: int, more: tuple[str, ...]) -> dict[str, Any]:
    process = launch(processes, arguments(dataset, runs, "--recipe", "epochs=40", *more))
    _kill_when(process, lambda: any(path.name == "epoch_3.pth" for path in runs.rglob("epoch_*.pth")))
    checkpoint: dict[str, Any] = torch.load(next(runs.rglob("epoch_3.pth")), weights_only=True)
    return checkpoint


@pytest.mark.slow
def test_compiled_blocks_are_shared_out_too(small_dataset: Path, tmp_path: Path) -> None:
    alone, runs = tmp_path / "alone", tmp_path / "runs"
    assert in_process(*arguments(small_dataset, alone, *EPOCHS)) == 0
    more = ("--shard", "fsdp", "--compile", "--grad-checkpointing")
    torchrun(2, arguments(small_dataset, runs, *EPOCHS, *more))
    assert compare(runs, alone, "vificlip")["environment"]["compiled"]


@pytest.mark.slow
def test_a_method_that_reaches_into_a_block_is_told_what_to_do(small_dataset: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "reaches_in.py"
    plugin.write_text(REACHES_IN)
    command = arguments(
        small_dataset, tmp_path / "runs", "--recipe", "epochs=1", "--plugin", plugin, "--shard", "fsdp",
        methods=("reaches_in",),
    )  # fmt: skip
    _, err = torchrun(2, command, code=1)
    assert err.count("reaches_in uses weights of a block outside of it") == 1 and "--shard zero" in err


def test_what_cannot_be_shared_is_refused() -> None:
    method = tiny_method()
    with pytest.raises(UserError, match="does not go with --precision fp16"):
        Sharding(method, Device(torch.device("cpu"), torch.float16))
    method.backbone.visual.transformer = method.backbone.text.transformer = torch.nn.Identity()
    with pytest.raises(UserError, match="vificlip has no blocks to shard"):
        Sharding(method, CPU)


def test_one_process_shares_nothing(small_dataset: Path, tmp_path: Path) -> None:
    assert in_process(*arguments(small_dataset, tmp_path / "runs", "--recipe", "epochs=1", "--shard", "fsdp")) == 0
    with pytest.raises(Exception, match="Choose none, zero, fsdp"):
        ComputeOptions(shard="all")
