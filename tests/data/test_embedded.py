"""The embedded benchmark: lists, rendered clips and the weights of the tiny CLIP."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.data.embedded import render as mini
from harness.data.embedded.dataset import EmbeddedDataset
from harness.data.embedded.render import (
    MINI_DATASETS,
    MINI_VERSION,
    load_mini_clip_state,
    mini_class_names,
    mini_damage,
    mini_list,
    prepare_mini,
    render_clip,
)

LISTS = {"mini_target": ("train", "val1", "val2", "val3"), "mini_source": ("train", "val")}


def paths(dataset: str, name: str) -> set[str]:
    return {path for path, _ in mini_list(dataset, name)}


def sample(dataset: str, count: int) -> list[str]:
    """Clips spread evenly over all classes and groups of a dataset."""
    every = mini._jobs(dataset)
    return [every[int(i)] for i in np.linspace(0, len(every) - 1, count)]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Make every dataset consist of six clips, so that whole renders are quick."""
    chosen = tuple(sample("mini_target", 6))
    monkeypatch.setattr(mini, "_jobs", lambda dataset: chosen)
    return chosen


def test_classes_are_compositions_and_the_source_has_none_of_the_target() -> None:
    target, source = mini_class_names("mini_target"), mini_class_names("mini_source")
    assert (len(target), len(source)) == (24, 36)
    assert not set(target) & set(source)
    assert all(name == name.lower() and len(name.split(" ")) == 2 for name in target + source)
    assert {n.split()[0] for n in target} < {n.split()[0] for n in source}
    assert {n.split()[1] for n in target} < {n.split()[1] for n in source}


@pytest.mark.parametrize("dataset", MINI_DATASETS)
def test_lists_are_well_formed(dataset: str) -> None:
    for name in LISTS[dataset]:
        rows = mini_list(dataset, name)
        assert rows == mini_list(dataset, name)
        assert len(paths(dataset, name)) == len(rows)
        assert not any(" " in path or "/" in path for path, _ in rows)
        assert {label for _, label in rows} == set(range(len(mini_class_names(dataset))))
        for path, label in rows:
            assert path.startswith("v_" + mini_class_names(dataset)[label].replace(" ", "_") + "_g")


def test_counts_suffice_for_sixteen_shots_and_twenty_test_clips() -> None:
    for name in ("val1", "val2", "val3"):
        assert min(Counter(label for _, label in mini_list("mini_target", name)).values()) >= 20
    train = Counter(label for _, label in mini_list("mini_target", "train"))
    assert min(train.values()) >= 18
    assert 4 < len(set(train.values())) < 24  # the counts vary, with ties
    assert min(Counter(label for _, label in mini_list("mini_source", "train")).values()) >= 20
    assert min(Counter(label for _, label in mini_list("mini_source", "val")).values()) >= 8


def test_evaluation_clips_and_their_groups_are_never_trained_on() -> None:
    for dataset, evaluation in (("mini_target", "val1"), ("mini_source", "val")):
        assert not paths(dataset, "train") & paths(dataset, evaluation)
        groups: dict[str, set[str]] = defaultdict(set)
        for name in ("train", evaluation):
            groups[name] = {path.rsplit("_", 1)[0] for path in paths(dataset, name)}
        assert not groups["train"] & groups[evaluation]


