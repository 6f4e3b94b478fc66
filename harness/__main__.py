"""`python -m harness`."""

from __future__ import annotations

import sys

from harness.base.packages import leave_working_directory

if __name__ == "__main__":
    leave_working_directory()  # before anything else is imported
    from harness.cli import main

    sys.exit(main())
