"""Lasso, elastic net and quantile regression, for the contract test."""

from jaxml.models.classical import elastic_net, lasso, quantile
from tests.models.classical.case import Case

CASES = {
    "lasso": Case(lasso, "regression", traced={"alpha": (0.1, 0.01, 0.3)}),
    "elastic_net": Case(
        elastic_net,
        "regression",
        traced={"alpha": (0.1, 0.01, 0.3), "l1_ratio": (0.5, 0.1, 0.9)},
    ),
    "quantile": Case(
        quantile,
        "regression",
        traced={"alpha": (0.02, 0.1, 0.3), "quantile": (0.5, 0.21, 0.83)},
        # A vertex of the program among near-equal ones.
        rtol=2e-3,
    ),
}
