from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import UserError
from harness.data.lists.grammar import PathForm, format_labels, format_list, parse_labels, parse_list
from harness.data.official.cards import OFFICIAL, load_card

UCF = PathForm("ucf101")
KINETICS = PathForm("kinetics", ("train", "val"))
GOOD = "".join(f"v_{name}_g0{g}_c01.avi {i}\n" for i, name in enumerate(["Archery", "Biking", "YoYo"]) for g in (1, 2))


def parse(text, form=UCF, classes=3):
    data = text if isinstance(text, bytes) else text.encode()
    return parse_list(data, "ucf_splits/val1.txt", classes, form)


def test_a_good_list_parses_with_either_line_end_and_without_the_last():
    rows = parse(GOOD)
    assert len(rows) == 6 and rows[2] == ("v_Biking_g01_c01.avi", 1)
    assert parse(GOOD.replace("\n", "\r\n")) == rows
    assert parse(GOOD.rstrip("\n")) == rows


def edit(line, change):
    def damage(text):
        lines = text.split("\n")
        lines[line - 1] = change(lines[line - 1])
        return "\n".join(lines)

    return damage


# kind -> (damage to GOOD, line named, words of the rule)
DAMAGE = {
    "id outside the label file": (edit(6, lambda s: s[:-1] + "3"), 6, "below the number of classes"),
    "another class's id": (edit(2, lambda s: s[:-1] + "1"), 2, "one label"),
    "negative id": (edit(4, lambda s: s[:-1] + "-1"), 4, "decimal number"),
    "padded id": (edit(3, lambda s: s[:-1] + "01"), 3, "decimal number"),
    "fractional id": (edit(3, lambda s: s[:-1] + "1.0"), 3, "decimal number"),
    "id in other digits": (edit(3, lambda s: s[:-1] + "\u0661"), 3, "decimal number"),
    "duplicate row": (edit(2, lambda s: s + "\n" + s), 3, "occurs once"),
    "video under two ids": (edit(5, lambda _: "v_Archery_g01_c01.avi 2"), 5, "occurs once"),
    "blank line": (edit(3, lambda s: "\n" + s), 3, "no blank lines"),
    "blank line at the end": (lambda t: t + "\n", 7, "no blank lines"),
    "tab": (edit(4, lambda s: s.replace(" ", "\t")), 4, "only white space"),
    "two blanks": (edit(4, lambda s: s.replace(" ", "  ")), 4, "one blank"),
    "leading blank": (edit(1, lambda s: " " + s), 1, "either end"),
    "trailing blank": (edit(5, lambda s: s + " "), 5, "either end"),
    "no-break space": (edit(5, lambda s: s.replace(" ", "\u00a0")), 5, "only white space"),
    "CRLF mixed in": (edit(3, lambda s: s + "\r"), 3, "one kind of line end"),
    "lone carriage return": (edit(3, lambda s: s.replace(" ", "\r")), 3, "LF or CRLF"),
    "absent class": (lambda t: "\n".join(t.split("\n")[:4]) + "\n", 4, "every class has a row"),
    "truncated line": (lambda t: t[:-4], 6, "path, one blank, label"),
    "truncated path": (edit(4, lambda s: s[6:]), 4, "has the form v_<Class>"),
    "comment": (edit(2, lambda _: "# a comment 0"), 2, "one blank"),
    "traversal path": (edit(2, lambda s: "../" + s), 2, "stays inside"),
    "absolute path": (edit(2, lambda s: "/data/" + s), 2, "stays inside"),
    "backslash path": (edit(2, lambda s: "Archery\\" + s), 2, "stays inside"),
    "class folder in the path": (edit(2, lambda s: "Archery/" + s), 2, "has the form v_<Class>"),
    "other extension": (edit(2, lambda s: s.replace(".avi", ".mp4")), 2, "has the form v_<Class>"),
    "zero byte": (edit(2, lambda s: s.replace("c01", "c\x00")), 2, "only white space"),
    "byte-order mark": (lambda t: "\ufeff" + t, 1, "byte-order mark"),
    "not UTF-8": (lambda t: t.encode().replace(b"v_YoYo_g02", b"v_Yo\xff_g02"), 6, "UTF-8"),
    "empty file": (lambda t: "", 1, "at least one row"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_kind_of_damage_is_one_error_with_file_line_and_rule(kind):
    damage, line, rule = DAMAGE[kind]
    with pytest.raises(UserError) as caught:
        parse(damage(GOOD))
    text = str(caught.value)
    assert f"ucf_splits/val1.txt, line {line}:" in text
    assert rule in text


def test_at_least_twenty_kinds_of_damage_are_covered():
    assert len(DAMAGE) >= 20


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        (load_card("hmdb51").form, "#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi", "Rhythm_clapp_u_nm_np1_fr_goo_0.avi"),
        (load_card("hmdb51").form, "a_kick_ball_f_cm_np1_fr_med_1.avi", "a_kick_ball_f_cm_np1_xx_med_1.avi"),
        (load_card("ssv2").form, "166766.webm", "0166766.webm"),
        (load_card("k400").form, "val/-0wR5jVB-WP_000417_000427.mp4", "test/-0wR5jVB-WP_000417_000427.mp4"),
        (load_card("k600").form, "test/-0wR5jVB-WP_000417_000427.mp4", "test/-0wR5jVB-WP_417_427.mp4"),
        (load_card("ucf101").form, "v_HandStandPushups_g01_c04.avi", "v_HandStandPushups_g1_c04.avi"),
    ],
)
def test_each_dataset_spells_its_own_paths(form, good, bad):
    assert form.match(good)
    assert not form.match(bad)


