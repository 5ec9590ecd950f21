import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.language import generate as module
from jaxml.models.language import plan as plans
from jaxml.models.language import prompt as prompts
from jaxml.models.language.generate import generate
from jaxml.models.language.sampling import Sampling
from jaxml.models.language.stream import stream
from tests.models.language import speakers

NEW = 6
PROMPTS = [[3, 1, 4, 1, 5], [2], [6, 5, 3], [5, 0, 6, 2, 2, 1, 4]]


def ragged(rows, side="left", size=9):
    """Rows padded on a side with a token that also occurs in them."""
    ids, mask = np.full((len(rows), size), 5, np.int32), np.zeros((len(rows), size))
    for i, row in enumerate(rows):
        place = slice(size - len(row), size) if side == "left" else slice(len(row))
        ids[i, place], mask[i, place] = row, 1
    return jnp.asarray(ids), jnp.asarray(mask.astype(bool))


@functools.cache
def whole(model):
    return jax.jit(lambda variables, ids: model.apply(variables, ids).logits)


def without_cache(model, variables, row, new, ended=lambda row: False, choose=None):
    """Feed the whole row anew for each token; also the log-probabilities."""
    row, start, log_probs = list(row), len(row), []
    size = start + new
    for i in range(new):
        ids = jnp.asarray([row + [0] * (size - len(row))], jnp.int32)
        logits = whole(model)(variables, ids)[:, len(row) - 1]
        token = int(logits[0].argmax()) if choose is None else choose(i, logits)
        log_probs.append(float(jax.nn.log_softmax(logits[0])[token]))
        row.append(token)
        if ended(row[start:]):
            break
    return row[start:], log_probs


@pytest.mark.parametrize("window", [None, 3])
def test_with_cache_as_without_token_by_token(window):
    model, variables = speakers.causal(window=window)
    ids, mask = ragged(PROMPTS)
    out = generate(model, variables, ids, mask, max_new_tokens=NEW, bucket=8)
    for i, row in enumerate(PROMPTS):
        tokens, log_probs = without_cache(model, variables, row, NEW)
        assert out.tokens[i].tolist() == tokens
        np.testing.assert_allclose(out.log_probs[i], log_probs, atol=1e-5)
    assert out.lengths.tolist() == [NEW] * 4
    assert len({tuple(row) for row in out.tokens.tolist()}) > 2


def test_padding_on_any_side_is_the_same():
    model, variables = speakers.causal()
    left = generate(model, variables, *ragged(PROMPTS), max_new_tokens=NEW, bucket=8)
    right = ragged(PROMPTS, "right")
    other = generate(model, variables, *right, max_new_tokens=NEW, bucket=8)
    np.testing.assert_array_equal(left.tokens, other.tokens)


def test_each_row_as_alone_when_drawn_with_all_settings(key):
    model, variables = speakers.causal(1)
    keys = jax.random.split(key, 4)
    numbers = {
        "temperature": jnp.array([0.7, 1.0, 2.0, 0.0]),
        "top_k": jnp.array([5, 4, 7, 7]),
        "top_p": jnp.array([0.9, 0.95, 1.0, 0.8]),
        "min_p": jnp.array([0.05, 0.0, 0.0, 0.0]),
        "repetition_penalty": jnp.array([1.2, 1.0, 0.7, 1.5]),
    }
    options = {"max_new_tokens": NEW, "bucket": 8, "eos_token_id": [0, 6]}
    together = generate(
        model, variables, *ragged(PROMPTS), key=keys, **numbers, **options
    )
    for i, row in enumerate(PROMPTS):
        mine = {name: number[i : i + 1] for name, number in numbers.items()}
        ids = jnp.asarray([row], jnp.int32)
        alone = generate(model, variables, ids, key=keys[i : i + 1], **mine, **options)
        np.testing.assert_array_equal(together.tokens[i], alone.tokens[0])


def test_rows_end_by_token_and_by_sequence_and_the_loop_with_them():
    model, variables = speakers.causal()
    ids, mask = ragged(PROMPTS)
    free = generate(model, variables, ids, mask, max_new_tokens=8, bucket=8).tokens
    eos, sequence = int(free[0, 2]), tuple(map(int, free[1, 3:5]))

    def ended(row):
        return row[-1] == eos or tuple(row[-2:]) == sequence

    options = {"max_new_tokens": 8, "bucket": 8, "pad_token_id": 5}
    out = generate(
        model, variables, ids, mask, eos_token_id=eos, stop=[sequence], **options
    )
    for i, row in enumerate(PROMPTS):
        tokens, _ = without_cache(model, variables, row, 8, ended)
        assert int(out.lengths[i]) == len(tokens)
        assert out.tokens[i].tolist() == tokens + [5] * (8 - len(tokens))
        assert (out.log_probs[i, len(tokens) :] == 0).all()
    assert out.lengths.min() < 8

    everything = list(range(7))
    todo = _plan(ids, mask, prompts.ends(everything, ()))
    run = module.begin(model, variables, todo, room=8, dtype=jnp.float32)
    run = module.advance(model, variables, todo, run, steps=8)
    assert run.step == 1


def _plan(ids, mask, ends):
    return plans.make(
        speakers.Fading(),
        {},
        ids,
        mask,
        Sampling(),
        key=None,
        max_new_tokens=8,
        ends=ends,
        pad_token_id=0,
        decoder_start_token_id=0,
        encoded=None,
        encoded_mask=None,
        bucket=8,
    )


