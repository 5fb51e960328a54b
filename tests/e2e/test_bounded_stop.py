"""What the contract's end means on the wire: with 50 downloads on 2 workers, the last byte of data arrives at most 100 ms after
the call that suspended them was answered."""
import multiprocessing
import select
import ssl
import time

import pytest
from hpack import Encoder
from hyperframe import frame as frames

from conftest import A
from wire import PREFACE, connect

DOWNLOADS, PROCESSES, BOUND_S = 50, 5, 0.100
SIZE = 16 << 30  # sparse: no download of this test ends by itself
DATA = 0


class Download:
    """One download, read as fast as it comes; knows when its last byte of data came."""

    def __init__(self, port, tls, path, token, protocol):
        self.socket = connect(port, tls, alpn=("h2" if protocol == "h2" else "http/1.1",))
        self.is_h2 = protocol == "h2"
        self.last, self.got, self.is_over, self.status = 0.0, 0, False, None
        self.head, self.left, self.kind = b"", 0, None
        if self.is_h2:
            fields = Encoder().encode([(":method", "GET"), (":scheme", "https" if tls else "http"), (":authority", "localhost"),
                (":path", path), ("authorization", f"Bearer {token}")])
            window = (1 << 31) - 1
            self.socket.sendall(PREFACE + frames.SettingsFrame(0, settings={4: window}).serialize() +
                frames.WindowUpdateFrame(0, window_increment=window - 65535).serialize() +
                frames.HeadersFrame(1, fields, flags=["END_HEADERS", "END_STREAM"]).serialize())
        else:
            self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        self.socket.setblocking(False)

    def read(self, buffer):
        while not self.is_over:
            try:
                count = self.socket.recv_into(buffer)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except (ConnectionError, ssl.SSLError):
                count = 0
            if count == 0:
                self.is_over = True
            elif self.is_h2:
                self.take_frames(memoryview(buffer)[:count])
            else:
                self.last = time.monotonic()
                self.got += count
            if not getattr(self.socket, "pending", lambda: 0)():
                return

    def take_frames(self, view):
        while len(view):
            if self.left == 0:
                need = 9 - len(self.head)
                self.head += bytes(view[:need])
                view = view[need:]
                if len(self.head) < 9:
                    return
                self.left, self.kind = int.from_bytes(self.head[:3], "big"), self.head[3]
                if self.kind == frames.RstStreamFrame.type:
                    self.is_over = True
                self.head = b""
            part = min(self.left, len(view))
            if self.kind == DATA and part > 0:
                self.last = time.monotonic()
                self.got += part
            self.left -= part
            view = view[part:]


def run(targets, path, token, pipe):
    """A process with its share of the downloads: says when all flow, and in the end what they got and when."""
    buffer = bytearray(1 << 18)
    downloads = [Download(port, tls, path, token, protocol) for port, tls, protocol in targets]
    poll = select.poll()
    for download in downloads:
        poll.register(download.socket, select.POLLIN)
    by_number = {download.socket.fileno(): download for download in downloads}
    is_told, end = False, time.monotonic() + 60
    while not all(download.is_over for download in downloads) and time.monotonic() < end:
        for number, _ in poll.poll(100):
            by_number[number].read(buffer)
            if by_number[number].is_over:
                poll.unregister(number)
        if not is_told and all(download.got > 1 << 20 for download in downloads):
            is_told = True
            pipe.send("flowing")
    pipe.send([(download.last, download.got, download.is_over) for download in downloads])


def suspend_by_signaling(cell, flow):
    token = cell.management_token("signaling:dataflow:write", A)
    return lambda: cell.call("POST", f"/api/v1/{A}/dataflows/{flow}/suspend", {"messageId": f"stop-{flow}"}, token=token)


def suspend_by_management(cell, flow):
    cell.token()
    return lambda: cell.call("POST", f"/api/cell/v1/participants/{A}/flows/{flow}/suspend")


@pytest.mark.parametrize("how", [suspend_by_signaling, suspend_by_management])
@pytest.mark.parametrize("protocol,tls", [("h2", True), ("h2", False), ("http/1.1", True), ("http/1.1", False)])
def test_fifty_downloads_stop_within_the_bound(cell, how, protocol, tls):
    name = f"stop-{how.__name__}-{protocol.replace('/', '')}-{tls}"
    path = cell.file(A, "endless.bin", b"")
    with open(path, "r+b") as file:
        file.truncate(SIZE)
    cell.dataset(A, name, "file", {"path": "endless.bin"})
    flow = cell.flow(A, name, name)
    token, suspend = cell.flow_token(A, flow), how(cell, flow)
    port = cell.port if tls else cell.clear_port
    pipes, processes = [], []
    for _ in range(PROCESSES):
        mine, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(target=run,
            args=([(port, tls, protocol)] * (DOWNLOADS // PROCESSES), f"/api/public/{A}", token, theirs))
        process.start()
        pipes.append(mine)
        processes.append(process)
    try:
        for pipe in pipes:
            assert pipe.poll(60) and pipe.recv() == "flowing"
        status, body = suspend()
        answered = time.monotonic()
        assert status == 200, body
        results = []
        for pipe in pipes:
            assert pipe.poll(60)
            results += pipe.recv()
    finally:
        for process in processes:
            process.join(30)
            process.kill()
    late = sorted(last - answered for last, _, _ in results)
    print(f"{name}: {sum(got for _, got, _ in results) >> 20} MiB, last data {late[-1] * 1000:.1f} ms after the answer")
    assert len(results) == DOWNLOADS and all(is_over for _, _, is_over in results)
    assert late[-1] <= BOUND_S, [round(one * 1000) for one in late[-10:]]
    # it stays so: nobody gets anything until it is resumed
    assert cell.pull(token, f"/api/public/{A}", "HEAD").status == 403
