"""Marks the contract checks of later methods that do not run by default."""

from __future__ import annotations

import pytest

LATER_METHODS = frozenset({
    "aim", "ez_clip", "froster", "lora", "mformer", "mote", "open_vclip", "ost", "st_adapter", "tc_clip", "viclip",
    "vita_clip",
})  # fmt: skip
"""Methods whose golden tests cover most of the contract; only `CORE` of the contract runs by default for them."""
CORE = frozenset({
    "has_card", "spells_hooks", "declares_parameters", "has_shapes", "changes_what_it_declares", "declares_draws",
})  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before pytest deselects slow tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark a check of a later method as slow, unless the check is in `CORE` and the options are the defaults."""
    for item in items:
        if getattr(item, "originalname", "") != "test_contract" or item.path.parent.name != "methods":
            continue
        parameters = item.callspec.params  # type: ignore[attr-defined]
        name, options, check = parameters["name"], parameters["options"], parameters["check"]
        if name in LATER_METHODS and (check.__name__ not in CORE or (options and name != "mformer")):
            item.add_marker(pytest.mark.slow)
