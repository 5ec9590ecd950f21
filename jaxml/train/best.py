"""The best weights of a run, and when to give up finding better ones.

    for state, metrics in loop.run(..., best=Best("accuracy", mode="max", patience=10)):
        ...                        # the last `state` holds the best weights

The judging itself is `jaxml.train.early_stopping`; what it knows is saved with the run.
"""

from typing import Literal, NamedTuple

from jaxml.train import early_stopping
from jaxml.train.early_stopping import EarlyStopping
from jaxml.train.step import TrainState

__all__ = ["Best", "gave_up", "judge", "rank", "start", "weights"]

NEVER = 2**31 - 1  # evaluations


class Best(NamedTuple):
    """By which score weights are judged."""

    score: str  # name of a score of `evaluate`
    mode: Literal["min", "max"] = "min"  # whether less or more of it is better
    patience: int | None = None  # evaluations without a better score; None: all steps
    min_delta: float = 0.0  # how much better counts as better


def start(best: Best | None, state: TrainState) -> EarlyStopping | None:
    """What is known before the first score."""
    if best is None:
        return None
    return early_stopping.init(
        (state.params, state.extra, state.ema),  # all that an evaluation may look at
        patience=NEVER if best.patience is None else best.patience,
        mode=best.mode,
        min_delta=best.min_delta,
    )


def judge(
    best: Best | None,
    keeper: EarlyStopping | None,
    scores: dict[str, float],
    state: TrainState,
) -> EarlyStopping | None:
    """Take in the scores of `state`.

    Raises:
        ValueError: if the score that counts is not among them.
    """
    if best is None or keeper is None:
        return None
    if best.score not in scores:
        raise ValueError(
            f"best.score must be one of the scores {sorted(scores)}; got {best.score!r}"
        )
    parts = (state.params, state.extra, state.ema)
    return early_stopping.update(keeper, scores[best.score], parts)


def gave_up(keeper: EarlyStopping | None) -> bool:
    """Whether the patience is at its end."""
    return keeper is not None and bool(early_stopping.should_stop(keeper))


def rank(best: Best | None, scores: dict[str, float]) -> float | None:
    """The score as checkpoints order it, less being better; None without one."""
    if best is None or best.score not in scores:
        return None
    return scores[best.score] if best.mode == "min" else -scores[best.score]


def weights(keeper: EarlyStopping, state: TrainState) -> TrainState:
    """`state` with the best weights."""
    params, extra, ema = keeper.params
    return state._replace(params=params, extra=extra, ema=ema)
