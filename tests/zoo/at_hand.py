"""The cases and manifests at hand, of the families that the zoo serves."""

import gzip
import json
import os
from pathlib import Path

from jaxml.zoo import families

FOLDER = Path(os.environ.get("JAXML_PARITY", "absent"))


def is_served(about):
    """Whether a family reads a case or manifest."""
    names = [
        name
        for family, (_, names) in families.FAMILIES.items()
        if family.rpartition("/")[0] == about.get("library")
        for name in names
    ]
    return about.get("class") in names


def index():
    """The lines of the index of all cases whose families are served."""
    path = FOLDER / "open" / "INDEX.jsonl"
    if not path.is_file():
        return []
    return [
        line
        for line in map(json.loads, path.read_text().splitlines())
        if is_served(line)
    ]


def cases():
    """Names of the cases of the families that are served."""
    return [line["name"] for line in index()]


def manifests():
    """Paths of the manifests of the families that are served."""
    found = sorted((FOLDER / "manifests").glob("*.json.gz"))
    return [path for path in found if is_served(manifest(path))]


def manifest(path):
    return json.loads(gzip.decompress(path.read_bytes()))
