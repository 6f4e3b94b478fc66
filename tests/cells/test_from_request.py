"""Identity of fits and evals: what decides a number, and nothing of how it was computed."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import Cells
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.machine.settings import Settings, load_settings
from harness.plugins.code_hash import code_sha256
from results import measurement_words as words
from results.measurement import fit_key
from tests.conftest import CLASSES

MINI = BackboneChoice("mini-clip", None)


def settings(runs: Path | str = "runs", **flags: str) -> Settings:
    return load_settings({"runs": str(runs), **flags}, {"HARNESS_CONFIG": "/dev/null"})


@pytest.fixture
def request_of(small_dataset: Path) -> Any:
    def make(*methods: str, options: dict[str, str] | None = None, **more: Any) -> Request:
        chosen = tuple(MethodChoice(name, options or {}) for name in methods or ("vificlip",))
        base = Request(chosen, ("b2n",), (str(small_dataset),), MINI, {"ranks": "1", "accumulate": "1"})
        return replace(base, **more)

    return make


def keys(cells: Cells) -> tuple[list[str], list[str]]:
    return sorted(c.key for c in cells.fits), sorted(c.key for c in cells.evals)


def test_a_request_expands_into_fits_and_evals(request_of: Any, three_subsets: Path) -> None:
    cells = expand(request_of(datasets=(str(three_subsets),)), settings())
    names = [f"vificlip shapes/base_s{i} [accumulate=1]" for i in (1, 2, 3)]
    assert [c.name for c in cells.fits] == names and [c.fit.repeat.index for c in cells.fits] == [1, 2, 3]
    assert sorted((c.eval.part, c.repeat.index) for c in cells.evals) == sorted(
        (part, i) for part in ("base", "novel", "joint") for i in (1, 2, 3)
    )
    assert len({c.key for c in cells.evals}) == 9 and len({c.record for c in cells.evals}) == 9
    assert all(c.record.is_relative_to(c.fit.folder) for c in cells.evals if c.fit)


def test_identity_leaves_out_where_and_how(request_of: Any, small_dataset: Path, tmp_path: Path) -> None:
    reference = keys(expand(request_of(), settings()))
    moved = Path(shutil.copytree(small_dataset, tmp_path / "shapes"))
    assert keys(expand(request_of(), settings(tmp_path / "other", cache="/c", weights="/w"))) == reference
    assert keys(expand(request_of(datasets=(str(moved),)), settings())) == reference
    assert keys(expand(request_of(recipe={"accumulate": "1", "ranks": "1"}), settings())) == reference
    assert keys(expand(request_of(recipe={"accumulate": "1", "ranks": "01"}), settings())) == reference


def test_the_order_of_arguments_does_not_matter(request_of: Any) -> None:
    one = expand(request_of("vificlip", "vanilla_clip", protocols=("b2n", "few_shot")), settings())
    two = expand(request_of("vanilla_clip", "vificlip", protocols=("few_shot", "b2n")), settings())
    assert keys(one) == keys(two)
    assert {c.record for c in one.evals} == {c.record for c in two.evals}


def test_an_option_at_its_default_is_the_same_cell_in_the_same_place(request_of: Any) -> None:
    plain = expand(request_of(), settings())
    template = plain.evals[0].row.options.as_dict()["template"]
    explicit = expand(request_of(options={"template": template}), settings())
    assert keys(explicit) == keys(plain)
    assert [c.folder for c in explicit.fits] == [c.folder for c in plain.fits]
    other = expand(request_of(options={"template": "{}"}), settings())
    assert not {c.folder for c in other.fits} & {c.folder for c in plain.fits}


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": {"ranks": "1", "accumulate": "2"}},
        {"recipe": {"ranks": "1", "accumulate": "1", "lr": "1e-5"}},
        {"recipe": {"ranks": "1", "accumulate": "1", "seed": "2"}},
        {"views": {"frames": "2"}},
        {"views": {"reader": "decord"}},
        {"views": {"normalize": "clip"}},
        {"options": {"template": "{}"}},
        {"backbone": BackboneChoice("ViT-B-16", "random")},
    ],
    ids=str,
)
def test_what_changes_numbers_changes_every_key(request_of: Any, change: dict[str, Any]) -> None:
    before, after = expand(request_of(), settings()), expand(request_of(**change), settings())
    for old, new in zip(keys(before), keys(after), strict=True):
        assert len(old) == len(new) and not set(old) & set(new)
    assert not {c.folder for c in before.fits} & {c.folder for c in after.fits}


def test_evaluation_views_leave_fits_alone(request_of: Any) -> None:
    """Clips and crops are of evaluation: the same fits serve them."""
    before = expand(request_of(), settings())
    after = expand(request_of(views={"crops": "3"}), settings())
    assert keys(before)[0] == keys(after)[0]
    assert not set(keys(before)[1]) & set(keys(after)[1])


def test_another_list_or_label_set_is_another_identity(request_of: Any, small_dataset: Path, tmp_path: Path) -> None:
    reference = expand(request_of(), settings())
    fewer = Path(shutil.copytree(small_dataset, tmp_path / "fewer" / "shapes"))
    for name in CLASSES:
        (fewer / name / "clip7.avi").unlink()
    other = expand(request_of(datasets=(str(fewer),)), settings())
    assert not set(keys(reference)[1]) & set(keys(other)[1])


def test_a_renamed_class_changes_the_cells_that_know_it(request_of: Any, small_dataset: Path, tmp_path: Path) -> None:
    renamed = Path(shutil.copytree(small_dataset, tmp_path / "shapes"))
    (renamed / CLASSES[0]).rename(renamed / "circle leftwards")
    before = {c.number for c in expand(request_of("vanilla_clip"), settings()).evals}
    after = expand(request_of("vanilla_clip", datasets=(str(renamed),)), settings()).evals
    assert len(after) == 3
    for cell in after:
        assert (cell.number in before) == ("circle leftwards" not in cell.labels.names)


def test_repeats_and_shots_restrict(request_of: Any, three_subsets: Path) -> None:
    assert len(expand(request_of(datasets=(str(three_subsets),), repeats=(2,)), settings()).fits) == 1
    few = request_of(protocols=("few_shot",), shots=(2,))
    assert [c.fit.shots for c in expand(few, settings()).fits] == [2]
    for wrong in (request_of(repeats=(9,)), request_of(protocols=("few_shot",), shots=(3,))):
        with pytest.raises(UserError, match=r"No fit of .* is selected by --(repeat 9|shots 3)"):
            expand(wrong, settings())


def test_an_untrained_method_is_measured_once(request_of: Any) -> None:
    cells = expand(request_of("vanilla_clip"), settings())
    assert cells.fits == ()
    assert sorted(c.eval.part for c in cells.evals) == ["base", "joint", "novel"]


def test_signatures_tell_rows_apart(request_of: Any) -> None:
    def signature(**more: Any) -> str:
        return words.signature(expand(request_of(**more), settings()).evals[0].measurement)

    texts = [signature(), signature(views={"frames": "2"}), signature(options={"template": "{}"})]
    assert len(set(texts)) == 3
    assert "|open|" in signature() and "|recipe:own+accumulate=1|" in signature()
    assert "b2n.1|shapes.base_val+own+own-training|vificlip.1|mini-clip" in signature()


def test_wrong_names(request_of: Any) -> None:
    for wrong, message in (
        (request_of("vifi"), "no method named 'vifi'"),
        (request_of(protocols=("b2",)), "no protocol named 'b2'"),
        (request_of(datasets=("ucf10",)), "no dataset named 'ucf10'"),
        (request_of(options={"templat": "x"}), "no option of vificlip named 'templat'"),
    ):
        with pytest.raises(UserError, match=message):
            expand(wrong, settings())


def test_code_counts_and_comments_do_not(tmp_path: Path) -> None:
    def sha256(name: str, source: str) -> str:
        path = tmp_path / name / "plugin.py"
        path.parent.mkdir()
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(f"cells_{name}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[f"cells_{name}"] = module
        spec.loader.exec_module(module)
        return code_sha256(module.A)

    plain = sha256("plain", "class A:\n    def f(self):\n        return 1\n")
    commented = sha256(
        "commented",
        '"""Doc."""\n\n\nclass A:\n    """Doc."""\n    def f(self):  # why\n        "doc"\n        return (1)\n',
    )
    assert plain == commented
    assert plain != sha256("other", "class A:\n    def f(self):\n        return 2\n")


def test_all_modules_of_a_package_count_and_its_neighbours_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else is installed beside a plugin, and where, is no part of its identity."""

    def sha256(place: str, helper: str, neighbour: str, package: str = "cells_package") -> str:
        site = tmp_path / place
        (site / package).mkdir(parents=True)
        (site / package / "__init__.py").write_text("from cells_package.sums import one\nclass A:\n    f = one\n")
        (site / package / "sums.py").write_text(helper)
        (site / "_neighbour.py").write_text(neighbour)
        (site / "cells_module.py").write_text("class B:\n    pass\n")
        monkeypatch.syspath_prepend(str(site))
        for name in ("cells_package", "cells_package.sums", "cells_module"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        found = [importlib.import_module(name) for name in ("cells_package", "cells_module")]
        return code_sha256(found[0].A) + code_sha256(found[1].B)

    first = sha256("a", "def one():\n    return 1\n", "x = 1\n")
    assert sha256("b", "def one():\n    return 1\n", "x = 2\n") == first
    other = sha256("c", "def one():\n    return 2\n", "x = 1\n")
    assert other[:64] != first[:64] and other[64:] == first[64:]


def test_the_source_of_a_recipe_enters_no_key(request_of: Any) -> None:
    described = expand(request_of(), settings()).fits[0].described
    recipe = replace(described.training.recipe, source="another text")
    assert fit_key(replace(described, training=replace(described.training, recipe=recipe))) == fit_key(described)
