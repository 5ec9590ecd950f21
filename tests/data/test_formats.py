"""Readers of files: what they read, and what they say of a damaged file."""

import gzip
import io
import struct
import tarfile

import numpy as np
import pytest

from jaxml.data import formats


def idx(array, code=8):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.tobytes()


def tar(path, files):
    """A tar.gz of `files`: bytes by name."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"folder/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def cifar():
    """Three records a batch, as the publisher lays them out."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (18, 32, 32, 3), np.uint8)
    label = rng.integers(0, 10, 18, np.uint8)
    planes = image.transpose(0, 3, 1, 2).reshape(18, -1)  # red, green, blue
    record = np.concatenate((label[:, None], planes), 1)
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    files = {
        name: record[start : start + 3].tobytes()
        for name, start in zip(names, range(0, 18, 3), strict=True)
    }
    return image, label, dict(reversed(files.items()))  # in any order


# Parity: what was written is read.


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("code", "dtype"), [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (14, ">f8")]
)
def test_reads_idx(tmp_path, pack, code, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path / "array"
    path.write_bytes(pack(idx(array, code)))
    found = formats.read_idx(path)
    np.testing.assert_array_equal(found, array)
    assert found.dtype.isnative
    assert found.flags.writeable


def test_reads_fashion_mnist(data_folder):
    label = formats.read_idx(data_folder / "fashion_mnist/t10k-labels-idx1-ubyte.gz")
    np.testing.assert_array_equal(np.bincount(label), [1000] * 10)
    np.testing.assert_array_equal(label[:5], [9, 2, 1, 1, 6])


def test_reads_cifar10(tmp_path, cifar):
    image, label, files = cifar
    path = tar(tmp_path / "cifar-10-binary.tar.gz", {**files, "readme.html": b"hello"})
    found = formats.read_cifar10(path)
    expected = image[:15], label[:15], image[15:], label[15:]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_reads_cifar10_as_npz(data_folder):
    path = data_folder / "cifar10/cifar10_subset_decoded.npz"
    shapes = [array.shape for array in formats.read_cifar10(path)]
    assert shapes == [(4000, 32, 32, 3), (4000,), (1000, 32, 32, 3), (1000,)]


def test_derives_the_form_of_sklearn(data_folder, tmp_path):
    folder = data_folder / "california_housing"
    theirs = formats.read_california(folder / "california_sklearn_form.npz")
    raw = folder / "cal_housing.data"
    packed = tar(tmp_path / "cal_housing.tgz", {raw.name: raw.read_bytes()})
    for path in (raw, packed):
        x, y = formats.read_california(path)
        np.testing.assert_array_equal(x, theirs[0])
        np.testing.assert_array_equal(y, theirs[1])


def test_reads_csv(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('\ufeffa,b,word\n1,,x\n-2.5e3,4,"y, z"\n\n', encoding="utf-8")
    table = formats.read_csv(path, text=("word",))
    assert list(table) == ["a", "b", "word"]
    np.testing.assert_array_equal(table["a"], [1, -2500])
    np.testing.assert_array_equal(table["b"], [np.nan, 4])
    np.testing.assert_array_equal(table["word"], ["x", "y, z"])


# Errors: the file, what was expected, what came.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "got an empty file"),
        (b"\0\0\x07\x01\0\0\0\1\0", "a type from 08 to 0e .*; got 00 00 07 01"),
        (b"<html>404</html>", "an IDX file begins with 00 00"),
        (b"\0\0\x08\x03\0\0\0\1", "header of 3 dimensions takes 16 bytes; .* has 8"),
        (idx(np.zeros((4, 5), np.uint8))[:-3], "32 bytes; .* has 29: it is truncated"),
        (idx(np.zeros((4, 5), np.uint8)) + b"x", "32 bytes; .* has 33: it is too long"),
        (gzip.compress(idx(np.zeros(99, np.uint8)), mtime=0)[:-9], "damaged or trunc"),
        (b"\x1f\x8b" + b"x" * 40, "damaged or truncated"),
    ],
)
def test_rejects_a_damaged_idx(tmp_path, data, message):
    path = tmp_path / "train-images"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"train-images: .*{message}"):
        formats.read_idx(path)


def test_rejects_idx_with_a_flipped_bit(tmp_path):
    data = bytearray(gzip.compress(idx(np.arange(200, dtype=np.uint8))))
    data[60] ^= 4
    (tmp_path / "labels.gz").write_bytes(data)
    with pytest.raises(ValueError, match=r"labels\.gz: damaged or truncated"):
        formats.read_idx(tmp_path / "labels.gz")


def test_rejects_a_damaged_cifar10(tmp_path, cifar):
    files = cifar[2]
    path = tmp_path / "cifar.tar.gz"
    tar(path, {**files, "data_batch_2.bin": b"x" * 3074})
    with pytest.raises(ValueError, match=r"batch_2\.bin .* of 3073 bytes; got 3074"):
        formats.read_cifar10(path)
    tar(path, {name: data for name, data in files.items() if "test" not in name})
    with pytest.raises(ValueError, match=r"cifar.tar.gz: .*lacks test_batch.bin"):
        formats.read_cifar10(path)
    path.write_bytes(tar(path, files).read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"cifar\.tar\.gz: damaged or truncated"):
        formats.read_cifar10(path)
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"cifar\.tar\.gz: damaged or truncated"):
        formats.read_cifar10(path)


def test_never_unpickles(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was executed",))

    path = tmp_path / "trap.npz"
    np.savez(path, x=np.array([Trap()], object))
    with pytest.raises(ValueError, match=r"trap\.npz: Object arrays cannot be loaded"):
        formats.read_npz(path)


def test_rejects_a_wrong_npz(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match=r"must hold y; got \['x'\]"):
        formats.read_npz(path, ("x", "y"))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"data\.npz: damaged or truncated"):
        formats.read_npz(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ValueError, match="npz archive; got a single array"):
        formats.read_npz(tmp_path / "one.npy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lines of 9 numbers; got none"),
        ("1,2,3\n4,5,6\n", "9 numbers a line; got 3"),
        ("1,2,3,4,5,6,7,8,9\n1,2,3\n", "columns changed from 9 to 3"),
        ("1,2,3,4,5,6,7,8,nine\n", "nine"),
    ],
)
def test_rejects_a_damaged_california(tmp_path, text, message):
    path = tmp_path / "cal_housing.data"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"cal_housing\.data: .*{message}"):
        formats.read_california(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a line of names and rows; got none"),
        ("a,b\n", "a line of names and rows; got none"),
        ("a,a\n1,2\n", r"names must differ; \['a'\] repeat"),
        ("a,c\n1,2\n", r"no column \['word'\]; the file has \['a', 'c'\]"),
        ("a,word\n1,x\n2\n", "line 3 must have 2 cells; got 1"),
        ("a,word\n1,x\n1O,y\n", "line 3, column 'a' must be a number; got '1O'"),
    ],
)
def test_rejects_a_damaged_csv(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"table\.csv: .*{message}"):
        formats.read_csv(path, text=("word",))
