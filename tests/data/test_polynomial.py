"""Products of features against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import preprocessing as sk

from jaxml.data import polynomial


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


@pytest.mark.parametrize("include_bias", [True, False])
@pytest.mark.parametrize("interaction_only", [True, False])
@pytest.mark.parametrize("degree", [1, 2, 4, (0, 2), (2, 3), (3, 3)])
def test_matches_sklearn(x, degree, interaction_only, include_bias):
    options = {"interaction_only": interaction_only, "include_bias": include_bias}
    theirs = sk.PolynomialFeatures(degree, **options).fit(x)
    np.testing.assert_array_equal(
        polynomial.powers(3, degree, **options), theirs.powers_
    )
    np.testing.assert_allclose(
        polynomial.transform(jnp.asarray(x), degree, **options),
        theirs.transform(x),
        rtol=1e-5,
    )
    features = ["a", "b", "c"]
    assert polynomial.names(features, degree, **options) == list(
        theirs.get_feature_names_out(features)
    )


@pytest.mark.parametrize("d", [1, 5])
def test_matches_sklearn_for_other_numbers_of_features(d):
    x = np.random.default_rng(1).normal(size=(4, d)).astype(np.float32)
    np.testing.assert_allclose(
        polynomial.transform(jnp.asarray(x), 3),
        sk.PolynomialFeatures(3).fit_transform(x),
        rtol=1e-5,
    )


def test_products_are_the_powers(x):
    z = polynomial.transform(jnp.asarray(x), 3)
    table = polynomial.powers(3, 3)
    expected = np.prod(x[:, None].astype(float) ** table[None], axis=2)
    np.testing.assert_allclose(z, expected, rtol=1e-5)


def test_keeps_the_precision_and_runs_under_vmap(x):
    with jax.enable_x64(True):
        assert polynomial.transform(jnp.ones((2, 2), jnp.float64)).dtype == jnp.float64
    z = jax.vmap(polynomial.transform)(jnp.stack([x, -x]))
    np.testing.assert_array_equal(z[0], polynomial.transform(jnp.asarray(x)))


@pytest.mark.parametrize("degree", [-1, (3, 2), (-1, 2)])
def test_rejects_impossible_degrees(degree):
    with pytest.raises(ValueError, match="degree must be at least 0"):
        polynomial.powers(3, degree)


def test_rejects_no_products(x):
    with pytest.raises(ValueError, match="must leave a product"):
        polynomial.transform(jnp.asarray(x), 0, include_bias=False)
