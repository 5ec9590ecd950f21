"""Real checkpoints at full size: names and shapes fit, there and back."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.zoo import families, loading, table, vectors
from tests.zoo.at_hand import manifest, manifests


@pytest.mark.parametrize(
    "path", manifests(), ids=lambda path: path.name.partition(".")[0]
)
def test_names_and_shapes_match_both_ways(path):
    about = manifest(path)
    family = families.serving(about["library"], about["class"])
    model = family.build(vectors.config(about), about["class"])
    shapes = loading.shapes_of(family, model)
    rows = family.rows(model)
    # zeros that take no memory
    tensors = {
        name: np.broadcast_to(np.zeros((), jnp.dtype(kind)), shape)
        for name, (shape, kind) in about["params"].items()
    }
    leaves, extras, problems = table.resolve(rows, tensors, shapes)
    assert not problems, table.report(problems)
    wanted = table.flatten(shapes)
    optional = set(wanted) - set(leaves)
    assert all(leaf.shape == wanted[name].shape for name, leaf in leaves.items())
    back = table.pending(rows, shapes, extras)
    assert back.keys() == tensors.keys(), optional
    for name, tensor in tensors.items():
        assert back[name].shape == tensor.shape, name
