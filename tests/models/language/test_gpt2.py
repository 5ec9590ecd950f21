import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.language import gpt2

IDS = jnp.array([[3, 1, 4, 1, 5]])
SMALL = {"vocab_size": 7, "width": 8, "depth": 2, "heads": 2, "max_positions": 6}


@pytest.mark.parametrize(
    ("make", "parameters"),  # the released checkpoints
    [
        (gpt2.gpt2, 124_439_808),
        (gpt2.gpt2_medium, 354_823_168),
        (gpt2.gpt2_large, 774_030_080),
        (gpt2.gpt2_xl, 1_557_611_200),
    ],
)
def test_named_sizes(make, parameters):
    shapes = jax.eval_shape(make(scan=True).init, jax.random.key(0), IDS)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == parameters


def test_starts_with_the_logits_of_a_uniform_guess_and_learns():
    model = gpt2.GPT2(**SMALL)
    variables = jax.jit(model.init)(jax.random.key(0), IDS)

    def loss(params, key):
        out = model.apply({"params": params}, IDS, train=True, rngs={"dropout": key})
        return -jax.nn.log_softmax(out.logits[:, :-1])[
            0, jnp.arange(4), IDS[0, 1:]
        ].mean()

    value, slope = jax.jit(jax.value_and_grad(loss))(
        variables["params"], jax.random.key(1)
    )
    assert value == pytest.approx(np.log(7), abs=0.2)
    for path, leaf in jax.tree_util.tree_leaves_with_path(slope):
        # A bias of all keys alike changes no softmax.
        if "'key'" not in jax.tree_util.keystr(path) or leaf.ndim > 1:
            assert np.any(leaf != 0), jax.tree_util.keystr(path)


def test_attention_may_be_scaled_by_depth():
    plain = gpt2.GPT2(**SMALL, scaled=False, scaled_by_depth=True)
    variables = jax.jit(plain.init)(jax.random.key(0), IDS)
    params = jax.tree.map(lambda x: 3 * x, variables["params"])
    got = jax.jit(plain.apply)({"params": params}, IDS).logits
    # The same by weights: queries of width 4 are divided by 2 where `scaled` is true.
    for i, factor in ((0, 2.0), (1, 1.0)):
        query = params[f"layers_{i}"]["attention"]["query"]
        params[f"layers_{i}"]["attention"]["query"] = jax.tree.map(
            lambda x, f=factor: f * x, query
        )
    again = jax.jit(gpt2.GPT2(**SMALL).apply)({"params": params}, IDS).logits
    np.testing.assert_allclose(got, again, rtol=1e-5, atol=1e-6)


def test_rejects_texts_beyond_the_table():
    with pytest.raises(ValueError, match="at most 4 tokens; got 5"):
        jax.eval_shape(gpt2.GPT2(max_positions=4).init, jax.random.key(0), IDS)
