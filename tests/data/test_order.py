"""The order of the rows: the same on every machine, and a fair shuffle."""

import numpy as np
import pytest

from jaxml.data import order


def philox(key, blocks):
    """Philox4x64-10 in Python's integers, from the paper: the raw bits in order."""
    bits = []
    for block in range(1, blocks + 1):  # NumPy counts before it draws
        (c0, c1, c2, c3), (k0, k1) = (block, 0, 0, 0), key
        for _ in range(10):
            high0, low0 = divmod(c0 * 0xD2E7470EE14C6C93, 2**64)
            high1, low1 = divmod(c2 * 0xCA5A826395121157, 2**64)
            c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
            k0 = (k0 + 0x9E3779B97F4A7C15) % 2**64
            k1 = (k1 + 0xBB67AE8584CAA73B) % 2**64
        bits += [c0, c1, c2, c3]
    return bits


# Parity: the argsort of Philox by hand.


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (3, 5), (2**64 - 1, 2**33)])
def test_order_is_that_of_philox_by_hand(seed, epoch):
    bits = philox((seed, epoch), 6)[:22]
    rows = sorted(range(22), key=bits.__getitem__)
    np.testing.assert_array_equal(order.permutation(22, seed=seed, epoch=epoch), rows)


# Properties.


def test_every_order_is_as_likely():
    counts = np.zeros((5, 5))
    for epoch in range(2000):
        counts[np.arange(5), order.permutation(5, seed=0, epoch=epoch)] += 1
    # 400 expected in each cell, standard deviation 18
    np.testing.assert_allclose(counts, 400, atol=90)


def test_batches_draw_numbers_of_their_own():
    places = [(0, 0, 0), (0, 0, 4), (0, 1, 0), (1, 0, 0)]
    draws = [order.generator(7, *place).random(100) for place in places]
    draws.append(order.generator(8, 0, 0, 0).random(100))
    assert len(np.unique(draws)) == 500
    np.testing.assert_array_equal(order.generator(7, 1, 0, 0).random(100), draws[3])
