"""Weights by the name of their repository: from a cache, or downloaded and checked.

    folder = find("openai-community/gpt2")       # config.json, model.safetensors
    folder = find("openai-community/gpt2@607a30d")

A repository is sought in the cache of Hugging Face's own client, then in ours
(`zoo` in `JAXML_CACHE` or ~/.cache/jaxml), then downloaded there: config, safetensors
and their index, and no other kind of weights. Each file is compared with the checksum
that the hub has for it. Repositories that ask for a login are not downloaded.
"""

import hashlib
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from jaxml.data import sources

__all__ = ["find", "is_name"]

WANTED = re.compile(r"[\w.-]+\.safetensors(\.index\.json)?|config\.json")
COMPLETE = ".complete.json"  # written last: name and size of each file
_SMALL = 50_000_000  # bytes of a file that is no large file of git


def is_name(text: str) -> bool:
    """Whether a text could be the name of a repository.

    >>> is_name("openai-community/gpt2"), is_name("./gpt2"), is_name("a.safetensors")
    (True, False, False)
    """
    part = r"\w[\w.-]*"
    match = re.fullmatch(rf"({part}/)?{part}(@[\w.-]+)?", text)
    return bool(match) and not text.endswith((".safetensors", ".json", ".bin", ".pt"))


def find(name: str, *, progress: sources.Progress | None = None) -> Path:
    """The folder of a repository, downloaded if it is nowhere at hand.

    Args:
        name: owner/name, and @revision (branch, tag or commit; default: main).
        progress: called with file name, bytes so far and bytes in all.

    Raises:
        sources.DataError: it can not be downloaded, or is not what the hub says.
    """
    repository, _, revision = name.partition("@")
    revision = revision or "main"
    theirs = _of_client(repository, revision)
    if theirs:
        return theirs
    root = sources.cache().parent / "zoo"
    folder = root / repository.replace("/", "--") / revision
    if not _is_complete(folder):
        _download(repository, revision, folder, progress)
    return folder


def _of_client(repository: str, revision: str) -> Path | None:
    """The folder in the cache of Hugging Face's own client, if it is there."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    home = home / "hub" / f"models--{repository.replace('/', '--')}"
    reference = home / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    folder = home / "snapshots" / commit
    if not re.fullmatch(r"[\w.-]+", commit) or not (folder / "config.json").exists():
        return None
    return folder if any(folder.glob("*.safetensors")) else None


def _is_complete(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / COMPLETE).read_text())
        return all((folder / n).stat().st_size == size for n, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _download(
    repository: str, revision: str, folder: Path, progress: sources.Progress | None
) -> None:
    hub = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    listing = _json(f"{hub}/api/models/{repository}/tree/{revision}")
    files = {
        str(file["path"]): file
        for file in listing
        if file.get("type") == "file" and WANTED.fullmatch(str(file.get("path")))
    }
    if not any(name.endswith(".safetensors") for name in files):
        raise sources.DataError(
            f"{repository} must have safetensors; it has "
            f"{[file.get('path') for file in listing][:20]}"
        )
    for name, file in sorted(files.items()):
        url = f"{hub}/{repository}/resolve/{revision}/{urllib.parse.quote(name)}"
        if "lfs" in file:
            versions = ((int(file["lfs"]["size"]), str(file["lfs"]["oid"])),)
            made = folder / name
            if not made.is_file() or made.stat().st_size != versions[0][0]:
                wanted = sources.File(name, versions, (url,))
                sources.fetch(wanted, folder, progress=progress)
        else:
            content = _small(url, int(file["size"]), str(file["oid"]))
            _write(folder / name, content)
    sizes = {name: (folder / name).stat().st_size for name in files}
    _write(folder / COMPLETE, json.dumps(sizes).encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_bytes(content)
    os.replace(partial, path)


def _small(url: str, size: int, oid: str) -> bytes:
    """A file whose checksum is that of a git blob."""
    content = _get(url, min(size, _SMALL))
    digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    if digest != oid:
        raise sources.DataError(f"{url} must have the git checksum {oid}; got {digest}")
    return content


def _json(url: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(_get(url, _SMALL))
    except ValueError as error:
        raise sources.DataError(f"{url} is no JSON ({error})") from error
    if not isinstance(found, list) or not all(isinstance(x, dict) for x in found):
        raise sources.DataError(f"{url} must be a list of files")
    return found


def _get(url: str, longest: int) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": "jaxml"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read(longest + 1)
    except urllib.error.HTTPError as error:
        with error:
            hint = {401: "it asks for a login", 403: "it asks for a login"}
            reason = hint.get(error.code, "there is no such repository or file")
            raise sources.DataError(
                f"cannot download {url} ({error.code}: {reason}); with Hugging Face's "
                "own client download it, and give the folder"
            ) from None
    except OSError as error:
        raise sources.DataError(
            f"cannot download {url} ({error}); give a folder, or try again later"
        ) from error
