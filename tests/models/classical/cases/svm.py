"""Support vector machines for the contract test."""

from jaxml.models.classical import (
    linear_svc,
    linear_svr,
    nu_svc,
    nu_svr,
    one_class_svm,
    svc,
    svr,
)
from tests.models.classical.case import Case

_COUPLED = "the Gram matrix couples all rows"
_KERNEL = {"gamma": (0.3, 0.5, 1.0), "C": (1.0, 0.5, 2.0)}
_MARGINS = ("predict", "decision_function")
_TIGHT = {"tol": 1e-5}

CASES = {
    "svc": Case(
        svc, "classes", _TIGHT, traced=_KERNEL, gathers=_COUPLED, outputs=_MARGINS
    ),
    "svc_three": Case(
        svc, "classes3", _TIGHT, traced=_KERNEL, gathers=_COUPLED, outputs=_MARGINS
    ),
    "svc_probability": Case(
        svc,
        "classes",
        {"tol": 1e-5, "gamma": 0.3, "probability": True},
        key=True,
        repeats="the folds of the probabilities are drawn by row",
        gathers=_COUPLED,
        outputs=_MARGINS,
    ),
    "nu_svc": Case(
        nu_svc,
        "classes",
        _TIGHT,
        traced={"nu": (0.3, 0.4, 0.5), "gamma": (0.3, 0.5, 1.0)},
        gathers=_COUPLED,
        outputs=_MARGINS,
    ),
    "svr": Case(
        svr,
        "regression",
        _TIGHT,
        traced=_KERNEL | {"epsilon": (0.1, 0.0, 0.3)},
        gathers=_COUPLED,
    ),
    "nu_svr": Case(
        nu_svr,
        "regression",
        _TIGHT,
        traced=_KERNEL | {"nu": (0.5, 0.2, 0.8)},
        gathers=_COUPLED,
    ),
    "one_class_svm": Case(
        one_class_svm,
        "none",
        _TIGHT,
        traced={"nu": (0.5, 0.2, 0.8), "gamma": (0.3, 0.5, 1.0)},
        gathers=_COUPLED,
        outputs=("decision_function", "score_samples"),
    ),
    "linear_svc": Case(
        linear_svc, "classes", traced={"C": (1.0, 0.1, 5.0)}, outputs=_MARGINS
    ),
    "linear_svc_hinge": Case(
        linear_svc,
        "classes3",
        {"loss": "hinge"},
        traced={"C": (1.0, 0.1, 5.0)},
        outputs=_MARGINS,
    ),
    "linear_svr": Case(
        linear_svr,
        "regression",
        traced={"C": (1.0, 0.1, 5.0), "epsilon": (0.1, 0.0, 0.3)},
    ),
    "linear_svr_squared": Case(
        linear_svr,
        "regression",
        {"loss": "squared_epsilon_insensitive"},
        traced={"C": (1.0, 0.1, 5.0), "epsilon": (0.1, 0.0, 0.3)},
    ),
}
