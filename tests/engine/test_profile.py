"""Counts of parameters and multiply-adds of ViT-B/16 against the closed forms of the specification."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.api import UserError
from harness.engine.cost.profile import ProfileRow, profile

DOCS = Path(__file__).resolve().parents[2] / "docs" / "methods.md"
IN_DOCS = (
    "vanilla_clip", "image_ft", "text_ft", "vificlip", "bridge_prompt (b2n)", "bridge_prompt (few_shot)", "actionclip",
    "xclip", "efficient_prompt", "tc_clip", "open_vclip", "froster", "ost", "ez_clip", "mote", "lora", "st_adapter",
    "aim", "vita_clip", "viclip", "mformer",
)  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> dict[str, ProfileRow]:
    methods = dict.fromkeys(name.partition(" ")[0] for name in IN_DOCS)
    return {row.method: row for row in profile("ViT-B-16", methods, frames=(16,))}


@pytest.mark.parametrize(
    ("method", "trained", "total", "gmacs"),
    [
        ("vanilla_clip", 0, 149_620_737, 281.0),
        ("image_ft", 86_192_640, 149_620_737, 281.0),
        ("text_ft", 38_131_200, 149_620_737, 281.0),
        ("vificlip", 124_323_841, 149_620_737, 281.0),
        ("bridge_prompt (b2n)", 184_320, 149_620_737 + 184_320, 304.7),
        ("bridge_prompt (few_shot)", 153_600, 149_620_737 + 153_600, 295.8),
        ("actionclip", 168_574_465, 168_574_465, 281.3),
        ("xclip", 131_505_152, 194_933_249, 283.4 + 0.9),  # the message passes the MLP too: 16 x 12 x 8 x 768^2
        ("efficient_prompt", 3_200_000, 149_620_737 + 3_200_000, 281.0),
        # 96 context tokens: keys and values in 11 blocks, 11 x 16 x 197 queries on them, and the MLP of 12 blocks; the
        # class tokens' attention to the patches, and the matching of 928 patches, in 12 blocks.
        ("tc_clip", 127_479_561, 152_776_457, 300.0),
        ("open_vclip", 86_192_641, 149_620_737, 303.9),  # each frame attends to both neighbours: 3 x 197 keys
        ("froster", 150_669_313, 150_669_313, 303.9),
        ("ost", 149_620_737, 149_620_737, 281.0),
        ("ez_clip", 5_204_736 + 12 * 8 * 768, 149_620_737 + 5_204_736 + 12 * 8 * 768 + 16 * 768, 293.2),
        ("mote", 124_038_145, 187_466_257, 281.3),
        ("lora", 184_320, 149_620_737 + 184_320, 281.0 + 0.4),
        ("st_adapter", 11 * 592_512, 149_620_737 + 12 * 592_512, 303.3),
        ("aim", 10_651_392 + 16 * 768 + 2 * 768, 149_620_737 + 10_651_392 + 16 * 768, 404.6),
        ("viclip", 0, 149_643_266, 449.7),
        # Published: 30,158,849 with 8 frames and vectors for 400 classes.
        ("vita_clip", 28_604_417, 185_313_025, 303.2),
    ],
)
def test_counts(rows: dict[str, ProfileRow], method: str, trained: int, total: int, gmacs: float) -> None:
    row = rows[method]
    assert (row.parameters_trained, row.parameters_total) == (trained, total)
    assert row.video_gmacs == pytest.approx(gmacs, abs=0.1)
    assert row.text_gmacs == pytest.approx(2.980, abs=0.005)


def test_published_numbers_are_explained(rows: dict[str, ProfileRow]) -> None:
    vifi, xclip = rows["vificlip"], rows["xclip"]
    assert vifi.published is not None and vifi.published.gmacs is not None
    assert vifi.video_gmacs == pytest.approx(vifi.published.gmacs, abs=0.1)
    assert xclip.published is not None
    layer_norms, message = 0.4, 0.9
    one_sentence = xclip.video_gmacs - message + layer_norms + xclip.score_gmacs + xclip.text_gmacs
    assert one_sentence == pytest.approx(xclip.published.gmacs, abs=0.1)
    assert xclip.score_gmacs == pytest.approx(0.21, abs=0.01)
    assert xclip.score_gmacs_all == pytest.approx(2.46, abs=0.01)
    assert rows["actionclip"].texts_per_class == 16
    (ez,) = profile("ViT-B-16", ["ez_clip"], frames=(8,))
    assert ez.published is not None and ez.published.parameters == pytest.approx(ez.parameters_trained / 1e6, abs=0.05)


def test_the_table_in_the_docs_is_what_profile_counts(rows: dict[str, ProfileRow]) -> None:
    lines = ["| method | parameters M | trained M | GMAC at 16 frames | published GFLOPs, M | where they differ |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for name in IN_DOCS:
        row, p = rows[name], rows[name].published
        printed = ("-", "")
        if p:
            printed = ("" if p.gmacs is None else f"{p.gmacs:g}, ") + str(p.parameters), p.explanation
        lines.append(
            f"| {name} | {row.parameters_total / 1e6:.2f} | {row.parameters_trained / 1e6:.2f} | "
            f"{row.video_gmacs:.1f} | {printed[0]} | {printed[1]} |"
        )
    begin, end = "<!-- compute: begin -->\n", "<!-- compute: end -->"
    before, rest = DOCS.read_text().split(begin)
    table = "\n".join(lines)
    if os.environ.get("HARNESS_UPDATE_DOCS"):
        DOCS.write_text(f"{before}{begin}\n{table}\n\n{end}{rest.split(end)[1]}")
    else:
        assert rest.split(end)[0].strip() == table


@pytest.mark.slow
def test_a_network_other_than_clip_is_counted_at_its_own_size(rows: dict[str, ProfileRow]) -> None:
    row = rows["mformer"]
    assert (row.arch, row.frames, row.parameters_total, row.parameters_trained) == ("mformer-hr", 16, 108_554_128, 0)
    assert row.published is not None and row.video_gmacs == pytest.approx(row.published.gmacs, rel=1e-3)
    assert "mmaction2" not in rows
    with pytest.raises(UserError, match="mmaction2 has its own model, which has no default"):
        profile("ViT-B-16", ["mformer", "mmaction2"], frames=(8,))


def test_frames_scale(rows: dict[str, ProfileRow]) -> None:
    (action,) = profile("ViT-B-16", ["actionclip"], frames=(32,))
    assert action.published is not None
    assert action.video_gmacs == pytest.approx(action.published.gmacs, abs=0.5)
    assert action.video_gmacs == pytest.approx(2 * rows["actionclip"].video_gmacs, rel=1e-3)


def test_unknown_architecture() -> None:
    with pytest.raises(UserError, match="ViT-B-61"):
        profile("ViT-B-61")
