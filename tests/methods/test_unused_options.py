"""Options that are refused under other options change nothing there, and change something elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any

import pytest
import torch

from harness.base.errors import UserError
from harness.engine.contract.fixture import MethodUnderTest
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import method_class
from harness.engine.training.step import build_optimizer
from harness.plugins import registry
from harness.spec.options import check_used

NEEDED: dict[str, dict[str, Any]] = {
    "mformer": {"config": "tiny", "checkpoint": "random", "fixed_classes": 3},
    "vita_clip:context=classes": {"fixed_classes": 3},
    "vita_clip:words=a video of": {"fixed_classes": 3},
    "aim:head=classes": {"fixed_classes": 3},
    "st_adapter:head=classes": {"fixed_classes": 3},
    "st_adapter:blocks=0": {"head": "classes", "fixed_classes": 3},
}
"""Further options of a method, or of a method under an option."""
OTHER = {"projections": "q", "blocks": "0", "kernel": "1x3x3", "template": "see {} now", "frames": 7, "landmarks": 2,
    "words": "a video of",
}
"""Other values of options whose type does not tell one."""


def cases() -> Iterator[tuple[str, str, str, Any]]:
    """(method, option, other option, its value) for all values with which an option is declared unused."""
    for name, source in registry.sources("method").items():
        if source.origin == "built-in":
            for option in fields(registry.method_spec(name).options_type):
                for other, values in option.metadata["unused_with"].items():
                    given = OTHER[other] if values is ... else None
                    yield from ((name, option.name, other, value) for value in ([given] if given else values))


def other_value(option: Field[Any]) -> Any:
    """A value of an option that is not its default."""
    if option.name in OTHER:
        return OTHER[option.name]
    if choices := option.metadata["choices"]:
        return next(choice for choice in choices if choice != option.default)
    if isinstance(option.default, bool):
        return not option.default
    return option.default / 2 if isinstance(option.default, float) else option.default + 1


def effect(method: str, options: dict[str, Any]) -> list[Any]:
    """All that options can change: initial weights, trained tensors and their rates, scores, loss, and gradients."""
    cls = method_class(method)
    test = MethodUnderTest(cls, options, tiny_backbone())
    torch.manual_seed(0)
    method_ = test.fresh()
    found: list[Any] = [test.logits(method_, test.base)]
    found += [(name, value.clone()) for name, value in method_.state_dict().items()]
    if test.cls.recipe or test.cls.recipes:
        groups = build_optimizer(method_, test.own_recipe).param_groups
        found += [(group["lr"], group["weight_decay"], len(group["params"])) for group in groups]
        torch.manual_seed(1)
        loss = method_.train().training_loss(test.batch(test.base))
        loss.backward()
        found += [loss.detach(), *((n, p.grad) for n, p in method_.named_parameters() if p.grad is not None)]
    return found


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(type(a) is type(b) and a == b)


def needed(method: str, other: str, value: Any) -> dict[str, Any]:
    return {**NEEDED.get(method, {}), **NEEDED.get(f"{method}:{other}={value}", {}), other: value}


@pytest.mark.parametrize(("method", "option", "other", "value"), list(cases()))
def test_an_unused_option_changes_nothing_and_a_used_one_something(
    method: str, option: str, other: str, value: Any
) -> None:
    by_name = {f.name: f for f in fields(registry.method_spec(method).options_type)}
    changed = {option: other_value(by_name[option])}
    unused = needed(method, other, value)
    assert same(effect(method, unused), effect(method, {**unused, **changed}))
    unused_values = by_name[option].metadata["unused_with"][other]
    unused_values = (value,) if unused_values is ... else unused_values
    choices = (*by_name[other].metadata["choices"], by_name[other].default, True)
    used = needed(method, other, next(choice for choice in choices if choice not in unused_values))
    try:
        check_used(method_class(method).options_for(used), [option], method)
        now = effect(method, {**used, **changed})
    except UserError:
        # A third option makes it unused, the clips have other frames, or scores depend on the videos beside.
        return
    assert not same(effect(method, used), now)
