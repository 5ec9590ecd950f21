import io
import json
import logging

import jax
import jax.numpy as jnp
import pytest
from rich.console import Console

from jaxml.train import folder, loop
from jaxml.train.loop import Best
from jaxml.train.progress import Bar
from jaxml.train.step import make_step
from tests.train.small_run import (
    TAKE,
    TX,
    assert_same_bits,
    loader,
    start,
    timeless,
    train,
)


def test_is_the_bare_loop(tmp_path):
    state, batches, losses = start(), loader().stream(), []
    for _ in range(12):
        state, metrics = TAKE(state, next(batches))
        losses.append(float(metrics["loss"]))
    batches.close()
    run = folder.create(tmp_path / "run")
    pairs = loop.run(TAKE, start(), loader(), steps=12, folder=run, log_every=4)
    seen = []
    for last, metrics in pairs:
        seen.append(float(metrics["loss"]))
    assert seen == losses
    assert_same_bits(last, state)
    records = run.log.records()
    assert [record["step"] for record in records] == [4, 8, 12]
    assert [record["loss"] for record in records] == losses[3::4]
    assert [record["epoch"] for record in records] == [0.8, 1.6, 2.4]
    assert {"grad_norm", "rate", "error", "steps_per_second", "time"} < set(records[0])
    assert run.checkpoints.steps() == [12]


@pytest.mark.parametrize("broken_at", [1, 7, 13, 30, 59])
def test_resumed_is_unbroken(tmp_path, broken_at, caplog):
    caplog.set_level(logging.INFO)
    options = {
        "evaluate": lambda state: {"w": float(state.params["w"].sum())},
        "eval_every": 15,
        "save_every": 1 if broken_at == 1 else 10,
    }
    whole = folder.create(tmp_path / "whole")
    expected, _ = train(whole, **options)
    broken = folder.create(tmp_path / "broken")
    for state, _ in loop.run(
        TAKE, start(), loader(), steps=60, folder=broken, log_every=5, **options
    ):
        if state.step == broken_at:
            break
    if broken_at == 13:
        assert broken.checkpoints.steps() == [10]
    if broken_at == 59:
        with open(broken.log.path, "a") as file:
            file.write('{"step": 60, "lo')
    again = folder.create(tmp_path / "broken", resume=True)
    state, _ = train(again, **options)
    assert_same_bits(state, expected)
    assert timeless(again) == timeless(whole)
    saved = broken_at - broken_at % options["save_every"]
    assert f"goes on from step {saved}\n" in caplog.text


def test_a_run_that_is_done_yields_its_state_once(tmp_path):
    expected, _ = train(folder.create(tmp_path / "run"), 20)
    again = folder.create(tmp_path / "run", resume=True)
    pairs = list(loop.run(TAKE, start(), loader(), steps=20, folder=again))
    assert len(pairs) == 1
    assert_same_bits(pairs[0][0], expected)


def test_the_log_is_whole_when_the_loop_is_left(tmp_path):
    run = folder.create(tmp_path / "run")
    for state, _ in loop.run(
        TAKE, start(), loader(), steps=60, folder=run, log_every=4
    ):
        if state.step == 8:
            break
    assert [record["step"] for record in run.log.records()] == [4, 8]


def test_resume_says_what_it_skipped(tmp_path, caplog):
    run = folder.create(tmp_path / "run")
    train(run, 20)
    (run.path / "checkpoints" / "20" / "index.json").write_text("{")
    again = folder.create(tmp_path / "run", resume=True)
    pairs = list(loop.run(TAKE, start(), loader(), steps=20, folder=again))
    assert len(pairs) == 10
    assert "skipped" in caplog.text
    assert "step 20" in caplog.text


def test_any_iterable_of_batches_goes_round():
    batches = [loader().batch(0, index) for index in range(3)]
    states = [state for state, _ in loop.run(TAKE, start(), batches, steps=7)]
    assert int(states[-1].step) == 7
    with pytest.raises(ValueError, match="did not begin again"):
        list(loop.run(TAKE, start(), iter(batches), steps=7))


