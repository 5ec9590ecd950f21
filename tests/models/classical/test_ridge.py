"""Ridge and least squares against scikit-learn, and what they promise beyond it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn import linear_model
from sklearn.datasets import load_diabetes

from jaxml.models.classical import least_squares, ridge


@pytest.fixture(scope="module")
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return (20 * x).astype(np.float32), y.astype(np.float32)


@pytest.fixture(scope="module")
def weight():
    return np.random.default_rng(0).integers(0, 4, 442).astype(np.float32)


def objective(x, y, w, coef, intercept, alpha):
    left = (
        y - x.astype(float) @ np.asarray(coef, float).T - np.asarray(intercept, float)
    )
    return (w * left**2).sum() + alpha * (np.asarray(coef, float) ** 2).sum()


class TestParity:
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("weighted", [True, False])
    @pytest.mark.parametrize("alpha", [0.0, 1.0, 300.0])
    def test_ridge(self, diabetes, weight, alpha, weighted, fit_intercept):
        x, y = diabetes
        w = weight if weighted else np.ones_like(weight)
        ours = ridge.fit(
            jnp.array(x),
            jnp.array(y),
            alpha=alpha,
            fit_intercept=fit_intercept,
            sample_weight=jnp.array(w) if weighted else None,
        )
        theirs = linear_model.Ridge(alpha=alpha, fit_intercept=fit_intercept)
        theirs.fit(x, y, w)
        exact = linear_model.Ridge(alpha=alpha, fit_intercept=fit_intercept)
        exact.fit(x.astype(float), y.astype(float), w)
        # float32 against float64: the condition of these ten columns is 20.
        np.testing.assert_allclose(ours.coef, exact.coef_, rtol=2e-4)
        np.testing.assert_allclose(ours.intercept, exact.intercept_, rtol=1e-4)
        at = lambda c, i: objective(x, y, w, c, i, alpha)
        best = at(exact.coef_, exact.intercept_)
        assert at(ours.coef, ours.intercept) <= best * (1 + 1e-6)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_least_squares(self, diabetes, weight, fit_intercept):
        x, y = diabetes
        w = jnp.array(weight)
        data = jnp.array(x), jnp.array(y)
        ours = least_squares.fit(*data, fit_intercept=fit_intercept, sample_weight=w)
        theirs = linear_model.LinearRegression(fit_intercept=fit_intercept)
        theirs.fit(x.astype(float), y, weight)
        np.testing.assert_allclose(ours.coef, theirs.coef_, rtol=2e-4)
        np.testing.assert_allclose(ours.intercept, theirs.intercept_, rtol=1e-4)
        np.testing.assert_allclose(ours.singular, theirs.singular_, rtol=1e-3)
        assert int(ours.rank) == theirs.rank_
        predicted = least_squares.predict(ours, data[0])
        np.testing.assert_allclose(predicted, theirs.predict(x), rtol=1e-4)

    def test_several_targets_and_alphas(self, diabetes):
        x, y = diabetes
        targets = np.stack([y, -y, y**2 / 100], 1)
        alphas = np.array([0.1, 1, 10], np.float32)
        theirs = linear_model.Ridge(alpha=alphas).fit(x.astype(float), targets)
        ours = ridge.fit(jnp.array(x), jnp.array(targets), alpha=jnp.array(alphas))
        np.testing.assert_allclose(ours.coef, theirs.coef_, rtol=3e-4)
        np.testing.assert_allclose(ours.intercept, theirs.intercept_, rtol=1e-4)

    @pytest.mark.parametrize("rows", [442, 8])  # 8: more columns than rows
    def test_path_is_each_fit(self, diabetes, rows):
        x, y = (jnp.array(part[:rows]) for part in diabetes)
        alphas = jnp.array([0.1, 1.0, 100.0])
        path = ridge.path(x, y, alphas=alphas)
        for index, alpha in enumerate(alphas):
            one = ridge.fit(x, y, alpha=alpha)
            np.testing.assert_allclose(path.coef[index], one.coef, atol=1e-3)

    @pytest.mark.parametrize("alpha", [0.0, 1.0])
    def test_more_columns_than_rows(self, alpha):
        x = np.random.default_rng(0).normal(size=(12, 30)).astype(np.float32)
        y = x[:, 0] + 1
        ours = ridge.fit(jnp.array(x), jnp.array(y), alpha=alpha)
        peer = (
            linear_model.Ridge(alpha=alpha)
            if alpha
            else linear_model.LinearRegression()
        )
        theirs = peer.fit(x.astype(float), y)
        np.testing.assert_allclose(ours.coef, theirs.coef_, atol=1e-5)

    @pytest.mark.parametrize("shift", [0.0, 1e3])
    def test_float32_is_as_accurate_as_theirs(self, shift):
        rng = np.random.default_rng(1)
        turn = np.linalg.qr(rng.normal(size=(10, 10)))[0]
        x = (rng.normal(size=(500, 10)) * np.logspace(0, -2, 10)) @ turn + shift
        x = x.astype(np.float32)
        y = (x.sum(1) + rng.normal(size=500)).astype(np.float32)
        exact = linear_model.LinearRegression().fit(x.astype(float), y).coef_
        theirs = linear_model.LinearRegression().fit(x, y).coef_
        ours = least_squares.fit(jnp.array(x), jnp.array(y)).coef
        wrong = lambda coef: np.abs(np.asarray(coef) - exact).max()
        assert wrong(ours) <= 2 * max(wrong(theirs), 1e-5 * np.abs(exact).max())


class TestMoments:
    def test_folds_by_subtraction(self, diabetes):
        x, y = (jnp.array(part) for part in diabetes)
        whole = ridge.stats(x, y)
        rest = ridge.subtract(whole, ridge.stats(x[:100], y[:100]))
        model = ridge.solve(rest, alpha=1.0)
        direct = ridge.fit(x[100:], y[100:], alpha=1.0)
        np.testing.assert_allclose(model.coef[0], direct.coef, atol=1e-3)
        np.testing.assert_allclose(model.intercept[0], direct.intercept, rtol=1e-5)

    def test_merged_parts_are_the_whole(self, diabetes, weight):
        x, y = (jnp.array(part) for part in diabetes)
        w = jnp.array(weight)
        parts = [ridge.stats(x[i::3], y[i::3], w[i::3]) for i in range(3)]
        empty = ridge.stats(x[:5], y[:5], jnp.zeros(5))
        whole = ridge.merge(ridge.merge(parts[0], parts[1]), parts[2])
        for total in (whole, ridge.merge(whole, empty), ridge.merge(empty, whole)):
            model = ridge.solve_path(total, alphas=jnp.array([0.1, 2.0]))
            direct = ridge.fit(x, y, alpha=2.0, sample_weight=w)
            np.testing.assert_allclose(model.coef[1, 0], direct.coef, atol=2e-3)

    def test_through_the_origin(self, diabetes):
        x, y = (jnp.array(part) for part in diabetes)
        model = least_squares.solve(least_squares.stats(x, y), fit_intercept=False)
        direct = least_squares.fit(x, y, fit_intercept=False)
        np.testing.assert_allclose(model.coef[0], direct.coef, atol=2e-3)


class TestGradients:
    """Against central differences in float64: 1e-5 is their own error."""

    @pytest.mark.parametrize("rows", [40, 4])
    def test_through_the_fit(self, diabetes, rows):
        with jax.enable_x64(True):
            x, y = (jnp.array(part[:rows], jnp.float64) for part in diabetes)
            x = x[:, :6]
            w = jnp.linspace(0.5, 2.0, rows)

            def loss(*data):  # check_grads hands numpy arrays over
                alpha, x, y, w = map(jnp.asarray, data)
                model = ridge.fit(x, y, alpha=alpha, sample_weight=w)
                return (ridge.predict(model, x[:3] + 1) ** 2).sum() / 1e4

            check_grads(loss, (jnp.array(0.7), x, y, w), order=1, rtol=1e-5, atol=1e-5)

    def test_second_derivative_and_path(self, diabetes):
        with jax.enable_x64(True):
            x, y = (jnp.array(part[:40], jnp.float64) for part in diabetes)
            curve = lambda a: ridge.fit(x, y, alpha=a).coef[0]
            step = 1e-4
            slopes = [jax.grad(curve)(1.0 + s) for s in (-step, step)]
            want = (slopes[1] - slopes[0]) / (2 * step)
            np.testing.assert_allclose(jax.hessian(curve)(1.0), want, rtol=1e-6)
            alphas = jnp.array([0.5, 1.0])
            along = lambda a: ridge.path(x, y, alphas=a).coef[:, 0].sum()
            each = [jax.grad(curve)(alpha) for alpha in alphas]
            np.testing.assert_allclose(jax.grad(along)(alphas), each, rtol=1e-8)


class TestDegenerate:
    def test_collinear_columns_get_the_least_norm(self, diabetes):
        x, y = diabetes
        x = np.concatenate([x[:, :3], x[:, :1] + x[:, 1:2], np.ones((442, 1))], 1)
        x = x.astype(np.float32)
        ours = least_squares.fit(jnp.array(x), jnp.array(y))
        theirs = linear_model.LinearRegression().fit(x.astype(float), y)
        assert int(ours.rank) == 3
        np.testing.assert_allclose(ours.coef, theirs.coef_, rtol=1e-3, atol=1e-2)

    def test_no_weight_at_all_is_not_converged(self, diabetes):
        x, y = (jnp.array(part) for part in diabetes)
        assert not ridge.fit(x, y, sample_weight=jnp.zeros(442)).converged

    def test_one_column_and_one_row(self):
        one = ridge.fit(jnp.ones((1, 1)), jnp.array([3.0]))
        assert (float(one.coef[0]), float(one.intercept)) == (0.0, 3.0)

    def test_constant_column_gets_nothing(self):
        x = jnp.stack([jnp.full(20, 0.1), jnp.arange(20.0)], 1)
        model = least_squares.fit(x, 2 * x[:, 1] + 5)
        np.testing.assert_allclose(model.coef, [0.0, 2.0], atol=1e-5)
        assert int(model.rank) == 1


@pytest.mark.usefixtures("unchecked")
class TestErrors:
    def test_rejects_negative_alpha(self):
        with pytest.raises(ValueError, match="alpha must be at least 0; got -1"):
            ridge.fit(jnp.ones((3, 2)), jnp.ones(3), alpha=-1.0)

    def test_rejects_alphas_that_are_not_the_targets(self):
        with pytest.raises(ValueError, match=r"each target \[2\]; got \[3\]"):
            ridge.fit(jnp.ones((3, 2)), jnp.ones((3, 2)), alpha=jnp.ones(3))

    def test_rejects_integers(self):
        with pytest.raises(ValueError, match=r"floating-point \[n, d\]; got int32"):
            ridge.fit(jnp.ones((3, 2), int), jnp.ones(3))

    def test_rejects_weights_of_another_length(self):
        with pytest.raises(ValueError, match="each of the 3 rows"):
            least_squares.fit(jnp.ones((3, 2)), jnp.ones(3), sample_weight=jnp.ones(2))
