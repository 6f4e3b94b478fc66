"""A command that is killed at any moment and given again ends with the records of an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.data.official.cards import load_card
from tests.conftest import write_clip
from tests.endurance.conftest import PARTIAL_ALWAYS, left_over, outcome_of, run_arguments
from tests.endurance.preloaded import Server

SEED = int(os.environ.get("HARNESS_TEST_SEED", "1"))
KILLS = 20
VERBS = ("fit", "eval", "report", "prepare")


@dataclass(frozen=True)
class Scene:
    """A command and what it must leave.

    Args:
        begin: Puts a folder into the state before the command.
        arguments: The command, given the folder.
        outcome: What must not depend on interruptions.
        undisturbed: That, of an undisturbed command.
        changes: Changes of files that it makes.
        seconds: How long it took.
    """

    begin: Callable[[Path], object]
    arguments: Callable[[Path], tuple[object, ...]]
    outcome: Callable[[Path], dict[str, Any]]
    undisturbed: dict[str, Any]
    changes: int
    seconds: float


def write_annotations(folder: Path) -> Path:
    """Annotations in UCF-101's official format, with 17 training and 3 x 2 test clips a class."""
    names = load_card("ucf101").names
    folder.mkdir(parents=True)
    (folder / "classInd.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(names, 1)))

    def clip(name: str, group: int) -> str:
        return f"{name}/v_{name}_g{group:02d}_c01.avi"

    train = "".join(f"{clip(name, group)} {i}\n" for i, name in enumerate(names, 1) for group in range(8, 25))
    (folder / "trainlist01.txt").write_text(train)
    for split in (1, 2, 3):
        text = "".join(f"{clip(name, 2 * split + k)}\n" for name in names for k in (0, 1))
        (folder / f"testlist0{split}.txt").write_text(text)
    return folder


def all_files(folder: Path) -> dict[str, bytes]:
    """The bytes of every file, without what a kill leaves of files while they are written."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".tmp")
    }


@pytest.fixture(scope="session")
def scenes(
    server: Server, tiny_dataset: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Scene]:
    """The scene of a verb, with an undisturbed command carried out once."""
    annotations = write_annotations(tmp_path_factory.mktemp("ucf") / "annotations")
    videos = tmp_path_factory.mktemp("videos")
    write_clip(videos / "ApplyEyeMakeup" / "v_ApplyEyeMakeup_g08_c01.avi", frames=2)
    made: dict[str, Scene] = {}

    def fitted(folder: Path) -> None:
        shutil.copytree(finished, folder, dirs_exist_ok=True)
        for path in [*folder.rglob("evals"), *folder.rglob("untrained")]:
            shutil.rmtree(path, ignore_errors=True)

    def prepare(folder: Path) -> tuple[object, ...]:
        places = ("--out", folder / "lists", "--cache", folder / "cache", "--videos", videos)
        return ("data", "prepare", "ucf101", "--annotations", annotations, *places, "--json")

    parts: dict[str, tuple[Any, Any, Any]] = {
        "fit": (lambda folder: None, lambda folder: run_arguments(tiny_dataset, folder), outcome_of),
        "eval": (fitted, lambda folder: run_arguments(tiny_dataset, folder), outcome_of),
        "report": (
            lambda folder: shutil.copytree(finished / "runs", folder / "runs"),  # the page links to the records
            lambda folder: ("report", "--runs", folder / "runs", "--out", folder / "site"),
            lambda folder: all_files(folder / "site"),
        ),
        "prepare": (lambda folder: None, prepare, lambda folder: all_files(folder / "lists")),
    }

    def scene(verb: str) -> Scene:
        if verb not in made:
            begin, arguments, outcome = parts[verb]
            folder = tmp_path_factory.mktemp(verb)
            begin(folder)
            started = time.monotonic()
            done = server.run(*arguments(folder), patch=PARTIAL_ALWAYS, watch=folder)
            seconds = time.monotonic() - started
            assert done.code == 0, done.err
            found = outcome(folder)
            assert len(found) >= 3 and done.changes >= 6
            made[verb] = Scene(begin, arguments, outcome, found, done.changes, seconds)
        return made[verb]

    return scene


def complete(server: Server, scene: Scene, folder: Path, what: str) -> None:
    """Give the command again and compare."""
    done = server.run(*scene.arguments(folder), patch=PARTIAL_ALWAYS)
    assert done.code == 0, f"{what}: {done.err}"
    assert scene.outcome(folder) == scene.undisturbed, what
    if "run" in scene.arguments(folder):
        assert not left_over(folder), what
    shutil.rmtree(folder)


@pytest.mark.slow
def test_the_scenes_are_what_they_are_called(scenes: Callable[[str], Scene], finished: Path) -> None:
    """Evals go through intermediate results here, and end like those of a run from nothing."""
    trained = {name: value for name, value in outcome_of(finished).items() if name in scenes("eval").undisturbed}
    assert scenes("eval").undisturbed == trained and len(trained) == 5
    assert scenes("eval").changes > 3 * 6


@pytest.mark.parametrize("verb", ["fit", "prepare"])
def test_killed_at_a_change_of_a_file(
    server: Server, scenes: Callable[[str], Scene], verb: str, tmp_path: Path
) -> None:
    """One kill a verb, just before a file is opened for writing, renamed or removed."""
    at_changes(server, scenes(verb), tmp_path, 1, verb)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_twenty_changes_of_files(
    server: Server, scenes: Callable[[str], Scene], verb: str, tmp_path: Path
) -> None:
    at_changes(server, scenes(verb), tmp_path, KILLS, f"{verb} many")


def at_changes(server: Server, scene: Scene, tmp_path: Path, count: int, seed: str) -> None:
    moments = random.Random(f"{SEED} {seed}").sample(range(1, scene.changes + 1), min(count, scene.changes))
    for moment in moments:
        folder = tmp_path / f"change{moment}"
        folder.mkdir()
        scene.begin(folder)
        killed = server.run(*scene.arguments(folder), patch=PARTIAL_ALWAYS, watch=folder, kill_at=moment)
        assert killed.code == -signal.SIGKILL, killed.err
        complete(server, scene, folder, f"killed at change {moment} of {scene.changes} (seed {SEED})")


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_twenty_random_times(
    server: Server, scenes: Callable[[str], Scene], verb: str, tmp_path: Path, record_property: Callable[..., None]
) -> None:
    """Issue 7: SIGKILL at 20 random moments of each verb; a kill that came after the end does not count."""
    scene, draw = scenes(verb), random.Random(f"{SEED} {verb} times")
    longest, kills, rounds = scene.seconds, 0, 0
    while kills < KILLS:
        rounds += 1
        assert rounds <= 4 * KILLS, f"only {kills} of {rounds} kills came before the end"
        folder = tmp_path / f"round{rounds}"
        folder.mkdir()
        scene.begin(folder)
        moment = draw.uniform(0, longest)
        started = time.monotonic()
        run = server.start(*scene.arguments(folder), patch=PARTIAL_ALWAYS)
        time.sleep(moment)
        run.kill(signal.SIGKILL)
        died = run.wait().code == -signal.SIGKILL
        kills += died
        if not died:
            longest = min(longest, time.monotonic() - started)
        complete(server, scene, folder, f"killed after {moment:.3f} s (seed {SEED})")
    record_property("kills", kills)
    record_property("rounds", rounds)
