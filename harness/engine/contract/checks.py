"""What every method owes the harness, as named checks that explain themselves to the method's author.

They run on a tiny CLIP made from a seed, in seconds, without weights or videos. `check_method` serves the tests of the
built-in methods and the command `check method` for anyone's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.base.errors import UserError, described
from harness.engine.contract.fixture import BASE, BATCH, NOVEL, OTHER, Subject
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import ClipMethod, method_class
from harness.engine.model.backbone import Backbone
from harness.spec import LabelSet

TOLERANCE = 1e-4
"""Largest difference between logits that should be equal but are summed in another order; they reach about 50."""


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Args:
        name: Of the check.
        ok: Whether the promise is kept.
        explanation: If not, what was found and where to look; empty if it is.
        promise: What the method owes, in one sentence.
    """

    name: str
    ok: bool
    explanation: str = ""
    promise: str = ""


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


def declares_parameters(subject: Subject) -> str:
    """Every tensor that setup() makes is a parameter or a buffer, and every parameter that learns is optimised."""
    method = subject.fresh()
    hidden = _hidden_tensors(method)
    if hidden:
        return (
            f"{_some(hidden)} of setup() is unknown to torch, so it is neither saved nor moved to a GPU: use "
            "nn.Parameter, nn.ParameterList, nn.ModuleList or register_buffer()."
        )
    if not method.trainable():
        return ""
    own = {id(p): name for name, p in method.named_parameters()}
    grouped = [id(p) for group in method.parameter_groups(subject.recipe) for p in group["params"]]
    if len(set(grouped)) < len(grouped):
        return f"parameter_groups() lists {len(grouped) - len(set(grouped))} parameters twice."
    if set(grouped) - set(own):
        return (
            f"parameter_groups() lists {len(set(grouped) - set(own))} tensors that are no parameters of the method: "
            "what they learn would not be saved."
        )
    left_out = [name for name, p in method.named_parameters() if p.requires_grad and id(p) not in grouped]
    if left_out:
        return f"parameter_groups() leaves out {_some(left_out)}: freeze them (requires_grad_(False)) or list them."
    return ""


def has_shapes(subject: Subject) -> str:
    """Scores have one row per video and one column per class, however they are asked for."""
    method = subject.fresh()
    for labels in (BASE, NOVEL, LabelSet(("walk",))) if subject.cls.open_vocabulary else (subject.base,):
        logits = subject.logits(method, labels)
        if tuple(logits.shape) != (BATCH, len(labels)):
            return f"score() returned {tuple(logits.shape)} for {BATCH} videos and {len(labels)} classes."
        with torch.no_grad():
            whole = method(subject.video, labels).float()
        if not torch.allclose(whole, logits, atol=TOLERANCE, equal_nan=True):
            return "The method called as a whole and its steps encode_text, encode_video, score give different logits."
    return ""


def has_finite_scores(subject: Subject) -> str:
    """Scores are finite numbers for any video, a black one included."""
    method = subject.fresh()
    for what, video in (("noise", subject.video), ("a black video", subject.black)):
        logits = subject.logits(method, subject.novel, video)
        if not torch.isfinite(logits).all():
            bad = int((~torch.isfinite(logits)).sum())
            return (
                f"{bad} of {logits.numel()} scores of {what} are NaN or infinite: look for a division by a norm or a "
                "spread that may be zero, and for logarithms."
            )
    return ""


def follows_label_order(subject: Subject) -> str:
    """Reordering the classes reorders the logits and changes nothing else; a fixed set is refused in another number."""
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


def only_reads_in_evaluation(subject: Subject) -> str:
    """Scoring changes no parameter, no buffer and no mode."""
    method = subject.fresh()
    before = {name: value.clone() for name, value in _tensors(method).items()}
    learns = {name for name, p in method.named_parameters() if p.requires_grad}
    for labels in (subject.base, subject.novel):
        subject.logits(method, labels)
    changed = [name for name, value in _tensors(method).items() if name not in before or _differ(value, before[name])]
    if changed:
        return f"Scoring changed {_some(changed)}: nothing may learn or be counted in evaluation (running statistics?)."
    if method.training or learns != {name for name, p in method.named_parameters() if p.requires_grad}:
        return "Scoring switched to train() or changed requires_grad: leave modes to the harness."
    return ""


