"""Targets, losses, guidance and pictures of diffusion."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.generative import (
    ddpm,
    diffusion,
    flow,
    guidance,
    hybrid,
    pixels,
    sampling,
    spacing,
)

SCHEDULE = diffusion.linear(50)


@pytest.mark.parametrize("kind", diffusion.TARGETS)
class TestTargets:
    def test_answers_are_split_into_what_they_were_made_of(self, kind, key):
        x0, noise = jax.random.normal(key, (2, 5, 3))
        times = jnp.array([0, 10, 20, 30, 49])
        left = SCHEDULE.alphas_cumprod[times]
        x = diffusion.add_noise(SCHEDULE, x0, noise, times)
        output = diffusion.target(kind, x0, noise, left)
        clean, eps = diffusion.split(diffusion.weights(kind, left), output, x)
        # dividing by √(1 - ᾱ) = 0.01 at the first timestep costs two digits
        np.testing.assert_allclose(clean, x0, atol=2e-4)
        np.testing.assert_allclose(eps, noise, atol=2e-4)

    def test_a_network_that_knows_has_no_loss(self, kind, key):
        x0 = jnp.full((64, 3), 0.5)

        def knows(x, times):
            left = SCHEDULE.alphas_cumprod[times][:, None]
            noise = (x - jnp.sqrt(left) * 0.5) / jnp.sqrt(1 - left)
            return diffusion.target(kind, jnp.full_like(x, 0.5), noise, left[:, 0])

        values = diffusion.loss(knows, SCHEDULE, x0, key=key, kind=kind)
        assert values.shape == (64,)
        np.testing.assert_allclose(values, 0, atol=1e-6)
        far = diffusion.loss(
            lambda x, t: knows(x, t) + 2.0, SCHEDULE, x0, key=key, kind=kind
        )
        np.testing.assert_allclose(far, 4.0, rtol=1e-3)


def test_cosine_keeps_the_signal_it_promises():
    schedule = diffusion.cosine(1000)
    times = np.arange(1, 1001) / 1000
    promised = np.cos((times + 0.008) / 1.008 * np.pi / 2) ** 2
    promised /= np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    # the last betas are cut at 0.999
    np.testing.assert_allclose(schedule.alphas_cumprod, promised, atol=1e-6)


class TestHybrid:
    def test_bound_is_zero_for_the_posterior_itself(self, key):
        x0 = jnp.full((5, 4), 0.25)
        times = jnp.array([1, 5, 10, 30, 49])
        noise = jax.random.normal(key, x0.shape)
        x = diffusion.add_noise(SCHEDULE, x0, noise, times)
        output = jnp.concatenate([noise, jnp.full_like(noise, -1.0)], -1)
        bound = jax.jit(lambda output: hybrid.bound(output, SCHEDULE, x0, x, times))
        np.testing.assert_allclose(bound(output), 0, atol=1e-4)
        assert (bound(1.1 * output) > 1e-5).all()

    def test_levels_of_an_image_have_chances_that_sum_to_one(self):
        levels = jnp.arange(256) / 127.5 - 1
        for mean, deviation in ((0.1, 0.3), (-0.99, 0.01), (1.2, 0.2)):
            wide = jnp.full_like(levels, 2 * np.log(deviation))
            chances = jnp.exp(
                hybrid._log_bin(levels, jnp.full_like(levels, mean), wide)
            )
            np.testing.assert_allclose(chances.sum(), 1, atol=1e-3)

    def test_bound_teaches_the_variance_alone(self, key):
        x0 = jax.random.uniform(key, (8, 4), minval=-1.0)

        @partial(jax.jit, static_argnums=1)
        def slope(params, weight):
            return jax.grad(total)(params, weight)

        def total(params, weight):
            predict = lambda x, t: jnp.concatenate([params[0] * x, params[1] * x], -1)
            values = hybrid.loss(predict, SCHEDULE, x0, key=key, weight=weight)
            return values.mean()

        with_bound, without = (
            slope(jnp.array([0.5, 0.1]), weight) for weight in (1.0, 0.0)
        )
        np.testing.assert_allclose(with_bound[0], without[0], rtol=1e-6)
        assert without[1] == 0
        assert np.isfinite(with_bound[1])
        assert with_bound[1] != 0

    def test_rejects_an_answer_of_the_data_s_width(self, key):
        with pytest.raises(ValueError, match=r"must answer \[2, 6\]; got \[2, 3\]"):
            hybrid.loss(lambda x, t: x, SCHEDULE, jnp.zeros((2, 3)), key=key)


class TestGuidance:
    def test_classifier_free_is_a_line_through_both_answers(self):
        predict = lambda x, t, y: x + y[:, None]
        x, times = jnp.zeros((2, 3)), jnp.zeros(2)
        labels = jnp.array([1, 2])
        guide = lambda scale: guidance.classifier_free(predict, labels, 10, scale)(
            x, times
        )
        np.testing.assert_allclose(guide(0.0), np.full((2, 3), 10.0))
        np.testing.assert_allclose(guide(1.0)[:, 0], [1, 2])
        np.testing.assert_allclose(guide(3.0)[:, 0], [1 - 18, 2 - 16])

    def test_classifier_pushes_samples_to_its_class(self, key):
        # Data N(0, 1): the exact noise is √(1 - ᾱ) x. Class: exp(-(x - 1)² / 2).
        spread = lambda t: jnp.sqrt(1 - SCHEDULE.alphas_cumprod[t.astype(int)])
        predict = lambda x, t: spread(t)[:, None] * x
        log = lambda x, t: -jnp.square(x - 1).sum(-1) / 2
        guided = guidance.classifier_guided(predict, log, SCHEDULE, 1.0)
        times, x = jnp.array([5, 40]), jnp.array([[0.3], [2.0]])
        expected = predict(x, times) + spread(times)[:, None] * (x - 1)
        np.testing.assert_allclose(guided(x, times), expected, rtol=1e-5)
        plan = ddpm.plan(SCHEDULE, 50, clip=None)
        noise = jax.random.normal(key, (2000, 1))
        run = jax.jit(lambda noise: sampling.run(ddpm, plan, guided, noise, key=key))
        # without the push, 0
        assert 0.25 < run(noise).mean() < 0.75


def test_spacings_of_steps():
    assert spacing.timesteps(10, 5, "leading", offset=1).tolist() == [9, 7, 5, 3, 1]
    assert spacing.timesteps(10, 4, "linspace").tolist() == [9, 6, 3, 0]
    assert spacing.timesteps(10, 3, "trailing").tolist() == [9, 6, 2]
    with pytest.raises(ValueError, match="no spacing of timesteps 'lead'"):
        spacing.timesteps(10, 3, "lead")
    levels = spacing.karras(jnp.array(0.01), jnp.array(80.0), 5)
    np.testing.assert_allclose(levels[jnp.array([0, -1])], [80, 0.01], rtol=1e-4)
    assert (jnp.diff(levels) < 0).all()


def test_flow_couples_noise_with_where_it_flows(key):
    noise = jax.random.normal(key, (4, 2))
    start, end = flow.couple(lambda x, t: jnp.full_like(x, 2.0), noise, 4)
    np.testing.assert_array_equal(start, noise)
    np.testing.assert_allclose(end, noise + 2, rtol=1e-6)
    knows = lambda x, t: end - noise
    options = {"noise": noise, "times": "logit_normal", "bounded": False}
    values = flow.loss(knows, end, key=key, **options)
    np.testing.assert_allclose(values, 0, atol=1e-10)


class TestPixels:
    def test_grid_places_images_in_rows_on_white(self):
        images = jnp.linspace(-1, 1, 3).reshape(3, 1, 1, 1) * jnp.ones((3, 2, 2, 1))
        picture = np.array(pixels.grid(images, columns=2, gap=1))
        assert picture.shape == (7, 7, 1)
        assert picture.dtype == np.uint8
        assert (picture[1:3, 1:3] == 0).all()
        assert (picture[1:3, 4:6] == 128).all()
        assert (picture[4:6, 1:3] == 255).all()
        picture[1:3, 1:6] = 255
        assert (picture == 255).all()

    def test_pairs_and_strip(self):
        images = jnp.zeros((3, 4, 4, 1))
        assert pixels.pairs(images, images - 1).shape == (14, 20, 1)
        path = jnp.linspace(-1, 1, 10).reshape(10, 1, 1, 1, 1) * jnp.ones(
            (1, 2, 4, 4, 1)
        )
        picture = pixels.strip(path, frames=4, gap=0)
        assert picture.shape == (8, 16, 1)
        np.testing.assert_array_equal(picture[0, ::4, 0], [0, 85, 170, 255])

    def test_bytes_come_back(self):
        every = jnp.arange(256, dtype=jnp.uint8)
        np.testing.assert_array_equal(pixels.to_bytes(pixels.from_bytes(every)), every)

    def test_codes_between_two(self):
        a, b = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
        arc = pixels.interpolate(a, b, frames=3, spherical=True)
        np.testing.assert_allclose(arc[1], [0.5**0.5] * 2, rtol=1e-6)
        same = pixels.interpolate(a, a, frames=3, spherical=True)
        np.testing.assert_allclose(same[1], a, atol=1e-6)
        with pytest.raises(ValueError, match="frames must be at least 2; got 1"):
            pixels.interpolate(a, b, frames=1)

    def test_rejects_images_outside_the_range(self, key):
        for loss in (
            lambda x: diffusion.loss(lambda x, t: x, SCHEDULE, x, key=key),
            lambda x: hybrid.loss(lambda x, t: x, SCHEDULE, x, key=key),
            lambda x: flow.loss(lambda x, t: x, x, key=key),
        ):
            for bad in (1.5, -2.0, jnp.nan):
                with pytest.raises(ValueError, match="images must be from -1 to 1"):
                    loss(jnp.full((2, 3), bad))
        with pytest.raises(ValueError, match="a grid needs images"):
            pixels.grid(jnp.zeros((0, 2, 2, 1)))

    def test_rejects_empty_schedules(self):
        with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
            diffusion.linear(0)
        with pytest.raises(ValueError, match="each between 0 and 1"):
            diffusion.from_betas(np.array([0.1, 1.0]))
        with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
            flow.plan(0)
