import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.language.beam import beam_search
from jaxml.models.language.generate import generate
from tests.models.language import speakers

NEVER = -1e9
PROMPTS = [[3, 1, 2], [1], [2, 0]]


@functools.cache
def whole(model):
    return jax.jit(lambda variables, ids: model.apply(variables, ids).logits)


def teller(model, variables, size=12):
    """Log-probabilities after a row, remembered."""

    @functools.cache
    def log_probs(row):
        ids = jnp.asarray([list(row) + [0] * (size - len(row))], jnp.int32)
        logits = np.asarray(whole(model)(variables, ids)[0, len(row) - 1], np.float64)
        return logits - np.log(np.exp(logits).sum())

    return log_probs


def by_lists(log_probs, prompt, beams, limit, penalty, early, eos):
    """Beam search of one row told with lists, a beam at a time."""
    running, finished = [(0.0, ())], []
    for length in range(1, limit + 1):
        candidates = [
            (total + gain, (*row, token))
            for total, row in running
            for token, gain in enumerate(log_probs((*prompt, *row)))
        ]
        candidates.sort(key=lambda c: -c[0])
        candidates = candidates[: max(2, 1 + len(eos)) * beams]
        ends = [row[-1] in eos or length == limit for _, row in candidates]
        if not (early is True and len(finished) >= beams):
            for (total, row), end in list(zip(candidates, ends, strict=True))[:beams]:
                if end:
                    finished.append((total / length**penalty, row))
        finished = sorted(finished, key=lambda f: -f[0])[:beams]
        running = [c for c, end in zip(candidates, ends, strict=True) if not end]
        running = running[:beams]
        if not running or (early is True and len(finished) >= beams):
            break
        reach = limit if early == "never" and penalty > 0 else length
        worst = finished[-1][0] if len(finished) == beams else NEVER
        if running[0][0] / reach**penalty <= worst:
            break
    return finished


def ragged(rows, size=5):
    ids, mask = np.full((len(rows), size), 1, np.int32), np.zeros((len(rows), size))
    for i, row in enumerate(rows):
        ids[i, size - len(row) :], mask[i, size - len(row) :] = row, 1
    return jnp.asarray(ids), jnp.asarray(mask.astype(bool))


@pytest.mark.parametrize("early", [False, True, "never"])
def test_as_told_with_lists(early):
    ids, mask = ragged(PROMPTS)
    lengths = []
    for seed, penalty in itertools.product(range(2), (-0.7, 0.0, 1.0, 2.0)):
        model, variables = speakers.causal(seed, vocabulary=6)
        got = beam_search(
            model,
            variables,
            ids,
            mask,
            num_beams=3,
            num_return=3,
            max_new_tokens=6,
            eos_token_id=[2, 4],
            length_penalty=penalty,
            early_stopping=early,
            bucket=6,
        )
        log_probs = teller(model, variables)
        for i, prompt in enumerate(PROMPTS):
            expected = by_lists(log_probs, prompt, 3, 6, penalty, early, (2, 4))
            for j, (score, row) in enumerate(expected):
                n = int(got.lengths[i, j])
                assert tuple(got.tokens[i, j, :n].tolist()) == row
                assert (got.tokens[i, j, n:] == 0).all()
                np.testing.assert_allclose(got.scores[i, j], score, rtol=2e-5)
                lengths.append(n)
    assert len(set(lengths)) > 3


def test_wide_enough_it_finds_the_best_of_all_sequences():
    model, variables = speakers.causal(7, vocabulary=4)
    eos, limit, penalty = 3, 3, 0.6
    log_probs = teller(model, variables)
    got = beam_search(
        model,
        variables,
        *ragged(PROMPTS),
        num_beams=40,
        num_return=5,
        max_new_tokens=limit,
        eos_token_id=eos,
        length_penalty=penalty,
        early_stopping="never",
        bucket=4,
    )
    for i, prompt in enumerate(PROMPTS):
        scored = {}
        for row in itertools.product(range(4), repeat=limit):
            row = row[: row.index(eos) + 1] if eos in row else row
            total = sum(log_probs((*prompt, *row[:n]))[row[n]] for n in range(len(row)))
            scored[row] = total / len(row) ** penalty
        best = sorted(scored, key=lambda row: -scored[row])[:5]
        for j, row in enumerate(best):
            assert tuple(got.tokens[i, j, : got.lengths[i, j]].tolist()) == row
            np.testing.assert_allclose(got.scores[i, j], scored[row], rtol=1e-5)


