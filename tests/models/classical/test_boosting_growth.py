"""Growth of boosted trees: the kernel, its form in XLA, and every split tried."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.classical import boosting_growth as growth
from jaxml.ops import native

N, D, BINS = 96, 4, 12
PLAIN = growth.Numbers(0.0, 1.0, 1e-3, 3.0, 0.0, np.inf, 1.0, 10.0)


def problem(seed, *, missing=False, categorical=False, groups=False, monotone=False):
    """Binned rows with two sets of gradients that depend on them."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, BINS, (N, D)).astype(np.uint8)
    kind = np.zeros(D, np.int32)
    slope = np.sin(codes[:, 0] / 2.0) + (codes[:, 1] > 5) * np.cos(codes[:, 2] / 2.0)
    gradient = rng.normal(size=(2, N)) + 2 * slope[None]
    if missing:
        codes[rng.random((N, D)) < 0.2] = BINS
        kind += growth.MISSING
    if categorical:
        kind[::2] += growth.CATEGORICAL
    sets = np.array([[1, 1, 0, 0], [0, 1, 1, 1]], bool)[: 2 * groups]
    table = growth.Table(
        jnp.asarray(codes),
        jnp.asarray(codes.T.copy()),
        jnp.full(D, BINS, jnp.int32),
        jnp.asarray(kind),
        jnp.asarray([0, monotone, 0, -int(monotone)], jnp.int32),
        jnp.asarray(sets.reshape(-1, D)),
    )
    hessian = rng.random((2, N)) + 0.5
    bag = jnp.asarray(rng.random(N) < 0.8)
    if (
        missing and monotone
    ):  # values are missing only in rows that are not learned from
        codes = jnp.where(bag[:, None], table.codes % BINS, table.codes)
        table = table._replace(codes=codes, columns=codes.T, kind=0 * table.kind)
    return table, jnp.asarray(gradient), jnp.asarray(hessian), bag


def grown(recipe, table, gradient, hessian, bag, numbers=PLAIN):
    seeds = jnp.arange(len(gradient), dtype=jnp.uint32) + 7

    @jax.jit
    def run(*arrays):
        allowed = jnp.ones(D, bool)
        return growth.grow(recipe, *arrays, allowed, seeds, numbers)

    return run(table, gradient, hessian, bag)


@pytest.mark.skipif(not native.enabled("boost"), reason="there is no compiler")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({"missing": True}, PLAIN._replace(l1=2.0, max_step=1.5)),
        (
            {"missing": True, "categorical": True, "groups": True},
            PLAIN._replace(max_features=0.6),
        ),
        ({"monotone": True, "missing": True}, PLAIN),
    ],
    ids=["missing", "categories", "monotone"],
)
def test_kernel_is_its_form_in_xla(dtype, options, numbers):
    with jax.enable_x64(dtype == np.float64):
        table, gradient, hessian, bag = problem(3, **options)
        words = 1 if options.get("categorical") else 0
        kernel = growth.Recipe(8, 4, BINS, words, native=True)
        arrays = (table, gradient.astype(dtype), hessian.astype(dtype), bag, numbers)
        one = grown(kernel, *arrays)
        two = grown(kernel._replace(native=False), *arrays)
        assert int(one.node_count.min()) > 5
        for name, got, want in zip(one._fields, one, two, strict=True):
            if got.dtype.kind != "f":
                np.testing.assert_array_equal(got, want, err_msg=name)
            else:
                near = 1e-5 if dtype == np.float32 else 1e-9
                np.testing.assert_allclose(got, want, near, near, err_msg=name)


@pytest.mark.skipif(not native.enabled("boost"), reason="there is no compiler")
@pytest.mark.skipif(not native.enabled("boost"), reason="there is no compiler")
@pytest.mark.parametrize("shared", [True, False], ids=["one_table", "own_tables"])
def test_fits_side_by_side_are_fits_one_by_one(shared):
    recipe = growth.Recipe(8, 4, BINS, 0, native=True)
    tables, gradients, _, bags = zip(*map(problem, range(3)), strict=True)
    stack = lambda *leaves: jnp.stack(leaves)
    table = tables[0] if shared else jax.tree.map(stack, *tables)
    penalties = jnp.array([0.0, 1.0, 30.0])

    def one(table, gradient, bag, l2):
        numbers = PLAIN._replace(l2=l2)
        return grown(recipe, table, gradient, jnp.ones((2, 1)), bag, numbers)

    rest = jnp.stack(gradients), jnp.stack(bags), penalties
    many = jax.vmap(one, (None if shared else 0, 0, 0, 0))(table, *rest)
    for i, own in enumerate(tables):
        alone = one(tables[0] if shared else own, *(array[i] for array in rest))
        these = [leaf[i] for leaf in many]
        jax.tree.map(np.testing.assert_array_equal, list(alone), these)
    assert len({int(count) for count in many.node_count.ravel()}) > 1


