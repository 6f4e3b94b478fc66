"""The contract of methods: named checks, each of which explains to the author of a method how it fails.

They run in seconds on a tiny CLIP made from a seed, without weights or videos. `check_method` is used by the tests of
the built-in methods and by the command `check method`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.base.errors import UserError, described
from harness.engine.contract.draws import declares_draws
from harness.engine.contract.fixture import BASE, BATCH, NOVEL, OTHER, MethodUnderTest
from harness.engine.contract.spelling import misspelt_hooks
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import ClipMethod, method_class
from harness.engine.model.clip_model import Backbone
from harness.spec import LabelSet
from harness.spec.options import OptionValue

TOLERANCE = 1e-4
"""Largest difference between logits that are equal up to the order of summation. Logits reach about 50."""


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Args:
        name: Name of the check.
        ok: Whether the method passes.
        explanation: The fault and where to look for it; empty if the method passes.
        promise: The requirement in one sentence.
        waits_for: The failed check without which this check says nothing; empty if the check was made.
    """

    name: str
    ok: bool
    explanation: str = ""
    promise: str = ""
    waits_for: str = ""


def has_card(tested: MethodUnderTest) -> str:
    """The card has a title and a source, and there is a recipe exactly if a parameter is trained."""
    cls = tested.cls
    if not cls.card.title or not cls.card.source:
        return "The card lacks a title or a source: say which publication or code the method follows."
    learns, recipes = bool(tested.fresh().trainable()), cls.recipe is not None or bool(cls.recipes)
    if learns and not recipes:
        return "Parameters learn, but there is no recipe: set `recipe` or `recipes`."
    if recipes and not learns:
        return "There is a recipe, but no parameter learns: setup() must leave some requires_grad, or drop the recipe."
    return ""


def spells_hooks(tested: MethodUnderTest) -> str:
    """No name of the class is a misspelt hook: a name that no code uses, close to the name of a hook."""
    misspelt = misspelt_hooks(tested.cls)
    return "; ".join(
        f"{name} is used nowhere and is close to the hook {hook}: rename it, or remove it if it is not meant"
        for name, hook in misspelt.items()
    )


def declares_parameters(tested: MethodUnderTest) -> str:
    """Every tensor made by setup() is a parameter or a buffer, and every trained parameter is in a parameter group."""
    method = tested.fresh()
    hidden = _hidden_tensors(method)
    if hidden:
        return (
            f"{_first_names(hidden)} of setup() is unknown to torch, so it is neither saved nor moved to a GPU: use "
            "nn.Parameter, nn.ParameterList, nn.ModuleList or register_buffer()."
        )
    if not method.trainable():
        return ""
    own = {id(p): name for name, p in method.named_parameters()}
    groups = list(method.parameter_groups(tested.recipe))
    wrong = next((group for group in groups if not isinstance(group, dict)), None)
    if wrong is not None:
        return (
            f"parameter_groups() returned {type(wrong).__name__} in place of a group: return dictionaries "
            '{"params": [...], "lr": ..., "weight_decay": ...}.'
        )
    grouped = [id(p) for group in groups for p in group["params"]]
    if len(set(grouped)) < len(grouped):
        return f"parameter_groups() lists {len(grouped) - len(set(grouped))} parameters twice."
    if set(grouped) - set(own):
        return (
            f"parameter_groups() lists {len(set(grouped) - set(own))} tensors that are not parameters of the method: "
            "their values would not be saved."
        )
    left_out = [name for name, p in method.named_parameters() if p.requires_grad and id(p) not in grouped]
    if left_out:
        return (
            f"parameter_groups() leaves out {_first_names(left_out)}: freeze them (requires_grad_(False)) or list them."
        )
    learns = [name for name, p in method.named_parameters() if p.requires_grad and method.shares_initial(name)]
    if method.frozen_clip and learns:
        return f"frozen_clip is set, but setup() trains tensors of CLIP: {_first_names(learns)}."
    return ""


