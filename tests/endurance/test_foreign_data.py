"""No code path unpickles foreign data: bombs planted wherever a verb reads a file never go off."""

from __future__ import annotations

import ast
import gzip
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from tests.endurance.conftest import PARTIAL_ALWAYS, one_error, only, outcome_of, run_arguments
from tests.endurance.preloaded import Server
from tests.test_house import FILES

# the code ------------------------------------------------------------------------------------------------------------

FORBIDDEN_MODULES = {"cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve", "torch.jit"}
MAY_IMPORT_PICKLE = {"harness/weights/pickled.py"}  # derives the unpickler that rebuilds tensors and nothing else
FORBIDDEN_CALLS = {
    "eval", "exec", "torch.jit.load", "pickle.load", "pickle.loads", "pickle.Unpickler", "pd.read_pickle",
    "pandas.read_pickle", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.hub.load",
}  # fmt: skip
NEEDS = {
    "torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "numpy.load": ("allow_pickle", False),
    "np.fromfile": ("dtype", None),
}  # fmt: skip


def faults(tree: ast.AST, name: str) -> Iterator[str]:
    """Statements that could run what a file says."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for module in modules:
                if module in FORBIDDEN_MODULES and not (module == "pickle" and name in MAY_IMPORT_PICKLE):
                    yield f"{name}:{node.lineno} imports {module}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in FORBIDDEN_CALLS:
                yield f"{name}:{node.lineno} calls {called}"
            if called in NEEDS:
                keyword, value = NEEDS[called]
                given = {k.arg: k.value for k in node.keywords}
                found = given.get(keyword)
                if value is not None and not (isinstance(found, ast.Constant) and found.value is value):
                    yield f"{name}:{node.lineno} calls {called} without {keyword}={value}"


def test_no_product_file_can_unpickle() -> None:
    found = [
        fault
        for path in FILES
        for fault in faults(ast.parse(path.read_text(encoding="utf-8")), str(path.relative_to(ROOT)))
    ]
    assert found == []
    assert len(FILES) > 100


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from joblib import load", "eval('1')", "torch.load(p)", "torch.load(p, weights_only=False)",
        "np.load(p)", "np.load(p, allow_pickle=flag)", "yaml.load(t)", "pd.read_pickle(p)", "exec(text)",
    ],
)  # fmt: skip
def test_the_check_finds_each(source: str) -> None:
    assert list(faults(ast.parse(source), "a.py"))


# the bombs ------------------------------------------------------------------------------------------------------------


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """The file that a bomb makes; it is not there at the end of a test."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists(), "something was unpickled"


def raw(bomb: Bomb) -> bytes:
    return pickle.dumps(bomb, protocol=2)


