"""Checkpoints become networks: files, shards, devices, and all that is wrong."""

import json
import subprocess
import sys
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxml import sharding
from jaxml.zoo import checkpoint, loading, safetensors, vectors
from tests.zoo.at_hand import FOLDER

WIDE = "nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 1024))"


@pytest.fixture
def case(parity_folder):
    return vectors.read(FOLDER / "open" / "nn_mlp")


@pytest.fixture
def file(case, tmp_path):
    path = tmp_path / "mlp.safetensors"
    safetensors.write(path, case.tensors)
    return path


@pytest.fixture
def wide(tmp_path):
    """A state dict whose largest tensor has 2 MiB."""
    rng = np.random.default_rng(0)
    tensors = {
        "0.weight": rng.normal(size=(512, 64)).astype(np.float32),
        "0.bias": np.zeros(512, np.float32),
        "2.weight": rng.normal(size=(1024, 512)).astype(np.float32),
        "2.bias": np.zeros(1024, np.float32),
    }
    path = tmp_path / "wide.safetensors"
    safetensors.write(path, tensors)
    return path, tensors


def outputs(loaded, case):
    return loaded.family.outputs(loaded.model, loaded.variables, case.inputs)["out"]


def test_state_dict_by_the_call_that_builds_it(case, file):
    loaded = loading.load(file, config=case.about["builder"])
    assert loaded.problems == []
    np.testing.assert_allclose(
        outputs(loaded, case),
        case.outputs["out"],
        rtol=0,
        atol=case.about["outputs"]["out"]["atol"],
    )


def test_dtype_is_a_choice(case, file):
    loaded = loading.load(file, config=case.about["builder"], dtype=jnp.bfloat16)
    kinds = {leaf.dtype for leaf in jax.tree.leaves(loaded.variables)}
    assert kinds == {jnp.dtype("bfloat16")}
    # eight bits of mantissa through six layers
    np.testing.assert_allclose(
        np.float32(outputs(loaded, case)), case.outputs["out"], rtol=0, atol=0.05
    )


def test_every_device_gets_its_shard_and_the_host_no_more(wide, monkeypatch):
    path, tensors = wide
    mesh = sharding.mesh(data=-1)
    read, sizes = loading.Leaf.read, []

    def spy(self, index=(), dtype=None):
        piece = read(self, index, dtype)
        sizes.append(piece.nbytes)
        return piece

    monkeypatch.setattr(loading.Leaf, "read", spy)
    rules = [("kernel", P(None, "data"))]
    loaded = loading.load(path, config=WIDE, mesh=mesh, rules=rules)
    kernel = loaded.variables["params"]["layer_2"]["kernel"]
    assert kernel.sharding.spec == P(None, "data")
    assert {shard.data.shape for shard in kernel.addressable_shards} == {(512, 128)}
    np.testing.assert_array_equal(kernel, tensors["2.weight"].T)
    largest = tensors["2.weight"].nbytes
    assert max(sizes) == largest // 8
    assert sum(sizes) == sum(tensor.nbytes for tensor in tensors.values())


def test_host_memory_stays_below_the_largest_tensor_and_the_shards(wide):
    path, tensors = wide
    mesh = sharding.mesh(data=-1)
    load = lambda: loading.load(path, config=WIDE, mesh=mesh, rules=sharding.fsdp)
    load()  # what Python and JAX keep of a first call is not weights
    tracemalloc.start()
    try:
        loaded = load()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    shards = sum(leaf.nbytes for leaf in jax.tree.leaves(loaded.variables))
    largest = max(tensor.nbytes for tensor in tensors.values())
    assert peak < shards + largest


@pytest.mark.parametrize("rules", [sharding.fsdp, ()], ids=["fsdp", "whole"])
def test_sharded_weights_give_the_same_numbers(case, file, rules):
    mesh = sharding.mesh(data=-1)
    loaded = loading.load(file, config=case.about["builder"], mesh=mesh, rules=rules)
    np.testing.assert_allclose(
        outputs(loaded, case),
        case.outputs["out"],
        rtol=0,
        atol=case.about["outputs"]["out"]["atol"],
    )


