import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from jaxml import sharding
from jaxml.ops import partition

X = np.arange(48, dtype=np.float32).reshape(16, 3)
WEIGHT = np.linspace(0, 1, 16, dtype=np.float32)
OFFSET = jnp.arange(3.0)  # a constant of both programs
MARK = 1000.0  # what `local` adds, once


def whole(x, weight, shift):
    return weight @ x + OFFSET + shift, x[:, 0] * weight


def local(axis, x, weight, shift):
    total = jax.lax.psum(weight @ x, axis)
    return total + OFFSET + shift + MARK, x[:, 0] * weight


fit = partition.by_rows(whole, local, (0, 0, None), (None, 0))


def expected(x=X, weight=WEIGHT, shift=0.0):
    return weight @ x + np.arange(3) + shift


def spread(spec, mesh=None, x=X, weight=WEIGHT):
    rows = NamedSharding(sharding.mesh(data=8) if mesh is None else mesh, spec)
    return jax.device_put(x, rows), jax.device_put(weight, rows)


def check(result, mark, x=X, weight=WEIGHT, shift=0.0):
    np.testing.assert_allclose(result[0], expected(x, weight, shift) + mark, rtol=1e-5)
    np.testing.assert_allclose(result[1], x[:, 0] * weight, rtol=1e-6)


class TestOneDevice:
    @pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
    def test_is_whole(self, wrap):
        check(wrap(fit)(jnp.array(X), jnp.array(WEIGHT), 2.0), 0, shift=2.0)


class TestShardedRows:
    def test_local_runs_and_rows_stay(self):
        x, weight = spread(jax.P("data"))
        program = jax.jit(fit).lower(x, weight, 0.0).compile()
        result = program(x, weight, 0.0)
        check(result, MARK)
        check(fit(x, weight, 0.0), MARK)  # without jit too
        assert result[0].sharding.is_fully_replicated
        assert result[1].sharding.spec == jax.P("data")
        text = program.as_text()
        assert "all-reduce" in text
        for moved in ("all-gather", "all-to-all", "collective-permute"):
            assert moved not in text

    def test_replicated_arguments_run_whole(self):
        check(jax.jit(fit)(*spread(jax.P()), 0.0), 0)

    def test_one_sharded_argument_is_enough(self):
        x, _ = spread(jax.P("data"))
        program = jax.jit(fit).lower(x, WEIGHT, 0.0).compile()
        check(program(x, WEIGHT, 0.0), MARK)
        assert "all-gather" not in program.as_text()

    def test_rows_that_cannot_be_shared_evenly(self):
        x, weight = X[:13], WEIGHT[:13]

        @jax.jit
        def program(x, weight):
            rows = NamedSharding(sharding.mesh(data=8), jax.P("data"))
            x = jax.lax.with_sharding_constraint(x, rows)
            return fit(x, weight, 0.0)

        check(program(x, weight), 0, x, weight)

    @pytest.mark.parametrize(
        "spec", [jax.P("data"), jax.P(("data", "model"))], ids=["one", "both"]
    )
    def test_mesh_of_two_axes(self, spec):
        x, weight = spread(spec, sharding.mesh(data=4, model=2))
        check(jax.jit(fit)(x, weight, 0.0), MARK)

    def test_sharded_columns_are_gathered(self):
        mesh = sharding.mesh(data=4, model=2)
        x = jax.device_put(np.tile(X, 2), NamedSharding(mesh, jax.P("data", "model")))

        def total(axis, x):
            return (jax.lax.psum(x.sum(0), axis),)

        f = partition.by_rows(lambda x: (x.sum(0),), total, (0,), (None,))
        np.testing.assert_allclose(jax.jit(f)(x)[0], np.tile(X, 2).sum(0))

    def test_inside_of_shard_map_is_whole(self):
        x, weight = spread(jax.P("data"))
        mapped = jax.shard_map(
            lambda x, weight: jax.lax.psum(fit(x, weight, 0.0)[0], "data"),
            mesh=sharding.mesh(data=8),
            in_specs=jax.P("data"),
            out_specs=jax.P(),
            check_vma=False,
        )
        offsets = 7 * np.arange(3)  # eight times OFFSET, of which `expected` has one
        result = jax.jit(mapped)(x, weight)
        np.testing.assert_allclose(result, expected() + offsets, rtol=1e-5)


