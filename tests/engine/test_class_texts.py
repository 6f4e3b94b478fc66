"""The option `class_texts`: features, measurement, group, and errors before any work."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from harness.api import ClassTextOptions, ClipMethod, option
from harness.base.errors import UserError
from harness.cells.exported_method import method_of_export
from harness.cells.from_request import expand
from harness.cells.request import Request, parse_methods
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.machine.settings import load_settings
from harness.plugins.loose_files import load_file
from harness.spec import LabelSet
from harness.spec.class_texts import FORM
from harness.weights.exported import ExportedFit
from results.measurement import keys_of
from results.measurement_words import division, open_reasons, signature
from tests.conftest import in_process

LABELS = LabelSet(("walk", "run"))
PLUGIN = '''"""A method with class texts."""

from dataclasses import dataclass

from harness.api import ClassTextOptions, ClipMethod, MethodCard, register_method


@register_method("worded")
class Worded(ClipMethod):
    card = MethodCard(title="Worded", source="a test")
    options_type = ClassTextOptions

    def setup(self):
        self.requires_grad_(False)
'''


@dataclass(frozen=True)
class Options(ClassTextOptions):
    template: str = option("a video of {}.", "text around the class name")


def write(path: Path, texts: Any, source: str = "llm") -> Path:
    path.write_text(json.dumps({"form": FORM, "source": source, "texts": texts}))
    return path


def worded(path: Path, **options: Any) -> ClipMethod:
    return ClipMethod(tiny_backbone(), Options(class_texts=str(path), **options)).eval()


@torch.no_grad()
def test_a_single_text_replaces_the_name(tmp_path: Path) -> None:
    method = worded(write(tmp_path / "t.json", {"run": "quick legs", "walk": ["slow legs"]}))
    assert method.prompts(LABELS) == ("a video of slow legs.", "a video of quick legs.")
    expected = method.backbone.encode_texts(("a video of slow legs.", "a video of quick legs."))
    assert torch.equal(method.encode_text(LABELS), expected)


@torch.no_grad()
def test_several_texts_are_the_mean_direction(tmp_path: Path) -> None:
    method = worded(write(tmp_path / "t.json", {"run": ["a", "b", "c"], "walk": "d"}), template="{}")
    directions = F.normalize(method.backbone.encode_texts(("d", "a", "b", "c")), dim=-1)
    expected = torch.stack([directions[0], directions[1:].mean(dim=0)])
    torch.testing.assert_close(method.encode_text(LABELS), expected)
    with pytest.raises(UserError, match="The class 'run' has 3 texts in the file of class texts, and prompts"):
        method.prompts(LABELS)


def test_without_a_file_the_class_names_serve_every_kind() -> None:
    method = ClipMethod(tiny_backbone(), Options())
    assert method.texts_of(LABELS, "spatial") == (("walk",), ("run",))
    assert method.prompts(LABELS) == ("a video of walk.", "a video of run.")


def evals(tmp_path: Path, method: str, protocol: str = "b2n") -> Any:
    request = Request(methods=parse_methods([method]), protocols=(protocol,), datasets=("mini_target",))
    return expand(request, load_settings({"runs": str(tmp_path)})).evals


@pytest.mark.slow
@pytest.mark.usefixtures("plugins_forgotten")
def test_the_writer_decides_the_group_and_the_hash_is_in_the_keys(tmp_path: Path) -> None:
    (tmp_path / "worded.py").write_text(PLUGIN)
    load_file(tmp_path / "worded.py")
    names = {name for cell in evals(tmp_path, "worded") for name in cell.labels.names}
    texts = {name: f"something about {name}" for name in names}
    files = {source: write(tmp_path / f"{source}.json", texts, source) for source in ("llm", "human")}
    cells = {source: evals(tmp_path, f"worded:class_texts={path}") for source, path in files.items()}
    cells["names"] = evals(tmp_path, "worded")
    first = {source: found[0].measurement for source, found in cells.items()}
    assert len({keys_of(m).group for m in first.values()}) == len({keys_of(m).row for m in first.values()}) == 3
    assert [open_reasons(first[s]) for s in ("llm", "human", "names")] == [
        ("class text of a language model",), ("class text written by people",), (),
    ]  # fmt: skip
    assert division(first["names"]) == "closed" and "|text:human-written|" in signature(first["human"])
    assert str(first["llm"].method.options["class_texts"]).startswith("sha256:")
    # All parts of all repeats form one row: base, novel and joint label sets take their texts from one file.
    assert len({keys_of(cell.measurement).row for cell in cells["llm"]}) == 1
    other = write(tmp_path / "other.json", {**texts, "more": "text"})
    changed = evals(tmp_path, f"worded:class_texts={other}")[0].measurement
    assert keys_of(changed).row != keys_of(first["llm"]).row and keys_of(changed).group == keys_of(first["llm"]).group


@pytest.mark.slow
@pytest.mark.usefixtures("plugins_forgotten")
def test_a_class_that_the_file_lacks_is_one_error_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin, path = tmp_path / "worded.py", write(tmp_path / "t.json", {"walk": "x"})
    plugin.write_text(PLUGIN)
    request = ("--plugin", plugin, "--protocol", "b2n", "--dataset", "mini_target", "--runs", tmp_path / "runs")
    assert in_process("run", "--method", f"worded:class_texts={path}", *request) == 2
    error = capsys.readouterr().err
    assert "worded on mini_target, label set " in error and "expected a section with texts for every class" in error
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("*.json"))
    assert in_process("plan", "--method", f"worded:class_texts={tmp_path / 'absent.json'}", *request) == 2
    assert "absent.json" in capsys.readouterr().err


def test_an_export_names_the_file_that_it_lacks() -> None:
    import dataclasses

    fields = {f.name: "" for f in dataclasses.fields(ExportedFit)}
    facts = ExportedFit(**{**fields, "method": "vificlip", "options": {"class_texts": f"sha256:{'0' * 64}"}})
    with pytest.raises(UserError, match="were fitted with a file of class texts"):
        method_of_export(facts, "weights.safetensors")
