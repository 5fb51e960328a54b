"""Receiving pushes: a consumer's flow takes objects and segments into its sink; and from cell to cell."""
import hashlib
import json
import os
import socket
import threading

import pytest

from conftest import A, B, Cell, wait_for
from test_push import BIG, PROFILE, SEGMENT, SETTINGS, address, completed, move, push, receiver, state  # noqa: F401 (receiver: a fixture)
from wire import H2


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    cell = make(tmp_path_factory.mktemp("ingest"))
    yield cell
    cell.stop()


def make(folder):
    cell = Cell(folder, settings=SETTINGS)
    cell.config["client"] = {"ca_file": str(cell.certificate)}
    cell.start()
    cell.participant(A)
    cell.participant(B)
    cell.file(A, "big.bin", BIG)
    cell.dataset(A, "big", "file", {"path": "big.bin"})
    return cell


def consumer(cell, name, dataset="unknown", ctx=B, **members):
    """A consumer's push flow; (path, token)."""
    cell.flow(ctx, dataset, name, role="consumer", profile=PROFILE, **members)
    return f"/api/ingest/{ctx}/{name}", cell.flow_token(ctx, name)


def send(cell, path, token, method="PUT", body=b"", headers=()):
    with H2(cell.port) as connection:
        return connection.get(path, method, [("authorization", f"Bearer {token}"), ("content-length", str(len(body))), *headers], body or None)


def segment(cell, path, token, content, first, last):
    return send(cell, path, token, "PUT", content[first:last], [("content-range", f"bytes {first}-{last - 1}/{len(content)}")])


def offset(cell, path, token):
    response = send(cell, path, token, "HEAD")
    assert response.status == 204
    return int(response.header("upload-offset"))


def received(cell, flow, name="data", ctx=B):
    return cell.state / "sources" / ctx / "received" / flow / name


def test_a_whole_object(cell):
    path, token = consumer(cell, "whole")
    assert offset(cell, path, token) == 0
    for name, content in (("data", b"first"), ("deep/er/name.txt", os.urandom(3 << 20)), ("empty", b"")):
        below = path if name == "data" else f"{path}/{name}"
        response = send(cell, below, token, "POST", content)
        assert response.status == 204 and response.header("upload-offset") == str(len(content))
        assert received(cell, "whole", name).read_bytes() == content
        assert offset(cell, below, token) == len(content)
    assert send(cell, path, token, "PUT", b"second").status == 204
    assert received(cell, "whole").read_bytes() == b"second"
    flow = cell.call("GET", f"/api/cell/v1/participants/{B}/flows/whole")[1]
    assert flow["bytesSent"] == 5 + (3 << 20) + 6


def test_segments_in_order(cell):
    path, token = consumer(cell, "segments")
    content = os.urandom(300_000)
    assert segment(cell, path, token, content, 0, 100_000).header("upload-offset") == "100000"
    assert not received(cell, "segments").exists() and offset(cell, path, token) == 100_000
    for first, last in ((50_000, 150_000), (100_001, 150_000), (200_000, 300_000)):
        response = segment(cell, path, token, content, first, last)
        assert response.status == 409 and response.header("upload-offset") == "100000"
    assert segment(cell, path, token, content, 100_000, 250_000).status == 204
    assert segment(cell, path, token, content, 250_000, 300_000).status == 204
    assert received(cell, "segments").read_bytes() == content
    # from 0: afresh; the old object stays until the new one is whole
    other = os.urandom(200_000)
    assert segment(cell, path, token, other, 0, 100_000).status == 204
    assert received(cell, "segments").read_bytes() == content and offset(cell, path, token) == 100_000
    assert segment(cell, path, token, other, 100_000, 200_000).status == 204
    assert received(cell, "segments").read_bytes() == other


BAD_RANGES = ["bytes 0-9/*", "bytes */10", "bytes 5-4/10", "bytes 0-10/10", "bytes 0-9/10, bytes 0-9/10", "lines 0-9/10", "bytes 0-8/10",
    "bytes 0-9/99999999999999999999", "bytes 0-9/-1", "bytes=0-9/10", ""]


