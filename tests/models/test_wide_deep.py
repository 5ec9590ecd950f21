import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models import wide_deep


@pytest.fixture
def inputs(key):
    x = jax.random.normal(key, (5, 8))
    return x[:, :5], x[:, 2:]


def test_main_head_sees_both_inputs_and_auxiliary_the_deep_alone(inputs, key):
    model = wide_deep.WideDeep((30, 30))
    variables = model.init(key, *inputs)
    params = variables["params"]
    hidden = inputs[1]
    for layer in ("hidden_0", "hidden_1"):
        dense = params[layer]["dense"]
        hidden = jax.nn.relu(hidden @ dense["kernel"] + dense["bias"][None])
    main, auxiliary = model.apply(variables, *inputs)
    both = np.concatenate([inputs[0], hidden], axis=1)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    close(main, both @ params["main"]["kernel"])
    close(auxiliary, hidden @ params["auxiliary"]["kernel"])


def test_loss_weighs_the_heads_row_by_row():
    prediction = wide_deep.Prediction(
        jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [0]])
    )
    values = wide_deep.loss(prediction, jnp.array([[0.0], [0.0]]))
    np.testing.assert_allclose(values, [0.9 * 1 + 0.1 * 9, 0.9 * 4], rtol=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_rejects_rows_that_do_not_pair(inputs, key):
    with pytest.raises(ValueError, match="row for each other; got 5 and 4"):
        wide_deep.WideDeep().init(key, inputs[0], inputs[1][:4])
    prediction = wide_deep.Prediction(jnp.zeros((2, 1)), jnp.zeros((2, 1)))
    with pytest.raises(ValueError, match=r"target must be \[2, 1\].*got \[2\]"):
        wide_deep.loss(prediction, jnp.zeros(2))
