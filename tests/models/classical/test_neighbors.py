"""Nearest-neighbour models against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn import datasets, preprocessing
from sklearn import neighbors as peer

from jaxml.models.classical import (
    neighbors,
    neighbors_classifier,
    neighbors_regressor,
    radius_classifier,
    radius_regressor,
)


def load(name):
    """Standardised features and targets, half to fit and half to ask."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x, y = x[:600], y[:600]
    order = np.random.default_rng(0).permutation(len(x))
    x, y = preprocessing.scale(x)[order], y[order]
    half = len(x) // 2
    return x[:half], y[:half], x[half:], y[half:]


def untied(x, queries, k, **options):
    """Queries whose k-th and next distance differ: no choice is left."""
    far = (
        peer.NearestNeighbors(n_neighbors=k + 1, **options)
        .fit(x)
        .kneighbors(queries)[0]
    )
    rows = far[:, -1] - far[:, -2] > 1e-9
    assert rows.mean() > 0.8
    return rows


# Parity


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("iris", {"n_neighbors": 5}),
        ("wine", {"n_neighbors": 3, "p": 1.0}),
        ("breast_cancer", {"n_neighbors": 10, "p": 3.0}),
        ("digits", {"n_neighbors": 1}),
        ("digits", {"n_neighbors": 5, "metric": "cosine"}),
    ],
)
def test_classifier_matches_sklearn(name, options, weights):
    x, y, queries, _ = load(name)
    theirs = peer.KNeighborsClassifier(weights=weights, **options).fit(x, y)
    k = options["n_neighbors"]
    rest = {key: value for key, value in options.items() if key != "n_neighbors"}
    rows = untied(x, queries, k, **rest)
    with jax.enable_x64(True):
        model = neighbors_classifier.fit(
            jnp.asarray(x),
            jnp.asarray(y),
            n_classes=int(y.max()) + 1,
            weights=weights,
            **options,
        )
        found = neighbors_classifier.kneighbors(model, jnp.asarray(queries))
        np.testing.assert_allclose(
            found.distances, theirs.kneighbors(queries)[0], rtol=1e-9, atol=1e-12
        )
        shares = neighbors_classifier.predict_proba(model, jnp.asarray(queries))
        labels = neighbors_classifier.predict(model, jnp.asarray(queries))
    np.testing.assert_allclose(
        shares[rows], theirs.predict_proba(queries)[rows], rtol=1e-9, atol=1e-12
    )
    np.testing.assert_array_equal(labels[rows], theirs.predict(queries)[rows])


def test_classifier_in_float32_scores_as_sklearn():
    x, y, queries, truth = load("digits")
    theirs = peer.KNeighborsClassifier().fit(x, y).predict(queries)
    model = neighbors_classifier.fit(jnp.float32(x), jnp.asarray(y), n_classes=10)
    ours = neighbors_classifier.predict(model, jnp.float32(queries))
    assert (np.asarray(ours) == theirs).mean() > 0.99
    assert (np.asarray(ours) == truth).mean() > (theirs == truth).mean() - 0.01


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_regressor_matches_sklearn(weights):
    x, y, queries, _ = load("diabetes")
    theirs = peer.KNeighborsRegressor(7, weights=weights).fit(x, y).predict(queries)
    with jax.enable_x64(True):
        model = neighbors_regressor.fit(
            jnp.asarray(x), jnp.asarray(y), n_neighbors=7, weights=weights
        )
        ours = neighbors_regressor.predict(model, jnp.asarray(queries))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_regressor_with_several_targets_and_a_function_of_weights():
    x, y, queries, _ = load("diabetes")
    y = np.stack([y, x[:, 0]], 1)
    theirs = peer.KNeighborsRegressor(4, weights=lambda d: np.exp(-d)).fit(x, y)
    model = neighbors_regressor.fit(
        jnp.float32(x), jnp.float32(y), n_neighbors=4, weights=lambda d: jnp.exp(-d)
    )
    np.testing.assert_allclose(
        neighbors_regressor.predict(model, jnp.float32(queries)),
        theirs.predict(queries),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("own", [False, True])
def test_search_and_graph_match_sklearn(own):
    x, _, queries, _ = load("wine")
    theirs = peer.NearestNeighbors(n_neighbors=4).fit(x)
    ask = None if own else queries
    distances, indices = theirs.kneighbors(ask)
    model = neighbors.fit(jnp.float32(x), n_neighbors=4)
    ask = None if own else jnp.float32(queries)
    found = neighbors.kneighbors(model, ask)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-5)
    graph = neighbors.kneighbors_graph(model, ask)
    expected = theirs.kneighbors_graph(None if own else queries).toarray()
    np.testing.assert_array_equal(graph, expected)
    graph = neighbors.kneighbors_graph(model, ask, mode="distance")
    np.testing.assert_allclose(graph.sum(1), distances.sum(1), rtol=1e-5)


