"""What every method owes the harness, as named checks that explain themselves to the method's author.

They run on a tiny CLIP made from a seed, in seconds, without weights or videos. `check_method` serves the tests of the
built-in methods and the command `check method` for anyone's own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engine.backbone import Backbone, BackboneFacts, clip_from_openai_names
from harness.engine.method import ClipMethod
from harness.engine.step import build_optimizer
from harness.engine.weights import state_sha256, strict_load
from harness.errors import UserError
from harness.spec import LabelSet, Recipe, Views

FRAMES = 4
BASE = LabelSet(("open a door", "ride a bike", "jump"))
NOVEL = LabelSet(("pour water", "wave", "climb stairs", "clap hands"))
BATCH = 4
TOLERANCE = 1e-4
"""Largest difference between logits that should be equal but are summed in another order; they reach about 50."""


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Args:
        name: What is promised.
        ok: Whether the promise is kept.
        explanation: If not, what was found and where to look; empty if it is.
    """

    name: str
    ok: bool
    explanation: str = ""


@cache
def _tiny_state(seed: int) -> dict[str, Tensor]:
    """OpenAI-named tensors drawn by NumPy, whose stream does not change between versions of torch."""
    rng = np.random.default_rng(seed)
    state: dict[str, Tensor] = {}

    def draw(name: str, *shape: int, std: float, mean: float = 0.0) -> None:
        values = rng.normal(mean, std, shape).astype(np.float16).astype(np.float32)
        state[name] = torch.from_numpy(values)

    def blocks(prefix: str, width: int, layers: int) -> None:
        for i in range(layers):
            root = f"{prefix}transformer.resblocks.{i}."
            draw(root + "attn.in_proj_weight", 3 * width, width, std=width**-0.5)
            draw(root + "attn.in_proj_bias", 3 * width, std=0.02)
            draw(root + "attn.out_proj.weight", width, width, std=width**-0.5)
            draw(root + "attn.out_proj.bias", width, std=0.02)
            draw(root + "mlp.c_fc.weight", 4 * width, width, std=width**-0.5)
            draw(root + "mlp.c_fc.bias", 4 * width, std=0.02)
            draw(root + "mlp.c_proj.weight", width, 4 * width, std=(4 * width) ** -0.5)
            draw(root + "mlp.c_proj.bias", width, std=0.02)
            for norm in ("ln_1", "ln_2"):
                draw(f"{root}{norm}.weight", width, std=0.05, mean=1.0)
                draw(f"{root}{norm}.bias", width, std=0.05)

    width, text_width, dim, patch, grid = 128, 64, 64, 8, 4
    draw("visual.conv1.weight", width, 3, patch, patch, std=0.1)
    draw("visual.class_embedding", width, std=1.0)
    draw("visual.positional_embedding", grid * grid + 1, width, std=0.3)
    draw("visual.proj", width, dim, std=width**-0.5)
    blocks("visual.", width, 2)
    draw("token_embedding.weight", 49408, text_width, std=0.5)
    draw("positional_embedding", 77, text_width, std=0.1)
    draw("text_projection", text_width, dim, std=text_width**-0.5)
    blocks("", text_width, 2)
    for name, size in (("visual.ln_pre", width), ("visual.ln_post", width), ("ln_final", text_width)):
        draw(f"{name}.weight", size, std=0.05, mean=1.0)
        draw(f"{name}.bias", size, std=0.05)
    state["logit_scale"] = torch.tensor(3.0)
    return state


def tiny_backbone(seed: int = 0) -> Backbone:
    """A CLIP of two blocks a tower and 32 pixels, the same on every machine; it has seen nothing."""
    state = _tiny_state(seed)
    clip = clip_from_openai_names(state).eval()
    strict_load(clip, state, "the seeded weights")
    facts = BackboneFacts("tiny", "tiny", f"seed {seed}", state_sha256(dict(clip.state_dict())), 32, True)
    return Backbone(clip, facts)


