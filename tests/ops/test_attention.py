from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxml.ops import attention, attention_blocks, attention_logits

OPTIONS = {
    "nothing": {},
    "causal": {"causal": True},
    "causal_window": {"causal": True, "window": 3},
    "window_ahead": {"window": 2},
    "all": {"causal": True, "window": 6, "softcap": 2.0, "scale": 0.7},
}


def arrays(seed=0, dtype=np.float32, b=2, t=7, s=9, n=4, g=2, d=8, e=6):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)
    mask = rng.random((b, 1, t, s)) < 0.6
    mask[0, 0, 3] = False  # a query that may look nowhere
    return (
        (draw(b, t, n, d), draw(b, s, g, d), draw(b, s, g, e)),
        {"mask": jnp.asarray(mask), "bias": draw(1, n, t, s)},
    )


def brute(query, key, value, *, mask=None, bias=None, causal=False, window=None,
          scale=None, softcap=None):  # fmt: skip
    """One query, one head and one key at a time, in float64."""
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    b, t, n, d = query.shape
    s, group = key.shape[1], n // key.shape[2]
    full = lambda x: np.broadcast_to(np.asarray(x), (b, n, t, s))
    weights = np.zeros((b, n, t, s))
    for i, h, q in np.ndindex(b, n, t):
        place, row = s - t + q, np.full(s, -np.inf)
        for k in range(s):
            if mask is not None and not full(mask)[i, h, q, k]:
                continue
            if causal and k > place:
                continue
            if window is not None and abs(place - k) >= window:
                continue
            x = query[i, q, h] @ key[i, k, h // group]
            x = x * (d**-0.5 if scale is None else scale)
            x = x if softcap is None else softcap * np.tanh(x / softcap)
            row[k] = x + (0 if bias is None else float(full(bias)[i, h, q, k]))
        if np.isfinite(row).any():
            row = np.exp(row - row.max())
            weights[i, h, q] = row / row.sum()
    value = np.repeat(value, group, 2)
    return weights, np.einsum("bnts,bsne->btne", weights, value)


def small_parts(monkeypatch):
    for name, size in (("SMALLEST", 2), ("CHUNK", 1), ("BLOCK", 2), ("BLOCKS", 99)):
        monkeypatch.setattr(attention_blocks, name, size)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_backend_equals_one_key_at_a_time(options, monkeypatch):
    given, masked = arrays()
    masked = masked if options else {}
    weights, out = brute(*given, **masked, **options)
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-6)  # float32 sums
    found = attention.probabilities(*given[:2], **masked, **options)
    close(found, weights)
    for backend in ("auto", "plain"):
        close(attention.attend(*given, **masked, **options, backend=backend), out)
    # Blocks and chunks of their usual size would hold all seven queries.
    small_parts(monkeypatch)
    for backend in ("blocked", "chunked"):
        close(attention.attend(*given, **masked, **options, backend=backend), out)


def test_equals_torch(parity_folder):
    file = load_file(parity_folder / "open" / "x_ops.safetensors")
    query, key, value = (
        jnp.asarray(file[f"sdpa_causal/in/{x}"].transpose(0, 2, 1, 3)) for x in "qkv"
    )
    out = attention.attend(query, key, value, causal=True)
    expected = file["sdpa_causal/out/0"].transpose(0, 2, 1, 3)
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_gradients_agree_and_a_row_without_keys_has_none(monkeypatch):
    small_parts(monkeypatch)
    given, masked = arrays()

    def loss(given, bias, backend):
        out = attention.attend(
            *given, mask=masked["mask"], bias=bias, causal=True, backend=backend
        )
        return jnp.sin(out).sum()

    grad = jax.jit(jax.grad(loss, (0, 1)), static_argnames="backend")
    plain = grad(given, masked["bias"], "plain")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(plain))
    assert not plain[0][0][0, 3].any()
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    for backend in ("blocked", "chunked"):
        jax.tree.map(close, grad(given, masked["bias"], backend), plain)


def test_chunks_need_less_memory_than_all_logits(monkeypatch):
    monkeypatch.setattr(attention_blocks, "CHUNK", 2**18)
    x = jax.ShapeDtypeStruct((1, 2048, 2, 8), jnp.float32)

    def loss(x, backend):
        return attention.attend(x, x, x, causal=True, backend=backend).sum()

    def bytes_of(backend):
        step = jax.jit(jax.grad(loss), static_argnums=1).lower(x, backend)
        return step.compile().memory_analysis().temp_size_in_bytes

    logits = 2 * 2048 * 2048 * 4
    assert bytes_of("plain") > logits
    assert bytes_of("chunked") < logits / 2


def test_half_precision_keeps_its_softmax_in_float32():
    given, masked = arrays(dtype=jnp.bfloat16)
    weights = attention.probabilities(*given[:2], **masked)
    assert weights.dtype == jnp.float32
    out = attention.attend(*given, **masked)
    assert out.dtype == jnp.bfloat16
    wide = [x.astype(jnp.float32) for x in given]
    # eight bits of mantissa in the weights and in the result
    np.testing.assert_allclose(
        out.astype(np.float32), brute(*wide, **masked)[1], rtol=0.02, atol=0.02
    )


@pytest.mark.parametrize("options", list(OPTIONS.values())[:4], ids=list(OPTIONS)[:4])
def test_what_the_fused_kernel_is_told(options, monkeypatch):
    """The kernel runs on GPUs alone; JAX's own formulation takes the same arguments."""
    real = jax.nn.dot_product_attention
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(
        jax.nn,
        "dot_product_attention",
        lambda *args, implementation, **options: real(
            *args, implementation={"cudnn": "xla"}[implementation], **options
        ),
    )
    given, masked = arrays(dtype=jnp.float16, e=8)
    for extra in ({}, masked):
        out = attention.attend(*given, **extra, **options)
        expected = brute(*given, **extra, **options)[1]
        # eleven bits of mantissa
        np.testing.assert_allclose(out, expected, rtol=5e-3, atol=5e-3)


def test_backends_are_chosen_by_size_and_refuse_what_they_cannot_do():
    given, _ = arrays()
    options = attention_logits.Options(True, None, 1.0, None)
    choose = lambda t, s: attention_blocks.choose(
        *(jax.ShapeDtypeStruct((1, n, 8, 64), jnp.float32) for n in (t, s, s)), options
    )
    assert choose(256, 256) == "blocked"
    assert choose(32768, 32768) == "chunked"
    assert choose(1, 10**9) == "plain"
    with pytest.raises(ValueError, match="needs a GPU; got cpu"):
        attention.attend(*given, backend="fused")


def test_rejects_what_does_not_fit():
    query, key, value = arrays(n=3)[0]
    with pytest.raises(ValueError, match=r"must divide those .* got 2 and 3"):
        attention.attend(query, key, value)
    given, _ = arrays()
    for options, message in (
        ({"window": 0}, "window must be at least 1; got 0"),
        ({"softcap": 0.0}, "softcap must be above 0; got 0.0"),
        ({"backend": "best"}, "no backend 'best'"),
    ):
        with pytest.raises(ValueError, match=message):
            attention.attend(*given, **options)
