"""Descent on a smooth function: a direction from a metric, a search along it.

    problem = descent.function(fun)
    state = descent.start(problem, point, memory_size=10, patience=5)
    state = descent.step(problem, state)               # inside a lax.while_loop

The last steps are remembered (L-BFGS), on top of a first metric: the identity, scaled,
or the inverse of a Hessian of somewhere near (then a few steps do the work of a Newton
step each, without another Hessian). What is linear in the point is kept beside it
(`Problem.lift`), so that a search along a line costs no product with the data.

References:
    Nocedal and Wright, 2006. Numerical optimization, algorithm 7.4.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.optim import line_search

__all__ = [
    "Memory",
    "Problem",
    "State",
    "direction",
    "function",
    "going",
    "remember",
    "start",
    "step",
]


class Problem(NamedTuple):
    """A smooth function of an array, in parts that share their work."""

    lift: Callable  # point -> what is linear in it (the scores x @ point)
    evaluate: Callable  # (point, lifted) -> value [], rest
    slope: Callable  # (rest, point, direction, lifted direction) -> derivative []
    gradient: Callable  # (rest, point) -> like the point


class Memory(NamedTuple):
    """The last steps, the newest first."""

    steps: Float[Array, "m *point"]
    changes: Float[Array, "m *point"]  # of the gradient
    inverses: Float[Array, "m"]  # 1 / (step . change); 0: an empty place


class State(NamedTuple):
    """Where the descent is."""

    point: Float[Array, "*point"]
    lifted: Any
    value: Float[Array, ""]
    gradient: Float[Array, "*point"]
    error: Float[Array, ""]  # largest absolute component of the gradient
    memory: Memory
    drop: Float[Array, ""]  # of the value by the last step; 0 before the first
    n_iter: Int[Array, ""]
    best: Float[Array, ""]  # least error so far
    idle: Int[Array, ""]  # steps in turn that lowered neither value nor least error
    patience: Int[Array, ""]  # how many of them end the descent

    @property
    def stuck(self) -> Bool[Array, ""]:
        """Whether no step makes progress in this dtype."""
        return self.idle >= self.patience


def function(fun: Callable) -> Problem:
    """The problem of a plain function of an array, differentiated by JAX."""
    return Problem(
        lift=lambda point: point,
        evaluate=lambda point, lifted: jax.value_and_grad(fun)(point),
        slope=lambda rest, point, along, lifted: jnp.vdot(rest, along),
        gradient=lambda rest, point: rest,
    )


def start(
    problem: Problem, point: Float[Array, "..."], *, memory_size: int, patience: int
) -> State:
    """The state at `point`, with an empty memory.

    Args:
        problem: what is minimised.
        point: where to start.
        memory_size: steps remembered; 0 for Newton's method.
        patience: steps in turn without progress after which the dtype has no more to
            give; a few, since errors do not fall in every step.
    """
    lifted = problem.lift(point)
    value, rest = problem.evaluate(point, lifted)
    gradient = problem.gradient(rest, point)
    none = jnp.zeros((memory_size, *point.shape), point.dtype)
    memory = Memory(none, none, jnp.zeros(memory_size, point.dtype))
    zero = jnp.asarray(0, jnp.int32)
    error = jnp.abs(gradient).max()
    drop = jnp.zeros_like(value)
    return State(
        point,
        lifted,
        value,
        gradient,
        error,
        memory,
        drop,
        zero,
        error,
        zero,
        zero + patience,
    )


def going(
    state: State, tol: Any, max_iter: int, *, settled: Any = jnp.inf
) -> Bool[Array, ""]:
    """Whether another step is due: finite, not optimal, not stuck, not too many.

    Args:
        state: where the descent is.
        tol: the error that is small enough.
        max_iter: bound on the steps.
        settled: share of the value that the last step may still have gained.
    """
    finite = jnp.isfinite(state.error) & jnp.isfinite(state.value)
    left = (state.error > tol) | (state.drop > settled * jnp.abs(state.value))
    return finite & left & ~state.stuck & (state.n_iter < max_iter)


def step(
    problem: Problem,
    state: State,
    solve: Callable | None = None,
    *,
    curvature: float = 0.9,
) -> State:
    """Search along the direction of the memory, and remember the step.

    Args:
        problem: what is minimised.
        state: where it is.
        solve: the first metric, gradient -> gradient over Hessian; by default the
            identity, scaled by the newest step.
        curvature: the search ends where the slope is at most this share of the first
            one; small where a point on the line is cheap.
    """
    along = direction(state.memory, state.gradient, solve)
    ascent = ~(jnp.vdot(along, state.gradient) < 0)  # NaN too
    along = jnp.where(ascent, -state.gradient, along)
    slope = jnp.vdot(along, state.gradient)
    lifted = problem.lift(along)

    def at(size):
        point = state.point + size * along
        value, rest = problem.evaluate(point, _moved(state.lifted, size, lifted))
        return value, problem.slope(rest, point, along, lifted), rest

    first = jnp.ones((), slope.dtype)
    if solve is None:  # no scale is known yet: a step of length 1 at most
        fresh = ~(state.memory.inverses > 0).any() | ascent
        length = jnp.abs(state.gradient).sum()
        first = jnp.where(fresh, jnp.minimum(first, 1 / length), first)
    line = line_search.search(at, state.value, slope, first=first, curvature=curvature)
    size = jnp.where(line.found, line.size, 0)
    point = jnp.where(line.found, state.point + size * along, state.point)
    gradient = problem.gradient(line.rest, point)
    gradient = jnp.where(line.found, gradient, state.gradient)
    error = jnp.abs(gradient).max()
    lower = line.value < state.value - 4 * line_search.grain(state.value)
    value = jnp.where(line.found, line.value, state.value)
    progress = line.found & (lower | (error < 0.9 * state.best))
    return State(
        point,
        jax.tree.map(
            lambda new, old: jnp.where(line.found, new, old),
            _moved(state.lifted, size, lifted),
            state.lifted,
        ),
        value,
        gradient,
        error,
        remember(state.memory, point - state.point, gradient - state.gradient),
        state.value - value,
        state.n_iter + 1,
        jnp.minimum(state.best, error),
        jnp.where(progress, 0, state.idle + jnp.where(line.found, 1, state.patience)),
        state.patience,
    )


def direction(
    memory: Memory, gradient: Float[Array, "..."], solve: Callable | None = None
) -> Float[Array, "..."]:
    """Minus the gradient over the Hessian that the memory and `solve` describe."""

    def back(vector, place):
        step, change, inverse = place
        share = inverse * jnp.vdot(step, vector)
        return vector - share * change, share

    def forth(vector, place):
        (step, change, inverse), share = place
        return vector + step * (share - inverse * jnp.vdot(change, vector)), None

    vector, shares = jax.lax.scan(back, gradient, memory)
    vector = _scaled(memory, vector) if solve is None else solve(vector)
    vector, _ = jax.lax.scan(forth, vector, (memory, shares), reverse=True)
    return -vector


def remember(memory: Memory, step: Array, change: Array) -> Memory:
    """Put a step in the place of the oldest, if the function curved up along it."""
    if not len(memory.inverses):
        return memory
    product, size = jnp.vdot(step, change), jnp.vdot(change, change)
    curved = product > jnp.finfo(step.dtype).eps * size
    entry = Memory(step, change, 1 / jnp.where(curved, product, 1))

    def push(places, new):
        pushed = jnp.concatenate([new[None], places[:-1]])
        return jnp.where(curved, pushed, places)

    return jax.tree.map(push, memory, entry)


def _scaled(memory, vector):
    """The scale of the inverse Hessian along the newest step (eq. 7.20)."""
    if not len(memory.inverses):
        return vector
    change, inverse = memory.changes[0], memory.inverses[0]
    size = inverse * jnp.vdot(change, change)
    return vector / jnp.where(inverse > 0, size, 1)


def _moved(lifted, size, along):
    return jax.tree.map(lambda old, move: old + size * move, lifted, along)
