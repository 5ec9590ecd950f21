"""Where the parts of a computation lie: meshes of devices, and rules over paths.

    sharding.start()                                    # several processes: find them
    mesh = sharding.mesh(data=-1)                       # all devices in one row
    state = sharding.init(make_state, sharding.fsdp, mesh)(key)
    batch = jax.device_put(batch, sharding.batch(mesh))
    state, metrics = jax.jit(step, donate_argnums=0)(state, batch)

A rule is a regular expression and a `PartitionSpec`; it is searched in the path of a
leaf, "params/Dense_0/kernel". So the moments of an optimizer, whose paths end in the
paths of their parameters, are laid out like those.
"""

import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
from jaxtyping import PyTree

__all__ = [
    "batch",
    "fsdp",
    "init",
    "mesh",
    "paths",
    "shardings",
    "specs",
    "start",
]

Rules = Sequence[tuple[str, jax.P]]


def start(environment: Mapping[str, str] = os.environ) -> None:
    """Join the processes of this job; call it before anything touches a device.

    Each process is told by `JAXML_COORDINATOR` (host:port of process 0),
    `JAXML_PROCESSES` (how many) and `JAXML_PROCESS` (which one, from 0). Under Slurm,
    Open MPI and on TPU pods of Kubernetes nothing need be set; on other TPU pods set
    `JAXML_COORDINATOR=auto`. A process that is alone has nothing to join. CPU devices
    that are simulated are made to run one program at a time: they could deadlock.

    Raises:
        ValueError: the three variables do not make sense together.
        RuntimeError: a device was touched before.
    """
    if jax.distributed.is_initialized():
        return
    _one_at_a_time(environment)
    names = ("JAXML_COORDINATOR", "JAXML_PROCESSES", "JAXML_PROCESS")
    given = {name: environment[name] for name in names if environment.get(name)}
    if given.get("JAXML_COORDINATOR") == "auto" or (
        not given and _cluster(environment)
    ):
        jax.distributed.initialize()
        return
    if not given:
        return
    if len(given) < len(names):
        raise ValueError(f"{', '.join(names)} belong together; got only {given}")
    address, count, index = given.values()
    if not (count.isdecimal() and index.isdecimal() and int(index) < int(count)):
        raise ValueError(
            "JAXML_PROCESS must be from 0 to JAXML_PROCESSES - 1; "
            f"got {index!r} of {count!r}"
        )
    if not re.fullmatch(r".+:\d+", address):
        raise ValueError(
            f"JAXML_COORDINATOR must be host:port or auto; got {address!r}"
        )
    if int(count) > 1:
        jax.distributed.initialize(address, int(count), int(index))


def _one_at_a_time(environment: Mapping[str, str]) -> None:
    """Let a CPU that plays several devices run one program after another.

    Programs in flight together can fill all its threads with collectives, each of which
    waits for a device that has no thread left.
    """
    flags = environment.get("XLA_FLAGS", "")
    simulated = re.search(r"host_platform_device_count=(\d+)", flags)
    if environment.get("JAXML_PROCESSES") or (simulated and int(simulated[1]) > 1):
        jax.config.update("jax_cpu_enable_async_dispatch", False)


def _cluster(environment: Mapping[str, str]) -> bool:
    """Whether a scheduler that JAX knows started several processes."""
    sizes = (environment.get(n, "") for n in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"))
    several = any(size.isdecimal() and int(size) > 1 for size in sizes)
    task = "SLURM_PROCID" in environment or "OMPI_COMM_WORLD_SIZE" in environment
    return (several and task) or "," in environment.get("TPU_WORKER_HOSTNAMES", "")


def mesh(devices: Sequence[Any] | None = None, /, **axes: int) -> jax.sharding.Mesh:
    """Arrange devices in named axes.

    Args:
        devices: default: all of them, of every process.
        axes: how many devices lie along each axis; one may be -1, for all that remain.

    Raises:
        ValueError: the axes do not hold just the devices there are.

    >>> dict(mesh(jax.devices()[:1], data=-1, model=1).shape)
    {'data': 1, 'model': 1}
    """
    devices = jax.devices() if devices is None else list(devices)
    count, sizes = len(devices), dict(axes)
    free = [name for name, size in sizes.items() if size == -1]
    rest = math.prod(size for size in sizes.values() if size != -1)
    if len(free) == 1 and rest > 0 and count % rest == 0:
        sizes[free[0]] = count // rest
    if not sizes or min(sizes.values()) < 1 or math.prod(sizes.values()) != count:
        raise ValueError(
            f"the sizes of the axes must multiply to the {count} devices, one of them "
            f"may be -1; got {axes}"
        )
    # Axes of the kind Explicit, the default, stop Flax's Embed and recurrent layers.
    kinds = (jax.sharding.AxisType.Auto,) * len(sizes)
    shape, names = tuple(sizes.values()), tuple(sizes)
    return jax.make_mesh(shape, names, axis_types=kinds, devices=devices)


def batch(mesh: jax.sharding.Mesh, axis: str = "data") -> jax.NamedSharding:
    """Rows split along an axis of the mesh, all else whole."""
    _check_axes((axis,), mesh, "a batch")
    return jax.NamedSharding(mesh, jax.P(axis))


def paths(tree: PyTree) -> list[str]:
    """The path of each leaf, in the order of `jax.tree.leaves`.

    >>> paths({"params": {"Dense_0": {"bias": 0, "kernel": 0}}})
    ['params/Dense_0/bias', 'params/Dense_0/kernel']
    """
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in flat]


