"""Boosters of XGBoost, read from the JSON or UBJSON that its `save_model` writes.

model = from_xgboost.load("model.json")    # or .ubj
labels = imported.predict(model, x)        # or numbers; see `imported`
margin = imported.decision_function(model, x)

Trees and DART of XGBoost 1.0 to 3.x are read: all objectives, parallel trees, several
targets, categories. XGBoost compares float32: rows are rounded to it, whatever their
dtype. Linear boosters (gblinear) are refused.

References:
    Chen and Guestrin, 2016. XGBoost: a scalable tree boosting system. KDD.
"""

import json
import os
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxml.models.classical import imported_nodes, imported_ubjson, imported_xgboost
from jaxml.models.classical.imported import Imported, Rules
from jaxml.models.classical.imported_nodes import Nodes
from jaxml.models.classical.imported_numbers import member, numbers, whole

__all__ = ["load"]

LINKS = {
    "reg:squarederror": "identity",
    "reg:linear": "identity",
    "reg:squaredlogerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:absoluteerror": "identity",
    "reg:quantileerror": "identity",
    "reg:logistic": "sigmoid",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
    "count:poisson": "exp",
    "survival:cox": "exp",
    "survival:aft": "exp",
    "rank:pairwise": "identity",
    "rank:ndcg": "identity",
    "rank:map": "identity",
    "binary:logistic": "sigmoid",
    "binary:logitraw": "sigmoid",
    "binary:hinge": "hinge",
    "multi:softmax": "softmax",
    "multi:softprob": "softmax",
}
MARGINS: dict[str, Callable] = {  # from base_score to the margin
    "sigmoid": lambda base: np.log(base) - np.log1p(-base),
    "exp": np.log,
}


def load(
    source: Any, *, iterations: int | str | None = None, dtype: Any = None
) -> Imported:
    """Read a booster.

    Args:
        source: JSON as text or bytes, UBJSON as bytes, the path of a file of either,
            the parsed document, or a fitted booster (what has `save_raw`, or
            `get_booster` that has it).
        iterations: read only the first ones; "best" reads up to the best one of early
            stopping. Default: all, as `Booster.predict` takes them (the estimators of
            XGBoost take "best").
        dtype: float32 or float64. Default: JAX's own.

    Returns:
        The model, for `imported.predict` and its neighbours:

        >>> from jaxml.models.classical import imported
        >>> stump = {"left_children": [1, -1, -1], "right_children": [2, -1, -1]}
        >>> stump |= {"split_indices": [0, 0, 0], "split_conditions": [0.5, -1.0, 1.0]}
        >>> stump |= {"default_left": [0, 0, 0], "tree_param": {"num_nodes": "3"}}
        >>> model = {"gbtree_model_param": {}, "trees": [stump], "tree_info": [0]}
        >>> learner = {"gradient_booster": {"name": "gbtree", "model": model}}
        >>> learner |= {"objective": {"name": "reg:squarederror"}}
        >>> learner |= {"learner_model_param": {"num_feature": "1", "base_score": "0"}}
        >>> below = load({"learner": learner})
        >>> imported.predict(below, jnp.array([[0.4], [0.5]])).tolist()
        [-1.0, 1.0]

    Raises:
        ValueError: if the document is damaged, is none of XGBoost's, or asks for what
            is not supported; it says what and where.
    """
    kind = imported_nodes.default_dtype(dtype)
    document = _document(source)
    learner = member(document, "learner", dict, "the document")
    param = member(learner, "learner_model_param", dict, "learner")
    objective = member(learner, "objective", dict, "learner")
    name = member(objective, "name", str, "objective")
    if name not in LINKS:
        raise ValueError(f"objective {name!r} is none of {', '.join(LINKS)}")
    n_features = whole(param, "num_feature", "learner_model_param")
    if not 1 <= n_features < 2**31:
        raise ValueError(f"num_feature must be at least 1; got {n_features}")
    classes = max(whole(param, "num_class", "learner_model_param", 0), 1)
    targets = max(whole(param, "num_target", "learner_model_param", 1), 1)
    outputs = classes * targets
    model, drops = _booster(member(learner, "gradient_booster", dict, "learner"))
    found = _trees(model, drops, n_features, outputs)
    attributes = member(learner, "attributes", dict, "learner", {})
    order = _order(model, found, outputs, iterations, attributes.get("best_iteration"))
    trees, numbers, tables = imported_nodes.build(
        imported_nodes.join([found[i] for i in order.ravel()]),
        n_features=n_features,
        dtype=kind,
        shape=order.shape if order.shape[1] > 1 else order.shape[:1],
        spare=True,
    )
    task = "regression"
    if name.startswith(("binary", "multi")):
        task = "classes" if targets == 1 else "labels"
    start = _start(param, _margin(name, document), outputs)
    return Imported(
        trees=trees,
        start=jnp.asarray(start, kind),
        scale=jnp.ones((), kind),
        slope=jnp.ones((), kind),
        weights=jnp.zeros(0, kind),
        numbers=numbers,
        zeros=jnp.zeros(0, bool),
        columns=tables.columns,
        tables=tables.values,
        rules=Rules(n_features, task, LINKS[name], single=True, whole="floor"),
    )


