"""`check method` finds planted faults: the check of each fault fails, and its explanation names the fault."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.engine.contract.checks import CHECKS, check_method
from harness.engine.contract.spelling import misspelt_hooks
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import method_class
from harness.plugins.loose_files import load_file
from tests.conftest import in_process

pytestmark = pytest.mark.usefixtures("plugins_forgotten")

SOUND = '''"""The smallest trained method that keeps every promise; each fault changes one thing of it."""

import torch
from torch import nn

from harness.api import ClipMethod, MethodCard, Recipe, register_method


class Sound(ClipMethod):
    card = MethodCard(title="Planted", source="a test")
    recipe = Recipe(epochs=1, lr=1e-3)

    def setup(self):
        self.freeze_clip()
        self.adapter = nn.Linear(self.embed_dim, self.embed_dim)

    def pool(self, frames):
        return super().pool(frames) + self.adapter(frames.mean(dim=1))


@register_method("planted")
class Planted(Sound):
'''


@dataclass(frozen=True)
class Fault:
    """A fault of a method.

    Args:
        check: Name of the check that finds it.
        says: Text that the explanation must contain.
        body: Body of the class with the fault.
    """

    check: str
    says: str
    body: str


FAULTS = {
    "no recipe": Fault("has_card", "there is no recipe", "recipe = None"),
    "no source": Fault("has_card", "lacks a title or a source", "card = MethodCard(title='Planted')"),
    "parameters in a list": Fault("declares_parameters", "vectors of setup() is unknown to torch", """
        def setup(self):
            super().setup()
            self.vectors = [nn.Parameter(torch.zeros(self.embed_dim))]
        def pool(self, frames):
            return super().pool(frames) + self.vectors[0]
    """),
    "parameters left out of the groups": Fault("declares_parameters", "leaves out adapter.bias", """
        def parameter_groups(self, recipe):
            return [{"params": [self.adapter.weight], "lr": recipe.lr}]
    """),
    "parameters hidden in the groups": Fault("declares_parameters", "not parameters of the method", """
        def parameter_groups(self, recipe):
            return [*super().parameter_groups(recipe), {"params": [torch.zeros(3, requires_grad=True)]}]
    """),
    "wrong shape": Fault("has_shapes", "score() returned (4, 1)", """
        def score(self, video, text):
            return super().score(video, text)[:, :1]
    """),
    "NaN for every video": Fault("has_finite_scores", "scores of noise are NaN", """
        def pool(self, frames):
            pooled = super().pool(frames)
            return pooled * (pooled - pooled).norm() / (pooled - pooled).norm()
    """),
    "NaN in the loss": Fault("has_finite_scores", "the loss of the base classes is nan", """
        def feature_loss(self, video, text, targets):
            return (targets * targets.log()).sum()
    """),
    "one loss per video": Fault("has_shapes", "loss() returned shape (4,), expected a scalar", """
        def feature_loss(self, video, text, targets):
            return -(targets * self.score(video, text).log_softmax(dim=-1)).sum(dim=-1)
    """),
    "groups that are tensors": Fault("declares_parameters", "parameter_groups() returned Parameter in place of", """
        def parameter_groups(self, recipe):
            return list(self.adapter.parameters())
    """),
    "a misspelt step": Fault("spells_hooks", "feature_los is used nowhere and is close to the hook feature_loss", """
        def feature_los(self, video, text, targets):
            return super().feature_loss(video, text, targets)
    """),
    "a misspelt step in other letters": Fault("spells_hooks", "encodeText is used nowhere and is close", """
        def encodeText(self, label_set):
            return super().encode_text(label_set)
    """),
    "a misspelt attribute": Fault("spells_hooks", "couple_clips is used nowhere and is close", "couple_clips = True"),
    "NaN for a black video": Fault("has_finite_scores", "scores of a black video are NaN", """
        def encode_frames(self, video):
            centred = video - video.mean(dim=(2, 3, 4), keepdim=True)
            return super().encode_frames(centred / centred.std(dim=(2, 3, 4), keepdim=True))
    """),
    "order of labels": Fault("follows_label_order", "depends on a class's position", """
        def encode_text(self, label_set):
            text = super().encode_text(label_set)
            return text + torch.arange(len(text))[:, None] * torch.linspace(-1, 1, text.shape[1])
    """),
    "random in eval": Fault("is_deterministic", "something random is active in eval mode", """
        def pool(self, frames):
            return nn.functional.dropout(super().pool(frames), 0.5, training=True)
    """),
    "other videos of the batch": Fault("ignores_other_videos", "mixes the videos of a batch", """
        def pool(self, frames):
            pooled = super().pool(frames)
            return pooled - 0.5 * pooled.mean(dim=0)
    """),
    "statistics in eval": Fault("only_reads_in_evaluation", "Scoring changed centre", """
        def setup(self):
            super().setup()
            self.register_buffer("centre", torch.zeros(self.embed_dim))
        def encode_video(self, video):
            features = super().encode_video(video)
            if not self.training:
                self.centre.lerp_(features.detach().mean(dim=0), 1e-9)
            return features
    """),
    "training in eval": Fault("only_reads_in_evaluation", "Scoring changed adapter.weight", """
        def encode_video(self, video):
            features = super().encode_video(video)
            with torch.no_grad():
                self.adapter.weight.mul_(1 - 1e-7)
            return features
    """),
    "a frozen parameter changed by a step": Fault("changes_what_it_declares", "backbone.clip.visual.proj", """
        def loss(self, video, targets, label_set):
            with torch.no_grad():
                self.backbone.visual.proj.mul_(1.01)
            return super().loss(video, targets, label_set)
    """),
    "a frozen parameter changed after the fit": Fault("changes_what_it_declares", "after_fit(), changed backbone.", """
        def after_fit(self):
            self.backbone.visual.proj.mul_(1.01)
    """),
    "a parameter without use": Fault("learns_everywhere", "No gradient reaches spare", """
        def setup(self):
            super().setup()
            self.spare = nn.Parameter(torch.zeros(3))
    """),
    "dropout that is not declared": Fault("declares_draws", "set `random_draws = True`", """
        def pool(self, frames):
            return super().pool(nn.functional.dropout(frames, 0.5, self.training))
    """),
    "draws from Python": Fault("declares_draws", "draws from random", """
        def loss(self, video, targets, label_set):
            import random
            return (0.5 + random.random()) * super().loss(video, targets, label_set)
    """),
    "labels kept as state": Fault("forgets_labels", "it must be an argument, never state", """
        def encode_text(self, label_set):
            if not hasattr(self, "kept"):
                self.kept = super().encode_text(label_set).detach()
            return super().encode_text(label_set) + self.kept.mean(dim=0)
    """),
    "labels kept in training": Fault("forgets_labels", "keeps the text of its classes", """
        kept = 0.0
        def loss(self, video, targets, label_set):
            self.kept = self.encode_text(label_set).detach().mean(dim=0)
            return super().loss(video, targets, label_set)
        def pool(self, frames):
            return super().pool(frames) + self.kept
    """),
    "state that is not saved": Fault("survives_saving", "neither parameter nor buffer", """
        gain = 1.0
        def loss(self, video, targets, label_set):
            self.gain += 0.5
            return super().loss(video, targets, label_set)
        def pool(self, frames):
            return super().pool(frames) + self.gain * frames[:, 0]
    """),
    "state under other names": Fault("survives_saving", "other names than a fresh method's", """
        def loss(self, video, targets, label_set):
            if not hasattr(self, "seen"):
                self.register_buffer("seen", torch.ones(()))
            return super().loss(video, targets, label_set)
    """),
    "no half precision": Fault("survives_half_precision", "fails under bfloat16", """
        def pool(self, frames):
            with torch.autocast("cpu", enabled=False):
                return self.adapter(frames.mean(dim=1))
    """),
    "wrong in half precision": Fault("survives_half_precision", "take the last product in fp32", """
        def score(self, video, text):
            return super().score(video, text) * (3.0 if torch.is_autocast_enabled("cpu") else 1.0)
    """),
    "stays in training mode": Fault("leaves_training_behind", "adapter stay in training mode", """
        def eval(self):
            super().eval()
            self.adapter.train()
            return self
    """),
}  # fmt: skip


def planted(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "planted.py"
    path.write_text(SOUND + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n")
    return path


@pytest.fixture(scope="module")
def backbone():
    return tiny_backbone()


SECONDARY = (
    "NaN for every video", "NaN in the loss", "one loss per video", "groups that are tensors",
    "a misspelt step in other letters", "a misspelt attribute", "dropout that is not declared",
)  # fmt: skip
"""Faults that are slow: another default fault fails the same check."""


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=[pytest.mark.slow] if name in SECONDARY else []) for name in FAULTS]
)
def test_a_planted_fault_is_found(fault: str, tmp_path: Path, backbone) -> None:
    load_file(planted(tmp_path, FAULTS[fault].body))
    failed = {c.name: c.explanation for c in check_method(method_class("planted"), backbone=backbone) if not c.ok}
    assert FAULTS[fault].check in failed, failed
    assert FAULTS[fault].says in failed[FAULTS[fault].check]
    explained = {name: text for name, text in failed.items() if not text.startswith("could not be checked")}
    assert len(explained) <= 3 and next(iter(explained)) == FAULTS[fault].check, failed  # the cause comes first


def test_every_check_has_a_fault() -> None:
    assert {fault.check for fault in FAULTS.values()} == {check.__name__ for check in CHECKS}


def test_the_command_on_a_sound_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("check", "method", planted(tmp_path, "pass")) == 0
    captured = capsys.readouterr()
    assert "FAILED" not in captured.out and captured.out.count("ok ") == len(CHECKS)
    assert f"{len(CHECKS)} of {len(CHECKS)} checks passed in" in captured.err
    seconds = float(captured.err.split("passed in ")[1].split()[0])
    assert seconds < 60


def test_the_command_on_a_faulty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = planted(tmp_path, FAULTS["wrong shape"].body)
    assert in_process("check", "method", path, "--json") == 1
    data = json.loads(capsys.readouterr().out)["planted"]
    rows = {row["name"]: row for row in data["checks"]}
    assert not rows["has_shapes"]["ok"] and rows["has_shapes"]["promise"] and rows["has_card"]["ok"]
    assert data["trained"]["trained"] == 64 * 64 + 64 and data["trained"]["groups"][0]["lr"] == 1e-3


@pytest.mark.slow
def test_the_command_marks_checks_that_wait_for_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scores that are NaN fail one check; the checks that compare scores are not reported as failed, too."""
    assert in_process("check", "method", planted(tmp_path, FAULTS["NaN for every video"].body)) == 1
    captured = capsys.readouterr()
    assert captured.out.count("FAILED") == 1 and "something random" not in captured.out
    assert "has_finite_scores: 16 of 16 scores of noise are NaN" in captured.out
    waiting = [line for line in captured.out.splitlines() if line.startswith("- ")]
    assert len(waiting) > 5 and any("is_deterministic" in line for line in waiting)
    assert f"{len(CHECKS) - 1 - len(waiting)} of {len(CHECKS)} checks passed" in captured.err
    assert f"{len(waiting)} not checked before has_finite_scores is fixed" in captured.err


