"""The attacks A1 to A13 on the HTTP/2 and TLS surface, each against a running cell with its pass mark.

Bystanders: while an attack runs, another client of another tenant keeps pulling; none of its requests may fail, and its p99 may not grow
beyond three times its quiet value (or 25 ms: these machines are shared). Memory: what the cell holds after the attack."""
import concurrent.futures
import math
import os
import select
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest
from hyperframe import frame as frames

from conftest import A, B, Cell, wait_for, wait_still
from wire import PREFACE, H2, Raw, connect, h1

SANITIZED = bool(os.environ.get("CELLD_SANITIZE"))
GOAWAY, RST_STREAM, HEADERS, DATA, PING, SETTINGS = 7, 3, 1, 0, 6, 4
ENHANCE_YOUR_CALM, INTERNAL_ERROR = 11, 2


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    # attackers are at low priority: on a busy machine their handshakes take long
    cell = Cell(tmp_path_factory.mktemp("target"), workers=1, settings={"limits": {"tls_ms": 60000}}).start()
    try:
        for ctx in (A, B):
            cell.participant(ctx, {"celld.limits.requestsPerSecond": "100000"})
        cell.small = cell.shared_file(A, "small.txt", b"s" * 100)
        cell.victim = cell.shared_file(B, "victim.txt", b"v" * 100)
        cell.megabyte = cell.shared_file(A, "megabyte.bin", os.urandom(1 << 20))
        yield cell
    finally:
        cell.stop()


