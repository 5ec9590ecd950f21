"""Gram matrices against scikit-learn, and what rounding must not do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import pairwise

from jaxml.ops import kernels

PEERS = {
    "linear": lambda x, z: pairwise.linear_kernel(x, z),
    "poly": lambda x, z: pairwise.polynomial_kernel(x, z, 2, 0.3, 0.5),
    "rbf": lambda x, z: pairwise.rbf_kernel(x, z, 0.3),
    "sigmoid": lambda x, z: pairwise.sigmoid_kernel(x, z, 0.3, 0.5),
}
OPTIONS = {"gamma": 0.3, "degree": 2, "coef0": 0.5}


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(17, 3)), rng.normal(size=(11, 3))


@pytest.mark.parametrize("kernel", kernels.KERNELS)
class TestKernels:
    def test_matches_sklearn(self, rows, kernel):
        x, z = rows
        with jax.enable_x64(True):
            ours = kernels.gram(jnp.array(x), jnp.array(z), kernel=kernel, **OPTIONS)
            np.testing.assert_allclose(ours, PEERS[kernel](x, z), rtol=1e-12)

    def test_row_and_diagonal_are_those_of_the_matrix(self, rows, kernel):
        x = jnp.array(rows[0], jnp.float32)
        matrix = kernels.gram(x, x, kernel=kernel, **OPTIONS)
        options = {"kernel": kernel} | OPTIONS
        row = kernels.row(x, x[5], **options)
        fast = kernels.row(x, x[5], squares=(x**2).sum(1), **options)
        np.testing.assert_allclose(row, matrix[5], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(fast, matrix[5], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            kernels.diagonal(x, **options), jnp.diagonal(matrix), rtol=1e-5
        )


def test_a_function_is_a_kernel(rows):
    x, z = (jnp.array(part, jnp.float32) for part in rows)

    def kernel(a, b):
        return 2 * kernels.linear(a, b)

    np.testing.assert_allclose(kernels.gram(x, z, kernel=kernel), 2 * x @ z.T, 1e-5)
    np.testing.assert_allclose(kernels.row(x, z[0], kernel=kernel), 2 * x @ z[0], 1e-5)
    np.testing.assert_allclose(
        kernels.diagonal(x, kernel=kernel), 2 * (x**2).sum(1), 1e-5
    )


def test_rbf_stays_exact_far_from_the_origin(rows):
    x = jnp.array(rows[0], jnp.float32)
    far = kernels.rbf(x + 1000, x + 1000, gamma=0.3)
    # a coordinate near 1000 keeps 6e-5; without the shift the error is above 0.1
    np.testing.assert_allclose(far, kernels.rbf(x, x, gamma=0.3), atol=1e-3)
    assert far.max() <= 1


def test_rejects_an_unknown_kernel(rows):
    x = jnp.array(rows[0], jnp.float32)
    for function in (
        lambda k: kernels.gram(x, x, kernel=k),
        lambda k: kernels.row(x, x[0], kernel=k),
        lambda k: kernels.diagonal(x, kernel=k),
    ):
        with pytest.raises(ValueError, match="kernel must be one of"):
            function("laplace")


def test_rejects_a_negative_degree(rows):
    x = jnp.array(rows[0], jnp.float32)
    with pytest.raises(ValueError, match="degree must be at least 0; got -1"):
        kernels.gram(x, x, kernel="poly", degree=-1)
