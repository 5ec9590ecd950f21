"""VAEs: a training run of torch, the KL, the bounds, and discrete codes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from jaxml.models.generative import (
    autoencoder_losses,
    codebook,
    conv_vae,
    discrete_vae,
    vae,
    vq_vae,
    vq_vae2,
)

SHAPE = (7, 5, 1)


def variables_of(tensors, part):
    """The variables of `VAE` from the reference's names."""
    names = {
        "encoder_0": "a",
        "mean": "m",
        "log_variance": "v",
        "decoder_0": "d",
        "out": "o",
    }
    read = lambda name: jnp.asarray(tensors[f"{part}/{name}"])
    return {
        "params": {
            ours: {"kernel": read(f"{name}.weight").T, "bias": read(f"{name}.bias")}
            for ours, name in names.items()
        }
    }


def test_training_run_of_torch(parity_folder):
    case = load_file(parity_folder / "open" / "x_train_vae_adam.safetensors")
    model = vae.VAE((12,), 3, (20,))

    def loss(variables, row, target):
        posterior = model.apply(variables, row[:, :20], method="encode")
        code = vae.draw(posterior, row[:, 20:])
        logits = model.apply(variables, code, method="decode")
        return vae.loss(vae.Output(logits, posterior, code), target).sum()

    variables = variables_of(case, "params0")
    tx = optax.adam(1e-2)
    state = tx.init(variables)
    step = jax.jit(jax.value_and_grad(loss))
    for i in range(len(case["x"])):
        x, y = jnp.asarray(case["x"][i]), jnp.asarray(case["y"][i])
        value, gradient = step(variables, x, y)
        np.testing.assert_allclose(value, case["loss"][i], rtol=1e-5)
        if i == 0:
            expected = variables_of(case, "grad0")
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
                gradient,
                expected,
            )
        updates, state = tx.update(gradient, state)
        variables = optax.apply_updates(variables, updates)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        variables,
        variables_of(case, "params1"),
    )


def test_exact_and_sampled_kl_agree_on_average(key):
    posterior = vae.Normal(jnp.array([[0.7, -0.2]]), jnp.array([[-1.0, 0.5]]))
    many = jax.tree.map(lambda leaf: jnp.repeat(leaf, 200_000, 0), posterior)
    code = vae.draw(many, jax.random.normal(key, (200_000, 2)))
    exact = vae.kl(posterior)[0]
    # the deviation of a draw is about 1, so that of the mean is 0.002
    np.testing.assert_allclose(vae.sampled_kl(many, code).mean(0), exact, atol=0.01)
    # in torch's words: KL(N(0.7, e^-1) ‖ N(0, 1))
    expected = 0.5 * (0.49 + np.exp(-1) + 1 - 1)
    np.testing.assert_allclose(exact[0], expected, rtol=1e-5)


def test_importance_bound_rises_to_the_truth(key):
    # z ~ N(0, 1), x | z ~ N(z, 1): log p(x) is that of N(0, 2), q a bad guess of z | x.
    x = jnp.array([[0.3], [-1.5]])
    encode = lambda x: vae.Normal(0.3 * x, jnp.zeros_like(x))
    decode = lambda z: z
    bound = lambda samples: vae.importance_bound(
        encode, decode, x, samples=samples, key=key, log_likelihood=vae.gaussian
    )
    truth = -0.5 * (np.asarray(x[:, 0]) ** 2 / 2 + np.log(4 * np.pi))
    np.testing.assert_allclose(
        jax.jit(bound, static_argnums=0)(20_000), truth, atol=0.02
    )
    singles = jax.vmap(
        lambda key: vae.importance_bound(
            encode, decode, x, samples=1, key=key, log_likelihood=vae.gaussian
        )
    )(jax.random.split(key, 5000)).mean(0)
    posterior = encode(x)
    # the exact ELBO: E log p(x|z) = -((0.7 x)² + 1 + log 2π) / 2
    inside = -0.5 * ((0.7 * np.asarray(x[:, 0])) ** 2 + 1 + np.log(2 * np.pi))
    np.testing.assert_allclose(
        singles, inside - np.asarray(vae.kl(posterior)[:, 0]), atol=0.05
    )
    assert (singles < truth).all()