def has_shapes(tested: MethodUnderTest) -> str:
    """Scores have one row per video and one column per class, step by step and from the method as a whole."""
    method = tested.fresh()
    # A single class, because `squeeze()` and softmax over classes go wrong there.
    for labels in (BASE, NOVEL, LabelSet(("walk",))) if tested.is_open else (tested.base,):
        logits = tested.logits(method, labels)
        if tuple(logits.shape) != (BATCH, len(labels)):
            return f"score() returned {tuple(logits.shape)} for {BATCH} videos and {len(labels)} classes."
        with torch.no_grad():
            whole = method(tested.video, labels).float()
        # NaN is left to `has_finite_scores`, which explains it better.
        if not torch.allclose(whole, logits, atol=TOLERANCE, equal_nan=True):
            return "The method called as a whole and its steps encode_text, encode_video, score give different logits."
    if method.trainable() and not method.fits_at_once:
        loss = tested.see(method, tested.base)
        if loss.dim():
            return f"loss() returned shape {tuple(loss.shape)}, expected a scalar: return the mean over the batch."
    return ""


def has_finite_scores(tested: MethodUnderTest) -> str:
    """Scores are finite for noise and for a black video, and so is the loss."""
    method = tested.fresh()
    for what, video in (("noise", tested.video), ("a black video", tested.black)):
        logits = tested.logits(method, tested.novel, video)
        if not torch.isfinite(logits).all():
            bad = int((~torch.isfinite(logits)).sum())
            return (
                f"{bad} of {logits.numel()} scores of {what} are NaN or infinite: look for a division by a norm or a "
                "spread that may be zero, and for logarithms."
            )
    if method.trainable() and not method.fits_at_once:
        loss = tested.see(method, tested.base)
        if not torch.isfinite(loss).all():
            return f"the loss of the base classes is {loss.flatten()[0]:g} before any update: look for log(0) and 0/0."
    return ""


def follows_label_order(tested: MethodUnderTest) -> str:
    """Reordered classes give reordered logits; a method with fixed classes refuses another number of classes."""
    if not tested.is_open:
        return _refuses_other_classes(tested)
    method, order = tested.fresh(), [2, 0, 3, 1]  # no class keeps its position
    logits = tested.logits(method, NOVEL)
    moved = tested.logits(method, LabelSet(tuple(NOVEL.names[i] for i in order)))
    worst = _gap(moved, logits[:, order])
    return worst and f"{worst} when classes are reordered: encode_text() or score() depends on a class's position."


def _refuses_other_classes(tested: MethodUnderTest) -> str:
    try:
        tested.fresh().encode_text(LabelSet((*tested.base.names, "one more")))
    except UserError:
        return ""
    return "encode_text() accepted a label set with one class more than the model has: raise a UserError."


def is_deterministic(tested: MethodUnderTest) -> str:
    """Two evaluations of the same videos are bit-identical for any state of the random generators."""
    method = tested.fresh()
    # Two seeds, so that a method that draws from torch's generator cannot agree by chance.
    torch.manual_seed(1)
    first = tested.logits(method, tested.novel)
    torch.manual_seed(2)
    if torch.equal(first, tested.logits(method, tested.novel)):
        return ""
    return "Two evaluations differ: something random is active in eval mode (dropout called as a function, sampling)."


def ignores_other_videos(tested: MethodUnderTest) -> str:
    """The logits of a video do not depend on the other videos of its batch."""
    method = tested.fresh()
    together = tested.logits(method, tested.novel)
    alone = torch.cat([tested.logits(method, tested.novel, tested.video[i : i + 1]) for i in range(BATCH)])
    worst = _gap(alone, together)
    return worst and f"{worst} when a video is scored alone: encode_video() or score() mixes the videos of a batch."


def only_reads_in_evaluation(tested: MethodUnderTest) -> str:
    """Scoring changes no parameter, no buffer, no mode and no requires_grad."""
    method = tested.fresh()
    before = {name: value.clone() for name, value in _tensors(method).items()}
    trained = {name for name, p in method.named_parameters() if p.requires_grad}
    for labels in (tested.base, tested.novel):
        tested.logits(method, labels)
    changed = [name for name, value in _tensors(method).items() if name not in before or _differ(value, before[name])]
    if changed:
        names = _first_names(changed)
        return f"Scoring changed {names}: nothing may learn or be counted in evaluation (running statistics?)."
    if method.training or trained != {name for name, p in method.named_parameters() if p.requires_grad}:
        return "Scoring switched to train() or changed requires_grad: leave modes to the harness."
    return ""


