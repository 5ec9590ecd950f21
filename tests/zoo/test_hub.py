"""Repositories by name: downloaded once, checked, and never half."""

import hashlib
import http.server
import json
import threading

import jax
import numpy as np
import pytest

from jaxml import zoo
from jaxml.data.sources import DataError
from jaxml.zoo import hub, safetensors

CONFIG = json.dumps(
    {
        "builder": "nn.Sequential",
        "args": [{"builder": "nn.Linear", "args": [2, 3], "kwargs": {}}],
        "kwargs": {},
    }
).encode()


class Hub:
    """A hub on this machine with one repository; counts what it was asked for."""

    def __init__(self, weights):
        blob = hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()
        large = {"oid": hashlib.sha256(weights).hexdigest(), "size": len(weights)}
        self.listing = [
            {"type": "file", "path": "config.json", "size": len(CONFIG), "oid": blob},
            {"type": "file", "path": "model.safetensors", "size": 1, "lfs": large},
            {"type": "file", "path": "pytorch_model.bin", "size": 1, "lfs": large},
            {"type": "directory", "path": "onnx", "size": 0},
        ]
        self.files = {"config.json": CONFIG, "model.safetensors": weights}
        self.asked = []

    def answer(self, path):
        self.asked.append(path)
        if path == "/api/models/owner/tiny/tree/main":
            return json.dumps(self.listing).encode()
        return self.files.get(path.removeprefix("/owner/tiny/resolve/main/"))


@pytest.fixture
def remote(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    file = tmp_path / "weights"
    tensors = {"0.weight": rng.normal(size=(3, 2)).astype(np.float32)}
    safetensors.write(file, {**tensors, "0.bias": np.ones(3, np.float32)})
    served = Hub(file.read_bytes())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = served.answer(self.path)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "theirs"))
    monkeypatch.setenv("JAXML_CACHE", str(tmp_path / "ours"))
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def test_downloads_once_and_only_what_is_needed(remote, tmp_path):
    loaded = zoo.load("owner/tiny")
    assert loaded.variables["params"]["layer_0"]["kernel"].shape == (2, 3)
    assert len(remote.asked) == 3
    again = zoo.load("owner/tiny")
    assert len(remote.asked) == 3
    jax.tree.map(np.testing.assert_array_equal, again.variables, loaded.variables)
    folder = tmp_path / "ours" / "zoo" / "owner--tiny" / "main"
    (folder / "model.safetensors").write_bytes(b"cut")
    zoo.load("owner/tiny")
    assert len(remote.asked) == 6


def test_takes_what_the_client_of_the_hub_has(remote, tmp_path):
    home = tmp_path / "theirs" / "hub" / "models--owner--tiny"
    folder = home / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc\n")
    for name, content in remote.files.items():
        (folder / name).write_bytes(content)
    assert hub.find("owner/tiny") == hub.find("owner/tiny@abc") == folder
    assert not remote.asked


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_rejects_what_has_another_checksum(name, remote, tmp_path):
    content = remote.files[name]
    remote.files[name] = content[:-1] + b"?"
    with pytest.raises(DataError, match="checksum"):
        zoo.load("owner/tiny")
    remote.files[name] = content
    zoo.load("owner/tiny")


def test_rejects_what_is_not_there(remote):
    with pytest.raises(DataError, match="404: there is no such repository"):
        zoo.load("owner/absent")
    remote.listing = remote.listing[:1]
    with pytest.raises(DataError, match="must have safetensors; it has"):
        zoo.load("owner/tiny")
