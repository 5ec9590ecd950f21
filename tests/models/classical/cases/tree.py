"""Decision trees."""

from functools import partial

from jaxml.models.classical import tree_classifier, tree_regressor
from tests.models.classical.case import Case

case = partial(Case, missing=True)

LIMITS = {
    "min_samples_split": (2.0, 5.0, 20.0),
    "min_samples_leaf": (1.0, 3.0, 10.0),
    "min_weight_fraction_leaf": (0.0, 0.1, 0.3),
    "min_impurity_decrease": (0.0, 0.01, 0.1),
    "ccp_alpha": (0.0, 0.01, 0.1),
}
SOME = {"min_samples_leaf": (1.0, 3.0, 10.0)}
SHARES = ("predict", "predict_proba")

CASES = {
    "tree_classifier": case(tree_classifier, "classes3", traced=LIMITS, outputs=SHARES),
    "tree_classifier_random": case(
        tree_classifier,
        "classes3",
        static={"splitter": "random", "max_features": 2, "max_depth": 4},
        traced=SOME,
        key=True,
        outputs=SHARES,
    ),
    "tree_regressor": case(
        tree_regressor, "regression", static={"max_depth": 4}, traced=SOME
    ),
    "tree_regressor_median": case(
        tree_regressor,
        "regression",
        static={"max_depth": 3, "criterion": "absolute_error"},
        traced=SOME,
        gathers="medians are no sums",
    ),
}
