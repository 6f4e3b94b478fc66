"""Settings of a machine: default < file < environment < flag, each with its origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.data.catalog import open_dataset
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


def test_the_home_folder_and_the_case_of_dataset_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = tmp_path / "harness.toml"
    config.write_text('runs = "~/runs"\n[data]\nUCF101 = "~/ucf"\n"My Videos" = "~/own"\n')
    environment = {"HARNESS_CONFIG": str(config), "HARNESS_CACHE": "~/cache", "HARNESS_DATA_SSV2": "~/ssv2"}
    found = load_settings({"data.HMDB51": "~/hmdb", "weights": "~/weights"}, environment)
    home = tmp_path / "home"
    assert (found.runs.path, found.cache.path, found.weights.path) == (home / "runs", home / "cache", home / "weights")
    assert {name: setting.path for name, setting in found.data.items()} == {
        "ucf101": home / "ucf", "My Videos": home / "own", "hmdb51": home / "hmdb", "ssv2": home / "ssv2",
    }  # fmt: skip
    with pytest.raises(UserError, match="no such user"):
        load_settings({"runs": "~nobody-of-this-name/runs"}, {})


@pytest.mark.parametrize("name", ["UCF101", "Ucf101", "MINI_TARGET"])
def test_a_dataset_is_opened_in_any_case(name: str) -> None:
    assert open_dataset(name, load_settings({}, {})).name == name.lower()
