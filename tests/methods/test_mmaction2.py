"""mmaction2's recognisers as rows: scores of mmaction2's own pipeline, views, refusals, runs through the harness."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmaction.datasets.transforms import SampleFrames
from mmaction.structures import ActionDataSample
from mmengine.registry import DefaultScope

from harness.api import LabelSet, UserError, Views
from harness.base.errors import NotApplicableError
from harness.cells.backbone import BackboneChoice, views_for
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.engine.cost.view_cost import view_cost
from harness.engine.method import method_class
from harness.engine.model.chosen_recognizer import find_recognizer
from harness.engine.model.recognizer_config import SHORT
from harness.engine.partial_scores import view_probabilities
from harness.engine.scoring import view_logits
from harness.engine.video import mm_pipeline
from harness.engine.video.dense_indices import DenseClip, evaluation_indices
from harness.engine.video.loaders import eval_loader
from harness.engine.video.mm_configs import shipped_configs
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import load_settings
from harness.spec.dense import DenseSampling
from results.measurement_words import division, incomplete
from results.record import read_record
from tests.conftest import CLASSES, in_process
from tests.engine.conftest import CPU

CONFIGS = Path(__file__).with_name("configs")
TSN, SWIN = str(CONFIGS / "tiny_tsn.py"), str(CONFIGS / "tiny_swin.py")
FOUR = LabelSet(CLASSES)
SUPERVISED = Views(frames=16, clips=4, crops=3, sampling="random")


def recogniser(config: str, checkpoint: str = "random", classes: str = "") -> Any:
    cls = method_class("mmaction2")
    options = cls.options_for({"config": config, "checkpoint": checkpoint, "classes": classes})
    return cls(cls.own_model(options).load(), options).eval()


@pytest.fixture(scope="module")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of the tiny 3D recogniser as mmengine writes one, and names of its classes in another order."""
    folder = tmp_path_factory.mktemp("recogniser")
    model = find_recognizer(SWIN, "random").load()
    state = {name: value + 0.01 for name, value in model.recognizer.state_dict().items() if value.is_floating_point()}
    state = {**model.recognizer.state_dict(), **state}
    torch.save({"meta": {"epoch": 3}, "state_dict": state, "optimizer": {"state": {}}}, folder / "swin.pth")
    (folder / "names.txt").write_text("\n".join(reversed(CLASSES)) + "\n")
    return {"checkpoint": folder / "swin.pth", "names": folder / "names.txt"}


@pytest.mark.slow
@pytest.mark.parametrize(("config", "clips", "crops"), [(TSN, 1, 1), (SWIN, 3, 3), (SWIN, 1, 1)])
def test_the_scores_are_those_of_mmaction2s_own_pipeline(
    config: str, clips: int, crops: int, small_dataset: Path
) -> None:
    """From file to probabilities: mmaction2's test pipeline and `test_step` against the harness's loader and steps."""
    method = recogniser(config)
    found = find_recognizer(config, "random")
    views = views_for(SUPERVISED, found, {"clips": str(clips), "crops": str(crops)})
    files = sorted(small_dataset.glob("*/clip0.avi"))
    rows, size = [(f, 0) for f in files], found.config.size
    batch = next(iter(eval_loader(rows, views, size, [list(range(4))], ComputeOptions(workers=0), 0)))
    ours = view_probabilities(view_logits(method, batch.frames, method.encode_text(FOUR), views, CPU, 4))
    pipeline = mm_pipeline.eval_pipeline(views, found.config.size)  # reader, resize and crop are the same step there
    frames = found.config.frames
    sample = dict(type="SampleFrames", clip_len=1, frame_interval=1, num_clips=frames, test_mode=True)
    if found.config.is_3d:
        sample = dict(type="SampleFrames", clip_len=frames, frame_interval=2, num_clips=clips, test_mode=True)
    form = method.backbone.recognizer.data_preprocessor.format_shape
    last = (dict(type="FormatShape", input_format=form), dict(type="PackActionInputs"))
    steps = [pipeline[0], sample, *pipeline[2:5], *last]
    with torch.no_grad(), DefaultScope.overwrite_default_scope("mmaction"):
        transforms = [mm_pipeline.TRANSFORMS.build(step) for step in steps]
        for file, mine in zip(files, ours, strict=True):
            result: Any = dict(filename=str(file), label=0, modality="RGB", start_index=0)
            for transform in transforms:
                result = transform(result)
            data = dict(inputs=[result["inputs"]], data_samples=[ActionDataSample()])
            (theirs,) = method.backbone.recognizer.test_step(data)
            score = theirs.pred_score
            score = score if found.config.is_3d else score.softmax(dim=-1).mean(dim=0, keepdim=True)[0]
            np.testing.assert_allclose(mine.numpy(), score.double().numpy().reshape(-1), atol=1e-6)
    assert float((ours[0] - ours[-1]).abs().max()) > 1e-7


