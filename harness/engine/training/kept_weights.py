"""Trained weights of single epochs on disk, and the evaluated weights that a recipe makes of them.

A fit writes the trained tensors of an epoch before its checkpoint, so that a fit that is killed and resumed finds the
files of all epochs before the checkpoint and writes the later ones again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from harness.base.atomic import write_bytes
from harness.base.epochs import ALL, MOST_EPOCHS, parse_epochs
from harness.base.errors import EXIT_FAILED, UserError
from harness.engine.method import ClipMethod
from harness.engine.training.trained_weights import WEIGHTS, read_trained
from harness.spec import Recipe
from results.fit_file import KEPT


def kept_file(folder: Path, epoch: int) -> Path:
    """The file of the trained tensors of an epoch, counted from 1."""
    return folder / KEPT / f"epoch_{epoch}.safetensors"


def saves_last(method: ClipMethod, recipe: Recipe) -> bool:
    """Whether the weights file of a fit holds the trained tensors of the last epoch as the optimiser left them."""
    return recipe == recipe.trajectory and type(method).after_fit is ClipMethod.after_fit


def held_epochs(method: ClipMethod, recipe: Recipe, keep: str) -> tuple[int, ...]:
    """The epochs whose files stay in the folder of a finished fit.

    Args:
        method: The method.
        recipe: The recipe of the fit.
        keep: Epochs that the user keeps, see `ComputeOptions.keep_epochs`; later ones than the fit has are ignored.
    """
    requested = set(range(1, recipe.epochs + 1))
    if keep != ALL:
        requested &= set(parse_epochs(keep, MOST_EPOCHS, "keep_epochs"))
    # From the last epoch, other shares of the initial weights can be evaluated without training.
    own = () if saves_last(method, recipe) else (recipe.epochs,)
    return tuple(sorted(requested | set(own)))


class KeptEpochs:
    """Writes the epochs of a fit that are needed after it.

    Args:
        folder: Folder of the fit.
        epochs: The epochs, counted from 1.
    """

    def __init__(self, folder: Path, epochs: Iterable[int]) -> None:
        self.folder, self.epochs = folder, frozenset(epochs)

    def begin(self, done: int) -> None:
        """Remove the files of epochs that this session computes again: `done` epochs are in the checkpoint."""
        for path in (self.folder / KEPT).glob("epoch_*.safetensors"):
            number = path.stem.partition("_")[2]
            if not number.isdecimal() or not 0 < int(number) <= done or int(number) not in self.epochs:
                path.unlink()

    def add(self, epoch: int, state: Mapping[str, Tensor]) -> None:
        """Write the trained tensors of an epoch if it is needed."""
        if epoch in self.epochs:
            write_state(kept_file(self.folder, epoch), state)


def write_state(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write tensors atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # safetensors refuses tensors that are not contiguous, such as a transposed projection.
    write_bytes(path, save({name: value.detach().cpu().contiguous() for name, value in state.items()}))


def initial_weights(method: ClipMethod, recipe: Recipe) -> dict[str, Tensor]:
    """The tensors before a fit that its recipe mixes into the trained ones, on the CPU; empty without interpolation."""
    if not recipe.initial_share:
        return {}
    return {
        name: value.detach().cpu().clone()
        for name, value in method.trained_state().items()
        if method.shares_initial(name) and value.is_floating_point()
    }


@torch.no_grad()
def finish_weights(
    method: ClipMethod, recipe: Recipe, folder: Path, files: Mapping[int, Path], initial: Mapping[str, Tensor]
) -> None:
    """Make the evaluated weights of a recipe and write them into the folder of a fit.

    Epochs are averaged first; then the method's `after_fit` is called; then the initial weights are mixed in.

    Args:
        method: The method, with the weights of the last epoch unless `files` has them.
        recipe: The recipe.
        folder: Folder of the fit.
        files: Files of the trained tensors of epochs; of the epochs of `recipe.ingredients` only the last may lack.
        initial: The result of `initial_weights` before the fit.

    Raises:
        UserError: The file of an epoch is missing or damaged.
    """
    if recipe.ingredients != (recipe.epochs,) or recipe.epochs in files:
        method.load_state_dict(mean_state(_files_of(recipe, folder, files)), strict=False)
    method.after_fit()
    state = method.trained_state()
    for name, before in initial.items():
        share = recipe.initial_share
        state[name].copy_((1 - share) * state[name] + share * before.to(state[name].device))
    write_state(folder / WEIGHTS, state)


def _files_of(recipe: Recipe, folder: Path, files: Mapping[int, Path]) -> list[Path]:
    if absent := [epoch for epoch in recipe.ingredients if epoch not in files or not files[epoch].is_file()]:
        raise UserError(
            f"The weights of epoch {absent[0]} are not in {folder / KEPT}, expected the epochs "
            f"{', '.join(map(str, recipe.ingredients))}.",
            "Fit again with --force.",
            EXIT_FAILED,
        )
    return [files[epoch] for epoch in recipe.ingredients]


def mean_state(files: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of the tensors of several files, summed in float64; integers are those of the last file."""
    if len(files) == 1:
        return read_trained(files[0])
    sums: dict[str, Tensor] = {}
    last: dict[str, Tensor] = {}
    for file in files:
        last = read_trained(file)
        for name, value in last.items():
            sums[name] = sums[name] + value.double() if name in sums else value.double()
    return {
        name: (sums[name] / len(files)).to(value.dtype) if value.is_floating_point() else value
        for name, value in last.items()
    }
