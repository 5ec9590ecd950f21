"""Forests and boosting by trees, one after another or on residuals."""

from functools import partial

from jaxml.models.classical import (
    adaboost_classifier,
    adaboost_regressor,
    extra_trees_classifier,
    extra_trees_regressor,
    gradient_boosting_classifier,
    gradient_boosting_regressor,
    random_forest_classifier,
    random_forest_regressor,
)
from tests.models.classical.case import Case

case = partial(Case, missing=True)

DRAWN = "rows are drawn in proportion to their weights, as many as there are rows"
SIZES = {"n_estimators": 6, "max_depth": 3}
LEAVES = {"min_samples_leaf": (1.0, 3.0, 6.0)}
SHARES = ("predict", "predict_proba")

CASES = {
    "random_forest_classifier": case(
        random_forest_classifier,
        "classes3",
        static=SIZES | {"max_features": 2},
        traced=LEAVES | {"ccp_alpha": (0.01, 0.02, 0.1)},
        key=True,
        repeats=DRAWN,
        outputs=SHARES,
    ),
    "random_forest_regressor": case(
        random_forest_regressor,
        "regression",
        static=SIZES,
        traced={"max_samples": (0.9, 0.5, 0.2)},
        key=True,
        repeats=DRAWN,
    ),
    "extra_trees_classifier": case(
        extra_trees_classifier,
        "classes",
        static=SIZES | {"max_features": 2},
        traced={"min_impurity_decrease": (0.0, 0.01, 0.05)},
        key=True,
        outputs=SHARES,
    ),
    "extra_trees_regressor": case(
        extra_trees_regressor, "regression", static=SIZES, traced=LEAVES, key=True
    ),
    "adaboost_classifier": case(
        adaboost_classifier,
        "classes3",
        static={"n_estimators": 6},
        traced={"learning_rate": (1.0, 0.5, 0.1)},
        outputs=SHARES,
    ),
    "adaboost_regressor": case(
        adaboost_regressor,
        "regression",
        static={"n_estimators": 4},
        traced={"learning_rate": (1.0, 0.5, 0.1)},
        key=True,
        repeats=DRAWN,
    ),
    "gradient_boosting_classifier": case(
        gradient_boosting_classifier,
        "classes3",
        static={"n_estimators": 4, "max_depth": 2},
        traced={"learning_rate": (0.1, 0.3, 1.0)},
        outputs=SHARES,
    ),
    "gradient_boosting_regressor": case(
        gradient_boosting_regressor,
        "regression",
        static={"n_estimators": 4, "max_depth": 2, "loss": "huber"},
        traced={"learning_rate": (0.1, 0.3, 1.0), "subsample": (0.5, 0.7, 0.9)},
        key=True,
        repeats="rows are drawn for a stage, each once at most",
    ),
}
