"""Many fits of one model to drawn rows and features: what both baggings share.

    draws, share = bagging.door(logistic, x, y, w, n_estimators=10, ...)
    models, features = bagging.fit_each(logistic, x, y, keys, w, share, {}, ...)
    total = bagging.each_sum(logistic.predict_proba, models, features, x_new)

Drawn rows are weights: a row that is drawn twice counts twice, one that is not drawn is
absent. The draw of a row depends on the weights alone, not on where the row stands: an
absent row draws nothing and a row of weight 2 is drawn as two rows of weight 1.

Letters: n rows, d features, e members, f features of a member.

References:
    Breiman, 1996. Bagging predictors. Machine Learning 24(2).
    Breiman, 1999. Pasting small votes for classification. Machine Learning 36.
    Ho, 1998. The random subspace method. IEEE TPAMI 20(8).
    Louppe and Geurts, 2012. Ensembles on random patches. ECML PKDD.
    Efraimidis and Spirakis, 2006. Weighted random sampling with a reservoir.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxml.models.classical import estimator as inner
from jaxml.models.classical import voting
from jaxml.ops import check

__all__ = [
    "Draws",
    "counted",
    "door",
    "draw_features",
    "draw_rows",
    "each_sum",
    "fit_each",
]


class Draws(NamedTuple):
    """How members draw; all of it is static."""

    drawn: int | None  # rows of a member; None: a share of those that have a weight
    features: int  # of a member
    bootstrap: bool  # whether a row may be drawn twice
    bootstrap_features: bool
    by_rows: bool  # drawn rows are copied out, not weighted


def door(
    estimator: Any,
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    n_estimators: int,
    max_samples: Any,
    max_features: Any,
    bootstrap: bool,
    bootstrap_features: bool,
    oob_score: bool,
    draw: str,
    batch_size: int,
) -> tuple[Draws, Any]:
    """The draws, and the share of the rows where it may be traced.

    Raises:
        ValueError: if more is asked for than there is, or a choice is unknown.
    """
    check.rows(x, y, sample_weight)
    n, d = x.shape
    check.size("n_estimators", n_estimators, 1)
    check.size("batch_size", batch_size, 1)
    check.one_of("draw", draw, ("weights", "rows"))
    weighs = draw == "weights" or (sample_weight is not None and not bootstrap)
    if weighs and not voting.takes(estimator, "sample_weight"):
        raise ValueError(
            "estimator must take sample_weight, or draw be 'rows' and all rows count "
            f"alike; got {getattr(estimator, '__name__', estimator)!r}"
        )
    if oob_score and not bootstrap:
        raise ValueError("oob_score needs bootstrap=True; got bootstrap=False")
    count, share = None, 1.0 if max_samples is None else max_samples
    if isinstance(max_samples, int):
        check.size("max_samples", max_samples, 1, None if bootstrap else n)
        count = max_samples
    else:
        check.above("max_samples", share, 0)
        check.between("max_samples", share, 0, 1)
    if draw == "rows" and count is None:
        if not isinstance(share, float):
            raise ValueError(
                "max_samples of draw='rows' is a size of arrays: it must be an int or "
                f"a Python float; got {type(share).__name__}"
            )
        count = max(1, int(share * n))
    if isinstance(max_features, int):
        check.size("max_features", max_features, 1, None if bootstrap_features else d)
        features = max_features
    else:
        check.above("max_features", max_features, 0)
        check.between("max_features", max_features, 0, 1)
        features = max(1, math.floor(max_features * d))
    by_rows = draw == "rows"
    return Draws(count, features, bootstrap, bootstrap_features, by_rows), share


def draw_rows(
    key: Key[Array, ""],
    weight: Float[Array, "n"] | None,
    share: Float[Array, ""],
    draws: Draws,
    n: int,
) -> Int[Array, "r"]:
    """The rows of a member, n where there is none.

    Args:
        key: random key.
        weight: how likely a row is drawn. Default: all alike.
        share: how many of the rows that have a weight are drawn, where
            `draws.drawn` is None.
        draws: how.
        n: how many rows there are.
    """
    size = n if draws.drawn is None else draws.drawn
    present: Any = n if weight is None else (weight > 0).sum()
    wanted: Any = size
    if draws.drawn is None:
        wanted = jnp.maximum(jnp.floor(share * present + 1e-4), 1).astype(jnp.int32)
    if not draws.bootstrap:
        wanted = jnp.minimum(wanted, present)
        order = _race(key, weight, n)[:size].astype(jnp.int32)
        return jnp.where(jnp.arange(size) < wanted, order, n)
    bits = jax.random.bits(key, (size,), jnp.uint32)
    if weight is None:
        row = _scaled(bits, n)
    else:
        ends = jnp.cumsum(weight)
        at = (bits >> 8).astype(weight.dtype) * (ends[-1] / 2**24)
        row = jnp.searchsorted(ends, at, side="right")
        last = n - 1 - jnp.argmax((weight > 0)[::-1])  # rounding may go beyond it
        row = jnp.where(ends[-1] > 0, jnp.minimum(row, last), n).astype(jnp.int32)
    return jnp.where(jnp.arange(size) < wanted, row, n)


def draw_features(key: Key[Array, ""], draws: Draws, d: int) -> Int[Array, "f"]:
    """The columns of a member, ascending."""
    if draws.bootstrap_features:
        return jnp.sort(jax.random.randint(key, (draws.features,), 0, d))
    return jnp.sort(jax.random.permutation(key, d)[: draws.features])


@sequential_vmap  # a scatter that is mapped is slow
def counted(rows: Int[Array, "r"], like: Float[Array, "n"]) -> Float[Array, "n"]:
    """How often each row was drawn, in the precision of `like`."""
    return jnp.zeros_like(like).at[rows].add(1, mode="drop")


def fit_each(
    estimator: Any,
    x: Float[Array, "n d"],
    y: Any,
    keys: Key[Array, "e 3"],
    weight: Float[Array, "n"] | None,
    share: Float[Array, ""],
    options: dict[str, Any],
    *,
    draws: Draws,
    batch_size: int,
) -> tuple[PyTree, Int[Array, "e f"] | None]:
    """Fit the members to what their keys draw: models, and their features.

    Args:
        estimator: the module of a member.
        x: features.
        y: labels, or numbers.
        keys: of each member one for its rows, one for its features, one for its fit.
        weight: how likely a row is drawn. Default: all alike.
        share: see `draw_rows`.
        options: what each `fit` is given.
        draws: how the members draw.
        batch_size: how many members are fitted side by side.
    """
    takes_key = voting.takes(estimator, "key")
    n, d = x.shape

    def one(keys):
        rows = draw_rows(keys[0], weight, share, draws, n)
        columns = _columns(keys[1], draws, d)
        part = x if columns is None else x[:, columns]
        key = keys[2] if takes_key else None
        if not draws.by_rows:
            times = counted(rows, x[:, 0])
            return inner.fit(
                estimator, part, y, options, sample_weight=times, key=key
            ), columns
        short = weight is not None and not draws.bootstrap  # maybe fewer than asked for
        times = (rows < n).astype(x.dtype) if short else None
        return inner.fit(
            estimator, part[rows], y[rows], options, sample_weight=times, key=key
        ), columns

    return inner.each(one, keys, batch_size)


def each_sum(
    function: Callable[..., PyTree],
    models: PyTree,
    features: Int[Array, "e f"] | None,
    x: Float[Array, "m d"],
    more: Any = None,
) -> PyTree:
    """The sum over the members of a function of (model, its columns of x[, more])."""

    def one(item):
        model, columns, own = item
        part = x if columns is None else x[:, columns]
        return function(model, part, own) if more is not None else function(model, part)

    items = (models, features, more)
    first = jax.tree.map(lambda leaf: leaf[0], items)
    shapes = jax.eval_shape(one, first)
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    add = lambda total, item: (jax.tree.map(jnp.add, total, one(item)), None)
    return jax.lax.scan(add, zero, items)[0]


def _columns(key, draws, d):
    """None where every member has all features, in their order."""
    if draws.features == d and not draws.bootstrap_features:
        return None
    return draw_features(key, draws, d)


def _race(key, weight, n):
    """Rows in the order in which they are drawn, each once.

    The times of arrival are exponential, with the weights as rates.
    """
    bits = jax.random.bits(key, (n,), jnp.uint32)
    if weight is None:
        return jnp.argsort(bits)
    runner = jnp.maximum(jnp.cumsum(weight > 0) - 1, 0)  # its number among the present
    share = ((bits[runner] >> 8).astype(weight.dtype) + 0.5) / 2**24
    time = -jnp.log1p(-share) / jnp.where(weight > 0, weight, 1)
    return jnp.argsort(jnp.where(weight > 0, time, jnp.inf))


def _scaled(bits, n):
    """floor(bits n / 2^32) in whole numbers of 32 bits: a row, all alike to 2^-32."""
    low, high = bits & 0xFFFF, bits >> 16
    n_low, n_high = jnp.uint32(n & 0xFFFF), jnp.uint32(n >> 16)
    carry = high * n_low + ((low * n_low) >> 16)
    middle = low * n_high + (carry & 0xFFFF)
    top = high * n_high + (carry >> 16) + (middle >> 16)
    return top.astype(jnp.int32)
