"""The two networks of the DCGAN of pytorch/examples.

model = FAMILY.build(config, "Generator")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": latents})
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.models.generative.dcgan import Discriminator, Generator
from jaxml.zoo.families.cnn_parts import batch_norm, kernel
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Line, conv, conv_transpose

__all__ = ["FAMILY"]

# What the example's main.py takes, and the small one of the reference vectors.
_DEFAULTS = {"nz": 100, "ngf": 64, "ndf": 64, "nc": 3}
_SMALL = {"nz": 16, "ngf": 6, "ndf": 6, "nc": 3}


class _Generator(Generator):
    """`Generator` that knows the width of its latents."""

    latent: int = 100


class _Discriminator(Discriminator):
    """`Discriminator` that knows the channels of its images."""

    channels: int = 3


def build(config: Mapping[str, Any], name: str) -> Generator | Discriminator:
    """The network of main.py's options, or of "refs.dcgan('Generator')".

    Raises:
        ValueError: if an option is not understood.
    """
    if str(config.get("builder", "")).endswith("dcgan"):
        options = {**_SMALL, **config.get("kwargs", {})}
    else:
        given = {k: v for k, v in config.items() if k != "architecture"}
        options = {**_DEFAULTS, **given}
    strange = set(options) - set(_DEFAULTS)
    if strange:
        raise ValueError(f"options must be {list(_DEFAULTS)}; got {sorted(strange)}")
    if name == "Discriminator":
        return _Discriminator(options["ndf"], channels=options["nc"])
    return _Generator(options["nc"], options["ngf"], latent=options["nz"])


def rows(model: Any) -> list[Line]:
    """The table of names: convolution, norm and activation take a number each."""
    table: list[Line] = []
    makes = isinstance(model, Generator)
    for i in range(model.doublings + 1):
        # The first convolution of a discriminator has no norm after it.
        place = 3 * i if makes else max(3 * i - 1, 0)
        table += kernel(f"conv_{i}", f"main.{place}", conv_transpose if makes else conv)
        table += batch_norm(f"norm_{i}", f"main.{place + 1}")
    return table


def inputs(model: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """One latent, or one image."""
    if isinstance(model, Generator):
        return (jax.ShapeDtypeStruct((1, model.latent), jnp.float32),)
    side = model.start * 2**model.doublings
    return (jax.ShapeDtypeStruct((1, side, side, model.channels), jnp.float32),)


def outputs(
    model: Any,
    variables: Mapping[str, Any],
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Images, channels first; or the chance of each image to be real."""
    x = jnp.asarray(np.asarray(given["x"]))
    if isinstance(model, Discriminator):
        score = _apply(model, variables, x.transpose(0, 2, 3, 1))
        return {"out": jax.nn.sigmoid(score)}
    images = _apply(model, variables, x.reshape(x.shape[0], -1))
    return {"out": images.transpose(0, 3, 1, 2)}


@partial(jax.jit, static_argnums=0)
def _apply(model, variables, x):
    return model.apply(variables, x)


FAMILY = Family(
    name="pytorch/examples/dcgan",
    classes=("Generator", "Discriminator"),
    build=build,
    rows=rows,
    inputs=inputs,
    outputs=outputs,
    sizes={"dcgan-64": {"architecture": "dcgan-64"}},
    licence="BSD-3-Clause",
    source="https://github.com/pytorch/examples/tree/main/dcgan",
)
