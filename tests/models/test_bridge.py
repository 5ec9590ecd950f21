"""A network of ours inside Flax NNX, by Flax's own bridge."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxml.models.mlp import MLP


def test_nnx_wraps_our_networks(key):
    x = jax.random.normal(key, (3, 4))
    model = MLP((5,), num_outputs=2)
    wrapped = nnx.bridge.ToNNX(model, rngs=nnx.Rngs(0))
    wrapped.lazy_init(x)
    state = nnx.state(wrapped, nnx.Param)
    params = jax.tree.map(jnp.asarray, nnx.to_pure_dict(state))
    np.testing.assert_array_equal(wrapped(x), model.apply({"params": params}, x))
