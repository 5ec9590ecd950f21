import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxml.models.language import sampling
from jaxml.models.language.sampling import Sampling

VOCABULARY = 23
process = jax.jit(sampling.process)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def by_sorting(logits, seen, numbers):
    """The same steps, row by row, as they are told in words."""
    rows = []
    for row, old in zip(logits.astype(np.float64), seen, strict=True):
        x = row.copy()
        penalty = numbers["repetition_penalty"]
        x[old] = np.where(x[old] < 0, x[old] * penalty, x[old] / penalty)
        x = x / numbers["temperature"]
        x[x < np.sort(x)[::-1][: numbers["top_k"]].min()] = -np.inf
        falling = np.argsort(-x)
        before = np.concatenate([[0], np.cumsum(softmax(x)[falling])[:-1]])
        gone = falling[before >= numbers["top_p"]]
        x[np.setdiff1d(gone, falling[:1])] = -np.inf
        p = softmax(x)
        x[p < numbers["min_p"] * p.max()] = -np.inf
        rows.append(x)
    return np.stack(rows)


def random_logits(seed):
    state = np.random.default_rng(seed)
    logits = state.normal(0, 2, (3, VOCABULARY)).astype(np.float32)
    return logits, state.random((3, VOCABULARY)) < 0.3


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    temperature=st.floats(0.3, 3),
    top_k=st.integers(1, VOCABULARY + 3),
    top_p=st.floats(0.05, 1),
    min_p=st.floats(0, 0.9),
    penalty=st.floats(0.5, 3),
)
def test_as_brute_force(seed, temperature, top_k, top_p, min_p, penalty):
    logits, seen = random_logits(seed)
    numbers = Sampling(temperature, top_k, top_p, min_p, penalty)
    expected = by_sorting(logits, seen, numbers._asdict())
    got = np.asarray(process(jnp.asarray(logits), numbers, jnp.asarray(seen)))
    # A token at the very edge may fall on either side by rounding: none is so close
    # that more than one differs.
    differs = np.isinf(expected) != np.isinf(got)
    assert differs.sum() == 0 or np.abs(softmax(got) - softmax(expected)).max() < 0.02
    both = np.isfinite(expected) & np.isfinite(got)
    np.testing.assert_allclose(got[both], expected[both], rtol=1e-5)


def test_as_transformers():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("transformers.generation.logits_process")
    for seed in range(40):
        logits, _ = random_logits(seed)
        state = np.random.default_rng(seed)
        ids = state.integers(0, VOCABULARY, (3, 5))
        numbers = Sampling(
            temperature=float(state.uniform(0.3, 2)),
            top_k=int(state.integers(1, VOCABULARY)),
            top_p=float(state.uniform(0.1, 1)),
            min_p=float(state.uniform(0, 0.5)),
            repetition_penalty=float(state.uniform(0.7, 2)),
        )
        steps = (
            theirs.RepetitionPenaltyLogitsProcessor(numbers.repetition_penalty),
            theirs.TemperatureLogitsWarper(numbers.temperature),
            theirs.TopKLogitsWarper(numbers.top_k),
            theirs.TopPLogitsWarper(numbers.top_p),
            theirs.MinPLogitsWarper(numbers.min_p),
        )
        expected = torch.tensor(logits)
        for step in steps:
            expected = step(torch.tensor(ids), expected)
        seen = np.zeros((3, VOCABULARY), bool)
        np.put_along_axis(seen, ids, True, 1)
        got = process(jnp.asarray(logits), numbers, jnp.asarray(seen))
        np.testing.assert_allclose(got, expected.numpy(), rtol=2e-6)


def test_a_number_for_each_row_and_none_recompiles(key):
    logits, _ = random_logits(3)
    logits = jnp.asarray(logits)
    many = Sampling(top_k=jnp.array([1, 2, 5]), top_p=jnp.array([1.0, 0.9, 0.5]))
    together = process(logits, many)
    assert (jnp.isfinite(together).sum(-1) <= many.top_k).all()
    traces = []

    @jax.jit
    def alone(logits, numbers):
        traces.append(numbers)
        return sampling.process(logits, numbers)

    for i in range(3):
        one = Sampling(top_k=many.top_k[i], top_p=many.top_p[i])
        np.testing.assert_array_equal(alone(logits, one)[i], together[i])
    assert len(traces) == 1


def test_the_extremes_keep_one_token():
    logits = jnp.array([[0.0, 1.0, -jnp.inf, 0.5]])
    for numbers in (Sampling(top_p=0.0), Sampling(min_p=1.0), Sampling(top_k=1)):
        kept = jnp.isfinite(process(logits, numbers))
        assert kept.tolist() == [[False, True, False, False]]
    everything = process(logits, Sampling(top_p=1.0, top_k=100, min_p=0.0))
    np.testing.assert_array_equal(everything, logits)


def test_draws_follow_the_probabilities(key):
    logits, _ = random_logits(5)
    many = 20_000
    numbers = Sampling(temperature=0.7, top_k=6)
    row = jnp.broadcast_to(jnp.asarray(logits[:1]), (many, VOCABULARY))
    keys = jax.random.split(key, many)
    tokens = sampling.draw(keys, process(row, numbers), numbers)
    expected = sampling.probabilities(jnp.asarray(logits[:1]), numbers)[0]
    share = np.bincount(np.asarray(tokens), minlength=VOCABULARY) / many
    # Five standard deviations of a share.
    bound = 5 * np.sqrt(np.asarray(expected) * (1 - np.asarray(expected)) / many)
    assert (np.abs(share - np.asarray(expected)) <= bound + 1e-9).all()


def test_temperature_zero_takes_the_likeliest(key):
    logits = jnp.asarray(random_logits(6)[0])
    numbers = Sampling(temperature=jnp.array([0.0, 1.0, 0.0]))
    keys = jax.random.split(key, 3)
    tokens = sampling.draw(keys, process(logits, numbers), numbers)
    assert tokens[0] == logits[0].argmax()
    assert tokens[2] == logits[2].argmax()
    chances = sampling.probabilities(logits, numbers)
    assert chances[0].max() == 1
    assert chances[1].max() < 1


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (Sampling(temperature=-1.0), "temperature must be at least 0; got -1.0"),
        (Sampling(top_k=0), "top_k must be at least 1; got 0"),
        (Sampling(top_p=1.5), "top_p must be from 0 to 1; got 1.5"),
        (Sampling(min_p=-0.1), "min_p must be from 0 to 1; got -0.1"),
        (Sampling(repetition_penalty=0.0), "repetition_penalty must be above 0"),
    ],
)
def test_rejects_numbers_out_of_range(numbers, message):
    with pytest.raises(ValueError, match=message):
        sampling.check(numbers)


def test_rejects_a_penalty_without_what_was_seen():
    with pytest.raises(ValueError, match="needs `seen`"):
        sampling.process(jnp.zeros((1, 3)), Sampling(repetition_penalty=2.0))
