"""Autoencoders: PCA, tied weights, sparsity, contraction, noise, and the contract."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml.models.generative import autoencoder, conv_autoencoder
from jaxml.models.generative import autoencoder_losses as losses

SHAPE = (7, 5, 1)
MAKERS = {
    "stacked": lambda **o: autoencoder.Autoencoder((16, 6), SHAPE, **o),
    "tied": lambda **o: autoencoder.TiedAutoencoder((16, 6), SHAPE, **o),
    "linear": lambda **o: autoencoder.LinearAutoencoder(6, SHAPE, **o),
    "conv": lambda **o: conv_autoencoder.ConvAutoencoder((4, 8), 6, SHAPE, **o),
    "conv_map": lambda **o: conv_autoencoder.ConvAutoencoder((4, 8), None, SHAPE, **o),
    "recurrent": lambda **o: conv_autoencoder.RecurrentAutoencoder(8, 6, SHAPE, **o),
}


def fit(loss, params, steps, tx):
    """Parameters after some steps, all in one scan."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=steps)[0][0])
    return run((params, tx.init(params)))


def test_linear_autoencoder_spans_what_pca_spans(key):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5)) @ np.diag([3, 2, 1, 0.3, 0.2])
    x = x @ np.linalg.qr(rng.normal(size=(5, 5)))[0] + 1.0
    data = jnp.asarray(x, jnp.float32)
    model = autoencoder.LinearAutoencoder(2, (5,))
    params = model.init(key, data)
    loss = lambda p: losses.square_error(model.apply(p, data), data).mean()
    rate = optax.cosine_decay_schedule(0.03, 5000)
    params = fit(loss, params, 5000, optax.adam(rate))
    ours = np.linalg.qr(np.asarray(params["params"]["decoder"]["kernel"]).T)[0]
    theirs = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:2].T
    # sine of the largest angle between the two planes
    assert np.linalg.norm(ours @ ours.T - theirs @ theirs.T, 2) < 1e-3


@pytest.mark.parametrize("name", MAKERS)
def test_contract(name, key):
    model = MAKERS[name]()
    x = jax.random.normal(key, (4, *SHAPE))
    variables = jax.jit(model.init)(key, x)
    run = jax.jit(model.apply)
    back = run(variables, x)
    assert back.shape == x.shape
    code = model.apply(variables, x, method="encode")
    assert code.shape == ((4, 2, 2, 8) if name == "conv_map" else (4, 6))
    np.testing.assert_allclose(
        model.apply(variables, code, method="decode"), back, atol=1e-5
    )
    # each example on its own
    np.testing.assert_allclose(run(variables, x[:2]), back[:2], atol=1e-5)
    gradient = jax.jit(jax.grad(lambda v: jnp.square(run(v, x) - x).mean()))(variables)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))
    half = MAKERS[name](dtype=jnp.bfloat16)
    assert half.apply(variables, x).dtype == jnp.bfloat16
    stored = MAKERS[name](param_dtype=jnp.bfloat16)
    shapes = jax.eval_shape(stored.init, key, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("bfloat16")}


def test_tied_decoder_is_the_encoder_transposed(key):
    model = autoencoder.TiedAutoencoder((3,), (5,), activation="linear")
    x = jax.random.normal(key, (4, 5))
    variables = model.init(key, x)
    kernel = variables["params"]["kernel_0"]
    np.testing.assert_allclose(
        model.apply(variables, x), x @ kernel @ kernel.T, rtol=1e-5, atol=1e-6
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 5 * 3 + 3 + 5


def test_layers_trained_one_by_one_make_the_deeper_network(key):
    x = jax.random.normal(key, (4, 9))
    first = autoencoder.Autoencoder((6,), (9,))
    second = autoencoder.Autoencoder((3,), (6,), out_activation="relu")
    deeper = autoencoder.Autoencoder((6, 3), (9,))
    a = first.init(key, x)
    code = first.apply(a, x, method="encode")
    b = second.init(jax.random.key(1), code)
    params = autoencoder.add_layer(a["params"], b["params"], depth=1)
    assert jax.tree.structure(params) == jax.tree.structure(
        deeper.init(key, x)["params"]
    )
    middle = second.apply(b, code)
    np.testing.assert_allclose(
        deeper.apply({"params": params}, x),
        first.apply(a, middle, method="decode"),
        atol=1e-6,
    )


def test_denoising_corrupts_in_training_alone(key):
    x = jnp.ones((4, *SHAPE))
    for options in ({"noise": 0.5}, {"input_dropout": 0.5}):
        model = autoencoder.Autoencoder((8,), SHAPE, **options)
        variables = model.init(key, x)
        calm = model.apply(variables, x)
        once, again = (
            model.apply(
                variables, x, train=True, rngs={"dropout": jax.random.key(seed)}
            )
            for seed in range(2)
        )
        np.testing.assert_array_equal(calm[0], calm[1])
        assert np.abs(once - calm).max() > 0
        assert np.abs(once - again).max() > 0


def test_sparsity_pulls_units_to_their_target():
    code = jnp.full((10, 4), 0.3)
    gradient = jax.grad(lambda c: losses.kl_sparsity(c, target=0.1))(code)
    assert (gradient > 0).all()
    expected = 4 * (0.1 * np.log(0.1 / 0.3) + 0.9 * np.log(0.9 / 0.7))
    np.testing.assert_allclose(
        losses.kl_sparsity(code, target=0.1), expected, rtol=1e-5
    )
    dead = losses.kl_sparsity(jnp.zeros((10, 4)), target=0.1)
    assert np.isfinite(dead)
    np.testing.assert_allclose(losses.l1(-code), np.full(10, 1.2), rtol=1e-6)


def test_contraction_is_the_norm_of_the_jacobian(key):
    kernel = jax.random.normal(key, (5, 3))
    encode = lambda x: jax.nn.sigmoid(x @ kernel)
    x = jax.random.normal(jax.random.key(1), (4, 5))
    h = np.asarray(encode(x))
    # Rifai et al., 2011, section 3.1: Σ (h (1 - h))² Σ W²
    expected = ((h * (1 - h)) ** 2 * (np.asarray(kernel) ** 2).sum(0)).sum(1)
    np.testing.assert_allclose(losses.contraction(encode, x), expected, rtol=1e-5)


@pytest.mark.usefixtures("unchecked")
def test_rejects_other_shapes_and_bytes(key):
    for maker in MAKERS.values():
        start = maker().init
        with pytest.raises(ValueError, match=r"must be \[batch, 7, 5, 1\]; got"):
            jax.eval_shape(start, key, jnp.zeros((4, 7, 6, 1)))
        with pytest.raises(ValueError, match="must be floating-point"):
            jax.eval_shape(start, key, jnp.zeros((4, *SHAPE), jnp.uint8))
    with pytest.raises(ValueError, match="hidden and shape must name sizes"):
        autoencoder.Autoencoder((), SHAPE).init(key, jnp.zeros((1, *SHAPE)))
    with pytest.raises(ValueError, match="input_dropout must be from 0"):
        autoencoder.Autoencoder((3,), SHAPE, input_dropout=1.0).init(
            key, jnp.zeros((1, *SHAPE))
        )
