"""The switches of the published study: where its code does something doubtful, by name, with both ways of doing it.

`published` reproduces the original, `clean` is what a new implementation would do. Whatever decides a number shows in
the signature; see `signature`. Source: specification of the methods, section 13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PUBLISHED_OR_CLEAN = ("published", "clean")


@dataclass(frozen=True)
class Switch:
    """One doubtful behaviour and how to choose.

    Args:
        name: As the specification calls it.
        setting: The flag or option that chooses.
        published, clean: Its two values; equal where the original is right or nothing better is wanted.
        default: Which of them is the default.
        shows: Where a result says which it was.
        note: Why, in a few words.
    """

    name: str
    setting: str
    published: str
    clean: str
    default: str = "published"
    shows: str = "signature"
    note: str = ""


SWITCHES = (
    Switch("text.template", "NAME:template", "the method's own", "the same", note="bare name for vanilla CLIP, X-CLIP"),
    Switch("text.ucf_names", "--label-set", "published (ApplyEyeMakeup)", "split (Apply Eye Makeup)",
           note="never ranked together"),
    Switch("labels of HMDB-51", "--label-set", "published (two pairs swapped)", "corrected",
           note="never ranked together"),
    Switch("normalize", "--views normalize", "imagenet", "clip", note="also in training"),
    Switch("eval.views", "--views sampling", "random", "uniform", note="of several clips; one clip is centred"),
    Switch("reader", "--views reader", "decord", "exact", note="decord returns other frames on some files"),
    Switch("eval.logits_dtype", "NAME:logits", "published (float16)", "clean (float32)", "clean",
           note="float16 makes ties, which measures the rounding"),
    Switch("eval.drop_last", "score --drop-last", "said apart", "every video is scored", "clean", "output of `score`",
           note="no video is ever dropped; `score` says what the published loader would leave out"),
    Switch("text.embedding", "NAME:text_embedding", "published (float16)", "clean (float32)"),
    Switch("prompts", "bridge_prompt:prompt_rounding", "published (float16)", "clean (float32)"),
    Switch("train.flip_ssv2", "--recipe flip", "true", "false", note="on every dataset, SSv2's left and right too"),
    Switch("train.micro_batch", "--recipe micro_batch", "4", "4", note="blending mixes inside it"),
    Switch("train.world_size x accumulate", "--recipe ranks, accumulate", "8 x 2, 8, 16", "the same",
           note="whatever the number of processes"),
    Switch("train.leftover", "-", "discarded", "discarded", shows="-"),
    Switch("train.schedule", "--recipe schedule", "absolute_cosine", "absolute_cosine"),
    Switch("train.color_jitter", "--recipe augmentation", "per frame", "per frame"),
    Switch("train.amp", "--precision", "fp16", "bf16 or fp32", "clean", "record, `environment.dtype`",
           note="apex O1 is replaced by autocast"),
    Switch("select", "--recipe selection", "last, or best on the test list", "last", "clean",
           note="nothing is chosen on a test list"),
    Switch("fewshot.val", "-", "val1; mean of three lists", "val1", "clean", "list in the signature",
           note="the other two hold training clips, so they are refused"),
)  # fmt: skip

_VIEWS = {
    "normalize": {"published": "imagenet", "clean": "clip"},
    "reader": {"published": "decord", "clean": "exact"},
    "sampling": {"published": "random", "clean": "uniform"},
}
_RECIPE = {"flip": {"published": "true", "clean": "false"}}


def views_values(overrides: Mapping[str, str], clips: int) -> dict[str, str]:
    """Overrides of views with `published` and `clean` in place of a switch's own values spelt out.

    Args:
        overrides: Raw text by field.
        clips: Temporal views if the overrides do not say; a single one is centred either way.
    """
    values = {key: _VIEWS.get(key, {}).get(text, text) for key, text in overrides.items()}
    asked = overrides.get("clips", str(clips))
    if overrides.get("sampling") in PUBLISHED_OR_CLEAN and asked == "1":
        values["sampling"] = "centre"
    return values


def recipe_values(overrides: Mapping[str, str]) -> dict[str, str]:
    """Overrides of a recipe with `published` and `clean` in place of a switch's own values spelt out."""
    return {key: _RECIPE.get(key, {}).get(text, text) for key, text in overrides.items()}


def switches_table() -> str:
    """All switches as a Markdown table, as it stands in docs/methods.md."""
    lines = ["| switch | setting | published | clean | default | shows in |", "| --- | --- | --- | --- | --- | --- |"]
    for s in SWITCHES:
        setting = f"`{s.setting}`" if s.setting != "-" else "-"
        note = f"; {s.note}" if s.note else ""
        lines.append(f"| {s.name} | {setting} | {s.published} | {s.clean} | {s.default}{note} | {s.shows} |")
    return "\n".join(lines)
