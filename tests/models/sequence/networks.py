"""What the tests of networks over sequences share."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from jaxml.models.sequence import seq2seq
from jaxml.nn import cells

TOKENS = (4, 9)
SEQ2SEQ = {
    attention: partial(
        seq2seq.Seq2Seq,
        7,
        7,
        embedding=4,
        features=6,
        encoder_features=3,
        cell=cell,
        attention=attention,
    )
    for attention, cell in (
        ("bahdanau", cells.LSTMCell),
        ("luong", cells.GRUCell),
        ("none", cells.LSTMCell),
    )
}
close = partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6)


def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [
        jnp.asarray(rng.integers(1, 7, shape), jnp.int32)
        if len(shape) == 2
        else jnp.asarray(rng.normal(size=shape), jnp.float32)
        for shape in shapes
    ]


def started(model, inputs, seed=0):
    """Variables that are all felt, without compiling an initialisation."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)

    def draw(path, leaf):
        size = (1 if path[-1].key in ("var", "scale") else 0) + rng.normal(
            0, 0.3 if path[-1].key != "var" else 0, leaf.shape
        )
        return jnp.asarray(size, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def read(parity_folder, name):
    tensors = load_file(parity_folder / "open" / f"{name}.safetensors")
    params = {k[7:]: v for k, v in tensors.items() if k.startswith("params/")}
    return params, tensors
