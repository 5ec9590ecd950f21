"""What the contract test needs to know about a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Case:
    """One model, with the arguments that make it a small well-posed problem."""

    module: ModuleType
    task: str  # "regression", "classes" (2), "classes3", "counts" (targets > 0), "none"
    static: Mapping[str, Any] = field(default_factory=dict)  # sizes, choices, tol
    traced: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    # each traced hyperparameter, with three values to vmap over
    key: bool = False  # fit takes key=
    weight: bool = True  # fit takes sample_weight=
    repeats: str = ""  # why integer weights are not repeated rows (random order ...)
    gathers: str = ""  # why rows of x must meet on one device ("" if they must not)
    rtol: float = 1e-3  # of predictions between equal problems, float32
    outputs: tuple[str, ...] = ("predict",)  # functions of (model, x) to compare
    missing: bool = False  # NaN in x is a missing value, no fault
    positive: bool = False  # x must be at least 0 (multinomial, counts)
    predict: Mapping[str, Any] = field(default_factory=dict)  # keywords of the outputs
    n: int = 48  # rows, a multiple of 8
    d: int = 3

    def data(self, dtype=np.float32, n: int | None = None, seed: int = 0):
        """Rows and targets of the task."""
        n = n or self.n
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, self.d))
        signal = x @ np.linspace(1.0, -0.5, self.d) + 0.3 * rng.normal(size=n)
        if self.positive:
            x = np.floor(np.abs(3 * x))
        if self.task == "classes":
            y = (signal > 0.1).astype(np.int32)
        elif self.task == "classes3":
            y = np.digitize(signal, [-0.5, 0.5]).astype(np.int32)
        elif self.task == "counts":
            y = np.exp(0.5 * signal).astype(dtype)
        else:
            y = signal.astype(dtype)
        return jnp.asarray(x.astype(dtype)), jnp.asarray(y)

    def fit(self, x, y, sample_weight=None, **numbers):
        """Fit with the static arguments, and `numbers` over the first traced values."""
        options = (
            dict(self.static) | {k: v[0] for k, v in self.traced.items()} | numbers
        )
        if self.task == "classes3":
            options["n_classes"] = 3
        if self.key:
            options.setdefault("key", jax.random.key(3))
        if sample_weight is not None:
            options["sample_weight"] = sample_weight
        data = (x,) if self.task == "none" else (x, y)
        return self.module.fit(*data, **options)

    def results(self, model, x) -> dict[str, Any]:
        """What the outputs say of `x`."""
        functions: dict[str, Callable] = {
            o: getattr(self.module, o) for o in self.outputs
        }
        return {k: f(model, x, **self.predict) for k, f in functions.items()}
