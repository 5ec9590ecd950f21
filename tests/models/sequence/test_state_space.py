"""State-space layers: equal forms, discretisation, HiPPO, the selective scan."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.sequence import mamba, state_space

close = partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-5)
X = jax.random.normal(jax.random.key(1), (2, 40, 3))


def started(model, x, seed=0):
    rng = np.random.default_rng(seed)
    variables = jax.jit(model.init)(jax.random.key(seed), x)
    return jax.tree.map(
        lambda leaf: leaf + jnp.asarray(rng.normal(0, 0.1, leaf.shape), leaf.dtype),
        variables,
    )


@pytest.mark.parametrize("kind", ["legs", "lin", "inv"])
def test_convolution_scan_and_steps_agree(kind):
    model = state_space.StateSpace(8, kind, longest=1.0)
    variables = started(model, X)

    @jax.jit
    def forms(variables):
        y = model.apply(variables, X)
        scanned = model.clone(form="scan").apply(variables, X)

        def step(state, x):
            y, state = model.apply(variables, x, state, method="step")
            return state, y

        state = jnp.zeros((2, 3, 4), jnp.complex64)
        _, steps = jax.lax.scan(step, state, X.swapaxes(0, 1))
        return y, scanned, steps.swapaxes(0, 1)

    y, scanned, steps = forms(variables)
    close(scanned, y)
    close(steps, y)


def test_hold_equals_the_matrix_exponential():
    linalg = pytest.importorskip("scipy.linalg")
    poles = state_space.poles(6, "legs")
    a = np.stack([poles, 2 * poles])
    step = np.array([0.3, 1e-4])
    factor, gain = state_space.discretize(
        jnp.asarray(a, jnp.complex64), jnp.asarray(step, jnp.float32)
    )
    for feature in range(2):
        for n in range(3):
            # the state and the held input as one system
            both = linalg.expm(step[feature] * np.array([[a[feature, n], 1], [0, 0]]))
            np.testing.assert_allclose(factor[feature, n], both[0, 0], rtol=2e-6)
            np.testing.assert_allclose(gain[feature, n], both[0, 1], rtol=2e-6)


def test_hippo_remembers_as_legendre_coefficients():
    """The scaled system holds the projection of a polynomial on (0, t)."""
    a, b = state_space.hippo(4)
    eigenvalues = np.linalg.eigvals(a)
    np.testing.assert_allclose(np.sort(eigenvalues.real), [-4, -3, -2, -1], rtol=1e-9)
    # h' = (A h + B f) / t for f(t) = t has the solution h = t g, (A - I) g = -B
    g = np.linalg.solve(a - np.eye(4), -b)
    s = np.linspace(0, 1, 2001)
    basis = [
        np.sqrt(2 * n + 1) * np.polynomial.Legendre.basis(n)(2 * s - 1)
        for n in range(4)
    ]
    said = sum(c * p for c, p in zip(g, basis, strict=True))
    np.testing.assert_allclose(said, s, atol=1e-12)
    for kind in ("legs", "lin", "inv"):
        np.testing.assert_allclose(state_space.poles(8, kind).real, -0.5)
    # S4D-Lin is the limit of the lowest frequencies of S4D-LegS (figure 3)
    assert (np.diff(state_space.poles(8, "legs").imag) > 0).all()


def test_selective_scan_equals_the_loop_and_goes_on():
    rng = np.random.default_rng(0)
    x, step = rng.normal(size=(2, 9, 3)), rng.uniform(0.1, 1, (2, 9, 3))
    a, skip = -rng.uniform(0.1, 2, (3, 4)), rng.normal(size=3)
    b, c = rng.normal(size=(2, 2, 9, 4))
    h, expected = np.zeros((2, 3, 4)), []
    for t in range(9):
        h = np.exp(step[:, t, :, None] * a) * h
        h += (step[:, t] * x[:, t])[..., None] * b[:, t, None]
        expected.append((h * c[:, t, None]).sum(-1) + skip * x[:, t])
    x, step, a, b, c, skip = (
        jnp.asarray(v, jnp.float32) for v in (x, step, a, b, c, skip)
    )
    run = jax.jit(mamba.selective_scan)
    y, last = run(x, step, a, b, c, skip)
    close(y, np.stack(expected, axis=1))
    close(last, h)
    first, state = run(x[:, :4], step[:, :4], a, b[:, :4], c[:, :4], skip)
    rest, _ = run(x[:, 4:], step[:, 4:], a, b[:, 4:], c[:, 4:], skip, state=state)
    close(jnp.concatenate([first, rest], axis=1), y)


def test_mamba_block_equals_transformers():
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from transformers import MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer

    config = MambaConfig(
        hidden_size=8, state_size=4, intermediate_size=16, time_step_rank=2
    )
    torch.manual_seed(0)
    theirs = MambaMixer(config, layer_idx=0).eval()
    weights = {
        k: jnp.asarray(v.detach().numpy()) for k, v in theirs.state_dict().items()
    }
    model = mamba.MambaBlock(states=4, rank=2)
    names = ("in_proj", "x_proj", "dt_proj", "out_proj")
    params = {name: {"kernel": weights[f"{name}.weight"].T} for name in names}
    params["dt_proj"]["bias"] = weights["dt_proj.bias"]
    params["conv1d"] = {
        "kernel": weights["conv1d.weight"].transpose(2, 1, 0),
        "bias": weights["conv1d.bias"],
    }
    params |= {"A_log": weights["A_log"], "D": weights["D"]}
    x = jax.random.normal(jax.random.key(0), (2, 7, 8))
    with torch.no_grad():
        expected = theirs(torch.tensor(np.asarray(x))).numpy()
    close(jax.jit(model.apply)({"params": params}, x), expected)


@pytest.mark.parametrize(
    "maker", [partial(state_space.StateSpace, 8), partial(mamba.MambaBlock, states=4)]
)
def test_contract(maker):
    model = maker()
    each = [started(model, X, seed) for seed in range(4)]
    many = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    apply = jax.jit(lambda v, x: model.apply(v, x))
    alone = apply(each[3], X)
    close(jax.jit(jax.vmap(lambda v: model.apply(v, X)))(many)[3], alone)
    half = jax.jit(maker(dtype=jnp.bfloat16).apply)(each[3], X)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), alone, atol=0.1)
    # no look into what is to come
    changed = X.at[:, 20:].multiply(-2)
    close(apply(each[3], changed)[:, :20], alone[:, :20])
    slope = jax.jit(jax.grad(lambda v: jnp.sin(model.apply(v, X)).sum()))(each[0])
    for leaf in jax.tree.leaves(slope):
        assert np.isfinite(leaf).all()
        assert np.any(leaf != 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: state_space.poles(5), "states must be even, at least 2; got 5"),
        (
            lambda: state_space.poles(4, "legt"),
            "no kind of poles 'legt'; nearest: legs",
        ),
        (lambda: state_space.hippo(0), "states must be at least 1; got 0"),
        (
            lambda: state_space.StateSpace(4, form="fft").init(jax.random.key(0), X),
            "no form 'fft'",
        ),
        (
            lambda: mamba.MambaBlock().init(jax.random.key(0), X[:, :0]),
            "at least one row and one step",
        ),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError, match=message):
        call()
