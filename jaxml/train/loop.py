"""The loop: it steps, logs, evaluates, saves, resumes and stops; anyone may leave it.

    step = jax.jit(make_step(loss_fn, tx), donate_argnums=0)
    for state, metrics in loop.run(step, state, loader, steps=1000, folder=run):
        ...                                  # look, break, raise: all is closed

Metrics stay on the device until a log is due, and the number of the step is never read
from it, so the host runs ahead of the device.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax

from jaxml.train import best as judging
from jaxml.train import interrupt, nonfinite, progress
from jaxml.train.best import Best
from jaxml.train.book import Book, Evaluate, Metrics, Plan
from jaxml.train.folder import Run
from jaxml.train.interrupt import Interrupted
from jaxml.train.nonfinite import NonFinite
from jaxml.train.step import TrainState

__all__ = ["Best", "Interrupted", "NonFinite", "run"]

Step = Callable[[TrainState, Any], tuple[TrainState, Metrics]]

logger = logging.getLogger(__name__)


def run(
    step: Step,
    state: TrainState,
    loader: Any,
    *,
    steps: int,
    folder: Run | None = None,
    log_every: int = 50,
    save_every: int = 500,
    evaluate: Evaluate | None = None,
    eval_every: int | None = None,
    best: Best | None = None,
    progress: bool | None = None,
) -> Iterator[tuple[TrainState, Metrics]]:
    """Train up to step number `steps`; yield state and metrics after each step.

    Each pair is yielded when its evaluation is done and its checkpoint begun; its log
    is written while the next step runs, or when the loop is left. Leave by `break` and
    the last checkpoint stands.

    Args:
        step: a jitted `step(state, batch) -> state, metrics`. If it donates its state,
            the state yielded lives until the next one is asked for.
        state: where to begin, its `step` included. With a `folder` that resumes it is
            replaced by the newest sound checkpoint, if
            one was saved.
        loader: has `stream(state)` and `state_at(step)`, as `jaxml.data.loader.Loader`
            has; or any iterable of batches, begun again when it ends. Such a one
            cannot be resumed where it was: it begins anew.
        steps: the number of the last step, counted from the very first.
        folder: where log and checkpoints go. Default: nowhere.
        log_every: steps between two logs. The last step is logged too.
        save_every: steps between two checkpoints. The last step is saved too.
        evaluate: gives the scores of a state; they are logged as `validation/name`.
        eval_every: steps between two evaluations. Default: an epoch, or `save_every`
            where the loader has no epochs. The last step is evaluated too.
        best: what to judge the scores by. The run may then end early, and one more
            pair is yielded last: the state with the best weights, and their score.
        progress: whether to draw a progress bar. Default: if stderr is a terminal.

    Returns:
        A generator. If a run that is resumed had come to its end, it yields once.

    Raises:
        NonFinite: if a loss or gradient is not finite when a log or a save is due; it
            is not saved.
        Interrupted: by SIGINT or SIGTERM, when the step is finished and saved.
        ValueError: if a number is out of range, or nothing sound is there to resume.

    >>> import jax, jax.numpy as jnp, optax
    >>> from jaxml.train.step import init, make_step
    >>> def loss_fn(params, extra, batch, key):
    ...     return ((params - batch["x"]) ** 2).mean(), (extra, {})
    >>> tx = optax.sgd(0.25)
    >>> batches = [{"x": jnp.full(4, 2.0)}]
    >>> state = init(jnp.zeros(()), tx, key=jax.random.key(0))
    >>> step = jax.jit(make_step(loss_fn, tx))
    >>> for state, metrics in run(step, state, batches, steps=3):
    ...     print(int(state.step), float(metrics["loss"]))
    1 4.0
    2 1.0
    3 0.25
    """
    epoch = getattr(loader, "steps_per_epoch", 0)
    eval_every = (epoch or save_every) if eval_every is None else eval_every
    numbers = {"steps": steps, "log_every": log_every, "save_every": save_every}
    for name, number in (numbers | {"eval_every": eval_every}).items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1; got {number}")
    if best is not None and evaluate is None:
        raise ValueError("best needs evaluate, which gives the scores; got None")
    plan = Plan(steps, log_every, save_every, eval_every, evaluate, folder, best, epoch)
    return _loop(step, state, loader, plan, progress)


def _loop(step, state, loader, plan, visible):
    keeper = judging.start(plan.best, state)
    place = None
    if plan.folder is not None and plan.folder.resume:
        (state, keeper), place = _restore(plan.folder, (state, keeper), loader)
    first = done = saved = int(state.step)
    if place is None and hasattr(loader, "state_at"):
        place = loader.state_at(done)
    stopped = judging.gave_up(keeper)
    # Steps in flight together can deadlock where one CPU plays several devices.
    crowded = jax.default_backend() == "cpu" and jax.device_count() > 1
    with contextlib.ExitStack() as closing:
        watch, book, bar, batches = _open(closing, plan, loader, place, done, visible)
        if done >= plan.steps and keeper is None:
            yield state, {}
        while True:
            if watch.due(done % plan.log_every == 0 or done >= plan.steps):
                if plan.folder is not None and saved != done:
                    nonfinite.check(state.first_bad, state.params, loader)
                    _save(plan.folder, done, state, keeper, batches)
                raise Interrupted(done, watch.heed(), plan.folder is not None)
            if done >= plan.steps or stopped:
                break
            state, metrics = step(state, next(batches))
            if crowded:
                jax.block_until_ready(metrics)
            done += 1
            book.flush()  # while the device is busy with that step
            if plan.waits(done):
                nonfinite.check(state.first_bad, state.params, loader)
                scores = plan.evaluate(state) if plan.evaluates(done) else {}
                if scores:
                    keeper = judging.judge(plan.best, keeper, scores, state)
                    stopped = judging.gave_up(keeper)
                book.write(done, metrics, scores)
                if plan.folder is not None and (plan.saves(done) or stopped):
                    rank = judging.rank(plan.best, scores)
                    _save(plan.folder, done, state, keeper, batches, rank)
                    saved = done
                book.start(done)
            elif plan.logs(done):
                book.later(done, state, metrics)
            elif done == first + 1:
                book.start(done)  # that step compiled, which is not its speed
            bar.tick(done)
            yield state, metrics
        if keeper is not None:
            yield judging.weights(keeper, state), {plan.best.score: keeper.value}


def _open(closing, plan, loader, place, done, visible):
    """What a run uses, each to be closed in the reverse order."""
    watch = closing.enter_context(interrupt.Watch())
    if plan.folder is not None:
        closing.callback(plan.folder.log.close)
        closing.callback(plan.folder.checkpoints.wait)
    bar = progress.Bar(plan.steps, min(done, plan.steps), visible=visible)
    closing.enter_context(bar)
    book = Book(plan, loader, bar, done)
    closing.callback(book.close)
    batches = _stream(loader, place)
    closing.callback(batches.close)
    return watch, book, bar, batches


def _save(folder, done, state, keeper, batches, score=None) -> None:
    """Begin to save all that the run needs to go on from here."""
    tree = state if keeper is None else (state, keeper)
    place = getattr(batches, "state", None)
    folder.checkpoints.save(done, tree, loader=place, score=score)


def _restore(folder, tree, loader):
    """The newest sound checkpoint, and the log cut to its step."""
    state, keeper = tree
    found = folder.checkpoints.restore(state if keeper is None else tree)
    if found is None:  # killed before its first save
        step = int(state.step)
        logger.info(
            "%s has no checkpoint yet: it goes on from step %d", folder.path, step
        )
        folder.log.cut(step)
        return tree, None
    if jax.process_index() == 0:
        for skipped in found.skipped:
            logger.warning("skipped a damaged checkpoint: %s", skipped)
        logger.info("%s goes on from step %d", folder.path, found.step)
        if not hasattr(loader, "stream"):
            logger.warning("the batches begin anew: they are no loader with a place")
    folder.log.cut(found.step)
    return (found.state, None) if keeper is None else found.state, found.loader


def _stream(loader: Any, place: Any):
    """Endless batches, from `place` on if the loader knows places."""
    if hasattr(loader, "stream"):
        return loader.stream(place)
    return _again(loader)


def _again(batches):
    while True:
        batch = None
        for batch in batches:
            yield batch
        if batch is None:
            raise ValueError(
                "the batches ended before the last step, and did not begin again: pass "
                "a list or a loader, not an iterator"
            )
