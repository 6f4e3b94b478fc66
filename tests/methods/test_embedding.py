"""ESZSL, SJE and DEM against their papers' formulas, on synthetic data whose solution is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, UserError
from harness.engine.contract.checks import tiny_backbone
from harness.engine.method import method_class
from harness.engine.training.step import build_optimizer
from methods.eszsl import GRID, choose, solution

DIM = 64
SEEN, UNSEEN, PER_CLASS = 40, 10, 12


def method_of(name: str, **options: object) -> ClipMethod:
    cls = method_class(name)
    return cls(tiny_backbone(), cls.options_for(options)).eval()


def world(noise: float = 0.05, positive: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Videos (N, D) around a linear map of their class, ids (N,), class embeddings (SEEN + UNSEEN, D); all drawn."""
    rng = np.random.default_rng(5)
    # Few directions matter, as in features of a network; else forty classes could not tell anything of new ones.
    classes = rng.standard_normal((SEEN + UNSEEN, 8)) @ rng.standard_normal((8, DIM))
    centres = classes @ rng.standard_normal((DIM, DIM)) / DIM
    centres = np.maximum(0, centres) if positive else centres
    ids = np.repeat(np.arange(SEEN + UNSEEN), PER_CLASS)
    videos = centres[ids] + noise * rng.standard_normal((len(ids), DIM))
    videos, classes = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (videos, classes))
    return torch.from_numpy(videos).float(), torch.from_numpy(ids), torch.from_numpy(classes).float()


def accuracy_on_unseen(method: ClipMethod, videos: Tensor, ids: Tensor, classes: Tensor) -> float:
    with torch.no_grad():
        found = method.score(videos[ids >= SEEN], classes[SEEN:]).argmax(dim=-1)
    return float((found == ids[ids >= SEEN] - SEEN).float().mean())


def train(method: ClipMethod, videos: Tensor, ids: Tensor, classes: Tensor, steps: int, lr: float) -> list[float]:
    recipe = next(iter(method.recipes.values()))
    optimizer = build_optimizer(method, replace(recipe, lr=lr))
    seen, losses = ids < SEEN, []
    targets = torch.eye(SEEN)[ids[seen]]
    for _ in range(steps):
        optimizer.zero_grad()
        loss = method.feature_loss(videos[seen], classes[:SEEN], targets)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_eszsl_solves_the_papers_problem() -> None:
    videos, ids, classes = (t.double() if t.is_floating_point() else t for t in world())
    gamma, penalty = 0.7, 0.3
    v = solution(videos, ids, classes, gamma, penalty).requires_grad_(True)
    signs = torch.where(ids[:, None] == torch.arange(len(classes)), 1.0, -1.0).double()
    objective = (
        (videos @ v @ classes.t() - signs).square().sum()
        + gamma * (v @ classes.t()).square().sum()
        + penalty * (videos @ v).square().sum()
        + gamma * penalty * v.square().sum()
    )
    (gradient,) = torch.autograd.grad(objective, v)
    assert float(gradient.abs().max()) < 1e-9 * float(objective.detach())


def test_eszsl_has_the_known_solution_of_orthogonal_data() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    found = solution(eye, torch.tensor([0, 1, 2]), eye, gamma=1.0, penalty=3.0)
    torch.testing.assert_close(found, (2 * eye - 1) / 8)


def test_eszsl_chooses_the_penalties_that_are_best_on_held_out_classes() -> None:
    videos, ids, classes = world(noise=0.3)
    videos, ids, classes = videos[ids < SEEN].double(), ids[ids < SEEN], classes[:SEEN].double()
    held = [c for c in range(SEEN) if c % 5 == 4]
    kept = [c for c in range(SEEN) if c % 5 != 4]
    train_rows, test_rows = (torch.isin(ids, torch.tensor(part)) for part in (kept, held))
    train_ids = torch.tensor([kept.index(int(i)) for i in ids[train_rows]])
    accuracy = {}
    for gamma in GRID:
        for penalty in GRID:
            v = solution(videos[train_rows], train_ids, classes[kept], gamma, penalty)
            found = (videos[test_rows] @ v @ classes[held].t()).argmax(dim=-1)
            right = torch.tensor(held)[found] == ids[test_rows]
            accuracy[gamma, penalty] = float(right.double().mean())
    assert len(set(accuracy.values())) > 3
    assert accuracy[choose(videos, ids, classes)] == max(accuracy.values())
    assert choose(videos, ids, classes, gamma=10.0)[0] == 10.0
    assert choose(videos[ids < 5], ids[ids < 5], classes[:5], penalty=2.0) == (1.0, 2.0)


