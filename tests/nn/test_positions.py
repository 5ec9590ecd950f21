import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxml.nn import positions


def test_sinusoidal_is_the_formula_of_the_paper():
    got = positions.sinusoidal(jnp.arange(50), 8)
    for p, i in np.ndindex(50, 4):
        angle = p / 10000 ** (2 * i / 8)
        pair = got[p, 2 * i : 2 * i + 2]
        np.testing.assert_allclose(pair, [np.sin(angle), np.cos(angle)], atol=1e-5)
    halves = positions.sinusoidal(jnp.arange(50), 8, interleaved=False)
    np.testing.assert_array_equal(halves[:, :4], got[:, ::2])
    last = positions.sinusoidal(jnp.array(10_000.0), 8, shift=1.0, interleaved=False)
    assert last[3] == pytest.approx(np.sin(1.0), abs=1e-5)


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        (4, [2**-2, 2**-4, 2**-6, 2**-8]),
        (8, [2.0**-i for i in range(1, 9)]),
        (6, [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]),
        (1, [2**-8]),
    ],
)
def test_alibi_has_the_published_slopes_for_any_number_of_heads(heads, expected):
    np.testing.assert_allclose(positions.slopes(heads), expected)
    bias = positions.alibi(heads, jnp.array([[3]]), jnp.array([[3, 1, 5]]))
    assert bias.shape == (1, heads, 1, 3)
    np.testing.assert_allclose(bias[0, :, 0, 1], -2 * np.array(expected))
    np.testing.assert_array_equal(bias[0, :, 0, 1], bias[0, :, 0, 2])


@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_bias_has_one_bucket_near_and_logarithmic_ones_far(bidirectional):
    model = positions.RelativeBias(2, 8, 16, bidirectional)
    places = jnp.arange(40)[None]
    variables = model.init(jax.random.key(0), places, places)
    table = {"params": {"embedding": jnp.arange(16.0).reshape(8, 2)}}
    bias = model.apply(table, places, places)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, table)
    assert bias.shape == (1, 2, 40, 40)
    buckets = np.asarray(bias[0, 0] / 2, int)
    # As the reference lays them: by hand, for the query at 20.
    near = 2 if bidirectional else 4
    for key in range(40):
        apart = key - 20
        ahead = 4 if bidirectional and apart > 0 else 0
        distance = abs(apart) if bidirectional else max(-apart, 0)
        bucket = distance
        if distance >= near:
            share = np.log(distance / near) / np.log(16 / near)
            bucket = min(near + int(share * near + 1e-6), 2 * near - 1)
        assert buckets[20, key] == ahead + bucket, key


@pytest.mark.parametrize(
    ("case", "method"),
    [
        ("down_bicubic_nc", "bicubic"),
        ("down_bicubic_aa", "bicubic_antialias"),
        ("down_bilinear_aa", "bilinear_antialias"),
        ("up_bilinear_nc", "bilinear"),
    ],
)
def test_interpolation_equals_torch(parity_folder, case, method):
    file = load_file(parity_folder / "open" / "x_ops.safetensors")
    table = jnp.asarray(file[f"{case}/in/x"][0].transpose(1, 2, 0))
    expected = file[f"{case}/out/0"][0].transpose(1, 2, 0)
    got = positions.interpolate_grid(table, expected.shape[:2], method=method)
    np.testing.assert_allclose(got, expected, atol=2e-6)  # float32 sums


def test_interpolation_keeps_a_grid_and_takes_a_scale_of_its_own():
    table = jax.random.normal(jax.random.key(0), (3, 4, 2))
    assert positions.interpolate_grid(table, (3, 4)) is table
    for method in positions.METHODS:
        flat = positions.interpolate_grid(jnp.ones((3, 4, 1)), (5, 2), method=method)
        np.testing.assert_allclose(flat, 1, atol=1e-6)
    plain = positions.interpolate_grid(table, (6, 8))
    scaled = positions.interpolate_grid(table, (6, 8), scale=(6.1 / 3, 8.1 / 4))
    assert 0 < np.abs(plain - scaled).max() < 0.2


def test_rejects():
    with pytest.raises(ValueError, match="dim must be even"):
        positions.sinusoidal(jnp.arange(2), 3)
    with pytest.raises(ValueError, match="heads must be at least 1"):
        positions.alibi(0, jnp.array([[0]]), jnp.array([[0]]))
    with pytest.raises(ValueError, match="nearest: bicubic"):
        positions.interpolate_grid(jnp.ones((2, 2, 1)), (3, 3), method="cubic")
