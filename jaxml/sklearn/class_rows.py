"""Rows of the table: naive Bayes, discriminants."""

from typing import Any

import numpy as np
from sklearn.utils import validation

from jaxml.sklearn.row import Data, Row

__all__ = ["ROWS"]

LEAST_ALPHA = 1e-10  # scikit-learn's, where force_alpha is False


def _smoothing(estimator, data):
    if estimator.force_alpha:
        return {}
    alpha = np.maximum(estimator.alpha, LEAST_ALPHA)
    return {"alpha": alpha if np.ndim(alpha) else float(alpha)}


def _prior(name: str):
    """Checks the probabilities that the user gave for the classes."""

    def check(estimator: Any, data: Data) -> None:
        prior = getattr(estimator, name)
        if prior is None or data.classes is None:
            return
        prior = np.asarray(prior)
        if len(prior) != len(data.classes):
            raise ValueError(
                f"{name} must be one number for each of the {len(data.classes)} "
                f"classes; got {len(prior)}"
            )
        if (prior < 0).any() or not np.isclose(prior.sum(), 1):
            raise ValueError(
                f"{name} must be at least 0 and sum to 1; got {prior.tolist()}"
            )

    return check


def _counts(estimator, data):
    """Refuse negative counts, and priors that are none."""
    validation.check_non_negative(data.x, f"{type(estimator).__name__} (input X)")
    prior = estimator.class_prior
    if prior is not None and len(prior) != len(data.classes):
        raise ValueError(
            f"class_prior must be one number for each of the {len(data.classes)} "
            f"classes; got {len(prior)}"
        )


def _axes(estimator, state, data):
    """What `transform` gives, and the covariance where it was asked for."""
    found = {"_n_features_out": state["scalings"].shape[1]}
    if estimator.store_covariance or estimator.solver != "svd":
        found["covariance_"] = state["covariance"]
    return found


def _ellipsoids(estimator, state, data):
    """Axes and variances of each class, in lists as scikit-learn keeps them."""
    found = {name + "_": list(state[name]) for name in ("rotations", "scalings")}
    if estimator.store_covariance or estimator.solver != "svd":
        found["covariance_"] = list(state["covariance"])
    return found


def _spread(estimator, data):
    count = np.bincount(data.y, data.weight)
    if count.min() < 2:
        label = data.classes[count.argmin()]
        raise ValueError(
            f"y has only 1 sample in class {label}, covariance is ill defined: it "
            f"needs at least 2 samples of each class"
        )
    _prior("priors")(estimator, data)


def _dimensions(estimator, data):
    most = min(len(data.classes) - 1, data.x.shape[1])
    if estimator.n_components is not None and estimator.n_components > most:
        raise ValueError(
            f"n_components cannot be larger than min(n_features, n_classes - 1) = "
            f"{most}; got {estimator.n_components}"
        )
    _prior("priors")(estimator, data)


ROWS = {
    "LinearDiscriminantAnalysis": Row(
        "discriminant_analysis.LinearDiscriminantAnalysis",
        "linear_discriminant",
        handled="store_covariance",
        check=_dimensions,
        names={"covariance": ""},
        attributes=_axes,
    ),
    "QuadraticDiscriminantAnalysis": Row(
        "discriminant_analysis.QuadraticDiscriminantAnalysis",
        "quadratic_discriminant",
        handled="store_covariance",
        check=_spread,
        names={"covariance": "", "whitening": ""},
        attributes=_ellipsoids,
    ),
    "GaussianNB": Row(
        "naive_bayes.GaussianNB", "gaussian_nb", check=_prior("priors"), one_class=True
    ),
    "MultinomialNB": Row(
        "naive_bayes.MultinomialNB",
        "multinomial_nb",
        handled="force_alpha",
        arguments=_smoothing,
        check=_counts,
        tags={"input_tags.positive_only": True, "classifier_tags.poor_score": True},
        one_class=True,
    ),
    "BernoulliNB": Row(
        "naive_bayes.BernoulliNB",
        "bernoulli_nb",
        handled="force_alpha",
        arguments=_smoothing,
        names={"negative_log_prob": "", "binarize": ""},
        tags={"classifier_tags.poor_score": True},
        one_class=True,
    ),
}
