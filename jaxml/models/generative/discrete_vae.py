"""Discrete VAE: codes of categories, drawn through the Gumbel-softmax.

    model = DiscreteVAE((256,), 32, 16, shape=(28, 28, 1))
    output = model.apply(
        variables, x, train=True, temperature=0.7, rngs={"dropout": key}
    )
    values = loss(output, x)                                          # [batch], nats

References:
    Jang, Gu and Poole, 2017. Categorical reparameterization with Gumbel-softmax.
    arXiv:1611.01144 (eq. 2; straight through: section 2.2).
    Maddison, Mnih and Teh, 2017. The concrete distribution. arXiv:1611.00712.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxml.models.generative import vae
from jaxml.nn import activations, check, initializers

__all__ = ["DiscreteVAE", "Output", "gumbel_softmax", "kl", "loss"]


class Output(NamedTuple):
    """What a discrete VAE says of a batch."""

    reconstruction: Float[Array, "b *shape"]  # parameters of p(x|z)
    logits: Float[Array, "b v k"]  # of q(z|x)
    code: Float[Array, "b v k"]  # shares that were drawn; one-hot outside training


class DiscreteVAE(nn.Module):
    """Dense layers to the logits of several categories, and as many back.

    Args:
        hidden: width of each layer of the encoder; the decoder has them reversed.
        variables_per_code: number of categorical variables in a code.
        categories: values of each, at least 2.
        shape: shape of one example.
        activation: name in `jaxml.nn.activations`, of the hidden layers.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    hidden: tuple[int, ...]
    variables_per_code: int
    categories: int
    shape: tuple[int, ...]
    activation: str | Callable = "relu"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        if self.variables_per_code < 1 or self.categories < 2:
            raise ValueError(
                "a discrete code needs a variable or more, of 2 categories or more; "
                f"got {self.variables_per_code} of {self.categories}"
            )
        dense = lambda width: nn.Dense(
            width,
            kernel_init=initializers.by_name("he_normal"),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        self.encoder = [dense(width) for width in self.hidden]
        self.to_logits = dense(self.variables_per_code * self.categories)
        self.decoder = [dense(width) for width in reversed(self.hidden)]
        self.out = dense(math.prod(self.shape))

    def __call__(
        self,
        x: Float[Array, "b *shape"],
        *,
        train: bool = False,
        temperature: float | Float[Array, ""] = 1.0,
        hard: bool = False,
    ) -> Output:
        """Encode, draw (from the rng "dropout", in training), decode.

        Args:
            x: examples.
            train: whether to draw; else the likeliest category is taken.
            temperature: of the draw, above 0; it is lowered during training.
            hard: whether the decoder sees the category alone, with the gradient of the
                shares (straight through).
        """
        logits = self.encode(x)
        if train:
            key = self.make_rng("dropout")
            code = gumbel_softmax(logits, key=key, temperature=temperature, hard=hard)
        else:
            code = jax.nn.one_hot(
                logits.argmax(-1), self.categories, dtype=logits.dtype
            )
        return Output(self.decode(code), logits, code)

    def encode(self, x: Float[Array, "b *shape"]) -> Float[Array, "b v k"]:
        """Logits of q(z|x).

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
        return self.to_logits(h).reshape(-1, self.variables_per_code, self.categories)

    def decode(self, code: Float[Array, "b v k"]) -> Float[Array, "b *shape"]:
        """Parameters of p(x|z) for one-hot codes, or shares of each category."""
        h = code.reshape(code.shape[0], -1)
        for layer in self.decoder:
            h = activations.activate(layer(h), self.activation)
        return self.out(h).reshape(h.shape[0], *self.shape)


def gumbel_softmax(
    logits: Float[Array, "*batch k"],
    *,
    key: Key[Array, ""],
    temperature: float | Float[Array, ""] = 1.0,
    hard: bool = False,
) -> Float[Array, "*batch k"]:
    """Shares of the categories whose largest is a draw from them (Jang, eq. 2).

    Args:
        logits: of each category.
        key: randomness of the draw.
        temperature: above 0; towards 0 the shares become one-hot.
        hard: whether the value is one-hot, with the gradient of the shares.

    >>> shares = gumbel_softmax(jnp.zeros(3), key=jax.random.key(0), hard=True)
    >>> sorted(shares.tolist())
    [0.0, 0.0, 1.0]
    """
    noise = jax.random.gumbel(key, logits.shape, logits.dtype)
    soft = jax.nn.softmax((logits + noise) / temperature)
    if not hard:
        return soft
    one = jax.nn.one_hot(soft.argmax(-1), logits.shape[-1], dtype=soft.dtype)
    # One-hot to the last bit, or 1 + s - s would not be.
    return jax.lax.stop_gradient(one) + (soft - jax.lax.stop_gradient(soft))


def kl(logits: Float[Array, "b v k"]) -> Float[Array, "b v"]:
    """KL of each variable from the uniform distribution, in nats."""
    log = jax.nn.log_softmax(logits)
    return (jnp.exp(log) * log).sum(-1) + math.log(logits.shape[-1])


def loss(
    output: Output,
    x: Float[Array, "b *shape"],
    log_likelihood: Callable[[Array, Array], Array] = vae.bernoulli,
    *,
    beta: float | Float[Array, ""] = 1.0,
) -> Float[Array, " b"]:
    """-log p(x|z) + β KL of each example, in nats.

    Args:
        output: what the network says of `x`.
        x: the batch.
        log_likelihood: (reconstruction, x) -> [b].
        beta: weight of the KL.
    """
    cost = kl(output.logits).sum(-1)
    return beta * cost - log_likelihood(output.reconstruction, x)
