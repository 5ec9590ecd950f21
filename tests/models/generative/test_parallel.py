"""Eight devices give what one gives, and populations run side by side."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml import sharding
from jaxml.models.generative import (
    dcgan,
    ddim,
    diffusion,
    gan,
    gan_losses,
    sampling,
    unet2d,
    vae,
)

UNET = unet2d.UNet2D(
    1, (4, 4), (False, True), (True, False), layers=1, head_dim=2, groups=2
)
SMALL = {"width": 4, "start": 4, "doublings": 1}


def close(ours, theirs):
    """Sums of eight parts, in another order."""
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5), ours, theirs
    )


def spread(images):
    """The batch over eight devices."""
    mesh = sharding.mesh(data=8)
    spec = jax.sharding.PartitionSpec("data")
    return jax.device_put(images, jax.sharding.NamedSharding(mesh, spec))


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(0), (8, 8, 8, 1), minval=-1.0)


def gradient_of(name):
    """Variables of a network, and the gradient of its loss on a batch."""
    key = jax.random.key(1)
    if name == "vae":
        model = vae.VAE((8,), 2, (8, 8, 1))
        variables = jax.jit(model.init)(key, jnp.zeros((1, 8, 8, 1)))

        def loss(variables, x):
            output = model.apply(variables, x, train=True, rngs={"dropout": key})
            return vae.loss(output, x, vae.gaussian).mean()
    else:
        schedule = diffusion.cosine(20)
        variables = jax.jit(UNET.init)(key, jnp.zeros((1, 8, 8, 1)), jnp.zeros(1))
        loss = lambda variables, x: diffusion.loss(
            partial(UNET.apply, variables), schedule, x, key=key
        ).mean()
    return variables, jax.jit(jax.grad(loss))


@pytest.mark.parametrize("name", ["vae", "unet"])
def test_gradients_of_a_sharded_batch(name, images):
    variables, gradient = gradient_of(name)
    close(gradient(variables, spread(images)), gradient(variables, images))


def test_gan_step_of_a_sharded_batch(images):
    tx = optax.sgd(1e-2)
    players = dcgan.Generator(1, **SMALL), dcgan.Discriminator(**SMALL)
    step = jax.jit(
        gan.make_step(
            *gan.of_modules(*players), gan_losses.non_saturating, tx, tx, latent=4
        )
    )
    variables = [
        jax.jit(player.init)(jax.random.key(i), x)
        for i, (player, x) in enumerate(
            zip(players, (jnp.zeros((8, 4)), images), strict=True)
        )
    ]
    state = gan.init(*variables, tx, tx, key=jax.random.key(2))
    one, _ = step(state, images)
    many, _ = step(state, spread(images))
    close(many[:-1], one[:-1])


def test_population_of_samplers_by_vmap():
    plan = ddim.plan(diffusion.cosine(20), 3)
    noise = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    zeros = jnp.zeros(1)
    start = lambda key: UNET.init(key, noise[:1], zeros)
    many = jax.jit(jax.vmap(start))(jax.random.split(jax.random.key(1), 2))

    def draw(variables):
        return sampling.run(ddim, plan, partial(UNET.apply, variables), noise)

    both = jax.jit(jax.vmap(draw))(many)
    second = jax.jit(draw)(jax.tree.map(lambda leaf: leaf[1], many))
    close(both[1], second)
