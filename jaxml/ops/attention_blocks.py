"""Four ways to compute the same attention: plain, blocked, chunked, fused.

way = choose(query, key, value, options)
out = plain(query, key, value, mask, bias, options)
"""

import jax
import jax.numpy as jnp

from jaxml.ops import attention_logits

__all__ = ["blocked", "choose", "chunked", "fused", "plain"]

LARGE = 2**28  # logits above which they are not held all at once: 1 GiB of float32
CHUNK = 2**25  # logits that are held at once instead
SMALLEST = 16  # queries of a chunk, however many keys
BLOCK, BLOCKS = 64, 8  # queries of a block at least, and blocks at most


def choose(query, key, value, options):
    """The name of the best way for these arrays on this machine."""
    where = jax.default_backend()
    if where == "gpu" and not _unfit(query, key, value, options):
        return "fused"
    b, t, n, _ = query.shape
    if t > 1 and b * n * t * key.shape[1] > LARGE:
        return "chunked"
    # Elsewhere one large product beats what the blocks save.
    skips = options.causal or options.window is not None
    return "blocked" if where == "cpu" and skips and t > BLOCK else "plain"


def plain(query, key, value, mask, bias, options):
    """All logits at once."""
    seen = attention_logits.visible(query.shape[1], key.shape[1], mask, options)
    x, key = attention_logits.by_head(query, key)
    return _out(x, key, jnp.moveaxis(value, 2, 1), seen, bias, options, query.dtype)


def blocked(query, key, value, mask, bias, options):
    """A few blocks of queries, each with the keys that it may see at all.

    Causal attention is half the work, and a block of logits stays in the cache of a
    core: forward and backward pass of 8 x 6 heads x 256 x 256 take a third of the time.
    """
    t, s = query.shape[1], key.shape[1]
    x, key = attention_logits.by_head(query, key)
    value = jnp.moveaxis(value, 2, 1)
    size = max(BLOCK, -(-t // BLOCKS))
    outs = []
    for start in range(0, t, size):
        stop = min(start + size, t)
        first, last = 0, s
        if options.window is not None:
            first = max(0, s - t + start - options.window + 1)
            last = min(s, max(s - t + stop - 1 + options.window, first + 1))
        if options.causal:
            last = min(s, max(s - t + stop, first + 1))
        queries, keys = slice(start, stop), slice(first, last)
        part = None if mask is None else _cut(mask, queries, keys)
        seen = attention_logits.visible(
            stop - start, last - first, part, options, s - t + start - first
        )
        shift = None if bias is None else _cut(bias, queries, keys)
        held = (x[..., queries, :], key[:, :, keys], value[:, :, keys])
        outs.append(_out(*held, seen, shift, options, query.dtype))
    return jnp.concatenate(outs, 1)


def chunked(query, key, value, mask, bias, options):
    """The logits of a few queries at a time, computed again for the gradient.

    Whole rows of logits are held, so there is no running maximum, and gradients of any
    order and in either mode exist.
    """
    b, t, n, _ = query.shape
    s, dtype = key.shape[1], query.dtype
    size = min(t, max(SMALLEST, min(512, CHUNK // (b * n * s))))
    count = -(-t // size)
    missing = count * size - t

    def chunks(x, axis):
        """Split the axis of the queries and put the chunks first."""
        widths = [(0, missing if i == axis else 0) for i in range(x.ndim)]
        x = jnp.pad(x, widths)
        shape = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
        return jnp.moveaxis(x.reshape(shape), axis, 0)

    query, key = attention_logits.by_head(query, key)
    value = jnp.moveaxis(value, 2, 1)
    # Masks and biases that are the same for all queries need no splitting.
    varied = {"query": chunks(query, 3), "start": s - t + size * jnp.arange(count)}
    fixed = {}
    for name, x in (("mask", mask), ("bias", bias)):
        if x is not None and x.shape[2] > 1:
            varied[name] = chunks(x, 2)
        else:
            fixed[name] = x

    def chunk(_, part):
        of = lambda name: part.get(name, fixed.get(name))
        seen = attention_logits.visible(size, s, of("mask"), options, part["start"])
        return None, _out(part["query"], key, value, seen, of("bias"), options, dtype)

    _, out = jax.lax.scan(jax.checkpoint(chunk, prevent_cse=False), None, varied)
    return jnp.moveaxis(out, 0, 1).reshape(b, count * size, n, -1)[:, :t]


def fused(query, key, value, mask, bias, options):
    """The flash kernel of cuDNN, through JAX's own function."""
    reason = _unfit(query, key, value, options)
    if jax.default_backend() != "gpu":
        reason = f"a GPU; got {jax.default_backend()}"
    if reason:
        raise ValueError(f"the fused backend needs {reason}")
    t, s = query.shape[1], key.shape[1]
    # The kernel aligns the first query with the first key, we the last with the last.
    square = options.causal and options.window is None and t == s
    if not square:
        mask = attention_logits.visible(t, s, mask, options)
    if mask is not None and mask.shape[2] != t:
        mask = jnp.broadcast_to(mask, (*mask.shape[:2], t, s))
    out = jax.nn.dot_product_attention(
        query,
        key,
        value,
        bias=None if bias is None else bias.astype(query.dtype),
        mask=mask,
        scale=options.scale,
        is_causal=square,
        implementation="cudnn",
    )
    if mask is None:
        return out
    # The kernel averages all keys where none may be seen.
    seen = mask & jnp.tri(t, dtype=bool)[None, None] if square else mask
    return jnp.where(jnp.moveaxis(seen.any(-1), 1, 2)[..., None], out, 0)


def _out(query, key, value, seen, bias, options, dtype):
    """The result [b t n e] of arrays with the heads first."""
    weights = attention_logits.softmax(
        attention_logits.logits(query, key, bias, options), seen
    )
    return attention_logits.weigh(weights, value, dtype)


def _cut(x, queries, keys):
    """The part of a mask or bias; axes of one element serve all."""
    x = x[:, :, queries] if x.shape[2] > 1 else x
    return x[..., keys] if x.shape[3] > 1 else x


def _unfit(query, key, value, options):
    """What the fused kernel would need and does not get; empty if nothing."""
    if query.dtype not in (jnp.bfloat16, jnp.float16):
        return f"bfloat16 or float16; got {query.dtype}"
    if not query.dtype == key.dtype == value.dtype:
        return f"one dtype; got {query.dtype}, {key.dtype}, {value.dtype}"
    d, e = query.shape[-1], value.shape[-1]
    if d != e or d % 8 or d > 128:
        return f"heads of one width, a multiple of 8 up to 128; got {d} and {e}"
    if options.softcap is not None:
        return f"no softcap; got {options.softcap}"
    if query.shape[1] < 2:
        return f"more than one query; got {query.shape[1]}"
    return ""
