"""Linear and quadratic discriminants against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn import covariance, datasets
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)

from jaxml.models.classical import (
    class_scatter,
    linear_discriminant,
    quadratic_discriminant,
)


def load(name):
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return x, y, int(y.max()) + 1


def up_to_sign(ours, theirs, rtol):
    signs = np.sign((np.asarray(ours) * theirs).sum(0))
    np.testing.assert_allclose(ours * signs[None], theirs, rtol=rtol, atol=rtol)


LINEAR = [
    {},
    {"solver": "lsqr"},
    {"solver": "lsqr", "shrinkage": 0.3},
    {"solver": "lsqr", "shrinkage": "auto"},
    {"solver": "eigen"},
    {"solver": "eigen", "shrinkage": 0.3},
    {"solver": "eigen", "shrinkage": "auto"},
]


# Parity


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("options", LINEAR, ids=str)
@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_linear_matches_sklearn(name, options, given):
    x, y, k = load(name)
    priors = np.array([0.2, 0.3, 0.5] if k == 3 else [0.3, 0.7]) if given else None
    theirs = LinearDiscriminantAnalysis(
        priors=priors, store_covariance=True, **options
    ).fit(x, y)
    with jax.enable_x64(True):
        model = linear_discriminant.fit(
            jnp.asarray(x),
            jnp.asarray(y),
            n_classes=k,
            priors=None if priors is None else jnp.asarray(priors),
            **options,
        )
        # Theirs works on unscaled features, at a condition number of 1e11.
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
        close(model.coef, theirs.coef_)
        close(model.intercept, theirs.intercept_)
        close(model.means, theirs.means_)
        close(model.priors, theirs.priors_)
        if options or not given:
            close(model.covariance, theirs.covariance_)
        ask = jnp.asarray(x)
        close(
            linear_discriminant.decision_function(model, ask),
            theirs.decision_function(x),
        )
        close(linear_discriminant.predict_proba(model, ask), theirs.predict_proba(x))
        close(
            linear_discriminant.predict_log_proba(model, ask),
            theirs.predict_log_proba(x),
        )
        labels = linear_discriminant.predict(model, ask)
        np.testing.assert_array_equal(labels, theirs.predict(x))
        if options.get("solver") != "lsqr":
            close(model.explained_variance_ratio, theirs.explained_variance_ratio_)
            up_to_sign(model.scalings, theirs.scalings_[:, : k - 1], 1e-6)
            up_to_sign(
                linear_discriminant.transform(model, ask), theirs.transform(x), 1e-6
            )


@pytest.mark.parametrize("name", ["wine", "digits"])
def test_linear_in_float32_scores_as_sklearn(name):
    # digits has constant pixels, so the covariance lacks rank.
    x, y, k = load(name)
    theirs = LinearDiscriminantAnalysis().fit(x, y)
    model = linear_discriminant.fit(jnp.float32(x), jnp.asarray(y), n_classes=k)
    labels = linear_discriminant.predict(model, jnp.float32(x))
    assert (labels == theirs.predict(x)).mean() > 0.998
    ratio = theirs.explained_variance_ratio_
    np.testing.assert_allclose(model.explained_variance_ratio, ratio, rtol=1e-3)
    scores = linear_discriminant.decision_function(model, jnp.float32(x))
    expected = theirs.decision_function(x)
    np.testing.assert_allclose(scores, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    "options",
    [
        {"reg_param": 0.1},
        {"solver": "eigen", "shrinkage": 0.2},
        {"solver": "eigen", "shrinkage": "auto"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_quadratic_matches_sklearn(name, options):
    x, y, k = load(name)
    x = x / x.std(0)
    theirs = QuadraticDiscriminantAnalysis(store_covariance=True, **options).fit(x, y)
    with jax.enable_x64(True):
        model = quadratic_discriminant.fit(
            jnp.asarray(x), jnp.asarray(y), n_classes=k, **options
        )
        ask = jnp.asarray(x)
        shares = quadratic_discriminant.predict_proba(model, ask)
        logs = quadratic_discriminant.predict_log_proba(model, ask)
        scores = quadratic_discriminant.decision_function(model, ask)
        labels = quadratic_discriminant.predict(model, ask)
    assert model.converged
    np.testing.assert_allclose(model.scalings, theirs.scalings_, rtol=1e-6)
    if "shrinkage" in options:  # with "svd" theirs is not the covariance
        np.testing.assert_allclose(model.covariance, theirs.covariance_, rtol=1e-8)
    np.testing.assert_allclose(
        scores, theirs.decision_function(x), rtol=1e-7, atol=1e-7
    )
    np.testing.assert_allclose(logs, theirs.predict_log_proba(x), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(shares, theirs.predict_proba(x), atol=1e-7)
    np.testing.assert_array_equal(labels, theirs.predict(x))


def test_quadratic_in_float32_scores_as_sklearn():
    x, y, k = load("wine")
    theirs = QuadraticDiscriminantAnalysis().fit(x, y)
    model = quadratic_discriminant.fit(jnp.float32(x), jnp.asarray(y), n_classes=k)
    shares = quadratic_discriminant.predict_proba(model, jnp.float32(x))
    np.testing.assert_allclose(shares, theirs.predict_proba(x), atol=1e-2)


# Properties


@pytest.mark.parametrize("module", [linear_discriminant, quadratic_discriminant])
def test_statistics_add_and_subtract(module):
    x, y, k = load("iris")
    x, y = jnp.float32(x), jnp.asarray(y)
    first = (jnp.arange(150) % 3 == 0) & (y != 2)  # lacks class 2
    stats = lambda x, y: module.stats(x, y, n_classes=k)
    a, b, whole = stats(x[first], y[first]), stats(x[~first], y[~first]), stats(x, y)
    close = lambda got, want: np.testing.assert_allclose(
        got, want, rtol=1e-4, atol=1e-3
    )
    jax.tree.map(close, module.merge(a, b), whole)
    jax.tree.map(close, module.subtract(whole, b), a)
    merged = module.solve(module.merge(a, b))
    np.testing.assert_allclose(
        module.predict_proba(merged, x),
        module.predict_proba(module.fit(x, y, n_classes=k), x),
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (linear_discriminant, {}),
        (linear_discriminant, {"solver": "lsqr", "shrinkage": "auto"}),
        (quadratic_discriminant, {}),
        (quadratic_discriminant, {"solver": "eigen", "shrinkage": "auto"}),
    ],
)
def test_far_from_the_origin(module, options):
    x, y, k = load("iris")
    x, y, k = jnp.float32(x[50:]), jnp.asarray(y[50:] - 1), 2
    here = module.fit(x, y, n_classes=k, **options)
    there = module.fit(x + 512, y, n_classes=k, **options)
    np.testing.assert_allclose(
        module.predict_proba(there, x + 512), module.predict_proba(here, x), atol=0.02
    )


@pytest.mark.parametrize("module", [linear_discriminant, quadratic_discriminant])
def test_a_class_without_rows_is_never_predicted(module):
    x, y, _ = load("iris")
    x, y = jnp.float32(x), jnp.asarray(y)
    four, three = (module.fit(x, y, n_classes=k) for k in (4, 3))
    shares = module.predict_proba(four, x)
    np.testing.assert_allclose(shares[:, :3], module.predict_proba(three, x), atol=1e-4)
    assert (shares[:, 3] == 0).all()


def test_linear_ignores_constant_and_repeated_features():
    x, y, k = load("iris")
    x, y = jnp.float32(x), jnp.asarray(y)
    wide = jnp.concatenate([x, x[:, :1], jnp.full((150, 1), 0.1)], 1)
    plain = linear_discriminant.fit(x, y, n_classes=k)
    model = linear_discriminant.fit(wide, y, n_classes=k)
    np.testing.assert_allclose(
        linear_discriminant.predict_proba(model, wide),
        linear_discriminant.predict_proba(plain, x),
        atol=1e-3,
    )
    assert (model.scalings[5] == 0).all()


def test_linear_with_fewer_rows_than_features():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 20)), np.arange(12) % 2
    x[y == 1] += 2
    theirs = LinearDiscriminantAnalysis().fit(x, y)
    with jax.enable_x64(True):
        model = linear_discriminant.fit(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(model.coef, theirs.coef_, rtol=1e-6, atol=1e-8)


def test_quadratic_says_when_a_covariance_lacks_rank():
    x, y, k = load("iris")
    x, y = jnp.float32(x), jnp.asarray(y)
    wide = jnp.concatenate([x, x[:, :1]], 1)
    assert not quadratic_discriminant.fit(wide, y, n_classes=k).converged
    model = quadratic_discriminant.fit(wide, y, n_classes=k, reg_param=0.1)
    assert model.converged
    assert jnp.isfinite(quadratic_discriminant.predict_proba(model, wide)).all()


@pytest.mark.parametrize("module", [linear_discriminant, quadratic_discriminant])
def test_all_weights_zero_is_not_a_number(module):
    x, y, k = load("iris")
    x = jnp.float32(x)
    model = module.fit(x, jnp.asarray(y), n_classes=k, sample_weight=jnp.zeros(150))
    assert jnp.isnan(module.predict_proba(model, x)).all()


def test_ledoit_wolf_matches_sklearn():
    x = load("wine")[0]
    x = (x - x.mean(0)) / x.std(0)
    with jax.enable_x64(True):
        ours = class_scatter.ledoit_wolf(jnp.asarray(x), jnp.ones(len(x)))
    np.testing.assert_allclose(ours, covariance.ledoit_wolf(x)[0], rtol=1e-9)


def test_an_estimator_of_your_own():
    x, y, k = load("iris")
    theirs = LinearDiscriminantAnalysis("lsqr", shrinkage=0.5).fit(x, y)
    with jax.enable_x64(True):
        stats = linear_discriminant.stats(jnp.asarray(x), jnp.asarray(y), n_classes=k)
        own = class_scatter.shrunk(stats.scatter / 150, 0.5)
        model = linear_discriminant.solve(stats, solver="lsqr", within=own)
    np.testing.assert_allclose(model.coef, theirs.coef_, rtol=1e-8)


def test_n_components():
    x, y, k = load("wine")
    theirs = LinearDiscriminantAnalysis(n_components=1).fit(x, y).transform(x)
    model = linear_discriminant.fit(
        jnp.float32(x), jnp.asarray(y), n_classes=k, n_components=1
    )
    up_to_sign(linear_discriminant.transform(model, jnp.float32(x)), theirs, 2e-3)


# Gradients


@pytest.mark.parametrize(
    ("module", "options", "number"),
    [
        (linear_discriminant, {}, "tol"),
        (linear_discriminant, {"solver": "eigen"}, "shrinkage"),
        (quadratic_discriminant, {}, "reg_param"),
        (quadratic_discriminant, {"solver": "eigen"}, "shrinkage"),
    ],
)
def test_gradients_of_the_fit(module, options, number):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        y = jnp.arange(24) % 3
        x = jnp.asarray(rng.normal(size=(24, 2))) + y[:, None]
        weight = jnp.linspace(0.5, 2.0, 24)

        def run(x, weight, value):
            x = jnp.asarray(x)
            model = module.fit(
                x,
                y,
                n_classes=3,
                sample_weight=jnp.asarray(weight),
                **{number: jnp.asarray(value)},
                **options,
            )
            return module.decision_function(model, x)

        check_grads(run, (x, weight, jnp.asarray(0.2)), 1, modes=["rev"], rtol=1e-5)


# Errors


def test_rejects_wrong_choices():
    x, y = jnp.ones((4, 2)), jnp.array([0, 1, 0, 1])
    fit = linear_discriminant.fit
    with pytest.raises(ValueError, match=r"solver must be one of .*; got 'qr'"):
        fit(x, y, solver="qr")
    with pytest.raises(ValueError, match='shrinkage needs solver "lsqr" or "eigen"'):
        fit(x, y, shrinkage=0.1)
    with pytest.raises(ValueError, match="shrinkage must be from 0 to 1; got 2"):
        fit(x, y, solver="eigen", shrinkage=2.0)
    with pytest.raises(ValueError, match=r"shrinkage must be one of .*; got 'best'"):
        fit(x, y, solver="eigen", shrinkage="best")
    with pytest.raises(ValueError, match="n_components must be from 1 to 1; got 2"):
        fit(x, y, n_components=2)
    with pytest.raises(ValueError, match='needs solver "svd" or "eigen"; got "lsqr"'):
        linear_discriminant.transform(fit(x, y, solver="lsqr"), x)
    fit = quadratic_discriminant.fit
    with pytest.raises(ValueError, match="reg_param must be from 0 to 1; got 2"):
        fit(x, y, reg_param=2.0)
    with pytest.raises(ValueError, match='shrinkage needs solver "eigen"; got "svd"'):
        fit(x, y, shrinkage=0.1)
    stats = quadratic_discriminant.stats(x, y)
    with pytest.raises(ValueError, match='"auto" needs the rows'):
        quadratic_discriminant.solve(stats, solver="eigen", shrinkage="auto")
