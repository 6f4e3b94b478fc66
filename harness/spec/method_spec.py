"""The part of a method that needs no torch: card, recipes, options, and decisions that need option values alone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from harness.base.errors import UserError, near_hint
from harness.spec import LabelSet, MethodCard, ParentFit, Recipe, Views
from harness.spec.class_texts import ClassTexts, read_class_texts
from harness.spec.options import MethodOptions, OptionValue, build_options, unused_because
from harness.spec.recipe import DECAY_KINDS
from harness.spec.shared_options import shared_options

if TYPE_CHECKING:
    from results.measurement import ModelId


class OwnModel(Protocol):
    """A model that a method uses instead of CLIP, before it is built."""

    @property
    def is_mini(self) -> bool:
        """Whether the model is the embedded tiny CLIP: always False."""
        ...

    def slug(self) -> str:
        """The name of the model's folder below the run folder."""
        ...

    def model_id(self) -> ModelId:
        """The model as measurements state it before its weights are read."""
        ...

    def views_of(self, views: Views) -> Views:
        """A protocol's views as this model takes them."""
        ...

    def check_views(self, views: Views) -> None:
        """Raise a `UserError` for views that the model cannot take."""
        ...

    def load(self) -> Any:
        """The model, a module with `facts` and `image_size`."""
        ...


