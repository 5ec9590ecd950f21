# ruff: noqa: N803  (X is how scikit-learn names it)
"""Votes of any estimators, ours and scikit-learn's together.

    from jaxml.sklearn import LogisticRegression, SVC, VotingClassifier
    model = VotingClassifier([("line", LogisticRegression()), ("svc", SVC())]).fit(X, y)

The classes are scikit-learn's own: every member is fitted once, by the program that it
is. All members as one function, to map or differentiate: `voting_classifier` and
`voting_regressor` of `jaxml.models.classical`.
"""

import numpy as np
from sklearn import ensemble
from sklearn.utils import validation

__all__ = ["VotingClassifier", "VotingRegressor"]


class VotingClassifier(ensemble.VotingClassifier):
    """Soft Voting/Majority Rule classifier for unfitted estimators.

    The parameters and attributes are those of `sklearn.ensemble.VotingClassifier`.
    """

    def predict(self, X):
        """The class with the most votes, of equal ones the first; or of "soft"."""
        validation.check_is_fitted(self)
        if self.voting == "soft":
            return super().predict(X)
        said = self.transform(X)  # [m, c]
        counts = np.ones(len(self.estimators))
        if self.weights is not None:
            counts = np.asarray(self.weights, float)
        counts = counts[[member != "drop" for _, member in self.estimators]]
        votes = np.zeros((len(said), len(self.classes_)))
        for column, count in zip(said.T, counts, strict=True):
            votes[np.arange(len(said)), column] += count
        return self.classes_[votes.argmax(1)]


class VotingRegressor(ensemble.VotingRegressor):
    """Prediction voting regressor for unfitted estimators.

    The parameters and attributes are those of `sklearn.ensemble.VotingRegressor`.
    """
