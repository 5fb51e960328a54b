"""No two workers write one cache line for a request: seen in the memory of a running cell, word by word."""
import os
import pathlib
import time

import pytest

from conftest import A
from wire import H2

WORD, LINE, PAGE = 8, 64, 4096
ROUNDS, REQUESTS, OPEN = 4, 20, 3


def mappings(pid):
    for line in open(f"/proc/{pid}/maps"):
        span, rights, _, _, _, *name = line.split()
        start, end = (int(part, 16) for part in span.split("-"))
        yield start, end, rights, name[0] if name else "anonymous"


def stacks(pid):
    """The stack pointers of all threads: what lies there is each thread's own."""
    return [int(fields[-2], 16) for task in pathlib.Path(f"/proc/{pid}/task").iterdir() if len(fields := (task / "syscall").read_text().split()) > 2]


def snapshot(pid):
    """The pages the process has and can write, by address, but stacks."""
    own, pages = stacks(pid), {}
    with open(f"/proc/{pid}/mem", "rb", 0) as memory, open(f"/proc/{pid}/pagemap", "rb", 0) as pagemap:
        for start, end, rights, name in mappings(pid):
            if not rights.startswith("rw") or any(start <= pointer < end for pointer in own):
                continue
            pagemap.seek(start // PAGE * 8)
            for index, entry in enumerate(memoryview(pagemap.read((end - start) // PAGE * 8)).cast("Q")):
                if entry >> 62:  # in memory, or swapped
                    memory.seek(start + index * PAGE)
                    pages[start + index * PAGE] = memory.read(PAGE)
    return pages


def changed_words(before, after):
    words, empty = set(), bytes(PAGE)
    for address, now in after.items():
        then = before.get(address, empty)
        if now != then:
            words.update(address + at for at in range(0, PAGE, WORD) if now[at:at + WORD] != then[at:at + WORD])
    return words


def describe(pid, address):
    return next((f"{address:x} in {name}+{address - start:x}" for start, end, _, name in mappings(pid) if start <= address < end), f"{address:x}")


def answer_all(connection, head, buffered):
    """Every request of the connection."""
    while head:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        head = connection.recv(65536)


def answer_never(connection, head, buffered):
    while connection.recv(65536):
        pass


class Client:
    """A connection, and the worker it is at. One request is open all the time: that the tenant begins or ceases to send on a worker, which
    concerns all workers but not each request, is not watched."""

    def __init__(self, cell, smalls, large, silent):
        self.smalls, self.large = smalls, large
        self.connection = H2(cell.port, window=1000)
        self.connection.start(silent[1], headers=self.headers(silent[0]))
        spent = lambda: {task.name: int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{cell.process.pid}/task").iterdir()}
        before = spent()
        self.ask()
        after = spent()
        self.worker = max(after, key=lambda task: after[task] - before.get(task, 0))

    def headers(self, token):
        return [("authorization", f"Bearer {token}")]

    def ask(self):
        """One after the other: each begins and ends what a tenant has open."""
        for _ in range(REQUESTS):
            for token, path in self.smalls:
                assert self.connection.get(path, headers=self.headers(token)).status == 200

    def begin(self):
        """Leaves some open, as what is counted up and down would else look untouched."""
        self.connection.hold = True
        self.open = [self.connection.start(self.large[1], headers=self.headers(self.large[0])) for _ in range(OPEN)]
        while any(len(self.connection.responses[stream].body) < 1000 for stream in self.open):
            assert self.connection.pump(10)

    def end(self):
        for stream in self.open:
            self.connection.h2.reset_stream(stream)
        self.connection.hold = False
        self.connection.flush()
        self.ask()


@pytest.mark.skipif(os.environ.get("CELLD_SANITIZE", "") != "", reason="sanitizers write beside what is written")
@pytest.mark.parametrize("limits", [{}, {"connections": "50"}, {"bytesPerSecond": "1000000000"}], ids=["usual", "connections", "bytes"])
def test_workers_write_no_line_in_common(own_cell, source, limits):
    """What is leased to a worker is in common once in many requests; what is written for each shows in every round of both."""
    # nothing on a clock of its own while it is watched, but the workers' ticks
    cell = own_cell(workers=2, settings={"log": {"level": "warning"}, "dp": {"flush_ms": 60000}, "client": {"read_ms": 600000}, "limits": {"sleep_ms": 60000, "reset_burst": 100000}}).start()
    cell.participant(A, {"celld.limits.requestsPerSecond": "1000000", **{f"celld.limits.{name}": value for name, value in limits.items()}})
    server = source(answer_all)
    smalls = cell.shared_file(A, "small.txt", b"s" * 100), cell.shared_http(A, "proxied", server.url)
    large = cell.shared_file(A, "large.bin", b"l" * 100000)
    silent = cell.shared_http(A, "silent", source(answer_never).url)
    clients = {}
    while len(clients) < 2:
        client = Client(cell, smalls, large, silent)
        clients.setdefault(client.worker, client)
    pid = cell.process.pid
    idle, written = set(), {worker: [] for worker in clients}
    for _ in range(ROUNDS):
        for worker, client in clients.items():
            before = snapshot(pid)
            client.ask()
            client.begin()
            written[worker].append(changed_words(before, snapshot(pid)))
            client.end()
        before = snapshot(pid)
        time.sleep(0.6)  # some ticks
        idle |= changed_words(before, snapshot(pid))
    lines = [{word // LINE for word in set.intersection(*rounds) - idle} for rounds in written.values()]
    assert all(len(own) > 20 for own in lines)  # it sees something
    common = lines[0] & lines[1]
    assert not common, [describe(pid, line * LINE) for line in sorted(common)]
