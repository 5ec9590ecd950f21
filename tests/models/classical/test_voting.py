"""Votes of different models, over our models, against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, discriminant_analysis, ensemble, linear_model, naive_bayes

from jaxml.models.classical import (
    gaussian_nb,
    linear_discriminant,
    ridge,
    sgd_classifier,
    voting_classifier,
    voting_regressor,
)

MEMBERS = (gaussian_nb, linear_discriminant)
RIDGES = (ridge, ridge)
ALPHAS = ({"alpha": 1.0}, {"alpha": 30.0})


class Always:
    """Says one label whatever it sees; takes neither weights nor a key."""

    def __init__(self, label):
        self.label = label

    def fit(self, x, y, *, n_classes):
        return jnp.asarray(self.label)

    def predict(self, model, x):
        return jnp.full(len(x), model, jnp.int32)


@pytest.fixture(scope="module")
def flowers():
    """90 flowers of 3 classes, and whole weights, a third of them 0."""
    x, y = datasets.load_iris(return_X_y=True)
    x, y = x[::5].repeat(3, 0), y[::5].repeat(3)
    x = (x - x.mean(0)) / x.std(0) + np.random.default_rng(0).normal(size=x.shape)
    weight = np.arange(90) % 3
    return x.astype(np.float32), y.astype(np.int32), weight.astype(np.float32)


@pytest.fixture(scope="module")
def patients():
    x, y = datasets.load_diabetes(return_X_y=True)
    return (20 * x[:60, :4]).astype(np.float32), y[:60].astype(np.float32)


def fit(flowers, members=MEMBERS, **more):
    x, y, _ = (jnp.asarray(a) for a in flowers)
    return voting_classifier.fit(members, x, y, n_classes=3, **more)


def theirs(voting, weights):
    return ensemble.VotingClassifier(
        [
            ("bayes", naive_bayes.GaussianNB()),
            ("line", discriminant_analysis.LinearDiscriminantAnalysis()),
        ],
        voting=voting,
        weights=weights,
    )


# Parity.


@pytest.mark.parametrize("weights", [None, [2.0, 1.0]])
@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_matches_sklearn(flowers, voting, weights):
    x, y, _ = flowers
    reference = theirs(voting, weights).fit(x, y)
    given = None if weights is None else jnp.asarray(weights)
    model = fit(flowers, voting=voting, weights=given)
    new = jnp.asarray(x)
    np.testing.assert_array_equal(
        voting_classifier.predict(MEMBERS, model, new), reference.predict(x)
    )
    said = voting_classifier.transform(MEMBERS, model, new)
    if voting == "hard":
        np.testing.assert_array_equal(said, reference.transform(x))
    else:
        want = reference.transform(x).reshape(90, 2, 3).transpose(1, 0, 2)
        np.testing.assert_allclose(said, want, atol=1e-4)
        proba = voting_classifier.predict_proba(MEMBERS, model, new)
        np.testing.assert_allclose(proba, reference.predict_proba(x), atol=1e-4)


def test_regressor_matches_sklearn(patients):
    x, y = patients
    reference = ensemble.VotingRegressor(
        [(str(o), linear_model.Ridge(**o)) for o in ALPHAS], weights=[3.0, 1.0]
    ).fit(x, y)
    weights = jnp.array([3.0, 1.0])
    x = jnp.asarray(x)
    model = voting_regressor.fit(
        RIDGES, x, jnp.asarray(y), weights=weights, options=ALPHAS
    )
    np.testing.assert_allclose(
        voting_regressor.predict(RIDGES, model, x), reference.predict(x), rtol=1e-4
    )
    np.testing.assert_allclose(
        voting_regressor.transform(RIDGES, model, x), reference.transform(x), rtol=1e-4
    )


# Properties: true whatever the data.


def test_equal_votes_go_to_the_lowest_class(flowers):
    members = tuple(Always(label) for label in (2, 1, 2, 1))
    x = jnp.asarray(flowers[0])
    model = fit(flowers, members)
    assert (voting_classifier.predict(members, model, x) == 1).all()
    shares = voting_classifier.predict_proba(members, model, x)
    np.testing.assert_array_equal(shares[0], [0, 0.5, 0.5])
    model = fit(flowers, members, weights=jnp.array([1.0, 1.0, 1.5, 1.0]))
    assert (voting_classifier.predict(members, model, x) == 2).all()


def test_members_are_those_of_single_fits(flowers):
    x, y, weight = (jnp.asarray(a) for a in flowers)
    model = fit(flowers, sample_weight=weight)
    one = gaussian_nb.fit(x, y, n_classes=3, sample_weight=weight)
    np.testing.assert_allclose(model.models[0].theta, one.theta, rtol=1e-5)


def test_a_key_goes_to_those_who_take_one(flowers, key):
    members = (gaussian_nb, sgd_classifier, sgd_classifier)
    model = fit(flowers, members, key=key, options=(None, {"max_iter": 2}, None))
    first, second = model.models[1].coef, model.models[2].coef
    assert not np.array_equal(first, second)


def test_derivative_goes_through_the_members(patients):
    with jax.enable_x64(True):
        x, y = (jnp.asarray(a, jnp.float64) for a in patients)

        def loss(alpha, weight):
            options = ({"alpha": alpha}, {"alpha": jnp.asarray(30.0)})
            weights = jnp.stack([weight, jnp.asarray(1.0)])
            model = voting_regressor.fit(RIDGES, x, y, weights=weights, options=options)
            return ((voting_regressor.predict(RIDGES, model, x) - y) ** 2).mean()

        at = (jnp.asarray(2.0), jnp.asarray(3.0))
        slopes = jax.grad(loss, (0, 1))(*at)
        step = 1e-4
        for axis in (0, 1):
            ends = [
                loss(*(v + s * step * (i == axis) for i, v in enumerate(at)))
                for s in (1, -1)
            ]
            want = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(slopes[axis], want, rtol=1e-5)


# Errors.


def test_rejects_what_does_not_fit(flowers):
    with pytest.raises(ValueError, match="voting must be one of"):
        fit(flowers, voting="loud")
    with pytest.raises(ValueError, match=r"for each of the 2 estimators; got 1"):
        fit(flowers, options=(None,))
    with pytest.raises(ValueError, match=r"for each of the 2 estimators; got shape"):
        fit(flowers, weights=jnp.ones(3))
    with pytest.raises(ValueError, match="number of estimators must be at least 1"):
        fit(flowers, ())
    silent = Always(1)
    with pytest.raises(ValueError, match="must take sample_weight"):
        fit(flowers, (silent,), sample_weight=jnp.ones(90))
    model = fit(flowers, (silent,), voting="soft")
    with pytest.raises(ValueError, match="must have predict_proba"):
        voting_classifier.predict((silent,), model, jnp.asarray(flowers[0]))
