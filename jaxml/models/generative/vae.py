"""Variational autoencoder of dense layers, its losses, and an honest likelihood.

    model = VAE((150, 100), code=10, shape=(28, 28, 1))
    output = model.apply(variables, x, train=True, rngs={"dropout": key})
    values = loss(output, x, bernoulli)                               # [batch], nats

    code = jax.random.normal(key, (64, 10))
    images = jax.nn.sigmoid(model.apply(variables, code, method="decode"))

The decoder answers what the likelihood takes: logits for `bernoulli` (pixels from 0 to
1), the mean for `gaussian`. Legend: z the code, q(z|x) what the encoder says, N(0, 1)
the prior.

References:
    Kingma and Welling, 2014. Auto-encoding variational Bayes. arXiv:1312.6114
    (eq. 3, 10; appendix B: the exact KL).
    Higgins et al., 2017. beta-VAE. ICLR (eq. 4).
    Kingma et al., 2016. Inverse autoregressive flow. arXiv:1606.04934 (eq. 15: free
    bits).
    Burda, Grosse and Salakhutdinov, 2016. Importance weighted autoencoders.
    arXiv:1509.00519 (eq. 8).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxml.nn import activations, check, initializers

__all__ = [
    "VAE",
    "Normal",
    "Output",
    "bernoulli",
    "draw",
    "gaussian",
    "importance_bound",
    "kl",
    "log_density",
    "loss",
    "sampled_kl",
]


class Normal(NamedTuple):
    """A normal distribution of the code, each unit on its own."""

    mean: Float[Array, "b *k"]
    log_variance: Float[Array, "b *k"]


class Output(NamedTuple):
    """What a VAE says of a batch."""

    reconstruction: Float[Array, "b *shape"]  # parameters of p(x|z): logits or means
    posterior: Normal  # q(z|x)
    code: Float[Array, "b *k"]  # the z that was drawn (the mean, outside training)


class VAE(nn.Module):
    """Dense layers to the mean and log variance of the code, and as many back.

    Args:
        hidden: width of each layer of the encoder; the decoder has them reversed.
        code: width of the code.
        shape: shape of one example, such as (28, 28, 1).
        activation: name in `jaxml.nn.activations`, of the hidden layers.
        kernel_init: name in `jaxml.nn.initializers`, or an initialiser.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    hidden: tuple[int, ...]
    code: int
    shape: tuple[int, ...]
    activation: str | Callable = "relu"
    kernel_init: str | Callable = "he_normal"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        if self.code < 1 or min((*self.hidden, *self.shape)) < 1:
            raise ValueError(
                "hidden, code and shape must name sizes of at least 1; "
                f"got {list(self.hidden)}, {self.code} and {list(self.shape)}"
            )
        dense = lambda width, init=self.kernel_init: nn.Dense(
            width,
            kernel_init=initializers.by_name(init),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        self.encoder = [dense(width) for width in self.hidden]
        self.mean = dense(self.code, "lecun_normal")
        self.log_variance = dense(self.code, "lecun_normal")
        self.decoder = [dense(width) for width in reversed(self.hidden)]
        self.out = dense(math.prod(self.shape), "lecun_normal")

    def __call__(self, x: Float[Array, "b *shape"], *, train: bool = False) -> Output:
        """Encode, draw (from the rng "dropout", in training), decode."""
        posterior = self.encode(x)
        code = posterior.mean
        if train:
            noise = jax.random.normal(
                self.make_rng("dropout"), code.shape, posterior.mean.dtype
            )
            code = draw(posterior, noise)
        return Output(self.decode(code), posterior, code)

    def encode(self, x: Float[Array, "b *shape"]) -> Normal:
        """q(z|x) of each example.

        Raises:
            ValueError: if the examples have another shape or are not floating.
        """
        check.rows(x)
        if x.shape[1:] != tuple(self.shape):
            raise ValueError(
                f"x must be [batch, {', '.join(map(str, self.shape))}]; "
                f"got {list(x.shape)}"
            )
        h = x.reshape(x.shape[0], -1)
        for layer in self.encoder:
            h = activations.activate(layer(h), self.activation)
        return Normal(self.mean(h), self.log_variance(h))

    def decode(self, code: Float[Array, "b k"]) -> Float[Array, "b *shape"]:
        """Parameters of p(x|z): logits or means, as the likelihood takes them."""
        h = code
        for layer in self.decoder:
            h = activations.activate(layer(h), self.activation)
        return self.out(h).reshape(h.shape[0], *self.shape)


def draw(posterior: Normal, noise: Float[Array, "b *k"]) -> Float[Array, "b *k"]:
    """A code from standard normal noise, differentiable in the distribution."""
    return posterior.mean + jnp.exp(posterior.log_variance / 2) * noise


def kl(posterior: Normal) -> Float[Array, "b *k"]:
    """KL(q(z|x) ‖ N(0, 1)) of each unit, exact, in nats (appendix B).

    >>> float(kl(Normal(jnp.ones((1, 1)), jnp.zeros((1, 1))))[0, 0])
    0.5
    """
    mean, log_variance = posterior
    # e^v - 1 - v cancels near 0: expm1 keeps it.
    return (jnp.square(mean) + jnp.expm1(log_variance) - log_variance) / 2


def log_density(x: Float[Array, "*shape"], normal: Normal) -> Float[Array, "*shape"]:
    """Log density of each value under its normal distribution."""
    mean, log_variance = normal
    far = jnp.square(x - mean) * jnp.exp(-log_variance)
    return -(far + log_variance + math.log(2 * math.pi)) / 2


def sampled_kl(posterior: Normal, code: Float[Array, "b *k"]) -> Float[Array, "b *k"]:
    """log q(z|x) - log p(z) at the drawn code, whose mean over draws is `kl`."""
    prior = Normal(jnp.zeros_like(code), jnp.zeros_like(code))
    return log_density(code, posterior) - log_density(code, prior)


def bernoulli(
    logits: Float[Array, "b *shape"], x: Float[Array, "b *shape"]
) -> Float[Array, " b"]:
    """log p(x|z) of pixels from 0 to 1, each a coin with that chance of 1."""
    values = x * logits - jax.nn.softplus(logits)
    return values.reshape(x.shape[0], -1).sum(-1)


def gaussian(
    mean: Float[Array, "b *shape"],
    x: Float[Array, "b *shape"],
    *,
    deviation: float | Float[Array, ""] = 1.0,
) -> Float[Array, " b"]:
    """log p(x|z) of values that are normal around the mean.

    Args:
        mean: what the decoder answers.
        x: data.
        deviation: of every value, above 0.
    """
    log_variance = 2 * jnp.log(jnp.full_like(mean, deviation))
    values = log_density(x, Normal(mean, log_variance))
    return values.reshape(x.shape[0], -1).sum(-1)


def loss(
    output: Output,
    x: Float[Array, "b *shape"],
    log_likelihood: Callable[[Array, Array], Array] = bernoulli,
    *,
    beta: float | Float[Array, ""] = 1.0,
    free_bits: float = 0.0,
    exact: bool = True,
) -> Float[Array, " b"]:
    """-log p(x|z) + β KL of each example, in nats: with β = 1 the negative ELBO.

    Args:
        output: what the network says of `x`.
        x: the batch.
        log_likelihood: (reconstruction, x) -> [b], such as `bernoulli`.
        beta: weight of the KL.
        free_bits: nats that each unit may carry, on the mean of the batch, before it
            costs anything; 0 for none.
        exact: whether the KL is the closed form, or that of the drawn code.

    Raises:
        ValueError: if `free_bits` is negative.
    """
    if free_bits < 0:
        raise ValueError(f"free_bits must be at least 0; got {free_bits}")
    rows = x.shape[0]
    each = kl(output.posterior) if exact else sampled_kl(output.posterior, output.code)
    each = each.reshape(rows, -1)
    cost = each.sum(-1)
    if free_bits:
        mean = each.mean(0)
        cost = jnp.broadcast_to(jnp.maximum(mean, free_bits).sum(), (rows,))
    return beta * cost - log_likelihood(output.reconstruction, x)


def importance_bound(
    encode: Callable[[Array], Normal],
    decode: Callable[[Array], Array],
    x: Float[Array, "b *shape"],
    *,
    samples: int,
    key: Key[Array, ""],
    log_likelihood: Callable[[Array, Array], Array] = bernoulli,
) -> Float[Array, " b"]:
    """Lower bound of log p(x) by importance weights (IWAE, eq. 8), in nats.

    One draw is the ELBO; more come closer to the truth. They are taken one after the
    other, so that memory does not grow with their number.

    Args:
        encode: (x) -> q(z|x).
        decode: (z) -> parameters of p(x|z).
        x: examples.
        samples: draws of each, at least 1 (5,000 is usual).
        key: randomness of the draws.
        log_likelihood: (reconstruction, x) -> [b].

    Raises:
        ValueError: if `samples` is below 1.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}")
    posterior = encode(x)

    def add(total, index):
        noise = jax.random.normal(
            jax.random.fold_in(key, index), posterior.mean.shape, posterior.mean.dtype
        )
        code = draw(posterior, noise)
        ratio = sampled_kl(posterior, code).reshape(x.shape[0], -1).sum(-1)
        return jnp.logaddexp(total, log_likelihood(decode(code), x) - ratio), None

    none = jnp.full(x.shape[0], -jnp.inf, posterior.mean.dtype)
    total, _ = jax.lax.scan(add, none, jnp.arange(samples))
    return total - math.log(samples)
