"""Settings of this machine: data folders, run folder, cache. Default < file < environment < flag, each with its origin.

No setting enters the key of a cell: a number does not depend on the folders of its files.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_cache_path

from harness.base.errors import UserError
from harness.spec.lists import dataset_key

CONFIG_NAME = "harness.toml"
APPLICATION = "clip-video-harness"
SettingValue = str | int | float | bool | list[str]


@dataclass(frozen=True)
class Setting:
    """A path and its origin: `default`, `flag`, an environment variable or a configuration file."""

    path: Path
    origin: str


@dataclass(frozen=True)
class Given:
    """A value of `[executor]` as the user wrote it, and its origin."""

    value: SettingValue
    origin: str


@dataclass(frozen=True)
class Settings:
    """Resolved settings.

    Args:
        runs: Folder of fits, records and predictions.
        cache: Rendered mini datasets, downloaded weights, cached features.
        data: Root folder of each configured dataset, by name; for a table of clips, the folder of its videos.
        labels: File of class names of a custom dataset with numbers as classes, by name.
        weights: Folder in which weight files are searched by name.
        lists: Folder with published or generated list files, in the published relative layout.
        executor: Options of jobs by name, as the user wrote them; read by `harness.executor.options`.
    """

    runs: Setting
    cache: Setting
    weights: Setting
    lists: Setting
    data: Mapping[str, Setting] = field(default_factory=dict)
    labels: Mapping[str, Setting] = field(default_factory=dict)
    executor: Mapping[str, Given] = field(default_factory=dict)


def load_settings(flags: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from defaults, `harness.toml`, `HARNESS_*` variables and flags; later sources override earlier ones.

    Args:
        flags: `runs`, `cache`, `weights`, `lists`, `data.NAME` for a dataset's root, `labels.NAME` for its file of
            class names, `executor.NAME`.
        environment: Defaults to `os.environ`. `HARNESS_RUNS`, `HARNESS_CACHE`, `HARNESS_WEIGHTS`, `HARNESS_LISTS`,
            `HARNESS_DATA` (a folder with one sub-folder per dataset, such as `ucf101`), `HARNESS_DATA_UCF101`,
            `HARNESS_EXECUTOR` (its kind), `HARNESS_EXECUTOR_PARTITION` and the other executor options.

    Raises:
        UserError: The configuration file is not TOML, or holds unknown keys.
    """
    environment = os.environ if environment is None else environment
    cache_home = _cache_folder(environment)
    folders: dict[str, Setting] = {
        "runs": Setting(Path("runs"), "default"),
        "cache": Setting(cache_home, "default"),
        "weights": Setting(cache_home / "weights", "default"),
        "lists": Setting(cache_home / "lists", "default"),
    }
    data: dict[str, Setting] = {}
    labels: dict[str, Setting] = {}
    executor: dict[str, Given] = {}
    # HARNESS_CONFIG=/dev/null switches the file off, as the tests do: it exists and is not a regular file.
    config = Path(environment.get("HARNESS_CONFIG") or CONFIG_NAME)
    if config.is_file():
        _read_file(config, folders, {"data": data, "labels": labels}, executor)
    elif environment.get("HARNESS_CONFIG") and not config.exists():
        message = f"HARNESS_CONFIG is {str(config)!r}, but that file does not exist."
        raise UserError(message, "Correct or unset HARNESS_CONFIG.")
    if parent := environment.get("HARNESS_DATA"):
        folder = _path(parent, "HARNESS_DATA")
        if not folder.is_dir():
            raise UserError(
                f"HARNESS_DATA is {parent!r}, which is not a folder.", "Set it to the parent of the datasets."
            )
        for child in sorted(p for p in folder.iterdir() if p.is_dir()):
            # Lower case, because the folders of archives are named UCF101 or HMDB51.
            data[child.name.lower()] = Setting(child, "HARNESS_DATA")
    for key, text in environment.items():
        if key.startswith("HARNESS_DATA_") and text:
            data[key.removeprefix("HARNESS_DATA_").lower()] = Setting(_path(text, key), key)
        elif key.startswith("HARNESS_EXECUTOR") and text:
            executor[key.removeprefix("HARNESS_EXECUTOR").strip("_").lower() or "kind"] = Given(text, key)
    for name in folders:
        if value := environment.get(f"HARNESS_{name.upper()}"):
            folders[name] = Setting(_path(value, f"HARNESS_{name.upper()}"), f"HARNESS_{name.upper()}")
    # Last, because a flag is the nearest to the user.
    for key, value in (flags or {}).items():
        if key.startswith("data."):
            data[dataset_key(key.removeprefix("data."))] = Setting(_path(value, "the command line"), "flag")
        elif key.startswith("labels."):
            labels[key.removeprefix("labels.")] = Setting(_path(value, "the command line"), "flag")
        elif key.startswith("executor."):
            executor[key.removeprefix("executor.")] = Given(value, "flag")
        else:
            folders[key] = Setting(_path(value, "the command line"), "flag")
    return Settings(data=data, labels=labels, executor=executor, **folders)


def _path(text: str, origin: str | Path) -> Path:
    """A path with `~` replaced: neither TOML nor `--data NAME=~/videos` is seen by a shell that would replace it.

    Raises:
        UserError: The path begins with `~USER`, and there is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(
            f"{text!r} in {origin}: no such user.", "Write the path in full, or ./~ for a folder ~."
        ) from None


def _cache_folder(environment: Mapping[str, str]) -> Path:
    """The default cache folder: in `XDG_CACHE_HOME` if it is set, else in the user's cache folder of the system."""
    if home := environment.get("XDG_CACHE_HOME"):
        return Path(home) / APPLICATION
    return user_cache_path(APPLICATION, appauthor=False)


def _read_file(
    config: Path, folders: dict[str, Setting], tables: Mapping[str, dict[str, Setting]], executor: dict[str, Given]
) -> None:
    """Add the settings of a TOML file; relative paths are relative to the file's folder."""
    try:
        content = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{config} cannot be read as TOML: {error}.", "Correct the file.") from None
    base = config.resolve().parent
    for key, value in content.items():
        if key in tables and isinstance(value, dict):
            paths = {name: base / _path(str(path), config) for name, path in value.items()}
            tables[key].update({dataset_key(name): Setting(path, str(config)) for name, path in paths.items()})
        elif key == "executor" and isinstance(value, dict):
            for name, item in value.items():
                # The only inner table is [executor.sbatch].
                inner = {f"{name}.{key}": v for key, v in item.items()} if isinstance(item, dict) else {name: item}
                executor.update({key: Given(v, str(config)) for key, v in inner.items()})
        elif key in folders and isinstance(value, str):
            folders[key] = Setting(base / _path(value, config), str(config))
        else:
            known = f"Known: {', '.join(folders)} and the tables [data], [labels] and [executor]."
            raise UserError(f"{config}: unknown setting {key!r}.", known)
