r"""Draw docs/probes.png: the losses of the probes of a run folder, one picture for a dataset.

python -m harness run --method vanilla_clip vificlip xclip actionclip --protocol few_shot probes --shots 16 \
        --dataset mini_target --runs RUNS
python benchmarks/probes_picture.py --runs RUNS --out docs/probes.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reports.aggregate import rows_of
from reports.entries import read_entries
from reports.layout import dataset_title
from reports.probe_figure import probe_canvas
from reports.probes import probe_rows, without_probes


def main() -> None:
    """Read the records and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="run folder (runs)")
    parser.add_argument("--dataset", default="mini_target", help="dataset of the picture (mini_target)")
    parser.add_argument("--out", type=Path, default=Path("docs/probes.png"), help="the picture (docs/probes.png)")
    arguments = parser.parse_args()
    _, rows = without_probes(rows_of(read_entries(arguments.runs).entries))
    probes = [probe for probe in probe_rows(rows) if probe.row.dataset == arguments.dataset]
    if not probes:
        sys.exit(f"{arguments.runs} holds no record of probes on {arguments.dataset}; see the head of this file.")
    with probe_canvas(probes, dataset_title(arguments.dataset)) as figure:
        figure.set_facecolor("white")
        figure.savefig(arguments.out, dpi=140, facecolor="white")
    print(f"{arguments.out}: {len(probes)} rows")


if __name__ == "__main__":
    main()