class Subject:
    """The method under test: fresh copies, and inputs that are the same in every run."""

    def __init__(self, cls: type[ClipMethod], options: Mapping[str, Any], backbone: Backbone) -> None:
        self.cls = cls
        self._options = cls.options_for(options, frames=FRAMES)
        own = cls.own_model(self._options)
        self._backbone = backbone if own is None else own.load()
        generator = torch.Generator().manual_seed(7)
        frames, size = FRAMES if own is None else own.views_of(Views()).frames, self._backbone.image_size
        self.video = torch.randn(BATCH, frames, 3, size, size, generator=generator)
        if own is not None:  # raw frames
            self.video = (64 * self.video + 128).clamp(0, 255)
        self.base, self.novel = BASE, NOVEL
        if not cls.open_vocabulary:
            fixed = LabelSet(tuple(f"class {i}" for i in range(self._backbone.classes)))
            self.base = self.novel = fixed

    def fresh(self) -> ClipMethod:
        """A new method in eval mode on a copy of the backbone whose parameters may all learn, as when just loaded."""
        return self.cls(copy.deepcopy(self._backbone).requires_grad_(True), self._options).eval()

    @property
    def recipe(self) -> Recipe:
        """Some recipe of the method, with a rate at which a few steps move the weights."""
        found = self.cls.recipe or next(iter(self.cls.recipes.values()), Recipe(epochs=1, lr=1e-3))
        return Recipe(epochs=1, lr=1e-3, weight_decay=found.weight_decay, betas=found.betas, eps=found.eps)

    def logits(self, method: ClipMethod, labels: LabelSet, video: Tensor | None = None) -> Tensor:
        """Logits as the harness computes them in an eval: text once, then the views."""
        with torch.no_grad():
            text = method.encode_text(labels)
            return method.score(method.encode_video(self.video if video is None else video), text).float()

    def train(self, method: ClipMethod, steps: int = 1) -> dict[str, bool]:
        """Take some steps on the base classes; which learning parameters got a gradient other than zero.

        A method that is fitted in closed form is fitted instead; parameters that changed count as reached.
        """
        if method.fits_at_once:
            return self._fit_at_once(method)
        method.train()
        optimizer = build_optimizer(method, self.recipe)
        targets = torch.eye(len(BASE))[torch.arange(BATCH) % len(BASE)]
        reached = {name: False for name, p in method.named_parameters() if p.requires_grad}
        torch.manual_seed(3)
        for _ in range(steps):
            optimizer.zero_grad()
            method.loss(self.video, targets, BASE).backward()
            for name, parameter in method.named_parameters():
                if name in reached and parameter.grad is not None:
                    reached[name] |= bool(parameter.grad.abs().max() > 0)
            optimizer.step()
        method.eval()
        return reached

    def _fit_at_once(self, method: ClipMethod) -> dict[str, bool]:
        before = {name: p.detach().clone() for name, p in method.named_parameters() if p.requires_grad}
        with torch.no_grad():
            labels = torch.arange(BATCH) % len(BASE)
            method.fit_features(method.encode_video(self.video).float(), labels, BASE)
        return {name: not torch.equal(before[name], p) for name, p in method.named_parameters() if name in before}


def has_card(subject: Subject) -> str:
    """The method says what it is, and has a recipe exactly if something learns."""
    cls = subject.cls
    if not cls.card.title or not cls.card.source:
        return "The card lacks a title or a source: say which publication or code the method follows."
    learns, recipes = bool(subject.fresh().trainable()), cls.recipe is not None or bool(cls.recipes)
    if learns and not recipes:
        return "Parameters learn, but there is no recipe: set `recipe` or `recipes`."
    if recipes and not learns:
        return "There is a recipe, but no parameter learns: setup() must leave some requires_grad, or drop the recipe."
    return ""


def has_shapes(subject: Subject) -> str:
    """Scores have one row per video and one finite column per class."""
    method = subject.fresh()
    for labels in (BASE, NOVEL, LabelSet(("walk",))) if subject.cls.open_vocabulary else (subject.base,):
        logits = subject.logits(method, labels)
        if tuple(logits.shape) != (BATCH, len(labels)):
            return f"score() returned {tuple(logits.shape)} for {BATCH} videos and {len(labels)} classes."
        if not torch.isfinite(logits).all():
            return "score() returned NaN or infinite values."
        with torch.no_grad():
            whole = method(subject.video, labels).float()
        if not torch.allclose(whole, logits, atol=TOLERANCE):
            return "The method called as a whole and its steps encode_text, encode_video, score give different logits."
    return ""


def follows_label_order(subject: Subject) -> str:
    """Reordering the classes reorders the logits and changes nothing else.

    A fixed set of classes is refused in any other number; which output is which class the checkpoint alone knows.
    """
    if not subject.cls.open_vocabulary:
        return _refuses_other_classes(subject)
    method, order = subject.fresh(), [2, 0, 3, 1]
    logits = subject.logits(method, NOVEL)
    moved = subject.logits(method, LabelSet(tuple(NOVEL.names[i] for i in order)))
    worst = _gap(moved, logits[:, order])
    return worst and f"{worst} when classes are reordered: encode_text() or score() depends on a class's position."


def _refuses_other_classes(subject: Subject) -> str:
    try:
        subject.fresh().encode_text(LabelSet((*subject.base.names, "one more")))
    except UserError:
        return ""
    return "encode_text() took a label set with one class more than there are: raise a UserError."


def is_deterministic(subject: Subject) -> str:
    """Two evaluations of the same videos agree to the bit, and the state of random generators does not matter."""
    method = subject.fresh()
    torch.manual_seed(1)
    first = subject.logits(method, subject.novel)
    torch.manual_seed(2)
    if torch.equal(first, subject.logits(method, subject.novel)):
        return ""
    return "Two evaluations differ: something random is active in eval mode (dropout called as a function, sampling)."