@pytest.mark.parametrize("value", BAD_RANGES)
def test_bad_ranges(cell, value):
    if "bad" not in getattr(cell, "flows", {}):
        cell.flows = {"bad": consumer(cell, "bad")}
    path, token = cell.flows["bad"]
    assert send(cell, path, token, "PUT", b"0123456789", [("content-range", value)]).status == 400
    assert not received(cell, "bad").exists() and offset(cell, path, token) == 0


@pytest.mark.parametrize("below", ["/.hidden", "/a/.b", "/%2e%2e/x", "/x.part", "/" + "n" * 300, "/" + "/".join("a" * 20), "/a%00b", "/a%0ab", "/a%2fb"])
def test_bad_names(cell, below):
    if "names" not in getattr(cell, "flows", {}):
        cell.flows = {"names": consumer(cell, "names")}
    path, token = cell.flows["names"]
    assert send(cell, path + below, token, "PUT", b"x").status == 400
    assert not received(cell, "names", "").exists() or not any(file.is_file() for file in received(cell, "names", "").rglob("*"))


def test_who_may(cell):
    path, token = consumer(cell, "mine")
    other_path, other = consumer(cell, "other")
    pull_token, _ = cell.shared_file(B, "pulled", b"x")
    assert send(cell, path, token, body=b"x").status == 204
    assert send(cell, path, other, body=b"x").status == 403
    assert send(cell, path, pull_token, body=b"x").status == 403
    assert send(cell, "/api/ingest/" + B + "/flow-pulled", pull_token, body=b"x").status == 403
    assert send(cell, path.replace(B, A), token, body=b"x").status == 401
    assert send(cell, path, "a.b.c", body=b"x").status == 401
    assert send(cell, "/api/ingest/" + B, token, body=b"x").status == 404
    assert send(cell, "/api/ingest/" + "c" * 32 + "/mine", token, body=b"x").status == 404
    for method in ("GET", "DELETE", "PATCH"):
        response = send(cell, path, token, method)
        assert response.status == 405 and response.header("allow") == "HEAD, POST, PUT"
    # a pull needs a provider's flow
    assert cell.pull(token, f"/api/public/{B}").status == 403
    move(cell, "mine", "suspend", B)
    assert send(cell, path, token, body=b"x").status == 403
    move(cell, "mine", "resume", B)
    assert send(cell, path, token, body=b"x").status == 204
    move(cell, "mine", "complete", B)
    assert send(cell, path, token, body=b"x").status == 403


def test_suspension_stops_what_is_under_way(cell):
    path, token = consumer(cell, "cut")
    with H2(cell.port) as connection:
        stream = connection.start(path, "PUT", [("authorization", f"Bearer {token}"), ("content-length", "1000000")], end=False)
        connection.send(stream, b"x" * 1000)
        wait_for(lambda: received(cell, "cut", "data.part").exists(), what="the first bytes")
        move(cell, "cut", "suspend", B)
        response = connection.wait(stream, deadline=30)
        assert response.reset is not None
    wait_for(lambda: not received(cell, "cut", "data.part").exists(), what="the half object to go")


def test_half_a_segment_is_kept(cell):
    path, token = consumer(cell, "half")
    content = os.urandom(400_000)
    with socket.create_connection(("127.0.0.1", cell.clear_port)) as plain:
        plain.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 300000\r\n"
            f"Content-Range: bytes 0-299999/400000\r\n\r\n".encode() + content[:200_000])
        wait_for(lambda: received(cell, "half", "data.part").exists() and received(cell, "half", "data.part").stat().st_size > 100_000, what="bytes")
    held = wait_for(lambda: offset(cell, path, token), what="an offset")
    assert 0 < held <= 200_000
    response = wait_for(lambda: (answer := segment(cell, path, token, content, offset(cell, path, token), 400_000)).status == 204 and answer, what="the rest")
    assert response.header("upload-offset") == "400000" and received(cell, "half").read_bytes() == content


