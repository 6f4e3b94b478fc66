"""The leaderboard as files: what it holds without a browser."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from harness.base.errors import UserError
from harness.spec import Column
from reports.anchors import slug
from reports.export import render_table
from reports.paper import protocol_of
from reports.site import build_report
from results.published_numbers import DATASETS, published_numbers
from results.record import AuditFacts, Overlap, Seen, Undecodable, read_record, write_record
from tests.conftest import ROOT
from tests.reports.test_rows import change
from tests.results.factories import METHODS, Sample, write_grid, write_sample

EVILS = {
    "html": '</script><script>alert(1)</script><img src=x onerror="alert(2)">',
    "quotes": "\"double\" 'single' `back` {{ 7*7 }} {% raw %} &amp; &lt;",
    "rtl": "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd \u0627\u0644\u0641\u064a\u062f\u064a\u0648",
    "long": "a very long name " * 18,
    "formula": "=HYPERLINK(1)",
    "slash": "a/../b?c#d e",
}


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser without scripts would read them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.stack: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.stack and self.stack.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.stack):
            self.text.append(data)

    def visible(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text))


@pytest.fixture
def grid(grid_runs: Path, grid_board: Path) -> tuple[Path, Path, str]:
    """Runs, the output folder and the page of the embedded benchmark's full grid."""
    return grid_runs, grid_board.parent, grid_board.read_text(encoding="utf-8")


def test_nothing_to_report_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        build_report(tmp_path / "absent", tmp_path / "site")
    with pytest.raises(UserError, match="contains no record"):
        render_table("b2n", tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_grid_is_on_the_board_for_every_protocol_and_method(grid: tuple[Path, Path, str]) -> None:
    page = Page(grid[2])
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids)), "an id occurs twice"
    text = page.visible()
    for _, title, *_ in METHODS:
        assert title in text
    for protocol in ("zero_shot", "b2n", "few_shot", "supervised"):
        assert f"s-{protocol}" in ids
    assert "nothing about CLIP" in text and "n=3" in text and "ddof 0" in text


def test_how_to_read_this_has_eight_lines(grid: tuple[Path, Path, str]) -> None:
    how = grid[2].split('id="how"')[1].split("</section>")[0]
    assert how.count("<li>") == 8


def test_every_link_leads_somewhere_and_nothing_is_loaded(grid: tuple[Path, Path, str]) -> None:
    _, site, text = grid
    page = Page(text)
    ids = {attributes.get("id") for _, attributes in page.tags}
    records = 0
    for tag, attributes in page.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed") or attributes.get("href") == "data:,"
        assert "src" not in attributes
        href = attributes.get("href") or attributes.get("xlink:href")
        if tag != "a" or not href:
            continue
        if href.startswith("#"):
            assert href[1:] in ids, href
        elif not href.startswith("https://github.com/"):
            assert (site / unquote(href)).is_file(), href
            records += href.endswith(".record.json")
    assert records > 50
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", text)


