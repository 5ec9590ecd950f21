"""The rate after a sequence of losses, against torch's and against a hand-run one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree_utils
import pytest

from jaxml.optim import optimizers, plateau, schedules


def scales(values, **settings):
    """The scale after each of the values."""
    tx = plateau.plateau(optimizers.sgd(0.1), **settings)
    observe = jax.jit(plateau.observe)
    state, scale = tx.init(jnp.zeros(2)), []
    for value in values:
        state = observe(state, value)
        scale.append(float(state.scale))
    return scale


def by_hand(values, factor, patience, cooldown, threshold, min_delta, sign):
    """Written from the description: what counts, what is tolerated, what rests."""
    best, since, resting, scale, after = None, 0, 0, 1.0, []
    for value in values:
        if best is None:
            better = not np.isnan(value)
        else:
            better = sign * (best - value) > threshold * abs(best) + min_delta
        if better:
            best, since = value, 0
        else:
            since += 1
        if resting:
            resting, since = resting - 1, 0
        if since > patience:
            scale, since, resting = scale * factor, 0, cooldown
        after.append(scale)
    return after


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_description(seed):
    rng = np.random.default_rng(seed)
    values = [float(v) for v in np.round(rng.normal(size=40), 2)]
    values[11] = float("nan")
    settings = {
        "factor": 0.5,
        "patience": int(rng.integers(0, 4)),
        "cooldown": int(rng.integers(0, 3)),
        "threshold": [0.0, 0.1][seed % 2],
        "min_delta": [0.0, 0.05][seed % 3 == 0],
    }
    for larger in (False, True):
        want = by_hand(values, sign=-1 if larger else 1, **settings)
        assert scales(values, **settings, larger_is_better=larger) == want
        assert want[-1] < 1  # it was lowered, or the test says nothing


@pytest.mark.parametrize("seed", range(4))
def test_equals_torch(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    values = [float(v) for v in np.round(np.abs(rng.normal(size=40)) + 0.1, 2)]
    mode = ["min", "max"][seed % 2]
    options = {"factor": 0.5, "patience": 2, "cooldown": seed % 3}
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode, threshold=0.01, min_lr=2**-5, **options
    )
    want = []
    for value in values:
        scheduler.step(value)
        want.append(optimizer.param_groups[0]["lr"])
    got = scales(
        values,
        threshold=0.01,
        min_scale=2**-5,
        larger_is_better=mode == "max",
        **options,
    )
    assert got == want


def test_scale_multiplies_the_schedule_and_shows():
    schedule = schedules.exponential(0.1, 1, 0.5)
    tx = optax.chain(
        optax.clip(10.0), plateau.plateau(optimizers.sgd(schedule), patience=0)
    )
    params = jnp.ones(2)
    state = tx.init(params)
    updates, state = tx.update(params, state, params)
    np.testing.assert_allclose(updates, -0.1, rtol=1e-6)
    state = plateau.observe(plateau.observe(state, 1.0), 1.0)
    updates, state = tx.update(params, state, params)
    np.testing.assert_allclose(updates, -0.1 * 0.5 * 0.1, rtol=1e-6)
    shown = optax.tree_utils.tree_get_all_with_path(state, "learning_rate")
    assert [float(rate) for _, rate in shown] == pytest.approx([0.005])


def test_plateaus_multiply():
    inner = plateau.plateau(optimizers.sgd(1.0), factor=0.5, patience=0)
    tx = plateau.plateau(inner, factor=0.25, patience=0)
    state = tx.init(jnp.ones(2))
    state = state._replace(inner=plateau.observe(state.inner, 1.0))
    state = state._replace(inner=plateau.observe(state.inner, 1.0))
    state = plateau.observe(plateau.observe(state, 1.0), 1.0)
    updates, _ = tx.update(jnp.ones(2), state, jnp.ones(2))
    np.testing.assert_allclose(updates, -0.125)


def test_a_population_may_differ_in_its_settings():
    values = jnp.array([1.0, 2.0, 2.0, 2.0, 2.0])

    def run(patience):
        tx = plateau.plateau(optimizers.sgd(0.1), patience=patience, factor=0.5)
        state = tx.init(jnp.zeros(2))
        return jax.lax.scan(lambda s, v: (plateau.observe(s, v), 0), state, values)[0]

    state = jax.jit(jax.vmap(run))(jnp.arange(4))
    np.testing.assert_array_equal(state.scale, [0.0625, 0.25, 0.5, 0.5])


def test_rejects_a_state_without_plateau():
    tx = optimizers.adam(0.1)
    with pytest.raises(ValueError, match=r"wrapped in plateau\(\.\.\.\); got a tuple"):
        plateau.observe(tx.init(jnp.zeros(2)), 1.0)


def test_rejects_a_factor_that_does_not_lower():
    with pytest.raises(ValueError, match="between 0 and 1; got 1"):
        plateau.plateau(optimizers.sgd(0.1), factor=1.0)
