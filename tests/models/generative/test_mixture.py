"""A mixture of Gaussians in the plane comes back: exact models, then a trained one."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml.models.generative import (
    ddim,
    ddpm,
    diffusion,
    dpm_solver,
    flow,
    heun,
    sampling,
)

WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[-0.7, -0.5], [0.6, 0.0], [-0.2, 0.7]])
COVARIANCES = np.array(
    [
        [[0.020, 0.010], [0.010, 0.015]],
        [[0.010, 0.000], [0.000, 0.030]],
        [[0.010, -0.006], [-0.006, 0.010]],
    ]
)
COUNT = 8_000


def draw(rng, count):
    """Samples of the mixture itself."""
    component = rng.choice(3, count, p=WEIGHTS)
    roots = np.linalg.cholesky(COVARIANCES)[component]
    spread = np.einsum("nij,nj->ni", roots, rng.normal(size=(count, 2)))
    return (MEANS[component] + spread).astype(np.float32)


def expectation(x, signal, spread):
    """E[data | signal · data + spread · noise = x], exact, in closed form."""
    covariances = jnp.asarray(COVARIANCES, x.dtype)
    means, weights = jnp.asarray(MEANS, x.dtype), jnp.asarray(WEIGHTS, x.dtype)
    total = signal**2 * covariances + spread**2 * jnp.eye(2)[None]
    apart = x[:, None, :] - signal * means[None]
    solved = jnp.einsum("kij,nkj->nki", jnp.linalg.inv(total), apart)
    log = -0.5 * (apart * solved).sum(-1)
    log += jnp.log(weights)[None] - 0.5 * jnp.linalg.slogdet(total)[1][None]
    each = means[None] + signal * jnp.einsum("kij,nkj->nki", covariances, solved)
    return (jax.nn.softmax(log, -1)[..., None] * each).sum(1)


def exact_noise(schedule):
    """The network that diffusion would learn."""

    def predict(x, timestep):
        left = jnp.interp(
            timestep[0],
            jnp.arange(schedule.betas.shape[0], dtype=x.dtype),
            schedule.alphas_cumprod,
        )
        signal, spread = jnp.sqrt(left), jnp.sqrt(1 - left)
        return (x - signal * expectation(x, signal, spread)) / spread

    return predict


def exact_velocity(x, t):
    """The network that a flow would learn: E[data - noise | x]."""
    t = jnp.maximum(t[0], 1e-6)
    data = expectation(x, t, 1 - t)
    return (data - x) / (1 - t)


def check(samples, *, weight, mean, covariance):
    """Weights, means and covariances of the samples, by the nearest component."""
    samples = np.asarray(samples, np.float64)
    assert np.isfinite(samples).all()
    apart = samples[:, None] - MEANS[None]
    far = np.einsum("nki,kij,nkj->nk", apart, np.linalg.inv(COVARIANCES), apart)
    nearest = far.argmin(1)
    for k in range(3):
        part = samples[nearest == k]
        assert abs(len(part) / len(samples) - WEIGHTS[k]) < weight
        np.testing.assert_allclose(part.mean(0), MEANS[k], atol=mean)
        np.testing.assert_allclose(np.cov(part.T), COVARIANCES[k], atol=covariance)


# Weights: three deviations of a share of 0.5 among 8,000 are 0.017. Means: three of
# 0.17 among 1,600 are 0.013. Covariances: three of 0.03 · √(2 / 1,600) are 0.003.
TOLERANCE = {"weight": 0.02, "mean": 0.015, "covariance": 0.004}


def test_the_check_accepts_the_mixture_and_no_other():
    samples = draw(np.random.default_rng(0), COUNT)
    check(samples, **TOLERANCE)
    with pytest.raises(AssertionError):
        check(samples * 1.03, **TOLERANCE)
    with pytest.raises(AssertionError):
        check(samples[np.argsort(samples[:, 0])][COUNT // 15 :], **TOLERANCE)


@pytest.mark.parametrize(
    ("sampler", "steps", "options"),
    [
        pytest.param(ddpm, 500, {}, id="ddpm"),
        pytest.param(ddim, 200, {}, id="ddim"),
        pytest.param(ddim, 200, {"eta": 1.0}, id="ddim_that_draws"),
        pytest.param(heun, 40, {"ramp": "karras"}, id="heun"),
        pytest.param(dpm_solver, 60, {"ramp": "karras"}, id="dpm_solver"),
    ],
)
def test_samplers_recover_it_from_the_exact_score(sampler, steps, options):
    schedule = diffusion.linear(1000)
    options = options | ({"clip": None} if sampler in (ddpm, ddim) else {})
    plan = sampler.plan(schedule, steps, **options)
    run = partial(sampling.run, sampler, plan, exact_noise(schedule))
    noise = jax.random.normal(jax.random.key(0), (COUNT, 2))
    check(jax.jit(run)(noise, key=jax.random.key(1)), **TOLERANCE)


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun"])
def test_flows_recover_it_from_the_exact_velocity(method):
    # Heun's second slope would stand at t = 1, where the exact velocity is 0 / 0.
    steps = {"euler": 200, "midpoint": 60, "heun": 60}[method]
    plan = flow.plan(steps, method=method)
    plan = plan._replace(timestep=jnp.minimum(plan.timestep, 1 - 1e-3))
    noise = jax.random.normal(jax.random.key(0), (COUNT, 2))
    run = jax.jit(partial(sampling.run, flow, plan, exact_velocity))
    check(run(noise), **TOLERANCE)


class Tiny(nn.Module):
    """Three layers over the point and waves of the time."""

    scale: float = 1.0

    @nn.compact
    def __call__(self, x, time):
        angle = (self.scale * time)[:, None] * jnp.array([[1.0, 2.0, 4.0, 8.0]])
        h = jnp.concatenate([x, jnp.sin(angle), jnp.cos(angle)], -1)
        for _ in range(3):
            h = nn.silu(nn.Dense(96)(h))
        return nn.Dense(x.shape[-1])(h)


def trained(model, loss, data, steps=2500, batch=512):
    """Parameters after some steps of Adam, all in one scan."""
    tx = optax.adam(optax.cosine_decay_schedule(4e-3, steps))
    params = model.init(jax.random.key(0), jnp.zeros((1, 2)), jnp.zeros(1))

    def step(carry, key):
        params, state = carry
        key_row, key_loss = jax.random.split(key)
        rows = jax.random.randint(key_row, (batch,), 0, len(data))
        gradient = jax.grad(
            lambda p: loss(partial(model.apply, p), data[rows], key=key_loss).mean()
        )(params)
        updates, state = tx.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(1), steps)
    return jax.jit(lambda c: jax.lax.scan(step, c, keys)[0][0])(
        (params, tx.init(params))
    )


@pytest.mark.parametrize("kind", ["v", "flow"])
def test_a_tiny_network_learns_it(kind):
    data = jnp.asarray(draw(np.random.default_rng(0), 20_000)) / 2
    noise = jax.random.normal(jax.random.key(5), (COUNT, 2))
    if kind == "flow":
        model = Tiny()
        params = trained(model, flow.loss, data)
        sampler, plan = flow, flow.plan(60, method="midpoint")
    else:
        schedule = diffusion.cosine(100)
        model = Tiny(scale=0.01)
        loss = lambda predict, x, *, key: diffusion.loss(
            predict, schedule, x, key=key, kind=kind
        )
        params = trained(model, loss, data)
        sampler, plan = ddpm, ddpm.plan(schedule, 100, kind=kind)
    run = partial(sampling.run, sampler, plan, partial(model.apply, params))
    samples = 2 * jax.jit(run)(noise, key=jax.random.key(6))
    check(samples, weight=0.04, mean=0.04, covariance=0.01)