def test_eszsl_recognises_classes_it_has_not_seen() -> None:
    videos, ids, classes = world()
    method = method_of("eszsl")
    method.encode_text = lambda labels: classes[:SEEN]  # type: ignore[method-assign]
    before = accuracy_on_unseen(method, videos, ids, classes)
    with torch.no_grad():
        method.fit_features(videos[ids < SEEN], ids[ids < SEEN], LabelSet(tuple(f"class {i}" for i in range(SEEN))))
    assert before < 0.2 and accuracy_on_unseen(method, videos, ids, classes) > 0.7
    assert all(float(p) in np.float32(GRID) for p in method.penalties)


def test_eszsl_refuses_penalties_that_are_not_positive() -> None:
    with pytest.raises(UserError, match="visual_penalty is 0, expected a number above 0"):
        method_of("eszsl", visual_penalty=0)


def test_sje_takes_the_papers_step() -> None:
    videos, ids, classes = world()
    method = method_of("sje")
    x, true = videos[:1], int(ids[0])
    scores = (x @ method.compatibility @ classes[:SEEN].t())[0].detach()
    margins = 1.0 + scores - scores[true]
    margins[true] = 0.0
    worst = int(margins.argmax())
    assert worst != true
    loss = method.feature_loss(x, classes[:SEEN], torch.eye(SEEN)[[true]])
    assert float(loss.detach()) == pytest.approx(float(margins[worst]), abs=1e-5)
    loss.backward()
    torch.testing.assert_close(method.compatibility.grad, x.t() @ (classes[[worst]] - classes[[true]]))


def test_sje_stops_at_a_margin_of_one_and_recognises_unseen_classes() -> None:
    videos, ids, classes = world()
    method = method_of("sje")
    before = accuracy_on_unseen(method, videos, ids, classes)
    losses = train(method, videos, ids, classes, steps=150, lr=0.02)
    assert losses[0] > 1.0 and losses[-1] < 0.1
    assert before < 0.5 and accuracy_on_unseen(method, videos, ids, classes) > 0.95


def test_dem_has_the_papers_objective() -> None:
    videos, ids, classes = world(positive=True)
    method = method_of("dem", hidden=5, penalty=0.01, output="relu")
    w1, b1, w2, b2 = (p.detach().numpy() for p in (*method.first.parameters(), *method.second.parameters()))
    embedded = np.maximum(0, np.maximum(0, classes.numpy() @ w1.T + b1) @ w2.T + b2)
    distances = ((videos.numpy()[:, None] - embedded) ** 2).sum(-1)
    expected = distances[np.arange(len(ids)), ids].mean() + 0.01 * ((w1**2).sum() + (w2**2).sum())
    loss = method.feature_loss(videos, classes, torch.eye(len(classes))[ids])
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(method.score(videos, classes).detach().numpy(), -distances, atol=1e-5)


@pytest.mark.parametrize("output", ["relu", "linear"])
def test_dem_recognises_unseen_classes_by_the_nearest_embedding(output: str) -> None:
    videos, ids, classes = world(positive=output == "relu")
    method = method_of("dem", hidden=128, output=output, penalty=1e-6)
    before = accuracy_on_unseen(method, videos, ids, classes)
    losses = train(method, videos, ids, classes, steps=300, lr=0.01)
    # The distance to the mean of a class is the best there is; with relu some units never wake.
    least = float(torch.stack([videos[ids == c].var(0, correction=0).sum() for c in range(SEEN)]).mean())
    assert losses[-1] < (1.5 * least + 0.02 if output == "linear" else 0.3 * losses[0])
    assert before < 0.5 and accuracy_on_unseen(method, videos, ids, classes) > 0.9


def test_dem_refuses_a_map_without_width() -> None:
    with pytest.raises(UserError, match="dem:hidden is 0, expected at least 1"):
        method_of("dem", hidden=0)
