"""Large bodies of HTTP sources to clear HTTP/2 peers that take large frames: whole, cut, failing, and with peers that do not read."""
import hashlib
import os
import time

import pytest

from conftest import A, wait_for
from wire import H2

FRAME = 1 << 20
PATTERN = os.urandom((1 << 20) + 1)  # no length of ours divides it: a byte out of place is seen


def expected(length):
    return (PATTERN * (length // len(PATTERN) + 1))[:length]


def sends(length, promised=None):
    """A source of so many bytes that promises as many, or more."""
    body = expected(length)

    def behave(connection, head, buffered):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (promised or length))
        connection.sendall(body)
        return buffered if promised is None else None
    return behave


def pipes(cell):
    folder = f"/proc/{cell.process.pid}/fd"
    found = set()
    for name in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{name}")
        except OSError:
            continue
        if target.startswith("pipe:"):
            found.add(target)
    return len(found)


def consumer(cell, token, path, streams, window=16 << 20, frame=FRAME):
    connection = H2(cell.clear_port, tls=False, window=window, frame=frame)
    return connection, [connection.start(path, headers=[("authorization", f"Bearer {token}")]) for _ in range(streams)]


@pytest.mark.parametrize("frame", [16384, 16385, 65536, FRAME])
@pytest.mark.parametrize("streams", [1, 10])
def test_bodies_come_whole(cell, source, streams, frame):
    length = (72 << 20 if frame > 65536 and streams == 1 else 8 << 20) + 12345  # larger frames are for who was alone for 64 MiB
    token, path = cell.shared_http(A, f"whole-{streams}-{frame}", source(sends(length)).url)
    connection, started = consumer(cell, token, path, streams, frame=frame)
    wanted = hashlib.sha256(expected(length)).digest()
    for stream in started:
        response = connection.wait(stream, deadline=60)
        assert response.ended and len(response.body) == length, response
        assert hashlib.sha256(response.body).digest() == wanted
    assert connection.largest <= frame
    if frame > 65536:
        assert connection.largest > 65536
    connection.close()


def hold(connection, streams, at_least):
    """Takes so much of each and then nothing, until the cell has filled what is between it and us."""
    for stream in streams:
        connection.wait(stream, deadline=60, until=lambda response: len(response.body) >= at_least)


def test_a_cut_inside_a_frame_leaves_the_connection_whole(cell, source):
    length = 256 << 20
    url = source(sends(length)).url
    cell.dataset(A, "cut", "http", {"baseUrl": url})
    flow = cell.flow(A, "cut", "cut-in-frame")
    token = cell.flow_token(A, flow)
    other, other_path = cell.shared_http(A, "whole-too", source(sends(100000)).url)
    connection, started = consumer(cell, token, f"/api/public/{A}", 3, window=1 << 30)
    hold(connection, started, 2 << 20)
    wait_for(lambda: sent_stands_still(cell), what="a full socket")
    assert cell.call("POST", f"/api/cell/v1/participants/{A}/flows/{flow}/suspend")[0] in (200, 204)
    for stream in started:
        response = connection.wait(stream, deadline=60)
        assert response.reset is not None and not response.ended, response
        assert bytes(response.body) == expected(len(response.body))
    response = connection.get(other_path, headers=[("authorization", f"Bearer {other}")])
    assert response.ended and bytes(response.body) == expected(100000)
    came = {len(connection.responses[one].body) for one in started}

    def counted():  # the log is written by a thread of its own
        return [line["sent"] for line in cell.log_lines() if line.get("path") == f"/api/public/{A}" and line.get("outcome") == "stopped"]
    wait_for(lambda: came <= set(counted()), 30, "the log lines of what was cut")
    assert sorted(counted()[-3:]) == sorted(len(connection.responses[one].body) for one in started), "what was counted came, and no more"
    connection.close()


def sent_stands_still(cell):
    """The cell has nothing to do: what its peers take is what holds it."""
    before = cell.cpu_seconds()
    time.sleep(0.2)
    return cell.cpu_seconds() - before < 0.02


@pytest.mark.parametrize("missing", [1, 20000, 5 << 20])
def test_a_source_that_breaks_off_resets_its_stream_alone(cell, source, missing):
    length = 6 << 20
    token, path = cell.shared_http(A, f"broken-{missing}", source(sends(length, promised=length + missing)).url)
    connection, started = consumer(cell, token, path, 4)
    for stream in started:
        response = connection.wait(stream, deadline=60)
        assert response.reset is not None and not response.ended, response
        assert bytes(response.body) == expected(len(response.body))
        assert len(response.body) > 0
    assert not connection.closed
    token, path = cell.shared_http(A, f"after-{missing}", source(sends(3 << 20)).url)
    response = connection.get(path, headers=[("authorization", f"Bearer {token}")], deadline=60)
    assert response.ended and bytes(response.body) == expected(3 << 20)
    connection.close()


def test_a_hundred_slow_streams_hold_little(cell, source):
    token, path = cell.shared_http(A, "slow-many", source(sends(32 << 20)).url)
    before, exchanges = cell.rss_kib(), cell.metric("celld_http_open_exchanges")
    connections = []
    for _ in range(10):
        connection, started = consumer(cell, token, path, 10, window=1 << 30)
        hold(connection, started, 1 << 20)
        connections.append((connection, started))
    wait_for(lambda: sent_stands_still(cell), deadline=30, what="full sockets")
    assert pipes(cell) <= 2 * 32 + 4, "each worker has so many pipes, however many streams wait"
    if not os.environ.get("CELLD_SANITIZE"):
        assert cell.rss_kib() - before < 10 * 1.5 * 1024, "each connection has its limit"
    for connection, started in connections:
        connection.close()
    wait_for(lambda: cell.metric("celld_http_open_exchanges") <= exchanges, what="the end of all")
