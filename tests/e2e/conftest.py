"""Starts real cells on free loopback ports in a temporary folder, and stops them."""
import http.server
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time

import pytest

from wire import H2

pytest_plugins = ["dps_fixture"]
PROGRAMS = pathlib.Path(os.environ.get("CELLD_PROGRAMS", pathlib.Path(__file__).parents[2] / "build/debug/control"))
A, B = "a" * 32, "b" * 32


handed_out = set()


def free_port():
    """Below the range the kernel takes ports of outgoing connections from: nobody takes it before its server listens."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in handed_out:
            handed_out.add(port)
            return port


def wait_for(condition, deadline=30, what="the condition"):
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise TimeoutError(f"{what} did not come true within {deadline} s")


def wait_still(read, pause=0.3):
    """What it reads once it does not change for so long."""
    last = None
    while (now := read()) != last:
        last = now
        time.sleep(pause)
    return last


def make_certificate(folder, name="cell", subject="localhost", authority=None, san="DNS:localhost,DNS:*.vpa.test,IP:127.0.0.1"):
    """Signed by itself, or by the authority (certificate, key)."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={subject}", "-addext", f"subjectAltName={san}", "-keyout", key]
    if authority is None:
        subprocess.run(["openssl", "req", "-x509", *new_key, "-days", "30", "-out", certificate], check=True, capture_output=True)
        return certificate, key
    request = folder / f"{name}.csr"
    subprocess.run(["openssl", "req", *new_key, "-out", request], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", request, "-CA", authority[0], "-CAkey", authority[1], "-CAcreateserial", "-days", "30",
        "-copy_extensions", "copy", "-out", certificate], check=True, capture_output=True)
    return certificate, key


