"""Our losses, and those of optax that we point to, against torch's values."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml import losses


@pytest.fixture(scope="module")
def case(parity_folder):
    sys.path.insert(0, str(parity_folder / "open"))
    from safetensors.numpy import load_file

    return load_file(parity_folder / "open" / "x_losses.safetensors")


def mean_over_labels(x, y):
    """torch leaves out label -100; so does a weight of zero."""
    return losses.weighted_mean(losses.cross_entropy(x, y), (y != -100).astype(float))


def sum_over_labels(x, y):
    return jnp.where(y == -100, 0, losses.cross_entropy(x, y)).sum()


def smooth_weighted(x, y, w):
    """F.cross_entropy(weight=w, label_smoothing=0.1), from our parts."""
    targets = optax.smooth_labels(jax.nn.one_hot(y, 5), 0.1) * w[None]
    values = losses.soft_cross_entropy(x, targets)
    seen = y != -100
    return (values * seen).sum() / (w[y] * seen).sum()


def clip_loss(a, b):
    """Both directions of CLIP's contrastive loss."""
    logits, labels = 3 * a @ b.T, jnp.arange(4)
    towards = losses.cross_entropy(logits, labels).mean()
    return (towards + losses.cross_entropy(logits.T, labels).mean()) / 2


def cosine_embedding(a, b, y):
    cosine = optax.cosine_similarity(a, b)
    return jnp.where(y > 0, 1 - cosine, jnp.maximum(0, cosine - 0.2)).mean()


def ctc(x, t, il, tl):
    pad = lambda length, size: jnp.arange(size)[None] >= length[:, None]
    values = optax.ctc_loss(
        x.transpose(1, 0, 2), pad(il, 12).astype(float), t, pad(tl, 4).astype(float)
    )
    return (values / tl).mean()


FORMULAS = {
    "ce": mean_over_labels,
    "ce_smooth_weight": smooth_weighted,
    "ce_2d_none": lambda x, t: losses.cross_entropy(jnp.moveaxis(x, 1, -1), t),
    "nll": sum_over_labels,
    "smooth_l1_b05": lambda x, t: losses.smooth_l1(x, t, beta=0.5).mean(),
    "kl_batchmean": lambda x, p: optax.losses.kl_divergence(
        jax.nn.log_softmax(x), p
    ).mean(),
    "poisson_nll": lambda x, t: losses.poisson_nll(x, t).mean(),
    "cosine_emb": cosine_embedding,
    "hinge": lambda x, y: losses.multi_margin(x, y).mean(),
    "ctc": ctc,
    "info_nce_clip": clip_loss,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_values_and_gradients_are_those_of_torch(name, case):
    formula = FORMULAS[name]
    part = lambda kind: {
        key.split("/")[-1]: jnp.asarray(array)
        for key, array in case.items()
        if key.startswith(f"{name}/{kind}")
    }
    inputs, gradients = part("in/"), part("grad/")
    rest = {key: array for key, array in inputs.items() if key not in gradients}
    moving = {key: inputs[key] for key in gradients}
    total = jax.jit(jax.grad(lambda moving: formula(**moving, **rest).sum()))
    # torch sums in another order; CTC adds twelve steps in the log domain
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    close(formula(**inputs), case[f"{name}/out"])
    jax.tree.map(close, total(moving), gradients)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_smooth_labels_and_soft_targets_agree(smoothing, key):
    logits = jax.random.normal(key, (6, 4))
    labels = jnp.array([0, 1, 2, 3, 3, 0])
    targets = optax.smooth_labels(jax.nn.one_hot(labels, 4), smoothing)
    np.testing.assert_allclose(
        losses.cross_entropy(logits, labels, label_smoothing=smoothing),
        losses.soft_cross_entropy(logits, targets),
        rtol=1e-6,
    )


@pytest.mark.parametrize("loss", [losses.cross_entropy, losses.multi_margin])
def test_label_that_is_no_class_is_never_silent(loss):
    logits = jnp.zeros((4, 3))
    values = loss(logits, jnp.array([-1, 2, 3, -100]))
    np.testing.assert_array_equal(np.isnan(values), [True, False, True, True])


def test_weight_zero_is_an_absent_row_even_with_a_bad_label(key):
    logits = jax.random.normal(key, (4, 3))
    labels, weight = jnp.array([0, 1, -1, 7]), jnp.array([1.0, 2, 0, 0])

    def mean(logits, labels, weight):
        return losses.weighted_mean(losses.cross_entropy(logits, labels), weight)

    value, gradient = jax.value_and_grad(mean)(logits, labels, weight)
    expected = jax.value_and_grad(mean)(logits[:2], labels[:2], weight[:2])
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    np.testing.assert_allclose(gradient[:2], expected[1], rtol=1e-6)
    np.testing.assert_array_equal(gradient[2:], 0)


def test_mean_over_no_weight_is_zero_with_a_gradient_of_zero():
    mean, gradient = jax.value_and_grad(losses.weighted_mean)(jnp.ones(3), jnp.zeros(3))
    assert mean == 0
    np.testing.assert_array_equal(gradient, 0)


def test_cross_entropy_of_half_precision_is_computed_in_float32():
    logits = jnp.full((1, 50_000), 1.0, jnp.float16)
    value = losses.cross_entropy(logits, jnp.array([3]))
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, np.log(50_000), rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.smooth_l1, losses.poisson_nll])
def test_rejects_shapes_that_would_broadcast(loss):
    with pytest.raises(ValueError, match=r"one shape; got \[3, 1\] and \[3\]"):
        loss(jnp.zeros((3, 1)), jnp.zeros(3))
