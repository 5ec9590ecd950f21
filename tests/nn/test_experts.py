from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import sharding
from jaxml.nn import experts, rules
from jaxml.nn.experts import Experts
from jaxml.nn.feed_forward import GatedFeedForward

EXPERT = partial(GatedFeedForward, 6)
MASK = jnp.arange(9)[None] < jnp.array([[9], [5]])


@pytest.fixture(scope="module")
def mixture():
    x = jax.random.normal(jax.random.key(0), (2, 9, 8))
    variables = jax.jit(Experts(EXPERT, 4).init)(jax.random.key(1), x)
    return x, variables


def run(variables, x, mask=None, **fields):
    model = Experts(EXPERT, 4, **fields)
    return jax.jit(model.apply)(variables, x, mask=mask)


def by_hand(variables, x, top_k, capacity=None, mask=None):
    """Token by token, first choices of all tokens before second ones."""
    params, out = variables["params"], np.zeros(x.shape)
    expert = jax.jit(EXPERT().apply)
    said = np.stack(
        [
            expert({"params": jax.tree.map(lambda p, e=e: p[e], params["experts"])}, x)
            for e in range(4)
        ]
    )
    for row in range(x.shape[0]):
        logits = np.asarray(x[row] @ params["router"]["kernel"], np.float64)
        weight = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        order = np.argsort(-weight, -1)[:, :top_k]
        room = np.full(4, capacity or 99)
        for choice in range(top_k):
            for token in range(x.shape[1]):
                e = order[token, choice]
                if (mask is None or mask[row, token]) and room[e] > 0:
                    room[e] -= 1
                    share = weight[token, e] / weight[token, order[token]].sum()
                    out[row, token] += share * said[e, row, token]
    return out


@pytest.mark.parametrize("mask", [None, MASK], ids=["full", "padded"])
@pytest.mark.parametrize("capacity", [None, 9, 3, 1])
def test_equals_token_by_token(mixture, capacity, mask):
    x, variables = mixture
    got = run(variables, x, mask, capacity=capacity)
    expected = by_hand(variables, x, 2, capacity, mask)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_capacity_may_be_a_share():
    room = lambda capacity, t: Experts(EXPERT, 4, 2, capacity)._room(t)
    assert room(1.0, 8) == 4
    assert room(1.25, 8) == 5
    assert room(9.0, 8) == room(99, 8) == room(None, 8) == 8


def test_gradients_agree_and_reach_the_router(mixture):
    x, variables = mixture

    def slope(capacity):
        loss = lambda v: jnp.sin(
            Experts(EXPERT, 4, capacity=capacity).apply(v, x)
        ).sum()
        return jax.jit(jax.grad(loss))(variables)

    dense, sparse = slope(None), slope(9)
    assert np.any(dense["params"]["router"]["kernel"] != 0)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, sparse, dense)


def test_experts_split_over_devices_agree(mixture):
    x, variables = mixture
    mesh = sharding.mesh(data=2, model=4)
    where = sharding.shardings(
        variables, rules.tensor_parallel(), mesh, every_rule=False
    )
    assert where["params"]["experts"]["up"]["kernel"].spec[0] == "model"
    laid = jax.device_put(variables, where)
    rows = jax.device_put(x, sharding.batch(mesh))
    for capacity in (None, 4):
        got = run(laid, rows, capacity=capacity)
        expected = run(variables, x, capacity=capacity)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_auxiliary_losses_are_their_formulas(mixture):
    x, variables = mixture
    _, state = Experts(EXPERT, 4).apply(variables, x, mutable=["router"])
    logits = state["router"]["logits"][0]
    real = np.asarray(logits)[np.asarray(MASK)]
    share = np.exp(real) / np.exp(real).sum(-1, keepdims=True)
    chosen = np.argsort(-real, -1)[:, :2]
    sent = np.bincount(chosen.ravel(), minlength=4) / len(real)
    expected = 4 * (sent * share.mean(0)).sum()
    got = experts.load_balance(logits, top_k=2, mask=MASK)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    layers = jnp.stack([logits, logits])
    np.testing.assert_allclose(
        experts.load_balance(layers, top_k=2, mask=MASK), expected, rtol=1e-5
    )
    even = jnp.zeros((4, 4)) + jnp.eye(4)
    np.testing.assert_allclose(experts.load_balance(even, top_k=1), 1, rtol=1e-6)
    total = np.log(np.exp(real).sum(-1))
    np.testing.assert_allclose(
        experts.router_z(logits, mask=MASK), (total**2).mean(), rtol=1e-5
    )


def test_jitter_draws_in_training_alone(mixture):
    x, variables = mixture
    model = Experts(EXPERT, 4, jitter=0.5)
    loud = model.apply(variables, x, train=True, rngs={"dropout": jax.random.key(0)})
    assert not np.allclose(loud, model.apply(variables, x), atol=1e-3)
    assert set(jax.eval_shape(model.init, jax.random.key(0), x)) == {"params"}


def test_rejects():
    x = jnp.ones((1, 2, 8))
    for fields, message in (
        ({"top_k": 5}, "top_k must be from 1 to 4; got 5"),
        ({"capacity": 0}, "capacity must be above 0; got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(Experts(EXPERT, 4, **fields).init, jax.random.key(0), x)