def test_the_class_in_an_hmdb_path_is_the_longest_that_fits():
    form = load_card("hmdb51").form
    assert form.class_part("x_draw_sword_f_cm_np1_fr_med_1.avi") == "draw_sword"
    assert form.class_part("x_sword_f_cm_np1_fr_med_1.avi") == "sword"
    assert load_card("ssv2").form.class_part("1.webm") is None


LABEL_DAMAGE = {
    "header": (b"id;name\n0,a\n", 1, "header"),
    "id out of sequence": (b"id,name\n0,a\n2,b\n", 3, "1 is next"),
    "padded id": (b"id,name\n00,a\n", 2, "0 is next"),
    "unquoted comma": (b"id,name\n0,a, b\n", 2, "quoted"),
    "blank name": (b"id,name\n0,a\n1,\n", 3, "not blank"),
    "stray blank": (b"id,name\n0,a \n", 2, "not blank"),
    "name twice": (b"id,name\n0,walk\n1,Walk\n", 3, "distinct"),
    "open quote": (b'id,name\n0,"a\n', 2, "RFC 4180"),
    "blank line": (b"id,name\n0,a\n\n1,b\n", 3, "id,name"),
    "no class": (b"id,name\n", 1, "at least one class"),
    "empty": (b"", 1, "at least one row"),
}


@pytest.mark.parametrize("kind", LABEL_DAMAGE)
def test_each_kind_of_damage_to_a_label_file_is_named(kind):
    data, line, rule = LABEL_DAMAGE[kind]
    with pytest.raises(UserError) as caught:
        parse_labels(data, "labels.csv")
    assert f"labels.csv, line {line}:" in str(caught.value)
    assert rule in str(caught.value)


names = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1), min_size=1, max_size=20,
    unique_by=str.casefold,
)  # fmt: skip


@given(names, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_label_files_survive_a_round_trip(classes, eol, quoted):
    assert parse_labels(format_labels(classes, eol, quoted), "labels.csv").names == tuple(classes)


youtube_ids = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", min_size=11, max_size=11)
seconds = st.integers(0, 999_999)
clips = st.builds("{}/{}_{:06d}_{:06d}.mp4".format, st.sampled_from(["train", "val"]), youtube_ids, seconds, seconds)


@given(st.lists(clips, min_size=1, max_size=30, unique=True), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_lists_survive_a_round_trip(paths, eol, final):
    rows = tuple((path, i % 3) for i, path in enumerate(paths))
    data = format_list(rows, eol, final)
    assert parse_list(data, "x", min(3, len(rows)), KINETICS) == rows


@given(st.binary(max_size=200), st.sampled_from(OFFICIAL))
def test_any_bytes_are_a_list_or_a_user_error(data, dataset):
    try:
        rows = parse_list(data, "x", 2, load_card(dataset).form)
    except UserError as error:
        assert error.message.startswith("x, line ")
    else:
        assert {label for _, label in rows} == {0, 1}


@given(st.integers(0, 10), st.sampled_from(["", " ", "\t", "\r", "\n", "0", "-", "/", "..", "\x00", "é"]), st.data())
def test_one_inserted_text_never_crashes_and_never_passes_unless_it_is_grammar(line, text, data):
    at = data.draw(st.integers(0, len(GOOD)))
    damaged = GOOD[:at] + text + GOOD[at:]
    try:
        rows = parse(damaged)
    except UserError as error:
        assert "line " in error.message
    else:
        assert format_list(rows, final_newline=damaged.endswith("\n")) == damaged.encode()


@given(st.binary(max_size=120))
def test_any_bytes_are_a_label_file_or_a_user_error(data):
    try:
        labels = parse_labels(data, "x")
    except UserError as error:
        assert error.message.startswith("x, line ")
    else:
        assert parse_labels(format_labels(labels.names), "x") == labels
