"""Files of pretrained tags and of repositories on the Hugging Face hub: on this machine, or downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from huggingface_hub import hf_hub_download
from open_clip.pretrained import download_pretrained

from harness.base.errors import UserError
from harness.base.files import cached_file_sha256
from harness.engine.model.offline import stay_offline_without_network
from harness.weights.folder import OPEN_CLIP_CONFIG, TRANSFORMERS_CONFIG, WEIGHT_NAMES
from harness.weights.hub import cached_file, cached_snapshot, openai_cache, repository_of
from harness.weights.index import tag_names


class TagConfig(TypedDict, total=False):
    """open_clip's description of a pretrained tag."""

    url: str
    hf_hub: str
    quick_gelu: bool


def find_tag_file(arch: str, tag: str, config: TagConfig, weights_dir: Path | None) -> Path:
    """Return the weight file of a tag: from the weights folder, from a cache of this machine, or from a download.

    Raises:
        UserError: The file is on none of them, and cannot be downloaded.
    """
    candidates = tag_names(arch, tag)
    url_name = Path(config.get("url", "")).name
    # A file that was fetched by hand keeps the name of its address, such as ViT-B-16.pt.
    if url_name:
        candidates.append(url_name)
    for name in candidates:
        if weights_dir is not None and (weights_dir / name).is_file():
            return weights_dir / name
    # Before the client of the hub is asked: it needs a connection to find its own files, and OpenAI's files are not
    # looked for in `~/.cache/clip` by open_clip if the hub has a copy.
    repository, _, file = config.get("hf_hub", "").rpartition("/")
    caches = () if weights_dir is None else (weights_dir,)
    if repository and (cached := cached_file(repository, file, *caches)) is not None:
        return cached
    if url_name and (openai_cache() / url_name).is_file():
        return openai_cache() / url_name
    try:
        stay_offline_without_network()
        return Path(download_pretrained(config))
    except Exception as error:  # no network, a proxy, a full disk and a hub error have one consequence
        sources = [f"  {config['url']}"] if config.get("url") else []
        if config.get("hf_hub"):
            sources.append(f"  Hugging Face hub: {config['hf_hub'].rstrip('/')} (open_clip_model.safetensors)")
        folder = weights_dir or Path("WEIGHTS_FOLDER")
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(
            f"The weights {arch}/{tag} are not on this machine and could not be downloaded ({reason}).",
            "Fetch one of\n  "
            + "\n  ".join(sources)
            + f"\n  and save it as {folder / candidates[0]}"
            + (f" or {folder / candidates[-1]}" if config.get("url") else "")
            + "\n  (or set HARNESS_WEIGHTS, or give the file with --weights FILE). To try the harness without them:"
            " --arch mini-clip.",
        ) from None


def checksum_notes(path: Path, config: TagConfig) -> tuple[str, ...]:
    """A line if the file of a tag is not the published one; the address of OpenAI's files holds their sha256."""
    expected = published_sha256(config.get("url", ""))
    if not expected or path.name != Path(config.get("url", "")).name:
        return ()
    found = cached_file_sha256(path.resolve())
    if found == expected:
        return ()
    return (f"{path} has sha256 {found}, but OpenAI's file has {expected}: these are other weights",)


def published_sha256(url: str) -> str:
    """The sha256 in the address of one of OpenAI's files; empty for other addresses."""
    return url.split("/")[-2] if "openaipublic" in url else ""


def hub_folder(weights: str, weights_dir: Path | None) -> Path:
    """Return the folder of a repository on the hub: in a cache of this machine, or downloaded.

    Args:
        weights: `hf-hub:ORG/NAME`.
        weights_dir: Folder that can hold repositories in the layout of the hub's cache.

    Raises:
        UserError: The repository is not on this machine and cannot be downloaded, or holds no weights.
    """
    repository = repository_of(weights)
    cached = cached_snapshot(repository, *(() if weights_dir is None else (weights_dir,)))
    if cached is not None:
        return cached
    stay_offline_without_network()
    reason = "no file of a known name"
    for name in (OPEN_CLIP_CONFIG, TRANSFORMERS_CONFIG, *(n for n in WEIGHT_NAMES if not n.endswith(".json"))):
        try:
            file = Path(hf_hub_download(repository, name))
        except Exception as error:  # no network, a missing file and a hub error have one consequence
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            continue
        if name in WEIGHT_NAMES:
            return file.parent
    raise UserError(
        f"The weights {weights} are not on this machine and could not be downloaded ({reason}).",
        f"On a machine with network: `hf download {repository}`. Then copy its folder into the hub's cache "
        "(HF_HUB_CACHE), or give it with --weights DIR.",
    )
