from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.nn import depth


class Step(nn.Module):
    """A block with a parameter, a draw, and a cache that counts its calls."""

    features: int = 4

    @nn.compact
    def __call__(self, x, *, cache=None, shift=None, train=False):
        y = nn.Dense(self.features, name="dense")(jnp.tanh(x))
        self.sow("intermediates", "inside", y)
        y = nn.Dropout(0.5)(y, deterministic=not train)
        x = x + y if shift is None else x + y + shift
        return x, None if cache is None else cache + 1


class Net(nn.Module):
    scan: bool = False
    remat: str | None = None
    block: object = Step

    @nn.compact
    def __call__(self, x, cache=None, shift=None, train=False):
        run = depth.repeat(
            self.block, 3, scan=self.scan, remat=self.remat,
            record=depth.recorder(self),
        )  # fmt: skip
        return run(x, cache=cache, shift=shift, train=train)


X = jnp.linspace(-1, 1, 8).reshape(2, 4)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(Net().init)(jax.random.key(0), X)


def test_loop_and_scan_have_the_names_that_rules_are_written_on(variables):
    assert set(variables["params"]) == {"layers_0", "layers_1", "layers_2"}
    stacked = jax.eval_shape(Net(scan=True).init, jax.random.key(0), X)
    assert stacked["params"]["layers"]["dense"]["kernel"].shape == (3, 4, 4)
    made = depth.stack(variables)
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, stacked)
    back = depth.unstack(made)
    jax.tree.map(np.testing.assert_array_equal, back, dict(variables))


def test_scanned_layers_start_from_draws_of_their_own():
    made = jax.jit(Net(scan=True).init)(jax.random.key(0), X)
    kernel = made["params"]["layers"]["dense"]["kernel"]
    assert not np.allclose(kernel[0], kernel[1])


@pytest.mark.parametrize("remat", [None, "full", "dots_saveable"])
def test_values_and_gradients_are_the_same(variables, remat):
    def loss(params, net):
        y, _ = net.apply({"params": params}, X, shift=jnp.ones_like(X))
        return jnp.sin(y).sum()

    def grad(params, **fields):
        return jax.jit(jax.value_and_grad(partial(loss, net=Net(**fields))))(params)

    value, expected = grad(variables["params"])
    same = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    for scan in (False, True):
        params = variables["params"]
        got, slope = grad(
            depth.stack(params) if scan else params, scan=scan, remat=remat
        )
        same(got, value)
        jax.tree.map(same, depth.unstack(slope) if scan else slope, expected)


def test_remat_computes_again():
    def curves(remat):
        loss = lambda v: Net(remat=remat).apply(v, X)[0].sum()
        shapes = jax.eval_shape(Net().init, jax.random.key(0), X)
        return str(jax.make_jaxpr(jax.grad(loss))(shapes)).count(" tanh ")

    assert curves("full") == 2 * curves(None)


@pytest.mark.parametrize("scan", [False, True])
def test_caches_and_records_come_back_in_order(variables, scan):
    given = dict(depth.stack(variables) if scan else variables)
    cache = jnp.array([5, 6, 7])
    cache = cache if scan else tuple(cache)
    (y, kept), state = Net(scan=scan).apply(
        given, X, cache=cache, mutable=["intermediates"]
    )
    assert [int(count) for count in kept] == [6, 7, 8]
    states = state["intermediates"]["hidden_states"]
    assert len(states) == 3
    np.testing.assert_array_equal(states[0], X)
    layers = state["intermediates"]
    inside = (
        layers["layers"]["inside"][0][2] if scan else layers["layers_2"]["inside"][0]
    )
    np.testing.assert_allclose(states[2] + inside, y, rtol=1e-6)
    assert Net(scan=scan).apply(given, X)[1] is None


def test_scanned_layers_drop_different_values():
    net = Net(scan=True)
    given = jax.tree.map(jnp.ones_like, jax.eval_shape(net.init, jax.random.key(0), X))
    run = partial(net.apply, given, X, train=True, mutable=["intermediates"])
    _, state = run(rngs={"dropout": jax.random.key(1)})
    first, second, third = state["intermediates"]["hidden_states"]
    assert not np.array_equal(second - first == 0, third - second == 0)


def test_layers_may_differ_in_a_loop(variables):
    makers = [Step, partial(Step, 4), Step]
    got, _ = Net(block=makers).apply(variables, X)
    np.testing.assert_array_equal(got, Net().apply(variables, X)[0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"remat": "dots_savable"}, "nearest: dots_saveable"),
        ({"block": (Step, Step)}, "one maker, or .in a loop. 3; got 2"),
        ({"block": (Step,) * 3, "scan": True}, "got 3 to be scanned"),
    ],
)
def test_rejects(fields, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(Net(**fields).init, jax.random.key(0), X)