def specs(tree: PyTree, rules: Rules, *, every_rule: bool = True) -> PyTree:
    """The `PartitionSpec` of each leaf: of the first rule found in its path.

    Leaves that no rule is found in, and those of one element, are whole everywhere.

    Args:
        tree: arrays, or what `jax.eval_shape` makes of them.
        rules: pairs of a regular expression and a `PartitionSpec`.
        every_rule: whether a rule that decides nothing is an error.

    Raises:
        ValueError: a rule decides nothing (the nearest paths are named).

    >>> tree = {"Dense_0": {"kernel": jax.numpy.zeros((4, 8))}}
    >>> tuple(specs(tree, [("kernel", jax.P(None, "model"))])["Dense_0"]["kernel"])
    (None, 'model')
    """
    used, found = set(), []
    names = paths(tree)
    for path, leaf in zip(names, jax.tree.leaves(tree), strict=True):
        hits = (n for n, (pattern, _) in enumerate(rules) if re.search(pattern, path))
        number = next(hits, -1)
        used.add(number)
        whole = number == -1 or math.prod(leaf.shape) == 1
        found.append(jax.P() if whole else rules[number][1])
    for number, (pattern, _) in enumerate(rules):
        if every_rule and number not in used:
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
            raise ValueError(
                f"each rule must decide about a leaf; {pattern!r} is found in no path "
                f"that a rule before it does not take; near are {near}"
            )
    return jax.tree.unflatten(jax.tree.structure(tree), found)


def shardings(
    tree: PyTree, rules: Rules, mesh: jax.sharding.Mesh, *, every_rule: bool = True
) -> PyTree:
    """The `NamedSharding` of each leaf, by `specs`.

    Raises:
        ValueError: a rule decides nothing, names an axis that the mesh lacks, has more
            entries than a leaf has dimensions, or splits one unevenly.
    """
    found = jax.tree.leaves(specs(tree, rules, every_rule=every_rule))
    leaves, structure = jax.tree.flatten(tree)
    for path, leaf, spec in zip(paths(tree), leaves, found, strict=True):
        _check(path, leaf.shape, spec, mesh)
    return jax.tree.unflatten(structure, [jax.NamedSharding(mesh, s) for s in found])


def fsdp(
    tree: PyTree, mesh: jax.sharding.Mesh, axis: str = "data", *, smallest: int = 4096
) -> PyTree:
    """Split every large leaf over the axis the batch is split over.

    Parameters, gradients and moments then take a share of each device's memory; the
    compiler gathers a layer when it is needed.

    Args:
        tree: arrays, or what `jax.eval_shape` makes of them: a whole `TrainState`.
        axis: which axis of the mesh.
        smallest: number of elements below which a leaf stays whole. The longest
            dimension that the axis divides is split; where there is none, the leaf
            stays whole too.

    Returns:
        A tree of `NamedSharding`s.
    """
    _check_axes((axis,), mesh, "fsdp")
    size = mesh.shape[axis]

    def choose(leaf):
        even = [n if n % size == 0 else 0 for n in leaf.shape]
        if math.prod(leaf.shape) < smallest or not any(even):
            return jax.NamedSharding(mesh, jax.P())
        place = even.index(max(even))
        return jax.NamedSharding(mesh, jax.P(*[None] * place, axis))

    return jax.tree.map(choose, tree)


def init(
    make: Callable[..., PyTree], where: Any, mesh: jax.sharding.Mesh
) -> Callable[..., PyTree]:
    """`make`, with its result laid over the mesh from the first byte on.

    Every device computes its own part, so that no host ever holds the whole.

    Args:
        make: a function that `jax.jit` takes, of a key for example.
        where: rules; or a tree of shardings; or a function (tree, mesh) -> shardings,
            as `fsdp` is. No rules, [], lay the whole on every device.
        mesh: for the rules and the function.

    >>> def make(key):
    ...     return {"weight": jax.random.normal(key, (8, 4))}
    >>> state = init(make, [], mesh(data=-1))(jax.random.key(0))
    >>> state["weight"].sharding.is_fully_replicated
    True
    """

    def made(*args: Any) -> PyTree:
        tree = jax.eval_shape(make, *args)
        if callable(where):
            out = where(tree, mesh)
        else:
            out = shardings(tree, where, mesh) if _is_rules(where) else where
        return jax.jit(make, out_shardings=out)(*args)

    return made


def _is_rules(where: Any) -> bool:
    return isinstance(where, list | tuple) and all(
        isinstance(rule, tuple) and len(rule) == 2 and isinstance(rule[0], str)
        for rule in where
    )


def _check(path: str, shape: tuple[int, ...], spec: Any, mesh: Any) -> None:
    if len(spec) > len(shape):
        raise ValueError(
            f"a spec must have at most one entry for each dimension; {path} has shape "
            f"{shape}, its spec is {spec}"
        )
    for size, entry in zip(shape, spec, strict=False):
        names = _names(entry)
        _check_axes(names, mesh, path)
        parts = math.prod(mesh.shape[name] for name in names)
        if size % parts:
            raise ValueError(
                f"a dimension must be a multiple of the devices it is split over; "
                f"{path} has shape {shape}, its spec is {spec} on {_show(mesh)}"
            )


def _names(entry: Any) -> tuple[str, ...]:
    if entry is None:
        return ()
    return (entry,) if isinstance(entry, str) else tuple(entry)


def _check_axes(names: Iterable[str], mesh: Any, what: str) -> None:
    for name in names:
        if name not in mesh.shape:
            raise ValueError(
                f"{what} must be split along an axis of {_show(mesh)}; got {name!r}"
            )


def _show(mesh: Any) -> str:
    return "mesh(" + ", ".join(f"{n}={size}" for n, size in mesh.shape.items()) + ")"
