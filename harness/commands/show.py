"""`show`: the card of a method, a protocol, a dataset or an architecture."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import EXIT_DONE, UserError, unknown_name
from harness.commands._arguments import add_folders, add_json, add_plugins, load_plugins, settings_of
from harness.commands._output import Json, put, put_json, table
from harness.commands._parser import Verbs, verb_parser
from harness.plugins import registry
from harness.plugins.loose_files import load_environment_plugins
from harness.spec import MethodCard, Recipe
from harness.spec.method_spec import MethodSpec
from harness.spec.options import Bounds, bounds_text, unused_conditions
from results.measurement import Value

if TYPE_CHECKING:
    from harness.data.lists.dataset import Dataset
    from harness.machine.settings import Settings


def add_parser(verbs: Verbs) -> None:
    """Arguments of `show`."""
    parser = verb_parser(
        verbs, "show", "the card of a method, protocol, dataset or architecture",
        "Print the card of a name: a method's options, recipe per protocol and parameters; a protocol's lists and\n"
        "columns; a dataset's lists and classes; the input and texts of an architecture of open_clip.",
        "examples:\n"
        "  python -m harness show vificlip\n"
        "  python -m harness show b2n --json\n"
        "  python -m harness show ViT-B-16-SigLIP\n",
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME", help="method, protocol, dataset, architecture, or folder of a dataset")
    parser.add_argument("--arch", metavar="NAME", help="count parameters on this architecture (ViT-B-16)")
    add_plugins(parser)
    add_json(parser)
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the card."""
    load_plugins(arguments)
    load_environment_plugins()
    from harness.cells.backbone_text import architecture_card
    from harness.data.catalog import dataset_names

    name, settings = arguments.name, settings_of(arguments)
    card: Json | _Method
    if name in registry.sources("method"):
        card, text = _method(name, arguments.arch)
    elif name in registry.sources("protocol"):
        card, text = _protocol(name)
    elif name in dataset_names(settings) or Path(name).exists():
        card, text = _dataset(name, settings)
    elif (architecture := architecture_card(name)) is not None:
        card, text = architecture.as_dict(), architecture.text_lines()
    else:
        known = [*registry.sources("method"), *registry.sources("protocol"), *dataset_names(settings)]
        raise unknown_name("method, protocol, dataset or architecture", name, known)
    if arguments.json:
        put_json(card)
    else:
        put(text)
    return EXIT_DONE


@dataclass(frozen=True)
class _Option:
    """One option of a method."""

    name: str
    default: Value
    help: str
    choices: tuple[str, ...]
    bounds: Bounds
    unused_with: tuple[str, ...]

    @property
    def text(self) -> str:
        """The line of the option."""
        unused = f"unused with {' or '.join(self.unused_with)}" if self.unused_with else ""
        limits = "; ".join(filter(None, (bounds_text(self.bounds), unused)))
        return f"  {self.name} = {self.default!r}: {self.help}" + (f" ({limits})" if limits else "")


@dataclass(frozen=True)
class ParameterCounts:
    """Numbers of parameters on one architecture."""

    arch: str
    total: int
    trained: int


@dataclass(frozen=True)
class _Method:
    """Everything that `show` prints of a method."""

    name: str
    version: int
    origin: str
    card: MethodCard
    options: tuple[_Option, ...]
    recipes: Mapping[str, Recipe]
    parameters: ParameterCounts | None

    def text(self) -> str:
        """The card for people."""
        card = dataclasses.asdict(self.card)
        lines = [f"{self.card.title} ({self.name}, version {self.version}, {self.origin})"]
        lines += [f"  {key}: {value}" for key, value in card.items() if value and key != "title"]
        if self.parameters is None:
            lines.append("  parameters: depend on the model that the options name")
        else:
            counts = f"{self.parameters.total:,} in all, {self.parameters.trained:,} trained"
            lines.append(f"  parameters on {self.parameters.arch}: {counts}")
        if self.options:
            lines.append("\noptions (--method NAME:OPTION=VALUE)")
            lines += [option.text for option in self.options]
        if self.recipes:
            keys = ("epochs", "lr", "warmup_epochs", "micro_batch", "ranks", "accumulate", "weight_decay", "source")
            rows = [[name, *(str(getattr(recipe, key)) for key in keys)] for name, recipe in self.recipes.items()]
            lines += ["", table(rows, ["RECIPE FOR", *(key.upper() for key in keys)])]
        else:
            lines.append("\nnot trained: no recipe")
        return "\n".join(lines)


