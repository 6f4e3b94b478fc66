"""Records as one tidy pandas table for notebooks: one line for each record, one column for each field.

Integers have the dtype `Int64`, true or false `boolean`, other numbers `float64`. A value that a record does not
have is missing, such as all `training.` columns of an untrained method. All columns are always there.

Columns of the record:

    record             text; file of the record, relative to `runs`
    title              text; display name of the method
    family             text; family of the method in the papers' grouping, may be empty
    shown_dataset      text; dataset as reports show it, unique among the records
    embedded           true or false; the dataset is an embedded one
    status             text; `reported`, `submitted`, `verified` or `reproduced`
    superseded         text; why the record does not count, empty for a record that counts
    division           text; `closed` or `open`
    incomplete         text; missing videos or weights, empty for a complete record
    signature          text; every setting that decides whether two scores may be compared
    created            text; time of completion in UTC, ISO 8601
    time               text; time by which generations are ordered in UTC, ISO 8601
    top1, top5         number; top-1 and top-5 accuracy in percent
    mean_class         number; mean of the per-class top-1 accuracies in percent
    undecodable        integer; videos that could not be decoded
    shots              integer; training videos per class, missing for a list that is not few-shot
    params_total       integer; parameters of the model
    params_trained     integer; parameters that the fit trained, 0 for an untrained method
    gflops             number; 10^9 multiply-adds of the video features of one view
    eval_seconds       number; wall time of the eval in seconds
    videos_per_second  number; throughput of the eval, 0 if nothing was computed
    features_cached    true or false; the eval took frame features from the cache
    device             text; device of the eval

Keys of the measurement, hexadecimal texts (`results.measurement`):

    fit, number, cell, row, line, group

Columns of the measurement, named by the path of the field (`results.measurement_parts`):

    engine                             integer; version of the engine
    training                           text; `trained`, `untrained` or `unknown`
    protocol.name                      text
    protocol.version                   integer
    protocol.part                      text; what the list measures, e.g. `base`
    protocol.repeat.kind               text; what is repeated, e.g. `train_subset`
    protocol.repeat.index              integer; from 1
    protocol.prescribed.views.*        as evaluation.views.*
    protocol.prescribed.transform      text; view transform, empty for none
    protocol.prescribed.selection      text; checkpoint selection
    protocol.scope.lists               text; fingerprint of all lists of the row
    protocol.scope.evaluation_lists    text; fingerprint of its evaluation lists
    protocol.scope.training_origin     text; `own`, `source` or empty
    protocol.scope.own_training_lists  text; fingerprint
    protocol.scope.recipes             text; fingerprint of all recipes of the row
    protocol.scope.views               text; fingerprint of all views of the row
    protocol.scope.evaluation_views    text; fingerprint of all views in evaluation
    protocol.scope.expected            tuple of `Expected`; parts and repeats of a complete row
    protocol.table                     text; dataset of a row with lists of several datasets, otherwise empty
    protocol.table_root                text; fingerprint of the folder of this dataset if it is custom
    method.name                        text; registered name
    method.version                     integer
    method.code                        text; hash of the source code
    method.options                     dictionary; values of the options
    method.evaluation_options          dictionary; values of the options that matter in evaluation alone
    method.class_text                  text; source of the class texts
    method.class_text_sha256           text; hash of the file of class texts, may be empty
    method.extra_data                  tuple of texts; training data beyond the protocol's
    method.checkpoint                  text; hash of a file of weights, empty without one
    model.arch                         text; architecture
    model.weights                      text; pretrained tag, or hash of a file
    model.config                       text; hash of the configuration of a method's own model
    model.tensors_sha256               text; hash of the weights
    model.image_size                   integer; side of the square input in pixels
    model.activation                   text
    model.text_length                  integer; tokens of a text
    model.tokenizer                    text; `clip`, or name of a tokenizer on the Hugging Face hub
    model.padding                      integer; id of the token behind a text
    training.list.*                    as evaluation.list.*
    training.recipe.epochs             integer; passes over the training list
    training.recipe.lr                 number; peak learning rate
    training.recipe.warmup_epochs      number; epochs of linear warm-up
    training.recipe.micro_batch        integer; clips
    training.recipe.ranks              integer; processes of the published run
    training.recipe.accumulate         integer; micro-batches per update and rank
    training.recipe.weight_decay       number
    training.recipe.betas              tuple of two numbers
    training.recipe.eps                number
    training.recipe.min_lr_ratio       number; fraction of the peak learning rate
    training.recipe.augmentation       text
    training.recipe.flip               true or false
    training.recipe.smoothing          number; label smoothing
    training.recipe.mixup              number; Beta parameter
    training.recipe.cutmix             number; Beta parameter
    training.recipe.switch             number; probability of CutMix over MixUp
    training.recipe.schedule           text
    training.recipe.seed               integer
    training.recipe.selection          text; checkpoint selection
    training.recipe.source             text; where the recipe is published
    training.recipe.views_cached       integer; cached augmented views per clip, 0 for none
    training.recipe.clip_norm          number; largest norm of the gradient, 0 for no limit
    training.recipe.warmup_lr_ratio    number; fraction of the peak learning rate in the first update
    training.recipe.average            text; epochs whose weights are averaged, or none
    training.recipe.initial_share      number; share of the weights before the fit in the evaluated weights
    training.recipe.lr_factors         tuple of texts; `NAME=FACTOR` for parameter groups with another learning rate
    training.recipe.no_decay           tuple of texts; parameter groups and kinds without weight decay
    training.declared.*                as training.recipe.*; the recipe that the method declares
    training.views.*                   as evaluation.views.*
    training.start.kind                text; `clip`, `fit` or `checkpoint`
    training.start.name                text; name of the parent fit
    training.start.key                 text; key of the parent fit
    training.start.weights_sha256      text; hash of the weights of the parent fit
    training.start.complete            true or false; the parent fit used all listed videos
    training.precision                 text; precision of the fit
    training.used                      integer; videos used
    training.weights_sha256            text; hash of the weights of the fit
    training.device_batch              integer; clips in a device batch if a fit depends on it, else 0
    evaluation.list.dataset            text
    evaluation.list.name               text
    evaluation.list.origin             text; `published`, `generated` or `own`
    evaluation.list.sha256             text; hash of the rows
    evaluation.list.labels             text; name of the label set
    evaluation.list.labels_sha256      text; hash of the class names
    evaluation.list.label_variant      text; `published`, `corrected` or `split`
    evaluation.list.n                  integer; videos listed
    evaluation.list.content            text; hash of the videos of a custom or embedded dataset
    evaluation.list.root               text; fingerprint of the folder of a custom dataset
    evaluation.views.frames            integer; frames per view
    evaluation.views.clips             integer; temporal views
    evaluation.views.crops             integer; spatial crops
    evaluation.views.sampling          text; how frames are sampled
    evaluation.views.normalize         text; input statistics
    evaluation.views.reader            text; how videos are read
    evaluation.views.resize            text; resizing of an eval: `published`, `input`, `slowfast`, ...
    evaluation.views.combine           text; combination of views: `probabilities` or `logits`
    evaluation.views.input.mean        tuple; mean of RGB in 0..1 with `normalize=model`, else empty
    evaluation.views.input.std         tuple; standard deviation, likewise
    evaluation.views.input.resize      text; `shortest`, `squash` or `longest`, likewise
    evaluation.views.input.interpolation  text; `bicubic` or `bilinear`, likewise
    evaluation.transform               text; view transform, empty for none
    evaluation.sample                  text; sample of the list, empty for the whole list
    evaluation.precision               text; precision of the eval
    evaluation.evaluated               integer; videos evaluated
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Union, get_args, get_origin, get_type_hints

import pandas as pd

from reports.aggregate import rows_of
from reports.dataset_names import DatasetNames
from reports.entries import Damaged, Entry, read_entries
from results.measurement import FIELDS, KEY_NAMES, UNKNOWN, Measurement, keys_of, leaves
from results.measurement_words import division, incomplete

_TRAINING = "training"
_DTYPES: Mapping[type, str] = {int: "Int64", float: "float64", bool: "boolean"}
"""By type of a field the dtype of its column. `Int64` and `boolean` hold missing values; texts need no such dtype."""


@dataclass(frozen=True)
class RecordsFrame:
    """The readable records of a folder as a table, and the files that are left out of it.

    Args:
        frame: One line for each record, superseded ones included; the docstring of the module lists its columns.
        damaged: Files that could not be read.
    """

    frame: pd.DataFrame
    damaged: tuple[Damaged, ...]


def records_frame(runs: Path | Sequence[Path]) -> RecordsFrame:
    """All records below a run folder as a table with an index from 0, sorted by row, part and repeat.

    The docstring of this module lists the columns. Average only lines with an empty `superseded` that share one `row`;
    rank or compare only lines of one `group`.

    Args:
        runs: Folder of records, e.g. the run folder, or several of them.

    Raises:
        UserError: The folder is missing, or contains no record file.
    """
    found = read_entries(runs)
    reasons = {record.name: record.reason for row in rows_of(found.entries) for record in row.superseded}
    names = DatasetNames(entry.measurement for entry in found.entries)
    lines = [_line(entry, reasons.get(entry.name, ""), names) for entry in found.entries]
    of_record, of_measurement = _dtypes(_RecordColumns), _measurement_dtypes()
    frame = pd.DataFrame(lines, columns=[*of_record, *KEY_NAMES, *of_measurement])
    frame = frame.astype({name: dtype for name, dtype in {**of_record, **of_measurement}.items() if dtype})
    frame = frame.sort_values(["row", "protocol.part", "protocol.repeat.index", "record"], ignore_index=True)
    return RecordsFrame(frame, found.damaged)


@dataclass(frozen=True)
class _RecordColumns:
    """Columns that are not fields of the measurement, in order; the docstring of the module describes them."""

    record: str
    title: str
    family: str
    shown_dataset: str
    embedded: bool
    status: str
    superseded: str
    division: str
    incomplete: str
    signature: str
    created: str
    time: str
    top1: float
    top5: float
    mean_class: float
    undecodable: int
    shots: int | None
    params_total: int
    params_trained: int
    gflops: float | None
    eval_seconds: float
    videos_per_second: float
    features_cached: bool
    device: str


def _record_columns(entry: Entry, superseded: str, names: DatasetNames) -> _RecordColumns:
    record, m = entry.record, entry.measurement
    return _RecordColumns(
        record=entry.name,
        title=record.method.title or m.method.name,
        family=record.method.family,
        shown_dataset=names.of(m.evaluation.list),
        embedded=record.embedded,
        status=record.status,
        superseded=superseded,
        division=division(m),
        incomplete="; ".join(incomplete(m)),
        signature=record.signature,
        created=record.created,
        time=entry.time,
        top1=record.metrics.top1,
        top5=record.metrics.top5,
        mean_class=record.metrics.mean_class,
        undecodable=len(record.undecodable),
        shots=record.fit.shots if record.fit else None,
        params_total=record.method.params_total,
        params_trained=record.method.params_trained,
        gflops=record.cost.gflops,
        eval_seconds=record.cost.eval_seconds,
        videos_per_second=record.cost.videos_per_second,
        features_cached=record.cost.features_cached,
        device=record.environment.device,
    )


def _line(entry: Entry, superseded: str, names: DatasetNames) -> dict[str, object]:
    """One line of the table by column; a column without an entry is missing there."""
    m = entry.measurement
    return {
        **vars(_record_columns(entry, superseded, names)),
        **vars(keys_of(m)),
        **dict(leaves(m)),
        _TRAINING: "trained" if m.fitted else UNKNOWN if m.training == UNKNOWN else "untrained",
    }


def _measurement_dtypes() -> dict[str, str]:
    """Dtypes by path of all fields of a measurement, in the order of `FIELDS`; empty for texts and tuples."""
    return {_TRAINING: "", **{path: _dtype_of(path) for path in FIELDS}}


@cache
def _dtype_of(path: str) -> str:
    """Dtype of a field, found by walking from the measurement to the field through its dataclasses."""
    kind: type = Measurement
    for name in path.split("."):
        hints = _hints(kind)
        kind = next((k for k in hints[name] if dataclasses.is_dataclass(k)), hints[name][0])
    return _DTYPES.get(kind, "")


@cache
def _hints(kind: type) -> Mapping[str, tuple[type, ...]]:
    """Types of the fields of a dataclass by name; the members of a union separately, without None."""
    return {
        name: tuple(part for part in (get_args(hint) if _is_union(hint) else (hint,)) if part is not types.NoneType)
        for name, hint in get_type_hints(kind).items()
    }


def _is_union(hint: type) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _dtypes(kind: type) -> dict[str, str]:
    """Dtypes by field of a dataclass without further dataclasses; empty for texts."""
    return {name: _DTYPES.get(parts[0], "") for name, parts in _hints(kind).items()}
