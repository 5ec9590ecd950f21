"""Nearest neighbours, naive Bayes, discriminants."""

from jaxml.models.classical import (
    bernoulli_nb,
    categorical_nb,
    complement_nb,
    gaussian_nb,
    linear_discriminant,
    multinomial_nb,
    neighbors,
    neighbors_classifier,
    neighbors_regressor,
    quadratic_discriminant,
    radius_classifier,
    radius_regressor,
)
from tests.models.classical.case import Case

_PLACES = "a row of weight 2 takes one place among the k, its copy a second one"

_BAYES = ("predict", "predict_proba")

CASES = {
    "gaussian_nb": Case(
        gaussian_nb,
        "classes3",
        traced={"var_smoothing": (1e-9, 1e-3, 0.1)},
        outputs=(*_BAYES, "predict_joint_log_proba"),
    ),
    "multinomial_nb": Case(
        multinomial_nb,
        "classes3",
        traced={"alpha": (1.0, 0.1, 5.0)},
        positive=True,
        outputs=_BAYES,
    ),
    "bernoulli_nb": Case(
        bernoulli_nb,
        "classes3",
        traced={"alpha": (1.0, 0.1, 5.0), "binarize": (0.0, 0.5, -0.5)},
        outputs=_BAYES,
    ),
    "complement_nb": Case(
        complement_nb,
        "classes3",
        static={"norm": True},
        traced={"alpha": (1.0, 0.1, 5.0)},
        positive=True,
        outputs=_BAYES,
    ),
    "categorical_nb": Case(
        categorical_nb,
        "classes3",
        static={"n_categories": 12},
        traced={"alpha": (1.0, 0.1, 5.0)},
        positive=True,
        outputs=_BAYES,
    ),
    "linear_discriminant": Case(
        linear_discriminant,
        "classes3",
        traced={"tol": (1e-4, 1e-3, 1e-2)},
        outputs=(*_BAYES, "decision_function", "transform"),
    ),
    "linear_discriminant_shrunk": Case(
        linear_discriminant,
        "classes",
        static={"solver": "eigen"},
        traced={"shrinkage": (0.1, 0.5, 0.9)},
        outputs=(*_BAYES, "decision_function", "transform"),
    ),
    "linear_discriminant_auto": Case(
        linear_discriminant,
        "classes3",
        static={"solver": "lsqr", "shrinkage": "auto"},
        outputs=(*_BAYES, "decision_function"),
    ),
    "quadratic_discriminant": Case(
        quadratic_discriminant,
        "classes3",
        traced={"reg_param": (0.0, 0.1, 0.9)},
        outputs=(*_BAYES, "decision_function"),
    ),
    "quadratic_discriminant_auto": Case(
        quadratic_discriminant,
        "classes",
        static={"solver": "eigen", "shrinkage": "auto"},
        outputs=(*_BAYES, "decision_function"),
    ),
    "neighbors_classifier": Case(
        neighbors_classifier,
        "classes3",
        repeats=_PLACES,
        outputs=("predict", "predict_proba"),
    ),
    "neighbors_regressor": Case(neighbors_regressor, "regression", repeats=_PLACES),
    "neighbors": Case(
        neighbors,
        "none",
        traced={"radius": (1.0, 0.5, 2.0)},
        outputs=("kneighbors_graph", "radius_mask"),
        weight=False,  # the results have a column for each stored row, absent or not
    ),
    "radius_classifier": Case(
        radius_classifier,
        "classes3",
        static={"outlier_label": "most_frequent"},
        traced={"radius": (1.0, 0.5, 2.0)},
        outputs=_BAYES,
    ),
    "radius_regressor": Case(
        radius_regressor,
        "regression",
        static={"weights": "distance"},
        traced={"radius": (4.0, 3.0, 6.0)},  # so that nobody is out of reach
    ),
}
