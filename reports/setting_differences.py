"""Differences between the settings of a measurement and those of a published number, in words.

A setting that the source states is compared with the source: in the words of `Views` and `Recipe` (`sampling`,
`resize`, `average`, `initial_share`, ...), with `training_` before the name of a view setting for the views of the fit.
A value that the source does not state is compared with the protocol's prescription and the method's declaration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace

from harness.spec import Recipe, Views
from harness.spec.dense import DENSE_RULES
from harness.spec.segments import SEGMENT_RULES
from reports.layout import PAPER_TABLES
from reports.paper import NAMES_TEXT, class_text_of, layout_of
from results.measurement import UNKNOWN, Measurement, ModelId, Training, Value
from results.measurement_words import (
    WRITTEN_TEXTS,
    model_text,
    open_reasons,
    own_recipe,
    plain,
    recipe_changes,
    recipe_text,
    start_text,
)
from results.published_numbers import DATASETS, NOT_STATED, PublishedNumber, Setting

_FULL_PRECISION = ("", UNKNOWN, "fp32", "float32")
CHANGED_RECIPE = "changed recipe: "
"""Beginning of the reason that names changed settings of a recipe, here and in the reasons of a row without a rank."""
_BEST = "best "
"""Beginning of a stated `selection` that takes the epoch with the best score of some list."""
_VIEWS = tuple(f.name for f in fields(Views))
_RECIPE = tuple(f.name for f in fields(Recipe) if f.name not in ("selection", "source"))
_COMPARED_ELSEWHERE = ("class_texts", "start", "stage_one", "config", "checkpoint", "classes", "fixed_classes")
"""Options that are compared as class text, start or method, or that name files and sizes of a dataset."""
_LISTS = {"training_list": "training lists", "evaluation_list": "evaluation lists"}


def setting_differences(number: PublishedNumber, m: Measurement) -> Iterator[str]:
    """The settings of a measurement that differ from those of a published number, without lists and repeats of a row.

    Args:
        number: The published number.
        m: A measurement of the number's method under its protocol on its dataset.
    """
    setting, stated = number.setting, number.setting.further
    if _adapts_clip(number) and not _is_papers_backbone(m.model):
        yield f"backbone {model_text(m.model)}, paper {PAPER_TABLES.backbone.title}"
    if "variant" in stated:
        yield f"another form of the method in the paper: {stated['variant']}"
    yield from _of_views(setting, stated, m)
    yield from _of_texts(number, stated, m)
    yield from open_reasons(_apart_from(number, stated, m))
    if m.fitted and (m.fitted.start.kind == "clip") is layout_of(number).starts_from_fit:
        yield f"starts from {start_text(m)}, paper {setting.init or 'CLIP'}"
    if m.fitted:
        yield from _of_training(stated, m.fitted)
    yield from _of_options(stated.get("options", ""), m)
    kind, index = m.protocol.repeat.kind.replace("_", " "), str(m.protocol.repeat.index)
    if stated.get("repeat", index) != index:
        yield f"{kind} {index}, paper {kind} {stated['repeat']} alone"
    for name, words in _LISTS.items():
        if name in stated and (name == "evaluation_list" or m.fitted):
            yield f"{words} of the protocol, paper {stated[name]}"
    for cell_kind, used in (("fit", m.fitted.precision if m.fitted else ""), ("eval", m.evaluation.precision)):
        wanted = stated.get("precision", "")
        if used != wanted and not (used in _FULL_PRECISION and wanted in _FULL_PRECISION):
            yield f"precision of the {cell_kind} {used}, paper {wanted or 'not stated'}"


def _agrees(used: Value, text: str) -> bool:
    """Whether a value is the stated value, or one of several that ` or ` separates.

    A rule of dense sampling that is stated without its stride, such as `dense_mid`, holds for any stride.
    """
    values = {plain(used)} | ({used.partition(":")[0]} if isinstance(used, str) else set())
    return not values.isdisjoint(text.split(" or "))


# --- views


def _of_views(setting: Setting, stated: Mapping[str, str], m: Measurement) -> Iterator[str]:
    """View settings that differ from the source, or from the prescribed views where the source does not state them."""
    prescribed, views = m.protocol.prescribed.views, m.evaluation.views
    wanted = {name: stated[name] for name in _VIEWS if name in stated}
    if setting.frames:
        wanted["frames"] = str(setting.frames)
    # Views are stated as `4x3`, or in the words of the source, which are compared as they are.
    clips, _, crops = (setting.views or "").partition("x")
    if clips.isdecimal() and crops.isdecimal():
        wanted |= {"clips": clips, "crops": crops}
    elif setting.views:
        yield f"{views.clips}x{views.crops} views, paper {setting.views}"
    left_open = {name for name, text in setting.more if text == NOT_STATED}
    for name in (name for name in _VIEWS if name not in left_open):
        used, expected = getattr(views, name), getattr(prescribed, name)
        if name == "sampling":
            yield from _of_sampling(wanted, m)
        elif name in wanted:
            if not _agrees(used, wanted[name]):
                yield f"{name} {plain(used)}, paper {wanted[name]}"
        elif used != expected:
            yield f"{name} {plain(used)}, prescribed {plain(expected)}"


def _of_sampling(wanted: Mapping[str, str], m: Measurement) -> Iterator[str]:
    used, prescribed = m.evaluation.views, m.protocol.prescribed.views
    text = wanted.get("sampling", "")
    clips = wanted.get("clips", str(prescribed.clips))
    if not text and "clips" in wanted:
        # A source with several clips that does not state their sampling does not follow the protocol's either. One clip
        # is in the centre, unless a rule of a published code samples its frames.
        if clips == "1" and _has_rule(used.sampling):
            yield f"sampling {used.sampling}, prescribed {prescribed.single.sampling}"
        return
    if used.clips == 1 and clips == "1" and not _has_rule(used.sampling) and not _has_rule(text):
        return  # a single view is always the centre, whatever the sampling
    source, expected = ("paper", text) if text else ("prescribed", prescribed.sampling)
    if not _agrees(used.sampling, expected):
        yield f"sampling {used.sampling}, {source} {expected}"


def _has_rule(sampling: str) -> bool:
    """Whether a rule of a published code samples the frames of a single view, too."""
    return sampling.partition(":")[0] in (*DENSE_RULES, *SEGMENT_RULES)


# --- texts


def _of_texts(number: PublishedNumber, stated: Mapping[str, str], m: Measurement) -> Iterator[str]:
    """Class names and class texts that differ from those of the source."""
    setting = number.setting
    for listed in (m.evaluation.list, *([m.fitted.list] if m.fitted else ())):
        # A source states the names of the classes that it evaluates; those of another source dataset are published.
        wanted = stated.get("label_set", "published") if listed.dataset == DATASETS[number.dataset] else "published"
        if not _agrees(listed.label_variant, wanted):
            yield f"{listed.label_variant} class names" + (f", paper {wanted}" if "label_set" in stated else "")
    written = m.method.class_text if m.method.class_text in WRITTEN_TEXTS else NAMES_TEXT
    if written != class_text_of(setting):
        yield f"class text {m.method.class_text}, paper {setting.text or 'class names'}"


# --- training and options


def _evaluated(recipe: Recipe) -> str:
    """The evaluated weights of a fit in words."""
    if recipe.averaged_epochs:
        return f"mean of the epochs {recipe.average}"
    return f"epoch {recipe.chosen_epoch}" if recipe.chosen_epoch else "last epoch"


def _of_training(stated: Mapping[str, str], training: Training) -> Iterator[str]:
    """Views of the fit, recipe and evaluated epoch that differ from the source, or from the method's declaration."""
    for name in _VIEWS:
        text, view = stated.get(f"training_{name}"), getattr(training.views, name)
        if text is not None and not _agrees(view, text):
            yield f"training {name} {plain(view)}, paper {text}"
    recipe = training.recipe
    for name in (name for name in _RECIPE if name in stated):
        if not _agrees(getattr(recipe, name), stated[name]):
            yield f"{name} {plain(getattr(recipe, name))}, paper {stated[name]}"
    yield from _of_selection(stated, recipe)
    if changes := {name: value for name, value in recipe_changes(training).items() if name not in stated}:
        yield f"{CHANGED_RECIPE}{recipe_text(changes)}"
    if own_recipe(training):
        yield "not a published recipe"


