"""`jaxml data list` and `jaxml data get NAME`: the datasets."""

from collections.abc import Sequence

from jaxml import config
from jaxml.cli import terminal
from jaxml.cli.terminal import USAGE, CommandError
from jaxml.data import datasets, sources

__all__ = ["command"]

DESCRIPTION = """The datasets that jaxml.data.datasets.load knows.

  jaxml data list        what there is, and what is at hand
  jaxml data get NAME    download one, checked, unless it is at hand

They are sought in the folder that JAXML_DATA names, then in the cache, ~/.cache/jaxml
or the folder that JAXML_CACHE names."""


def command(arguments: Sequence[str]) -> int:
    """Run `jaxml data`; the exit code."""
    parser = terminal.Parser("data", description=DESCRIPTION)
    parser.add_argument("action", metavar="list | get")
    parser.add_argument("names", metavar="NAME", nargs="*")
    options = parser.parse_intermixed_args(arguments)
    if options.action == "list":
        if options.names:
            raise CommandError("data list takes no name", USAGE)
        _list()
    elif options.action == "get":
        if not options.names:
            names = ", ".join(datasets.NAMES)
            raise CommandError(f"data get needs a NAME: {names}", USAGE)
        for name in options.names:
            if name not in datasets.NAMES:
                hint = config.nearest(name, datasets.NAMES)
                raise CommandError(f"no dataset {name}; {hint}", USAGE)
        for name in options.names:
            _get(name)
    else:
        hint = config.nearest(options.action, ["list", "get"])
        raise CommandError(f"no action {options.action}; {hint}", USAGE)
    return 0


def _list() -> None:
    rows = []
    for name in datasets.NAMES:
        about = datasets.describe(name)
        goal = f"{len(about.classes)} classes" if about.classes else "a number"
        shape = " x ".join(map(str, about.shape))
        place = terminal.short(about.paths[0].parent) if about.paths else "no"
        if about.note:
            place = f"{place} ({about.note})"
        rows.append((name, about.train, about.test, shape, goal, about.licence, place))
    columns = ("name", "train", "test", "row", "goal", "licence", "at hand")
    terminal.table(columns, rows)


def _get(name: str) -> None:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    parts = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    bar = Progress(
        *parts, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
    tasks: dict[str, TaskID] = {}

    def progress(file: str, done: int, total: int) -> None:
        if file not in tasks:
            tasks[file] = bar.add_task(file, total=total)
        bar.update(tasks[file], completed=done)

    try:
        with bar:
            paths = datasets.download(name, progress=progress)
    except sources.DataError as error:
        raise CommandError(str(error)) from error
    for path in paths:
        terminal.say(terminal.short(path))
