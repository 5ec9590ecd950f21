"""Least squares and ridge."""

from jaxml.models.classical import least_squares, ridge
from tests.models.classical.case import Case

CASES = {
    "least_squares": Case(least_squares, "regression"),
    "least_squares_origin": Case(
        least_squares, "regression", static={"fit_intercept": False}
    ),
    "ridge": Case(ridge, "regression", traced={"alpha": (1.0, 0.1, 30.0)}),
}
