"""Scaled dot-product attention: one function, several ways to compute it.

    out = attend(query, key, value, causal=True)
    out = attend(query, key, value, mask=visible[:, None, None, :], window=4096)
    weights = probabilities(query, key, causal=True)        # to look at

b: batch, t: queries, s: keys, n: heads, g: key-value heads, d: width of a head,
e: width of a value. Heads of a group (n / g of them) share one key and one value.

References:
    Vaswani et al., 2017. Attention is all you need. arXiv:1706.03762 (eq. 1).
    Ainslie et al., 2023. Grouped-query attention. arXiv:2305.13245.
    Rabe and Staats, 2021. Self-attention does not need O(n²) memory. arXiv:2112.05682.
    Beltagy, Peters and Cohan, 2020. Longformer (sliding window). arXiv:2004.05150.
    Gemma team, 2024. Gemma 2 (soft cap: section 2). arXiv:2408.00118.
"""

from jaxtyping import Array, Bool, Float

from jaxml.ops import attention_blocks, attention_logits

__all__ = ["attend", "probabilities"]

BACKENDS = ("auto", "plain", "blocked", "chunked", "fused")


def attend(
    query: Float[Array, "b t n d"],
    key: Float[Array, "b s g d"],
    value: Float[Array, "b s g e"],
    *,
    mask: Bool[Array, "#b #n #t s"] | None = None,
    bias: Float[Array, "#b #n #t #s"] | None = None,
    causal: bool = False,
    window: int | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    backend: str = "auto",
) -> Float[Array, "b t n e"]:
    """The mean of the values, weighted by the softmax of query · key.

    A query that may look at no key gets zeros. Logits, softmax and sums are float32
    at least, whatever the dtype of the query, which is that of the result.

    Args:
        query: what is asked; the last of t queries stands at the last of s keys.
        key: what is compared; g divides n.
        value: what is averaged.
        mask: True where a query may look; all of them if None.
        bias: added to the scaled (and capped) logits.
        causal: whether query i, which stands at s - t + i, looks at no later key.
        window: how many keys a query sees, itself included, backwards and, if not
            causal, as many forwards; all if None.
        scale: factor of the logits, d^-1/2 if None.
        softcap: c of c·tanh(logit / c); none if None.
        backend: "plain" computes all t·s logits; "blocked" leaves out most of those
            that nobody sees; "chunked" holds a few queries' at a time, and computes
            them again for the gradient; "fused" is the kernel of cuDNN (bfloat16 or
            float16 on a GPU); "auto" takes the best that can be had.

    Raises:
        ValueError: if shapes or options do not fit, or the backend cannot do it.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([0.0, 1.0, 2.0]).reshape(1, 3, 1, 1)
    >>> attend(jnp.zeros_like(x), x, x, causal=True).ravel().tolist()
    [0.0, 0.5, 1.0]
    """
    _check(query, key, window, softcap, backend)
    options = attention_logits.Options(
        causal, window, query.shape[-1] ** -0.5 if scale is None else scale, softcap
    )
    if backend == "auto":
        backend = attention_blocks.choose(query, key, value, options)
    way = {
        "plain": attention_blocks.plain,
        "blocked": attention_blocks.blocked,
        "chunked": attention_blocks.chunked,
        "fused": attention_blocks.fused,
    }[backend]
    return way(query, key, value, mask, bias, options)


def probabilities(
    query: Float[Array, "b t n d"],
    key: Float[Array, "b s g d"],
    *,
    mask: Bool[Array, "#b #n #t s"] | None = None,
    bias: Float[Array, "#b #n #t #s"] | None = None,
    causal: bool = False,
    window: int | None = None,
    scale: float | None = None,
    softcap: float | None = None,
) -> Float[Array, "b n t s"]:
    """The weights that `attend` gives to the values, float32 at least.

    Args:
        query: what is asked.
        key: what is compared.
        mask: as for `attend`.
        bias: as for `attend`.
        causal: as for `attend`.
        window: as for `attend`.
        scale: as for `attend`.
        softcap: as for `attend`.

    Raises:
        ValueError: if shapes or options do not fit.
    """
    _check(query, key, window, softcap, "plain")
    options = attention_logits.Options(
        causal, window, query.shape[-1] ** -0.5 if scale is None else scale, softcap
    )
    seen = attention_logits.visible(query.shape[1], key.shape[1], mask, options)
    heads = attention_logits.by_head(query, key)
    return attention_logits.softmax(
        attention_logits.logits(*heads, bias, options), seen
    )


def _check(query, key, window, softcap, backend):
    if query.shape[2] % key.shape[2]:
        raise ValueError(
            "the heads of the keys must divide those of the queries; got "
            f"{key.shape[2]} and {query.shape[2]}"
        )
    if window is not None and window < 1:
        raise ValueError(f"window must be at least 1; got {window}")
    if softcap is not None and softcap <= 0:
        raise ValueError(f"softcap must be above 0; got {softcap}")
    if backend not in BACKENDS:
        raise ValueError(f"no backend {backend!r}; there are {', '.join(BACKENDS)}")
