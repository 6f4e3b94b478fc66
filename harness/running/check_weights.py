"""The check of a weight file: its content, whether it loads, and a comparison with OpenAI's published files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.errors import UserError
from harness.base.files import cached_file_sha256
from harness.cells.backbone import BackboneChoice
from harness.cells.open_clip_source import pretrained_tags
from harness.machine.settings import Settings
from harness.weights.describe import Description, describe
from harness.weights.hub import is_hub
from harness.weights.read import KIND_TEXTS
from harness.weights.sizes import QUICK_SUFFIX
from harness.weights.stored import tensors_of


@dataclass(frozen=True)
class WeightsCheck:
    """The outcome of `check weights`.

    Args:
        file: The weight file.
        format: Format of the file.
        family: The model that the file holds: CLIP, or a published method.
        tensors: Number of tensors.
        bytes: Size of the files.
        architectures: Architectures of open_clip with the shapes of the file.
        activation: Activation that the file states; empty if it states none.
        activation_source: The part of the file that states the activation.
        sha256: Hash of the file.
        identity: Weights as records state them; for several files and for a file with a base, a hash of all of them.
        openai: The model of OpenAI whose published file has this hash; empty if there is none.
        own: Number of tensors of a method beside CLIP.
        complete: Whether the file holds all of CLIP.
        loads: Whether the file was loaded into a model.
        loaded_as: Architecture, activation and image size of the loaded model; empty if it was not loaded.
        tensors_sha256: Hash of the loaded tensors; empty if they were not loaded.
        outputs: Outcome of the comparison with published outputs, one line each.
        outputs_equal: Whether all outputs are equal to published ones; None if none were compared.
        problem: Reason why the file does not load; empty if it loads.
        fix: The fix of the problem.
        notes: Changes that were made to the weights when they were loaded.
    """

    file: str
    format: str
    family: str
    tensors: int
    bytes: int
    architectures: tuple[str, ...]
    activation: str
    activation_source: str
    sha256: str
    identity: str
    openai: str
    own: int
    complete: bool
    loads: bool = False
    loaded_as: str = ""
    tensors_sha256: str = ""
    outputs: tuple[str, ...] = ()
    outputs_equal: bool | None = None
    problem: str = ""
    fix: str = ""
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the file loads, and OpenAI's weights, if it claims to hold them, give the published outputs."""
        claims_openai = bool(self.openai) or self.family == "CLIP of OpenAI"
        return self.loads and not (claims_openai and self.outputs_equal is False)

    def rows(self) -> list[list[str]]:
        """The outcome for people, a name and a value in each row."""
        activation = f"{self.activation} ({self.activation_source})" if self.activation else "not stated"
        published = f"the published file of {self.openai}" if self.openai else "not among OpenAI's published files"
        content = self.family + (f", {self.own} tensors of the method" if self.own else "")
        return [
            ["file", self.file],
            ["format", f"{self.format}, {self.tensors} tensors, {self.bytes / 2**20:.1f} MiB"],
            ["content", content + ("" if self.complete else ", without the token embedding (--base completes it)")],
            ["architecture", ", ".join(self.architectures) or "none of open_clip's by its shapes"],
            ["activation", activation],
            ["sha256", f"{self.sha256}: {published}"],
            *([["in records", self.identity]] if self.identity != f"sha256:{self.sha256}" else []),
            ["loads", f"yes: {self.loaded_as}, tensors {self.tensors_sha256[:16]}" if self.loads else "no"],
            *(["note", note] for note in self.notes),
            *(["outputs", line] for line in self.outputs),
        ]


def check_weights(choice: BackboneChoice, picture: Path | None, settings: Settings) -> WeightsCheck:
    """Describe a weight file, load it, and compare it with OpenAI's published hashes and outputs.

    Args:
        choice: The file with its architecture, activation and base.
        picture: The picture of the published image outputs; None compares text outputs alone.
        settings: Folders of this machine.

    Raises:
        UserError: The file is not a weight file, or the picture cannot be read.
    """
    weights = choice.weights or ""
    if is_hub(weights):
        from harness.engine.model.tag_files import hub_folder

        weights = str(hub_folder(weights, settings.weights.path))
        choice = replace(choice, weights=weights)
    described = describe(weights)
    found = _described(described)
    try:
        return _loaded(found, replace(choice, of_method=bool(described.published.own)), picture, settings)
    except UserError as error:
        return replace(found, problem=error.message, fix=error.hint)


def _described(described: Description) -> WeightsCheck:
    published, stated = described.published, described.statement
    sha256 = cached_file_sha256(described.file.path.resolve())
    return WeightsCheck(
        file=str(described.file.path),
        format=KIND_TEXTS[described.file.kind],
        family=described.title,
        tensors=sum(1 for _ in tensors_of(described.file.content)),
        bytes=sum(path.stat().st_size for path in described.file.files),
        architectures=described.architectures,
        activation=stated.activation,
        activation_source=stated.source,
        sha256=sha256,
        identity=f"sha256:{described.sha256}",
        openai=openai_files().get(sha256, ""),
        own=len(published.own),
        complete=described.is_complete,
    )


def openai_files() -> dict[str, str]:
    """The models that OpenAI published, by the sha256 of their files, which their addresses hold."""
    return {
        tag.url.split("/")[-2]: arch
        for arch, tags in pretrained_tags().items()
        for tag in tags.values()
        if "openaipublic" in tag.url and not arch.endswith(QUICK_SUFFIX)
    }


def _loaded(found: WeightsCheck, choice: BackboneChoice, picture: Path | None, settings: Settings) -> WeightsCheck:
    from harness.engine.model.reference_outputs import REFERENCES, compare_outputs
    from harness.running.build import load_chosen_backbone

    backbone = load_chosen_backbone(choice, settings)
    facts = backbone.facts
    activation = "QuickGELU" if facts.quick_gelu else "GELU"
    found = replace(
        found, loads=True, identity=choice.model_id().weights,
        loaded_as=f"{facts.arch}, {activation}, {facts.image_size} pixels",
        tensors_sha256=facts.weights_sha256, notes=backbone.notes,
    )  # fmt: skip
    # The published outputs are those of QuickGELU, with which OpenAI trained all models.
    reference = REFERENCES.get(facts.arch.removesuffix(QUICK_SUFFIX))
    if reference is None or not facts.quick_gelu:
        known = " and ".join(item.model for item in REFERENCES.values())
        return replace(found, outputs=(f"not compared: outputs are published of {known}",))
    compared = compare_outputs(backbone, reference, picture)
    lines = tuple(
        f"{item.output}: {'equal to' if item.equal else 'differ from'} {reference.model} ({reference.source}), "
        f"relative difference {item.difference:.1e}"
        for item in compared
    )
    return replace(found, outputs=lines, outputs_equal=all(item.equal for item in compared))
