"""Batches a second from 60,000 images in memory, against torch's DataLoader and grain.

    python benchmarks/loader.py [--rounds 5] [--batch 32 128 512]

28 × 28 × uint8 with a label, shuffled, one whole epoch, its start included. Every
contestant is a process of its own; the processes take turns, and the median over rounds
counts. Each peer runs item by item, as its tutorials show it, and in the fastest form
found, where an item of the peer is a whole batch: torch with a BatchSampler as sampler,
grain over a source of batches whose order the caller draws. First the batches on the
host (ours have `weight` too), then on the device, brought there by JAX in each case.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial

import numpy as np

ROWS = 60_000


def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (ROWS, 28, 28, 1), dtype=np.uint8)
    return {"image": image, "label": rng.integers(0, 10, ROWS).astype(np.int32)}


def jaxml_host(batch_size):
    from jaxml.data.loader import Loader

    loader = Loader(data(), batch_size)
    for epoch in range(1_000_000):
        yield (loader.batch(epoch, index) for index in range(loader.steps_per_epoch))


def jaxml_device(batch_size, prefetch):
    from jaxml.data.loader import Loader

    loader = Loader(data(), batch_size, prefetch=prefetch)
    for epoch in range(1_000_000):
        yield loader.epoch(epoch)


def torch_items(batch_size, workers):
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    dataset = TensorDataset(*(torch.from_numpy(a) for a in data().values()))
    loader = DataLoader(
        dataset,
        batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    while True:
        yield loader


def torch_batches(batch_size):
    import torch
    from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

    torch.set_num_threads(1)  # a gather is too small for two: they slow it down
    arrays = data()

    class Batches(Dataset):
        def __len__(self):
            return ROWS

        def __getitem__(self, rows):
            return {name: array[rows] for name, array in arrays.items()}

    dataset = Batches()
    rows = BatchSampler(RandomSampler(dataset), batch_size, drop_last=False)
    loader = DataLoader(
        dataset, batch_size=None, sampler=rows, collate_fn=lambda batch: batch
    )
    while True:
        yield loader


def grain_items(batch_size):
    import grain

    arrays = data()

    class Source:
        def __len__(self):
            return ROWS

        def __getitem__(self, row):
            return {name: array[row] for name, array in arrays.items()}

    dataset = grain.MapDataset.source(Source())
    for epoch in range(1_000_000):
        yield dataset.shuffle(seed=epoch).batch(batch_size).to_iter_dataset()


def grain_batches(batch_size):
    import grain

    arrays = data()

    class Batches:
        def __init__(self, seed):
            self.order = np.random.default_rng(seed).permutation(ROWS)

        def __len__(self):
            return -(-ROWS // batch_size)

        def __getitem__(self, index):
            rows = self.order[index * batch_size : (index + 1) * batch_size]
            return {name: array[rows] for name, array in arrays.items()}

    # One thread: grain's default of 16 is slower by half for such small items.
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
    for epoch in range(1_000_000):
        yield grain.MapDataset.source(Batches(epoch)).to_iter_dataset(options)


def on_device(epochs, batch_size):
    """Bring a peer's batches to the device, by the way that is fastest in JAX."""
    import jax

    copy = jax.jit(lambda batch: batch)
    for epoch in epochs(batch_size):
        yield (copy(jax.tree.map(np.asarray, batch)) for batch in epoch)


HOST = {
    "jaxml": jaxml_host,
    "torch, items": partial(torch_items, workers=0),
    "torch, items, 2 workers": partial(torch_items, workers=2),
    "torch, batches": torch_batches,
    "grain, items": grain_items,
    "grain, batches": grain_batches,
}
DEVICE = {
    "jaxml, thread": partial(jaxml_device, prefetch=2),
    "jaxml, no thread": partial(jaxml_device, prefetch=0),
    "torch, batches, to device": partial(on_device, torch_batches),
    "grain, batches, to device": partial(on_device, grain_batches),
}


def work(name: str, batch_size: int) -> float:
    """Microseconds a batch, over one epoch after one epoch to warm up."""
    steps = -(-ROWS // batch_size)
    epochs = (HOST | DEVICE)[name](batch_size)
    for _ in range(2):
        start = time.perf_counter()
        count = sum(1 for _ in next(epochs))
        spent = time.perf_counter() - start
        if count != steps:
            raise RuntimeError(f"{name} gave {count} batches of {steps}")
    return 1e6 * spent / steps


def measure(name: str, sizes: list[int]) -> list[float]:
    """Run one contestant in a process of its own."""
    command = [sys.executable, __file__, "--worker", name, "--batch", *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", nargs="+", type=int, default=[32, 128, 512])
    parser.add_argument("--worker", choices=[*HOST, *DEVICE])
    args = parser.parse_args()
    if args.worker:
        print(json.dumps([work(args.worker, size) for size in args.batch]))
        return
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    times: dict[str, list[list[float]]] = {name: [] for name in [*HOST, *DEVICE]}
    for _ in range(args.rounds):
        for name, rounds in times.items():
            rounds.append(measure(name, args.batch))
    print("microseconds a batch: median (least)\n")
    print(f"{'':28}" + "".join(f"{f'batch {size}':>20}" for size in args.batch))
    for group, ours in ((HOST, "jaxml"), (DEVICE, "jaxml, no thread")):
        for name in group:
            columns = list(zip(*times[name], strict=True))
            cells = [f"{statistics.median(c):.0f} ({min(c):.0f})" for c in columns]
            print(f"{name:28}" + "".join(f"{cell:>20}" for cell in cells))
        peers = [name for name in group if not name.startswith("jaxml")]
        ratios = []
        for column in range(len(args.batch)):
            medians = {
                name: statistics.median(row[column] for row in times[name])
                for name in [ours, *peers]
            }
            best = min(medians[name] for name in peers)
            ratios.append(f"{best / medians[ours]:.2f}x")
        print(f"{'best peer / ours':28}" + "".join(f"{r:>20}" for r in ratios) + "\n")


if __name__ == "__main__":
    main()
