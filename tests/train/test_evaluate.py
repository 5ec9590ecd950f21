"""Evaluation: exact whatever the batches, one program, one transfer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from jaxml import metrics
from jaxml.train import evaluate
from jaxml.train import step as train


@pytest.fixture
def data(key):
    x = jax.random.normal(key, (50, 4))
    labels = jax.random.randint(jax.random.fold_in(key, 1), (50,), 0, 3)
    return {"x": np.asarray(x), "label": np.asarray(labels)}


@pytest.fixture
def kernel(key):
    return jax.random.normal(key, (4, 3))


def batches(data, size):
    """Batches of one size; the last repeats its first row, with weight 0."""
    for start in range(0, 50, size):
        rows = np.arange(start, start + size)
        weight = (rows < 50).astype(np.float32)
        rows = np.where(rows < 50, rows, start)
        yield {name: jnp.asarray(x[rows]) for name, x in data.items()} | {
            "weight": jnp.asarray(weight)
        }


def eval_step(params, extra, batch):
    logits = batch["x"] @ params
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
    return {
        "accuracy": metrics.accuracy(logits, batch["label"], batch["weight"]),
        "loss": metrics.mean(losses, batch["weight"]),
    }


def forward(params, batch):
    return batch["x"] @ params


@pytest.mark.parametrize("size", [1, 7, 16, 50, 64])
def test_is_the_mean_over_the_data_whatever_the_batches(data, kernel, size):
    logits = data["x"] @ np.asarray(kernel)
    scores = evaluate.evaluate(eval_step, kernel, batches(data, size))
    # a count: equal to the last bit
    assert scores["accuracy"] == np.mean(logits.argmax(1) == data["label"])
    rows = np.arange(50), data["label"]
    loss = (np.log(np.exp(logits).sum(1)) - logits[rows]).mean()
    np.testing.assert_allclose(scores["loss"], loss, rtol=1e-5)
    assert all(isinstance(score, float) for score in scores.values())


def test_takes_the_state_of_a_run(data, kernel, key):
    def shifted(params, extra, batch):
        return eval_step(params + extra["shift"], None, batch)

    extra = {"shift": jnp.ones(())}
    state = train.init(kernel, optax.sgd(0.1), key=key, extra=extra)
    of_state = evaluate.evaluate(shifted, state, batches(data, 10))
    of_params = evaluate.evaluate(shifted, kernel, batches(data, 10), extra=extra)
    assert of_state == of_params


def test_sharded_batches_give_the_same(data, kernel):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.NamedSharding(mesh, P("data"))
    sharded = [jax.device_put(batch, rows) for batch in batches(data, 16)]
    everywhere = jax.device_put(kernel, jax.NamedSharding(mesh, P()))
    here = evaluate.evaluate(eval_step, kernel, batches(data, 16))
    there = evaluate.evaluate(eval_step, everywhere, sharded)
    assert there["accuracy"] == here["accuracy"]
    np.testing.assert_allclose(there["loss"], here["loss"], rtol=1e-6)
    np.testing.assert_allclose(
        evaluate.predict(forward, everywhere, sharded),
        evaluate.predict(forward, kernel, batches(data, 16)),
        atol=1e-6,
    )


def test_compiles_once_for_all_evaluations(data, kernel):
    traced = []

    def counted(params, extra, batch):
        traced.append(batch)
        return eval_step(params, extra, batch)

    for _ in range(3):
        evaluate.evaluate(counted, kernel, batches(data, 16))
    assert len(traced) == 1


@pytest.mark.parametrize("size", [7, 50, 64])
def test_predictions_are_all_rows_in_order(data, kernel, size):
    outputs = evaluate.predict(forward, kernel, batches(data, size))
    np.testing.assert_allclose(outputs, data["x"] @ kernel, rtol=1e-5, atol=1e-6)


def test_rejects_nothing_to_evaluate(data, kernel):
    with pytest.raises(ValueError, match="at least one batch to evaluate"):
        evaluate.evaluate(eval_step, kernel, [])
    with pytest.raises(ValueError, match="at least one batch to predict"):
        evaluate.predict(forward, kernel, [])
    padding = next(batches(data, 7)) | {"weight": jnp.zeros(7)}
    with pytest.raises(ValueError, match="all of 'accuracy' is padding"):
        evaluate.evaluate(eval_step, kernel, [padding])
