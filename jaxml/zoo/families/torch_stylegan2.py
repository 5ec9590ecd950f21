"""The generator of rosinality/stylegan2-pytorch.

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

from jaxml.models.generative import stylegan2
from jaxml.models.generative.stylegan2 import StyleGAN2
from jaxml.zoo import builder
from jaxml.zoo.families import diffusers_parts as parts
from jaxml.zoo.families.cnn_parts import dense
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Change, Ignored, Line, Row

__all__ = ["FAMILY"]

_KNOWN = ("size", "style_dim", "n_mlp", "channel_multiplier", "lr_mlp")
_kernel = Change(  # [1, out, in, h, w] -> [h, w, in, out]
    lambda x: x[0].transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1)[None]
)
_image = Change(  # [1, c, h, w] -> [h, w, c]
    lambda x: x[0].transpose(1, 2, 0), lambda x: x.transpose(2, 0, 1)[None]
)
_map = Change(lambda x: x[0, 0], lambda x: x[None, None])  # [1, 1, h, w] -> [h, w]
_bias = Change(lambda x: x.reshape(-1), lambda x: x.reshape(1, -1, 1, 1))
_one = Change(lambda x: x.reshape(()), lambda x: x.reshape(1))


def build(config: Mapping[str, Any], name: str) -> StyleGAN2:
    """The network of "Generator(size, style_dim, n_mlp)".

    The reference vectors name the channels of each size before these.

    Raises:
        ValueError: if an argument is not understood.
    """
    call = builder.called(config)
    args = [value for value in call.args if value not in ("Generator", "Discriminator")]
    widths = args.pop(0) if args and not isinstance(args[0], int) else None
    given: dict[str, Any] = dict(zip(_KNOWN, args, strict=False)) | call.kwargs
    strange = sorted(set(given) - set(_KNOWN))
    parts.refuse(bool(strange), f"arguments must be {list(_KNOWN)}", strange)
    given = {"size": 256, "style_dim": 512, "n_mlp": 8} | given
    sizes = [4 * 2**i for i in range(int(np.log2(given["size"])) - 1)]
    if widths is None:
        factor = given.get("channel_multiplier", 2)
        widths = [512 if size <= 32 else 16384 * factor // size for size in sizes]
    parts.refuse(len(widths) != len(sizes), f"widths must be {len(sizes)}", widths)
    return StyleGAN2(
        tuple(widths),
        given["style_dim"],
        given["n_mlp"],
        mapping_rate=given.get("lr_mlp", 0.01),
    )


def rows(model: Any) -> list[Line]:
    """The table of names."""
    table: list[Line] = [Row("params/const", "input.input", _image)]
    for i in range(model.depth):
        table += dense(f"mapping_{i}", f"style.{i + 1}")
    layers = {"conv1": "conv1", "convs_{i}": "convs.{i}"}
    for ours, theirs in layers.items():
        table += _layer(ours, theirs)
        table += [
            Row(f"params/{ours}/bias", f"{theirs}.activate.bias"),
            Row(f"params/{ours}/noise", f"{theirs}.noise.weight", _one),
            Ignored(f"{theirs}.conv.blur.kernel"),
        ]
    for ours, theirs in {"to_rgb1": "to_rgb1", "to_rgbs_{i}": "to_rgbs.{i}"}.items():
        table += _layer(ours, theirs)
        table += [
            Row(f"params/{ours}/bias", f"{theirs}.bias", _bias),
            Ignored(f"{theirs}.upsample.kernel"),
        ]
    table.append(Row("noise/conv1/map", "noises.noise_0", _map))
    for i in range(2 * len(model.widths) - 2):
        table.append(Row(f"noise/convs_{i}/map", f"noises.noise_{i + 1}", _map))
    return table


def _layer(ours: str, theirs: str) -> list[Line]:
    """A modulated convolution."""
    return [
        Row(f"params/{ours}/kernel", f"{theirs}.conv.weight", _kernel),
        *dense(f"{ours}/modulation", f"{theirs}.conv.modulation"),
    ]


def inputs(model: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """One latent."""
    return (jax.ShapeDtypeStruct((1, model.style), jnp.float32),)


def outputs(
    model: Any, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Images, styles, and images of styles truncated to 0.6, channels first."""
    images, styles, usual = _run(model, variables, jnp.asarray(np.asarray(given["x"])))
    return {"img": parts.first(images), "w": styles, "trunc": parts.first(usual)}


@partial(jax.jit, static_argnums=0)
def _run(model, variables, latents):
    styles = model.apply(variables, latents, method="styles")
    usual = stylegan2.truncate(styles, styles.mean(0), 0.6)
    make = partial(model.apply, variables, method="synthesize")
    return make(styles), styles, make(usual)


FAMILY = Family(
    name="rosinality/stylegan2-pytorch/stylegan2",
    classes=("Generator",),
    build=build,
    rows=rows,
    inputs=inputs,
    outputs=outputs,
    sizes={"stylegan2-256": {"architecture": "stylegan2-256"}},
    licence="MIT",
    source="https://github.com/rosinality/stylegan2-pytorch",
)
