"""Rows that celld has alone: many tenants, a change of one among them, and fairness between tenants. `limit` is what the row must not exceed
(Jain's index: not fall below)."""
import contextlib
import http.client
import json
import shutil
import ssl
import statistics
import subprocess
import sys
import threading
import time

import bench_cell as bench
from measures import CELLBENCH, cpu_seconds, h2load, rss_kib
from peer_servers import LOAD_CORE, SERVER_CORE, Celld, pinned

LIGHT, HEAVY = 9, "heavy"
STARTS, ROUNDS = 6, 8


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


class Management:
    """Calls of the management API over one connection."""

    def __init__(self, cell):
        token = cell.ctl("access-token", "--scopes", "management-api:admin", "--lifetime", 3600)
        self.token = token["token"] if isinstance(token, dict) else token
        self.port = cell.port
        self.connection = self.connect()

    def connect(self):
        return http.client.HTTPSConnection("localhost", self.port, context=context())

    def call(self, method, path, body=None, connection=None):
        connection = connection or self.connection
        connection.request(method, path, json.dumps(body) if body is not None else None, {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status


def create_participants(management, count):
    """On many connections, as fast as the store makes them durable."""
    failures = []

    def create(start):
        connection = management.connect()
        for index in range(start, count, 64):
            status = management.call("POST", "/api/mgmt/v5beta/participants",
                {"@id": f"{index:032x}", "identity": f"did:web:p{index}.example", "properties": {}, "state": "ACTIVATED"}, connection)
            if status not in (200, 409):
                failures.append(status)
                return
    threads = [threading.Thread(target=create, args=(start,)) for start in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit(f"participants could not be created: {failures[:3]}")


# --- many tenants

def start_cell(run, name="celld"):
    folder = run.run / name
    cell = bench.Cell(folder)
    cell.certificate = run.run / "tls/cert.pem"
    config = bench.settings(folder, cell.certificate, run.run / "tls/key.pem", [bench.free_port()], [bench.free_port()], bench.free_port())
    cell.start(config, pin=SERVER_CORE)
    return cell


def tenants(run, counts, wants_load, wants_change):
    """Many participants instead of one: memory, what a request costs, and how soon a change of one is seen. The one with
    few runs beside it, and both are asked in turn."""
    shutil.copytree(run.run / "celld", run.run / "few")
    for count in counts:
        cell = start_cell(run)
        create_participants(Management(cell), count)
        cell.stop()
        ratios = []
        for _ in range(STARTS if wants_load else 1):  # where a process's pages happen to lie makes some percent
            few, cell = start_cell(run, "few"), start_cell(run)
            try:
                if wants_load:
                    compare(run, cell, few, f"{count:,} more participants", ratios)
                    run.note(f"{count:,} more participants, KiB each", "celld", (rss_kib(cell.process.pid) - rss_kib(few.process.pid)) / count)
                    run.note(f"{count:,} more participants, KiB each", "limit", 1)
            finally:
                few.stop()
                cell.stop()
        if wants_load:
            run.note(f"{count:,} more participants, CPU against few, median of {len(ratios)}", "celld", statistics.median(ratios))
            run.note(f"{count:,} more participants, CPU against few, median of {len(ratios)}", "limit", 1.01)
        if wants_change:
            cell = start_cell(run)
            try:
                changes(run, cell, count)
            finally:
                cell.stop()


def compare(run, cell, few, row, ratios):
    for one in (cell, few):
        load(run, one)
    for number in range(ROUNDS):
        found = {one: load(run, one) for one in ((cell, few) if number % 2 else (few, cell))}
        for index, what in enumerate(("requests/s", "CPU us/request")):
            run.note(f"{row}, {what}", "celld", found[cell][index])
            run.note(f"{row}, {what}", "celld with few", found[few][index])
        ratios.append(found[cell][1] / found[few][1])


def load(run, cell):
    """(requests/s, CPU us/request)"""
    requests = 20000
    before = cpu_seconds(cell.process.pid)
    rate = h2load(f"https://127.0.0.1:{cell.port}{Celld.paths['tiny']}", run.token, requests, 32, 10)
    return rate, (cpu_seconds(cell.process.pid) - before) / requests * 1e6


def changes(run, cell, count):
    """From the end of a change's call, and from its beginning, to the first pull that is refused; pulls go on all the time."""
    management = Management(cell)
    tenant, flow = f"/api/mgmt/v5beta/participants/{bench.CTX}", f"/api/cell/v1/participants/{bench.CTX}/flows/bench"
    kinds = (("deactivated", ("PUT", tenant, {"state": "DEACTIVATED"}), ("PUT", tenant, {"state": "ACTIVATED"})),
        ("suspended", ("POST", f"{flow}/suspend"), ("POST", f"{flow}/resume")))
    for name, there, back in kinds:
        for _ in range(10):
            pulls, stop = [], threading.Event()
            thread = threading.Thread(target=pull_on, args=(run, cell, pulls, stop))
            thread.start()
            while not any(status == 200 for _, status in pulls):
                time.sleep(0.001)
            begun = time.monotonic()
            must(management.call(*there))
            ended = time.monotonic()
            while not pulls or pulls[-1][0] < ended:
                time.sleep(0.001)
            stop.set()
            thread.join()
            must(management.call(*back))
            # a pull counts from when it was asked: one that was asked after the call must be refused
            late = [asked for asked, status in pulls if status == 200 and asked > ended]
            first = min((asked for asked, status in pulls if status != 200), default=ended)
            run.note(f"{count:,} tenants, one {name}: seen after its answer, ms", "celld", max((asked - ended) * 1000 for asked in late) if late else 0)
            run.note(f"{count:,} tenants, one {name}: call to effect, ms", "celld", (min(first, ended) - begun) * 1000)
            run.note(f"{count:,} tenants, one {name}: seen after its answer, ms", "limit", 10)


def must(status):
    if status not in (200, 204):
        sys.exit(f"a change was answered {status}")


def pull_on(run, cell, pulls, stop):
    connection = http.client.HTTPSConnection("localhost", cell.port, context=context())
    while not stop.is_set():
        asked = time.monotonic()
        connection.request("GET", Celld.paths["tiny"], headers={"Authorization": run.token})
        response = connection.getresponse()
        response.read()
        pulls.append((asked, response.status))


# --- fairness

def make_tenants(run, cell):
    """Ten participants with the same files; their tokens beside the scenario as token-1 .. token-9 and token-heavy."""
    for name in [*range(1, LIGHT + 1), HEAVY]:
        ctx = tenant_of(name)
        cell.ctl("participants", "create", "--id", ctx, "--identity", f"did:web:localhost:t{name}", "--state", "ACTIVATED")
        (run.run / "fair.json").write_text(json.dumps({"id": "files", "parts": [{"path": "/files", "type": "file", "properties": {"path": "www"}}]}))
        cell.ctl("datasets", "put", ctx, "files", "--file", run.run / "fair.json")
        cell.ctl("flows", "create", ctx, "--id", "flow", "--dataset", "files", "--agreement", "agreement", "--consumer", "did:web:consumer.example")
        token = cell.ctl("tokens", "create", ctx, "flow", "--lifetime", 86400)["token"]
        (run.run / f"token-{name}").write_text(f"Bearer {token}")
        for file in ("tiny.txt", "1m.bin", "64m.bin"):
            bench.place(run.run / "www" / file, cell.state / "sources" / ctx / "www" / file)


def tenant_of(name):
    return f"{name if name != HEAVY else 'f'}".rjust(32, "f")


def light_p99(run, cell, scenario):
    """The load generator sleeps until a request is due and is then ahead of others on its core: the row is about the server's queues, not its own."""
    return run.scenario(cell.process.pid, {**scenario, "sleeps": True}, ahead=True)["groups"][0]["latency_ms"]["p99"]


@contextlib.contextmanager
def heavy_load(run, scenario):
    """By a program of its own, which others go ahead of."""
    file = run.run / "heavy.json"
    file.write_text(json.dumps(scenario))
    process = subprocess.Popen([CELLBENCH, file], preexec_fn=pinned(LOAD_CORE), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield
    finally:
        process.kill()
        process.wait()


def fairness(run):
    """One heavy and nine light tenants, on connections of their own and on one; and ten that take all they get."""
    cell = start_cell(run)
    try:
        if not (run.run / f"token-{HEAVY}").exists():
            make_tenants(run, cell)
        frame = {"url": f"https://localhost:{cell.port}", "http": "2", "ca_file": str(run.run / "tls/cert.pem"), "warmup_ms": 500,
            "duration_ms": int(max(run.arguments.seconds, 3) * 1000)}
        # the light ones have paths of their own: {i} stands in the tenant's id
        light = {"name": "light", "count": LIGHT, "path": f"/api/public/{'f' * 31}{{i}}/files/tiny.txt", "authorization_file": str(run.run / "token-{i}"), "rate": 100}
        heavy = {"name": HEAVY, "path": f"/api/public/{tenant_of(HEAVY)}/files/64m.bin", "authorization_file": str(run.run / f"token-{HEAVY}"), "streams": 10}
        # on one connection what the client lets come stands before an answer: two streams with the windows that HTTP/2 presets, or ten requests
        windows = {"shared": True, "window": 65535}
        busy = {**heavy, "path": heavy["path"].replace("64m.bin", "tiny.txt")}
        for words, shared, beside in (("ten connections", False, heavy), ("one connection, heavy in bytes", True, {**heavy, "streams": 2}),
                ("one connection, heavy in requests", True, busy)):
            row = f"light p99 ms, {words}"
            frame_of_row = {**frame, **windows} if shared else frame
            quiet = light_p99(run, cell, {**frame_of_row, "tenants": [light]})
            run.note(row, "celld with few", quiet)
            run.note(row, "limit", 2 * quiet)
            if shared:
                run.note(row, "celld", light_p99(run, cell, {**frame_of_row, "tenants": [light, beside]}))
                continue
            with heavy_load(run, {**frame, "duration_ms": 60000, "tenants": [beside]}):
                run.note(row, "celld", light_p99(run, cell, {**frame, "tenants": [light]}))
        greedy = {**light, "name": "greedy", "path": light["path"].replace("tiny.txt", "1m.bin"), "streams": 5}
        del greedy["rate"]
        heavy = {**heavy, "path": heavy["path"].replace("64m.bin", "1m.bin"), "streams": 40}
        for shared, words in ((False, "ten connections"), (True, "one connection")):
            result = run.scenario(cell.process.pid, {**frame, "shared": shared, "tenants": [greedy, heavy]}, ahead=False)
            run.note(f"ten that take all, {words}, Jain's index", "celld", result["fairness"])
            run.note(f"ten that take all, {words}, Jain's index", "limit", 0.99)
    finally:
        cell.stop()