def _of_selection(stated: Mapping[str, str], recipe: Recipe) -> Iterator[str]:
    """The difference in the evaluated epoch. An epoch by number is a candidate for the best epoch of the source."""
    selection, candidates = stated.get("selection", ""), stated.get("candidates", "")
    if selection and bool(recipe.chosen_epoch) is not selection.startswith(_BEST):
        yield f"{_evaluated(recipe)}, paper {selection}"
    elif candidates and str(recipe.chosen_epoch) not in candidates.split(", "):
        yield f"{_evaluated(recipe)}, paper one of the epochs {candidates}"


def _of_options(stated: str, m: Measurement) -> Iterator[str]:
    """Options of the method that differ from those that the source states, as `stop=batch,head=classes`."""
    values = {**m.method.options, **m.method.evaluation_options}
    for entry in filter(None, stated.split(",")):
        name, _, text = entry.partition("=")
        if not _agrees(values.get(name), text):
            yield f"option {name} {plain(values.get(name))}, paper {text}"


def option_changes(number: PublishedNumber, m: Measurement, defaults: Mapping[str, Value]) -> Iterator[str]:
    """Options that differ from the method's defaults and that the source does not state.

    Args:
        number: The published number.
        m: A measurement of the number's method.
        defaults: Default values of the method's options; an option without an entry is not compared.
    """
    stated = [entry.partition("=")[0] for entry in number.setting.further.get("options", "").split(",")]
    for name, value in sorted({**m.method.options, **m.method.evaluation_options}.items()):
        changed = name in defaults and value != defaults[name]
        # Switches with the value `published` follow the code of the source.
        if changed and value != "published" and name not in (*stated, *_COMPARED_ELSEWHERE):
            yield f"changed option: {name}={plain(value)}"


def _apart_from(number: PublishedNumber, stated: Mapping[str, str], m: Measurement) -> Measurement:
    """The measurement without the deviations that are compared with the source elsewhere, or that the source shares."""
    selected = m.fitted.recipe.selection if m.fitted and "selection" in stated else m.protocol.prescribed.selection
    prescribed = replace(m.protocol.prescribed, views=m.evaluation.views, selection=selected)
    # Published uni-modal methods, and methods that start from a fit, were trained on other data before.
    trained_before = not _adapts_clip(number) or layout_of(number).starts_from_fit
    stated_data = trained_before or "extra_data" in stated
    method = replace(m.method, class_text=NAMES_TEXT, extra_data=() if stated_data else m.method.extra_data)
    return replace(m, protocol=replace(m.protocol, prescribed=prescribed), method=method)


# --- backbone


def _adapts_clip(number: PublishedNumber) -> bool:
    family = PAPER_TABLES.families.get(number.family)
    return family is None or family.clip


def _is_papers_backbone(model: ModelId) -> bool:
    name = model.arch.lower().replace("_", "-").replace("/", "-")
    return name in PAPER_TABLES.backbone.architectures and model.weights == PAPER_TABLES.backbone.weights
