r"""Draw docs/probes.svg: the losses of the probes of a run folder, one picture for a dataset.

python -m harness run --method vanilla_clip vificlip --protocol few_shot probes --shots 16 --dataset mini_target \
        --runs RUNS
python benchmarks/probes_picture.py --runs RUNS --out docs/probes.svg
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reports.aggregate import rows_of
from reports.entries import read_entries
from reports.figures.probes import probe_losses
from reports.layout import dataset_title
from reports.probes import by_dataset, probe_rows, without_probes


def main() -> None:
    """Read the records and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="run folder (runs)")
    parser.add_argument("--dataset", default="mini_target", help="dataset of the picture (mini_target)")
    parser.add_argument("--out", type=Path, default=Path("docs/probes.svg"), help="the picture (docs/probes.svg)")
    arguments = parser.parse_args()
    _, rows = without_probes(rows_of(read_entries(arguments.runs).entries))
    probes = by_dataset(probe_rows(rows)).get(arguments.dataset, [])
    figure = probe_losses(probes, dataset_title(arguments.dataset))
    if figure is None:
        sys.exit(f"{arguments.runs} holds no loss of probes on {arguments.dataset}; see the head of this file.")
    # A picture in a page of documentation does not have the colours of that page.
    text = figure.svg.replace("<svg ", '<svg style="background:#fff;color:#1a1a1a" ', 1)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(f"{arguments.out}: {len(probes)} rows. {figure.caption}")


if __name__ == "__main__":
    main()