class TestInsideOfOtherPrograms:
    """The same on one device and on eight, up to the mark of `local`."""

    @pytest.fixture(params=[False, True], ids=["whole", "local"])
    def data(self, request):
        if request.param:
            return *spread(jax.P("data")), MARK
        return jnp.array(X), jnp.array(WEIGHT), 0.0

    def test_vmap_maps_in_turn(self, data):
        x, weight, mark = data
        shifts = jnp.arange(3.0)
        many = jax.jit(jax.vmap(fit, in_axes=(None, None, 0)))(x, weight, shifts)
        for shift, *result in zip(shifts, *many, strict=True):
            check(result, mark, shift=shift)

    def test_vmap_of_vmap(self, data):
        x, weight, mark = data
        weights = weight[None] * jnp.array([1.0, 2.0])[:, None]
        inner = jax.vmap(fit, in_axes=(None, None, 0))
        outer = jax.jit(jax.vmap(inner, in_axes=(None, 0, None)))
        program = outer.lower(x, weights, jnp.arange(3.0)).compile()
        many = program(x, weights, jnp.arange(3.0))
        assert many[0].shape == (2, 3, 3)
        for i in range(2):
            for j in range(3):
                result = many[0][i, j], many[1][i, j]
                check(result, mark, weight=WEIGHT * (i + 1), shift=j)
        assert "all-gather" not in program.as_text()

    def test_vmap_by_a_program_of_many(self, data):
        x, weight, _ = data

        def many(batched, x, weight, shift):
            assert batched == (False, True, True)
            own = jnp.broadcast_to(OFFSET + MARK, (len(weight), 3)) + shift[:, None]
            return weight @ x + own, x[None, :, 0] * weight

        program = partition.by_rows(whole, local, (0, 0, None), (None, 0), many)
        weights = weight[None] * jnp.array([1.0, 2.0, 4.0])[:, None]
        run = jax.jit(jax.vmap(program, in_axes=(None, 0, 0)))
        compiled = run.lower(x, weights, jnp.arange(3.0)).compile()
        results = compiled(x, weights, jnp.arange(3.0))
        # `many` on one device, `local` on eight: both leave the mark
        for i in range(3):
            one = results[0][i], results[1][i]
            check(one, MARK, weight=WEIGHT * 2**i, shift=i)
        assert "all-gather" not in compiled.as_text()
        again = jax.jit(jax.vmap(jax.vmap(program, (None, 0, 0)), (None, None, 0)))
        shifts = jnp.arange(6.0).reshape(2, 3)
        twice = again(x, weights, shifts)
        for j in range(2):
            one = twice[0][j, 2], twice[1][j, 2]
            check(one, MARK, weight=WEIGHT * 4, shift=shifts[j, 2])

    def test_scan_and_while(self, data):
        x, weight, mark = data

        @jax.jit
        def both(x, weight):
            def step(shift, _):
                return shift + 1, fit(x, weight, shift)[0]

            _, totals = jax.lax.scan(step, jnp.float32(0), None, 3)
            _, last = jax.lax.while_loop(
                lambda state: state[0] < 2, lambda state: step(*state), (0.0, totals[0])
            )
            return jnp.concatenate([totals, last[None]])

        for shift, total in zip((0, 1, 2, 1), both(x, weight), strict=True):
            np.testing.assert_allclose(total, expected(shift=shift) + mark, rtol=1e-5)

    def test_rejects_derivatives(self, data):
        x, weight, _ = data
        with pytest.raises(NotImplementedError, match="ifferentiation"):
            jax.grad(lambda x: fit(x, weight, 0.0)[0].sum())(x)
        through = jax.grad(
            lambda w: fit(jax.lax.stop_gradient(x), weight, 0.0)[0].sum() * w
        )
        assert np.isfinite(through(1.0))
