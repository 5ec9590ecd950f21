"""Boosters of LightGBM, read from the text that its `save_model` writes.

model = from_lightgbm.load("model.txt")
labels = imported.predict(model, x)      # or numbers; see `imported`
scores = imported.decision_function(model, x)

All objectives, random forests, DART, zeros as missing values and categories are read;
linear trees are refused. LightGBM compares doubles: rows of float32 go its way in a
model of float32, rows of float64 in one of float64.

References:
    Ke et al., 2017. LightGBM: a highly efficient gradient boosting decision tree.
        NeurIPS.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxml.models.classical import imported_lightgbm, imported_nodes
from jaxml.models.classical.imported import Imported, Rules
from jaxml.models.classical.imported_numbers import numbers, whole

__all__ = ["load"]

LINKS = {
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "log1p_exp",
    "lambdarank": "identity",
    "rank_xendcg": "identity",
    "custom": "identity",
    "binary": "sigmoid",
    "multiclass": "softmax",
    "multiclassova": "sigmoid",
}
CLASSES = ("binary", "multiclass", "multiclassova")
MOST_FEATURES = 2**31 - 1


def load(source: Any, *, iterations: int | None = None, dtype: Any = None) -> Imported:
    """Read a booster.

    Args:
        source: the text, its bytes, the path of its file, or a fitted booster (what has
            `model_to_string`, or `booster_` that has it).
        iterations: read only the first ones. Default: all that the text holds, which
            are those up to the best one if training stopped early.
        dtype: float32 or float64. Default: JAX's own.

    Returns:
        The model, for `imported.predict` and its neighbours:

        >>> from jaxml.models.classical import imported
        >>> stump = ["num_leaves=2", "split_feature=0", "threshold=0.5"]
        >>> stump += ["decision_type=2", "left_child=-1", "right_child=-2"]
        >>> head = ["tree", "version=v4", "num_tree_per_iteration=1"]
        >>> head += ["max_feature_idx=0", "objective=regression", "Tree=0"]
        >>> text = "\\n".join([*head, *stump, "leaf_value=-1 1", "end of trees"])
        >>> imported.predict(load(text), jnp.array([[0.5], [0.6]])).tolist()
        [-1.0, 1.0]

    Raises:
        ValueError: if the text is damaged, is none of LightGBM's, or asks for what is
            not supported; it says what and where.
    """
    kind = imported_nodes.default_dtype(dtype)
    header, blocks = imported_lightgbm.sections(source)
    n_features = _features(header)
    outputs = whole(header, "num_tree_per_iteration", "the header", "1")
    link, task, slope, classes = _objective(header)
    if outputs < 1 or len(blocks) % outputs or not blocks:
        raise ValueError(
            f"num_tree_per_iteration={outputs} does not divide the {len(blocks)} trees"
        )
    if classes != (1 if outputs == 1 else outputs):
        raise ValueError(
            f"the objective is for {classes} outputs; num_tree_per_iteration={outputs}"
        )
    rounds = len(blocks) // outputs
    if iterations is not None:
        if not 1 <= iterations <= rounds:
            raise ValueError(f"iterations must be from 1 to {rounds}; got {iterations}")
        rounds = iterations
    found = [
        imported_lightgbm.tree(i, block)
        for i, block in enumerate(blocks[: rounds * outputs])
    ]
    nodes = imported_nodes.join([tree.nodes for tree in found])
    missing = np.concatenate([tree.missing for tree in found])
    trees, numbers, tables = imported_nodes.build(
        nodes,
        n_features=n_features,
        dtype=kind,
        shape=(rounds,) if outputs == 1 else (rounds, outputs),
    )
    scale = 1 / rounds if "average_output" in header else 1.0
    return Imported(
        trees=trees,
        start=jnp.zeros(outputs, kind),
        scale=jnp.asarray(scale, kind),
        slope=jnp.asarray(slope, kind),
        weights=jnp.zeros(0, kind),
        numbers=numbers,
        zeros=_zeros(nodes, missing, n_features),
        columns=tables.columns,
        tables=tables.values,
        rules=Rules(n_features, task, link, tiny=True, whole="truncate"),
    )


def _features(header: dict[str, str]) -> int:
    n_features = whole(header, "max_feature_idx", "the header") + 1
    for key in ("feature_names", "feature_infos"):
        names = len(header[key].split()) if key in header else n_features
        if names != n_features or n_features < 1:
            raise ValueError(
                f"the header: max_feature_idx={n_features - 1} says {n_features} "
                f"features; {key} has {names}"
            )
    if n_features > MOST_FEATURES:
        raise ValueError(f"the header: {n_features} features are too many")
    return n_features


def _objective(header: dict[str, str]) -> tuple[str, str, float, int]:
    """Link, task, slope of the sigmoid and number of outputs."""
    name, *options = header.get("objective", "custom").split() or ["custom"]
    if name not in LINKS:
        raise ValueError(f"objective {name!r} is none of {', '.join(LINKS)}")
    values = dict(option.partition(":")[::2] for option in options)
    slope = numbers([values.get("sigmoid", "1")], float, 1, "objective: sigmoid")[0]
    if not (np.isfinite(slope) and slope > 0):
        raise ValueError(f"objective: sigmoid must be above 0; got {slope}")
    classes = whole(header, "num_class", "the header", "1")
    if name in ("multiclass", "multiclassova"):
        classes = whole(values, "num_class", "objective")
    link = "square" if "sqrt" in values else LINKS[name]
    return link, "classes" if name in CLASSES else "regression", slope, classes


def _zeros(nodes, missing, n_features):
    """[d] features of which 0 is missing, or [0] if there are none."""
    zero = set(nodes.feature[missing == imported_lightgbm.ZERO].tolist())
    if not zero:
        return jnp.zeros(0, bool)
    both = zero & set(nodes.feature[missing == imported_lightgbm.NAN].tolist())
    if both:
        raise ValueError(
            f"feature {min(both)} has zeros as missing values at some nodes and NaN at "
            f"others: no support"
        )
    return jnp.zeros(n_features, bool).at[jnp.array(sorted(zero))].set(True)
