"""Models of one feature, or of none."""

from types import SimpleNamespace

from jaxml.models.classical import isotonic
from tests.models.classical.case import Case

# Isotonic regression has one feature: the second of the rows of the contract.
_ISOTONIC = SimpleNamespace(
    fit=lambda x, y, **options: isotonic.fit(x[:, 1], y, **options),
    predict=lambda model, x: isotonic.predict(model, x[:, 1], out_of_bounds="clip"),
)

CASES = {
    "isotonic": Case(
        _ISOTONIC,
        "regression",
        traced={"y_min": (-0.5, 0.0, 0.2), "y_max": (0.5, 0.3, 9.0)},
        gathers="the rows are sorted",
    ),
    "isotonic_auto": Case(
        _ISOTONIC,
        "regression",
        static={"increasing": "auto"},
        gathers="the rows are sorted",
    ),
}
