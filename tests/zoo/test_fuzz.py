"""Damaged files and tables: refused or read whole, never a crash, never a part.

The counts of examples below are 2,000 together.
"""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxml.zoo import safetensors, table
from jaxml.zoo.table import Alias, Ignored, Row, Tied


def examples(count):
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A small file and its bytes."""
    path = tmp_path_factory.mktemp("fuzz") / "sound.safetensors"
    tensors = {
        "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.arange(3, dtype=np.int64),
        "c": np.zeros((0, 2), np.float16),
    }
    safetensors.write(path, tensors, metadata={"format": "pt"})
    return path, path.read_bytes()


def read_or_refuse(path, content):
    """Read all of it, or get the one error that says why not."""
    path.write_bytes(content)
    try:
        tensors = safetensors.read(path)
    except safetensors.FormatError:
        return None
    size = sum(tensors[name].nbytes for name in tensors)
    length = int.from_bytes(content[:8], "little")
    assert 8 + length + size == len(content)
    for array in tensors.values():
        array.tobytes()
    return tensors


@examples(500)
@given(st.data())
def test_bytes_changed_cut_or_inserted(sound, data):
    path, content = sound
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged)))
        match data.draw(st.integers(0, 3)):
            case 0:
                damaged[place : place + 1] = data.draw(
                    st.binary(min_size=1, max_size=1)
                )
            case 1:
                del damaged[place:]
            case 2:
                damaged[place:place] = data.draw(st.binary(max_size=9))
            case 3:
                damaged[place : place + 8] = data.draw(
                    st.sampled_from([b"\xff" * 8, b"\0" * 8, b"99999999", b"-1,0.5e9"])
                )
    read_or_refuse(path.with_name("damaged"), bytes(damaged))


sizes = st.one_of(
    st.integers(0, 4), st.integers(-2, 2**70), st.floats(), st.booleans(), st.none()
)
entries = st.fixed_dictionaries(
    {
        "dtype": st.one_of(st.sampled_from(["U8", "F32", "BF16", "BOOL"]), st.text()),
        "shape": st.one_of(st.lists(st.integers(0, 3), max_size=3), st.lists(sizes)),
        "data_offsets": st.one_of(
            st.lists(st.integers(0, 24), min_size=2, max_size=2).map(sorted),
            st.lists(sizes, max_size=3),
        ),
    }
)
headers = st.dictionaries(
    st.one_of(st.sampled_from(["a", "b", "__metadata__"]), st.text()),
    st.one_of(entries, st.dictionaries(st.text(), st.text()), st.integers()),
    max_size=3,
)


@examples(500)
@given(headers, st.integers(0, 24))
def test_headers_of_any_kind(tmp_path_factory, table, size):
    text = json.dumps(table).encode()
    content = len(text).to_bytes(8, "little") + text + bytes(size)
    read_or_refuse(tmp_path_factory.getbasetemp() / "headers", content)


arrays = st.dictionaries(
    st.text(min_size=1).filter(lambda name: name != "__metadata__"),
    st.tuples(
        st.sampled_from(sorted(safetensors.DTYPES)),
        st.lists(st.integers(0, 3), max_size=3),
        st.integers(0, 255),
    ),
    max_size=4,
)


@examples(300)
@given(arrays)
def test_what_is_written_is_read(tmp_path_factory, drawn):
    tensors = {}
    for name, (kind, shape, byte) in drawn.items():
        dtype = safetensors.DTYPES[kind]
        data = bytes([byte % 2 if kind == "BOOL" else byte]) * dtype.itemsize
        tensors[name] = np.full(shape, np.frombuffer(data, dtype)[0])
    path = tmp_path_factory.getbasetemp() / "written"
    safetensors.write(path, tensors)
    back = read_or_refuse(path, path.read_bytes())
    assert back.keys() == tensors.keys()
    for name, array in tensors.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


ROWS = [
    Alias(r"^old\.", ""),
    Row("params/embedding", "embed.weight"),
    Row("params/layers_{i}/kernel", "layers.{i}.weight", table.linear),
    Row(
        ("params/layers_{i}/q", "params/layers_{i}/k"), "layers.{i}.qk", table.split(2)
    ),
    Row("params/layers_{i}/up", "layers.{i}.experts.{e}", table.linear),
    Tied("head.weight", "embed.weight"),
    Ignored("layers.{i}.mask"),
]


def network(depth, experts, width, scan):
    """Shapes of the leaves, and a file that fits them."""
    rng = np.random.default_rng(depth + 7 * experts)
    block = {"kernel": (width, 3), "q": (2,), "k": (2,), "up": (experts, 2, width)}
    ghost = lambda shape: np.broadcast_to(np.zeros((), np.float32), shape)
    if scan:
        layers = {"layers": {k: ghost((depth, *s)) for k, s in block.items()}}
    else:
        layers = {
            f"layers_{i}": {k: ghost(s) for k, s in block.items()} for i in range(depth)
        }
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    tensors = {"embed.weight": draw(5, width)}
    for i in range(depth):
        tensors[f"layers.{i}.weight"] = draw(3, width)
        tensors[f"layers.{i}.qk"] = draw(4)
        tensors |= {f"layers.{i}.experts.{e}": draw(width, 2) for e in range(experts)}
    return {"params": {"embedding": ghost((5, width)), **layers}}, tensors


@examples(700)
@given(st.data())
def test_tables_convert_whole_or_say_what_does_not_fit(data):
    depth, experts, width = (data.draw(st.integers(1, 3)) for _ in range(3))
    shapes, tensors = network(depth, experts, width, data.draw(st.booleans()))
    if data.draw(st.booleans()):
        tensors["head.weight"] = tensors["embed.weight"]
    if data.draw(st.booleans()):
        tensors["layers.0.mask"] = np.ones(2, bool)
    if data.draw(st.booleans()):
        tensors = {f"old.{name}": array for name, array in tensors.items()}
    damage, expected = data.draw(st.integers(0, 4)), set()
    name = data.draw(st.sampled_from(sorted(tensors)))
    known = name.removeprefix("old.")
    spare = {"head.weight", "layers.0.mask"}
    if damage == 1:
        # one of two that are tied can stand for the other
        tied = known == "embed.weight" and len(
            {"head.weight", "old.head.weight"} & set(tensors)
        )
        expected = set() if known in spare or tied else {("missing", known)}
        del tensors[name]
    elif damage == 2:
        odd = data.draw(st.text(min_size=1).filter(lambda text: "." not in text))
        tensors[odd], expected = np.zeros(2), {("extra", odd)}
    elif damage == 3 and known not in (*spare, "embed.weight"):
        tensors[name] = tensors[name][..., :-1]
        expected = {("shape", known)}
    elif damage == 4 and known == "head.weight":
        tensors[name] = tensors[name] + 1
        expected = {("tied", name)}
    done = table.convert(ROWS, tensors, shapes)
    found = {(problem.kind, problem.name) for problem in done.problems}
    assert found == expected
    if not expected:
        back = table.revert(ROWS, done.variables, done.extras)
        assert back.keys() == tensors.keys()
        for key, array in tensors.items():
            assert back[key].tobytes() == array.tobytes()
        filled = table.flatten(done.variables)
        assert filled.keys() == table.flatten(shapes).keys()
