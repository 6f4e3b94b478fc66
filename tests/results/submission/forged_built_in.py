"""Forged submissions that state the name of a built-in method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.plugins import registry
from harness.spec.options import evaluation_options
from results.codec import decode, encode
from results.measurement import Measurement, MethodId
from tests.results.submission.forge import Forge
from tests.results.submission.installed_facts import installed_facts


def as_built_in(made: Forge, name: str) -> None:
    """State that the method is a built-in method of this installation, with all that it declares."""
    m = decode(made.items[0].m, Measurement)
    facts, spec = installed_facts(frozenset([(m.protocol.name, m.evaluation.list.dataset)])), registry.method_spec(name)
    program, late = facts.builtin[name], evaluation_options(spec.options_type)
    values = spec.options_for({}, m.protocol.name, m.evaluation.list.dataset, "mini").as_dict()
    values |= {"frames": m.evaluation.views.frames} if "frames" in values else {}
    card = spec.card
    method = MethodId(
        name, program.version, program.code, {n: v for n, v in values.items() if n not in late},
        {n: v for n, v in values.items() if n in late}, card.class_text, "", card.extra_data,
    )  # fmt: skip
    declared = facts.declared(replace(m, method=method), (made.items[0].record["fit"] or {}).get("shots"))
    assert declared is not None

    def claim(fit: dict[str, Any]) -> None:
        fit["name"] = fit["name"].replace(fit["described"]["method"]["name"], name)
        fit["described"]["method"] = encode(method)
        fit["described"]["training"] |= {"recipe": encode(declared.recipe), "declared": encode(declared.recipe)}

    if made.fits:
        made.refit(claim)
    stated = {"origin": "built-in", "defaults": values}
    stated |= {field: getattr(card, field) for field in ("title", "family", "paper", "source", "unverified")}
    made.change(lambda record: (record["method"].update(stated), record["measurement"].update(method=encode(method))))
