"""`show`: the card of a method, a protocol or a dataset."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from harness.base.errors import EXIT_DONE, unknown_name
from harness.commands._arguments import add_places, load_plugins, put, settings_of, table, verb_parser
from harness.plugins import registry
from harness.plugins.loose_files import load_environment_plugins
from harness.spec.method_spec import MethodSpec
from results.codec import encode


def add_parser(verbs: Any) -> None:
    """Arguments of `show`."""
    parser = verb_parser(
        verbs, "show", "the card of a method, protocol or dataset",
        "Print what is known of a name: a method's card, options, recipe per protocol and parameters; a protocol's\n"
        "lists and columns; a dataset's lists and classes.",
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--arch", metavar="NAME", help="count parameters on this architecture (ViT-B-16)")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")
    parser.add_argument("--json", action="store_true", help="print data on stdout")
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the card."""
    load_plugins(arguments)
    load_environment_plugins()
    from harness.data.catalog import dataset_names

    name, settings = arguments.name, settings_of(arguments)
    if name in registry.sources("method"):
        facts, text = _method(name, arguments.arch)
    elif name in registry.sources("protocol"):
        facts, text = _protocol(name)
    elif name in dataset_names(settings) or Path(name).exists():
        facts, text = _dataset(name, settings)
    else:
        known = [*registry.sources("method"), *registry.sources("protocol"), *dataset_names(settings)]
        raise unknown_name("method, protocol or dataset", name, known)
    put(facts if arguments.json else text)
    return EXIT_DONE


def _method(name: str, arch: str | None) -> tuple[dict[str, Any], str]:
    spec = registry.method_spec(name)
    card = dataclasses.asdict(spec.card)
    options = [
        {
            "name": f.name,
            "default": f.default,
            "help": f.metadata.get("help", ""),
            "choices": f.metadata.get("choices", ()),
        }
        for f in dataclasses.fields(spec.options_type)
    ]
    recipes = {key: encode(recipe) for key, recipe in spec.recipes.items()}
    if spec.recipe is not None:
        recipes["every other"] = encode(spec.recipe)
    parameters = _parameters(spec, arch)
    facts = {
        "name": name, "version": spec.version, "origin": registry.origin_of("method", name), "card": card,
        "options": options, "recipes": recipes,
        "parameters": parameters,
    }  # fmt: skip
    lines = [f"{card['title']} ({name}, version {spec.version}, {facts['origin']})"]
    lines += [f"  {key}: {value}" for key, value in card.items() if value and key != "title"]
    if parameters is None:
        lines.append("  parameters: those of the model that the options name")
    else:
        counts = f"{parameters['total']:,} in all, {parameters['trained']:,} trained"
        lines.append(f"  parameters on {parameters['arch']}: {counts}")
    if options:
        lines.append("\noptions (--method NAME:OPTION=VALUE)")
        lines += [f"  {o['name']} = {o['default']!r}: {o['help']}" for o in options]
    if recipes:
        keys = ("epochs", "lr", "warmup_epochs", "micro_batch", "ranks", "accumulate", "weight_decay", "source")
        rows = [[key, *(str(r[k]) for k in keys)] for key, r in recipes.items()]
        lines += ["", table(rows, ["RECIPE FOR", *(k.upper() for k in keys)])]
    else:
        lines.append("\nnot trained: no recipe")
    return facts, "\n".join(lines)


def _parameters(spec: type[MethodSpec], arch: str | None) -> dict[str, Any] | None:
    """Parameter counts: those that a built-in method records for ViT-B/16, otherwise counted on a model built here."""
    if not spec.uses_clip:
        return None
    recorded = vars(spec).get("parameters_vit_b16")  # not those of a method that a plugin extends
    if arch is None and recorded is not None:
        total, trained = recorded
        return {"arch": "ViT-B-16", "total": total, "trained": trained}
    from harness.engine.method import method_class
    from harness.engine.model.backbone import MINI, load_backbone

    backbone = load_backbone(MINI) if arch == MINI else load_backbone(arch or "ViT-B-16", "random")
    total, trained = method_class(spec.name)(backbone).parameter_counts()
    is_trained = spec.recipe is not None or bool(spec.recipes)
    return {"arch": backbone.facts.arch, "total": total, "trained": trained if is_trained else 0}


def _protocol(name: str) -> tuple[dict[str, Any], str]:
    cls = registry.load("protocol", name)
    facts = {
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
    return facts, "\n".join(lines)


def _dataset(name: str, settings: Any) -> tuple[dict[str, Any], str]:
    from harness.base.errors import UserError
    from harness.data.catalog import open_dataset
    from harness.data.official.dataset import OfficialDataset

    dataset = open_dataset(name, settings)
    labels = dataset.labels("all")
    rows = []
    for item in dataset.list_names():
        try:
            found = dataset.list(item)
            rows.append([item, str(len(found)), found.origin, found.sha256[:12]])
        except UserError as error:
            rows.append([item, "-", "not here", error.message])
    facts = {
        "name": dataset.name, "title": dataset.title, "kind": dataset.kind, "source": dataset.source,
        "classes": list(labels.names), "labels_sha256": labels.sha256,
        "lists": [dict(zip(("name", "videos", "origin", "sha256"), row, strict=True)) for row in rows],
    }  # fmt: skip
    card = dataset.card if isinstance(dataset, OfficialDataset) else None
    if card is not None:
        facts |= {"page": card.page, "annotations": card.annotations, "layouts": list(card.layouts)}
    place = settings.data.get(name)
    where = "rendered on first use" if dataset.kind == "embedded" else "not configured"
    lines = [
        f"{dataset.title} ({name}, {dataset.kind}), {len(labels)} classes, labels {labels.sha256[:12]}",
        f"  videos: {place.path if place else where}",
        *([f"  download: {card.page}", f"  annotations: {card.annotations}"] if card else []),
        *([f"  layouts: {'; '.join(card.layouts)}"] if card else []),
        table(rows, ["LIST", "VIDEOS", "ORIGIN", "SHA256"]),
        f"  classes: {', '.join(labels.names[:8])}{', ...' if len(labels) > 8 else ''}",
    ]
    return facts, "\n".join(lines)
