"""The part of a method that needs no torch: card, recipes, options, and what follows from option values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from harness.spec import LabelSet, MethodCard, ParentFit, Recipe, Views
from harness.spec.options import MethodOptions, build_options

if TYPE_CHECKING:
    from results.measurement import ModelId


class OwnModel(Protocol):
    """A model that a method brings along instead of CLIP, before it is built."""

    @property
    def is_mini(self) -> bool:
        """Whether it is the embedded tiny CLIP: no."""
        ...

    def slug(self) -> str:
        """A folder name."""
        ...

    def model_id(self) -> ModelId:
        """The model as measurements state it before its weights are read."""
        ...

    def views_of(self, views: Views) -> Views:
        """A protocol's views as this model takes them."""
        ...

    def check_views(self, views: Views) -> None:
        """Raise a `UserError` for views that it cannot take."""
        ...

    def load(self) -> Any:
        """The model, a module with `facts` and `image_size`."""
        ...


class MethodSpec:
    """The settings of a method and the decisions that follow from them; `ClipMethod` adds the part that needs torch.

    A plugin derives from `ClipMethod` alone and sets everything in one class. The built-in methods keep their
    specification in a module of its own, so that planning and `show` never import torch.

    Class attributes:
        card: What the method is, for people.
        recipe: Optimisation settings; None for a method that is not trained.
        recipes: More specific settings, looked up before `recipe` in the order
            `PRESET/PROTOCOL/DATASET`, `PRESET/PROTOCOL`, `PRESET` where the backbone has a preset (`mini` for the
            embedded tiny model), then `PROTOCOL/DATASET`, `PROTOCOL`.
        options_type: A `MethodOptions` dataclass with the method's typed options. Three names have a meaning here:
            `template` (the text around a class name), `text_embedding` and `logits` (`published` rounds token
            embeddings, or the last product, to float16), and `frames` (frames per view, filled in by the harness).
        protocol_options: Published option values where they differ by protocol, looked up like `recipes`.
        parent: The fit whose trained tensors the method starts from, handed to `adopt`.
        couples_clips: Whether the loss of a clip depends on the others of its blending group, as in contrastive
            losses; each group of `micro_batch` clips is then a batch of its own, whatever the device batch.
        uses_clip: Whether CLIP is what videos go through; otherwise `own_model` says what takes its place.
        open_vocabulary: Whether any classes can be asked for. A fixed set of classes is refused wherever a protocol
            evaluates other classes than it trains on.
        parameters_vit_b16: (total, trained) numbers of parameters on ViT-B/16 under default options, for `show`; None
            where they were not counted.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    card: ClassVar[MethodCard] = MethodCard(title="")
    recipe: ClassVar[Recipe | None] = None
    recipes: ClassVar[Mapping[str, Recipe]] = {}
    options_type: ClassVar[type[MethodOptions]] = MethodOptions
    protocol_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    parent: ClassVar[ParentFit | None] = None
    couples_clips: ClassVar[bool] = False
    uses_clip: ClassVar[bool] = True
    open_vocabulary: ClassVar[bool] = True
    parameters_vit_b16: ClassVar[tuple[int, int] | None] = None

    @classmethod
    def recipe_for(cls, protocol: str, dataset: str, shots: int | None = None, preset: str = "") -> Recipe | None:
        """The recipe for a protocol and dataset: the most specific entry of `recipes`, else `recipe`."""
        keys = _lookup_keys(protocol, dataset, preset)
        return next((cls.recipes[key] for key in keys if key in cls.recipes), cls.recipe)

    @classmethod
    def parent_fit(cls, options: Any) -> ParentFit | None:
        """The fit to start from under these options, None to start from the backbone's weights."""
        return cls.parent

    @classmethod
    def start_kind(cls, options: Any) -> Literal["clip", "checkpoint"]:
        """Start of a fit without a parent: the backbone's weights, or a file that an option names."""
        return "clip"

    @classmethod
    def own_model(cls, options: Any) -> OwnModel | None:
        """What takes CLIP's place under these options; None for methods that use CLIP."""
        return None

    @classmethod
    def check_classes(cls, options: Any, label_set: LabelSet) -> None:
        """Refuse a label set, before anything is computed, that a method with fixed classes does not have.

        Raises:
            NotApplicableError: It has other classes.
        """

    @classmethod
    def card_for(cls, options: Any) -> MethodCard:
        """The card under these options, where one method gives several rows of a table."""
        return cls.card

    @classmethod
    def options_for(
        cls,
        values: Mapping[str, Any],
        protocol: str = "",
        dataset: str = "",
        preset: str = "",
        frames: int | None = None,
    ) -> MethodOptions:
        """The options of a run: defaults, then the protocol's published values, then what the user gave.

        Args:
            values: The user's, raw.
            protocol: Of the run.
            dataset: Of the run.
            preset: `mini` for the embedded tiny model.
            frames: Frames per view, for methods with an option of that name.

        Raises:
            UserError: An unknown option or value.
        """
        keys = _lookup_keys(protocol, dataset, preset)
        merged = dict(next((cls.protocol_options[key] for key in keys if key in cls.protocol_options), {}))
        if frames is not None and any(f.name == "frames" for f in fields(cls.options_type)):
            merged["frames"] = frames
        return build_options(cls.options_type, {**merged, **values}, cls.name)


def _lookup_keys(protocol: str, dataset: str, preset: str) -> list[str]:
    """The keys of `recipes` and `protocol_options`, the most specific first."""
    of_preset = [f"{preset}/{protocol}/{dataset}", f"{preset}/{protocol}", preset] if preset else []
    return [*of_preset, f"{protocol}/{dataset}", protocol]


def spec_problem(cls: type[MethodSpec]) -> tuple[str, str]:
    """The first class attribute of a method that cannot be used, and the way out; empty texts if there is none."""
    if not isinstance(cls.card, MethodCard) or not cls.card.title:
        return "has no card", "Set `card = MethodCard(title=..., source=...)` on the class."
    recipes = [*([] if cls.recipe is None else [cls.recipe]), *dict(cls.recipes).values()]
    wrong = next((recipe for recipe in recipes if not isinstance(recipe, Recipe)), None)
    if wrong is not None:
        return f"has the recipe {wrong!r}, expected a Recipe", "Set `recipe = Recipe(epochs=..., lr=...)`."
    options = cls.options_type
    if not (isinstance(options, type) and issubclass(options, MethodOptions)):
        return f"has the options_type {options!r}, expected a subclass of MethodOptions", "See harness.api.option."
    undeclared = [n for n in vars(options).get("__annotations__", {}) if n not in {f.name for f in fields(options)}]
    if undeclared:
        return f"has options that are no fields: {', '.join(undeclared)}", "Decorate them with @dataclass(frozen=True)."
    return "", ""
