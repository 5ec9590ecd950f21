"""Records: the same batches as from memory, and no half-written or damaged file."""

import sys

import grain
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.data import records
from jaxml.data.loader import Loader


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (23, 5, 4, 1), dtype=np.uint8),
        "label": np.arange(23, dtype=np.int32),
        "x": np.asarray(jnp.asarray(rng.normal(size=(23, 2)), jnp.bfloat16)),
    }


@pytest.fixture
def paths(arrays, tmp_path):
    """Two files, of 10 and 13 rows."""
    paths = [tmp_path / "a.array_record", tmp_path / "b.array_record"]
    for path, rows in zip(paths, (slice(10), slice(10, 23)), strict=True):
        records.write(path, {name: array[rows] for name, array in arrays.items()})
    return paths


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
        assert one[name].dtype == other[name].dtype


# Parity: arrays in memory.


def test_batches_are_those_of_arrays_in_memory(arrays, paths):
    memory = Loader(arrays, 8, seed=3)
    stream = Loader(records.files(paths), 8, seed=3).stream(memory.state_at(2))
    assert memory.steps_per_epoch == 3
    for step in range(2, 6):
        state = stream.state
        assert state == memory.state_at(step)
        same(next(stream), memory.batch(state.epoch, state.index))
    stream.close()


def test_grain_reads_what_is_written(arrays, paths):
    source = grain.sources.ArrayRecordDataSource(str(paths[1]))
    read = grain.MapDataset.source(source).map(records.decode)
    assert len(read) == 13
    same(read[4], {name: array[14] for name, array in arrays.items()})
    same(
        Loader(records.dataset(read), 13, shuffle=False).batch(0, 0),
        Loader(records.files(paths[1]), 13, shuffle=False).batch(0, 0),
    )


# Properties.


@pytest.mark.parametrize(
    "array",
    [
        np.float64(3.5),
        np.zeros((0, 3), np.int8),
        np.array([True, False]),
        np.arange(6, dtype=">i2").reshape(2, 3).T,
        np.array([1 + 2j], np.complex64),
    ],
)
def test_decode_inverts_encode(array):
    (back,) = records.decode(records.encode({"größe": array})).values()
    np.testing.assert_array_equal(back, array)
    assert back.shape == array.shape


def test_hosts_read_their_own_rows_only(arrays):
    read = []

    class Source:
        def __len__(self):
            return 23

        def __getitem__(self, row):
            read.append(row)
            return {"label": arrays["label"][row]}

    loader = Loader(records.dataset(Source()), 8, process_index=1, process_count=2)
    loader.batch(0, 0)
    assert read == list(loader.indices(0, 0)[4:])


# Errors.


def test_failed_write_leaves_what_was_there(arrays, paths, monkeypatch):
    before = paths[0].read_bytes()
    full = iter([b"a", b"b"])
    monkeypatch.setattr(records, "encode", lambda example: next(full))
    with pytest.raises(StopIteration):
        records.write(paths[0], arrays)
    assert paths[0].read_bytes() == before
    assert sorted(paths[0].parent.iterdir()) == paths


def test_rejects_a_folder_that_is_not_there(arrays, tmp_path):
    with pytest.raises(OSError, match=r"cannot write .*nowhere.*No such file"):
        records.write(tmp_path / "nowhere" / "a", arrays)


def test_rejects_missing_and_damaged_files(paths):
    with pytest.raises(FileNotFoundError, match=r"no file of records .*/c"):
        records.files([*paths, paths[0].parent / "c"])
    with pytest.raises(ValueError, match="at least one file"):
        records.files([])
    paths[0].write_bytes(paths[0].read_bytes()[: 2**16])
    with pytest.raises(ValueError, match="damaged or no array-record file"):
        records.files(paths)


@pytest.mark.parametrize(
    "record", [b"", b"abc", b"\2\0\0\0{]", b"\2\0\0\0[]", b"hello"]
)
def test_rejects_foreign_records(record):
    with pytest.raises(ValueError, match="must be as `encode` writes it"):
        records.decode(record)


def test_rejects_records_of_another_length():
    whole = records.encode({"x": np.arange(3)})
    for wrong in (whole[:-1], whole + b"0"):
        with pytest.raises(ValueError, match="must be as `encode` writes it"):
            records.decode(wrong)


def test_rejects_rows_that_do_not_stack():
    ragged = [{"x": np.zeros(n)} for n in (1, 2)]
    with pytest.raises(ValueError, match=r"x must have one shape .* \[\(1,\), \(2,\)"):
        records.dataset(ragged).take(np.array([0, 1]))
    with pytest.raises(ValueError, match="row 0 is filtered"):
        records.dataset([None]).take(np.array([0]))


def test_says_which_extra_is_missing(monkeypatch, arrays, tmp_path):
    monkeypatch.setitem(sys.modules, "grain", None)
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxml-learn\[records\]'"):
        records.files("a")
    with pytest.raises(ImportError, match=r"pip install 'jaxml-learn\[records\]'"):
        records.write(tmp_path / "a", arrays)
