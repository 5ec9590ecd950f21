"""Stacks of any estimators, ours and scikit-learn's together.

    from jaxml.sklearn import LogisticRegression, SVC, StackingClassifier
    parts = [("line", LogisticRegression()), ("svc", SVC())]
    model = StackingClassifier(parts, LogisticRegression(), cv=5).fit(X, y)

The classes are scikit-learn's own: every member is fitted to all rows and to those of
each fold, by the program that it is. All fits as one program, with folds as weights:
`stacking_classifier` and `stacking_regressor` of `jaxml.models.classical`.
"""

from sklearn import ensemble

__all__ = ["StackingClassifier", "StackingRegressor"]


class StackingClassifier(ensemble.StackingClassifier):
    """Stack of estimators with a final classifier.

    The parameters and attributes are those of `sklearn.ensemble.StackingClassifier`,
    and so is the final estimator, if none is given.
    """


class StackingRegressor(ensemble.StackingRegressor):
    """Stack of estimators with a final regressor.

    The parameters and attributes are those of `sklearn.ensemble.StackingRegressor`,
    and so is the final estimator, if none is given.
    """
