"""Autoencoders of dense layers: linear, stacked, tied.

    model = Autoencoder((100, 30), (28, 28, 1))
    variables = model.init(key, x)
    reconstruction = model.apply(variables, x)
    code = model.apply(variables, x, method="encode")
    x = model.apply(variables, code, method="decode")

Rows may be images: they are flattened, and come back in their shape. What is minimised
is the caller's: the mean square of the difference, or one of `autoencoder_losses`.
`add_layer` puts autoencoders that were trained one on the other together.

References:
    Hinton and Salakhutdinov, 2006. Reducing the dimensionality of data with neural
    networks. Science 313.
    Baldi and Hornik, 1989. Neural networks and principal component analysis.
    Vincent et al., 2010. Stacked denoising autoencoders. JMLR 11 (layer by layer).
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.nn import activations, check, dropout, initializers

__all__ = ["Autoencoder", "LinearAutoencoder", "TiedAutoencoder", "add_layer"]


class Autoencoder(nn.Module):
    """Dense layers down to the code, and as many up again.

    Args:
        hidden: width of each layer of the encoder, that of the code last.
        shape: shape of one example, such as (28, 28, 1).
        activation: name in `jaxml.nn.activations`, after every layer but the code's
            and the last.
        code_activation: of the code.
        out_activation: of the reconstruction; "sigmoid" for pixels from 0 to 1.
        noise: deviation of normal noise added to the input in training (denoising).
        input_dropout: chance of an input to be dropped in training (denoising).
        kernel_init: name in `jaxml.nn.initializers`, or an initialiser.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    hidden: tuple[int, ...]
    shape: tuple[int, ...]
    activation: str | Callable = "relu"
    code_activation: str | Callable = "relu"
    out_activation: str | Callable = "linear"
    noise: float = 0.0
    input_dropout: float = 0.0
    kernel_init: str | Callable = "he_normal"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        _check(self.hidden, self.shape)
        dense = lambda width: nn.Dense(
            width,
            kernel_init=initializers.by_name(self.kernel_init),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        self.encoder = [dense(width) for width in self.hidden]
        back = (*reversed(self.hidden[:-1]), math.prod(self.shape))
        self.decoder = [dense(width) for width in back]
        self.corrupt = Corruption(self.noise, self.input_dropout)

    def __call__(
        self, x: Float[Array, "b *shape"], *, train: bool = False
    ) -> Float[Array, "b *shape"]:
        """Reconstruction of `x`, from a corrupted copy in training if so told.

        Raises:
            ValueError: if the examples have another shape or are not floating.
        """
        return self.decode(self.encode(self.corrupt(x, train=train)))

    def encode(self, x: Float[Array, "b *shape"]) -> Float[Array, "b k"]:
        """Code of each example."""
        h = _flat(x, self.shape)
        for i, layer in enumerate(self.encoder):
            h = layer(h)
            last = i == len(self.encoder) - 1
            h = _apply(self.code_activation if last else self.activation, h)
        return h

    def decode(self, code: Float[Array, "b k"]) -> Float[Array, "b *shape"]:
        """Examples that belong to the codes."""
        h = code
        for i, layer in enumerate(self.decoder):
            h = layer(h)
            last = i == len(self.decoder) - 1
            h = _apply(self.out_activation if last else self.activation, h)
        return h.reshape(h.shape[0], *self.shape)


class LinearAutoencoder(nn.Module):
    """One dense layer down and one up, without activation.

    With the mean square as its loss, its best code spans what the first components of
    PCA span.

    Args:
        features: width of the code.
        shape: shape of one example.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    features: int
    shape: tuple[int, ...]
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        _check((self.features,), self.shape)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.encoder = nn.Dense(self.features, **dtypes)
        self.decoder = nn.Dense(math.prod(self.shape), **dtypes)

    def __call__(
        self, x: Float[Array, "b *shape"], *, train: bool = False
    ) -> Float[Array, "b *shape"]:
        """Reconstruction of `x`."""
        return self.decode(self.encode(x))

    def encode(self, x: Float[Array, "b *shape"]) -> Float[Array, "b k"]:
        """Code of each example."""
        return self.encoder(_flat(x, self.shape))

    def decode(self, code: Float[Array, "b k"]) -> Float[Array, "b *shape"]:
        """Examples that belong to the codes."""
        return self.decoder(code).reshape(code.shape[0], *self.shape)


class TiedAutoencoder(nn.Module):
    """`Autoencoder` whose decoder uses the encoder's kernels transposed.

    It has about half the parameters: the kernels once, and the biases of both.

    Args:
        hidden: width of each layer of the encoder, that of the code last.
        shape: shape of one example.
        activation: name in `jaxml.nn.activations`, after every layer but the last.
        out_activation: of the reconstruction.
        noise: deviation of normal noise added to the input in training (denoising).
        input_dropout: chance of an input to be dropped in training (denoising).
        kernel_init: name in `jaxml.nn.initializers`, or an initialiser.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    hidden: tuple[int, ...]
    shape: tuple[int, ...]
    activation: str | Callable = "relu"
    out_activation: str | Callable = "linear"
    noise: float = 0.0
    input_dropout: float = 0.0
    kernel_init: str | Callable = "he_normal"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        _check(self.hidden, self.shape)
        widths = (math.prod(self.shape), *self.hidden)
        init = initializers.by_name(self.kernel_init)
        zeros = nn.initializers.zeros
        self.kernels = [
            self.param(f"kernel_{i}", init, widths[i : i + 2], self.param_dtype)
            for i in range(len(self.hidden))
        ]
        self.biases = [
            self.param(f"bias_{i}", zeros, (width,), self.param_dtype)
            for i, width in enumerate(self.hidden)
        ]
        self.biases_back = [
            self.param(f"bias_back_{i}", zeros, (width,), self.param_dtype)
            for i, width in enumerate(widths[:-1])
        ]
        self.corrupt = Corruption(self.noise, self.input_dropout)

    def __call__(
        self, x: Float[Array, "b *shape"], *, train: bool = False
    ) -> Float[Array, "b *shape"]:
        """Reconstruction of `x`, from a corrupted copy in training if so told."""
        return self.decode(self.encode(self.corrupt(x, train=train)))

    def encode(self, x: Float[Array, "b *shape"]) -> Float[Array, "b k"]:
        """Code of each example."""
        h = _flat(x, self.shape)
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            h, kernel, bias = nn.dtypes.promote_dtype(h, kernel, bias, dtype=self.dtype)
            h = _apply(self.activation, h @ kernel + bias[None])
        return h

    def decode(self, code: Float[Array, "b k"]) -> Float[Array, "b *shape"]:
        """Examples that belong to the codes."""
        h = code
        for i in reversed(range(len(self.hidden))):
            h, kernel, bias = nn.dtypes.promote_dtype(
                h, self.kernels[i], self.biases_back[i], dtype=self.dtype
            )
            h = h @ kernel.T + bias[None]
            h = _apply(self.activation if i else self.out_activation, h)
        return h.reshape(h.shape[0], *self.shape)


class Corruption(nn.Module):
    """Noise and dropout of a denoising autoencoder's input; both draw from "dropout".

    Args:
        noise: deviation of the noise, at least 0.
        rate: chance of a value to be dropped, from 0 to below 1.
    """

    noise: float = 0.0
    rate: float = 0.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "..."], *, train: bool = False
    ) -> Float[Array, "..."]:
        """Corrupt `x` in training, else give it back."""
        if not 0 <= self.rate < 1:
            raise ValueError(
                f"input_dropout must be from 0 to below 1; got {self.rate}"
            )
        x = dropout.GaussianNoise(self.noise)(x, deterministic=not train)
        return nn.Dropout(self.rate)(x, deterministic=not train)


