"""A trained function as a folder that needs neither its Python file nor Flax.

    save("runs/digits/export", forward, variables, images, classes=("cat", "dog"))
    predict = load("runs/digits/export")
    logits = predict(images)                    # NumPy in and out, any number of rows

    forward.stablehlo     the program, by jax.export, with the batch size left open
    weights.safetensors   the arrays of `variables`, named params/Dense_0/kernel
    signature.json        what goes in and comes out, versions, digests of the files

`forward(variables, x)` is exported over raw input, so put what turns pixels into
numbers inside it: if the example is uint8, the folder takes uint8 and nothing else.

References:
    StableHLO and shape polymorphism, https://docs.jax.dev/en/latest/export/
    https://huggingface.co/docs/safetensors
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np
import safetensors
import safetensors.numpy
from jax.experimental import multihost_utils
from jaxtyping import PyTree

from jaxml import __version__
from jaxml.signature import FILE as SIGNATURE
from jaxml.signature import Signature, fit, named, read, say, specs

__all__ = ["Forward", "load", "save"]

PLATFORMS = ("cpu", "cuda", "tpu")
PROGRAM, WEIGHTS = "forward.stablehlo", "weights.safetensors"


@dataclass(frozen=True)
class Forward:
    """A loaded function: call it with NumPy arrays of any number of rows."""

    signature: Signature
    weights: dict[str, jax.Array]
    _call: Callable[..., Any]  # jitted: (weights, inputs by name) -> output

    def __call__(self, x: PyTree[np.ndarray | jax.Array]) -> PyTree[np.ndarray]:
        """Apply it to rows.

        Each new number of rows compiles once: cut long data into equal parts.

        Raises:
            ValueError: if the arrays are not those of `signature.input`. A float may
                come in another precision, an integer in another width if it fits; but
                an integer is never taken for a float, since the scale would be a guess.
        """
        wanted, given = self.signature.input, named(x)
        if set(given) != {spec.name for spec in wanted}:
            raise ValueError(f"the input must be {say(wanted)}; got {say(specs(x))}")
        inputs = {spec.name: fit(given[spec.name], spec) for spec in wanted}
        if len({len(leaf) for leaf in inputs.values()}) > 1:
            raise ValueError(f"inputs must agree in rows; got {say(specs(x))}")
        return jax.tree.map(np.asarray, self._call(self.weights, inputs))


def save(
    folder: str | Path,
    forward: Callable[[Any, Any], Any],
    variables: PyTree,
    example: PyTree,
    *,
    classes: Sequence[str] = (),
    probabilities: bool = False,
    note: str = "",
) -> Signature:
    """Write `forward(variables, x)` with its weights as a folder, atomically.

    In several processes all must call it; process 0 writes.

    Args:
        folder: where; an export that is already there is replaced at the end.
        forward: pure; row i of its output must depend on row i of x alone.
        variables: its weights, any tree of arrays.
        example: an input, an array or a tree of arrays, with the rows on the first
            axis. Only its shapes and dtypes are looked at.
        classes: for a classifier, the names of the last axis of its output.
        probabilities: whether a classifier's output is normalised; False: logits.
        note: for people, e.g. what the preprocessing inside is.

    Returns:
        The signature that was written.

        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "export"
        >>> signature = save(folder, lambda w, x: w * x, 3.0, np.ones((1, 2), "f4"))
        >>> load(folder)(np.ones((2, 2), "f4"))
        array([[3., 3.],
               [3., 3.]], dtype=float32)

    Raises:
        ValueError: if `forward` needs a fixed batch size, if an output has no rows, if
            `classes` do not fit, or if `folder` holds something else.
        OSError: if it cannot be written; what was there stays.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not (folder / SIGNATURE).is_file():
        raise ValueError(f"{folder} must be new, or an export; it is something else")
    weights = _weights(variables)
    exported, why_fewer = _lower(forward, variables, example)
    (_, inputs), _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    output = specs(jax.tree.unflatten(exported.out_tree, exported.out_avals))
    if classes and (len(output) != 1 or output[0].shape[-1] != len(classes)):
        raise ValueError(
            f"classes must name the last axis of one output; got {len(classes)} names "
            f"for {say(output)}"
        )
    signature = Signature(
        input=specs(inputs),
        output=output,
        classes=tuple(classes),
        probabilities=probabilities,
        note="; ".join(filter(None, [note, why_fewer])),
        platforms=tuple(exported.platforms),
        jax=jax.__version__,
        jaxml=__version__,
        sha256={},
    )
    if jax.process_index() == 0:
        signature = _write(folder, bytes(exported.serialize()), weights, signature)
    return signature


