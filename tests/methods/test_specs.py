"""The specification of each built-in method: found without torch, and the one that its torch class has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.base.errors import UserError
from harness.commands.show import ParameterCounts, parameter_counts
from harness.engine.cost.profile import meta_backbone
from harness.engine.method import method_class
from harness.plugins import registry
from harness.plugins.loose_files import load_file
from harness.spec.method_spec import MethodSpec
from tests.conftest import ROOT, machine_free

BUILT_IN = sorted(p.stem for p in (ROOT / "methods").glob("*.py") if not p.stem.startswith("_"))
STATED = tuple(name for name in vars(MethodSpec).get("__annotations__", {}))
DECIDED = ("is_open", "recipe_for", "parent_fit", "own_model", "check_classes", "card_for", "options_for")


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_torch_class_has_its_specification(name: str) -> None:
    spec, cls = registry.method_spec(name), method_class(name)
    assert issubclass(cls, spec) and cls is not spec
    assert spec.name == cls.name == name and cls.card.title
    assert {field: getattr(cls, field) for field in STATED} == {field: getattr(spec, field) for field in STATED}
    for decision in DECIDED:
        assert getattr(cls, decision).__func__ is getattr(spec, decision).__func__, decision


def test_every_method_has_a_specification_and_nothing_else_has() -> None:
    assert sorted(p.stem for p in (ROOT / "methods" / "_specs").glob("[!_]*.py")) == BUILT_IN


@pytest.mark.slow
def test_no_specification_needs_torch() -> None:
    code = (
        "import sys; from harness.plugins import registry\n"
        f"for name in {BUILT_IN}: assert registry.method_spec(name).name == name\n"
        "heavy = {'torch', 'numpy', 'pandas', 'cv2', 'mmengine'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=machine_free(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_recorded_parameters_are_those_on_vit_b16() -> None:
    backbone = meta_backbone("ViT-B-16")  # shapes alone: to draw 150 million values takes seconds
    for name in BUILT_IN:
        cls = method_class(name)
        if not cls.uses_clip:
            assert cls.parameters_vit_b16 is None
            continue
        with torch.device("meta"):
            total, trained = cls(backbone).parameter_counts()
        assert cls.parameters_vit_b16 == (total, trained), name
        assert parameter_counts(registry.method_spec(name), None) == ParameterCounts("ViT-B-16", total, trained)


EXTENDED = '''"""A built-in method with one more parameter."""

import torch

from harness.api import register_method
from methods.vificlip import ViFiClip


@register_method("extended")
class Extended(ViFiClip):
    def setup(self):
        super().setup()
        self.extra = torch.nn.Parameter(torch.zeros(7))
'''


@pytest.mark.slow
@pytest.mark.usefixtures("plugins_forgotten")
def test_a_plugin_is_its_own_specification(tmp_path: Path) -> None:
    """What it inherits of a built-in method's specification holds; the built-in's parameter count does not."""
    path = tmp_path / "extended.py"
    path.write_text(EXTENDED)
    load_file(path)
    spec = registry.method_spec("extended")
    assert spec is method_class("extended") and issubclass(spec, registry.method_spec("vificlip"))
    assert (spec.name, spec.recipes) == ("extended", method_class("vificlip").recipes)
    counted = parameter_counts(spec, "mini-clip"), parameter_counts(registry.method_spec("vificlip"), "mini-clip")
    assert counted[0] and counted[1] and counted[0].trained == counted[1].trained + 7
    on_vit = parameter_counts(spec, None)
    assert on_vit and on_vit.total == method_class("vificlip").parameters_vit_b16[0] + 7  # type: ignore[index]


@pytest.mark.usefixtures("plugins_forgotten")
@pytest.mark.parametrize("base", ["MethodSpec", "object"])
def test_a_specification_alone_is_no_method(base: str, tmp_path: Path) -> None:
    path = tmp_path / "bare.py"
    path.write_text(
        "from harness.api import MethodCard, MethodSpec, register_method\n\n\n"
        f'@register_method("bare")\nclass Bare({base}):\n    card = MethodCard(title="Bare", source="a test")\n'
    )
    load_file(path)
    for find in (registry.method_spec, method_class):
        with pytest.raises(UserError, match=r"expected a subclass of harness\.api\.ClipMethod"):
            find("bare")


@pytest.mark.parametrize("name", ["_embedding", "ViFiClip", "vifi_clip", "../vificlip", ""])
def test_a_name_of_no_method(name: str) -> None:
    with pytest.raises(UserError, match="There is no method named"):
        registry.method_spec(name)