@pytest.mark.slow
def test_the_command_prints_the_trained_parameters_of_each_group(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = """
        def parameter_groups(self, recipe):
            return [
                {"params": [self.adapter.weight], "lr": recipe.lr, "weight_decay": 0.01},
                {"params": [self.adapter.bias], "lr": 10 * recipe.lr, "weight_decay": 0.0},
            ]
    """
    assert in_process("check", "method", planted(tmp_path, body)) == 0
    out = capsys.readouterr().out
    total = sum(p.numel() for p in tiny_backbone().parameters()) + 64 * 64 + 64
    assert f"trained on the tiny CLIP: 4,160 of {total:,} parameters" in out
    assert "group 1: 4,096 parameters in 1 tensor of adapter, lr 0.001, weight decay 0.01" in out
    assert "group 2: 64 parameters in 1 tensor of adapter, lr 0.01, weight decay 0" in out


@pytest.mark.slow
def test_the_command_names_a_clip_that_was_not_frozen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = "def setup(self):\n    self.adapter = nn.Linear(self.embed_dim, self.embed_dim)"
    assert in_process("check", "method", planted(tmp_path, body)) == 0
    out = capsys.readouterr().out
    assert "of CLIP logit_scale, CLIP text, CLIP vision, adapter, lr" in out
    assert "all of CLIP is trained; freeze_clip() in setup() freezes CLIP" in out


HELPERS = {
    "called": """
        def encode_frame(self, video):
            return super().encode_frames(video)
        def encode_frames(self, video):
            return self.encode_frame(video)
    """,
    "read": """
        losses = (1.0,)
        def feature_loss(self, video, text, targets):
            return self.losses[0] * super().feature_loss(video, text, targets)
    """,
    "of torch": """
        def extra_repr(self):
            return "planted"
    """,
    "far": """
        def interpolate(self):
            return 1
    """,
}  # fmt: skip


@pytest.mark.parametrize("helper", HELPERS)
def test_a_helper_with_the_name_of_a_hook_is_no_fault(helper: str, tmp_path: Path) -> None:
    load_file(planted(tmp_path, HELPERS[helper]))
    assert misspelt_hooks(method_class("planted")) == {}


@pytest.mark.slow
def test_an_exception_of_a_method_is_explained_once_with_its_line(tmp_path: Path, backbone) -> None:
    body = "def encode_text(self, label_set):\n    raise ValueError('no text today')"
    path = planted(tmp_path, body)
    load_file(path)
    failed = [c.explanation for c in check_method(method_class("planted"), backbone=backbone) if not c.ok]
    line = path.read_text().splitlines().index("        raise ValueError('no text today')") + 1
    assert failed[0] == f"ValueError: no text today (encode_text, line {line} of planted.py)"
    assert len(failed) > 5 and {*failed[1:]} == {"could not be checked before has_finite_scores is fixed"}


def test_a_file_with_protocols_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from harness.api import Protocol, register_protocol\n\n"
        "@register_protocol('mine')\nclass Mine(Protocol):\n    title = 'Mine'\n"
    )
    assert in_process("check", "method", path) == 2
    assert "registers no method, only the protocols mine" in capsys.readouterr().err