def test_radius_search_matches_sklearn():
    x, _, queries, _ = load("wine")
    theirs = peer.NearestNeighbors(radius=2.5).fit(x)
    distances, indices = theirs.radius_neighbors(queries, sort_results=True)
    model = neighbors.fit(jnp.float32(x), radius=2.5)
    found = neighbors.radius_neighbors(model, jnp.float32(queries), max_neighbors=5)
    mask = neighbors.radius_mask(model, jnp.float32(queries))
    for i, (near, index) in enumerate(zip(distances, indices, strict=True)):
        assert found.counts[i] == len(near)
        kept = min(5, len(near))
        np.testing.assert_allclose(found.distances[i, :kept], near[:kept], rtol=1e-5)
        np.testing.assert_array_equal(found.indices[i, :kept], index[:kept])
        assert jnp.isinf(found.distances[i, kept:]).all()
        np.testing.assert_array_equal(np.flatnonzero(mask[i]), np.sort(index))


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("outlier", ["most_frequent", 2])
def test_radius_classifier_matches_sklearn(weights, outlier):
    x, y, queries, _ = load("wine")
    theirs = peer.RadiusNeighborsClassifier(2.0, weights=weights, outlier_label=outlier)
    theirs.fit(x, y)
    model = radius_classifier.fit(
        jnp.float32(x),
        jnp.asarray(y),
        n_classes=3,
        radius=2.0,
        weights=weights,
        outlier_label=outlier,
    )
    # Some of the queries have nobody near, and some stored rows ask about themselves.
    ask = np.concatenate([queries, x[:20]])
    near = theirs.radius_neighbors(ask, return_distance=False)
    assert any(len(index) == 0 for index in near)
    shares = radius_classifier.predict_proba(model, jnp.float32(ask))
    np.testing.assert_allclose(shares, theirs.predict_proba(ask), atol=1e-5)
    labels = radius_classifier.predict(model, jnp.float32(ask))
    np.testing.assert_array_equal(labels, theirs.predict(ask))


@pytest.mark.parametrize("targets", [1, 2])
def test_radius_regressor_matches_sklearn(targets):
    x, y, queries, _ = load("diabetes")
    y = y if targets == 1 else np.stack([y, x[:, 0]], 1)
    theirs = peer.RadiusNeighborsRegressor(3.0, weights="distance", p=1).fit(x, y)
    kept = [len(index) > 0 for index in theirs.radius_neighbors(queries)[1]]
    model = radius_regressor.fit(
        jnp.float32(x), jnp.float32(y), radius=3.0, weights="distance", p=1.0
    )
    ours = radius_regressor.predict(model, jnp.float32(queries))
    assert 0 < sum(kept) < len(kept)
    np.testing.assert_allclose(
        ours[np.array(kept)], theirs.predict(queries[kept]), 1e-4
    )
    assert jnp.isnan(ours[~np.array(kept)]).all()


# Properties


def test_copies_at_distance_zero_overrule_the_others():
    x = jnp.array([[0.0], [0.0], [1.0], [1e-3]])
    y = jnp.array([1.0, 3.0, 100.0, 100.0])
    model = neighbors_regressor.fit(x, y, n_neighbors=4, weights="distance")
    np.testing.assert_allclose(neighbors_regressor.predict(model, x[:1]), [2.0])
    labels = jnp.array([1, 1, 0, 0])
    model = neighbors_classifier.fit(x, labels, n_neighbors=4, weights="distance")
    np.testing.assert_array_equal(
        neighbors_classifier.predict_proba(model, x[:1]), [[0.0, 1.0]]
    )


def test_a_row_among_its_copies_is_not_its_own_neighbour():
    x = jnp.zeros((6, 2))
    found = neighbors.kneighbors(neighbors.fit(x, n_neighbors=2))
    assert (found.indices != jnp.arange(6)[:, None]).all()


def test_an_absent_row_is_found_by_nobody():
    x, _, _, _ = load("wine")
    x, kept = jnp.float32(x), jnp.arange(len(x)) % 3 != 0
    dirty = jnp.where(kept[:, None], x, jnp.nan)
    model = neighbors.fit(dirty, radius=2.5, sample_weight=kept.astype(x.dtype))
    small = neighbors.fit(x[kept], radius=2.5)
    found, expected = (neighbors.kneighbors(m, x) for m in (model, small))
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-6)
    np.testing.assert_array_equal(
        found.indices, jnp.flatnonzero(kept)[expected.indices]
    )
    mask, expected = (neighbors.radius_mask(m, x) for m in (model, small))
    np.testing.assert_array_equal(mask[:, kept], expected)
    assert not mask[:, ~kept].any()


