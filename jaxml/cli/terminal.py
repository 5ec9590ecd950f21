"""What the commands share: how they fail, read their arguments and show a table."""

import argparse
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

__all__ = [
    "FAILED",
    "USAGE",
    "CommandError",
    "Parser",
    "notes",
    "say",
    "short",
    "table",
]

FAILED, USAGE = 1, 2  # exit codes
PIPED_WIDTH = 200  # columns of a table that goes to a file or another program


class CommandError(Exception):
    """What ends a command with one clear message and no traceback."""

    def __init__(self, message: str, code: int = FAILED):
        super().__init__(message)
        self.code = code


class Parser(argparse.ArgumentParser):
    """Takes options anywhere, and says how a key is set where one writes --key."""

    def __init__(self, command: str, **options):
        super().__init__(
            prog=f"jaxml {command}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **options,
        )
        self.add_argument(
            "--debug",
            action="store_true",
            help="show tracebacks whole (also JAXML_DEBUG=1)",
        )

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: --"):
            message += "; a key of the config is set by key=value, without dashes"
        raise CommandError(f"{message}\n{self.format_usage().rstrip()}", USAGE)


def say(text: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(f"{text}\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write `rows` to stdout under the names `columns`; numbers stand to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        numbers = all(isinstance(row[place], int | float) for row in rows)
        shown.add_column(
            Text(name), justify="right" if numbers else "left", overflow="fold"
        )
    for row in rows:
        cells = [f"{x:.6g}" if isinstance(x, float) else str(x) for x in row]
        shown.add_row(*map(Text, cells))  # Text: a bracket in a cell is no markup
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    console = Console(file=sys.stdout, width=width)
    with console.capture() as capture:
        console.print(shown)
    for line in capture.get().splitlines():
        say(line.rstrip())


def short(path: str | Path) -> str:
    """`path` as one would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


@contextmanager
def notes():
    """Show on stderr what the library logs, from information upwards."""
    logger = logging.getLogger("jaxml")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
