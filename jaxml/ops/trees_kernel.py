"""Functions of trees and rows that stay where the rows lie, and have a derivative.

(out,) = trees_kernel.call("trees", "trees_sum", fallback, shapes, *arrays, x)
"""

from collections.abc import Callable, Sequence

import jax
from jaxtyping import Array

from jaxml.ops import native, partition

__all__ = ["by_rows", "call"]


def call(
    source: str,
    function: str,
    fallback: Callable[..., Sequence[Array]],
    shapes: Callable[[int], Sequence[jax.ShapeDtypeStruct]],
    *arrays: Array,
    **attributes: int,
) -> Sequence[Array]:
    """Run the kernel `function` of the dtype of `x`, on each device for its rows.

    Args:
        source: name of the source; `native.enabled(source)` must be true.
        function: name of the kernel without the dtype.
        fallback: the same in JAX; it gives the derivatives too.
        shapes: of the results for a number of rows, which is their first axis.
        arrays: those of the trees, and last the rows x [n, d].
        attributes: static numbers of the kernel.
    """
    name = f"{function}_{arrays[-1].dtype}"

    def kernel(*arrays):
        of_shard = shapes(len(arrays[-1]))
        return native.call(source, name, fallback, of_shard, *arrays, **attributes)

    return by_rows(kernel, fallback, len(shapes(1)), *arrays)


def by_rows(
    run: Callable[..., Sequence[Array]],
    differentiable: Callable[..., Sequence[Array]],
    outputs: int,
    *arrays: Array,
) -> Sequence[Array]:
    """Run a function of single rows on each device for the rows that it holds.

    Args:
        run: function of `arrays` that gives arrays whose first axis are the rows.
        differentiable: the same; its derivatives are those of `run`.
        outputs: how many arrays they give.
        arrays: the last are the rows; the others are the same on all devices.
    """
    rows_in = (*(None,) * (len(arrays) - 1), 0)
    split = partition.by_rows(
        run, lambda _, *arrays: run(*arrays), rows_in, (0,) * outputs
    )

    @jax.custom_jvp
    def all_rows(*arrays):
        return split(*arrays)

    @all_rows.defjvp
    def tangent(primals, tangents):
        return jax.jvp(lambda *a: tuple(differentiable(*a)), primals, tangents)

    return all_rows(*arrays)
