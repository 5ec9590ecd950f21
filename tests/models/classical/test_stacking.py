"""Stacks and blends of our models, against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import discriminant_analysis, ensemble, linear_model, naive_bayes

from jaxml.models.classical import (
    blending,
    gaussian_nb,
    linear_discriminant,
    ridge,
    stacking_classifier,
    stacking_regressor,
)
from tests.models.classical.test_voting import (
    ALPHAS,
    MEMBERS,
    RIDGES,
    Always,
    flowers,
    patients,
)

__all__ = ["flowers", "patients"]  # fixtures

PEERS = [
    ("bayes", naive_bayes.GaussianNB()),
    ("line", discriminant_analysis.LinearDiscriminantAnalysis()),
]


def splits(folds, n_folds):
    return [
        (np.flatnonzero(folds != f), np.flatnonzero(folds == f)) for f in range(n_folds)
    ]


def stack(flowers, classes=3, **more):
    x, y, _ = (jnp.asarray(a) for a in flowers)
    return stacking_classifier.fit(
        MEMBERS,
        gaussian_nb,
        x,
        jnp.minimum(y, classes - 1),
        folds=jnp.arange(90) % 3,
        n_folds=3,
        n_classes=classes,
        **more,
    )


def stack_numbers(patients, options=ALPHAS, **more):
    x, y = patients
    return stacking_regressor.fit(
        RIDGES,
        ridge,
        jnp.asarray(x),
        jnp.asarray(y),
        **{"folds": jnp.arange(60) % 3, "n_folds": 3, "options": options} | more,
    )


# Parity.


@pytest.mark.parametrize(
    ("classes", "stack_method", "passthrough"),
    [(3, "auto", False), (2, "auto", True), (3, "predict", False)],
)
def test_matches_sklearn(flowers, classes, stack_method, passthrough):
    x, y, _ = flowers
    y = np.minimum(y, classes - 1)
    chosen = {"stack_method": stack_method, "passthrough": passthrough}
    reference = ensemble.StackingClassifier(
        PEERS, naive_bayes.GaussianNB(), cv=splits(np.arange(90) % 3, 3), **chosen
    ).fit(x, y)
    model = stack(flowers, classes, **chosen)
    said = stacking_classifier.transform(MEMBERS, model, jnp.asarray(x))
    np.testing.assert_allclose(said, reference.transform(x), atol=1e-4)
    proba = stacking_classifier.predict_proba(
        MEMBERS, gaussian_nb, model, jnp.asarray(x)
    )
    # The shares of one class are nearly constant within it: a small variance.
    np.testing.assert_allclose(proba, reference.predict_proba(x), atol=2e-3)
    labels = stacking_classifier.predict(MEMBERS, gaussian_nb, model, jnp.asarray(x))
    np.testing.assert_array_equal(labels, proba.argmax(1))


@pytest.mark.parametrize("passthrough", [False, True])
def test_regressor_matches_sklearn(patients, passthrough):
    x, y = patients
    reference = ensemble.StackingRegressor(
        [(str(o), linear_model.Ridge(**o)) for o in ALPHAS],
        linear_model.Ridge(),
        cv=splits(np.arange(60) % 3, 3),
        passthrough=passthrough,
    ).fit(x, y)
    model = stack_numbers(patients, passthrough=passthrough)
    found = stacking_regressor.predict(RIDGES, ridge, model, jnp.asarray(x))
    np.testing.assert_allclose(found, reference.predict(x), rtol=2e-3)


def test_blend_is_two_fits(patients):
    x, y = (jnp.asarray(a) for a in patients)
    held = jnp.arange(60) % 4 == 1
    model = blending.fit_regressor(RIDGES, ridge, x, y, held=held, options=ALPHAS)
    first = [ridge.fit(x[~held], y[~held], **o) for o in ALPHAS]
    said = jnp.stack([ridge.predict(one, x) for one in first], 1)
    last = ridge.fit(said[held], y[held])
    found = blending.predict(RIDGES, ridge, model, x)
    np.testing.assert_allclose(found, ridge.predict(last, said), rtol=1e-3)
    np.testing.assert_allclose(
        blending.transform(RIDGES, model, x), said, rtol=1e-3, atol=1e-2
    )


# Properties: true whatever the data.


def test_blend_of_classes_does_not_see_what_the_last_model_sees(flowers):
    x, y, _ = (jnp.asarray(a) for a in flowers)
    held = blending.hold_out(jax.random.key(0), x, hold_out=0.3)
    assert held.sum() == 27
    fit = lambda y: blending.fit_classifier(
        MEMBERS, gaussian_nb, x, y, held=held, n_classes=3
    )
    model, other = fit(y), fit(jnp.where(held, 2 - y, y))
    for one, two in zip(model.models, other.models, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, two)
    assert not np.array_equal(model.final.theta, other.final.theta)
    proba = blending.predict_proba(MEMBERS, gaussian_nb, model, x)
    assert (proba.argmax(1) == y).mean() > 0.6  # of three classes, far apart in noise


def test_rows_are_held_out_of_those_that_are_present(flowers, key):
    x, _, weight = (jnp.asarray(a) for a in flowers)
    held = blending.hold_out(key, x, hold_out=0.25, sample_weight=weight)
    assert held.sum() == 15
    assert not held[weight == 0].any()
    kept = weight > 0
    np.testing.assert_array_equal(
        held[kept], blending.hold_out(key, x[kept], hold_out=0.25)
    )


def test_folds_side_by_side_are_one_after_another(flowers):
    x = jnp.asarray(flowers[0])
    say = lambda model: stacking_classifier.predict_proba(
        MEMBERS, gaussian_nb, model, x
    )
    np.testing.assert_allclose(
        say(stack(flowers)), say(stack(flowers, batch_size=3)), atol=1e-4
    )


def test_derivative_goes_through_the_stack(patients):
    with jax.enable_x64(True):
        rows = tuple(a.astype(np.float64) for a in patients)
        x, y = map(jnp.asarray, rows)

        def loss(alpha):
            options = ({"alpha": alpha}, {"alpha": jnp.asarray(30.0)})
            model = stack_numbers(rows, options=options)
            said = stacking_regressor.predict(RIDGES, ridge, model, x)
            return ((said - y) ** 2).mean()

        at, step = jnp.asarray(2.0), 1e-4
        want = (loss(at + step) - loss(at - step)) / (2 * step)
        np.testing.assert_allclose(jax.grad(loss)(at), want, rtol=1e-5)


def test_auto_hears_what_a_member_has(flowers):
    x, y, _ = (jnp.asarray(a) for a in flowers)

    class Decides:
        fit, predict = staticmethod(gaussian_nb.fit), staticmethod(gaussian_nb.predict)

    model = stacking_classifier.fit(
        (Decides, linear_discriminant),
        gaussian_nb,
        x,
        y,
        folds=jnp.arange(90) % 3,
        n_folds=3,
        n_classes=3,
    )
    assert model.stack_method == ("predict", "predict_proba")
    said = stacking_classifier.transform((Decides, linear_discriminant), model, x)
    assert said.shape == (90, 4)


# Errors.


@pytest.mark.usefixtures("unchecked")
def test_rejects_what_does_not_fit(flowers, patients):
    with pytest.raises(ValueError, match="stack_method must be one of"):
        stack(flowers, stack_method="shout")
    with pytest.raises(ValueError, match=r"predict_options must have one entry"):
        stack(flowers, predict_options=(None,))
    with pytest.raises(ValueError, match="n_folds must be at least 2; got 1"):
        stack_numbers(patients, n_folds=1)
    x, y, _ = (jnp.asarray(a) for a in flowers)
    data = {"folds": jnp.arange(90) % 3, "n_folds": 3}
    with pytest.raises(ValueError, match="must take sample_weight"):
        stacking_classifier.fit((Always(1),), gaussian_nb, x, y, **data)
    with pytest.raises(ValueError, match=r"for each of the 90 rows of x; got shape"):
        stacking_classifier.fit(MEMBERS, gaussian_nb, x, y, folds=y[:5], n_folds=3)
    with pytest.raises(ValueError, match=r"must have decision_function"):
        stack(flowers, stack_method="decision_function")
    with pytest.raises(ValueError, match=r"held must be one truth value"):
        blending.fit_classifier(MEMBERS, gaussian_nb, x, y, held=jnp.ones(3, bool))
    with pytest.raises(ValueError, match="hold_out must be above 0"):
        blending.hold_out(jax.random.key(0), x, hold_out=0.0)
