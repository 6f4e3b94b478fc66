"""Files of class texts: their form, the classes of label sets, the converter, and the measurement."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.data.import_texts import import_texts, text_source
from harness.data.official.cards import OFFICIAL, load_card
from harness.machine.settings import load_settings
from harness.spec import LabelSet
from harness.spec.class_texts import FORM, name_key, read_class_texts
from tests.conftest import in_process

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: Any, name: str = "texts.json") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_file


def file_of(texts: Any, source: str = "llm", **more: Any) -> dict[str, Any]:
    return {"form": FORM, "source": source, "texts": texts, **more}


def test_sentences_and_lists_by_name_and_by_id(write: Write) -> None:
    labels = LabelSet(("walk", "brush hair"))
    by_name = read_class_texts(write(file_of({"brush hair": ["a", "b"], "walk": "One sentence."})))
    assert by_name.of(labels) == (("One sentence.",), ("a", "b"))
    by_id = read_class_texts(write(file_of({"1": "B", "0": "A"}, "human", classes=["walk", "brush hair"]), "ids.json"))
    assert by_id.of(LabelSet(("brush hair", "walk"))) == (("B",), ("A",))
    assert (by_name.class_text, by_id.class_text) == ("llm-rewritten", "human-written")


def test_kinds(write: Write) -> None:
    texts = read_class_texts(write(file_of({"walk": {"spatial": ["street"], "temporal": ["step", "step again"]}})))
    assert texts.kinds == ("spatial", "temporal")
    assert texts.of(LabelSet(("walk",)), "temporal") == (("step", "step again"),)
    with pytest.raises(UserError, match="hold texts of the kinds 'spatial', 'temporal', expected texts without kinds"):
        texts.of(LabelSet(("walk",)))


@pytest.mark.parametrize("name", ["ApplyEyeMakeup", "Apply Eye Makeup", "apply_eye_makeup", "apply eye-makeup"])
def test_a_class_is_found_however_its_name_is_spelt(name: str, write: Write) -> None:
    texts = read_class_texts(write(file_of({"ApplyEyeMakeup": "x"})))
    assert texts.of(LabelSet((name,))) == (("x",),)


def test_names_of_one_key_are_found_by_exact_spelling_only(write: Write) -> None:
    texts = read_class_texts(write(file_of({"pull ups": "x", "pullups": "y"})))
    assert texts.of(LabelSet(("pullups", "pull ups"))) == (("y",), ("x",))
    with pytest.raises(UserError, match="lack 1 of 1 classes"):
        texts.of(LabelSet(("Pull_Ups",)))
    assert name_key("!?") == "!?" and name_key("Café") == name_key("cafe\u0301")


def test_the_first_section_with_all_classes_counts(write: Write) -> None:
    """Datasets share names, and the K-600 subsets may have texts of their own for a shared class."""
    sections = [
        {"name": "one", "texts": {"archery": "1", "walk": "1"}},
        {"name": "two", "texts": {"archery": "2", "run": "2", "walk": "2"}},
    ]
    texts = read_class_texts(write({"form": FORM, "source": "llm", "sections": sections}))
    assert texts.of(LabelSet(("archery",))) == (("1",),)
    assert texts.of(LabelSet(("archery", "run"))) == (("2",), ("2",))
    with pytest.raises(UserError, match=r"lack 1 of 2 classes in the section 'one', which is the nearest of 2: 'fly'"):
        texts.of(LabelSet(("archery", "fly")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ('{"form": "class texts 1", "form": "x"}', "the key 'form' occurs twice"),
        ([], "has a JSON list, expected an object with the form 'class texts 1'"),
        ({"0": ["a"]}, "has form None, expected an object with the form"),
        (file_of({"walk": "x"}, "gpt"), "has the source 'gpt', expected 'llm' or 'human'"),
        (file_of({"walk": "x"}, sections=[]), "needs either `texts`"),
        ({"form": FORM, "source": "llm", "sections": []}, "expected a list of objects"),
        (file_of({"walk": "x"}, colour="red"), "has the unknown field 'colour'"),
        (file_of({}), "has no object `texts`"),
        (file_of({"walk": []}), r"class 'walk' has the texts \[\], expected a text or a list of texts, none blank"),
        (file_of({"walk": [" "]}), "none blank"),
        (file_of({"walk": 1}), "none blank"),
        (file_of({"walk": {"spatial": []}}), "has the texts of the kind 'spatial'"),
        (file_of({"walk": {}}), "expected at least one, each with a name"),
        (file_of({"walk": "x", "run": {"spatial": "y"}}), "expected the same kinds for every class"),
        (file_of({"0": "x"}, classes=["walk", "run"]), "differ in '1'; expected the ids 0 to 1"),
        (file_of({"0": "x", "1": "y"}, classes=["walk", "walk"]), "'walk' occurs twice"),
    ],
)
def test_other_forms_are_one_error(content: Any, message: str, write: Write) -> None:
    with pytest.raises(UserError, match=message):
        read_class_texts(write(content))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"The file of class texts .*absent.json does not exist"):
        read_class_texts(tmp_path / "absent.json")


def test_a_file_that_changes_in_a_process_is_refused(write: Write) -> None:
    """The measurements of the process hold its first hash."""
    assert read_class_texts(write(file_of({"walk": "x"}))).of(LabelSet(("walk",))) == (("x",),)
    with pytest.raises(UserError, match="changed while this process ran"):
        read_class_texts(write(file_of({"walk": "other"})))


@pytest.mark.parametrize("dataset", sorted(OFFICIAL))
def test_a_file_serves_every_label_set_of_a_dataset(dataset: str, write: Write) -> None:
    card = load_card(dataset)
    texts = read_class_texts(write(file_of({name: f"text of {name}" for name in card.labels("all").names})))
    for name in ("all", *card.subsets):
        for variant in ("published", "split", *(["corrected"] if dataset == "hmdb51" else [])):
            labels = card.labels(name, variant)
            found = [listed[0].removeprefix("text of ") for listed in texts.of(labels)]
            assert [name_key(text) for text in found] == [name_key(text) for text in labels.names]


# --- the converter


def test_both_layouts_become_sections(write: Write, tmp_path: Path) -> None:
    hmdb = load_card("hmdb51").labels("all").names
    subset = load_card("k600").labels(next(iter(load_card("k600").subsets))).names
    sentences = write({str(i): f"{name.replace('_', ' ')}: a sentence." for i, name in enumerate(hmdb)}, "hmdb.json")
    spatial = write({str(i): [f"thing {i}", "place"] for i in range(len(subset))}, "k600.json")
    out = tmp_path / "out.json"
    label_set = next(iter(load_card("k600").subsets))
    sources = [text_source(f"hmdb51={sentences}"), text_source(f"k600/{label_set}={spatial}")]
    report = import_texts(sources, "llm", out, load_settings())
    assert report.sections == (("hmdb51", len(hmdb), len(hmdb)), (f"k600/{label_set}", len(subset), 2 * len(subset)))
    texts = read_class_texts(out)
    assert texts.of(load_card("hmdb51").labels("novel_1" if "novel_1" in load_card("hmdb51").subsets else "all"))
    assert texts.of(LabelSet(subset))[3] == ("thing 3", "place")


def test_ids_of_corrected_names_are_named_by_the_message(write: Write, tmp_path: Path) -> None:
    """FROSTER numbers the classes of HMDB-51 by their folders; two pairs of the published names are exchanged."""
    for number, label_set in enumerate(("", "/novel")):
        out = tmp_path / f"{number}.json"
        names = load_card("hmdb51").labels(label_set[1:] or "all", "corrected").names
        file = write({str(i): f"{name.capitalize()}: a sentence." for i, name in enumerate(names)})
        corrected = f"hmdb51{label_set}@corrected"
        message = "the text of id 20 begins with 'Kick', and class 20 is 'kick ball'"
        with pytest.raises(UserError, match=message) as error:
            import_texts([text_source(f"hmdb51{label_set}={file}")], "llm", out, load_settings())
        assert error.value.hint == f"Its ids are those of {corrected}: give {corrected}={file}." and not out.exists()
        import_texts([text_source(f"{corrected}={file}")], "llm", out, load_settings())
        texts = read_class_texts(out)
        assert texts.of(LabelSet(("kick", "kick ball"))) == (("Kick: a sentence.",), ("Kick ball: a sentence.",))
    with pytest.raises(UserError, match="wrong"):
        import_texts([text_source(f"hmdb51@wrong={file}")], "llm", out, load_settings())


def test_two_files_of_two_kinds(write: Write, tmp_path: Path) -> None:
    names = write("walk\nrun\n", "names.csv")
    files = [write({"0": ["a"], "1": ["b"]}, "s.json"), write({"0": ["c", "d"], "1": ["e", "f"]}, "t.json")]
    out = tmp_path / "out.json"
    sources = (f"{names}:spatial={files[0]}", f"{names}:temporal={files[1]}")
    assert in_process("data", "import-texts", *sources, "--source", "human", "--out", out) == 0
    texts = read_class_texts(out)
    assert texts.source == "human" and texts.of(LabelSet(("run",)), "temporal") == (("e", "f"),)
    with pytest.raises(UserError, match="Two files hold texts of the label set"):
        import_texts([text_source(sources[0])] * 2, "llm", out, load_settings())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"0": "x"}, "has 1 keys, expected the ids 0 to 1 of"),
        ({"0": "x", "2": "y"}, "expected the ids 0 to 1 of"),
        ({"0": "x", "1": []}, r"has \[\] for the id 1"),
        ({"0": "Run: quick.", "1": "Walk: slow."}, "the text of id 0 begins with 'Run', and class 0 is 'walk'"),
        ("[", "cannot be read as JSON"),
    ],
)
def test_files_of_other_label_sets_are_refused(content: Any, message: str, write: Write, tmp_path: Path) -> None:
    names, out = write("walk\nrun\n", "names.csv"), tmp_path / "out.json"
    with pytest.raises(UserError, match=message):
        import_texts([text_source(f"{names}={write(content)}")], "llm", out, load_settings())
    assert not out.exists()
    for text in ("hmdb51", "=x.json", "hmdb51:=x.json"):
        with pytest.raises(UserError, match="is not LABELS=FILE"):
            text_source(text)