class Cell:
    """One celld with its state; everything is done over its public interfaces."""

    def __init__(self, folder, workers=2, settings=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.state = self.folder / "state"
        self.port, self.clear_port, self.proxy_port, self.admin_port = (free_port() for _ in range(4))
        self.certificate, self.key = make_certificate(self.folder)
        self.config = {
            "server": {
                "workers": workers,
                "listeners": [
                    {"address": "127.0.0.1", "port": self.port, "protocol": "tls", "role": "public"},
                    {"address": "127.0.0.1", "port": self.clear_port, "protocol": "clear", "role": "public"},
                    {"address": "127.0.0.1", "port": self.proxy_port, "protocol": "clear", "role": "public",
                        "proxy_protocol": True, "trusted_ingress": True},
                    {"address": "127.0.0.1", "port": self.admin_port, "protocol": "clear", "role": "admin"},
                ],
                "certificate_file": str(self.certificate),
                "key_file": str(self.key),
            },
            "tenant": {"domain": "vpa.test"},
        }
        for section, values in (settings or {}).items():
            self.config.setdefault(section, {}).update(values)
        self.process = None

    def write_config(self):
        path = self.folder / "cell.json"
        path.write_text(json.dumps(self.config))
        return path

    def start(self, wait=True):
        self.log = open(self.folder / "cell.log", "ab")
        self.process = subprocess.Popen([PROGRAMS / "celld", "--config", self.write_config(), "--state", self.state],
            stdout=self.log, stderr=self.log)
        if wait:
            wait_for(lambda: self.process.poll() is not None or self.is_ready(), 90, "readiness")
            assert self.process.poll() is None, self.log_tail()
        return self

    def is_ready(self):
        return self.admin("/healthz/ready")[0] == 200

    def admin(self, path):
        try:
            answer = subprocess.run(["curl", "-s", "-m", "5", "-w", "\n%{http_code}", f"http://127.0.0.1:{self.admin_port}{path}"],
                capture_output=True, text=True).stdout
            body, _, status = answer.rpartition("\n")
            return int(status), body
        except ValueError:
            return 0, ""

    def metric(self, name, label=""):
        """Sum of all series of this name, with this label."""
        _, body = self.admin("/metrics")
        return sum(float(line.rsplit(" ", 1)[1]) for line in body.splitlines() if line.split("{")[0].split(" ")[0] == name and label in line)

    def log_tail(self, lines=15):
        return "\n".join((self.folder / "cell.log").read_text(errors="replace").splitlines()[-lines:])

    def log_lines(self):
        whole = (self.folder / "cell.log").read_text().rpartition("\n")[0]  # the last line may be half written
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, expect=0):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        if expect is not None:
            assert self.process.returncode == expect, f"exit {self.process.returncode}\n{self.log_tail(60)}"

    def rss_kib(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1])

    def cpu_seconds(self):
        """Of all its threads, to the nanosecond."""
        return sum(int(thread.read_text().split()[0]) for thread in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")) / 1e9

    # --- management, over cellctl and plain HTTP
    def ctl(self, *arguments, check=True, input=None):
        environment = dict(os.environ, CELLCTL_URL=f"https://localhost:{self.port}", CELLCTL_CA=str(self.certificate),
            CELLCTL_STATE=str(self.state))
        result = subprocess.run([PROGRAMS / "cellctl", *map(str, arguments)], env=environment, capture_output=True, text=True, input=input)
        if check:
            assert result.returncode == 0, f"cellctl {arguments}: {result.stderr}{result.stdout}"
        return result

    def ctl_json(self, *arguments):
        return json.loads(self.ctl("--json", *arguments).stdout)

    def management_token(self, scopes="management-api:admin", subject=None, lifetime=3600):
        extra = ["--subject", subject] if subject else []
        return self.ctl("access-token", "--scopes", scopes, "--lifetime", lifetime, *extra).stdout.strip()

    def call(self, method, path, body=None, token=None, headers=()):
        """One management call over HTTP/2; (status, parsed body or text)."""
        token = token if token is not None else self.token()
        headers = [("authorization", f"Bearer {token}"), *headers] if token else list(headers)
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers.append(("content-type", "application/json"))
        with H2(self.port) as connection:
            response = connection.get(path, method, headers, data)
        text = bytes(response.body).decode()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    def token(self):
        if not getattr(self, "cached_token", None):
            self.cached_token = self.management_token()
        return self.cached_token

    def participant(self, ctx, entries=None, state="ACTIVATED"):
        status, body = self.call("POST", "/api/mgmt/v5beta/participants", {
            "@context": ["https://w3id.org/edc/connector/management/v2"], "@type": "ParticipantContext", "@id": ctx,
            "identity": f"did:web:localhost:{ctx[:4]}", "properties": {}, "state": state})
        assert status == 200, body
        entries = {"celld.http.allow": "127.0.0.0/8", **(entries or {})}
        status, body = self.call("PATCH", f"/api/mgmt/v5beta/participants/{ctx}/config", {
            "@context": ["https://w3id.org/edc/connector/management/v2"], "@type": "ParticipantContextConfig",
            "entries": entries, "privateEntries": {}, "identity": ctx})
        assert status in (200, 204), body
        return ctx

    def dataset(self, ctx, name, type="file", properties=None, **members):
        status, body = self.call("PUT", f"/api/cell/v1/participants/{ctx}/datasets/{name}",
            {"id": name, "type": type, "properties": properties or {}, **members})
        assert status in (200, 201, 204), body
        return name

    def flow(self, ctx, dataset, name=None, **members):
        name = name or f"flow-{dataset}"
        status, body = self.call("POST", f"/api/cell/v1/participants/{ctx}/flows",
            {"id": name, "datasetId": dataset, "agreementId": f"agreement-{name}", "counterParty": "did:web:consumer.example", **members})
        assert status in (200, 201), body
        return name

    def flow_token(self, ctx, flow, lifetime=3600):
        status, body = self.call("POST", f"/api/cell/v1/participants/{ctx}/flows/{flow}/token", {"lifetimeSeconds": lifetime})
        assert status in (200, 201), body
        return body["token"]

    def file(self, ctx, name, content):
        path = self.state / "sources" / ctx / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def shared_file(self, ctx, name, content):
        """A file with dataset, flow and token; returns (token, pull path)."""
        self.file(ctx, name, content)
        dataset = name.replace("/", "-")
        self.dataset(ctx, dataset, "file", {"path": name})
        return self.flow_token(ctx, self.flow(ctx, dataset)), f"/api/public/{ctx}"

    def shared_http(self, ctx, name, url, **properties):
        self.dataset(ctx, name, "http", {"baseUrl": url, **properties})
        return self.flow_token(ctx, self.flow(ctx, name)), f"/api/public/{ctx}"

    def pull(self, token, path, method="GET", headers=(), body=None, port=None, tls=True, **arguments):
        with H2(port or self.port, tls=tls) as connection:
            return connection.get(path, method, [("authorization", f"Bearer {token}"), *headers], body, **arguments)


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    if not (PROGRAMS / "celld").exists():
        pytest.fail(f"{PROGRAMS}/celld is missing: build it with ./dev test")
    cell = Cell(tmp_path_factory.mktemp("cell")).start()
    try:
        cell.participant(A)
        cell.participant(B)
        yield cell
    finally:
        cell.stop()


@pytest.fixture
def own_cell(tmp_path):
    """A cell for one test alone; the test starts it."""
    cells = []

    def make(**arguments):
        cell = Cell(tmp_path / f"cell{len(cells)}" if cells else tmp_path, **arguments)
        cells.append(cell)
        return cell
    yield make
    for cell in cells:
        if cell.process is not None and cell.process.poll() is None:
            cell.stop(expect=None)


class Source:
    """An HTTP/1.1 server whose behaviour each test gives as a function of (connection, head bytes)."""

    def __init__(self, behaviour):
        self.behaviour = behaviour
        self.requests = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        buffered = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffered:
                    data = connection.recv(65536)
                    if not data:
                        return
                    buffered += data
                head, _, buffered = buffered.partition(b"\r\n\r\n")
                self.requests.append(head)
                rest = self.behaviour(connection, head, buffered)
                if rest is None:
                    return
                buffered = rest
        except OSError:
            pass
        finally:
            connection.close()

    def stop(self):
        self.listener.close()
        for connection in self.open:
            connection.close()


@pytest.fixture
def source():
    made = []

    def make(behaviour):
        made.append(Source(behaviour))
        return made[-1]
    yield make
    for one in made:
        one.stop()


def plain_answer(body, status="200 OK", headers=""):
    """A behaviour that always answers this, keeping the connection."""
    def behave(connection, head, buffered):
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + (b"" if head.startswith(b"HEAD") else body))
        return buffered
    return behave
