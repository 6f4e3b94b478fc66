"""A request: the words of the command line that decide which cells exist.

`harness.cells.resolve` turns them into methods, datasets, protocols, views and recipes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.cells.backbone import BackboneChoice
from harness.spec.options import OptionValue, split_method


@dataclass(frozen=True)
class MethodChoice:
    """A method by name with its raw option values.

    Args:
        name: Registered name.
        options: Values by option: text from the command line, or typed values from Python.
        checkpoint: File of published or exported weights of the method, which is then evaluated and not fitted.
    """

    name: str
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    checkpoint: str | None = None


@dataclass(frozen=True)
class Request:
    """The settings that decide which cells exist, as the user wrote them.

    Args:
        methods: Methods with their options.
        protocols: Protocol names.
        datasets: Names or paths; empty for the default of each protocol.
        backbone: Backbone choice; None for the default of each dataset.
        recipe: Overrides of recipe fields, raw text.
        views: Overrides of view fields in training and evaluation, raw text.
        eval_views: Overrides of view fields in evaluation alone, raw text.
        variant: `published`, `corrected` or `split` class names.
        lists: `published` or `own`.
        repeats: Restrict to these repeat indices; empty for all.
        shots: Restrict few-shot fits to these K; empty for all.
        seeds: Fits of each training list, from fixed seeds, as repeats of kind `seed`; 0 for the protocol's repeats.
        parts: Restrict to evals of these parts; empty for all that the protocols prescribe.
        limit: Videos of each class in training and evaluation lists, a sample that is not ranked; 0 for whole lists.
        source: Dataset that zero-shot transfer fits on instead of the target's default; the row is then `open`.
    """

    methods: tuple[MethodChoice, ...]
    protocols: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    backbone: BackboneChoice | None = None
    recipe: Mapping[str, str] = field(default_factory=dict)
    views: Mapping[str, str] = field(default_factory=dict)
    eval_views: Mapping[str, str] = field(default_factory=dict)
    variant: str = "published"
    lists: str = "published"
    repeats: tuple[int, ...] = ()
    shots: tuple[int, ...] = ()
    seeds: int = 0
    parts: tuple[str, ...] = ()
    limit: int = 0
    source: str | None = None


def parse_methods(texts: Iterable[str]) -> tuple[MethodChoice, ...]:
    """Method choices of command-line texts such as `vificlip` or `vificlip:template='a video of {}'`."""
    return tuple(MethodChoice(*split_method(text)) for text in texts)