def test_all_that_does_not_fit_is_told_at_once(case, tmp_path):
    tensors = dict(case.tensors)
    tensors["1.wieght"] = tensors.pop("1.weight")
    tensors["4.weight"] = tensors["4.weight"][:, :-1]
    del tensors["7.bias"]
    path = tmp_path / "broken.safetensors"
    safetensors.write(path, tensors)
    with pytest.raises(ValueError, match="do not fit") as raised:
        loading.load(path, config=case.about["builder"])
    text = str(raised.value)
    assert "missing from the file (2):\n  1.weight: near: 1.wieght\n  7.bias" in text
    assert "not of this network (1):\n  1.wieght: near: 1.weight" in text
    assert "4.weight: [16, 31] in the file, which makes [31, 16]; " in text
    assert "params/layer_4/kernel must be [32, 16]" in text

    loaded = loading.load(path, config=case.about["builder"], strict=False)
    found = {(problem.kind, problem.name) for problem in loaded.problems}
    assert found == {
        ("missing", "1.weight"),
        ("missing", "7.bias"),
        ("extra", "1.wieght"),
        ("shape", "4.weight"),
    }
    fresh = loaded.variables["params"]["layer_4"]["kernel"]
    assert fresh.shape == (32, 16)
    assert np.std(fresh) > 0
    assert jnp.isfinite(outputs(loaded, case)).all()


def test_shards_of_a_folder(parity_folder):
    folder = FOLDER / "open" / "x_formats"
    expected = np.load(folder / "expected.npz")
    single = safetensors.read(folder / "model.safetensors")
    several = checkpoint.sharded(folder / "model.safetensors.index.json")
    assert single.keys() == several.keys() == set(expected.files)
    for name in expected.files:
        assert single[name].tobytes() == several[name].tobytes()
        wide = single[name].astype(expected[name].dtype)
        np.testing.assert_array_equal(wide, expected[name])


@pytest.mark.parametrize("name", ["state_dict.pt", "malicious.pt"])
def test_pickle_is_refused_with_the_line_that_converts_it(
    name, parity_folder, tmp_path
):
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes((FOLDER / "open" / "x_formats" / name).read_bytes())
    with pytest.raises(ValueError, match="is a pickle") as raised:
        loading.load(tmp_path, config=WIDE)
    if name == "malicious.pt":
        return
    pytest.importorskip("torch")
    line = str(raised.value).splitlines()[-1]
    command = line.replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    made = safetensors.read(tmp_path / "pytorch_model.safetensors")
    source = FOLDER / "open" / "x_formats" / "model.safetensors"
    assert made.keys() == safetensors.read(source).keys()


def test_pickle_under_another_name_is_refused(parity_folder, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes((FOLDER / "open" / "x_formats" / "malicious.pt").read_bytes())
    with pytest.raises(ValueError, match="this is a pickle"):
        loading.load(path, config=WIDE)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"fc.bias": "model-00003-of-00003.safetensors"}, "is absent"),
        ({"fc.bias": "../model.safetensors"}, "must lie beside it"),
        ({"fc.bias": "model-00002-of-00002.safetensors"}, "foreign"),
        ({"none": "model-00002-of-00002.safetensors"}, "missing"),
    ],
)
def test_rejects_an_index_that_does_not_hold(change, match, parity_folder, tmp_path):
    source = FOLDER / "open" / "x_formats"
    for file in source.glob("model-*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    index = json.loads((source / "model.safetensors.index.json").read_text())
    index["weight_map"] |= change
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=match):
        loading.load(tmp_path, config=WIDE)


def test_rejects_what_no_family_reads(file):
    with pytest.raises(ValueError, match="no such family: torch Bilinear; nearest is"):
        loading.load(file, config="nn.Bilinear(2, 3, 4)")
    with pytest.raises(ValueError, match="no such family torch/sequentail; near: "):
        loading.load(file, config=WIDE, family="torch/sequentail")
    with pytest.raises(ValueError, match="the file says not of which network"):
        loading.load(file)
    with pytest.raises(ValueError, match="the depth of Sequential cannot be stacked"):
        loading.load(file, config=WIDE, scan=True)
    with pytest.raises(ValueError, match="rules lay weights on a mesh"):
        loading.load(file, config=WIDE, rules=[("kernel", P())])
    with pytest.raises(FileNotFoundError, match="there is no"):
        loading.load("absent/model.safetensors", config=WIDE)
