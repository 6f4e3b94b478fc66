"""Valid measurements drawn by hypothesis, and for every field of one another valid value."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from functools import cache
from typing import Any, get_args, get_type_hints

from hypothesis import strategies as st

from harness.base.errors import UserError
from harness.spec import Recipe, Repeat, Views
from results.measurement import (
    Evaluation,
    Expected,
    ListId,
    Measurement,
    MethodId,
    ModelId,
    Prescribed,
    ProtocolId,
    Scope,
    Start,
    Training,
)

ODD = ("|", "\\", "\\|", ",", "=", "a|b", "a,b=c", "|row:", "-", "", "a video of {}", "'", '"', "{}", "\n", "é", "中")
TEXTS = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=("Cs",)), max_size=6))
NAMES = st.one_of(st.sampled_from(("hmdb51", "k400", "my videos", "a|b", "unknown")), TEXTS.filter(bool))
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)  # one draw instead of 64
ROOTS = st.binary(min_size=4, max_size=4).map(bytes.hex)
OPTIONAL_HASHES = st.one_of(st.just(""), HASHES)
NUMBERS = st.one_of(st.integers(-10, 10), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
PLAIN = st.one_of(st.booleans(), st.none(), NUMBERS, TEXTS)
VALUES = st.one_of(PLAIN, st.lists(PLAIN, max_size=3).map(tuple))
OPTIONS = st.dictionaries(st.one_of(NAMES, st.sampled_from(("template", "k", "monkey"))), VALUES, max_size=4)


STARTS = st.one_of(
    st.just(Start()),
    st.builds(Start, st.just("fit"), NAMES, HASHES, HASHES, st.booleans()),
    st.builds(Start, st.just("checkpoint")),
)
METHODS = st.builds(
    MethodId, NAMES, st.integers(1, 3), HASHES, OPTIONS, OPTIONS,
    st.sampled_from(("names", "templates", "llm-rewritten", "human-written", "learned", "none", "unknown")),
    OPTIONAL_HASHES, st.lists(NAMES, max_size=2).map(tuple), OPTIONAL_HASHES,
)  # fmt: skip
MODELS = st.builds(
    ModelId, st.sampled_from(("ViT-B-16", "mini-clip")),
    st.one_of(st.sampled_from(("openai", "random")), HASHES.map("sha256:".__add__)), OPTIONAL_HASHES,
    OPTIONAL_HASHES, st.sampled_from((0, 224)), st.sampled_from(("", "gelu", "quick_gelu")), st.sampled_from((0, 77)),
)  # fmt: skip


@st.composite
def views(draw: st.DrawFn) -> Views:
    clips = draw(st.sampled_from((1, 1, 2, 4)))
    sampling = draw(
        st.sampled_from(("random", "uniform", "dense:2", "segments") if clips > 1 else ("centre", "uniform", "dense:3"))
    )
    return Views(
        draw(st.integers(1, 64)), clips, draw(st.sampled_from((1, 3))), sampling,
        draw(st.sampled_from(("imagenet", "clip", "raw"))), draw(st.sampled_from(("decord", "exact"))),
    )  # fmt: skip


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    share, betas = st.floats(0, 1), st.floats(0, 1, exclude_max=True)
    return Recipe(
        epochs=draw(st.integers(1, 100)), lr=draw(st.floats(1e-9, 1)), warmup_epochs=draw(st.integers(0, 9)),
        betas=(draw(betas), draw(betas)), smoothing=draw(share), seed=draw(st.integers(0, 2**31)),
        source=draw(st.sampled_from(("paper", "own: tuned", "own"))), flip=draw(st.booleans()),
        schedule="slowfast_cosine",  # the schedule that all fields go with
    )  # fmt: skip


@cache  # hypothesis inspects a new strategy anew
def lists(own: bool) -> st.SearchStrategy[ListId]:
    return st.builds(
        ListId, dataset=NAMES, name=NAMES,
        origin=st.just("own") if own else st.sampled_from(("published", "generated", "unknown")), sha256=HASHES,
        labels=NAMES, labels_sha256=HASHES,
        label_variant=st.sampled_from(("published", "corrected", "split", "unknown")), n=st.integers(1, 500),
        content=HASHES if own else st.just(""), root=ROOTS if own else st.just(""),
    )  # fmt: skip


@st.composite
def trainings(draw: st.DrawFn, own: bool) -> Training:
    listed, declared = draw(lists(own)), draw(recipes())
    changes = draw(st.sampled_from(({}, {"epochs": 3}, {"lr": 0.25, "seed": 9}, {"betas": (0.5, 0.75)})))
    return Training(
        listed, replace(declared, **changes), declared, draw(views()), draw(STARTS),
        draw(st.sampled_from(("float32", "bfloat16"))), draw(st.integers(1, listed.n)), draw(HASHES),
    )  # fmt: skip


TABLES = st.one_of(
    st.just(("", "")), st.tuples(NAMES, st.one_of(st.just(""), st.text("0123456789abcdef", min_size=8, max_size=8)))
)
"""Dataset and root of a row; empty for a row on one dataset."""


@st.composite
def measurements(draw: st.DrawFn, trained: bool | None = None) -> Measurement:
    """Trained, untrained and unknown training; official and own lists; with and without a parent fit."""
    own, own_training = draw(st.booleans()), draw(st.booleans())
    listed, prescribed = draw(lists(own)), Prescribed(draw(views()), draw(st.sampled_from(("", "reverse"))))
    used_views = draw(st.one_of(st.just(prescribed.views), views()))
    repeat = Repeat(draw(st.sampled_from(("single", "seed", "train_subset"))), draw(st.integers(1, 5)))
    kinds = {True: (trainings(own_training),), False: (st.none(),)}
    training = draw(
        st.one_of(
            kinds[trained] if trained is not None else (trainings(own_training), st.sampled_from((None, "unknown")))
        )
    )
    part = draw(st.sampled_from(("all", "base", "novel")))
    scope = Scope(
        draw(HASHES), draw(HASHES), draw(st.sampled_from(("own", "source"))) if own_training else "",
        draw(HASHES) if own_training else "", draw(HASHES), draw(HASHES), draw(HASHES),
        tuple(Expected(part, Repeat(repeat.kind, i)) for i in range(1, draw(st.integers(1, 5)) + 1)),
    )  # fmt: skip
    return Measurement(
        protocol=ProtocolId(draw(NAMES), draw(st.integers(1, 3)), part, repeat, prescribed, scope, *draw(TABLES)),
        method=draw(METHODS),
        model=draw(MODELS),
        training=training,
        evaluation=Evaluation(
            listed, used_views, draw(st.sampled_from(("", "reverse"))), draw(st.sampled_from(("", "every 10th"))),
            draw(st.sampled_from(("", "float32", "float16"))), draw(st.integers(1, listed.n)),
        ),
        engine=draw(st.integers(0, 5)),
    )  # fmt: skip


def get(m: Any, path: str) -> Any:
    for name in path.split("."):
        m = getattr(m, name)
    return m


def put(part: Any, path: str, value: Any) -> Any:
    """A copy with another value at a path; checks of the dataclasses apply."""
    name, _, rest = path.partition(".")
    return replace(part, **{name: put(getattr(part, name), rest, value) if rest else value})


CANDIDATES: dict[str, tuple[Any, ...]] = {
    "sampling": ("centre", "random", "uniform", "dense:2", "dense:3"), "normalize": ("imagenet", "clip", "raw"),
    "reader": ("decord", "exact"), "crops": (1, 3), "augmentation": ("published", "none", "short_side:224-256"),
    "resize": ("published", "input", "slowfast", "floats", "pillow"), "combine": ("probabilities", "logits"),
    "mean": ((), (0.5, 0.5, 0.5)), "std": ((), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)),
    "schedule": ("absolute_cosine", "stepped_cosine", "slowfast_cosine", "constant"), "betas": ((0.1, 0.2), (0.3, 0.4)),
    "selection": ("last", "epoch:1"), "average": ("none", "1", "1-1", "all"),
    "lr_factors": (("new=10",), ("new=5", "old=0")), "no_decay": (("vectors",), ("norms", "new")),
    "class_text": ("names", "templates", "llm-rewritten", "human-written", "learned", "none", "unknown"),
    "expected": ((Expected("x", Repeat()),), (Expected("y", Repeat()),)), "extra_data": ((), ("a",), ("a", "b")),
    "options": ({}, {"k": 1}, {"k": "1"}, {"k": True}, {"k": 2}, {"k": (1,)}, {"k": None}, {"k": 0.5}),
}  # fmt: skip
CANDIDATES["evaluation_options"] = CANDIDATES["options"]
BY_TYPE: dict[type, tuple[Any, ...]] = {
    int: (1, 2, 3, 4), float: (0.125, 0.25, 0.375), bool: (True, False), str: ("one", "two", "three"),
}  # fmt: skip


def others(m: Measurement, path: str) -> list[Measurement]:
    """Measurements that differ from another in one field, which has another valid value."""
    owner, _, name = path.rpartition(".")
    holder = get(m, owner) if owner else m
    hint = get_type_hints(type(holder))[name]
    literal = tuple(a for a in get_args(hint) if isinstance(a, str))
    base = next((kind for kind in (hint, *get_args(hint)) if kind in BY_TYPE), str)
    found = []
    for value in CANDIDATES.get(name, literal or BY_TYPE[base]):
        try:
            changed = put(m, path, value)
        except UserError:  # e.g. four clips at the centre
            continue
        if get(changed, path) != get(m, path) or isinstance(value, bool) != isinstance(get(m, path), bool):
            found.append(changed)
    return found


def leaf_paths(kind: Any, place: str = "") -> list[str]:
    """Paths of all fields below a dataclass, from its type alone."""
    found: list[str] = []
    for name, hint in get_type_hints(kind).items():
        part = Training if Training in get_args(hint) else hint
        path = f"{place}{name}"
        inner = isinstance(part, type) and dataclasses.is_dataclass(part)
        found += leaf_paths(part, f"{path}.") if inner else [path]
    return found