def changes_what_it_declares(subject: Subject) -> str:
    """A fit changes parameters with requires_grad and the method's own buffers, and nothing else."""
    method = subject.fresh()
    if not method.trainable():
        return ""
    before = {name: value.clone() for name, value in method.state_dict().items()}
    declared = set(method.trained_state())
    subject.train(method)
    changed = {n for n, value in method.state_dict().items() if n in before and not torch.equal(value, before[n])}
    if changed - declared:
        return (
            f"A step, or after_fit(), changed {_some(changed - declared)}, which do not learn (requires_grad is False) "
            "and are not saved."
        )
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
        return "Scores on one label set change after another was scored: it must be an argument, never state."
    if not method.trainable() or method.fits_at_once or not subject.cls.open_vocabulary:
        return ""
    once, twice = subject.fresh(), subject.fresh()
    for method, labels in ((once, BASE), (twice, OTHER)):
        subject.see(method, labels)
    twice.load_state_dict(once.trained_state(), strict=False)
    worst = _gap(subject.logits(once, subject.novel), subject.logits(twice, subject.novel))
    return worst and f"{worst} after losses on other classes without any update: loss() keeps the text of its classes."


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
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = subject.logits(method, subject.novel)
    except RuntimeError as error:
        return (
            f"Scoring fails under bfloat16 autocast, as on a GPU: {subject.said(error)}. Bring tensors that meet in a "
            "product to one dtype: x.to(y.dtype)."
        )
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
    has_card, declares_parameters, only_reads_in_evaluation, is_deterministic, has_shapes, has_finite_scores,
    follows_label_order, ignores_other_videos, changes_what_it_declares, learns_everywhere, forgets_labels,
    survives_saving, survives_half_precision, leaves_training_behind,
)  # fmt: skip
FIRST = (only_reads_in_evaluation, is_deterministic)
"""While one of these fails, scores differ by themselves, so that comparing them says nothing."""


def check_method(
    cls: type[ClipMethod] | str, options: Mapping[str, Any] | None = None, backbone: Backbone | None = None
) -> list[Check]:
    """Run all checks on a method; one that raises, or that another has to come before, counts as failed and says so.

    Args:
        cls: A registered method, or its name.
        options: Option values that differ from the defaults.
        backbone: Where to run; the seeded tiny CLIP if not given.
    """
    cls = method_class(cls) if isinstance(cls, str) else cls
    backbone = backbone or tiny_backbone()
    results: list[Check] = []
    raised: dict[str, str] = {}
    unsettled = ""
    for check in CHECKS:
        if unsettled:
            explanation = f"could not be checked before {unsettled} is mended"
        else:
            explanation = _explain(check, cls, options or {}, backbone, raised)
        if explanation and check in FIRST:
            unsettled = unsettled or check.__name__
        promise = (check.__doc__ or "").partition("\n")[0].rstrip(".")
        results.append(Check(check.__name__, not explanation, explanation, promise))
    return results


def _explain(
    check: Callable[[Subject], str], cls: type[ClipMethod], options: Mapping[str, Any], backbone: Backbone,
    raised: dict[str, str],
) -> str:  # fmt: skip
    """The explanation of a check; what a method raises is told in full only once."""
    try:
        return check(Subject(cls, options, backbone))
    except Exception as error:  # a plugin may raise anything; the check reports it
        said = described(error, Path(sys.modules[cls.__module__].__file__ or "").resolve())
        first = raised.setdefault(said, check.__name__)
        return said if first == check.__name__ else f"could not be checked before {first} is mended"


def _tensors(method: ClipMethod) -> dict[str, Tensor]:
    """All parameters and buffers, saved or not, by name."""
    return {**dict(method.named_parameters()), **dict(method.named_buffers())}


def _differ(a: Tensor, b: Tensor) -> bool:
    return a.shape != b.shape or not torch.equal(a, b)


def _hidden_tensors(method: ClipMethod) -> list[str]:
    """Attributes outside of the backbone that hold tensors or modules without torch knowing of it."""
    found = []
    for name, module in method.named_modules():
        if name == "backbone" or name.startswith("backbone."):
            continue
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers", "_modules"):
                continue
            value = list(value.values()) if isinstance(value, dict) else value
            inside = value if isinstance(value, (list, tuple)) else [value]
            if any(isinstance(item, (Tensor, nn.Module)) for item in inside):
                found.append(f"{name}.{key}".lstrip("."))
    return found


def _gap(found: Tensor, expected: Tensor) -> str:
    worst = float((found - expected).abs().max())
    return "" if worst <= TOLERANCE else f"Logits differ by {worst:.3g}"


def _some(names: Any) -> str:
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
