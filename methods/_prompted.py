"""Options shared by the fine-tuning methods: the text around a class name."""

from dataclasses import dataclass

from harness.api import MethodOptions, option


@dataclass(frozen=True)
class TemplateOptions(MethodOptions):
    """The text around a class name."""

    template: str = option("a photo of a {}.", "text around the class name, which replaces {}")
