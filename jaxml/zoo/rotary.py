"""Rotary positions as the configurations of Hugging Face describe them.

    rotary = from_config({"rope_theta": 500000.0, "head_dim": 128})

Old files have `rope_theta` beside `rope_scaling`, new ones `rope_parameters` with both;
the kind is `rope_type`, once `type`.
"""

import math
from collections.abc import Mapping
from typing import Any

from jaxml.nn.rotary import Rotary

__all__ = ["from_config"]


def from_config(config: Mapping[str, Any]) -> Rotary:
    """The settings of a config.json.

    Args:
        config: as the file has it: `head_dim` (or `hidden_size` by
            `num_attention_heads`), `rope_parameters` or `rope_theta` and
            `rope_scaling`, `max_position_embeddings`, `partial_rotary_factor`.

    Raises:
        ValueError: if the kind is unknown, or differs from layer to layer.

    >>> from_config({"head_dim": 8, "rope_theta": 500.0})
    Rotary(dim=8, theta=500.0, kind='default', factor=1.0, original=None, low=1.0, \
high=None, truncate=True, attention=1.0, short=(), long=(), interleaved=False)
    """
    found = {
        **(config.get("rope_scaling") or {}),
        **(config.get("rope_parameters") or {}),
    }
    if any(isinstance(value, Mapping) for value in found.values()):
        raise ValueError(
            f"rope_parameters must be the same for all layers; got {sorted(found)}"
        )
    look = lambda name, default=None: found.get(name, config.get(name, default))
    kind = found.get("rope_type", found.get("type", "default"))
    width = config.get("head_dim")
    width = width or config["hidden_size"] // config["num_attention_heads"]
    dim = int(width * (look("partial_rotary_factor") or 1.0))
    theta = float(look("rope_theta") or 10_000.0)
    if kind == "default":
        return Rotary(dim, theta)
    longest = config.get("max_position_embeddings")
    if kind in ("linear", "dynamic"):
        factor = float(found["factor"])
        return Rotary(dim, theta, kind, factor, longest if kind == "dynamic" else None)
    # Phi-3 keeps the length it was trained on outside the rotary settings.
    original = config.get(
        "original_max_position_embeddings",
        found.get("original_max_position_embeddings", longest),
    )
    given = found.get("factor")
    factor = float(longest / original if given is None else given)
    common = {"dim": dim, "theta": theta, "kind": kind, "original": original}
    if kind == "llama3":
        low, high = found["low_freq_factor"], found["high_freq_factor"]
        return Rotary(**common, factor=factor, low=low, high=high)
    if kind == "yarn":
        return Rotary(
            **common,
            factor=factor,
            low=float(found.get("beta_slow") or 1.0),
            high=float(found.get("beta_fast") or 32.0),
            truncate=found.get("truncate", True),
            attention=_yarn_factor(found, factor),
        )
    if kind == "longrope":
        return Rotary(
            **common,
            attention=_long_factor(found, factor, original),
            short=tuple(found["short_factor"]),
            long=tuple(found["long_factor"]),
        )
    raise ValueError(
        "rope_type must be default, linear, dynamic, yarn, llama3 or longrope; "
        f"got {kind!r}"
    )


def _yarn_factor(found, factor):
    """The root of the factor by which the logits grow with the context."""
    if found.get("attention_factor") is not None:
        return float(found["attention_factor"])
    grow = lambda m: 1.0 if factor <= 1 else 0.1 * m * math.log(factor) + 1
    if found.get("mscale") and found.get("mscale_all_dim"):
        return grow(found["mscale"]) / grow(found["mscale_all_dim"])
    return grow(1.0)


def _long_factor(found, factor, original):
    if found.get("attention_factor") is not None:
        return float(found["attention_factor"])
    return math.sqrt(1 + math.log(max(factor, 1.0)) / math.log(original))
