"""Numbers that the book prints, exact where its data come from a seed."""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

from jaxml.models.classical import elastic_net, lasso, least_squares, logistic, ridge


def line(m, seed=42):
    rng = np.random.RandomState(seed)
    x = 2 * rng.rand(m, 1)
    return x, (4 + 3 * x + rng.randn(m, 1))[:, 0]


def twenty():
    rng = np.random.RandomState(42)
    x = 3 * rng.rand(20, 1)
    return x, (1 + 0.5 * x + rng.randn(20, 1) / 1.5)[:, 0]


def f32(*arrays):
    return [jnp.asarray(np.asarray(array, np.float32)) for array in arrays]


def test_normal_equation():
    model = least_squares.fit(*f32(*line(100)))
    np.testing.assert_allclose(model.intercept, 4.21509616, rtol=1e-6)
    np.testing.assert_allclose(model.coef, [2.77011339], rtol=1e-6)


def test_batch_gradient_descent_ends_there_too():
    x, y = f32(*line(100))
    x = jnp.concatenate([jnp.ones((100, 1)), x], 1)
    slope = jax.grad(lambda theta: ((x @ theta - y) ** 2).mean())
    step = lambda theta, _: (theta - 0.1 * slope(theta), None)
    theta, _ = jax.lax.scan(step, jnp.zeros(2), length=1000)
    np.testing.assert_allclose(theta, [4.21509616, 2.77011339], rtol=1e-5)


def test_polynomial_of_degree_two():
    rng = np.random.RandomState(42)
    x = 6 * rng.rand(100, 1) - 3
    y = (0.5 * x**2 + x + 2 + rng.randn(100, 1))[:, 0]
    model = least_squares.fit(*f32(np.concatenate([x, x**2], 1), y))
    np.testing.assert_allclose(model.intercept, 1.78134581, rtol=1e-6)
    np.testing.assert_allclose(model.coef, [0.93366893, 0.56456263], rtol=1e-6)


def test_penalised_lines():
    x, y = f32(*twenty())
    at = jnp.array([[1.5]])
    found = ridge.predict(ridge.fit(x, y, alpha=0.1), at)
    np.testing.assert_allclose(found, [1.55325833], rtol=1e-6)
    found = lasso.predict(lasso.fit(x, y, alpha=0.1), at)
    np.testing.assert_allclose(found, [1.53788174], atol=1e-4)
    model = elastic_net.fit(x, y, alpha=0.1, l1_ratio=0.5)
    np.testing.assert_allclose(elastic_net.predict(model, at), [1.54333232], atol=1e-4)


def test_softmax_on_iris():
    data = load_iris()
    x, _, y, _ = train_test_split(data.data[:, 2:], data.target, random_state=42)
    model = logistic.fit(*f32(x), jnp.asarray(y), n_classes=3, C=30.0)
    found = logistic.predict_proba(model, jnp.array([[5.0, 2.0]]))
    np.testing.assert_allclose(np.round(found, 2), [[0.0, 0.04, 0.96]], atol=1e-6)


def test_boundary_on_iris():
    data = load_iris()
    x, _, y, _ = train_test_split(
        data.data[:, 3:], (data.target == 2).astype(int), random_state=42
    )
    model = logistic.fit(*f32(x), jnp.asarray(y))
    at = np.linspace(0, 3, 1000)  # the grid on which the book looks for it
    chance = logistic.predict_proba(model, *f32(at[:, None]))[:, 1]
    np.testing.assert_allclose(at[np.asarray(chance) >= 0.5][0], 1.6516516, atol=1e-6)
