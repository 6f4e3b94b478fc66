"""Plugins as text, for tests of their code hash."""

from __future__ import annotations

from pathlib import Path

from harness.plugins.code_hash import file_code_sha256

METHOD = """
from harness.api import ClipMethod, MethodCard, register_method
{imports}


@register_method("{name}")
class {cls}({base}):
    card = MethodCard(title="{name}", source="a test")

    def setup(self):
        self.freeze_clip()
"""


def method(name: str, imports: str = "", base: str = "ClipMethod") -> str:
    return METHOD.format(name=name, cls=name.title(), imports=imports, base=base)


def write(folder: Path, files: dict[str, str]) -> Path:
    """Files below a folder; returns the first."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    return folder / next(iter(files))


def of(folder: Path, **files: str) -> str:
    """The hash of the module `mine` of some modules, in a folder of their own."""
    place = folder / f"{len(list(folder.iterdir())) if folder.exists() else 0}"
    return file_code_sha256(write(place, {f"{name}.py": text for name, text in files.items()}))
