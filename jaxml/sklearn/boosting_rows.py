# ruff: noqa: N803, N806  (X is how scikit-learn names it)
"""Rows of the table: histogram gradient boosting."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from sklearn.utils import validation

from jaxml.sklearn import methods, rows
from jaxml.sklearn.row import Row

__all__ = ["ROWS"]


def _columns(X: Any) -> list[str] | None:
    """Names of the columns of a data frame."""
    return [str(name) for name in X.columns] if hasattr(X, "columns") else None


def _column(X: Any, feature: int) -> np.ndarray:
    return np.asarray(X.iloc[:, feature] if hasattr(X, "iloc") else X[:, feature])


def _categorical(estimator: Any, X: Any) -> tuple[int, ...]:
    """Indices of the features that are categories."""
    asked, names = estimator.categorical_features, _columns(X)
    if isinstance(asked, str):  # "from_dtype"
        kinds = [str(kind) for kind in X.dtypes] if hasattr(X, "iloc") else []
        return tuple(i for i, kind in enumerate(kinds) if kind == "category")
    if asked is None or not len(asked):
        return ()
    chosen = np.asarray(asked)
    d = X.shape[1]
    if chosen.dtype.kind not in "biUO":
        raise ValueError(
            "categorical_features must be an array-like of bool, int or str, got: "
            f"{chosen.dtype.name}."
        )
    if chosen.dtype.kind == "b":
        if chosen.shape != (d,):
            raise ValueError(
                f"categorical_features set as a boolean mask must have shape "
                f"(n_features,), got: {chosen.shape}"
            )
        return tuple(np.flatnonzero(chosen).tolist())
    if chosen.dtype.kind in "UO":
        names = names or []
        missing = sorted(set(chosen) - set(names))
        if missing:
            raise ValueError(
                f"categorical_features has an item value {missing[0]!r} which is not a "
                f"valid feature name of the training data. Observed feature names: "
                f"{names}"
            )
        chosen = np.array([names.index(name) for name in chosen])
    if chosen.max() >= d or chosen.min() < 0:
        raise ValueError(
            f"categorical_features set as integer indices must be in "
            f"[0, n_features - 1]: from 0 to {d - 1}; got {chosen.tolist()}"
        )
    return tuple(sorted(set(chosen.tolist())))


def _known(column: np.ndarray) -> np.ndarray:
    """The categories of a column, sorted; missing ones are none."""
    there = column[np.array([value == value and value is not None for value in column])]
    found = np.unique(there)
    return found[found >= 0] if found.dtype.kind in "iuf" else found


def _is_table(X: Any) -> bool:
    return len(getattr(X, "shape", ())) == 2


def _encoded(estimator: Any, X: Any, reset: bool) -> Any:
    """X with the numbers of its categories, NaN where one is missing or unknown."""
    if reset:
        if not (hasattr(X, "iloc") or isinstance(X, np.ndarray)):
            asked = estimator.categorical_features
            if asked is not None and not isinstance(asked, str):
                X = np.asarray(X)
        chosen = _categorical(estimator, X) if _is_table(X) else ()
        estimator._categories = {f: _known(_column(X, f)) for f in chosen}
        for feature, known in estimator._categories.items():
            if len(known) > estimator.max_bins:
                raise ValueError(
                    f"Categorical feature at index {feature} is expected to have a "
                    f"cardinality <= {estimator.max_bins} but actually has a "
                    f"cardinality of {len(known)}."
                )
    if not estimator._categories:
        return X
    X = X if hasattr(X, "iloc") else np.asarray(X)
    if not _is_table(X) or X.shape[1] <= max(estimator._categories):
        return X  # refused later
    X = X.copy() if hasattr(X, "iloc") else np.array(X)
    for feature, known in estimator._categories.items():
        place = {value: float(index) for index, value in enumerate(known)}
        column = [place.get(value, np.nan) for value in _column(X, feature).tolist()]
        if hasattr(X, "iloc"):
            X[X.columns[feature]] = np.array(column)
        else:
            X[:, feature] = column
    return X


def _valid(self, X, *y, reset=True, **options):
    """X, or X and y, as scikit-learn checks them: NaN is a missing value."""
    if reset or getattr(self, "_categories", None):
        X = _encoded(self, X, reset)
    dtype = [np.float64, np.float32] if reset else self._dtype
    return validation.validate_data(
        self,
        X,
        *y,
        reset=reset,
        dtype=dtype,
        order="C",
        ensure_all_finite=False,
        **options,
    )


def _arguments(estimator: Any, data: Any) -> dict[str, Any]:
    """The keywords that a name is not enough for."""
    groups, fraction = estimator.interaction_cst, estimator.validation_fraction
    if groups is not None and not isinstance(groups, str):
        groups = tuple(tuple(int(f) for f in group) for group in groups)
        _check_groups(groups, data.x.shape[1])
    if isinstance(fraction, int) and not isinstance(fraction, bool):
        fraction = fraction / len(data.x)
    monotone = validation._check_monotonic_cst(estimator, estimator.monotonic_cst)
    found = {
        "categorical_features": tuple(estimator._categories),
        "monotonic_cst": tuple(int(sign) for sign in monotone),
        "interaction_cst": groups,
        "validation_fraction": fraction,
    }
    quantile = getattr(estimator, "quantile", None)
    found["quantile"] = 0.5 if quantile is None else float(quantile)
    held = estimator.__dict__.get("_held")
    if held is not None:
        found["validation"] = _held_out(estimator, data, *held)
    if estimator.warm_start and hasattr(estimator, "model_"):
        found["initial"] = estimator.model_
    return found


def _check_groups(groups, d):
    for group in groups:
        if any(not 0 <= feature < d for feature in group):
            raise ValueError(
                f"interaction_cst must consist of integer indices in [0, n_features - "
                f"1] = [0, {d - 1}], specifying the position of features; got {group}"
            )


def _held_out(estimator, data, X, y, weight):
    """Rows for validation on the device."""
    x = estimator._valid(X, reset=False)
    y = np.asarray(y)
    if data.classes is not None:
        y = methods.encoded(y, data.classes).astype(np.int32)
    else:
        y = y.astype(x.dtype)
    parts = [jnp.asarray(x), jnp.asarray(y)]
    if weight is not None:
        parts.append(jnp.asarray(rows.check_weight(weight, x)))
    return tuple(parts)


def _check(estimator: Any, data: Any) -> None:
    """Refuse targets that the loss has no likelihood for."""
    loss = estimator.loss
    if loss == "quantile" and estimator.quantile is None:
        raise ValueError(
            "quantile must be a number from 0 to 1 for the loss 'quantile'; got None"
        )
    if data.classes is None and loss in ("poisson", "gamma"):
        least, total = data.y.min(), data.y.sum()
        if least < 0 or (loss == "gamma" and least == 0) or total <= 0:
            limit = "above 0" if loss == "gamma" else "at least 0, with a sum above 0"
            raise ValueError(
                f"loss={loss!r} requires y to be {limit}: Some value(s) of y are out "
                f"of the valid range; got {least}"
            )
    if estimator.warm_start and hasattr(estimator, "model_"):
        if estimator.max_iter < estimator.n_iter_:
            raise ValueError(
                f"max_iter={estimator.max_iter} must be larger than or equal to "
                f"n_iter_={estimator.n_iter_} when warm_start==True"
            )


def _attributes(estimator: Any, state: Any, data: Any) -> dict[str, Any]:
    count = int(state["n_iter"]) + 1
    chosen = np.zeros(data.x.shape[1], bool)
    chosen[list(estimator._categories)] = True
    stops = bool(len(state["train_score"]))
    return {
        "train_score_": state["train_score"][:count],
        "validation_score_": state["validation_score"][:count],
        "n_trees_per_iteration_": len(state["baseline"]),
        "is_categorical_": chosen if chosen.any() else None,
        "do_early_stopping_": stops,
    }


def fit(
    self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None
):
    """Fit the trees.

    Args:
        X: rows [n, d]; NaN where a value is missing.
        y: targets, one a row.
        sample_weight: what each row counts, at least 0; 0 is an absent row.
        X_val: rows to be scored where it stops early, in place of a share of X.
        y_val: their targets.
        sample_weight_val: their weights.

    Returns:
        The estimator.
    """
    if (X_val is None) != (y_val is None):
        raise ValueError("X_val and y_val must be given both, or none of them")
    if X_val is not None:
        self._held = (X_val, y_val, sample_weight_val)
    try:
        return self._fit(X, y, sample_weight)
    finally:
        self.__dict__.pop("_held", None)


def _staged(function: str) -> Any:
    def staged(self, X) -> Iterator[np.ndarray]:
        yield from self._result_of_stages(function, X)

    staged.__name__ = staged.__qualname__ = f"staged_{function}"
    staged.__doc__ = f"`{function}` after each iteration."
    return staged


def _result_of_stages(self, function, X):
    """[t, ...] what a function says of each row after each iteration."""
    validation.check_is_fitted(self)
    x = self._valid(X, reset=False)
    with rows.precision(self._dtype):
        staged = getattr(self._module, f"staged_{function}")
        options = {} if hasattr(self, "classes_") else {"loss": self.loss}
        out = np.array(staged(self.model_, jnp.asarray(x), **options))
    out = out[: self.n_iter_]
    if function == "predict" and hasattr(self, "classes_"):
        return self.classes_[out]
    return out[..., : len(self.classes_)] if function == "predict_proba" else out


def _draws(estimator: Any) -> bool:
    return estimator.early_stopping is not False or estimator.max_features < 1


def _row(peer: str, module: str, more: tuple[str, ...]) -> Row:
    stages: dict[str, Any] = {
        f"staged_{name}": _staged(name) for name in ("predict", *more)
    }
    stages |= {"fit": fit, "_valid": _valid, "_result_of_stages": _result_of_stages}
    return Row(
        peer,
        module,
        handled="warm_start",
        arguments=_arguments,
        check=_check,
        names={"baseline": "", "train_score": "", "validation_score": ""},
        attributes=_attributes,
        random=_draws,
        one_class=True,
        tags={"input_tags.allow_nan": True},
        methods=stages,
        notes=(
            "`scoring` is the loss alone. The rows kept for validation are drawn one "
            "by one, not in the shares of the classes."
        ),
    )


ROWS = {
    "HistGradientBoostingClassifier": _row(
        "ensemble.HistGradientBoostingClassifier",
        "boosting_classifier",
        ("predict_proba", "decision_function"),
    ),
    "HistGradientBoostingRegressor": _row(
        "ensemble.HistGradientBoostingRegressor", "boosting_regressor", ()
    ),
}
