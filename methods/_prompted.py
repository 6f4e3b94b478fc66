"""Options of the methods that describe a class by one text."""

from dataclasses import dataclass

from harness.api import MethodOptions, option

PUBLISHED_OR_CLEAN = ("published", "clean")


@dataclass(frozen=True)
class PrecisionOptions(MethodOptions):
    """Two roundings of the published code, which a clean implementation does not have."""

    text_embedding: str = option(
        "published", "token embeddings: published rounds them to float16, clean keeps fp32", PUBLISHED_OR_CLEAN
    )
    logits: str = option("clean", "last product: published rounds it to float16, clean keeps fp32", PUBLISHED_OR_CLEAN)


@dataclass(frozen=True)
class TemplateOptions(PrecisionOptions):
    """The text around a class name."""

    template: str = option("a photo of a {}.", "text around the class name, which replaces {}")
