import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.language import sampling
from jaxml.models.language.generate import generate
from jaxml.models.language.speculative import acceptance, leftover, speculate
from tests.models.language import speakers

PROMPTS = [[3, 1, 4, 1, 5], [2], [6, 5, 3], [5, 0, 6, 2, 2, 1, 4]]


def ragged(rows, size=9):
    ids, mask = np.full((len(rows), size), 5, np.int32), np.zeros((len(rows), size))
    for i, row in enumerate(rows):
        ids[i, size - len(row) :], mask[i, size - len(row) :] = row, 1
    return jnp.asarray(ids), jnp.asarray(mask.astype(bool))


def test_the_rule_leaves_the_distribution():
    # Sum over everything that may happen, for random distributions with zeros.
    state = np.random.default_rng(0)
    p, q = state.dirichlet([0.4] * 6, 200), state.dirichlet([0.4] * 6, 200)
    p[:50, :3], q[25:75, 2:4] = 0, 0
    p /= p.sum(1, keepdims=True)
    q /= q.sum(1, keepdims=True)
    p, q = jnp.asarray(p, jnp.float32), jnp.asarray(q, jnp.float32)
    tokens = jnp.arange(6)[:, None] * jnp.ones((1, 200), jnp.int32)
    every = lambda x: jnp.broadcast_to(x, (6, 200, 6))
    taken = acceptance(every(p), every(q), tokens).T * q
    refused = 1 - taken.sum(1, keepdims=True)
    np.testing.assert_allclose(taken + refused * leftover(p, q), p, atol=2e-6)
    np.testing.assert_allclose(leftover(p, p), p)


@pytest.mark.parametrize(("ahead", "window"), [(1, None), (3, None), (2, 3)])
def test_greedily_the_same_tokens(ahead, window):
    model, variables = speakers.causal(0, window=window)
    ids, mask = ragged(PROMPTS)
    options = {"max_new_tokens": 9, "bucket": 9, "pad_token_id": 3}
    free = generate(model, variables, ids, mask, **options).tokens
    stops = {"eos_token_id": int(free[0, 6]), "stop": [tuple(free[1, 3:5].tolist())]}
    expected = generate(model, variables, ids, mask, **stops, **options)
    # The model itself, a good draft (its numbers moved a little) and a bad one.
    shift = lambda x: 0.1 * jnp.sin(7.0 * jnp.arange(x.size, dtype=x.dtype))
    near = jax.tree.map(lambda x: x + shift(x).reshape(x.shape), variables)
    share = []
    for draft in (variables, near, speakers.causal(5, window=window)[1]):
        got = speculate(
            model,
            variables,
            model,
            draft,
            ids,
            mask,
            draft_tokens=ahead,
            **stops,
            **options,
        )
        np.testing.assert_array_equal(got.tokens, expected.tokens)
        np.testing.assert_array_equal(got.lengths, expected.lengths)
        share.append(float(got.accepted.sum() / (ahead * got.rounds.sum())))
    assert share[0] == 1 > share[1] > share[2]


def test_drawn_sequences_have_the_distribution_of_the_model(key):
    model, variables = speakers.causal(1, vocabulary=4)
    draft, draft_variables = speakers.causal(3, vocabulary=4, width=5)
    numbers = {"temperature": 4.0, "top_p": 0.97}
    rows, new, prompt = 20_000, 3, [1, 3]

    ids = [[*prompt, *more] for more in itertools.product(range(4), repeat=new)]
    ids = jnp.asarray(ids, jnp.int32)
    logits = jax.jit(model.apply)(variables, ids).logits
    settings = sampling.Sampling(**numbers)
    chance = np.ones(len(ids))
    for i in range(new):
        p = sampling.probabilities(logits[:, i + 1], settings)
        chance *= np.take_along_axis(np.asarray(p), np.asarray(ids[:, i + 2, None]), 1)[
            :, 0
        ]
    np.testing.assert_allclose(chance.sum(), 1, rtol=1e-5)

    out = speculate(
        model,
        variables,
        draft,
        draft_variables,
        jnp.broadcast_to(jnp.asarray(prompt), (rows, 2)),
        max_new_tokens=new,
        draft_tokens=2,
        key=key,
        bucket=2,
        **numbers,
    )
    index = np.asarray(out.tokens) @ np.array([16, 4, 1])
    share = np.bincount(index, minlength=64) / rows
    # Five standard deviations of a share.
    assert (np.abs(share - chance) <= 5 * np.sqrt(chance / rows) + 1e-9).all()
    rate = out.accepted.sum() / (2 * out.rounds.sum())
    assert 0.2 < rate < 0.9


def test_rejects():
    model, variables = speakers.causal()
    other, other_variables = speakers.causal(vocabulary=5)
    ids = jnp.ones((1, 2), jnp.int32)
    with pytest.raises(ValueError, match="draft_tokens must be at least 1; got 0"):
        speculate(
            model, variables, model, variables, ids, max_new_tokens=2, draft_tokens=0
        )
    narrow, narrow_variables = speakers.causal(window=2)
    with pytest.raises(ValueError, match="must be below the window of 2; got 2"):
        speculate(
            model,
            variables,
            narrow,
            narrow_variables,
            ids,
            max_new_tokens=2,
            draft_tokens=2,
            bucket=2,
        )
    with pytest.raises(ValueError, match="the draft must have 7 tokens; got 5"):
        speculate(
            model, variables, other, other_variables, ids, max_new_tokens=2, bucket=2
        )
