"""cellbench against a real cell in every protocol, and against a server that stalls: no coordinated omission."""
import json
import pathlib
import socket
import subprocess
import threading
import time
import xml.dom.minidom

import pytest

from conftest import A, B, PROGRAMS, Cell

CELLBENCH = PROGRAMS.parent / "bench" / "cellbench"


def run(folder, scenario, *options, check=True):
    path = pathlib.Path(folder) / "scenario.json"
    path.write_text(json.dumps(scenario))
    result = subprocess.run([CELLBENCH, "--json", "-", *map(str, options), path], capture_output=True, text=True, timeout=60)
    if check:
        assert result.returncode == 0, result.stderr + result.stdout
    return json.loads(result.stdout) if result.stdout else result


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    made = Cell(tmp_path_factory.mktemp("cell"), workers=1).start()
    try:
        for number, ctx in enumerate((A, B), 1):
            made.participant(ctx, {"celld.limits.requestsPerSecond": "100000"})
            token, path = made.shared_file(ctx, "small.txt", b"s" * 1000)
            (made.folder / f"token-{number}").write_text(f"Bearer {token}\n")
            (made.folder / f"path-{number}").write_text(path)
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("url,http", [("https://localhost:{port}", "2"), ("http://127.0.0.1:{clear_port}", "2"),
    ("https://localhost:{port}", "1.1"), ("http://127.0.0.1:{clear_port}", "1.1")], ids=["h2 TLS", "h2c", "h1 TLS", "h1"])
def test_every_protocol(cell, url, http):
    scenario = {"name": "both", "url": url.format(port=cell.port, clear_port=cell.clear_port), "http": http, "ca_file": str(cell.certificate),
        "warmup_ms": 100, "duration_ms": 600, "tenants": [
            {"name": "closed", "path": (cell.folder / "path-1").read_text(), "authorization_file": str(cell.folder / "token-1"), "connections": 2,
                "streams": 3},
            {"name": "open", "path": (cell.folder / "path-2").read_text(), "authorization_file": str(cell.folder / "token-2"), "rate": 50,
                "connections": 2}]}
    svg = cell.folder / "plot.svg"
    before = cell.metric("celld_dp_pulls_total")
    result = run(cell.folder, scenario, "--pid", cell.process.pid, "--svg", svg)
    closed, opened = result["groups"]
    assert closed["failed"] == opened["failed"] == 0
    assert closed["bytes"] >= 1000 * (closed["requests"] - 6) and closed["requests"] > 6
    assert 15 <= opened["requests"] <= 31, "50 a second for 0.6 s"
    assert result["server"]["cpu_seconds"] > 0 and result["server"]["memory_kib"] > 1000
    assert 0 < closed["latency_ms"]["p50"] <= closed["latency_ms"]["p99"] <= closed["latency_ms"]["max"]
    assert cell.metric("celld_dp_pulls_total") - before >= closed["requests"] + opened["requests"]
    assert xml.dom.minidom.parse(str(svg)).documentElement.tagName == "svg"


def test_refusals_are_failures(cell):
    scenario = {"url": f"https://localhost:{cell.port}", "ca_file": str(cell.certificate), "warmup_ms": 0, "duration_ms": 200,
        "tenants": [{"name": "stranger", "path": f"/api/public/{A}/small.txt"}]}
    result = run(cell.folder, scenario, check=False)
    assert result["groups"][0]["failed"] > 0 and result["groups"][0]["requests"] == 0


@pytest.mark.parametrize("sleeps", [False, True], ids=["awake", "asleep"])
def test_a_stall_is_seen_by_every_request_that_was_due(tmp_path, sleeps):
    """The server pauses 500 ms in the middle: with 200 requests a second about 100 of them were due in the pause."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop, started = threading.Event(), time.monotonic()

    def serve():
        connection, _ = listener.accept()
        paused = False
        with connection:
            while not stop.is_set():
                if not connection.recv(65536):
                    return
                if not paused and time.monotonic() - started > 0.5:
                    paused = True
                    time.sleep(0.5)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    threading.Thread(target=serve, daemon=True).start()
    result = run(tmp_path, {"url": f"http://127.0.0.1:{listener.getsockname()[1]}", "http": "1.1", "warmup_ms": 0, "duration_ms": 2000, "sleeps": sleeps,
        "tenants": [{"name": "steady", "path": "/", "rate": 200}]})
    stop.set()
    latency = result["groups"][0]["latency_ms"]
    assert 350 <= result["groups"][0]["requests"] <= 401
    assert latency["max"] >= 450 and latency["p99"] >= 400 and latency["p90"] >= 150, latency


@pytest.mark.parametrize("content,what", [("{}", "url"), ('{"url":"http://a","tenants":[],"x":1}', "x")])
def test_a_wrong_file_is_one_line(tmp_path, content, what):
    path = tmp_path / "wrong.json"
    path.write_text(content)
    result = subprocess.run([CELLBENCH, path], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and what in result.stderr and "wrong.json" in result.stderr
