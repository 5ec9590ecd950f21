"""Products of features up to a degree, in scikit-learn's order.

    powers = polynomial.powers(3, 2)                  # host side, from sizes alone
    z = polynomial.transform(x, 2)                    # [n, 10]
    names = polynomial.names(["a", "b", "c"], 2)      # ["1", "a", ..., "a^2", "a b"]

Letters: n rows, d features, p products.
"""

import itertools
from collections.abc import Sequence
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = ["names", "powers", "transform"]

Degree = int | tuple[int, int]


def powers(
    n_features: int,
    degree: Degree = 2,
    *,
    interaction_only: bool = False,
    include_bias: bool = True,
) -> np.ndarray:
    """The exponent of each feature in each product.

    Args:
        n_features: d.
        degree: the greatest sum of the exponents, or (least, greatest).
        interaction_only: whether exponents above 1 are left out.
        include_bias: whether the product of none, 1, comes first.

    Returns:
        [p, d], by degree, then in lexical order.

    >>> powers(2, 2).tolist()
    [[0, 0], [1, 0], [0, 1], [2, 0], [1, 1], [0, 2]]

    Raises:
        ValueError: if `degree` is negative or falls, or no product is left.
    """
    terms = _terms(n_features, _ends(degree), interaction_only, include_bias)
    table = np.zeros((len(terms), n_features), np.int64)
    for row, term in enumerate(terms):
        np.add.at(table[row], list(term), 1)
    return table


@partial(jax.jit, static_argnames=("degree", "interaction_only", "include_bias"))
def transform(
    x: Float[Array, "n d"],
    degree: Degree = 2,
    *,
    interaction_only: bool = False,
    include_bias: bool = True,
) -> Float[Array, "n p"]:
    """Multiply features; every product is one of a degree less, times a feature.

    Args:
        x: rows; scale them first, powers are as large as they are.
        degree: as in `powers`.
        interaction_only: as in `powers`.
        include_bias: as in `powers`.

    >>> transform(jnp.array([[2.0, 3.0]]), 2)
    Array([[1., 2., 3., 4., 6., 9.]], dtype=float32)

    Raises:
        ValueError: if `degree` is negative or falls, or no product is left.
    """
    n, d = x.shape
    low, high = _ends(degree)
    _terms(d, (low, high), interaction_only, include_bias)
    parts = [jnp.ones((n, 1), x.dtype)] if include_bias else []
    products, starts = (
        x,
        list(range(d + 1)),
    )  # where the products led by a feature start
    for step in range(1, high + 1):
        if step > 1:
            # Led by feature i: i times the products led by i or a later one.
            first = [min(i + interaction_only, d) for i in range(d)]
            blocks = [
                x[:, i : i + 1] * products[:, starts[j] :]
                for i, j in zip(range(d), first, strict=True)
            ]
            ends = np.cumsum([0] + [block.shape[1] for block in blocks])
            products, starts = jnp.concatenate(blocks, axis=1), ends.tolist()
        if step >= low:
            parts.append(products)
    return jnp.concatenate(parts, axis=1)


def names(
    features: Sequence[str],
    degree: Degree = 2,
    *,
    interaction_only: bool = False,
    include_bias: bool = True,
) -> list[str]:
    """The names of the products, as scikit-learn writes them.

    Args:
        features: the names of the features.
        degree: as in `powers`.
        interaction_only: as in `powers`.
        include_bias: as in `powers`.

    >>> names(["a", "b"], 2, include_bias=False)
    ['a', 'b', 'a^2', 'a b', 'b^2']
    """
    table = powers(
        len(features),
        degree,
        interaction_only=interaction_only,
        include_bias=include_bias,
    )
    found = []
    for row in table:
        factors = [
            name if power == 1 else f"{name}^{power}"
            for name, power in zip(features, row, strict=True)
            if power
        ]
        found.append(" ".join(factors) or "1")
    return found


@lru_cache
def _terms(d, ends, interaction_only, include_bias):
    """The features of each product, as tuples."""
    low, high = ends
    choose = (
        itertools.combinations
        if interaction_only
        else itertools.combinations_with_replacement
    )
    terms: list[tuple[int, ...]] = [()] if include_bias else []
    for step in range(max(low, 1), high + 1):
        terms.extend(choose(range(d), step))
    if not terms:
        raise ValueError(
            f"degree {ends} and include_bias={include_bias} must leave a product"
        )
    return tuple(terms)


def _ends(degree):
    low, high = (0, degree) if isinstance(degree, int) else degree
    if not 0 <= low <= high:
        raise ValueError(
            f"degree must be at least 0, or (least, greatest) in order; got {degree}"
        )
    return low, high
