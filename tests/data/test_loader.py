"""The loader: one order for all hosts, exact weights, no shared memory."""

import itertools
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxml.data import order
from jaxml.data.loader import Loader

TAKE = 7


@pytest.fixture
def arrays():
    """23 rows, so that batches of 4 or 8 leave a rest."""
    image = np.random.default_rng(0).integers(0, 256, (23, 5, 4, 1), dtype=np.uint8)
    return {"image": image, "label": np.arange(23, dtype=np.int32)}


@pytest.fixture
def mesh():
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def take(batches, count=TAKE):
    """The first batches, as host arrays."""
    return [jax.device_get(batch) for batch in itertools.islice(batches, count)]


# Parity: the rows are those of plain indexing.


def test_batches_are_the_rows_of_their_indices(arrays):
    loader = Loader(arrays, 4, seed=1)
    for place in [(0, 0), (0, 4), (3, 2)]:
        rows, batch = loader.indices(*place), loader.batch(*place)
        np.testing.assert_array_equal(batch["image"], arrays["image"][rows])
        np.testing.assert_array_equal(batch["label"], rows)
        np.testing.assert_array_equal(batch["weight"], np.ones(4, np.float32))


# Properties: the order.


def test_epochs_have_all_rows_in_orders_of_their_own(arrays):
    loader = Loader(arrays, 4, seed=1)
    orders = {tuple(order.permutation(23, seed=2, epoch=0))}
    for epoch in range(5):
        rows = np.concatenate([loader.indices(epoch, index) for index in range(6)])
        np.testing.assert_array_equal(np.sort(rows), range(-1, 23))
        orders.add(tuple(rows[:-1]))
    assert len(orders) == 6


def test_unshuffled_order_is_that_of_the_data(arrays):
    loader = Loader(arrays, 4, shuffle=False)
    rows = np.concatenate([loader.indices(3, i) for i in range(6)])
    np.testing.assert_array_equal(rows, [*range(23), -1])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_hosts_together_see_the_same_batches(arrays, count):
    whole = Loader(arrays, 8, seed=5)
    hosts = [
        Loader(arrays, 8, seed=5, process_index=h, process_count=count)
        for h in range(count)
    ]
    for epoch, index in itertools.product(range(2), range(3)):
        parts = [host.batch(epoch, index) for host in hosts]
        joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        same(joined, whole.batch(epoch, index))


# Properties: weights.


def test_last_batch_is_filled_up_with_weight_zero(arrays):
    loader = Loader(arrays, 8, seed=1)
    assert loader.steps_per_epoch == 3
    batch = loader.batch(0, 2)
    np.testing.assert_array_equal(batch["weight"], [1] * 7 + [0])
    assert batch["image"].shape == (8, 5, 4, 1)
    np.testing.assert_array_equal(batch["image"][-1], arrays["image"][0])


def test_weighted_mean_of_an_epoch_is_exact(arrays):
    total = weight = 0.0
    for batch in Loader(arrays, 8).epoch():
        total += (batch["weight"] * batch["label"]).sum()
        weight += batch["weight"].sum()
    assert total / weight == arrays["label"].mean()


def test_weight_of_the_data_multiplies(arrays):
    weight = np.linspace(0, 2, 23)
    weight[0] = np.nan  # the row that fills up must not let its weight through
    loader = Loader(arrays | {"weight": weight}, 8, shuffle=False)
    batch = loader.batch(0, 2)
    np.testing.assert_array_equal(batch["weight"][:7], weight[16:].astype(np.float32))
    assert batch["weight"][7] == 0
    assert batch["weight"].dtype == np.float32


def test_drop_last_leaves_out_the_rest(arrays):
    loader = Loader(arrays, 8, drop_last=True)
    assert loader.steps_per_epoch == 2
    assert all(batch["weight"].min() == 1 for batch in loader.epoch())


# Properties: randomness, memory, devices.


def test_transform_draws_by_seed_epoch_and_index(arrays):
    def noise(batch, rng):
        return batch | {"noise": rng.normal(size=8).astype(np.float32)}

    loader = Loader(arrays, 8, seed=1, transform=noise)
    straight = take(loader.stream())
    again = take(loader.stream(loader.state_at(4)), 3)
    for one, other in zip(straight[4:], again, strict=True):
        same(one, other)
    draws = [batch["noise"] for batch in straight]
    other = Loader(arrays, 8, seed=2, transform=noise)
    draws.append(other.batch(0, 0)["noise"])
    assert len(np.unique(draws)) == 8 * len(draws)


def test_hosts_draw_apart(arrays):
    def noise(batch, rng):
        return batch | {"noise": rng.normal(size=4)}

    hosts = [
        Loader(arrays, 8, transform=noise, process_index=host, process_count=2)
        for host in range(2)
    ]
    first, second = (host.batch(0, 0)["noise"] for host in hosts)
    assert not np.intersect1d(first, second).size


@pytest.mark.parametrize("sharded", [False, True])
def test_batches_share_no_memory_with_the_host(arrays, mesh, sharded):
    """A device array may lie on the host's own buffer; ours must not."""
    sharding = NamedSharding(mesh, PartitionSpec()) if sharded else None
    buffer = np.zeros(8 * 1024 + 64, np.uint8)
    start = (-buffer.ctypes.data) % 64
    image = buffer[start : start + 8 * 1024].reshape(8, 1024)
    numbers = itertools.count()

    def reuse(batch, rng):
        image[:] = next(numbers)
        return batch | {"image": image}

    loader = Loader(arrays, 8, transform=reuse, sharding=sharding, prefetch=0)
    for number, batch in enumerate(list(itertools.islice(loader.stream(), 4))):
        np.testing.assert_array_equal(batch["image"], number)


