"""Make the classes of `jaxml.sklearn` from the rows of the table.

    Ridge = make("Ridge", Row("linear_model.Ridge", "ridge", silent="tol solver"))

The signature, the defaults and the allowed values of the parameters are those of
scikit-learn's class; the methods are those that the functional module has.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from sklearn import base
from sklearn.utils import metaestimators

from jaxml.sklearn import arguments, methods
from jaxml.sklearn.adapter import RESULTS, Adapter
from jaxml.sklearn.row import Row

__all__ = ["make"]

MIXINS = (  # in the order of scikit-learn's own classes
    base.ClassNamePrefixFeaturesOutMixin,
    base.OneToOneFeatureMixin,
    base.MultiOutputMixin,
    base.ClassifierMixin,
    base.RegressorMixin,
    base.TransformerMixin,
)
LEARNING = ("fit", "partial_fit", "stats", "solve")


def make(name: str, row: Row) -> type:
    """The class of `jaxml.sklearn` that a row of the table describes."""
    package, _, peer_name = row.peer.rpartition(".")
    peer = getattr(importlib.import_module(f"sklearn.{package}"), peer_name)
    module = importlib.import_module(f"jaxml.models.classical.{row.module}")
    signature = inspect.signature(peer.__init__)
    parameters = dict(list(signature.parameters.items())[1:])  # less self
    plans = {
        f: arguments.plan(getattr(module, f), parameters)
        for f in (*LEARNING, *RESULTS)
        if hasattr(module, f)
    }
    classifies = issubclass(peer, base.ClassifierMixin)
    namespace: dict[str, Any] = {
        "__init__": methods.constructor(signature),
        "__module__": "jaxml.sklearn",
        "__doc__": _documentation(peer, row),
        "_parameter_constraints": peer._parameter_constraints,
        "_row": row,
        "_module": module,
        "_plans": plans,
        "_unsupported": arguments.unsupported(parameters, plans, row),
        "_classifies": classifies,
        "_targets": _targets(peer, row),
        "fit": methods.fit(peer),
    }
    for function in RESULTS:
        if function in plans:
            namespace[function] = methods.result(function, classifies)
    if "predict_proba" in namespace:
        namespace.setdefault("predict_log_proba", methods.predict_log_proba)
    if hasattr(peer, "partial_fit"):
        namespace |= methods.learning(classifies, "partial_fit" in plans)
    namespace |= row.methods
    for function, condition in row.available.items():
        method = namespace[function]
        namespace[function] = metaestimators.available_if(condition)(method)
    mixins = [m for m in MIXINS if issubclass(peer, m)]
    if not row.tags.get("target_tags.multi_output", True):
        mixins.remove(base.MultiOutputMixin)
    made = type(name, (*mixins, Adapter), namespace)
    if row.tags:
        made.__sklearn_tags__ = _tags(made, row)  # type: ignore[attr-defined]
    return made


def _tags(made: Any, row: Row) -> Callable:
    """What scikit-learn asks of an estimator; the row goes before the mixins."""

    def __sklearn_tags__(self):  # noqa: N807
        tags = super(made, self).__sklearn_tags__()
        for path, value in row.tags.items():
            group, _, name = path.rpartition(".")
            value = value(self) if callable(value) else value
            setattr(getattr(tags, group) if group else tags, name, value)
        return tags

    return __sklearn_tags__


def _targets(peer: type, row: Row) -> dict[str, bool] | None:
    """How `validate_data` shall check y; None where there is none."""
    if not issubclass(peer, base.ClassifierMixin | base.RegressorMixin):
        return None
    several = row.tags.get(
        "target_tags.multi_output", issubclass(peer, base.MultiOutputMixin)
    )
    numeric = issubclass(peer, base.RegressorMixin)
    return {"multi_output": several, "y_numeric": numeric}


def _documentation(peer: type, row: Row) -> str:
    """The head of scikit-learn's page, and what is ours."""
    head = (inspect.getdoc(peer) or "").split("\n\n")[0]
    ours = (
        f"Computed by `jaxml.models.classical.{row.module}`; the parameters and "
        f"attributes are those of `sklearn.{row.peer}`, and `model_` is the state of "
        f"the functional model."
    )
    return "\n\n".join(filter(None, (head, ours, row.notes)))
