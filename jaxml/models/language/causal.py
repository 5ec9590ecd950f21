"""What the causal language models share: their answer, their door, their caches.

    output = model.apply(variables, ids, mask)            # .logits [b, t, v]
    cache = model.start_cache(batch, length)
    output = model.apply(variables, ids[:, :5], cache=cache)
    output = model.apply(variables, ids[:, 5:], cache=output.cache)

Feeding a text in pieces gives what feeding the whole gives. `mask` is False for
padding, on either side; with a cache it speaks of the new tokens, and padding is not
kept.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxml.nn import cache as caches
from jaxml.nn import depth

__all__ = [
    "CausalOutput",
    "Classifier",
    "Places",
    "caches_of",
    "decode",
    "places",
    "rms_norm",
]


class CausalOutput(NamedTuple):
    """What a causal model answers."""

    logits: Float[Array, "b t v"] | None  # of the next token; None without a head
    last_hidden_state: Float[Array, "b t d"]  # after the last norm
    cache: PyTree  # with the new tokens; None if none was given


class Places(NamedTuple):
    """Where the tokens stand, and what the attention of each block is told."""

    positions: Int[Array, "b t"]  # at least 0, for a table of positions
    options: dict[str, Any]  # of the blocks: causal, mask, positions


def places(
    ids: Int[Array, "b t"],
    mask: Bool[Array, "b t"] | None,
    positions: Int[Array, "#b t"] | None,
    cache: PyTree,
) -> Places:
    """Check what a causal model is given, and count positions.

    Args:
        ids: tokens.
        mask: False for padding.
        positions: of the tokens; the number of real tokens before each if None.
        cache: caches of all layers, or None.

    Raises:
        ValueError: if the ids are no whole numbers [batch, time], or the mask is no
            truth values of the same shape.
    """
    if ids.ndim != 2 or not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(
            "ids must be whole numbers [batch, time]; "
            f"got {ids.dtype} {list(ids.shape)}"
        )
    if mask is not None and (mask.shape != ids.shape or mask.dtype != bool):
        raise ValueError(
            f"mask must be bool {list(ids.shape)}, False for padding; got "
            f"{mask.dtype} {list(mask.shape)}"
        )
    if positions is None:
        real = jnp.ones(ids.shape, bool) if mask is None else mask
        positions = jnp.cumsum(real, 1, dtype=jnp.int32) - 1
        if cache is not None:
            positions += _read(cache)[:, None]
    positions = jnp.broadcast_to(jnp.maximum(positions, 0), ids.shape)
    options: dict[str, Any] = {"causal": True, "positions": positions}
    if mask is not None and cache is None:
        options["mask"] = mask[:, None, None, :]
    elif mask is not None:
        options["positions"] = jnp.where(mask, positions, -1)
    return Places(positions, options)


def decode(
    module: Any,
    block: Callable | list[Callable],
    ids: Int[Array, "b t"],
    where: Places,
    cache: PyTree,
    train: bool,
) -> CausalOutput:
    """Words, blocks, a root-mean-square norm, logits: the decoder of Llama's kin.

    To be called from the compact method of a module, whose parts these become: `word`,
    `layers_0` ..., `norm` and, where the table of words does not serve, `head`.

    Args:
        module: it has the fields vocab_size, width, depth, epsilon, tied, head, scan,
            remat, dtype and param_dtype, as `jaxml.models.language.llama.Llama`.
        block: maker of a block, or one for each.
        ids: tokens.
        where: from `places`.
        cache: caches of all blocks, or None.
        train: whether to drop values.
    """
    dtypes = {"dtype": module.dtype, "param_dtype": module.param_dtype}
    init = nn.initializers.normal(0.02)
    words = nn.Embed(
        module.vocab_size, module.width, embedding_init=init, name="word", **dtypes
    )
    record = depth.recorder(module)
    run = depth.repeat(
        block, module.depth, scan=module.scan, remat=module.remat, record=record
    )
    x, cache = run(words(ids), cache=cache, train=train, **where.options)
    x = rms_norm(module)(name="norm")(x)
    if record is not None:
        record(x)
    if not module.head:
        return CausalOutput(None, x, cache)
    if module.tied:
        return CausalOutput(words.attend(x), x, cache)
    head = nn.Dense(
        module.vocab_size, use_bias=False, kernel_init=init, name="head", **dtypes
    )
    return CausalOutput(head(x), x, cache)


def rms_norm(module: Any) -> Callable[..., nn.RMSNorm]:
    """The maker of a norm without mean or bias, with the module's epsilon and dtypes.

    Args:
        module: it has the fields epsilon, dtype and param_dtype.
    """
    return partial(
        nn.RMSNorm,
        epsilon=module.epsilon,
        use_fast_variance=False,
        dtype=module.dtype,
        param_dtype=module.param_dtype,
    )


def caches_of(
    depth: int,
    batch: int,
    length: int,
    kv_heads: int,
    head_dim: int,
    *,
    windows: tuple[int | None, ...] | None = None,
    scan: bool = False,
    dtype: Any = jnp.float32,
) -> PyTree:
    """Empty caches of all blocks: a tuple, or one with a leading axis for a scan.

    Args:
        depth: number of blocks.
        batch: number of rows.
        length: how many tokens a row will hold at most.
        kv_heads: heads of keys and values.
        head_dim: width of a key.
        windows: of each block; none if None.
        scan: whether the blocks are scanned.
        dtype: of keys and values.
    """
    made = tuple(
        caches.start(batch, length, kv_heads, head_dim, window=window, dtype=dtype)
        for window in windows or (None,) * depth
    )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *made) if scan else made


class Classifier(nn.Module):
    """Logits of classes from what a causal model says at the last real token.

    Args:
        network: a causal model, best without a head of its own (`head=False`).
        num_classes: number of logits.
        dtype: dtype of the logits; that of the network if None.
        param_dtype: dtype the parameters are stored in.
    """

    network: nn.Module
    num_classes: int = 2
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        ids: Int[Array, "b t"],
        mask: Bool[Array, "b t"] | None = None,
        positions: Int[Array, "#b t"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b k"]:
        """Logits of every text.

        Args:
            ids: tokens.
            mask: False for padding.
            positions: of the tokens; counted if None.
            train: whether to drop values.
        """
        output = self.network(ids, mask, positions, train=train)
        place = jnp.arange(ids.shape[1])[None]
        real = jnp.ones(ids.shape, bool) if mask is None else mask
        last = jnp.where(real, place, 0).max(1)
        state = jnp.take_along_axis(
            output.last_hidden_state, last[:, None, None], axis=1
        )[:, 0]
        return nn.Dense(
            self.num_classes,
            use_bias=False,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="classifier",
        )(state)


def _read(cache):
    """How many tokens each row has read."""
    first = jax.tree.leaves(cache, is_leaf=lambda x: isinstance(x, caches.Cache))[0]
    return first.length if first.length.ndim == 1 else first.length[0]
