"""Linear models by stochastic gradient descent."""

from jaxml.models.classical import perceptron, sgd_classifier, sgd_regressor
from tests.models.classical.case import Case

_REPEATS = (
    "a row of weight 2 makes one step of twice the length, its copy a second step"
)
_GATHERS = "each step begins where the one before ended: rows come one after another"
_SAME = {"key": True, "repeats": _REPEATS, "gathers": _GATHERS}
_ALPHA = {"alpha": (1e-3, 1e-2, 1e-1)}

CASES = {
    "sgd_hinge": Case(
        sgd_classifier,
        "classes",
        static={"max_iter": 20},
        traced=_ALPHA,
        outputs=("predict", "decision_function"),
        **_SAME,
    ),
    "sgd_log_loss": Case(
        sgd_classifier,
        "classes3",
        static={"max_iter": 20, "loss": "log_loss", "average": True},
        traced=_ALPHA,
        outputs=("decision_function", "predict_proba"),
        **_SAME,
    ),
    "sgd_early": Case(
        sgd_classifier,
        "classes",
        static={
            "max_iter": 20,
            "loss": "modified_huber",
            "early_stopping": True,
            "validation_fraction": 0.25,
            "learning_rate": "adaptive",
        },
        traced={"eta0": (0.01, 0.05, 0.1)},
        outputs=("decision_function",),
        **_SAME,
    ),
    "sgd_regressor": Case(
        sgd_regressor, "regression", static={"max_iter": 20}, traced=_ALPHA, **_SAME
    ),
    "sgd_tube": Case(
        sgd_regressor,
        "regression",
        static={"max_iter": 20, "loss": "epsilon_insensitive", "penalty": "elasticnet"},
        traced={"epsilon": (0.1, 0.2, 0.4), "l1_ratio": (0.15, 0.5, 1.0)},
        **_SAME,
    ),
    "perceptron": Case(
        perceptron,
        "classes",
        static={"max_iter": 20},
        traced={"eta0": (1.0, 0.5, 2.0)},
        outputs=("predict", "decision_function"),
        **_SAME,
    ),
}
