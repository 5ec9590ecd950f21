"""What the zoo must know about a family of networks to read and write its weights.

    FAMILY = Family("timm/resnet", ("ResNet",), build, rows, inputs, outputs)

One file in `jaxml/zoo/families` for each family and library holds one `FAMILY`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from jaxml.zoo.rows import Line

__all__ = ["Family", "Statistics"]


class Statistics(NamedTuple):
    """How the images of a network are normalised: (x / 255 - mean) / std."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    size: tuple[int, int] = (224, 224)  # height, width
    resize: int | None = None  # shorter side before the crop to `size`
    interpolation: str = "bilinear"


class Family(NamedTuple):
    """A family of networks in the files of one library."""

    name: str  # library/family: "transformers/bert", "torchvision/resnet"
    classes: tuple[str, ...]  # reference classes or architectures it serves
    build: Callable[[Mapping[str, Any], str], nn.Module]  # (config, class) -> network
    rows: Callable[[Any], list[Line]]  # the table of names
    inputs: Callable[[Any], tuple]  # smallest arguments of init, as shapes
    # (network, variables, inputs by their names) -> outputs by their names; jitted
    outputs: Callable[[Any, Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
    sizes: Mapping[str, Mapping[str, Any]] = {}  # named size -> config
    licence: str = ""  # of the released weights
    source: str = ""  # where they are released
    statistics: Statistics | None = None  # of the images
