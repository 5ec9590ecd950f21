"""Certificates: what passes, what fails and why, what no family reads."""

import json

import numpy as np
import pytest

from jaxml import zoo
from jaxml.zoo import families, safetensors, vectors
from tests.zoo.at_hand import FOLDER

OPEN = FOLDER / "open"


@pytest.fixture
def copy(tmp_path, parity_folder):
    """Write a changed copy of a case; its path."""

    def write(change, name="nn_mlp"):
        tensors = dict(safetensors.read(OPEN / f"{name}.safetensors"))
        about = json.loads((OPEN / f"{name}.json").read_text())
        change(tensors, about)
        path = tmp_path / "case.safetensors"
        safetensors.write(path, tensors)
        path.with_suffix(".json").write_text(json.dumps(about))
        return path

    return write


def test_weights_that_are_not_stored_are_drawn_again(parity_folder):
    about = json.loads((OPEN / "nn_lenet5.json").read_text())
    case = vectors.read(OPEN / "nn_lenet5")
    for name, line in about["weights"]["recipe"].items():
        drawn = vectors.draw(about["seed"], name, *line)
        assert drawn.tobytes() == case.tensors[name].tobytes()
    with pytest.raises(ValueError, match="got 'cauchy'"):
        vectors.draw(0, "a", (2,), "cauchy")


def test_a_pass_tells_the_differences(parity_folder):
    (found,) = zoo.verify([OPEN / "nn_mlp.safetensors"])
    assert found.verdict == "pass"
    (difference,) = found.differences
    assert difference.output == "out"
    assert 0 <= difference.absolute <= difference.bound
    assert difference.relative < 1e-5


def test_what_is_wrong_fails(copy):
    def weight(tensors, about):
        name = "params/7.bias"
        tensors[name] = tensors[name] + np.float32(1e-3)

    def lost(tensors, about):
        del tensors["params/7.bias"], about["weights"]["recipe"]["7.bias"]

    def layer(tensors, about):
        about["builder"] = about["builder"].replace("GELU", "SiLU")

    def shape(tensors, about):
        tensors["outputs/out"] = tensors["outputs/out"][:, :-1].copy()

    def output(tensors, about):
        tensors["outputs/more"] = tensors["outputs/out"]

    def nan(tensors, about):
        tensors["params/7.bias"] = np.full(10, np.nan, np.float32)

    notes = {lost: "missing", output: "no output more"}
    for change in (weight, lost, layer, shape, output, nan):
        (found,) = zoo.verify([copy(change)])
        assert found.verdict == "fail", change.__name__
        assert notes.get(change, "") in found.note


def test_what_cannot_be_read_fails_and_the_next_is_read(copy, tmp_path):
    path = copy(lambda tensors, about: None)
    path.write_bytes(path.read_bytes()[:-1])
    found = zoo.verify([path, tmp_path / "absent", OPEN / "nn_mlp.safetensors"])
    assert [line.verdict for line in found] == ["fail", "fail", "pass"]
    assert "FormatError" in found[0].note
    assert "FileNotFoundError" in found[1].note


def test_no_such_family_names_the_nearest(copy):
    def other(tensors, about):
        about["class"] = "Sequentiell"

    (found,) = zoo.verify([copy(other)])
    assert found.verdict == "no such family"
    assert found.note.endswith("nearest is torch/sequential (Sequential)")


def test_every_family_is_what_its_line_says():
    for name, (module, classes) in families.FAMILIES.items():
        family = families.load(name)
        assert (family.name, set(family.classes)) == (name, set(classes)), module
        assert family.rows, module
