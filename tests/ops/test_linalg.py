"""The inverse without LAPACK."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.ops import linalg


@pytest.mark.parametrize("d", [1, 2, 30])
def test_inverse_and_pivots(d):
    root = np.random.default_rng(0).normal(size=(3 * d, d))
    matrix = np.corrcoef(root.T).reshape(d, d)
    found, pivots = linalg.inverse(jnp.asarray(matrix, jnp.float32))
    np.testing.assert_allclose(found, np.linalg.inv(matrix), rtol=2e-4, atol=2e-5)
    factor = np.linalg.cholesky(matrix)
    np.testing.assert_allclose(pivots, np.diag(factor) ** 2, rtol=1e-4)


def test_singular_matrix_shows_in_the_pivots():
    matrix = jnp.ones((3, 3))
    assert not (linalg.inverse(matrix)[1] > 1e-6).all()
