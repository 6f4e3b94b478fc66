"""Finished fits as methods again: built from their `fit.json`, on the weights, views and options of the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.errors import EXIT_FAILED, UserError
from harness.base.files import file_sha256
from harness.cells.cell import MethodRow
from harness.cells.from_request import code_of
from harness.cells.request import MINI_ARCH, BackboneChoice, MethodChoice
from harness.engine.method import ClipMethod
from harness.engine.training.trained_weights import load_fit, read_trained
from harness.machine.settings import Settings
from harness.plugins import registry
from harness.running.build import build_row, loaded_model, require_recorded
from harness.running.inputs import WEIGHTS_INPUT, read_inputs
from harness.spec import Views
from harness.spec.options import build_options
from results.fit_file import FIT_FILE, FitFile, read_fit_file
from results.measurement import MethodId, ModelId

FILE_HASH = "sha256:"


@dataclass(frozen=True)
class FinishedFit:
    """A finished fit.

    Args:
        folder: Folder of the fit.
        content: Content of its `fit.json`.
        row: Method, options and backbone as fitted.
    """

    folder: Path
    content: FitFile
    row: MethodRow

    @property
    def views(self) -> Views:
        """Views of the fit: frames, statistics and reader that its evaluation takes too."""
        return self.content.described.training.views


def open_fit(
    folder: Path, backbone: BackboneChoice | None = None, files: Mapping[str, str] | None = None
) -> FinishedFit:
    """A finished fit by its folder.

    Args:
        folder: Folder of the fit.
        backbone: The model, where its weights came from a file that is no longer where it was.
        files: Places of the files that options name, by option, where they are no longer where they were.

    Raises:
        UserError: No finished fit, or files or a backbone other than the fit's.
    """
    content = read_fit_file(folder)
    if content is None:
        raise UserError(f"{folder} holds no finished fit ({FIT_FILE}).", "Give the folder of a fit below runs/.")
    noted = {name: place for name, place in read_inputs(folder).items() if Path(place).is_file()}
    model = content.described.model
    if backbone is None and WEIGHTS_INPUT in noted and is_file_hash(model.weights):
        backbone = BackboneChoice(None if model.arch == "inferred" else model.arch, noted[WEIGHTS_INPUT])
    row = method_row_of(content.described.method, model, str(folder), backbone, {**noted, **(files or {})})
    return FinishedFit(folder, content, row)


def method_row_of(
    method: MethodId, model: ModelId, where: str, backbone: BackboneChoice | None = None,
    files: Mapping[str, str] | None = None,
) -> MethodRow:  # fmt: skip
    """The method row that a measurement describes: name, options and backbone.

    Args:
        method: Of the measurement.
        model: Of the measurement.
        where: Name of the fit or record, for messages.
        backbone: The model, where its weights are those of a file: a measurement holds no places.
        files: Places of the files that options name, by option.

    Raises:
        UserError: A backbone or a file other than the one described, or none where one is needed.
    """
    spec = registry.method_spec(method.name)
    values = {**method.options, **method.evaluation_options}
    values |= _file_options(values, files or {}, where)
    options, usual = (build_options(spec.options_type, some, method.name) for some in (values, {}))
    own = spec.own_model(options)
    if own is None and backbone is None and model.arch != MINI_ARCH and is_file_hash(model.weights):
        known_as = "" if model.arch == "inferred" else f" --arch {model.arch}"
        raise UserError(
            f"{where} starts from the weights of a file with sha256 {model.weights.removeprefix(FILE_HASH)}.",
            f"Give that file:{known_as} --weights FILE.",
        )
    chosen = own or backbone or BackboneChoice(model.arch, None if model.arch == MINI_ARCH else model.weights)
    found = chosen.model_id()
    if found != model.unread:
        raise UserError(
            f"{where} is on the backbone {model.arch} with the weights {model.weights}, found {found.arch} with "
            f"{found.weights}.",
            "Give the --arch and --weights of the fit.",
        )
    return MethodRow(MethodChoice(method.name, values), chosen, spec, options, usual, code_of(spec))


def _file_options(values: Mapping[str, object], files: Mapping[str, str], where: str) -> dict[str, str]:
    """The places of the files that options name by their hash.

    Raises:
        UserError: No place is known for a file, or another file lies there.
    """
    found = {}
    for name, value in values.items():
        if not is_file_hash(str(value)):
            continue
        place = files.get(name)
        if place is None or not Path(place).is_file():
            raise UserError(
                f"{where} was given a file for the option {name} ({value}), and its place is not known.",
                f"Give it with --file {name}=FILE.",
            )
        digest = file_sha256(Path(place))
        if f"{FILE_HASH}{digest}" != value:
            raise UserError(
                f"{where}: the option {name} names the file {value}, {place} has sha256 {digest}.",
                f"Give the file of the fit with --file {name}=FILE.",
            )
        found[name] = place
    return found


def is_file_hash(text: str) -> bool:
    """Whether a recorded value is the hash of a file."""
    digits = text.removeprefix(FILE_HASH)
    return text.startswith(FILE_HASH) and len(digits) == 64 and set(digits) <= set("0123456789abcdef")


def restore(folder: Path, row: MethodRow, settings: Settings) -> ClipMethod:
    """The method of a finished fit with its trained tensors, on its parent fit's weights where it has one.

    Raises:
        UserError: The model has other tensors than the fit started from, the parent fit is not below the same run
            folder or has other weights, or weights are missing or of another method.
    """
    fitted = read_fit_file(folder)
    if fitted is None:
        raise UserError(f"{folder} holds no finished fit ({FIT_FILE}).", "Give the folder of a fit below runs/.")
    method = build_row(row, settings)
    start = fitted.described.training.start
    if start.kind == "fit":
        parent_folder = _folder_of(start.key, folder)
        parent = read_fit_file(parent_folder)
        assert parent is not None  # `_folder_of` read it
        method.adopt(read_trained(parent_folder / parent.weights.file, parent.weights.sha256))
        start = replace(start, weights_sha256=parent.weights.sha256)
    require_recorded(fitted, loaded_model(row, method), start, fitted.name)
    load_fit(method, folder, fitted.weights.sha256)
    return method


def _folder_of(key: str, beside: Path) -> Path:
    """The folder of the fit with a key, in the same run folder as another fit."""
    runs = beside.resolve().parents[2]
    for path in sorted(runs.glob(f"*/*/*/{FIT_FILE}")):
        found = _readable(path.parent)
        if found is not None and found.key == key:
            return path.parent
    raise UserError(f"The fit {key}, from which {beside} starts, is not below {runs}.", exit_code=EXIT_FAILED)


def _readable(folder: Path) -> FitFile | None:
    """The content of a `fit.json`; None for one that is damaged or of another schema."""
    try:
        return read_fit_file(folder)
    except UserError:
        return None


def find_fits(runs: Path, methods: Sequence[str], names: Sequence[str]) -> list[Path]:
    """The folders of finished fits that were named.

    Args:
        runs: The run folder.
        methods: Keep only fits of these methods; of any if empty.
        names: Folders, or beginnings of names or keys of fits below `runs`; if empty, the methods' only fits.

    Raises:
        UserError: Nothing was named, a name fits none or several, or a folder holds a fit of another method.
    """
    if not names and not methods:
        raise UserError("No fit was named.", "Give --fit DIR, or --method M where it has one fit.")
    there = {path.parent: fit for path in sorted(runs.glob(f"*/*/*/{FIT_FILE}")) if (fit := _readable(path.parent))}
    mine = {folder: fit for folder, fit in there.items() if not methods or _method(fit) in methods}
    if not names:
        return [_only(f"method {one}", [f for f, fit in mine.items() if _method(fit) == one]) for one in methods]
    return [_named(Path(name), mine, methods) for name in names]


def _named(name: Path, there: Mapping[Path, FitFile], methods: Sequence[str]) -> Path:
    if name.is_dir():
        fit = read_fit_file(name)
        if methods and fit is not None and _method(fit) not in methods:
            raise UserError(f"{name} holds a fit of {_method(fit)}, asked for is {' or '.join(methods)}.")
        return name
    starts = [f for f, fit in there.items() if f.name.startswith(str(name)) or fit.key.startswith(str(name))]
    return _only(f"--fit {name}", starts)


def _only(what: str, found: list[Path]) -> Path:
    if len(found) != 1:
        some = ", ".join(str(path) for path in found[:4]) or "none"
        message = f"{what}: expected one finished fit, found {len(found)}: {some}."
        raise UserError(message, "Give its folder with --fit.")
    return found[0]


def _method(fit: FitFile) -> str:
    return fit.described.method.name