class MethodSpec:
    """The settings of a method and the decisions that follow from them; `ClipMethod` adds the part that needs torch.

    A plugin derives from `ClipMethod` alone and sets everything in one class. The built-in methods keep their
    specification in a separate module, so that planning and `show` never import torch.

    Class attributes:
        card: Description of the method for people.
        recipe: Optimisation settings; None for a method that is not trained.
        recipes: More specific settings, looked up before `recipe` in the order
            `PRESET/PROTOCOL/DATASET`, `PRESET/PROTOCOL`, `PRESET` where the backbone has a preset (`mini` for the
            embedded tiny model), then `PROTOCOL/DATASET/K`, `PROTOCOL/DATASET`, `PROTOCOL`, with K shots.
        options_type: A `MethodOptions` dataclass with the method's typed options. Some names have a meaning here:
            `template` (the text around a class name), `class_texts` (a file with texts of the classes),
            `text_embedding` and `logits` (`published` rounds token embeddings, or the last product, to float16), and
            `frames` (frames per view, set by the harness).
        class_text_kinds: Kinds of the texts that the method reads from a file of class texts.
        protocol_options: Published option values where they differ by protocol, looked up like `recipes`.
        parent: The fit whose trained tensors the method starts from, handed to `adopt`.
        named_groups: Parameter groups that recipes may name in `lr_factors` and `no_decay`: patterns of parameter names
            (`fusion.*`, `*ln_1*`) by name of the group. Parameter names are those of open_clip below `backbone.clip.`,
            or the method's own names. A group may be empty under some options.
        couples_clips: Whether the loss of a clip depends on the other clips of its blending group, as in contrastive
            losses; each group of `micro_batch` clips is then one batch, for any device batch.
        random_draws: Whether the method draws numbers from torch's global generator in training, as dropout does; the
            loss is then computed for each group of `micro_batch` clips, so that the draws do not depend on the device
            batch and on the number of processes.
        batch_statistics: Whether BatchNorm layers of the backbone normalise by the statistics of the device batch in
            fits. Their statistics are then part of the weights of a fit, and the device batch of its measurement.
        fitted_buffers: Names of the method's own buffers that a fit sets without training them. They are part of the
            weights of a fit and are not counted as trained parameters. The check of submissions reads this attribute
            of built-in methods alone; buffers of other methods may hold one percent of the trained parameters.
        checkpoint_normalize: Input statistics (`clip`) of the checkpoints that the authors published, if they differ
            from those of the tables; an evaluation with --checkpoint takes them.
        frozen_clip: Whether a fit changes no tensor of CLIP, so that a recipe cannot mix them with initial values.
        uses_clip: Whether the method runs on CLIP; otherwise `own_model` gives its model.
        open_vocabulary: Whether the method can classify any classes. A method with a fixed set of classes is refused
            where a protocol evaluates other classes than it trains on.
        parameters_vit_b16: (total, trained) numbers of parameters on ViT-B/16 under default options, for `show`; None
            where they were not counted.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    card: ClassVar[MethodCard] = MethodCard(title="")
    recipe: ClassVar[Recipe | None] = None
    recipes: ClassVar[Mapping[str, Recipe]] = {}
    options_type: ClassVar[type[MethodOptions]] = MethodOptions
    protocol_options: ClassVar[Mapping[str, Mapping[str, OptionValue]]] = {}
    parent: ClassVar[ParentFit | None] = None
    class_text_kinds: ClassVar[tuple[str, ...]] = ("",)
    named_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    couples_clips: ClassVar[bool] = False
    random_draws: ClassVar[bool] = False
    batch_statistics: ClassVar[bool] = False
    fitted_buffers: ClassVar[tuple[str, ...]] = ()
    checkpoint_normalize: ClassVar[str] = ""
    frozen_clip: ClassVar[bool] = False
    uses_clip: ClassVar[bool] = True
    open_vocabulary: ClassVar[bool] = True
    parameters_vit_b16: ClassVar[tuple[int, int] | None] = None

    @classmethod
    def recipe_for(cls, protocol: str, dataset: str, shots: int | None = None, preset: str = "") -> Recipe | None:
        """The recipe of a protocol, dataset and number of shots: the most specific of `recipes`, else `recipe`."""
        keys = _lookup_keys(protocol, dataset, preset, shots)
        return next((cls.recipes[key] for key in keys if key in cls.recipes), cls.recipe)

    @classmethod
    def check_recipe(cls, recipe: Recipe) -> None:
        """Refuse a recipe that the method cannot be fitted with, before anything is computed.

        Raises:
            UserError: The recipe names an unknown parameter group, mixes initial weights into a frozen CLIP, or has
                another setting that the method refuses.
        """
        cls.check_groups(recipe)
        if cls.frozen_clip and recipe.initial_share > 0:
            raise UserError(
                f"recipe.initial_share is {recipe.initial_share:g}, but {cls.name} trains no tensor of CLIP.",
                "Leave initial_share out.",
            )

    @classmethod
    def check_groups(cls, recipe: Recipe) -> None:
        """Refuse a recipe that names a parameter group which the method does not have.

        Raises:
            UserError: `lr_factors` or `no_decay` has an unknown name.
        """
        for setting, names, kinds in (
            ("lr_factors", tuple(recipe.factors), ()), ("no_decay", recipe.no_decay, DECAY_KINDS)
        ):  # fmt: skip
            known = (*cls.named_groups, *kinds)
            for name in names:
                if name not in known:
                    raise UserError(
                        f"recipe.{setting} names the parameter group {name!r}, expected "
                        + (f"one of {', '.join(known)}." if known else f"none: {cls.name} has no named groups."),
                        near_hint(name, known) or "Named groups are the attribute `named_groups` of a method.",
                    )

    @classmethod
    def parent_fit(cls, options: MethodOptions) -> ParentFit | None:
        """The fit to start from under these options, None to start from the backbone's weights."""
        return cls.parent

    @classmethod
    def start_kind(cls, options: MethodOptions) -> Literal["clip", "checkpoint"]:
        """Start of a fit without a parent: the backbone's weights, or a file that an option names."""
        return "clip"

    @classmethod
    def scored_together(cls, options: MethodOptions) -> int | None:
        """Number of videos that an eval scores together, if scores depend on the videos beside; None if they do not."""
        return None

    @classmethod
    def own_model(cls, options: MethodOptions) -> OwnModel | None:
        """The model that replaces CLIP under these options; None for methods that use CLIP."""
        return None

    @classmethod
    def check_frames(cls, options: MethodOptions, frames: int) -> None:
        """Refuse a number of frames per view that the method cannot take under these options.

        A method with an option `frames` takes that number where the option has an effect; others take any. Plans call
        this for the views of fits and evals. A method calls it where it reads a video.

        Raises:
            UserError: The method takes another number of frames.
        """
        expected = getattr(options, "frames", frames)
        if frames != expected and not unused_because(options, "frames"):
            raise UserError(
                f"{cls.name} is set up for {expected} frames, the view has {frames}.",
                f"Give views of {expected} frames (--views frames={expected}; in predict and attention --frames "
                f"{expected}), or, before a fit, set {cls.name}:frames={frames}.",
            )

    @classmethod
    def is_open(cls, options: MethodOptions) -> bool:
        """Whether the method can classify any classes under these options."""
        return cls.open_vocabulary

    @classmethod
    def check_classes(cls, options: MethodOptions, label_set: LabelSet) -> None:
        """Refuse a label set that the method or its file of class texts does not have, before anything is computed.

        Raises:
            NotApplicableError: The label set has other classes than the method, which has a fixed set of classes.
            UserError: The file of class texts lacks a class, or texts of a kind that the method reads.
        """
        if (texts := cls.class_texts_file(options)) is not None:
            for kind in cls.class_text_kinds:
                texts.of(label_set, kind)

    @classmethod
    def check_training_classes(cls, options: MethodOptions, label_set: LabelSet) -> None:
        """Refuse the classes of a training list that the method cannot be fitted on, before anything is computed.

        Raises:
            UserError: The method cannot be fitted on these classes.
        """

    @classmethod
    def class_texts_file(cls, options: MethodOptions) -> ClassTexts | None:
        """The content of the file that the option `class_texts` names; None without a file.

        Raises:
            UserError: The file is missing or has another form.
        """
        path = shared_options(options).class_texts
        return read_class_texts(path) if path else None

    @classmethod
    def card_for(cls, options: MethodOptions) -> MethodCard:
        """The card under these options, where one method gives several rows of a table."""
        return cls.card

    @classmethod
    def options_for(
        cls,
        values: Mapping[str, OptionValue],
        protocol: str = "",
        dataset: str = "",
        preset: str = "",
        frames: int | None = None,
    ) -> MethodOptions:
        """The options of a run: defaults, overridden by the protocol's published values, then by the user's values.

        Args:
            values: The user's values, raw.
            protocol: Name of the protocol.
            dataset: Name of the dataset.
            preset: `mini` for the embedded tiny model.
            frames: Frames per view, for methods with an option of that name.

        Raises:
            UserError: An unknown option or value.
        """
        keys = _lookup_keys(protocol, dataset, preset)
        merged = dict(next((cls.protocol_options[key] for key in keys if key in cls.protocol_options), {}))
        # After the values of the protocol and before those of the user, who may set another number.
        if frames is not None and any(f.name == "frames" for f in fields(cls.options_type)):
            merged["frames"] = frames
        return build_options(cls.options_type, {**merged, **values}, cls.name)


