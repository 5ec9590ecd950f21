# ruff: noqa: N803  (X is how scikit-learn names it)
"""The one estimator behind all classes of `jaxml.sklearn`: from data to attributes.

`jaxml.sklearn.make` makes the classes; here is what they share. An estimator checks its
parameters and data as scikit-learn does, hands them to the functional module of its row
of the table, and keeps the state that comes back.
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sklearn
from sklearn import base, exceptions
from sklearn.utils import multiclass, validation

from jaxml.sklearn import arguments, methods, rows
from jaxml.sklearn.row import Data, Row

__all__ = ["RESULTS", "Adapter"]

RESULTS = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "predict_joint_log_proba",
    "decision_function",
    "transform",
)
ON_DEVICE = frozenset({"model_", "_sums"})  # trees of arrays of JAX


class Adapter(base.BaseEstimator):
    """What all estimators share; see `make`."""

    _row: Row
    _module: Any
    _plans: dict[str, arguments.Plan]
    _unsupported: dict[str, tuple]
    _targets: dict[str, bool] | None  # how y is checked; None: without y
    _classifies: bool

    def _fit(self, X, y, sample_weight=None, more=()):
        """Check, compute, and set the attributes.

        Args:
            X: rows.
            y: targets.
            sample_weight: of each row.
            more: keywords of the functional `fit` that are no parameters.
        """
        data = self._begin(X, y, sample_weight)
        with rows.precision(data.x.dtype):
            keywords = self._keywords("fit", data)
            for name, value in dict(more).items():
                keywords[name] = arguments.plain(value, data.x.dtype)
            device = self._on_device("fit", data, keywords)
            self._set_state(self._module.fit(*device, **keywords), data)
        return self

    def _sum_up(self, data: Data, before: Any) -> None:
        """Fit from sums over the rows, which add to those of the rows `before`."""
        with rows.precision(data.x.dtype):
            keywords = self._keywords("stats", data)
            device = self._on_device("stats", data, keywords)
            found = self._module.stats(*device, **keywords)
            self._sums = found if before is None else self._module.merge(before, found)
            keywords = self._keywords("solve", data)
            self._set_state(self._module.solve(self._sums, **keywords), data)

    def _begin(self, X, y, sample_weight, classes=None, reset=True) -> Data:
        """Check the parameters and the data."""
        if not sklearn.get_config()["skip_parameter_validation"]:
            self._validate_params()
        arguments.refuse(self, self._unsupported)
        data = self._checked(X, y, sample_weight, classes, reset)
        if self._row.check is not None:
            self._row.check(self, data)
        return data

    def _checked(self, X, y, sample_weight, classes, reset) -> Data:
        """The data as numpy arrays that the functional model can take."""
        if self._targets is None:
            x, y = self._valid(X, reset=reset), None
        else:
            x, y = self._valid(X, y, reset=reset, **self._targets)
        given = classes is not None
        if self._classifies:
            multiclass.check_classification_targets(y)
            if given:
                y = methods.encoded(y, classes)
            else:
                classes, y = np.unique(y, return_inverse=True)
            y = y.astype(np.int32)
        elif y is not None:
            y = np.ascontiguousarray(y, x.dtype)
        if sample_weight is not None:
            sample_weight = rows.check_weight(sample_weight, x)
        if classes is not None:
            self.classes_ = classes
            present = np.count_nonzero(np.bincount(y, sample_weight))
            if present < 2 and not self._row.one_class and not given:
                raise ValueError(
                    f"{type(self).__name__} needs rows of at least two classes; "
                    f"those with a weight are of one class"
                )
        return Data(x, y, sample_weight, classes)

    def _valid(self, X, *y, reset=True, **options):
        """X, or X and y, as scikit-learn checks it; keeps the names of features."""
        dtype = [np.float64, np.float32] if reset else self._dtype
        return validation.validate_data(
            self, X, *y, reset=reset, dtype=dtype, order="C", **options
        )

    def _keywords(self, function: str, data: Data) -> dict[str, Any]:
        """The keywords of `fit` or `partial_fit`, less the weights."""
        plan = self._plans[function]
        resolved = arguments.given(plan, self, data.classes)
        if self._row.arguments is not None:
            resolved |= self._row.arguments(self, data)
        later = [p.names for f, p in self._plans.items() if f in RESULTS]
        self._resolved = {
            k: v for k, v in resolved.items() if any(k in p for p in later)
        }
        return plan.values(self, data.x.dtype, resolved)

    def _on_device(self, function: str, data: Data, keywords) -> list[jax.Array]:
        """The rows on the device, padded to a length that other fits share.

        A row of weight zero is an absent row, so padding changes nothing; it lets the
        folds of a cross-validation run one compiled program.
        """
        x, y, weight, _ = data
        given = self._plans[function].given
        pads = self._row.pad(self) if callable(self._row.pad) else self._row.pad
        pads = pads and "sample_weight" in given
        length = rows.bucket(len(x)) if pads else len(x)
        per_class = arguments.class_weights(self, data)
        if per_class is not None and "class_weight" in given:
            keywords["class_weight"] = jnp.asarray(per_class)
        elif per_class is not None:
            weight = per_class[y] if weight is None else per_class[y] * weight
        if weight is None and pads and len(x) <= rows.LARGEST_PADDED:
            weight = np.ones(len(x), x.dtype)
        if weight is not None:
            keywords["sample_weight"] = jnp.asarray(rows.padded(weight, length, 0))
        # A model that keeps its rows may not share them with the caller.
        place = jnp.array if self._row.rows else jnp.asarray
        return [place(rows.padded(a, length)) for a in (x, y) if a is not None]

    def _set_state(self, model, data: Data, warn: bool = True) -> None:
        """Keep the model, and its fields as scikit-learn's attributes."""
        row = self._row
        state = {name: np.array(leaf) for name, leaf in _fields(model).items()}
        if data.classes is not None and len(data.classes) == 1:  # a second one is empty
            state = {k: leaf[:1] if leaf.ndim else leaf for k, leaf in state.items()}
        for name in row.rows.split():
            state[name] = state[name][: len(data.x)]
        self.model_ = model if row.finish is None else row.finish(self, model)
        self._dtype = data.x.dtype
        # Without a tol all steps were asked for.
        warn = warn and getattr(self, "tol", 0) is not None
        if warn and not state.get("converged", np.True_).all():
            self._warn(state)
        for name, leaf in state.items():
            attribute = row.names.get(name, name + "_")
            if attribute and name != "converged":
                setattr(self, attribute, leaf if leaf.ndim else leaf[()])
        if "n_iter" in state and not state["n_iter"].ndim:
            self.n_iter_ = int(state["n_iter"])
        if row.attributes is not None:
            for name, value in row.attributes(self, state, data).items():
                setattr(self, name, value)

    def _warn(self, state) -> None:
        steps = state.get("n_iter")
        after = "" if steps is None else f" after {steps.max()} iterations"
        warnings.warn(
            f"{type(self).__name__} did not converge{after}: scale the features, or "
            f"raise max_iter or tol",
            exceptions.ConvergenceWarning,
            stacklevel=5,
        )

    def _result(self, name: str, X) -> np.ndarray:
        """What the function `name` of the module says of each row."""
        if not hasattr(self, "model_"):
            validation.check_is_fitted(self)
        x = self._valid(X, reset=False)
        model = self.model_
        if self._row.refresh is not None:
            model = self._row.refresh(self, model)
        padded = rows.padded(x, rows.bucket(len(x)))
        with rows.precision(self._dtype):
            plan = self._plans[name]
            keywords = plan.values(self, self._dtype, self._resolved)
            keywords |= arguments.given(plan, self, None)
            function = getattr(self._module, name)
            out = function(model, jnp.asarray(padded), **keywords)
            return np.asarray(out)[: len(x)].copy()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __getstate__(self):
        """The estimator for pickle and copy: numpy arrays in place of the device's."""
        state = dict(super().__getstate__())
        for name in ON_DEVICE.intersection(state):
            state[name] = rows.moved(state[name], jax.Array, np.array)
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        for name in ON_DEVICE.intersection(state):
            with rows.precision(self._dtype):
                setattr(self, name, rows.moved(state[name], np.ndarray, jnp.array))


def _fields(model: Any) -> dict[str, Any]:
    """The arrays of a state by name."""
    names = getattr(model, "_fields", None) or tuple(vars(model))
    leaves = {name: getattr(model, name) for name in names}
    return {k: v for k, v in leaves.items() if isinstance(v, jax.Array)}
