"""Pretrain the tiny CLIP of the embedded benchmark on rendered stills with captions, and write its weights.

    python benchmarks/pretrain_mini_clip.py --out harness/data/assets/mini_clip.safetensors

The weights in the package are from seed 0 and 2,000 steps of 64 stills with three captions each. They have 5.1 MB, and
training took 1,479 s on two CPU cores with other load (837 s of CPU time). On shared cores, OMP_WAIT_POLICY=passive in
the environment makes training several times faster. On 1,024 new stills without marks, the model then predicts the
shape of 98.1 %, the motion of 74.8 %, and both of 73.6 %.

The loss is CLIP's symmetric contrastive loss with one change: a picture matches every caption of the batch that is true
of it, because captions repeat within a batch. A caption names the object, in half of the cases its colour, and in half
of the cases its motion. All compositions are shown as stills, none as a video. Inputs have 64x64 pixels in the ImageNet
statistics of the video recipes, so that the weights and the recipes agree.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.data.embedded.drawing import Image, draw_still
from harness.data.embedded.render import MINI_DATASETS, mini_class_names
from harness.data.embedded.shapes_and_motions import COLOURS, MOTIONS, SHAPES

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)

# What wraps a caption. The bare phrase and the photo dominate; the rest makes the usual prompt templates familiar.
FREQUENT = ("{}", "a photo of a {}.", "a photo of a {}", "a {}", "a {}.", "a picture of a {}.", "a drawing of a {}.")
RARE = (
    "a video of {}",
    "a video of a {}.",
    "a photo of action {}",
    "a picture of action {}",
    "Human action of {}",
    "{}, an action",
    "{} this is an action",
    "{}, a video of action",
    "Playing action of {}",
    "Playing a kind of action, {}",
    "Doing a kind of action, {}",
    "Look, the human is {}",
    "Can you recognize the action of {}?",
    "Video classification of {}",
    "A video of {}",
    "The man is {}",
    "The woman is {}",
)
EXTRA_WORDS = (
    "X x 0 1 2 3 4 5 6 7 8 9 . , : ; ! ? - _ ' \" ( ) / & a an the this of in on is are and with person someone"
)

CAPTIONS = 3  # a still
Words = tuple[str, str, str]  # colour, shape, motion; "" where a caption does not say


def build_model(width: int, vision_layers: int, text_layers: int, embedding: int) -> open_clip.CLIP:
    """Return an untrained tiny CLIP: patch 8, resolution 64, context 77, heads of 64 channels, QuickGELU.

    Two starting values differ from CLIP's, for the sake of a few thousand steps: positions start as two-dimensional
    sines, so that neighbouring patches are alike, and patch filters start nearly blind to the mean of a patch, which
    would otherwise drown the outlines.
    """
    vision = CLIPVisionCfg(layers=vision_layers, width=width, head_width=64, patch_size=8, image_size=64)
    text = CLIPTextCfg(context_length=77, vocab_size=49408, width=width, heads=width // 64, layers=text_layers)
    model = open_clip.CLIP(embedding, vision, text, quick_gelu=True)
    with torch.no_grad():
        filters = model.visual.conv1.weight
        filters.sub_(0.8 * filters.mean(dim=(2, 3), keepdim=True)).mul_(2.0)
        waves = torch.exp(torch.arange(width // 4) * (-math.log(100.0) / (width // 4)))
        turns = torch.arange(8.0)[:, None] * waves
        axis = torch.cat([turns.sin(), turns.cos()], dim=1)
        grid = torch.cat([axis[:, None].expand(8, 8, -1), axis[None].expand(8, 8, -1)], dim=2).flatten(0, 1)
        model.visual.positional_embedding[1:] = 0.5 * grid
    return model


def draw_words(rng: np.random.Generator, facts: Words) -> Words:
    """Return what a caption says of a still: the shape always, the colour and the motion in half of the cases."""
    colour, shape, motion = facts
    return (colour if rng.uniform() < 0.5 else ""), shape, (motion if rng.uniform() < 0.5 else "")


def normalised(pictures: list[Image]) -> torch.Tensor:
    """Return RGB pictures (64, 64, 3), uint8, as one float tensor (N, 3, 64, 64) in ImageNet statistics."""
    pixels = (np.stack(pictures).astype(np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def draw_batch(rng: np.random.Generator, size: int, marks: float) -> tuple[torch.Tensor, list[str], torch.Tensor]:
    """Return stills (N, 3, 64, 64), normalised, their captions (M) and which caption is true of which still (N, M).

    There are several captions a still, since text costs little here and every caption teaches about every still.
    """
    vocabulary = (list(COLOURS), list(SHAPES), list(MOTIONS))
    pictures, captions = [], []
    facts: list[Words] = []
    caption_words: list[Words] = []
    for _ in range(size):
        colour, shape, motion = (str(rng.choice(words)) for words in vocabulary)
        pictures.append(draw_still(rng, shape, motion, colour, marks=marks))
        facts.append((colour, shape, motion))
        for _ in range(CAPTIONS):
            caption_words.append(draw_words(rng, facts[-1]))
            wrapper = str(rng.choice(FREQUENT if rng.uniform() < 0.8 else RARE))
            captions.append(wrapper.format(" ".join(word for word in caption_words[-1] if word)))
    true = [[all(word in ("", fact) for word, fact in zip(s, f, strict=True)) for s in caption_words] for f in facts]
    return normalised(pictures), captions, torch.tensor(true, dtype=torch.float32)


def contrastive_loss(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, true: torch.Tensor
) -> torch.Tensor:
    """Return the symmetric cross-entropy, scalar; all matches of a row share the probability of its target."""
    logits = scale * images @ texts.T
    by_image, by_text = true / true.sum(1, keepdim=True), true.T / true.T.sum(1, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, by_image) + F.cross_entropy(logits.T, by_text))


def pretrain(args: argparse.Namespace) -> open_clip.CLIP:
    """Return the trained model; progress goes to stderr."""
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    model = build_model(args.width, args.vision_layers, args.text_layers, args.embedding)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98), eps=1e-6)
    warm_up = min(150, args.steps // 5)
    begun = time.perf_counter()
    model.train()
    for step in range(args.steps):
        ramp = min(1.0, (step + 1) / warm_up)
        cosine = 0.5 * (1.0 + math.cos(math.pi * step / args.steps))
        for group in optimizer.param_groups:
            group["lr"] = args.lr * ramp * cosine
        pictures, captions, true = draw_batch(rng, args.batch, args.marks)
        tokens = open_clip.tokenize(captions)
        # Plain attention: on 65 tokens its backward pass is faster than the fused one on a CPU.
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16), sdpa_kernel(SDPBackend.MATH):
            images, texts = model.encode_image(pictures, normalize=True), encode_short(model, tokens)
        loss = contrastive_loss(images.float(), texts.float(), model.logit_scale.exp(), true)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0.0, math.log(100.0))
        if step % 100 == 0 or step + 1 == args.steps:
            seconds = time.perf_counter() - begun
            right = ", ".join(f"{kind} {share:.0%}" for kind, share in zero_shot(model, args.seed, 256).items())
            sys.stderr.write(f"step {step} loss {loss.item():.3f} {right} {seconds:.0f} s\n")
    return model.eval()


@torch.no_grad()
def zero_shot(model: open_clip.CLIP, seed: int, count: int) -> dict[str, float]:
    """Return the share of fresh stills, without marks, whose shape, motion and shape-with-motion are named rightly."""
    rng = np.random.default_rng([seed, 1])
    facts = [(str(rng.choice(list(SHAPES))), str(rng.choice(list(MOTIONS)))) for _ in range(count)]
    stills = [draw_still(rng, shape, motion, str(rng.choice(list(COLOURS))), marks=0.0) for shape, motion in facts]
    names = [(shape, motion) for shape in SHAPES for motion in MOTIONS]
    texts = encode_short(model, open_clip.tokenize([" ".join(name) for name in names]))
    best = (model.encode_image(normalised(stills), normalize=True) @ texts.T).argmax(dim=1).tolist()
    hits = np.array(
        [[a == b for a, b in zip(names[i], fact, strict=True)] for i, fact in zip(best, facts, strict=True)]
    )
    return {"shape": hits[:, 0].mean(), "motion": hits[:, 1].mean(), "both": hits.all(axis=1).mean()}


def encode_short(model: open_clip.CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """Return normalised text features (B, D) of tokens (B, 77), cheaper than `encode_text` and equal to it.

    Attention is causal and the feature is read at the end token, so the padding behind the longest text is left out.
    """
    length = int(tokens.argmax(dim=1).max()) + 1
    tokens = tokens[:, :length]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    x = x[torch.arange(len(x)), tokens.argmax(dim=1)] @ model.text_projection
    return F.normalize(x, dim=-1)


def seen_texts() -> list[str]:
    """Return texts that together hold every word that a caption can hold."""
    words = " ".join((*COLOURS, *SHAPES, *MOTIONS))
    return [words, *(template.format("") for template in (*FREQUENT, *RARE))]


def kept_texts() -> list[str]:
    """Return texts whose tokens have their embedding rows in the file: all that was seen and what prompts may add."""
    names = [name for dataset in MINI_DATASETS for name in mini_class_names(dataset)]
    return [*seen_texts(), *names, *EXTRA_WORDS.split()]


def token_ids(texts: list[str]) -> torch.Tensor:
    """Return the sorted distinct token ids of some texts, padding left out, start and end included."""
    ids = {int(i) for row in open_clip.tokenize(texts) for i in row[: int(row.argmax()) + 1]}
    return torch.tensor(sorted(ids))


def weights_to_keep(model: open_clip.CLIP, seed: int) -> dict[str, torch.Tensor]:
    """Return the state dict to write: buffers dropped, the embedding cut to the rows in use.

    Rows that never occurred in a caption are drawn anew at the scale of the trained ones.
    """
    state = {k: v.detach().float().contiguous() for k, v in model.state_dict().items() if k != "attn_mask"}
    table = state.pop("token_embedding.weight")
    seen, kept = token_ids(seen_texts()), token_ids(kept_texts())
    scale = float(table[seen].std())
    fresh = torch.randn(table.shape, generator=torch.Generator().manual_seed(seed)) * scale
    fresh[seen] = table[seen]
    return {**state, "token_embedding.ids": kept, "token_embedding.rows": fresh[kept].clone()}


def main() -> None:
    """Pretrain and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--marks", type=float, default=0.5, help="share of stills with cartoon marks")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True, help="bfloat16 products")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--vision-layers", type=int, default=4)
    parser.add_argument("--text-layers", type=int, default=2)
    parser.add_argument("--embedding", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("harness/data/assets/mini_clip.safetensors"))
    args = parser.parse_args()
    begun, begun_cpu = time.perf_counter(), time.process_time()
    model = pretrain(args)
    seconds, cpu_seconds = round(time.perf_counter() - begun, 1), round(time.process_time() - begun_cpu, 1)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {k: str(v) for k, v in vars(args).items() if k != "out"}
    save_file(weights_to_keep(model, args.seed), args.out, metadata={**settings, "format": "pt"})
    report = {"seconds": seconds, "cpu_seconds": cpu_seconds, "bytes": args.out.stat().st_size}
    report["logit_scale"] = round(model.logit_scale.exp().item(), 2)
    report |= {kind: round(share, 3) for kind, share in zero_shot(model, args.seed, 1024).items()}
    sys.stdout.write(json.dumps({**settings, **report}) + "\n")


if __name__ == "__main__":
    main()