def _method(name: str, arch: str | None) -> tuple[_Method, str]:
    spec = registry.method_spec(name)
    options = tuple(
        _Option(
            f.name,
            None if f.default is dataclasses.MISSING else f.default,
            f.metadata.get("help", ""),
            tuple(f.metadata.get("choices", ())),
            f.metadata.get("bounds", (None, None)),
            unused_conditions(f.metadata.get("unused_with", {})),
        )
        for f in dataclasses.fields(spec.options_type)
    )
    recipes = dict(spec.recipes)
    if spec.recipe is not None:
        recipes["every other"] = spec.recipe
    origin, parameters = registry.origin_of("method", name), parameter_counts(spec, arch)
    card = _Method(name, spec.version, origin, spec.card, options, recipes, parameters)
    return card, card.text()


def parameter_counts(spec: type[MethodSpec], arch: str | None) -> ParameterCounts | None:
    """Numbers of parameters of a method; None if the method does not build on CLIP.

    Args:
        spec: The method.
        arch: Architecture; None for ViT-B/16, whose counts are recorded for built-in methods.
    """
    if not spec.uses_clip:
        return None
    recorded = vars(spec).get("parameters_vit_b16")  # `vars`: a plugin that extends the method has other counts
    if arch is None and recorded is not None:
        return ParameterCounts("ViT-B-16", *recorded)
    from harness.engine.method import method_class
    from harness.engine.model.backbone import MINI, load_backbone

    backbone = load_backbone(MINI) if arch == MINI else load_backbone(arch or "ViT-B-16", "random")
    total, trained = method_class(spec.name)(backbone).parameter_counts()
    # Without a recipe nothing is updated, although the parameters of the module require gradients.
    is_trained = spec.recipe is not None or bool(spec.recipes)
    return ParameterCounts(backbone.facts.arch, total, trained if is_trained else 0)


def _protocol(name: str) -> tuple[Json, str]:
    cls = registry.load("protocol", name)
    card: dict[str, Json] = {
        "name": name, "version": cls.version, "title": cls.title, "datasets": list(cls.datasets),
        "views": dataclasses.asdict(cls.views), "columns": [c.as_dict() for c in cls.columns], "doc": cls.__doc__,
    }  # fmt: skip
    lines = [
        f"{cls.title} ({name}, version {cls.version}, {registry.origin_of('protocol', name)})",
        *("  " + line.strip() for line in (cls.__doc__ or "").strip().splitlines()),
        f"  datasets: {', '.join(cls.datasets)}",
        f"  views (frames x clips x crops): {cls.views}",
        f"  columns: {', '.join(c.name for c in cls.columns)}",
    ]
    return card, "\n".join(lines)


def _dataset(name: str, settings: Settings) -> tuple[Json, str]:
    from harness.data.catalog import open_dataset
    from harness.data.lists.clusters import ClusterCard, cluster_text
    from harness.data.official.dataset import OfficialDataset

    dataset = open_dataset(name, settings)
    labels = dataset.labels("all")
    rows = [_list_row(dataset, list_name) for list_name in dataset.list_names()]
    card: dict[str, Json] = {
        "name": dataset.name, "title": dataset.title, "kind": dataset.kind, "source": dataset.source,
        "classes": list(labels.names), "labels_sha256": labels.sha256,
        "lists": [dict(zip(("name", "videos", "origin", "sha256"), row, strict=True)) for row in rows],
    }  # fmt: skip
    clusters = dataset.cluster_card
    card["cluster"] = {k: v for k, v in vars(clusters).items() if v} if isinstance(clusters, ClusterCard) else clusters
    official = dataset.card if isinstance(dataset, OfficialDataset) else None
    if official is not None:
        card |= {"page": official.page, "annotations": official.annotations, "layouts": list(official.layouts)}
    videos = settings.data.get(name)
    where = "rendered on first use" if dataset.kind == "embedded" else "not configured"
    lines = [
        f"{dataset.title} ({name}, {dataset.kind}), {len(labels)} classes, labels {labels.sha256[:12]}",
        f"  videos: {videos.path if videos else where}",
        *([f"  download: {official.page}", f"  annotations: {official.annotations}"] if official else []),
        *([f"  layouts: {'; '.join(official.layouts)}"] if official else []),
        f"  clusters: {cluster_text(dataset.cluster_card)}",
        table(rows, ["LIST", "VIDEOS", "ORIGIN", "SHA256"]),
        f"  classes: {', '.join(labels.names[:8])}{', ...' if len(labels) > 8 else ''}",
    ]
    return card, "\n".join(lines)


def _list_row(dataset: Dataset, name: str) -> list[str]:
    """Name, number of videos, origin and hash of a list; without hash if its file is missing."""
    try:
        videos = dataset.list(name)
    except UserError as error:
        return [name, "-", "not here", error.message]
    return [name, str(len(videos)), videos.origin, videos.sha256[:12]]