def _document(source: Any) -> Any:
    """The parsed document of whatever holds it."""
    if hasattr(source, "get_booster"):
        source = source.get_booster()
    if hasattr(source, "save_raw"):
        source = bytes(source.save_raw("ubj"))
    if isinstance(source, dict):
        return source
    if isinstance(source, os.PathLike) or (
        isinstance(source, str) and not source.lstrip().startswith("{")
    ):
        with open(source, "rb") as file:
            source = file.read()
    if not isinstance(source, str | bytes | bytearray):
        raise ValueError(
            f"source must be text, bytes, a path, a parsed document or a booster; "
            f"got {type(source)}"
        )
    try:
        # After its brace JSON has a quote, a brace or a space; UBJSON a type.
        if not isinstance(source, str) and source[1:2] not in b'"} \n\r\t':
            return imported_ubjson.parse(bytes(source))
        return json.loads(source)
    except RecursionError:
        raise ValueError("the document is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not a model of XGBoost (JSON or UBJSON): {error}") from None


def _booster(booster: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The trees, and the weights that DART gives them."""
    name = member(booster, "name", str, "gradient_booster")
    if name == "gblinear":
        raise ValueError("gblinear, a linear booster, has no trees: not supported")
    if name not in ("gbtree", "dart"):
        raise ValueError(f"gradient_booster {name!r} is none of gbtree, dart")
    drops = booster.get("weight_drop")
    if name == "dart":
        booster = member(booster, "gbtree", dict, "gradient_booster")
    model = member(booster, "model", dict, "gradient_booster")
    if "weight_drop" in model:  # from 3.4 on: of the first trees, the others have 1
        drops = member(model, "weight_drop", list, "model")
        absent = len(member(model, "trees", list, "model")) - len(drops)
        drops = drops + [1.0] * absent
    return model, drops


def _trees(model, drops, n_features: int, outputs: int) -> list[Nodes]:
    trees = member(model, "trees", list, "model")
    if not trees:
        raise ValueError("the model has no trees")
    found = [
        imported_xgboost.nodes(i, tree, n_features, outputs)
        for i, tree in enumerate(trees)
    ]
    widths = {nodes.value.shape[1] for nodes in found}
    if len(widths) > 1:
        raise ValueError(f"trees have leaves of different widths: {sorted(widths)}")
    if drops is None:
        return found
    weights = numbers(drops, float, len(found), "weight_drop")
    return [
        nodes._replace(value=nodes.value * weight)
        for nodes, weight in zip(found, weights, strict=True)
    ]


def _order(model, found, outputs, iterations, best) -> np.ndarray:
    """[t, groups] which tree is the next of each output; [t, 1] for wide leaves."""
    groups = 1 if found[0].value.shape[1] == outputs else outputs
    info = numbers(model.get("tree_info"), int, len(found), "tree_info")
    if ((info < 0) | (info >= groups)).any():
        raise ValueError(f"tree_info must be from 0 to {groups - 1}; got {set(info)}")
    if (np.bincount(info, minlength=groups) * groups != len(found)).any():
        raise ValueError(
            f"tree_info gives the outputs {np.bincount(info, minlength=groups)} trees; "
            f"each must have as many"
        )
    param = member(model, "gbtree_model_param", dict, "model")
    parallel = max(whole(param, "num_parallel_tree", "gbtree_model_param", 1), 1)
    if len(found) % (parallel * groups):
        raise ValueError(
            f"{len(found)} trees are no whole number of iterations of {parallel} trees "
            f"for {groups} outputs"
        )
    rounds = len(found) // (parallel * groups)
    if iterations == "best":
        number = numbers([best], int, 1, "best_iteration") if best is not None else None
        iterations = rounds if number is None else int(number[0]) + 1
    if iterations is None:
        iterations = rounds
    if isinstance(iterations, str) or not 1 <= iterations <= rounds:
        raise ValueError(
            f"iterations must be 'best' or from 1 to {rounds}; got {iterations}"
        )
    order = np.stack([np.flatnonzero(info == g) for g in range(groups)], 1)
    return order[: iterations * parallel]


def _margin(name: str, document: dict[str, Any]) -> str:
    """How base_score becomes a margin."""
    if name != "binary:logitraw":
        return LINKS[name]
    version = numbers(document.get("version", [1, 4]), int, None, "version")
    return "sigmoid" if tuple(version[:2]) < (1, 4) else "identity"


def _start(param: dict[str, Any], link: str, outputs: int) -> np.ndarray:
    """The margin of each output before the first tree."""
    text = param.get("base_score", 0.5)
    words = str(text).strip().removeprefix("[").removesuffix("]").split(",")
    base = numbers(words, float, None, "base_score").astype(np.float32).astype(float)
    if len(base) not in (1, outputs):
        raise ValueError(
            f"base_score must have 1 or {outputs} numbers; got {len(base)}"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        start = MARGINS[link](base) if link in MARGINS else base
    if not np.isfinite(start).all():
        raise ValueError(f"base_score {text} has no margin under the link {link!r}")
    return np.broadcast_to(start, (outputs,))
