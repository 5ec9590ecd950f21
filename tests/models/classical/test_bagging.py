"""Fits to drawn rows and features, over our models, against loops of single fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, metrics

from jaxml.models.classical import (
    bagging,
    bagging_classifier,
    bagging_regressor,
    gaussian_nb,
    linear_svc,
    ridge,
    sgd_classifier,
)

N = 60


@pytest.fixture(scope="module")
def rows():
    """60 patients of 4 features, a number and a class of 3, whole weights, some 0."""
    x, y = datasets.load_diabetes(return_X_y=True)
    x, y = 20 * x[:N, :4], y[:N]
    label = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    weight = np.arange(N) % 3
    numbers = (jnp.asarray(part, jnp.float32) for part in (x, y, weight))
    x, y, weight = numbers
    return x, y, jnp.asarray(label, jnp.int32), weight


class Votes:
    """A classifier without probabilities, which takes no weights."""

    @staticmethod
    def fit(x, y, *, n_classes):
        return gaussian_nb.fit(x, y, n_classes=n_classes)

    predict = staticmethod(gaussian_nb.predict)


def drawn(key, n_estimators, draws, weight=None, share=1.0):
    """The counts [e, n] that the members of a fit draw with that key."""
    keys = jax.random.split(key, (n_estimators, 3))[:, 0]
    one = lambda key: bagging.draw_rows(key, weight, jnp.asarray(share), draws, N)
    found = np.asarray(jax.vmap(one)(keys))
    return np.stack([np.bincount(r[r < N], minlength=N) for r in found])


BOOTSTRAP = bagging.Draws(None, 4, True, False, False)
PASTING = BOOTSTRAP._replace(bootstrap=False)


# Parity with loops.


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("draw", ["weights", "rows"])
def test_members_are_fits_to_the_drawn_rows(rows, key, draw, weighted):
    x, y, _, weight = rows
    weight = weight if weighted else None
    model = bagging_regressor.fit(
        ridge,
        x,
        y,
        key=key,
        n_estimators=3,
        draw=draw,
        sample_weight=weight,
        max_samples=N if draw == "rows" else None,
    )
    count = N if draw == "rows" or not weighted else int((weight > 0).sum())
    counts = drawn(key, 3, BOOTSTRAP._replace(drawn=count), weight)
    assert (counts.sum(1) == count).all()
    for member, times in enumerate(counts):
        copies = np.repeat(np.arange(N), times)
        want = ridge.fit(x[copies], y[copies]).coef
        np.testing.assert_allclose(model.models.coef[member], want, rtol=1e-3)
    at = lambda i: jax.tree.map(lambda a: a[i], model.models)
    each = [ridge.predict(at(i), x) for i in range(3)]
    mean = bagging_regressor.predict(ridge, model, x)
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-5)


def test_out_of_bag_is_what_the_others_say(rows, key):
    x, y, label, _ = rows
    common = {"key": key, "n_estimators": 12, "oob_score": True}
    classes = bagging_classifier.fit(gaussian_nb, x, label, n_classes=3, **common)
    numbers = bagging_regressor.fit(ridge, x, y, **common)
    counts = drawn(key, 12, BOOTSTRAP)
    proba, mean = np.zeros((N, 3)), np.zeros(N)
    for member, times in enumerate(counts):
        out = times == 0
        at = lambda models, i=member: jax.tree.map(lambda a: a[i], models)
        proba[out] += gaussian_nb.predict_proba(at(classes.models), x)[out]
        mean[out] += ridge.predict(at(numbers.models), x)[out]
    seen = (counts == 0).any(0)
    assert seen.all()
    want = proba / proba.sum(1, keepdims=True)
    np.testing.assert_allclose(classes.oob_decision_function, want, atol=1e-4)
    right = metrics.accuracy_score(label, proba.argmax(1))
    np.testing.assert_allclose(classes.oob_score, right, rtol=1e-5)
    want = mean / (counts == 0).sum(0)
    np.testing.assert_allclose(numbers.oob_prediction, want, rtol=1e-3)
    np.testing.assert_allclose(
        numbers.oob_score, metrics.r2_score(y, want), rtol=1e-3, atol=1e-4
    )


def test_rows_that_every_member_drew_have_no_out_of_bag(rows, key):
    x, y, _, _ = rows
    model = bagging_regressor.fit(ridge, x, y, key=key, n_estimators=1, oob_score=True)
    inside = drawn(key, 1, BOOTSTRAP)[0] > 0
    np.testing.assert_array_equal(np.isnan(model.oob_prediction), inside)
    assert np.isfinite(model.oob_score)


# Properties of the draws.


def test_rows_are_drawn_as_often_as_they_count():
    weight = jnp.asarray([0.0, 1.0, 2.0, 0.0, 3.5, 0.5, 0.0])
    draws = BOOTSTRAP._replace(drawn=70_000)
    one = jnp.asarray(1.0)
    for given, share in ((weight, weight / 7), (None, jnp.full(7, 1 / 7))):
        found = bagging.draw_rows(jax.random.key(1), given, one, draws, 7)
        count = np.bincount(found, minlength=7)
        # Five standard errors of a share.
        near = 5 * np.sqrt(share * (1 - share) / 70_000)
        assert (np.abs(count / 70_000 - share) <= near).all()
        assert (count[share == 0] == 0).all()


def test_pasting_draws_the_first_row_as_often_as_it_counts():
    weight = jnp.asarray([0.0, 1.0, 2.0, 0.0, 3.5, 0.5, 0.0])
    draws = PASTING._replace(drawn=2)
    keys = jax.random.split(jax.random.key(1), 20_000)
    one = lambda key: bagging.draw_rows(key, weight, jnp.asarray(1.0), draws, 7)
    found = np.asarray(jax.vmap(one)(keys))
    assert (found[:, 0] != found[:, 1]).all()
    share = weight / 7
    count = np.bincount(found[:, 0], minlength=7)
    near = 5 * np.sqrt(share * (1 - share) / 20_000)
    assert (np.abs(count / 20_000 - share) <= near).all()


@pytest.mark.parametrize("n", [1, 5, 70_000, 3_000_000_000])
def test_bits_become_rows_without_rounding(n):
    bits = np.array([0, 1, 2**16, 2**31, 2**32 - 1, 123_456_789], np.uint32)
    want = bits.astype(object) * n // 2**32
    found = bagging._scaled(jnp.asarray(bits), n)
    np.testing.assert_array_equal(np.asarray(found).astype(np.uint32), want.astype(int))


@pytest.mark.parametrize("bootstrap", [True, False])
def test_draws_ignore_absent_rows_and_count_whole_weights(bootstrap, key):
    draws = BOOTSTRAP._replace(bootstrap=bootstrap)
    weight = jnp.asarray(np.arange(N) % 3 > 0, jnp.float32)
    kept = np.flatnonzero(weight)
    one = jnp.asarray(0.5)
    all_ = bagging.draw_rows(key, weight, one, draws, N)
    few = bagging.draw_rows(key, jnp.ones(len(kept)), one, draws, len(kept))
    few = np.asarray(few)
    np.testing.assert_array_equal(np.asarray(all_)[: len(few)], np.append(kept, N)[few])
    if bootstrap:
        twice = jnp.full(N, 2.0)
        draws = draws._replace(drawn=50)
        found = bagging.draw_rows(key, twice, one, draws, N)
        long = bagging.draw_rows(key, jnp.ones(2 * N), one, draws, 2 * N)
        np.testing.assert_array_equal(found, long // 2)


def test_share_of_the_rows_is_traced(rows, key):
    x, y, _, _ = rows

    def fit(share):
        model = bagging_regressor.fit(
            ridge, x, y, key=key, n_estimators=2, max_samples=share, bootstrap=False
        )
        return model.models.coef

    shares = jnp.array([0.5, 0.1, 1.0])
    together = jax.vmap(fit)(shares)
    np.testing.assert_allclose(together[1], fit(0.1), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(together[2][0], ridge.fit(x, y).coef, rtol=1e-3)
    assert drawn(key, 2, PASTING, share=0.1).sum() == 12


def test_features_are_drawn_and_remembered(rows, key):
    x, y, _, _ = rows
    options = {"key": key, "n_estimators": 20, "max_features": 0.5}
    model = bagging_regressor.fit(ridge, x, y, **options)
    assert model.features.shape == (20, 2)
    assert (np.diff(model.features) > 0).all()
    assert set(np.unique(model.features)) == {0, 1, 2, 3}
    at = lambda i: jax.tree.map(lambda a: a[i], model.models)
    each = [ridge.predict(at(i), x[:, model.features[i]]) for i in range(20)]
    found = bagging_regressor.predict(ridge, model, x)
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-5)
    again = bagging_regressor.fit(ridge, x, y, bootstrap_features=True, **options)
    assert (np.diff(again.features) == 0).any()


def test_side_by_side_is_one_after_another(rows, key):
    x, _, label, _ = rows
    fit = lambda size: bagging_classifier.fit(
        gaussian_nb, x, label, key=key, n_classes=3, n_estimators=5, batch_size=size
    )
    one = bagging_classifier.predict_proba(gaussian_nb, fit(1), x)
    for size in (2, 5):
        other = bagging_classifier.predict_proba(gaussian_nb, fit(size), x)
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_votes_where_there_are_no_probabilities(rows, key):
    x, _, label, _ = rows
    model = bagging_classifier.fit(
        Votes, x, label, key=key, n_classes=3, n_estimators=4, draw="rows"
    )
    shares = bagging_classifier.predict_proba(Votes, model, x)
    np.testing.assert_array_equal(shares.sum(1), 1)
    assert set(np.unique(shares)) <= {0, 0.25, 0.5, 0.75, 1}


def test_decision_values_are_averaged(rows, key):
    x, _, label, _ = rows
    model = bagging_classifier.fit(
        linear_svc, x, label.clip(0, 1), key=key, n_estimators=2
    )
    at = lambda i: jax.tree.map(lambda a: a[i], model.models)
    want = np.mean([linear_svc.decision_function(at(i), x) for i in (0, 1)], axis=0)
    found = bagging_classifier.decision_function(linear_svc, model, x)
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_members_that_draw_get_their_own_key(rows, key):
    x, _, label, _ = rows
    fit = lambda **more: bagging_classifier.fit(
        sgd_classifier, x, label, n_classes=3, n_estimators=2, bootstrap=False,
        options={"max_iter": 1}, **more
    )  # fmt: skip
    model = fit(key=key)
    assert not np.array_equal(model.models.coef[0], model.models.coef[1])


def test_weights_of_zero_everywhere_show(rows, key):
    x, y, _, _ = rows
    model = bagging_regressor.fit(
        ridge, x, y, key=key, n_estimators=2, sample_weight=jnp.zeros(N)
    )
    alone = ridge.fit(x, y, sample_weight=jnp.zeros(N))
    np.testing.assert_array_equal(model.models.coef[0], alone.coef)


# Errors.


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_estimators": 0}, "n_estimators must be at least 1; got 0"),
        ({"max_samples": 1.5}, "max_samples must be from 0 to 1; got 1.5"),
        ({"max_samples": 0.0}, "max_samples must be above 0"),
        ({"max_samples": 61, "bootstrap": False}, "max_samples must be from 1 to 60"),
        ({"max_features": 5}, "max_features must be from 1 to 4; got 5"),
        ({"max_features": 0.0}, "max_features must be above 0"),
        ({"oob_score": True, "bootstrap": False}, "oob_score needs bootstrap=True"),
        ({"draw": "cards"}, "draw must be one of"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_rejects_impossible_draws(rows, key, options, match):
    x, y, _, _ = rows
    with pytest.raises(ValueError, match=match):
        bagging_regressor.fit(ridge, x, y, key=key, **options)


def test_rejects_what_cannot_be_weighted_or_sized(rows, key):
    x, y, label, _ = rows
    with pytest.raises(ValueError, match=r"must take sample_weight.*Votes"):
        bagging_classifier.fit(Votes, x, label, key=key)
    with pytest.raises(ValueError, match="must be an int or a Python float"):
        jax.jit(
            lambda s: bagging_regressor.fit(
                ridge, x, y, key=key, draw="rows", max_samples=s
            )
        )(0.5)
