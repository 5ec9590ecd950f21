"""A sealed folder: an index that lists every file with its size and checksum.

    digest.seal(folder, {"step": 500})          # after the last file was written
    digest.check(folder) -> {"step": 500}       # or DamagedError, with the reason

A checksum of 32 bits tells accidental damage (a short file, a flipped bit, a lost
write), not a forger.
"""

import json
import os
import zlib
from pathlib import Path
from typing import Any

__all__ = ["DamagedError", "check", "seal"]

INDEX = "index.json"
_BLOCK = 1 << 20  # bytes read at a time, so that a large file needs no memory


class DamagedError(ValueError):
    """A folder that is not what was sealed; the message is the reason."""


def seal(folder: Path, content: dict[str, Any]) -> None:
    """Write the index of `folder`, on the disk when this returns.

    Args:
        folder: all its files are listed; each is flushed to the disk.
        content: what the index says besides, of JSON types.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {p.relative_to(folder).as_posix(): _digest(p, flush=True) for p in paths}
    body = content | {"files": files}
    with open(folder / INDEX, "w", encoding="utf-8") as file:
        json.dump({"crc32": zlib.crc32(_canonical(body)), "content": body}, file)
        file.flush()
        os.fsync(file.fileno())


def check(folder: Path) -> dict[str, Any]:
    """The content of a sealed folder, after every file was compared with the index.

    Raises:
        DamagedError: the index or a file is missing, short or changed.
        PermissionError: a file may not be read, which says nothing about damage.
    """
    try:
        index = json.loads((folder / INDEX).read_bytes())
        body = index["content"]
        sound = index["crc32"] == zlib.crc32(_canonical(body))
        files = dict(body["files"])
    except FileNotFoundError:
        raise DamagedError(f"{INDEX} is missing") from None
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise DamagedError(f"{INDEX} was changed or cut off")
    for name, (size, crc32) in files.items():
        _compare(folder / name, name, size, crc32)
    return {key: value for key, value in body.items() if key != "files"}


def _compare(path: Path, name: str, size: int, crc32: int) -> None:
    try:
        found = _digest(path)
    except PermissionError:
        raise
    except FileNotFoundError:
        raise DamagedError(f"{name} is missing") from None
    except OSError as error:
        raise DamagedError(f"{name} cannot be read ({error.strerror})") from error
    if found[0] != size:
        raise DamagedError(f"{name} has {found[0]} bytes of {size}")
    if found[1] != crc32:
        raise DamagedError(f"{name} has other bytes than were written (CRC-32)")


def _digest(path: Path, *, flush: bool = False) -> list[int]:
    """The size and the CRC-32 of a file."""
    size, crc32 = 0, 0
    with open(path, "rb", buffering=0) as file:
        if flush:  # also where a network disk reports that it is full
            os.fsync(file.fileno())
        while block := file.read(_BLOCK):
            size, crc32 = size + len(block), zlib.crc32(block, crc32)
    return [size, crc32]


def _canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True).encode()
