"""Input and outcome of a run as dataclasses. Without torch, so that a login node submits jobs quickly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.base.atomic import write_json
from harness.base.errors import EXIT_FAILED, UserError
from harness.cells.request import Request
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Setting, Settings
from results.codec import DecodeError, decode, encode, read_json_file

RUN_REQUEST_SCHEMA = 1


@dataclass(frozen=True)
class Folders:
    """Folders of this machine, as absolute paths: a job need not see the environment of the submitting process.

    Args:
        runs: Fits, records and predictions.
        cache: Rendered datasets, indexes, cached features.
        weights: Weight files of open_clip tags.
        lists: Published or generated lists.
        data: Videos of each configured dataset, by its name.
        labels: Files of class names of custom datasets, by the name of the dataset.
    """

    runs: str
    cache: str
    weights: str
    lists: str
    data: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Folders:
        """The folders of settings."""
        folders = (settings.runs, settings.cache, settings.weights, settings.lists)
        runs, cache, weights, lists = (str(folder.path.absolute()) for folder in folders)
        data = {name: str(folder.path.absolute()) for name, folder in settings.data.items()}
        labels = {name: str(file.path.absolute()) for name, file in settings.labels.items()}
        return cls(runs, cache, weights, lists, data, labels)

    def settings(self, origin: str) -> Settings:
        """Settings with these folders, without executor: a job computes its cells in its own process.

        Args:
            origin: Name of the request file, for messages.
        """
        runs, cache, weights, lists = (
            Setting(Path(folder), origin) for folder in (self.runs, self.cache, self.weights, self.lists)
        )
        data = {name: Setting(Path(folder), origin) for name, folder in self.data.items()}
        labels = {name: Setting(Path(file), origin) for name, file in self.labels.items()}
        return Settings(runs, cache, weights, lists, data, labels)


@dataclass(frozen=True)
class RunRequest:
    """Everything that `run` needs to compute cells; the content of a request file.

    Args:
        request: Methods, protocols, datasets and overrides.
        compute: Device, precision, workers.
        folders: Folders of this machine.
        plugins: Plugin files to load first.
        cells: Keys of the cells to compute; empty for all cells of the request.
        keep_going: Go on with other cells after a failure.
        schema: Version of the file format.
    """

    request: Request
    compute: ComputeOptions
    folders: Folders
    plugins: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    keep_going: bool = False
    schema: int = RUN_REQUEST_SCHEMA


def write_run_request(path: Path, run_request: RunRequest) -> None:
    """Write a request file for `run --request FILE`."""
    write_json(path, encode(run_request))


def read_run_request(path: Path) -> RunRequest:
    """The content of a request file.

    Raises:
        UserError: The file is missing, is not JSON, or was written by another version.
    """
    again = "Give the command that submitted the job again: it writes a new request file."
    content = read_json_file(path, RUN_REQUEST_SCHEMA, again)
    try:
        return decode(content, RunRequest)
    except DecodeError as error:
        raise UserError(f"{path}: {error}.", again, EXIT_FAILED) from None


@dataclass
class RunSummary:
    """Counts of finished, reused and failed cells of one run.

    Args:
        fits, evals: Numbers of cells that this run computed.
        reused: Number of cells that were done before.
        failures: (cell name, error) of each failed cell.
        left_out: (cell name, reason) of each cell without videos in a run that allows missing videos.
        records: Files of all records of the request that exist at the end of the run.
    """

    fits: int = 0
    evals: int = 0
    reused: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    records: list[Path] = field(default_factory=list)