def test_one_beam_is_greedy_also_of_an_encoder_decoder():
    model, variables = speakers.translator()
    heard = jnp.asarray([[1, 2, 3], [6, 6, 0]])
    encoded = model.apply(variables, heard, method="encode")
    options = {
        "encoded": encoded,
        "encoded_mask": heard > 0,
        "max_new_tokens": 5,
        "eos_token_id": 4,
        "bucket": 5,
    }
    start = jnp.ones((2, 1), jnp.int32)
    greedy = generate(model, variables, start, **options)
    beams = beam_search(model, variables, start, num_beams=1, **options)
    np.testing.assert_array_equal(beams.tokens[:, 0], greedy.tokens)
    np.testing.assert_array_equal(beams.lengths[:, 0], greedy.lengths)
    more = beam_search(
        model, variables, start, num_beams=4, length_penalty=0.0, **options
    )
    assert (more.scores[:, 0] >= greedy.log_probs.sum(1) - 1e-5).all()


def test_a_row_with_nothing_left_is_as_alone():
    # Whatever a beam says, it has ended by its second token.
    model, variables = speakers.causal(3, vocabulary=5)
    ids, mask = ragged(PROMPTS)
    options = {"num_beams": 4, "num_return": 4, "max_new_tokens": 3, "bucket": 3}
    options["stop"] = [(0,), (1,), (2,), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)]
    together = beam_search(model, variables, ids, mask, **options)
    for i, row in enumerate(PROMPTS):
        alone = beam_search(model, variables, jnp.asarray([row]), **options)
        np.testing.assert_array_equal(together.tokens[i], alone.tokens[0])
        np.testing.assert_allclose(together.scores[i], alone.scores[0], rtol=1e-5)


def test_a_sequence_of_tokens_ends_a_beam():
    model, variables = speakers.causal(2, vocabulary=6)
    options = {"num_beams": 2, "max_new_tokens": 6, "bucket": 6}
    ids = jnp.asarray([[3, 1, 2]])
    free = beam_search(model, variables, ids, length_penalty=0.0, **options)
    pair = tuple(free.tokens[0, 0, 1:3].tolist())
    cut = beam_search(
        model, variables, ids, stop=[pair], early_stopping=True, **options
    )
    n = int(cut.lengths[0, 0])
    row = cut.tokens[0, 0, :n].tolist()
    inside = [tuple(row[i : i + 2]) == pair for i in range(n - 2)]
    assert not any(inside)
    assert tuple(row[-2:]) == pair or n == 6


def test_as_transformers_searches():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from jaxml.zoo import loading, table
    from jaxml.zoo.families.transformers_gpt2 import FAMILY

    torch.manual_seed(0)
    sizes = {"n_layer": 1, "n_embd": 16, "n_head": 2, "n_positions": 32}
    sizes |= {"bos_token_id": 0, "eos_token_id": 2}
    config = transformers.GPT2Config(vocab_size=11, initializer_range=0.6, **sizes)
    theirs = transformers.GPT2LMHeadModel(config).eval()
    model = FAMILY.build(config.to_dict(), "GPT2LMHeadModel")
    tensors = {name: x.numpy() for name, x in theirs.state_dict().items()}
    shapes = loading.shapes_of(FAMILY, model)
    variables = table.convert(FAMILY.rows(model), tensors, shapes).variables
    ids, mask = ragged(PROMPTS)
    for early, penalty in ((False, 1.0), (True, 2.0), ("never", 0.5), (False, -1.0)):
        same = {"num_beams": 3, "max_new_tokens": 7, "length_penalty": penalty}
        same |= {"early_stopping": early, "eos_token_id": [2, 7], "pad_token_id": 1}
        with torch.no_grad():
            expected = theirs.generate(
                input_ids=torch.tensor(np.asarray(ids)),
                attention_mask=torch.tensor(np.asarray(mask)).long(),
                do_sample=False,
                num_return_sequences=2,
                return_dict_in_generate=True,
                output_scores=True,
                **same,
            )
        got = beam_search(model, variables, ids, mask, num_return=2, bucket=7, **same)
        new = expected.sequences.numpy()[:, ids.shape[1] :].reshape(3, 2, -1)
        np.testing.assert_array_equal(got.tokens[:, :, : new.shape[2]], new)
        scores = expected.sequences_scores.numpy().reshape(3, 2)
        np.testing.assert_allclose(got.scores, scores, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "num_return must be from 1 to num_beams"),
        ({"num_beams": 2, "num_return": 3}, "got num_return=3, num_beams=2"),
        ({"num_beams": 2, "early_stopping": "soon"}, "early_stopping must be True"),
    ],
)
def test_rejects(options, message):
    model, variables = speakers.causal()
    ids = jnp.ones((1, 2), jnp.int32)
    with pytest.raises(ValueError, match=message):
        beam_search(model, variables, ids, max_new_tokens=2, **options)
