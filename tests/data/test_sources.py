"""Where files are sought, and downloads from a server of our own, good and bad."""

import errno
import hashlib
import http.server
import multiprocessing
import os
import re
import threading

import pytest

from jaxml.data import sources

BODY = bytes(range(256)) * 9000  # more than one block


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves BODY as told by the address."""

    def do_GET(self):
        kind = self.path.split("/")[1]
        if kind == "absent":
            self.send_error(404)
            return
        body = {"wrong": BODY[::-1], "long": BODY * 2}.get(kind, BODY)
        self.send_response(200)
        if kind != "long":  # an endless page says no length
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body[:-99] if kind == "truncated" else body)
        except ConnectionError:
            pass  # the client has left

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    """The address of a server that lives as long as the tests of this file."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as host:
        thread = threading.Thread(target=host.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{host.server_port}"
        host.shutdown()
        thread.join()


def version(data):
    return len(data), hashlib.sha256(data).hexdigest()


def file(*urls, name="data.bin"):
    return sources.File(name, (version(BODY),), urls)


@pytest.fixture
def table(server, monkeypatch, tmp_path):
    """A dataset `pair` of two files, with an older form that cannot be downloaded."""
    first, second = (file(f"{server}/good/{name}", name=name) for name in "ab")
    second = second._replace(versions=(version(BODY), version(b"repacked")))
    old = sources.File("old", (version(b"old"),), ())
    monkeypatch.setitem(sources.FILES, "pair", ((first, second), (old,)))
    monkeypatch.setenv("JAXML_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("JAXML_CACHE", str(tmp_path / "cache"))
    return tmp_path


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# The table.


def test_every_file_has_a_checksum_and_every_dataset_an_address():
    for forms in sources.FILES.values():
        assert all(file.urls for file in forms[0])
        for item in (item for form in forms for item in form):
            assert all(size > 0 for size, _ in item.versions)
            assert all(re.fullmatch("[0-9a-f]{64}", sha) for _, sha in item.versions)


def test_the_files_at_hand_are_those_of_the_table(data_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXML_DATA", str(data_folder))
    monkeypatch.setenv("JAXML_CACHE", str(tmp_path))
    for name in ("fashion_mnist", "cifar10", "california_housing", "housing"):
        assert all(data_folder in path.parents for path in sources.find(name))


# Where files are sought.


def test_the_named_folder_comes_before_the_cache(table):
    a, b = (put(table / "data" / "pair" / name, BODY) for name in "ab")
    put(table / "cache/data/pair/a", b"never read")
    assert sources.find("pair") == (a, b)


def test_each_file_may_lie_elsewhere(table):
    a = put(table / "data/pair/a", BODY)
    b = put(table / "cache/data/pair/b", b"repacked")
    assert sources.at_hand("pair") == sources.find("pair") == (a, b)


def test_takes_another_form_that_is_at_hand(table):
    old = put(table / "data/pair/old", b"old")
    put(table / "data/pair/a", BODY)  # not complete
    assert sources.find("pair") == (old,)
    a, b = sources.download("pair")  # what is asked for by name is the first form
    assert (a.parent, b.parent) == (table / "data/pair", table / "cache/data/pair")


def test_a_given_folder_is_the_only_one(table):
    put(table / "data/pair/a", BODY)
    assert sources.at_hand("pair", table / "mine") == ()
    a, b = sources.find("pair", table / "mine")
    assert a == table / "mine/pair/a"
    assert b.read_bytes() == BODY


def test_the_cache_is_in_the_home_folder(monkeypatch):
    monkeypatch.delenv("JAXML_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    assert str(sources.cache()) == "/home/ada/.cache/jaxml/data"


def test_rejects_a_damaged_file_at_hand(table):
    path = put(table / "data/pair/a", BODY[:-1])
    put(table / "data/pair/b", BODY)
    sizes = f"has {len(BODY) - 1} bytes, not {len(BODY)}"
    with pytest.raises(sources.DataError, match=rf"{path} {sizes}.*Remove it"):
        sources.find("pair")
    path.write_bytes(BODY[::-1])
    with pytest.raises(sources.DataError, match=rf"{path} has the right size but SHA"):
        sources.find("pair")


def test_says_that_a_folder_cannot_be_read(table, monkeypatch):
    def refuse(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(sources.Path, "is_file", refuse)
    with pytest.raises(sources.DataError, match=r"cannot read .*a \(Permission denied"):
        sources.find("pair")


# Downloads.


def test_downloads_and_reports_progress(server, tmp_path):
    seen = []
    item = file(f"{server}/good")
    path = sources.fetch(
        item, tmp_path / "new", progress=lambda *call: seen.append(call)
    )
    assert path.read_bytes() == BODY
    assert os.listdir(tmp_path / "new") == ["data.bin"]
    assert seen[-1] == ("data.bin", len(BODY), len(BODY))
    assert len(seen) > 1


def test_goes_on_to_the_next_address(server, tmp_path):
    item = file(f"{server}/absent", f"{server}/wrong", f"{server}/good")
    assert sources.fetch(item, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "HTTP Error 404"),
        ("wrong", "wrong checksum: expected SHA-256 [0-9a-f]{64}; got"),
        ("truncated", f"truncated: expected {len(BODY)} bytes; got {len(BODY) - 99}"),
        ("long", f"expected {len(BODY)} bytes; got more"),
    ],
)
def test_a_bad_answer_leaves_nothing(server, tmp_path, kind, message):
    item = file(f"{server}/{kind}")
    text = rf"cannot download data\.bin \({server}/{kind}: {message}.*put the file into"
    with pytest.raises(sources.DataError, match=text):
        sources.fetch(item, tmp_path)
    assert not os.listdir(tmp_path)


def test_says_where_it_sought_without_a_network(table, monkeypatch):
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as host:
        address = f"http://127.0.0.1:{host.server_port}"  # nobody listens after this
    monkeypatch.setitem(sources.FILES, "pair", ((file(address),),))
    text = f"pair: .*refused.*sought in {table}/data/pair, {table}/cache/data/pair"
    with pytest.raises(sources.DataError, match=text):
        sources.find("pair")


def test_says_that_there_is_no_address(tmp_path):
    with pytest.raises(sources.DataError, match="it has no address"):
        sources.fetch(file(), tmp_path)


def test_ctrl_c_leaves_nothing(server, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sources.fetch(file(f"{server}/good"), tmp_path, progress=interrupt)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("call", "code"), [("fsync", errno.ENOSPC), ("replace", errno.EACCES)]
)
def test_a_full_disk_or_no_permission_leaves_nothing(
    server, tmp_path, monkeypatch, call, code
):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    text = rf"cannot write {tmp_path}/data.bin \({os.strerror(code)}\)\. Free space"
    with pytest.raises(sources.DataError, match=text):
        sources.fetch(file(f"{server}/good"), tmp_path)
    assert not os.listdir(tmp_path)


def test_a_failed_download_keeps_what_was_there(server, tmp_path):
    before = put(tmp_path / "data.bin", b"before")
    with pytest.raises(sources.DataError):
        sources.fetch(file(f"{server}/truncated"), tmp_path)
    assert before.read_bytes() == b"before"


def test_says_that_the_folder_cannot_be_made(server, tmp_path):
    put(tmp_path / "file", b"")
    with pytest.raises(sources.DataError, match=r"cannot write .*File exists"):
        sources.fetch(file(f"{server}/good"), tmp_path / "file")


def test_processes_that_fetch_at_once_agree(server, tmp_path):
    context = multiprocessing.get_context("spawn")
    item = file(f"{server}/good")
    crowd = [
        context.Process(target=sources.fetch, args=(item, tmp_path)) for _ in range(2)
    ]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    assert [process.exitcode for process in crowd] == [0, 0]
    assert os.listdir(tmp_path) == ["data.bin"]
    assert (tmp_path / "data.bin").read_bytes() == BODY
