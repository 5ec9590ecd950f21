"""Logistic regression against scikit-learn, and what any must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets
from sklearn.linear_model import LogisticRegression

from jaxml.models.classical import logistic, logistic_solver


def real(name, dtype=np.float64):
    """Standardised rows and labels."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    return x.astype(dtype), y


def weights(n, seed=0):
    return np.random.default_rng(seed).uniform(0.2, 3.0, n)


def objective(coef, intercept, x, y, c):
    """Mean loss plus penalty, in float64."""
    coef, intercept = np.asarray(coef, float), np.asarray(intercept, float)
    scores = np.asarray(x, float) @ coef.T + intercept
    if len(coef) == 1:
        scores = np.hstack([np.zeros_like(scores), scores])
    value = np.logaddexp.reduce(scores, 1) - scores[np.arange(len(y)), y]
    return value.mean() + (coef**2).sum() / (2 * c * len(y))


def ours(x, y, **options):
    weight = options.pop("sample_weight", None)
    if weight is not None:
        options["sample_weight"] = jnp.asarray(weight)
    return logistic.fit(
        jnp.asarray(x), jnp.asarray(y), n_classes=int(y.max()) + 1, **options
    )


# Parity: float64, both far below the default tolerance. 1e-4: theirs stops first.


@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
@pytest.mark.parametrize("c", [0.05, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_matches_sklearn(name, c, weighted):
    x, y = real(name)
    weight = weights(len(x)) if weighted else None
    ref = LogisticRegression(C=c, tol=1e-9, solver="newton-cholesky")
    ref.fit(x, y, weight)
    with jax.enable_x64(True):
        model = ours(x, y, C=c, tol=1e-9, sample_weight=weight)
        assert model.converged
        assert model.coef.shape == ref.coef_.shape
        np.testing.assert_allclose(model.coef, ref.coef_, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            model.intercept, ref.intercept_, rtol=1e-4, atol=1e-6
        )
        x = jnp.asarray(x)
        np.testing.assert_allclose(
            logistic.predict_proba(model, x), ref.predict_proba(x), atol=1e-6
        )
        np.testing.assert_allclose(
            logistic.predict_log_proba(model, x),
            ref.predict_log_proba(x),
            rtol=1e-4,
            atol=1e-6,
        )
        np.testing.assert_allclose(
            logistic.decision_function(model, x),
            ref.decision_function(x),
            rtol=1e-4,
            atol=1e-5,
        )
        np.testing.assert_array_equal(logistic.predict(model, x), ref.predict(x))


def test_matches_sklearn_without_penalty_or_intercept():
    x, y = real("breast_cancer")
    x, y = x[:, [0, 1, 4]], y
    ref = LogisticRegression(
        C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-9
    ).fit(x, y)
    with jax.enable_x64(True):
        model = ours(x, y, C=float("inf"), fit_intercept=False, tol=1e-9)
        np.testing.assert_allclose(model.coef, ref.coef_, rtol=1e-6)
        np.testing.assert_array_equal(model.intercept, [0.0])


def test_matches_sklearn_with_class_weights():
    x, y = real("wine")
    factors = {0: 0.5, 1: 2.0, 2: 1.5}
    ref = LogisticRegression(class_weight=factors, tol=1e-9, max_iter=1000).fit(x, y)
    with jax.enable_x64(True):
        model = ours(x, y, class_weight=jnp.array([0.5, 2.0, 1.5]), tol=1e-9)
        np.testing.assert_allclose(model.coef, ref.coef_, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "digits"])
def test_defaults_reach_no_worse_an_objective_than_sklearn(name):
    x, y = real("breast_cancer" if name == "breast_cancer" else "wine", np.float32)
    if name == "digits":  # 650 unknowns: no dense Hessian
        x, y = datasets.load_digits(return_X_y=True)
        x = (x[::4] / 16).astype(np.float32)
        y = y[::4]
    ref = LogisticRegression().fit(x, y)
    model = ours(x, y)
    assert model.converged
    best = objective(ref.coef_, ref.intercept_, x, y, 1.0)
    assert objective(model.coef, model.intercept, x, y, 1.0) <= best * (1 + 1e-6)


@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_elastic_net_matches_sklearn(name, l1_ratio):
    x, y = real(name)
    x, weight = x[:, :12], weights(len(x))
    ref = LogisticRegression(
        C=0.02, l1_ratio=l1_ratio, solver="saga", tol=1e-9, max_iter=50000
    ).fit(x, y, weight)
    with jax.enable_x64(True):
        model = ours(x, y, C=0.02, l1_ratio=l1_ratio, sample_weight=weight, tol=1e-9)
        assert model.converged
        assert (ref.coef_ == 0).any()
        np.testing.assert_array_equal(model.coef == 0, ref.coef_ == 0)
        np.testing.assert_allclose(model.coef, ref.coef_, rtol=1e-4, atol=1e-6)
        bias = ref.intercept_ - ref.intercept_.mean() * (len(ref.intercept_) > 2)
        np.testing.assert_allclose(model.intercept, bias, rtol=1e-4, atol=1e-5)


def test_elastic_net_of_many_unknowns_is_optimal(monkeypatch):
    """Where the Hessian of all classes together would be too large."""
    monkeypatch.setattr(logistic_solver, "COUPLED", 0)
    x, y = real("wine", np.float32)
    small = ours(x[:, :5], y, C=0.2, l1_ratio=1.0, tol=1e-5)
    ref = LogisticRegression(
        C=0.2, l1_ratio=1.0, solver="saga", tol=1e-6, max_iter=50000
    ).fit(x[:, :5], y)
    assert small.converged
    np.testing.assert_allclose(small.coef, ref.coef_, atol=1e-2)


def test_elastic_net_without_absolute_values_is_the_smooth_one():
    x, y = (jnp.asarray(part) for part in real("wine", np.float32))
    sparse = logistic.fit(x, y, n_classes=3, l1_ratio=jnp.asarray(0.0), tol=1e-6)
    smooth = logistic.fit(x, y, n_classes=3, tol=1e-6)
    np.testing.assert_allclose(sparse.coef, smooth.coef, atol=2e-3)


def test_strong_absolute_penalty_leaves_the_intercept_alone():
    x, y = real("breast_cancer", np.float32)
    model = ours(x, y, C=1e-4, l1_ratio=1.0)
    assert (model.coef == 0).all()
    np.testing.assert_allclose(
        model.intercept[0], np.log(y.mean() / (1 - y.mean())), rtol=1e-3
    )


# Properties.


def test_the_order_and_the_scale_of_features_do_not_matter_without_a_penalty():
    x, y = real("breast_cancer")
    x = x[:, [0, 1, 4]]
    with jax.enable_x64(True):
        here = ours(x, y, C=float("inf"), tol=1e-9)
        there = ours(x * [1e3, 1e-3, 1.0], y, C=float("inf"), tol=1e-9)
        scale = np.array([[1e3, 1e-3, 1.0]])
        np.testing.assert_allclose(here.coef, there.coef * scale, rtol=1e-5)


def test_softmax_of_two_classes_among_three_is_finite():
    x, y = real("wine", np.float32)
    model = logistic.fit(jnp.asarray(x), jnp.asarray(y), n_classes=4)
    assert model.converged
    share = logistic.predict_proba(model, jnp.asarray(x))
    np.testing.assert_allclose(share.sum(1), 1, rtol=1e-5)
    assert share[:, 3].max() < 0.05


@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_path_is_the_loop(name):
    x, y = real(name, np.float32)
    x, y, k = jnp.asarray(x[:, :4]), jnp.asarray(y), int(y.max()) + 1
    cs = jnp.array([0.01, 0.3, 10.0])
    models = logistic.path(x, y, Cs=cs, n_classes=k, tol=1e-6)
    assert models.coef.shape == (3, 1 if k == 2 else k, 4)
    for index, c in enumerate(cs):
        model = logistic.fit(x, y, n_classes=k, C=c, tol=1e-6)
        np.testing.assert_allclose(models.coef[index], model.coef, rtol=1e-3, atol=1e-3)


def test_folds_and_strengths_in_one_program():
    x, y = real("breast_cancer", np.float32)
    x, y = jnp.asarray(x[:100, :4]), jnp.asarray(y[:100])
    fold = jnp.arange(100) % 2
    cs = jnp.array([0.1, 1.0])

    def score(held, c):
        weight = (fold != held).astype(x.dtype)
        model = logistic.fit(x, y, C=c, sample_weight=weight, tol=1e-6)
        right = logistic.predict(model, x) == y
        return jnp.where(fold == held, right, 0).sum(), model

    grid = jnp.meshgrid(jnp.arange(2), cs, indexing="ij")
    pairs = [axis.ravel() for axis in grid]
    _, models = jax.lax.map(lambda pair: score(*pair), tuple(pairs))
    for index in range(4):
        held, c = int(pairs[0][index]), float(pairs[1][index])
        small = logistic.fit(x[fold != held], y[fold != held], C=c, tol=1e-6)
        np.testing.assert_allclose(models.coef[index], small.coef, atol=2e-4)


# Gradients through the optimum.


@pytest.mark.parametrize(
    ("n_classes", "intercept", "l1_ratio"),
    [(2, True, 0.0), (2, False, 0.0), (3, True, 0.0), (3, False, 0.0), (3, True, 0.5)],
)
def test_gradients_match_finite_differences(n_classes, intercept, l1_ratio):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x = jnp.asarray(rng.normal(size=(30, 3)))
        y = jnp.asarray(rng.integers(0, n_classes, 30))
        weight = jnp.asarray(weights(30))
        factor = jnp.linspace(0.5, 1.5, n_classes)
        mix = jnp.asarray(rng.normal(size=(n_classes, 3)))

        def loss(theta):
            model = logistic.fit(
                theta["x"],
                y,
                n_classes=n_classes,
                C=theta["C"],
                sample_weight=theta["weight"],
                class_weight=theta["factor"],
                fit_intercept=intercept,
                l1_ratio=l1_ratio,
                tol=1e-11,
            )
            rows = len(model.coef)
            return (model.coef * mix[:rows]).sum() + (model.intercept**2).sum()

        theta = {"x": x, "C": jnp.array(0.7), "weight": weight, "factor": factor}
        slope = jax.grad(loss)(theta)
        for name in theta:
            toward = jnp.asarray(rng.normal(size=theta[name].shape))
            step = 1e-5

            def at(size, name=name, toward=toward):
                return float(loss(theta | {name: theta[name] + size * toward}))

            change = (at(step) - at(-step)) / (2 * step)
            np.testing.assert_allclose(
                (slope[name] * toward).sum(), change, rtol=1e-5, atol=1e-8
            )


def test_softmax_without_penalty_fixes_the_common_shift():
    """The data do not determine it; it is 0, and so is its derivative."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(30, 3)))
    y = jnp.asarray(rng.integers(0, 3, 30))
    mix = jnp.asarray(rng.normal(size=(3, 3)))

    def weights_of(x, **options):
        return logistic.fit(x, y, n_classes=3, C=float("inf"), **options).coef

    coef = weights_of(x.astype(jnp.float32), tol=1e-6)
    np.testing.assert_allclose(coef.sum(0), 0, atol=1e-6)
    with jax.enable_x64(True):
        x, mix = (jnp.asarray(np.array(part), jnp.float64) for part in (x, mix))

        def loss(x):
            return (weights_of(x, tol=1e-11) * mix).sum()

        toward = jnp.asarray(rng.normal(size=x.shape))
        slope = (jax.grad(loss)(x) * toward).sum()
        change = (loss(x + 1e-5 * toward) - loss(x - 1e-5 * toward)) / 2e-5
        np.testing.assert_allclose(slope, change, rtol=1e-5)


# Degenerate data.


@pytest.mark.parametrize("n_classes", [2, 3])
def test_separable_without_penalty_ends_finite(n_classes):
    x = jnp.linspace(-1.0, 1.0, 30)[:, None]
    y = (jnp.arange(30) * n_classes) // 30
    model = logistic.fit(x, y, n_classes=n_classes, C=float("inf"))
    assert jnp.isfinite(model.coef).all()
    assert (logistic.predict(model, x) == y).all()


def test_collinear_and_constant_features_with_fewer_rows_than_features():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 5))
    x = np.hstack([x, x, np.ones((20, 2)), np.zeros((20, 20))]).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    model = ours(x, y)
    ref = LogisticRegression(tol=1e-8).fit(x, y)
    assert model.converged
    np.testing.assert_allclose(model.coef, ref.coef_, atol=2e-3)


def test_one_class_is_predicted():
    x = jnp.linspace(-1.0, 1.0, 30)[:, None]
    model = logistic.fit(x, jnp.ones(30, jnp.int32))
    assert (logistic.predict(model, x) == 1).all()


def test_no_weight_at_all_does_not_converge():
    x = jnp.linspace(-1.0, 1.0, 30)[:, None]
    y = (x[:, 0] > 0).astype(jnp.int32)
    assert not logistic.fit(x, y, sample_weight=jnp.zeros(30)).converged


def test_says_when_it_was_cut_short():
    x, y = real("breast_cancer", np.float32)
    assert not ours(x, y, max_iter=1).converged


# Errors.


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"C": 0.0}, "C must be above 0; got 0"),
        ({"l1_ratio": 1.5}, "l1_ratio must be from 0 to 1"),
        ({"tol": -1.0}, "tol must be at least 0"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"n_classes": 1}, "n_classes must be at least 2"),
        ({"class_weight": jnp.ones(3)}, "each of the 2 classes"),
    ],
)
def test_rejects_numbers_out_of_range(options, match):
    x, y = jnp.ones((4, 2)), jnp.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=match):
        logistic.fit(x, y, **options)


def test_rejects_labels_that_are_no_integers():
    with pytest.raises(ValueError, match="integer labels"):
        logistic.fit.__wrapped__(jnp.ones((4, 2)), jnp.ones(4))
