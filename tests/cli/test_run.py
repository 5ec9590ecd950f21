"""`jaxml run`: what it does, and how a run is stopped and resumed."""

import json
import os
import signal
import subprocess
import time

import numpy as np

from jaxml import export
from jaxml.cli.main import main


def run(*words):
    return main(["run", *map(str, words)])


def newest(folder):
    return max((folder / "runs" / "train").iterdir())


# It works.


def test_runs_with_overrides_and_prints_the_scores(write, plain, tmp_path, capsys):
    write(plain)
    assert run("train.py", "epochs=3", "optimizer.rate=0.5", "sizes=8,") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["score", "value"]
    assert out[1].split() == ["epochs", "3"]
    assert out[2].split() == ["rate", "0.5"]
    folder = newest(tmp_path)
    assert f"folder: {folder.relative_to(tmp_path)}" in out
    saved = json.loads((folder / "config.json").read_text())
    assert saved == {"epochs": 3, "sizes": [8], "optimizer": {"rate": 0.5}}
    assert json.loads((folder / "scores.json").read_text())["epochs"] == 3


def test_options_may_stand_anywhere(write, plain, tmp_path):
    write(plain)
    assert run("--smoke", "train.py", "--folder", "here", "optimizer.rate=0.5") == 0
    saved = json.loads((tmp_path / "here" / "config.json").read_text())
    assert (saved["epochs"], saved["optimizer"]["rate"]) == (1, 0.5)


def test_keys_lists_them_and_runs_nothing(write, plain, tmp_path, capsys):
    write(plain)
    assert run("train.py", "--keys") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["optimizer.rate", "float", "0.1"] in lines
    assert ["sizes", "tuple[int,", "...]", "300,100"] in lines
    assert not (tmp_path / "runs").exists()


def test_a_file_may_require_keys(write, plain, capsys):
    write(plain.replace("epochs: int = 2", "epochs: int").replace("SMOKE", "OTHER"))
    assert run("train.py") == 2
    assert "epochs must be given: there is no default" in capsys.readouterr().err
    assert run("train.py", "epochs=1") == 0


def test_a_file_may_be_called_like_a_module_and_import_its_neighbour(
    write, plain, capsys
):
    write("VALUE = 7", "neighbour.py")
    write(
        plain.replace("return {", "import neighbour as n; return {'v': n.VALUE, "),
        "json.py",
    )
    assert run("json.py") == 0
    assert "v           7" in capsys.readouterr().out


def test_trains_exports_and_is_resumed_to_the_same_end(
    write, train, capsys, monkeypatch
):
    write(train)
    assert run("train.py", "--folder", "whole") == 0
    monkeypatch.setenv("STOP_AT", "3")
    monkeypatch.setenv("STOP_BY", str(int(signal.SIGTERM)))
    assert run("train.py", "--folder", "broken dir") == 143
    err = capsys.readouterr().err
    command = "jaxml run train.py --resume 'broken dir'"
    assert f"jaxml: stopped after step 3; go on with: {command}\n" in err
    assert main(["predict", "broken dir", "x.npy"]) == 1
    assert "is not finished: it has no export yet" in capsys.readouterr().err

    monkeypatch.delenv("STOP_AT")
    assert run("train.py", "--resume", "broken dir") == 0
    x = np.ones(3, np.float32)
    whole, broken = (
        export.load(f"{name}/export")(x) for name in ("whole", "broken dir")
    )
    np.testing.assert_array_equal(whole, broken)
    # again: there is nothing left to do, and it says so by its scores
    assert run("train.py", "--resume", "broken dir", "steps=6") == 0


def test_interrupted_exits_130(write, train, capsys, monkeypatch):
    write(train)
    monkeypatch.setenv("STOP_AT", "1")
    monkeypatch.setenv("STOP_BY", str(int(signal.SIGINT)))
    assert run("train.py") == 130
    assert "stopped after step 1; go on with: jaxml run" in capsys.readouterr().err


def test_interrupted_before_training(write, plain, capsys):
    write(plain.replace("assert run", "raise KeyboardInterrupt; assert run"))
    assert run("train.py") == 130
    assert "jaxml: stopped; nothing was saved yet" in capsys.readouterr().err


def test_a_second_process_stops_at_sigint_and_keeps_its_state(
    write, jaxml, train, tmp_path
):
    write(train.replace("steps: int = 6", "steps: int = 10_000_000"))
    process = subprocess.Popen(
        [*jaxml, "run", "train.py", "--folder", "r"],
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "r" / "metrics.jsonl"
    while not (log.exists() and log.stat().st_size) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "go on with: jaxml run train.py --resume r\n" in err
    assert "Traceback" not in err


def test_programs_are_cached_unless_told_otherwise(write, jaxml, plain, tmp_path):
    write(plain)
    env = {k: v for k, v in os.environ.items() if "COMPILATION" not in k}
    env["JAXML_CACHE"] = str(tmp_path / "cache")
    line = "import jax; print(jax.config.jax_compilation_cache_dir)"
    write(plain.replace("assert run.config == config", line))
    for given in (None, str(tmp_path / "own")):
        env |= {"JAX_COMPILATION_CACHE_DIR": given} if given else {}
        result = subprocess.run(
            [*jaxml, "run", "train.py", "--folder", given or "one"],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.startswith(given or str(tmp_path / "cache" / "xla"))
