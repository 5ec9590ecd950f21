"""Streams of batches: they go on from any state and leave no thread behind."""

import gc
import itertools
import threading
import traceback

import jax
import numpy as np
import pytest

from jaxml.data.loader import Loader, LoaderState

TAKE = 7


@pytest.fixture
def arrays():
    """23 rows, so that batches of 4 or 8 leave a rest."""
    image = np.random.default_rng(0).integers(0, 256, (23, 5, 4, 1), dtype=np.uint8)
    return {"image": image, "label": np.arange(23, dtype=np.int32)}


@pytest.fixture(autouse=True)
def _leaves_no_thread():
    yield
    if threads():
        gc.collect()
    assert not threads()


def threads():
    return [t for t in threading.enumerate() if t.name == "jaxml-loader"]


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def take(batches, count=TAKE):
    """The first batches, as host arrays."""
    return [jax.device_get(batch) for batch in itertools.islice(batches, count)]


# Parity: the stream is the batches of the loader, one after the other.


@pytest.mark.parametrize("prefetch", [0, 1, 2, 5])
def test_stream_goes_on_from_any_state(arrays, prefetch):
    loader = Loader(arrays, 8, seed=3, prefetch=prefetch)
    straight = take(loader.stream())
    for step in range(TAKE):
        stream = Loader(arrays, 8, seed=3).stream(loader.state_at(step))
        for expected in straight[step:]:
            same(take(stream, 1)[0], expected)
    assert loader.state_at(TAKE) == LoaderState(3, 2, 1)


@pytest.mark.parametrize("prefetch", [0, 3])
def test_state_is_of_the_next_batch_whatever_is_ready(arrays, prefetch):
    loader = Loader(arrays, 8, prefetch=prefetch)
    stream = loader.stream()
    for step in range(5):
        assert stream.state == loader.state_at(step)
        assert stream.state == (0, *divmod(step, 3))
        next(stream)
    stream.close()
    assert stream.state == loader.state_at(5)
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_epoch_ends(arrays, prefetch):
    loader = Loader(arrays, 8, seed=2, prefetch=prefetch)
    batches = loader.epoch(1)
    got = take(batches, None)
    assert batches.state == LoaderState(2, 2, 0)
    assert next(batches, None) is None
    for index, batch in enumerate(got):
        same(batch, loader.batch(1, index))
    assert len(got) == 3


# Properties: threads.


def fail_at_four(batch, rng):
    if 4 in batch["label"]:
        raise KeyError("no such word")
    return batch


@pytest.mark.parametrize("prefetch", [0, 2])
def test_error_comes_with_its_batch_and_its_traceback(arrays, prefetch):
    loader = Loader(arrays, 4, shuffle=False, transform=fail_at_four, prefetch=prefetch)
    stream = loader.stream()
    next(stream)
    with pytest.raises(KeyError, match="no such word") as caught:
        next(stream)
    assert "fail_at_four" in [f.name for f in traceback.extract_tb(caught.tb)]
    assert stream.state == loader.state_at(1)
    with pytest.raises(StopIteration):
        next(stream)


def test_dropped_stream_ends_its_thread(arrays):
    stream = Loader(arrays, 4).stream()
    next(stream)
    assert len(threads()) == 1
    del stream
    gc.collect()
    assert not threads()


def test_interrupted_loop_ends_its_thread(arrays):
    def loop():
        for _ in Loader(arrays, 4).stream():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        loop()
    del caught
    gc.collect()
    assert not threads()


def test_makes_no_more_than_asked(arrays):
    made = []
    slow = Loader(
        arrays, 4, transform=lambda batch, rng: made.append(0) or batch, prefetch=3
    )
    stream = slow.stream()
    next(stream)
    stream.close()
    assert len(made) <= 4


def test_thread_knows_the_default_device_of_its_caller(arrays):
    device = jax.devices()[3]
    with jax.default_device(device):
        stream = Loader(arrays, 8).stream()
    assert next(stream)["label"].devices() == {device}
