"""The table of records for notebooks: its columns are documented, complete and typed."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from reports import frame as frame_module
from reports.frame import records_frame
from tests.results.factories import Sample, write_sample

DTYPES = {"integer": ["Int64"], "number": ["float64"], "true or false": ["boolean"], "text": ["str", "object"]}


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A trained and an untrained record."""
    runs = tmp_path_factory.mktemp("runs")
    write_sample(runs, Sample(protocol="few_shot", part="k16", shots=16, videos=24))
    write_sample(runs, Sample(method="untrained", trained=False, videos=24, gflops=None))
    return records_frame(runs).frame


def documented() -> dict[str, str]:
    """Kind of each column as the docstring states it; a group such as `training.views.*` stands for its columns."""
    lines = re.findall(r"^    (\S.*?)(?:  +(.+))?$", frame_module.__doc__ or "", flags=re.MULTILINE)
    kinds, groups = {}, {}
    for names, kind in lines:
        for name in names.split(", "):
            if name.endswith(".*"):
                groups[name[:-1]] = kind.removeprefix("as ").split("*")[0]
            else:
                kinds[name] = re.split(r"[;,]| of ", kind)[0] if kind else "text"
    for group, source in groups.items():
        kinds |= {group + name.removeprefix(source): kinds[name] for name in list(kinds) if name.startswith(source)}
    return kinds


def test_the_docstring_lists_every_column_with_its_kind(frame: pd.DataFrame) -> None:
    kinds = documented()
    assert set(kinds) == set(frame.columns)
    for name, kind in kinds.items():
        assert str(frame[name].dtype) in DTYPES.get(kind, ["object"]), (name, kind)


def test_a_value_that_a_record_does_not_have_is_missing(frame: pd.DataFrame) -> None:
    by_method = frame.set_index("method.name")
    trained, untrained = by_method.loc["vificlip"], by_method.loc["untrained"]
    assert (trained["training"], untrained["training"]) == ("trained", "untrained")
    assert trained["training.recipe.seed"] == 1024 and trained["shots"] == 16 and trained["training.recipe.flip"]
    missing = [name for name in frame.columns if name.startswith("training.")] + ["shots", "gflops"]
    assert untrained[missing].isna().all() and trained[missing].notna().all()


@pytest.mark.slow
def test_columns_do_not_depend_on_the_records(tmp_path: Path, frame: pd.DataFrame) -> None:
    write_sample(tmp_path / "untrained", trained=False, videos=24)
    damaged = write_sample(tmp_path / "damaged", videos=24)
    damaged.write_text("{", "utf-8")
    for folder in ("untrained", "damaged"):
        other = records_frame(tmp_path / folder).frame
        assert list(other.columns) == list(frame.columns)
    assert other.empty
