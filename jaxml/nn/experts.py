"""A mixture of experts: each token goes to the few experts that its router picks.

    y = Experts(partial(GatedFeedForward, 14336), count=8, top_k=2)(x, train=train)
    y, state = model.apply(variables, ids, mutable=["router"])
    logits = jnp.stack(jax.tree.leaves(state["router"]))     # [layers, b, t, experts]
    loss = loss + 0.01 * load_balance(logits, top_k=2, mask=mask)

Without a capacity every expert sees every token, and most of it is weighted by zero:
exact, and `count / top_k` times the work. With a capacity each expert takes so many
tokens of a row, first choices first, in order; what is over gets nothing from it. Where
no expert is full, the two agree. Weights are stacked along a leading axis of experts,
which a rule of `jaxml.nn.rules` splits over devices.

The logits are sown as "logits" into the collection "router" when that is mutable.

References:
    Shazeer et al., 2017. Sparsely-gated mixture of experts. arXiv:1701.06538.
    Lepikhin et al., 2020. GShard (capacity: algorithm 1). arXiv:2006.16668.
    Fedus, Zoph and Shazeer, 2021. Switch transformers (eq. 4-6). arXiv:2101.03961.
    Zoph et al., 2022. ST-MoE (router z-loss: eq. 5). arXiv:2202.08906.
    Jiang et al., 2024. Mixtral of experts. arXiv:2401.04088.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

__all__ = ["Experts", "load_balance", "router_z"]


class Experts(nn.Module):
    """Router, experts, and the sum of what the chosen ones say.

    Args:
        expert: maker of one expert, given a name; called with tokens [n, d] and
            `train`.
        count: how many experts there are.
        top_k: how many of them each token is sent to.
        capacity: tokens of a row that an expert takes: a number of tokens, or, as a
            float, a multiple of the even share top_k·t / count; None for all.
        renormalize: whether the weights of the chosen experts are made to sum to 1.
        jitter: in training the router sees its input times a draw from
            1 - jitter to 1 + jitter (rng "dropout").
        kernel_init: initialiser of the router.
        param_dtype: dtype the router is stored in; it computes in float32.
    """

    expert: Callable
    count: int
    top_k: int = 2
    capacity: int | float | None = None
    renormalize: bool = True
    jitter: float = 0.0
    kernel_init: Callable = nn.initializers.lecun_normal()
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        *,
        mask: Bool[Array, "b t"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b t _e"]:
        """Send each token to its experts.

        Args:
            x: tokens.
            mask: False for padding, which then takes no expert's room.
            train: whether router and experts draw.

        Raises:
            ValueError: if `top_k` or `capacity` are out of their range.
        """
        if not 1 <= self.top_k <= self.count:
            raise ValueError(f"top_k must be from 1 to {self.count}; got {self.top_k}")
        if self.capacity is not None and self.capacity <= 0:
            raise ValueError(f"capacity must be above 0; got {self.capacity}")
        weight, choice = self._route(x, train)
        if mask is not None:
            weight = jnp.where(mask[..., None], weight, 0)
        if self.capacity is None:
            return self._dense(x, weight, choice, train)
        return self._sparse(x, weight, choice, mask, train)

    def _route(self, x, train):
        """Weight and number of the experts of each token [b, t, top_k]."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if train and self.jitter > 0:
            low, high = 1 - self.jitter, 1 + self.jitter
            key = self.make_rng("dropout")
            wide *= jax.random.uniform(key, x.shape, wide.dtype, low, high)
        logits = nn.Dense(
            self.count,
            use_bias=False,
            kernel_init=self.kernel_init,
            dtype=wide.dtype,
            param_dtype=self.param_dtype,
            name="router",
        )(wide)
        if not self.is_initializing():
            self.sow("router", "logits", logits)
        weight, choice = jax.lax.top_k(jax.nn.softmax(logits, -1), self.top_k)
        if self.renormalize:
            weight /= weight.sum(-1, keepdims=True)
        return weight, choice

    def _experts(self, tokens, train, axis):
        """Apply expert i to `tokens[i]`, or each to all tokens if the axis is None."""
        each = nn.vmap(
            lambda expert, tokens: expert(tokens, train=train),
            in_axes=axis,
            variable_axes={True: 0},
            split_rngs={True: True},
            axis_size=self.count,
        )
        return each(self.expert(name="experts"), tokens)

    def _dense(self, x, weight, choice, train):
        said = self._experts(x.reshape(-1, x.shape[-1]), train, None)
        picked = jax.nn.one_hot(choice, self.count, dtype=weight.dtype)
        share = (weight[..., None] * picked).sum(-2).reshape(-1, self.count)
        y = jnp.einsum("ne,end->nd", share.astype(said.dtype), said)
        return y.reshape(*x.shape[:2], -1)

    def _sparse(self, x, weight, choice, mask, train):
        b, t, d = x.shape
        room = self._room(t)
        slot = _slots(choice, mask, self.count, room).reshape(b, -1)
        # Which token stands in each slot of each expert; t, a token of zeros, if none.
        size = self.count * room
        rows = jnp.broadcast_to(jnp.arange(b)[:, None], slot.shape)
        token = jnp.broadcast_to(jnp.arange(t)[None, :, None], choice.shape)
        standing = jnp.full((b, size), t, jnp.int32)
        standing = standing.at[rows, slot].set(token.reshape(b, -1), mode="drop")
        padded = jnp.concatenate([x, jnp.zeros((b, 1, d), x.dtype)], 1)
        tokens = jnp.take_along_axis(padded, standing[..., None], 1)
        tokens = jnp.moveaxis(tokens.reshape(b, self.count, room, d), 1, 0)
        said = self._experts(tokens.reshape(self.count, b * room, d), train, 0)
        said = said.reshape(self.count, b, room, -1)
        said = jnp.moveaxis(said, 0, 1).reshape(b, size, -1)
        found = jnp.minimum(slot, size - 1)[..., None]
        found = jnp.take_along_axis(said, found, 1).reshape(b, t, self.top_k, -1)
        weight = jnp.where(slot.reshape(weight.shape) < size, weight, 0)
        return (weight[..., None].astype(said.dtype) * found).sum(2)

    def _room(self, t):
        """How many tokens of a row an expert takes."""
        room = self.capacity or t
        if isinstance(room, int):
            return min(room, t)
        return min(t, math.ceil(room * self.top_k * t / self.count))


