"""Datasets by name, as arrays in memory.

data = datasets.load("fashion_mnist")
train, valid = datasets.split(data.train, (55_000, 5_000), seed=None)
"""

import difflib
import importlib.resources
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from jaxml.data import check, formats, preprocess, sources

__all__ = [
    "NAMES",
    "Dataset",
    "Description",
    "describe",
    "download",
    "load",
    "rows",
    "split",
    "take",
]

Arrays = dict[str, Shaped[np.ndarray, "..."]]


@dataclass(frozen=True)
class Dataset:
    """Arrays in memory, n rows along the leading axis.

    Pictures: `image` uint8 [n, h, w, c], `label` int32 [n]. Tables: `x` float32 [n, d],
    `y` float32 [n], and an int32 code [n] for each column of words.
    """

    name: str
    train: Arrays
    test: Arrays
    classes: tuple[str, ...] = ()  # what the labels mean; empty for a regression
    features: tuple[str, ...] = ()  # the columns of `x`
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of codes


class Description(NamedTuple):
    """What is known of a dataset before it is loaded."""

    train: int  # rows, in the publisher's form
    test: int
    shape: tuple[int, ...]  # of one row of `image` or `x`
    licence: str
    source: str
    classes: tuple[str, ...]  # empty: a regression
    features: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    paths: tuple[Path, ...] = ()  # where its files lie; empty: not at hand
    note: str = ""  # how what is at hand differs from the publisher's form


def _tuples(entry: dict) -> dict:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}


_EMBEDDED = Path(str(importlib.resources.files("jaxml.data") / "embedded"))
_ABOUT: dict[str, Description] = {
    name: Description(**entry)
    for name, entry in json.loads(
        (_EMBEDDED / "datasets.json").read_text(), object_hook=_tuples
    ).items()
}
_NOTES = {"cifar10_subset_decoded.npz": "a subset: 4,000 + 1,000 rows, once JPEG"}
NAMES = tuple(_ABOUT)


def load(name: str, folder: str | os.PathLike | None = None) -> Dataset:
    """Load a dataset, downloading what is not at hand.

    Where the publisher makes no test set (digits, california_housing, housing), a fixed
    fifth of the rows is held out; `rows` gives them all.

    Args:
        name: one of `NAMES`.
        folder: where the files lie and are downloaded to. Default: `JAXML_DATA`, then
            the cache.

    Returns:
        The arrays. Of cifar10 they may be a subset: see `describe(name).note`.

    Raises:
        ValueError: if there is no such dataset.
        jaxml.data.sources.DataError: if a file is damaged, or cannot be had.

    >>> data = load("digits")
    >>> data.train["image"].shape, data.test["label"].shape
    ((1438, 8, 8, 1), (359,))
    """
    about = _about(name)
    train, test = _read(name, folder)
    if test is None:
        train, test = split(train, (0.8, 0.2), seed=0, stratify=train.get("label"))
    return Dataset(name, train, test, about.classes, about.features, about.categories)


def rows(name: str, folder: str | os.PathLike | None = None) -> Arrays:
    """Load all rows of a dataset in the order of its files, train before test.

    Args:
        name: one of `NAMES`.
        folder: as in `load`.
    """
    _about(name)
    train, test = _read(name, folder)
    if test is None:
        return train
    return {key: np.concatenate((train[key], test[key])) for key in train}


def describe(name: str, folder: str | os.PathLike | None = None) -> Description:
    """Say what a dataset is and whether it is at hand, without loading it.

    Args:
        name: one of `NAMES`.
        folder: as in `load`.

    >>> describe("digits").shape
    (8, 8, 1)
    """
    about = _about(name)
    paths = (
        (_EMBEDDED / "digits.npz",)
        if name == "digits"
        else sources.at_hand(name, folder)
    )
    note = _NOTES.get(paths[0].name, "") if paths else ""
    return about._replace(paths=paths, note=note)


def download(
    name: str,
    folder: str | os.PathLike | None = None,
    *,
    progress: sources.Progress | None = None,
) -> tuple[Path, ...]:
    """Fetch the publisher's files of a dataset, unless they are at hand.

    Args:
        name: one of `NAMES`.
        folder: as in `load`.
        progress: called with file name, bytes so far and bytes in all.

    Raises:
        ValueError, jaxml.data.sources.DataError: as in `load`.
    """
    _about(name)
    if name == "digits":
        return (_EMBEDDED / "digits.npz",)
    return sources.download(name, folder, progress=progress)


