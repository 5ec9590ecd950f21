"""Trees, forests and boosters as the text of a LightGBM model.

    text = to_lightgbm.dump(
        model.trees, n_features=d, start=model.baseline, objective="binary"
    )
    pathlib.Path("model.txt").write_text(text)    # lightgbm.Booster(model_file=...)

What `from_lightgbm`, `from_xgboost` and `from_sklearn` load can be dumped too. LightGBM
has one number in a leaf: a tree with k becomes k trees. It sends a missing category the
way of an unknown one; where ours part, the node is written twice.

Letters: t trees, k outputs, m nodes.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float

from jaxml.models.classical import from_lightgbm
from jaxml.models.classical.imported import Imported
from jaxml.models.classical.to_lightgbm_tree import Space, block
from jaxml.ops.trees import Trees

__all__ = ["dump"]

LARGEST_CATEGORY = 2**24


def dump(
    model: Trees | Imported,
    *,
    n_features: int | None = None,
    objective: str | None = None,
    start: Float[Array, "k"] | None = None,
    average: bool = False,
    feature_names: Sequence[str] | None = None,
) -> str:
    """Write a model.

    Args:
        model: trees [t, m] with values [t, m, k] (a forest, a booster), trees [t, k, m]
            with values [t, k, m, 1] (a booster of several outputs), one tree [m]; or an
            imported model, which needs no other arguments.
        n_features: how many features rows have.
        objective: what LightGBM makes of the scores: "binary", "multiclass", "poisson",
            ...: a name of LightGBM's objectives. None: their numbers as they are.
        start: what the sum of the trees begins with. Default: 0.
        average: divide by the number of trees, as forests do.
        feature_names: words without blanks. Default: Column_0, Column_1, ...

    Returns:
        The text of a file that `lightgbm.Booster(model_file=...)` loads, and
        `from_lightgbm.load`:

        >>> import jax.numpy as jnp
        >>> from jaxml.models.classical import imported, tree_regressor
        >>> x, y = jnp.array([[1.0], [2.0], [5.0]]), jnp.array([0.0, 0.0, 9.0])
        >>> model = tree_regressor.fit(x, y)
        >>> text = dump(model.tree, n_features=1)
        >>> print(*(line for line in text.splitlines() if "threshold" in line))
        threshold=3.5
        >>> imported.predict(from_lightgbm.load(text), x).tolist()
        [0.0, 0.0, 9.0]

    Raises:
        ValueError: if arguments do not fit, or LightGBM has no form for the model.
    """
    space = Space(np.zeros(0, bool), {}, False)
    slope = 1.0
    if isinstance(model, Imported):
        if (n_features, objective, start) != (None, None, None) or average:
            raise ValueError("an imported model brings its own arguments")
        n_features, objective, slope, factor = _own(model)
        start, space, trees = model.start, _space(model), model.trees
    else:
        trees, factor = model, 1.0
    if n_features is None or n_features < 1:
        raise ValueError(f"n_features must be at least 1; got {n_features}")
    names = list(feature_names or (f"Column_{i}" for i in range(n_features)))
    if len(names) != n_features or any(name.split() != [name] for name in names):
        raise ValueError(f"feature_names must be {n_features} words without blanks")
    fields = _flat(trees)
    rounds, outputs = fields["children_left"].shape[:2]
    if average:
        factor = 1.0 / rounds  # so that the start is not divided
    offset = np.zeros(outputs) if start is None else np.asarray(start, float)
    if offset.shape != (outputs,):
        raise ValueError(f"start must be {outputs} numbers; got {offset.shape}")
    blocks: list[str] = []
    for t in range(rounds):
        for k in range(outputs):
            tree = {name: field[t, k] for name, field in fields.items()}
            tree["value"] = tree["value"] * factor
            if t == 0:
                tree["value"] = tree["value"] + offset[k]
            if (tree["feature"] >= n_features).any():
                raise ValueError(f"the trees have more than {n_features} features")
            blocks.append(f"Tree={len(blocks)}\n{block(tree, space)}\n\n\n")
    head = _head(names, outputs, _goal(objective, outputs, slope), blocks)
    tail = "end of trees\n\nfeature_importances:\n\nparameters:\nend of parameters\n"
    return f"{head}\n\n{''.join(blocks)}{tail}\npandas_categorical:null\n"


def _head(names, outputs, goal, blocks):
    lines = [
        "tree",
        "version=v4",
        f"num_class={outputs}",
        f"num_tree_per_iteration={outputs}",
        "label_index=0",
        f"max_feature_idx={len(names) - 1}",
        *([f"objective={goal}"] if goal else []),
        f"feature_names={' '.join(names)}",
        f"feature_infos={' '.join(['[-inf:inf]'] * len(names))}",
        f"tree_sizes={' '.join(str(len(text.encode())) for text in blocks)}",
    ]
    return "\n".join(lines)


def _goal(objective: str | None, outputs: int, slope: float) -> str | None:
    """LightGBM's line for the objective."""
    if objective is None:
        return None
    name = objective.split()[0] if objective.split() else ""
    if name not in from_lightgbm.LINKS:
        names = ", ".join(from_lightgbm.LINKS)
        raise ValueError(f"objective {objective!r} is none of {names}")
    many = name in ("multiclass", "multiclassova")
    if many != (outputs > 1):
        raise ValueError(f"objective {name!r} does not go with {outputs} outputs")
    words = [objective]
    if many and "num_class:" not in objective:
        words.append(f"num_class:{outputs}")
    if name in ("binary", "multiclassova") and "sigmoid:" not in objective:
        words.append(f"sigmoid:{slope!r}")
    return " ".join(words)


