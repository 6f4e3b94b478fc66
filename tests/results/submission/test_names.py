"""Names that can be confused, and names that cannot be read."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from confusable_homoglyphs.confusables import confusables_data
from hypothesis import example, given
from hypothesis import strategies as st

from harness.submitting.benchmark_facts import builtin_methods, facts_of
from harness.submitting.check_folder import Candidate, check_all
from results.submission.names import confusable, folded, name_problem, one_edit_apart
from tests.results.submission.corrupted import fresh

BUILT_IN = sorted({*facts_of(()).titles, *facts_of(()).titles.values()})
LOOKS_LIKE = {
    letter: [c for entry in confusables_data.get(letter, ()) if (c := entry["c"]).isprintable() and c.strip()]
    for letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
}  # fmt: skip


@st.composite
def disguised(draw: st.DrawFn) -> tuple[str, str]:
    """A built-in name, and the name with characters of the same look, of another width or case, or punctuation."""
    name = draw(st.sampled_from(BUILT_IN))
    letters = []
    for letter in name:
        kind = draw(st.sampled_from(("same", "same", "look", "case", "wide", "point")))
        if kind == "look" and LOOKS_LIKE.get(letter):
            letters.append(draw(st.sampled_from(LOOKS_LIKE[letter])))
        elif kind == "case":
            letters.append(letter.swapcase() if len(letter.swapcase()) == 1 else letter)
        elif kind == "wide" and letter.isascii() and letter.isalnum():
            letters.append(chr(ord(letter) + 0xFEE0))
        elif kind == "point":
            letters += [letter, draw(st.sampled_from((" ", "-", "_", ".", "\u00a0")))]
        else:
            letters.append(letter)
    return name, "".join(letters)


@pytest.mark.slow
@example(("actionclip", "act\u02dboncl\u02dbp"))
@given(disguised())
def test_a_disguised_name_is_confusable(pair: tuple[str, str]) -> None:
    name, other = pair
    assert confusable(name, other) or one_edit_apart(name, other), folded(other)


@pytest.mark.slow
@given(st.sampled_from(BUILT_IN), st.data())
def test_a_name_one_edit_away_is_found(name: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(name)))
    letter = data.draw(st.sampled_from("bdxyz27"))
    edits = [name[:position] + letter + name[position:], name[:position] + letter + name[position + 1 :],
             name[:position] + name[position + 1 :]]  # fmt: skip
    for other in edits:
        assert confusable(name, other) or one_edit_apart(name, other)


@pytest.mark.slow
def test_different_names_are_not_confusable() -> None:
    names = ["ILA", "CLAVER", "BIKE", "Text4Vis", "GA2-CLIP", "DiST", "ALT", "ZeroI2V", "метод"]  # no built-in methods
    for name in names:
        assert not name_problem(name)
        for other in BUILT_IN:
            assert not confusable(name, other) and not one_edit_apart(name, other), (name, other)
    built_in = dict(facts_of(()).titles)
    for name, title in built_in.items():
        for other, other_title in built_in.items():
            if name != other:
                assert not confusable(title, other_title) and not confusable(name, other)


BAD = ["", " ", "\u3000", "a ", " a", "a\u200bb", "a\u202eb", "a\u2066b", "a\u00adb", "a\ufeffb", "a\u2028b",
       "a\ue000b", "a\x00b", "a\nb", "\u3164", "\u2800a", "e" + "\u0301" * 4]  # fmt: skip
GOOD = ["ViFi-CLIP", "Méthode à deux étapes", "视频 CLIP", "Tiếng Việt", unicodedata.normalize("NFD", "Tiếng")]


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_cannot_be_read_has_a_problem(name: str) -> None:
    assert name_problem(name)


@pytest.mark.slow
@given(st.text(st.characters(categories=["Cf", "Cc", "Co", "Cs", "Zl", "Zp"]), min_size=1, max_size=2))
def test_every_invisible_character_is_a_problem(text: str) -> None:
    assert name_problem(f"My{text}Method")


@pytest.mark.parametrize("name", GOOD)
def test_a_name_in_any_script_is_fine(name: str) -> None:
    assert not name_problem(name)


@pytest.mark.slow
def test_a_name_on_the_board_belongs_to_its_method(tmp_path: Path) -> None:
    """A second method cannot take the title of the first one, but a second version of the first method can."""
    assert "mymethod" not in builtin_methods()
    candidates = []
    for number, (name, version) in enumerate((("mymethod", 1), ("mymethod", 2), ("other", 1))):
        made = fresh("few_shot")
        method = {"name": name, "version": version}
        made.refit(lambda fit, method=method: fit["described"]["method"].update(method))
        made.change(lambda record: record["method"].update(title="My Method"))
        made.derive()
        candidates.append(Candidate(made.write(tmp_path / f"{number}.zip")))
    rules = [checked.rules() for checked, _ in check_all(candidates, tmp_path, tmp_path / "board")]
    assert rules[:2] == [set(), set()] and "P028" in rules[2]