def test_beta_and_free_bits():
    posterior = vae.Normal(jnp.array([[2.0, 0.1]]), jnp.zeros((1, 2)))
    x = logits = jnp.zeros((1, 3))
    output = vae.Output(logits, posterior, posterior.mean)
    nats = 3 * np.log(2)
    value = lambda **options: float(vae.loss(output, x, **options)[0])
    np.testing.assert_allclose(value(beta=0.0), nats, rtol=1e-6)
    np.testing.assert_allclose(value(beta=2.0), nats + 2 * 2.005, rtol=1e-6)
    np.testing.assert_allclose(value(free_bits=0.5), nats + 2.5, rtol=1e-6)
    gradient = jax.grad(
        lambda m: vae.loss(
            output._replace(posterior=posterior._replace(mean=m)), x, free_bits=0.5
        ).sum()
    )(posterior.mean)
    np.testing.assert_allclose(gradient, [[2.0, 0.0]])
    with pytest.raises(ValueError, match="free_bits must be at least 0"):
        value(free_bits=-1.0)


@pytest.mark.parametrize("name", ["dense", "conv", "discrete"])
def test_contract(name, key):
    make = {
        "dense": lambda **o: vae.VAE((16,), 3, SHAPE, **o),
        "conv": lambda **o: conv_vae.ConvVAE((4, 8), 3, SHAPE, dense=16, **o),
        "discrete": lambda **o: discrete_vae.DiscreteVAE((16,), 4, 3, SHAPE, **o),
    }[name]
    module = discrete_vae if name == "discrete" else vae
    model = make()
    x = jax.random.uniform(key, (4, *SHAPE))
    variables = jax.jit(model.init)(key, x)

    @jax.jit
    def loss(variables, key):
        output = model.apply(variables, x, train=True, rngs={"dropout": key})
        return module.loss(output, x).mean()

    gradient = jax.jit(jax.grad(loss))(variables, key)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path
    assert loss(variables, key) != loss(variables, jax.random.key(1))
    calm = model.apply(variables, x)
    assert calm.reconstruction.shape == x.shape
    half = make(dtype=jnp.bfloat16).apply(variables, x)
    assert half.reconstruction.dtype == jnp.bfloat16


def test_gumbel_draws_the_categories_with_their_chances(key):
    logits = jnp.log(jnp.array([0.6, 0.3, 0.1]))
    many = jnp.broadcast_to(logits, (20_000, 3))
    hard = discrete_vae.gumbel_softmax(many, key=key, hard=True)
    assert set(np.unique(hard)) == {0.0, 1.0}
    np.testing.assert_allclose(hard.mean(0), [0.6, 0.3, 0.1], atol=0.015)
    cold = discrete_vae.gumbel_softmax(many, key=key, temperature=1e-3)
    np.testing.assert_allclose(cold, hard, atol=0.51)
    np.testing.assert_allclose(discrete_vae.kl(jnp.zeros((1, 2, 3))), 0, atol=1e-6)