def test_goes_on_from_the_step_of_the_state():
    whole = [float(m["loss"]) for _, m in loop.run(TAKE, start(), loader(), steps=9)]
    losses = []
    for state, metrics in loop.run(TAKE, start(), loader(), steps=4):
        losses.append(float(metrics["loss"]))
    for _, metrics in loop.run(TAKE, state, loader(), steps=9):
        losses.append(float(metrics["loss"]))
    assert losses == whole


def scores_then(values):
    """An evaluation that gives these scores, whatever the state; by its step."""
    return lambda state: {"score": values[int(state.step) // 5 - 1]}


@pytest.mark.parametrize("broken_at", [None, 12, 22, 26])
def test_best_weights_survive_a_break(tmp_path, broken_at):
    values = [1.0, 3.0, 2.0, 2.5, 2.9, 9.0, 9.0]
    options = {
        "evaluate": scores_then(values),
        "eval_every": 5,
        "save_every": 4,
        "best": Best("score", mode="max", patience=3),
    }
    run = folder.create(tmp_path / "run")
    expected = None
    for state, _ in loop.run(TAKE, start(), loader(), steps=35):
        if state.step == 10:
            expected = jax.tree.map(jnp.copy, (state.params, state.ema))
    if broken_at:
        for state, _ in loop.run(
            TAKE, start(), loader(), steps=35, folder=run, **options
        ):
            if state.step == broken_at:
                break
        run = folder.create(tmp_path / "run", resume=True)
    state, metrics = train(run, 35, **options)
    assert float(metrics["score"]) == 3.0
    assert_same_bits((state.params, state.ema), expected)
    assert int(state.step) == 25
    evaluated = [r["step"] for r in run.log.records() if "validation/score" in r]
    assert evaluated == [5, 10, 15, 20, 25]
    assert run.checkpoints.steps()[-1] == 25


def test_rejects_what_cannot_be(tmp_path):
    for name in ("steps", "log_every", "save_every", "eval_every"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1; got 0"):
            loop.run(TAKE, start(), loader(), **{"steps": 5} | {name: 0})
    with pytest.raises(ValueError, match="best needs evaluate"):
        loop.run(TAKE, start(), loader(), steps=5, best=Best("loss"))
    with pytest.raises(ValueError, match=r"one of the scores \['a'\]; got 'loss'"):
        list(
            loop.run(
                TAKE,
                start(),
                loader(),
                steps=5,
                evaluate=lambda state: {"a": 1.0},
                best=Best("loss"),
            )
        )


def test_rejects_metrics_that_are_no_scalars(tmp_path):
    def many(params, extra, batch, key):
        return params["w"].sum(), (extra, {"each": batch["x"]})

    take = jax.jit(make_step(many, TX, ema_decay=0.9))
    with pytest.raises(ValueError, match=r"scalars; got 'each' of shape \(8, 3\)"):
        list(loop.run(take, start(), loader(), steps=1))


def test_every_line_is_json(tmp_path):
    run = folder.create(tmp_path / "run")
    train(run, 20, evaluate=lambda state: {"gap": float("inf")}, eval_every=10)
    for line in run.log.path.read_text().splitlines():
        assert "Infinity" not in json.dumps(json.loads(line))


def test_the_bar_says_where_it_is(tmp_path):
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    with Bar(200, 50, visible=True, console=console) as bar:
        bar.tick(100)
        bar.tick(101)  # too soon
        bar.tick(200)
        bar.show(0.25)
    assert "100/200" in text.getvalue()
    assert "101/200" not in text.getvalue()
    assert "200/200" in text.getvalue()
    assert "loss 0.25" in text.getvalue()
    assert "it/s" in text.getvalue()


def test_the_bar_is_silent_where_it_is_no_terminal(capsys):
    list(loop.run(TAKE, start(), loader(), steps=3))
    assert capsys.readouterr() == ("", "")
    list(loop.run(TAKE, start(), loader(), steps=3, progress=True))
    assert "3/3" in capsys.readouterr().err