def add_layer(
    params: dict[str, Any], layer: dict[str, Any], *, depth: int
) -> dict[str, Any]:
    """Parameters of an `Autoencoder` that is one layer deeper (greedy training).

    Train `Autoencoder((100,), shape)` on the data, then `Autoencoder((30,), (100,))` on
    its codes: put together they are the start of `Autoencoder((100, 30), shape)`.

    Args:
        params: of the autoencoder so far, of `depth` layers.
        layer: of one with one hidden layer, trained on its codes.
        depth: number of layers of the encoder so far, at least 1.

    Returns:
        Parameters of the deeper autoencoder.
    """
    deeper = {f"encoder_{i}": params[f"encoder_{i}"] for i in range(depth)}
    deeper[f"encoder_{depth}"] = layer["encoder_0"]
    deeper["decoder_0"] = layer["decoder_0"]
    back = {f"decoder_{i + 1}": params[f"decoder_{i}"] for i in range(depth)}
    return jax.tree.map(lambda leaf: leaf, deeper | back)


def _check(hidden, shape):
    if not hidden or min(hidden) < 1 or min(shape, default=0) < 1:
        raise ValueError(
            "hidden and shape must name sizes of at least 1; "
            f"got {list(hidden)} and {list(shape)}"
        )


def _flat(x, shape):
    """Rows of `x`, if they are examples of that shape."""
    check.rows(x)
    if x.shape[1:] != tuple(shape):
        raise ValueError(
            f"x must be [batch, {', '.join(map(str, shape))}]; got {list(x.shape)}"
        )
    return x.reshape(x.shape[0], -1)


def _apply(activation, x):
    return activation(x) if callable(activation) else activations.by_name(activation)(x)
