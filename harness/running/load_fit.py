"""Load finished fits: find their folders, and build their methods with the recorded options and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.canonical import FILE_HASH, is_file_hash
from harness.base.errors import EXIT_FAILED, UserError
from harness.base.files import file_sha256
from harness.cells.backbone import MINI_ARCH, BackboneChoice
from harness.cells.cell import MethodRow
from harness.cells.request import MethodChoice
from harness.cells.resolve_method import code_of
from harness.engine.method import ClipMethod
from harness.engine.training.trained_weights import load_fit as load_trained
from harness.engine.training.trained_weights import read_trained
from harness.machine.settings import Settings
from harness.plugins import registry
from harness.running.build import build_row, loaded_model, require_recorded
from harness.running.inputs import BASE_INPUT, WEIGHTS_INPUT, read_inputs
from harness.spec import LabelSet, Views
from harness.spec.options import build_options
from harness.weights.describe import is_path
from harness.weights.hub import is_hub
from results.fit_file import FIT_FILE, FitFile, read_fit_file
from results.measurement import MethodId, ModelId, Value


@dataclass(frozen=True)
class FittedMethod:
    """A finished fit, loaded.

    Args:
        folder: Folder of the fit.
        content: Content of its `fit.json`.
        row: Method, options and backbone of the fit.
        method: The method with the trained tensors.
    """

    folder: Path
    content: FitFile
    row: MethodRow
    method: ClipMethod

    @property
    def views(self) -> Views:
        """Views of the fit: frames, statistics and reader, which its evals use too."""
        return self.content.described.training.views

    @property
    def labels(self) -> LabelSet:
        """Classes of the training list."""
        return LabelSet(self.content.classes)

    @property
    def title(self) -> str:
        """Title of the method."""
        return self.row.card.title


def load_fit(
    folder: Path,
    settings: Settings,
    backbone: BackboneChoice | None = None,
    files: Mapping[str, str] | None = None,
) -> FittedMethod:
    """Load a finished fit.

    Args:
        folder: Folder of the fit.
        settings: Folders of this machine.
        backbone: The backbone, if its weights came from a file that was moved since.
        files: Files that options name, by option, if they were moved since.

    Raises:
        UserError: The folder holds no finished fit, or a backbone, a file or trained weights differ from the recorded
            ones.
    """
    content = read_finished(folder)
    row = fit_row(folder, content, backbone, files)
    return FittedMethod(folder, content, row, load_row(folder, row, settings))


def read_finished(folder: Path) -> FitFile:
    """The content of a `fit.json`.

    Raises:
        UserError: The folder holds no finished fit.
    """
    content = read_fit_file(folder)
    if content is None:
        raise UserError(f"{folder} holds no finished fit ({FIT_FILE}).", "Give the folder of a fit below runs/.")
    return content


def fit_row(
    folder: Path,
    content: FitFile,
    backbone: BackboneChoice | None = None,
    files: Mapping[str, str] | None = None,
) -> MethodRow:
    """The method row of a finished fit, with the files noted in its folder if they still exist."""
    noted = {name: path for name, path in read_inputs(folder).items() if name == BASE_INPUT or Path(path).exists()}
    model, noted = content.described.model, {**noted, **(files or {})}
    if is_file_hash(model.weights) and model.arch != MINI_ARCH and not model.config:
        weights = backbone.weights if backbone is not None else noted.get(WEIGHTS_INPUT)
        named_otherwise = backbone is not None and backbone.arch not in (None, model.arch)
        if weights is not None and is_path(weights) and not named_otherwise:
            # The other settings of the model follow from its record.
            backbone = BackboneChoice.for_model(model, weights, noted.get(BASE_INPUT))
    return method_row_of(content.described.method, model, str(folder), backbone, noted)


def method_row_of(
    method: MethodId, model: ModelId, where: str, backbone: BackboneChoice | None = None,
    files: Mapping[str, str] | None = None,
) -> MethodRow:  # fmt: skip
    """The method row that a measurement describes: name, options and backbone.

    Args:
        method: Method of the measurement.
        model: Model of the measurement.
        where: Name of the fit or record, for messages.
        backbone: The backbone, where its weights are those of a file: a measurement holds hashes and no paths.
        files: Files that options name, by option.

    Raises:
        UserError: A backbone or a file differs from the recorded one, or is needed and was not given.
    """
    spec = registry.method_spec(method.name)
    # Options of the evaluation alone are recorded apart, because they do not enter the key of the fit.
    values = {**method.options, **method.evaluation_options}
    values |= _file_options(values, files or {}, where)
    options, defaults = (build_options(spec.options_type, given, method.name) for given in (values, {}))
    own_model = spec.own_model(options)
    if own_model is None and backbone is None and model.arch != MINI_ARCH and is_file_hash(model.weights):
        raise UserError(
            f"{where} starts from the weights of a file with sha256 {model.weights.removeprefix(FILE_HASH)}.",
            "Give that file: --weights FILE.",
        )
    chosen = own_model or backbone or _recorded_backbone(model)
    # `unread`: without the facts that are known only after the weights were read, which `load_row` compares.
    chosen_model = chosen.model_id()
    if chosen_model != model.unread:
        raise UserError(
            f"{where} is on the backbone {model.arch} with the weights {model.weights}, found {chosen_model.arch} "
            f"with {chosen_model.weights}.",
            "Give the --arch and --weights of the fit.",
        )
    return MethodRow(MethodChoice(method.name, values), chosen, spec, options, defaults, code_of(spec))


def _recorded_backbone(model: ModelId) -> BackboneChoice:
    """The backbone of a recorded model whose weights are named: a tag, a repository of the hub or the tiny CLIP."""
    if is_hub(model.weights):
        return BackboneChoice.for_model(model, model.weights)
    return BackboneChoice(model.arch, None if model.arch == MINI_ARCH else model.weights)


def _file_options(values: Mapping[str, Value], files: Mapping[str, str], where: str) -> dict[str, str]:
    """The paths of the files that recorded options name by their hash.

    Raises:
        UserError: No path is known for a file, or the file at the path has another hash.
    """
    paths = {}
    for name, value in values.items():
        if not is_file_hash(str(value)):
            continue
        path = files.get(name)
        if path is None or not Path(path).is_file():
            raise UserError(
                f"{where}: the option {name} names the file {value}, whose path is not known.",
                f"Give it with --file {name}=FILE.",
            )
        digest = file_sha256(Path(path))
        if f"{FILE_HASH}{digest}" != value:
            raise UserError(
                f"{where}: the option {name} names the file {value}, {path} has sha256 {digest}.",
                f"Give the file of the fit with --file {name}=FILE.",
            )
        paths[name] = path
    return paths


def load_row(folder: Path, row: MethodRow, settings: Settings) -> ClipMethod:
    """Build a method row with the trained tensors of a finished fit, on the weights of its parent fit if it has one.

    Raises:
        UserError: The model has other tensors than the fit started from, the parent fit is not below the same run
            folder or has other weights, or trained weights are missing or of another method.
    """
    fitted = read_finished(folder)
    method = build_row(row, settings)
    start = fitted.described.training.start
    if start.kind == "fit":
        parent_folder = _folder_of(start.key, folder)
        parent = read_finished(parent_folder)
        method.adopt(read_trained(parent_folder / parent.weights.file, parent.weights.sha256))
        start = replace(start, weights_sha256=parent.weights.sha256)
    require_recorded(fitted, loaded_model(row, method), start, fitted.name)
    load_trained(method, folder, fitted.weights.sha256)
    return method


def _folder_of(key: str, child: Path) -> Path:
    """The folder of the fit with a key, in the run folder of its child fit."""
    runs = child.resolve().parents[2]  # RUNS/BACKBONE/METHOD/FIT
    for path in sorted(runs.glob(f"*/*/*/{FIT_FILE}")):
        fit = _readable(path.parent)
        if fit is not None and fit.key == key:
            return path.parent
    message = f"The fit {key}, from which {child} starts, is not below {runs}."
    raise UserError(message, "Copy the folder of that fit into this run folder.", EXIT_FAILED)


def _readable(folder: Path) -> FitFile | None:
    """The content of a `fit.json`; None if it is damaged or has another schema."""
    try:
        return read_fit_file(folder)
    except UserError:
        return None


def find_fits(runs: Path, methods: Sequence[str], names: Sequence[str]) -> list[Path]:
    """The folders of finished fits, chosen by method and name.

    Args:
        runs: The run folder.
        methods: Keep only fits of these methods; fits of all methods if empty.
        names: Folders, or beginnings of names or keys of fits below `runs`; if empty, the only fit of each method.

    Raises:
        UserError: Neither methods nor names are given, a name matches no fit or several, or a folder holds a fit of
            another method.
    """
    if not names and not methods:
        raise UserError("No fit was named.", "Give --fit DIR, or --method M where it has one fit.")
    fits = {path.parent: fit for path in sorted(runs.glob(f"*/*/*/{FIT_FILE}")) if (fit := _readable(path.parent))}
    kept = {folder: fit for folder, fit in fits.items() if not methods or _method(fit) in methods}
    if not names:
        return [_only(f"method {name}", [f for f, fit in kept.items() if _method(fit) == name]) for name in methods]
    return [_named(Path(name), kept, methods) for name in names]


def _named(name: Path, fits: Mapping[Path, FitFile], methods: Sequence[str]) -> Path:
    if name.is_dir():
        fit = read_fit_file(name)
        if methods and fit is not None and _method(fit) not in methods:
            raise UserError(f"{name} holds a fit of {_method(fit)}, expected a fit of {' or '.join(methods)}.")
        return name
    matching = [f for f, fit in fits.items() if f.name.startswith(str(name)) or fit.key.startswith(str(name))]
    return _only(f"--fit {name}", matching)


def _only(choice: str, folders: list[Path]) -> Path:
    if len(folders) != 1:
        listed = ", ".join(str(path) for path in folders[:4]) or "none"
        message = f"{choice}: expected one finished fit, found {len(folders)}: {listed}."
        raise UserError(message, "Give its folder with --fit.")
    return folders[0]


def _method(fit: FitFile) -> str:
    return fit.described.method.name
