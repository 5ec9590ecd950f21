import jax
import jax.numpy as jnp
import pytest

from jaxml.models.vision import cnn, lenet


def count(model, *shape):
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def test_lenet_is_that_of_torch(load_case):
    case = load_case("nn_lenet5")
    homes = {"0": "conv1", "3": "conv2", "6": "conv3", "9": "fc1", "11": "fc2"}
    variables: dict = {"params": {}}
    for name, array in case.params.items():
        number, leaf = name.split(".")
        array = array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim))
        leaf = {"weight": "kernel"}.get(leaf, leaf)
        variables["params"].setdefault(homes[number], {})[leaf] = array
    case.check({"out": lenet.LeNet5().apply(variables, case.images)})


def test_sizes_are_those_of_the_book_and_the_paper():
    assert count(lenet.LeNet5(), 1, 28, 28, 1) == 61_706
    assert count(cnn.BookCNN(), 1, 28, 28, 1) == 1_413_834
    assert count(cnn.CNN(), 1, 32, 32, 3) < 1e5


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("model", "side", "message"),
    [
        (cnn.CNN(), 4, "as large as the window 2; got 1 x 1"),
        (cnn.BookCNN(), 4, "as large as the window 2; got 1 x 1"),
        (lenet.LeNet5(), 12, "images must be at least 16 x 16; got 12 x 12"),
    ],
)
def test_rejects_images_too_small_to_halve(model, side, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, side, side, 1)))
