"""Growth of trees: the kernel and XLA give the same ones, and what they draw."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from sklearn import datasets

from jaxml import sharding
from jaxml.models.classical import cart, cart_gain, tree_classifier
from jaxml.ops import bins, native

N = 104  # rows of all problems here: a multiple of 8
LIMITS = (2.0, 1.0, 0.0, 0.0)


@partial(jax.jit, static_argnames=("recipe",))
def grow(x, y, weight, seeds, limits, *, recipe):
    edges = bins.find(x, 31)
    codes = bins.codes(edges, x)
    return cart.grow(recipe, cart.Limits(*limits), codes, edges, y, weight, seeds)


def problem(task, missing=True):
    rng = np.random.default_rng(0)
    load = datasets.load_wine if task == "classes" else datasets.load_diabetes
    x, y = load(return_X_y=True)
    pick = rng.permutation(len(x))[:N]
    x, y = x[pick, :6], y[pick]
    if missing:
        x = np.where(rng.random(x.shape) < 0.15, np.nan, x)
    y = np.stack([y, x[:, 0]], 1) if task == "two" else y[:, None]
    weight = rng.integers(0, 3, (2, N)).astype(float)
    y = jnp.asarray(np.nan_to_num(y), jnp.int32 if task == "classes" else None)
    return jnp.asarray(x), y, jnp.asarray(weight)


def both(task, recipe, limits=LIMITS, missing=True):
    """The trees of the kernel and of XLA, in float64."""
    if not native.enabled("cart"):
        pytest.skip(native.reason("cart"))
    with jax.enable_x64(True):
        x, y, weight = problem(task, missing)
        seeds = jnp.array([7, 8], jnp.uint32)
        limits = tuple(jnp.asarray(v) for v in limits)
        run = partial(grow, x, y, weight, seeds, limits)
        trees = [run(recipe=recipe._replace(native=n)) for n in (True, False)]
        return [jax.tree.map(np.asarray, tree) for tree in trees]


def assert_same(one, two, rtol=1e-9):
    for name, left in one.trees._asdict().items():
        right = getattr(two.trees, name)
        if left.dtype.kind == "f":
            np.testing.assert_allclose(left, right, rtol=rtol, atol=rtol, err_msg=name)
        else:
            np.testing.assert_array_equal(left, right, err_msg=name)
    np.testing.assert_array_equal(one.full, two.full)


RECIPES = {
    "gini": ("classes", cart.Recipe("gini", 6, 3), LIMITS),
    "limits": ("classes", cart.Recipe("entropy", 6, 3), (9.0, 3.0, 0.03, 0.01)),
    "drawn": ("classes", cart.Recipe("gini", 2, 3), LIMITS),
    "shuffled": ("classes", cart.Recipe("gini", 6, 3, shuffle=True), LIMITS),
    "random": ("classes", cart.Recipe("gini", 2, 3, "random"), LIMITS),
    "best_first": ("classes", cart.Recipe("gini", 6, 3, max_leaf_nodes=7), LIMITS),
    "squares": ("numbers", cart.Recipe("squared_error", 6, max_depth=6), LIMITS),
    "poisson": ("numbers", cart.Recipe("poisson", 6, max_depth=5), LIMITS),
    "two": ("two", cart.Recipe("squared_error", 6, max_leaf_nodes=12), LIMITS),
    "medians": ("numbers", cart.Recipe("absolute_error", 6, max_depth=3), LIMITS),
}


@pytest.mark.parametrize("name", RECIPES)
def test_kernel_and_xla_grow_the_same_trees(name):
    task, recipe, limits = RECIPES[name]
    one, two = both(task, recipe, limits)
    assert (one.trees.node_count > 5).all()
    assert not (one.trees.feature[0] == one.trees.feature[1]).all()
    assert_same(one, two)


def walk(trees, tree):
    """The nodes as a walk meets them: a node, all to its left, all to its right."""
    left, right = trees.children_left[tree], trees.children_right[tree]
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        if left[node] >= 0:
            stack += [right[node], left[node]]
    return order


@pytest.mark.parametrize("name", ["gini", "best_first"])
def test_nodes_are_numbered_depth_first(name):
    for grown in both(*RECIPES[name]):
        for tree in range(2):
            size = grown.trees.node_count[tree]
            assert walk(grown.trees, tree) == list(range(size))
            leaf = grown.trees.children_left[tree] < 0
            assert (grown.trees.feature[tree][leaf] == -2).all()
            assert (grown.trees.threshold[tree][leaf] == -2).all()
            assert (grown.trees.n_node_samples[tree][size:] == 0).all()


def test_kernel_does_not_depend_on_the_number_of_trees_or_threads():
    recipe = cart.Recipe("gini", 3, 2, native=native.enabled("cart"))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(12_000, 6)), jnp.float32)
    y = jnp.asarray(rng.integers(0, 2, (12_000, 1)), jnp.int32)
    y = jnp.where(x[:, :1] > 0, 1, y)
    weight, seeds = jnp.ones((9, len(x))), jnp.arange(9, dtype=jnp.uint32)
    many = grow(x, y, weight, seeds, LIMITS, recipe=recipe)  # a thread for each
    for tree in (0, 5):
        pick = slice(tree, tree + 1)
        one = grow(x, y, weight[pick], seeds[pick], LIMITS, recipe=recipe)
        for leaf, all_leaves in zip(*map(jax.tree.leaves, (one, many)), strict=True):
            np.testing.assert_array_equal(leaf, all_leaves[pick])


def test_room_for_one_tree_is_used_the_same_by_all_threads():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(12_000, 3)), jnp.float32)
    y = jnp.asarray(rng.integers(0, 2, (12_000, 1)), jnp.int32)
    recipe = cart.Recipe("gini", 3, 2, max_nodes=101, native=native.enabled("cart"))
    seeds = jnp.zeros(9, jnp.uint32)
    one = grow(x, y, jnp.ones((1, len(x))), seeds[:1], LIMITS, recipe=recipe)
    many = grow(x, y, jnp.ones((9, len(x))), seeds, LIMITS, recipe=recipe)
    assert one.full.all()
    assert one.trees.node_count[0] == 101
    for leaf, expected in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_array_equal(leaf[0], expected[3])


def test_features_are_looked_at_until_one_varies():
    # Nine of ten features are constant: a split is found all the same.
    x = jnp.zeros((N, 10)).at[:, 4].set(jnp.arange(N) % 2)
    y = (jnp.arange(N) % 2).astype(jnp.int32)
    for seed in range(5):
        key = jax.random.key(seed)
        for splitter in ("best", "random"):
            model = tree_classifier.fit(
                x, y, max_features=1, splitter=splitter, key=key
            )
            assert model.tree.node_count == 3
            assert model.tree.feature[0] == 4


def test_features_and_thresholds_are_drawn_evenly():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.random((N, 6)), jnp.float32)
    y = jnp.asarray(rng.integers(0, 2, (N, 1)), jnp.int32)
    recipe = cart.Recipe("gini", 1, 2, "random", max_depth=1)
    t = 600
    weight = jnp.ones((t, N))
    seeds = jax.random.bits(jax.random.key(0), (t,), jnp.uint32)
    recipe = recipe._replace(native=native.enabled("cart"))
    trees = grow(x, y, weight, seeds, LIMITS, recipe=recipe).trees
    count = np.bincount(trees.feature[:, 0], minlength=6)
    assert (np.abs(count - t / 6) < 4 * np.sqrt(t / 6)).all()
    threshold = np.sort(trees.threshold[:, 0])
    even = (np.arange(t) + 0.5) / t
    assert np.abs(threshold - even).max() < 1.63 / np.sqrt(t) + 0.03  # Kolmogorov, 1%


def test_mix_is_the_finalizer_of_murmurhash():
    def reference(state, number):
        h = (state + 0x9E3779B9 * (number + 1)) % 2**32
        h ^= h >> 16
        h = h * 0x85EBCA6B % 2**32
        h ^= h >> 13
        h = h * 0xC2B2AE35 % 2**32
        return h ^ h >> 16

    for state, number in ((0, 0), (1, 2), (2**32 - 1, 783)):
        mixed = cart_gain.mix(jnp.uint32(state), number)
        assert int(mixed) == reference(state, number)


def test_gain_is_found_where_it_is_small_beside_the_sums():
    gain = jnp.array([1.0, 1.0 + 1e-8, 1.0 + 1e-3, -jnp.inf])
    best, index = cart_gain.choose(gain, jnp.array(1e-3))
    assert index == 2
    assert best == gain[2]
    assert cart_gain.choose(gain[:2], jnp.array(1e-3))[1] == 0


@pytest.mark.parametrize("name", ["best_first", "medians"])
def test_sharded_rows_grow_the_same_trees(name):
    task, recipe, _ = RECIPES[name]
    x, y, weight = problem(task)
    seeds = jnp.array([7, 8], jnp.uint32)
    limits = tuple(jnp.asarray(v) for v in LIMITS)
    whole = grow(x, y, weight, seeds, limits, recipe=recipe)
    mesh = sharding.mesh(data=8)
    x, y = (jax.device_put(part, NamedSharding(mesh, P("data"))) for part in (x, y))
    weight = jax.device_put(weight, NamedSharding(mesh, P(None, "data")))
    spread = grow(x, y, weight, seeds, limits, recipe=recipe)
    assert_same(*(jax.tree.map(np.asarray, t) for t in (whole, spread)), rtol=1e-4)


def test_capacity_is_enough_and_no_more():
    recipe = cart.Recipe("gini", 1, 2)
    assert cart.capacity(recipe, 10) == 19
    assert cart.capacity(recipe._replace(max_depth=2), 10) == 7
    assert cart.capacity(recipe._replace(max_depth=40), 10) == 19
    assert cart.capacity(recipe._replace(max_leaf_nodes=3), 10) == 5
    assert cart.capacity(recipe._replace(max_nodes=4), 10) == 4


@pytest.mark.parametrize("native_too", [False, True])
def test_a_drawn_one_of_equal_features_wins_where_they_are_shuffled(native_too):
    if native_too and not native.enabled("cart"):
        pytest.skip(native.reason("cart"))
    rng = np.random.default_rng(0)
    column = rng.normal(size=(40, 1)).astype(np.float32)
    x = jnp.asarray(np.repeat(column, 3, 1))  # three times the same feature
    y = jnp.asarray((column > 0).astype(np.int32))
    seeds = jnp.arange(30, dtype=jnp.uint32)
    recipe = cart.Recipe("gini", 3, 2, max_depth=1, native=native_too)
    weight = jnp.ones((30, 40))
    lowest = grow(x, y, weight, seeds, LIMITS, recipe=recipe).trees
    assert (lowest.feature[:, 0] == 0).all()
    drawn = grow(x, y, weight, seeds, LIMITS, recipe=recipe._replace(shuffle=True))
    assert set(np.asarray(drawn.trees.feature[:, 0]).tolist()) == {0, 1, 2}
    np.testing.assert_array_equal(drawn.trees.threshold, lowest.threshold)
