"""Carrying out a plan: fits first, then the evals they serve, each cell on disk as soon as it is done."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.auditing import audit_cell
from harness.base.atomic import write_json
from harness.base.errors import UserError, machine_error
from harness.base.locks import cell_lock, half_written
from harness.cells import EvalCell, FitCell, MethodRow
from harness.engine.clips import Row, locate_rows
from harness.engine.compiled import runs_compiled
from harness.engine.device import Device, choose_device, for_evaluation
from harness.engine.evaluate import Scores, evaluate, partial_files
from harness.engine.features import FeatureCache
from harness.engine.fit import WEIGHTS, FitOutcome, fit, load_fit, read_trained
from harness.engine.method import ClipMethod, method_class
from harness.engine.weights import file_sha256
from harness.engine.world import ALONE, World
from harness.outcome import Outcome
from harness.plan import FIT_FILE, FIT_SCHEMA, CellState, Plan, eval_state, fit_state, read_fit, refreshed
from harness.progress import Progress
from harness.recording import measured_on, record_eval, utc_now
from harness.request import BackboneChoice
from harness.runtime import Runtime
from harness.settings import Settings
from harness.spec import VideoList, fingerprint

logger = logging.getLogger(__name__)


@dataclass
class Session:
    """What the cells of one call share.

    Args:
        world: The processes that carry out each cell together.
        scores: By measurement, so that cells which measure the same (an untrained method at K = 2, 4, 8, 16) are
            computed once.
    """

    settings: Settings
    runtime: Runtime
    device: Device
    progress: Progress
    world: World = ALONE
    scores: dict[str, Scores] = field(default_factory=dict)

    @property
    def features(self) -> FeatureCache | None:
        """Where frame features are kept, None where that is switched off."""
        return FeatureCache(self.settings.cache.path / "features") if self.runtime.feature_cache else None


def execute(
    plan: Plan,
    settings: Settings,
    runtime: Runtime,
    keep_going: bool = False,
    force: bool = False,
    world: World = ALONE,
) -> Outcome:
    """Carry out the open cells of a plan.

    A cell that fails is named; with `keep_going` the others go on, otherwise the first failure ends the run. What was
    finished before stays finished. Two runs on the same run folder never compute the same cell twice.

    Args:
        plan: What is open; with several processes that of the leading one counts.
        settings: Places.
        runtime: How to compute.
        keep_going: Go on after a failure, if all processes share it.
        force: Compute finished cells anew.
        world: The processes that carry out each cell together.

    Raises:
        UserError: A cell failed and `keep_going` is off.
    """
    if force:
        with world.together():
            if world.leads:
                discard(plan, settings)
        plan = refreshed(plan)
    open_fits, open_evals = _open_cells(plan, world)
    outcome = Outcome(reused=len(plan.fits) + len(plan.evals) - len(open_fits) - len(open_evals))
    for cell in open_evals:
        audit_cell(cell)  # before anything is computed: a leak found after a day of training helps nobody
    progress = Progress(quiet=runtime.quiet or not world.leads, cells=len(open_fits) + len(open_evals))
    device = choose_device(runtime, world.local_rank if world.size > 1 else None)
    session = Session(settings, runtime, device, progress, world)
    if world.leads:
        _tidy(plan, settings)
    failed: set[str] = set()
    with progress:
        for name, cell, run in _tasks(open_fits, open_evals):
            if isinstance(cell, EvalCell) and cell.fit is not None and cell.fit.key in failed:
                outcome.failures.append((name, "its fit failed"))
                continue
            progress.begin(name)
            try:
                with world.in_turn():
                    cell.dataset.prepare(progress.render_step)
                done = run(cell, session)
            except (UserError, OSError) as error:
                if not (keep_going and world.has_in_common(error)):
                    raise
                failed.add(cell.key)
                outcome.failures.append((name, str(error if isinstance(error, UserError) else machine_error(error))))
                continue
            except Exception as error:  # a fault of a method or of the harness: the other cells are still worth doing
                if not (keep_going and world.has_in_common(error)):
                    raise
                if world.leads:
                    logger.exception("%s failed", name)
                failed.add(cell.key)
                outcome.failures.append((name, f"{type(error).__name__}: {error}"))
                continue
            finally:
                progress.end()
            if not done:
                outcome.reused += 1
            elif isinstance(cell, FitCell):
                outcome.fits += 1
            else:
                outcome.evals += 1
    return outcome


def _open_cells(plan: Plan, world: World) -> tuple[list[FitCell], list[EvalCell]]:
    """What is to be computed, by the plan of the leading process: files may look otherwise to another by now.

    Raises:
        UserError: This process does not know a cell of that plan.
    """
    keys = world.share([[cell.key for cell in cells] for cells in (plan.open_fits(), plan.open_evals())])
    known: dict[str, Any] = {state.cell.key: state.cell for state in (*plan.fits, *plan.evals)}
    with world.together():
        if absent := [key for some in keys for key in some if key not in known]:
            raise UserError(
                f"Process {world.rank} of {world.size} lacks {len(absent)} of the cells that the first one has.",
                "All processes need the same command, the same code, and data in the same places.",
            )
    return [known[key] for key in keys[0]], [known[key] for key in keys[1]]


def _tasks(fits: Iterable[Any], evals: Iterable[Any]) -> Iterable[tuple[str, Any, Callable[..., bool]]]:
    """Each fit directly followed by its evals, so that results appear as early as possible; then the rest."""
    remaining = list(evals)
    for cell in fits:
        yield f"fit {cell.name}", cell, run_fit_cell
        for item in [e for e in remaining if e.fit is not None and e.fit.key == cell.key]:
            remaining.remove(item)
            yield f"eval {item.name}", item, run_eval_cell
    for item in remaining:
        yield f"eval {item.name}", item, run_eval_cell


def discard(plan: Plan, settings: Settings) -> None:
    """Remove what `--force` computes anew: the evals and the fits they score, not the fits that those start from.

    Each under its lock, so that nobody who is at work on a cell of the request loses its files.
    """
    evals = [state.cell for state in plan.evals if isinstance(state.cell, EvalCell)]
    for fit_key in dict.fromkeys(cell.fit.key if cell.fit else None for cell in evals):
        of_fit = [cell for cell in evals if (cell.fit.key if cell.fit else None) == fit_key]
        with contextlib.ExitStack() as held:
            if (trained := of_fit[0].fit) is not None:
                held.enter_context(_lock(settings, trained))
            for cell in of_fit:
                held.enter_context(_lock(settings, cell))
            if trained is not None:
                shutil.rmtree(trained.folder)  # with its evals
                continue
            for cell in of_fit:
                for path in (cell.record, cell.predictions, *left_over(cell)):
                    path.unlink(missing_ok=True)


def _lock(settings: Settings, cell: FitCell | EvalCell) -> contextlib.AbstractContextManager[None]:
    """The lock of a cell; its folder is made if it is not there."""
    kind, folder = ("fit", cell.folder) if isinstance(cell, FitCell) else ("eval", cell.record.parent)
    return cell_lock(settings.runs.path, folder, cell.key, f"{kind} {cell.name}")


def left_over(cell: FitCell | EvalCell) -> list[Path]:
    """What a finished cell has no use for: checkpoints, intermediate results, files that a kill left half written."""
    if isinstance(cell, FitCell):
        kept = [*cell.folder.glob("epoch_*.pth"), *cell.folder.glob("last_checkpoint")]
        return [*kept, *half_written(cell.folder)]
    partial, folder = partial_results(cell), cell.record.parent
    return [*partial_files(partial), *half_written(folder, cell.record.name, cell.predictions.name, partial.name)]


def partial_results(cell: EvalCell) -> Path:
    """The file of an eval's intermediate results; beside it those of the other processes of a run."""
    return cell.record.parent / f".{cell.key}.partial.npz"


