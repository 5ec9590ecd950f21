"""A real process is killed and goes on: in the end every bit is as if it never was."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxml.train import log
from tests.train import resume_worker

pytestmark = pytest.mark.xdist_group("resume")

KILLS = 20
PATIENCE = 120  # seconds until a process must have come somewhere
STRETCH = 0.004  # seconds that each step is drawn out, so that moments can be chosen


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Start a worker that shares its compiled programs with the others."""
    cache = tmp_path_factory.mktemp("xla")
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "",
    }
    processes = []

    def start(path, seconds=STRETCH):
        with open(path.with_suffix(".err"), "ab") as errors:
            command = [sys.executable, resume_worker.__file__, str(path), str(seconds)]
            processes.append(subprocess.Popen(command, stderr=errors, env=environment))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def unbroken(start, tmp_path_factory):
    """The folder of a run that nobody disturbed."""
    path = tmp_path_factory.mktemp("unbroken") / "run"
    finish(start, path)
    assert len(log.read(path / "metrics.jsonl")) == resume_worker.STEPS
    return path


def finish(start, path):
    assert start(path, 0).wait(PATIENCE) == 0, errors(path)


def errors(path) -> str:
    return path.with_suffix(".err").read_text()


def last_step(path) -> int:
    """Of the log, as it is now; read from its end, since this is asked very often."""
    try:
        with open(path / "metrics.jsonl", "rb") as file:
            file.seek(max(_size(path / "metrics.jsonl") - 1000, 0))
            tail = file.read()
    except FileNotFoundError:
        return 0
    steps = re.findall(rb'{"step": (\d+),', tail)
    return int(steps[-1]) if steps else 0


def saving(path) -> bool:
    """Whether a checkpoint is being written."""
    try:
        names = os.listdir(path / "checkpoints")
    except FileNotFoundError:
        return False
    return any(name.endswith(".partial") for name in names)


def wait_for(event, process, path):
    """Look again and again; the process must not end meanwhile."""
    end = time.monotonic() + PATIENCE
    while not event():
        assert process.poll() is None, errors(path)
        assert time.monotonic() < end, errors(path)
        time.sleep(0.002)


def assert_same_run(path, other):
    """Every loss, rate and norm of the log, and every bit of the last state."""
    logs = []
    for folder in (path, other):
        records = log.read(folder / "metrics.jsonl")
        for record in records:
            del record["time"], record["steps_per_second"]
        logs.append(records)
    assert logs[0] == logs[1]
    with np.load(path / "final.npz") as a, np.load(other / "final.npz") as b:
        assert a.files == b.files
        for name in a.files:
            assert a[name].dtype == b[name].dtype
            assert a[name].tobytes() == b[name].tobytes()


def test_killed_at_twenty_moments(start, unbroken, tmp_path):
    path = tmp_path / "run"
    moments = random.Random(0)
    # The newest step a kill waits for; the last steps are left for the last run.
    targets = sorted(moments.sample(range(1, resume_worker.STEPS - 40), KILLS))
    while_saving = set(moments.sample(range(KILLS), KILLS // 2))
    caught = 0
    for number, target in enumerate(targets):
        process = start(path)
        wait_for(lambda target=target: last_step(path) >= target, process, path)
        if number in while_saving:
            wait_for(lambda: saving(path), process, path)
        time.sleep(moments.uniform(0, 0.01))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        caught += saving(path)
    assert caught >= KILLS // 4  # the save was left half-done
    assert not (path / "final.npz").exists()
    finish(start, path)
    assert errors(path).count("goes on from step") >= KILLS // 2
    assert_same_run(path, unbroken)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_properly(start, unbroken, tmp_path, number):
    path = tmp_path / "run"
    process = start(path)
    wait_for(lambda: last_step(path) >= 22, process, path)
    process.send_signal(number)
    assert process.wait(PATIENCE) == 128 + number
    stopped = last_step(path)
    assert str(stopped) in os.listdir(path / "checkpoints")
    assert not saving(path)
    finish(start, path)
    assert f"goes on from step {stopped}\n" in errors(path)
    assert_same_run(path, unbroken)


def test_falls_back_to_the_checkpoint_before(start, unbroken, tmp_path):
    path = tmp_path / "run"
    process = start(path)
    wait_for(lambda: (path / "checkpoints" / "45").exists(), process, path)
    process.kill()
    process.wait()
    steps = {int(p.name) for p in (path / "checkpoints").iterdir() if p.name.isdigit()}
    newest = max(steps)
    before = max(steps - {newest})
    files = (path / "checkpoints" / str(newest)).rglob("*")
    largest = max((file for file in files if file.is_file()), key=_size)
    os.truncate(largest, _size(largest) // 2)
    finish(start, path)
    assert f"skipped a damaged checkpoint: step {newest}" in errors(path)
    assert f"goes on from step {before}\n" in errors(path)
    assert_same_run(path, unbroken)


def _size(file: Path) -> int:
    return file.stat().st_size