class Bystanders:
    """250 requests a second by h2load on four connections; latencies from its log, in milliseconds."""

    def __init__(self, cell, seconds):
        token, path = cell.victim
        self.log = tempfile.mktemp(prefix="victims-")
        self.count = 4 * (int(seconds * 250) // 4)
        self.process = subprocess.Popen(["h2load", "-c", "4", "-t", "1", "-m", "1", "-n", str(self.count), "--rps", "63", "--log-file", self.log,
            "-H", f"authorization: Bearer {token}", f"https://127.0.0.1:{cell.port}{path}"], stdout=subprocess.PIPE, text=True)

    def result(self):
        output = self.process.communicate(timeout=120)[0]
        assert f"{self.count} succeeded, 0 failed, 0 errored" in output, output
        times = sorted(int(line.split("\t")[2]) / 1000 for line in open(self.log))
        statuses = {line.split("\t")[1] for line in open(self.log)}
        os.unlink(self.log)
        assert statuses == {"200"}, statuses
        return times[int(len(times) * 0.99) - 1]


def at_low_priority(function):
    """Runs it on a thread that yields the cores to the cell and the bystanders: what is measured is the cell's work, not the attacker's."""
    outcome = []

    def run():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # of this thread and those it starts
        try:
            outcome.append((function(), None))
        except BaseException as error:  # pytest's own among them
            outcome.append((None, error))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


@pytest.fixture
def unharmed(target):
    """Runs an attack beside bystanders and compares with a quiet run of the same moment; checks memory and liveness. Neighbours on the machine
    only ever make latencies longer: the best of some such pairs counts, everything else holds for each."""
    def pair(attack, seconds, memory_mib):
        quiet = Bystanders(target, 1.0).result()
        before, pid = target.rss_kib(), target.process.pid
        bystanders = Bystanders(target, seconds)
        result = at_low_priority(attack)
        loud = bystanders.result()
        assert target.process.poll() is None and target.process.pid == pid and target.is_ready()
        if not SANITIZED:
            wait_for(lambda: target.rss_kib() - before <= memory_mib * 1024, 30, f"memory back within {memory_mib} MiB (now {target.rss_kib() - before} KiB)")
        return result, loud, quiet

    def run(attack, seconds=2.0, memory_mib=8):
        seen = []
        for _ in range(5):
            result, loud, quiet = pair(attack, seconds, memory_mib)
            if SANITIZED or loud <= max(3 * quiet, quiet + 25):
                return result
            seen.append(f"{loud:.1f} ms against {quiet:.1f} ms quiet")
        pytest.fail(f"bystanders' p99: {', then '.join(seen)}")
    return run


def cpu_of(cell, work, mark, tries=4):
    """The CPU time, in seconds, that the cell spends on work(): neighbours on the machine only ever make it longer, so the least of some runs is
    what the cell itself needs; the first run below the mark ends it."""
    least = math.inf
    for _ in range(tries):
        before = cell.cpu_seconds()
        work()
        least = min(least, cell.cpu_seconds() - before)
        if least < mark:
            break
    return least


def attack_head(cell):
    token, path = cell.small
    return path, [("authorization", f"Bearer {token}")]


def until_closed(raw, frames_of, limit, batch=50):
    """Sends batches of frames_of(index) until the peer closes or `limit` were sent; (sent, frames received)."""
    got, sent = [], 0
    while sent < limit and not raw.closed:
        block = b"".join(frames_of(sent + index) for index in range(batch))
        raw.raw(block)
        sent += batch
        got += raw.read()
    if not raw.closed:
        try:
            got += raw.read_until_closed(5)
        except TimeoutError:
            pass
    return sent, got


def goaways(got):
    return [int.from_bytes(payload[4:8], "big") for kind, _, _, payload in got if kind == GOAWAY]


def resets(got):
    return sum(kind == RST_STREAM for kind, *_ in got)


def test_a01_rapid_reset(target, unharmed):
    """100,000 HEADERS+RST pairs over one, then 16 connections: at most 1,100 streams a connection before GOAWAY."""
    path, extra = attack_head(target)

    def one(limit):
        sent = 0
        while sent < limit:
            raw, begun = Raw(target.port), time.monotonic()
            rst = frames.RstStreamFrame(1, 8).serialize()
            count, got = until_closed(raw, lambda index: raw.headers(2 * index + 1, path, extra=extra) + rst[:5] + (2 * index + 1).to_bytes(4, "big") + rst[9:], 5000)
            assert raw.closed or goaways(got), "the connection was neither warned nor closed"
            seen = max([int.from_bytes(payload[:4], "big") for kind, _, _, payload in got if kind == GOAWAY and int.from_bytes(payload[:4], "big") < 1 << 30] or [0])
            # 200 resets and 3/4 of 500 points, and in each second 33 and 20 of them again: on a slow machine a connection lasts
            most = max(1100, 575 + 53 * (time.monotonic() - begun))
            assert seen <= 2 * most, f"{seen // 2} streams before GOAWAY, at most {most:.0f} in that time"
            assert all(code in (0, ENHANCE_YOUR_CALM, INTERNAL_ERROR) for code in goaways(got)), goaways(got)
            raw.close()
            sent += count

    def attack():
        one(20000)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for result in [pool.submit(one, 5000) for _ in range(16)]:
                result.result()
    unharmed(attack, seconds=4)
    if not SANITIZED:
        assert cpu_of(target, attack, 4) < 4, "40 us for each of 100,000 streams, handshakes included"


def primitives():
    """The ways to make a server reset a stream it already works on, as functions of (raw, stream, path, extra) -> bytes."""
    window = lambda stream, by: frames.WindowUpdateFrame(stream, window_increment=by).serialize()

    def zero(stream):
        return (4).to_bytes(3, "big") + b"\x08\x00" + stream.to_bytes(4, "big") + b"\x00\x00\x00\x00"
    return {
        "window overflow": lambda raw, stream, path, extra: raw.headers(stream, path, extra=extra) + window(stream, 0x7FFFFFFF),
        "zero increment": lambda raw, stream, path, extra: raw.headers(stream, path, extra=extra) + zero(stream),
        "priority on itself": lambda raw, stream, path, extra: raw.headers(stream, path, extra=extra) + b"\x00\x00\x05\x02\x00" + stream.to_bytes(4, "big") * 2 + b"\x10",
        "short priority": lambda raw, stream, path, extra: raw.headers(stream, path, extra=extra) + b"\x00\x00\x04\x02\x00" + stream.to_bytes(4, "big") + b"\x00\x00\x00\x00",
        "headers after end": lambda raw, stream, path, extra: raw.headers(stream, path, extra=extra) + raw.headers(stream, path),
        "data after end": lambda raw, stream, path, extra: raw.headers(stream, path, extra=extra) + frames.DataFrame(stream, b"x").serialize(),
        "malformed header": lambda raw, stream, path, extra: raw.headers(stream, path, extra=[("Bad Name", "x")]),
        "length mismatch": lambda raw, stream, path, extra: raw.headers(stream, path, end=False, method="POST", extra=[*extra, ("content-length", "5")])
        + frames.DataFrame(stream, b"too long for it", flags=["END_STREAM"]).serialize(),
    }


@pytest.mark.parametrize("name", primitives())
def test_a02_made_you_reset(target, unharmed, name):
    """At most 200 resets by the server before the connection is closed."""
    path, extra = attack_head(target)

    def attack():
        raw = Raw(target.port)
        make = primitives()[name]
        _, got = until_closed(raw, lambda index: make(raw, 2 * index + 1, path, extra), 100000 if not SANITIZED else 5000)
        assert raw.closed or goaways(got)
        assert resets(got) <= 200, resets(got)
        raw.close()
    unharmed(attack, memory_mib=4)


CONTINUATIONS = {
    "full": lambda: b"\x00" * 0 + b"x" * 16000, "one byte": lambda: b"x", "empty": lambda: b"",
}


@pytest.mark.parametrize("name", CONTINUATIONS)
def test_a03_continuation_flood(target, unharmed, name):
    """Closed after at most 9 frames."""
    def attack():
        raw = Raw(target.port)
        raw.raw(frames.HeadersFrame(1, raw.head("/"), flags=[]).serialize())
        sent = 0
        while sent < 2000 and not raw.closed:
            raw.raw(frames.ContinuationFrame(1, CONTINUATIONS[name](), flags=[]).serialize())
            sent += 1
            if sent % 9 == 0:
                raw.read(0.05)
        assert raw.closed
        assert sent <= 45, sent
        raw.close()
    unharmed(attack, memory_mib=1)


def test_a03_stalled_header_block_meets_its_deadline(target):
    raw = Raw(target.port)
    raw.raw(frames.HeadersFrame(1, raw.head("/"), flags=[]).serialize())
    started = time.monotonic()
    raw.read_until_closed(30)
    assert time.monotonic() - started <= 20


@pytest.mark.parametrize("field,references,cpu_ms", [(("bomb", "x" * 4000), 1000, 12), (("cookie", "a=b"), 4000, 6), (("short", "e"), 16000, 6)],
    ids=["one large entry", "cookie crumbs", "short values"])
def test_a04_header_bomb(target, unharmed, field, references, cpu_ms):
    """One table entry, thousands of one-byte references, on 100 streams with the window shut: 431 or RST, little memory held, and little
    time spent: whoever goes on is cut off."""
    path, extra = attack_head(target)

    def throw(raw):
        block = raw.head(path, extra=extra) + raw.encoder.encode([field])
        reference = raw.encoder.encode([field])
        assert len(reference) == 1
        got = []
        for stream in range(1, 200, 2):
            data = (block if stream == 1 else raw.head(path, extra=extra)) + reference * references
            raw.raw(frames.HeadersFrame(stream, data[:16384], flags=["END_STREAM"] + (["END_HEADERS"] if len(data) <= 16384 else [])).serialize()
                + (frames.ContinuationFrame(stream, data[16384:], flags=["END_HEADERS"]).serialize() if len(data) > 16384 else b""))
            got += raw.read()
            if raw.closed:
                break
        return got

    def attack():
        raws = []
        for _ in range(8):
            raw = Raw(target.port, settings={frames.SettingsFrame.INITIAL_WINDOW_SIZE: 0})
            raws.append(raw)
            got = throw(raw)
            try:
                wait_for(lambda: got.extend(raw.read(0.05)) or raw.closed or any(kind in (HEADERS, RST_STREAM, GOAWAY) for kind, *_ in got), 15)
            except TimeoutError:
                pytest.fail("neither 431 nor reset")
            assert not any(kind == DATA and payload for kind, _, _, payload in got)
        for raw in raws:
            raw.close()
    if not SANITIZED:
        spent = cpu_of(target, attack, cpu_ms * 8 / 1000) * 1000 / 8
        assert spent < cpu_ms, f"{spent:.1f} ms of CPU for each connection, its handshake included"
    unharmed(attack, memory_mib=8)


def test_a04_too_many_fields_and_too_many_bytes_are_431(target):
    token, path = target.small
    for extra in ([(f"x-{index}", "1") for index in range(101)], [("x-long", "y" * 40000)]):
        raw = Raw(target.port)
        data = raw.head(path, extra=[("authorization", f"Bearer {token}"), *extra])
        pieces = [data[at:at + 16000] for at in range(0, len(data), 16000)]
        raw.raw(frames.HeadersFrame(1, pieces[0], flags=["END_STREAM"] + (["END_HEADERS"] if len(pieces) == 1 else [])).serialize())
        for index, piece in enumerate(pieces[1:]):
            raw.raw(frames.ContinuationFrame(1, piece, flags=["END_HEADERS"] if index == len(pieces) - 2 else []).serialize())
        got = []
        wait_for(lambda: got.extend(raw.read(0.05)) or raw.closed or any(kind in (HEADERS, RST_STREAM) for kind, *_ in got), 15)
        from hpack import Decoder
        answers = [dict(Decoder().decode(payload)) for kind, _, _, payload in got if kind == HEADERS]
        assert (answers and answers[0].get(":status") == "431") or resets(got) or raw.closed, got
        raw.close()
    answer = h1(target.clear_port, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % index for index in range(200)) + b"\r\n", deadline=3)
    assert answer.startswith(b"HTTP/1.1 431")
    answer = h1(target.clear_port, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70000 + b"\r\n\r\n", deadline=3)
    assert answer.startswith(b"HTTP/1.1 431") or answer == b""


