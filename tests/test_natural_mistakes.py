"""Each message in the table of natural mistakes in docs/troubleshooting.md is produced by its command."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, in_process

pytestmark = pytest.mark.usefixtures("plugins_forgotten")
LEAST = 40


def rows() -> list[tuple[str, str]]:
    """(message, command) of each row."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    table = page.split("## Natural mistakes", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `(.+?)` \| `(.+?)` \| .+ \|$", table, flags=re.M)


@pytest.fixture(scope="module")
def folder(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with datasets that have one fault each."""
    root = tmp_path_factory.mktemp("mistakes")
    shutil.copytree(small_dataset, root / "clips")
    clip = next(small_dataset.rglob("*.avi"))
    for name in ("loose/x.avi", "single/a/1.avi", "single/b/1.avi", "single/b/2.avi"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, root / name)
    (root / "empty").mkdir()
    for name in ("a", "b"):
        (root / "frames" / name).mkdir(parents=True)
        (root / "frames" / name / "1.jpg").write_bytes(b"")
    (root / "gone.csv").write_text("nothing.avi,walk\n")
    (root / "twice.csv").write_text("loose/x.avi,walk\nloose/x.avi,run\n")
    return root


def test_the_table_has_forty_mistakes() -> None:
    assert len(rows()) >= LEAST and len({command for _, command in rows()}) == len(rows())


@pytest.mark.parametrize(("message", "command"), rows(), ids=[command for _, command in rows()])
def test_a_mistake_has_its_message(
    message: str, command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    for name in ("HARNESS_RUNS", "HARNESS_WEIGHTS", "HARNESS_LISTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")
    monkeypatch.setenv("HARNESS_CACHE", str(folder / "cache"))
    try:
        code = in_process(*shlex.split(command))
    except SystemExit as left:
        code = int(left.code or 0)
    printed = " ".join(capsys.readouterr().err.split())
    assert code in (1, 2), printed
    parts = [re.escape(part.strip()) for part in message.split("...") if part.strip(" .")]
    assert re.search(".*".join(parts), printed), f"{printed!r} lacks {message!r}"
    assert "Traceback" not in printed and not (folder / "runs").exists()
