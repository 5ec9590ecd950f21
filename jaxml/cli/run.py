"""`jaxml run FILE key=value ...`: a Config from text, a run folder, and `main`."""

import dataclasses
import difflib
import importlib.util
import json
import logging
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxml import config as configs
from jaxml.cli import terminal
from jaxml.cli.terminal import USAGE, CommandError

__all__ = ["command"]

PACKAGE = Path(__file__).parents[1]
DESCRIPTION = """Run a Python file that trains something. The file defines

  Config                a frozen dataclass; every field, also of a dataclass inside it,
                        is a key that can be set: epochs=10 optimizer.rate=1e-3
  main(config, run)     trains, and returns its scores as a dict of numbers; run is a
                        jaxml.train.folder.Run
  SMOKE                 a Config that takes seconds (only for --smoke)"""


def command(arguments: Sequence[str]) -> int:
    """Run `jaxml run`; the exit code."""
    parser = terminal.Parser("run", description=DESCRIPTION)
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("assignments", metavar="key=value", nargs="*")
    parser.add_argument("--keys", action="store_true", help="list the keys and stop")
    parser.add_argument("--smoke", action="store_true", help="begin from SMOKE")
    parser.add_argument(
        "--folder", type=Path, metavar="PATH", help="where; default runs/FILE/TIME"
    )
    parser.add_argument(
        "--resume", type=Path, metavar="RUN", help="the folder of a run to go on with"
    )
    options = parser.parse_intermixed_args(arguments)
    if options.resume and (options.smoke or options.folder):
        other = "--smoke" if options.smoke else "--folder"
        raise CommandError(
            f"--resume takes config and folder from the run: drop {other}", USAGE
        )
    _path_of(options.file)
    with terminal.notes():
        if not options.keys:
            _set_up()
        module = _load(options.file)
        start = _start(module, options)
        try:
            if options.keys:
                terminal.table(["key", "type", "default"], configs.describe(start))
                return 0
            config = configs.override(start, options.assignments)
        except ValueError as error:
            raise CommandError(str(error), USAGE) from error
        if options.resume:
            _unchanged(start, config, options.resume)
        run = _folder(options, config)
        return _train(module.main, config, run, options.file)


