# ruff: noqa: N803  (X is how scikit-learn names it)
"""Methods of isotonic regression, whose rows are one number each."""

from collections.abc import Callable

import numpy as np
from sklearn import utils

__all__ = ["METHODS", "inside", "thresholds"]


def inside(estimator, data):
    """Beyond the thresholds an error is raised here; the model may then clip."""
    rule = estimator.out_of_bounds
    return {"out_of_bounds": "clip" if rule == "raise" else rule}


def thresholds(estimator, state, data):
    """The ends of the level pieces, and the range of the rows."""
    count = int(state["n_thresholds"])
    x, y = state["X_thresholds"][:count], state["y_thresholds"][:count]
    keep = np.ones(count, bool)  # of equal values in a row, the first and the last
    keep[1:-1] = (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:])
    return {
        "X_thresholds_": x[keep],
        "y_thresholds_": y[keep],
        "X_min_": x[0],
        "X_max_": x[-1],
        "increasing_": bool(state["increasing"]),
    }


def _valid(self, X, *y, reset=True, **options):
    """Numbers [n], and the targets."""
    dtype = [np.float64, np.float32] if reset else self._dtype
    x = utils.check_array(X, dtype=dtype, ensure_2d=False, input_name="X")
    if x.ndim > 2 or (x.ndim == 2 and x.shape[1] != 1):
        raise ValueError(
            f"X must be one feature, a 1d array or a 2d array with 1 column; "
            f"got {list(x.shape)}"
        )
    x = x.ravel()
    if not y:
        return x
    target = utils.check_array(y[0], dtype=x.dtype, ensure_2d=False, input_name="y")
    utils.check_consistent_length(x, target)
    return x, utils.column_or_1d(target, warn=True)


def predict(self, T):
    """The values of the function at T [m] or [m, 1]."""
    if self.out_of_bounds == "raise":
        x = self._valid(T, reset=False)
        if ((x < self.X_min_) | (x > self.X_max_)).any():
            raise ValueError(
                f"a value in x is below the range {self.X_min_} to {self.X_max_} of "
                f"the fit, or above it"
            )
    return self._result("predict", T)


def transform(self, T):
    """The values of the function at T, as `predict`."""
    return self.predict(T)


def get_feature_names_out(self, input_features=None):
    """The name of the one column."""
    return np.asarray([f"{type(self).__name__.lower()}0"], dtype=object)


METHODS: dict[str, Callable] = {
    "_valid": _valid,
    "predict": predict,
    "transform": transform,
    "get_feature_names_out": get_feature_names_out,
}
