"""A training step (forward, backward, update) against PyTorch on the same cores.

    python benchmarks/train_vs_torch.py [--case mlp32 mlp512 cnn64 resnet32]

Every contestant is a process of its own; the processes take turns, so that a change of
the machine's speed meets all of them. A process warms up, then times blocks of steps
and reports their median. PyTorch runs eager, eager in channels-last layout and under
`torch.compile`; the best of them counts. Ours runs on one CPU device and,
data-parallel by `jaxml.sharding`, on one simulated device for each core: XLA runs a
convolution of few channels on one thread, and two devices occupy two cores.

Both sides: float32, the same layers, SGD with momentum 0.9, one fixed batch.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

CASES = {  # name: (model, batch, shape of an input, steps in a timed block)
    "mlp32": ("mlp", 32, (28, 28, 1), 300),
    "mlp512": ("mlp", 512, (28, 28, 1), 60),
    "cnn64": ("cnn", 64, (28, 28, 1), 12),
    "resnet32": ("resnet", 32, (32, 32, 3), 2),
}
OURS = ("jaxml, 1 device", "jaxml, 2 devices")
PEERS = ("torch eager", "torch channels_last", "torch compile")


def median_block(step, steps: int, blocks: int = 7) -> float:
    """Median milliseconds of a step over `blocks` blocks; `step(n)` takes n steps."""
    step(max(3, steps // 3))
    times = []
    for _ in range(blocks):
        start = time.perf_counter()
        step(steps)
        times.append((time.perf_counter() - start) / steps)
    return 1e3 * statistics.median(times)


def ours(case: str, devices: int) -> dict[str, float]:
    """Time our step with `make_step`, as a user would write it."""
    flag = f" --xla_force_host_platform_device_count={devices}"
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + flag
    import jax
    import numpy as np

    from jaxml import losses, sharding
    from jaxml.models.mlp import MLP
    from jaxml.models.vision import cnn, resnet
    from jaxml.optim import optimizers
    from jaxml.train import step as train

    kind, size, shape, steps = CASES[case]
    model = {
        "mlp": lambda: MLP((300, 100), 10),
        "cnn": lambda: cnn.CNN(num_classes=10),
        "resnet": lambda: resnet.resnet18_small(num_classes=10),
    }[kind]()
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.normal(size=(size, *shape)).astype(np.float32),
        "label": rng.integers(0, 10, size).astype(np.int32),
        "weight": np.ones(size, np.float32),
    }
    tx = optimizers.by_name("momentum", 0.01)

    def loss_fn(params, extra, batch, key):
        logits, extra = model.apply(
            {"params": params, **extra},
            batch["image"],
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        values = losses.cross_entropy(logits, batch["label"])
        return losses.weighted_mean(values, batch["weight"]), (extra, {})

    def init(key):
        variables = dict(model.init(key, batch["image"]))
        params = variables.pop("params")
        return train.init(params, tx, key=key, extra=variables)

    sharding.start()
    mesh = sharding.mesh(data=devices)
    batch = jax.device_put(batch, sharding.batch(mesh))
    start = time.perf_counter()
    state = sharding.init(init, [], mesh)(jax.random.key(0))
    step = jax.jit(train.make_step(loss_fn, tx), donate_argnums=0)
    state, _ = step(state, batch)
    jax.block_until_ready(state)
    cold = time.perf_counter() - start

    def run(n):
        nonlocal state
        for _ in range(n):
            state, metrics = step(state, batch)
            if devices > 1:  # as `jaxml.train.loop` does
                jax.block_until_ready(metrics)
        jax.block_until_ready((state, metrics))

    return {"ms": median_block(run, steps), "first": cold}


def theirs(case: str, form: str) -> dict[str, float]:
    """Time the same layers in PyTorch."""
    import torch
    import torch_models

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    kind, size, (height, width, channels), steps = CASES[case]
    torch.manual_seed(0)
    model = torch_models.MODELS[kind](channels)
    images = torch.randn(size, channels, height, width)
    labels = torch.randint(0, 10, (size,))
    if form == "torch channels_last" and kind != "mlp":
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    start = time.perf_counter()
    forward = torch.compile(model) if form == "torch compile" else model
    loss_fn = torch.nn.functional.cross_entropy

    def run(n):
        for _ in range(n):
            optimizer.zero_grad(set_to_none=True)
            loss_fn(forward(images), labels).backward()
            optimizer.step()

    run(1)
    cold = time.perf_counter() - start
    return {"ms": median_block(run, steps), "first": cold}


def measure(case: str, name: str) -> dict[str, float]:
    """Run one contestant in a process of its own."""
    command = [sys.executable, __file__, "--worker", case, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} on {case} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", nargs=2, metavar=("CASE", "NAME"))
    args = parser.parse_args()
    if args.worker:
        case, name = args.worker
        if name in OURS:
            result = ours(case, OURS.index(name) + 1)
        else:
            result = theirs(case, name)
        print(json.dumps(result))
        return
    for case in args.case:
        results: dict[str, list] = {name: [] for name in OURS + PEERS}
        for _ in range(args.rounds):
            for name, rows in results.items():
                rows.append(measure(case, name))
        print(f"\n{case}: ms per step, {args.rounds} rounds")
        print(f"{'':22}{'median':>9}{'min':>9}{'max':>9}{'first call s':>14}")
        medians = {}
        for name, rows in results.items():
            times = [row["ms"] for row in rows]
            medians[name] = statistics.median(times)
            first = statistics.median(row["first"] for row in rows)
            print(
                f"{name:22}{medians[name]:9.2f}{min(times):9.2f}{max(times):9.2f}"
                f"{first:14.2f}"
            )
        best = min(medians[name] for name in PEERS)
        for name in OURS:
            print(
                f"{name}: {best / medians[name]:.2f} x the best of PyTorch", flush=True
            )


if __name__ == "__main__":
    main()
