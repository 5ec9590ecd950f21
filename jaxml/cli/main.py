"""The console script: `jaxml COMMAND ...`.

    code = main(["run", "examples/digits_mlp.py", "epochs=3"])

A command imports what it needs when it is called, so that help is at once there.
"""

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from jaxml import __version__
from jaxml.cli.terminal import FAILED, USAGE, CommandError

__all__ = ["main"]

COMMANDS = {  # name, and module in jaxml.cli -> what it does
    "run": "train: run a file with a Config and a main, key=value overrides",
    "predict": "apply what a run has learned to files",
    "data": "list the datasets, or download one",
    "zoo": "weights of other libraries: list, describe, convert, verify",
    "doctor": "show versions, devices, memory, caches and data at hand",
}
INTERRUPTED = 130  # 128 + SIGINT, as a shell has it
PIPE = 141  # 128 + SIGPIPE
HELP = f"""Machine learning as pure functions on JAX.

usage: jaxml COMMAND ...

{chr(10).join(f"  {name:9}{text}" for name, text in COMMANDS.items())}

  --help     this page; jaxml COMMAND --help tells more
  --version  the version
  --debug    show tracebacks whole (also JAXML_DEBUG=1)

  jaxml run examples/digits_mlp.py epochs=10 optimizer.rate=1e-3
  jaxml predict runs/digits_mlp/20250131-184502 picture.png
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `jaxml`. Default: those of the process.

    Returns:
        The exit code: 0 done, 1 failed, 2 used wrongly, 130 interrupted (143 by
        SIGTERM), 141 if the reader of the output has gone.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words or os.environ.get("JAXML_DEBUG", "0") not in ("", "0")
    try:
        code = _command(words)
        sys.stdout.flush()
        return code
    except CommandError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"jaxml: {error}\n")
        return error.code
    except KeyboardInterrupt:
        if debug:
            traceback.print_exc()
        sys.stderr.write("jaxml: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at the end: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE
    except SystemExit as stop:  # of argparse after --help, or of the user's file
        if isinstance(stop.code, str):
            sys.stderr.write(f"{stop.code}\n")
            return FAILED
        return int(stop.code or 0)


def _command(words: list[str]) -> int:
    rest = [word for word in words if word != "--debug"]
    if not rest or rest[0] in ("-h", "--help", "help"):
        (sys.stdout if rest else sys.stderr).write(HELP)
        return 0 if rest else USAGE
    if rest[0] == "--version":
        sys.stdout.write(f"jaxml {__version__}\n")
        return 0
    name, *arguments = rest
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = (
            f"did you mean {near[0]}?" if near else f"there are: {', '.join(COMMANDS)}"
        )
        raise CommandError(f"no command {name}; {hint}", USAGE)
    module = importlib.import_module(f"jaxml.cli.{name}")
    return module.command(arguments)
