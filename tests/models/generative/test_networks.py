"""Networks of diffusion: the contract, one form against another, and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.generative import autoencoder_kl, dit, unet2d, unet2d_condition
from jaxml.nn import depth

TINY = {
    "widths": (8, 8),
    "attend_down": (False, True),
    "attend_up": (True, False),
    "layers": 1,
    "head_dim": 4,
    "groups": 4,
}
DIT = {"heads": 2, "head_dim": 8, "depth": 2, "size": (4, 6), "num_classes": 3}
TIMES, LABELS = jnp.array([3, 700]), jnp.array([0, 2])


def started(model, *inputs, seed=0):
    """Variables of the right scale, none of them zero."""
    shapes = jax.eval_shape(model.init, jax.random.key(1), *inputs)
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        center = 1.0 if path[-1].key == "scale" else 0.0
        deviation = 0.2 if leaf.ndim < 2 else np.prod(leaf.shape[:-1]) ** -0.5
        values = rng.normal(center, deviation, leaf.shape)
        return jnp.asarray(values, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def case(name, **options):
    """A small network and its inputs."""
    images = jax.random.normal(jax.random.key(0), (2, 8, 4, 3))
    if name == "unet":
        return unet2d.UNet2D(3, **TINY, **options), (images, TIMES)
    if name == "unet_classes":
        options = {"time_shift": "scale_shift", "num_classes": 3, **options}
        return unet2d.UNet2D(6, **TINY, **options), (images, TIMES, LABELS)
    if name == "dit":
        latents = jax.random.normal(jax.random.key(0), (2, 4, 6, 4))
        return dit.DiT(**DIT, **options), (latents, TIMES, LABELS)
    kind = autoencoder_kl.AutoencoderKL
    kind = autoencoder_kl.VQModel if name == "vq" else kind
    return kind(widths=(8, 8), groups=4, **options), (images,)


def answer(model, variables, *inputs):
    """The one array that a network is judged by."""
    out = model.apply(variables, *inputs)
    return getattr(out, "reconstruction", out)


@pytest.mark.parametrize("name", ["unet", "unet_classes", "dit", "kl", "vq"])
class TestContract:
    def test_every_parameter_learns(self, name):
        model, inputs = case(name)
        variables = started(model, *inputs)

        def loss(variables):
            whole = model.apply(variables, *inputs)
            out = getattr(whole, "reconstruction", whole)
            value = jnp.square(out).sum()
            if name == "vq":  # the table learns by its own term
                value += whole.found.movement.sum()
            if name == "kl":  # and the log variance, which the mode does not ask
                value += whole.posterior.log_variance.sum()
            return value, out

        gradient, out = jax.jit(jax.grad(loss, has_aux=True))(variables)
        channels = {"unet_classes": 6, "dit": 8}.get(name, 3)
        assert out.shape == (*inputs[0].shape[:-1], channels)
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
            assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
            assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)

    def test_dtypes(self, name):
        model, inputs = case(name, dtype=jnp.bfloat16)
        shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
        half = jax.eval_shape(lambda v: answer(model, v, *inputs), shapes)
        assert half.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {
            jnp.dtype("float32")
        }
        stored, _ = case(name, param_dtype=jnp.bfloat16)
        shapes = jax.eval_shape(stored.init, jax.random.key(0), *inputs)
        assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {
            jnp.dtype(jnp.bfloat16)
        }


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_half_precision_and_rows_on_their_own(name):
    model, inputs = case(name)
    half, _ = case(name, dtype=jnp.bfloat16)
    variables = started(model, *inputs)
    last = [x[1:] for x in inputs]
    whole, alone, rough = jax.jit(
        lambda v: (
            model.apply(v, *inputs),
            model.apply(v, *last),
            half.apply(v, *last),
        )
    )(variables)
    np.testing.assert_allclose(alone, whole[1:], atol=2e-5)
    bound = 0.1 * float(np.abs(whole).max())  # eight bits, a dozen layers
    np.testing.assert_allclose(rough.astype(jnp.float32), alone, atol=bound)


def test_unet_with_remat_gives_the_same_slopes():
    options = {**TINY, "widths": (4,), "attend_down": (False,), "attend_up": (False,)}
    options |= {"mid_attention": False, "dropout": 0.1}
    images = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    variables = started(unet2d.UNet2D(3, **options), images, TIMES)

    def slopes(model):
        run = lambda v: model.apply(
            v, images, TIMES, train=True, rngs={"dropout": jax.random.key(5)}
        )
        return jax.jit(jax.grad(lambda v: jnp.square(run(v)).sum()))(variables)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3),
        *(slopes(unet2d.UNet2D(3, **options, remat=on)) for on in (False, True)),
    )


def test_dit_scanned_equals_the_loop():
    model, inputs = case("dit")
    scanned, _ = case("dit", scan=True, remat="full")
    variables = started(model, *inputs)
    np.testing.assert_allclose(
        jax.jit(scanned.apply)(depth.stack(variables), *inputs),
        jax.jit(model.apply)(variables, *inputs),
        atol=1e-5,
    )


def test_dit_begins_as_nothing_and_forgets_labels_in_training():
    model, inputs = case("dit", label_dropout=1.0)
    fresh = jax.jit(model.init)(jax.random.key(0), *inputs)
    assert not np.any(jax.jit(model.apply)(fresh, *inputs))  # adaLN-Zero
    variables = started(model, *inputs)
    run = jax.jit(
        lambda labels: model.apply(
            variables,
            *inputs[:2],
            labels,
            train=True,
            rngs={"dropout": jax.random.key(0)},
        )
    )
    np.testing.assert_array_equal(run(LABELS), run(LABELS[::-1]))
    null = jax.jit(model.apply)(variables, *inputs[:2], jnp.array([3, 3]))
    np.testing.assert_allclose(run(LABELS), null, atol=1e-5)


def test_vq_model_decodes_what_it_quantised():
    model, inputs = case("vq")
    variables = started(model, *inputs)

    @jax.jit
    def run(variables):
        output = model.apply(variables, *inputs)
        again = model.apply(variables, output.latents, method="decode")
        return output.reconstruction, again

    np.testing.assert_allclose(*run(variables), atol=1e-5)


def test_stable_diffusion_s_unet_at_full_size_and_small():
    full = unet2d_condition.sd1_unet()
    inputs = (jnp.zeros((1, 64, 64, 4)), jnp.zeros(1), jnp.zeros((1, 77, 768)))
    shapes = jax.eval_shape(full.init, jax.random.key(0), *inputs)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 859_520_964
    small = unet2d_condition.UNet2DCondition(
        4, (8,), (True,), (True,), (2,), (1,), layers=1, groups=4
    )
    latents = jax.random.normal(jax.random.key(0), (2, 4, 4, 4))
    text = jax.random.normal(jax.random.key(1), (2, 5, 6))
    variables = started(small, latents, TIMES, text)
    mask = jnp.arange(5)[None] < jnp.array([3, 5])[:, None]
    other = text.at[0, 3:].add(1.0)
    seen, hidden, shown = jax.jit(
        lambda v: (
            small.apply(v, latents, TIMES, text, text_mask=mask),
            small.apply(v, latents, TIMES, other, text_mask=mask),
            small.apply(v, latents, TIMES, other),
        )
    )(variables)
    np.testing.assert_allclose(seen, hidden, atol=1e-5)
    assert np.abs(shown - seen).max() > 1e-3
    light = small.clone(remat=True)
    slope = jax.grad(lambda v: light.apply(v, latents, TIMES, text, train=True).sum())
    jax.eval_shape(slope, variables)


@pytest.mark.usefixtures("unchecked")
def test_rejects_sizes_labels_and_bytes():
    key = jax.random.key(0)
    start = lambda model, *inputs: jax.eval_shape(model.init, key, *inputs)
    images = jnp.zeros((2, 7, 8, 3))
    model, (_, times) = case("unet")
    with pytest.raises(ValueError, match="height and width must be multiples of 2"):
        start(model, images, times)
    with pytest.raises(ValueError, match="must be floating-point"):
        start(model, jnp.zeros((2, 8, 8, 3), jnp.uint8), times)
    with pytest.raises(ValueError, match="labels must be given where num_classes is"):
        start(model, jnp.zeros((2, 8, 8, 3)), times, LABELS)
    with pytest.raises(ValueError, match="must have 2 entries, as widths; got 1 and 2"):
        start(model.clone(attend_down=(True,)), jnp.zeros((2, 8, 8, 3)), times)
    with pytest.raises(ValueError, match="must divide the 8 channels; got 3"):
        start(model.clone(head_dim=3), jnp.zeros((2, 8, 8, 3)), times)
    with pytest.raises(ValueError, match=r"latents must be \[batch, 4, 6, 4\]"):
        start(case("dit")[0], jnp.zeros((2, 6, 4, 4)), TIMES, LABELS)
    for name in ("kl", "vq"):
        with pytest.raises(ValueError, match="height and width must be multiples"):
            start(case(name)[0], images)
