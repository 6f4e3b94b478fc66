"""Cards, recipes and help texts are no part of the code hash, as far as they flow nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.plugins.sources import of

RECIPES = """
from dataclasses import replace

from harness.api import Recipe

RATE = 1e-3
BASE = Recipe(epochs=3, lr=RATE)
MINE = {"b2n": BASE, **{key: replace(BASE, epochs=4) for key in ("few_shot", "mini")}}
MINE |= dict.fromkeys(("zero_shot",), replace(BASE, lr=2 * RATE))
OTHERS = {"b2n": replace(BASE, epochs=9)}
"""
MINE = """
from dataclasses import dataclass
from typing import ClassVar

from harness.api import ClipMethod, MethodCard, MethodOptions, ParentFit, Recipe, option, register_method
from recipes import BASE, MINE

REMARK = "nothing was checked"
CHOICES = ("a", "b")


@dataclass(frozen=True)
class Options(MethodOptions):
    kind: str = option("a", "which kind", CHOICES)
    width: int = option(3, help=f"how wide; {REMARK}")


@register_method("mine")
class Mine(ClipMethod):
    card = MethodCard(title="Mine", unverified=f"a test; {REMARK}")
    recipe = BASE
    recipes: ClassVar = MINE
    options_type = Options
    parent = ParentFit("vificlip", "zero_shot")
    protocol_options: ClassVar = {"b2n": {"width": 5}}

    @classmethod
    def card_for(cls, options):
        return cls.card

    @classmethod
    def parent_fit(cls, options):
        return cls.parent if options.kind == "a" else None

    def parameter_groups(self, recipe: Recipe):
        return [{"params": self.trainable(), "lr": recipe.lr}]
