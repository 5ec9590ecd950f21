"""Early stopping: the best is kept, patience is counted, NaN is never better."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.train import early_stopping


def run(values, **options):
    """Feed `values`; the parameters of each are its index."""
    state = early_stopping.init({"w": jnp.asarray(-1.0)}, **options)
    for index, value in enumerate(values):
        state = early_stopping.update(state, value, {"w": jnp.asarray(float(index))})
        if early_stopping.should_stop(state):
            break
    return state


def by_hand(values, patience, mode, min_delta):
    """Plain Python: best value, its index, and the index of the last value taken."""
    sign = 1 if mode == "min" else -1
    best, place = sign * np.inf, -1
    for index, value in enumerate(values):
        if sign * value < sign * best - min_delta:
            best, place = value, index
        if index - place >= patience:
            break
    return best, place, index


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("min_delta", [0.0, 0.25])
@pytest.mark.parametrize("patience", [1, 3, 50])
def test_is_the_plain_loop(patience, min_delta, mode):
    values = np.random.default_rng(0).normal(size=30)
    values[[0, 7]] = np.nan
    values = values.astype(np.float32)
    state = run(values.tolist(), patience=patience, mode=mode, min_delta=min_delta)
    best, place, last = by_hand(values, patience, mode, min_delta)
    np.testing.assert_allclose(state.value, best, rtol=1e-6)
    assert state.params["w"] == place
    assert state.updates == last + 1


def test_nan_is_never_better():
    state = run([np.nan] * 2, patience=2)
    assert state.params["w"] == -1  # those of init
    assert early_stopping.should_stop(state)


def test_members_of_a_population_stop_on_their_own():
    start = jax.vmap(lambda w: early_stopping.init({"w": w}, patience=2))(jnp.zeros(2))
    losses = jnp.array([[3.0, 3.0], [1.0, 4.0], [2.0, 5.0]])  # [epochs, members]

    def epoch(state, loss):
        state = jax.vmap(early_stopping.update)(state, loss, {"w": loss})
        return state, jax.vmap(early_stopping.should_stop)(state)

    state, stop = jax.lax.scan(epoch, start, losses)
    np.testing.assert_array_equal(state.params["w"], [1.0, 3.0])
    np.testing.assert_array_equal(stop[-1], [False, True])


def test_the_best_outlives_donated_parameters():
    params = {"w": jnp.ones(2)}
    state = early_stopping.init(params, patience=1)
    state = early_stopping.update(state, 1.0, params)
    jax.jit(lambda p: jax.tree.map(jnp.negative, p), donate_argnums=0)(params)
    assert params["w"].is_deleted()
    np.testing.assert_array_equal(state.params["w"], 1.0)


def test_rejects_wrong_options():
    with pytest.raises(ValueError, match="patience must be at least 1 update; got 0"):
        early_stopping.init(jnp.zeros(()), patience=0)
