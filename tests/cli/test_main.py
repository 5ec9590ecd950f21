"""The words before a command, `jaxml data`, `jaxml doctor`, and how output may end."""

import os
import subprocess

import pytest

from jaxml import __version__
from jaxml.cli import terminal
from jaxml.cli.main import COMMANDS, main
from jaxml.data import datasets, sources


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"usage: jaxml {command}" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"jaxml {__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "usage: jaxml COMMAND"),
        (["rnu"], "no command rnu; did you mean run?"),
        (["zzz"], "no command zzz; there are: run, predict, data, zoo, doctor"),
        (["doctor", "--fast"], "unrecognized arguments: --fast"),
        (["data"], "the following arguments are required: list | get"),
        (["data", "lsit"], "no action lsit; did you mean list?"),
        (["data", "list", "mnist"], "data list takes no name"),
        (["data", "get"], "data get needs a NAME: digits, mnist"),
        (["data", "get", "mnits"], "no dataset mnits; did you mean mnist"),
    ],
)
def test_used_wrongly(words, message, capsys):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_data_list_names_every_dataset(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXML_DATA", str(tmp_path))
    monkeypatch.setenv("JAXML_CACHE", str(tmp_path))
    assert main(["data", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(datasets.NAMES) < set(lines)
    assert lines["digits"].endswith("embedded")
    assert lines["mnist"].endswith("no")
    assert "60000  10000  28 x 28 x 1  10 classes" in lines["mnist"]


def test_data_get_of_what_is_at_hand(capsys):
    assert main(["data", "get", "digits"]) == 0
    assert capsys.readouterr().out.endswith("digits.npz\n")


def test_data_get_without_network(capsys, monkeypatch):
    def fail(name, **options):
        options["progress"]("train.gz", 1, 2)
        raise sources.DataError("cannot download train.gz")

    monkeypatch.setattr(datasets, "download", fail)
    assert main(["data", "get", "mnist"]) == 1
    assert capsys.readouterr().err == "jaxml: cannot download train.gz\n"


def test_doctor_shows_what_there_is(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXML_DATA", str(tmp_path / "gone"))
    monkeypatch.setenv("JAXML_CACHE", str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_bytes(bytes(2500))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("jaxlib", "flax", "[plots]", "backend", "host memory", "disk here"):
        assert word in out
    assert f"{tmp_path / 'data'}: 1 files, 2.5 kB" in out
    assert f"warning: JAXML_DATA names {tmp_path / 'gone'}, which is no folder" in out
    assert "jaxml data get mnist" in out


def test_doctor_warns_of_what_is_missing(capsys, monkeypatch):
    import importlib.metadata

    version = importlib.metadata.version

    def without(name):
        if name in ("matplotlib", "optax"):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "warning: without [plots]: pip install 'jaxml-learn[plots]'" in out
    assert "warning: optax is not installed, and jaxml needs it" in out


def test_ctrl_c_ends_a_command_with_130(capsys, monkeypatch):
    def interrupt(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "describe", interrupt)
    assert main(["data", "list"]) == 130
    assert capsys.readouterr().err == "jaxml: interrupted\n"


def test_a_reader_that_has_gone_is_no_error(jaxml):
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [*jaxml, "data", "list"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (141, "")


def test_a_table_shows_brackets_and_long_cells_as_they_are(capsys):
    path = "/".join(["folder"] * 20)
    terminal.table(("name", "value"), [("[bold]x[/bold]", 0.123456789), (path, 1e-9)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["[bold]x[/bold]", "0.123457"]
    assert lines[2].split() == [path, "1e-09"]
