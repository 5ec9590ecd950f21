"""`jaxml run` with a mistake: the message, and the exit code 1 or 2."""

import os
import re
import subprocess

import pytest

from jaxml.cli.main import main


def run(*words):
    return main(["run", *map(str, words)])


# Used wrongly: code 2, one message, no traceback.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["absent.py"], "no file absent.py$"),
        (["trains.py"], r"no file trains.py; did you mean train.py\?"),
        (["."], "a Python file is needed"),
        (["notes.txt"], r"FILE must be a Python file \(.py\); got notes.txt"),
        (["epochs=3", "train.py"], "the file comes before the keys; got epochs=3"),
        ([], "the following arguments are required: FILE"),
        (["train.py", "epoch=3"], r"no key epoch; did you mean epochs\?"),
        (["train.py", "rate=3"], r"no key rate; did you mean optimizer.rate\?"),
        (["train.py", "epochs=few"], 'epochs must be int; got "few"'),
        (["train.py", "epochs=1", "epochs=2"], 'epochs is given twice: "1" and "2"'),
        (["train.py", "epochs"], 'write key=value; got "epochs" without "="'),
        (["train.py", "--epochs=3"], "is set by key=value, without dashes"),
        (["train.py", "optimizer.rate=-1"], "optimizer.rate=-1: rate must be positive"),
        (["train.py", "--folder", "full"], "must be empty, and .*full is not"),
        (["train.py", "--resume", "gone"], "no run to resume: gone does not exist"),
        (["train.py", "--resume", "full"], "no run to resume: full has no config.json"),
        (["train.py", "--resume", "x", "--smoke"], "drop --smoke"),
        (["train.py", "--resume", "x", "--folder", "y"], "drop --folder"),
    ],
)
def test_used_wrongly(write, plain, tmp_path, capsys, words, message):
    write(plain)
    (tmp_path / "notes.txt").write_text("no Python")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    assert run(*words) == 2
    err = capsys.readouterr().err
    assert err.startswith("jaxml: ")
    assert "Traceback" not in err
    assert re.search(message, err), err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class Config", "class Settings", "must define Config, a frozen dataclass"),
        ("def main", "Config = 3\ndef main", "must define Config, a frozen"),
        ("def main", "def train", "must define main(config, run)"),
        ("(frozen=True)", "", "Config of train.py must be frozen"),
        ("\nfrom", "\ny = = 2\nfrom", "train.py, line 2: invalid syntax\n  y = = 2"),
    ],
)
def test_a_file_that_is_no_run(write, plain, capsys, old, new, message):
    write(plain.replace("SMOKE = Config(epochs=1)", "").replace(old, new))
    assert run("train.py") == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_platform_that_is_not_there(write, plain, jaxml):
    write(plain)
    result = subprocess.run(
        [*jaxml, "run", "train.py"],
        env=os.environ | {"JAX_PLATFORMS": "cuda"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "jaxml: JAX cannot start on cuda: " in result.stderr
    assert "Traceback" not in result.stderr


def test_smoke_needs_smoke(write, plain, capsys):
    write(plain.replace("SMOKE", "OTHER"))
    assert run("train.py", "--smoke") == 2
    assert "train.py has no SMOKE" in capsys.readouterr().err


def test_resume_keeps_the_config(write, train, plain, capsys):
    write(train)
    assert run("train.py", "--folder", "r") == 0
    assert run("train.py", "--resume", "r", "steps=9") == 2
    err = capsys.readouterr().err
    assert (
        "r is resumed with the config it was started with (steps was 6, now 9)" in err
    )
    write(plain, "other.py")
    assert run("other.py", "--resume", "r") == 2
    assert "is no Config of this file: no key steps" in capsys.readouterr().err


# Failed: code 1.


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("raise ValueError('x must be 2')", "train.py, line 21: x must be 2"),
        ("open('gone.npy')", r"No such file or directory: 'gone.npy'"),
        (
            "from jaxml.data import datasets; datasets.load('mnits')",
            "train.py, line 21: name must be one of digits, .*did you mean mnist",
        ),
        (
            "from jaxml.data import sources; raise sources.DataError('no net')",
            "train.py, line 21: no net",
        ),
        (  # a refusal of the library, below jit
            "import jax, jax.numpy as np; from jaxml import metrics; "
            "jax.jit(lambda x: metrics.top_k(x, np.zeros(2, int), 9))(np.ones((2, 3)))",
            "train.py, line 21: k must be from 1 to the number of classes 3; got 9",
        ),
        ("return [1]", r"main must return its scores, a dict of numbers; got \[1\]"),
    ],
)
def test_a_mistake_shows_no_traceback(write, plain, capsys, line, message):
    write(plain.replace("assert run.config == config", line))
    assert run("train.py") == 1
    err = capsys.readouterr().err
    assert re.search(message, err), err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config.gone", "AttributeError: 'Config' object has no attribute 'gone'"),
        ("a, b = [1]", "ValueError: not enough values to unpack"),
        ("import numpy as np; np.zeros(2) + np.zeros(3)", "ValueError: operands"),
    ],
)
def test_a_bug_shows_the_traceback_from_the_file_on(
    write, plain, capsys, line, message
):
    write(plain.replace("assert run.config == config", line))
    assert run("train.py") == 1
    err = capsys.readouterr().err
    assert err.startswith("jaxml: train.py failed\nTraceback")
    assert message in err
    assert 'train.py", line 21, in main' in err
    assert "jaxml/cli/run.py" not in err


def test_a_bug_while_importing(write, capsys):
    write("import numpy\nnumpy.gone\n")
    assert run("train.py") == 1
    assert 'train.py", line 2, in <module>' in capsys.readouterr().err
    write("x = 1\nimport gone_module\n")
    assert run("train.py") == 1
    err = capsys.readouterr().err
    assert "train.py, line 2: No module named 'gone_module'" in err
    assert "Traceback" not in err


def test_a_loss_that_is_not_finite(write, train, capsys):
    write(train)
    assert run("train.py", "rate=1e38") == 1
    err = capsys.readouterr().err
    assert "is not finite at step" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("how", ["--debug", "JAXML_DEBUG"])
def test_debug_shows_every_traceback(write, plain, capsys, monkeypatch, how):
    write(plain)
    words = ["train.py", "epoch=3"]
    if how == "--debug":
        words.append(how)
    else:
        monkeypatch.setenv(how, "1")
    assert run(*words) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "no key epoch; did you mean epochs?" in err


def test_a_folder_that_cannot_be_written(write, plain, tmp_path, capsys):
    write(plain)
    (tmp_path / "file").write_text("")
    assert run("train.py", "--folder", "file/below") == 1
    assert "cannot make the run folder" in capsys.readouterr().err


def test_sys_exit_of_the_file_is_kept(write, plain, capsys):
    write(plain.replace("assert run.config == config", "raise SystemExit('enough')"))
    assert run("train.py") == 1
    assert capsys.readouterr().err == "enough\n"