def changes_what_it_declares(tested: MethodUnderTest) -> str:
    """A fit changes only parameters with requires_grad and the method's own buffers."""
    method = tested.fresh()
    if not method.trainable():
        return ""
    # Read before the step: a method may add buffers in its loss.
    before = {name: value.clone() for name, value in method.state_dict().items()}
    declared = set(method.trained_state())
    tested.train(method)
    changed = {n for n, value in method.state_dict().items() if n in before and not torch.equal(value, before[n])}
    if changed - declared:
        return (
            f"A step, or after_fit(), changed {_first_names(changed - declared)}, which do not learn (requires_grad is "
            "False) and are not saved."
        )
    if not changed:
        return "A step changed no parameter: the loss does not depend on what learns, or the groups are empty."
    return ""


def learns_everywhere(tested: MethodUnderTest) -> str:
    """Every trained parameter has a gradient other than zero within three steps."""
    method = tested.fresh()
    if not method.trainable():
        return ""
    silent = [name for name, hit in tested.train(method, steps=3).items() if not hit]
    if not silent:
        return ""
    return f"No gradient reaches {_first_names(silent)}: freeze them (requires_grad_(False)) or use them in the loss."


def forgets_labels(tested: MethodUnderTest) -> str:
    """Scores of a label set do not depend on label sets that the method saw before, in training or evaluation."""
    expected = tested.logits(tested.fresh(), tested.novel)
    method = tested.fresh()
    tested.logits(method, tested.base)
    if not torch.equal(tested.logits(method, tested.novel), expected):
        return "Scores on one label set change after another was scored: it must be an argument, never state."
    if not method.trainable() or method.fits_at_once or not tested.is_open:
        return ""
    once, twice = tested.fresh(), tested.fresh()
    # Equal weights, but losses on different classes: a difference is state outside of the weights.
    for method, labels in ((once, BASE), (twice, OTHER)):
        tested.see(method, labels)
    twice.load_state_dict(once.trained_state(), strict=False)
    worst = _gap(tested.logits(once, tested.novel), tested.logits(twice, tested.novel))
    return worst and f"{worst} after losses on other classes without any update: loss() keeps the text of its classes."


def survives_saving(tested: MethodUnderTest) -> str:
    """A fresh method with the trained state gives the same scores."""
    method = tested.fresh()
    if method.trainable():
        tested.train(method)
    state = {name: value.clone() for name, value in method.trained_state().items()}
    loaded = tested.fresh()
    # A tensor that appears only during training has no place in a fresh method, into which a fit is loaded.
    if set(state) != set(loaded.trained_state()):
        differ = set(state) ^ set(loaded.trained_state())
        return f"The trained state has other names than a fresh method's: {_first_names(differ)}."
    loaded.load_state_dict(state, strict=False)
    # Bit for bit: the same weights on the same machine leave no room for rounding.
    if torch.equal(tested.logits(method, tested.novel), tested.logits(loaded, tested.novel)):
        return ""
    return "A saved and loaded method scores differently: a part of its state is neither parameter nor buffer."


def survives_half_precision(tested: MethodUnderTest) -> str:
    """Scores under bfloat16 autocast are close to scores in fp32."""
    method = tested.fresh()
    expected = tested.logits(method, tested.novel)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = tested.logits(method, tested.novel)
    except RuntimeError as error:
        return (
            f"Scoring fails under bfloat16 autocast, as on a GPU: {tested.explain(error)}. Bring tensors that meet in "
            "a product to one dtype: x.to(y.dtype)."
        )
    # bfloat16 has 8 bits of precision, and errors of single products add up over the blocks.
    allowed = 0.1 + 0.03 * float(expected.abs().max())
    gap = float((rounded - expected).abs().max())
    if not gap <= allowed:
        return (
            f"Logits in bfloat16 differ from fp32 by {gap:.3g}, allowed {allowed:.3g}: take the last product in fp32."
        )
    return ""


def leaves_training_behind(tested: MethodUnderTest) -> str:
    """After eval() no module is in training mode, and switching to training mode and back changes no score."""
    method = tested.fresh()
    expected = tested.logits(method, tested.novel)
    method.train()
    method.eval()
    in_training = [name for name, module in method.named_modules() if module.training]
    if in_training:
        return f"{_first_names(in_training)} stay in training mode after eval()."
    if not torch.equal(tested.logits(method, tested.novel), expected):
        return "Scores change by switching to train() and back: train() or eval() is overridden with a side effect."
    return ""


