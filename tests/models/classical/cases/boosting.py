"""Histogram gradient boosting."""

from functools import partial

from jaxml.models.classical import boosting_classifier, boosting_regressor
from tests.models.classical.case import Case

case = partial(Case, missing=True)

SMALL = {"max_iter": 4, "max_leaf_nodes": 4, "min_samples_leaf": 1}
TRACED = {"learning_rate": (0.3, 0.1, 0.5), "l2_regularization": (0.5, 0.0, 4.0)}

CASES = {
    "boosting_classifier": case(
        boosting_classifier,
        "classes",
        static=SMALL,
        traced=TRACED,
        outputs=("decision_function", "predict_proba", "predict"),
    ),
    "boosting_classifier_of_three": case(
        boosting_classifier,
        "classes3",
        static=SMALL,
        outputs=("decision_function", "predict"),
    ),
    "boosting_regressor": case(
        boosting_regressor, "regression", static=SMALL, traced=TRACED
    ),
    "boosting_absolute": case(
        boosting_regressor,
        "regression",
        static=SMALL | {"loss": "absolute_error"},
    ),
    "boosting_poisson": case(
        boosting_regressor,
        "counts",
        static=SMALL | {"loss": "poisson"},
        predict={"loss": "poisson"},
    ),
}
