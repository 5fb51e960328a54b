"""Starts real managers (cfmd) on free loopback ports, with a broker and a database of their own."""
import http.client
import json
import pathlib
import signal
import subprocess

import pytest

from conftest import PROGRAMS, free_port, wait_for
from nats import NatsServer

API = "/api/v1alpha1"
SCOPES = "tenant-manager-api:read tenant-manager-api:write provision-manager-api:read provision-manager-api:write"


class Managers:
    """One cfmd with its state; everything is done over its public interfaces. A second one may share the store."""

    def __init__(self, folder, nats_url, settings=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = self.folder / "state"
        self.port, self.admin_port = free_port(), free_port()
        self.config = {
            "server": {"listeners": [
                {"address": "127.0.0.1", "port": self.port, "protocol": "clear", "role": "public"},
                {"address": "127.0.0.1", "port": self.admin_port, "protocol": "clear", "role": "admin"},
            ]},
            "nats": {"urls": [nats_url], "reconnect_ms": 50},
        }
        for section, values in (settings or {}).items():
            self.config.setdefault(section, {}).update(values)
        self.process = None
        self.tokens = {}

    def start(self, wait=True):
        path = self.folder / "cfmd.json"
        path.write_text(json.dumps(self.config))
        self.process = subprocess.Popen([PROGRAMS / "cfmd", "--config", path, "--state", self.state],
            stdout=open(self.folder / "cfmd.log", "ab"), stderr=subprocess.STDOUT)
        if wait:
            wait_for(lambda: self.process.poll() is not None or self.is_ready(), 90, "readiness")
            assert self.process.poll() is None, self.log()
        return self

    def log(self):
        return (self.folder / "cfmd.log").read_text(errors="replace")

    def log_lines(self):
        whole = self.log().rpartition("\n")[0]  # the last line may be half written
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def is_ready(self):
        try:
            return self.request("GET", "/healthz/ready", port=self.admin_port)[0] == 200
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        assert self.process.returncode == 0, f"exit {self.process.returncode}\n{self.log()[-6000:]}"

    def token(self, scopes=SCOPES, *arguments):
        key = (scopes, *arguments)
        if key not in self.tokens:
            self.tokens[key] = subprocess.run([PROGRAMS / "cellctl", "access-token", "--scopes", scopes, "--state", self.state, *arguments],
                check=True, capture_output=True, text=True).stdout.strip()
        return self.tokens[key]

    def request(self, method, path, body=None, headers=None, port=None):
        """(status, headers, body bytes) of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def call(self, method, path, body=None, scopes=SCOPES, base=API):
        """(status, headers, parsed body or None)."""
        headers = {"Authorization": f"Bearer {self.token(scopes)}"} if scopes else {}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        status, answer, text = self.request(method, base + path, body, headers)
        return status, answer, json.loads(text) if text else None

    def ok(self, method, path, body=None):
        """The body of an answer that must be a success."""
        status, _, answer = self.call(method, path, body)
        assert status in (200, 201, 202), f"{method} {path}: {status} {answer}"
        return answer

    # --- what most tests need
    def tenant(self, properties=None):
        return self.ok("POST", "/tenants", {"properties": properties or {}})["id"]

    def cell(self, **members):
        return self.ok("POST", "/cells", {"state": "active", "stateTimestamp": "2026-01-01T00:00:00Z", **members})["id"]

    def dataspace(self, *cells, specs=(), **members):
        id = self.ok("POST", "/dataspace-profiles", {"dataspaceSpec": {"protocolStack": ["dsp-2025-1"], "credentialSpecs": list(specs)}, **members})["id"]
        for cell in cells:
            self.ok("POST", f"/dataspace-profiles/{id}/deployments", {"profileId": id, "cellId": cell})
        return id

    def profile(self, tenant, id):
        return self.ok("GET", f"/tenants/{tenant}/participant-profiles/{id}")

    def page(self):
        """The admin listener's."""
        return self.request("GET", "/", port=self.admin_port)[2].decode()

    def states(self, tenant, id):
        return {vpa["state"] for vpa in self.profile(tenant, id)["vpas"]}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    server = NatsServer(tmp_path_factory.mktemp("nats")).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def managers(tmp_path_factory, broker):
    if not (PROGRAMS / "cfmd").exists():
        pytest.fail(f"{PROGRAMS}/cfmd is missing: build it with ./dev test")
    one = Managers(tmp_path_factory.mktemp("cfmd"), broker.url).start()
    yield one
    one.stop()


@pytest.fixture
def own_managers(tmp_path):
    """For one test alone, which starts them: own_managers(nats_url, settings)."""
    made = []

    def make(nats_url, settings=None, name=None):
        made.append(Managers(tmp_path / (name or f"cfmd{len(made)}"), nats_url, settings))
        return made[-1]
    yield make
    for one in made:
        one.stop()
