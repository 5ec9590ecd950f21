"""`jaxml zoo list | describe | convert | verify`: networks and weights of others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxml import config
from jaxml.cli import terminal
from jaxml.cli.terminal import FAILED, USAGE, CommandError

__all__ = ["command"]

UNKNOWN = 3  # exit code of verify: the rest pass, but a family is unknown
DESCRIPTION = """Networks whose weights jaxml reads and writes.

  jaxml zoo list                   the networks by name
  jaxml zoo describe NAME          its parameters, FLOPs, bytes, inputs, licence
  jaxml zoo convert FROM TO        read a checkpoint, write a Hugging Face folder
  jaxml zoo verify FILE...         run cases of a reference against our networks

A checkpoint is a folder with config.json and safetensors, or a .safetensors file; with
a file say of what: --family torchvision/resnet --config resnet50. `verify` prints the
largest absolute and relative difference of each output, and ends with 0 if all pass, 1
if one fails, 3 if the rest pass but a family is unknown."""


def command(arguments: Sequence[str]) -> int:
    """Run `jaxml zoo`; the exit code."""
    parser = terminal.Parser("zoo", description=DESCRIPTION)
    parser.add_argument("action", metavar="list | describe | convert | verify")
    parser.add_argument("words", metavar="NAME | FILE", nargs="*")
    parser.add_argument("--family", help="library/family of the weights to convert")
    parser.add_argument("--config", help="architecture, or the call that builds it")
    parser.add_argument("--dtype", help="to store the weights in, such as bfloat16")
    options = parser.parse_intermixed_args(arguments)
    actions = {
        "list": _list,
        "describe": _describe,
        "convert": _convert,
        "verify": _verify,
    }
    if options.action not in actions:
        hint = config.nearest(options.action, actions)
        raise CommandError(f"no action {options.action}; {hint}", USAGE)
    return actions[options.action](options)


def _takes(options: Any, what: str, count: int | None) -> None:
    given = len(options.words)
    if given != count if count is not None else given == 0:
        raise CommandError(f"zoo {options.action} takes {what}; got {given}", USAGE)


def _list(options: Any) -> int:
    from jaxml.zoo import families

    _takes(options, "no name", 0)
    rows = []
    for name in sorted(families.FAMILIES):
        family = families.load(name)
        classes = ", ".join(family.classes)
        rows.append((name, classes, ", ".join(family.sizes), family.licence))
    terminal.table(("family", "reads", "networks", "licence"), rows)
    return 0


def _describe(options: Any) -> int:
    from jaxml.zoo import catalog

    _takes(options, "one NAME", 1)
    try:
        about = catalog.describe(options.words[0])
    except KeyError as error:
        raise CommandError(error.args[0], USAGE) from error
    rows = [
        ("name", about.name),
        ("reads", ", ".join(about.classes)),
        ("parameters", f"{about.parameters:,}"),
        ("bytes", f"{about.bytes:,}"),
        ("FLOPs", f"{about.flops:.4g}, one forward pass"),
        ("inputs", ", ".join(str(list(shape)) for shape in about.inputs)),
        ("licence", about.licence or "not said"),
        ("source", about.source or "not said"),
    ]
    if about.statistics:
        rows += [(name, value) for name, value in about.statistics._asdict().items()]
    terminal.table(("", ""), rows)
    shapes = [(path, list(shape)) for path, shape in about.shapes.items()]
    terminal.table(("leaf", "shape"), shapes)
    return 0


def _convert(options: Any) -> int:
    from jax.numpy import dtype

    from jaxml.zoo import loading, saving

    _takes(options, "FROM and TO", 2)
    source, target = options.words
    if Path(target).exists() and not Path(target).is_dir():
        raise CommandError(f"TO must be a folder, new or old; {target} is a file")
    try:
        kind = dtype(options.dtype) if options.dtype else None
    except TypeError as error:
        raise CommandError(f"no dtype {options.dtype}", USAGE) from error
    try:
        loaded = loading.load(
            source, family=options.family, config=options.config, dtype=kind
        )
        saving.save(target, loaded)
    except (ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    terminal.say(f"{terminal.short(target)}: {loaded.family.name}")
    return 0


def _verify(options: Any) -> int:
    from jaxml.zoo import verifying

    _takes(options, "FILE...", None)
    verdicts = set()
    for file in options.words:
        (found,) = verifying.verify([file])
        verdicts.add(found.verdict)
        terminal.say(line(found))
    if verifying.FAIL in verdicts:
        return FAILED
    return UNKNOWN if verifying.UNKNOWN in verdicts else 0


def line(certificate: Any) -> str:
    """One line of the certificate of a file."""
    parts = [
        f"{d.output} abs {d.absolute:.2e} rel {d.relative:.2e}"
        + ("" if d.is_within else f" > {d.bound:.2e}")
        for d in certificate.differences
    ]
    note = certificate.note.replace("\n", "; ")
    if certificate.verdict == "no such family":
        return f"{certificate.file}: {note}"
    ending = "; ".join(filter(None, [", ".join(parts), note]))
    return f"{certificate.file}: {certificate.verdict}: {ending}"
