"""A long short-term memory of one layer against PyTorch, on the same cores.

    python benchmarks/lstm.py [--rounds 3]

128 units, 32 inputs, batch 64, 64 and 128 steps: forward, and the gradient of the sum
of squares for weights and inputs. Ours by the kernel and by the scan that serves where
there is none; PyTorch eager and under `torch.compile`. Every contestant is a process
of its own, and they take turns; medians of the processes' medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

UNITS, INPUTS, BATCH, LENGTHS = 128, 32, 64, (64, 128)
CONTESTANTS = ("kernel", "scan", "torch eager", "torch compile")


def median(run, blocks: int = 9, calls: int = 5) -> float:
    """Median milliseconds of a call over blocks of calls."""
    run()
    times = []
    for _ in range(blocks):
        start = time.perf_counter()
        for _ in range(calls):
            run()
        times.append((time.perf_counter() - start) / calls)
    return 1e3 * statistics.median(times)


def ours(native: bool, length: int) -> dict[str, float]:
    """Milliseconds of one of our forms."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxml.nn.recurrent import Recurrent

    model = Recurrent(features=UNITS, native=native)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(BATCH, length, INPUTS)), jnp.float32)
    variables = jax.jit(model.init)(jax.random.key(0), x)
    forward = jax.jit(lambda variables, x: model.apply(variables, x).outputs)
    loss = lambda variables, x: (model.apply(variables, x).outputs ** 2).sum()
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    return {
        "forward": median(lambda: jax.block_until_ready(forward(variables, x))),
        "gradient": median(lambda: jax.block_until_ready(gradient(variables, x))),
    }


def theirs(compiled: bool, length: int) -> dict[str, float]:
    """Milliseconds of PyTorch."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    model = torch.nn.LSTM(INPUTS, UNITS, batch_first=True)
    forward = torch.compile(model) if compiled else model
    x = torch.randn(BATCH, length, INPUTS)
    leaf = x.clone().requires_grad_(True)

    def predict():
        with torch.inference_mode():
            forward(x)

    def gradient():
        model.zero_grad(set_to_none=True)
        leaf.grad = None
        forward(leaf)[0].square().sum().backward()

    return {"forward": median(predict), "gradient": median(gradient)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", choices=CONTESTANTS)
    args = parser.parse_args()
    if args.worker:
        torch = args.worker.startswith("torch")
        form = args.worker in ("kernel", "torch compile")
        side = theirs if torch else ours
        times = {length: side(form, length) for length in LENGTHS}
        print(
            json.dumps(
                {
                    f"{n} {kind}": ms
                    for n, row in times.items()
                    for kind, ms in row.items()
                }
            )
        )
        return
    rows: dict[str, list] = {name: [] for name in CONTESTANTS}
    for _ in range(args.rounds):
        for name, found in rows.items():
            command = [sys.executable, __file__, "--worker", name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name} failed: {done.stderr.strip()[-300:]}", file=sys.stderr)
            else:
                found.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{'steps, what':16}" + "".join(f"{name:>15}" for name in CONTESTANTS))
    for what in (f"{n} {kind}" for n in LENGTHS for kind in ("forward", "gradient")):
        medians = [
            f"{statistics.median(row[what] for row in found):12.2f} ms"
            if found
            else f"{'failed':>15}"
            for found in rows.values()
        ]
        print(f"{what:16}" + "".join(medians))


if __name__ == "__main__":
    main()
