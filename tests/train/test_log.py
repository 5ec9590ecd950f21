import json
import math
import os
import sys

import pytest

from jaxml.train import log


def test_lines_are_strict_json(tmp_path):
    with log.Log(tmp_path) as lines:
        lines.write({"step": 1, "loss": math.nan, "top": math.inf, "low": -math.inf})
        lines.write({"step": 2, "loss": 0.1})

    def forbid(name):
        raise ValueError(name)

    text = (tmp_path / "metrics.jsonl").read_text().splitlines()
    first, second = (json.loads(line, parse_constant=forbid) for line in text)
    assert first == {"step": 1, "loss": "nan", "top": "inf", "low": "-inf"}
    assert second == {"step": 2, "loss": 0.1}


def test_read_gives_back_what_was_written(tmp_path):
    record = {"step": 3, "loss": 1 / 3, "top": math.inf, "phase": "warm-up"}
    with log.Log(tmp_path) as lines:
        lines.write(record)
        lines.write({"step": 4, "loss": math.nan})
        assert lines.records()[0] == record
        assert math.isnan(lines.records()[1]["loss"])


def test_a_line_is_in_the_file_at_once(tmp_path):
    lines = log.Log(tmp_path)
    lines.write({"step": 1})
    assert lines.path.read_text() == '{"step": 1}\n'
    lines.close()
    lines.write({"step": 2})  # opens again
    lines.close()
    lines.close()
    assert [record["step"] for record in lines.records()] == [1, 2]


def test_read_leaves_out_a_torn_last_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    assert log.read(path) == [{"step": 1}]


@pytest.mark.parametrize("line", ['{"step": 1, "lo', "[1, 2]"])
def test_rejects_a_damaged_line_in_the_middle(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 0}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(ValueError, match=r"line 2 of .*metrics.jsonl"):
        log.read(path)


def test_cut_drops_what_came_after(tmp_path):
    lines = log.Log(tmp_path)
    for step in (50, 100, 150):
        lines.write({"step": step, "loss": math.nan, "rate": 1 / step})
    before = lines.path.read_bytes().splitlines(keepends=True)
    with open(lines.path, "ab") as file:
        file.write(b'{"step": 2')  # the kill came while writing
    lines.cut(100)
    assert lines.path.read_bytes() == b"".join(before[:2])
    lines.write({"step": 150})
    lines.close()
    assert [record["step"] for record in lines.records()] == [50, 100, 150]
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


def test_cut_without_a_log(tmp_path):
    log.Log(tmp_path).cut(10)
    assert not os.listdir(tmp_path)


def test_replace_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "scores.json"
    log.replace(path, "old")
    with pytest.raises(UnicodeEncodeError):
        log.replace(path, "new \udcff")  # fails half-way through
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["scores.json"]


def test_says_that_the_disk_is_full(tmp_path):
    os.symlink("/dev/full", tmp_path / "metrics.jsonl")
    lines = log.Log(tmp_path)
    with pytest.raises(OSError, match=r"write the log .*jsonl: No space"):
        lines.write({"step": 1})
    lines.close()


def test_says_that_it_may_not_write(tmp_path):
    with pytest.raises(OSError, match=r"cannot write .*scores\.json: No such"):
        log.replace(tmp_path / "absent" / "scores.json", "{}")


def test_tensorboard_shows_the_same_numbers(tmp_path):
    pytest.importorskip("tensorboardX")
    with log.Log(tmp_path, tensorboard=True) as lines:
        lines.write({"step": 7, "loss": 0.5, "validation/accuracy": 0.25, "time": 1.0})
        lines.write({"step": 9, "loss": 0.125, "time": 2.0})
    lines.cut(7)
    lines.write({"step": 9, "loss": 0.0625, "time": 3.0})
    lines.close()
    found = list(_events(tmp_path / "tensorboard"))
    assert ("loss", 7, 0.5) in found
    assert ("validation/accuracy", 7, 0.25) in found
    assert ("loss", 9, 0.0625) in found
    assert not [name for name, _, _ in found if name == "time"]


def _events(folder):
    """Scalars of all event files: records of length, checksum, bytes, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                yield value.tag, event.step, value.simple_value


def test_rejects_tensorboard_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ValueError, match=r"pip install 'jaxml-learn\[tensorboard\]'"):
        log.Log(tmp_path, tensorboard=True)
