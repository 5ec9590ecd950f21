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
import importlib
import warnings
from typing import Any

import jax.numpy as jnp
import joblib
import numpy as np
from sklearn import ensemble, metrics, utils
from sklearn.utils import metaestimators, validation

from jaxml.sklearn import rows, together

__all__ = ["BaggingClassifier", "BaggingRegressor"]

LARGEST_GROUP = 2**26  # weights of the members that one program fits: memory


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
        self._defers = not self.warm_start and together.computes(self._get_estimator())
        # A member that waits must not be sent to another process.
        threads = joblib.parallel_config(backend="threading")
        with threads if self._defers else contextlib.nullcontext():
            super().fit(X, y, sample_weight=sample_weight, **fit_params)
        self._settle(X)
        self._together = together.stacked(self)
        return self

    def _make_estimator(self, append=True, random_state=None):
        member = super()._make_estimator(append=append, random_state=random_state)
        return together.Drawn(member) if self._defers else member

    def _settle(self, X):
        """Fit the members that have only drawn."""
        if not isinstance(self.estimators_[0], together.Drawn):
            return
        x = self._checked(self.estimators_[0].member, X, [np.float64, np.float32])
        size = max(1, LARGEST_GROUP // len(x))
        whole = self._max_features == x.shape[1] and not self.bootstrap_features
        drawn, fitted = self.estimators_, []
        for start in range(0, len(drawn), size):
            group = slice(start, start + size)
            features = None if whole else self.estimators_features_[group]
            fitted += together.fit(drawn[group], x, features)
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
            self._together = together.stacked(self)
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
            traced, static = together.split(getattr(first._module, name), keywords)
            length = rows.bucket(len(x))
            if out is not None:
                pad = ((0, 0), (0, length - len(x)))
                out = jnp.asarray(np.pad(out, pad))
            found = together.say(
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


def _tree(name: str) -> Any:
    """A tree of ours with its default parameters."""
    return getattr(importlib.import_module("jaxml.sklearn"), name)()
