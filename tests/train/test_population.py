"""A whole run as one function: it is the loop, and a population is its runs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml import metrics
from jaxml.train import population
from jaxml.train import step as train


@pytest.fixture
def arrays(key):
    x = jax.random.normal(key, (50, 4))
    return {"x": x, "y": jnp.sin(x.sum(1))}


def loss_fn(params, extra, batch, key):
    hidden = jnp.tanh(batch["x"] @ params["in"])
    error = metrics.squared_error(hidden @ params["out"], batch["y"], batch["weight"])
    return metrics.compute(error), (extra, {"weight": error.weight})


def parts(key, rate):
    """The step and the first state of a run."""
    params = {"in": jax.random.normal(key, (4, 8)), "out": jnp.zeros(8)}
    tx = optax.adam(rate)
    return train.make_step(loss_fn, tx), train.init(params, tx, key=key)


def run(key, rate, arrays, epochs=3, **options):
    step, state = parts(key, rate)
    return population.train(
        step, state, arrays, epochs=epochs, batch_size=16, **options
    )


def assert_same(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def test_is_the_loop_over_its_batches(arrays, key):
    step, expected = parts(key, 0.01)
    step, losses = jax.jit(step), []
    for epoch in range(3):
        order = np.asarray(population.order(key, epoch, 50))
        for rows in (order[:16], order[16:32], order[32:48], order[48:]):
            batch = {name: x[rows] for name, x in arrays.items()}
            batch["weight"] = jnp.ones(len(rows))
            expected, told = step(expected, batch)
            losses.append(told["loss"])
    state, history = jax.jit(run)(key, 0.01, arrays)
    assert_same(state.params, expected.params, rtol=1e-4, atol=1e-6)
    assert_same(history["loss"].ravel(), np.array(losses), rtol=1e-4)
    assert history["loss"].shape == (3, 4)
    np.testing.assert_array_equal(history["weight"], [[16, 16, 16, 2]] * 3)


def test_two_short_runs_are_one_long_run(arrays, key):
    step, state = parts(key, 0.01)
    long, _ = run(key, 0.01, arrays, epochs=4)
    for _ in range(2):
        state, _ = population.train(step, state, arrays, epochs=2, batch_size=16)
    assert_same(state.params, long.params, rtol=1e-6)


def test_a_population_is_its_runs_one_by_one(arrays, key):
    keys, rates = jax.random.split(key, 2), jnp.array([1e-3, 1e-2, 3e-2])
    one = jax.jit(lambda key, rate: run(key, rate, arrays))
    grid = jax.vmap(jax.vmap(one, (None, 0)), (0, None))
    states, history = jax.jit(grid)(keys, rates)
    assert history["loss"].shape == (2, 3, 3, 4)
    for i in range(2):
        for j in range(3):
            alone, told = one(keys[i], rates[j])
            member = jax.tree.map(lambda x: x[i, j], states.params)  # noqa: B023
            # sums in another order, through 12 steps of Adam
            assert_same(member, alone.params, rtol=1e-3, atol=1e-5)
            assert_same(history["loss"][i, j], told["loss"], rtol=1e-3, atol=1e-6)


def test_evaluates_after_each_epoch(arrays, key):
    def evaluate(state):
        return {"loss": loss_fn(state.params, None, whole, key)[0]}

    whole = arrays | {"weight": jnp.ones(50)}
    state, history = run(key, 0.03, arrays, epochs=20, evaluate=evaluate)
    losses = history["evaluate"]["loss"]
    assert losses.shape == (20,)
    assert losses[-1] < 0.7 * losses[0]
    np.testing.assert_allclose(losses[-1], evaluate(state)["loss"], rtol=1e-6)


def test_a_row_of_weight_zero_is_never_seen(arrays, key):
    weight = jnp.ones(50).at[:10].set(0)
    broken = {name: x.at[:10].set(1e3) for name, x in arrays.items()}
    a, _ = run(key, 0.01, arrays | {"weight": weight})
    b, _ = run(key, 0.01, broken | {"weight": weight})
    assert_same(a.params, b.params, rtol=1e-6)


def test_order_is_a_permutation_of_its_own_in_each_epoch_and_run(key):
    orders = [population.order(key, epoch, 97) for epoch in range(3)]
    orders.append(population.order(jax.random.fold_in(key, 1), 0, 97))
    for order in orders:
        np.testing.assert_array_equal(jnp.sort(order), np.arange(97))
    assert len({tuple(order.tolist()) for order in orders}) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 51}, "from 1 to the number of rows 50; got 51"),
        ({"batch_size": 0}, "got 0"),
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
    ],
)
def test_rejects_numbers_out_of_range(arrays, key, options, message):
    step, state = parts(key, 0.01)
    with pytest.raises(ValueError, match=message):
        population.train(
            step, state, arrays, **({"epochs": 1, "batch_size": 5} | options)
        )


def test_rejects_arrays_of_different_length(arrays, key):
    step, state = parts(key, 0.01)
    with pytest.raises(ValueError, match=r"one number of rows.*'y': 49"):
        population.train(
            step, state, arrays | {"y": jnp.ones(49)}, epochs=1, batch_size=5
        )
