"""The command that repeats the measurement of a row, made from its records."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from harness.spec import Views
from harness.spec.lists import sample_text
from harness.spec.updates import BATCH, fitted_batch
from reports.row import Row
from results.measurement import ListId, Measurement, ModelId, Training, Value
from results.measurement_names import changes_of
from results.measurement_words import EMBEDDED_ARCH, recipe_changes

DEFAULT_BACKBONE = ("ViT-B-16", "openai")
"""Architecture and weights that `run` uses for datasets that are not embedded."""
INFERRED = "inferred"
_FILE = "sha256:"
_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class RunCommand:
    """A command line, and notes on how to use it.

    Args:
        text: `python -m harness run ...`, quoted for a shell. A record holds no paths: the command has the
            placeholder `PATH-TO-...` for each file and folder.
        notes: One note for each placeholder, and for each setting that the command line cannot state.
    """

    text: str
    notes: tuple[str, ...] = ()


def run_command(row: Row) -> RunCommand:
    """The command that repeats the measurement of a row.

    A record holds the name of a plugin file without its folder: the command must run in the folder of the file.
    """
    made = _Command(row)
    words = ["python", "-m", "harness", "run", *made.words()]
    return RunCommand(shlex.join(words), tuple(dict.fromkeys(made.notes)))


class _Command:
    """Builds the words of the command of one row, and collects its notes."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.measurements = [entry.measurement for entry in row.entries]
        self.fits = [m.fitted for m in self.measurements if m.fitted is not None]
        self.notes: list[str] = []

    def words(self) -> Iterator[str]:
        """The words of the command after `run`."""
        m, origin = self.row.measurement, self.row.record.method.origin
        if origin.startswith("file "):
            yield from ("--plugin", origin.removeprefix("file "))
        yield from ("--method", m.method.name, "--protocol", m.protocol.name)
        yield from ("--dataset", self._dataset(m.table_list))
        yield from self._options(m)
        yield from self._model(m.model, m.method.checkpoint)
        if m.method.checkpoint:
            yield from ("--checkpoint", self._file("checkpoint", m.method.checkpoint))
        yield from self._lists(m)
        yield from self._views()
        yield from self._recipe()
        # The protocol's own repeats follow from its name; only repeats of kind `seed` come from a flag.
        seeds = [part.repeat.index for part in m.protocol.scope.expected if part.repeat.kind == "seed"]
        if seeds:
            yield from ("--seeds", str(max(seeds)))
        if self.fits:
            # The precision of a fit decides the row; the precision of an eval enters no key.
            precision = self.fits[0].precision
            known = _PRECISIONS.get(precision, precision)
            yield from ("--precision", known) if known in _PRECISIONS.values() else ()
        if m.evaluation.sample:
            limit = m.evaluation.sample.partition(" ")[0]
            if limit.isdecimal() and m.evaluation.sample == sample_text(int(limit)):
                yield from ("--limit", limit)
            else:
                text = f"The row was measured on a sample ({m.evaluation.sample}); the command uses all videos."
                self.notes.append(text)

    def _file(self, name: str, sha256: str) -> str:
        """The placeholder of a file; the note states its recorded hash."""
        placeholder = f"PATH-TO-{name.upper()}"
        self.notes.append(f"{placeholder}: the file with sha256 {sha256.removeprefix(_FILE)}.")
        return placeholder

    def _dataset(self, listed: ListId) -> str:
        if not listed.root:
            return listed.dataset
        placeholder = f"PATH-TO-{listed.dataset}"
        self.notes.append(
            f"{placeholder}: the folder or table of the custom dataset {listed.dataset} "
            f"(the hash of its path was {listed.root})."
        )
        return placeholder

    def _options(self, m: Measurement) -> Iterator[str]:
        """The options, except those that are known to have their default value."""
        defaults = self.row.record.method.defaults
        changed = {change.path for change in changes_of(m, defaults)}
        for kind, options in (("options", m.method.options), ("evaluation_options", m.method.evaluation_options)):
            for name, value in options.items():
                # Defaults may change between versions of a method: an option without a recorded default is stated.
                if name in defaults and f"method.{kind}.{name}" not in changed:
                    continue
                text = str(value)
                if _is_file(text):
                    text = self._file(f"option-{name}", text)
                elif not isinstance(value, tuple):
                    text = _text(value)
                yield from ("--set", f"{name}={text}")

    def _model(self, model: ModelId, checkpoint: str) -> Iterator[str]:
        """The backbone, unless it is the default of the dataset or the method brings its own model.

        Args:
            model: The model.
            checkpoint: sha256 of the checkpoint; empty without one.
        """
        is_default = (
            model.arch == EMBEDDED_ARCH if self.row.embedded else (model.arch, model.weights) == DEFAULT_BACKBONE
        )
        if is_default or model.config:
            return
        if not model.arch.startswith(INFERRED):
            yield from ("--arch", model.arch)
        if model.arch == EMBEDDED_ARCH or model.weights == f"{_FILE}{checkpoint}":
            return  # the CLIP in the checkpoint itself
        weights = self._file("weights", model.weights) if _is_file(model.weights) else model.weights
        yield from ("--weights", weights)
        # Files need not state their activation; the name of an architecture can.
        named = model.arch.endswith("-quickgelu") and not model.arch.startswith(INFERRED)
        if weights != model.weights and model.activation and not named:
            yield from ("--activation", model.activation.replace("_", ""))

    def _lists(self, m: Measurement) -> Iterator[str]:
        """The class names, the origin of the lists, and the source dataset if the user chose it."""
        listed = [measured.evaluation.list for measured in self.measurements] + [fit.list for fit in self.fits]
        variants = {list_id.label_variant for list_id in listed} - {"published", "unknown"}
        for variant in sorted(variants)[:1]:
            yield from ("--label-set", variant)
        origin = m.protocol.scope.training_origin
        # An untrained method has no training list, and its protocol may still prescribe training lists of origin `own`.
        unseen = origin == "own" and not any(list_id.origin == "own" for list_id in listed)
        if unseen or any(list_id.origin == "own" and not list_id.root for list_id in listed):
            yield from ("--lists", "own")
        source = self.fits[0].list if self.fits else None
        if origin == "source":
            if source is None:
                self.notes.append(
                    "NAME-OF-THE-SOURCE: the source dataset, which records of untrained methods do not name."
                )
            yield from ("--source", self._dataset(source) if source else "NAME-OF-THE-SOURCE")

    def _views(self) -> Iterator[str]:
        """View settings that differ from the prescribed ones: first of fits and evals, then of evals alone."""
        both: dict[str, Value] = {}
        evals: dict[str, Value] = {}
        # Most records of a row have equal views.
        views = dict.fromkeys(
            (m.evaluation.views, m.protocol.prescribed.views, m.fitted and m.fitted.views) for m in self.measurements
        )
        if len({prescribed for _, prescribed, _ in views}) > 1 and all(used == wanted for used, wanted, _ in views):
            return  # the protocol prescribes views by part, and no flag can state them
        for evaluated, prescribed, fit in views:
            # A fit uses single views. If fit and eval agree apart from that, `--views` set them both; any further
            # difference comes from `--eval-views`.
            single = evaluated.single
            for f in dataclasses.fields(Views):
                used = in_fit = getattr(evaluated, f.name)
                if fit is not None and getattr(fit, f.name) != getattr(single, f.name):
                    in_fit = getattr(fit, f.name)
                if in_fit != getattr(prescribed, f.name):
                    both.setdefault(f.name, in_fit)
                if used != in_fit:
                    evals.setdefault(f.name, used)
        for flag, values in (("--views", both), ("--eval-views", evals)):
            for name, value in values.items():
                yield from (flag, f"{name}={_text(value)}")
        for transform in dict.fromkeys(m.evaluation.transform for m in self.measurements if m.evaluation.transform):
            self.notes.append(
                f"The view transform {transform} was applied to the evaluation videos; the command cannot state it."
            )

    def _recipe(self) -> Iterator[str]:
        """Recipe settings that differ from the recipe that the method declares."""
        changes: dict[str, Value] = {}
        for m in self.measurements:
            reduced = _reduced_names(m.fitted)
            for name, value in recipe_changes(m.fitted).items():
                if name in reduced:
                    continue
                # `--seeds` sets the seed of each repeat.
                if name == "seed" and m.protocol.repeat.kind == "seed":
                    continue
                if changes.setdefault(name, value) != value:
                    self.notes.append(
                        f"The fits of the row differ in {name}: {_text(changes[name])} and {_text(value)}."
                    )
        for name in sorted(changes):
            yield from ("--recipe", f"{name}={_text(changes[name])}")


def _reduced_names(fit: Training | None) -> frozenset[str]:
    """The factors of the batch if the rule of `fitted_batch` gave them: it gives them again, for each list its own.

    A row of `few_shot` has fits with different batches, which no `--recipe` can state.
    """
    if fit is None or not fit.list.root:
        return frozenset()
    factors = {name: getattr(fit.declared, name) for name in BATCH}
    declared = dataclasses.replace(
        fit.recipe, micro_batch=fit.declared.micro_batch, ranks=fit.declared.ranks, accumulate=fit.declared.accumulate
    )
    is_reduced = fitted_batch(fit.list.n, declared) == fit.recipe
    return frozenset(name for name, value in factors.items() if is_reduced and getattr(fit.recipe, name) != value)


def _is_file(text: str) -> bool:
    """Whether a recorded value is the hash of a file."""
    digits = text.removeprefix(_FILE)
    return text.startswith(_FILE) and len(digits) == 64 and set(digits) <= set("0123456789abcdef")


def _text(value: Value) -> str:
    """A value as text for the command line, with all digits."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(_text(item) for item in value)
    return repr(value) if isinstance(value, float) else str(value)