def _lookup_keys(protocol: str, dataset: str, preset: str, shots: int | None = None) -> list[str]:
    """The keys of `recipes` and `protocol_options`, the most specific first."""
    published = [f"{protocol}/{dataset}", protocol]
    if shots is not None:
        published.insert(0, f"{protocol}/{dataset}/{shots}")
    return [*(f"{preset}/{key}" for key in published), preset, *published] if preset else published


def spec_problem(cls: type[MethodSpec]) -> tuple[str, str]:
    """A message about the first class attribute of a method that cannot be used, and a hint; empty if all are valid."""
    if not isinstance(cls.card, MethodCard) or not cls.card.title:
        return "has no card", "Set `card = MethodCard(title=..., source=...)` on the class."
    recipes = [*([] if cls.recipe is None else [cls.recipe]), *dict(cls.recipes).values()]
    wrong = next((recipe for recipe in recipes if not isinstance(recipe, Recipe)), None)
    if wrong is not None:
        return f"has the recipe {wrong!r}, expected a Recipe", "Set `recipe = Recipe(epochs=..., lr=...)`."
    if clash := sorted(set(cls.named_groups) & set(DECAY_KINDS)):
        return f"has a named group {clash[0]!r}, which is a kind of parameters in recipes", "Rename the group."
    options = cls.options_type
    if not (isinstance(options, type) and issubclass(options, MethodOptions)):
        return f"has the options_type {options!r}, expected a subclass of MethodOptions", "See harness.api.option."
    hint = "Decorate the class with @dataclass(frozen=True)."
    # Without the decorator, the annotations of a subclass are not fields, and its options would be ignored.
    undeclared = [n for n in vars(options).get("__annotations__", {}) if n not in {f.name for f in fields(options)}]
    if undeclared:
        return f"has options that are not fields: {', '.join(undeclared)}", hint
    for hook in ("check_recipe", "check_frames", "check_classes", "check_training_classes"):
        if not isinstance(inspect.getattr_static(cls, hook), classmethod):
            return f"has {hook} that is not a class method", "Decorate it with @classmethod."
    return _condition_problem(options)


def _condition_problem(options: type[MethodOptions]) -> tuple[str, str]:
    """The problem and hint of the first condition of an option that cannot apply; empty if all are valid."""
    by_name = {f.name: f for f in fields(options)}
    for f in fields(options):
        for other, values in (f.metadata.get("unused_with") or {}).items():
            stated = f"has the option {f.name!r} with unused_with={{{other!r}: ...}}, expected"
            if other not in by_name:
                return f"{stated} names of its options: {', '.join(by_name)}", "Correct the name."
            choices = by_name[other].metadata.get("choices") or ()
            if values is not ... and not isinstance(values, tuple):
                return f"{stated} a tuple of values, or an ellipsis", "Write unused_with={'NAME': (VALUE,)}."
            if values is not ... and choices and not set(values) <= set(choices):
                return f"{stated} values of {', '.join(map(repr, choices))}", "Correct the values."
    return "", ""
