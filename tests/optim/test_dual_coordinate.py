import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.svm import LinearSVC, LinearSVR

from jaxml.ops import native
from jaxml.optim import dual_coordinate
from jaxml.optim.solution import Code

HINGES, TUBES = dual_coordinate.LOSSES[:2], dual_coordinate.LOSSES[2:]


@pytest.fixture(params=["scan", "kernel"])
def form(request, monkeypatch):
    """Run a test with the scan and with the C++ kernel."""
    monkeypatch.setenv("JAXML_NATIVE", "1" if request.param == "kernel" else "0")
    if request.param == "kernel" and not native.enabled("dual_coordinate"):
        pytest.skip(native.reason("dual_coordinate"))
    return request.param


@pytest.fixture
def labels():
    x, y = load_breast_cancer(return_X_y=True)
    x = x[:50, :3]
    return (x - x.mean(0)) / x.std(0), np.where(y[:50] > 0, 1.0, -1.0)


@pytest.fixture
def targets():
    x, y = load_diabetes(return_X_y=True)
    x = x[:50, :3]
    return (x - x.mean(0)) / x.std(0), (y[:50] - y.mean()) / y.std()


def solve(x, y, cost=0.5, **options):
    """In 64 bits, by a program of its own for each form."""
    options = {"tol": 1e-9, "max_iter": 4000} | options
    return jax.jit(lambda *data: dual_coordinate.minimize(*data, **options))(
        jnp.array(x), jnp.array(y), jnp.array(cost)
    )


class TestParity:
    """The coefficients of liblinear, whose dual solvers this is, without intercept."""

    @pytest.mark.parametrize("loss", HINGES)
    def test_classifier(self, labels, loss, form):
        x, y = labels
        weight = np.random.default_rng(0).uniform(0.2, 2, len(y))
        other = LinearSVC(
            C=0.5, loss=loss, dual=True, fit_intercept=False, tol=1e-10, max_iter=10**6
        ).fit(x, y, sample_weight=weight)
        with jax.enable_x64(True):
            solution = solve(x, y, 0.5 * weight, loss=loss)
            assert int(solution.info.code) == Code.CONVERGED
            np.testing.assert_allclose(
                solution.value.coef, other.coef_.ravel(), rtol=1e-6
            )

    @pytest.mark.parametrize("loss", TUBES)
    def test_regressor(self, targets, loss, form):
        x, y = targets
        other = LinearSVR(
            C=0.5,
            loss=loss,
            epsilon=0.3,
            dual=True,
            fit_intercept=False,
            tol=1e-10,
            max_iter=10**6,
        ).fit(x, y)
        with jax.enable_x64(True):
            solution = solve(x, y, loss=loss, epsilon=0.3)
            assert int(solution.info.code) == Code.CONVERGED
            np.testing.assert_allclose(solution.value.coef, other.coef_, rtol=1e-6)


class TestProperties:
    @pytest.mark.parametrize("loss", dual_coordinate.LOSSES)
    def test_primal_and_dual_meet(self, labels, loss, form):
        x, y = labels
        epsilon = 0.2 if loss in TUBES else 0.0
        with jax.enable_x64(True):
            solution = solve(x, y, 2.0, loss=loss, epsilon=epsilon)
            beta, coef = solution.value
            ridge = 0.25 if loss.startswith("squared") else 0.0
            dual = 0.5 * (coef**2).sum() + 0.5 * ridge * (beta**2).sum()
            dual = dual - (y * beta).sum() + epsilon * jnp.abs(beta).sum()
            np.testing.assert_allclose(-dual, solution.info.objective, rtol=1e-7)

    @pytest.mark.parametrize("loss", dual_coordinate.LOSSES)
    def test_absent_rows_and_repeated_rows(self, labels, loss, form):
        x, y = labels
        times = np.random.default_rng(0).integers(0, 3, len(y))
        with jax.enable_x64(True):
            weighted = solve(x, y, 0.5 * times, loss=loss)
            repeated = solve(np.repeat(x, times, 0), np.repeat(y, times), loss=loss)
            np.testing.assert_allclose(
                weighted.value.coef, repeated.value.coef, rtol=1e-6
            )
            assert not weighted.value.beta[times == 0].any()

    def test_a_grid_is_one_program(self, labels, form):
        x, y = (jnp.array(part, jnp.float32) for part in labels)
        costs = jnp.array([0.1, 1.0])
        grid = jax.vmap(lambda c: dual_coordinate.minimize(x, y, c).value.coef)(costs)
        for coef, cost in zip(grid, costs, strict=True):
            one = dual_coordinate.minimize(x, y, cost)
            np.testing.assert_allclose(coef, one.value.coef, rtol=1e-5)

    def test_a_start_at_the_optimum_takes_one_sweep(self, labels, form):
        with jax.enable_x64(True):
            first = solve(*labels)
            again = solve(*labels, start=first.value.beta, tol=1e-6)
            assert int(again.info.n_iter) == 1

    @pytest.mark.parametrize("loss", ["hinge", "squared_epsilon_insensitive"])
    def test_derivatives(self, labels, loss, form):
        x, y = labels
        with jax.enable_x64(True):
            x, y = jnp.array(x), jnp.array(y)

            def first(scale):
                found = dual_coordinate.minimize(
                    x * scale, y, scale, loss=loss, tol=1e-12, max_iter=4000
                )
                return found.value.coef[0]

            slope = (first(0.5 + 1e-5) - first(0.5 - 1e-5)) / 2e-5
            np.testing.assert_allclose(jax.grad(first)(0.5), slope, rtol=1e-5)


class TestDegenerate:
    def test_nan_is_told(self, labels, form):
        x, y = labels
        x[3, 1] = np.nan
        solution = solve(np.float32(x), np.float32(y))
        assert int(solution.info.code) == Code.NOT_FINITE

    def test_float32_ends_at_its_floor(self, labels, form):
        x, y = np.float32(labels[0]), np.float32(labels[1])
        solution = solve(x, y, 10.0, tol=1e-5, max_iter=20000)
        assert bool(solution.info.converged)

    def test_a_bound_on_the_sweeps(self, labels, form):
        solution = solve(*(np.float32(part) for part in labels), 100.0, max_iter=2)
        assert int(solution.info.n_iter) == 2
        assert int(solution.info.code) == Code.MAX_ITER

    def test_rows_of_zeros_and_no_cost(self, form):
        x = np.zeros((4, 2), np.float32)
        y = np.float32([1, -1, 1, -1])
        for cost in (1.0, 0.0):
            solution = solve(x, y, cost)
            assert bool(solution.info.converged)
            np.testing.assert_array_equal(solution.value.coef, [0, 0])


def test_rejects_an_unknown_loss():
    with pytest.raises(ValueError, match="loss must be one of"):
        dual_coordinate.minimize(jnp.ones((2, 1)), jnp.ones(2), 1.0, loss="log")
