"""Groups by parameter path: who moves, who does not, who holds state."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml.optim import groups, optimizers, plateau


def params():
    return {
        "Dense_0": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)},
        "Dense_1": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    }


def ones():
    return jax.tree.map(jnp.ones_like, params())


def test_first_match_wins():
    tx = groups.groups(
        {"Dense_0/": optimizers.sgd(0.1), "bias$": optimizers.sgd(0.01)},
        default=optimizers.sgd(1.0),
    )
    updates, _ = jax.jit(tx.update)(ones(), tx.init(params()), params())
    means = jax.tree.map(lambda u: round(float(u.mean()), 6), updates)
    assert means == {
        "Dense_0": {"kernel": -0.1, "bias": -0.1},
        "Dense_1": {"kernel": -1.0, "bias": -0.01},
    }


def test_frozen_stays_bit_for_bit_and_holds_no_state():
    tx = groups.groups({"^Dense_0/": groups.frozen()}, default=optimizers.adamw(0.1))
    state = tx.init(params())
    update = jax.jit(tx.update)
    now = params()
    for _ in range(3):
        updates, state = update(ones(), state, now)
        now = optax.apply_updates(now, updates)
    assert all((u == 0).all() for u in jax.tree.leaves(updates["Dense_0"]))
    jax.tree.map(np.testing.assert_array_equal, now["Dense_0"], params()["Dense_0"])
    assert (now["Dense_1"]["kernel"] < 1).all()
    # Two moments of Dense_1 alone; Adam's count, the step and the rate.
    sizes = sorted(leaf.size for leaf in jax.tree.leaves(state))
    assert sizes == [1, 1, 1, 2, 2, 4, 4]


def test_groups_agree_with_optimizers_on_their_own():
    grads = jax.tree.map(lambda p: 0.3 * p, params())
    adam, lion = optimizers.adam(0.1), optimizers.lion(0.01)
    tx = groups.groups({"^Dense_1": lion}, default=adam)
    together, _ = tx.update(grads, tx.init(params()), params())
    for layer, alone in (("Dense_0", adam), ("Dense_1", lion)):
        own = params()[layer]
        want, _ = alone.update(grads[layer], alone.init(own), own)
        jax.tree.map(np.testing.assert_array_equal, together[layer], want)


def test_evaluates_schedule_free_inside_a_group():
    free = optimizers.schedule_free_sgd(0.1)
    tx = groups.groups({"^Dense_1": free}, default=optimizers.sgd(0.1))
    state, now = tx.init(params()), params()
    for _ in range(3):
        updates, state = tx.update(ones(), state, now)
        now = optax.apply_updates(now, updates)
    at = optimizers.eval_params(state, now)
    jax.tree.map(np.testing.assert_array_equal, at["Dense_0"], now["Dense_0"])
    assert (at["Dense_1"]["kernel"] > now["Dense_1"]["kernel"]).all()


def test_plateau_lowers_the_rate_of_every_group():
    inner = groups.groups({"bias": optimizers.sgd(0.01)}, default=optimizers.sgd(0.1))
    tx = plateau.plateau(inner, factor=0.5, patience=0)
    state = tx.init(params())
    for value in (1.0, 2.0):
        state = plateau.observe(state, value)
    updates, _ = tx.update(ones(), state, params())
    np.testing.assert_allclose(updates["Dense_0"]["kernel"], -0.05, rtol=1e-6)
    np.testing.assert_allclose(updates["Dense_0"]["bias"], -0.005, rtol=1e-6)


def test_rejects_a_group_without_parameters():
    tx = groups.groups(
        {"Dense_0": groups.frozen(), "Dense_9": groups.frozen()},
        default=optimizers.sgd(0.1),
    )
    with pytest.raises(ValueError, match=r"\['Dense_9'\] win none of Dense_0/bias"):
        tx.init(params())


def test_rejects_what_is_no_expression():
    with pytest.raises(ValueError, match=r"regular expression; got '\('"):
        groups.groups({"(": groups.frozen()}, default=optimizers.sgd(0.1))
