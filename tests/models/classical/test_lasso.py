"""Lasso against scikit-learn, and what any lasso must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, linear_model

from jaxml.models.classical import lasso


def diabetes(dtype=np.float32):
    x, y = datasets.load_diabetes(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0) + np.arange(10)
    return x.astype(dtype), (y / y.std()).astype(dtype)


def wide(dtype=np.float32):
    """30 rows of the digits, their 64 pixels: constant ones among them."""
    x, y = datasets.load_digits(return_X_y=True)
    return x[:30].astype(dtype), y[:30].astype(dtype)


def objective(x, y, model, alpha, weight=None):
    x, y = np.asarray(x, float), np.asarray(y, float)
    coef, intercept = (np.asarray(part, float) for part in model[:2])
    square = np.average((y - x @ coef - intercept) ** 2, weights=weight)
    return 0.5 * square + alpha * np.abs(coef).sum()


def reference(x, y, alpha, weight=None, **more):
    model = linear_model.Lasso(alpha=alpha, tol=1e-14, max_iter=10**6, **more)
    model.fit(x.astype(float), y.astype(float), sample_weight=weight)
    return model.coef_, model.intercept_


@pytest.mark.parametrize("data", [diabetes, wide], ids=["diabetes", "wide"])
@pytest.mark.parametrize("alpha", [0.01, 0.1, 1.0])
def test_matches_sklearn(data, alpha):
    x, y = data()
    best = reference(x, y, alpha)
    model = lasso.fit(jnp.asarray(x), jnp.asarray(y), alpha=alpha)
    assert model.converged
    # Never worse than the optimum in float64, but for float32's rounding of the model.
    ours, theirs = objective(x, y, model, alpha), objective(x, y, best, alpha)
    assert theirs * (1 - 1e-9) <= ours <= theirs * (1 + 1e-6)
    np.testing.assert_allclose(model.coef, best[0], rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(model.intercept, best[1], rtol=1e-4)
    prediction = lasso.predict(model, jnp.asarray(x[:5]))
    np.testing.assert_allclose(prediction, x[:5] @ best[0] + best[1], rtol=1e-3)


def test_matches_sklearn_in_float64():
    x, y = diabetes(float)
    with jax.enable_x64(True):
        model = lasso.fit(jnp.asarray(x), jnp.asarray(y), alpha=0.05)
        assert model.coef.dtype == jnp.float64
        coef, intercept = reference(x, y, 0.05)
        np.testing.assert_allclose(model.coef, coef, atol=1e-7)
        np.testing.assert_allclose(model.intercept, intercept, atol=1e-6)
        assert 0 <= model.dual_gap < 1e-10


@pytest.mark.parametrize("data", [diabetes, wide], ids=["diabetes", "wide"])
def test_matches_sklearn_with_weights(data):
    x, y = data()
    weight = np.random.default_rng(0).integers(0, 4, len(x)).astype(np.float32)
    best = reference(x, y, 0.1, weight)
    model = lasso.fit(
        jnp.asarray(x), jnp.asarray(y), alpha=0.1, sample_weight=jnp.asarray(weight)
    )
    ours = objective(x, y, model, 0.1, weight)
    assert ours <= objective(x, y, best, 0.1, weight) * (1 + 1e-6)
    np.testing.assert_allclose(model.coef, best[0], rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("options", [{"positive": True}, {"fit_intercept": False}])
def test_matches_sklearn_with(options):
    x, y = diabetes()
    best = reference(x, y, 0.1, **options)
    model = lasso.fit(jnp.asarray(x), jnp.asarray(y), alpha=0.1, **options)
    np.testing.assert_allclose(model.coef, best[0], rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(model.intercept, best[1], rtol=1e-4, atol=1e-6)


def test_targets_are_fitted_apart():
    x, y = diabetes()
    both = jnp.stack([jnp.asarray(y), jnp.asarray(x[:, 0])], 1)
    model = lasso.fit(jnp.asarray(x), both, alpha=0.1)
    assert model.coef.shape == (2, 10)
    assert model.intercept.shape == model.dual_gap.shape == model.n_iter.shape == (2,)
    for t in range(2):
        alone = lasso.fit(jnp.asarray(x), both[:, t], alpha=0.1)
        np.testing.assert_allclose(model.coef[t], alone.coef, atol=1e-5)
    np.testing.assert_allclose(
        lasso.predict(model, jnp.asarray(x[:3]))[:, 1],
        lasso.predict(alone, jnp.asarray(x[:3])),
        atol=1e-4,
    )


def test_rows_and_moments_say_the_same():
    x, y = (jnp.asarray(a) for a in diabetes())
    rows = lasso.fit(x, y, alpha=0.1, precompute=False)
    np.testing.assert_allclose(rows.coef, lasso.fit(x, y, alpha=0.1).coef, atol=1e-5)


def test_moments_merge_to_the_model_of_all_rows():
    x, y = (jnp.asarray(a) for a in diabetes())
    total = lasso.merge(lasso.stats(x[:100], y[:100]), lasso.stats(x[100:], y[100:]))
    model = lasso.solve(total, alpha=0.1)
    np.testing.assert_allclose(
        model.coef[0], lasso.fit(x, y, alpha=0.1).coef, atol=1e-4
    )


def test_far_from_the_origin():
    """Features of mean 1000 and spread 1, as accurate as scikit-learn's float32."""
    x, y = diabetes()
    far = (x + np.float32(1000)).astype(np.float32)
    exact, _ = reference(far, y, 0.05)
    theirs = linear_model.Lasso(alpha=0.05, tol=1e-7, max_iter=10**5).fit(far, y).coef_
    ours = lasso.fit(jnp.asarray(far), jnp.asarray(y), alpha=0.05)
    error = np.abs(np.asarray(ours.coef) - exact).max()
    assert error <= max(2 * np.abs(theirs - exact).max(), 1e-5)


