import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, ensemble

from jaxml.ops import native, trees, trees_matrix
from tests.ops import tree_examples


@pytest.fixture(scope="module")
def forest():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32)
    x[::7, ::3] = np.nan
    model = ensemble.RandomForestClassifier(11, random_state=0).fit(x, y)
    return model, x


@pytest.fixture(scope="module")
def random_trees():
    rng = np.random.default_rng(0)
    each = [tree_examples.draw(rng, 5, leaves, k=2, words=2) for leaves in range(1, 12)]
    x = tree_examples.rows(rng, 60, 5, words=2)
    return each, x


class TestParity:
    def test_scikit_learns_forest(self, forest):
        model, x = forest
        ours = tree_examples.from_sklearn(model.estimators_)
        leaves = trees.apply(ours, jnp.asarray(x))
        np.testing.assert_array_equal(leaves, model.apply(x))
        total = trees.sum_values(ours, jnp.asarray(x)) / 11
        np.testing.assert_allclose(total, model.predict_proba(x), atol=1e-6)

    def test_node_by_node(self, random_trees):
        each, x = random_trees
        expected = [[tree_examples.walk(tree, row)[-1] for tree in each] for row in x]
        ours = tree_examples.stack(each)
        np.testing.assert_array_equal(trees.apply(ours, jnp.asarray(x)), expected)


needs_compiler = pytest.mark.skipif(
    not native.enabled("trees"), reason=native.reason("trees")
)


@needs_compiler
class TestKernel:
    """The kernel and XLA give the same bits."""

    @pytest.mark.parametrize("repeats", [1, 9])  # rows that pay for packing, or do not
    def test_every_kind_of_node(self, random_trees, repeats, monkeypatch):
        each, x = random_trees
        ours, x = tree_examples.stack(each), jnp.tile(jnp.asarray(x[:20]), (repeats, 1))
        leaves, total = trees.apply(ours, x), trees.sum_values(ours, x)
        monkeypatch.setenv("JAXML_NATIVE", "0")
        np.testing.assert_array_equal(leaves, trees.apply(ours, x))
        np.testing.assert_array_equal(total, trees.sum_values(ours, x))

    def test_deep_trees(self, forest, monkeypatch):
        model, x = forest
        ours = tree_examples.from_sklearn(model.estimators_)
        x = jnp.nan_to_num(jnp.asarray(x))
        total = trees.sum_values(ours, x)
        monkeypatch.setenv("JAXML_NATIVE", "0")
        np.testing.assert_array_equal(total, trees.sum_values(ours, x))

    def test_few_rows_walk_large_trees_unpacked(self, monkeypatch):
        rng = np.random.default_rng(1)
        each = [tree_examples.draw(rng, 5, 90, k=2, words=2) for _ in range(2)]
        ours, x = tree_examples.stack(each), tree_examples.rows(rng, 8, 5, words=2)
        expected = [[tree_examples.walk(tree, row)[-1] for tree in each] for row in x]
        np.testing.assert_array_equal(trees.apply(ours, jnp.asarray(x)), expected)
        total = trees.sum_values(ours, jnp.asarray(x))
        monkeypatch.setenv("JAXML_NATIVE", "0")
        np.testing.assert_array_equal(total, trees.sum_values(ours, jnp.asarray(x)))

    def test_float64(self, random_trees, monkeypatch):
        with jax.enable_x64(True):
            rng = np.random.default_rng(2)
            tree = tree_examples.draw(rng, 5, 9, k=2, words=2, dtype=np.float64)
            x = tree_examples.rows(rng, 40, 5, words=2, dtype=np.float64)
            ours, x = tree_examples.stack([tree] * 3), jnp.asarray(x)
            total = trees.sum_values(ours, x)
            assert total.dtype == jnp.float64
            monkeypatch.setenv("JAXML_NATIVE", "0")
            np.testing.assert_array_equal(total, trees.sum_values(ours, x))

    @pytest.mark.parametrize("field", ["feature", "children_left"])
    @pytest.mark.parametrize("rows", [1, 60])
    def test_broken_trees_are_named(self, random_trees, field, rows):
        rng = np.random.default_rng(1)
        tree = tree_examples.draw(rng, 5, 90, k=2, words=2)
        tree[field][0] = 5 if field == "feature" else 999
        broken = tree_examples.stack([tree])
        message = "feature 5 of 5" if field == "feature" else "999 and"
        with pytest.raises(Exception, match=f"node 0 of tree 0.*{message}"):
            trees.apply(broken, jnp.zeros((rows, 5))).block_until_ready()

    def test_a_circle_ends(self, random_trees):
        tree = tree_examples.draw(np.random.default_rng(1), 5, 90)
        tree["children_left"][1] = tree["children_right"][1] = 0
        tree["children_left"][0] = 1
        broken = tree_examples.stack([tree])
        for n in (1, 60):
            with pytest.raises(Exception, match=r"circle|parents"):
                trees.apply(broken, jnp.full((n, 5), -9.0)).block_until_ready()