def flood_frames():
    ping = frames.PingFrame(0, b"12345678").serialize()
    return {
        "ping": ping, "settings": frames.SettingsFrame(0).serialize(),
        "many settings": frames.SettingsFrame(0, settings={4: 65535, 1: 4096, 2: 0, 3: 100}).serialize(),
        "unknown": b"\x00\x00\x04\xee\x00\x00\x00\x00\x00abcd",
        "priority": b"\x00\x00\x05\x02\x00\x00\x00\x00\x05\x00\x00\x00\x00\x10",
        "priority update": b"\x00\x00\x07\x10\x00\x00\x00\x00\x00\x00\x00\x00\x01u=1",
        "window update of one": frames.WindowUpdateFrame(0, window_increment=1).serialize(),
    }


@pytest.mark.parametrize("name", flood_frames())
@pytest.mark.parametrize("reads", [True, False], ids=["read", "unread"])
def test_a05_control_frame_floods(target, unharmed, name, reads):
    """Closed after at most 10,000 control frames without useful progress; the queue of answers stays short."""
    def attack():
        raw = Raw(target.port)
        raw.socket.settimeout(20)
        frame, sent = flood_frames()[name], 0
        while sent < 60000 and not raw.closed:
            raw.raw(frame * 100)
            sent += 100
            if reads or sent % 5000 == 0:
                raw.read()
        if not raw.closed:
            raw.read_until_closed(15)
        # what was sent beyond the close sat in the socket buffers on the way
        assert sent <= 10000 + (4 << 20) // len(frame), sent
        raw.close()
    unharmed(attack, memory_mib=1)


