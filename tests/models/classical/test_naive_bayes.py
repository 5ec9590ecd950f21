"""Naive Bayes against scikit-learn, and the statistics that make it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn import datasets
from sklearn import naive_bayes as peer

from jaxml.models.classical import (
    bernoulli_nb,
    categorical_nb,
    complement_nb,
    gaussian_nb,
    multinomial_nb,
)

REAL = ["iris", "wine", "breast_cancer", "digits"]
COUNTS = {
    multinomial_nb: peer.MultinomialNB,
    bernoulli_nb: peer.BernoulliNB,
    complement_nb: peer.ComplementNB,
}


def load(name):
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    weight = np.random.default_rng(0).uniform(0.2, 3.0, len(y))
    return x, y, weight, int(y.max()) + 1


@pytest.fixture
def counts():
    rng = np.random.default_rng(1)
    y = np.arange(60) % 3
    x = rng.poisson(np.array([[1, 2, 5, 0.1], [4, 1, 1, 1], [1, 1, 1, 6]])[y])
    return x.astype(np.float64), y


# Parity


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", REAL)
def test_gaussian_matches_sklearn(name, weighted):
    x, y, weight, k = load(name)
    weight = weight if weighted else None
    # digits has pixels of variance 0
    smoothing = 1e-3 if name == "digits" else 1e-9
    theirs = peer.GaussianNB(var_smoothing=smoothing).fit(x, y, weight)
    if weighted:
        # scikit-learn takes the variance behind epsilon without the weights.
        mean = np.average(x, 0, weight)
        spread = np.average((x - mean) ** 2, 0, weight).max()
        theirs.var_ += smoothing * spread - theirs.epsilon_
    with jax.enable_x64(True):
        ours = gaussian_nb.fit(
            jnp.asarray(x),
            jnp.asarray(y),
            n_classes=k,
            var_smoothing=smoothing,
            sample_weight=None if weight is None else jnp.asarray(weight),
        )
        labels = gaussian_nb.predict(ours, jnp.asarray(x))
        logs = gaussian_nb.predict_joint_log_proba(ours, jnp.asarray(x))
        shares = gaussian_nb.predict_proba(ours, jnp.asarray(x))
        normal = gaussian_nb.predict_log_proba(ours, jnp.asarray(x))
    np.testing.assert_allclose(ours.theta, theirs.theta_, rtol=1e-10)
    np.testing.assert_allclose(ours.var, theirs.var_, rtol=1e-9)
    np.testing.assert_allclose(ours.class_prior, theirs.class_prior_, rtol=1e-10)
    np.testing.assert_allclose(ours.class_count, theirs.class_count_, rtol=1e-10)
    np.testing.assert_allclose(logs, theirs.predict_joint_log_proba(x), rtol=1e-7)
    np.testing.assert_allclose(
        normal, theirs.predict_log_proba(x), rtol=1e-7, atol=1e-7
    )
    np.testing.assert_allclose(shares, theirs.predict_proba(x), atol=1e-8)
    np.testing.assert_array_equal(labels, theirs.predict(x))


@pytest.mark.parametrize("name", REAL)
def test_gaussian_in_float32(name):
    x, y, _, k = load(name)
    theirs = peer.GaussianNB(var_smoothing=1e-4).fit(x, y)
    ours = gaussian_nb.fit(
        jnp.float32(x), jnp.asarray(y), n_classes=k, var_smoothing=1e-4
    )
    np.testing.assert_allclose(ours.theta, theirs.theta_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(ours.var, theirs.var_, rtol=1e-5)
    same = gaussian_nb.predict(ours, jnp.float32(x)) == theirs.predict(x)
    assert same.mean() > 0.995


@pytest.mark.parametrize("options", [{}, {"alpha": 0.1, "fit_prior": False}])
@pytest.mark.parametrize("module", COUNTS, ids=lambda m: m.__name__[-14:])
def test_counts_match_sklearn(module, options):
    x, y, weight, k = load("digits")
    theirs = COUNTS[module](**options).fit(x, y, weight)
    with jax.enable_x64(True):
        ours = module.fit(
            jnp.asarray(x),
            jnp.asarray(y),
            n_classes=k,
            sample_weight=jnp.asarray(weight),
            **options,
        )
        logs = module.predict_joint_log_proba(ours, jnp.asarray(x))
        shares = module.predict_proba(ours, jnp.asarray(x))
        labels = module.predict(ours, jnp.asarray(x))
    np.testing.assert_allclose(
        ours.feature_log_prob, theirs.feature_log_prob_, rtol=1e-10
    )
    np.testing.assert_allclose(
        ours.class_log_prior, theirs.class_log_prior_, rtol=1e-10
    )
    np.testing.assert_allclose(ours.feature_count, theirs.feature_count_, rtol=1e-10)
    np.testing.assert_allclose(ours.class_count, theirs.class_count_, rtol=1e-10)
    np.testing.assert_allclose(logs, theirs.predict_joint_log_proba(x), rtol=1e-9)
    np.testing.assert_allclose(shares, theirs.predict_proba(x), atol=1e-9)
    np.testing.assert_array_equal(labels, theirs.predict(x))


def test_counts_in_float32_score_as_sklearn():
    x, y, _, k = load("digits")
    for module, estimator in COUNTS.items():
        ours = module.fit(jnp.float32(x), jnp.asarray(y), n_classes=k)
        labels = module.predict(ours, jnp.float32(x))
        assert (labels == estimator().fit(x, y).predict(x)).mean() > 0.998


def test_complement_with_norm_matches_sklearn(counts):
    x, y = counts
    theirs = peer.ComplementNB(norm=True).fit(x, y)
    ours = complement_nb.fit(jnp.float32(x), jnp.asarray(y), n_classes=3, norm=True)
    np.testing.assert_allclose(
        ours.feature_log_prob, theirs.feature_log_prob_, rtol=1e-5
    )
    np.testing.assert_allclose(
        complement_nb.predict_log_proba(ours, jnp.float32(x)),
        theirs.predict_log_proba(x),
        rtol=1e-4,
    )


def test_given_priors_match_sklearn(counts):
    x, y = counts
    prior = np.array([0.5, 0.2, 0.3])
    given = jnp.float32(prior)
    for module, theirs in [
        (gaussian_nb, peer.GaussianNB(priors=prior)),
        (multinomial_nb, peer.MultinomialNB(class_prior=prior)),
        (bernoulli_nb, peer.BernoulliNB(class_prior=prior)),
    ]:
        name = "priors" if module is gaussian_nb else "class_prior"
        ours = module.fit(jnp.float32(x), jnp.asarray(y), n_classes=3, **{name: given})
        np.testing.assert_allclose(
            module.predict_proba(ours, jnp.float32(x)),
            theirs.fit(x, y).predict_proba(x),
            atol=1e-5,
        )


@pytest.mark.parametrize("least", [None, 14])
def test_categorical_matches_sklearn(counts, least):
    x, y = counts
    weight = np.random.default_rng(0).uniform(0.2, 3.0, len(y))
    theirs = peer.CategoricalNB(alpha=0.5, min_categories=least).fit(x, y, weight)
    with jax.enable_x64(True):
        ours = categorical_nb.fit(
            jnp.asarray(x),
            jnp.asarray(y),
            n_classes=3,
            n_categories=16,
            min_categories=least,
            alpha=0.5,
            sample_weight=jnp.asarray(weight),
        )
        shares = categorical_nb.predict_proba(ours, jnp.asarray(x))
    np.testing.assert_array_equal(ours.n_categories, theirs.n_categories_)
    for found, logs in zip(
        np.asarray(ours.feature_log_prob), theirs.feature_log_prob_, strict=True
    ):
        np.testing.assert_allclose(found[:, : logs.shape[1]], logs, rtol=1e-10)
        assert (found[:, logs.shape[1] :] == -jnp.inf).all()
    np.testing.assert_allclose(shares, theirs.predict_proba(x), rtol=1e-9)


# Properties


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (gaussian_nb, {}),
        (multinomial_nb, {}),
        (bernoulli_nb, {}),
        (complement_nb, {}),
        (categorical_nb, {"n_categories": 16}),
    ],
    ids=lambda value: getattr(value, "__name__", "")[-14:],
)
def test_statistics_add_and_subtract(counts, module, options):
    x, y = jnp.float32(counts[0]), jnp.asarray(counts[1])
    stats = lambda x, y: module.stats(x, y, n_classes=3, **options)
    # The first part lacks class 2.
    first = (jnp.arange(60) < 20) & (y != 2)
    a, b, whole = stats(x[first], y[first]), stats(x[~first], y[~first]), stats(x, y)
    close = lambda got, want: np.testing.assert_allclose(
        got, want, rtol=2e-5, atol=1e-4
    )
    jax.tree.map(close, module.merge(a, b), whole)
    jax.tree.map(close, module.subtract(whole, b), a)
    jax.tree.map(close, module.subtract(whole, whole), jax.tree.map(jnp.zeros_like, a))
    model = module.fit(x, y, n_classes=3, **options)
    jax.tree.map(close, module.solve(module.merge(a, b)), model)


def test_variance_far_from_the_origin():
    x = np.random.default_rng(0).normal(size=(200, 2))
    y = np.arange(200) % 2
    x = np.float32(x + 3000 * y[:, None])
    ours = gaussian_nb.fit(jnp.asarray(x), jnp.asarray(y), var_smoothing=0.0)
    expected = [x[y == c].astype(np.float64).var(0) for c in (0, 1)]
    np.testing.assert_allclose(ours.var, expected, rtol=1e-5)


@pytest.mark.parametrize("module", [gaussian_nb, multinomial_nb, bernoulli_nb])
def test_a_class_without_rows_is_never_predicted(counts, module):
    x, y = jnp.float32(counts[0]), jnp.asarray(counts[1])
    four = module.fit(x, y, n_classes=4)
    three = module.fit(x, y, n_classes=3)
    shares = module.predict_proba(four, x)
    np.testing.assert_allclose(shares[:, :3], module.predict_proba(three, x), rtol=1e-5)
    assert (shares[:, 3] == 0).all()


def test_alpha_zero_makes_an_unseen_event_impossible():
    x, y = jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.array([0, 1])
    for module in (multinomial_nb, bernoulli_nb):
        model = module.fit(x, y, alpha=0.0)
        shares = module.predict_proba(model, jnp.array([[0.0, 1.0], [1.0, 0.0]]))
        np.testing.assert_allclose(shares[0], [0, 1])
        assert jnp.isfinite(shares).all()


def test_all_weights_zero_is_not_a_number(counts):
    x, y = jnp.float32(counts[0]), jnp.asarray(counts[1])
    for module in (gaussian_nb, multinomial_nb, bernoulli_nb):
        model = module.fit(x, y, n_classes=3, sample_weight=jnp.zeros(60))
        assert jnp.isnan(module.predict_proba(model, x)).all()


def test_constant_features_have_the_smoothed_variance():
    x = jnp.array([[1.0, 0.0], [1.0, 2.0], [1.0, 0.0], [1.0, 4.0]])
    model = gaussian_nb.fit(x, jnp.array([0, 0, 1, 1]), var_smoothing=0.1)
    np.testing.assert_allclose(model.var[:, 0], model.epsilon)
    np.testing.assert_allclose(model.epsilon, 0.1 * 2.75)


def test_an_unknown_category_is_impossible():
    x, y = jnp.array([[0.0], [1.0]]), jnp.array([0, 1])
    model = categorical_nb.fit(x, y, n_categories=4)
    logs = categorical_nb.predict_joint_log_proba(model, jnp.array([[3.0], [9.0]]))
    assert (logs == -jnp.inf).all()


# Gradients


def test_gradients_of_the_fit(counts):
    with jax.enable_x64(True):
        x, y = jnp.asarray(counts[0])[:12], jnp.asarray(counts[1])[:12]
        weight = jnp.linspace(0.5, 2.0, 12)

        def gaussian(x, weight, smoothing):
            model = gaussian_nb.fit(
                jnp.asarray(x),
                y,
                n_classes=3,
                var_smoothing=jnp.asarray(smoothing),
                sample_weight=jnp.asarray(weight),
            )
            return gaussian_nb.predict_joint_log_proba(model, jnp.asarray(x))

        def multinomial(x, weight, alpha):
            model = multinomial_nb.fit(
                jnp.asarray(x),
                y,
                n_classes=3,
                alpha=jnp.asarray(alpha),
                sample_weight=jnp.asarray(weight),
            )
            return multinomial_nb.predict_joint_log_proba(model, jnp.asarray(x))

        number = jnp.asarray(0.3)
        for run in (gaussian, multinomial):
            check_grads(run, (x, weight, number), 1, modes=["rev"], rtol=1e-5)


# Errors


def test_rejects_wrong_numbers(counts):
    x, y = jnp.float32(counts[0]), jnp.asarray(counts[1])
    with pytest.raises(ValueError, match="alpha must be at least 0; got -1"):
        multinomial_nb.fit(x, y, n_classes=3, alpha=-1.0)
    with pytest.raises(ValueError, match="var_smoothing must be at least 0; got -1"):
        gaussian_nb.fit(x, y, n_classes=3, var_smoothing=-1.0)
    with pytest.raises(ValueError, match="n_classes must be at least 2; got 1"):
        bernoulli_nb.fit(x, y, n_classes=1)
    with pytest.raises(ValueError, match="n_categories must be at least 1; got 0"):
        categorical_nb.fit(x, y, n_categories=0)
