"""What every network must keep, whatever it computes."""

from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models import mlp, wide_deep
from jaxml.models.vision import (
    cnn,
    convnext,
    efficientnet,
    efficientnet_v2,
    lenet,
    mobilenet_v2,
    resnet,
    resnet_d,
)

# One block a stage: what holds for them holds for the named sizes.
SMALL = {"depths": (1, 1, 1, 1), "width": 4, "num_classes": 5}
IMAGES, ROWS = (4, 16, 16, 2), (4, 6)
# A row for each network: (maker, options, shape of each input).
CASES = [
    pytest.param(mlp.MLP, {"hidden": (8, 8), "num_outputs": 5}, [IMAGES], id="mlp"),
    pytest.param(
        mlp.selu_mlp,
        {"hidden": (8,), "num_outputs": 1, "dropout": 0.2},
        [ROWS],
        id="selu_mlp",
    ),
    pytest.param(
        mlp.MLP,
        {
            "hidden": (8, 8),
            "num_outputs": 5,
            "activation": ("prelu", "swiglu"),
            "norm": ("batch", "layer"),
            "norm_position": "after",
            "dropout": 0.2,
            "input_dropout": 0.1,
            "remat": True,
        },
        [ROWS],
        id="mlp_everything",
    ),
    pytest.param(
        wide_deep.WideDeep, {"norm": "batch", "dropout": 0.1}, [ROWS, ROWS], id="wide"
    ),
    pytest.param(lenet.LeNet5, {}, [IMAGES], id="lenet5"),
    pytest.param(cnn.CNN, {"widths": (4, 8), "dropout": 0.3}, [IMAGES], id="cnn"),
    pytest.param(cnn.BookCNN, {}, [(2, 8, 8, 1)], id="book_cnn"),
    pytest.param(
        resnet.ResNet, {"block": resnet.BasicBlock, **SMALL}, [IMAGES], id="resnet"
    ),
    pytest.param(
        resnet.ResNet,
        {"block": resnet.Bottleneck, "stem_pool": False, "remat": True, **SMALL},
        [IMAGES],
        id="resnet_bottleneck",
    ),
    pytest.param(
        resnet.ResNet,
        {
            "depths": (1, 2),
            "block": partial(
                resnet.Bottleneck, groups=2, shortcut=resnet_d.average_projection
            ),
            "width": 4,
            "num_classes": 5,
            "stem": resnet_d.deep_stem,
            "attention": resnet_d.squeeze_excitation,
        },
        [IMAGES],
        id="resnet_d",
    ),
    pytest.param(
        mobilenet_v2.MobileNetV2,
        {
            "stages": (
                mobilenet_v2.Stage(1, 8, 1, 1),
                mobilenet_v2.Stage(2, 8, 2, 2),
            ),
            "stem_features": 8,
            "last_features": 16,
            "num_classes": 5,
            "dropout": 0.1,
        },
        [IMAGES],
        id="mobilenet_v2",
    ),
    pytest.param(
        efficientnet.EfficientNet,
        {
            "stages": (
                efficientnet.Stage(2, 3, 1, 8, 1, efficientnet_v2.FusedMBConv),
                efficientnet.Stage(2, 5, 2, 8, 2),
            ),
            "stem_features": 8,
            "last_features": 16,
            "num_classes": 5,
            "dropout": 0.1,
            "drop_path": 0.0,
            "remat": True,
        },
        [IMAGES],
        id="efficientnet",
    ),
    pytest.param(
        convnext.ConvNeXt,
        {
            "depths": (1, 2),
            "widths": (4, 8),
            "num_classes": 5,
            "block": convnext.BlockV2,
        },
        [IMAGES],
        id="convnext",
    ),
]


@pytest.fixture
def inputs(shapes, key):
    keys = jax.random.split(key, len(shapes))
    return [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]


def draws(maker, options):
    """Whether the network has dropout, and so needs a key in training."""
    return bool(options.get("dropout", maker is cnn.BookCNN))