@contextlib.contextmanager
def _claimed(session: Session, cell: FitCell | EvalCell, state: Callable[[], CellState]) -> Iterator[bool]:
    """Hold the lock of a cell for all processes; yields whether the cell still is to be computed."""
    world, done = session.world, False
    with contextlib.ExitStack() as held:
        with world.together():
            if world.leads:
                held.enter_context(_lock(session.settings, cell))
                done = state().state == "done"
        yield not world.share(done)


def _tidy(plan: Plan, settings: Settings) -> None:
    """Remove what finished cells left because they were killed in their very last step."""
    for state in (*plan.fits, *plan.evals):
        if state.state == "done" and left_over(state.cell):
            # A folder that cannot be changed keeps them.
            with contextlib.suppress(OSError, UserError), _lock(settings, state.cell):
                for path in left_over(state.cell):
                    path.unlink(missing_ok=True)


def build_row(row: MethodRow, settings: Settings) -> ClipMethod:
    """A fresh method on a freshly loaded backbone or on the model it brings, with its checkpoint where one is given."""
    from harness.engine.backbone import load_backbone
    from harness.engine.published_weights import load_published

    cls = method_class(row.name)
    if not isinstance(row.backbone, BackboneChoice):
        return cls(row.backbone.load(), row.options)
    method = cls(load_backbone(row.backbone.arch, row.backbone.weights, settings.weights.path), row.options)
    if row.choice.checkpoint:
        load_published(method, Path(row.choice.checkpoint))
    return method


