# ruff: noqa: N803  (X is how scikit-learn names it)
"""Members of a bag as one program: who can, their fits, and what they say together.

drawn = [Drawn(member) for member in members]     # each `fit` keeps what was drawn
members = fit(drawn, x, None)                     # one program
model, features = stacked(bag)                    # one state of all
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import sklearn
from sklearn.utils import validation

from jaxml.models.classical import bagging
from jaxml.sklearn import arguments, rows
from jaxml.sklearn.adapter import Adapter

__all__ = ["Drawn", "computes", "fit", "say", "split", "stacked"]


class Drawn:
    """A member that has drawn its rows, and waits for the others to be fitted."""

    def __init__(self, member: Adapter):
        self.member = member

    def fit(self, X, y, sample_weight):
        """Keep what was drawn; the rows themselves are those of all members."""
        small = sample_weight.max(initial=0) < 2**8
        self.targets = y
        self.times = sample_weight.astype(np.uint8) if small else sample_weight
        return self


def computes(member: Any) -> bool:
    """Whether its fits are one program: it is ours, by the usual way, with weights."""
    return (
        isinstance(member, Adapter)
        and type(member)._fit is Adapter._fit
        and "sample_weight" in member._plans["fit"].given
        and validation.has_fit_parameter(member, "sample_weight")
        and not sklearn.get_config()["enable_metadata_routing"]
    )


def fit(drawn: list[Drawn], x: np.ndarray, features: list | None) -> list:
    """The members, fitted to what they drew by one program."""
    given, data = [], []
    for number, one in enumerate(drawn):
        part = x if features is None else x[:, features[number]]
        with sklearn.config_context(assume_finite=True):  # it was looked at
            checked = one.member._begin(part, one.targets, one.times)
        data.append(checked)
        with rows.precision(x.dtype):
            keywords = one.member._keywords("fit", checked)
            # Weights alone: the rows are placed once, for all.
            one.member._on_device("fit", checked._replace(x=part[:, :0]), keywords)
        given.append(keywords)
    first = drawn[0].member
    arrays = [k for k, v in given[0].items() if isinstance(v, jax.Array)]
    with rows.precision(x.dtype):
        each = {name: jnp.stack([one[name] for one in given]) for name in arrays}
        same = {k: v for k, v in given[0].items() if k not in arrays}
        traced, static = split(first._module.fit, same)
        models = _fit_all(
            *first._on_device("fit", data[0]._replace(x=x), {}),
            None if features is None else jnp.asarray(np.stack(features)),
            each,
            traced,
            module=first._module,
            static=static,
        )
        models = rows.moved(models, jax.Array, np.asarray)
        for number, (one, its) in enumerate(zip(drawn, data, strict=True)):
            take = lambda leaf, number=number: jnp.asarray(leaf[number])
            one.member._set_state(rows.moved(models, np.ndarray, take), its)
    return [one.member for one in drawn]


def stacked(self: Any) -> tuple:
    """The states of all members as one, and their features; empty if they differ."""
    members = self.estimators_
    first = members[0]
    if not isinstance(first, Adapter):
        return ()
    if any(type(m) is not type(first) or m._dtype != first._dtype for m in members):
        return ()
    classes = getattr(self, "n_classes_", None)
    if classes is not None and any(len(m.classes_) != classes for m in members):
        return ()
    flat: list[Any] = [jax.tree.flatten(member.model_) for member in members]
    shapes = [[leaf.shape for leaf in leaves] for leaves, _ in flat]
    if any(not tree == flat[0][1] for _, tree in flat) or any(
        s != shapes[0] for s in shapes
    ):
        return ()
    with rows.precision(first._dtype):
        columns = zip(*(leaves for leaves, _ in flat), strict=True)
        leaves = [jnp.asarray(np.stack(list(map(np.asarray, c)))) for c in columns]
        features = np.stack(self.estimators_features_)
        whole = np.arange(self.n_features_in_)
        same = features.shape[1] == len(whole) and (features == whole).all()
        model = jax.tree.unflatten(flat[0][1], leaves)
        return model, None if same else jnp.asarray(features)


def split(function: Callable, keywords: dict[str, Any]) -> tuple[dict, tuple]:
    """Numbers that may be traced, so that another value compiles nothing; the rest."""
    may = _traced(function)
    traced = {
        name: jnp.asarray(value) if isinstance(value, float) else value
        for name, value in keywords.items()
        if isinstance(value, jax.Array) or (isinstance(value, float) and name in may)
    }
    rest = ((name, v) for name, v in keywords.items() if name not in traced)
    return traced, tuple(sorted(rest))


@functools.cache
def _traced(function: Callable) -> frozenset[str]:
    """The keywords of a function that may be arrays."""
    is_array = lambda kind: (
        isinstance(kind, type) and issubclass(kind, jaxtyping.AbstractArray)
    )
    parameters = inspect.signature(function).parameters
    return frozenset(
        name
        for name, parameter in parameters.items()
        if any(map(is_array, arguments._options(parameter.annotation)))
    )


@functools.partial(jax.jit, static_argnames=("module", "static"))
def _fit_all(x, y, features, each, shared, *, module, static):
    def one(item):
        columns, own = item
        part = x if columns is None else x[:, columns]
        return module.fit(part, y, **dict(static), **shared, **own)

    return jax.lax.map(one, (features, each))


@functools.partial(jax.jit, static_argnames=("module", "name", "static", "n_classes"))
def say(model, features, x, out, traced, *, module, name, static, n_classes):
    """The sum over the members of what the function `name` says of the rows."""

    def one(part, x, out=None):
        said = getattr(module, name)(part, x, **dict(static), **traced)
        if name == "predict" and n_classes is not None:
            said = jax.nn.one_hot(said, n_classes, dtype=x.dtype)
        if out is None:
            return said
        return jnp.where(out.reshape(-1, *[1] * (said.ndim - 1)), said, 0)

    return bagging.each_sum(one, model, features, x, out)
