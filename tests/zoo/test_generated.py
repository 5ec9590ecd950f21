"""The tokens that networks write are those that the reference wrote."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.zoo import families, loading, table, vectors, verifying
from tests.zoo.at_hand import FOLDER, index

SPEAKERS = [line["name"] for line in index() if line["generate"]]


@pytest.mark.parametrize("name", SPEAKERS)
def test_generated_sequences_are_those_of_the_reference(name, parity_folder):
    case = vectors.read(FOLDER / "open" / name)
    family = families.serving(case.library, case.network)
    model = family.build(case.config, case.network)
    shapes = loading.shapes_of(family, model)
    variables = table.convert(family.rows(model), case.tensors, shapes).variables
    variables = jax.tree.map(jnp.asarray, variables)
    made = verifying.generated(case, model, variables)
    assert made
    for name, tokens in made.items():
        np.testing.assert_array_equal(tokens, case.outputs[name])
