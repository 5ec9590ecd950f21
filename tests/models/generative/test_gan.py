"""GANs: the losses and penalties, the two-player step, and what it reports."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml.models.generative import (
    conditional_gan,
    dcgan,
    gan,
    gan_losses,
    gan_penalties,
)

SMALL = {"width": 4, "start": 4, "doublings": 2}  # images of 16 x 16


class Line(nn.Module):
    """One dense layer; a score for each row if it has one unit."""

    features: int

    @nn.compact
    def __call__(self, x, *, train=False):
        y = nn.Dense(self.features)(x)
        return y[:, 0] if self.features == 1 else y


class Bend(nn.Module):
    """Two dense layers and a score."""

    @nn.compact
    def __call__(self, x, *, train=False):
        return nn.Dense(1)(nn.leaky_relu(nn.Dense(64)(x), 0.2))[:, 0]


def start(generator, discriminator, images, latent, tx, labels=None, key=None):
    """State and step maker of two modules."""
    told = () if labels is None else (labels,)
    latents = jnp.zeros((len(images), latent))
    key = jax.random.key(0) if key is None else key
    variables = (
        jax.jit(generator.init)(jax.random.key(1), latents, *told),
        jax.jit(discriminator.init)(jax.random.key(2), images, *told),
    )
    return gan.init(*variables, tx, tx, key=key)


def test_losses_and_penalties_in_closed_form(key):
    real, fake = jnp.array([0.3, -1.2]), jnp.array([0.8, -2.0])
    sigmoid = lambda x: 1 / (1 + np.exp(-np.asarray(x)))
    close = partial(np.testing.assert_allclose, rtol=1e-5)
    pair = gan_losses.non_saturating
    close(pair.discriminator(real, fake), -np.log(sigmoid(real) * (1 - sigmoid(fake))))
    close(pair.generator(fake), -np.log(sigmoid(fake)))
    close(gan_losses.hinge.discriminator(real, fake), [0.7 + 1.8, 2.2 + 0.0])
    close(gan_losses.wasserstein.discriminator(real, fake), [0.5, -0.8])
    close(gan_losses.least_squares.generator(fake), [0.02, 4.5])
    # a linear score has the same slope everywhere
    slope = jnp.array([3.0, 4.0])
    score = lambda x: x @ slope
    x, y = jnp.ones((2, 2)), jnp.zeros((2, 2))
    close(gan_penalties.gradient_penalty(score, x, y, key, weight=2.0), [32.0, 32.0])
    close(gan_penalties.r1(score, x, weight=2.0), [25.0, 25.0])
    square = lambda x: jnp.square(x).sum(-1)
    close(gan_penalties.r1(square, 2 * x, weight=1.0), [16.0, 16.0])
    slopes = jax.grad(lambda w: gan_penalties.r1(lambda x: x @ w, x).sum())(slope)
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("kind", ["non_saturating", "wasserstein"])
def test_a_line_learns_a_gaussian(kind, key):
    tx = optax.adam(5e-3, b1=0.5)
    options = {"latent": 2, "average": 0.99}
    if kind == "wasserstein":
        options |= {"penalty": partial(gan_penalties.gradient_penalty, weight=1.0)}
    else:
        options |= {"penalty": partial(gan_penalties.r1, weight=0.3)}
    players = Line(2), Bend()
    step = gan.make_step(
        *gan.of_modules(*players), getattr(gan_losses, kind), tx, tx, **options
    )
    mean, mix = jnp.array([0.3, -0.2]), jnp.array([[0.15, 0.05], [0.0, 0.1]])
    draw = lambda key: jnp.clip(
        mean[None] + jax.random.normal(key, (128, 2)) @ mix.T, -1, 1
    )
    state = start(*players, draw(key), 2, tx)

    @jax.jit
    def run(state):
        return jax.lax.scan(step, state, jax.vmap(draw)(jax.random.split(key, 3000)))

    state, info = run(state)
    assert not np.any(info.trouble.player)
    layer = state.average["Dense_0"]
    np.testing.assert_allclose(layer["bias"], mean, atol=0.05)
    got = layer["kernel"].T @ layer["kernel"]
    np.testing.assert_allclose(got, mix @ mix.T, atol=0.02)


@pytest.fixture(scope="module")
def trained():
    """Small players, their step, and four states of one run."""
    tx = optax.adam(2e-4, b1=0.5)
    players = dcgan.Generator(1, **SMALL), dcgan.Discriminator(**SMALL)
    step = jax.jit(
        gan.make_step(
            *gan.of_modules(*players), gan_losses.non_saturating, tx, tx, latent=6
        )
    )
    images = jax.random.uniform(jax.random.key(3), (4, 8, 16, 16, 1), minval=-1.0)
    states = [start(*players, images[0], 6, tx)]
    for batch in images:
        state, info = step(states[-1], batch)
        states.append(state)
    return step, images, states, info


def leaves(state):
    """All numbers of a state, its key among them."""
    return [
        np.asarray(
            jax.random.key_data(leaf)
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else leaf
        )
        for leaf in jax.tree.leaves(state)
    ]


class TestStep:
    def test_both_players_their_statistics_and_the_average_move(self, trained):
        _, _, states, info = trained
        for name in ("generator", "discriminator"):
            before, after = (getattr(states[i], name) for i in (0, -1))
            moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
            assert all(jax.tree.leaves(moved.params))
            assert all(jax.tree.leaves(moved.extra))
        assert int(states[-1].step) == 4
        near = np.abs(
            states[-1].average["conv_0"]["kernel"]
            - states[0].generator.params["conv_0"]["kernel"]
        ).max()
        assert 0 < near < 1e-5  # 0.1 % of four steps of 2e-4
        assert np.isfinite(info.generator_loss)
        assert not info.trouble.rows.any()
        gan.check(info)

    def test_resumed_run_is_the_unbroken_one(self, trained):
        step, images, states, _ = trained
        saved = [np.array(leaf) for leaf in leaves(states[2])]
        tree = jax.tree.structure(states[2])
        restored = [
            jax.random.wrap_key_data(jnp.asarray(value))
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else jnp.asarray(value)
            for value, leaf in zip(saved, jax.tree.leaves(states[2]), strict=True)
        ]
        state = jax.tree.unflatten(tree, restored)
        for batch in images[2:]:
            state, _ = step(state, batch)
        for a, b in zip(leaves(state), leaves(states[-1]), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_a_loss_that_is_not_finite_is_told_and_not_learned(self, trained):
        step, images, states, _ = trained
        state = states[1]
        broken = images[1].at[jnp.array([2, 5])].set(jnp.nan)
        after, info = step(state, broken)
        for a, b in zip(leaves(after), leaves(state), strict=True):
            np.testing.assert_array_equal(a, b)
        assert int(info.trouble.player) == 1
        assert int(info.trouble.step) == 1
        assert info.trouble.rows[jnp.array([2, 5])].all()
        with pytest.raises(
            FloatingPointError, match=r"discriminator .* step 1, examples"
        ):
            gan.check(info, np.arange(100, 108))
        params = jax.tree.map(lambda p: p * jnp.nan, state.generator.params)
        maker = state.generator._replace(params=params)
        _, info = step(state._replace(generator=maker), images[1])
        assert int(info.trouble.player) > 0

    def test_trouble_names_the_examples(self):
        trouble = gan.Trouble(
            jnp.array(7), jnp.array(2), jnp.array([False, True, True])
        )
        zero = jnp.zeros(())
        info = gan.Info(zero, zero, zero, zero, zero, trouble)
        with pytest.raises(
            FloatingPointError, match=r"generator .* 7, examples \[1, 2\]"
        ):
            gan.check(info)
        with pytest.raises(FloatingPointError, match=r"examples \[11, 12\]"):
            gan.check(info, np.array([10, 11, 12]))


def test_conditional_players_hear_the_class(key):
    tx = optax.adam(1e-3)
    players = (
        conditional_gan.ConditionalGenerator(3, 1, **SMALL),
        conditional_gan.ConditionalDiscriminator(3, norm="spectral", **SMALL),
    )
    images = jax.random.uniform(key, (4, 16, 16, 1), minval=-1.0)
    labels = jnp.array([0, 1, 2, 0])
    state = start(*players, images, 6, tx, labels)
    generate, judge = gan.of_modules(*players)
    step = gan.make_step(generate, judge, gan_losses.hinge, tx, tx, latent=6, rounds=2)
    state, info = jax.jit(step)(state, images, labels)
    assert np.isfinite(info.generator_loss)
    latents = jnp.repeat(jax.random.normal(key, (1, 6)), 3, axis=0)
    maker = state.generator
    made, _ = generate(maker.params, maker.extra, latents, jnp.arange(3), None)
    assert np.abs(made[0] - made[1]).max() > 1e-4
    critic = state.discriminator
    twice = jnp.repeat(images[:1], 2, axis=0)
    scores, _ = judge(critic.params, critic.extra, twice, jnp.array([0, 1]), None)
    assert scores[0] != scores[1]


def test_spectral_norm_finds_the_norm_of_every_layer(key):
    model = dcgan.Discriminator(norm="spectral", **SMALL)
    images = jax.random.uniform(key, (2, 16, 16, 1), minval=-1.0)
    variables = jax.jit(model.init)(key, images)
    run = jax.jit(lambda v: model.apply(v, images, train=True, mutable=["batch_stats"]))
    for _ in range(60):
        _, fresh = run(variables)
        variables = {**variables, **fresh}
    for i in range(3):
        kernel = np.asarray(variables["params"][f"conv_{i}"]["kernel"])
        stats = variables["batch_stats"][f"spectral_{i}"]
        norm = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2)
        np.testing.assert_allclose(stats[f"conv_{i}/kernel/sigma"], norm, rtol=1e-2)


class TestErrors:
    def test_rejects_images_outside_the_range(self):
        tx = optax.sgd(0.1)
        players = Line(2), Line(1)
        step = gan.make_step(
            *gan.of_modules(*players), gan_losses.hinge, tx, tx, latent=2
        )
        images = 255 * jnp.ones((2, 2))
        state = start(*players, images, 2, tx)
        with pytest.raises(ValueError, match="from -1 to 1; got 255 to 255"):
            step(state, images)

    def test_rejects_one_class(self, key):
        for model in (
            conditional_gan.ConditionalGenerator(1, 1, **SMALL),
            conditional_gan.ConditionalDiscriminator(1, **SMALL),
        ):
            x = jnp.zeros((2, 16, 16, 1))
            x = x[:, 0, 0] if hasattr(model, "channels") else x
            with pytest.raises(ValueError, match="2 classes or more; got 1"):
                model.init(key, x, jnp.zeros(2, int))

    def test_rejects_other_sizes_rounds_and_norms(self, key):
        images = jnp.zeros((2, 28, 28, 1))
        with pytest.raises(ValueError, match=r"\[batch, 16, 16, channels\]"):
            dcgan.Discriminator(**SMALL).init(key, images)
        with pytest.raises(ValueError, match="no norm 'layers'"):
            dcgan.Discriminator(norm="layers", **SMALL).init(key, images)
        with pytest.raises(ValueError, match="start and doublings"):
            dcgan.Generator(1, doublings=0).init(key, jnp.zeros((1, 4)))
        with pytest.raises(ValueError, match="rounds must be at least 1"):
            gan.make_step(max, max, gan_losses.hinge, None, None, rounds=0)
