"""One line of the table: what makes a functional model an estimator of scikit-learn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Data", "Row"]


class Data(NamedTuple):
    """What `fit` was given, checked: numpy arrays of one precision."""

    x: np.ndarray  # [n, d]
    y: np.ndarray | None  # [n] or [n, t] targets, or int32 labels 0..k-1
    weight: np.ndarray | None  # [n]
    classes: np.ndarray | None  # [k] what the labels stand for


@dataclass(frozen=True)
class Row:
    """How one class of scikit-learn is computed by one module of `models.classical`.

    A parameter of scikit-learn's class goes to the keyword of the same name of the
    module's `fit` and `predict`. One that has no such keyword and is not named here is
    refused unless it has its default value: nothing is dropped in silence.
    """

    peer: str  # the class of scikit-learn: "linear_model.Ridge"
    module: str  # in jaxml.models.classical
    silent: str = ""  # parameters that cannot change the result: how, not what
    only: Mapping[str, tuple] = field(default_factory=dict)
    # further values of a parameter that mean the same as its default
    handled: str = ""  # parameters that `arguments` reads
    arguments: Callable[[Any, Data], dict[str, Any]] | None = None
    # (estimator, data) -> keywords of `fit` that need more than a name
    check: Callable[[Any, Data], None] | None = None  # ValueError: what this data lacks
    rows: str = ""  # fields of the state with one entry for each row of x
    names: Mapping[str, str] = field(default_factory=dict)
    # field of the state -> attribute, "" for none; others get an underscore
    attributes: Callable[[Any, Any, Data], dict[str, Any]] | None = None
    # (estimator, state in numpy, data) -> attributes that need more than a name
    random: Callable[[Any], bool] | None = None
    # whether an estimator with these parameters draws numbers; None: always
    finish: Callable[[Any, Any], Any] | None = None
    # (estimator, model) -> the model that is kept to predict with
    refresh: Callable[[Any, Any], Any] | None = None
    # (estimator, model) -> model with what the parameters say now, before it predicts
    pad: bool | Callable[[Any], bool] = True
    # whether rows of weight zero may be appended, to share compiled programs
    one_class: bool = False  # one class only is a model, not an error
    tags: Mapping[str, Any] = field(default_factory=dict)
    # "target_tags.multi_output" -> value, or a function of the estimator
    methods: Mapping[str, Callable] = field(default_factory=dict)  # added or replaced
    available: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    # method -> whether an estimator with these parameters has it
    notes: str = ""  # what its user must know beyond scikit-learn's page
