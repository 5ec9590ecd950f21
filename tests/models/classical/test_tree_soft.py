import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.classical import tree_soft
from jaxml.ops import trees
from tests.ops import tree_examples


@pytest.fixture(scope="module")
def mixed():
    """Trees with every kind of node, and rows off the thresholds."""
    rng = np.random.default_rng(0)
    each = [tree_examples.draw(rng, 4, leaves, k=2, words=2) for leaves in (1, 5, 9)]
    x = tree_examples.rows(rng, 30, 4, words=2)
    x[:, 1::2] += 0.125
    return tree_examples.stack(each), jnp.asarray(x)


class TestLimit:
    @pytest.mark.parametrize("temperature", [0.0, 1e-3])
    def test_a_low_temperature_is_hard(self, mixed, temperature):
        ours, x = mixed
        found = tree_soft.sum_values(ours, x, temperature=temperature)
        np.testing.assert_allclose(found, trees.sum_values(ours, x), atol=1e-6)

    def test_it_is_closer_the_lower(self, mixed):
        ours, x = mixed
        hard = trees.sum_values(ours, x)
        errors = [
            float(jnp.abs(tree_soft.sum_values(ours, x, temperature=t) - hard).max())
            for t in (1.0, 0.1, 0.02)
        ]
        assert errors[0] > errors[1] > errors[2]
        assert errors[0] > 0.1
        assert errors[2] < 0.01

    def test_zero_temperature_at_a_threshold(self):
        tree = tree_examples.draw(np.random.default_rng(1), 1, 2, words=0)
        ours = tree_examples.stack([tree])
        x = jnp.full((1, 1), ours.threshold[0, 0])
        found = tree_soft.sum_values(ours, x, temperature=0.0)
        np.testing.assert_array_equal(found, trees.sum_values(ours, x))


class TestProperties:
    def test_chances(self, mixed):
        """They sum to 1, and a stump has the logistic function."""
        ours, x = mixed
        chances = tree_soft.leaf_chances(ours, x, temperature=0.3)
        assert chances.shape == (30, *ours.feature.shape)
        np.testing.assert_allclose(chances.sum(-1), 1, rtol=1e-5)
        assert not chances[:, ours.children_left >= 0].any()
        total = jnp.einsum("ntm,tmk->nk", chances, ours.value)
        found = tree_soft.sum_values(ours, x, temperature=0.3)
        np.testing.assert_allclose(found, total, atol=1e-5)

    def test_a_stump(self):
        tree = tree_examples.draw(np.random.default_rng(1), 1, 2, words=0)
        ours = tree_examples.stack([tree])
        x = jnp.array([[0.3], [-2.0], [jnp.nan]])
        left = 1 / (1 + np.exp((x[:2, 0] - ours.threshold[0, 0]) / 0.7))
        left = [*left, float(tree["missing_go_to_left"][0])]
        found = tree_soft.leaf_chances(ours, x, temperature=0.7)
        np.testing.assert_allclose(found[:, 0, 1], left, rtol=1e-5)

    def test_axes_and_widths(self, mixed):
        """Columns as `sum_values` of the hard form; a width for each feature."""
        ours, x = mixed
        twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[::-1]], 1), ours)
        both = tree_soft.sum_values(twice, x, temperature=0.3)
        widths = jnp.full(4, 0.3)
        once = tree_soft.sum_values(ours, x, temperature=widths)
        np.testing.assert_allclose(both, jnp.tile(once, (1, 2)), atol=1e-5)
        wide = tree_soft.sum_values(ours, x, temperature=widths.at[1].set(3.0))
        assert jnp.abs(wide - once).max() > 0.1

    def test_derivatives(self, mixed):
        """Finite differences in rows, thresholds, values and the width."""
        with jax.enable_x64(True):
            rng = np.random.default_rng(0)
            tree = tree_examples.draw(rng, 4, 9, k=2, words=2, dtype=np.float64)
            ours = tree_examples.stack([tree])
            x = jnp.asarray(tree_examples.rows(rng, 6, 4, words=2, dtype=np.float64))

            def total(change):
                rows = x + change[0]
                changed = ours._replace(
                    threshold=ours.threshold + change[1], value=ours.value + change[2]
                )
                found = tree_soft.sum_values(changed, rows, temperature=0.4 + change[3])
                return (found**2).sum()

            shapes = (x.shape, ours.threshold.shape, ours.value.shape, ())
            zero = tuple(map(jnp.zeros, shapes))
            # Categories are hard, so their columns must not move.
            ways = [jnp.asarray(rng.normal(size=shape)) for shape in shapes]
            ways[0] = ways[0].at[:, ::2].set(0)
            slopes = jax.grad(total)(zero)
            for part, way in enumerate(ways):
                ahead, behind = (
                    tuple(way * size if i == part else z for i, z in enumerate(zero))
                    for size in (1e-5, -1e-5)
                )
                expected = (total(ahead) - total(behind)) / 2e-5
                found = (slopes[part] * way).sum()
                np.testing.assert_allclose(found, expected, rtol=1e-6)
                assert abs(expected) > 1e-3

    def test_sharded_rows_stay(self, mixed):
        ours, x = mixed
        x = x[:8]
        mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
        shards = jax.device_put(x, jax.NamedSharding(mesh, jax.P("data")))
        run = jax.jit(lambda x: tree_soft.sum_values(ours, x, temperature=0.3))
        program = run.lower(shards).compile()
        assert "all-gather" not in program.as_text()
        np.testing.assert_allclose(program(shards), run(x), atol=1e-6)


def test_rejects_a_negative_temperature(mixed):
    ours, x = mixed
    with pytest.raises(ValueError, match="temperature must be"):
        tree_soft.sum_values(ours, x, temperature=-1.0)
