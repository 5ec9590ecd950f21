"""Gradient boosting by trees against scikit-learn, stage by stage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, ensemble

from jaxml.models.classical import (
    gradient_boosting_classifier,
    gradient_boosting_losses,
    gradient_boosting_regressor,
)

KEY = jax.random.key(0)
STAGES = 6


@pytest.fixture(scope="module")
def diabetes():
    """120 rows of 10 features, and weights: so many values that no gains tie."""
    x, y = datasets.load_diabetes(return_X_y=True)
    weight = np.random.default_rng(0).uniform(0.5, 2, 120)
    return [a.astype(np.float32) for a in (x[:120], y[:120], weight)]


@pytest.fixture(scope="module")
def wine():
    x, y = datasets.load_wine(return_X_y=True)
    weight = np.random.default_rng(0).uniform(0.5, 2, 178).astype(np.float32)
    return x.astype(np.float32), y.astype(np.int32), weight


# Parity.


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
def test_stages_are_those_of_sklearn(diabetes, loss):
    x, y, weight = diabetes
    options = {"loss": loss, "n_estimators": STAGES, "alpha": 0.8}
    theirs = ensemble.GradientBoostingRegressor(random_state=0, **options)
    theirs.fit(x, y, sample_weight=weight)
    x, y, weight = map(jnp.asarray, diabetes)
    model = gradient_boosting_regressor.fit(x, y, sample_weight=weight, **options)
    staged = gradient_boosting_regressor.staged_predict(model, x)
    want = np.stack(list(theirs.staged_predict(x)))
    np.testing.assert_allclose(staged, want, rtol=1e-5)
    np.testing.assert_allclose(model.train_score, theirs.train_score_, rtol=1e-5)
    predicted = gradient_boosting_regressor.predict(model, x)
    np.testing.assert_allclose(predicted, want[-1], rtol=1e-5)
    assert int(model.n_estimators) == STAGES
    near = np.abs(model.feature_importances - theirs.feature_importances_)
    assert near.max() < 0.1  # a tie of two features may go to either


def test_absolute_error_steps_to_medians(diabetes):
    # The slopes are 1 and -1, so that gains tie: stages are compared with stumps.
    x, y, weight = diabetes
    options = {"loss": "absolute_error", "n_estimators": 3, "max_depth": 1}
    theirs = ensemble.GradientBoostingRegressor(**options)
    theirs.fit(x, y, sample_weight=weight)
    model = gradient_boosting_regressor.fit(
        jnp.asarray(x), jnp.asarray(y), sample_weight=jnp.asarray(weight), **options
    )
    np.testing.assert_allclose(model.train_score, theirs.train_score_, rtol=1e-5)


@pytest.mark.parametrize(
    ("k", "loss"), [(2, "log_loss"), (2, "exponential"), (3, "log_loss")]
)
def test_stages_of_classes_are_those_of_sklearn(wine, k, loss):
    x, y, weight = wine
    y = np.minimum(y, k - 1)
    options = {"loss": loss, "n_estimators": STAGES, "learning_rate": 0.3}
    theirs = ensemble.GradientBoostingClassifier(random_state=0, **options)
    theirs.fit(x, y, sample_weight=weight)
    x_, y_, weight_ = map(jnp.asarray, (x, y, weight))
    ours = gradient_boosting_classifier
    model = ours.fit(x_, y_, n_classes=k, sample_weight=weight_, **options)
    np.testing.assert_allclose(model.train_score, theirs.train_score_, rtol=1e-4)
    for name in ("decision_function", "predict_proba", "predict"):
        more = {"loss": loss} if name == "predict_proba" else {}
        got = getattr(ours, name)(model, x_, **more)
        want = getattr(theirs, name)(x)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
        got = getattr(ours, f"staged_{name}")(model, x_, **more)
        want = np.stack(list(getattr(theirs, f"staged_{name}")(x)))
        want = want[..., 0] if want.shape[-1] == 1 else want
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    columns = 1 if k == 2 else k
    assert ours.apply(model, x_).shape == (178, STAGES, columns)


@pytest.mark.parametrize("loss", gradient_boosting_losses.NUMBERS)
def test_slopes_are_those_of_the_loss(loss):
    rng = np.random.default_rng(0)
    y, raw = (jnp.asarray(rng.normal(size=30), jnp.float32) for _ in range(2))
    number = jnp.array(0.7)
    mean = lambda raw: gradient_boosting_losses.mean_loss(
        loss, y, raw, jnp.ones(30), number
    )
    slope = gradient_boosting_losses.descent(loss, y, raw[:, None], number)
    scale = 2 if loss == "squared_error" else 1
    want = -30 * jax.grad(mean)(raw[:, None])
    np.testing.assert_allclose(slope * scale, want, rtol=1e-4, atol=1e-5)


def test_quantiles_of_groups_by_sorting():
    rng = np.random.default_rng(0)
    values = rng.normal(size=200).astype(np.float32).round(1)
    group, weight = rng.integers(0, 5, 200), rng.integers(0, 4, 200)
    group[group == 3] = 2  # an empty group
    arrays = (jnp.asarray(values), jnp.asarray(weight, jnp.float32))
    for share in (0.0, 0.25, 0.5, 0.9, 1.0):
        got = gradient_boosting_losses.quantiles(
            *arrays, jnp.asarray(group, jnp.int32), 5, jnp.array(share)
        )
        for g in range(5):
            rows = np.sort(np.repeat(values[group == g], weight[group == g]))
            place = max(int(np.ceil(share * len(rows) - 1e-6)), 1) - 1
            want = rows[place] if len(rows) else 0
            assert got[g] == want, (share, g)


# Chance: subsamples, early stopping.


def test_a_stage_sees_its_share(diabetes):
    x, y, _ = map(jnp.asarray, diabetes)
    options = {"n_estimators": 20, "subsample": 0.5, "max_features": 0.5}
    model = gradient_boosting_regressor.fit(x, y, key=KEY, **options)
    root = model.trees.n_node_samples[:, 0, 0]
    np.testing.assert_array_equal(root, 60)
    assert len(np.unique(model.trees.feature[:, 0, 0])) > 2
    other = gradient_boosting_regressor.fit(x, y, key=jax.random.key(1), **options)
    assert (model.train_score != other.train_score).all()
    # What is lost of the rows that a stage did not see, as in scikit-learn.
    before = model.oob_scores[:-1] - model.oob_scores[1:]
    np.testing.assert_allclose(model.oob_improvement[1:], before, rtol=1e-4, atol=1e-1)
    theirs = [
        ensemble.GradientBoostingRegressor(random_state=seed, **options).fit(x, y)
        for seed in range(5)
    ]
    for name in ("train_score", "oob_scores"):
        last = [getattr(t, name + "_")[-1] for t in theirs]
        assert 0.8 * min(last) < getattr(model, name)[-1] < 1.2 * max(last)


def test_stages_end_where_there_is_no_progress(wine):
    x, y, _ = map(jnp.asarray, wine)
    options = {"n_estimators": 40, "max_depth": 2, "learning_rate": 0.5}
    model = gradient_boosting_classifier.fit(
        x, y, key=KEY, n_classes=3, n_iter_no_change=3, **options
    )
    count = int(model.n_estimators)
    assert 3 < count < 40
    assert jnp.isfinite(model.train_score[:count]).all()
    assert jnp.isnan(model.train_score[count:]).all()
    np.testing.assert_array_equal(model.trees.value[count:], 0)
    # A tenth of each class is held out of 59, 71 and 48.
    assert (model.trees.n_node_samples[:count, :, 0] == 178 - 6 - 7 - 5).all()
    staged = gradient_boosting_classifier.staged_decision_function(model, x)
    np.testing.assert_array_equal(staged[count - 1], staged[-1])
    assert (gradient_boosting_classifier.predict(model, x) == y).mean() > 0.95


# Properties.


def test_starting_from_zero(diabetes):
    x, y, _ = map(jnp.asarray, diabetes)
    model = gradient_boosting_regressor.fit(
        x, y, init="zero", learning_rate=1.0, n_estimators=1
    )
    np.testing.assert_array_equal(model.init, 0)
    root = model.trees.value[0, 0, 0, 0]
    np.testing.assert_allclose(root, y.mean(), rtol=1e-5)


def test_class_weights_are_weights(wine):
    x, y, weight = map(jnp.asarray, wine)
    each = jnp.array([1.0, 3.0, 0.5])
    options = {"n_classes": 3, "n_estimators": 2, "max_depth": 2}
    one = gradient_boosting_classifier.fit(
        x, y, class_weight=each, sample_weight=weight, **options
    )
    two = gradient_boosting_classifier.fit(
        x, y, sample_weight=weight * each[y], **options
    )
    jax.tree.map(np.testing.assert_array_equal, one, two)


# Degenerate data.


def test_nothing_to_learn():
    x, y = jnp.ones((8, 2)), jnp.array([1.0, 2.0] * 4)
    model = gradient_boosting_regressor.fit(x, y, n_estimators=3)
    np.testing.assert_allclose(gradient_boosting_regressor.predict(model, x), 1.5)
    np.testing.assert_array_equal(model.feature_importances, 0)
    absent = gradient_boosting_regressor.fit(
        x, y, n_estimators=3, sample_weight=jnp.zeros(8)
    )
    assert jnp.isnan(gradient_boosting_regressor.predict(absent, x)).all()
    one_class = gradient_boosting_classifier.fit(x, jnp.ones(8, int), n_estimators=3)
    shares = gradient_boosting_classifier.predict_proba(one_class, x)
    assert jnp.isfinite(shares).all()
    np.testing.assert_allclose(shares[:, 1], 1, rtol=1e-5)


def test_a_target_that_is_no_number_shows(diabetes):
    x, y, _ = map(jnp.asarray, diabetes)
    model = gradient_boosting_regressor.fit(
        x, y.at[3].set(jnp.nan), n_estimators=STAGES
    )
    assert jnp.isnan(model.train_score).all()


# Errors.


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"loss": "mse"}, "loss must be one of"),
        ({"n_estimators": 0}, "n_estimators must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"subsample": 1.5, "key": KEY}, "subsample must be from 0 to 1; got 1.5"),
        ({"alpha": 2.0}, "alpha must be from 0 to 1"),
        ({"init": "mean"}, "init must be one of"),
        ({"subsample": 0.5}, "key must be a random key, for subsample; got None"),
        ({"n_iter_no_change": 2}, "for n_iter_no_change; got None"),
        ({"n_iter_no_change": 0, "key": KEY}, "n_iter_no_change must be at least 1"),
        ({"max_features": 3}, "for max_features; got None"),
        ({"max_features": 11}, "an int from 1 to 10"),
        ({"tol": -1.0}, "tol must be at least 0"),
    ],
)
def test_rejects_what_is_out_of_range(diabetes, options, match):
    x, y, _ = map(jnp.asarray, diabetes)
    with pytest.raises(ValueError, match=match):
        gradient_boosting_regressor.fit(x, y, **options)


@pytest.mark.usefixtures("unchecked")
def test_rejects_targets_that_are_none(diabetes):
    x, y, _ = map(jnp.asarray, diabetes)
    with pytest.raises(ValueError, match="y must be one number a row"):
        gradient_boosting_regressor.fit(x, y[:, None])
    label = (y > 100).astype(jnp.int32)
    with pytest.raises(ValueError, match="'log_loss' of 3 classes"):
        gradient_boosting_classifier.fit(x, label, n_classes=3, loss="exponential")
    with pytest.raises(ValueError, match="integer labels"):
        gradient_boosting_classifier.fit(x, y)
