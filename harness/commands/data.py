"""`data`: generate, import or export the lists of datasets."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from harness.base.errors import EXIT_DONE
from harness.commands._arguments import add_folders, add_json, settings_of
from harness.commands._output import put, put_json, say
from harness.commands._parser import Verbs, verb_parser
from harness.machine.settings import Settings


def add_parser(verbs: Verbs) -> None:
    """Arguments of `data prepare`, `data import-lists` and `data export-lists`."""
    parser = verb_parser(
        verbs, "data", "generate, import or export lists", "Generate, import or export the lists of datasets.",
        "example:\n  python -m harness data prepare ucf101 --annotations ucfTrainTestlist/ --videos /data/UCF-101\n",
    )  # fmt: skip
    kinds = parser.add_subparsers(dest="what", metavar="{prepare,import-lists,export-lists}", required=True)
    prepare = verb_parser(
        kinds, "prepare", "generate a dataset's lists from its official annotations",
        "Generate every list that can be derived from a dataset's official annotations by the published rules,\n"
        "compare it with the published fingerprint, and write it in the published layout.\n"
        "The videos need not exist yet.",
        "example:\n  python -m harness data prepare ucf101 --annotations ucfTrainTestlist/ --videos /data/UCF-101\n",
    )  # fmt: skip
    prepare.add_argument("dataset", metavar="NAME", help="k400, k600, hmdb51, ucf101 or ssv2")
    prepare.add_argument(
        "--annotations", required=True, metavar="DIR", help="folder with the official annotation files"
    )
    prepare.add_argument("--videos", metavar="DIR", help="folder with the videos; counts the videos that exist")
    prepare.add_argument(
        "--out", metavar="DIR",
        help="folder for the lists (default: the configured lists folder, else the dataset's folder)",
    )  # fmt: skip
    add_json(prepare)
    add_folders(prepare)
    imported = verb_parser(
        kinds, "import-lists", "verify and import the published list files",
        "Verify published list and label files (a checkout of the authors' repository) against their fingerprints and\n"
        "copy them into the lists folder. Needed for the twelve few-shot lists and the K-400 lists, which cannot be\n"
        "derived from annotations.",
        "example:\n  python -m harness data import-lists ../ViFi-CLIP\n",
    )  # fmt: skip
    imported.add_argument("folder", metavar="DIR", help="folder with datasets_splits/ and labels/")
    imported.add_argument("--out", metavar="DIR", help="folder for the lists (default: the configured lists folder)")
    add_json(imported)
    add_folders(imported)
    _add_export(kinds)


def _add_export(kinds: Verbs) -> None:
    exported = verb_parser(
        kinds, "export-lists", "write lists as text files with one line `path label`",
        "Write the lists of a dataset, drawn lists among them, for other programs: DATASET_LIST.txt with one line\n"
        "`path label` per video, and DATASET_LABELS.csv with the class names of the ids.",
        "example:\n  python -m harness data export-lists my_clips/ --list train --list val --out lists/\n",
    )  # fmt: skip
    exported.add_argument("dataset", metavar="NAME|PATH", help="dataset, a folder of class folders, or a table")
    exported.add_argument(
        "--list", action="append", default=[], metavar="NAME", help="list to write; repeatable (all lists)"
    )
    exported.add_argument(
        "--lists", default="published", choices=("published", "own"), help="own: draw lists that are not published"
    )
    exported.add_argument("--out", required=True, metavar="DIR", help="folder for the files")
    add_json(exported)
    add_folders(exported)


def run(arguments: argparse.Namespace) -> int:
    """Generate, import or export lists."""
    settings = settings_of(arguments)
    if arguments.what == "import-lists":
        from harness.data.official.import_lists import import_lists

        out = Path(arguments.out) if arguments.out else settings.lists.path
        imported = import_lists(Path(arguments.folder), out)
        if arguments.json:
            put_json(imported.as_dict())
        else:
            put(imported.text())
        return EXIT_DONE
    if arguments.what == "export-lists":
        return _export(arguments, settings)
    from harness.data.official.prepare import levels_text, prepare

    videos = Path(arguments.videos) if arguments.videos else None
    if videos is None and arguments.dataset in settings.data:
        videos = settings.data[arguments.dataset].path
    out = Path(arguments.out) if arguments.out else lists_folder(settings, videos)
    report = prepare(arguments.dataset, Path(arguments.annotations), out, videos, settings.cache.path)
    if arguments.json:
        put_json(report.as_dict())
        return EXIT_DONE
    put(report.table())
    put(levels_text())
    if report.found is not None:
        say(f"videos found: {report.found} of {report.expected}")
    say(f"lists written to {out}")
    return EXIT_DONE


def _export(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write lists as text files."""
    from harness.data.catalog import open_dataset
    from harness.data.export_lists import export_lists

    dataset = open_dataset(arguments.dataset, settings, lists=arguments.lists)
    report = export_lists(dataset, Path(arguments.out), arguments.list)
    if arguments.json:
        put_json(report)
        return EXIT_DONE
    put(report.text())
    say(f"lists written to {arguments.out}")
    return EXIT_DONE


def lists_folder(settings: Settings, videos: Path | None) -> Path:
    """The default folder for lists: the configured lists folder, else the dataset's folder, else the cache.

    A dataset's folder that cannot be written to is skipped. Lists are read from all of these folders.
    """
    if settings.lists.origin == "default" and videos is not None and os.access(videos, os.W_OK):
        return videos
    return settings.lists.path
