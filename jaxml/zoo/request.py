"""Which network a config asks for: of what family, and of which of its classes.

    family, config, name = request("torchvision.models.resnet50()")
    model = family.build(config, name)

A config is that of a Hugging Face folder, the name of an architecture, or the call that
builds the reference.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxml.zoo import builder, families
from jaxml.zoo.family import Family
from jaxml.zoo.problem import nearest

__all__ = ["Request", "request"]


class Request(NamedTuple):
    """Which network a config asks for."""

    family: Family
    config: dict[str, Any]
    name: str  # of the class or architecture in the library


def request(
    config: Mapping[str, Any] | str | None, family: str | None = None
) -> Request:
    """The family, config and class that a config means.

    Args:
        config: as in `load`.
        family: as in `load`.

    Raises:
        ValueError: no family serves it; the nearest are named.
    """
    if config is None:
        raise ValueError(
            "the file says not of which network it is; give config= (an architecture, "
            "a dict, or the call that builds the reference), and family="
        )
    if isinstance(config, str):
        is_call = "(" in config
        config = builder.parse(config) if is_call else {"architecture": config}
    config = dict(config)
    if "architecture" in config:
        return _of_architecture(config, family)
    library, name = _named(config)
    if "architectures" not in config and f"{library}/{name}" in families.FAMILIES:
        family = family or f"{library}/{name}"  # by the type of the model alone
    found = _load(family) if family else families.serving(library, name)
    if found is None:
        raise ValueError(families.unknown(library, name))
    return Request(found, config, name if name in found.classes else found.classes[0])


def _of_architecture(config: Mapping[str, Any], family: str | None) -> Request:
    """The size of a family that {"architecture": name, ...} means."""
    full = str(config["architecture"])
    names = (full, full.partition(".")[0])  # the Hub's configs of timm have a tag
    if family or "pretrained_cfg" in config:
        library = family or "timm"
    else:
        library = ""
    try:
        sizes = families.sizes(library)
    except KeyError as error:
        raise ValueError(error.args[0]) from error
    name = next((name for name in names if name in sizes), None)
    if name is None:
        where = f" in {library}" if library else ""
        raise ValueError(f"no such network {full}{where}{nearest(full, sizes)}")
    if len(sizes[name]) > 1:
        raise ValueError(
            f"{name} is a network of {' and '.join(sizes[name])}; give family="
        )
    found = families.load(sizes[name][0])
    rest = {key: value for key, value in config.items() if key != "architecture"}
    config = {**found.sizes[name], **rest}
    asked = _named(config)[1]
    return Request(found, config, asked if asked in found.classes else found.classes[0])


def _load(family: str) -> Family:
    try:
        return families.load(family)
    except KeyError as error:
        raise ValueError(error.args[0]) from error


def _named(config: Mapping[str, Any]) -> tuple[str, str]:
    """Library and class of a config."""
    if config.get("architectures"):
        return "transformers", str(config["architectures"][0])
    if "_class_name" in config:
        return "diffusers", str(config["_class_name"])
    if "builder" in config:
        library = str(config["builder"]).partition(".")[0]
        library = "torch" if library == "nn" else library
        return library, builder.called(config).name
    if "architecture" in config:
        return "timm", builder.called(config).name
    return "transformers", str(config.get("model_type", ""))
