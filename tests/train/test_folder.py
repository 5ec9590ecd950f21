import dataclasses
import json
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxml.train import folder


@dataclasses.dataclass(frozen=True)
class Optimizer:
    rate: float = 1e-3
    momenta: tuple[float, ...] = (0.9, 0.999)


@dataclasses.dataclass(frozen=True)
class Config:
    epochs: int = 3
    data: Path = Path("digits")
    optimizer: Optimizer = Optimizer()


def broken_run(path, config=None):
    """A run that has a checkpoint."""
    run = folder.create(path, config=config or Config())
    (run.path / "checkpoints" / "100").mkdir(parents=True)
    return run


def test_create_writes_configuration_and_versions(tmp_path):
    run = folder.create(tmp_path / "a" / "run", config=Config())
    assert json.loads((run.path / "config.json").read_text()) == {
        "epochs": 3,
        "data": "digits",
        "optimizer": {"rate": 1e-3, "momenta": [0.9, 0.999]},
    }
    versions = json.loads((run.path / "versions.json").read_text())
    packages = {"jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "jaxml"}
    assert packages | {"python", "platform", "devices"} < set(versions)
    assert versions["devices"] == "8 x cpu"
    assert sorted(os.listdir(run.path)) == ["config.json", "versions.json"]


def test_default_folders_do_not_collide(tmp_path):
    runs = [folder.create(root=tmp_path, name="digits") for _ in range(3)]
    assert len({run.path for run in runs}) == 3
    assert {run.path.parent for run in runs} == {tmp_path / "digits"}


def test_an_empty_folder_is_taken(tmp_path):
    assert folder.create(tmp_path, config=Config()).path == tmp_path


def test_rejects_a_folder_that_holds_something(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"must be empty.*--resume .*--folder"):
        folder.create(tmp_path, config=Config())
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="must be empty"):
        folder.create(tmp_path / "file", config=Config())
    assert sorted(os.listdir(tmp_path)) == ["file", "thesis.tex"]


def test_rejects_a_configuration_that_is_no_data(tmp_path):
    with pytest.raises(ValueError, match=r"plain values: got .*object"):
        folder.create(tmp_path / "run", config={"model": object()})
    assert not (tmp_path / "run").exists()


def test_resume(tmp_path):
    broken_run(tmp_path / "run")
    run = folder.create(tmp_path / "run", config=Config(), resume=True)
    assert run.resume
    assert run.checkpoints is run.checkpoints


def test_resume_rejects_what_is_no_run(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json"):
        folder.create(tmp_path, config=Config(), resume=True)
    with pytest.raises(ValueError, match=r"no config\.json"):
        folder.create(tmp_path / "absent", config=Config(), resume=True)
    with pytest.raises(ValueError, match="needs the path"):
        folder.create(config=Config(), resume=True)


def test_resume_lists_what_changed(tmp_path):
    broken_run(tmp_path / "run")
    now = Config(epochs=5, optimizer=Optimizer(rate=0.01))
    changes = r"epochs: 3 before, 5 now; optimizer\.rate: 0\.001 before, 0\.01 now"
    with pytest.raises(ValueError, match=changes):
        folder.create(tmp_path / "run", config=now, resume=True)


def test_resume_warns_of_other_versions(tmp_path, caplog):
    run = broken_run(tmp_path / "run")
    versions = json.loads((run.path / "versions.json").read_text())
    (run.path / "versions.json").write_text(json.dumps(versions | {"jax": "0.0.1"}))
    folder.create(tmp_path / "run", config=Config(), resume=True)
    assert 'jax: "0.0.1" before' in caplog.text


def test_says_that_there_is_no_permission(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError, match=r"make the run folder .*: Permission"):
        folder.create(tmp_path / "run", config=Config())


def test_says_that_the_disk_is_full(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*versions.json: No space left"):
        folder.create(tmp_path / "run", config=Config())
    assert not os.listdir(tmp_path / "run")


def test_finish_writes_scores_and_plots(tmp_path):
    pytest.importorskip("matplotlib")
    run = folder.create(tmp_path / "run", config=Config())
    for step in (50, 100):
        run.log.write({"step": step, "loss": 1 / step, "validation/accuracy": 0.5})
    labels = np.arange(20) % 4
    written = run.finish(
        {"accuracy": 0.5},
        labels=labels,
        probabilities=np.eye(4, dtype=np.float32)[labels[::-1]],
        images=np.zeros((20, 8, 8, 1), np.uint8),
    )
    assert [file.name for file in written] == [
        "scores.json",
        "curves.png",
        "confusion.png",
        "mistakes.png",
    ]
    assert all(file.stat().st_size for file in written)
    assert json.loads(written[0].read_text()) == {"accuracy": 0.5}


def test_finish_without_matplotlib(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run = folder.create(tmp_path / "run", config=Config())
    run.log.write({"step": 1, "loss": 1.0})
    with caplog.at_level(logging.WARNING):
        assert run.finish({"loss": 1.0}) == [run.path / "scores.json"]
    assert "no plots" in caplog.text
    assert "pip install 'jaxml-learn[plots]'" in caplog.text


def test_differences_of_equal_trees():
    tree = {"a": [1, 2], "b": {"c": None}}
    assert folder.differences(tree, json.loads(json.dumps(tree))) == []
    assert folder.differences({"a": [1]}, {"a": [2], "b": 1}) == [
        "a: [1] before, [2] now",
        "b: absent before, 1 now",
    ]
