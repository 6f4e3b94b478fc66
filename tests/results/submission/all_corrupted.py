"""All corrupted submissions: importing the files that make them fills `CASES`."""

import tests.results.submission.corrupted_arithmetic
import tests.results.submission.corrupted_claims
import tests.results.submission.corrupted_container
import tests.results.submission.corrupted_files
import tests.results.submission.corrupted_lists
import tests.results.submission.corrupted_names
import tests.results.submission.corrupted_protocol
import tests.results.submission.corrupted_rows  # noqa: F401
from tests.results.submission.corrupted import CASES

__all__ = ["CASES"]