def test_many_rows_on_threads_are_one_thread_in_xla():
    rng = np.random.default_rng(0)
    codes = jnp.asarray(rng.integers(0, BINS + 1, (40_000, D)), jnp.uint8)
    table, *_ = problem(3, missing=True)
    table = table._replace(codes=codes, columns=codes.T)
    noise = rng.normal(size=(1, 40_000))
    gradient = jnp.asarray(noise + np.sin(np.asarray(codes[:, 1])), jnp.float32)
    hessian = jnp.asarray(rng.random((1, 40_000)) + 0.5, jnp.float32)
    bag = jnp.asarray(rng.random(40_000) < 0.9)
    kernel = growth.Recipe(8, 4, BINS, 0, native=True)
    two = grown(kernel._replace(native=False), table, gradient, hessian, bag)

    @jax.jit
    def run(*arrays):
        seeds = jnp.full(1, 7, jnp.uint32)
        return growth.grow(kernel, *arrays, jnp.ones(D, bool), seeds, PLAIN)

    # A helper may come late or never: one of many calls will have had one.
    for _ in range(30):
        one = run(table, gradient, hessian, bag)
        for name, got, want in zip(one._fields, one, two, strict=True):
            np.testing.assert_allclose(got, want, 1e-4, 1e-5, err_msg=name)


def best_by_trying(table, g, h, bag, numbers):
    """Gain of the best numerical split, and which: every one is tried."""
    codes, bag = np.asarray(table.codes), np.asarray(bag)

    def loss(inside):
        soft = max(abs(g[inside].sum()) - numbers.l1, 0)
        return -(soft**2) / (h[inside].sum() + numbers.l2)

    found = (0.0, None, None, None)
    for feature in range(D):
        for missing_left in (False, True):
            for b in range(BINS):
                left = codes[:, feature] <= b
                left |= (codes[:, feature] == BINS) & missing_left
                left, right = left & bag, ~left & bag
                if min(left.sum(), right.sum()) < numbers.min_samples_leaf:
                    continue
                gain = loss(bag) - loss(left) - loss(right)
                if gain > found[0] + 1e-9:
                    found = (gain, feature, b, missing_left)
    return found


@pytest.mark.parametrize("kernel", [False, True])
def test_the_first_split_is_the_best_of_all(kernel):
    if kernel and not native.enabled("boost"):
        pytest.skip("there is no compiler")
    recipe = growth.Recipe(2, None, BINS, 0, native=kernel)
    numbers = PLAIN._replace(l1=1.0)
    with jax.enable_x64(True):
        for seed in range(3):
            table, gradient, hessian, bag = problem(seed, missing=True)
            tree = grown(recipe, table, gradient, hessian, bag, numbers)
            for k in range(2):
                g, h = np.asarray(gradient[k]), np.asarray(hessian[k])
                gain, *split = best_by_trying(table, g, h, bag, numbers)
                got = (tree.feature[k, 0], tree.bin[k, 0], tree.missing_left[k, 0])
                assert [int(part) for part in got] == [int(part) for part in split]
                lost = tree.loss[k, 0] - tree.loss[k, 1] - tree.loss[k, 2]
                np.testing.assert_allclose(lost, gain, 1e-9)


@pytest.mark.parametrize("kernel", [False, True])
def test_trees_and_rows_agree(kernel):
    """Depth-first numbers, counts, leaves, limits, and groups on every path."""
    if kernel and not native.enabled("boost"):
        pytest.skip("there is no compiler")
    table, gradient, hessian, bag = problem(5, missing=True, groups=True)
    recipe = growth.Recipe(8, 3, BINS, 0, native=kernel)
    tree = grown(recipe, table, gradient, hessian, bag)
    codes, groups = np.asarray(table.codes), np.asarray(table.groups)
    for k in range(2):
        seen = []

        def walk(node, inside, used, depth, k=k, seen=seen):
            assert node == len(seen)
            seen.append(node)
            assert depth <= 3
            assert int(tree.rows[k, node]) == (inside & np.asarray(bag)).sum() >= 3
            feature = int(tree.feature[k, node])
            if feature < 0:
                assert (np.asarray(tree.leaf[k])[inside] == node).all()
                return
            used = {*used, feature}
            assert any(all(group[f] for f in used) for group in groups)
            column = codes[:, feature]
            left = column <= int(tree.bin[k, node])
            left |= (column == BINS) & bool(tree.missing_left[k, node])
            walk(int(tree.left[k, node]), inside & left, used, depth + 1)
            walk(int(tree.right[k, node]), inside & ~left, used, depth + 1)

        walk(0, np.ones(N, bool), set(), 0)
        assert len(seen) == int(tree.node_count[k]) > 3


@pytest.mark.parametrize("kernel", [False, True])
def test_a_gradient_that_is_not_finite_shows(kernel):
    if kernel and not native.enabled("boost"):
        pytest.skip("there is no compiler")
    table, gradient, hessian, bag = problem(5, missing=True, groups=True)
    recipe = growth.Recipe(8, 3, BINS, 0, native=kernel)
    inside = int(jnp.argmax(bag))
    for bad in (jnp.nan, jnp.inf):
        tree = grown(recipe, table, gradient.at[0, inside].set(bad), hessian, bag)
        assert jnp.isnan(tree.value[0, 0])
        assert jnp.isfinite(tree.value[1]).all()
        assert int(tree.node_count[0]) == 1
