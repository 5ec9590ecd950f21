"""Each network gives what the reference gave, and its weights go back as they came."""

import jax
import numpy as np
import pytest

from jaxml.zoo import families, table, vectors
from tests.zoo.at_hand import FOLDER, cases

LARGE = 2_000_000  # parameters; above, the way back is shown by the manifests


def differences(case, given):
    """Name, largest error, bound of each output; generated sequences are apart."""
    sequences = {line["name"] for line in case.about.get("generate") or ()}
    where = (case.about.get("compare_only_where") or {}).get("input")
    for name, expected in case.outputs.items():
        if name in sequences:
            continue
        assert name in given, f"no output {name}; there are {list(given)}"
        got = np.asarray(given[name])
        assert got.shape == expected.shape, name
        error = np.abs(got.astype(np.float64) - expected.astype(np.float64))
        if where and error.ndim >= 3 and error.shape[:2] == case.inputs[where].shape:
            error = error[case.inputs[where].astype(bool)]
        bound = case.about["outputs"][name].get("atol", 0.0)
        yield name, float(error.max(initial=0.0)), bound


@pytest.mark.parametrize("name", cases())
def test_reference(name, parity_folder):
    case = vectors.read(FOLDER / "open" / name)
    family = families.serving(case.library, case.network)
    model = family.build(case.config, case.network)
    rows = family.rows(model)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *family.inputs(model))
    variables, extras, problems = table.convert(rows, case.tensors, shapes)
    assert not problems, table.report(problems)
    if case.about["weights"]["n_params"] < LARGE:
        again = table.revert(rows, variables, extras)
        assert again.keys() == case.tensors.keys()
        for key, array in case.tensors.items():
            assert again[key].dtype == array.dtype, key
            assert again[key].tobytes() == array.tobytes(), key
    given = family.outputs(model, variables, case.inputs)
    found = list(differences(case, given))
    assert found, "the case has no outputs"
    wrong = [row for row in found if not row[1] <= row[2]]
    assert not wrong, "\n".join(
        f"{name}: error {error:.3g}, bound {bound:.3g}" for name, error, bound in wrong
    )


def test_there_are_cases_at_hand(parity_folder):
    assert cases()
