"""The hours in docs/real_data.md are what benchmarks/hours.py computes from the measured throughput."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT, machine_free

PAGE = ROOT / "docs" / "real_data.md"
BEGIN, END = "<!-- hours: begin -->\n", "<!-- hours: end -->"


@pytest.mark.slow
def test_the_table_of_hours_is_what_the_script_prints() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "hours.py"]
    environment = machine_free({"PYTHONPATH": str(ROOT)})
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=True)
    shown = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == done.stdout.strip()
