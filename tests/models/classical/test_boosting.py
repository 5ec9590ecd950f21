"""Histogram gradient boosting against scikit-learn's, and what else must hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, ensemble

from jaxml.models.classical import boosting_classifier as classifier
from jaxml.models.classical import boosting_losses as losses
from jaxml.models.classical import boosting_regressor as regressor

SMALL = {"max_iter": 5, "max_leaf_nodes": 12, "min_samples_leaf": 5}


def rows(name, missing=False):
    """Real data whose features have at most 255 values, and weights that break ties."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x, y = x[:250].astype(np.float32), y[:250]
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.5, 2, len(x)).astype(np.float32)
    if missing:
        x[rng.random(x.shape) < 0.1] = np.nan
    return x, y, weight


def both(x, y, weight, **options):
    """Raw predictions of our model and of scikit-learn's."""
    options = SMALL | options
    if y.dtype.kind == "i":
        peer = ensemble.HistGradientBoostingClassifier(early_stopping=False, **options)
        n_classes = len(np.unique(y))
        model = classifier.fit(
            jnp.asarray(x),
            jnp.asarray(y, jnp.int32),
            n_classes=n_classes,
            sample_weight=jnp.asarray(weight),
            **options,
        )
        peer.fit(x, y, weight)
        return classifier.decision_function(model, jnp.asarray(x)), (
            peer.decision_function(x)
        )
    peer = ensemble.HistGradientBoostingRegressor(early_stopping=False, **options)
    model = regressor.fit(
        jnp.asarray(x),
        jnp.asarray(y, jnp.float32),
        sample_weight=jnp.asarray(weight),
        **options,
    )
    loss = options.get("loss", "squared_error")
    return regressor.predict(model, jnp.asarray(x), loss=loss), (
        peer.fit(x, y, weight).predict(x)
    )


def categories(x):
    """The first two features as categories that say something of the target."""
    x = x.copy()
    x[:, 0] = np.digitize(x[:, 2], np.quantile(x[:, 2], np.arange(0.1, 1, 0.1))) * 7
    x[:, 0] %= 11
    x[:, 1] = np.arange(len(x)) % 4
    return x


@pytest.mark.parametrize(
    ("name", "missing"),
    [("iris", False), ("breast_cancer", False), ("breast_cancer", True)],
)
def test_classes_are_scikit_learns(name, missing):
    # The same splits; leaves differ by the rounding of float32.
    ours, theirs = both(*rows(name, missing))
    np.testing.assert_allclose(ours, theirs, 1e-5, 1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"l2_regularization": 1.0, "max_depth": 3},
        {"monotonic_cst": [0, 0, 1, 1, -1, 0, 0, 0, 1, 0]},
        {"interaction_cst": [[0, 1, 2], [2, 3, 8]]},
        {"loss": "poisson"},
        {"loss": "gamma"},
        {"loss": "absolute_error"},
        {"loss": "quantile", "quantile": 0.8},
    ],
    ids=str,
)
def test_numbers_are_scikit_learns(options):
    x, y, weight = rows("diabetes")
    ours, theirs = both(x, y, weight, **options)
    np.testing.assert_allclose(ours, theirs, 1e-5)


def test_missing_values_and_categories_are_scikit_learns():
    x, y, weight = rows("diabetes", missing=True)
    kept = np.isnan(x)
    x = np.where(kept, np.nan, categories(np.nan_to_num(x))).astype(np.float32)
    ours, theirs = both(x, y, weight, categorical_features=[0, 1])
    np.testing.assert_allclose(ours, theirs, 1e-5)
    # A category that was not seen goes where scikit-learn sends it.
    options = SMALL | {"categorical_features": [0, 1], "max_iter": 3}
    peer = ensemble.HistGradientBoostingRegressor(early_stopping=False, **options)
    model = regressor.fit(jnp.asarray(x), jnp.asarray(y, jnp.float32), **options)
    new = x.copy()
    new[:, 0] = 60
    new[::2, 1] = -1
    want = peer.fit(x, y).predict(np.where(new == 60, np.nan, new))
    got = regressor.predict(model, jnp.asarray(new))
    np.testing.assert_allclose(got, want, 1e-5)


