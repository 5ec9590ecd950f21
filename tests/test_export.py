"""An export computes what the function did, for any rows, without its Python file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jaxml import export
from jaxml import signature as signatures

CLASSES = ("cat", "dog", "owl")


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool = False):
        x = nn.Conv(4, (3, 3))(x)
        x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.relu(x).mean((1, 2))
        return nn.Dense(3)(x)


def forward(variables, images):
    """Preprocessing inside: it takes raw pixels."""
    return Net().apply(variables, images.astype(jnp.float32) / 255)


@pytest.fixture(scope="module")
def variables():
    return Net().init(jax.random.key(0), jnp.zeros((1, 6, 6, 1)))


def images(rows, dtype=np.uint8):
    rng = np.random.default_rng(rows)
    return rng.integers(0, 256, (rows, 6, 6, 1)).astype(dtype)


@pytest.fixture(scope="module")
def folder(variables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "export"
    export.save(folder, forward, variables, images(2), classes=CLASSES, note="raw")
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "export")


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_equals_apply_for_any_rows(folder, variables, rows):
    answer = export.load(folder)(images(rows))
    assert isinstance(answer, np.ndarray)
    # the same program on the same device, but fused differently: a few ulp
    expected = jax.jit(forward)(variables, images(rows))
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-6)


def test_signature_says_what_goes_in_and_out(folder):
    signature = json.loads((folder / "signature.json").read_text())
    assert signature["input"] == [
        {"name": "", "shape": [None, 6, 6, 1], "dtype": "uint8"}
    ]
    assert signature["output"] == [{"name": "", "shape": [None, 3], "dtype": "float32"}]
    assert signature["classes"] == list(CLASSES)
    assert signature["note"] == "raw"
    assert signature["platforms"] == ["cpu", "cuda", "tpu"]
    assert signature["jax"] == jax.__version__
    assert signatures.read(folder).classes == CLASSES


def test_weights_are_plain_safetensors(folder, variables):
    weights = safetensors.numpy.load_file(folder / "weights.safetensors")
    kernel = weights["params/Dense_0/kernel"]
    np.testing.assert_array_equal(kernel, variables["params"]["Dense_0"]["kernel"])
    assert "batch_stats/BatchNorm_0/mean" in weights


def test_a_fresh_process_needs_neither_flax_nor_the_file(folder, variables, tmp_path):
    np.save(tmp_path / "x.npy", images(5))
    code = (
        "import sys, numpy as np; from jaxml import export\n"
        "f = export.load(sys.argv[1]); x = np.load(sys.argv[2] + '/x.npy')\n"
        "np.save(sys.argv[2] + '/y.npy', f(x)); print('flax' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, folder, tmp_path],
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "False\n"
    expected = jax.jit(forward)(variables, images(5))
    np.testing.assert_allclose(
        np.load(tmp_path / "y.npy"), expected, rtol=1e-5, atol=1e-6
    )


def test_trees_of_inputs_outputs_and_weights(tmp_path):
    class Line(NamedTuple):
        slope: jax.Array
        start: jax.Array

    def two(line, x):
        wide = x["wide"] * line.slope
        return {"sum": wide + x["deep"].sum(1) + line.start, "wide": wide}

    line = Line(jnp.asarray(2, jnp.bfloat16), jnp.ones(()))
    example = {"wide": np.zeros(1, np.float32), "deep": np.zeros((1, 2), np.float32)}
    export.save(tmp_path / "export", two, line, example)
    f = export.load(tmp_path / "export")
    x = {"wide": np.arange(3.0), "deep": np.ones((3, 2))}  # float64 is narrowed
    np.testing.assert_array_equal(f(x)["sum"], [3, 5, 7])
    assert f.weights["slope"].dtype == jnp.bfloat16
    with pytest.raises(ValueError, match=r"input must be deep float32 \[rows, 2\] and"):
        f({"wide": np.zeros(3)})
    with pytest.raises(ValueError, match="inputs must agree in rows"):
        f({"wide": np.zeros(3), "deep": np.zeros((2, 2))})


def test_float64_is_narrowed_as_jax_does(tmp_path):
    signature = export.save(
        tmp_path / "e", lambda w, x: w * x, np.float64(2), np.zeros((1, 2))
    )
    assert signature.input[0].dtype == "float32"
    weights = safetensors.numpy.load_file(tmp_path / "e" / "weights.safetensors")
    assert weights[""].dtype == np.float32


def test_weights_in_another_memory_order(tmp_path):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3).T
    example = np.zeros((1, 3), np.float32)
    export.save(tmp_path / "e", lambda w, x: x @ w, weight, example)
    np.testing.assert_array_equal(export.load(tmp_path / "e")(np.eye(3)), weight)


def test_sharded_weights_are_gathered(tmp_path):
    mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    kernel = jax.device_put(jnp.arange(8.0), jax.sharding.NamedSharding(mesh, spec))
    save = lambda k: export.save(
        tmp_path / "export", lambda w, x: x @ w, k, np.zeros((1, 8), np.float32)
    )
    save(kernel)
    np.testing.assert_array_equal(export.load(tmp_path / "export")(np.eye(8)), range(8))


def test_a_platform_that_cannot_be_lowered_is_left_out_with_a_note(tmp_path):
    def sort(weights, x):
        def on_tpu(x):
            return jax.lax.linalg.eig(x)[0].real  # there is no eig on TPUs

        return jax.vmap(on_tpu)(x)

    x = np.eye(2, dtype=np.float32)[None]
    signature = export.save(tmp_path / "export", sort, {}, x)
    assert signature.platforms == ("cpu",)
    assert signature.note.startswith("not for cpu, cuda, tpu together: ")
    np.testing.assert_array_equal(export.load(tmp_path / "export")(x), [[1, 1]])


def test_replaces_an_export_and_leaves_nothing_beside(copy, variables):
    doubled = jax.tree.map(lambda leaf: 2 * leaf, variables)
    before = export.load(copy)(images(1))
    export.save(copy, forward, doubled, images(2))
    assert not np.array_equal(export.load(copy)(images(1)), before)
    assert [path.name for path in copy.parent.iterdir()] == ["export"]


# Refusals.


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (images(2)[0], r"must be uint8 \[rows, 6, 6, 1\]; got uint8 \[6, 6, 1\]"),
        (images(2)[:, :5], r"must be uint8 .* got uint8 \[2, 5, 6, 1\]"),
        (images(0), r"got uint8 \[0, 6, 6, 1\]"),
        (images(2, np.float32), r"must be uint8 .* got float32"),
        (images(2, np.int64) - 256, "values out of 0 to 255"),
        ({"image": images(2)}, r"got image uint8 \[2, 6, 6, 1\]"),
    ],
)
def test_rejects_other_input(folder, x, message):
    with pytest.raises(ValueError, match=message):
        export.load(folder)(x)


def test_takes_integers_of_another_width_if_they_fit(folder):
    f = export.load(folder)
    np.testing.assert_array_equal(f(images(2, np.int64)), f(images(2)))


def test_rejects_integers_for_floats(tmp_path):
    x = np.zeros((1, 2), np.float32)
    export.save(tmp_path / "export", lambda w, x: x, {}, x)
    with pytest.raises(ValueError, match=r"must be float32 .* got int32"):
        export.load(tmp_path / "export")(x.astype(np.int32))


@pytest.mark.parametrize(
    ("f", "options", "message"),
    [
        (lambda w, x: x.reshape(4, -1), {}, "forward must take any number of rows"),
        (lambda w, x: x.reshape(len(x), 1, 2), {}, "x.shape.0. and not len"),
        (lambda w, x: x.mean(), {}, "each output must have the rows on axis 0"),
        (lambda w, x: x, {"classes": ("a",)}, "got 1 names for float32 .rows, 2."),
    ],
)
def test_rejects_functions_that_cannot_be_used(tmp_path, f, options, message):
    with pytest.raises(ValueError, match=message):
        export.save(tmp_path / "e", f, {}, np.zeros((1, 2), np.float32), **options)
    assert not list(tmp_path.iterdir())


def test_rejects_what_is_no_weight_and_no_example(tmp_path):
    x = np.zeros((1, 2), np.float32)
    with pytest.raises(ValueError, match="seed is a random key"):
        export.save(tmp_path / "e", lambda w, x: x, {"seed": jax.random.key(0)}, x)
    with pytest.raises(ValueError, match="paths must differ"):
        export.save(tmp_path / "e", lambda w, x: x, {"a/b": x, "a": {"b": x}}, x)
    with pytest.raises(ValueError, match="rows on axis 0; got a scalar"):
        export.save(tmp_path / "e", lambda w, x: x, {}, np.float32(3))


def test_does_not_overwrite_what_is_no_export(tmp_path, variables):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="must be new, or an export"):
        export.save(tmp_path, forward, variables, images(2))
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_a_full_disk_leaves_the_old_export(copy, variables, monkeypatch):
    before = export.load(copy)(images(1))

    def full(*args, **options):
        raise safetensors.SafetensorError("No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(OSError, match=r"cannot write .*export: No space left"):
        export.save(copy, forward, variables, images(2))
    np.testing.assert_array_equal(export.load(copy)(images(1)), before)
    assert [path.name for path in copy.parent.iterdir()] == ["export"]


def test_a_failing_last_move_leaves_the_old_export(copy, variables, monkeypatch):
    before = export.load(copy)(images(1))
    rename = Path.rename

    def fail(path, target):
        if target == copy and path.suffix != ".old":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match=r"cannot write .*export: Permission denied"):
        export.save(copy, forward, variables, images(2))
    np.testing.assert_array_equal(export.load(copy)(images(1)), before)
    assert [path.name for path in copy.parent.iterdir()] == ["export"]


@pytest.mark.parametrize("name", ["forward.stablehlo", "weights.safetensors"])
def test_names_the_damaged_or_missing_file(copy, name):
    path = copy / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        export.load(copy)
    path.unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        export.load(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"input": [{}]}'])
def test_a_damaged_signature_is_named(copy, text):
    (copy / "signature.json").write_text(text)
    with pytest.raises(ValueError, match=r"signature\.json is damaged"):
        export.load(copy)


def test_refuses_other_formats_and_platforms(copy):
    path = copy / "signature.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"platforms": ["tpu"]}))
    with pytest.raises(ValueError, match="is for tpu; JAX is on cpu"):
        export.load(copy)
    path.write_text(json.dumps(values | {"format": 99}))
    with pytest.raises(ValueError, match="has format 99; this jaxml reads 1"):
        export.load(copy)


def test_rejects_a_folder_without_export(tmp_path):
    with pytest.raises(ValueError, match=r"is no export: it has no signature\.json"):
        export.load(tmp_path / "none")


def test_float64_needs_x64(tmp_path):
    with jax.enable_x64():
        example = np.zeros((1, 2), np.float64)
        export.save(tmp_path / "export", lambda w, x: 2 * x, {}, example)
        assert export.load(tmp_path / "export")(example + 1).dtype == np.float64
    with pytest.raises(ValueError, match="takes float64: start with JAX_ENABLE_X64=1"):
        export.load(tmp_path / "export")
