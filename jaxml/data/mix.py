"""Mixtures of the images and labels of a batch: functions of (key, images, labels).

    images, labels = mixup(key, images, jax.nn.one_hot(labels, 10), alpha=0.2)

Each image is mixed with another of its batch, by one share for all. A row of weight 0
repeats a real one (`jaxml.data.loader`), so it may be mixed in. Letters: n images,
h rows, w columns, c channels, k classes.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxml.data.augment import box

__all__ = ["cutmix", "mixup"]

Images = Float[Array, "n h w c"]
Labels = Float[Array, "n k"]
Number = float | Float[Array, ""]


def mixup(
    key: Key[Array, ""], images: Images, labels: Labels, *, alpha: Number = 0.2
) -> tuple[Images, Labels]:
    """Average each image, and its label, with another one.

    Args:
        key: random key.
        images: floats of any range.
        labels: probabilities of the classes, e.g. one-hot.
        alpha: the share of the first image is Beta(alpha, alpha): 0 leaves all as it
            is, 1 makes every share as likely.

    Returns:
        Images and labels of the same shapes.

    References:
        Zhang et al., 2018. mixup: beyond empirical risk minimization.
        arXiv:1710.09412, eq. 1.
    """
    _check(images, labels)
    key_share, key_other = jax.random.split(key)
    share = _share(key_share, alpha)
    other = jax.random.permutation(key_other, len(images))
    return tuple(
        (share * values + (1 - share) * values[other]).astype(values.dtype)
        for values in (images, labels)
    )


def cutmix(
    key: Key[Array, ""], images: Images, labels: Labels, *, alpha: Number = 1.0
) -> tuple[Images, Labels]:
    """Paste a box of another image; labels are shared by area.

    Args:
        key: random key.
        images: floats of any range.
        labels: probabilities of the classes, e.g. one-hot.
        alpha: the part that is not pasted, but for what the box loses at the edges, is
            Beta(alpha, alpha): 0 leaves all as it is.

    Returns:
        Images and labels of the same shapes.

    References:
        Yun et al., 2019. CutMix: regularization strategy to train strong classifiers
        with localizable features. arXiv:1905.04899, eq. 1 and 2.
    """
    _check(images, labels)
    key_share, key_other, key_box = jax.random.split(key, 3)
    size = jnp.array(images.shape[1:3])
    sides = jnp.sqrt(1 - _share(key_share, alpha)) * size  # eq. 2
    center = jax.random.randint(key_box, (2,), 0, size)
    pasted = box(images.shape[1:3], center, sides.astype(int))
    other = jax.random.permutation(key_other, len(images))
    images = jnp.where(pasted[None, :, :, None], images[other], images)
    share = 1 - pasted.mean()
    labels = share * labels + (1 - share) * labels[other]
    return images, labels


def _share(key, alpha):
    """A draw of Beta(alpha, alpha); 1 for alpha = 0, its limit up to a swap."""
    alpha = jnp.asarray(alpha, float)
    tiny = jnp.finfo(alpha.dtype).tiny
    drawn = jax.random.beta(key, jnp.maximum(alpha, tiny), jnp.maximum(alpha, tiny))
    return jnp.where(alpha > 0, drawn, 1)


def _check(images, labels):
    if images.ndim != 4 or labels.ndim != 2 or len(images) != len(labels):
        raise ValueError(
            "images must be [n, height, width, channels] and labels [n, classes], e.g. "
            f"one-hot; got {images.shape} and {labels.shape}"
        )
    for name, values in (("images", images), ("labels", labels)):
        if not jnp.issubdtype(values.dtype, jnp.floating):
            raise ValueError(f"{name} must hold floats; got {values.dtype}")