@pytest.mark.parametrize(
    ("total", "frames", "clips", "stride"), [(300, 32, 4, 4), (100, 32, 4, 4), (97, 8, 1, 32), (9, 4, 3, 2)]
)
def test_dense_sampling_is_mmaction2s(total: int, frames: int, clips: int, stride: int) -> None:
    step = SampleFrames(clip_len=frames, frame_interval=stride, num_clips=clips, test_mode=True)
    expected = step.transform({"total_frames": total, "start_index": 0})["frame_inds"]
    ours = evaluation_indices(DenseSampling("dense", stride), DenseClip(total, frames, stride), clips)
    np.testing.assert_array_equal(ours.reshape(-1), expected)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("uniformer-b-32", "32x4x3-dense:4-rawnorm"), ("uniformer-b-16", "16x4x3-dense:4-rawnorm"),
        ("swin-l", "32x4x3-dense:2-rawnorm"), ("timesformer-8", "8x4x3-dense:32-rawnorm"),
        ("timesformer-96", "96x1x3-dense:4-rawnorm"), (TSN, "4x4x3-uniform-rawnorm"),
    ],
)  # fmt: skip
def test_views_are_the_configs_frames_under_the_protocols_clips_and_crops(config: str, expected: str) -> None:
    found = find_recognizer(config, "random")
    assert str(views_for(SUPERVISED, found, {})) == expected
    for other in ({"frames": "5"}, {"normalize": "imagenet"}):
        with pytest.raises(UserError, match="frames as decoded"):
            views_for(SUPERVISED, found, other)
    with pytest.raises(UserError, match="CLIP takes no views with"):
        views_for(SUPERVISED, BackboneChoice("ViT-B-16", "openai"), {"normalize": "raw"})


def test_every_short_name_is_a_config_of_the_wheel() -> None:
    for name, short in SHORT.items():
        assert short.config in shipped_configs()
        assert find_recognizer(name, "random").config.classes == 400
    assert find_recognizer("timesformer-96", "random").config.model["backbone"]["num_frames"] == 96
    stem = "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb"
    assert find_recognizer(stem, "random").config.frames == 8


def test_a_checkpoint_is_loaded_strictly_and_runs_nothing(own_files: dict[str, Path], tmp_path: Path) -> None:
    plain, loaded = recogniser(SWIN), recogniser(SWIN, str(own_files["checkpoint"]))
    gap = loaded.backbone.recognizer.cls_head.fc_cls.bias - plain.backbone.recognizer.cls_head.fc_cls.bias
    torch.testing.assert_close(gap, torch.full_like(gap, 0.01))
    assert loaded.backbone.facts.weights == "swin.pth"
    assert plain.backbone.facts.weights_sha256 != loaded.backbone.facts.weights_sha256
    with pytest.raises(UserError, match=r"does not fit the model: .* missing"):
        recogniser(TSN, str(own_files["checkpoint"]))

    marker, evil = tmp_path / "ran", tmp_path / "evil.pth"

    class Runs:
        def __reduce__(self) -> Any:
            return Path.touch, (marker,)

    with zipfile.ZipFile(own_files["checkpoint"]) as source, zipfile.ZipFile(evil, "w") as target:
        for name in source.namelist():
            data = pickle.dumps({"state_dict": Runs()}) if name.endswith("data.pkl") else source.read(name)
            target.writestr(name, data)
    with pytest.raises(UserError):
        recogniser(SWIN, str(evil))
    assert not marker.exists()


