"""Rules that lay the weights of any transformer of this library over a mesh.

    mesh = sharding.mesh(data=2, model=4)
    variables = sharding.init(model.init, tensor_parallel(), mesh)(key, ids)
    where = sharding.shardings(shapes, fsdp_tensor_parallel(), mesh, every_rule=False)

A rule is a regular expression, searched in the path of a leaf, and a `PartitionSpec`;
the first that is found decides, a leaf without one is whole everywhere. They are
written on the names that the parts of `jaxml.nn` give: `query`, `key`, `value`, `out`,
`up`, `gate`, `down`, `word`, `head`, `experts`. Leaves of blocks that are stacked
(`layers/...`) have one axis more: rules for them come first.

References:
    Shoeybi et al., 2019. Megatron-LM (section 3). arXiv:1909.08053.
    Lepikhin et al., 2020. GShard (experts). arXiv:2006.16668.
    Rajbhandari et al., 2019. ZeRO (stage 3, here "fsdp"). arXiv:1910.02054.
"""

import jax

from jaxml.nn import check

__all__ = ["fsdp_tensor_parallel", "tensor_parallel"]

Rules = list[tuple[str, jax.P]]


def tensor_parallel(model: str = "model", *, words: str = "width") -> Rules:
    """Columns of what leads into heads and hidden features, rows of what leads out.

    One sum over the devices for each attention and each feed-forward network. Experts
    are split by number.

    Args:
        model: axis of the mesh.
        words: how tables of words and the head that scores them are split: by "width",
            which always divides, or by "number" of words, which needs no sum over the
            devices for the logits, but must be a multiple of the axis.

    Raises:
        ValueError: if `words` is neither.

    >>> tuple(dict(tensor_parallel())["(out|down)/kernel$"])
    ('model', None)
    """
    return _rules(None, model, words)


def fsdp_tensor_parallel(
    data: str = "data", model: str | None = None, *, words: str = "width"
) -> Rules:
    """The same with the other axis of each matrix split too, over the data axis.

    Every device keeps a share of the weights, which the compiler gathers layer by
    layer; with `model=None` nothing else is split ("FSDP").

    Args:
        data: axis of the mesh the batch is split over.
        model: axis of tensor parallelism; none if None.
        words: as for `tensor_parallel`.

    Raises:
        ValueError: if `words` is neither of the two.
    """
    return _rules(data, model, words)


def _rules(data: str | None, model: str | None, words: str) -> Rules:
    check.one_of(words, ("width", "number"), "way to split the words")
    into, out = (data, model), (model, data)
    names = [
        (r"experts/(up|gate)/kernel$", (model, data, None)),
        (r"experts/down/kernel$", (model, None, data)),
        (r"experts/\w+/bias$", (model, None)),
        (r"(query|key|value|up|gate)/kernel$", into),
        (r"(query|key|value|up|gate)/bias$", (model,)),
        (r"(out|down)/kernel$", out),
    ]
    # What is stacked has its axis of layers first.
    table = [(rf"\blayers/.*{name}", jax.P(None, *axes)) for name, axes in names]
    table += [(name, jax.P(*axes)) for name, axes in names]
    both = tuple(axis for axis in (data, model) if axis)
    every = both[0] if len(both) == 1 else both
    by_width = words == "width"
    return [
        *table,
        (
            r"\b(word|words|shared|tokens)/embedding$",
            jax.P(None, every) if by_width else jax.P(model, data),
        ),
        (
            r"(head|decoder)/kernel$",
            jax.P(every, None) if by_width else jax.P(data, model),
        ),
    ]
