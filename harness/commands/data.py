"""`data`: generate, import or export the lists of datasets, and import class texts."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import add_folders, add_json, settings_of
from harness.commands._output import put, put_json, say
from harness.commands._parser import Verbs, verb_parser
from harness.machine.settings import Settings


def add_parser(verbs: Verbs) -> None:
    """Arguments of `data prepare`, `data import-lists`, `data export-lists` and `data import-texts`."""
    parser = verb_parser(
        verbs, "data", "generate, import or export lists; import class texts",
        "Generate, import or export the lists of datasets, and import class texts.",
        "example:\n  python -m harness data prepare ucf101 --annotations ucfTrainTestlist/ --videos /data/UCF-101\n",
    )  # fmt: skip
    names = "{prepare,import-lists,export-lists,import-texts}"
    kinds = parser.add_subparsers(dest="what", metavar=names, required=True)
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
        kinds, "import-lists", "verify and import list files of the authors or of another project",
        "Verify published list and label files (a checkout of the authors' repository) against their fingerprints and\n"
        "copy them into the lists folder. Needed for the twelve few-shot lists and the K-400 lists, which cannot be\n"
        "derived from annotations. In the checkout of another project, lists are recognised by their clips and\n"
        "labels; lists that are not published are named. A single one of them becomes a table with --labels.",
        "examples:\n  python -m harness data import-lists ../ViFi-CLIP\n"
        "  python -m harness data import-lists ../FROSTER/zs_label_db/B2N_k400/val.csv --labels train_idx2cls.csv "
        "--videos /data/k400\n",
    )  # fmt: skip
    imported.add_argument("folder", metavar="DIR|FILE", help="checkout, folder with lists, or a list `path label`")
    imported.add_argument("--labels", metavar="FILE", help="class names by id, for a list that is not published")
    imported.add_argument("--videos", metavar="DIR", help="folder with the videos of this list; counts those found")
    imported.add_argument("--out", metavar="DIR", help="folder for the lists (default: the configured lists folder)")
    add_json(imported)
    add_folders(imported)
    _add_export(kinds)
    _add_texts(kinds)


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


def _add_texts(kinds: Verbs) -> None:
    texts = verb_parser(
        kinds, "import-texts", "convert class texts of other projects into a file for the option class_texts",
        "Convert JSON files of texts by class id into one file of class texts, see docs/class_texts.md. A file holds\n"
        '{"0": ["text", ...], ...} (descriptors) or {"0": "Name: sentence", ...}. Its ids are those of LABELS:\n'
        "DATASET, DATASET/LABEL_SET, either with @VARIANT of the class names, or a file of class names. Several files\n"
        "become sections of one file.",
        "examples:\n  python -m harness data import-texts hmdb51@corrected=hmdb_51.json k400=kinetics_400.json "
        "--source llm "
        "--out texts.json\n"
        "  python -m harness data import-texts hmdb51:spatial=spatial.json hmdb51:temporal=temporal.json --source llm "
        "--out texts.json\n",
    )  # fmt: skip
    texts.add_argument("texts", nargs="+", metavar="LABELS[:KIND]=FILE", help="label set of the ids, and the JSON file")
    texts.add_argument("--source", required=True, choices=("llm", "human"), help="writer: a language model, or people")
    texts.add_argument("--out", required=True, metavar="FILE", help="the file to write")
    add_json(texts)
    add_folders(texts)


def run(arguments: argparse.Namespace) -> int:
    """Generate, import or export lists, or import class texts."""
    settings = settings_of(arguments)
    if arguments.what == "import-lists":
        return _import(arguments, settings)
    if arguments.what == "import-texts":
        from harness.data.import_texts import import_texts, text_source

        sources = [text_source(text) for text in arguments.texts]
        imported = import_texts(sources, arguments.source, Path(arguments.out), settings)
        put_json(imported.as_dict()) if arguments.json else put(imported.text())
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


def _import(arguments: argparse.Namespace, settings: Settings) -> int:
    """Import published lists, or a single list of another project as a table."""
    from harness.data.official.import_lists import import_lists
    from harness.data.official.import_table import import_table, is_published

    folder = Path(arguments.folder)
    out = Path(arguments.out) if arguments.out else settings.lists.path
    if folder.is_file() and not is_published(folder):
        labels, videos = (Path(text) if text else None for text in (arguments.labels, arguments.videos))
        table = import_table(folder, out, labels, videos, settings.cache.path)
        put_json(table.as_dict()) if arguments.json else put(table.text())
        return EXIT_DONE
    if folder.is_dir() and (arguments.labels or arguments.videos):
        raise UserError(
            f"--labels and --videos belong to one list, and {folder} is a folder.", "Give the list file itself."
        )
    imported = import_lists(folder, out)
    put_json(imported.as_dict()) if arguments.json else put(imported.text())
    return EXIT_DONE if imported.lists else EXIT_FAILED


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
