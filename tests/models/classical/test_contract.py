"""The laws that every classical model keeps; `cases/` lists the models."""

import importlib
import logging
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxml import sharding
from tests.models.classical.case import Case

FAMILIES = sorted(path.stem for path in (Path(__file__).parent / "cases").glob("*.py"))
CASES: dict[str, Case] = {}
for family in FAMILIES:
    CASES |= importlib.import_module(f"tests.models.classical.cases.{family}").CASES
HYPERPARAMETERS = [(k, name) for k, c in CASES.items() for name in c.traced]


def cases(condition=lambda case: True):
    names = [name for name, case in CASES.items() if condition(case)]
    return pytest.mark.parametrize("case", [CASES[n] for n in names], ids=names)


def close(case, left, right):
    """The same predictions, to the rounding that the case allows."""
    assert left.keys() == right.keys()
    for name, value in left.items():
        other = right[name]
        if jnp.issubdtype(value.dtype, jnp.floating):
            scale = float(jnp.abs(other).max())
            np.testing.assert_allclose(
                value, other, rtol=case.rtol, atol=case.rtol * scale, err_msg=name
            )
        else:
            # A label may flip where two classes tie to rounding.
            assert float((value == other).mean()) > 0.97, name


@cases()
def test_state_is_a_pytree_of_arrays(case):
    model = case.fit(*case.data())
    leaves = jax.tree.leaves(model)
    assert leaves
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    again = jax.tree.unflatten(jax.tree.structure(model), leaves)
    x, _ = case.data()
    for name, value in case.results(again, x).items():
        np.testing.assert_array_equal(value, case.results(model, x)[name])


@cases()
def test_same_input_same_model(case):
    x, y = case.data()
    one, two = case.fit(x, y), case.fit(x, y)
    jax.tree.map(np.testing.assert_array_equal, one, two)


@cases(lambda case: case.weight)
def test_weight_zero_is_an_absent_row(case):
    x, y = case.data()
    kept = jnp.arange(len(x)) % 4 != 3
    weight = jnp.where(kept, 1, 0).astype(x.dtype)
    wild = jnp.where(kept[:, None], x, 50 if case.positive else -50 * x)
    absent = case.fit(wild, y, sample_weight=weight)
    small = case.fit(x[kept], y[kept])
    close(case, case.results(absent, x), case.results(small, x))


@cases(lambda case: case.weight and not case.repeats)
def test_integer_weights_are_repeated_rows(case):
    x, y = case.data()
    times = np.arange(len(x)) % 3
    repeated = np.repeat(np.arange(len(x)), times)
    weighted = case.fit(x, y, sample_weight=jnp.asarray(times, x.dtype))
    long = case.fit(x[repeated], y[repeated])
    close(case, case.results(weighted, x), case.results(long, x))


@cases(lambda case: case.weight)
def test_unit_weights_are_no_weights(case):
    x, y = case.data()
    with_ones = case.fit(x, y, sample_weight=jnp.ones(len(x), x.dtype))
    close(case, case.results(with_ones, x), case.results(case.fit(x, y), x))


@pytest.mark.parametrize(("name", "number"), HYPERPARAMETERS)
def test_vmap_over_a_number_is_the_loop(name, number):
    case = CASES[name]
    x, y = case.data()
    values = jnp.asarray(case.traced[number], x.dtype)

    def run(value):
        return case.results(case.fit(x, y, **{number: value}), x)

    together = jax.vmap(run)(values)
    for index, value in enumerate(values):
        one = {name: leaf[index] for name, leaf in together.items()}
        close(case, one, run(value))


@cases()
def test_float64_stays_float64(case):
    with jax.enable_x64(True):
        x, y = case.data(np.float64)
        model = case.fit(x, y)
        for leaf in jax.tree.leaves(model):
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                assert leaf.dtype == jnp.float64
        for value in case.results(model, x).values():
            assert value.dtype in (jnp.float64, jnp.int32, jnp.int64, jnp.bool_)


@cases(lambda case: not case.gathers)
def test_sharded_rows_give_the_same_model(case):
    x, y = case.data()
    rows = NamedSharding(sharding.mesh(data=8), P("data"))
    spread = [jax.device_put(part, rows) for part in (x, y)]
    program = jax.jit(lambda x, y: case.fit(x, y)).lower(*spread).compile()
    close(case, case.results(program(*spread), x), case.results(case.fit(x, y), x))
    n, d = x.shape
    for line in program.as_text().splitlines():
        if "all-gather" in line:
            shapes = re.findall(r"\[([\d,]+)\]", line.split("all-gather")[0])
            sizes = [np.prod([int(k) for k in shape.split(",")]) for shape in shapes]
            assert max(sizes, default=0) < n * d, f"x is gathered: {line.strip()}"


@cases()
def test_second_call_does_not_compile(case, caplog):
    x, y = case.data()
    case.fit(x, y)
    other = case.data(seed=1)
    numbers = {k: v[1] for k, v in case.traced.items()}
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        case.fit(*other, **numbers)
    compiled = [r.message for r in caplog.records if "Finished XLA compil" in r.message]
    assert not compiled


@cases()
def test_not_a_number_ends_and_shows(case):
    x, y = case.data()
    if not case.missing:
        model = case.fit(x.at[3, 1].set(jnp.nan), y)
    elif y.dtype.kind == "f":
        model = case.fit(x, y.at[3].set(jnp.nan))
    else:
        weight = jnp.ones(len(x), x.dtype).at[3].set(jnp.nan)
        model = case.fit(x, y, sample_weight=weight)
    leaves = [leaf for leaf in jax.tree.leaves(model) if leaf.dtype.kind == "f"]
    shown = any(bool(jnp.isnan(leaf).any()) for leaf in leaves)
    assert shown or not bool(getattr(model, "converged", True))


@cases()
@pytest.mark.usefixtures("unchecked")
def test_rejects_rows_that_do_not_match(case):
    x, y = case.data()
    if case.task != "none":
        with pytest.raises(ValueError, match="48"):
            case.fit(x, y[:-1])
    if case.weight:
        with pytest.raises(ValueError, match="sample_weight"):
            case.fit(x, y, sample_weight=jnp.ones(3, x.dtype))
