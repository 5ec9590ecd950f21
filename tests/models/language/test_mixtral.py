from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.language import mixtral
from jaxml.nn import depth

IDS = jnp.array([[3, 1, 4, 1, 5, 2], [6, 0, 0, 0, 0, 0]])
MASK = jnp.array([[1] * 6, [1] + [0] * 5], bool)
SMALL = {
    "vocab_size": 7,
    "width": 8,
    "depth": 2,
    "heads": 2,
    "hidden": 8,
    "kv_heads": 1,
}


@pytest.mark.parametrize(
    ("make", "parameters"),  # of the released checkpoints
    [(mixtral.mixtral_8x7b, 46_702_792_704), (mixtral.mixtral_8x22b, 140_630_071_296)],
)
def test_named_sizes(make, parameters):
    shapes = jax.eval_shape(make(scan=True).init, jax.random.key(0), IDS)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == parameters


def test_router_is_told_of_padding_and_seen_from_outside():
    model = mixtral.Mixtral(**SMALL, experts=4, capacity=6)
    variables = jax.jit(model.init)(jax.random.key(0), IDS)
    assert set(variables) == {"params"}
    for scan in (False, True):
        given = depth.stack(variables) if scan else variables
        look = jax.jit(partial(model.clone(scan=scan).apply, mutable=["router"]))
        output, state = look(given, IDS, MASK)
        logits = mixtral.routers(state["router"])
        assert logits.shape == (2, 2, 6, 4)
        loss = mixtral.balance(state["router"], top_k=2, mask=MASK)
        assert 1.5 < loss < 8
        other = mixtral.balance(state["router"], top_k=2)
        assert not np.isclose(loss, other)
        assert np.isfinite(output.logits).all()


def test_with_room_for_all_the_capacity_changes_nothing():
    plain = mixtral.Mixtral(**SMALL, experts=4)
    variables = jax.jit(plain.init)(jax.random.key(0), IDS)
    variables = jax.tree.map(lambda x: 5 * x, variables)
    roomy = mixtral.Mixtral(**SMALL, experts=4, capacity=6)
    expected = jax.jit(plain.apply)(variables, IDS, MASK).logits
    got = jax.jit(roomy.apply)(variables, IDS, MASK).logits
    np.testing.assert_allclose(got[MASK], expected[MASK], rtol=1e-4, atol=1e-5)
