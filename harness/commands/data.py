"""`data`: generate lists from official annotations, or verify and import published lists."""

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
    """Arguments of `data prepare` and `data import-lists`."""
    parser = verb_parser(
        verbs, "data", "generate or import the protocols' lists", "Lists of the official datasets.",
        "example:\n  python -m harness data prepare ucf101 --annotations ucfTrainTestlist/ --videos /data/UCF-101\n",
    )  # fmt: skip
    kinds = parser.add_subparsers(dest="what", metavar="{prepare,import-lists}", required=True)
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


def run(arguments: argparse.Namespace) -> int:
    """Generate or import lists."""
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


def lists_folder(settings: Settings, videos: Path | None) -> Path:
    """The default folder for lists: the configured lists folder, else the dataset's folder, else the cache.

    A dataset's folder that cannot be written to is skipped. Lists are read from all of these folders.
    """
    if settings.lists.origin == "default" and videos is not None and os.access(videos, os.W_OK):
        return videos
    return settings.lists.path
