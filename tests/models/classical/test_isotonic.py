"""Isotonic regression against scikit-learn, and what any monotone fit must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets
from sklearn import isotonic as sk

from jaxml.models.classical import isotonic


@pytest.fixture
def rows():
    """60 rows with ties in x, noise in y, and weights."""
    rng = np.random.default_rng(0)
    x = np.round(rng.uniform(-3, 3, 60), 1)
    y = np.tanh(x) + 0.4 * rng.normal(size=60)
    return [a.astype(np.float32) for a in (x, y, rng.uniform(0.2, 3, 60))]


def fit_both(x, y, weight, out_of_bounds="clip", **options):
    theirs = sk.IsotonicRegression(out_of_bounds=out_of_bounds, **options)
    theirs.fit(x, y, sample_weight=weight)
    weight = None if weight is None else jnp.asarray(weight)
    ours = isotonic.fit(jnp.asarray(x), jnp.asarray(y), sample_weight=weight, **options)
    return ours, theirs


# Parity.


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"increasing": False},
        {"increasing": "auto"},
        {"y_min": -0.5, "y_max": 0.5},
        {"increasing": False, "y_min": 0.1},
    ],
)
def test_matches_sklearn(rows, weighted, options):
    x, y, weight = rows
    ours, theirs = fit_both(x, y, weight if weighted else None, **options)
    size = int(ours.n_thresholds)
    np.testing.assert_allclose(ours.X_thresholds[:size], theirs.X_thresholds_)
    # float32 sums of 60 targets in another order
    np.testing.assert_allclose(
        ours.y_thresholds[:size], theirs.y_thresholds_, rtol=1e-5, atol=1e-6
    )
    assert bool(ours.increasing) == theirs.increasing_
    np.testing.assert_allclose((ours.X_min, ours.X_max), (theirs.X_min_, theirs.X_max_))
    new = np.linspace(-4, 4, 50, dtype=np.float32)
    np.testing.assert_allclose(
        isotonic.predict(ours, jnp.asarray(new), out_of_bounds="clip"),
        theirs.predict(new),
        rtol=1e-5,
        atol=1e-5,
    )


def test_falls_where_the_data_fall(rows):
    x, y, weight = rows
    ours, theirs = fit_both(x, -y, weight, increasing="auto")
    assert not ours.increasing
    assert not theirs.increasing_


def test_out_of_bounds_is_nan_as_in_sklearn(rows):
    x, y, _ = rows
    ours, theirs = fit_both(x, y, None, out_of_bounds="nan")
    new = np.array([-9, x.min(), 0.0, x.max(), 9], np.float32)
    np.testing.assert_allclose(
        isotonic.predict(ours, jnp.asarray(new)), theirs.predict(new), rtol=1e-5
    )


@pytest.mark.parametrize("feature", [2, 8])
def test_matches_sklearn_on_diabetes(feature):
    x, y = datasets.load_diabetes(return_X_y=True)
    with jax.enable_x64(True):
        ours, theirs = fit_both(x[:, feature], y, None)
        np.testing.assert_allclose(
            isotonic.predict(ours, jnp.asarray(x[:, feature])),
            theirs.predict(x[:, feature]),
            rtol=1e-12,
        )


SEQUENCES = {
    "noise": lambda rng, n: rng.normal(size=n),
    "falling": lambda rng, n: -np.arange(n),
    "rising": lambda rng, n: np.arange(n),
    "ties": lambda rng, n: np.round(rng.normal(size=n)),
    "one low end": lambda rng, n: np.append(np.arange(n - 1), -5 * n),
    "constant": lambda rng, n: np.ones(n),
}


@pytest.mark.parametrize("n", [1, 2, 60])
@pytest.mark.parametrize("kind", SEQUENCES)
def test_sequence_matches_sklearn(kind, n):
    rng = np.random.default_rng(1)
    y, weight = SEQUENCES[kind](rng, n) * 1.0, rng.uniform(0.1, 2, n)
    expected = sk.isotonic_regression(y, sample_weight=weight, y_max=3.0)
    ours = isotonic.isotonic_regression(
        jnp.asarray(y), sample_weight=jnp.asarray(weight), y_max=3.0
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


# Properties: true whatever the data.


def test_levels_never_fall_and_keep_the_mean(rows):
    _, y, weight = (jnp.asarray(a) for a in rows)
    fitted = isotonic.isotonic_regression(y, sample_weight=weight)
    assert (jnp.diff(fitted) >= 0).all()
    np.testing.assert_allclose(weight @ fitted, weight @ y, rtol=1e-4)


def test_weight_zero_is_absent_also_in_auto_and_with_nan(rows):
    x, y, weight = (jnp.asarray(a) for a in rows)
    kept = np.arange(60) % 3 > 0
    masked = isotonic.fit(
        jnp.where(kept, x, jnp.nan),
        jnp.where(kept, y, -100 * x),
        sample_weight=jnp.where(kept, weight, 0),
        increasing="auto",
    )
    dropped = isotonic.fit(
        x[kept], y[kept], sample_weight=weight[kept], increasing="auto"
    )
    assert masked.n_thresholds == dropped.n_thresholds
    new = jnp.linspace(-4, 4, 50)
    np.testing.assert_allclose(
        *(isotonic.predict(m, new, out_of_bounds="clip") for m in (masked, dropped)),
        rtol=1e-6,
    )


def test_weight_zero_in_a_sequence_takes_the_level_before():
    y, weight = jnp.array([9.0, 1.0, -9.0, 3.0]), jnp.array([0.0, 1.0, 0.0, 1.0])
    fitted = isotonic.isotonic_regression(y, sample_weight=weight)
    np.testing.assert_array_equal(fitted, [1.0, 1.0, 1.0, 3.0])


def test_runs_under_vmap_and_jit(rows):
    x, y, weight = (jnp.asarray(a) for a in rows)
    weights = jnp.stack([weight, jnp.ones(60), jnp.where(x > 0, weight, 0)])

    def run(weight):
        model = isotonic.fit(x, y, sample_weight=weight)
        return isotonic.predict(model, x, out_of_bounds="clip")

    together = jax.jit(jax.vmap(run))(weights)
    for one, weight in zip(together, weights, strict=True):
        np.testing.assert_allclose(one, run(weight), rtol=1e-6)


# Gradients.


@pytest.mark.parametrize("increasing", [True, False])
def test_gradient_is_that_of_finite_differences(rows, increasing):
    with jax.enable_x64(True):
        x, y, weight = (jnp.asarray(a, jnp.float64) for a in rows)
        y = y + 0.01 * jnp.sin(jnp.arange(60))  # no ties in y
        new = jnp.linspace(-2, 2, 9)

        def score(y, weight):
            model = isotonic.fit(x, y, sample_weight=weight, increasing=increasing)
            return (isotonic.predict(model, new) ** 2).sum()

        slopes = jax.grad(score, argnums=(0, 1))(y, weight)
        rng = np.random.default_rng(2)
        for slope, at in zip(slopes, ((1, 0), (0, 1)), strict=True):
            way = jnp.asarray(rng.normal(size=60))
            ends = [
                score(y + s * at[0] * way, weight + s * at[1] * way)
                for s in (1e-6, -1e-6)
            ]
            np.testing.assert_allclose(
                slope @ way, (ends[0] - ends[1]) / 2e-6, rtol=1e-5
            )


def test_levels_move_as_the_mean_of_their_rows():
    jacobian = jax.jacrev(isotonic.isotonic_regression)(jnp.array([1.0, 5.0, 3.0]))
    np.testing.assert_allclose(
        jacobian, [[1, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]], rtol=1e-6
    )


# Degenerate data.


def test_one_row_is_a_constant():
    model = isotonic.fit(jnp.ones((1, 1)), jnp.array([7.0]))
    np.testing.assert_array_equal(isotonic.predict(model, jnp.array([-3.0, 9.0])), 7.0)


def test_equal_x_is_their_mean():
    weight = jnp.array([1.0, 1.0, 2.0])
    y = jnp.array([1.0, 2.0, 6.0])
    model = isotonic.fit(jnp.zeros(3), y, sample_weight=weight)
    assert model.n_thresholds == 1
    np.testing.assert_allclose(isotonic.predict(model, jnp.zeros(1)), 15 / 4)


def test_nothing_to_fit_is_nan(rows):
    x, y, _ = (jnp.asarray(a) for a in rows)
    none = isotonic.fit(x, y, sample_weight=jnp.zeros(60))
    broken = isotonic.fit(x, y.at[4].set(jnp.nan))
    for model in (none, broken):
        assert jnp.isnan(isotonic.predict(model, x, out_of_bounds="clip")).all()
    assert jnp.isnan(isotonic.isotonic_regression(y.at[4].set(jnp.nan))).all()


# Errors.


@pytest.mark.usefixtures("unchecked")
def test_rejects_two_features():
    with pytest.raises(ValueError, match=r"one feature.*got shape \(4, 2\)"):
        isotonic.fit(jnp.ones((4, 2)), jnp.ones(4))


def test_rejects_unknown_choices():
    x = jnp.arange(4.0)
    with pytest.raises(ValueError, match="increasing must be one of"):
        isotonic.fit(x, x, increasing="up")
    with pytest.raises(ValueError, match="out_of_bounds must be one of"):
        isotonic.predict(isotonic.fit(x, x), x, out_of_bounds="raise")
