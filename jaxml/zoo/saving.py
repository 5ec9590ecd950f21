"""Write a network's weights back into the files of its library.

    save("bert-finetuned", loaded._replace(variables=variables))

What is written can be read by the library that the weights came from.
"""

import os

from jaxml.zoo import checkpoint, table
from jaxml.zoo.loading import Loaded

__all__ = ["save"]


def save(
    folder: str | os.PathLike, loaded: Loaded, *, largest: int = 5_000_000_000
) -> None:
    """Write config.json and safetensors, one tensor in memory at a time.

    Names are those that were read, buffers that no network needs are written as they
    were, and tensors that were not touched come out byte for byte the same.

    Args:
        folder: made if it is absent; weights in it are replaced.
        loaded: what `load` returned, or the same with other `variables`.
        largest: bytes of a file; more tensors go into further files with an index.

    Raises:
        KeyError: the table has no row for a leaf of the variables.
    """
    rows = loaded.family.rows(loaded.model)
    tensors = table.pending(rows, loaded.variables, loaded.extras)
    checkpoint.write(
        folder,
        tensors,
        config=loaded.config,
        metadata=loaded.extras.metadata,
        largest=largest,
    )
