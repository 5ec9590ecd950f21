"""How a run may end before its time."""

import os
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.train import folder, loop
from jaxml.train.loop import Interrupted, NonFinite
from jaxml.train.step import make_step
from tests.train.small_run import TAKE, TX, assert_same_bits, each, loader, start, train


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C as on a terminal: a job in the background starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_leaves_nothing_behind(tmp_path):
    others = set(threading.enumerate())
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run = folder.create(tmp_path / "run")
    for _, _ in loop.run(TAKE, start(), loader(), steps=60, folder=run):
        assert signal.getsignal(signal.SIGINT) != before[0]
        break
    with pytest.raises(ZeroDivisionError):
        each(loop.run(TAKE, start(), loader(), steps=60), lambda step: 1 / 0)
    pairs = loop.run(TAKE, start(), loader(), steps=60, folder=run)
    next(pairs)
    pairs.close()
    after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert after == before
    run.checkpoints.close()
    names = [thread.name for thread in set(threading.enumerate()) - others]
    assert not [name for name in names if name.startswith("jaxml")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends(tmp_path, number):
    run = folder.create(tmp_path / "run")
    pairs = loop.run(TAKE, start(), loader(), steps=60, folder=run)
    with pytest.raises(Interrupted, match=r"step 7; its state is saved") as caught:
        each(pairs, lambda step: signal.raise_signal(number) if step == 7 else None)
    assert (caught.value.step, caught.value.signal) == (7, number)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert run.checkpoints.steps() == [7]
    expected, _ = train(folder.create(tmp_path / "whole"))
    state, _ = train(folder.create(tmp_path / "run", resume=True))
    assert_same_bits(state, expected)


def test_a_second_sigint_interrupts_at_once(tmp_path):
    steps = []

    def press_twice(step):
        steps.append(step)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    pairs = loop.run(TAKE, start(), loader(), steps=60)
    with pytest.raises(KeyboardInterrupt) as caught:
        each(pairs, press_twice)
    assert signal.getsignal(signal.SIGINT) is before
    pairs.close()
    assert steps == [1]
    assert not isinstance(caught.value, Interrupted)


def test_a_signal_that_nobody_heeds_is_not_lost():
    pairs = loop.run(TAKE, start(), loader(), steps=60)
    next(pairs)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        pairs.close()


def test_runs_in_another_thread():
    states = []
    work = threading.Thread(
        target=lambda: states.extend(loop.run(TAKE, start(), loader(), steps=3))
    )
    work.start()
    work.join()
    assert len(states) == 3


def test_stops_at_what_is_not_finite(tmp_path):
    x = np.random.default_rng(0).normal(size=(37, 3)).astype(np.float32)
    x[5], x[20] = np.nan, np.inf
    data = loader(x=x)
    batches = [data.indices(0, index) for index in range(data.steps_per_epoch)]
    first = next(i for i, rows in enumerate(batches) if {5, 20} & set(rows.tolist()))
    run = folder.create(tmp_path / "run")
    with pytest.raises(NonFinite, match="gradient of b is not finite") as caught:
        for _ in loop.run(
            TAKE, start(), data, steps=60, folder=run, log_every=50, save_every=7
        ):
            pass
    assert caught.value.step == first + 1
    assert caught.value.path == "b"
    rows = batches[first][batches[first] >= 0]
    np.testing.assert_array_equal(caught.value.rows, rows)
    np.testing.assert_array_equal(caught.value.bad_rows, sorted({5, 20} & set(rows)))
    assert run.checkpoints.steps() == []  # found when the save was due


def test_not_finite_though_all_inputs_are():
    def broken():
        return start()._replace(params={"b": jnp.zeros(()), "w": jnp.full(3, jnp.nan)})

    with pytest.raises(NonFinite, match=r"step 1; .*; all their inputs are finite"):
        list(loop.run(TAKE, broken(), loader(), steps=3))
    with pytest.raises(NonFinite, match=r"step 1$"):
        list(loop.run(TAKE, broken(), [loader().batch(0, 0)], steps=3))


def test_a_loss_alone_that_is_not_finite():
    def bad(params, extra, batch, key):
        return params["w"].sum() + jnp.inf, (extra, {})

    take = jax.jit(make_step(bad, TX, ema_decay=0.9))
    with pytest.raises(NonFinite, match="the loss is not finite at step 1") as caught:
        list(loop.run(take, start(), loader(), steps=1))
    assert caught.value.path is None


def test_a_full_disk_ends_the_run_and_keeps_what_was_saved(tmp_path):
    run = folder.create(tmp_path / "run")
    os.symlink("/dev/full", run.log.path)
    with pytest.raises(OSError, match="No space left"):
        for _ in loop.run(
            TAKE, start(), loader(), steps=60, folder=run, log_every=15, save_every=10
        ):
            pass
    assert run.checkpoints.steps() == [10]
    os.unlink(run.log.path)
    again = folder.create(tmp_path / "run", resume=True)
    state, _ = train(again)
    assert int(state.step) == 60
