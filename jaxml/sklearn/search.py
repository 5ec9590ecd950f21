# ruff: noqa: N803  (X is how scikit-learn names it)
"""Methods of the estimators that keep rows to search among."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import sparse
from sklearn.utils import validation

from jaxml.models.classical import neighbors
from jaxml.sklearn import rows

__all__ = ["COUNTED", "OUTLIERS", "WITHIN", "outlier", "predict_mean", "refresh"]


def refresh(estimator: Any, model: Any) -> Any:
    """The model with the number of neighbours and the weights that are asked for now.

    Raises:
        ValueError: if there are fewer rows than neighbours.
    """
    _enough(estimator, estimator.n_neighbors)
    changes = {
        name: getattr(estimator, name)
        for name in ("n_neighbors", "weights")
        if hasattr(estimator, name)
    }
    return model._replace(rule=dataclasses.replace(model.rule, **changes))


def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
    """The nearest stored rows of each row of X.

    Args:
        X: rows [m, d]. Default: the stored rows, none of which is its own neighbour.
        n_neighbors: how many. Default: the parameter of the estimator.
        return_distance: whether distances come too.

    Returns:
        distances [m, k] and indices [m, k], nearest first; or the indices alone.
    """
    validation.check_is_fitted(self)
    k = self.n_neighbors if n_neighbors is None else n_neighbors
    if not isinstance(k, int | np.integer):
        raise TypeError(f"n_neighbors must be a whole number; got {k!r}")
    if k < 1:
        raise ValueError(f"n_neighbors must be at least 1; got {k}")
    _enough(self, k + (X is None))
    m, model, queries = _searched(self, X)
    with rows.precision(self._dtype):
        found = neighbors.kneighbors(model, queries, n_neighbors=int(k))
        distances, indices = (np.array(leaf)[:m] for leaf in found)
    return (distances, indices) if return_distance else indices


def kneighbors_graph(self, X=None, n_neighbors=None, mode="connectivity"):
    """The graph from each row of X to its nearest stored rows.

    Args:
        X: as in `kneighbors`.
        n_neighbors: as in `kneighbors`.
        mode: "connectivity" (1 at each neighbour) or "distance".

    Returns:
        A sparse matrix [m, n].
    """
    distances, indices = self.kneighbors(X, n_neighbors)
    return _graph(self, list(distances), list(indices), mode)


def radius_neighbors(
    self, X=None, radius=None, return_distance=True, sort_results=False
):
    """The stored rows within a radius of each row of X, the border included.

    Args:
        X: rows [m, d]. Default: the stored rows, none of which is its own neighbour.
        radius: default: the parameter of the estimator.
        return_distance: whether distances come too.
        sort_results: nearest first; else by their number.

    Returns:
        distances and indices, arrays [m] of arrays; or the indices alone.
    """
    validation.check_is_fitted(self)
    radius = float(self.radius if radius is None else radius)
    m, model, queries = _searched(self, X)
    queries = model.x if queries is None else queries
    with rows.precision(self._dtype):
        most = int(neighbors.radius_mask(model, queries, radius=radius).sum(1).max())
        size = min(rows.bucket(max(most, 1)), len(model.x))
        found = neighbors.radius_neighbors(
            model, queries, max_neighbors=size, radius=radius
        )
        distances, indices = np.array(found.distances), np.array(found.indices)
    distances, indices = distances[:m], indices[:m]
    close = np.isfinite(distances)
    if X is None:
        close &= indices != np.arange(m)[:, None]
    result = np.empty((2, m), object)
    for row in range(m):
        d, i = distances[row, close[row]], indices[row, close[row]]
        order = np.arange(len(i)) if sort_results else np.argsort(i)
        result[:, row] = d[order], i[order]
    return tuple(result) if return_distance else result[1]


def radius_neighbors_graph(
    self, X=None, radius=None, mode="connectivity", sort_results=False
):
    """The graph from each row of X to the stored rows within a radius.

    Args:
        X: as in `radius_neighbors`.
        radius: as in `radius_neighbors`.
        mode: "connectivity" (1 at each neighbour) or "distance".
        sort_results: as in `radius_neighbors`.

    Returns:
        A sparse matrix [m, n].
    """
    distances, indices = self.radius_neighbors(X, radius, sort_results=sort_results)
    return _graph(self, distances, indices, mode)


def outlier(estimator: Any, data: Any) -> dict[str, Any]:
    """The label of a query that no row is near to, as the number of its class."""
    label = estimator.outlier_label
    if label is None or (isinstance(label, str) and label == "most_frequent"):
        return {"outlier_label": label}
    if np.ndim(label):
        raise NotImplementedError(
            f"outlier_label must be one label or 'most_frequent'; got {label!r}"
        )
    known = np.flatnonzero(data.classes == label)
    return {"outlier_label": int(known[0]) if len(known) else None}


def predict_class(self, X):
    """The class with the most votes among the rows within the radius."""
    label = self._result("predict", X)
    lost = label < 0
    _found(self, lost)
    result = self.classes_[np.where(lost, 0, label)]
    if lost.any():
        result = result.astype(np.result_type(result, np.asarray(self.outlier_label)))
        result[lost] = self.outlier_label
    return result


def predict_shares(self, X):
    """The share of each class in the votes of the rows within the radius."""
    shares = self._result("predict_proba", X)[:, : len(self.classes_)]
    lost = np.isnan(shares).any(1)
    _found(self, lost)
    if lost.any():
        warnings.warn(
            f"outlier_label {self.outlier_label!r} is no class: the shares of "
            f"{lost.sum()} rows without neighbours are 0",
            UserWarning,
            stacklevel=2,
        )
    shares[lost] = 0
    return shares


def predict_mean(self, X):
    """The mean of the targets of the rows within the radius; NaN where none is."""
    result = self._result("predict", X)
    if np.isnan(result).any():
        warnings.warn(
            "One or more samples have no neighbors within specified radius; "
            "predicting NaN.",
            UserWarning,
            stacklevel=2,
        )
    return result


def _searched(self, X):
    """How many queries there are, the stored rows, and the queries on the device."""
    x = None if X is None else self._valid(X, reset=False)
    stored = self.model_
    with rows.precision(self._dtype):
        radius = jnp.ones((), stored.x.dtype)  # unused: each call gives its own
        model = neighbors.NearestNeighbors(
            stored.x, stored.sample_weight, radius, stored.rule
        )
        if x is None:
            return self.n_samples_fit_, model, None
        return len(x), model, jnp.asarray(rows.padded(x, rows.bucket(len(x))))


def _graph(self, distances, indices, mode):
    if mode not in ("connectivity", "distance"):
        raise ValueError(f'mode must be "connectivity" or "distance"; got {mode!r}')
    columns = np.concatenate(indices)
    values = np.concatenate(distances) if mode == "distance" else np.ones(len(columns))
    ends = np.cumsum([0, *map(len, indices)])
    shape = (len(indices), self.n_samples_fit_)
    return sparse.csr_matrix((values, columns, ends), shape=shape)


def _enough(estimator, k):
    n = estimator.n_samples_fit_
    if k > n:
        raise ValueError(
            f"Expected n_neighbors <= n_samples_fit, but n_neighbors = {k}, "
            f"n_samples_fit = {n}"
        )


def _found(self, lost):
    if lost.any() and self.outlier_label is None:
        raise ValueError(
            f"No neighbors found for test samples {np.flatnonzero(lost)}: try a "
            f"larger radius, or give an outlier_label"
        )


COUNTED: dict[str, Callable] = {
    "kneighbors": kneighbors,
    "kneighbors_graph": kneighbors_graph,
}
WITHIN: dict[str, Callable] = {
    "radius_neighbors": radius_neighbors,
    "radius_neighbors_graph": radius_neighbors_graph,
}
OUTLIERS: dict[str, Callable] = {
    "predict": predict_class,
    "predict_proba": predict_shares,
}