def test_unshuffled_batches_are_copies(arrays):
    loader = Loader(arrays, 4, shuffle=False)
    batch = next(loader.epoch())
    loader.batch(0, 0)["label"][:] = -1
    arrays["label"][:] = -1
    np.testing.assert_array_equal(batch["label"], range(4))


def test_reads_any_memory_layout(arrays, tmp_path):
    image = arrays["image"]
    mapped = np.memmap(tmp_path / "image", np.uint8, "w+", shape=image.shape)
    mapped[:] = image
    mapped.flush()
    expected = Loader({"image": image}, 8).batch(1, 0)
    forms = [
        np.memmap(tmp_path / "image", np.uint8, "r", shape=image.shape),
        np.asfortranarray(image),
        np.repeat(image, 2, 0)[::2],
        jnp.asarray(image),
    ]
    for form in forms:
        same(Loader({"image": form}, 8).batch(1, 0), expected)
    swapped = Loader({"x": np.arange(9.0).astype(">f4")}, 9, shuffle=False).batch(0, 0)
    assert swapped["x"].dtype == np.dtype("float32")
    np.testing.assert_array_equal(swapped["x"], np.arange(9.0))


def test_sharded_batches_are_the_same_batches(arrays, mesh):
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    loader = Loader(arrays, 8, sharding=sharding)
    for index, batch in enumerate(loader.epoch()):
        assert all(array.sharding == sharding for array in batch.values())
        same(batch, loader.batch(0, index))


PROCESS = """
import sys
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxml.data.loader import Loader

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
arrays = {"label": np.arange(23, dtype=np.int32)}
for shape in [(8, 1), (2, 4), (1, 8)]:
    mesh = jax.make_mesh(shape, ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    loader = Loader(arrays, 8, sharding=sharding)
    for index, batch in enumerate(loader.epoch()):
        expected = np.maximum(loader.indices(0, index), 0)
        assert batch["label"].shape == (8,) and batch["label"].sharding == sharding
        for shard in batch["label"].addressable_shards:
            np.testing.assert_array_equal(shard.data, expected[shard.index])
alone = Loader(arrays, 8, shuffle=False).batch(0, 0)["label"]
assert list(alone) == list(range(8))[4 * jax.process_index() :][:4]
print("equal")
"""


def test_two_processes_hold_the_parts_of_one_batch():
    """The last mesh has its model axis over both: each needs every row."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command, pipe = [sys.executable, "-c", PROCESS, address], subprocess.PIPE
    runs = [
        subprocess.Popen([*command, str(rank)], stdout=pipe, stderr=pipe, text=True)
        for rank in range(2)
    ]
    for run in runs:
        output, errors = run.communicate(timeout=100)
        assert output == "equal\n", errors


# Errors: a wrong call says what would be right.


@pytest.mark.parametrize("size", [0, 24])
def test_rejects_impossible_batch_size(arrays, size):
    with pytest.raises(ValueError, match=f"to the number of rows 23; got {size}"):
        Loader(arrays, size)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "at least one array"),
        ({"x": np.zeros((0, 3))}, "at least one row; got 0"),
        ({"x": np.zeros(3), "y": np.zeros(4)}, "got x 3, y 4"),
        ({"x": [1, 2, 3]}, "x must be an array; got list"),
        ({"x": np.array(["a"])}, "x must hold numbers; got <U1"),
        ({"x": np.array([None])}, "x must hold numbers; got object"),
        ({"weight": np.ones((3, 1))}, r"one number a row; got \(3, 1\)"),
    ],
)
def test_rejects_data_that_are_no_rows_of_numbers(data, message):
    with pytest.raises(ValueError, match=message):
        Loader(data, 1)


def test_rejects_what_does_not_divide(arrays, mesh):
    with pytest.raises(ValueError, match="multiple of the 3 processes; got 8"):
        Loader(arrays, 8, process_index=0, process_count=3)
    with pytest.raises(ValueError, match="process_index must be from 0 to 1; got 2"):
        Loader(arrays, 8, process_index=2, process_count=2)
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    with pytest.raises(ValueError, match=r"multiple of the 4 parts .* got 6"):
        Loader(arrays, 6, sharding=sharding)
    with pytest.raises(ValueError, match=r"multiple of the 8 parts .* got 12"):
        Loader(arrays, 12, sharding=sharding, process_index=0, process_count=2)


@pytest.mark.parametrize("state", [(1, 0, 0), (0, 0, 3), (0, -1, 0)])
def test_rejects_the_state_of_another_loader(arrays, state):
    with pytest.raises(ValueError, match=r"seed 0 and an index from 0 to 2; .*saved"):
        Loader(arrays, 8).stream(state)


def test_rejects_other_nonsense(arrays):
    with pytest.raises(ValueError, match="seed must be from 0"):
        Loader(arrays, 8, seed=-1)
    with pytest.raises(ValueError, match="prefetch must be at least 0; got -1"):
        Loader(arrays, 8, prefetch=-1)
    with pytest.raises(ValueError, match="index from 0 to 2; got 0 and 3"):
        Loader(arrays, 8).indices(0, 3)
    forgets = Loader(arrays, 8, transform=lambda batch, rng: {"x": batch["image"]})
    with pytest.raises(ValueError, match=r"keep the key weight; it gave \['x'\]"):
        forgets.batch(0, 0)
