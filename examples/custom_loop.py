"""Your own loop in forty lines: of jaxml only a model and the data, the rest is optax.

    python examples/custom_loop.py

Expected: test accuracy 0.97 or more on digits, in ten seconds.
"""

import sys

import jax
import jax.numpy as jnp
import optax

from jaxml.data import datasets
from jaxml.data.loader import Loader
from jaxml.models.mlp import MLP


def main(epochs: int = 30) -> float:
    """Train and return the accuracy on the test images."""
    data = datasets.load("digits")
    loader = Loader(data.train, batch_size=64, seed=0)
    model = MLP(hidden=(128, 64), num_outputs=10)
    tx = optax.adam(2e-3)

    def loss_fn(params, batch):
        logits = model.apply(params, batch["image"].astype(jnp.float32) / 16)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return (loss * batch["weight"]).sum() / batch["weight"].sum()  # padding is 0

    @jax.jit
    def step(params, opt_state, batch):
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    params = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    opt_state = tx.init(params)
    for epoch in range(epochs):
        for batch in loader.epoch(epoch):
            params, opt_state, loss = step(params, opt_state, batch)
        print(f"epoch {epoch + 1:2}  loss {loss:.4f}")
    logits = model.apply(params, jnp.asarray(data.test["image"], jnp.float32) / 16)
    accuracy = (logits.argmax(1) == data.test["label"]).mean()
    print(f"test accuracy {accuracy:.4f}")
    return float(accuracy)


if __name__ == "__main__":
    main(epochs=2 if "--smoke" in sys.argv else 30)