def test_path_is_the_models_of_its_alphas():
    x, y = diabetes()
    alphas = lasso.alpha_grid(jnp.asarray(x), jnp.asarray(y), n_alphas=8)
    models = lasso.path(jnp.asarray(x), jnp.asarray(y), alphas=alphas)
    assert models.converged.all()
    assert (models.coef[0] == 0).all()
    exact, target = (a.astype(float) - a.astype(float).mean(0) for a in (x, y))
    _, coefs, _ = linear_model.lasso_path(
        exact, target, alphas=np.asarray(alphas), tol=1e-9
    )
    np.testing.assert_allclose(models.coef, coefs.T, atol=2e-4)
    one = lasso.fit(jnp.asarray(x), jnp.asarray(y), alpha=alphas[3])
    np.testing.assert_allclose(models.coef[3], one.coef, atol=1e-5)
    np.testing.assert_allclose(models.intercept[3], one.intercept, rtol=1e-5)


def test_grid_matches_sklearn():
    x, y = diabetes()
    alphas, _, _ = linear_model.lasso_path(x - x.mean(0), y - y.mean(), alphas=20)
    ours = lasso.alpha_grid(jnp.asarray(x), jnp.asarray(y), n_alphas=20)
    np.testing.assert_allclose(ours, alphas, rtol=1e-5)
    least = lasso.fit(jnp.asarray(x), jnp.asarray(y), alpha=ours[0] * 0.999)
    assert (least.coef != 0).sum() == 1


def test_derivative_on_the_support():
    x, y = diabetes(float)
    with jax.enable_x64(True):
        x, y = jnp.asarray(x[:60]), jnp.asarray(y[:60])
        weight = jnp.ones(60)

        def value(alpha, x, y, weight):
            model = lasso.fit(x, y, alpha=alpha, sample_weight=weight)
            return (model.coef * jnp.arange(10.0)).sum() + model.intercept

        args = (jnp.asarray(0.1), x, y, weight)
        slopes = jax.grad(value, (0, 1, 2, 3))(*args)
        places = ((), (7, 2), (7,), (7,))
        for i, place in enumerate(places):
            moved = [
                value(*args[:i], args[i].at[place].add(h), *args[i + 1 :])
                for h in (1e-6, -1e-6)
            ]
            change = (moved[0] - moved[1]) / 2e-6
            np.testing.assert_allclose(slopes[i][place], change, rtol=1e-5)


def test_degenerate_data():
    x, y = (jnp.asarray(a) for a in diabetes())
    for precompute in (True, False):
        flat = x.at[:, 3].set(0.1)
        constant = lasso.fit(flat, y, alpha=0.0, precompute=precompute)
        assert constant.converged
        assert constant.coef[3] == 0
    flat = lasso.fit(x, jnp.full_like(y, 7.3), alpha=0.1)
    assert flat.converged
    np.testing.assert_array_equal(flat.coef, 0)
    np.testing.assert_allclose(flat.intercept, 7.3, rtol=1e-6)
    nothing = lasso.fit(x, y, alpha=0.1, sample_weight=jnp.zeros_like(y))
    assert not nothing.converged
    column = lasso.fit(x[:, :1], y, alpha=0.01)
    np.testing.assert_allclose(
        column.coef, reference(np.asarray(x[:, :1]), np.asarray(y), 0.01)[0], rtol=1e-4
    )
    twins = lasso.fit(jnp.concatenate([x, x], 1), y, alpha=0.1)
    single = lasso.fit(x, y, alpha=0.1)
    assert twins.converged
    np.testing.assert_allclose(
        lasso.predict(twins, jnp.concatenate([x, x], 1)),
        lasso.predict(single, x),
        atol=2e-2,  # the dual gap of 1e-4 allows this
    )


def test_without_penalty_it_is_least_squares():
    x, y = diabetes()
    model = lasso.fit(jnp.asarray(x), jnp.asarray(y), alpha=0.0)
    expected = linear_model.LinearRegression().fit(x.astype(float), y).coef_
    assert model.converged
    np.testing.assert_allclose(model.coef, expected, rtol=1e-3, atol=1e-4)


def test_says_when_it_was_cut_short():
    x, y = (jnp.asarray(a) for a in wide())
    model = lasso.fit(x, y, alpha=0.01, max_iter=1)
    assert not model.converged
    assert model.dual_gap > 0


def test_rejects_wrong_arguments():
    x, y = (jnp.asarray(a) for a in diabetes())
    with pytest.raises(ValueError, match="alpha must be at least 0; got -1"):
        lasso.fit(x, y, alpha=-1.0)
    with pytest.raises(ValueError, match="precompute must be one of"):
        lasso.fit(x, y, precompute="maybe")
    with pytest.raises(ValueError, match="max_iter must be at least 1; got 0"):
        lasso.fit(x, y, max_iter=0)
