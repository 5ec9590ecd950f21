"""Checks of data on the host: what passes, and what each error says."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.data import check


def test_passes_what_is_right():
    assert check.same_length({"x": np.zeros((3, 2)), "y": jnp.zeros(3)}) == 3
    assert check.not_empty({"x": np.zeros(1)}) == 1
    check.labels(np.array([0, 9], np.uint8), 10)
    check.finite(np.zeros((2, 2)))
    check.finite(np.arange(3))


def test_rejects_arrays_of_different_lengths():
    with pytest.raises(ValueError, match="same number of rows; got x 3, y 2"):
        check.same_length({"x": np.zeros((3, 2)), "y": np.zeros(2)})


def test_rejects_a_scalar():
    with pytest.raises(ValueError, match="y must have a leading axis of rows"):
        check.same_length({"y": np.float32(1)})


def test_rejects_no_arrays_and_no_rows():
    with pytest.raises(ValueError, match="at least one array; got none"):
        check.not_empty({})
    with pytest.raises(ValueError, match="x, y must have at least one row; got 0"):
        check.not_empty({"x": np.zeros((0, 2)), "y": np.zeros(0)})


@pytest.mark.parametrize("wrong", [10, -1, 255])
def test_rejects_labels_out_of_range(wrong):
    label = np.array([0, 9, wrong, wrong])
    with pytest.raises(ValueError, match=rf"0 to 9; 2 of 4 .* first at row 2: {wrong}"):
        check.labels(label, 10)


def test_rejects_labels_that_are_not_integers():
    with pytest.raises(ValueError, match="must be integers; got float32"):
        check.labels(np.zeros(2, np.float32), 10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rejects_values_that_are_not_finite(bad):
    x = np.zeros((5, 3), np.float32)
    x[3, 1] = x[4, 0] = bad
    with pytest.raises(
        ValueError, match=rf"x must be .*2 of 15.*row 3, column 1: {bad}"
    ):
        check.finite(x)
    with pytest.raises(ValueError, match=r"image must.*at row 3, index \(1, 0\)"):
        check.finite(x[..., None], "image")
    with pytest.raises(ValueError, match="the first at row 4: "):
        check.finite(x[:, 0])