def test_generalizes_as_scikit_learn_does():
    x, y, _ = rows("breast_cancer")
    ours, theirs = [], []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(x))
        train, test = order[:170], order[170:]
        options = SMALL | {"max_iter": 20}
        model = classifier.fit(
            jnp.asarray(x[train]), jnp.asarray(y[train], jnp.int32), **options
        )
        peer = ensemble.HistGradientBoostingClassifier(early_stopping=False, **options)
        peer.fit(x[train], y[train])
        for found, chance in (
            (ours, classifier.predict_proba(model, jnp.asarray(x[test]))),
            (theirs, peer.predict_proba(x[test])),
        ):
            found.append(-np.log(np.asarray(chance)[np.arange(80), y[test]]).mean())
    error = np.std(theirs, ddof=1) / np.sqrt(5)
    assert abs(np.mean(ours) - np.mean(theirs)) < error


@pytest.fixture(scope="module")
def simple():
    """Rows of a smooth function with noise, and a model of them."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(120, 4)).astype(np.float32)
    y = (np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2]).astype(np.float32)
    x, y = jnp.asarray(x), jnp.asarray(y + 0.1 * rng.normal(size=120), jnp.float32)
    return x, y, regressor.fit(x, y, **SMALL)


def test_stages_end_in_the_prediction(simple):
    x, y, model = simple
    stages = regressor.staged_predict(model, x)
    assert stages.shape == (5, 120)
    np.testing.assert_allclose(stages[-1], regressor.predict(model, x), 1e-6)
    errors = ((stages - y[None]) ** 2).mean(1)
    assert (errors[1:] < errors[:-1]).all()


def test_goes_on_from_a_model(simple):
    x, y, model = simple
    first = regressor.fit(x, y, **SMALL | {"max_iter": 3})
    longer = regressor.fit(x, y, initial=first, **SMALL)
    np.testing.assert_array_equal(longer.trees.feature, model.trees.feature)
    assert int(longer.n_iter) == 5
    got, want = regressor.predict(longer, x), regressor.predict(model, x)
    np.testing.assert_allclose(got, want, 1e-5, 1e-6)
    with pytest.raises(ValueError, match="at least the 3 iterations"):
        regressor.fit(x, y, initial=first, **SMALL | {"max_iter": 2})


def test_the_order_of_rows_does_not_matter(simple):
    x, y, model = simple
    other = regressor.fit(x[::-1], y[::-1], **SMALL)
    # Only the mean of y, and with it the gradients, depends on it, by rounding.
    np.testing.assert_array_equal(other.trees.feature, model.trees.feature)
    np.testing.assert_allclose(other.trees.value, model.trees.value, 1e-4, 1e-6)


def test_a_loss_of_ones_own(simple):
    x, y, model = simple
    own = regressor.fit(x, y, loss=lambda y, raw: (raw - y) ** 2 / 2, **SMALL)
    np.testing.assert_allclose(
        regressor.predict(own, x), regressor.predict(model, x), 1e-4, 1e-5
    )


def test_a_loss_of_ones_own_of_two_classes(simple):
    x, y, _ = simple
    labels = (y > 0).astype(jnp.int32)

    def loss(label, raw):
        return jnp.logaddexp(0, raw) - label * raw

    own = classifier.fit(x, labels, loss=loss, **SMALL)
    named = classifier.fit(x, labels, **SMALL)
    np.testing.assert_allclose(
        classifier.predict_proba(own, x), classifier.predict_proba(named, x), 1e-4
    )


def test_stops_where_the_score_no_longer_rises(simple):
    x, y, _ = simple
    noise = jax.random.normal(jax.random.key(0), y.shape)
    options = SMALL | {"max_iter": 60, "early_stopping": True, "n_iter_no_change": 4}
    held = (x[:40], noise[:40])
    model = regressor.fit(x[40:], noise[40:], validation=held, **options)
    count = int(model.n_iter)
    assert 4 <= count < 60
    score = model.validation_score
    assert jnp.isfinite(score[: count + 1]).all()
    assert jnp.isnan(score[count + 1 :]).all()
    # The last four are not better than the one before them; each end before had one.
    assert (score[count - 3 : count + 1] <= score[count - 4] + 1e-7).all()
    for end in range(4, count):
        assert (score[end - 3 : end + 1] > score[end - 4] + 1e-7).any()
    # What is scored is the loss of the rows that were held out.
    stages = regressor.staged_predict(model, held[0])
    want = -((stages - held[1][None]) ** 2).mean(1) / 2
    np.testing.assert_allclose(score[1 : count + 1], want[:count], 1e-4)
    assert (model.trees.node_count[count:] == 1).all()


def test_draws_by_the_key(simple):
    x, y, _ = simple
    options = SMALL | {"subsample": 0.5, "colsample": 0.5, "max_features": 0.7}

    def fit(seed, **more):
        return regressor.fit(x, y, key=jax.random.key(seed), **options | more)

    one, same, other = fit(0), fit(0), fit(1)
    np.testing.assert_array_equal(one.trees.feature, same.trees.feature)
    assert (one.trees.feature != other.trees.feature).any()
    assert len(set(np.unique(one.trees.feature[0])) - {-2}) <= 2  # of four features
    drawn = one.trees.n_node_samples[:, 0, 0]
    assert ((drawn > 35) & (drawn < 85)).all()
    assert len(np.unique(drawn)) > 1


def test_monotone_predictions_do_not_fall(simple):
    x, y, free = simple
    bound = regressor.fit(x, y, monotonic_cst=(1, -1, 0, 0), **SMALL | {"max_iter": 20})
    line = jnp.linspace(-2, 2, 120)
    for feature, sign in ((0, 1), (1, -1)):
        for start in x[:5]:
            path = jnp.broadcast_to(start[None], x.shape).at[:, feature].set(line)
            steps = jnp.diff(sign * regressor.predict(bound, path))
            assert (steps >= -1e-6).all()
    path = jnp.zeros_like(x).at[:, 0].set(line)
    assert (jnp.diff(regressor.predict(free, path)) < 0).any()


def test_gradients_are_those_of_the_values():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        y = jnp.asarray(rng.uniform(0.5, 2, 20))
        raw = jnp.asarray(rng.normal(size=(1, 20)))
        for loss in (*losses.REGRESSION, "log_loss"):
            target = (y > 1).astype(jnp.int32) if loss == "log_loss" else y
            g, h = losses.gradients(loss, target, raw, 0.3)

            step = 1e-4
            up, here, down = (
                np.array([losses.values(loss, target, raw + t, 0.3)])
                for t in (step, 0, -step)
            )
            np.testing.assert_allclose(g, (up - down) / step / 2, 1e-6, 1e-7)
            if loss not in ("absolute_error", "quantile"):
                second = (up - 2 * here + down) / step**2
                h = jnp.broadcast_to(h, raw.shape)
                np.testing.assert_allclose(h, second, 1e-4, 1e-5)
        raw, label = jnp.asarray(rng.normal(size=(3, 20))), jnp.arange(20) % 3
        derived = jax.jit(losses.gradients, static_argnums=0)
        got = derived("log_loss", label, raw)
        want = derived(lambda y, raw: jax.nn.logsumexp(raw) - raw[y], label, raw)
        np.testing.assert_allclose(got[0], want[0], 1e-10)
        np.testing.assert_allclose(got[1], want[1], 1e-10)


def test_leaves_take_the_quantiles_of_their_rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=60).astype(np.float32).round(1)
    times, leaf = rng.integers(0, 4, 60), rng.integers(0, 5, 60)
    got = jax.jit(losses.renewed, static_argnums=0)(
        "absolute_error",
        jnp.asarray(x),
        jnp.asarray(times, jnp.float32),
        jnp.asarray(leaf),
        jnp.zeros(5),
    )
    want = [np.median(np.repeat(x, times * (leaf == i))) for i in range(5)]
    np.testing.assert_allclose(got, want, 1e-6)
    base = jax.jit(losses.baseline, static_argnums=(0, 3))(
        "quantile", jnp.asarray(x), jnp.ones(60), 1, jnp.asarray(0.33)
    )
    want = np.quantile(x, 0.33, method="averaged_inverted_cdf")
    np.testing.assert_allclose(base, want, 1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales_do_not_matter(simple, scale):
    x, y, model = simple
    other = regressor.fit(x * scale, y, **SMALL)
    np.testing.assert_array_equal(other.trees.feature, model.trees.feature)
    np.testing.assert_allclose(
        regressor.predict(other, x * scale), regressor.predict(model, x), 1e-6
    )


def test_degenerate_data_gives_the_mean_or_shows(simple):
    x, y, _ = simple
    flat = regressor.fit(jnp.ones_like(x), y, **SMALL)
    np.testing.assert_allclose(regressor.predict(flat, x), y.mean(), 1e-4, 1e-5)
    lost = regressor.fit(jnp.full_like(x, jnp.nan), y, **SMALL)
    np.testing.assert_allclose(regressor.predict(lost, x), y.mean(), 1e-4, 1e-5)
    one = regressor.fit(x[:1], y[:1], **SMALL)
    np.testing.assert_allclose(regressor.predict(one, x), y[0], 1e-5)
    labels = jnp.zeros(120, jnp.int32)
    alone = classifier.fit(x, labels, **SMALL)
    assert (classifier.predict(alone, x) == 0).all()
    assert bool(alone.converged)
    nothing = regressor.fit(x, y, sample_weight=jnp.zeros(120), **SMALL)
    assert not bool(nothing.converged)
    bad = regressor.fit(x, y.at[3].set(jnp.nan), **SMALL)
    assert not bool(bad.converged)
    assert jnp.isnan(regressor.predict(bad, x)).all()


def test_a_missing_column_is_no_split(simple):
    x, y, _ = simple
    model = regressor.fit(x.at[:, 0].set(jnp.nan), y, **SMALL)
    assert (model.trees.feature != 0).all()
    assert bool(model.converged)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_depth": 0}, "max_depth must be at least 1; got 0"),
        ({"max_leaf_nodes": 1}, "max_leaf_nodes must be at least 2"),
        ({"max_bins": 256}, "max_bins must be from 2 to 255; got 256"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"min_samples_leaf": 0}, "min_samples_leaf must be at least 1"),
        ({"l2_regularization": -1.0}, "l2_regularization must be at least 0"),
        ({"loss": "hinge"}, "loss must be one of"),
        ({"subsample": 0.5}, "key must be given where subsample"),
        ({"max_features": 1.5}, "max_features must be from 0 to 1"),
        ({"monotonic_cst": (1, 0)}, "for each of the 4 features"),
        ({"categorical_features": (4,)}, "features from 0 to 3"),
        ({"categorical_features": (0,), "monotonic_cst": (1, 0, 0, 0)}, "no order"),
        ({"interaction_cst": "all"}, "interaction_cst must be one of"),
        ({"early_stopping": "yes"}, "early_stopping must be one of"),
        ({"validation": (1,)}, "validation must be"),
    ],
    ids=str,
)
def test_rejects_what_makes_no_sense(simple, options, message):
    x, y, _ = simple
    with pytest.raises(ValueError, match=message):
        regressor.fit(x, y, **options)


def test_rejects_categories_without_a_bin(simple):
    x, y, _ = simple
    wide = x.at[:, 1].set(jnp.arange(120.0))
    with pytest.raises(ValueError, match="below max_bins = 100; got 119 in feature 1"):
        regressor.fit(wide, y, categorical_features=(1,), max_bins=100)