def test_a_limit_of_the_sink(cell):
    status, body = cell.call("PUT", f"/api/cell/v1/participants/{B}/datasets/limited", {"id": "limited", "sink": {
        "type": "file", "properties": {"folder": "inbox/sub", "maxBytes": "1000"}}})
    assert status == 201, body
    path, token = consumer(cell, "limited", "limited")
    assert send(cell, path, token, body=b"x" * 1000).status == 204
    assert (cell.state / "sources" / B / "inbox/sub/limited/data").read_bytes() == b"x" * 1000
    assert send(cell, f"{path}/b", token, body=b"x" * 1001).status == 413
    response = send(cell, f"{path}/c", token, body=b"x" * 500, headers=[("content-range", "bytes 0-499/1001")])
    assert response.status == 413
    assert [file.name for file in (cell.state / "sources" / B / "inbox/sub/limited").iterdir()] == ["data"]


@pytest.mark.parametrize("sink,name", [({"type": "other", "properties": {}}, "sink"), ({"type": "file", "properties": {"folder": "../x"}}, "folder"),
    ({"type": "file", "properties": {"folder": ".x"}}, "folder"), ({"type": "file", "properties": {"maxBytes": "-1"}}, "maxBytes"),
    ({"type": "file"}, "properties"), ("file", "sink"), ({"type": "file", "properties": {}, "more": 1}, "more")])
def test_bad_sinks(cell, sink, name):
    status, body = cell.call("PUT", f"/api/cell/v1/participants/{B}/datasets/bad", {"id": "bad", "sink": sink})
    assert status == 400 and body["detail"].startswith(name), body


def test_a_link_leads_nowhere(cell, tmp_path):
    path, token = consumer(cell, "linked")
    folder = received(cell, "linked", "")
    folder.mkdir(parents=True)
    (folder / "out").symlink_to(tmp_path)
    assert send(cell, f"{path}/out/x", token, body=b"x").status == 400
    (folder / "y.part").symlink_to(tmp_path / "y")
    assert send(cell, f"{path}/y", token, body=b"x").status in (400, 500)
    assert list(tmp_path.iterdir()) == []


def link(cell, name, dataset="big", sender=None, sink="unknown", **members):
    """A provider's flow of A that pushes into a consumer's flow of B."""
    sender = sender or cell
    path, token = consumer(cell, name, sink)
    assert sender.call("PUT", f"/api/cell/v1/participants/{A}/secrets/flow:{name}:address",
        {"value": json.dumps(address(f"https://localhost:{cell.port}{path}", token))})[0] == 204
    return push(sender, dataset, f"https://localhost:{cell.port}{path}", name, **members)


def test_from_tenant_to_tenant_in_one_cell(cell):
    flow = link(cell, "link")
    completed(cell, flow, 60)
    assert received(cell, "link").read_bytes() == BIG
    assert cell.call("GET", f"/api/cell/v1/participants/{B}/flows/link")[1]["bytesSent"] == len(BIG)


def test_several_parts_from_tenant_to_tenant(cell):
    cell.file(A, "one", b"first")
    cell.file(A, "two", BIG[:1 << 20])
    status, body = cell.call("PUT", f"/api/cell/v1/participants/{A}/datasets/parts", {"id": "parts", "parts": [
        {"path": "/one", "type": "file", "properties": {"path": "one"}},
        {"path": "/deep/two", "type": "file", "properties": {"path": "two"}}]})
    assert status == 201, body
    completed(cell, link(cell, "parts", "parts"))
    assert received(cell, "parts", "one").read_bytes() == b"first"
    assert received(cell, "parts", "deep/two").read_bytes() == BIG[:1 << 20]


