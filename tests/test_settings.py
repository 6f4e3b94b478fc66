"""Settings of a machine: default < file < environment < flag, each with its origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.machine.settings import load_settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "settings" / "harness.toml"
    path.parent.mkdir()
    path.write_text('runs = "from_file"\ncache = "/abs/cache"\n[data]\nucf101 = "videos/ucf"\nmine = "/abs/mine"\n')
    return path


def test_defaults() -> None:
    found = load_settings({}, {"XDG_CACHE_HOME": "/x", "HARNESS_CONFIG": "/dev/null"})
    assert (found.runs.path, found.runs.origin) == (Path("runs"), "default")
    assert found.cache.path == Path("/x/clip-video-harness")
    assert dict(found.data) == {}


def test_the_cache_is_in_the_cache_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    found = load_settings({}, {"HARNESS_CONFIG": "/dev/null"})
    assert found.cache.path == Path("/home/someone/.cache/clip-video-harness")
    assert (found.weights.path, found.lists.path) == (found.cache.path / "weights", found.cache.path / "lists")


def test_precedence(config: Path) -> None:
    environment = {"HARNESS_CONFIG": str(config)}
    steps = [
        ({}, {}, config.parent / "from_file", str(config)),
        ({}, {"HARNESS_RUNS": "/env"}, Path("/env"), "HARNESS_RUNS"),
        ({"runs": "/flag"}, {"HARNESS_RUNS": "/env"}, Path("/flag"), "flag"),
    ]
    for flags, more, path, origin in steps:
        found = load_settings(flags, {**environment, **more})
        assert (found.runs.path, found.runs.origin) == (path, origin)


def test_data_roots(config: Path, tmp_path: Path) -> None:
    (tmp_path / "all" / "UCF101").mkdir(parents=True)
    (tmp_path / "all" / "hmdb51").mkdir()
    environment = {"HARNESS_CONFIG": str(config)}
    assert load_settings({}, environment).data["ucf101"].path == config.parent / "videos" / "ucf"
    environment["HARNESS_DATA"] = str(tmp_path / "all")
    found = load_settings({}, environment).data
    assert (found["ucf101"].path, found["ucf101"].origin) == (tmp_path / "all" / "UCF101", "HARNESS_DATA")
    assert set(found) == {"ucf101", "hmdb51", "mine"}
    environment["HARNESS_DATA_UCF101"] = "/one"
    assert load_settings({}, environment).data["ucf101"].origin == "HARNESS_DATA_UCF101"
    found = load_settings({"data.ucf101": "/flag"}, environment).data
    assert (found["ucf101"].path, found["ucf101"].origin) == (Path("/flag"), "flag")


def test_a_file_in_the_working_folder(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    assert load_settings({}, {}).runs.path == config.parent / "from_file"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"runs = ", "cannot be read as TOML"),
        (b"\xff\xfe", "cannot be read as TOML"),
        (b'run = "x"', "unknown setting 'run'"),
        (b"runs = 3", "unknown setting 'runs'"),
        (b'data = "x"', "unknown setting 'data'"),
    ],
)
def test_bad_files(config: Path, content: bytes, message: str) -> None:
    config.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_settings({}, {"HARNESS_CONFIG": str(config)})
    assert message in caught.value.message and str(config) in caught.value.message


def test_a_named_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"HARNESS_CONFIG is .*that file does not exist"):
        load_settings({}, {"HARNESS_CONFIG": str(tmp_path / "none.toml")})


def test_a_data_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"HARNESS_DATA is .*not a folder"):
        load_settings({}, {"HARNESS_DATA": str(tmp_path / "none"), "HARNESS_CONFIG": "/dev/null"})
