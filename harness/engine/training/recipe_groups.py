"""The parameter groups of a fit: those of the method, divided by the factors and exceptions that the recipe states."""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from harness.engine.method import ClipMethod, ParameterGroup
from harness.spec import Recipe
from harness.spec.recipe import DECAY_KINDS

NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, _NormBase)


def recipe_groups(method: ClipMethod, recipe: Recipe) -> list[ParameterGroup]:
    """Return the groups of `parameter_groups`, divided where the recipe states factors or exceptions from decay.

    Works for any method, also for one that overrides `parameter_groups`. Without `lr_factors` and `no_decay` the groups
    are those of the method. A parameter of several named groups takes the factor of the first one in the recipe.

    Args:
        method: The method.
        recipe: Rates, weight decay, and their exceptions.

    Raises:
        UserError: The recipe names a parameter group that the method does not have.
    """
    # `params` may be a generator, which can be read once only.
    groups: list[ParameterGroup] = [
        {**group, "params": list(group["params"])} for group in method.parameter_groups(recipe)
    ]
    method.check_groups(recipe)
    if not recipe.lr_factors and not recipe.no_decay:
        return groups
    members = {name: _members(method, name) for name in (*recipe.factors, *recipe.no_decay)}
    divided: list[ParameterGroup] = []
    for group in groups:
        rate, decay = group.get("lr", recipe.lr), group.get("weight_decay", recipe.weight_decay)
        parts: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for parameter in group["params"]:
            factor = next((f for name, f in recipe.factors.items() if id(parameter) in members[name]), 1.0)
            is_decayed = not any(id(parameter) in members[name] for name in recipe.no_decay)
            parts.setdefault((factor, is_decayed), []).append(parameter)
        divided += [
            {"params": parameters, "lr": rate * factor, "weight_decay": decay if is_decayed else 0.0}
            for (factor, is_decayed), parameters in parts.items()
        ]
    return divided


def _members(method: ClipMethod, name: str) -> set[int]:
    """Identities of the parameters of a named group, or of a kind of parameters."""
    named = [(n.removeprefix("backbone.clip."), p) for n, p in method.named_parameters()]
    if name not in DECAY_KINDS:
        patterns = method.named_groups[name]
        return {id(p) for n, p in named if any(fnmatchcase(n, pattern) for pattern in patterns)}
    if name == "norms":
        return {id(p) for module in method.modules() if isinstance(module, NORMS) for p in module.parameters()}
    return {id(p) for n, p in named if _is_kind(name, n, p)}


def _is_kind(kind: str, name: str, parameter: nn.Parameter) -> bool:
    if kind == "vectors":
        return parameter.ndim <= 1
    # The input projection of an attention has its bias under the name `in_proj_bias`.
    return name.endswith("bias") if kind == "biases" else "positional_embedding" in name