"""

DATA = [
    ("recipes", "RATE = 1e-3", "RATE = 1e-4"),
    ("recipes", "epochs=3", "epochs=5"),
    ("recipes", '("few_shot", "mini")', '("few_shot",)'),
    ("recipes", "2 * RATE", "3 * RATE"),
    ("recipes", "epochs=9", "epochs=10"),
    ("recipes", "OTHERS = {", 'NEW = replace(BASE, lr=1.0, source="own")\nOTHERS = {"mini": NEW, '),
    ("mine", "nothing was checked", "everything was checked"),
    ("mine", 'title="Mine"', 'title="Yours", paper="A paper"'),
    ("mine", '"which kind"', '"which of the kinds"'),
    ("mine", "how wide;", "how wide it is;"),
    ("mine", '{REMARK}")', '{REMARK}", bounds=(1, 9))'),
    ("mine", '{REMARK}")', '{REMARK}", unused_with={"kind": ("b",)})'),
    ("mine", "recipe = BASE", "recipe = Recipe(epochs=1, lr=1.0)"),
    ("mine", '"zero_shot")', '"b2n")'),
    ("mine", '"width": 5', '"width": 6'),
    ("mine", "    recipes: ClassVar = MINE", '    recipes: ClassVar = {**MINE, "mini": BASE}'),
]
CODE = [
    ("mine", 'option("a"', 'option("b"'),
    ("mine", "CHOICES = (", 'CHOICES = ("c", '),
    ("mine", "width: int", "width: float"),
    ("mine", '{REMARK}")', '{REMARK}", evaluation_only=True)'),
    ("mine", 'options.kind == "a"', 'options.kind == "b"'),
    ("mine", "return cls.card", "return None"),
    ("mine", "recipe.lr", "2 * recipe.lr"),
    ("mine", "    options_type = Options\n", ""),
]
HARMLESS = [
    "getattr(self.options, name)", "getattr(self.options, 'width')", "getattr(nn.init, self.options.kind)",
    "self.eval()",
    "[recipe.lr for recipe in ()]", "{'recipe': 1}", "dict(recipe=1)", "'recipe BASE'", "self.options.kind",
]  # fmt: skip
READS = [
    "self.recipe.lr", "self.recipes['b2n']", "type(self).protocol_options", "getattr(self, 'recipe')",
    "self.card.title",
    "vars(type(self))['recipes']", "self.recipe_for('b2n', 'ucf101')", "self.parent", "super().card_for(None).title",
    "MINE['b2n']", "BASE", "recipes.BASE.lr", "globals()['BASE']", "Mine.recipe", "attrgetter('recipe.lr')(self)",
    "list(vars(type(self)).values())", "eval('BA' + 'SE')", "type(self).__dict__", "getattr(self, 're' + 'cipe')",
    "getattr(type(self), self.kind)", "inspect.getmembers(self)",
]  # fmt: skip


@pytest.mark.parametrize(("module", "old", "new"), DATA)
def test_data_do_not_count(module: str, old: str, new: str, tmp_path: Path) -> None:
    files = {"mine": MINE, "recipes": RECIPES}
    assert old in files[module]
    assert of(tmp_path, **{**files, module: files[module].replace(old, new)}) == of(tmp_path, **files)


@pytest.mark.parametrize(("module", "old", "new"), CODE)
def test_code_beside_data_counts(module: str, old: str, new: str, tmp_path: Path) -> None:
    files = {"mine": MINE, "recipes": RECIPES}
    assert old in files[module]
    assert of(tmp_path, **{**files, module: files[module].replace(old, new)}) != of(tmp_path, **files)


@pytest.mark.slow
@pytest.mark.parametrize("read", READS)
def test_data_that_code_reads_count(read: str, tmp_path: Path) -> None:
    """A value that decides more than the fields of a measurement is code, wherever it stands."""
    files = {"mine": MINE + f"\n    def setup(self):\n        self.value = {read}\n", "recipes": RECIPES}
    first = of(tmp_path, **files)
    changed = [of(tmp_path, **{**files, module: files[module].replace(old, new)}) for module, old, new in DATA]
    assert [sha256 for sha256 in changed if sha256 != first], f"{read} reads what does not count"


@pytest.mark.slow
@pytest.mark.parametrize("read", HARMLESS)
def test_code_that_reads_other_things_leaves_data_alone(read: str, tmp_path: Path) -> None:
    files = {"mine": MINE + f"\n    def setup(self):\n        self.value = {read}\n", "recipes": RECIPES}
    first = of(tmp_path, **files)
    for module, old, new in DATA:
        assert of(tmp_path, **{**files, module: files[module].replace(old, new)}) == first, f"{read} reads {old}"


@pytest.mark.parametrize(
    "text",
    [
        "GRID = {}\n",
        "GRID: tuple = {}\n\n\ndef f():\n    return GRID\n",
        "GRID = compute({})\nrecipe = Recipe(epochs=GRID, lr=1.0)\n",
        "class Net:\n    parent = {}\n",
        "class Net:\n    card = {}\n\n    def f(self):\n        return self.card\n",
        "class Net:\n    recipe = Recipe(epochs={}, lr=1.0)\n    steps = recipe.epochs\n",
        "class Net:\n    recipe = Recipe(epochs={}, lr=1.0)\n\n    def f(self, r=recipe):\n        return r\n",
        "BASE = Recipe(epochs={}, lr=1.0)\n\n\nclass Net:\n    recipe = BASE\n    size = BASE.epochs\n",
        "N = {}\n\n\nclass Net:\n    recipe = Recipe(epochs=N, lr=1.0)\n\n    def f(self):\n        return N\n",
        "def Recipe(value):\n    torch.manual_seed(value)\n\n\nclass Net:\n    recipe = Recipe({})\n",
        "class Net:\n    recipe = Recipe(epochs=torch.manual_seed({}), lr=1.0)\n",
        "class Net:\n    if True:\n        recipe = Recipe(epochs={}, lr=1.0)\n",
        "class Net:\n    for recipe in (Recipe(epochs={}, lr=1.0),):\n        pass\n",
        "BASE = Recipe(epochs={}, lr=1.0)\nBASE.patch()\n",
        "BASE = {{'x': Recipe(epochs={}, lr=1.0)}}\nBASE['y'] = 1\n",
        "other.recipe = Recipe(epochs={}, lr=1.0)\n",
        "def option(default, help):\n    return help\n\n\nx = option(1, {})\n",
        "x = click.option(1, {})\n",
        "from harness.api import option\n\nx = option(1, compute({}))\n",
        "from harness.api import option\n\nx = option({}, 'help')\n",
    ],
)
def test_what_only_looks_like_data_counts(text: str, tmp_path: Path) -> None:
    head = "from harness.api import Recipe\n\n"
    assert of(tmp_path, mine=head + text.format(1)) != of(tmp_path, mine=head + text.format(2))


def test_the_readmes_method_is_code_with_a_card_and_a_recipe(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = readme.partition("```python\n")[2].partition("```")[0]
    first = of(tmp_path, mine=text)
    for old, new in (("attention pooling", "pooling"), ("lr=2e-4", "lr=3e-4"), ("epochs=11", "epochs=12")):
        assert old in text and of(tmp_path, mine=text.replace(old, new)) == first
    for old, new in (("self.embed_dim, 4", "self.embed_dim, 8"), ("torch.zeros", "torch.ones"), ("dim=1", "dim=2")):
        assert old in text and of(tmp_path, mine=text.replace(old, new)) != first
