"""Shared by the tests of networks."""

import json
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import jaxtyping
import pytest
from safetensors.numpy import load_file


@pytest.fixture
def unchecked():
    """Switch the checks of annotations off: a user has them off, and meets ours."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def load_case(parity_folder):
    """The reader of a reference vector, by name of its case."""
    sys.path.insert(0, str(parity_folder / "open"))
    import recipe

    def load(name):
        stem = parity_folder / "open" / name
        tensors = load_file(stem.with_suffix(".safetensors"))
        description = json.loads(stem.with_suffix(".json").read_text())
        part = lambda kind: {
            key.removeprefix(kind): array
            for key, array in tensors.items()
            if key.startswith(kind)
        }
        outputs = part("outputs/")

        def check(got):
            seen = recipe.check(description, outputs, got, part("inputs/"))
            assert seen, f"none of the outputs {list(outputs)} among {list(got)}"
            for output, error, tolerance, ok in seen:
                assert ok, f"{output}: {error} > {tolerance}"

        return SimpleNamespace(
            params=recipe.params_from_case(description, part("params/")),
            images=jnp.asarray(part("inputs/")["x"].transpose(0, 2, 3, 1)),
            check=check,
        )

    return load
