"""Support vector classification against scikit-learn (LIBSVM)."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, svm

from jaxml.models.classical import svc
from jaxml.ops import kernels


def standard(name, every=1):
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
    return x[::every], y[::every]


@pytest.fixture(scope="module")
def cancer():
    return standard("breast_cancer", 3)


@pytest.fixture(scope="module")
def wine():
    return standard("wine")


def both(x, y, k=2, weight=None, **options):
    """Ours and LIBSVM, at a tolerance where only the optimum counts."""
    with jax.enable_x64(True):
        ours = svc.fit(
            jnp.array(x),
            jnp.array(y),
            n_classes=k,
            tol=1e-8,
            sample_weight=None if weight is None else jnp.array(weight),
            **options,
        )
    peer = svm.SVC(tol=1e-8, decision_function_shape="ovo", **options)
    return ours, peer.fit(x, y, weight)


def assert_same(ours, peer, x):
    """The fields and the margins; 1e-6 is what a tolerance of 1e-8 leaves of them."""
    with jax.enable_x64(True):
        few = svc.compact(ours)
        for model in (ours, few):
            margins = svc.decision_function(
                model, jnp.array(x), decision_function_shape="ovo"
            )
            np.testing.assert_allclose(
                margins, peer.decision_function(x), rtol=1e-6, atol=1e-6
            )
    np.testing.assert_array_equal(few.support, peer.support_)
    np.testing.assert_array_equal(few.n_support, peer.n_support_)
    np.testing.assert_allclose(few.dual_coef, peer.dual_coef_, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.intercept, peer.intercept_, rtol=1e-6, atol=1e-6)
    assert ours.converged


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": "linear", "C": 0.1},
        {"kernel": "poly", "degree": 2, "coef0": 1.0, "gamma": "auto"},
        {"kernel": "sigmoid", "gamma": 0.01},
        {"C": 10.0, "gamma": 0.05},
    ],
    ids=str,
)
def test_matches_sklearn(cancer, options):
    x, y = cancer
    ours, peer = both(x, y, **options)
    assert_same(ours, peer, x)
    if "gamma" not in options and "kernel" not in options:
        np.testing.assert_allclose(ours.gamma, peer._gamma, rtol=1e-12)


def test_matches_sklearn_on_three_classes(wine):
    x, y = wine
    ours, peer = both(x, y, 3)
    assert_same(ours, peer, x)


def test_matches_sklearn_with_weights(wine):
    x, y = wine
    weight = np.random.default_rng(0).integers(1, 8, len(y)) / 2
    share = np.array([1.0, 2.0, 0.5])
    with jax.enable_x64(True):
        ours = svc.fit(
            jnp.array(x),
            jnp.array(y),
            n_classes=3,
            gamma=0.05,
            class_weight=jnp.array(share),
            sample_weight=jnp.array(weight),
            tol=1e-8,
        )
    peer = svm.SVC(
        gamma=0.05,
        class_weight=dict(enumerate(share)),
        tol=1e-8,
        decision_function_shape="ovo",
    ).fit(x, y, weight)
    assert_same(ours, peer, x)


def test_objective_in_float32_is_that_of_libsvm(cancer):
    x, y = cancer
    matrix = np.asarray(kernels.rbf(*[jnp.array(x, jnp.float32)] * 2, gamma=0.03))
    ours = svc.fit(jnp.array(x, jnp.float32), jnp.array(y), gamma=0.03)
    peer = svm.SVC(gamma=0.03).fit(x, y)

    def objective(coef):
        return 0.5 * coef @ matrix @ coef - np.abs(coef).sum()

    found = np.zeros(len(y))
    found[peer.support_] = peer.dual_coef_[0]
    theirs = objective(found)
    # equal tolerance 1e-3: the objectives then agree to 1e-6
    assert objective(np.asarray(ours.dual_coef[0])) <= theirs + 1e-6 * abs(theirs)
    assert abs(int(ours.n_support.sum()) - len(peer.support_)) <= 2


def test_traced_labels_give_the_same_machines(wine):
    x, y = jnp.array(wine[0], jnp.float32), jnp.array(wine[1])
    apart = svc.fit(x, y, n_classes=3, tol=1e-5)
    masked = jax.jit(lambda y: svc.fit(x, y, n_classes=3, tol=1e-5))(y)
    np.testing.assert_allclose(apart.dual_coef, masked.dual_coef, atol=1e-3)
    np.testing.assert_allclose(apart.intercept, masked.intercept, atol=1e-4)


@pytest.mark.parametrize("break_ties", [False, True])
def test_votes_are_those_of_sklearn(wine, break_ties):
    x, y = wine
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, len(y))  # noise: many ties
    ours, peer = both(x, y, 3, C=0.5)
    peer.set_params(decision_function_shape="ovr", break_ties=break_ties)
    new = rng.normal(size=(200, x.shape[1]))
    with jax.enable_x64(True):
        values = svc.decision_function(ours, jnp.array(new))
        labels = svc.predict(ours, jnp.array(new), break_ties=break_ties)
    np.testing.assert_allclose(values, peer.decision_function(new), atol=1e-5)
    np.testing.assert_array_equal(labels, peer.predict(new))


def test_precomputed_and_callable_kernels(wine):
    x, y = jnp.array(wine[0], jnp.float32), jnp.array(wine[1])
    named = svc.fit(x, y, n_classes=3, kernel="linear")
    function = svc.fit(x, y, n_classes=3, kernel=kernels.linear)
    matrix = kernels.linear(x, x)
    known = svc.fit(matrix, y, n_classes=3, kernel="precomputed")
    expected = svc.decision_function(named, x)
    np.testing.assert_allclose(svc.decision_function(function, x), expected, atol=1e-3)
    np.testing.assert_allclose(
        svc.decision_function(known, matrix), expected, atol=1e-3
    )
    few = svc.compact(known)
    assert few.support_vectors.shape[1] == 0
    np.testing.assert_allclose(svc.decision_function(few, matrix), expected, atol=1e-3)


def test_rows_on_demand_give_the_same_machine(cancer):
    x, y = jnp.array(cancer[0], jnp.float32), jnp.array(cancer[1])
    whole = svc.fit(x + 100, y, gamma=0.03, tol=1e-4)
    lazy = svc.fit(x + 100, y, gamma=0.03, tol=1e-4, gram_limit=0)
    np.testing.assert_allclose(lazy.dual_coef, whole.dual_coef, atol=2e-3)
    assert lazy.converged


def test_sharded_rows_are_not_gathered(cancer, monkeypatch):
    n = 184
    x, y = jnp.array(cancer[0][:n], jnp.float32), jnp.array(cancer[1][:n])
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    spread = jax.device_put(x, rows), jax.device_put(y, rows)
    programs = []
    compiled = svc._fit

    def watched(*args, **static):
        programs.append(compiled.lower(*args, **static).compile().as_text())
        return compiled(*args, **static)

    monkeypatch.setattr(svc, "_fit", watched)
    ours = svc.fit(*spread, tol=1e-4)
    gathers = [line for line in programs[0].splitlines() if "all-gather" in line]
    for line in gathers:
        shapes = re.findall(r"\[([\d,]+)\]", line.split("all-gather")[0])
        sizes = [np.prod([int(k) for k in shape.split(",")]) for shape in shapes]
        assert max(sizes, default=0) < x.size, f"x is gathered: {line.strip()}"
    assert "all-reduce" in programs[0]  # it did run on several devices
    whole = svc.fit(x, y, tol=1e-4)
    np.testing.assert_allclose(ours.dual_coef, whole.dual_coef, atol=2e-3)
    np.testing.assert_allclose(ours.intercept, whole.intercept, atol=1e-4)


def test_probabilities_are_those_of_sklearn(wine, key):
    x, y = wine
    model = svc.fit(
        jnp.array(x, jnp.float32), jnp.array(y), n_classes=3, probability=True, key=key
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parameter is deprecated
        peer = svm.SVC(probability=True, random_state=0).fit(x, y)
        theirs = peer.predict_proba(x)
    ours = svc.predict_proba(model, jnp.array(x, jnp.float32))
    np.testing.assert_allclose(ours.sum(1), 1, rtol=1e-5)
    # the folds are drawn by another generator
    assert np.abs(ours - theirs).mean() < 0.02


def test_probabilities_of_two_classes_rise_with_the_margin(cancer, key):
    x, y = jnp.array(cancer[0], jnp.float32), jnp.array(cancer[1])
    model = svc.fit(x, y, probability=True, key=key)
    order = svc.decision_function(model, x).argsort()
    p = svc.predict_proba(model, x)[order, 1]
    assert (jnp.diff(p) >= 0).all()
    assert ((p > 0.5) == (y[order] == 1)).mean() > 0.95


def test_derivatives_of_the_margins(cancer):
    with jax.enable_x64(True):
        x, y = jnp.array(cancer[0][:40]), jnp.array(cancer[1][:40])
        new = x[:5] + 0.1

        def value(both):
            model = svc.fit(x, y, C=both[0], gamma=both[1], tol=1e-12)
            return (svc.decision_function(model, new) ** 2).sum()

        at = jnp.array([1.3, 0.04])
        compiled, slope = jax.jit(value), jax.jit(jax.grad(value))(at)
        for k, step in enumerate(1e-6 * jnp.eye(2)):
            finite = (compiled(at + step) - compiled(at - step)) / 2e-6
            np.testing.assert_allclose(slope[k], finite, rtol=1e-5)


def test_vmap_over_the_cost(cancer):
    x, y = jnp.array(cancer[0], jnp.float32), jnp.array(cancer[1])
    costs = jnp.array([0.1, 1.0])
    models = jax.vmap(lambda c: svc.fit(x, y, C=c, tol=1e-4))(costs)
    alone = svc.fit(x, y, C=0.1, tol=1e-4)
    np.testing.assert_allclose(models.dual_coef[0], alone.dual_coef, atol=1e-3)


def test_duplicated_rows_share_their_coefficients():
    x = jnp.array([[0.0], [0.0], [2.0], [2.0]])
    model = svc.fit(x, jnp.array([0, 0, 1, 1]), kernel="linear", tol=1e-5)
    np.testing.assert_allclose(
        svc.decision_function(model, x), [-1, -1, 1, 1], atol=1e-4
    )


def test_constant_rows_can_not_be_told_apart():
    x = jnp.ones((6, 2))
    model = svc.fit(x, jnp.array([0, 1, 1, 0, 1, 1]))
    assert model.converged
    assert (svc.predict(model, x) == 1).all()


def test_an_absent_class_is_never_predicted(wine):
    x, y = jnp.array(wine[0], jnp.float32), jnp.array(wine[1])
    weight = (y != 1).astype(jnp.float32)
    model = svc.fit(x, y, n_classes=3, sample_weight=weight)
    assert (svc.predict(model, x) != 1).all()
    np.testing.assert_array_equal(model.n_support[1], 0)


def test_no_weight_at_all_did_not_converge(cancer):
    x, y = jnp.array(cancer[0][:40], jnp.float32), jnp.array(cancer[1][:40])
    assert not svc.fit(x, y, gamma=0.1, sample_weight=jnp.zeros(40)).converged


def test_nan_did_not_converge(cancer):
    x, y = jnp.array(cancer[0][:40], jnp.float32), jnp.array(cancer[1][:40])
    assert not svc.fit(x.at[3, 2].set(jnp.nan), y).converged


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": 0.0}, "C must be above 0; got 0"),
        ({"gamma": "wide"}, "gamma must be one of"),
        ({"gamma": -1.0}, "gamma must be at least 0; got -1"),
        ({"kernel": "laplace"}, "kernel must be one of"),
        ({"kernel": "precomputed"}, "square Gram matrix"),
        ({"degree": -1}, "degree must be at least 0; got -1"),
        ({"n_classes": 1}, "n_classes must be at least 2; got 1"),
        ({"max_iter": -2}, "max_iter must be at least -1; got -2"),
        ({"probability": True}, "needs a key"),
    ],
)
def test_rejects_what_has_no_meaning(options, message):
    x, y = jnp.ones((4, 2)), jnp.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=message):
        svc.fit(x, y, **options)


def test_rejects_predictions_of_other_data():
    x, y = jnp.eye(4)[:, :3], jnp.array([0, 1, 0, 1])
    model = svc.fit(x, y, kernel="linear", gamma=1.0)
    with pytest.raises(ValueError, match="3 columns"):
        svc.predict(model, x[:, :2])
    with pytest.raises(ValueError, match="probability=True"):
        svc.predict_proba(model, x)
    with pytest.raises(ValueError, match="to break ties"):
        svc.predict(model, x, break_ties=True, decision_function_shape="ovo")
