"""Every example runs from the command line and leaves what a run should leave."""

import json
import os
import re
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxml.cli.main import main

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
DATA = {  # what each needs, and whether it classifies
    "digits_mlp": (None, True),
    "fashion_mlp": ("fashion_mnist", True),
    "fashion_cnn": ("fashion_mnist", True),
    "california_wide_deep": ("california_housing", False),
    "cifar10_resnet": ("cifar10", True),
}


def test_every_example_is_tested_and_short():
    files = {file.stem: file for file in EXAMPLES.glob("*.py")}
    assert set(files) == {*DATA, "custom_loop", "three_ways"}
    for file in files.values():
        text = file.read_text()
        assert len(text.splitlines()) < 150, f"{file.name} is too long"
        assert "Expected:" in text.split('"""')[1], f"{file.name} expects no score"


@pytest.mark.parametrize("name", DATA)
def test_smoke(name, tmp_path, request, capfd):
    needs, classifies = DATA[name]
    if needs:
        request.getfixturevalue("data_folder")
    folder = tmp_path / "run"
    code = main(
        ["run", str(EXAMPLES / f"{name}.py"), "--smoke", "--folder", str(folder)]
    )
    out, err = capfd.readouterr()
    assert code == 0, err
    assert str(folder) in out
    scores = json.loads((folder / "scores.json").read_text())
    assert scores
    assert all(np.isfinite(list(scores.values())))
    plots = {"curves.png"} | (
        {"confusion.png", "mistakes.png"} if classifies else set()
    )
    assert plots == {file.name for file in folder.glob("*.png")}
    assert (folder / "export" / "signature.json").is_file()
    assert (folder / "metrics.jsonl").read_text().count("\n") >= 1


def test_custom_loop_learns(monkeypatch, capfd):
    module = runpy.run_path(str(EXAMPLES / "custom_loop.py"))
    assert module["main"](epochs=8) > 0.9  # one in ten by chance
    assert "test accuracy" in capfd.readouterr().out


def test_readme_code_runs():
    text = (ROOT / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    code = code.replace("steps=500", "steps=40")
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert int(names["state"].step) == 40
    assert float(names["metrics"]["loss"]) < 2.0  # ln 10 = 2.3 at the start


def losses(folder):
    """Loss by step."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {row["step"]: row["loss"] for row in map(json.loads, lines)}


@pytest.mark.xdist_group("processes")
def test_devices_do_not_matter(tmp_path):
    """One file: on one device, on eight, on eight by FSDP, and in two processes."""
    words = [str(EXAMPLES / "digits_mlp.py"), "epochs=3", "hidden=64,32"]

    def start(devices, folder, **variables):
        flags = f"--xla_force_host_platform_device_count={devices}"
        return subprocess.Popen(
            [sys.executable, *words, "--folder", tmp_path / folder],
            env=os.environ | {"XLA_FLAGS": flags} | variables,
            stdout=subprocess.DEVNULL,
        )

    coordinator = f"127.0.0.1:{free_port()}"
    started = [
        start(1, "one"),
        *(
            start(
                4,
                "processes",
                JAXML_COORDINATOR=coordinator,
                JAXML_PROCESSES="2",
                JAXML_PROCESS=str(number),
            )
            for number in range(2)
        ),
    ]
    try:
        assert main(["run", *words, "--folder", str(tmp_path / "eight")]) == 0
        fsdp = str(tmp_path / "fsdp")
        assert main(["run", *words, "fsdp=true", "--folder", fsdp]) == 0
        assert [process.wait(timeout=300) for process in started] == [0, 0, 0]
    finally:
        for process in started:
            process.kill()
    one = losses(tmp_path / "one")
    assert max(one) == 69
    for other in ("eight", "fsdp", "processes"):
        # Sums over rows in another order; 69 steps of a float32 network.
        both = losses(tmp_path / other)
        assert both.keys() == one.keys()
        np.testing.assert_allclose(list(both.values()), list(one.values()), rtol=1e-5)


def free_port():
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