def test_sample_weight_multiplies_the_vote():
    x, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0, 1, 1])
    weight = jnp.array([6.0, 1.0, 1.0])
    model = neighbors_classifier.fit(x, y, n_neighbors=3, sample_weight=weight)
    shares = neighbors_classifier.predict_proba(model, x[:1])
    np.testing.assert_allclose(shares, [[0.75, 0.25]])
    model = neighbors_regressor.fit(
        x, jnp.float32(y), n_neighbors=3, sample_weight=weight
    )
    np.testing.assert_allclose(neighbors_regressor.predict(model, x[:1]), [0.25])


def test_folds_are_weights_under_vmap():
    x, y, _, _ = load("iris")
    x, y = jnp.float32(x), jnp.asarray(y)
    folds = (jnp.arange(len(x)) % 3)[None] != jnp.arange(3)[:, None]

    def run(weight):
        model = neighbors_classifier.fit(x, y, n_classes=3, sample_weight=weight)
        return neighbors_classifier.predict_proba(model, x)

    together = jax.vmap(run)(folds.astype(x.dtype))
    for fold, shares in zip(folds, together, strict=True):
        model = neighbors_classifier.fit(x[fold], y[fold], n_classes=3)
        np.testing.assert_allclose(
            shares, neighbors_classifier.predict_proba(model, x), atol=1e-6
        )


def test_nobody_present_is_not_a_number():
    x, y = jnp.ones((4, 1)), jnp.array([0, 1, 0, 1])
    model = neighbors_classifier.fit(x, y, n_neighbors=2, sample_weight=jnp.zeros(4))
    assert jnp.isnan(neighbors_classifier.predict_proba(model, x)).all()
    model = neighbors_regressor.fit(
        x, jnp.float32(y), n_neighbors=2, sample_weight=jnp.zeros(4)
    )
    assert jnp.isnan(neighbors_regressor.predict(model, x)).all()


def test_gradient_of_the_weighted_mean():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, y, queries = (jnp.asarray(rng.normal(size=s)) for s in ((30, 2), 30, (4, 2)))

        def run(x, y, queries):
            x, y, queries = map(jnp.asarray, (x, y, queries))
            model = neighbors_regressor.fit(x, y, n_neighbors=3, weights="distance")
            return neighbors_regressor.predict(model, queries)

        check_grads(run, (x, y, queries), order=1, modes=["rev"], rtol=1e-5)


# Errors


@pytest.mark.parametrize("k", [0, 5])
def test_rejects_an_impossible_number_of_neighbors(k):
    x = jnp.ones((4, 2))
    message = f"n_neighbors must be from 1 to 4; got {k}"
    with pytest.raises(ValueError, match=message):
        neighbors_classifier.fit(x, jnp.array([0, 1, 0, 1]), n_neighbors=k)
    with pytest.raises(ValueError, match=message):
        neighbors_regressor.fit(x, jnp.ones(4), n_neighbors=k)
    with pytest.raises(ValueError, match=message):
        neighbors.fit(x, n_neighbors=k)


def test_rejects_all_rows_as_neighbors_of_a_stored_row():
    model = neighbors.fit(jnp.ones((4, 2)), n_neighbors=4)
    with pytest.raises(ValueError, match="n_neighbors must be from 1 to 3; got 4"):
        neighbors.kneighbors(model)


def test_rejects_unknown_choices():
    x, y = jnp.ones((4, 2)), jnp.ones(4)
    with pytest.raises(ValueError, match=r"weights must be one of .*; got 'gauss'"):
        neighbors_regressor.fit(x, y, n_neighbors=1, weights="gauss")
    with pytest.raises(ValueError, match="metric must be one of"):
        neighbors_regressor.fit(x, y, n_neighbors=1, metric="taxi")
    with pytest.raises(ValueError, match=r"outlier_label must be .*; got 'rare'"):
        radius_classifier.fit(x, jnp.array([0, 1, 0, 1]), outlier_label="rare")
    with pytest.raises(ValueError, match="radius must be at least 0; got -1"):
        neighbors.fit(x, n_neighbors=1, radius=-1.0)


@pytest.mark.usefixtures("unchecked")
def test_rejects_other_columns():
    model = radius_regressor.fit(jnp.ones((6, 2)), jnp.ones(6))
    with pytest.raises(ValueError, match="2 columns of the fit"):
        radius_regressor.predict(model, jnp.ones((3, 4)))
    model = neighbors_regressor.fit(jnp.ones((6, 2)), jnp.ones(6))
    with pytest.raises(ValueError, match="2 columns of the fit"):
        neighbors_regressor.predict(model, jnp.ones((3, 4)))