def test_one_compile_for_a_bucket(key):
    model, variables = speakers.causal(vocabulary=9)
    counts = []
    for size, new, temperature in (
        (3, 5, 0.5),
        (8, 8, 1.5),
        (5, 2, 0.0),
        (9, 8, 1.0),  # the next bucket
        (16, 1, 1.0),
    ):
        ids, mask = ragged(PROMPTS[1:3], size=size)
        before = len(speakers.TRACES)
        options = {"max_new_tokens": new, "bucket": 8, "eos_token_id": size}
        generate(
            model, variables, ids, mask, key=key, temperature=temperature, **options
        )
        counts.append(len(speakers.TRACES) - before)
    assert counts[0] == counts[3] > 0
    assert counts[1] == counts[2] == counts[4] == 0


def test_the_prompt_is_read_at_once():
    model, variables = speakers.causal(vocabulary=10)
    speakers.TRACES.clear()
    ids = jnp.ones((2, 8), jnp.int32)
    generate(model, variables, ids, max_new_tokens=3, bucket=8)
    assert set(speakers.TRACES) == {7, 1}


def test_under_the_jit_and_vmap_of_a_user():
    model, variables = speakers.causal()
    ids, mask = ragged(PROMPTS)
    options = {"max_new_tokens": NEW, "bucket": 8}
    expected = generate(model, variables, ids, mask, **options).tokens

    @jax.jit
    def mine(variables, ids, mask):
        return generate(model, variables, ids, mask, **options).tokens

    np.testing.assert_array_equal(mine(variables, ids, mask), expected)


def test_an_encoder_decoder_says_what_it_says_step_by_step():
    model, variables = speakers.translator()
    heard, heard_mask = ragged(PROMPTS, "right")
    encoded = model.apply(variables, heard, method="encode")
    start = jnp.asarray([[1], [2], [1], [3]])
    out = generate(
        model,
        variables,
        start,
        encoded=encoded,
        encoded_mask=heard_mask,
        max_new_tokens=NEW,
        bucket=16,
    )

    @jax.jit
    def logits(ids):
        given = variables, ids, encoded, heard_mask
        return model.apply(*given, method="decode").logits

    said = np.zeros((4, NEW + 1), np.int32)
    said[:, :1] = start
    for i in range(NEW):
        said[:, i + 1] = logits(jnp.asarray(said))[:, i].argmax(-1)
    np.testing.assert_array_equal(out.tokens, said[:, 1:])
    ones = generate(
        model,
        variables,
        *ragged(PROMPTS),
        decoder_start_token_id=1,
        max_new_tokens=NEW,
        bucket=16,
    )
    np.testing.assert_array_equal(ones.tokens[::2], out.tokens[::2])


def test_a_stream_gives_what_generate_gives(key):
    model, variables = speakers.causal()
    ids, mask = ragged(PROMPTS)
    options = {"max_new_tokens": 7, "eos_token_id": 0, "key": key, "top_p": 0.9}
    expected = generate(model, variables, ids, mask, bucket=8, **options)
    chunks = list(stream(model, variables, ids, mask, chunk=3, bucket=8, **options))
    tokens = np.concatenate([chunk.tokens for chunk in chunks], 1)
    np.testing.assert_array_equal(tokens, expected.tokens[:, : tokens.shape[1]])
    lengths = sum(chunk.lengths for chunk in chunks)
    np.testing.assert_array_equal(lengths, expected.lengths)
    assert tokens.shape[1] == 7 or lengths.max() == tokens.shape[1]


def test_a_stream_ends_when_all_rows_have():
    model, variables = speakers.causal()
    ids, mask = ragged(PROMPTS)
    everything = list(range(7))
    chunks = list(
        stream(
            model,
            variables,
            ids,
            mask,
            chunk=2,
            max_new_tokens=8,
            eos_token_id=everything,
            bucket=8,
        )
    )
    assert len(chunks) == 1
    assert chunks[0].lengths.tolist() == [1] * 4


IDS = jnp.ones((2, 3), jnp.int32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1; got 0"),
        ({"temperature": 1.0}, "drawing tokens needs a key; got temperature and none"),
        ({"top_k": 0}, "top_k must be at least 1; got 0"),
        ({"stop": [()]}, "a stop sequence must hold a token"),
        ({"eos_token_id": -1}, "ids must be at least 0"),
        ({"bucket": 0}, "bucket must be at least 1; got 0"),
        ({"encoded_mask": jnp.ones((2, 3), bool)}, "encoded_mask needs encoded"),
        ({"mask": jnp.zeros((2, 3), bool)}, r"rows \[0, 1\] are all padding"),
    ],
)
def test_rejects(options, message):
    model, variables = speakers.causal()
    with pytest.raises(ValueError, match=message):
        generate(model, variables, IDS, **({"max_new_tokens": 2} | options))


def test_rejects_prompts_of_another_kind():
    unchecked = prompts.bucketed.__wrapped__  # beartype would be the first to refuse
    with pytest.raises(ValueError, match="input_ids must be integers"):
        unchecked(jnp.ones((2, 3)), None, bucket=8)
    with pytest.raises(ValueError, match=r"mask must be \[2, 3\], as input_ids"):
        unchecked(IDS, jnp.ones((2, 4), bool), bucket=8)