# In the order in which faults explain each other: the first failed check names the cause of the later ones.
CHECKS: tuple[Callable[[MethodUnderTest], str], ...] = (
    has_card, spells_hooks, declares_parameters, has_finite_scores, only_reads_in_evaluation, is_deterministic,
    has_shapes, follows_label_order, ignores_other_videos, changes_what_it_declares, learns_everywhere, declares_draws,
    forgets_labels, survives_saving, survives_half_precision, leaves_training_behind,
)  # fmt: skip
FIRST = (has_finite_scores, only_reads_in_evaluation, is_deterministic)
"""If one of these fails, repeated scores differ, so that the later checks, which compare scores, are skipped.

Finite scores come first of all: NaN is unequal to itself, so that every comparison of scores would fail with a wrong
explanation.
"""


def check_method(
    cls: type[ClipMethod] | str, options: Mapping[str, OptionValue] | None = None, backbone: Backbone | None = None
) -> list[Check]:
    """Run all checks on a method. A check that raises, or that needs an earlier check to pass, counts as failed.

    Args:
        cls: The class of a method, or its registered name.
        options: Option values that differ from the defaults.
        backbone: The CLIP model; the seeded tiny CLIP if not given.
    """
    cls = method_class(cls) if isinstance(cls, str) else cls
    backbone = backbone or tiny_backbone()
    # Loaded once: a model of the method's own takes longer to load than a check. An exception is raised by each check.
    tested = cache(lambda: MethodUnderTest(cls, options or {}, backbone))
    results: list[Check] = []
    raised: dict[str, str] = {}
    waits_for = ""
    for check in CHECKS:
        explanation, blocking = ("", waits_for) if waits_for else _explain(check, cls, tested, raised)
        if blocking:
            explanation = f"could not be checked before {blocking} is fixed"
        if explanation and check in FIRST:
            waits_for = waits_for or blocking or check.__name__
        promise = (check.__doc__ or "").partition("\n")[0].rstrip(".")
        results.append(Check(check.__name__, not explanation, explanation, promise, blocking))
    return results


def _explain(
    check: Callable[[MethodUnderTest], str],
    cls: type[ClipMethod],
    tested: Callable[[], MethodUnderTest],
    raised: dict[str, str],
) -> tuple[str, str]:
    """The explanation of a check, and the earlier check that raised the same exception, which explains it already."""
    try:
        return check(tested().twin()), ""
    except Exception as error:  # a plugin may raise anything; the check reports it
        text = described(error, Path(sys.modules[cls.__module__].__file__ or "").resolve())
        first = raised.setdefault(text, check.__name__)
        return (text, "") if first == check.__name__ else ("", first)


def _tensors(method: ClipMethod) -> dict[str, Tensor]:
    """All parameters and buffers, saved or not, by name."""
    return {**dict(method.named_parameters()), **dict(method.named_buffers())}


def _differ(a: Tensor, b: Tensor) -> bool:
    return a.shape != b.shape or not torch.equal(a, b)


def _hidden_tensors(method: ClipMethod) -> list[str]:
    """Attributes outside of the backbone that hold tensors or modules which are not registered with torch."""
    hidden = []
    for name, module in method.named_modules():
        # The backbone's modules are open_clip's; the check is about the tensors that setup() adds.
        if name == "backbone" or name.startswith("backbone."):
            continue
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers", "_modules"):  # torch's registries
                continue
            held = [*value.values()] if isinstance(value, dict) else value
            inside = held if isinstance(held, (list, tuple)) else [held]
            if any(isinstance(item, (Tensor, nn.Module)) for item in inside):
                hidden.append(f"{name}.{key}".lstrip("."))
    return hidden


def _gap(actual: Tensor, expected: Tensor) -> str:
    """The largest difference in words; empty if it is within the tolerance."""
    worst = float((actual - expected).abs().max())
    return "" if worst <= TOLERANCE else f"Logits differ by {worst:.3g}"


def _first_names(names: Iterable[str]) -> str:
    """The first three names, and the number of the remaining names."""
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
