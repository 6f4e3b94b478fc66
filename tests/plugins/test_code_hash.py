"""The code hash: equal on every Python version, blind to formatting, and those of the built-in methods."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.engine.method import method_class
from harness.plugins import registry
from harness.plugins.code_hash import code_sha256, file_code_sha256
from tests.conftest import ROOT, machine_free
from tests.plugins.sources import of, write

BUILT_IN = sorted(p.stem for p in (ROOT / "methods").glob("*.py") if not p.stem.startswith("_"))
VERSIONS = ("3.11", "3.12", "3.13")

SAMPLE = {
    "sample.py": r'''
"""Every kind of syntax that Python 3.11 has."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from harness.api import MethodCard, MethodOptions, Recipe, option

from layers import *
from layers import WIDTHS as widths

GRID = tuple(10.0**power for power in range(-3, 4))
LARGE, SMALL, IMAGINARY = 0xFFFF_FFFF_FFFF_FFFF_FFFF, 1e-5, 2.5j


@dataclass(frozen=True)
class Options(MethodOptions):
    """Doc."""

    width: int = option(3, "how wide", (3, 4))
    names: tuple[str, ...] = ("é", "\U0001fae8", "\ud800", "it's \"quoted\"")


class Sample:
    """Doc."""

    card = MethodCard(title="Sample")
    recipe = Recipe(epochs=1, lr=1e-3)
    options_type = Options

    async def later(self, /, a, b: int = 1, *rest: int, c=None, **others) -> None:
        async with self.lock as held, self.other:
            await held
        async for item in self.items():
            yield item
        return

    def everything(self, x, y=lambda *a, k=1: (a, k)):
        "Doc."
        global LARGE
        text = f"{x!r:>{y}.3f} and {x=} {{braces}} \N{DIGIT ONE}" "plain" rf"\d{x:%Y-%m}" f"{x:}" f"{'nested' f'{y}'}"
        data = [*x, {**y, "a": 1}, {1, 2}, (yield), b"\xff", ..., None, not True, ~x, -x, x @ y, x // y, x**y]
        data += [i for i in x if i if not i for _ in y], {k: v for k, v in x}, (z := 3), x[1:2, ::3, ...], x < y <= 3
        try:
            assert x, "message"
            raise ValueError from None
        except (KeyError, ValueError) as error:
            del error
        else:
            nonlocal_ = 1
        finally:
            while x and y or text:
                if x:
                    continue
                elif y:
                    break
                else:
                    ...
        match x:
            case None | False | 0:
                pass
            case [1, *others, {"k": v, **rest}] if v:
                return others, rest
            case Options(3, width=w) as whole:
                return w, whole
            case -1.5 | "text" | _:
                return importlib.import_module("deeper.still")
        with open(x) as (a, b), open(y):
            import deeper.still as still

            yield from still
        print(nonlocal_, x if y else data, sep="")
''',
    "layers.py": (
        "WIDTHS = [3, 5]\n\n\ndef groups():\n    try:\n        pass\n"
        "    except* OSError as group:\n        raise group\n"
    ),
    "deeper/__init__.py": "",
    "deeper/still.py": "from . import other\n\nDEPTH = 3\n",
    "deeper/other.py": "X: int\n",
    "unused.py": "broken(\n",
}
PINNED = "1b4ed0ecfd0fb94a431bbc3800144beeb26c6768f6a0f876d0837dbde12bd42b"


# Python versions -----------------------------------------------------------------------------------------------------


def test_the_pinned_hash(tmp_path: Path) -> None:
    """Another value means that results on every disk are computed again: only for a fault of the hash itself."""
    assert file_code_sha256(write(tmp_path, SAMPLE)) == PINNED


def hashes_under(python: str, files: list[Path], environment: dict[str, str]) -> list[str]:
    """The hashes that another interpreter finds, without any third-party package."""
    code = (
        "import json, sys; from pathlib import Path; from harness.plugins.code_hash import file_code_sha256\n"
        "print(json.dumps([file_code_sha256(Path(file)) for file in sys.argv[1:]]))"
    )
    command = [python, "-W", "error", "-S", "-c", code, *map(str, files)]
    done = subprocess.run(command, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_version_finds_the_same(version: str, tmp_path: Path) -> None:
    python, environment = shutil.which(f"python{version}"), machine_free({"PYENV_VERSION": version})
    if python is None or subprocess.run([python, "-c", ""], env=environment, capture_output=True).returncode:
        pytest.skip(f"python{version} is not on the PATH")
    files = [write(tmp_path, SAMPLE), *(ROOT / "methods" / f"{name}.py" for name in BUILT_IN)]
    assert hashes_under(python, files, environment) == [PINNED, *map(file_code_sha256, files[1:])]


# what counts ---------------------------------------------------------------------------------------------------------

PLAIN = """
from torch import nn

SCALE = 2.0


class Mine(nn.Module):
    @staticmethod
    def pool(frames, dim=1, *, keep=True):
        frames = frames * SCALE
        total = frames.sum(dim)
        if keep:
            return total - "a b"
        return f"{total:.3f}"
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2.0", "# why\nSCALE = 2.0  # and how\n\n\n"),
        ("SCALE = 2.0", 'SCALE = 2.0\n"""Documentation of a constant."""'),
        ("SCALE = 2.0", "SCALE = (2.00)"),
        ("SCALE = 2.0", "SCALE = \\\n    20e-1"),
        ("from torch", '"""Doc."""\nfrom torch'),
        ("class Mine(nn.Module):", 'class Mine(\n    nn.Module,\n):\n    """Doc."""\n'),
        ("        frames = frames", '        "Doc."\n        frames = frames'),
        ("        frames = frames", "        pass\n        ...\n        frames = frames"),
        ("frames * SCALE\n", "frames * SCALE;\n"),
        ("total - \"a b\"", "(total - 'a ' 'b')"),
        ("total - \"a b\"", 'total - u"""a b"""'),
        ('f"{total:.3f}"', "f'' f'{total:.3f}' ''"),
        ("if keep:\n            return", "if keep: return"),
        ("dim=1, *, keep=True", "dim = 0x1, *, keep = True,"),
        ("    ", "\t"),
        ("\n", "\r\n"),
    ],
)  # fmt: skip
def test_formatting_does_not_count(old: str, new: str, tmp_path: Path) -> None:
    assert old in PLAIN
    assert of(tmp_path, mine=PLAIN.replace(old, new)) == of(tmp_path, mine=PLAIN)


def test_encoding_and_place_do_not_count(tmp_path: Path) -> None:
    text = 'NAME = "é"\n\n\nclass Mine:\n    name = NAME\n'
    first = of(tmp_path, mine=text)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    other = tmp_path / "deep" / "er" / "mine.py"
    other.write_bytes(("# -*- coding: latin-1 -*-\n" + text).encode("latin-1"))
    assert file_code_sha256(other) == first
    other.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert file_code_sha256(other) == first


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("frames * SCALE", "frames + SCALE"),
        ("SCALE = 2.0", "SCALE = 2.5"),
        ("SCALE = 2.0", "SCALE = 2"),
        ("SCALE = 2.0", "SCALE = True"),
        ("SCALE = 2.0", "SCALE: int = 2.0"),
        ("    @staticmethod\n", ""),
        ("@staticmethod", "@classmethod"),
        ("dim=1", "dim=2"),
        ("*, keep", "keep"),
        ("keep=True", "keep=None"),
        ("if keep", "if not keep"),
        ('"a b"', '"a  b"'),
        ('"a b"', 'b"a b"'),
        (".3f", ".4f"),
        ("{total:.3f}", "{total!r:.3f}"),
        ("{total:.3f}", "{total=:.3f}"),
        ("        frames = frames * SCALE\n        total = frames.sum(dim)\n",
         "        total = frames.sum(dim)\n        frames = frames * SCALE\n"),
        ("        return f", "        else:\n            return f"),
        ("def pool", "async def pool"),
        ("nn.Module", "nn.Module, metaclass=type"),
        ("from torch import nn", "import torch.nn as nn"),
        ("(frames, dim", "(frames: int, dim"),
        ('return f"', 'yield f"'),
    ],
)  # fmt: skip
def test_code_counts(old: str, new: str, tmp_path: Path) -> None:
    assert old in PLAIN
    assert of(tmp_path, mine=PLAIN.replace(old, new)) != of(tmp_path, mine=PLAIN)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("match x:\n    case None: y()", "match x:\n    case False: y()"),
        ("match x:\n    case [*_]: y()", "match x:\n    case [*z]: y()"),
        ("f(*a, b)", "f(*(a, b))"),
        ("x = [None]", "x = [0]"),
        ("x = {**a}", "x = {None: a}"),
        ("x = 'Ellipsis'", "x = ..."),
        ("x = a, b", "x = a; b"),
        ("def f(): return", "def f(): return 0"),
        ("from . import a", "from .. import a"),
        ("x = f'{a}{b}'", "x = f'{a}' + f'{b}'"),
        ("x = f'{a}'", "x = '{a}'"),
        ("x = -0.0", "x = 0.0"),
        ("x[1:]", "x[:1]"),
        ("(x) = 1", "(x): int = 1"),
        ("x: int = 1", "(x): int = 1"),
        ("'doc'", "f('doc')"),
        ("f'{x()}'", "'{x()}'"),
        ("import a.b", "import a.b as b"),
        ("x = 1 if a else 2", "x = 2 if a else 1"),
        ("a < b < c", "(a < b) < c"),
    ],
)
def test_different_code_has_different_hashes(one: str, other: str, tmp_path: Path) -> None:
    assert of(tmp_path, mine=one) != of(tmp_path, mine=other)


@pytest.mark.slow
def test_a_deep_expression(tmp_path: Path) -> None:
    """Python parses a sum of thousand terms, which is deeper than its stack for a recursive walk."""
    total = " + ".join(["x"] * 1000)
    assert of(tmp_path, mine=f"y = {total}\n") != of(tmp_path, mine=f"y = {total} + x\n")


# built-in methods ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
def test_class_specification_and_file_of_a_built_in_method_have_one_hash(name: str) -> None:
    expected = file_code_sha256(ROOT / "methods" / f"{name}.py")
    assert code_sha256(method_class(name)) == code_sha256(registry.method_spec(name)) == expected


def test_methods_have_different_hashes() -> None:
    assert len({file_code_sha256(ROOT / "methods" / f"{name}.py") for name in BUILT_IN}) == len(BUILT_IN)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "methods", tmp_path / "methods", ignore=shutil.ignore_patterns("__pycache__")))


def hashes(folder: Path) -> dict[str, str]:
    return {name: file_code_sha256(folder / f"{name}.py") for name in BUILT_IN}


def changed_by(folder: Path, file: str, old: str, new: str) -> set[str]:
    """The methods whose hash an edit changes; the edit is taken back."""
    path, before = folder / file, hashes(folder)
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{file} has no {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    after = hashes(folder)
    path.write_text(text, encoding="utf-8")
    return {name for name in BUILT_IN if after[name] != before[name]}


def test_a_copy_elsewhere_has_the_hashes_of_the_original(copied: Path) -> None:
    assert hashes(copied) == hashes(ROOT / "methods")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "methods"),
    [
        ("_recipes.py", "ONE_ENCODER = {", 'NEW = {"mini": replace(MINI, lr=1.0)}\nONE_ENCODER = {"a": MINI, ', ""),
        ("_recipes.py", '    "few_shot/ssv2"', '    "few_shot/k400": XCLIP_FEW_SHOT,\n    "few_shot/ssv2"', ""),
        ("_recipes.py", "lr=6e-4", "lr=9e-4", ""),
        ("_recipes.py", '"""Published', '"""New: published', ""),
        ("_specs/xclip.py", 'title="X-CLIP"', 'title="XCLIP"', ""),
        ("_specs/xclip.py", "recipes = XCLIP", 'recipes = XCLIP | {"mini": XCLIP["b2n"]}', ""),
        ("_specs/bridge_prompt.py", '"vision_tokens": 10', '"vision_tokens": 11', ""),
        ("_specs/mmaction2.py", "class_text=\"none\"", "class_text=\"names\"", ""),
        ("_specs/_embedding.py", "the published rows take", "published rows take", ""),
        ("_prompted.py", "token embeddings: published", "embeddings: published", ""),
        ("_specs/xclip.py", "option(10.0,", "option(20.0,", "xclip"),
        ("_specs/bridge_prompt.py", "options.stage_one == FIT", "options.stage_one != FIT", "bridge_prompt"),
        (
            "_templates.py", "a photo of action {}", "a photo of an action {}",
            "actionclip ez_clip froster mote open_vclip vanilla_clip viclip",
        ),
        ("_blocks.py", "torch.sigmoid(1.702", "torch.sigmoid(1.7", "actionclip efficient_prompt mote xclip"),
        ("_embedding.py", "dim=-1", "dim=0", "dem eszsl sje"),
        ("eszsl.py", "range(-3, 4)", "range(-4, 4)", "eszsl"),
        ("_contrast.py", "TARGET_SCALE = 10.0", "TARGET_SCALE = 20.0", "actionclip ez_clip mote ost"),
        ("_specs/actionclip.py", "POSITIONS = 77", "POSITIONS = 78", "actionclip"),
        ("vificlip.py", "self.learn_all()", "self.freeze_clip()", "vificlip"),
        ("__init__.py", '"""Built-in', '"""The built-in', ""),
    ],
)  # fmt: skip
def test_an_edit_changes_the_methods_that_it_concerns(
    file: str, old: str, new: str, methods: str, copied: Path
) -> None:
    """B13: a recipe that is added for one method leaves all results valid, a changed helper those of other methods."""
    assert changed_by(copied, file, old, new) == set(methods.split())


@pytest.mark.slow
def test_a_helper_of_one_method_alone(copied: Path) -> None:
    (copied / "_only.py").write_text("WIDTH = 1\n")
    added = changed_by(copied, "dem.py", "import torch\n", "import torch\nfrom methods._only import WIDTH\n")
    assert added == {"dem"}
    (copied / "dem.py").write_text("from methods._only import WIDTH\n" + (copied / "dem.py").read_text())
    assert changed_by(copied, "_only.py", "WIDTH = 1", "WIDTH = 2") == {"dem"}
