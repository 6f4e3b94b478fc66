"""The command that measures a row again."""

from __future__ import annotations

import re
import shlex
from typing import Any

USUAL_SEED = 1024


def reproduce_command(facts: dict[str, Any]) -> str:
    """`python -m harness run ...` for a row of the tidy frame, quoted for a shell.

    Records know a loose plugin file by its name alone: the command is for the folder that holds it.
    """
    method = str(facts["method"])
    options = facts.get("option_values") or {}
    if options:
        method += ":" + ",".join(f"{name}={_value(value)}" for name, value in sorted(options.items()))
    origin = str(facts["origin"])
    plugin = ["--plugin", origin.removeprefix("file ")] if origin.startswith("file ") else []
    parts = ["python", "-m", "harness", "run", *plugin, "--method", method, "--protocol", str(facts["protocol"]),
             "--dataset", str(facts["dataset"]), *_backbone(facts), *_source(facts)]  # fmt: skip
    if checkpoint := re.search(r"checkpoint (.+) \([0-9a-f]{8}\)", str(facts["extra_data"])):
        parts += ["--checkpoint", checkpoint[1]]
    if facts["label_variant"] != "published":
        parts += ["--label-set", str(facts["label_variant"])]
    if facts["list_origin"] == "own":
        parts += ["--lists", "own"]
    for name, value in _views(facts["view_values"]).items():
        parts += ["--views", f"{name}={value}"]
    recipe = _recipe(str(facts["signature"]))
    if facts["seed"] not in (None, USUAL_SEED):
        recipe.append(f"seed={facts['seed']:.0f}")
    for setting in recipe:
        parts += ["--recipe", setting]
    return shlex.join(parts)


def _backbone(facts: dict[str, Any]) -> list[str]:
    """The backbone's flags where it is not the one that the dataset gets anyway; none for a model of the method's."""
    arch, weights = str(facts["arch"]), str(facts["weights"])
    usual = ("mini-clip", "embedded") if facts["embedded"] else ("ViT-B-16", "openai")
    if (arch, weights) == usual or not arch or facts["view_values"]["normalize"] == "raw":
        return []
    named = [] if arch == "inferred" else ["--arch", arch]
    return named if arch == "mini-clip" else [*named, "--weights", weights]


def _source(facts: dict[str, Any]) -> list[str]:
    """The dataset that zero-shot transfer was fitted on, where the user chose it: fits are named `METHOD DATA/LIST`."""
    if facts["protocol"] != "zero_shot" or not facts["fit_name"]:
        return []
    source = str(facts["fit_name"]).removeprefix(f"{facts['method']} ").rpartition("/")[0]
    return [] if source == ("mini_source" if facts["embedded"] else "k400") else ["--source", source]


def _recipe(signature: str) -> list[str]:
    """The recipe settings that the user changed, `name=value` each: the signature carries them after the origin."""
    text = next((part for part in signature.split("|") if part.startswith("recipe:")), "")
    changed = re.split(r"\+(?=[a-z_]+=)", text)[1:]
    return [re.sub(r"[\[\] ]", "", pair) for pair in changed]  # a pair of numbers is typed as 0.9,0.98


def _views(views: dict[str, Any]) -> dict[str, Any]:
    """The view settings that a protocol or dataset may set otherwise: numbers always, the rest where unusual."""
    wanted = {name: views[name] for name in ("frames", "clips", "crops")}
    if views["clips"] > 1:
        wanted["sampling"] = views["sampling"]
    return wanted | {n: views[n] for n, usual in (("normalize", "imagenet"), ("reader", "decord")) if views[n] != usual}


def _value(value: Any) -> str:
    """An option's value as the command line takes it: quoted where a comma or a blank would end it."""
    text = str(value)
    return f'"{text}"' if any(char in text for char in ", '") else text
