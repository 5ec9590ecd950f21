"""Rows 52 to 55: the boardings of Chicago's trains and buses.

    python benchmarks/anchors/ridership.py [--seeds 3] [--skip-networks]

Row 52: the seasonal naive forecast, mean absolute error over 2019-03 to 05 (rail
42,143.27, bus 43,915.61, both exact).

Row 53: SARIMA (1,0,0)(0,1,1,7), fitted again before each of those days to what came
before (ceiling 32,041): from 2018 on, and from 2019 on as in the book. There the
maximum of the likelihood is not where the book's search ends (log-likelihood -1847.95
against -1853.58 of the days to 2019-05) and forecasts worse: two months say little of
seven weekdays.

Rows 54 and 55: windows of 56 days, 2016 to 2018 to train, 2019-01 to 05 to validate;
Huber loss, SGD with momentum 0.9, batch 32, at most 500 epochs, the weights of the
least validation error after 50 epochs without a better one. Ceilings: linear 37,866,
RNN of 32 units 29,015, of three layers 31,211, with bus and type of day 22,062, 14 days
ahead 35,017. Cost: a minute a seed.
"""

import csv
import os
import time
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import training

from jaxml import metrics
from jaxml.data import windows
from jaxml.models.classical import arima, seasonal_naive
from jaxml.models.mlp import MLP
from jaxml.models.sequence import rnn
from jaxml.optim import optimizers

FILE = "ridership/CTA_-_Ridership_-_Daily_Boarding_Totals.csv"
LENGTH = 56
GOAL = training.Goal(
    lambda outputs, y: optax.huber_loss(outputs, y).mean(-1),
    lambda outputs, y, w: metrics.mean(jnp.abs(outputs - y).mean(-1), w),
)


class Days(nn.Module):
    """A network that is told which rows are padding and need not know."""

    network: nn.Module

    @nn.compact
    def __call__(self, x, *, train=False, mask=None):
        return self.network(x, train=train)


def read():
    """Day, and bus, rail, and one-hot type of the next day, in millions."""
    with open(Path(os.environ["JAXML_DATA"]) / FILE) as file:
        rows = {row["service_date"]: row for row in csv.DictReader(file)}
    day = lambda text: np.datetime64(f"{text[6:]}-{text[:2]}-{text[3:5]}")
    rows = dict(sorted((day(date), row) for date, row in rows.items()))
    number = lambda name: np.array([float(row[name]) for row in rows.values()])
    kind = np.array([list("AUW").index(row["day_type"]) for row in rows.values()])
    tomorrow = np.eye(3)[np.roll(kind, -1)]
    columns = [number("bus") / 1e6, number("rail_boardings") / 1e6, *tomorrow.T]
    return np.array(list(rows)), np.stack(columns, axis=1)


def between(days, series, first, last):
    """The days from `first` to `last`, both whole months."""
    end = np.datetime64(last) + 1
    return series[(days >= np.datetime64(first)) & (days < end)]


def naive(days, series):
    """Row 52: error of the same weekday of the week before."""
    before = between(days, series, "2018-01", "2019-02")[:, :2]
    spring = between(days, series, "2019-03", "2019-05")[:, :2]
    said = seasonal_naive.predict(seasonal_naive.fit(before, period=7), spring)
    return 1e6 * np.abs(np.asarray(said) - spring).mean(0)


def sarima(days, series, first):
    """Row 53: every fit a row of one program; days to come have no weight."""
    rail = between(days, series, first, "2019-06")[:, 1]
    june = len(rail) - 30
    known = jnp.arange(june - 92, june + 1)[:, None]  # March begins; May ends
    # right-aligned, so that the end of each row is the day before its forecast
    place = jnp.arange(june)[None] - (june - known)
    y = jnp.asarray(rail)[jnp.maximum(place, 0)]
    weight = (place >= 0).astype(y.dtype)

    @jax.jit
    def run(y, weight):
        fit = partial(arima.fit, order=(1, 0, 0), seasonal_order=(0, 1, 1, 7))
        models = jax.vmap(lambda y, w: fit(y, sample_weight=w))(y, weight)
        return jax.vmap(lambda m: arima.forecast(m, steps=1).mean[0])(models)

    said = np.asarray(run(y, weight))
    return 1e6 * np.abs(said[:-1] - rail[june - 92 : june]).mean(), 1e6 * said[-1]


def parts(days, series, inputs, ahead=1):
    """Windows of the chosen inputs, and the rail of the days after each."""
    make = lambda first, last: windows.windows(
        between(days, series, first, last).astype(np.float32),
        LENGTH,
        ahead=ahead,
        targets=[1],
    )
    arrays = [make("2016-01", "2018-12"), make("2019-01", "2019-05")]
    return [
        {"x": a["x"][:, :, inputs], "y": np.ascontiguousarray(a["y"][:, :, 0])}
        for a in arrays
    ]


def networks(days, series, options):
    """Rows 54 and 55: name, row, ceiling, network, rate, inputs, days ahead."""
    epochs = 2 if options.smoke else 500
    small = partial(rnn.rnn, features=32)
    deep = partial(small, layers=3)
    every = [0, 1, 2, 3, 4]
    for name, row, ceiling, network, rate, inputs, ahead in (
        ("linear", 54, 37_866, MLP((), 1), 0.02, [1], 1),
        ("RNN 32", 54, 29_015, rnn.SequenceToVector(small), 0.05, [1], 1),
        ("RNN 3 x 32", 54, 31_211, rnn.SequenceToVector(deep), 0.01, [1], 1),
        ("multivariate", 54, 22_062, rnn.SequenceToVector(small), 0.05, every, 1),
        ("14 days", 55, 35_017, rnn.SequenceToVector(small, 14), 0.02, every, 14),
    ):
        train, valid = parts(days, series, inputs, ahead)
        model = Days(network)
        score = training.scorer(model, valid, GOAL)

        def run(seed, model=model, rate=rate, train=train, score=score, name=name):
            state = training.fit(
                model,
                train,
                optimizers.momentum(rate, momentum=0.9),
                epochs=epochs,
                seed=seed,
                goal=GOAL,
                keep=training.Keep(score, patience=50),
            )
            return {name: 1e6 * float(score(state))}

        training.report(row, {name: ceiling}, run, options, best=min, word="ceiling")


def main() -> None:
    options = training.options(__doc__, **{"skip-networks": "only rows 52 and 53"})
    days, series = read()
    bus, rail = naive(days, series)
    print(f"row 52 rail {rail:.2f} (exact 42143.27) bus {bus:.2f} (exact 43915.61)")
    for first in ("2018-01", "2019-01"):
        begin = time.perf_counter()
        with jax.enable_x64(True):
            error, june = sarima(days, series, first)
        seconds = time.perf_counter() - begin
        print(
            f"row 53 SARIMA from {first} {error:.2f} (ceiling 32040.72), 1 June "
            f"{june:.2f} (theirs 427758.63) seconds {seconds:.0f}",
            flush=True,
        )
    if not options.skip_networks:
        networks(days, series, options)


if __name__ == "__main__":
    main()