def test_the_published_division_rule_gives_a_balanced_checkerboard() -> None:
    names = mini_class_names("mini_target")
    counts = Counter(label for _, label in mini_list("mini_target", "train"))
    ordered = sorted(range(len(names)), key=lambda label: counts[label])  # ascending, stable
    novel = set(ordered[: len(names) // 2])
    shapes, motions = (sorted({n.split()[i] for n in names}) for i in (0, 1))
    board = np.zeros((len(shapes), len(motions)), int)
    for label in novel:
        shape, motion = names[label].split()
        board[shapes.index(shape), motions.index(motion)] = 1
    assert board.sum(axis=1).tolist() == [3] * 4, "three novel and three base motions of every shape"
    assert board.sum(axis=0).tolist() == [2] * 6, "two novel and two base shapes of every motion"
    assert len({tuple(column) for column in board.T}) == 6, "no two motions have the same shapes"
    border = counts[ordered[11]]
    assert border == counts[ordered[12]], "a tie across the border shows that the sort is stable"


def test_another_version_of_the_renderer_is_other_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, source = (EmbeddedDataset(name, tmp_path) for name in ("mini_target", "mini_source"))
    now = [target.content(target.list("val")), source.content(source.list("val"))]
    assert len(set(now)) == 2 and now[0] == target.content(target.list("train"))
    monkeypatch.setattr("harness.data.embedded.dataset.MINI_VERSION", MINI_VERSION + 1)
    assert target.content(target.list("val")) not in now


def test_unknown_names_list_what_exists() -> None:
    with pytest.raises(ValueError, match="mini_source, mini_target"):
        mini_class_names("mini")
    with pytest.raises(ValueError, match="val1, train, val2, val3"):
        mini_list("mini_target", "val")


@pytest.mark.slow
def test_rendering_is_bit_identical_for_any_number_of_workers(tmp_path: Path, few: tuple[str, ...]) -> None:
    calls: list[tuple[int, int]] = []
    serial = prepare_mini("mini_target", tmp_path / "a", progress=lambda *now: calls.append(now), workers=1)
    parallel = prepare_mini("mini_target", tmp_path / "b", workers=4)
    assert serial.name == f"mini_target-v{MINI_VERSION}"
    assert calls == [(i, 6) for i in range(1, 7)]
    assert sorted(p.name for p in serial.iterdir()) == sorted([*few, "manifest.json"])
    assert all((serial / p.name).read_bytes() == p.read_bytes() for p in parallel.iterdir())
    assert [p.name for p in (tmp_path / "a").iterdir()] == [serial.name], "no temporary file remains"


@pytest.mark.slow
def test_a_complete_folder_is_kept_and_damage_is_detected(tmp_path: Path, few: tuple[str, ...]) -> None:
    folder = prepare_mini("mini_target", tmp_path)
    before = (folder / "manifest.json").stat().st_mtime_ns
    prepare_mini("mini_target", tmp_path, progress=lambda *_: pytest.fail("rendered again"))
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    assert mini_damage(folder) == ()
    (folder / few[0]).write_bytes(b"not a video")
    assert mini_damage(folder) == (few[0],)
    (folder / few[1]).unlink()
    prepare_mini("mini_target", tmp_path)
    assert mini_damage(folder) == ()


def test_an_interrupted_render_leaves_nothing_that_looks_complete(tmp_path: Path, few: tuple[str, ...]) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_mini("mini_target", tmp_path, progress=interrupt, workers=2)
    assert list(tmp_path.iterdir()) == []
    assert mini_damage(prepare_mini("mini_target", tmp_path)) == ()


@pytest.mark.slow
def test_the_folder_of_a_faster_process_is_kept(tmp_path: Path, few: tuple[str, ...]) -> None:
    def overtake(done: int, total: int) -> None:
        if done == 2:
            prepare_mini("mini_target", tmp_path)
            os.utime(tmp_path / f"mini_target-v{MINI_VERSION}" / few[0], (1, 1))

    folder = prepare_mini("mini_target", tmp_path, progress=overtake)
    assert (folder / few[0]).stat().st_mtime == 1, "the folder of the faster process was kept"
    assert mini_damage(folder) == ()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("dataset", MINI_DATASETS)
def test_decord_reads_exact_counts_and_any_frame(dataset: str, tmp_path: Path) -> None:
    decord = pytest.importorskip("decord")
    shapes = set()
    for path in sample(dataset, 24):
        render_clip(dataset, path, tmp_path / path)
        capture, sequential = cv2.VideoCapture(str(tmp_path / path)), []
        while (read := capture.read())[0]:
            sequential.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
        reader = decord.VideoReader(str(tmp_path / path), num_threads=1)
        assert 12 <= len(reader) == len(sequential) <= 16
        backwards = reader.get_batch(list(range(len(reader)))[::-1]).asnumpy()[::-1]
        forwards = reader.get_batch(list(range(len(reader)))).asnumpy()
        assert np.array_equal(backwards, forwards)
        assert np.array_equal(forwards, np.stack(sequential))
        assert 64 <= min(forwards.shape[1:3]) <= 80 and forwards.shape[1] != forwards.shape[2]
        shapes.add((len(reader), *forwards.shape[1:3]))
    assert len(shapes) > 6, "lengths and sizes vary"


def test_clips_of_one_group_share_the_actor_but_not_the_motion() -> None:
    first, second = (mini.draw_actor(np.random.default_rng([MINI_VERSION, 1, 0, group, 0])) for group in (1, 2))
    assert first != second
    clips = [mini.draw_clip(np.random.default_rng(seed), first, "star", "spinning") for seed in (1, 2)]
    assert clips[0].shape != clips[1].shape or not np.array_equal(*clips)


def test_weights_are_small_and_fill_the_whole_vocabulary() -> None:
    asset = resources.files("harness.data").joinpath("assets", "mini_clip.safetensors")
    assert len(asset.read_bytes()) <= 8 * 2**20
    state = load_mini_clip_state()
    table = state["token_embedding.weight"]
    assert table.shape == (49408, 128)
    assert table.dtype == np.float32
    assert 0.0 < float(np.exp(state["logit_scale"])) <= 100.1
    assert np.array_equal(table, load_mini_clip_state()["token_embedding.weight"])
    assert len(np.unique(table[:, :3], axis=0)) == len(table), "unseen words have distinct embeddings"
    assert all(np.isfinite(value).all() for value in state.values())


def test_weights_load_strictly_into_open_clip_and_tell_the_classes_apart() -> None:
    torch = pytest.importorskip("torch")
    open_clip = pytest.importorskip("open_clip")
    state = load_mini_clip_state()
    width, patch = state["visual.conv1.weight"].shape[0], state["visual.conv1.weight"].shape[-1]
    side = round((state["visual.positional_embedding"].shape[0] - 1) ** 0.5) * patch
    layers = [
        len({k.split(f"{tower}resblocks.")[1].split(".")[0] for k in state if k.startswith(tower)})
        for tower in ("visual.transformer.", "transformer.")
    ]
    text_width = state["ln_final.weight"].shape[0]
    vision = open_clip.CLIPVisionCfg(layers=layers[0], width=width, head_width=64, patch_size=patch, image_size=side)
    text = open_clip.CLIPTextCfg(width=text_width, heads=text_width // 64, layers=layers[1])
    model = open_clip.CLIP(state["text_projection"].shape[1], vision, text, quick_gelu=True).eval()
    model.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()}, strict=True)
    names = [name for dataset in MINI_DATASETS for name in mini_class_names(dataset)]
    with torch.no_grad():
        features = model.encode_text(open_clip.tokenize(names), normalize=True)
        picture = model.encode_image(torch.zeros(1, 3, side, side), normalize=True)
    alike = features @ features.T - 2.0 * torch.eye(len(names))
    assert float(alike.max()) < 0.999
    assert picture.shape == (1, features.shape[1])


@pytest.mark.slow
@pytest.mark.parametrize("dataset", MINI_DATASETS)
def test_every_rendered_clip_decodes_exactly(dataset: str, tmp_path: Path) -> None:
    decord = pytest.importorskip("decord")
    folder = prepare_mini(dataset, tmp_path)
    files = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    assert set(files) == set().union(*(paths(dataset, name) for name in LISTS[dataset]))
    assert mini_damage(folder) == ()
    for name in files:
        capture, sequential = cv2.VideoCapture(str(folder / name)), []
        while (read := capture.read())[0]:
            sequential.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
        reader = decord.VideoReader(str(folder / name), num_threads=1)
        backwards = reader.get_batch(list(range(len(reader)))[::-1]).asnumpy()[::-1]
        assert np.array_equal(backwards, np.stack(sequential)), name
