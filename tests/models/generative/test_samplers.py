"""Schedules and samplers against the trajectories of the diffusers library."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxml.models.generative import (
    ddim,
    ddpm,
    diffusion,
    dpm_solver,
    euler,
    heun,
    pndm,
    sampling,
    spacing,
)

LATENT = {"start": 0.00085, "end": 0.012}
# name of the case: sampler, schedule, options of its plan, calls of the network
CASES = {
    "ddpm_linear_small": (ddpm, diffusion.linear(), {}, 10),
    "ddpm_learned_range": (
        ddpm,
        diffusion.linear(),
        {"variance": "learned_range", "clip": None},
        6,
    ),
    "ddim_eps": (
        ddim,
        diffusion.scaled_linear(),
        {"clip": None, "to_one": False, "offset": 1},
        10,
    ),
    "euler": (euler, diffusion.scaled_linear(**LATENT), {}, 8),
    "heun": (heun, diffusion.linear(**LATENT), {}, 5),
    "dpmpp_2m": (dpm_solver, diffusion.scaled_linear(**LATENT), {}, 10),
    "pndm": (pndm, diffusion.linear(), {"offset": 1}, 8),
}


@pytest.fixture
def case(parity_folder, name):
    path = parity_folder / "open" / f"x_sched_{name}"
    steps = json.loads(path.with_suffix(".json").read_text())["steps"]
    assert steps == CASES[name][3]
    return load_file(path.with_suffix(".safetensors"))


def last(images):
    """Channels last, as the networks of this library have them."""
    return jnp.asarray(np.moveaxis(images, 2, -1))


def close(ours, theirs, scale=1.0):
    """Within 1e-5 of the size of the numbers (of 1, where they are smaller)."""
    size = max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=scale * 1e-5 * size)


@pytest.mark.parametrize("name", CASES)
class TestParity:
    def test_schedule_and_added_noise(self, case, name):
        schedule = CASES[name][1]
        close(schedule.betas, case["betas"])
        close(schedule.alphas_cumprod, case["alphas_cumprod"])
        x0, noise = (jnp.asarray(case[f"add_noise/{part}"]) for part in ("x0", "noise"))
        times = case["add_noise/t"]
        if name in ("euler", "heun"):
            level = np.interp(times, np.arange(1000), spacing.sigmas(schedule))
            ours = x0 + level.reshape(-1, 1, 1, 1).astype(np.float32) * noise
        else:
            ours = diffusion.add_noise(
                schedule, x0, noise, jnp.asarray(times.astype(np.int32))
            )
        close(ours, case["add_noise/out"])

    def test_every_step_from_their_x(self, case, name):
        sampler, schedule, options, steps = CASES[name]
        plan = sampler.plan(schedule, steps, **options)
        np.testing.assert_allclose(plan.timestep, case["timesteps"], rtol=1e-6)
        x, outputs = last(case["x"]), last(case["model_out"])
        noise = last(case["step_noise"]) if "step_noise" in case else None
        state = sampler.start(plan, x[0])
        if hasattr(plan, "largest"):
            state = sampler.start(plan, x[0] / plan.largest[0])
        step = jax.jit(sampler.step)
        for i in range(len(outputs)):
            row = sampling.row(plan, i)
            drawn = None if noise is None else noise[min(i, len(noise) - 1)]
            state = step(state, outputs[i], row, drawn)
            close(state.x, x[i + 1])

    def test_one_scan_of_all_steps(self, case, name):
        if "step_noise" in case:
            pytest.skip("their noise is not that of our key")
        sampler, schedule, options, steps = CASES[name]
        plan = sampler.plan(schedule, steps, **options)
        mix = jnp.asarray(case["pretend_net_W"])

        def predict(x, timestep):
            wave = 0.1 * jnp.sin(timestep / 100).reshape(-1, 1, 1, 1)
            return jnp.tanh(x @ mix.T) + wave

        x = last(case["x"])
        scale = plan.largest[0] if hasattr(plan, "largest") else 1.0
        run = jax.jit(partial(sampling.path, sampler, plan, predict))
        path = run(x[0] / scale)
        close(path, x[1:])


class TestErrors:
    def test_rejects_unknown_names(self):
        with pytest.raises(ValueError, match="schedule 'cosinus'; nearest: cosine"):
            diffusion.by_name("cosinus")
        with pytest.raises(ValueError, match="no target of diffusion 'noise'"):
            ddim.plan(diffusion.linear(10), 5, kind="noise")

    def test_rejects_no_steps_and_too_many(self):
        schedule = diffusion.linear(10)
        for sampler in (ddpm, ddim, euler, heun, dpm_solver, pndm):
            for steps in (0, 11):
                with pytest.raises(ValueError, match=f"steps must be .*got {steps}"):
                    sampler.plan(schedule, steps)

    def test_rejects_a_sampler_that_draws_without_key(self):
        schedule = diffusion.linear(10)
        x = jnp.zeros((2, 3))
        predict = lambda x, t: x
        with pytest.raises(ValueError, match="give a key"):
            sampling.run(ddpm, ddpm.plan(schedule, 5), predict, x)
        with pytest.raises(ValueError, match="eta > 0"):
            sampling.run(ddim, ddim.plan(schedule, 5, eta=0.5), predict, x)

    def test_rejects_an_answer_without_variance(self):
        plan = ddpm.plan(diffusion.linear(10), 5, variance="learned_range")
        x = jnp.zeros((2, 3))
        with pytest.raises(ValueError, match="twice that of x, 6; got 3"):
            sampling.run(ddpm, plan, lambda x, t: x, x, key=jax.random.key(0))