def build_fit_start(cell: FitCell, settings: Settings) -> ClipMethod:
    """The method of a fit before its first update: on its backbone, or on the weights of its parent fit."""
    method = build_row(cell.row, settings)
    if cell.parent is not None:
        method.adopt(read_trained(cell.parent.folder / WEIGHTS))
    return method


def run_fit_cell(cell: FitCell, session: Session) -> bool:
    """Fit a cell and write its `fit.json`; False if another run did so meanwhile."""
    world = session.world
    with _claimed(session, cell, lambda: fit_state(cell)) as wanted:
        if not wanted:
            return False
        with world.together():
            for path in half_written(cell.folder) if world.leads else ():
                path.unlink(missing_ok=True)
            rows = present_rows(cell.train, cell.dataset.locate, cell.name, session.runtime)
            method = build_fit_start(cell, session.settings)
        outcome = fit(
            method,
            rows,
            cell.labels,
            cell.recipe,
            cell.views,
            cell.folder,
            session.device,
            session.runtime,
            session.progress.fit_step,
            session.features,
            world,
        )
        with world.together():
            if world.leads:
                _write_fit(cell, method, outcome, len(rows), session)
    return True


def _write_fit(cell: FitCell, method: ClipMethod, outcome: FitOutcome, used: int, session: Session) -> None:
    """Write `fit.json`, which says that the fit is done, then remove what it has no use for."""
    total, trained = method.parameter_counts()
    write_json(
        cell.folder / FIT_FILE,
        {
            "schema": FIT_SCHEMA,
            "key": cell.key,
            "name": cell.name,
            "identity": cell.identity,
            "recipe": cell.recipe.as_dict(),
            "train": {**cell.identity["train"], "n_used": used},
            "weights": {"file": WEIGHTS, "sha256": file_sha256(cell.folder / WEIGHTS)},
            "outcome": dict(vars(outcome)),
            "parameters": {"total": total, "trained": trained},
            "environment": measured_on(session.device, session.world.size, runs_compiled(method)),
            "created": utc_now(),
        },
    )
    for path in left_over(cell):
        path.unlink(missing_ok=True)


def present_rows(video_list: VideoList, locate: Callable[[str], Path | None], name: str, runtime: Runtime) -> list[Row]:
    """The rows of a list with their files; refuses a list with missing videos unless that is allowed.

    Raises:
        UserError: Videos are missing and `allow_missing` is off, or none is there at all.
    """
    rows = locate_rows(video_list, locate)
    missing = [path for (path, _), (found, _) in zip(video_list.rows, rows, strict=True) if found is None]
    if len(missing) == len(rows):
        raise UserError(
            f"{name}: none of the {len(rows)} videos of the list {video_list.name!r} was found (first: {missing[0]}).",
            "Give the videos' folder with --data NAME=DIR, or in harness.toml under [data].",
        )
    if missing and not runtime.allow_missing:
        raise UserError(
            f"{name}: {len(missing)} of {len(rows)} videos of the list {video_list.name!r} were not found "
            f"(first: {', '.join(missing[:3])}).",
            "Complete the dataset, or pass --allow-missing: the row is then marked incomplete and not ranked.",
        )
    return [row for row in rows if row[0] is not None]


def run_eval_cell(cell: EvalCell, session: Session) -> bool:
    """Score a cell's list and write predictions and record; False if another run did so meanwhile."""
    world = session.world
    with _claimed(session, cell, lambda: eval_state(cell)) as wanted:
        if not wanted:
            return False
        with world.together():
            audited = audit_cell(cell)
            located = locate_rows(cell.test, cell.dataset.locate)
            rows = present_rows(cell.test, cell.dataset.locate, cell.name, session.runtime)
            kept = [i for i, (path, _) in enumerate(located) if path is not None]
            fitted = None
            if cell.fit is None:
                method = build_row(cell.row, session.settings)
            else:
                method = build_fit_start(cell.fit, session.settings)
                fitted = read_fit(cell.fit.folder)
                load_fit(method, cell.fit.folder, fitted["weights"]["sha256"] if fitted else None)
        device = for_evaluation(session.device, session.runtime, method.backbone)
        seed = int(fingerprint([cell.test.sha256, "views"], 8), 16)
        if cell.measurement not in session.scores:
            session.scores[cell.measurement] = evaluate(
                method,
                rows,
                cell.labels,
                cell.views,
                device,
                session.runtime,
                partial_results(cell),
                seed,
                session.progress.eval_step,
                session.features,
                world,
            )
        with world.together():
            if world.leads:
                scores = session.scores[cell.measurement]
                record_eval(cell, method, scores, kept, fitted, audited, device, world.size)
                for path in left_over(cell):
                    path.unlink(missing_ok=True)
    return True
