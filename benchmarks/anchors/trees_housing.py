"""Rows 8 to 11: trees, forests and boosting on housing, beside scikit-learn's.

    python benchmarks/anchors/trees_housing.py [--only tree forest ...]

The pipelines and splits of the book (third edition, chapters 2 and 7) are
scikit-learn's; the estimator in them is once ours and once theirs.

tree     8: a free tree on 24 prepared columns: RMSE over 10 folds (ceiling 66,868)
forest   9: 100 free trees (ceiling 47,020)
tuned    10: the forest that the book's search found, 45 clusters and 9 features at a
         split, on the 4,128 districts of the test: RMSE (ceiling 41,424)
boost    11: boosting with a category and missing values, on the raw columns of 80 % of
         the districts: RMSE over 10 folds (ceiling 47,613)
"""

import csv

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import root_mean_squared_error
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from tables import KINDS, NUMBERS
from trees_table import FOLDER, SPLITS, show


class ClusterSimilarity(TransformerMixin, BaseEstimator):
    """Nearness to the centres of clusters of districts."""

    def __init__(self, n_clusters=10):
        self.n_clusters = n_clusters

    def fit(self, X, y=None, sample_weight=None):  # noqa: N803
        """Find the centres."""
        machine = KMeans(self.n_clusters, n_init=10, random_state=42)
        self.clusters_ = machine.fit(X, sample_weight=sample_weight)
        return self

    def transform(self, X):  # noqa: N803
        """RBF similarity, gamma 1."""
        return rbf_kernel(X, self.clusters_.cluster_centers_, gamma=1.0)


def housing(*names):
    """Rows [n, 9], the first column the kind of place, and prices, of each split."""
    with open(FOLDER / "housing" / "housing.csv") as file:
        rows = list(csv.DictReader(file))
    number = lambda text: float(text) if text else np.nan
    x = np.array(
        [
            [KINDS.index(row["ocean_proximity"]), *(number(row[n]) for n in NUMBERS)]
            for row in rows
        ]
    )
    price = np.array([float(row["median_house_value"]) for row in rows])
    return [(x[SPLITS[name]], price[SPLITS[name]]) for name in names]


def prepared(n_clusters=10):
    """The columns of the book: 14 and one for each cluster."""
    fill = SimpleImputer(strategy="median")
    scale = lambda *steps: make_pipeline(fill, *steps, StandardScaler())
    ratio = FunctionTransformer(lambda x: x[:, [0]] / x[:, [1]])
    at = lambda *names: [1 + NUMBERS.index(name) for name in names]
    one_hot = OneHotEncoder(categories=[range(5)], sparse_output=False)
    counts = "total_bedrooms total_rooms population households median_income".split()
    return ColumnTransformer(
        [
            ("bedrooms", scale(ratio), at("total_bedrooms", "total_rooms")),
            ("rooms", scale(ratio), at("total_rooms", "households")),
            ("people", scale(ratio), at("population", "households")),
            ("log", scale(FunctionTransformer(np.log)), at(*counts)),
            ("geo", ClusterSimilarity(n_clusters), at("latitude", "longitude")),
            ("place", one_hot, [0]),
            ("age", scale(), at("housing_median_age")),
        ]
    )


def over_folds(model, rows):
    """Mean and spread of the RMSE over 10 folds."""
    scores = -cross_val_score(
        model, *rows, scoring="neg_root_mean_squared_error", cv=10
    )
    return {"RMSE": scores.mean(), "deviation": scores.std(ddof=1)}


def tree(make, seed):
    """Row 8."""
    model = make("DecisionTreeRegressor")(random_state=seed)
    (train,) = housing("housing_strat_train")
    return over_folds(make_pipeline(prepared(), model), train)


def forest(make, seed):
    """Row 9."""
    model = make("RandomForestRegressor")(random_state=seed)
    (train,) = housing("housing_strat_train")
    return over_folds(make_pipeline(prepared(), model), train)


def tuned(make, seed):
    """Row 10."""
    model = make("RandomForestRegressor")(max_features=9, random_state=seed)
    train, (x, price) = housing("housing_strat_train", "housing_strat_test")
    fitted = make_pipeline(prepared(45), model).fit(*train)
    return {"RMSE": root_mean_squared_error(price, fitted.predict(x))}


def boost(make, seed):
    """Row 11."""
    model = make("HistGradientBoostingRegressor")(
        categorical_features=[0], random_state=seed
    )
    (rows,) = housing("cal_split20_rs42_a")
    return over_folds(model, rows)


TASKS = {f.__name__: f for f in (tree, forest, tuned, boost)}

if __name__ == "__main__":
    show(TASKS, __doc__)
