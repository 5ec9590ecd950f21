"""Smooth linear models."""

from jaxml.models.classical import glm, huber, logistic
from tests.models.classical.case import Case

_PROBABLE = ("predict", "predict_proba", "decision_function")

CASES = {
    "logistic": Case(
        logistic,
        "classes",
        static={"tol": 1e-6},
        traced={"C": (1.0, 0.1, 10.0)},
        outputs=_PROBABLE,
    ),
    "logistic_softmax": Case(
        logistic,
        "classes3",
        static={"tol": 1e-6},
        traced={"C": (1.0, 0.1, 10.0)},
        outputs=_PROBABLE,
    ),
    "logistic_elastic_net": Case(
        logistic,
        "classes3",
        static={"tol": 1e-6},
        traced={"C": (1.0, 0.1, 10.0), "l1_ratio": (0.5, 0.9, 1.0)},
        outputs=_PROBABLE,
    ),
    "glm_poisson": Case(
        glm,
        "counts",
        static={"power": 1.0, "tol": 1e-6},
        traced={"alpha": (1.0, 0.1, 10.0)},
    ),
    "glm_tweedie": Case(
        glm,
        "counts",
        static={"link": "log", "tol": 1e-6},
        traced={"power": (1.5, 1.2, 2.0), "alpha": (0.1, 1.0, 0.01)},
    ),
    "huber": Case(
        huber,
        "regression",
        static={"tol": 1e-6},
        traced={"epsilon": (1.35, 1.1, 3.0), "alpha": (1e-4, 1.0, 10.0)},
    ),
}