def test_a05_empty_data_flood(target, unharmed):
    path, extra = attack_head(target)

    def attack():
        raw = Raw(target.port)
        raw.raw(raw.headers(1, path, end=False, method="POST", extra=extra))
        frame, sent = frames.DataFrame(1, b"").serialize(), 0
        while sent < 600000 and not raw.closed:
            raw.raw(frame * 1000)
            sent += 1000
            raw.read()
        if not raw.closed:
            raw.read_until_closed(15)
        raw.close()
    unharmed(attack, memory_mib=1)


def test_a06_slow_readers_hold_little_memory(target, unharmed):
    """100 streams of 1 MiB behind shut windows: at most 256 KiB a connection; bytes trickle when the window opens by one."""
    token, path = target.megabyte

    def attack():
        raws = []
        for _ in range(10):
            raw = Raw(target.port, settings={frames.SettingsFrame.INITIAL_WINDOW_SIZE: 1})
            for stream in range(1, 200, 2):
                raw.raw(raw.headers(stream, path, extra=[("authorization", f"Bearer {token}")]))
            raws.append(raw)
        held = target.rss_kib()
        time.sleep(0.5)
        for raw in raws:
            raw.raw(b"".join(frames.WindowUpdateFrame(stream, window_increment=1).serialize() for stream in range(1, 40, 2)))
            got = raw.read(1)
            assert sum(len(payload) for kind, _, _, payload in got if kind == DATA) <= 200
            raw.close()
        return held
    attack()  # a first time, so that what a thousand streams leave with the allocator is not taken for this attack's
    before = target.rss_kib()
    held = unharmed(attack, memory_mib=4)
    if not SANITIZED:
        assert (held - before) / 10 <= 256 + 100 * 8, f"{(held - before) / 10:.0f} KiB a connection (100 open streams included)"


def test_a06_slow_readers_of_a_source_hold_little_memory(target, source):
    """Behind shut windows: of all 100 bodies of a connection at most 256 KiB are held, and a little for each; reading of the source is paused."""
    sent = [0]

    def endless(connection, head, buffered):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        connection.settimeout(20)
        while True:
            sent[0] += connection.send(b"z" * 65536)
    token, path = target.shared_http(A, "endless", source(endless).url)
    before = target.rss_kib()
    raw = Raw(target.port, settings={frames.SettingsFrame.INITIAL_WINDOW_SIZE: 1000})
    for stream in range(1, 121, 2):  # as many as a pool of upstream connections allows at once
        raw.raw(raw.headers(stream, path, extra=[("authorization", f"Bearer {token}")]))
    got = []
    wait_for(lambda: got.extend(raw.read(0.05)) or sum(len(payload) for kind, _, _, payload in got if kind == DATA) == 60 * 1000, 30, "the first bytes of each")
    wait_still(lambda: sent[0])
    held = target.rss_kib() - before
    if not SANITIZED:
        assert held <= 256 + 60 * 24, f"{held} KiB for one connection (60 open streams and their sources included)"
    raw.close()


