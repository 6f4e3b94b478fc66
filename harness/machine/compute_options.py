"""Options of the computation on this machine: device, precision, workers. None of them enters the key of a cell."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from harness.base.epochs import ALL, MOST_EPOCHS, NONE, parse_epochs
from harness.base.errors import UserError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
SHARDS = ("none", "zero", "fsdp")


@dataclass(frozen=True)
class ComputeOptions:
    """Device, precision and processes of fits and evals.

    Args:
        device: `auto`, `cpu` or `cuda`.
        precision: `auto`, or one of fp32, bf16, fp16. `auto` is bf16 where a CUDA device has it, fp16 on older ones,
            and fp32 on a CPU, apart from evals of large vision transformers where the CPU multiplies in bf16.
        workers: Decode processes; None for one per core.
        fit_clips: Clips per device batch in fits; None decides by device. Gradients do not depend on it.
        eval_clips: Videos per device batch in evals; None decides by device.
        decode_seconds: Limit of CPU time to decode a video, and of the time without a byte while it is read.
        allow_missing: Use the videos that exist of a list with missing videos; the row is not ranked.
        quiet: No progress bars, and no progress lines without a terminal.
        feature_cache: Store frame features of frozen vision towers, and read stored features.
        compile: Compile the blocks of the vision tower: `on`, `off`, or `auto` (where it saves time).
        shard: State that the processes of a fit divide among them: `none`, `zero` (the optimiser's moments), or `fsdp`
            (parameters, gradients and moments of the towers' blocks).
        grad_checkpointing: Store only the inputs of transformer blocks and recompute activations in the backward pass.
        keep_epochs: Epochs whose trained weights stay in the folder of a fit, such as `all`, `2-22` or `5,10`; recipes
            that evaluate them then need no training. Does not change the result.
        track: Write TensorBoard events and JSON lines of fits; needs the package tensorboard.
    """

    device: str = "auto"
    precision: str = "auto"
    workers: int | None = None
    fit_clips: int | None = None
    eval_clips: int | None = None
    decode_seconds: float = 60.0
    allow_missing: bool = False
    quiet: bool = False
    feature_cache: bool = True
    compile: str = "auto"
    shard: str = "none"
    grad_checkpointing: bool = False
    keep_epochs: str = NONE
    track: bool = False

    def __post_init__(self) -> None:
        for name, least in (("workers", 0), ("fit_clips", 1), ("eval_clips", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"{name} is {value}, expected at least {least}.")
        if self.device not in DEVICES:
            raise UserError(f"Device {self.device!r} is unknown.", "Choose auto, cpu or cuda.")
        if self.precision not in PRECISIONS:
            raise UserError(f"Precision {self.precision!r} is unknown.", f"Choose {', '.join(PRECISIONS)}.")
        if self.shard not in SHARDS:
            raise UserError(f"shard is {self.shard!r}.", f"Choose {', '.join(SHARDS)}.")
        if self.compile not in ("auto", "on", "off"):
            raise UserError(f"compile is {self.compile!r}, expected auto, on or off.", "Example: --compile off")
        if self.track and find_spec("tensorboard") is None:
            raise UserError(
                "track needs the package tensorboard, which is not installed.",
                "pip install 'clip-video-harness[track]', or: pip install tensorboard",
            )
        if self.keep_epochs != ALL:
            parse_epochs(self.keep_epochs, MOST_EPOCHS, "keep_epochs")
        if not self.decode_seconds > 0:
            raise UserError(f"decode_seconds is {self.decode_seconds:g}, expected a time above 0.")
