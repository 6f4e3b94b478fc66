"""Motionformer as a row: published files, views, classes, refusals, a run, and the published numbers beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.api import LabelSet, UserError, Views, load_published
from harness.cells.backbone import views_for
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.engine.method import ClipMethod, method_class
from harness.machine.settings import load_settings
from harness.plugins import registry
from harness.weights.describe import describe
from reports.paper import published_ids
from results.measurement_words import division, incomplete
from results.published_numbers import harness_names, published_numbers
from results.record import read_record
from tests.conftest import CLASSES, in_process

FOUR = LabelSet(CLASSES)
TINY: dict[str, Any] = {"config": "tiny", "fixed_classes": 4}


def build(**options: Any) -> ClipMethod:
    cls = method_class("mformer")
    chosen = cls.options_for({**TINY, "checkpoint": "random", **options})
    return cls(cls.own_model(chosen).load(), chosen).eval()  # type: ignore[union-attr]


def published_file(path: Path, method: ClipMethod, **added: torch.Tensor) -> Path:
    """A checkpoint as the trainer of the authors writes it, with tensors that are another network's or unused."""
    state = {name.removeprefix("backbone.network."): value for name, value in method.state_dict().items()}
    state = {f"module.{name}": value + 0.01 for name, value in {**state, **added}.items()}
    content = {"epoch": 34, "model_state": state, "optimizer_state": {"state": {}}, "cfg": "NUM_GPUS: 8", "scaler": {}}
    torch.save(content, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "unused"),
    [
        ({}, {"patch_embed.proj.weight": torch.zeros(192, 3, 16, 16), "patch_embed.proj.bias": torch.zeros(192)}),
        ({"tubelet": 1, "mlp_head": False}, {"patch_embed_3d.proj.bias": torch.zeros(192)}),
        ({"positions": "joint", "attention": "joint"}, {"pos_embed": torch.zeros(1, 197, 192)}),
    ],
)
def test_a_published_file_is_loaded(options: dict[str, Any], unused: dict[str, torch.Tensor], tmp_path: Path) -> None:
    plain = build(**options)
    path = published_file(tmp_path / "k400_motionformer_224_16x4.pyth", plain, **unused)
    loaded = build(checkpoint=str(path), **options)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value + 0.01)
    assert (loaded.backbone.facts.weights, loaded.backbone.facts.arch) == (path.name, "mformer-tiny")
    assert loaded.backbone.facts.weights_sha256 != plain.backbone.facts.weights_sha256


@pytest.mark.slow
def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = str(published_file(tmp_path / "five.pyth", build(fixed_classes=5)))
    with pytest.raises(UserError, match=r"five\.pyth does not fit the model: .*head\.weight"):
        build(checkpoint=path)
    with pytest.raises(UserError, match=r"1 missing.*st_embed") as refused:
        build(checkpoint=path, fixed_classes=5, positions="joint")
    assert "settings of mformer-tiny" in refused.value.hint
    with pytest.raises(UserError, match="not finite in 1 tensors"):
        build(checkpoint=str(published_file(tmp_path / "nan.pyth", build(), extra=torch.tensor([float("nan")]))))
    with pytest.raises(UserError, match="does not exist") as missing:
        build(config="hr", checkpoint="gone.pyth")
    assert "k400_motionformer_336_16x8.pyth" in missing.value.hint
    with pytest.raises(UserError, match="mformer-large needs the weights of a checkpoint; none is given"):
        build(config="large", checkpoint="")
    for name in ("fixed_classes", "landmarks"):
        with pytest.raises(UserError, match=f"mformer:{name} is 0, expected at least 1"):
            build(**{name: 0})


def test_weights_are_an_option_and_not_loaded_into_a_method(tmp_path: Path) -> None:
    method = build()
    with pytest.raises(UserError, match="mformer has its own model") as refused:
        load_published(method, published_file(tmp_path / "file.pyth", method))
    assert "mformer:checkpoint=FILE" in refused.value.hint


def test_a_file_is_recognised_where_clip_is_expected(tmp_path: Path) -> None:
    path = published_file(tmp_path / "file.pyth", build())
    with pytest.raises(UserError, match="holds a Motionformer, which is not a CLIP model") as refused:
        describe(path)
    assert f"mformer:checkpoint={path}" in refused.value.hint


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("hr", "16x10x3-motionformer:8-rawnorm-exact-slowfastsize"),
        ("base", "16x10x3-motionformer:4-rawnorm-exact-slowfastsize"),
        ("large", "32x10x3-motionformer:3-rawnorm-exact-slowfastsize"),
    ],
)  # fmt: skip
def test_views_are_those_of_the_paper(config: str, expected: str) -> None:
    spec = registry.method_spec("mformer")
    network = spec.own_model(spec.options_for({"config": config, "checkpoint": "random"}))
    assert network is not None
    supervised = Views(frames=16, clips=4, crops=3, sampling="random")
    assert str(views_for(supervised, network, {})) == expected
    assert views_for(supervised, network, {"clips": "4"}).clips == 4
    for other in ({"frames": "5"}, {"normalize": "imagenet"}):
        with pytest.raises(UserError, match=f"mformer-{config} takes .* frames as decoded"):
            views_for(supervised, network, other)