@pytest.mark.slow
def test_a06_a_stalled_stream_is_reset_after_its_limit(own_cell):
    cell = own_cell(workers=1, settings={"limits": {"stream_idle_ms": 1500}}).start()
    cell.participant(A)
    token, path = cell.shared_file(A, "megabyte.bin", os.urandom(1 << 20))
    raw = Raw(cell.port, settings={frames.SettingsFrame.INITIAL_WINDOW_SIZE: 1})
    raw.raw(raw.headers(1, path, extra=[("authorization", f"Bearer {token}")]))
    got = []
    wait_for(lambda: got.extend(raw.read(0.1)) or resets(got) or raw.closed, 15, "the reset of a stream without progress")
    raw.close()


def test_a07_slowloris(own_cell):
    """Half hellos, half prefaces, dribbled headers and bodies: each closed at its deadline."""
    cell = own_cell(workers=1, settings={"limits": {"tls_ms": 1500, "preface_ms": 1500, "header_ms": 2000, "body_grace_ms": 1500, "body_rate": 1024}}).start()
    cell.participant(A)
    token, path = cell.shared_http(A, "any", "http://127.0.0.1:9", proxyMethod="true", proxyBody="true")
    hello = [socket.create_connection(("127.0.0.1", cell.port)) for _ in range(300)]
    for one in hello:
        one.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    preface = [socket.create_connection(("127.0.0.1", cell.clear_port)) for _ in range(300)]
    for one in preface:
        one.sendall(PREFACE[:10])
    header = [socket.create_connection(("127.0.0.1", cell.clear_port)) for _ in range(300)]
    for one in header:
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
    started = time.monotonic()
    fresh = []
    open_sockets = set(hello + preface + header)
    closed_at = {}
    while open_sockets and time.monotonic() - started < 20:
        for one in header:
            if one in open_sockets:
                try:
                    one.sendall(b"x")
                except OSError:
                    pass
        begin = time.monotonic()
        with H2(cell.port) as connection:
            connection.get("/nothing")
        fresh.append(time.monotonic() - begin)
        for one in select.select(list(open_sockets), [], [], 0.1)[0]:
            try:
                data = one.recv(1000)
            except OSError:
                data = b""
            if not data:
                open_sockets.discard(one)
                closed_at[one] = time.monotonic() - started
        # answers such as 408 before the close are read above and ignored
    assert not open_sockets, f"{len(open_sockets)} are still open"
    # not by the presets of these limits, which are 5 and 10 s
    assert max(closed_at[one] for one in hello + preface) <= 4.5 and max(closed_at.values()) <= 9
    assert SANITIZED or sorted(fresh)[len(fresh) // 2] < 0.5


def test_a07_slow_bodies(own_cell, source):
    cell = own_cell(workers=1, settings={"limits": {"body_grace_ms": 1000, "body_rate": 1024}}).start()
    cell.participant(A)
    server = source(lambda connection, head, buffered: [None for _ in iter(lambda: connection.recv(1), b"")] and None)
    token, path = cell.shared_http(A, "any", server.url, proxyMethod="true", proxyBody="true")
    raw = Raw(cell.port)
    raw.raw(raw.headers(1, path, end=False, method="POST", extra=[("authorization", f"Bearer {token}"), ("content-length", "100000")]))
    got, started = [], time.monotonic()
    while time.monotonic() - started < 20 and not raw.closed and not resets(got):
        raw.raw(frames.DataFrame(1, b"x").serialize())
        got += raw.read(0.2)
    assert raw.closed or resets(got) or any(kind == HEADERS for kind, *_ in got)
    assert time.monotonic() - started < 8


def test_a08_ignored_limits(target, unharmed, source):
    """1,000 streams at once against 100, windows overrun, frames too large, stream ids out of order."""
    token, path = target.megabyte
    extra = [("authorization", f"Bearer {token}")]
    deaf = source(lambda connection, head, buffered: time.sleep(20))
    upload_token, upload_path = target.shared_http(A, "deaf", deaf.url, proxyMethod="true", proxyBody="true")

    def attack():
        raw = Raw(target.port, settings={frames.SettingsFrame.INITIAL_WINDOW_SIZE: 0})
        got = []
        for stream in range(1, 2000, 2):
            if not raw.raw(raw.headers(stream, path, extra=extra)):
                break
            got += raw.read()
        got += raw.read(0.5)
        opened = {stream for kind, _, stream, _ in got if kind == HEADERS}
        assert len(opened) <= 100, len(opened)
        raw.close()
        for name, (data, codes) in {
            "frame too large": ((20000).to_bytes(3, "big") + b"\x00\x00" + (1).to_bytes(4, "big") + b"x" * 20000, {6}),
            "even stream": (None, {1, 5}),
            "window overrun": (None, {3}),
        }.items():
            raw = Raw(target.port)
            if name == "even stream":
                data = raw.headers(2, path, extra=extra)
            if name == "window overrun":
                data = raw.headers(1, upload_path, end=False, method="POST", extra=[("authorization", f"Bearer {upload_token}")])
                data += frames.DataFrame(1, b"x" * 16000).serialize() * 1500
            raw.raw(data)
            got = []
            wait_for(lambda: got.extend(raw.read(0.05)) or raw.closed or goaways(got) or resets(got), 15, name)
            errors = goaways(got) + [int.from_bytes(payload, "big") for kind, _, _, payload in got if kind == RST_STREAM]
            assert not errors or set(errors) & (codes | {ENHANCE_YOUR_CALM}), (name, errors)
            raw.close()
    unharmed(attack, memory_mib=4)


def test_a09_idle_connections(own_cell):
    """Many idle TLS connections that have been used: at most 16 KiB each, all of them answer afterwards (3,000 here)."""
    cell = own_cell(workers=1, settings={"limits": {"connections_per_source": 10000, "connections": 10000}, "tenant": {"connections": 10000}}).start()
    cell.participant(A, {"celld.limits.requestsPerSecond": "100000"})
    token, path = cell.shared_file(A, "small.txt", b"s" * 100)
    count = 500 if SANITIZED else 3000
    warm = [Raw(cell.port) for _ in range(50)]
    for raw in warm:
        raw.read(0.01)
        raw.close()
    time.sleep(0.3)
    before = cell.rss_kib()
    raws = [Raw(cell.port) for _ in range(count)]
    for raw in raws:
        raw.raw(raw.headers(1, path, extra=[("authorization", f"Bearer {token}")]))
    answered = 0
    for raw in raws:
        got = []
        while not any(kind == DATA for kind, *_ in got):
            fresh = raw.read(5)
            assert fresh or not raw.closed
            got += fresh
        answered += 1
    assert answered == count
    each = lambda: (cell.rss_kib() - before) / count
    if not SANITIZED:  # what the requests themselves took goes back to the system within seconds
        wait_for(lambda: each() <= 16, 30, f"at most 16 KiB for each ({each():.1f} at once)")
    wait_for(lambda: cell.metric("celld_connections_asleep") >= count, 30, "all asleep")
    for raw in raws[:100]:
        raw.raw(raw.headers(3, path, extra=[("authorization", f"Bearer {token}")]))
    for raw in raws[:100]:
        got = []
        while not any(kind == DATA for kind, *_ in got):
            fresh = raw.read(5)
            assert fresh or not raw.closed
            got += fresh
    for raw in raws:
        raw.close()


def test_a10_handshake_churn(target, unharmed):
    """Aborted hellos, refused renegotiation and early data, resumption."""
    def attack():
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            one = socket.create_connection(("127.0.0.1", target.port))
            one.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(20))
            one.close()
            connect(target.port).close()
    unharmed(attack, memory_mib=16)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    session = None
    for expected in (False, True):
        with context.wrap_socket(socket.create_connection(("127.0.0.1", target.port)), server_hostname="localhost", session=session) as secure:
            secure.sendall(PREFACE + frames.SettingsFrame(0).serialize())
            secure.recv(1000)
            secure.recv(1000) if secure.pending() else None
            session = secure.session
            assert secure.session_reused is expected
    early = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{target.port}", "-tls1_2", "-alpn", "h2"], input="R\n", capture_output=True, text=True, errors="replace", timeout=60)
    assert "Early data was accepted" not in early.stdout