class TestCodebook:
    def test_nearest_is_nearest_and_lets_the_gradient_through(self, key):
        codes = jax.random.normal(key, (9, 4))
        latents = jax.random.normal(jax.random.key(1), (5, 3, 4))
        found = jax.jit(codebook.nearest)(codes, latents)
        apart = np.asarray(latents)[..., None, :] - np.asarray(codes)
        np.testing.assert_array_equal(found.indices, (apart**2).sum(-1).argmin(-1))
        np.testing.assert_allclose(found.codes, codes[found.indices], atol=1e-6)
        gradient = jax.grad(lambda z: (codebook.nearest(codes, z).codes * 3).sum())
        np.testing.assert_array_equal(gradient(latents), np.full((5, 3, 4), 3.0))
        to_codes = lambda table: codebook.nearest(table, latents).commitment.sum()
        np.testing.assert_array_equal(jax.grad(to_codes)(codes), np.zeros((9, 4)))

    def test_averages_converge_to_the_means_of_clusters(self, key):
        centers = jnp.array([[4.0, 0.0], [0.0, 4.0], [-4.0, -4.0]])
        book = codebook.init(key, codes=3, features=2)
        draw = lambda key: (
            centers[jax.random.randint(key, (64,), 0, 3)]
            + 0.1 * jax.random.normal(key, (64, 2))
        )

        @jax.jit
        def step(book, key):
            latents = draw(key)
            found = codebook.nearest(book.codes, latents)
            book = codebook.update(book, latents, found.indices, decay=0.9)
            return codebook.restart(book, latents, key=key, least=0.5), found.indices

        for key in jax.random.split(key, 60):
            book, index = step(book, key)
        order = codebook.nearest(book.codes, centers).indices
        assert sorted(order.tolist()) == [0, 1, 2]
        np.testing.assert_allclose(book.codes[order], centers, atol=0.1)
        assert codebook.perplexity(index, 3) > 2.5

    def test_a_network_learns_through_it(self, key):
        model = vq_vae.VQVAE(1, width=8, code=4, blocks=1)
        images = jax.random.uniform(key, (2, 8, 8, 1))
        book = codebook.init(key, codes=6, features=4)
        variables = jax.jit(model.init)(key, images, book.codes)

        @jax.jit
        def loss(variables):
            output = model.apply(variables, images, book.codes)
            error = autoencoder_losses.square_error(output.reconstruction, images)
            return (error + 0.25 * output.found.commitment.mean((1, 2))).mean()

        gradient = jax.jit(jax.grad(loss))(variables)
        assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))
        output = model.apply(variables, images, book.codes)
        assert output.latents.shape == (2, 2, 2, 4)
        again = model.apply(
            variables, output.found.indices, book.codes, method="lookup"
        )
        np.testing.assert_allclose(again, output.reconstruction, atol=1e-5)

    def test_two_grids_learn_and_their_tables_follow(self, key):
        model = vq_vae2.VQVAE2(1, 8, 1, 4, code=4, codes=6)
        images = jax.random.uniform(key, (2, 8, 16, 1))
        variables = jax.jit(model.init)(key, images)

        @jax.jit
        def step(variables):
            def loss(params):
                output, state = model.apply(
                    {**variables, "params": params},
                    images,
                    train=True,
                    mutable=["codebook"],
                )
                error = autoencoder_losses.square_error(output.reconstruction, images)
                return (error + 0.25 * output.commitment).mean(), (output, state)

            return jax.grad(loss, has_aux=True)(variables["params"])

        gradient, (output, state) = step(variables)
        assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))
        assert output.top_indices.shape == (2, 1, 2)
        assert output.bottom_indices.shape == (2, 2, 4)
        for name, count in (("quantize_t", 4), ("quantize_b", 16)):
            table = state["codebook"][name]
            np.testing.assert_allclose(table["uses"].sum(), 0.01 * count, rtol=1e-4)
            assert (
                np.abs(table["codes"] - variables["codebook"][name]["codes"]).max() > 0
            )
        with pytest.raises(ValueError, match="8 n, 8 m, 1"):
            model.init(key, images[:, :4])

    @pytest.mark.usefixtures("unchecked")
    def test_rejects_other_features_and_sides(self, key):
        with pytest.raises(ValueError, match="codes' 4 features; got"):
            codebook.nearest(jnp.zeros((3, 4)), jnp.zeros((2, 5)))
        with pytest.raises(ValueError, match="at least 1; got 0 and 4"):
            codebook.init(key, codes=0, features=4)
        model = vq_vae.VQVAE(1, width=8, code=4)
        with pytest.raises(ValueError, match="4 n, 4 m, 1"):
            model.init(key, jnp.zeros((1, 6, 8, 1)), jnp.zeros((3, 4)))


def test_rejects_no_samples_and_other_shapes(key):
    encode = lambda x: vae.Normal(x, x)
    with pytest.raises(ValueError, match="samples must be at least 1; got 0"):
        vae.importance_bound(encode, lambda z: z, jnp.ones((1, 2)), samples=0, key=key)
    with pytest.raises(ValueError, match=r"x must be \[batch, 7, 5, 1\]"):
        vae.VAE((4,), 2, SHAPE).init(key, jnp.zeros((1, 5, 7, 1)))
    with pytest.raises(ValueError, match="2 categories or more"):
        discrete_vae.DiscreteVAE((4,), 2, 1, SHAPE).init(key, jnp.zeros((1, *SHAPE)))