def _own(model: Imported) -> tuple[int, str | None, float, float]:
    """Features, objective, slope and factor of an imported model."""
    rules = model.rules
    key = (rules.task, rules.link, len(model.start) > 1)
    factor, slope = float(model.scale), float(model.slope)
    if key == ("classes", "softmax", False):  # of minus and plus the score
        return rules.n_features, "binary", 2 * slope, factor
    if key == ("classes", "softmax", True):
        if slope != 1:
            raise ValueError("LightGBM has no softmax of scaled scores (AdaBoost)")
        return rules.n_features, "multiclass", slope, factor
    names = {
        ("classes", "sigmoid", False): "binary",
        ("classes", "sigmoid", True): "multiclassova",
        ("regression", "sigmoid", False): "cross_entropy",
        ("regression", "exp", False): "poisson",
        ("regression", "square", False): "regression sqrt",
        ("regression", "log1p_exp", False): "cross_entropy_lambda",
        ("regression", "identity", False): "regression",
        ("regression", "identity", True): None,
        ("classes", "identity", True): None,
    }
    if key not in names:
        raise ValueError(
            f"LightGBM has no form for a model for {rules.task!r} with link "
            f"{rules.link!r} and {len(model.start)} outputs"
        )
    return rules.n_features, names[key], slope, factor


def _space(model: Imported) -> Space:
    tables = {}
    for column, values in zip(
        np.asarray(model.columns), np.asarray(model.tables), strict=True
    ):
        values = values[np.isfinite(values)].astype(float)
        whole = (values >= 0) & (values == np.floor(values))
        if not whole.all() or (values > LARGEST_CATEGORY).any():
            raise ValueError(
                f"feature {column}: LightGBM's categories are whole numbers from 0 to "
                f"{LARGEST_CATEGORY}; got {values}"
            )
        tables[int(column)] = values.astype(np.int64)
    return Space(np.asarray(model.zeros), tables, model.rules.unknown_missing)


def _flat(trees: Trees) -> dict[str, np.ndarray]:
    """The fields of the trees, [t, k, m] with one number in each leaf."""
    axes = np.ndim(trees.node_count)
    fields = {name: np.asarray(field) for name, field in trees._asdict().items()}
    del fields["node_count"]
    if axes == 0:
        fields = {name: field[None] for name, field in fields.items()}
    width = fields["value"].shape[-1]
    if (axes == 2 and width != 1) or axes > 2:
        raise ValueError(
            f"trees must have axes [t, m], or [t, k, m] with one number in a leaf; got "
            f"values {list(trees.value.shape)}"
        )
    if axes == 2:
        return fields | {"value": fields["value"][..., 0].astype(float)}
    value = np.moveaxis(fields.pop("value"), 2, 1).astype(float)
    fields = {name: np.stack([field] * width, 1) for name, field in fields.items()}
    return fields | {"value": value}
