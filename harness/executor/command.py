"""The command line of a job: `run --request FILE`, in one process or under torchrun."""

from __future__ import annotations

import sys
from pathlib import Path


def job_command(request_file: Path, processes: int) -> list[str]:
    """The argument list of a job.

    Args:
        request_file: The job's request file, an absolute path.
        processes: Processes of the job; with more than one, torchrun starts them.
    """
    arguments = ["-m", "harness", "run", "--request", str(request_file), "--no-report", "--json"]
    if processes == 1:
        return [sys.executable, *arguments]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [sys.executable, *torchrun, *arguments]