def _path_of(file: Path) -> None:
    """Refuse a FILE that cannot be one before anything heavy is imported."""
    if file.is_dir():
        raise CommandError(f"{file} is a folder; a Python file is needed", USAGE)
    if not file.is_file():
        if "=" in str(file):
            raise CommandError(f"the file comes before the keys; got {file}", USAGE)
        beside = [str(path) for path in file.parent.glob("*.py")]
        near = difflib.get_close_matches(str(file), beside, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise CommandError(f"no file {file}{hint}", USAGE)


def _set_up() -> None:
    """Keep compiled programs from run to run, and join the other processes."""
    import jax

    from jaxml import sharding
    from jaxml.data import sources

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = sources.cache().parent / "xla"
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            logging.getLogger(__name__).info("programs are not cached: %s", error)
        else:
            jax.config.update("jax_compilation_cache_dir", str(cache))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    try:
        sharding.start()
        jax.devices()
    except Exception as error:  # JAX raises many kinds, one of them without a word
        asked = os.environ.get("JAX_PLATFORMS") or "any platform"
        reason = str(error) or "there is no such device"
        raise CommandError(f"JAX cannot start on {asked}: {reason}") from error


def _load(file: Path) -> ModuleType:
    """FILE as a module, its folder importable as with `python FILE`."""
    file = file.resolve()
    # An own name: a file may be called jax.py, or like another one before it.
    name = file.stem if file.stem not in sys.modules else f"{file.stem}_of_jaxml_run"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise CommandError(f"FILE must be a Python file (.py); got {file.name}", USAGE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        where = f"{terminal.short(error.filename or file)}, line {error.lineno}"
        line = f"\n  {error.text.strip()}" if error.text else ""
        raise CommandError(f"{where}: {error.msg}{line}", USAGE) from error
    except ImportError as error:
        raise CommandError(f"{_where(error, file)}: {error}") from error
    except Exception as error:
        raise _failure(error, file) from error
    return module


def _start(module: ModuleType, options) -> Any:
    """The config before the assignments: an instance, or the class."""
    kind = getattr(module, "Config", None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise CommandError(
            f"{options.file} must define Config, a frozen dataclass", USAGE
        )
    if not callable(getattr(module, "main", None)):
        raise CommandError(f"{options.file} must define main(config, run)", USAGE)
    if not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise CommandError(f"Config of {options.file} must be frozen", USAGE)
    if options.smoke:
        if not isinstance(getattr(module, "SMOKE", None), kind):
            raise CommandError(
                f"{options.file} has no SMOKE, a Config for --smoke", USAGE
            )
        return module.SMOKE
    return _saved(kind, options.resume) if options.resume else kind


def _saved(kind: type, path: Path) -> Any:
    """The config that the run in `path` was started with."""
    file = path / "config.json"
    if not file.is_file():
        reason = "has no config.json" if path.is_dir() else "does not exist"
        raise CommandError(f"no run to resume: {path} {reason}", USAGE)
    try:
        return configs.from_dict(kind, json.loads(file.read_text()))
    except (OSError, ValueError) as error:
        raise CommandError(
            f"{file} is no Config of this file: {error}", USAGE
        ) from error


def _unchanged(before: Any, now: Any, path: Path) -> None:
    changes = [
        f"{key} was {old}, now {new}"
        for key, (old, new) in configs.difference(before, now).items()
    ]
    if changes:
        raise CommandError(
            f"{path} is resumed with the config it was started with "
            f"({'; '.join(changes)}): start a new run to change it",
            USAGE,
        )


def _folder(options, config: Any):
    from jaxml.train import folder

    try:
        return folder.create(
            options.resume or options.folder,
            name=options.file.stem,
            config=config,
            resume=options.resume is not None,
        )
    except ValueError as error:
        raise CommandError(str(error), USAGE) from error
    except OSError as error:
        raise CommandError(str(error)) from error


def _train(main: Callable, config: Any, run, file: Path) -> int:
    """Call `main`; say how it ended."""
    import jax

    from jaxml.train.loop import Interrupted

    go_on = shlex.join(
        ["jaxml", "run", terminal.short(file), "--resume", terminal.short(run.path)]
    )
    try:
        scores = main(config, run)
    except KeyboardInterrupt as stop:
        step = f" after step {stop.step}" if isinstance(stop, Interrupted) else ""
        saved = any((run.path / "checkpoints").glob("[0-9]*"))
        then = f"go on with: {go_on}" if saved else "nothing was saved yet"
        sys.stderr.write(f"jaxml: stopped{step}; {then}\n")
        return 128 + getattr(stop, "signal", signal.SIGINT)
    except Exception as error:
        raise _failure(error, file) from error
    try:
        scores = {str(name): float(value) for name, value in scores.items()}
    except (AttributeError, TypeError, ValueError):
        wrong = f"main must return its scores, a dict of numbers; got {scores!r}"
        raise CommandError(wrong) from None
    if not (run.path / "scores.json").exists():
        run.finish(scores)
    if jax.process_index() == 0:
        terminal.table(["score", "value"], scores.items())
        plots = ", ".join(sorted(path.name for path in run.path.glob("*.png")))
        terminal.say(f"folder: {terminal.short(run.path)}")
        terminal.say(f"plots:  {plots or 'none'}")
    return 0


def _failure(error: Exception, file: Path) -> CommandError:
    """A message where the fault is the user's; else the traceback from `file` on."""
    from jaxml.train.loop import NonFinite

    file = file.resolve()
    frames = traceback.extract_tb(error.__traceback__)
    ours = Path(frames[-1].filename).is_relative_to(PACKAGE)
    raised = (frames[-1].line or "").startswith("raise")
    refused = raised and (ours or Path(frames[-1].filename) == file)
    if isinstance(error, OSError | NonFinite) or (
        isinstance(error, ValueError) and refused
    ):
        return CommandError(f"{_where(error, file)}: {error}")
    trace = error.__traceback__
    while trace and Path(trace.tb_frame.f_code.co_filename) != file:
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace or error.__traceback__)
    return CommandError(f"{file.name} failed\n{''.join(lines).rstrip()}")


def _where(error: Exception, file: Path) -> str:
    """The last line of `file` that `error` went through."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
    return f"{file.name}, line {lines[-1]}" if lines else file.name
