"""Prediction sets and evaluation lists as a Croissant 1.0 data set (mlcommons.org/croissant)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from reports.anchors import slug
from reports.entries import Entry
from reports.exports.every_eval import ExportedFile
from results.codec import JsonLike
from results.predictions import COLUMNS, PROBABILITY_COLUMNS, canonical_text, read_predictions
from results.provenance import HARNESS

_CONTEXT: Mapping[str, JsonLike] = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format",
    "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key",
    "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField",
    "transform": "cr:transform",
}  # fmt: skip


def croissant(entries: Sequence[Entry]) -> Iterator[ExportedFile]:
    """The description `croissant.json`, one CSV file of predictions per record, and one CSV file per evaluation list.

    Raises:
        UserError: The predictions of a record cannot be read.
    """
    files: dict[str, tuple[ExportedFile, str, tuple[str, ...]]] = {}
    for entry in entries:
        frame, listed = read_predictions(entry.predictions), entry.measurement.evaluation.list
        m = entry.measurement
        about = f"Predictions of {m.method.name}, {m.protocol.name}, {listed.dataset}/{listed.name}"
        made = ExportedFile(f"predictions/{entry.record.key}.csv", canonical_text(frame))
        files[f"predictions-{entry.record.key}"] = made, about, tuple(COLUMNS)
        # A record that lacks videos of its list does not describe the list.
        if m.evaluation.evaluated == listed.n:
            names = entry.record.classes
            text = _list_csv(
                (video, label, names[label] if 0 <= label < len(names) else "")
                for video, label in zip(frame["video"].tolist(), frame["label"].tolist(), strict=True)
            )
            key = f"list-{slug(listed.dataset, listed.name)}-{listed.sha256[:12]}"
            about = f"Evaluation list {listed.dataset}/{listed.name}: {listed.n} videos, origin {listed.origin}"
            files.setdefault(key, (ExportedFile(f"lists/{key}.csv", text), about, ("video", "label", "class")))
    yield ExportedFile("croissant.json", f"{json.dumps(_description(files), indent=1)}\n".encode())
    yield from (made for made, _, _ in files.values())


def _description(files: Mapping[str, tuple[ExportedFile, str, tuple[str, ...]]]) -> JsonLike:
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"{HARNESS}-predictions",
        "description": "Predictions of methods that adapt CLIP to video, one line per video, and the evaluation lists.",
        "distribution": [
            {
                "@type": "cr:FileObject", "@id": f"{name}.csv", "name": f"{name}.csv", "description": about,
                "contentUrl": made.path, "encodingFormat": "text/csv",
                "sha256": hashlib.sha256(made.data).hexdigest(),
            }
            for name, (made, about, _) in files.items()
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet", "@id": name, "name": name, "description": about,
                "field": [
                    {
                        "@type": "cr:Field", "@id": f"{name}/{column}", "name": column, "description": _meaning(column),
                        "dataType": _type(column),
                        "source": {"fileObject": {"@id": f"{name}.csv"}, "extract": {"column": column}},
                    }
                    for column in columns
                ],
            }
            for name, (_, about, columns) in files.items()
        ],
    }  # fmt: skip


def _type(column: str) -> str:
    if column in ("video", "cluster", "class"):
        return "sc:Text"
    return "sc:Float" if column in PROBABILITY_COLUMNS else "sc:Integer"


def _meaning(column: str) -> str:
    fixed = {
        "video": "Path of the video in its list", "cluster": "Source of the video; empty if it is not known",
        "class": "Name of the class", "label": "Id of the true class",
    }  # fmt: skip
    if column in fixed:
        return fixed[column]
    content = "Probability of the predicted class" if column in PROBABILITY_COLUMNS else "Id of the predicted class"
    return f"{content} of position {column[-1]}"


def _list_csv(lines: Iterable[tuple[str, int, str]]) -> bytes:
    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    body = "".join(f"{quoted(video)},{label},{quoted(name)}\n" for video, label, name in lines)
    # A path may hold bytes that are not UTF-8, which Python keeps as surrogates.
    return f"video,label,class\n{body}".encode("utf-8", "replace")
