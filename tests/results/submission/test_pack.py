"""`submit pack` takes whole rows of one recipe, refuses to choose between variants, and survives damaged files."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import EXIT_FAILED, EXIT_USAGE, UserError
from results.record import find_records
from results.submission.choose import Choice
from results.submission.pack import About, Packed, pack
from tests.results.submission.corrupted import fresh
from tests.results.submission.forge import Forge, with_parent
from tests.results.submission.forged_tables import nudged
from tests.results.submission.installed_facts import check
from tests.results.submission.test_valid import unpacked

Json = dict[str, Any]
LATER = "2026-02-01T00:00:00+00:00"


def variant(edit: Callable[[Json], Any], protocol: str = "b2n", created: str = LATER) -> Forge:
    """Another complete row of the method: other fits, with weights and predictions of their own."""
    made = fresh(protocol)
    made.refit(lambda fit: (edit(fit), fit["weights"].update(sha256=_another(fit["weights"]["sha256"]))))
    made.weights = {}
    made.change(lambda record: record.update(created=created))
    for item in made.items:
        item.frame = nudged(item.frame)
        item.derive()
    made.identify()
    return made


def _another(sha256: str) -> str:
    return sha256[1:] + sha256[0]


def recipe(**changes: Any) -> Callable[[Json], None]:
    """A changed recipe: the declared one stays."""
    return lambda fit: fit["described"]["training"]["recipe"].update(changes)


def declared(**changes: Any) -> Callable[[Json], None]:
    """Another declared recipe, which is used."""

    def edit(fit: Json) -> None:
        fit["described"]["training"]["recipe"].update(changes)
        fit["described"]["training"]["declared"].update(changes)

    return edit


def option(width: int) -> Callable[[Json], None]:
    return lambda fit: fit["described"]["method"]["options"].update(width=width)


def backbone(digit: str) -> Callable[[Json], None]:
    return lambda fit: fit["described"]["model"].update(arch="ViT-B-16", weights="laion", tensors_sha256=digit * 64)


def code(digit: str) -> Callable[[Json], None]:
    return lambda fit: fit["described"]["method"].update(code=digit * 64)


def parts(made: Forge, *names: str) -> Forge:
    """Only the records of some parts."""
    made.keep(lambda item: item.m["protocol"]["part"] in names)
    return made


def repeats(made: Forge, *indices: int) -> Forge:
    made.keep(lambda item: item.m["protocol"]["repeat"]["index"] in indices)
    return made


def runs(folder: Path, *rows: Forge) -> Path:
    """A run folder with several rows of one method."""
    for number, made in enumerate(rows):
        unpacked(made, folder / "runs" / str(number))
    return folder / "runs"


def packed(folder: Path, *rows: Forge, **choice: Any) -> Packed:
    return pack(runs(folder, *rows), Choice("mymethod", **choice), folder / "a.zip")


def refused(folder: Path, *rows: Forge, **choice: Any) -> UserError:
    with pytest.raises(UserError) as error:
        packed(folder, *rows, **choice)
    assert not (folder / "a.zip").exists()
    return error.value


def packed_keys(done: Packed) -> set[str]:
    """Keys of the packed records."""
    return {one.record.key for one in check(done.path).submission.measured}


def keys(made: Forge) -> set[str]:
    return {item.record["key"] for item in made.items}


def row_of(made: Forge) -> str:
    return made.items[0].record["signature"].rpartition("row:")[2]


@pytest.mark.slow
def test_a_quick_look_with_a_changed_recipe_is_left_out(tmp_path: Path) -> None:
    """The documented way: `--repeat 1 --recipe epochs=1` first, then the whole row."""
    quick, whole = repeats(variant(recipe(epochs=1)), 1), fresh()
    done = packed(tmp_path, quick, whole)
    assert packed_keys(done) == keys(whole)
    assert check(done.path).passed
    left_out = [reason for reason in done.left_out if "changed recipe epochs=1" in reason]
    assert len(left_out) == 3 and not done.notes


@pytest.mark.slow
def test_a_changed_recipe_alone_is_packed_and_said(tmp_path: Path) -> None:
    changed = variant(recipe(epochs=1))
    done = packed(tmp_path, changed)
    assert packed_keys(done) == keys(changed)
    (note,) = done.notes
    assert "changed recipe epochs=1" in note and row_of(changed) in note
    assert check(done.path).rules() == {"P025"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "named", "way", "choice"),
    [
        (recipe(epochs=1), recipe(epochs=2), ["epochs 1", "epochs 2"], "--recipe epochs=VALUE",
         {"recipe": {"epochs": "2"}}),
        (recipe(lr=1e-6), recipe(lr=2e-6, epochs=2), ["lr 1e-06", "lr 2e-06", "epochs 11", "epochs 2"],
         "--recipe lr=VALUE", {"recipe": {"lr": "2e-6"}}),
        (recipe(seed=1), recipe(seed=2), ["seed 1", "seed 2"], "--recipe seed=VALUE", {"recipe": {"seed": "2"}}),
        (declared(epochs=3), declared(epochs=4), ["epochs 3", "epochs 4"], "--recipe epochs=VALUE",
         {"recipe": {"epochs": "4"}}),
        (option(8), option(16), ["option width 8", "option width 16"], "mymethod:width=VALUE",
         {"options": {"width": "16"}}),
        (recipe(betas=[0.9, 0.9]), recipe(betas=[0.9, 0.99]), ["betas 0.9, 0.9", "betas 0.9, 0.99"],
         "--recipe betas=VALUE", {"recipe": {"betas": "0.9,0.99"}}),
    ],
)  # fmt: skip
def test_variants_are_listed_by_their_differences_and_one_is_chosen(
    first: Callable[[Json], Any], second: Callable[[Json], Any], named: list[str], way: str, choice: Json,
    tmp_path: Path,
) -> None:  # fmt: skip
    rows = variant(first), variant(second)
    error = refused(tmp_path, *rows)
    assert error.exit_code == EXIT_USAGE
    assert all(text in error.message for text in [*named, "b2n mini_target", *map(row_of, rows)])
    assert way in error.hint and "--row KEY" in error.hint
    assert packed_keys(packed(tmp_path, **choice)) == keys(rows[1])


@pytest.mark.slow
def test_backbones_are_chosen_by_row_and_several_rows_can_be_named(tmp_path: Path) -> None:
    rows = variant(backbone("b")), variant(backbone("c"))
    error = refused(tmp_path, *rows)
    assert "tensors of the weights bbbbbbbb" in error.message and "tensors of the weights cccccccc" in error.message
    assert packed_keys(packed(tmp_path, rows=(row_of(rows[1])[:6],))) == keys(rows[1])
    assert packed_keys(packed(tmp_path, rows=tuple(map(row_of, rows)))) == keys(rows[0]) | keys(rows[1])


@pytest.mark.slow
def test_variants_of_one_protocol_do_not_stop_another(tmp_path: Path) -> None:
    few_shot = fresh("few_shot")
    error = refused(tmp_path, variant(option(8)), variant(option(16)), few_shot)
    assert "--protocol" not in error.hint  # the variants are of one protocol: its name does not choose
    assert packed_keys(packed(tmp_path, protocols=("few_shot",))) == keys(few_shot)


@pytest.mark.slow
def test_the_rows_of_several_protocols_are_packed_together(tmp_path: Path) -> None:
    rows = fresh(), variant(lambda fit: None, "few_shot")
    done = packed(tmp_path, *rows)
    assert packed_keys(done) == keys(rows[0]) | keys(rows[1]) and not done.notes
    assert check(done.path).passed


@pytest.mark.slow
def test_parts_of_two_fits_are_never_put_together(tmp_path: Path) -> None:
    """Honest records: base from a long fit, novel and joint from a short one. No mixture is a row."""
    long, short = parts(variant(recipe(epochs=16)), "base"), parts(variant(recipe(epochs=2)), "novel", "joint")
    error = refused(tmp_path, long, short)
    assert "epochs 16" in error.message and "epochs 2" in error.message
    done = packed(tmp_path, recipe={"epochs": "16"})
    assert packed_keys(done) == keys(long)
    assert any("6 evaluations missing" in note for note in done.notes)


@pytest.mark.slow
def test_parts_of_the_declared_and_of_another_recipe_are_never_put_together(tmp_path: Path) -> None:
    base, others = parts(fresh(), "base"), parts(variant(recipe(seed=7)), "novel", "joint")
    done = packed(tmp_path, base, others)
    assert packed_keys(done) == keys(base)
    assert any("6 evaluations missing" in note for note in done.notes)
    assert any("changed recipe seed=7" in reason for reason in done.left_out)


@pytest.mark.slow
def test_two_fits_of_one_list_in_a_row_are_never_put_together(tmp_path: Path) -> None:
    """A tag and a file with equal tensors give two fits in one row: the one with more parts counts."""
    whole = fresh()
    other = parts(variant(lambda fit: fit["described"]["model"].update(weights=f"sha256:{'a' * 64}")), "base")
    assert row_of(whole) == row_of(other)
    done = packed(tmp_path, whole, other)
    assert packed_keys(done) == keys(whole) and check(done.path).passed
    assert sum("superseded" in reason for reason in done.left_out) == 3


@pytest.mark.slow
@pytest.mark.parametrize("complete", [True, False])
def test_the_newest_complete_generation_is_packed(complete: bool, tmp_path: Path) -> None:
    old, new = variant(code("a"), created="2026-01-01T00:00:00+00:00"), variant(code("b"))
    if not complete:
        parts(new, "base")
    wanted, other = (new, old) if complete else (old, new)
    done = packed(tmp_path, old, new)
    assert packed_keys(done) == keys(wanted) and not done.notes
    reasons = [reason for reason in done.left_out if "superseded" in reason]
    assert len(reasons) == len(other.items) and all("code" in reason for reason in reasons)


def _refitted(made: Forge, *evaluated: str) -> Forge:
    """The same row after its fits were computed again and some parts were evaluated again."""
    again = copy.deepcopy(made)
    again.refit(lambda fit: fit["weights"].update(sha256=_another(fit["weights"]["sha256"])))
    again.weights = {}
    again.change(lambda record: record.update(created=LATER))
    again.items = [item for item in again.items if item.m["protocol"]["part"] in evaluated]
    return again


@pytest.mark.slow
def test_records_of_earlier_weights_of_a_fit_are_left_out(tmp_path: Path) -> None:
    made = fresh()
    again = _refitted(made, "base")
    folder = runs(tmp_path, again)
    names = {name: data for name, data in made.files().items() if name.startswith("records/")}
    for name, data in names.items():  # the earlier records: their fit.json was written over
        target = folder / "before" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    done = pack(folder, Choice("mymethod"), tmp_path / "a.zip")
    found = check(done.path)
    assert {one.weights for one in found.submission.measured} == {
        item.m["training"]["weights_sha256"] for item in again.items
    }
    assert found.rules() == {"P006"} and any("6 evaluations missing" in note for note in done.notes)
    assert sum("computed again" in reason for reason in done.left_out) == 9


@pytest.mark.slow
def test_records_whose_parent_fit_was_computed_again_are_left_out(tmp_path: Path) -> None:
    made = with_parent(fresh())
    folder = runs(tmp_path, made)
    assert check(pack(folder, Choice("mymethod"), tmp_path / "a.zip").path).passed
    (parent,) = [path for path in folder.rglob("fit.json") if "mini_source" in path.read_text()
                 and json.loads(path.read_text())["described"]["training"]["start"]["kind"] == "clip"]  # fmt: skip
    value = json.loads(parent.read_text())
    value["weights"]["sha256"] = value["described"]["training"]["weights_sha256"] = "d" * 64
    parent.write_text(json.dumps(value))
    (tmp_path / "a.zip").unlink()
    with pytest.raises(UserError, match="No record") as error:
        pack(folder, Choice("mymethod"), tmp_path / "a.zip")
    assert "mymethod mini_source/train was computed again" in error.value.hint


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated record": _truncate,
    "record of an older schema": lambda path: path.write_text(json.dumps({"schema": 1})),
    "record with another key": lambda path: path.write_text(path.read_text().replace('"key": "', '"key": "0', 1)),
    "record that is not UTF-8": lambda path: path.write_bytes(b"\xff\xfe"),
    "predictions removed": lambda path: _table(path).unlink(),
    "predictions changed": lambda path: _table(path).write_bytes(_table(path).read_bytes() + b"\n"),
}


def _table(record: Path) -> Path:
    return record.with_name(record.name.replace(".record.json", ".predictions.csv.gz"))


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_record_of_the_method_is_named_and_left_out(name: str, tmp_path: Path) -> None:
    made = fresh()
    folder = runs(tmp_path, made)
    path = find_records(folder)[0]
    DAMAGE[name](path)
    done = pack(folder, Choice("mymethod"), tmp_path / "a.zip")
    (damaged,) = done.damaged
    assert path.name in damaged
    assert packed_keys(done) < keys(made) and len(packed_keys(done)) == 8
    assert any("1 evaluations missing" in note for note in done.notes)


@pytest.mark.slow
def test_a_damaged_record_of_another_method_is_named_and_changes_nothing(tmp_path: Path) -> None:
    made = fresh()
    folder = runs(tmp_path, made)
    pack(folder, Choice("mymethod"), tmp_path / "before.zip")
    other = folder / "mini-clip" / "theirs-0a1b2c" / "untrained" / "evals" / "b2n-x.record.json"
    other.parent.mkdir(parents=True)
    other.write_text("{")
    done = pack(folder, Choice("mymethod"), tmp_path / "a.zip")
    assert [str(other) in damaged for damaged in done.damaged] == [True]
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "before.zip").read_bytes()
    assert "may belong" not in done.damaged[0]
    _truncate(find_records(folder)[-1] if find_records(folder)[-1] != other else find_records(folder)[0])
    assert any("may belong to the packed method" in text for text in packed_damage(folder, tmp_path))


def packed_damage(folder: Path, tmp_path: Path) -> list[str]:
    return pack(folder, Choice("mymethod"), tmp_path / "again.zip").damaged


@pytest.mark.slow
def test_a_damaged_fit_of_another_method_changes_nothing(tmp_path: Path) -> None:
    folder = runs(tmp_path, fresh())
    (folder / "theirs").mkdir()
    (folder / "theirs" / "fit.json").write_text("[]")
    done = pack(folder, Choice("mymethod"), tmp_path / "a.zip")
    assert len(done.damaged) == 1 and "theirs" in done.damaged[0] and check(done.path).passed


@pytest.mark.slow
def test_a_damaged_fit_that_is_needed_is_an_error(tmp_path: Path) -> None:
    folder = runs(tmp_path, fresh())
    _truncate(next(iter(folder.rglob("fit.json"))))
    with pytest.raises(UserError, match=r"has no valid fit\.json"):
        pack(folder, Choice("mymethod"), tmp_path / "a.zip")


def test_only_damaged_records_are_an_error(tmp_path: Path) -> None:
    folder = runs(tmp_path, fresh("few_shot"))
    for path in find_records(folder):
        _truncate(path)
    with pytest.raises(UserError, match="no readable record") as error:
        pack(folder, Choice("mymethod"), tmp_path / "a.zip")
    assert error.value.exit_code == EXIT_FAILED


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"protocols": ("few_shot",)}, "protocol b2n"), ({"datasets": ("ucf101",)}, "dataset mini_target"),
        ({"options": {"width": "9"}}, "option width is 4, requested is 9"), ({"options": {"depth": "1"}}, "no option"),
        ({"recipe": {"epochs": "9"}}, "recipe setting epochs is 11"), ({"rows": ("zzz",)}, "row "),
        ({"version": 7}, "version 1 of the method, packed is 7"),
    ],
)  # fmt: skip
def test_a_choice_that_leaves_nothing_says_why(choice: Json, reason: str, tmp_path: Path) -> None:
    assert reason in refused(tmp_path, fresh(), **choice).hint


@pytest.mark.slow
def test_the_highest_version_is_packed(tmp_path: Path) -> None:
    new = variant(lambda fit: fit["described"]["method"].update(version=2), created="2025-01-01T00:00:00+00:00")
    done = packed(tmp_path, fresh(), new)
    assert packed_keys(done) == keys(new)
    assert packed_keys(packed(tmp_path, version=1)) == keys(fresh())


@pytest.mark.slow
def test_weights_and_statements_are_packed(tmp_path: Path) -> None:
    about = About("A. Author", "https://x", "1", weights=True)
    done = pack(runs(tmp_path, fresh()), Choice("mymethod"), tmp_path / "a.zip", about)
    found = check(done.path).submission
    assert found.manifest is not None and (found.manifest.submitter, found.manifest.code) == ("A. Author", "https://x")
    assert len(found.weights) == 3 and done.fits == 3
