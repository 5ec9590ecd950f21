"""Estimators with scikit-learn's interface, computed by `jaxml.models.classical`.

    from jaxml.sklearn import Ridge
    model = Ridge(alpha=2.0).fit(X, y)
    model.predict(X_new)

Names, signatures, defaults and fitted attributes are scikit-learn's, so that its
pipelines, searches and cross-validation take these classes. float32 data are computed
in float32; all others in float64, as scikit-learn does. What is not computed is refused
by `fit`; nothing is ignored that would change the result. The state of the functional
model is `model_`, for any function of its module:

    ridge.predict(model.model_, x)
"""

import importlib
from typing import Any

from jaxml.sklearn.combine_rows import MADE_OF_ESTIMATORS
from jaxml.sklearn.table import TABLE

__all__ = sorted({*TABLE, *MADE_OF_ESTIMATORS})


def __getattr__(name: str) -> Any:
    """Make a class when it is first asked for: what is not used is not imported."""
    if name in MADE_OF_ESTIMATORS:
        home = importlib.import_module(f"jaxml.sklearn.{MADE_OF_ESTIMATORS[name]}")
        return globals().setdefault(name, getattr(home, name))
    if name not in TABLE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    make = importlib.import_module("jaxml.sklearn.make").make
    return globals().setdefault(name, make(name, TABLE[name]))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