def conformance_cases():
    """(name, bytes after the preface and SETTINGS, what must follow): RFC 9113 in small. 'goaway' N, or 'reset' N, or 'closed'."""
    def frame(kind, flags, stream, payload, length=None):
        return (len(payload) if length is None else length).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    head = lambda raw, **arguments: raw.head("/x", **arguments)
    return {
        "DATA on stream 0": (lambda raw: frame(0, 0, 0, b"x"), {1}),
        "HEADERS on stream 0": (lambda raw: frame(1, 5, 0, head(raw)), {1}),
        "RST_STREAM on stream 0": (lambda raw: frame(3, 0, 0, b"\0\0\0\x08"), {1}),
        "RST_STREAM on idle stream": (lambda raw: frame(3, 0, 1, b"\0\0\0\x08"), {1}),
        "RST_STREAM of 3 bytes": (lambda raw: raw.headers(1, "/x", end=False) + frame(3, 0, 1, b"\0\0\0"), {6}),
        "SETTINGS on stream 1": (lambda raw: frame(4, 0, 1, b""), {1}),
        "SETTINGS ack with payload": (lambda raw: frame(4, 1, 0, b"\0" * 6), {6}),
        "SETTINGS of 5 bytes": (lambda raw: frame(4, 0, 0, b"\0" * 5), {6}),
        "SETTINGS window too large": (lambda raw: frame(4, 0, 0, b"\0\x04\xff\xff\xff\xff"), {3}),
        "SETTINGS frame size too small": (lambda raw: frame(4, 0, 0, b"\0\x05\0\0\0\x01"), {1}),
        "SETTINGS push 2": (lambda raw: frame(4, 0, 0, b"\0\x02\0\0\0\x02"), {1}),
        "PING on stream 1": (lambda raw: frame(6, 0, 1, b"12345678"), {1}),
        "PING of 7 bytes": (lambda raw: frame(6, 0, 0, b"1234567"), {6}),
        "GOAWAY on stream 1": (lambda raw: frame(7, 0, 1, b"\0" * 8), {1}),
        "WINDOW_UPDATE of 0": (lambda raw: frame(8, 0, 0, b"\0\0\0\0"), {1}),
        "WINDOW_UPDATE overflow": (lambda raw: frame(8, 0, 0, b"\x7f\xff\xff\xff"), {3}),
        "WINDOW_UPDATE of 3 bytes": (lambda raw: frame(8, 0, 0, b"\0\0\0"), {6}),
        "WINDOW_UPDATE on idle stream": (lambda raw: frame(8, 0, 1, b"\0\0\0\x01"), {1}),
        "CONTINUATION alone": (lambda raw: frame(9, 4, 1, b""), {1}),
        "HEADERS then DATA inside a block": (lambda raw: frame(1, 0, 1, head(raw)) + frame(0, 0, 1, b"x"), {1}),
        "HEADERS of another stream inside a block": (lambda raw: frame(1, 0, 1, head(raw)) + frame(1, 5, 3, head(raw)), {1}),
        "PUSH_PROMISE from a client": (lambda raw: frame(5, 4, 1, b"\0\0\0\x02" + head(raw)), {1}),
        "padding longer than the frame": (lambda raw: raw.headers(1, "/x", end=False) + frame(0, 8, 1, b"\x05abc"), {1}),
        "header padding longer than the frame": (lambda raw: frame(1, 0x0D, 1, b"\xff" + head(raw)), {1}),
        "bad HPACK index": (lambda raw: frame(1, 5, 1, b"\xff\xff\xff\x7f"), {9}),
        "bad Huffman": (lambda raw: frame(1, 5, 1, b"\x00\x85\xff\xff\xff\xff\xff\x00"), {9}),
        "table size beyond the limit": (lambda raw: frame(1, 5, 1, b"\x3f\xff\xff\x7f" + head(raw)), {9}),
        "stream id going back": (lambda raw: raw.headers(5, "/x") + raw.headers(3, "/x"), {1, 5}),
        "frame of 16,385 bytes": (lambda raw: frame(0, 0, 1, b"x" * 16385), {6}),
        "priority of 4 bytes": (lambda raw: frame(2, 0, 1, b"\0" * 4), {6}),
        "priority on stream 0": (lambda raw: frame(2, 0, 0, b"\0" * 5), {1}),
    }


