"""What the forests for classes share, whatever their trees draw.

    model = forest_classifier.fit(x, y, splitter="best", key=key, ...)
    shares = forest_classifier.predict_proba(model, x_new)

`random_forest_classifier` and `extra_trees_classifier` name the parameters.

Letters: n rows, m new rows, d features, t trees, k classes.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from jaxml.models.classical import cart, forest, forest_bootstrap, forest_door
from jaxml.ops import check
from jaxml.ops import trees as tree_ops
from jaxml.ops.trees import Trees

__all__ = ["ForestClassifier", "apply", "fit", "predict", "predict_proba"]


class ForestClassifier(NamedTuple):
    """Trees that vote with the shares of the classes in their leaves."""

    trees: Trees  # [t, m], values [t, m, k]
    feature_importances: Float[Array, "d"]  # shares of what the splits gain
    oob_decision_function: Float[Array, "r k"]  # of r = n rows, or 0 without oob_score;
    # NaN for a row that all trees have seen
    oob_score: Float[Array, ""]  # share of the other rows that are told; NaN without
    full: Bool[Array, "t"]  # a tree had no room for all its nodes


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    splitter: str,
    key: Key[Array, ""],
    n_classes: int,
    n_estimators: int,
    criterion: str,
    max_depth: int | None,
    min_samples_split: float | Float[Array, ""],
    min_samples_leaf: float | Float[Array, ""],
    min_weight_fraction_leaf: float | Float[Array, ""],
    max_features: int | float | str | None,
    max_leaf_nodes: int | None,
    min_impurity_decrease: float | Float[Array, ""],
    bootstrap: bool,
    oob_score: bool,
    class_weight: Float[Array, "k"] | str | None,
    ccp_alpha: float | Float[Array, ""],
    max_samples: int | float | Float[Array, ""] | None,
    sample_weight: Float[Array, "n"] | None,
    max_bins: int,
    max_nodes: int | None,
    mesh: Mesh | None,
    axis: str,
) -> ForestClassifier:
    """Grow the trees; see `random_forest_classifier.fit`.

    Raises:
        ValueError: if the data do not fit together or a parameter is out of its range.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    check.one_of("criterion", criterion, cart.CLASSIFICATION)
    balanced = isinstance(class_weight, str)
    if balanced:
        check.one_of("class_weight", class_weight, ("balanced_subsample",))
        class_weight = None
    plan = forest.Plan(
        cart.Recipe(
            criterion,
            max_features=0,
            n_classes=n_classes,
            splitter=splitter,
            max_depth=max_depth,
            max_leaf_nodes=max_leaf_nodes,
            shuffle=True,
        ),
        n_estimators,
        bootstrap=bootstrap,
        oob=oob_score,
        balanced=balanced,
        max_bins=max_bins,
        mesh=mesh,
        axis=axis,
    )
    recipe, limits = forest_door.tree(
        x,
        plan.recipe,
        max_bins=max_bins,
        max_features=max_features,
        max_nodes=max_nodes,
        min_samples_split=min_samples_split,
        min_samples_leaf=min_samples_leaf,
        min_weight_fraction_leaf=min_weight_fraction_leaf,
        min_impurity_decrease=min_impurity_decrease,
        ccp_alpha=ccp_alpha,
        distinct=forest_door.forest(plan, len(x), max_samples),
    )
    plan = plan._replace(recipe=recipe, prunes=forest_door.prunes(ccp_alpha))
    numbers = (limits, ccp_alpha, max_samples)
    return _fit(x, y, sample_weight, class_weight, numbers, key, plan=plan)


@partial(jax.jit, static_argnames=("plan",))
def _fit(x, y, weight, class_weight, numbers, key, *, plan):
    if class_weight is not None:
        each = class_weight.astype(x.dtype)[y]
        weight = each if weight is None else each * weight
    if plan.balanced and not plan.bootstrap:
        one = jnp.ones(len(x), x.dtype) if weight is None else weight
        weight = one * forest_bootstrap.balance(one[None], y, plan.recipe.n_classes)[0]
    grove = forest.grow(x, y[:, None], weight, *numbers, key, plan=plan)
    total, count = grove.oob_sum, grove.oob_count
    seen = count == 0
    shares = total / jnp.where(seen, 1, count).astype(x.dtype)[:, None]
    shares = jnp.where(seen[:, None], jnp.nan, shares)
    score = jnp.asarray(jnp.nan, x.dtype)
    if plan.oob:
        right = (jnp.argmax(total, axis=1) == y) & ~seen
        score = right.sum().astype(x.dtype) / (~seen).sum().astype(x.dtype)
    return ForestClassifier(
        grove.trees, grove.feature_importances, shares, score, grove.full
    )


@jax.jit
def predict_proba(
    model: ForestClassifier, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """Mean over the trees of the shares of the classes in the leaf of each row."""
    return tree_ops.sum_values(model.trees, x) / len(model.full)


@jax.jit
def predict(model: ForestClassifier, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """Label every row with the class of the greatest share."""
    return jnp.argmax(predict_proba(model, x), axis=1).astype(jnp.int32)


@jax.jit
def apply(model: ForestClassifier, x: Float[Array, "m d"]) -> Int[Array, "m t"]:
    """Find the leaf of every row in every tree."""
    return tree_ops.apply(model.trees, x)
