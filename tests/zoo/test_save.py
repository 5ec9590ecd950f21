"""What was loaded is written back: folders, shards, and nothing of an earlier save."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import sharding, zoo
from jaxml.zoo import checkpoint, families, safetensors, vectors
from tests.zoo.at_hand import FOLDER, index

# One Hugging Face case of each family will do.
FIRST = {
    line["family"]: line["name"]
    for line in reversed(index())
    if line["library"] == "transformers" and line["stored"]
}


@pytest.fixture
def case(parity_folder):
    return vectors.read(FOLDER / "open" / "nn_mlp")


@pytest.fixture
def loaded(case, tmp_path):
    safetensors.write(tmp_path / "mlp.safetensors", case.tensors)
    return zoo.load(tmp_path / "mlp.safetensors", config=case.about["builder"])


def assert_same(folder, tensors):
    found = checkpoint.read(folder).tensors
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("largest", [10**9, 3000])
def test_tensors_go_back_byte_for_byte(case, loaded, largest, tmp_path):
    from jaxml.zoo import saving

    folder = tmp_path / "out"
    saving.save(folder, loaded, largest=10)  # shards of an earlier, larger one
    saving.save(folder, loaded, largest=largest)
    assert_same(folder, case.tensors)
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(files) == (1 if largest == 10**9 else 4)
    again = zoo.load(folder)
    jax.tree.map(np.testing.assert_array_equal, again.variables, loaded.variables)


@pytest.mark.parametrize("name", FIRST.values())
def test_hugging_face_folder_goes_there_and_back(name, tmp_path, parity_folder):
    case = vectors.read(FOLDER / "open" / name)
    source, target = tmp_path / "in", tmp_path / "out"
    checkpoint.write(source, case.tensors, config=case.config)
    mesh = sharding.mesh(data=-1)
    loaded = zoo.load(source, mesh=mesh, rules=sharding.fsdp)
    assert loaded.family is families.serving(case.library, case.network)
    zoo.save(target, loaded)
    assert_same(target, case.tensors)
    assert json.loads((target / "config.json").read_text()) == case.config


def test_changed_variables_and_dtypes_are_written(loaded, tmp_path):
    half = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16) * 2, loaded.variables)
    zoo.save(tmp_path / "out", loaded._replace(variables=half))
    tensors = checkpoint.read(tmp_path / "out").tensors
    kernel = np.float32(half["params"]["layer_1"]["kernel"])
    np.testing.assert_array_equal(np.float32(tensors["1.weight"]).T, kernel)
    assert tensors["1.weight"].dtype == jnp.bfloat16
    assert tensors["2.num_batches_tracked"].dtype == np.int64