def http_sink(cell, name, url, **properties):
    status, body = cell.call("PUT", f"/api/cell/v1/participants/{B}/datasets/{name}", {"id": name, "sink": {
        "type": "http", "properties": {"baseUrl": url, **properties}}})
    assert status == 201, body
    return name


@pytest.mark.parametrize("resumable", [True, False])
def test_an_http_sink(cell, receiver, resumable):  # noqa: F811
    target = receiver(resumable=resumable, token="sink-token-canary")
    assert cell.call("PUT", f"/api/cell/v1/participants/{B}/secrets/sink", {"value": "Bearer sink-token-canary"})[0] == 204
    name = http_sink(cell, f"http-{resumable}", target.url, authKey="Authorization", secretName="sink", method="PUT")
    completed(cell, link(cell, f"http-{resumable}", sink=name), 60)
    assert target.whole["/in"] == BIG
    segments = [fields for method, _, fields in target.requests if method == "PUT"]
    assert len(segments) == (len(BIG) // SEGMENT if resumable else 1)


def test_an_http_sink_that_breaks_off(cell, receiver):  # noqa: F811
    target = receiver()
    cuts = [0]

    def cut(total):
        if cuts[0] < 5 and total > (cuts[0] + 1) * (2 << 20):
            cuts[0] += 1
            raise ConnectionError("ordered")
    target.on_bytes = cut
    name = http_sink(cell, "http-cut", target.url)
    completed(cell, link(cell, "http-cut", sink=name), 60)
    assert cuts[0] == 5 and target.whole["/in"] == BIG


@pytest.mark.parametrize("answer,status", [(401, 502), (404, 503), (409, 409), (413, 413), (500, 503), (507, 507)])
def test_what_an_http_sink_says(cell, receiver, answer, status):  # noqa: F811
    target = receiver()
    target.before_body = lambda path, head: answer
    path, token = consumer(cell, f"http-{answer}", http_sink(cell, f"http-{answer}", target.url))
    assert send(cell, path, token, body=b"x" * 100_000).status == status
    target.stop()
    target.start()


def test_an_http_sink_that_is_not_there(cell, receiver):  # noqa: F811
    target = receiver()
    target.stop()
    path, token = consumer(cell, "http-gone", http_sink(cell, "http-gone", target.url))
    assert send(cell, path, token, body=b"x" * 100_000).status == 503
    assert send(cell, path, token, "HEAD").status == 503
    target.start()


def test_a_slow_http_sink_holds_the_sender_back(cell, receiver):  # noqa: F811
    target = receiver()
    gate = threading.Event()
    target.on_bytes = lambda total: gate.wait(30)
    path, token = consumer(cell, "http-slow", http_sink(cell, "http-slow", target.url))
    sent = [0]
    with socket.create_connection(("127.0.0.1", cell.clear_port)) as plain:
        plain.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: {1 << 30}\r\n\r\n".encode())
        plain.settimeout(1)
        try:
            while sent[0] < 1 << 30:
                sent[0] += plain.send(b"z" * 65536)
        except TimeoutError:
            pass
        assert 65536 <= sent[0] < 32 << 20, "kernel buffers and a window, not the whole body"
    gate.set()


def test_both_sides_are_killed_again_and_again(own_cell, tmp_path):
    """What arrives is what was sent, and no more is sent again than a segment for each end."""
    content = BIG * 4
    cell = make(tmp_path / "both") if (tmp_path / "both").mkdir() is None else None
    try:
        cell.file(A, "larger", content)
        cell.dataset(A, "larger", "file", {"path": "larger"})
        flow = link(cell, "killed", "larger")
        for kill in range(4):
            part = received(cell, "killed", "data.part")
            goal = (kill + 1) * (len(content) // 8)
            wait_for(lambda: received(cell, "killed").exists() or (part.exists() and part.stat().st_size > goal), 30, "bytes")
            cell.kill()
            cell.start()
        completed(cell, flow, 60)
        assert hashlib.sha256(received(cell, "killed").read_bytes()).digest() == hashlib.sha256(content).digest()
    finally:
        cell.stop()
