"""One optimizer for the backbone, another for the head, none for the frozen rest.

    tx = groups.groups(
        {"^encoder/": groups.frozen(), "embedding$": optimizers.adamw(1e-5)},
        default=optimizers.adamw(1e-3),
    )

A parameter goes by its path, its names joined by slashes ("Dense_0/kernel"), to the
first regular expression that `re.search` finds in it.
"""

import re
from collections.abc import Mapping

import jax
import optax
from jaxtyping import PyTree

__all__ = ["frozen", "groups", "paths"]

SHOWN = 8  # paths in an error


def groups(
    rules: Mapping[str, optax.GradientTransformation],
    *,
    default: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Give each parameter its optimizer by its path.

    Args:
        rules: optimizers by regular expression; the first that matches wins.
        default: the optimizer of all other parameters.

    Returns:
        A transformation whose `init` raises ValueError on an expression that no
        parameter follows. The state of each group holds its own parameters alone.

    Raises:
        ValueError: on what is no regular expression.
    """
    for pattern in rules:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"a group must be a regular expression; got {pattern!r}: {error}"
            ) from error

    # Numbers, not the expressions: the labels name folders and files of checkpoints.
    label_of = {pattern: f"group_{i}" for i, pattern in enumerate(rules)}

    def label(path: str) -> str:
        for pattern in rules:
            if re.search(pattern, path):
                return label_of[pattern]
        return "default"

    def labels(params):
        return jax.tree.map(label, paths(params))

    members = {label_of[pattern]: tx for pattern, tx in rules.items()}
    inner = optax.partition(members | {"default": default}, labels)

    def init(params):
        used = set(jax.tree.leaves(labels(params)))
        unused = [pattern for pattern in rules if label_of[pattern] not in used]
        if unused:
            known = jax.tree.leaves(paths(params))
            rest = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
            raise ValueError(
                f"every group must win a parameter; {unused} win none of "
                f"{', '.join(known[:SHOWN])}{rest}"
            )
        return inner.init(params)

    return optax.GradientTransformationExtraArgs(init, inner.update)


def frozen() -> optax.GradientTransformation:
    """No update at all, and no state."""
    return optax.set_to_zero()


def paths(params: PyTree) -> PyTree:
    """The path of each parameter, in its place.

    >>> paths({"Dense_0": {"kernel": 1.0, "bias": 2.0}})
    {'Dense_0': {'bias': 'Dense_0/bias', 'kernel': 'Dense_0/kernel'}}
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path, simple=True, separator="/"), params
    )
