"""All architectures of the installed open_clip: the table of facts, features and logits against open_clip's own.

Values are compared with random weights up to 0.7 G parameters, shapes on the meta device above.
"""

from __future__ import annotations

import copy
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.architecture_table import BEGIN, DOCS, END, TOWER, documented
from harness.api import LabelSet, UserError, build_method, load_backbone
from harness.cells.architecture_table import ARCHITECTURES, LARGEST_COMPARED
from harness.cells.open_clip_source import architecture_config, architectures
from harness.engine.method import method_class
from harness.plugins import registry
from tests.conftest import in_process
from tests.engine import hub_cache
from tests.engine.test_towers import FAMILIES

TEXTS = ("run", "a photo of a person who is riding a bike", "fly")
WHOLE = {"ViT-B-16-SigLIP": "SigLIP", "PE-Core-T-16-384": "PE-Core", "EVA02-B-16": "EVA02", "RN50": "ResNet",
         "coca_ViT-B-32": "CoCa", "convnext_tiny": "ConvNeXt"}  # fmt: skip


@pytest.fixture(scope="module")
def hub() -> Iterator[Path]:
    pytest.importorskip("transformers", reason="the extra [hf] is not installed")
    with hub_cache.in_cache_of_all() as cache:
        yield cache


def test_the_table_holds_every_architecture_and_is_that_of_the_docs() -> None:
    assert set(ARCHITECTURES) == set(architectures())
    for arch, row in ARCHITECTURES.items():
        config = architecture_config(arch)
        assert config is not None and config.vision_cfg.image_size == row.image_size, arch
        assert row.compared == ("values" if row.parameters <= LARGEST_COMPARED else "shapes")
        assert ("transformers" in row.text) == bool(config.text_cfg.hf_model_name), arch
    assert documented(ARCHITECTURES) in DOCS.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


@pytest.mark.parametrize("family", ["resnet", pytest.param("coca", marks=pytest.mark.slow)])
def test_each_built_in_method_that_refuses_a_tower_is_in_the_table(family: str) -> None:
    """On a small model with the towers of an architecture; the table must know methods that were added later."""
    backbone, refused = FAMILIES[family](), set()
    for name, source in registry.sources("method").items():
        cls = method_class(name)
        if source.origin != "built-in" or not cls.uses_clip:
            continue
        try:
            cls(copy.deepcopy(backbone), cls.options_for({}, frames=8))
        except UserError as error:
            assert TOWER in error.message
            refused.add(name)
    known = ARCHITECTURES[backbone.arch].refused
    assert refused == {name for name, refusal in known.items() if TOWER in refusal.reason} and len(refused) > 10


def relative(value: Tensor, reference: Tensor) -> float:
    return float((value - reference).abs().max() / reference.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("arch", [name for name, row in sorted(ARCHITECTURES.items()) if row.compared == "values"])
def test_values_equal_those_of_open_clip(arch: str, hub: Path) -> None:
    backbone = load_backbone(arch, "random")
    assert not [p for n, p in backbone.named_parameters() if not torch.isfinite(p).all()]
    clip: Any = backbone.clip
    side, config = backbone.image_size, architecture_config(arch)
    assert config is not None and backbone.embed_dim == config.embed_dim
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    tokens = backbone.tokenize(TEXTS)
    assert tokens.shape == (3, config.text_cfg.context_length)
    with torch.no_grad():
        image, text = clip.encode_image(images, normalize=False), clip.encode_text(tokens, normalize=False)
        assert relative(backbone.encode_images(images), image) <= 1e-5
        assert relative(backbone.encode_texts(TEXTS), text) <= 1e-5
        features = [torch.nn.functional.normalize(x, dim=-1) for x in (image, text)]
        logits = clip.logit_scale.exp() * features[0] @ features[1].T
        logits = logits if clip.logit_bias is None else logits + clip.logit_bias
        # Cosines of random towers may cancel to a few thousandths, where 1e-5 is below the rounding of fp32.
        least = 0.01 * float(clip.logit_scale.exp())
        method = build_method("vanilla_clip", backbone, template="{}", text_embedding="clean").eval()
        scores = method(images[:, None], LabelSet(TEXTS))
        assert float((scores - logits).abs().max()) <= 1e-5 * max(float(logits.abs().max()), least)
    del backbone, clip, method
    gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_the_row_of_the_table_is_that_of_the_model(arch: str, hub: Path) -> None:
    from benchmarks.architecture_table import measured

    assert measured(arch) == ARCHITECTURES[arch]


@pytest.fixture(scope="module")
def real_clips(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes of original clips with four clips each, as a custom dataset."""
    clips: dict[str, list[Path]] = {}
    for path in sorted((shared / "videos").rglob("*.avi")):
        clips.setdefault(path.parent.name, []).append(path)
    root = tmp_path_factory.mktemp("real") / "actions"
    for name, files in [(n, f) for n, f in sorted(clips.items()) if len(f) >= 4][:4]:
        (root / name).mkdir(parents=True)
        for file in files[:4]:
            (root / name / file.name).symlink_to(file)
    assert len(list(root.iterdir())) == 4
    return root


@pytest.mark.slow
@pytest.mark.parametrize("arch", WHOLE)
def test_b2n_runs_whole_on_each_family(
    arch: str, hub: Path, real_clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fits and evals of a method that trains both towers and of a method that trains none, and their records."""
    what = (
        "--method", "vanilla_clip", "vificlip", "--protocol", "b2n", "--dataset", real_clips, "--arch", arch,
        "--weights", "random", "--views", "frames=2", "--repeat", "1", "--recipe", "epochs=1", "--recipe", "ranks=1",
        "--recipe", "accumulate=1", "--recipe", "micro_batch=2", "--recipe", "warmup_epochs=0", "--workers", "0",
        "--quiet", "--no-report", "--runs", tmp_path / "runs", "--cache", tmp_path / "cache",
    )  # fmt: skip
    assert in_process("run", *what, "--json") == 0
    capsys.readouterr()
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "runs").rglob("*.record.json"))]
    assert len(records) >= 6
    config = architecture_config(arch)
    assert config is not None
    for record in records:
        model, views = record["measurement"]["model"], record["measurement"]["evaluation"]["views"]
        assert (model["arch"], model["tokenizer"]) == (arch, config.tokenizer)
        assert model["text_length"] == config.text_cfg.context_length
        own = views["normalize"] == "model"
        assert own == (arch in ("ViT-B-16-SigLIP", "PE-Core-T-16-384")) and bool(views["input"]["mean"]) == own
    assert in_process("plan", *what) == 0
    assert "to do: 0 fits, 0 evals" in capsys.readouterr().err