def load(folder: str | Path) -> Forward:
    """Read what `save` wrote.

    Raises:
        ValueError: if the folder is no export, a file is missing or damaged, or the
            export was made for another platform or precision.
    """
    folder = Path(folder)
    signature = read(folder)
    for name, digest in signature.sha256.items():
        if not (folder / name).is_file():
            raise ValueError(f"{folder} is not whole: {name} is missing")
        with open(folder / name, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise ValueError(f"{folder / name} is damaged: its digest is not right")
    here = jax.default_backend()
    names = {"gpu": ("cuda", "rocm")}.get(here, (here,))
    if not set(names) & set(signature.platforms):
        raise ValueError(
            f"{folder} is for {', '.join(signature.platforms)}; JAX is on {here}"
        )
    try:
        weights = safetensors.numpy.load_file(folder / WEIGHTS)
        exported = jax.export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
    except Exception as error:  # the digests are right: it is the format that is not
        raise ValueError(
            f"{folder} was written by jax {signature.jax} and cannot be read by jax "
            f"{jax.__version__}: {error}"
        ) from error
    wide = {str(aval.dtype) for aval in exported.in_avals} & {"float64", "int64"}
    if wide and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise ValueError(f"{folder} takes {min(wide)}: start with JAX_ENABLE_X64=1")
    return Forward(signature, jax.device_put(weights), jax.jit(exported.call))


def _lower(forward, variables, example) -> tuple[jax.export.Exported, str]:
    """The program for all platforms; or for the one at hand, and a note why."""
    weight_names, tree = list(named(variables)), jax.tree.structure(variables)
    input_names, input_tree = list(named(example)), jax.tree.structure(example)

    @jax.jit
    def call(weights, inputs):  # by name, so that a loaded one needs no tree
        leaves = [weights[name] for name in weight_names]
        x = jax.tree.unflatten(input_tree, [inputs[name] for name in input_names])
        return forward(jax.tree.unflatten(tree, leaves), x)

    weights = {n: _struct(leaf) for n, leaf in named(variables).items()}
    (rows,) = jax.export.symbolic_shape("rows")
    x = {n: _struct(leaf, rows) for n, leaf in named(example).items()}
    note = ""
    try:
        exported = jax.export.export(call, platforms=PLATFORMS)(weights, x)
    except Exception as error:  # whatever a platform's lowering raises
        note = f"not for {', '.join(PLATFORMS)} together: {error}".splitlines()[0]
        exported = _lower_here(call, weights, x)
    if exported.nr_devices != 1:
        raise ValueError("forward must not constrain its shardings to be exported")
    for aval in exported.out_avals:
        if not aval.shape or str(aval.shape[0]) != "rows":
            raise ValueError(f"each output must have the rows on axis 0; got {aval}")
    return exported, note


def _lower_here(call, weights, x) -> jax.export.Exported:
    """The program for the platform at hand."""
    try:
        return jax.export.export(call)(weights, x)
    except (jax.errors.InconclusiveDimensionOperation, TypeError) as error:
        if isinstance(error, TypeError) and "_DimExpr" not in str(error):
            raise
        raise ValueError(
            "forward must take any number of rows, x.shape[0] and not len(x) nor a "
            f"number: {error}"
        ) from error


def _write(folder: Path, program: bytes, weights, signature: Signature) -> Signature:
    """Write beside `folder`, then take its place."""
    half = folder.with_name(f".{folder.name}.{os.getpid()}")
    old = half.with_suffix(".old")
    try:
        half.mkdir(parents=True)
        (half / PROGRAM).write_bytes(program)
        safetensors.numpy.save_file(weights, half / WEIGHTS)
        digests = {}
        for name in (PROGRAM, WEIGHTS):
            with open(half / name, "rb+") as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())  # or a power cut may leave names on no bytes
        signature = replace(signature, sha256=digests)
        (half / SIGNATURE).write_text(json.dumps(asdict(signature), indent=2) + "\n")
        if folder.exists():
            folder.rename(old)
        half.rename(folder)
    except (OSError, safetensors.SafetensorError) as error:
        if old.exists():
            old.rename(folder)
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            getattr(error, "errno", None), f"cannot write {folder}: {reason}"
        ) from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return signature


def _weights(variables: PyTree) -> dict[str, np.ndarray]:
    """The leaves on the host, by path."""
    weights = {}
    for name, leaf in named(variables).items():
        if jax.dtypes.issubdtype(jax.typeof(leaf).dtype, jax.dtypes.prng_key):
            raise ValueError(f"variables must be numbers; {name} is a random key")
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        # In order, since safetensors writes raw memory.
        weights[name] = np.array(leaf, jax.typeof(leaf).dtype, order="C")
    return weights


def _struct(leaf, rows=None) -> jax.ShapeDtypeStruct:
    kind = jax.typeof(leaf)
    if rows is not None and not kind.shape:
        raise ValueError(f"example must have its rows on axis 0; got a scalar {leaf}")
    shape = kind.shape if rows is None else (rows, *kind.shape[1:])
    return jax.ShapeDtypeStruct(shape, kind.dtype)