def torch_zip(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    content = {"meta": bomb, "state_dict": {"visual.conv1.weight": torch.zeros(2)}, "optimizer": bomb, "model": bomb}
    torch.save(content, buffer)
    return buffer.getvalue()


def torch_legacy(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": bomb}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def torchscript(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("data", "constants"):
            archive.writestr(f"model/{name}.pkl", raw(bomb))
    return buffer.getvalue()


def numpy_archive(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    objects = np.array([bomb], dtype=object)
    np.savez(buffer, done=np.array(8), ids=objects, probabilities=objects, rows=objects, reasons=objects)
    return buffer.getvalue()


def numpy_file(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([bomb], dtype=object), allow_pickle=True)
    return buffer.getvalue()


KINDS: dict[str, Callable[[Bomb], bytes]] = {
    "pickle": raw, "torch": torch_zip, "torch-legacy": torch_legacy, "torchscript": torchscript, "npz": numpy_archive,
    "npy": numpy_file,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_bombs_go_off_where_one_unpickles(kind: str, tmp_path: Path) -> None:
    marker, path = tmp_path / "executed", tmp_path / "bomb"
    path.write_bytes(KINDS[kind](Bomb(marker)))
    if kind == "pickle":
        pickle.loads(path.read_bytes())
    elif kind == "torchscript":
        pickle.loads(zipfile.ZipFile(path).read("model/data.pkl"))
    elif kind in ("npz", "npy"):
        found = np.load(path, allow_pickle=True)
        assert kind == "npy" or found["ids"] is not None
    else:
        torch.load(path, weights_only=False)
    assert marker.exists()


def test_a_checkpoint(server: Server, tiny_dataset: Path, copy: Path, finished: Path, marker: Path) -> None:
    """A fit finds it in its folder, says so in a line, and begins anew."""
    fit = only(copy, "fit.json").parent
    for path in [*fit.glob("*.*"), *fit.glob("evals/*")]:
        path.unlink()
    (fit / "epoch_1.pth").write_bytes(torch_zip(Bomb(marker)))
    (fit / "epoch_2.pth").write_bytes(raw(Bomb(marker)))
    (fit / "last_checkpoint").write_text(str(fit / "epoch_2.pth"))
    done = server.run(*run_arguments(tiny_dataset, copy))
    assert done.code == 0, done.err
    warnings = [line for line in done.err.splitlines() if line.startswith("WARNING: ")]
    assert len(warnings) == 2 and "epoch_2.pth" in warnings[0] and "epoch_1.pth" in warnings[1]
    assert outcome_of(copy) == outcome_of(finished)


@pytest.mark.parametrize("kind", ["torch", pytest.param("pickle", marks=pytest.mark.slow)])
def test_the_weights_of_a_fit(server: Server, tiny_dataset: Path, copy: Path, kind: str, marker: Path) -> None:
    weights = only(copy, "weights.safetensors")
    weights.write_bytes(KINDS[kind](Bomb(marker)))
    shutil.rmtree(weights.parent / "evals")
    one_error(server.run(*run_arguments(tiny_dataset, copy)), "weights.safetensors", code=1)
    one_error(server.run("export", weights.parent, "--out", copy / "out.safetensors"), "weights.safetensors")
    clip = only(tiny_dataset, "*.avi")
    one_error(server.run("attention", clip, "--fit", weights.parent, "--out", copy / "out.png"), "weights.safetensors")


def test_the_weights_of_another_run_are_noticed(server: Server, tiny_dataset: Path, copy: Path) -> None:
    """Values other than those that the fit left are refused, though names and shapes are right."""
    from safetensors.torch import load_file, save_file

    weights = only(copy, "weights.safetensors")
    save_file({name: value + 1 for name, value in load_file(weights).items()}, weights)
    shutil.rmtree(weights.parent / "evals")
    one_error(server.run(*run_arguments(tiny_dataset, copy)), "changed after the fit", code=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors"])
def test_a_weight_file(kind: str, suffix: str, tmp_path: Path, marker: Path) -> None:
    from harness.base.errors import UserError
    from harness.engine.model.backbone import load_backbone

    path = tmp_path / f"weights{suffix}"
    path.write_bytes(KINDS[kind](Bomb(marker)))
    for arch in (None, "ViT-B-32"):
        with pytest.raises(UserError):
            load_backbone(arch, path)


def test_a_weight_file_on_the_command_line(server: Server, tiny_dataset: Path, tmp_path: Path, marker: Path) -> None:
    path, names = tmp_path / "weights.pt", tmp_path / "names.txt"
    path.write_bytes(torch_zip(Bomb(marker)))
    names.write_text("running\nboxing\n")
    clip = only(tiny_dataset, "*.avi")
    one_error(server.run("predict", clip, "--labels", names, "--weights", path))
    names.write_bytes(raw(Bomb(marker)))
    one_error(server.run("predict", clip, "--labels", names, "--arch", "mini-clip"), "names.txt")


@pytest.mark.slow
def test_entries_of_the_feature_cache(
    server: Server, tiny_dataset: Path, copy: Path, finished: Path, marker: Path
) -> None:
    """Damaged entries are computed anew, and the numbers stay."""
    features = sorted((copy / "cache" / "features").rglob("*.safetensors"))
    notes = sorted((copy / "cache" / "features" / "videos").rglob("*.json"))
    assert len(features) >= 4 and len(notes) >= 4
    for number, path in enumerate([*features, *notes]):
        path.write_bytes(list(KINDS.values())[number % len(KINDS)](Bomb(marker)))
    shutil.rmtree(only(copy, "untrained"))
    done = server.run(*run_arguments(tiny_dataset, copy, "vanilla_clip"))
    assert done.code == 0 and "Traceback" not in done.err, done.err
    assert outcome_of(copy) == outcome_of(finished)


def test_intermediate_results_of_an_eval(
    server: Server, tiny_dataset: Path, copy: Path, finished: Path, marker: Path
) -> None:
    evals = only(copy, "fit.json").parent / "evals"
    cells = [path.name.split("-")[-1].split(".")[0] for path in evals.glob("*.record.json")]
    keys = {path.stem for path in (copy / "runs" / ".locks").glob("*.lock")}
    shutil.rmtree(evals)
    evals.mkdir()
    planted = [key for key in keys if any(key.startswith(cell) for cell in cells)]
    assert len(planted) == 3
    weights = json.loads((evals.parent / "fit.json").read_text())["weights"]["sha256"]
    for key in planted:
        (evals / f".{key}-{weights[:8]}.partial.npz").write_bytes(numpy_archive(Bomb(marker)))
    done = server.run(*run_arguments(tiny_dataset, copy), patch=PARTIAL_ALWAYS)
    assert done.code == 0, done.err
    assert len([line for line in done.err.splitlines() if "the eval starts anew" in line]) == 3
    assert outcome_of(copy) == outcome_of(finished)


def test_a_record(server: Server, copy: Path, marker: Path) -> None:
    only(copy / "runs", "*.record.json").write_bytes(raw(Bomb(marker)))
    runs = copy / "runs"
    for verb in (
        ("report", "--runs", runs, "--out", copy / "site"), ("compare", "vificlip", "vanilla_clip", "--runs", runs),
        ("score", runs),
    ):  # fmt: skip
        done = server.run(*verb)
        assert done.code == 1 and "Traceback" not in done.err and ".record.json" in done.out + done.err, verb
    assert (copy / "site" / "index.html").is_file(), "the other records are shown"


@pytest.mark.parametrize("packed", [True, False])
def test_predictions(server: Server, copy: Path, packed: bool, marker: Path) -> None:
    bomb = raw(Bomb(marker))
    only(copy / "runs", "*base_val*.predictions.csv.gz").write_bytes(gzip.compress(bomb) if packed else bomb)
    runs = copy / "runs"
    done = server.run("score", runs)
    assert done.code == 1 and "Traceback" not in done.err and "base_val" in done.out + done.err
    done = server.run("compare", "vificlip", "vanilla_clip", "--runs", runs)
    assert done.code == 1 and "Traceback" not in done.err and "base_val" in done.err


def test_the_file_of_a_fit(server: Server, tiny_dataset: Path, copy: Path, marker: Path) -> None:
    only(copy, "fit.json").write_bytes(raw(Bomb(marker)))
    one_error(server.run(*run_arguments(tiny_dataset, copy)), "fit.json", code=1)


@pytest.mark.parametrize("name", ["data.pkl", "data.csv", "data.tsv", "data.txt", "data.json"])
def test_a_dataset_file(server: Server, tmp_path: Path, name: str, marker: Path) -> None:
    path = tmp_path / name
    path.write_bytes(raw(Bomb(marker)))
    one_error(server.run(*run_arguments(path, tmp_path)), name)


def test_official_lists_and_annotations(server: Server, tmp_path: Path, marker: Path) -> None:
    bomb = raw(Bomb(marker))
    for name in ("classInd.txt", "trainlist01.txt", "testlist01.txt", "labels.json", "train.json", "validation.json"):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / name).write_bytes(bomb)
    for name in ("kinetics-400_val.csv", "kinetics-400_train.csv", "val.csv", "tst_class_idxs.json"):
        (tmp_path / "annotations" / name).write_bytes(bomb)
    for dataset in ("ucf101", "hmdb51", "ssv2", "k400", "k600"):
        places = ("--annotations", tmp_path / "annotations", "--out", tmp_path / "lists", "--cache", tmp_path / "c")
        one_error(server.run("data", "prepare", dataset, *places))
    for folder in ("ucf_splits", "base2novel_splits/ucf_splits"):
        (tmp_path / "lists" / folder).mkdir(parents=True)
        for name in ("val1.txt", "fs_base_s1_train.txt", "few_shot_val1.txt"):
            (tmp_path / "lists" / folder / name).write_bytes(bomb)
    one_error(server.run("data", "import-lists", tmp_path / "lists", "--out", tmp_path / "imported"))


def test_indexes_of_datasets(server: Server, tiny_dataset: Path, copy: Path, marker: Path) -> None:
    """The index of a video folder is read anew where it is no index, and the cells stay done."""
    indexes = list((copy / "cache" / "inventory").glob("*.json"))
    assert indexes
    for path in indexes:
        path.write_bytes(raw(Bomb(marker)))
    done = server.run(*run_arguments(tiny_dataset, copy))
    assert done.code == 0 and done.err.startswith("0 fits and 0 evals done, 4 cells reused"), done.err


@pytest.fixture(scope="module")
def submission(server: Server, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission of the finished run."""
    path = tmp_path_factory.mktemp("packed") / "good.zip"
    done = server.run("submit", "pack", "vificlip", "--runs", finished / "runs", "--weights", "--out", path)
    assert done.code == 0, done.err
    return path


def test_a_submission(server: Server, submission: Path, tmp_path: Path, marker: Path) -> None:
    """As a whole, and in each of its members: nothing is unpickled, extracted or left unsaid."""
    with zipfile.ZipFile(submission) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert len(members) >= 6
    folder = tmp_path / "submissions"
    folder.mkdir()
    for kind, bomb in KINDS.items():
        (folder / f"whole-{kind}.zip").write_bytes(bomb(Bomb(marker)))
    for number, planted in enumerate(members):
        bomb = list(KINDS.values())[number % len(KINDS)](Bomb(marker))
        with zipfile.ZipFile(folder / f"member{number}.zip", "w") as archive:
            for name, data in members.items():
                archive.writestr(name, bomb if name == planted else data)
    before = sorted(tmp_path.rglob("*"))
    done = server.run("submit", "check", *sorted(folder.iterdir()))
    assert done.code in (1, 2) and "Traceback" not in done.err, done.err
    assert all(path.name in done.out + done.err for path in folder.iterdir())
    assert sorted(tmp_path.rglob("*")) == before
