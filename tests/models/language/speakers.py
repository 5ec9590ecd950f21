"""Small models of the causal interface, whose every token weighs on what follows."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxml.nn import cache as caches

TRACES = []  # one entry each time a model is traced or run: how many tokens at once


class Output(NamedTuple):
    logits: Float[Array, "b t v"]
    last_hidden_state: Float[Array, "b t d"]
    cache: PyTree


class Fading(nn.Module):
    """Logits from a sum over all tokens before, which fades with their distance."""

    vocabulary: int = 7
    width: int = 8
    window: int | None = None

    @nn.compact
    def __call__(self, input_ids, mask=None, positions=None, cache=None, train=False):
        TRACES.append(input_ids.shape[1])
        if mask is None:
            mask = jnp.ones(input_ids.shape, bool)
        if positions is None:
            positions = jnp.maximum(mask.cumsum(-1) - 1, 0)
        positions = jnp.where(mask, positions, -1)
        scale = nn.initializers.normal(1.5)
        x = nn.Embed(self.vocabulary, self.width, embedding_init=scale)(input_ids)
        keys, places = x, positions
        if cache is not None:
            # The new tokens and the old, since a ring may give up what is still seen.
            old = cache.value[:, 0].astype(x.dtype)
            keys = jnp.concatenate([old, x], 1)
            places = jnp.concatenate([cache.position, positions], 1)
            cache = caches.append(cache, x[:, :, None], x[:, :, None], positions)
        seen = caches.visible(places, positions, window=self.window)[:, 0]
        distance = positions[:, :, None] - places[:, None, :]
        h = jnp.einsum("bts,bsd->btd", jnp.where(seen, 0.8**distance, 0.0), keys)
        h = jnp.tanh(nn.Dense(self.width, kernel_init=scale)(h))
        return Output(nn.Dense(self.vocabulary, kernel_init=scale)(h), h, cache)

    def start_cache(self, batch, length, dtype=jnp.float32):
        kwargs = {"window": self.window, "dtype": dtype}
        return caches.start(batch, length, 1, self.width, **kwargs)


class Translator(nn.Module):
    """An encoder-decoder: a mean of what is heard shifts all that is said."""

    vocabulary: int = 7
    width: int = 8

    def setup(self):
        self.ear = nn.Embed(self.vocabulary, self.vocabulary)
        self.mouth = Fading(self.vocabulary, self.width)

    def encode(self, input_ids, mask=None):
        return 3 * self.ear(input_ids)

    def decode(self, input_ids, encoded, encoded_mask=None, cache=None):
        if encoded_mask is None:
            encoded_mask = jnp.ones(encoded.shape[:2], bool)
        count = encoded_mask.sum(1)[:, None]
        heard = jnp.where(encoded_mask[..., None], encoded, 0).sum(1) / count
        before = 0 if cache is None else cache.length[:, None]
        places = jnp.broadcast_to(jnp.arange(input_ids.shape[1]), input_ids.shape)
        output = self.mouth(input_ids, positions=places + before, cache=cache)
        return output._replace(logits=output.logits + heard[:, None])

    def __call__(self, input_ids, start):
        return self.decode(start, self.encode(input_ids))

    def start_cache(self, batch, length, dtype=jnp.float32):
        return caches.start(batch, length, 1, self.width, dtype=dtype)


def causal(seed=0, **sizes):
    """A model and its parameters."""
    model = Fading(**sizes)
    ids = jnp.zeros((1, 2), jnp.int32)
    return model, jax.jit(model.init)(jax.random.key(seed), ids)


def translator(seed=0, **sizes):
    """An encoder-decoder and its parameters."""
    model = Translator(**sizes)
    ids = jnp.zeros((1, 2), jnp.int32)
    return model, jax.jit(model.init)(jax.random.key(seed), ids, ids)
