"""Run cases made by reference implementations against our networks: a certificate each.

    for certificate in verify(["open/bert_mlm.safetensors"]):
        print(certificate.verdict, certificate.differences)

A difference is within its bound or it is not; the bound is that of the case.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.zoo import families, loading, table, vectors
from jaxml.zoo.family import Family
from jaxml.zoo.problem import report
from jaxml.zoo.vectors import Case

__all__ = ["Certificate", "Difference", "certify", "generated", "verify"]

# The reference goes on after the end token of the config, unless a case names one.
TOKENS = ("pad_token_id", "decoder_start_token_id")
PASS, FAIL, UNKNOWN = "pass", "fail", "no such family"


class Difference(NamedTuple):
    """How far an output is from the reference's."""

    output: str
    absolute: float  # the largest
    relative: float  # the largest absolute one over the largest value of the reference
    bound: float  # on the absolute one

    @property
    def is_within(self) -> bool:
        return self.absolute <= self.bound


class Certificate(NamedTuple):
    """What came of one file."""

    file: str
    verdict: str  # "pass", "fail" or "no such family"
    differences: list[Difference]
    note: str = ""  # why it failed, or the nearest family


def verify(files: Sequence[str | os.PathLike]) -> list[Certificate]:
    """Build the network of each file, run it and compare its outputs.

    Args:
        files: cases, `<case>.safetensors` beside `<case>.json`.

    Returns:
        One certificate each; a file that cannot be read is one that fails.
    """
    return [_of_file(file) for file in files]


def _of_file(file: str | os.PathLike) -> Certificate:
    name = str(file)
    try:
        about = _about(Path(file))
        if "class" not in about:
            kind = about.get("kind", "no case of a network")
            return Certificate(name, UNKNOWN, [], f"no such family: {kind}")
        library, network = str(about.get("library")), str(about["class"])
        family = families.serving(library, network)
        if family is None:
            return Certificate(name, UNKNOWN, [], families.unknown(library, network))
        found = certify(vectors.read(file), family)
    except Exception as error:  # the next file may be sound
        return Certificate(name, FAIL, [], f"{type(error).__name__}: {error}")
    return found._replace(file=name)


def _about(path: Path) -> dict[str, Any]:
    about = json.loads(path.with_suffix(".json").read_text())
    if not isinstance(about, dict):
        raise ValueError(f"{path.with_suffix('.json')} must hold a JSON object")
    return about


def certify(case: Case, family: Family) -> Certificate:
    """Compare one case with the network of a family."""
    model = family.build(case.config, case.network)
    shapes = loading.shapes_of(family, model)
    found = table.convert(family.rows(model), case.tensors, shapes)
    if found.problems:
        return Certificate(case.name, FAIL, [], report(found.problems, case.name))
    variables = jax.tree.map(jnp.asarray, found.variables)
    given = dict(family.outputs(model, variables, case.inputs))
    given |= generated(case, model, variables)
    differences, absent = [], []
    for name, expected in case.outputs.items():
        if name in given:
            differences.append(_difference(case, name, np.asarray(given[name])))
        else:
            absent.append(name)
    note = f"no output {', '.join(absent)}" if absent else ""
    right = differences and not absent and all(d.is_within for d in differences)
    return Certificate(case.name, PASS if right else FAIL, differences, note)


def _difference(case: Case, name: str, got: np.ndarray) -> Difference:
    expected = case.outputs[name]
    bound = case.about["outputs"].get(name, {}).get("atol", 0.0)
    if got.shape != expected.shape:
        return Difference(name, float("inf"), float("inf"), bound)
    error = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    where = (case.about.get("compare_only_where") or {}).get("input")
    if where and error.ndim >= 3 and error.shape[:2] == case.inputs[where].shape:
        error = error[case.inputs[where].astype(bool)]
    largest = float(error.max(initial=0.0))  # nan if one is nan
    size = float(np.abs(expected.astype(np.float64)).max(initial=0.0))
    return Difference(name, largest, largest / size if size else largest, bound)


def generated(case: Case, model: Any, variables: Any) -> dict[str, np.ndarray]:
    """The sequences of tokens that the case asks for, with what they start from."""
    made = {}
    for line in case.about.get("generate") or ():
        from jaxml.models.language import generate

        ids, *masks = (jnp.asarray(case.inputs[name]) for name in line["inputs"])
        mask = masks[0].astype(bool) if masks else None
        known = {name: case.config.get(name) for name in TOKENS}
        settings: dict[str, Any] = {k: v for k, v in known.items() if v is not None}
        # lengths as they are: rounded up, they could exceed a table of positions
        settings = {**settings, **line["kwargs"], "bucket": 1}
        out = generate.generate(model, variables, ids, mask, **settings)
        start = np.asarray(ids)
        if case.config.get("is_encoder_decoder"):
            first = settings.get("decoder_start_token_id", 0)
            start = np.full((len(start), 1), first, start.dtype)
        length = int(np.max(out.lengths))
        made[line["name"]] = np.concatenate([start, out.tokens[:, :length]], 1)
    return made