def test_classes_may_be_named_and_are_then_put_in_the_order_of_the_label_set(own_files: dict[str, Path]) -> None:
    plain, named = recogniser(SWIN), recogniser(SWIN, classes=str(own_files["names"]))
    scores = torch.randn(2, 4)
    assert torch.equal(plain.score(scores, plain.encode_text(FOUR)), scores)
    assert torch.equal(named.score(scores, named.encode_text(FOUR)), scores.flip(1))
    with pytest.raises(UserError, match="2 of the label set are not among them"):
        named.encode_text(LabelSet(("circle left", "circle right", "jump", "run")))


def test_another_number_of_classes_is_one_clear_error() -> None:
    with pytest.raises(UserError, match="tiny_tsn/random has 4 classes, the label set has 3"):
        recogniser(TSN).encode_text(LabelSet(CLASSES[:3]))
    with pytest.raises(UserError, match="tiny_swin has 4 classes, the label set has 36"):  # before anything is run
        expand(request_of("supervised"), load_settings({}))


@pytest.mark.parametrize(
    ("config", "checkpoint", "says"),
    [
        ("", "random", "none is given"), ("uniformer", "random", "Did you mean uniformer-"),
        ("none.py", "random", "does not exist"), ("swin-l", "", "none is given.*swin-large-p244-w877.*pth"),
        ("uniformer-b-32", "gone.pth", "gone.pth does not exist.*uniformer-base_imagenet1k-pre_32x4x1"),
        ("timesformer-96", "", "mmaction2 offers none for it"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_the_way_out(config: str, checkpoint: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        find_recognizer(config, checkpoint)
    assert re.search(says, str(caught.value).replace("\n", " ")), str(caught.value)


def test_other_kinds_of_config_are_refused(tmp_path: Path) -> None:
    (tmp_path / "audio.py").write_text("model = dict(type='RecognizerAudio')\n")
    with pytest.raises(UserError, match="holds a RecognizerAudio, expected one of Recognizer2D, Recognizer3D"):
        find_recognizer(str(tmp_path / "audio.py"), "random")
    (tmp_path / "broken.py").write_text("model = dict(\n")
    with pytest.raises(UserError, match=r"broken\.py does not load"):
        find_recognizer(str(tmp_path / "broken.py"), "random")
    text = Path(TSN).read_text().replace('type="ResNet"', 'type="NoNet"')
    (tmp_path / "unknown.py").write_text(text)
    with pytest.raises(UserError, match="mmaction2 cannot build the model Recognizer2D with the backbone NoNet"):
        find_recognizer(str(tmp_path / "unknown.py"), "random").load()


def request_of(protocol: str, **changed: Any) -> Request:
    return Request((MethodChoice("mmaction2", {"config": SWIN, "checkpoint": "random"}),), (protocol,), **changed)


@pytest.mark.parametrize("protocol", ["zero_shot", "b2n"])
def test_protocols_with_other_classes_than_the_trained_ones_are_refused(protocol: str, tmp_path: Path) -> None:
    settings = load_settings({"runs": tmp_path / "runs", "cache": tmp_path / "cache"})
    with pytest.raises(UserError, match="mmaction2 has a fixed set of classes and no text tower"):
        expand(request_of(protocol), settings)
    both = Request((*request_of(protocol).methods, MethodChoice("vanilla_clip")), (protocol,))
    cells = expand(both, settings)
    assert {cell.row.name for cell in cells.evals} == {"vanilla_clip"} and "fixed set" in cells.left_out[0][1]
    assert issubclass(NotApplicableError, UserError)


def test_a_run_from_the_command_line_to_record_and_report(small_dataset: Path, tmp_path: Path) -> None:
    place = ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    assert in_process(
        "run", "--method", f"mmaction2:config={SWIN},checkpoint=random", "--protocol", "supervised", "--workers", "0",
        "--quiet", "--no-report", *place,
    ) == 0  # fmt: skip
    assert in_process("report", "--runs", tmp_path / "runs", "--out", tmp_path / "site") == 0
    (path,) = (tmp_path / "runs").rglob("*.record.json")
    record = json.loads(path.read_text())
    assert record["fit"] is None and record["method"]["title"] == "tiny_swin (mmaction2, random weights)"
    measurement = read_record(path).measurement
    assert (measurement.model.arch, measurement.model.weights) == ("tiny_swin", "random")
    assert division(measurement) == "open" and "random weights" in incomplete(measurement)[0]
    for part in ("tiny_swin/random", "4x4x3-dense:2-rawnorm", "checkpoint=random", "init:random", "text:none"):
        assert part in record["signature"]
    evaluation = measurement.evaluation
    assert record["cost"]["gflops"] > 0 and evaluation.views.frames == 4
    assert evaluation.evaluated == evaluation.list.n
    assert "tiny_swin (mmaction2, random weights)" in (tmp_path / "site" / "index.html").read_text()


def test_a_video_is_classified_by_predict(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    video = small_dataset / CLASSES[0] / "clip0.avi"
    method = f"mmaction2:config={TSN},checkpoint=random"
    assert in_process("predict", video, "--labels", tmp_path / "names.txt", "--method", method, "--workers", "0") == 0
    assert "circle" in capsys.readouterr().out
    arguments = ("predict", video, "--labels", tmp_path / "names.txt", "--method", method, "--frames", "9")
    assert in_process(*arguments) == 2


TABLE = ("uniformer-b-32", "swin-l", "timesformer-96")


@pytest.mark.parametrize(
    ("config", "gmacs", "parameters"),
    [
        ("uniformer-b-32", 259, 49.8), ("timesformer-96", 2380, 121.6),
        pytest.param("swin-l", 604, 197.0, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_the_models_are_those_of_the_supervised_table(config: str, gmacs: float, parameters: float) -> None:
    """The published GFLOPs are multiply-adds of one view: the same architecture at the same frames and size."""
    method = recogniser(config)
    assert method.parameter_counts() == (pytest.approx(1e6 * parameters, rel=0.002), 0)
    cost = view_cost(method, find_recognizer(config, "random").config.frames, LabelSet(tuple(map(str, range(400)))))
    assert cost.gflops == pytest.approx(gmacs, rel=0.004)


@pytest.mark.slow
@pytest.mark.parametrize("config", TABLE)
def test_the_rows_of_the_supervised_table_run_on_real_clips(
    config: str, shared: Path, tmp_path: Path, harness: Callable[..., Any]
) -> None:
    """Random weights recognise nothing; what is shown is that lists, clips, model, record and report go together."""
    lists, runs, site = tmp_path / "lists", tmp_path / "runs", tmp_path / "site"
    harness("data", "import-lists", shared / "splits" / "vificlip", "--lists-dir", lists)
    done = harness(
        "run", "--method", f"mmaction2:config={config},checkpoint=random", "--protocol", "supervised", "--dataset",
        "k400", "--data", f"k400={shared / 'videos' / 'kinetics400'}", "--lists-dir", lists, "--runs", runs, "--cache",
        tmp_path / "cache", "--allow-missing", "--views", "clips=1", "--views", "crops=1", "--json", "--quiet",
        "--no-report", timeout=1200, OMP_NUM_THREADS="2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = runs.rglob("*.record.json")
    record = json.loads(path.read_text())
    assert record["measurement"]["evaluation"]["evaluated"] > 0 and record["undecodable"] == []
    assert len(record["classes"]) == 400
    assert harness("report", "--runs", runs, "--out", site).returncode == 0
    assert config in (site / "index.html").read_text()
    table = harness("report", "--table", "supervised", "--against", "paper", "--runs", runs)
    assert table.returncode == 0 and record["signature"].split("|")[2] == "mmaction2.1"
