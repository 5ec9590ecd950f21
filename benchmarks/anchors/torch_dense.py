"""The PyTorch side of `cifar_dense.py`: same first weights, batches and rule to stop.

score = torch_dense.accuracy(setting, layers, parts, orders, seed=0)
"""

import copy
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

__all__ = ["accuracy"]


def accuracy(setting, layers, parts, epochs: Iterable[np.ndarray], *, seed) -> float:
    """Validation accuracy after training.

    Args:
        setting: see `cifar_dense.Setting`.
        layers: kernel [in, out] and bias of each linear layer, from the input on.
        parts: arrays `x` and `y` to train on and to validate.
        epochs: rows of each batch of each epoch; -1 is none.
        seed: of the dropout.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # layers of 100 units: a second thread only waits
    activation, patience = getattr(nn, setting.activation), setting.patience
    model = build(layers, activation, setting.norm, setting.alpha_dropout)
    kind = torch.optim.SGD if patience is None else torch.optim.NAdam
    optimizer = kind(model.parameters(), lr=0.0)
    x, y = (tensor(parts.train[name]) for name in "xy")
    x_valid, y_valid = (tensor(parts.valid[name]) for name in "xy")
    step, least, waited, best = 0, float("inf"), 0, None
    for batches in epochs:
        model.train()
        for rows in batches:
            rows = torch.from_numpy(rows[rows >= 0].astype(np.int64))
            optimizer.param_groups[0]["lr"] = float(setting.rate(step))
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            step += 1
        if patience is None:
            continue
        loss, waited = (
            cross_entropy(outputs(model, x_valid), y_valid).item(),
            waited + 1,
        )
        if loss < least:
            least, waited, best = loss, 0, copy.deepcopy(model.state_dict())
        if waited == patience:
            break
    if best is not None:
        model.load_state_dict(best)
    return (outputs(model, x_valid).argmax(-1) == y_valid).float().mean().item()


def build(layers, activation, norm, alpha_dropout) -> nn.Module:
    """The network with those weights."""
    parts: list[nn.Module] = [nn.Flatten()]
    for kernel, bias in layers:
        linear = nn.Linear(*kernel.shape)
        linear.weight.data = tensor(kernel.T)
        linear.bias.data = tensor(bias)
        parts += [linear, nn.BatchNorm1d(len(bias))] if norm else [linear]
        parts.append(activation())
    tail = 3 if norm else 2
    head = parts[-tail]
    return nn.Sequential(*parts[:-tail], nn.AlphaDropout(alpha_dropout), head)


def outputs(model, x):
    """Logits without training."""
    model.eval()
    with torch.no_grad():
        return model(x)


def tensor(array) -> torch.Tensor:
    """A copy of an array; labels as torch wants them."""
    copied = torch.from_numpy(np.array(array))
    return copied.long() if copied.dtype == torch.int32 else copied
