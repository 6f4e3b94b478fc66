"""A published board: served alone, without records, in pages, and compared with an earlier board."""

from __future__ import annotations

import csv
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest

from harness.base.errors import UserError
from reports.changes import ADDED, AGAIN, RANK, WITHDRAWN
from reports.layout import TABLE_NAMES
from reports.page import pages
from reports.publish import Publishing
from reports.site import build_report
from results.record import RECORD_SUFFIX
from tests.conftest import in_process
from tests.reports.test_site import Page
from tests.results.factories import Sample, write_sample

FEW = Sample(protocol="few_shot", part="k16", shots=16)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server that serves this folder and nothing else."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def followed(start: str) -> dict[str, str]:
    """Every address of the site that can be reached from its first page, with its text; each link must lead there."""
    connection = HTTPConnection(urlsplit(start).netloc)
    found: dict[str, str] = {}
    ids: dict[str, set[str]] = {}
    left, fragments = [start], []
    while left:
        address = left.pop()
        connection.request("GET", urlsplit(address).path)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == 200, f"{address}: {answer.status}"
        if not (answer.getheader("Content-Type") or "").startswith("text/html"):
            found[address] = ""
            continue
        page = Page(data.decode("utf-8"))
        found[address] = page.visible()
        ids[address] = {attributes["id"] or "" for _, attributes in page.tags if "id" in attributes}
        for tag, attributes in page.tags:
            href = attributes.get("href")
            if tag != "a" or not href:
                continue
            target, fragment = urldefrag(urljoin(address, href))
            if urlsplit(target).netloc != urlsplit(start).netloc:
                continue
            if fragment:
                fragments.append((address, target, fragment))
            if target not in found and target not in left:
                left.append(target)
    index = {start, f"{start}index.html"}
    for source, target, fragment in fragments:
        known = set.union(*(ids[name] for name in index & ids.keys())) if target in index else ids[target]
        assert fragment in known, f"{source} links to {target}#{fragment}"
    connection.close()
    return found


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run folder with two methods, one of them twice, and names that must be quoted in an address."""
    folder = tmp_path / "runs of a machine" / "a#b%20"
    for method, accuracy in (("a", 0.8), ("b", 0.4)):
        write_sample(folder, FEW, method=method, accuracy=accuracy)
    write_sample(folder, FEW, method="a", accuracy=0.7, engine=2)
    return folder


@pytest.mark.slow
def test_a_board_written_with_out_is_served_alone(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site"
    assert in_process("report", "--runs", str(runs), "--out", str(site)) == 0
    shutil.rmtree(runs)
    with serving(site) as address:
        found = followed(address)
    records = [name for name in found if name.endswith(RECORD_SUFFIX)]
    assert len(records) == 3
    for record in (site / "records").rglob(f"*{RECORD_SUFFIX}"):
        assert record.with_name(json.loads(record.read_bytes())["predictions"]["file"]).is_file()
    assert {name.rsplit("/", 1)[1] for name in found} >= {"leaderboard.json", "leaderboard.csv"}


@pytest.mark.slow
def test_an_equal_copy_is_left_alone_and_a_changed_record_is_copied_again(runs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    build_report(runs, site, Publishing(alone=True))
    first = {path: path.stat().st_ino for path in site.rglob(f"*{RECORD_SUFFIX}")}
    build_report(runs, site, Publishing(alone=True))
    assert {path: path.stat().st_ino for path in first} == first
    changed = write_sample(runs, FEW, method="a", accuracy=0.5)
    build_report(runs, site, Publishing(alone=True))
    assert (site / "records" / changed.relative_to(runs)).read_bytes() == changed.read_bytes()
    assert not list(site.rglob("*.tmp"))


@pytest.mark.slow
def test_links_lead_to_the_address_of_the_records(runs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    page = build_report(runs, site, Publishing(alone=True, records_url="https://example.org/my%20runs/")).index
    links = [a["href"] or "" for tag, a in Page(page.read_text("utf-8")).tags if tag == "a" and a.get("href")]
    assert sum(link.startswith("https://example.org/my%20runs/") for link in links) >= 3
    assert sorted(path.name for path in site.iterdir()) == ["index.html", "leaderboard.csv", "leaderboard.json"]


@pytest.mark.parametrize("url", ["ftp://x", "example.org/runs", "https://example.org/?a=b", "javascript:alert(1)"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="--records-url is"):
        Publishing(records_url=url)


@pytest.mark.slow
@pytest.mark.parametrize("place", [".", "site", "a/b"])
def test_a_board_inside_a_run_folder_is_refused_before_anything_is_written(runs: Path, place: str) -> None:
    before = sorted(runs.rglob("*"))
    if place == ".":
        build_report(runs, runs, Publishing(alone=True))  # the folder already holds its records
        with serving(runs) as address:
            assert len(followed(address)) > 3
        return
    with pytest.raises(UserError, match="lies in the run folder"):
        build_report(runs, runs / place, Publishing(alone=True))
    assert sorted(runs.rglob("*")) == before


@pytest.mark.slow
def test_an_empty_board_shows_published_rows_and_asks_for_the_first(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert in_process("report", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "site")) == 0
    with serving(tmp_path / "site") as address:
        (text,) = [text for name, text in followed(address).items() if text]
    assert "submit the first" in text and "harness submit pack" in text and "ViFi-CLIP" in text
    board = json.loads((tmp_path / "site" / "leaderboard.json").read_text("utf-8"))
    assert board["groups"] and all(group["published"] for group in board["groups"])


@pytest.mark.slow
def test_a_long_board_has_one_page_for_each_protocol(
    grid_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_ROWS", 10)
    site = tmp_path / "site"
    build_report(grid_runs, site, Publishing(alone=True))
    with serving(site) as address:
        found = {name.rsplit("/", 1)[1]: text for name, text in followed(address).items() if text}
    protocols = {"zero_shot", "b2n", "few_shot", "supervised"}
    assert {"", *(f"p-{name}.html" for name in protocols)} <= {name.removesuffix("index.html") for name in found}
    assert "trained again" in found["p-b2n.html"]
    rows = json.loads((site / "leaderboard.json").read_text("utf-8"))["groups"]
    for group in rows:
        for row in group["rows"]:
            pages_with = [f for f in site.glob("*.html") if f'id="{row["id"]}"' in f.read_text("utf-8")]
            assert [f.name for f in pages_with] == [f"p-{group['protocol']}.html"], row["id"]


@pytest.mark.slow
def test_what_changed_since_an_earlier_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for method, accuracy in (("a", 0.9), ("b", 0.5), ("c", 0.2), ("gone", 0.7)):
        write_sample(old, FEW, method=method, accuracy=accuracy)
    build_report(old, tmp_path / "was")
    shutil.copytree(old, new)
    for path in new.rglob("*gone*"):
        path.unlink()
    for folder in [path.parent for path in new.rglob(f"*{RECORD_SUFFIX}") if '"name": "gone"' in path.read_text()]:
        shutil.rmtree(folder)
    write_sample(new, FEW, method="new", accuracy=0.95)
    write_sample(new, FEW, method="b", accuracy=0.99, created="2026-02-02T00:00:00Z")
    write_sample(new, FEW, method="c", accuracy=0.2, engine=2, created="2026-02-02T00:00:00Z")
    was = tmp_path / "was" / "leaderboard.json"
    built = build_report(new, tmp_path / "site", Publishing(since=was))
    assert built.changes is not None
    assert [change.name for change in built.changes.of(ADDED)] == ["new"]
    assert [change.name for change in built.changes.of(AGAIN)] == ["b", "c"]
    assert [change.name for change in built.changes.of(WITHDRAWN)] == ["gone"]
    (change,) = [change for change in built.changes.of(RANK) if change.name == "b"]
    assert change.text == "rank 3 to rank 1"
    assert "rank 4 to no rank" in {change.text for change in built.changes.of(RANK) if change.name == "c"}
    page = built.index.read_text("utf-8")
    assert '<details id="changes"><summary>' in page, "closed, so that the table stays on the first screen"
    summary = re.search(r'<details id="changes"><summary>(.*?)</summary>', page)
    assert summary and re.sub("<[^>]+>", "", summary[1]) == f"Changes since 2026-01-01: {built.changes.counts}"
    assert built.changes.counts.startswith("1 added, 2 measured again, ")
    text = Page(page).visible()
    assert "Changes since 2026-01-01" in text and "1 added" in text and "1 withdrawn" in text
    assert in_process("report", "--runs", str(new), "--out", str(tmp_path / "again"), "--since", str(was)) == 0
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("added: new, Few-shot on") for line in printed)
    assert any(line.startswith("withdrawn: gone") for line in printed)
    same = build_report(new, tmp_path / "more", Publishing(since=tmp_path / "site" / "leaderboard.json"))
    assert same.changes is not None and not same.changes.changes
    assert "Nothing changed." in Page(same.index.read_text("utf-8")).visible()


@pytest.mark.slow
@pytest.mark.parametrize(("text", "message"), [("{", "is not a"), ('{"schema": 2, "groups": []}', "schema is 2")])
def test_a_file_that_is_no_board_is_refused_before_anything_is_written(
    runs: Path, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "old.json").write_text(text, "utf-8")
    for path in (tmp_path / "old.json", tmp_path / "absent.json"):
        with pytest.raises(UserError, match=message if path.is_file() else "is missing"):
            build_report(runs, tmp_path / "site", Publishing(alone=True, since=path))
    assert not (tmp_path / "site").exists()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["md", "latex"])
def test_all_tables_are_written_to_a_folder_with_one_file_each(grid_runs: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "tables"
    options = ["--table", "all", "--format", form, "--out", str(out)]
    assert in_process("report", "--runs", str(grid_runs), *options) == 0
    names = {path.stem for path in out.iterdir()}
    assert {path.suffix for path in out.iterdir()} == {".tex" if form == "latex" else f".{form}"}
    assert {name.split("_")[0] for name in names} >= {"b2n", "zero", "few"} and len(names) >= len(TABLE_NAMES) - 2


@pytest.mark.slow
def test_dates_and_the_version_of_the_harness_are_in_panel_json_and_csv(runs: Path, tmp_path: Path) -> None:
    built = build_report(runs, tmp_path / "site")
    text = Page(built.index.read_text("utf-8")).visible()
    assert "2026-01-01, harness commit 00000000" in text
    board = json.loads((tmp_path / "site" / "leaderboard.json").read_text("utf-8"))
    rows = [row for group in board["groups"] if not group["published"] for row in group["rows"]]
    assert {(row["time"][:10], row["harness"]) for row in rows} == {("2026-01-01", "commit 00000000")}
    with (tmp_path / "site" / "leaderboard.csv").open(encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["records"]]
    assert lines and all(line["harness"] == "commit 00000000" and line["time"] for line in lines)


@pytest.mark.parametrize("option", [("--records-url", "https://example.org"), ("--since", "x.json")])
def test_options_of_the_board_are_refused_with_a_table(
    option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_process("report", "--table", "b2n", *option) == 2
    assert f"{option[0]} belongs to the board" in capsys.readouterr().err