def ignores_other_videos(subject: Subject) -> str:
    """The logits of a video do not depend on the videos that share its batch."""
    method = subject.fresh()
    together = subject.logits(method, subject.novel)
    alone = torch.cat([subject.logits(method, subject.novel, subject.video[i : i + 1]) for i in range(BATCH)])
    worst = _gap(alone, together)
    return worst and f"{worst} when a video is scored alone: encode_video() or score() mixes the videos of a batch."


def changes_what_it_declares(subject: Subject) -> str:
    """A training step changes parameters with requires_grad and the method's own buffers, and nothing else."""
    method = subject.fresh()
    if not method.trainable():
        return ""
    before = {name: value.clone() for name, value in method.state_dict().items()}
    declared = set(method.trained_state())
    subject.train(method)
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    if changed - declared:
        return f"A step changed {_some(changed - declared)}, which trained_state() does not save."
    if not changed:
        return "A step changed no parameter: the loss does not depend on what learns, or the groups are empty."
    return ""


def learns_everywhere(subject: Subject) -> str:
    """Every parameter that learns gets a gradient within three steps."""
    method = subject.fresh()
    if not method.trainable():
        return ""
    silent = [name for name, hit in subject.train(method, steps=3).items() if not hit]
    if not silent:
        return ""
    return f"No gradient reaches {_some(silent)}: freeze them (requires_grad_(False)) or use them in the loss."


def forgets_labels(subject: Subject) -> str:
    """Classes seen before, in training or evaluation, leave no trace in the scores of others."""
    expected = subject.logits(subject.fresh(), subject.novel)
    method = subject.fresh()
    subject.logits(method, subject.base)
    if not torch.equal(subject.logits(method, subject.novel), expected):
        return (
            "Scores on one label set change after another was scored: the label set must be an argument, never state."
        )
    if method.trainable():
        subject.train(method)
        copied = subject.fresh()
        copied.load_state_dict(method.trained_state(), strict=False)
        worst = _gap(subject.logits(method, subject.novel), subject.logits(copied, subject.novel))
        return worst and f"{worst} from a copy with the same weights after training on base: text of base is kept."
    return ""


def survives_saving(subject: Subject) -> str:
    """The trained state, put into a fresh method, gives the same scores."""
    method = subject.fresh()
    if method.trainable():
        subject.train(method)
    state = {name: value.clone() for name, value in method.trained_state().items()}
    loaded = subject.fresh()
    if set(state) != set(loaded.trained_state()):
        differ = set(state) ^ set(loaded.trained_state())
        return f"The trained state has other names than a fresh method's: {_some(differ)}."
    loaded.load_state_dict(state, strict=False)
    if torch.equal(subject.logits(method, subject.novel), subject.logits(loaded, subject.novel)):
        return ""
    return "A saved and loaded method scores differently: some of what it learnt is neither parameter nor buffer."


def survives_half_precision(subject: Subject) -> str:
    """Scores under bfloat16 autocast are close to those in fp32."""
    method = subject.fresh()
    expected = subject.logits(method, subject.novel)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = subject.logits(method, subject.novel)
    allowed = 0.1 + 0.03 * float(expected.abs().max())
    gap = float((found - expected).abs().max())
    if not gap <= allowed:
        return (
            f"Logits in bfloat16 differ from fp32 by {gap:.3g}, allowed {allowed:.3g}: take the last product in fp32."
        )
    return ""


def leaves_training_behind(subject: Subject) -> str:
    """After eval() no part is in training mode, and having been in training mode changes nothing."""
    method = subject.fresh()
    expected = subject.logits(method, subject.novel)
    method.train()
    method.eval()
    left = [name for name, module in method.named_modules() if module.training]
    if left:
        return f"{_some(left)} stay in training mode after eval()."
    if not torch.equal(subject.logits(method, subject.novel), expected):
        return "Scores change by switching to train() and back: train() or eval() is overridden with a side effect."
    return ""


CHECKS: tuple[Callable[[Subject], str], ...] = (
    has_card, has_shapes, follows_label_order, is_deterministic, ignores_other_videos, changes_what_it_declares,
    learns_everywhere, forgets_labels, survives_saving, survives_half_precision, leaves_training_behind,
)  # fmt: skip


def check_method(
    cls: type[ClipMethod], options: Mapping[str, Any] | None = None, backbone: Backbone | None = None
) -> list[Check]:
    """Run all checks on a method; one that raises counts as failed and says what was raised.

    Args:
        cls: A registered method.
        options: Option values that differ from the defaults.
        backbone: Where to run; the seeded tiny CLIP if not given.
    """
    backbone = backbone or tiny_backbone()
    results = []
    for check in CHECKS:
        try:
            explanation = check(Subject(cls, options or {}, backbone))
        except Exception as error:  # a plugin may raise anything; the check reports it
            explanation = f"{type(error).__name__}: {error}"
        results.append(Check(check.__name__, not explanation, explanation))
    return results


def _gap(found: Tensor, expected: Tensor) -> str:
    worst = float((found - expected).abs().max())
    return "" if worst <= TOLERANCE else f"Logits differ by {worst:.3g}"


def _some(names: Any) -> str:
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
