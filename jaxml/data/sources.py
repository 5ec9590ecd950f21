"""The files of the datasets: where they are sought, checked and downloaded from.

    paths = sources.find("mnist")

A file lies at `<folder>/<dataset>/<file>`, where the folder is the one `JAXML_DATA`
names, or else the cache. Its size and SHA-256 are checked each time it is found: that
costs less than to unpack it. What is nowhere is downloaded into the cache.
"""

import contextlib
import csv
import hashlib
import http.client
import importlib.resources
import os
import secrets
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "FILES",
    "DataError",
    "File",
    "at_hand",
    "cache",
    "download",
    "fetch",
    "find",
]

Progress = Callable[[str, int, int], None]  # file name, bytes so far, bytes in all
_BLOCK = 1 << 20


class DataError(OSError):
    """A file of a dataset is absent, damaged, or could not be fetched or written."""


class File(NamedTuple):
    """One file of a dataset."""

    name: str
    versions: tuple[tuple[int, str], ...]  # bytes, SHA-256; first the publisher's
    urls: tuple[str, ...]  # tried in turn; none: not to be had by download


def _table() -> dict[str, tuple[tuple[File, ...], ...]]:
    """The forms of each dataset, from `embedded/files.csv`."""
    table: dict[str, list[dict[str, File]]] = {}
    path = importlib.resources.files("jaxml.data") / "embedded" / "files.csv"
    for row in csv.DictReader(path.read_text().splitlines()):
        forms = table.setdefault(row["dataset"], [])
        if int(row["form"]) == len(forms):
            forms.append({})
        version = int(row["bytes"]), row["sha256"]
        file = forms[-1].get(row["file"])
        forms[-1][row["file"]] = (
            file._replace(versions=(*file.versions, version))
            if file
            else File(row["file"], (version,), tuple(row["urls"].split()))
        )
    return {
        name: tuple(tuple(f.values()) for f in forms) for name, forms in table.items()
    }


# Each dataset has one or more forms, the best first; the first can be downloaded.
FILES = _table()


def cache() -> Path:
    """Return the folder of downloads: `data` in `JAXML_CACHE` or ~/.cache/jaxml."""
    return Path(os.environ.get("JAXML_CACHE") or "~/.cache/jaxml").expanduser() / "data"


def find(
    name: str,
    folder: str | os.PathLike | None = None,
    *,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Return the paths of the files of a dataset, checked; download what is nowhere.

    Args:
        name: a dataset in `FILES`.
        folder: where to look, and download to, instead of `JAXML_DATA` and the cache.
        progress: called while a file is downloaded.

    Returns:
        The files of the first form that is complete, in the order of `FILES`.

    Raises:
        DataError: if a file has not the known size and checksum, or is not at hand and
            cannot be downloaded.
    """
    paths = at_hand(name, folder)
    if not paths:
        return download(name, folder, progress=progress)
    files = {file.name: file for form in FILES[name] for file in form}
    for path in paths:
        _verify(path, files[path.name])
    return paths


def at_hand(name: str, folder: str | os.PathLike | None = None) -> tuple[Path, ...]:
    """Return where the files of a dataset lie, unchecked; empty if one is missing.

    Args:
        name: a dataset in `FILES`.
        folder: as in `find`.
    """
    for form in FILES[name]:
        paths = tuple(_locate(name, file, folder) for file in form)
        if all(paths):
            return tuple(path for path in paths if path)
    return ()


def download(
    name: str,
    folder: str | os.PathLike | None = None,
    *,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Download the first form of a dataset; files that are at hand are only checked.

    Args:
        name: a dataset in `FILES`.
        folder: as in `find`.
        progress: called with file name, bytes so far and bytes in all.

    Returns:
        The paths of its files.

    Raises:
        DataError: as in `find`.
    """
    target = (Path(folder) if folder is not None else cache()) / name
    paths = []
    for file in FILES[name][0]:
        path = _locate(name, file, folder)
        if path:
            _verify(path, file)
        else:
            try:
                path = fetch(file, target, progress=progress)
            except DataError as error:
                sought = ", ".join(str(place / name) for place in _folders(folder))
                raise DataError(
                    f"{name}: {error} It was sought in {sought}."
                ) from error
        paths.append(path)
    return tuple(paths)


def fetch(
    file: File, folder: str | os.PathLike, *, progress: Progress | None = None
) -> Path:
    """Download one file, so that it appears in `folder` whole and right or not at all.

    Several processes may fetch the same file at once: the last to end replaces the same
    bytes by the same bytes.

    Args:
        file: what to fetch. Only the first of its versions is accepted.
        folder: where to put it; made if it is absent.
        progress: as in `download`.

    Raises:
        DataError: if no address gives the right bytes, or they cannot be written.
    """
    target = Path(folder) / file.name
    # of one process alone, and in the same folder: a rename across disks is a copy
    partial = target.with_name(
        f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}.part"
    )
    faults = []
    for url in file.urls:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, "xb") as out:
                _stream(url, file, out, progress)
                out.flush()
                os.fsync(out.fileno())
            os.replace(partial, target)
            return target
        except _RemoteError as error:
            faults.append(f"{url}: {error}")
        except OSError as error:
            raise DataError(
                f"cannot write {target} ({error.strerror or error}). Free space or "
                "permission there, or name another folder in JAXML_CACHE."
            ) from error
        finally:  # also on Ctrl-C; after the rename there is nothing to remove
            with contextlib.suppress(OSError):
                partial.unlink()
    raise DataError(
        f"cannot download {file.name} ({'; '.join(faults) or 'it has no address'}). "
        f"Try again with a network, or put the file into {target.parent}."
    )


