"""docs/api.md names everything that `harness.api` offers, and every public member of methods and backbones."""

from __future__ import annotations

import inspect
import re

import pytest
from torch import nn

from harness import api
from harness.engine.contract.tiny_clip import tiny_backbone
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))


def members(cls: type, *without: type) -> list[str]:
    inherited = {name for base in without for name in dir(base)}
    return [name for name, _ in inspect.getmembers(cls) if not name.startswith("_") and name not in inherited]


@pytest.mark.parametrize("name", api.__all__)
def test_every_name_of_the_api_is_described(name: str) -> None:
    assert hasattr(api, name) and name in NAMED


def test_every_member_of_a_backbone_is_described() -> None:
    public = {*members(api.Backbone, nn.Module), "clip", *(n for n in vars(tiny_backbone()) if not n.startswith("_"))}
    assert sorted(public - NAMED - {"training"}) == []


def test_every_step_and_member_of_a_method_is_described() -> None:
    public = {*members(api.ClipMethod, nn.Module), "forward"}
    assert sorted(public - NAMED - {"name", "parameters_vit_b16"}) == []