@pytest.mark.slow
def test_the_identity_of_the_model_holds_settings_and_content(tmp_path: Path) -> None:
    spec = registry.method_spec("mformer")

    def identity(**options: Any) -> Any:
        network = spec.own_model(spec.options_for({**TINY, "checkpoint": "random", **options}))
        assert network is not None
        return network.model_id()

    names = tmp_path / "names.txt"
    names.write_text("\n".join(CLASSES))
    first = published_file(tmp_path / "first.pyth", build())
    second = tmp_path / "second.pyth"
    second.write_bytes(first.read_bytes())
    assert identity() == identity(classes=str(names))
    assert identity(checkpoint=str(first)) == identity(checkpoint=str(second)) != identity()
    changed = ({"values": "projected"}, {"attention": "joint"}, {"fixed_classes": 5}, {"config": "base"})
    assert len({str(identity(**options)) for options in ({}, *changed)}) == 5


def test_classes_may_be_named_and_are_then_put_in_the_order_of_the_label_set(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(reversed(CLASSES)))
    plain, named, scores = build(), build(classes=str(names)), torch.randn(2, 4)
    assert torch.equal(plain.score(scores, plain.encode_text(FOUR)), scores)
    assert torch.equal(named.score(scores, named.encode_text(FOUR)), scores.flip(1))
    with pytest.raises(UserError, match="mformer-tiny/random has 4 classes, the label set has 3: mformer has a fixed"):
        plain.encode_text(LabelSet(CLASSES[:3]))


@pytest.mark.slow
@torch.no_grad()
def test_landmarks_do_not_depend_on_the_batch_and_the_call() -> None:
    method = build(attention="orthoformer", landmarks=8)
    video = torch.rand(2, 8, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    scores = method.encode_video(video)
    torch.testing.assert_close(method.encode_video(video[1:]), scores[1:], atol=1e-5, rtol=0)
    assert not torch.allclose(build().encode_video(video), scores, atol=1e-4)


def request_of(protocol: str, **options: Any) -> Request:
    return Request((MethodChoice("mformer", {**TINY, "checkpoint": "random", **options}),), (protocol,))


@pytest.mark.parametrize("protocol", ["zero_shot", "b2n"])
def test_protocols_with_other_classes_than_the_trained_ones_are_refused(protocol: str) -> None:
    with pytest.raises(UserError, match="mformer has a fixed set of classes and no text tower"):
        expand(request_of(protocol), load_settings({}))


def test_another_number_of_classes_is_refused_before_anything_is_run() -> None:
    with pytest.raises(UserError, match="mformer-tiny has 4 classes, the label set has 36"):
        expand(request_of("supervised"), load_settings({}))


@pytest.mark.slow
def test_a_run_from_the_command_line_to_the_record(small_dataset: Path, tmp_path: Path) -> None:
    arguments = ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    method = "mformer:config=tiny,checkpoint=random,fixed_classes=4"
    assert in_process(
        "run", "--method", method, "--protocol", "supervised", "--workers", "0", "--views", "clips=1", "--quiet",
        "--no-report", *arguments,
    ) == 0  # fmt: skip
    (path,) = (tmp_path / "runs").rglob("*.record.json")
    record, measurement = json.loads(path.read_text()), read_record(path).measurement
    assert record["fit"] is None and record["method"]["title"] == "Mformer-tiny (random weights)"
    assert (measurement.model.arch, measurement.model.weights) == ("mformer-tiny", "random")
    assert division(measurement) == "open" and "random weights" in incomplete(measurement)[0]
    assert str(measurement.evaluation.views) == "8x1x3-motionformer:4-rawnorm-exact-slowfastsize"
    assert measurement.evaluation.evaluated == measurement.evaluation.list.n and record["cost"]["gflops"] > 0


def test_published_numbers_stand_beside_the_row() -> None:
    names = {"mformer-hr": "mformer:hr", "mformer-l": "mformer:large", "mformer": "mformer:base"}
    assert names.items() <= harness_names().items()
    numbers = [n for n in published_numbers() if n.source == "motionformer"]
    own = {(n.method, n.column): n.value for n in numbers if n.dataset == "K-400"}
    assert own[("mformer-hr", "top1")] == "81.1" and own[("mformer", "top5")] == "94.2" and len(own) == 6
    assert [(n.method, n.column, n.value) for n in numbers if n.dataset == "K-600"] == [("mformer-hr", "top1", "82.7")]


@pytest.mark.slow
def test_the_row_of_the_supervised_table_runs_on_real_clips(
    shared: Path, tmp_path: Path, harness: Callable[..., Any]
) -> None:
    """Random weights recognise nothing; what is shown is that lists, clips, model, record and report go together."""
    lists, runs = tmp_path / "lists", tmp_path / "runs"
    harness("data", "import-lists", shared / "splits" / "vificlip", "--lists-dir", lists)
    done = harness(
        "run", "--method", "mformer:config=hr,checkpoint=random", "--protocol", "supervised", "--dataset", "k400",
        "--data", f"k400={shared / 'videos' / 'kinetics400'}", "--lists-dir", lists, "--runs", runs, "--cache",
        tmp_path / "cache", "--allow-missing", "--views", "clips=1", "--views", "crops=1", "--json", "--quiet",
        "--no-report", timeout=1200, OMP_NUM_THREADS="2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = runs.rglob("*.record.json")
    record = read_record(path)
    assert record.measurement.evaluation.evaluated > 0 and record.undecodable == () and len(record.classes) == 400
    assert published_ids(record.measurement) == {"mformer-hr"}
    assert json.loads(path.read_text())["cost"]["gflops"] == pytest.approx(959, rel=1e-3)
    table = harness("report", "--table", "supervised", "--against", "paper", "--runs", runs)
    assert table.returncode == 0
    # Our values, and the printed ones on the next line.
    ours, printed = re.search(r"^(\| Mformer-HR .*)\n(.*)$", table.stdout, flags=re.M).groups()  # type: ignore[union-attr]
    assert "958.4" in ours and "81.1" in printed and "959" in printed