def test_json_and_csv_hold_what_the_page_shows(grid: tuple[Path, Path, str]) -> None:
    runs, site, text = grid
    board = json.loads((site / "leaderboard.json").read_text(encoding="utf-8"))
    assert board["schema"] == 3 and board["damaged"] == []
    cells = 0
    for group in board["groups"]:
        assert f'id="{group["id"]}"' in text
        for row in group["rows"]:
            assert f'id="{row["id"]}"' in text
            cells += len(row["cells"])
            assert group["published"] == (row["status"] == "reported") == ("source" in row)
            for record in row.get("records", ()):
                assert (runs / record).is_file()
    with (site / "leaderboard.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == cells
    shown = [
        (group["protocol"], group["dataset"], row["method"], column, cell["printed"])
        for group in board["groups"] if group["published"] for row in group["rows"]
        for column, cell in row["cells"].items()
    ]  # fmt: skip
    wanted = {
        (protocol_of(n), DATASETS[n.dataset], n.method, n.column, n.value)
        for n in published_numbers() if n.dataset and n.column not in ("gflops", "throughput")
    }  # fmt: skip
    assert set(shown) == wanted, "every printed value is on the board"


def test_values_that_two_sources_print_are_shown_once(grid: tuple[Path, Path, str]) -> None:
    for group in json.loads((grid[1] / "leaderboard.json").read_text(encoding="utf-8"))["groups"]:
        rows = [
            (row["method"], row["views"], tuple((column, cell["printed"]) for column, cell in row["cells"].items()))
            for row in group["rows"] if group["published"]
        ]  # fmt: skip
        assert len(rows) == len(set(rows)), group["id"]


def test_the_board_is_equal_for_equal_records(grid: tuple[Path, Path, str], tmp_path: Path) -> None:
    again = build_report(grid[0], grid[1].parent / "again")
    assert again.index.read_text(encoding="utf-8") == grid[2]


def groups(site: Path) -> list[dict]:
    return [g for g in json.loads((site / "leaderboard.json").read_text("utf-8"))["groups"] if not g["published"]]


def test_rows_measured_differently_stand_in_separate_groups(tmp_path: Path) -> None:
    few = Sample(protocol="few_shot", part="k16", shots=16)
    for method, accuracy in (("a", 0.8), ("b", 0.3)):
        write_sample(tmp_path / "runs", few, method=method, accuracy=accuracy)
    write_sample(tmp_path / "runs", few, method="more_frames", frames=16, accuracy=0.9)
    for method, accuracy in (("own", 0.95), ("own_too", 0.3)):
        write_sample(tmp_path / "runs", few, method=method, list_origin="own", accuracy=accuracy)
    build_report(tmp_path / "runs", tmp_path / "site")
    found = {tuple(row["method"] for row in group["rows"]): group["rows"] for group in groups(tmp_path / "site")}
    assert set(found) == {("a", "b"), ("more_frames",), ("own", "own_too")}
    assert [row["rank"] for row in found["a", "b"]] == [row["rank"] for row in found["own", "own_too"]] == [1, 2]
    assert found["more_frames",][0]["rank"] is None, "there is nothing to compare it with"


def test_a_row_with_fewer_repeats_or_altered_predictions_is_shown_and_not_ranked(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for index in (1, 2, 3):
        for method, accuracy in (("a", 0.8), ("b", 0.5), ("altered", 0.9)):
            path = write_sample(
                runs, method=method, protocol="zero_shot", repeat=("test_split", index), accuracy=accuracy
            )
    write_sample(runs, method="short", protocol="zero_shot", repeat=("test_split", 1), accuracy=0.99)
    predictions = path.with_name(path.name.replace(".record.json", ".predictions.csv.gz"))
    predictions.write_bytes(predictions.read_bytes()[:-20])
    build_report(runs, tmp_path / "site")
    ((group,),) = [groups(tmp_path / "site")]
    rank = {row["method"]: row["rank"] for row in group["rows"]}
    why = {row["method"]: " ".join(row["not_ranked"]) for row in group["rows"]}
    assert rank == {"a": 1, "b": 2, "altered": None, "short": None}
    assert "differ from the predictions of the record" in why["altered"] and "1 of 3 repeats" in why["short"]


def test_marks_for_seen_classes_missing_videos_and_training_on_evaluation_videos(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "runs", method="marked", part="novel")
    overlap = {"train_videos": 7, "seen_classes": ["class 3"], "top1_strict": 41.25, "audits": []}
    undecodable = [{"video": f"v{i}", "reason": "cut", "sha256": "0" * 64} for i in (1, 2)]
    change(path, overlap=overlap, undecodable=undecodable, measurement__evaluation__evaluated=118)
    text = Page(build_report(tmp_path / "runs", tmp_path / "site").index.read_text("utf-8")).visible()
    for mark in ("seen classes", "missing videos", "trained on test videos", "not ranked", "118 of 120", "41.25"):
        assert mark in text


@pytest.mark.parametrize("name", EVILS)
def test_foreign_text_is_shown_as_text_everywhere(tmp_path: Path, name: str) -> None:
    """Every text of a record that somebody else may choose, in rows that are ranked, unranked and superseded."""
    evil = EVILS[name]
    few = Sample(
        protocol="few_shot", part="k16", shots=16, list_name="val", title=evil, notes=evil, paper=evil, source=evil,
        class_names=tuple(f"{evil} {i}" for i in range(12)), options=(("template", evil),), declared_source=evil,
        class_text="templates", dataset=evil, extra_data=(evil,), arch=evil, weights=evil, init=f"fit {evil}",
    )  # fmt: skip
    runs = tmp_path / "runs"
    for method in ("plain", evil):
        for accuracy, draw in ((0.8, 0), (0.4, 1)):
            for engine in (1, 2):
                sample = replace(few, method=f"{method}{draw}", accuracy=accuracy, draw=draw, engine=engine)
                if draw and method != "plain":
                    sample = replace(sample, sample=evil)
                _evil_record(write_sample(runs, sample), evil)
    write_sample(runs / "damaged", few).write_text("{", "utf-8")
    page = Page(build_report(runs, tmp_path / "site").index.read_text("utf-8"))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert not any(tag == "img" for tag, _ in page.tags)
    shown = page.visible()
    assert shown.count(re.sub(r"\s+", " ", evil).strip()) > 30
    with (tmp_path / "site" / "leaderboard.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert not any((value or "").startswith(("=", "@")) for value in row.values())


def _evil_record(path: Path, evil: str) -> None:
    """A record with the text in the fields that no factory sets."""
    record = read_record(path)
    audit = AuditFacts(evil, evil, False, 12, evil, (), (1,), (Seen(1, evil, evil, (evil,)),))
    write_record(
        path,
        replace(
            record, method=replace(record.method, origin=evil, family=evil), remarks=(evil,), created=evil,
            overlap=Overlap(0, (evil,), None, (audit,)), columns=(*record.columns, Column(evil, "k16")),
            undecodable=(Undecodable(evil, evil, "0" * 64),),
        ),
    )  # fmt: skip


@pytest.mark.slow
def test_ten_thousand_records_in_twenty_seconds_and_one_gibibyte(tmp_path: Path) -> None:
    """Counts the processor's seconds, so that a busy machine does not fail it; printed are both."""
    methods = [(f"method_{i}", f"Method {i}", "tuning", True, 0.3 + i / 600, 10**6 * (i % 170)) for i in range(304)]
    paths = write_grid(tmp_path / "runs", methods=methods, datasets=("mini_target", "another"))
    assert len(paths) >= 10_000
    # In a process of its own: the peak of this one is that of all earlier tests.
    code = (
        "import resource, sys, time; from pathlib import Path; from reports.site import build_report\n"
        "wall, cpu = time.perf_counter(), time.process_time()\n"
        "build_report(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "wall, cpu = time.perf_counter() - wall, time.process_time() - cpu\n"
        "print(wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "runs"), str(tmp_path / "site")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT)
    wall, cpu, peak = map(float, done.stdout.split())
    peak *= 1 if sys.platform == "darwin" else 1024
    sys.stderr.write(f"{len(paths)} records: {cpu:.1f} s processor, {wall:.1f} s, {peak / 2**20:.0f} MiB\n")
    assert cpu <= 15
    assert peak <= 2**30


def test_the_overview_leads_to_the_largest_group_and_to_every_method(grid: tuple[Path, Path, str]) -> None:
    glance = grid[2].split('id="glance"')[1].split("</section>")[0]
    for anchor in ("t-zero_shot-mini_target-0", "t-b2n-mini_target-0", "m-vificlip", "m-clip"):
        assert f'href="#{anchor}"' in glance
    assert glance.count("<tr") == 1 + len(METHODS)
    assert "template=" not in glance  # options are said where a method has several lines


def test_cards_cite_and_datasets_tell_their_overlap(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "runs", paper="Someone 2024", source="someone/repository", gflops=281.25)
    seen = Seen(1, "class 1", "same", ("class one",))
    audit = AuditFacts("k400/train", "mini_target/val", False, 12, "names, normalised", (), (1,), (seen,))
    write_record(path, replace(read_record(path), overlap=Overlap(audits=(audit,))))
    text = Page(build_report(tmp_path / "runs", tmp_path / "site").index.read_text("utf-8")).visible()
    for part in ("Someone 2024", "someone/repository", "281.2 GFLOPs", "after k400/train: 1 same of 12"):
        assert part in text


def see(path: Path, **overlap: Any) -> None:
    write_record(path, replace(read_record(path), overlap=Overlap(**overlap)))


def test_marks_come_from_every_record_of_a_row(tmp_path: Path) -> None:
    write_sample(tmp_path / "runs", part="base")
    see(write_sample(tmp_path / "runs", part="novel"), seen_classes=("class 3",))
    page = build_report(tmp_path / "runs", tmp_path / "site").index.read_text("utf-8")
    assert '<span class="chip warn">seen classes</span>' in page


@pytest.mark.parametrize("part", ["base", "joint"])
def test_base_classes_are_meant_to_be_seen(tmp_path: Path, part: str) -> None:
    see(write_sample(tmp_path / "runs", part=part), seen_classes=("class 3",))
    page = build_report(tmp_path / "runs", tmp_path / "site").index.read_text("utf-8")
    assert '<span class="chip warn">' not in page


def test_what_a_record_does_not_have_is_no_number(tmp_path: Path) -> None:
    """Some records have a fit, shots or a strict score and others have none."""
    for part in ("base", "novel"):
        write_sample(tmp_path / "runs", method="untrained", part=part, trained=False)
        path = write_sample(tmp_path / "runs", method="tuned", part=part)
    see(path, top1_strict=41.25)
    text = Page(build_report(tmp_path / "runs", tmp_path / "site").index.read_text("utf-8")).visible()
    assert "41.25" in text and not re.search(r"\bnan\b|\bNone\b", text)


NAMES = (
    "\u8dd1\u6b65", "\u8df3\u8dc3", "a b", "a-b", "a_b", "a--b", "A_b", "", "x", "a" * 60, "a" * 61, "a.b",
    "\U0001f3c3",
)  # fmt: skip


def test_different_texts_have_different_anchors() -> None:
    """Also texts without any letter that an anchor may have, long ones, and parts that could run into each other."""
    parts = [(one,) for one in NAMES] + [(one, other) for one in NAMES for other in NAMES]
    parts += [("a", "b", "c"), ("a-b", "c"), ("a", "b-c")]
    assert len({slug("t", *words) for words in parts}) == len(parts)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", slug(*words)) and len(slug(*words)) < 150 for words in parts)
    assert slug("t", "b2n", "mini_target", "0") == "t-b2n-mini_target-0"


@pytest.mark.slow
def test_datasets_and_methods_without_ascii_letters_have_tables_of_their_own(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES[:2]):
        for method in NAMES[:2]:
            write_sample(tmp_path / "runs", dataset=name, method=method, part="base", accuracy=0.3 + number / 4)
    page = Page(build_report(tmp_path / "runs", tmp_path / "site").index.read_text("utf-8"))
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    tables = [name for name in ids if name.startswith("t-b2n-x.") and name.endswith("-0")]
    assert len(tables) == 2 and len([name for name in ids if name.startswith("m-x.")]) == 2


@pytest.mark.slow
def test_groups_of_one_dataset_have_different_captions(tmp_path: Path) -> None:
    """Two groups that differ in the engine or in another field that no caption names."""
    for method, engine in (("a", 1), ("b", 1), ("a2", 2), ("b2", 2)):
        write_sample(tmp_path / "runs", Sample(protocol="few_shot", part="k16", shots=16), method=method, engine=engine)
    build_report(tmp_path / "runs", tmp_path / "site")
    captions = [group["measured_as"] for group in groups(tmp_path / "site")]
    assert len(set(captions)) == len(captions) == 2 and "engine version 1" in captions[0] + captions[1]