class _RemoteError(Exception):
    """What came from the network is not the file."""


def _stream(url: str, file: File, out, progress: Progress | None) -> None:
    """Write what `url` sends into `out`, and compare it with what it should be."""
    size, sha256 = file.versions[0]
    digest, done = hashlib.sha256(), 0
    for block in _blocks(url):
        done += len(block)
        if done > size:
            raise _RemoteError(f"expected {size} bytes; got more")
        digest.update(block)
        out.write(block)
        if progress:
            progress(file.name, done, size)
    if done != size:
        raise _RemoteError(f"truncated: expected {size} bytes; got {done}")
    if digest.hexdigest() != sha256:
        raise _RemoteError(
            f"wrong checksum: expected SHA-256 {sha256}; got {digest.hexdigest()}"
        )


def _blocks(url: str) -> Iterator[bytes]:
    """Yield the body of `url`; faults of the network only are `_RemoteError`."""
    request = urllib.request.Request(url, headers={"User-Agent": "jaxml"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            while block := answer.read(_BLOCK):
                yield block
    except (OSError, http.client.HTTPException) as error:
        raise _RemoteError(str(error) or type(error).__name__) from error


def _folders(folder: str | os.PathLike | None) -> tuple[Path, ...]:
    """Where files are sought, first to last."""
    if folder is not None:
        return (Path(folder),)
    named = os.environ.get("JAXML_DATA")
    return (Path(named).expanduser(), cache()) if named else (cache(),)


def _locate(name: str, file: File, folder: str | os.PathLike | None) -> Path | None:
    for place in _folders(folder):
        path = place / name / file.name
        try:
            if path.is_file():
                return path
        except OSError as error:  # no permission to look
            raise DataError(f"cannot read {path} ({error.strerror})") from error
    return None


def _verify(path: Path, file: File) -> None:
    """Refuse a file that is none of the known versions."""
    sizes = [size for size, _ in file.versions]
    try:
        found = path.stat().st_size
        with open(path, "rb") as data:
            sha256 = hashlib.file_digest(data, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror or error})") from error
    if (found, sha256) in file.versions:
        return
    fault = (
        f"has the right size but SHA-256 {sha256}, not {file.versions[0][1]}"
        if found in sizes
        else f"has {found} bytes, not {' or '.join(map(str, sizes))}"
    )
    raise DataError(
        f"{path} {fault}: it is damaged or another file. Remove it and load again, "
        "and it is downloaded anew."
    )
