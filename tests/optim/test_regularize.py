"""Decay, penalties, norms and clipping against torch and against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml.optim import optimizers, regularize


def params():
    return {
        "Dense_0": {"kernel": jnp.full((3, 2), -2.0), "bias": jnp.full(2, 5.0)},
        "Conv_0": {"kernel": jnp.full((3, 3, 1, 4), 0.5), "bias": jnp.zeros(4)},
        "LayerNorm_0": {"scale": jnp.ones(2), "bias": jnp.zeros(2)},
        "attention": {
            "query": {"kernel": jnp.ones((2, 2, 1)), "bias": jnp.ones((2, 1))}
        },
        "Embed_0": {"embedding": jnp.ones((5, 2))},
        "temperature": jnp.array(3.0),
    }


def test_masks_go_by_name_and_rank():
    assert regularize.decay_mask(params()) == {
        "Dense_0": {"kernel": True, "bias": False},
        "Conv_0": {"kernel": True, "bias": False},
        "LayerNorm_0": {"scale": False, "bias": False},
        "attention": {"query": {"kernel": True, "bias": False}},
        "Embed_0": {"embedding": True},
        "temperature": False,
    }
    assert not regularize.kernel_mask(params())["Embed_0"]["embedding"]
    assert regularize.kernel_mask(params())["Conv_0"]["kernel"]


def test_penalties_are_those_of_keras():
    small = {"Dense_0": params()["Dense_0"]}
    # 6 weights of -2; the bias counts only without a mask
    assert regularize.l1(small, 0.1) == pytest.approx(1.2)
    assert regularize.l2(small, 0.1) == pytest.approx(2.4)
    assert regularize.l1_l2(small, l1=0.1, l2=0.01) == pytest.approx(1.44)
    assert regularize.l2(small, 0.1, mask=None) == pytest.approx(2.4 + 5.0)
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), small)
    assert regularize.l2(half, 0.1).dtype == jnp.float32
    grads = jax.grad(regularize.l2)(small, 0.1)
    np.testing.assert_allclose(grads["Dense_0"]["kernel"], -0.4, rtol=1e-6)
    np.testing.assert_array_equal(grads["Dense_0"]["bias"], 0.0)


def test_l2_gradient_sees_every_parameter_unless_masked():
    zero = jax.tree.map(jnp.zeros_like, params())
    tx = regularize.l2_gradient(0.5)
    got, _ = tx.update(zero, tx.init(params()), params())
    jax.tree.map(lambda g, p: np.testing.assert_allclose(g, 0.5 * p), got, params())
    tx = regularize.l2_gradient(0.5, regularize.decay_mask)
    got, _ = tx.update(zero, tx.init(params()), params())
    np.testing.assert_array_equal(got["Dense_0"]["bias"], 0.0)


@pytest.mark.parametrize("scale", [1e-6, 0.01, 1.0, 100.0])
def test_clips_as_torch(scale):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    grads = [scale * rng.normal(size=s).astype(np.float32) for s in [(4, 3), (3,)]]
    weights = [torch.nn.Parameter(torch.zeros(g.shape)) for g in grads]
    limit = min(1.5, 2 * scale)  # a tiny one shows the 1e-6 that is added to the norm
    for clip, reference in [
        (
            regularize.clip_norm(limit),
            lambda w: torch.nn.utils.clip_grad_norm_(w, limit),
        ),
        (regularize.clip_value(0.7), lambda w: torch.nn.utils.clip_grad_value_(w, 0.7)),
    ]:
        for weight, grad in zip(weights, grads, strict=True):
            weight.grad = torch.tensor(grad)
        reference(weights)
        got, _ = clip.update([jnp.array(g) for g in grads], clip.init(grads))
        for weight, g in zip(weights, got, strict=True):
            np.testing.assert_allclose(g, weight.grad.numpy(), rtol=1e-6)


def test_max_norm_holds_after_every_step():
    shapes = {"a": {"kernel": (6, 4)}, "b": {"kernel": (3, 3, 2, 5), "bias": (5,)}}
    leaves, structure = jax.tree.flatten(shapes, is_leaf=lambda s: isinstance(s, tuple))
    keys = jax.random.split(jax.random.key(0), len(leaves))
    draws = [jax.random.normal(k, s) for k, s in zip(keys, leaves, strict=True)]
    weights = jax.tree.unflatten(structure, draws)
    plain = optimizers.sgd(0.1)
    tx = optax.chain(plain, regularize.max_norm(1.0))
    updates, _ = tx.update(weights, tx.init(weights), weights)
    new = optax.apply_updates(weights, updates)
    free = jax.tree.map(lambda w: 0.9 * w, weights)
    np.testing.assert_allclose(new["b"]["bias"], free["b"]["bias"], rtol=1e-6)
    for layer in ("a", "b"):
        want = np.asarray(free[layer]["kernel"])
        want = want.reshape(-1, want.shape[-1])
        got = np.asarray(new[layer]["kernel"]).reshape(want.shape)
        norms = np.linalg.norm(want, axis=0)
        assert norms.max() > 1
        # The direction stays, the norm is cut.
        np.testing.assert_allclose(got, want * np.minimum(1, 1 / norms), atol=1e-6)
    small = jax.tree.map(lambda w: 1e-3 * w, weights)
    updates, _ = tx.update(small, tx.init(small), small)
    untouched, _ = plain.update(small, plain.init(small), small)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), updates, untouched
    )
    zero = jax.tree.map(jnp.zeros_like, weights)
    updates, _ = tx.update(zero, tx.init(zero), zero)
    assert all((u == 0).all() for u in jax.tree.leaves(updates))


@pytest.mark.parametrize("make", [regularize.clip_norm, regularize.max_norm])
def test_rejects_a_limit_that_is_not_positive(make):
    with pytest.raises(ValueError, match="limit must be positive; got 0"):
        make(0.0)


def test_rejects_max_norm_without_parameters():
    tx = regularize.max_norm(1.0)
    with pytest.raises(ValueError, match="max_norm needs params"):
        tx.update(params(), tx.init(params()))