@pytest.mark.parametrize("name", conformance_cases())
def test_a11_conformance_connection_errors(target, name):
    make, codes = conformance_cases()[name]
    raw = Raw(target.clear_port, tls=False)
    raw.raw(make(raw))
    got = []
    try:
        got = raw.read_until_closed(3)
    except TimeoutError:
        got = raw.read()
    seen = goaways(got) + [int.from_bytes(payload, "big") for kind, _, _, payload in got if kind == RST_STREAM]
    assert set(seen) & codes or (raw.closed and not seen), (name, seen)
    raw.close()


BAD_REQUESTS = {
    "upper-case name": [("X-Upper", "1")], "connection header": [("connection", "close")], "te other than trailers": [("te", "gzip")],
    "transfer-encoding": [("transfer-encoding", "chunked")], "pseudo after regular": [("a", "1"), (":path", "/")],
    "unknown pseudo": [(":unknown", "1")], "two content-lengths": [("content-length", "0"), ("content-length", "1")],
    "bad content-length": [("content-length", "-1")], "host differs": [("host", "other.example")], "keep-alive": [("keep-alive", "1")],
    "upgrade": [("upgrade", "h2c")], "proxy-connection": [("proxy-connection", "1")], "CR in value": [("x", "a\rb")],
    "LF in value": [("x", "a\nb")], "NUL in value": [("x", "a\0b")], "underscore in name": [("x_y", "1")], "http2-settings": [("http2-settings", "AAA")],
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a11_malformed_requests(target, name):
    raw = Raw(target.clear_port, tls=False)
    raw.raw(raw.headers(1, "/x", extra=BAD_REQUESTS[name]))
    got = []
    wait_for(lambda: got.extend(raw.read(0.05)) or raw.closed or any(kind in (HEADERS, RST_STREAM, GOAWAY) for kind, *_ in got), 15)
    from hpack import Decoder
    answers = [dict(Decoder().decode(payload))[":status"] for kind, _, _, payload in got if kind == HEADERS]
    assert not answers or answers[0] in ("400", "421"), answers
    raw.close()


@pytest.mark.parametrize("pseudo", [
    {"path": "/x#f"}, {"path": "/x\\y"}, {"path": "/x%00"}, {"path": "/\xe4"}, {"path": ""}, {"path": "x"}, {"path": "*"}, {"path": "http://a/b"},
    {"path": "/a b"}, {"method": "get"}, {"method": "PRI"}, {"method": "CONNECT"}, {"method": "BAD METHOD"}, {"authority": "user@host"}, {"authority": "a b"},
])
def test_a11_malformed_pseudo_headers(target, pseudo):
    raw = Raw(target.clear_port, tls=False)
    raw.raw(raw.headers(1, **{"path": "/api/public/" + A, **pseudo}))
    got = []
    wait_for(lambda: got.extend(raw.read(0.05)) or raw.closed or any(kind in (HEADERS, RST_STREAM, GOAWAY) for kind, *_ in got), 15)
    from hpack import Decoder
    answers = [dict(Decoder().decode(payload))[":status"] for kind, _, _, payload in got if kind == HEADERS]
    assert not answers or answers[0] in ("400", "404", "405", "421", "501"), answers
    raw.close()


def test_a12_frame_grammar_fuzz(target):
    """Random frames over many connections; the cell lives and answers (the long run uses the sanitizer build)."""
    import random
    seed = int(os.environ.get("CELLD_SEED", time.time()))
    chance = random.Random(seed)
    print("seed", seed)
    for _ in range(150):
        raw = Raw(target.clear_port, tls=False, preface=chance.random() < 0.9)
        for _ in range(60):
            kind = chance.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 255])
            payload = raw.head(chance.choice(["/", "/x", "/api/public/" + A])) if kind in (1, 9) and chance.random() < 0.7 else os.urandom(chance.choice([0, 1, 4, 5, 6, 8, 9, 40, 600]))
            stream = chance.choice([0, 1, 3, 5, 7, 2, 0x7FFFFFFF])
            length = len(payload) if chance.random() < 0.95 else chance.randrange(1 << 15)
            if not raw.raw(length.to_bytes(3, "big") + bytes([kind, chance.choice([0, 1, 4, 5, 8, 0x20, 0xFF])]) + stream.to_bytes(4, "big") + payload):
                break
            if chance.random() < 0.1:
                raw.read()
        raw.close()
    assert target.process.poll() is None, f"seed {seed}\n{target.log_tail(40)}"
    assert target.pull(*target.small).status == 200


@pytest.mark.parametrize("option,works", [("-ssl3", False), ("-tls1", False), ("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)])
def test_a13_versions(target, option, works):
    result = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{target.port}", option, "-alpn", "h2", "-cipher", "ALL:@SECLEVEL=0"], input="", capture_output=True, text=True, errors="replace", timeout=60)
    established = "Cipher is TLS_" in result.stdout or "Cipher is ECDHE" in result.stdout
    assert established is works, result.stdout[-600:]


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256", "NULL", "RC4", "3DES", "aNULL"])
def test_a13_weak_ciphers_are_refused(target, cipher):
    result = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{target.port}", "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0"], input="", capture_output=True, text=True, errors="replace", timeout=60)
    assert "Cipher is ECDHE" not in result.stdout and ("Cipher is (NONE)" in result.stdout or "Error" in result.stderr or "error" in result.stderr)


def test_a13_no_compression_no_renegotiation_strict_alpn(target):
    result = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{target.port}", "-tls1_2", "-alpn", "h2,http/1.1"], input="", capture_output=True, text=True, errors="replace", timeout=60)
    assert "Compression: NONE" in result.stdout and "ALPN protocol: h2" in result.stdout
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        connect(target.port, alpn=("spdy/1",))
