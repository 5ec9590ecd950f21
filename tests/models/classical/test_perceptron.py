import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import Perceptron

from jaxml.models.classical import perceptron


@pytest.fixture
def data():
    x, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return x[order], y[order]


class TestParity:
    @pytest.mark.parametrize("penalty", [None, "l2", "l1"])
    @pytest.mark.parametrize("classes", [2, 3])
    def test_coefficients(self, data, classes, penalty, key):
        x, y = (part[data[1] < classes] for part in data)
        options = {"shuffle": False, "penalty": penalty, "alpha": 1e-3, "eta0": 0.5}
        other = Perceptron(**options).fit(x, y)
        with jax.enable_x64(True):
            rows = jnp.array(x)
            model = perceptron.fit(
                rows, jnp.array(y), key=key, n_classes=classes, **options
            )
            np.testing.assert_allclose(model.coef, other.coef_, atol=1e-9)
            np.testing.assert_allclose(model.intercept, other.intercept_, atol=1e-9)
            assert (int(model.n_iter), int(model.t)) == (other.n_iter_, other.t_)
            assert bool(model.converged)
            values = perceptron.decision_function(model, rows)
            np.testing.assert_allclose(values, other.decision_function(x), atol=1e-8)
            labels = perceptron.predict(model, rows)
            np.testing.assert_array_equal(labels, other.predict(x))

    def test_more_rows(self, data, key):
        x, y = data
        other = Perceptron(shuffle=False)
        with jax.enable_x64(True):
            model = perceptron.init(4, n_classes=3, dtype=x.dtype)
            for half in (slice(0, 80), slice(80, 150)):
                other.partial_fit(x[half], y[half], classes=[0, 1, 2])
                rows = jnp.array(x[half]), jnp.array(y[half])
                model = perceptron.partial_fit(model, *rows, key=key, shuffle=False)
            np.testing.assert_allclose(model.coef, other.coef_, atol=1e-9)
            assert int(model.t) == other.t_ == 151


class TestProperties:
    def test_separable_rows_end_on_their_sides(self, key):
        x = jax.random.normal(key, (40, 3))
        y = (x @ jnp.array([1.0, -2.0, 0.5]) > 0).astype(int)
        model = perceptron.fit(x, y, key=key, tol=None, max_iter=200)
        np.testing.assert_array_equal(perceptron.predict(model, x), y)

    def test_the_rate_scales_the_model(self, data, key):
        x, y = jnp.array(data[0], jnp.float32), jnp.array(data[1])
        one, two = (
            perceptron.fit(x, y, key=key, n_classes=3, eta0=eta0, tol=None, max_iter=3)
            for eta0 in (1.0, 2.0)
        )
        np.testing.assert_array_equal(2 * one.coef, two.coef)


def test_rejects_a_rate_of_zero(data, key):
    x, y = jnp.array(data[0], jnp.float32), jnp.array(data[1])
    with pytest.raises(ValueError, match="eta0 must be above 0"):
        perceptron.fit(x, y, key=key, n_classes=3, eta0=0.0)
