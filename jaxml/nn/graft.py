"""Give a network the parameters of another, but for a part that starts anew.

model = resnet50(num_classes=10)                       # pretrained for 1000
fresh = jax.jit(model.init)(key, images)
variables = graft(fresh, pretrained, keep="params/head/")
"""

import re
from typing import Any

import jax
from jaxtyping import PyTree

__all__ = ["graft"]

SHOWN = 8  # paths in an error


def graft(fresh: PyTree, trained: PyTree, *, keep: str) -> PyTree:
    """`fresh` with all leaves of `trained`, except where `keep` is found in the path.

    Args:
        fresh: variables of the new network, as `init` made them.
        trained: variables of the old one; leaves that the new one lacks are left.
        keep: regular expression for what stays fresh: a new head.

    Raises:
        ValueError: if `keep` finds nothing, or a leaf that is not kept is missing in
            `trained` or has another shape there; all such leaves are named.

    >>> fresh = {"body": 0.0, "head": {"kernel": 1.0}}
    >>> graft(fresh, {"body": 5.0, "head": {"bias": 7.0}}, keep="^head/")
    {'body': 5.0, 'head': {'kernel': 1.0}}
    """
    old = {_path(path): leaf for path, leaf in _leaves(trained)}
    new = {_path(path): leaf for path, leaf in _leaves(fresh)}
    kept = {path for path in new if re.search(keep, path)}
    if not kept:
        some = ", ".join(list(new)[:SHOWN])
        raise ValueError(f"keep must find a parameter; {keep!r} finds none in {some}")
    wrong = [_told(path, leaf, old) for path, leaf in new.items() if path not in kept]
    wrong = [line for line in wrong if line]
    if wrong:
        more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ValueError(f"what is not kept must fit: {'; '.join(wrong[:SHOWN])}{more}")

    def choose(path: Any, leaf: Any) -> Any:
        return leaf if _path(path) in kept else old[_path(path)]

    return jax.tree_util.tree_map_with_path(choose, fresh)


def _told(path, leaf, old):
    """What is wrong with a leaf of the old network, if anything."""
    if path not in old:
        return f"{path} is missing"
    shapes = [list(getattr(x, "shape", ())) for x in (leaf, old[path])]
    return (
        f"{path} must be {shapes[0]}, got {shapes[1]}" if shapes[0] != shapes[1] else ""
    )


def _leaves(tree):
    return jax.tree_util.tree_leaves_with_path(tree)


def _path(path):
    return jax.tree_util.keystr(path, simple=True, separator="/")
