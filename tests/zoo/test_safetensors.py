"""Our reader and writer against the package, and every way a file can be wrong."""

import json

import jaxtyping
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy as oracle

from jaxml.zoo import safetensors


def draw(dtype, shape, rng):
    if np.dtype(dtype).kind in "iub":
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    kinds = ("bool", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "f8", "i8", "u8")
    return {
        **{f"a.{kind}": draw(kind, (3, 2), rng) for kind in kinds},
        "b.half": draw(ml_dtypes.bfloat16, (2, 5), rng),
        "b.fp8": draw(ml_dtypes.float8_e4m3fn, (3,), rng),
        "b.fp8b": draw(ml_dtypes.float8_e5m2, (3,), rng),
        "scalar": np.array(3, np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "naïve \U0001f60a": np.arange(3, dtype=np.float32),
    }


def test_writes_byte_for_byte_what_the_package_writes(tensors, tmp_path):
    known = {k: v for k, v in tensors.items() if not k.startswith("b.fp8")}
    metadata = {"format": "pt"}
    safetensors.write(tmp_path / "ours", known, metadata=metadata)
    oracle.save_file(known, tmp_path / "theirs", metadata)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"ours", "theirs"}


def test_reads_what_the_package_writes_and_the_other_way(tensors, tmp_path):
    oracle.save_file(tensors, tmp_path / "theirs")
    read = safetensors.read(tmp_path / "theirs")
    # the package writes float8 from NumPy, but does not read it
    known = {k: v for k, v in tensors.items() if not k.startswith("b.fp8")}
    safetensors.write(tmp_path / "ours", known)
    back = oracle.load_file(tmp_path / "ours")
    assert (read.keys(), back.keys()) == (tensors.keys(), known.keys())
    for name, got in [*read.items(), *back.items()]:
        array = tensors[name]
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        assert got.tobytes() == array.tobytes()
    assert not read["a.f4"].flags.writeable


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.write(path, {"a": np.zeros(2, np.float32)})
    before = path.read_bytes()

    class Broken:
        shape, dtype = (2,), np.dtype("float32")

        def read(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        safetensors.write(path, {"a": np.ones(2, np.float32), "b": Broken()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def made(table, data=b"", length=None):
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    length = len(text) if length is None else length
    return length.to_bytes(8, "little") + text + data


def entry(begin=0, end=8, dtype="F32", shape=(2,), **more):
    return {
        "dtype": dtype,
        "shape": list(shape),
        "data_offsets": [begin, end],
        **more,
    }


EIGHT = bytes(8)
TWICE = b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8",'
TWICE += b'"shape":[0],"data_offsets":[0,0]}}'
WRONG = {
    "empty": (b"", "at least 8 bytes"),
    "short": (b"\1\0\0", "at least 8 bytes"),
    "cut": (made({"a": entry()}, EIGHT)[:-20], "it claims"),
    "huge header": (made({}, length=2**63), "it claims"),
    "long header": (made({}, length=200_000_000), "it claims"),
    "no JSON": (made(b"{abc"), "is no JSON"),
    "no UTF-8": (made(b'{"\xff": 1}'), "is no JSON"),
    "deep": (made(b"[" * 100_000), "is no JSON"),
    "no object": (made(b"[]"), "must be a JSON object"),
    "space first": (made(b" {}"), "must be a JSON object"),
    "NaN": (made(b'{"a": NaN}'), "NaN is no JSON"),
    "name twice": (made(TWICE), "comes twice"),
    "metadata": (made({"__metadata__": {"a": 1}}), "must hold texts"),
    "no entry": (made({"a": []}), "must have dtype, shape"),
    "more keys": (made({"a": entry(more=1)}, EIGHT), "must have dtype, shape"),
    "dtype": (made({"a": entry(dtype="F33")}, EIGHT), "got 'F33'"),
    "dtype list": (made({"a": entry(dtype=[1])}, EIGHT), "must be one of"),
    "negative": (made({"a": entry(shape=(-2,))}, EIGHT), "must have a shape"),
    "real": (made({"a": entry(shape=(2.0,))}, EIGHT), "must have a shape"),
    "true": (made({"a": entry(shape=(True,))}, EIGHT), "must have a shape"),
    "many": (made({"a": entry(shape=(1,) * 33)}, EIGHT), "at most 32"),
    "large": (made({"a": entry(0, 0, shape=(0, 2**62, 2**62))}), "is too large"),
    "back": (made({"a": entry(8, 0)}, EIGHT), "data_offsets"),
    "three": (
        made({"a": {**entry(), "data_offsets": [0, 4, 8]}}, EIGHT),
        "[begin, end]",
    ),
    "size": (made({"a": entry(shape=(3,))}, EIGHT), "has 12 bytes; its"),
    "outside": (made({"a": entry(0, 16, shape=(4,))}, EIGHT), "outside the"),
    "hole": (made({"a": entry(8, 16)}, EIGHT * 2), "has a hole"),
    "overlap": (
        made({"a": entry(), "b": entry(4, 12)}, EIGHT + EIGHT[:4]),
        "overlaps the one",
    ),
    "tail": (made({"a": entry()}, EIGHT + b"x"), "the file at"),
}


@pytest.mark.parametrize("name", WRONG)
def test_rejects_what_is_not_sound(name, tmp_path):
    content, match = WRONG[name]
    path = tmp_path / "wrong.safetensors"
    path.write_bytes(content)
    with pytest.raises(safetensors.FormatError, match=match.replace("[", r"\[")):
        safetensors.read(path)


def test_the_sound_one_they_are_made_from_is_read(tmp_path):
    path = tmp_path / "right.safetensors"
    path.write_bytes(made({"a": entry(), "b": entry(8, 16)}, EIGHT * 2))
    assert set(safetensors.read(path)) == {"a", "b"}


@pytest.fixture
def unchecked():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
def test_rejects_what_the_format_lacks(tmp_path):
    with pytest.raises(ValueError, match="got a: complex128"):
        safetensors.write(tmp_path / "a", {"a": np.zeros(2, np.complex128)})
    with pytest.raises(ValueError, match="metadata must be texts"):
        safetensors.write(tmp_path / "a", {}, metadata={"a": 1})
    with pytest.raises(safetensors.FormatError, match="regular file"):
        safetensors.read("/dev/null")
