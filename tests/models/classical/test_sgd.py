import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import SGDClassifier, SGDRegressor

from jaxml.models.classical import sgd_classifier, sgd_epoch, sgd_order, sgd_regressor
from jaxml.ops import native

LOSSES, PENALTIES = sgd_epoch.LOSSES, sgd_epoch.PENALTIES
RATES = ("optimal", "constant", "invscaling", "adaptive")
# Rows scaled so that no descent runs away, where the last digits would decide.
OPTIONS = {"alpha": 0.1, "eta0": 0.05, "shuffle": False, "max_iter": 40}


def every(losses, step):
    """All losses with all penalties and, going round, the rates."""
    product = itertools.product(losses, PENALTIES)
    for i, (loss, penalty) in list(enumerate(product))[::step]:
        yield loss, penalty, RATES[(i + i // 4) % 4]


@pytest.fixture(params=["scan", "kernel"])
def form(request, monkeypatch):
    """Run a test with the scan and with the C++ kernel."""
    choose(request.param, monkeypatch)
    return request.param


def choose(form, monkeypatch):
    monkeypatch.setenv("JAXML_NATIVE", "1" if form == "kernel" else "0")
    if form == "kernel" and not native.enabled("sgd"):
        pytest.skip(native.reason("sgd"))


@pytest.fixture
def binary():
    x, y = load_breast_cancer(return_X_y=True)
    return standard(x[:60, :4]), y[:60]


@pytest.fixture
def iris():
    x, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return standard(x[order]), y[order]


@pytest.fixture
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return standard(x[:60, :4]), (y[:60] - y[:60].mean()) / y[:60].std()


def standard(x):
    return 0.4 * (x - x.mean(0)) / x.std(0)


def peer(kind, x, y, sample_weight=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of max_iter
        return kind(**options).fit(x, y, sample_weight=sample_weight)


def assert_same(model, other, tolerance=1e-8):
    """Equal coefficients, to the rounding of 64 bits, and the same epochs."""
    coef, intercept = np.ravel(model.coef), np.ravel(model.intercept)
    scale = np.abs(other.coef_).max()
    np.testing.assert_allclose(coef, np.ravel(other.coef_), atol=tolerance * scale)
    np.testing.assert_allclose(intercept, other.intercept_, atol=tolerance * scale)
    assert int(model.n_iter) == other.n_iter_
    assert int(model.t) == other.t_


CASES = [("kernel", *case) for case in every(LOSSES, 1)]
CASES += [("scan", *case) for case in every(LOSSES, 3)]
CASES += [
    (form, "hinge", None, pa) for form in ("scan", "kernel") for pa in ("pa1", "pa2")
]


class TestParity:
    """The coefficients are those of scikit-learn when the rows come in one order."""

    @pytest.mark.parametrize(("form", "loss", "penalty", "rate"), CASES)
    def test_classifier(self, binary, form, loss, penalty, rate, monkeypatch, key):
        choose(form, monkeypatch)
        x, y = binary
        options = {**OPTIONS, "loss": loss, "penalty": penalty, "learning_rate": rate}
        with jax.enable_x64(True):
            model = sgd_classifier.fit(jnp.array(x), jnp.array(y), key=key, **options)
            assert_same(model, peer(SGDClassifier, x, y, **options))

    @pytest.mark.parametrize("form", ["scan", "kernel"])
    @pytest.mark.parametrize(
        ("loss", "penalty", "rate"),
        [*every(LOSSES[5:], 3), ("epsilon_insensitive", "l2", "pa1")],
    )
    def test_regressor(self, diabetes, form, loss, penalty, rate, monkeypatch, key):
        choose(form, monkeypatch)
        x, y = diabetes
        options = {**OPTIONS, "loss": loss, "penalty": penalty, "learning_rate": rate}
        with jax.enable_x64(True):
            model = sgd_regressor.fit(jnp.array(x), jnp.array(y), key=key, **options)
            assert_same(model, peer(SGDRegressor, x, y, **options))
            values = sgd_regressor.predict(model, jnp.array(x))
            expected = peer(SGDRegressor, x, y, **options).predict(x)
            np.testing.assert_allclose(values, expected, atol=1e-7)

    @pytest.mark.parametrize("average", [1, 100])
    def test_averages(self, binary, average, form, key):
        x, y = binary
        options = {**OPTIONS, "average": average, "learning_rate": "constant"}
        with jax.enable_x64(True):
            model = sgd_classifier.fit(jnp.array(x), jnp.array(y), key=key, **options)
            assert_same(model, peer(SGDClassifier, x, y, **options))
            assert np.abs(model.coef - model.iterate_coef).max() > 1e-3

    def test_classes_stop_one_by_one(self, iris, form, key):
        x, y = iris
        options = {**OPTIONS, "loss": "log_loss", "learning_rate": "adaptive"}
        scale = np.array([0.5, 2.0, 1.0])
        weight = np.random.default_rng(0).uniform(0.5, 2, len(x))
        theirs = dict(class_weight=dict(enumerate(scale)), sample_weight=weight)
        with jax.enable_x64(True):
            model = sgd_classifier.fit(
                jnp.array(x),
                jnp.array(y),
                key=key,
                n_classes=3,
                class_weight=jnp.array(scale),
                sample_weight=jnp.array(weight),
                **options,
            )
            assert_same(model, peer(SGDClassifier, x, y, **theirs, **options))

    def test_more_rows(self, binary, form, key):
        x, y = binary
        options = {"loss": "log_loss", "penalty": "elasticnet", "shuffle": False}
        other = SGDClassifier(average=40, **options)
        weight = np.random.default_rng(0).uniform(0.5, 2, len(x))
        with jax.enable_x64(True):
            model = sgd_classifier.init(x.shape[1], dtype=x.dtype)
            for half in (slice(0, 30), slice(30, 60)):
                rows = x[half], y[half], weight[half]
                other.partial_fit(*rows[:2], [0, 1], sample_weight=rows[2])
                model = sgd_classifier.partial_fit(
                    model,
                    jnp.array(rows[0]),
                    jnp.array(rows[1]),
                    key=key,
                    sample_weight=jnp.array(rows[2]),
                    average=40,
                    **options,
                )
            # scikit-learn does not truncate what it averages as it truncates the rest.
            scale = np.abs(other._standard_coef).max()
            ours, theirs = model.iterate_coef.ravel(), other._standard_coef.ravel()
            np.testing.assert_allclose(ours, theirs, atol=1e-9 * scale)
            assert int(model.t) == other.t_ == 61

    @pytest.mark.parametrize("classes", [2, 3])
    @pytest.mark.parametrize("loss", ["log_loss", "modified_huber"])
    def test_probabilities(self, iris, loss, classes, key):
        x, y = (part[iris[1] < classes] for part in iris)
        other = peer(SGDClassifier, x, y, loss=loss, **OPTIONS)
        with jax.enable_x64(True):
            model = sgd_classifier.fit(
                jnp.array(x),
                jnp.array(y),
                key=key,
                n_classes=classes,
                loss=loss,
                **OPTIONS,
            )
            far = np.concatenate([x, -20 * x])  # where modified Huber is 0 for all
            rows = jnp.array(far)
            ours = sgd_classifier.predict_proba(model, rows, loss=loss)
            np.testing.assert_allclose(ours, other.predict_proba(far), atol=1e-6)
            labels = sgd_classifier.predict(model, rows)
            np.testing.assert_array_equal(labels, other.predict(far))
            values = sgd_classifier.decision_function(model, rows)
            np.testing.assert_allclose(values, other.decision_function(far), atol=1e-5)

    def test_a_warm_start(self, diabetes, form, key):
        x, y = diabetes
        coef, intercept = np.linspace(-1, 1, 4), np.array([0.5])
        with warnings.catch_warnings(), jax.enable_x64(True):
            warnings.simplefilter("ignore")
            start = {"coef_init": coef, "intercept_init": intercept}
            # scikit-learn writes into what it is given.
            theirs = {name: value.copy() for name, value in start.items()}
            other = SGDRegressor(**OPTIONS).fit(x, y, **theirs)
            start = jax.tree.map(jnp.array, start)
            model = sgd_regressor.fit(
                jnp.array(x), jnp.array(y), key=key, **start, **OPTIONS
            )
            assert_same(model, other)


class TestOrder:
    def test_kernel_and_scan_take_the_same_steps(self, iris, monkeypatch, key):
        x, y = jnp.array(iris[0], jnp.float32), jnp.array(iris[1])
        models = []
        for form in ("scan", "kernel"):
            choose(form, monkeypatch)
            fitted = sgd_classifier.fit(
                x, y, key=key, n_classes=3, loss="log_loss", max_iter=5, tol=None
            )
            models.append(fitted)
        # Sums of 32 bits in another order.
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), *models
        )

    def test_each_epoch_draws_another_order(self, key):
        orders = [
            sgd_order.shuffled(jnp.ones(50), key=jax.random.fold_in(key, epoch))
            for epoch in range(2)
        ]
        assert (orders[0] != orders[1]).any()
        for order in orders:
            np.testing.assert_array_equal(jnp.sort(order), jnp.arange(50))

    def test_rows_set_aside_keep_the_shares_of_the_groups(self, key):
        groups = jnp.array([0] * 40 + [1] * 20 + [2] * 2 + [3])
        weight = jnp.ones(63).at[:10].set(0)
        aside = sgd_order.aside(weight, groups, 0.2, key=key)
        found = [int(aside[groups == group].sum()) for group in range(4)]
        assert found == [6, 4, 1, 0]
        assert not aside[:10].any()

    def test_early_stopping_is_judged_on_rows_not_learned(self, iris, form, key):
        with jax.enable_x64(True):
            x, y = jnp.array(iris[0]), jnp.array((iris[1] > 1).astype(int))
            options = {"shuffle": False, "loss": "log_loss"}
            model = sgd_classifier.fit(
                x, y, key=key, early_stopping=True, validation_fraction=0.3, **options
            )
            split = jax.random.split(key)[1]
            aside = sgd_order.aside(jnp.ones(len(x)), y, 0.3, key=split)
            weight = 1.0 - aside
            again, best, waited = sgd_classifier.init(4, dtype=x.dtype), -np.inf, 0
            for epoch in range(1000):
                again = sgd_classifier.partial_fit(
                    again, x, y, key=key, sample_weight=weight, **options
                )
                right = sgd_classifier.predict(again, x) == y
                score = float(right[aside].mean())
                waited = waited + 1 if score < best + 1e-3 else 0
                best = max(best, score)
                if waited == 5:
                    break
            assert int(model.n_iter) == epoch + 1
            assert bool(model.converged)
            np.testing.assert_allclose(model.coef, again.coef, rtol=1e-9)

    def test_early_stopping_of_a_regression(self, diabetes, key):
        x, y = (jnp.array(part, jnp.float32) for part in diabetes)
        model = sgd_regressor.fit(x, y, key=key, early_stopping=True)
        assert bool(model.converged)
        assert ((sgd_regressor.predict(model, x) - y) ** 2).mean() < 0.9


class TestProperties:
    def test_absent_rows_change_nothing(self, iris, form, key):
        x, y = jnp.array(iris[0][:60], jnp.float32), jnp.array(iris[1][:60])
        weight = jnp.array(np.random.default_rng(0).integers(0, 2, 60), jnp.float32)
        here = weight > 0
        options = {"key": key, "n_classes": 3, "early_stopping": True, "max_iter": 9}
        whole = sgd_classifier.fit(x, y, sample_weight=weight, **options)
        less = sgd_classifier.fit(x[here], y[here], **options)
        # The score is a sum over more rows, but the steps are the same.
        jax.tree.map(np.testing.assert_array_equal, whole, less)

    def test_a_grid_is_one_program(self, binary, form, key):
        x, y = jnp.array(binary[0], jnp.float32), jnp.array(binary[1])
        alphas = jnp.array([1e-3, 1e-1])

        def fit(alpha):
            return sgd_classifier.fit(x, y, key=key, alpha=alpha, max_iter=20)

        grid = jax.vmap(fit)(alphas)
        for i, alpha in enumerate(alphas):
            one = fit(alpha)
            np.testing.assert_allclose(grid.coef[i], one.coef, rtol=1e-4)
            assert int(grid.n_iter[i]) == int(one.n_iter)

    def test_an_epoch_has_derivatives(self, binary, form, key):
        with jax.enable_x64(True):
            x, y = jnp.array(binary[0]), jnp.array(binary[1])
            start = sgd_classifier.init(4, dtype=x.dtype)

            def last(eta0):
                model = sgd_classifier.partial_fit(
                    start,
                    x,
                    y,
                    key=key,
                    loss="log_loss",
                    learning_rate="constant",
                    eta0=eta0,
                )
                return model.coef.sum()

            slope = (last(0.1 + 1e-6) - last(0.1 - 1e-6)) / 2e-6
            np.testing.assert_allclose(jax.grad(last)(0.1), slope, rtol=1e-5)
            np.testing.assert_allclose(
                jax.jvp(last, (0.1,), (1.0,))[1], slope, rtol=1e-5
            )

    def test_precision_of_the_data_is_kept(self, binary, form, key):
        with jax.enable_x64(True):
            y = jnp.array(binary[1])
            for dtype in (jnp.float32, jnp.float64):
                x = jnp.array(binary[0], dtype)
                model = sgd_classifier.fit(x, y, key=key, max_iter=2, average=True)
                assert model.coef.dtype == model.intercept.dtype == dtype

    def test_rows_on_eight_devices(self, binary, form, key):
        mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
        x, y = jnp.array(binary[0][:56], jnp.float32), jnp.array(binary[1][:56])
        options = {"key": key, "max_iter": 3, "tol": None}
        one = sgd_classifier.fit(x, y, **options)
        eight = sgd_classifier.fit(
            jax.device_put(x, rows), jax.device_put(y, rows), **options
        )
        np.testing.assert_allclose(eight.coef, one.coef, rtol=1e-4)


class TestDegenerate:
    @pytest.mark.parametrize(
        "loss", ["hinge", "huber", "epsilon_insensitive", "log_loss"]
    )
    def test_nan_ends_the_descent(self, binary, form, loss, key):
        x = jnp.array(binary[0], jnp.float32).at[7, 1].set(jnp.nan)
        model = sgd_classifier.fit(x, jnp.array(binary[1]), key=key, loss=loss)
        assert not model.converged
        assert int(model.n_iter) == 1
        assert jnp.isnan(model.coef).any()

    def test_no_row_has_a_weight(self, binary, form, key):
        x, y = jnp.array(binary[0], jnp.float32), jnp.array(binary[1])
        model = sgd_classifier.fit(x, y, key=key, sample_weight=jnp.zeros(60))
        assert not model.converged
        assert int(model.t) == 1

    def test_a_rate_beyond_all_bounds_shrinks_to_zero(self, binary, form, key):
        x, y = jnp.array(binary[0], jnp.float32), jnp.array(binary[1])
        model = sgd_classifier.fit(
            x, y, key=key, alpha=1e4, learning_rate="constant", eta0=1.0, max_iter=2
        )
        assert jnp.isfinite(model.coef).all()
        assert jnp.abs(model.coef).max() < 10  # that of the last step alone

    def test_one_column_and_one_row(self, form, key):
        model = sgd_regressor.fit(
            jnp.array([[1.0]]), jnp.array([2.0]), key=key, eta0=0.1, tol=1e-9
        )
        # The penalty of a hundredth of a percent takes as much.
        np.testing.assert_allclose(
            sgd_regressor.predict(model, jnp.array([[1.0]])), [2.0], rtol=1e-3
        )


class TestErrors:
    def test_rejects_what_is_unknown(self, binary, key):
        x, y = jnp.array(binary[0], jnp.float32), jnp.array(binary[1])
        for option, message in (
            ({"loss": "square"}, "loss must be one of"),
            ({"penalty": "none"}, "penalty must be one of"),
            ({"learning_rate": "slow"}, "learning_rate must be one of"),
            (
                {"learning_rate": "pa1", "loss": "log_loss"},
                "must be one of \\('hinge',\\)",
            ),
            ({"alpha": 0.0}, "alpha must be above 0"),
            ({"eta0": 0.0}, "eta0 must be above 0"),
            ({"l1_ratio": 1.5}, "l1_ratio must be from 0 to 1"),
            ({"max_iter": 0}, "max_iter must be at least 1"),
            ({"validation_fraction": 1.5}, "validation_fraction must be from 0 to 1"),
            (
                {"class_weight": jnp.ones(3)},
                "class_weight must be \\[2\\]; got \\[3\\]",
            ),
            ({"coef_init": jnp.ones((2, 4))}, "coef_init must be \\[1, 4\\]"),
        ):
            with pytest.raises(ValueError, match=message):
                sgd_classifier.fit(x, y, key=key, **option)

    def test_rejects_losses_of_another_task(self, diabetes, key):
        x, y = (jnp.array(part, jnp.float32) for part in diabetes)
        with pytest.raises(ValueError, match="loss must be one of"):
            sgd_regressor.fit(x, y, key=key, loss="hinge")

    def test_rejects_probabilities_of_a_margin(self, binary):
        model = sgd_classifier.init(4)
        with pytest.raises(ValueError, match="'log_loss', 'modified_huber'"):
            sgd_classifier.predict_proba(model, jnp.ones((1, 4)), loss="hinge")

    def test_rejects_rows_of_another_width(self, key):
        model = sgd_regressor.init(3)
        with pytest.raises(ValueError, match="x must be \\[2, 3\\]; got \\[2, 4\\]"):
            sgd_regressor.partial_fit(model, jnp.ones((2, 4)), jnp.ones(2), key=key)
