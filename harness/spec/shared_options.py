"""Options whose names have a meaning for the base class of methods."""

from __future__ import annotations

from dataclasses import dataclass, fields

from harness.spec.options import MethodOptions, option


@dataclass(frozen=True)
class SharedOptions:
    """Values of the options that `ClipMethod` reads. The defaults apply to methods without an option of that name.

    Args:
        template: Text around a class name, which replaces `{}`.
        text_embedding: `published` rounds token embeddings to float16, as ViFi-CLIP does; `clean` does not.
        logits: `published` takes the product of video and text features in float16; `clean` takes it in float32.
        class_texts: Path of a file with the texts of classes, which replace the class names; empty for class names.
    """

    template: str = "{}"
    text_embedding: str = "clean"
    logits: str = "clean"
    class_texts: str = ""


@dataclass(frozen=True)
class ClassTextOptions(MethodOptions):
    """The option of a method that can read the texts of classes from a file."""

    class_texts: str = option(
        "", "file with texts of the classes (docs/class_texts.md); without a file: class names", file=("",)
    )


def shared_options(options: MethodOptions) -> SharedOptions:
    """Return the options of a method that `ClipMethod` reads, found by name: a plugin declares the ones it offers."""
    names = [f.name for f in fields(SharedOptions) if hasattr(options, f.name)]
    return SharedOptions(**{name: getattr(options, name) for name in names})
