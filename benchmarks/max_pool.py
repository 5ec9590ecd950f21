"""Max-pool forward and backward: `jaxml.ops.pool` against `flax.linen.max_pool`.

    python benchmarks/max_pool.py [--repeats 30]

The two alternate in one process, which is fair here since both are XLA programs.
Prints the median of the warm calls in milliseconds, and the first call, which
compiles.
"""

import argparse
import statistics
import time

import flax.linen as nn
import jax

from jaxml.ops import pool

# (images, window, stride, padding): a small CNN, the stem of a ResNet.
CASES = [((64, 28, 28, 32), 2, 2, 0), ((32, 32, 32, 64), 3, 2, 1)]


def pooled(images, window, stride, padding):
    """The two ways, as functions of the images alone."""
    square, edges = (window, window), ((padding, padding),) * 2
    return {
        "jaxml": lambda x: pool.max_pool(
            x, window=window, stride=stride, padding=padding
        ),
        "flax": lambda x: nn.max_pool(x, square, (stride, stride), edges),
    }


def timed(function, x) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    jax.block_until_ready(function(x))
    return 1e3 * (time.perf_counter() - start)


def main(repeats: int):
    for shape, *sizes in CASES:
        x = jax.random.normal(jax.random.key(0), shape)
        ways = {
            name: jax.jit(jax.value_and_grad(lambda x, f=f: (f(x) ** 2).sum()))
            for name, f in pooled(x, *sizes).items()
        }
        cold = {name: timed(way, x) for name, way in ways.items()}
        warm: dict = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                warm[name].append(timed(way, x))
        print(f"{shape}, window {sizes[0]}, stride {sizes[1]}, padding {sizes[2]}")
        for name in ways:
            median = statistics.median(warm[name])
            print(f"  {name:6s} {median:8.2f} ms, first call {cold[name]:8.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    main(parser.parse_args().repeats)
