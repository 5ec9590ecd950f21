# ruff: noqa: N803  (X is how scikit-learn names it)
"""Bagging of estimators of the table as one program; of others as scikit-learn does it.

    from jaxml.sklearn import BaggingClassifier, SVC
    model = BaggingClassifier(SVC(), n_estimators=500, random_state=42).fit(X, y)

The classes are scikit-learn's own: it checks, and draws the rows and features of each
member, so the same `random_state` draws the same. Where the member is an estimator of
`jaxml.sklearn` that takes weights, all members are then fitted by one program, with
what they drew as weights, and predict by one; `estimators_` are what a loop would give.
"""

import contextlib
import functools
import importlib
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import joblib
import numpy as np
import sklearn
from sklearn import ensemble, metrics, utils
from sklearn.utils import metaestimators, validation

from jaxml.models.classical import bagging
from jaxml.sklearn import arguments, rows
from jaxml.sklearn.adapter import Adapter

__all__ = ["BaggingClassifier", "BaggingRegressor"]

LARGEST_GROUP = 2**26  # weights of the members that one program fits: memory


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


BASE: Any = object  # what `Bagging` stands in front of is told by its subclasses


class Bagging(BASE):
    """What both classes share, in front of scikit-learn's own."""

    estimators_: list

    def fit(self, X, y, sample_weight=None, **fit_params):
        """Fit the members to rows and features that scikit-learn draws for each.

        Args:
            X: rows [n, d].
            y: targets, one a row.
            sample_weight: how likely a row is drawn; 0 is an absent row.
            **fit_params: for the members, where routing is enabled.

        Returns:
            The estimator.
        """
        self._together = None
        self._defers = not self.warm_start and _computes_together(self._get_estimator())
        # A member that waits must not be sent to another process.
        threads = joblib.parallel_config(backend="threading")
        with threads if self._defers else contextlib.nullcontext():
            super().fit(X, y, sample_weight=sample_weight, **fit_params)
        self._settle(X)
        self._together = _stacked(self)
        return self

    def _make_estimator(self, append=True, random_state=None):
        member = super()._make_estimator(append=append, random_state=random_state)
        return Drawn(member) if self._defers else member

    def _settle(self, X):
        """Fit the members that have only drawn."""
        if not isinstance(self.estimators_[0], Drawn):
            return
        x = self._checked(self.estimators_[0].member, X, [np.float64, np.float32])
        size = max(1, LARGEST_GROUP // len(x))
        whole = self._max_features == x.shape[1] and not self.bootstrap_features
        drawn, fitted = self.estimators_, []
        for start in range(0, len(drawn), size):
            group = slice(start, start + size)
            features = None if whole else self.estimators_features_[group]
            fitted += _fit_together(drawn[group], x, features)
        self.estimators_ = fitted

    def _checked(self, member, X, dtype):
        """The rows as members take them."""
        nan = utils.get_tags(member).input_tags.allow_nan
        return validation.validate_data(
            self,
            X,
            reset=False,
            dtype=dtype,
            order="C",
            ensure_all_finite="allow-nan" if nan else True,
        )

    def _left_out(self, name, X):
        """Sums of what members say of rows they did not draw, and of how many said.

        None where they do not predict as one.
        """
        self._settle(X)
        out = np.ones((len(self.estimators_), len(X)), bool)
        for row, drawn in zip(out, self.estimators_samples_, strict=True):
            row[drawn] = False
        said = self._sums(name, X, out)
        if not out.any(0).all():
            warnings.warn(
                "Some inputs do not have OOB scores. This probably means too few "
                "estimators were used to compute any reliable oob estimates.",
                UserWarning,
                stacklevel=6,
            )
        return None if said is None else (said, out.sum(0))

    def _sums(self, name, X, out=None):
        """The sum over the members of what `name` says of X, or None: not as one."""
        if getattr(self, "_together", None) is None:
            self._together = _stacked(self)
        if not self._together:
            return None
        model, features = self._together
        first = self.estimators_[0]
        plan = first._plans[name]
        if "key" in plan.given:
            return None
        x = self._checked(first, X, first._dtype)
        if first._row.refresh is not None:
            model = first._row.refresh(first, model)
        with rows.precision(first._dtype):
            keywords = plan.values(first, first._dtype, first._resolved)
            traced, static = _split(getattr(first._module, name), keywords)
            length = rows.bucket(len(x))
            if out is not None:
                pad = ((0, 0), (0, length - len(x)))
                out = jnp.asarray(np.pad(out, pad))
            found = _say(
                model,
                features,
                jnp.asarray(rows.padded(x, length)),
                out,
                traced,
                module=first._module,
                name=name,
                static=static,
                n_classes=getattr(self, "n_classes_", None),
            )
            return np.asarray(found)[: len(x)].copy()

    def __getstate__(self):
        hidden = ("_together", "_defers")
        return {k: v for k, v in super().__getstate__().items() if k not in hidden}


class BaggingClassifier(Bagging, ensemble.BaggingClassifier):
    """A Bagging classifier.

    The parameters and attributes are those of `sklearn.ensemble.BaggingClassifier`, and
    the same `random_state` draws the same rows. Members that are estimators of
    `jaxml.sklearn` are fitted by one program; without `estimator` they are its trees.
    """

    def _get_estimator(self):
        return (
            _tree("DecisionTreeClassifier")
            if self.estimator is None
            else self.estimator
        )

    def predict_proba(self, X, **params):
        """The mean probability of each class, or the share of the votes."""
        validation.check_is_fitted(self)
        total = None if params else self._sums(self._heard(), X)
        if total is None:
            return super().predict_proba(X, **params)
        return total / len(self.estimators_)

    @metaestimators.available_if(lambda self: self._decides())
    def decision_function(self, X, **params):
        """The mean of the members' decision values."""
        validation.check_is_fitted(self)
        total = None if params else self._sums("decision_function", X)
        if total is None:
            return super().decision_function(X, **params)
        return total / len(self.estimators_)

    def _decides(self):
        members = getattr(self, "estimators_", None) or [self._get_estimator()]
        return hasattr(members[0], "decision_function")

    def _heard(self):
        has = hasattr(self._get_estimator(), "predict_proba")
        return "predict_proba" if has else "predict"

    def predict_log_proba(self, X, **params):
        """The logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X, **params))

    def _set_oob_score(self, X, y):
        found = self._left_out(self._heard(), X)
        if found is None:
            return super()._set_oob_score(X, y)
        votes, _ = found
        with np.errstate(invalid="ignore"):
            self.oob_decision_function_ = votes / votes.sum(1, keepdims=True)
        self.oob_score_ = metrics.accuracy_score(y, votes.argmax(1))


class BaggingRegressor(Bagging, ensemble.BaggingRegressor):
    """A Bagging regressor.

    The parameters and attributes are those of `sklearn.ensemble.BaggingRegressor`, and
    the same `random_state` draws the same rows. Members that are estimators of
    `jaxml.sklearn` are fitted by one program; without `estimator` they are its trees.
    """

    def _get_estimator(self):
        return (
            _tree("DecisionTreeRegressor") if self.estimator is None else self.estimator
        )

    def predict(self, X, **params):
        """The mean of what the members predict."""
        validation.check_is_fitted(self)
        total = None if params else self._sums("predict", X)
        if total is None:
            return super().predict(X, **params)
        return total / len(self.estimators_)

    def _set_oob_score(self, X, y):
        found = self._left_out("predict", X)
        if found is None:
            return super()._set_oob_score(X, y)
        total, times = found
        times = times.reshape(-1, *[1] * (total.ndim - 1))
        self.oob_prediction_ = total / np.maximum(times, 1)
        self.oob_score_ = metrics.r2_score(y, self.oob_prediction_)


def _computes_together(member: Any) -> bool:
    """Whether its fits are one program: it is ours, by the usual way, with weights."""
    return (
        isinstance(member, Adapter)
        and type(member)._fit is Adapter._fit
        and "sample_weight" in member._plans["fit"].given
        and validation.has_fit_parameter(member, "sample_weight")
        and not sklearn.get_config()["enable_metadata_routing"]
    )


def _fit_together(drawn: list[Drawn], x: np.ndarray, features: list | None) -> list:
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
        traced, static = _split(first._module.fit, same)
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


def _stacked(self: Any) -> tuple:
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


def _split(function: Callable, keywords: dict[str, Any]) -> tuple[dict, tuple]:
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
def _say(model, features, x, out, traced, *, module, name, static, n_classes):
    """The sum over the members of what the function `name` says of the rows."""

    def one(part, x, out=None):
        said = getattr(module, name)(part, x, **dict(static), **traced)
        if name == "predict" and n_classes is not None:
            said = jax.nn.one_hot(said, n_classes, dtype=x.dtype)
        if out is None:
            return said
        return jnp.where(out.reshape(-1, *[1] * (said.ndim - 1)), said, 0)

    return bagging.each_sum(one, model, features, x, out)


def _tree(name: str) -> Any:
    """A tree of ours with its default parameters."""
    return getattr(importlib.import_module("jaxml.sklearn"), name)()
