"""`OwnNetwork`: a plugin with a video network of its own, without CLIP and without mmaction2."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.api import NetworkInput, OwnNetwork, UserError, Views, check_method
from harness.engine.model.network_model import checkpoint_tensors
from harness.plugins.loose_files import load_file

PLUGIN = '''"""A linear layer on the mean frame."""

from dataclasses import dataclass

from torch import arange, nn

from harness.api import (
    ClipMethod, MethodCard, MethodOptions, NetworkInput, OwnNetwork, UserError, option, register_method,
)


@dataclass(frozen=True)
class Options(MethodOptions):
    checkpoint: str = option("random", "weight file", file=("random",))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, 4)

    def forward(self, video):
        return self.fc((video / 255).mean(dim=1).flatten(1))


@register_method("mean_frame")
class MeanFrame(ClipMethod):
    card = MethodCard(title="Mean frame", source="a test", class_text="none", family="unimodal")
    options_type = Options
    uses_clip = False
    open_vocabulary = False

    @classmethod
    def own_model(cls, options):
        return OwnNetwork("mean-frame", NetworkInput(4, 8, "uniform"), 4, (), options.checkpoint, Network)

    def setup(self):
        self.requires_grad_(False)

    def encode_video(self, video):
        return self.backbone.scores(video).float()

    def encode_text(self, label_set):
        if len(label_set) != self.backbone.classes:
            raise UserError(f"{len(label_set)} classes, expected {self.backbone.classes}.", "Use its own label set.")
        return arange(len(label_set))

    def score(self, video, text):
        return video[:, text.to(video.device)]
'''


def network(checkpoint: str = "random") -> OwnNetwork:
    return OwnNetwork("linear", NetworkInput(4, 8, "dense:2"), 4, (), checkpoint, lambda: torch.nn.Linear(3, 4))


@pytest.mark.slow
@pytest.mark.usefixtures("plugins_forgotten")
def test_a_plugin_with_its_own_network_keeps_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "mean_frame.py"
    path.write_text(PLUGIN)
    load_file(path)
    checks = check_method("mean_frame")
    assert len(checks) > 10
    assert not [(check.name, check.explanation) for check in checks if not check.ok]


def test_random_weights_are_the_same_in_each_build_and_leave_the_generator_alone() -> None:
    before = torch.get_rng_state()
    first, second = network().load(), network().load()
    assert torch.equal(before, torch.get_rng_state())
    assert first.facts.weights_sha256 == second.facts.weights_sha256
    assert not any(parameter.requires_grad for parameter in first.parameters())


@pytest.mark.parametrize("container", ["state_dict", "model_state", ""])
def test_containers_of_mmengine_and_of_the_slowfast_code(container: str, tmp_path: Path) -> None:
    state = {f"module.{name}": value + 1 for name, value in torch.nn.Linear(3, 4).state_dict().items()}
    torch.save({container: state, "epoch": 3} if container else state, tmp_path / "weights.pth")
    loaded = network(str(tmp_path / "weights.pth")).load()
    assert torch.equal(loaded.network.weight, state["module.weight"])
    assert list(checkpoint_tensors(tmp_path / "weights.pth")) == ["weight", "bias"]


def test_views_keep_what_the_network_does_not_state() -> None:
    views = network().views_of(Views(frames=16, clips=4, crops=3, sampling="random"))
    assert str(views) == "4x4x3-dense:2-rawnorm"
    network().check_views(views)
    with pytest.raises(UserError, match="linear takes 4 frames as decoded"):
        network().check_views(Views(frames=4))