def split(
    arrays: Arrays,
    sizes: Sequence[int | float | Int[np.ndarray, "_"]],
    *,
    seed: int | None,
    stratify: Shaped[np.ndarray, "n"] | None = None,
) -> tuple[Arrays, ...]:
    """Split rows into parts that share none.

    Args:
        arrays: arrays of n rows each.
        sizes: of each part the number of rows, or the fraction of n, or its rows.
        seed: of the shuffling; None takes the rows as they come.
        stratify: a class of each row; each part holds of each class its share, to one
            row. Not with given rows.

    Returns:
        The parts. What `sizes` leaves over is in none.

    Raises:
        ValueError: if the sizes are mixed, take more than there is, or share a row.

    >>> train, test = split({"x": np.arange(10.0)}, (0.8, 0.2), seed=0)
    >>> len(train["x"]), len(test["x"])
    (8, 2)
    """
    n = check.not_empty(arrays)
    if not len(sizes):
        raise ValueError("sizes must name at least one part; got none")
    if all(np.ndim(size) == 1 for size in sizes):
        parts = [np.asarray(size) for size in sizes]
        if len(np.unique(np.concatenate(parts))) < sum(map(len, parts)):
            raise ValueError(
                "the parts of a split must share no row; a row comes twice"
            )
        return tuple(take(arrays, part) for part in parts)
    if stratify is not None:
        check.same_length({**arrays, "stratify": stratify})
    order = _order(n, seed, stratify)
    bounds = _bounds(sizes, n)
    return tuple(take(arrays, order[start:stop]) for start, stop in pairwise(bounds))


def take(arrays: Arrays, rows: Int[np.ndarray, "k"]) -> Arrays:
    """Take `rows` of each array, in that order.

    Args:
        arrays: arrays of n rows each.
        rows: numbers from 0 to n - 1.

    Raises:
        ValueError: if a number is out of range.
    """
    n = check.same_length(arrays)
    wrong = rows[(rows < 0) | (rows >= n)]
    if len(wrong):
        raise ValueError(f"rows must be from 0 to {n - 1}; got {wrong[0]}")
    return {name: array[rows] for name, array in arrays.items()}


def _about(name: str) -> Description:
    if name not in _ABOUT:
        near = difflib.get_close_matches(name, NAMES, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"name must be one of {', '.join(NAMES)}; got {name!r}{hint}")
    return _ABOUT[name]


def _read(name, folder) -> tuple[Arrays, Arrays | None]:
    """The rows for training and for testing; None where the publisher has no test."""
    if name == "digits":
        part = formats.read_npz(_EMBEDDED / "digits.npz")
        return _pictures(name, part["image"], part["label"]), None
    paths = sources.find(name, folder)
    if name == "california_housing":
        x, y = formats.read_california(paths[0])
        return {"x": x.astype(np.float32), "y": y.astype(np.float32)}, None
    if name == "housing":
        return _housing(paths[0]), None
    cifar = name == "cifar10"
    parts = formats.read_cifar10(*paths) if cifar else [*map(formats.read_idx, paths)]
    return _pictures(name, *parts[:2]), _pictures(name, *parts[2:])


def _pictures(name, image, label) -> Arrays:
    check.labels(label, len(_ABOUT[name].classes))
    image = image.reshape(-1, *_ABOUT[name].shape)
    arrays = {"image": image, "label": label.astype(np.int32)}
    check.not_empty(arrays)
    return arrays


def _housing(path: Path) -> Arrays:
    """x [n, 8] with NaN where it is missing, y in USD, ocean_proximity a code."""
    about = _ABOUT["housing"]
    table = formats.read_csv(path, text=about.categories)
    x = np.stack([table[name] for name in about.features], 1).astype(np.float32)
    arrays = {"x": x, "y": table["median_house_value"].astype(np.float32)}
    for name, categories in about.categories.items():
        arrays[name] = preprocess.encode(table[name], categories)
    return arrays


def _order(n, seed, stratify) -> Int[np.ndarray, "n"]:
    """The rows shuffled; with classes, each stretch holds its share of each."""
    if seed is None:
        order = np.arange(n)
    else:  # raw bits: numpy may change its shuffling, but not these
        order = np.argsort(np.random.Philox(seed).random_raw(n), kind="stable")
    if stratify is None:
        return order
    place = np.empty(n)
    for value in np.unique(stratify):
        members = np.flatnonzero(stratify[order] == value)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(place, kind="stable")]


def _bounds(sizes, n) -> list[int]:
    """Where each part begins and ends."""
    if all(isinstance(size, int | np.integer) for size in sizes):
        ends, most = np.cumsum(sizes), n
    elif all(isinstance(size, float) for size in sizes):
        # 1 + 1e-9: ten tenths sum to a little more than one
        ends, most = np.rint(n * np.cumsum(sizes)).astype(int), 1 + 1e-9
    else:
        raise ValueError(f"sizes must be counts, fractions or rows; got {sizes}")
    if np.diff(ends, prepend=0).min() <= 0 or sum(sizes) > most:
        raise ValueError(
            f"each part must have a row, and all together at most the {n} "
            f"there are; got sizes {sizes}"
        )
    return [0, *map(int, ends)]
