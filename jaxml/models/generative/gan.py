"""Two players, one pure step: generative adversarial training.

    state = gan.init(generator_variables, critic_variables, tx, tx, key=key)
    step = jax.jit(gan.make_step(generate, judge, gan_losses.non_saturating, tx, tx))
    state, info = step(state, images)
    gan.check(info)                       # raises if a loss was not finite
    samples, _ = generate(state.average, state.generator.extra, latents, None, None)

`generate(params, extra, latents, labels, key)` gives images and the new `extra`;
`judge(params, extra, images, labels, key)` one score for each image and its `extra`
(running statistics and the like). `key` is None outside training. `of_modules` makes
both from Flax modules. An optimizer is anything with optax's `init` and `update`.

All a run needs to go on is in the state, randomness included: a run that is stopped and
goes on from a saved state is bit for bit the unbroken one.

References:
    Goodfellow et al., 2014. Generative adversarial networks. arXiv:1406.2661 (alg. 1).
    Yazıcı et al., 2019. The unusual effectiveness of averaging in GAN training.
    arXiv:1806.04498 (the average of the generator).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from jaxml.models.generative import pixels
from jaxml.models.generative.gan_losses import Losses

__all__ = [
    "PLAYERS",
    "Info",
    "Player",
    "State",
    "Trouble",
    "check",
    "init",
    "make_step",
    "of_modules",
]

PLAYERS = ("none", "discriminator", "generator")


class Player(NamedTuple):
    """One of the two networks and its optimizer."""

    params: PyTree
    extra: PyTree  # running statistics, and other variables that are no parameters
    optimizer: PyTree


class State(NamedTuple):
    """All that a run needs to go on."""

    step: Int[Array, ""]
    generator: Player
    discriminator: Player
    average: PyTree  # moving average of the generator's parameters
    key: Key[Array, ""]


class Trouble(NamedTuple):
    """Where a loss was not finite; the step then left the state as it was."""

    step: Int[Array, ""]
    player: Int[Array, ""]  # index into `PLAYERS`; 0 if all is well
    rows: Bool[Array, " b"]  # examples of the batch whose loss was not finite


class Info(NamedTuple):
    """What one may look at."""

    generator_loss: Float[Array, ""]
    discriminator_loss: Float[Array, ""]  # without penalty
    penalty: Float[Array, ""]
    real_score: Float[Array, ""]  # mean over the batch
    fake_score: Float[Array, ""]
    trouble: Trouble


def init(
    generator: Mapping[str, Any],
    discriminator: Mapping[str, Any],
    generator_optimizer: Any,
    discriminator_optimizer: Any,
    *,
    key: Key[Array, ""],
) -> State:
    """State before the first step.

    Args:
        generator: its variables, "params" among them.
        discriminator: the same of the other player.
        generator_optimizer: such as `optax.adam(2e-4, b1=0.5)`.
        discriminator_optimizer: that of the other player.
        key: randomness of the whole run.
    """

    def player(variables, tx):
        extra = {k: v for k, v in variables.items() if k != "params"}
        return Player(variables["params"], extra, tx.init(variables["params"]))

    return State(
        jnp.zeros((), jnp.int32),
        player(generator, generator_optimizer),
        player(discriminator, discriminator_optimizer),
        jax.tree.map(jnp.copy, generator["params"]),
        key,
    )


def make_step(
    generate: Callable,
    judge: Callable,
    losses: Losses,
    generator_optimizer: Any,
    discriminator_optimizer: Any,
    *,
    latent: int = 100,
    penalty: Callable | None = None,
    average: float = 0.999,
    rounds: int = 1,
) -> Callable:
    """A pure step: the discriminator learns, then the generator.

    Args:
        generate: (params, extra, latents [b z], labels, key) -> images, extra.
        judge: (params, extra, images, labels, key) -> scores [b], extra.
        losses: what both want, see `gan_losses`.
        generator_optimizer: as given to `init`.
        discriminator_optimizer: as given to `init`.
        latent: width of the noise that images are made from.
        penalty: (score, real, fake, key) -> [b], see `gan_penalties`; added to the
            discriminator's loss. `score` is a function of images alone.
        average: decay of the average of the generator, 0 to 1.
        rounds: how often the discriminator learns before the generator does; the batch
            is split into as many parts.

    Returns:
        step(state, images [b h w c], labels=None) -> state, info. Outside jit it
        refuses images outside [-1, 1].

    Raises:
        ValueError: if `rounds` is below 1 or `average` outside [0, 1].
    """
    if rounds < 1 or not 0 <= average <= 1:
        raise ValueError(
            "rounds must be at least 1 and average from 0 to 1; "
            f"got {rounds} and {average}"
        )

    rules = _Rules(generate, judge, losses, penalty, latent)

    def step(state, images, labels=None):
        pixels.check_range(images)
        if images.shape[0] % rounds:
            raise ValueError(
                f"the batch must split into {rounds} rounds; got {images.shape[0]}"
            )
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), rounds + 1)
        part = lambda x, i: None if x is None else jnp.split(x, rounds)[i]
        critic, bad_rows = state.discriminator, []
        for i in range(rounds):
            given = part(images, i), part(labels, i), keys[i]
            gradient, extra, means, bad = _judged(rules, state.generator, critic, given)
            critic = _updated(critic, discriminator_optimizer, gradient, extra)
            bad_rows.append(bad)
        given = part(images, -1), part(labels, -1), keys[-1]
        gradient, extra, loss, bad_fake = _made(rules, state.generator, critic, given)
        maker = _updated(state.generator, generator_optimizer, gradient, extra)
        bad = jnp.concatenate(bad_rows)
        player = jnp.where(bad.any(), 1, jnp.where(bad_fake.any(), 2, 0))
        behind = jnp.pad(bad_fake, (bad.shape[0] - bad_fake.shape[0], 0))
        blend = lambda old, new: average * old + (1 - average) * new
        keep = lambda new, old: jax.tree.map(
            lambda a, b: jnp.where(player == 0, a, b), new, old
        )
        mean = jax.tree.map(blend, state.average, maker.params)
        fresh = state._replace(
            step=keep(state.step + 1, state.step),
            generator=keep(maker, state.generator),
            discriminator=keep(critic, state.discriminator),
            average=keep(mean, state.average),
        )
        value, cost, real_score, fake_score = means
        rows = jnp.where(bad.any(), bad, behind)  # of the last round, in their place
        trouble = Trouble(state.step, player, rows)
        return fresh, Info(loss, value, cost, real_score, fake_score, trouble)

    return step


def check(info: Info, indices: np.ndarray | None = None) -> None:
    """Stop a run whose loss was not finite. It waits for the device.

    Args:
        info: of a step.
        indices: which examples of the data the batch held; their places in the batch
            are told if None.

    Raises:
        FloatingPointError: with step, player and examples.
    """
    if not int(info.trouble.player):
        return
    rows = np.flatnonzero(np.asarray(info.trouble.rows))
    where = rows if indices is None else np.asarray(indices)[rows]
    raise FloatingPointError(
        f"the loss of the {PLAYERS[int(info.trouble.player)]} is not finite in step "
        f"{int(info.trouble.step)}, examples {where.tolist()}"
    )


def of_modules(
    generator: nn.Module, discriminator: nn.Module
) -> tuple[Callable, Callable]:
    """`generate` and `judge` of two Flax modules.

    Args:
        generator: called with latents, labels if there are any, and `train`.
        discriminator: called with images, labels if there are any, and `train`.
    """

    def player(module):
        def run(params, extra, x, labels, key):
            inputs = (x,) if labels is None else (x, labels)
            variables = {"params": params, **extra}
            if key is None:
                return module.apply(variables, *inputs), extra
            answer, fresh = module.apply(
                variables,
                *inputs,
                train=True,
                mutable=list(extra),
                rngs={"dropout": key},
            )
            return answer, {**extra, **fresh}

        return run

    return player(generator), player(discriminator)


class _Rules(NamedTuple):
    """What a step was made of."""

    generate: Callable
    judge: Callable
    losses: Losses
    penalty: Callable | None
    latent: int


def _judged(rules, maker, player, given):
    """Slopes of the discriminator's loss, its new extra, means, rows gone wrong."""
    images, labels, key = given
    judge = rules.judge
    key_latent, key_fake, key_judge, key_penalty = jax.random.split(key, 4)
    latents = jax.random.normal(key_latent, (images.shape[0], rules.latent))
    fake, _ = rules.generate(maker.params, maker.extra, latents, labels, key_fake)
    fake = jax.lax.stop_gradient(fake)

    def objective(params):
        real_score, extra = judge(params, player.extra, images, labels, key_judge)
        fake_score, extra = judge(params, extra, fake, labels, key_judge)
        values = rules.losses.discriminator(real_score, fake_score)
        cost = jnp.zeros_like(values)
        if rules.penalty is not None:
            score = lambda x: judge(params, player.extra, x, labels, key_judge)[0]
            cost = rules.penalty(score, images, fake, key_penalty)
        return (values + cost).mean(), (extra, values, cost, real_score, fake_score)

    gradient, (extra, *found) = jax.grad(objective, has_aux=True)(player.params)
    means = tuple(value.mean() for value in found)
    return gradient, extra, means, ~jnp.isfinite(found[0] + found[1])


def _made(rules, player, critic, given):
    """Slopes of the generator's loss, its new extra, the loss, rows gone wrong."""
    images, labels, key = given
    key_latent, key_make, key_judge = jax.random.split(key, 3)
    latents = jax.random.normal(key_latent, (images.shape[0], rules.latent))

    def objective(params):
        fake, extra = rules.generate(params, player.extra, latents, labels, key_make)
        score, _ = rules.judge(critic.params, critic.extra, fake, labels, key_judge)
        values = rules.losses.generator(score)
        return values.mean(), (extra, values)

    gradient, (extra, values) = jax.grad(objective, has_aux=True)(player.params)
    return gradient, extra, values.mean(), ~jnp.isfinite(values)


def _updated(player, tx, gradient, extra):
    updates, optimizer = tx.update(gradient, player.optimizer, player.params)
    add = lambda p, u: (p + u).astype(p.dtype)
    return Player(jax.tree.map(add, player.params, updates), extra, optimizer)
