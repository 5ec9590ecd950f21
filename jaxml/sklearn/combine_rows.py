"""The classes that are made of estimators: where they are, and whose they follow."""

__all__ = ["MADE_OF_ESTIMATORS"]

MADE_OF_ESTIMATORS = {  # class -> module of jaxml.sklearn
    "BaggingClassifier": "bagging",
    "BaggingRegressor": "bagging",
    "StackingClassifier": "stacking",
    "StackingRegressor": "stacking",
    "VotingClassifier": "voting",
    "VotingRegressor": "voting",
}