def load_balance(
    logits: Float[Array, "*n e"],
    *,
    top_k: int,
    mask: Bool[Array, "*m"] | None = None,
) -> Float[Array, ""]:
    """How unevenly the tokens are spread: `top_k` if evenly, more if not (eq. 4).

    Args:
        logits: of the routers, of several layers too [layers, b, t, experts].
        top_k: how many experts each token is sent to.
        mask: False for padding, which does not count; its axes are the last ones
            before that of the experts.
    """
    count = logits.shape[-1]
    share = jax.nn.softmax(logits, -1)
    _, choice = jax.lax.top_k(logits, top_k)
    sent = jax.nn.one_hot(choice, count, dtype=share.dtype).sum(-2)
    real = jnp.ones(logits.shape[:-1], share.dtype)
    if mask is not None:
        real *= mask.reshape((1,) * (real.ndim - mask.ndim) + mask.shape)
    mean = lambda x: (x * real[..., None]).reshape(-1, count).sum(0) / real.sum()
    return count * (mean(sent) * mean(share)).sum()


def router_z(
    logits: Float[Array, "*n e"], *, mask: Bool[Array, "*m"] | None = None
) -> Float[Array, ""]:
    """The mean square of the log-sum-exp of the logits, which keeps them small.

    Args:
        logits: of the routers.
        mask: as for `load_balance`.
    """
    square = jnp.square(jax.nn.logsumexp(logits, -1))
    real = jnp.ones(square.shape, square.dtype)
    if mask is not None:
        real *= mask.reshape((1,) * (real.ndim - mask.ndim) + mask.shape)
    return (square * real).sum() / real.sum()


def _slots(
    choice: Int[Array, "b t k"], mask: Bool[Array, "b t"] | None, count: int, room: int
) -> Int[Array, "b t k"]:
    """Where each choice stands among the slots of all experts; past them if dropped."""
    b, t, k = choice.shape
    picked = jax.nn.one_hot(choice, count, dtype=jnp.int32)
    if mask is not None:
        picked *= mask[..., None, None]
    # First choices of all tokens come before any second choice.
    order = jnp.moveaxis(picked, 2, 1).reshape(b, k * t, count)
    place = ((jnp.cumsum(order, 1) - 1) * order).sum(-1)
    place = jnp.moveaxis(place.reshape(b, k, t), 1, 2)
    fits = (place < room) & (picked.sum(-1) > 0)
    return jnp.where(fits, choice * room + place, count * room)
