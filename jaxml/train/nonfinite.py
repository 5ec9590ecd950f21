"""What went wrong when a loss or a gradient is not finite, and on which rows."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int, PyTree

__all__ = ["NonFinite", "check"]

MOST_ROWS = 16  # that a message lists; the exception holds them all


class NonFinite(ArithmeticError):  # noqa: N818
    """A loss or gradient became NaN or infinite; nothing was saved since.

    Attributes:
        step: number of the step, from 1, as in the log.
        path: of the first parameter with such a gradient; None if only the loss is.
        rows: of the data, in the batch of that step; None if the loader cannot tell.
        bad_rows: those of them that hold an input which is not finite.
    """

    def __init__(
        self,
        step: int,
        path: str | None,
        rows: np.ndarray | None = None,
        bad_rows: np.ndarray | None = None,
    ):
        what = "the loss" if path is None else f"the gradient of {path}"
        parts = [f"{what} is not finite at step {step}"]
        if rows is not None:
            parts.append(f"its batch held the rows {_few(rows)}")
        if bad_rows is not None and len(bad_rows):
            parts.append(f"inputs that are not finite are in the rows {_few(bad_rows)}")
        elif bad_rows is not None:
            parts.append("all their inputs are finite")
        super().__init__("; ".join(parts))
        self.step, self.path = step, path
        self.rows, self.bad_rows = rows, bad_rows


def check(first_bad: Int[Array, "2"], params: PyTree, loader: Any = None) -> None:
    """Raise NonFinite if a step so far was not finite; waits for the device.

    Args:
        first_bad: of a state.
        params: of a state; only their paths are looked at.
        loader: what gave the batches; `state_at`, `indices` and `batch` tell the rows.
    """
    step, leaf = np.asarray(first_bad).tolist()
    if step < 0:
        return
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    path = None
    if leaf < len(leaves):
        path = jax.tree_util.keystr(leaves[leaf][0], simple=True, separator="/")
    if not all(hasattr(loader, name) for name in ("state_at", "indices", "batch")):
        raise NonFinite(step + 1, path)
    place = loader.state_at(step)
    rows = loader.indices(place.epoch, place.index)
    batch = loader.batch(place.epoch, place.index)
    good = np.ones(len(batch["weight"]), bool)
    for array in map(np.asarray, batch.values()):
        if np.issubdtype(array.dtype, np.floating):
            good &= np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
    local = rows
    if len(local) != len(good):  # this process holds one stretch of the global batch
        local = rows.reshape(-1, len(good))[jax.process_index()]
    bad_rows: np.ndarray | None = np.unique(local[~good & (local >= 0)])
    if not (~good).any() and jax.process_count() > 1:
        bad_rows = None  # they may be in the part of another process
    raise NonFinite(step + 1, path, rows[rows >= 0], bad_rows)


def _few(rows: np.ndarray) -> str:
    more = f", ... ({len(rows)} rows)" if len(rows) > MOST_ROWS else ""
    return f"[{', '.join(map(str, rows[:MOST_ROWS].tolist()))}{more}]"
