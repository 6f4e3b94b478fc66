"""Listing, showing and planning start fast: without torch or numpy, in less than a second of computing."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, machine_free

HEAVY = ("torch", "numpy", "pandas", "cv2", "mmengine", "mmaction", "scipy", "open_clip", "decord", "matplotlib")
SECONDS = 1.0
LIGHT = (
    ("list", "methods"), ("list", "protocols"), ("list", "datasets"),
    ("show", "vificlip"), ("show", "xclip"), ("show", "eszsl"), ("show", "mmaction2"),
    ("show", "b2n"), ("show", "mini_target"), ("show", "hmdb51"),
    ("plan", "--method", "vificlip", "--protocol", "b2n"),
    ("plan", "--method", "bridge_prompt", "vanilla_clip", "--protocol", "few_shot"),
    ("--help",),
)  # fmt: skip


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_starts_fast(arguments: tuple[str, ...], tmp_path: Path) -> None:
    places = () if arguments == ("--help",) else ("--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache"))
    code = (
        "import sys; from harness.cli import main\n"
        f"try: code = main({[*arguments, *places]!r})\n"
        "except SystemExit as error: code = error.code\n"
        f"heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    seconds = []
    for _ in range(2):  # the first may compile to bytecode
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=machine_free(), capture_output=True, text=True, check=False
        )
        seconds.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
        assert done.returncode == 0, done.stderr
        if min(seconds) < SECONDS:
            break
    assert min(seconds) < SECONDS, f"{' '.join(arguments)} took {min(seconds):.2f} s of user CPU time"


@pytest.mark.parametrize("option", ["--method", "--protocol"])
def test_a_misspelt_name_is_reported_before_requests_are_imported(option: str) -> None:
    words = {"--method": "vificlip", "--protocol": "b2n"}
    words[option] += "x"
    arguments = ["run", *(word for pair in words.items() for word in pair)]
    code = (
        "import sys; from harness.cli import main\n"
        f"assert main({arguments!r}) == 2\n"
        "late = ('harness.cells.resolve', 'harness.running.run_request', *"
        f"{HEAVY})\n"
        "sys.exit(', '.join(name for name in late if name in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=machine_free(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"error: There is no {option.removeprefix('--')} named '{words[option]}'.")


@pytest.mark.slow
def test_power_needs_no_torch_and_no_tables(tmp_path: Path) -> None:
    arguments = ["power", "--protocol", "b2n", "--dataset", "ucf101", "--runs", str(tmp_path), "--cache", str(tmp_path)]
    code = (
        "import sys; from harness.cli import main\n"
        f"code = main({[*arguments, '--discordance', '0.1']!r})\n"
        "heavy = [name for name in ('torch', 'pandas', 'cv2', 'mmengine', 'open_clip') if name in sys.modules]\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=machine_free(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


WRONG = (
    ("rn",), ("run", "--methd", "x"), ("run", "--method", "vifclip", "--protocol", "b2n"),
    ("run", "--method", "vificlip", "--protocol", "b2m"),
    ("run", "--method", "vificlip:templat=x", "--protocol", "b2n"),
    ("run", "--method", "vificlip", "--protocol", "b2n", "--dataset", "ucf11"),
    ("run", "--method", "vificlip", "--protocol", "b2n", "--recipe", "epohcs=1"),
    ("run", "--method", "vificlip", "--protocol", "b2n", "--views", "fraems=8"),
    ("run", "--method", "vificlip", "--protocol", "b2n", "--arch", "ViT-B16"),
    ("run", "--method", "vificlip", "--protocol", "b2n", "--weights", "opnai"),
    ("run", "--method", "vificlip", "--protocol", "b2n", "--part", "nvel"),
    ("run", "--method", "vificlip", "--protocol", "b2n", "--executor", "slrm"),
    ("run", "--method", "vificlip", "--protocol", "b2n", "--device", "cdua"),
    ("predict", "x.avi", "--method", "vifclip", "--labels", "x.txt"), ("profile", "--arch", "ViT-B16"),
    ("profile", "--method", "vifclip"), ("report", "--format", "markdown"), ("show", "vifclip"), ("curve", "nothing"),
)  # fmt: skip


@pytest.mark.slow
def test_wrong_words_are_named_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from harness.cli import main\n"
        f"for words in {WRONG!r}:\n"
        "    try: code = main(words)\n"
        "    except SystemExit as error: code = error.code\n"
        "    assert code == 2, words\n"
        f"    heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "    assert not heavy, (words, heavy)\n"
    )
    environment = machine_free({"HARNESS_CACHE": str(tmp_path), "HARNESS_RUNS": str(tmp_path)})
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Did you mean") == len(WRONG) - 1, done.stderr  # `curve` lists the fits
