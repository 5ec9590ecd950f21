"""Windows over a series, their targets, and splits that keep the order of time.

    train, valid = windows.split(series, (1096, 151))              # series: [t, d]
    arrays = windows.windows(train, 56, ahead=14, targets=[1])
    arrays["x"], arrays["y"]                                   # [n, 56, d], [n, 14, 1]

Windows are views of the series: no copy until a batch is taken. Letters: t steps, d
features, k targets, n windows, w steps of a window, s steps ahead.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

__all__ = ["difference", "split", "undifference", "windows"]

Arrays = dict[str, Shaped[np.ndarray, "..."]]


def windows(
    series: Shaped[np.ndarray, "t *d"],
    length: int,
    *,
    ahead: int = 1,
    gap: int = 0,
    stride: int = 1,
    targets: Sequence[int] | None = None,
    every_step: bool = False,
) -> Arrays:
    """Every window of a series, with what comes after it.

    Args:
        series: numbers, oldest first.
        length: steps of a window.
        ahead: steps to predict.
        gap: steps between the end of the window and the first step to predict.
        stride: steps from one window to the next.
        targets: features to predict; all if None.
        every_step: whether each step of the window has a target of its own, as a
            network from sequence to sequence learns: the steps after that step.

    Returns:
        `x` [n, w, d] and `y` [n, s, k], or [n, w, s, k] for every step.

    Raises:
        ValueError: if a size is off, or the series is too short for one window.

    >>> arrays = windows(np.arange(6.0)[:, None], 3, ahead=2)
    >>> arrays["x"][:, :, 0].tolist(), arrays["y"][:, :, 0].tolist()
    ([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]], [[3.0, 4.0], [4.0, 5.0]])
    """
    if series.ndim != 2:
        raise ValueError(
            f"series must be [time, features]; got {list(series.shape)}; for one "
            "feature series[:, None]"
        )
    sizes = {"length": length, "ahead": ahead, "stride": stride}
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    if gap < 0:
        raise ValueError(f"gap must be at least 0; got {gap}")
    needed = length + gap + ahead
    if len(series) < needed:
        raise ValueError(
            f"the series must have at least length + gap + ahead = {needed} steps; "
            f"got {len(series)}"
        )
    wanted = series if targets is None else series[:, list(targets)]
    number = len(series) - needed + 1
    x = _view(series, length)[:number:stride]
    after = _view(wanted, ahead)
    if not every_step:
        first = length + gap
        return {"x": x, "y": after[first : first + number : stride]}
    y = np.lib.stride_tricks.sliding_window_view(after[1 + gap :], length, axis=0)
    return {"x": x, "y": np.moveaxis(y, -1, 1)[:number:stride]}


def split(
    series: Shaped[np.ndarray, "t *d"],
    sizes: Sequence[int | float],
    *,
    context: int = 0,
) -> tuple[Shaped[np.ndarray, "_ *d"], ...]:
    """Cut a series into parts that follow each other.

    Args:
        series: numbers, oldest first.
        sizes: of the parts: steps, or shares of the whole that sum to at most 1. What
            is left over at the end stays out.
        context: steps before each later part that are given along, so that its first
            step has a window of history. They are then in two parts.

    Returns:
        A view for each part.

    Raises:
        ValueError: if the sizes ask for more than there is, or for nothing.

    >>> [part.tolist() for part in split(np.arange(5), (3, 2), context=1)]
    [[0, 1, 2], [2, 3, 4]]
    """
    steps = len(series)
    shares = any(isinstance(size, float) for size in sizes)
    counts = [round(steps * size) if shares else int(size) for size in sizes]
    if any(count < 1 for count in counts) or sum(counts) > steps:
        raise ValueError(
            f"sizes must be at least 1 step each and {steps} together; got "
            f"{list(sizes)}"
        )
    if context < 0:
        raise ValueError(f"context must be at least 0; got {context}")
    ends = np.cumsum(counts)
    return tuple(
        series[max(0, end - count - (context if number else 0)) : end]
        for number, (count, end) in enumerate(zip(counts, ends, strict=True))
    )


def difference(
    series: Shaped[np.ndarray, "t *d"], lag: int = 1
) -> Shaped[np.ndarray, "_ *d"]:
    """Each value minus the one `lag` steps before; `lag` steps shorter.

    >>> difference(np.array([1, 4, 9, 16])).tolist()
    [3, 5, 7]
    """
    if not 1 <= lag < len(series):
        raise ValueError(f"lag must be from 1 to {len(series) - 1}; got {lag}")
    return series[lag:] - series[:-lag]


def undifference(
    changes: Shaped[np.ndarray, "t *d"], before: Shaped[np.ndarray, "lag *d"]
) -> Shaped[np.ndarray, "t *d"]:
    """What `difference` came from, given the `lag` values before the first change.

    >>> undifference(np.array([3, 5, 7]), np.array([1])).tolist()
    [4, 9, 16]
    """
    lag = len(before)
    if lag < 1:
        raise ValueError("before must hold at least one value; got none")
    out = np.concatenate([before, changes])
    for start in range(lag):
        out[start::lag] = np.cumsum(out[start::lag], axis=0)
    return out[lag:]


def _view(series, length):
    """Windows [n, length, ...] as a view."""
    view = np.lib.stride_tricks.sliding_window_view(series, length, axis=0)
    return np.moveaxis(view, -1, 1)