class TestProperties:
    def test_axes(self, random_trees):
        """The first axis is summed, the others stay."""
        each, x = random_trees
        ours, x = tree_examples.stack(each[:6]), jnp.asarray(x)
        one = jax.tree.map(lambda leaf: leaf[5], ours)
        values = jnp.stack(
            [ours.value[j, trees.apply(ours, x)[:, j]] for j in range(6)]
        )
        booster = jax.tree.map(lambda leaf: leaf.reshape(3, 2, *leaf.shape[1:]), ours)
        assert trees.apply(one, x).shape == (60,)
        assert trees.apply(booster, x).shape == (60, 3, 2)
        np.testing.assert_array_equal(trees.sum_values(one, x), values[5])
        scores = trees.sum_values(booster, x).reshape(60, 2, 2)
        np.testing.assert_allclose(scores[:, 0], values[::2].sum(0), rtol=1e-5)
        np.testing.assert_allclose(scores[:, 1], values[1::2].sum(0), rtol=1e-5)

    def test_derivatives(self, random_trees):
        """The values have theirs; rows and thresholds have none."""
        each, x = random_trees
        ours, x = tree_examples.stack(each), jnp.nan_to_num(jnp.asarray(x))

        def total(value, threshold, x):
            changed = ours._replace(value=value, threshold=threshold)
            return (trees.sum_values(changed, x) ** 2).sum()

        slopes = jax.grad(total, (0, 1, 2))(ours.value, ours.threshold, x)
        scores = trees.sum_values(ours, x)
        expected = jnp.zeros_like(ours.value)
        for j in range(len(each)):
            expected = expected.at[j, trees.apply(ours, x)[:, j]].add(2 * scores)
        np.testing.assert_allclose(slopes[0], expected, rtol=1e-4, atol=1e-4)
        assert not slopes[1].any()
        assert not slopes[2].any()

    def test_vmap(self, random_trees):
        each, x = random_trees
        ours, x = tree_examples.stack(each[:4]), jnp.asarray(x)

        def scores(rate):
            return trees.sum_values(ours._replace(value=rate * ours.value), x)

        many = jax.vmap(scores)(jnp.array([1.0, 2.0]))
        np.testing.assert_allclose(many[1], 2 * many[0], rtol=1e-6)
        np.testing.assert_array_equal(many[0], scores(1.0))

    @pytest.mark.parametrize("kernel", ["0", "1"])
    def test_sharded_rows_stay(self, random_trees, kernel, monkeypatch):
        monkeypatch.setenv("JAXML_NATIVE", kernel)
        each, x = random_trees
        ours, x = tree_examples.stack(each[:4]), jnp.asarray(x[:16])
        mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
        shards = jax.device_put(x, jax.NamedSharding(mesh, jax.P("data")))
        # A program of its own, so that nothing else jitted is found instead.
        program = jax.jit(lambda x: trees.sum_values(ours, x)).lower(shards).compile()
        assert "all-gather" not in program.as_text()
        total = program(shards)
        assert total.sharding.spec[0] == "data"
        np.testing.assert_array_equal(total, trees.sum_values(ours, x))


class TestMatrixForm:
    """Products of matrices give the bits of the walk."""

    def test_every_kind_of_node(self, random_trees, monkeypatch):
        each, x = random_trees
        ours, x = tree_examples.stack(each[:6]), jnp.asarray(x)
        leaves = trees_matrix.apply(ours, x)
        np.testing.assert_array_equal(leaves, trees.apply(ours, x))
        booster = jax.tree.map(lambda leaf: leaf.reshape(3, 2, *leaf.shape[1:]), ours)
        expected = trees.sum_values(booster, x)
        np.testing.assert_array_equal(trees_matrix.sum_values(booster, x), expected)
        monkeypatch.setattr(trees_matrix, "ELEMENTS", 7 * ours.feature.shape[1])
        blocks = trees_matrix.apply(ours, x[:59])  # seven rows at a time, three over
        np.testing.assert_array_equal(blocks, leaves[:59])

    def test_scikit_learns_forest(self, forest):
        model, x = forest
        ours = tree_examples.from_sklearn(model.estimators_)
        x = jnp.asarray(x)
        total = trees_matrix.sum_values(ours, x)
        np.testing.assert_array_equal(total, trees.sum_values(ours, x))

    def test_sharded_rows_stay(self, random_trees):
        each, x = random_trees
        ours, x = tree_examples.stack(each[:4]), jnp.asarray(x[:16])
        mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
        shards = jax.device_put(x, jax.NamedSharding(mesh, jax.P("data")))
        run = jax.jit(lambda x: trees_matrix.sum_values(ours, x))
        program = run.lower(shards).compile()
        assert "all-gather" not in program.as_text()
        np.testing.assert_array_equal(program(shards), trees.sum_values(ours, x))

    def test_derivative(self, random_trees):
        each, x = random_trees
        ours, x = tree_examples.stack(each[:4]), jnp.asarray(x)

        def slope(function):
            def total(value):
                return (function(ours._replace(value=value), x) ** 2).sum()

            return jax.grad(total)(ours.value)

        found, expected = slope(trees_matrix.sum_values), slope(trees.sum_values)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
