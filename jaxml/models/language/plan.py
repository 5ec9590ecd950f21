"""What a run of generation is to do: checked, and padded to a few shapes.

todo = make(model, variables, input_ids, mask, Sampling(top_k=50), key=key, ...)

Letters: b rows, s encoder tokens, d their width.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from jaxml.models.language import prompt as prompts
from jaxml.models.language import sampling
from jaxml.models.language.prompt import Ends, Prompt
from jaxml.models.language.sampling import Sampling

__all__ = ["Plan", "make"]


class Plan(NamedTuple):
    """What a run is to do; all but the sizes of these arrays may be traced."""

    prompt: Prompt
    encoded: Float[Array, "b s d"] | None
    encoded_mask: Bool[Array, "b s"] | None
    settings: Sampling
    keys: Key[Array, "b"] | None  # None: the likeliest token
    ends: Ends
    pad: Int[Array, ""]
    limit: Int[Array, ""]  # new tokens at most


def make(
    model: nn.Module,
    variables: PyTree,
    input_ids: Int[Array, "b p"],
    mask: Bool[Array, "b p"] | Int[Array, "b p"] | None,
    settings: Sampling,
    *,
    key: Key[Array, "*b"] | None,
    max_new_tokens: int,
    ends: Ends,
    pad_token_id: int,
    decoder_start_token_id: int,
    encoded: Float[Array, "b s d"] | None,
    encoded_mask: Bool[Array, "b s"] | Int[Array, "b s"] | None,
    bucket: int,
) -> Plan:
    """Check what a user asks for, and pad it to buckets.

    The arguments, and what is refused, are those of `generate`.
    """
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1; got {max_new_tokens}")
    sampling.check(settings)
    drawn = {
        name: number
        for name, number in settings._asdict().items()
        if number is not None and name != "repetition_penalty"
    }
    if drawn and key is None:
        raise ValueError(f"drawing tokens needs a key; got {', '.join(drawn)} and none")
    if encoded is None and encoded_mask is not None:
        raise ValueError("encoded_mask needs encoded; got none")
    rows = input_ids.shape[0]
    if encoded is None and hasattr(model, "encode"):
        heard = prompts.bucketed(input_ids, mask, bucket=bucket, side="right")
        encoded, encoded_mask = _encode(model, variables, heard), heard.mask
        input_ids = jnp.full((rows, 1), decoder_start_token_id, jnp.int32)
        mask = None
    elif encoded is not None:
        if mask is not None:
            raise ValueError("the prompts of a decoder have no padding; got a mask")
        if encoded.shape[0] != rows:
            raise ValueError(
                f"encoded must have {rows} rows, as input_ids; got {encoded.shape[0]}"
            )
        encoded, encoded_mask = _pad_encoded(encoded, encoded_mask, bucket)
    if key is not None:
        if key.ndim == 1 and key.shape[0] != rows:
            raise ValueError(f"keys must be one or {rows}; got {key.shape[0]}")
        if key.ndim == 0:
            key = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(rows))
    # A decoder starts with a token or two, and has no mask to hide padding with.
    width = bucket if encoded is None else input_ids.shape[1]
    longest = getattr(model, "max_positions", None)
    prompt = prompts.bucketed(input_ids, mask, bucket=width, longest=longest)
    if longest is not None:
        prompts.check_room(prompt, max_new_tokens, longest)
    return Plan(
        prompt,
        encoded,
        encoded_mask,
        settings,
        key,
        ends,
        jnp.asarray(pad_token_id, jnp.int32),
        jnp.asarray(max_new_tokens, jnp.int32),
    )


@partial(jax.jit, static_argnames=("model",))
def _encode(model, variables, heard):
    return model.apply(variables, heard.tokens, heard.mask, method="encode")


def _pad_encoded(encoded, mask, bucket):
    """The encoder's tokens padded on the right, and a mask that says so."""
    rows, size = encoded.shape[:2]
    if mask is None:
        mask = jnp.ones((rows, size), bool)
    more = prompts.round_up(size, bucket) - size
    encoded = jnp.pad(encoded, ((0, 0), (0, more), (0, 0)))
    return encoded, jnp.pad(mask.astype(bool), ((0, 0), (0, more)))
