"""Files of class names: all accepted forms give the same names, and any other form is refused with these forms."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.data.lists.class_names import read_class_names

NAMES = ("walk", "jump, high", "caf\u00e9 dance")
ACCEPTED = {
    "one a line": "walk\njump, high\ncaf\u00e9 dance\n",
    "one a line, CRLF, no last line end": "walk\r\njump, high\r\ncaf\u00e9 dance",
    "one a line, all quoted": '"walk"\n"jump, high"\n"caf\u00e9 dance"\n',
    "byte-order mark": "\ufeffwalk\njump, high\ncaf\u00e9 dance\n",
    "NFD": unicodedata.normalize("NFD", "walk\njump, high\ncaf\u00e9 dance\n"),
    "header": 'id,name\n0,walk\n1,"jump, high"\n2,caf\u00e9 dance\n',
    "header of FROSTER's kind, absent": '0,walk\n1,"jump, high"\n2,caf\u00e9 dance\n',
    "header with ;": "id;name\n0;walk\n1;jump, high\n2;caf\u00e9 dance\n",
    ";": "0;walk\n1;jump, high\n2;caf\u00e9 dance\n",
    "tab": "0\twalk\n1\tjump, high\n2\tcaf\u00e9 dance\n",
    "blank": "0 walk\n1 jump, high\n2 caf\u00e9 dance\n",
    "other header": 'class_name,label_id,clips\nwalk,0,7\n"jump, high",1,8\ncaf\u00e9 dance,2,9\n',
    "pandas index": ',class,id\n0,walk,0\n1,"jump, high",1\n2,caf\u00e9 dance,2\n',
    "name before id": 'walk,0\n"jump, high",1\ncaf\u00e9 dance,2\n',
    "other order of rows": '2,caf\u00e9 dance\n0,walk\n1,"jump, high"\n',
    "blank lines": "\n0;walk\n\n1;jump, high\n2;caf\u00e9 dance\n\n",
    "JSON list": json.dumps(NAMES),
    "JSON ids to names": json.dumps(dict(enumerate(NAMES))),
    "JSON names to ids": json.dumps({name: i for i, name in enumerate(NAMES)}),
    "JSON names to ids as text": json.dumps({name: str(i) for i, name in enumerate(NAMES)}),
    "JSON objects": json.dumps([{"id": i, "name": name, "clips": 3} for i, name in enumerate(NAMES)]),
}


@pytest.mark.parametrize("form", ACCEPTED)
def test_an_accepted_form_gives_the_names_by_id(tmp_path: Path, form: str) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes(ACCEPTED[form].encode())
    assert read_class_names(file).names == NAMES


def test_a_csv_of_one_column_may_have_a_header(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("class\nwalk\nrun\n")
    assert read_class_names(tmp_path / "names.csv").names == ("walk", "run")


@pytest.mark.parametrize("text", ["2 person dance\nwalk\n", "100 m sprint\n5 m jump\n", "throw, then catch\nrun\n"])
def test_names_with_numbers_and_commas_stay_names(tmp_path: Path, text: str) -> None:
    (tmp_path / "names.txt").write_text(text)
    assert read_class_names(tmp_path / "names.txt").names == tuple(text.split("\n")[:-1])


REFUSED = {
    "ids from 1": ("1 ApplyEyeMakeup\n2 ApplyLipstick\n", "the ids count from 1 to 2, expected 0 to 1"),
    "a gap": ("0,walk\n2,run\n", "no name has the id 1"),
    "an id twice": ("0,walk\n0,run\n", "the id 0 belongs to 'walk' and to 'run'"),
    "a JSON id twice": ('{"0": "walk", "0": "run"}', "the id 0 belongs to 'walk' and to 'run'"),
    "two names with ;": ("walk;gehen\nrun;laufen\n", "each line holds ';'"),
    "two names with ,": ("walk,gehen\nrun,laufen\n", "each line holds ','"),
    "YAML": ("0: walk\n1: run\n", "begins with a number or a mark ('0: walk')"),
    "numbered list": ("0. walk\n1. run\n", "begins with a number or a mark ('0. walk')"),
    "YAML list": ("- walk\n- run\n", "begins with a number or a mark ('- walk')"),
    "list of clips": ("v/a.avi 0\nv/b.avi 1\n", "is a list of clips ('v/a.avi 0')"),
    "name, blank, id": ("walk 0\nrun 1\n", "each line ends in a number ('walk 0')"),
    "one line without id": ("0,walk\nrun\n", "line 2: 'run', expected an id and a name"),
    "JSON of lists of lists": ('{"0": ["walk"], "1": ["run"]}', "JSON of another form"),
    "JSON objects without id": ('[{"action": "walk", "n": 3}]', "keys action, n, expected id and name"),
    "cut JSON": ('["walk", "ru', "cannot be read as JSON"),
    "empty": ("\n", "is empty"),
    "a blank name": ("0,walk\n1,\n", "the name of class 1 is blank"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_another_form_is_refused_and_the_accepted_forms_are_shown(tmp_path: Path, form: str) -> None:
    text, words = REFUSED[form]
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(UserError) as caught:
        read_class_names(tmp_path / "names.txt")
    assert words in caught.value.message and "names.txt" in caught.value.message
    assert "Accepted: one name per line; `id,name` rows" in caught.value.hint or "Give every class" in caught.value.hint


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("utf-16", "probably UTF-16"), ("utf-16-le", "UTF-16 without a byte-order mark"), ("utf-32", "UTF-32"),
        ("gbk", "probably GBK"), ("big5", "probably Big5"),
    ],
)  # fmt: skip
def test_another_encoding_is_named_with_the_command_that_converts_it(
    tmp_path: Path, encoding: str, words: str
) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes("walk\n\u8d70\u8def\n\u8dd1\u6b65\n".encode(encoding))
    with pytest.raises(UserError) as caught:
        read_class_names(file)
    assert words in caught.value.message and "iconv -f " in caught.value.hint and str(file) in caught.value.hint


def test_accents_of_one_byte_are_named_as_windows_1252(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("Gehen \u00fcber\ncaf\u00e9\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"probably Windows-1252 \(Latin-1\)"):
        read_class_names(tmp_path / "names.txt")


@pytest.mark.parametrize(
    ("data", "words"), [(b"PK\x03\x04rest", "an Excel workbook"), (b"\x00\x01\x02walk", "binary data")]
)
def test_a_file_that_is_not_text_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "names.csv").write_bytes(data)
    with pytest.raises(UserError, match=f"is not text: it is {words}"):
        read_class_names(tmp_path / "names.csv")


def test_a_missing_file_shows_the_accepted_forms(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist") as caught:
        read_class_names(tmp_path / "names.csv")
    assert "Accepted: one name per line" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a Git LFS pointer"),
        ("<!DOCTYPE html>\n<html>\n", "is a web page"),
    ],
)
def test_what_a_download_left_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_class_names(tmp_path / "names.csv")
