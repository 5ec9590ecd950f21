import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models import mlp


def from_torch(params):
    """Sequential 1 ... 7 of torch, under our names."""
    homes = {"1": "hidden_0/dense", "2": "hidden_0/norm", "4": "hidden_1/dense"}
    homes |= {"5": "hidden_1/norm", "7": "head"}
    tree: dict = {"params": {}, "batch_stats": {}}
    for name, array in params.items():
        number, leaf = name.split(".")
        if leaf == "num_batches_tracked":
            continue
        kind = "batch_stats" if leaf.startswith("running_") else "params"
        node = tree[kind]
        for parent in homes[number].split("/"):
            node = node.setdefault(parent, {})
        weight = "kernel" if array.ndim == 2 else "scale"
        node[{"weight": weight}.get(leaf, leaf.removeprefix("running_"))] = array.T
    return tree


def test_logits_are_those_of_torch(load_case):
    case = load_case("nn_mlp")
    model = mlp.MLP((32, 16), 10, activation=("relu", "gelu"), norm=("batch", "layer"))
    variables = from_torch(case.params)
    shapes = jax.eval_shape(model.init, jax.random.key(0), case.images)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    case.check({"out": model.apply(variables, case.images)})


def test_selu_keeps_mean_and_deviation_through_a_hundred_layers(key):
    x = jax.random.normal(key, (500, 100))
    model = mlp.selu_mlp((100,) * 100, 1)
    variables = model.init(key, x)
    _, state = jax.jit(lambda v: model.apply(v, x, capture_intermediates=True))(
        variables
    )
    last = state["intermediates"]["hidden_99"]["__call__"][0]
    # widths of 100 wander a little around the fixed point
    assert abs(last.mean()) < 0.3
    assert 0.7 < last.std() < 1.3


def test_norm_may_stand_on_either_side_of_the_activation(key):
    x = jax.random.normal(key, (6, 4))
    after = mlp.MLP((8,), 2, norm="layer", norm_position="after")
    variables = after.init(key, x)
    hidden = variables["params"]["hidden_0"]
    normed = lambda y: (y - y.mean(-1, keepdims=True)) / y.std(-1, keepdims=True)
    linear, head = x @ hidden["dense"]["kernel"], variables["params"]["head"]["kernel"]
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    close(after.apply(variables, x), normed(jax.nn.relu(linear)) @ head)
    before = mlp.MLP((8,), 2, norm="layer")
    close(before.apply(variables, x), jax.nn.relu(normed(linear)) @ head)


def test_no_hidden_layer_is_a_linear_model(key):
    x = jax.random.normal(key, (3, 4))
    model = mlp.MLP((), 1)
    variables = model.init(key, x)
    assert set(variables["params"]) == {"head"}
    assert model.apply(variables, x).shape == (3, 1)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rulu"}, "no activation 'rulu'; nearest: relu"),
        ({"norm": "bach"}, "no norm 'bach'; nearest: batch"),
        ({"norm_position": "befor"}, "nearest: before"),
        ({"dropout_kind": "alfa"}, "no dropout_kind 'alfa'; nearest: alpha"),
        ({"kernel_init": "he_norm"}, "no initialiser 'he_norm'; nearest: he_normal"),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1; got 1"),
        ({"hidden": (0,)}, "features must be at least 1; got 0"),
        ({"activation": ("relu", "relu")}, "each of the 1 hidden layers; got 2"),
    ],
)
def test_rejects_options_that_are_unknown(options, message):
    model = mlp.MLP(**{"hidden": (4,), "num_outputs": 2, **options})
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), jnp.ones((2, 3)))