def started(model, inputs, seed=0):
    """Variables of the right shape and scale, without compiling an initialisation."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if path[-1].key in ("scale", "var"):
            return np.ones(leaf.shape, leaf.dtype)
        deviation = (2 / max(1, np.prod(leaf.shape[:-1]))) ** 0.5
        deviation = deviation if leaf.ndim > 1 else 0.1
        return rng.normal(0, deviation, leaf.shape).astype(leaf.dtype)

    shapes = jax.eval_shape(model.init, jax.random.key(1), *inputs)
    return jax.tree_util.tree_map_with_path(draw, shapes)


def training(model, variables, inputs, mask=None):
    """Outputs and running statistics of one training pass."""
    return model.apply(
        variables,
        *inputs,
        train=True,
        mask=mask,
        mutable=["batch_stats"],
        rngs={"dropout": jax.random.key(2)},
    )


def total(tree):
    return sum(
        jnp.square(leaf.astype(jnp.float32)).sum() for leaf in jax.tree.leaves(tree)
    )


@pytest.mark.parametrize(("maker", "options", "shapes"), CASES)
class TestContract:
    def test_jit_equals_eager(self, maker, options, inputs):
        model = maker(**options)
        variables = started(model, inputs)
        eager = model.apply(variables, *inputs)
        # fused sums of float32 in another order
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5),
            jax.jit(model.apply)(variables, *inputs),
            eager,
        )

    def test_half_precision_computes_and_stores_as_told(self, maker, options, inputs):
        model = maker(**options, dtype=jnp.bfloat16)
        variables = started(model, inputs)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {
            jnp.dtype("float32")
        }
        exact, half = (
            jax.jit(maker(**options, dtype=dtype).apply)(variables, *inputs)
            for dtype in (jnp.float32, jnp.bfloat16)
        )
        for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(half), strict=True):
            assert b.dtype == jnp.bfloat16
            # eight bits of mantissa, through up to a dozen layers
            np.testing.assert_allclose(a, b.astype(jnp.float32), rtol=0.1, atol=0.1)
        stored = jax.eval_shape(
            maker(**options, param_dtype=jnp.bfloat16).init, jax.random.key(0), *inputs
        )
        assert {leaf.dtype for leaf in jax.tree.leaves(stored["params"])} == {
            jnp.dtype("bfloat16")
        }

    def test_every_parameter_learns(self, maker, options, inputs):
        model = maker(**options)
        variables = started(model, inputs)

        def loss(params):
            return total(training(model, {**variables, "params": params}, inputs)[0])

        gradient = jax.jit(jax.grad(loss))(variables["params"])
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
            assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
            assert np.any(leaf != 0), jax.tree_util.keystr(path)

    def test_rows_of_padding_change_no_row_and_no_statistic(
        self, maker, options, inputs
    ):
        if draws(maker, options):
            # Dropout draws by position, so the same rows must stand first.
            options = {**options, "dropout": 0.0}
            options |= {"input_dropout": 0.0} if "input_dropout" in options else {}
        model = maker(**options)
        variables = started(model, inputs)
        padded = [jnp.concatenate([x, x[:2] + 7]) for x in inputs]
        rows = inputs[0].shape[0]
        mask = jnp.arange(rows + 2) < rows
        run = jax.jit(training, static_argnums=0)
        outputs, stats = run(model, variables, padded, mask)
        expected, expected_stats = run(model, variables, inputs)
        # a batch norm over few values divides by a small deviation
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)
        jax.tree.map(lambda a, b: close(a[:rows], b), outputs, expected)
        jax.tree.map(close, stats, expected_stats)

    def test_training_with_dropout_asks_for_its_key(self, maker, options, inputs):
        model = maker(**options)
        variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
        run = lambda v: model.apply(v, *inputs, train=True, mutable=["batch_stats"])
        if draws(maker, options):
            with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
                jax.eval_shape(run, variables)
        else:
            jax.eval_shape(run, variables)

    def test_population_of_parameters_runs_by_vmap(self, maker, options, inputs):
        model = maker(**options)
        each = [started(model, inputs, seed) for seed in range(2)]
        apply = lambda v: model.apply(v, *inputs)
        many = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a[1], b, rtol=2e-4, atol=2e-5),
            jax.jit(jax.vmap(apply))(many),
            jax.jit(apply)(each[1]),
        )

    def test_intermediates_are_reachable(self, maker, options, inputs):
        model = maker(**options)
        variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
        _, state = jax.eval_shape(
            lambda v: model.apply(v, *inputs, capture_intermediates=True), variables
        )
        assert set(state["intermediates"]) > set(variables["params"])

    @pytest.mark.usefixtures("unchecked")
    def test_rejects_wrong_rank_and_integers(self, maker, options, inputs):
        model = maker(**options)
        variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
        run = lambda *inputs: jax.eval_shape(
            lambda v: model.apply(v, *inputs), variables
        )
        flat = [x.ravel() for x in inputs]
        with pytest.raises(ValueError, match=r"must be floating-point \[batch, "):
            run(*flat)
        pixels = [x.astype(jnp.uint8) for x in inputs]
        with pytest.raises(ValueError, match=r"got uint8 \[.*/ 255"):
            run(*pixels)
