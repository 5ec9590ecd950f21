"""Mixtures: images and labels by one share, and nothing at alpha 0."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxml.data import mix


@pytest.fixture
def images():
    return jax.random.uniform(jax.random.key(8), (5, 8, 6, 3))


@pytest.fixture
def labels():
    return jax.nn.one_hot(jnp.array([0, 1, 2, 2, 3]), 4)


@pytest.fixture
def as_users_call():
    """Without the checks of the annotations, which come before ours in tests only."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


# Properties.


@pytest.mark.parametrize("mixture", [mix.mixup, mix.cutmix])
def test_mixtures_give_probabilities_or_nothing_new(images, labels, key, mixture):
    mixture = jax.jit(mixture)
    mixed, shares = mixture(key, images, labels, alpha=1.0)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    assert shares.min() >= 0
    assert mixed.shape == images.shape
    for key in jax.random.split(key, 6):
        nothing = mixture(key, images, labels, alpha=0.0)
        np.testing.assert_array_equal(nothing[0], images)
        np.testing.assert_array_equal(nothing[1], labels)


def test_mixup_mixes_images_as_labels(key):
    """With images that are their labels, both must come out alike."""
    labels = jnp.eye(6)
    mixup = jax.jit(mix.mixup)
    mixed, shares = mixup(key, labels[:, None, None, :], labels, alpha=1.0)
    np.testing.assert_allclose(mixed[:, 0, 0], shares, rtol=1e-6)
    assert len(np.unique(np.round(shares, 5))) > 2


def test_mixup_share_is_beta(images, labels):
    first = jax.jit(lambda key: mix.mixup(key, images, labels, alpha=2.0)[1][0].max())
    shares = np.asarray(jax.lax.map(first, jax.random.split(jax.random.key(1), 2000)))
    # The label of row 0 is alone: its share is 1, or max(s, 1 - s) for s of Beta(2, 2).
    mixed = shares[shares < 1]
    assert 1500 < len(mixed) < 1700  # four permutations in five move row 0
    np.testing.assert_allclose(mixed.mean(), 0.6875, atol=0.01)


def test_cutmix_labels_are_areas(key):
    """Images constant in their label: the pixels of each must be its share."""
    labels = jnp.eye(6)
    images = jnp.broadcast_to(labels[:, None, None], (6, 7, 10, 6))
    cutmix, areas = jax.jit(mix.cutmix), set()
    for key in jax.random.split(jax.random.key(0), 8):
        mixed, shares = cutmix(key, images, labels)
        np.testing.assert_allclose(mixed.mean((1, 2)), shares, atol=1e-6)
        areas.add(float(np.asarray(shares).max(1).min()))
    assert len(areas) > 4


# Errors.


@pytest.mark.parametrize("mixture", [mix.mixup, mix.cutmix])
@pytest.mark.usefixtures("as_users_call")
def test_rejects_labels_that_cannot_be_mixed(images, labels, key, mixture):
    with pytest.raises(ValueError, match=r"labels \[n, classes\], e.g. one-hot; got"):
        mixture(key, images, labels[:4])
    with pytest.raises(ValueError, match="labels must hold floats; got int32"):
        mixture(key, images, labels.astype(jnp.int32))
