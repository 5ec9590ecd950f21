"""`jaxml zoo`: what it prints, and its exit codes."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from jaxml.cli import main
from jaxml.zoo import checkpoint, safetensors
from tests.zoo.at_hand import FOLDER

OPEN = FOLDER / "open"
PASSES = str(OPEN / "nn_mlp.safetensors")


@pytest.fixture
def unknown(tmp_path):
    """A case of a class that nobody reads."""
    path = tmp_path / "unknown.safetensors"
    shutil.copy(PASSES, path)
    about = json.loads((OPEN / "nn_mlp.json").read_text())
    about["class"] = "Unheard"
    path.with_suffix(".json").write_text(json.dumps(about))
    return str(path)


@pytest.fixture
def fails(tmp_path):
    tensors = dict(safetensors.read(PASSES))
    tensors["outputs/out"] = tensors["outputs/out"] + np.float32(1)
    path = tmp_path / "fails.safetensors"
    safetensors.write(path, tensors)
    shutil.copy(OPEN / "nn_mlp.json", path.with_suffix(".json"))
    return str(path)


def test_verify_ends_with_what_came_of_it(parity_folder, unknown, fails, capsys):
    assert main.main(["zoo", "verify", PASSES]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{PASSES}: pass: out abs ")
    assert " rel " in line
    assert main.main(["zoo", "verify", PASSES, unknown]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "no such family: torch Unheard; nearest is " in lines[1]
    assert main.main(["zoo", "verify", unknown, fails, PASSES]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"{fails}: fail: out abs 1.00e+00 rel " in lines[1]
    assert " > " in lines[1]


def test_convert_writes_a_folder(parity_folder, tmp_path, capsys):
    source, target = tmp_path / "in.safetensors", tmp_path / "out"
    tensors = {
        "0.weight": np.ones((3, 2), np.float32),
        "0.bias": np.ones(3, np.float32),
    }
    safetensors.write(source, tensors)
    words = ["zoo", "convert", str(source), str(target)]
    config = ["--config", "nn.Sequential(nn.Linear(2, 3))"]
    assert main.main([*words, *config, "--dtype", "bfloat16"]) == 0
    assert "torch/sequential" in capsys.readouterr().out
    found = checkpoint.read(target).tensors
    assert {str(found[name].dtype) for name in tensors} == {"bfloat16"}
    assert main.main(words) == 1
    assert "give config=" in capsys.readouterr().err
    assert main.main([*words, *config, "--dtype", "float33"]) == 2
    assert "no dtype float33" in capsys.readouterr().err


def test_list_names_every_family(capsys):
    assert main.main(["zoo", "list"]) == 0
    assert "torch/sequential" in capsys.readouterr().out


def test_describe_counts_without_weights(capsys):
    assert main.main(["zoo", "describe", "lenet5"]) == 0
    text = capsys.readouterr().out
    assert "61,706" in text
    assert "params/layer_0/kernel" in text
    assert main.main(["zoo", "describe", "lenet6"]) == 2
    assert "no network lenet6; near: torch/sequential/lenet5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["lsit"], "no action lsit; did you mean list?"),
        (["verify"], "zoo verify takes FILE..."),
        (["convert", "a"], "zoo convert takes FROM and TO"),
        (["describe"], "zoo describe takes one NAME"),
        ([], "required"),
    ],
)
def test_rejects_what_it_does_not_know(words, match, capsys):
    assert main.main(["zoo", *words]) == 2
    assert match in capsys.readouterr().err


def test_the_zoo_is_imported_when_it_is_used():
    code = "import sys, jaxml.zoo; print('jax' in sys.modules, 'numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.split() == ["False", "False"]
