import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.nn import activations

X = np.linspace(-6, 6, 49, dtype=np.float32)  # zero among them

# Our name, and torch's expression of it.
TORCH = {
    "sigmoid": lambda f, x: f.sigmoid(x),
    "tanh": lambda f, x: f.tanh(x),
    "relu": lambda f, x: f.relu(x),
    "leaky_relu": lambda f, x: f.leaky_relu(x),
    "elu": lambda f, x: f.elu(x),
    "selu": lambda f, x: f.selu(x),
    "softplus": lambda f, x: f.softplus(x),
    "softmax": lambda f, x: f.softmax(x, -1),
    "gelu": lambda f, x: f.gelu(x),
    "gelu_tanh": lambda f, x: f.gelu(x, approximate="tanh"),
    "quick_gelu": lambda f, x: x * f.sigmoid(1.702 * x),
    "silu": lambda f, x: f.silu(x),
    "swish": lambda f, x: f.silu(x),
    "mish": lambda f, x: f.mish(x),
    "relu2": lambda f, x: f.relu(x) ** 2,
    "hard_sigmoid": lambda f, x: f.hardsigmoid(x),
    "linear": lambda f, x: x * 1,
}


@pytest.mark.parametrize("name", TORCH)
def test_values_and_gradients_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    # Weights, or the gradient of a softmax's sum would be zero. At a kink torch may
    # choose another side, so the gradient is looked at beside it.
    weights = np.linspace(0.5, 1.5, 48, dtype=np.float32)
    x = np.delete(X, 24)
    theirs = torch.tensor(x, requires_grad=True)
    y = TORCH[name](torch.nn.functional, theirs)
    (y * torch.tensor(weights)).sum().backward()

    function = activations.by_name(name)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6)
    close(jax.jit(function)(x), y.detach().numpy())
    slope = jax.jit(jax.grad(lambda x: (function(x) * weights).sum()))(jnp.asarray(x))
    close(slope, theirs.grad.numpy())


def test_step_is_one_from_zero_upwards():
    np.testing.assert_array_equal(
        activations.step(jnp.array([-1.0, 0.0, 2.0])), [0, 1, 1]
    )


def test_swiglu_gates_the_second_half_by_the_first(key):
    x = jax.random.normal(key, (3, 8))
    np.testing.assert_allclose(
        activations.swiglu(x), jax.nn.silu(x[:, :4]) * x[:, 4:], rtol=1e-6
    )


def test_maxout_takes_the_largest_part(key):
    x = jax.random.normal(key, (3, 12))
    expected = np.asarray(x).reshape(3, 3, 4).max(1)
    np.testing.assert_array_equal(activations.maxout(x, parts=3), expected)


def test_rrelu_slopes_lie_between_and_average_without_key(key):
    x = -jnp.ones(10_000)
    y = activations.rrelu(x, key=key)
    assert -1 / 3 <= y.min() < -0.33
    assert -0.126 < y.max() <= -1 / 8
    np.testing.assert_allclose(activations.rrelu(x, key=None), -11 / 48, rtol=1e-6)
    np.testing.assert_array_equal(activations.rrelu(-x, key=key), -x)


def test_rrelu_module_draws_in_training_alone(key):
    x = -jnp.ones(4)
    module = activations.RReLU()
    quiet = module.apply({}, x)
    drawn = module.apply({}, x, train=True, rngs={"dropout": key})
    np.testing.assert_allclose(quiet, -11 / 48, rtol=1e-6)
    assert len(np.unique(drawn)) == 4


def test_prelu_learns_its_slope():
    x = jnp.array([-2.0, 3.0])
    module = activations.PReLU()
    variables = module.init(jax.random.key(0), x)
    np.testing.assert_array_equal(module.apply(variables, x), [-0.5, 3])
    gradient = jax.grad(lambda v: module.apply(v, x).sum())(variables)
    assert gradient["params"]["slope"] == -2


def test_every_name_keeps_bfloat16(key):
    x = jnp.ones((2, 4), jnp.bfloat16)
    for name in activations.NAMES:
        if name not in ("prelu", "rrelu"):
            assert activations.by_name(name)(x).dtype == jnp.bfloat16, name


def test_rejects_unknown_names_with_the_nearest():
    with pytest.raises(
        ValueError, match="no activation function 'gelo'; nearest: gelu"
    ):
        activations.by_name("gelo")
    with pytest.raises(ValueError, match="nearest: prelu"):
        activations.activate(jnp.zeros(2), "prellu")


def test_rejects_a_width_that_does_not_split():
    with pytest.raises(ValueError, match="split into 2 equal parts; got 5"):
        activations.swiglu(jnp.zeros((1, 5)))
