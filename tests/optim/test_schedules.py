"""Schedules against torch's and transformers' sequences and against their formulas."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxml.optim import schedules

# How each case of the reference is written here; the base rate is 0.1.
CASES = {
    "cosine_warmup_hf": lambda: schedules.linear_warmup(schedules.cosine(0.1, 35), 5),
    "linear_warmup_hf": lambda: schedules.linear_warmup(schedules.linear(0.1, 35), 5),
    "poly_hf": lambda: schedules.linear_warmup(
        schedules.polynomial(0.1, 35, end=1e-3, exponent=2.0), 5
    ),
    "cosine_restarts_hf": lambda: schedules.linear_warmup(
        schedules.cosine_restarts(0.1, 35 / 3), 5
    ),
    "inv_sqrt_hf": lambda: schedules.linear_warmup(schedules.inverse_sqrt(0.1, 5), 5),
    "step": lambda: schedules.staircase(0.1, 7, 0.5),
    "multistep": lambda: schedules.piecewise(0.1, [5, 20], [0.1, 0.01]),
    "cosine_annealing": lambda: schedules.cosine(0.1, 40, end=1e-3),
    "onecycle": lambda: schedules.one_cycle(0.5, 45),
    "exp": lambda: schedules.exponential(0.1, 1, 0.9),
    "warm_restarts": lambda: schedules.cosine_restarts(0.1, 10, multiplier=2),
    "cyclic": lambda: schedules.cyclic(0.1, 6, low=0.01),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name, parity_folder):
    stem = parity_folder / "open" / "x_lr_schedules"
    tensors = load_file(stem.with_suffix(".safetensors"))
    assert (
        f'"{name}"'
        in json.loads(stem.with_suffix(".json").read_text())["definitions"][0]
    )
    if name not in tensors:
        pytest.skip("no tensor of this case here")
    want = tensors[name]
    # 1e-6 of the base rate: float32 steps and rates.
    np.testing.assert_allclose(CASES[name]()(jnp.arange(40)), want, atol=1e-7)


def test_equals_the_formulas_of_transformers():
    past = np.maximum(np.arange(40) - 5, 0) / 35
    rise = np.minimum(np.arange(40) / 5, 1.0)
    linear = CASES["linear_warmup_hf"]()(jnp.arange(40))
    np.testing.assert_allclose(linear, 0.1 * rise * (1 - past), atol=1e-7)
    restarts = CASES["cosine_restarts_hf"]()(jnp.arange(40))
    want = 0.05 * rise * (1 + np.cos(np.pi * (3 * past % 1.0)))
    np.testing.assert_allclose(restarts, want, atol=1e-7)


def test_equals_torch():
    torch = pytest.importorskip("torch")
    from torch.optim import lr_scheduler as reference

    makers = {
        "step": lambda o: reference.StepLR(o, 7, 0.5),
        "multistep": lambda o: reference.MultiStepLR(o, [5, 20], 0.1),
        "cosine_annealing": lambda o: reference.CosineAnnealingLR(o, 40, 1e-3),
        "onecycle": lambda o: reference.OneCycleLR(o, 0.5, total_steps=45),
        "exp": lambda o: reference.ExponentialLR(o, 0.9),
        "warm_restarts": lambda o: reference.CosineAnnealingWarmRestarts(o, 10, 2),
        "cyclic": lambda o: reference.CyclicLR(o, 0.01, 0.1, 6, cycle_momentum=False),
    }
    for name, make in makers.items():
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        scheduler, want = make(optimizer), []
        for _ in range(44):
            want.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        if name == "cosine_annealing":  # torch turns up again after its end
            want = want[:40]
        got = CASES[name]()(jnp.arange(len(want)))
        np.testing.assert_allclose(got, want, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("phases", [2, 3])
def test_one_cycle_and_its_momentum_equal_torch(phases):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        0.5,
        total_steps=33,
        three_phase=phases == 3,
        anneal_strategy="linear",
    )
    rates, momenta = [], []
    for _ in range(32):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        scheduler.step()
    steps = jnp.arange(32)
    rate = schedules.one_cycle(0.5, 33, phases=phases, shape="linear")
    momentum = schedules.one_cycle_momentum(33, phases=phases, shape="linear")
    np.testing.assert_allclose(rate(steps), rates, rtol=1e-5)
    np.testing.assert_allclose(momentum(steps), momenta, rtol=1e-6)


def test_restarts_begin_at_the_top():
    for period, multiplier, starts in [
        (10, 2, [0, 10, 30, 70, 150, 310]),
        (7, 3, [0, 7, 28, 91, 280, 847]),
        (35 / 3, 1, [0, 35, 70, 105, 700, 70_000]),
        (1.5, 2, [0, 1.5, 4.5, 10.5]),
    ]:
        schedule = schedules.cosine_restarts(0.1, period, multiplier, decay=0.5)
        tops = 0.1 * 0.5 ** np.arange(len(starts))
        if multiplier == 1:
            tops = 0.1 * 0.5 ** np.round(np.array(starts) / period)
        np.testing.assert_allclose(schedule(jnp.array(starts)), tops, rtol=1e-5)


def test_power_is_the_inverse_time_of_keras():
    rates = schedules.power(0.01, 10, 1.0)(jnp.array([0, 10, 20]))
    np.testing.assert_allclose(rates, [0.01, 0.01 / 2, 0.01 / 3], rtol=1e-6)


def test_interpolates_a_one_cycle_with_a_rest():
    # Half up, half down, a tenth of the run far below: the recipe with linear pieces.
    schedule = schedules.interpolate(0.1, [0, 45, 90, 100], [0.1, 1.0, 0.1, 1e-4])
    want = [0.01, 0.1, 0.055, 0.01, 1e-5, 1e-5]
    rates = schedule(jnp.array([0, 45, 67.5, 90, 100, 200]))
    np.testing.assert_allclose(rates, want, rtol=2e-5)


EVERY = {
    "piecewise": {"boundaries": [5], "factors": [0.1]},
    "interpolate": {"knots": [0, 5], "factors": [0.1, 1.0]},
    "cosine_restarts": {"period": 5},
    "cyclic": {"up": 5},
    "constant": {},
}


@pytest.mark.parametrize("name", schedules.NAMES)
def test_contract_of_every_schedule(name):
    options = EVERY.get(name, {"steps": 20})
    schedule = schedules.by_name(name, 0.1, **options)
    together = schedule(jnp.arange(30))
    one_by_one = [schedule(step) for step in range(30)]
    assert together.shape == (30,)
    assert together.dtype == jnp.float32
    np.testing.assert_allclose(together, one_by_one, rtol=1e-6, atol=1e-8)
    assert (together >= 0).all()
    assert together.max() <= 0.1 + 1e-7
    jitted = jax.jit(schedule)(jnp.int32(7))
    np.testing.assert_allclose(jitted, schedule(7), rtol=1e-6)
    # A traced rate is as good as a number.
    traced = jax.vmap(lambda rate: schedules.by_name(name, rate, **options)(7))
    np.testing.assert_allclose(traced(jnp.array([0.1]))[0], schedule(7), rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "constant",
        "linear",
        "cosine",
        "one_cycle",
        "exponential",
        "power",
        "inverse_sqrt",
    ],
)
def test_over_a_run(name):
    rates = schedules.over_run(name, 0.1, 100)(jnp.arange(100))
    assert rates.max() > 0.0999
    if name != "constant":
        assert rates[-1] < 0.04


def test_warmup_rises_from_its_start():
    warm = schedules.linear_warmup(schedules.cosine(0.1, 10), 4, start=0.25)
    want = [0.025, 0.04375, 0.0625, 0.08125, 0.1, 0.05 * (1 + math.cos(math.pi / 10))]
    np.testing.assert_allclose(warm(jnp.arange(6)), want, rtol=1e-6)
    cosine = schedules.cosine(0.1, 10)
    assert schedules.linear_warmup(cosine, 0) is cosine


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: schedules.by_name("cosin", 0.1),
            r"got 'cosin' \(nearest: cosine",
        ),
        (
            lambda: schedules.by_name("cosine", 0.1, step=3),
            "steps, end; got 'step'",
        ),
        (
            lambda: schedules.by_name("cosine", 0.1),
            "needs steps; got no options",
        ),
        (lambda: schedules.over_run("cyclic", 0.1, 10), "must be one of constant"),
        (lambda: schedules.cosine(0.1, 0), "steps must be positive; got 0"),
        (lambda: schedules.piecewise(0.1, [5, 3], [1, 1]), r"must rise.*got \[5, 3\]"),
        (lambda: schedules.piecewise(0.1, [5], [1, 1]), r"as many as factors \(2\)"),
        (lambda: schedules.interpolate(0.1, [1], [1]), "at least 2; got 1"),
        (lambda: schedules.interpolate(0.1, [1, 2], [1, 1], "cubic"), "got 'cubic'"),
        (lambda: schedules.cosine_restarts(0.1, 5, 0.5), "at least 1; got 0.5"),
        (lambda: schedules.one_cycle(0.1, 3), "rise must be above.*steps=3"),
        (lambda: schedules.one_cycle(0.1, 30, 0.6, 3), "below 0.5 for 3 phases"),
        (lambda: schedules.linear_warmup(schedules.constant(1), -1), "0; got -1"),
    ],
)
def test_rejects(make, message):
    with pytest.raises(ValueError, match=message):
        make()
