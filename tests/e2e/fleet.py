"""A fabric with cells that join it: a broker (plain, or in operator mode), a manager, and real cells."""
import base64
import contextlib
import json
import pathlib
import re
import subprocess
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from conftest import PROGRAMS, Cell, wait_for
from managers import Managers
from nats import DEBIAN, NatsServer

# A busy machine makes databases slow, for which a cell is DEGRADED for two minutes: it is heard all the same.
HEARD = ("HEALTHY", "DEGRADED")
TIMES = {"heartbeat_ms": 400, "grace_ms": 1500, "margin_ms": 200}


def definition(name, /, **members):
    return {"cellId": name, "name": f"Cell {name}", "type": "kubernetes", "region": "eu-1", "provider": "test",
        "capacity": {"maxVPAs": 100},
        "infrastructure": {"kubernetes": {"cluster": "c", "namespace": "n"}, "vault": {"address": "https://v", "path": "p"},
            "database": {"host": "h", "database": "d"}}, "labels": {}, **members}


class OperatorServer(NatsServer):
    """nats-server as `cellctl fabric init` configures it."""

    def __init__(self, folder, binary=None):
        super().__init__(folder, binary)
        self.operator = self.folder / "operator"
        subprocess.run([PROGRAMS / "cellctl", "fabric", "init", self.operator], check=True, capture_output=True)

    def start(self, wait=True):
        made = (self.operator / "nats.conf").read_text()
        path = self.folder / "nats.conf"
        path.write_text(re.sub(r'listen: "[^"]*"', f'listen: "127.0.0.1:{self.port}"', made).replace(f"{self.operator}/jetstream", str(self.store)))
        self.process = subprocess.Popen([self.binary, "-c", path], stdout=open(self.folder / "nats.log", "ab"), stderr=subprocess.STDOUT)
        if wait:
            wait_for(self.answers, 30, "nats-server")
        return self

    def settings(self):
        return {"signing_key_file": str(self.operator / "signing.nk"), "account_file": str(self.operator / "account.jwt")}

    def agent(self, name="agent"):
        """Its JWT and seed."""
        subprocess.run([PROGRAMS / "cellctl", "fabric", "agent", self.operator, name], check=True, capture_output=True)
        return read_credentials(self.operator / f"{name}.creds")


def sign_with(seed):
    """What signs a broker's nonce with the key of this seed."""
    key = Ed25519PrivateKey.from_private_bytes(base64.b32decode(seed + "=" * (-len(seed) % 8))[2:34])
    return key.sign


def read_credentials(path):
    """(JWT, seed)."""
    lines = pathlib.Path(path).read_text().splitlines()
    return lines[1], next(line for line in lines if re.fullmatch("SU[A-Z2-7]{56}", line))


class Fleet:
    """One broker, one manager, and cells by name."""

    def __init__(self, folder, has_operator=False, binary=None, cells=None):
        self.folder = pathlib.Path(folder)
        self.broker = (OperatorServer if has_operator else NatsServer)(self.folder / "broker", binary or DEBIAN)
        self.managers = [self.manager("cfmd", {**TIMES, **(self.broker.settings() if has_operator else {}), **(cells or {})})]
        self.cells = {}

    def manager(self, name, settings, **sections):
        return Managers(self.folder / name, self.broker.url, {"cells": settings, **sections})

    @property
    def cfmd(self):
        return self.managers[0]

    def start(self):
        self.broker.start()
        self.cfmd.start()
        return self

    def stop(self):
        with contextlib.ExitStack() as stack:  # whoever does not end well keeps none of the others
            stack.callback(self.broker.stop)
            for manager in self.managers:
                stack.callback(manager.stop)
            for cell in self.cells.values():
                if cell.process is not None and cell.process.poll() is None:
                    stack.callback(cell.stop)

    # --- the operator
    def ctl(self, *words, check=True):
        done = subprocess.run([PROGRAMS / "cellctl", *words, "--url", f"http://127.0.0.1:{self.cfmd.port}", "--state", self.cfmd.state],
            capture_output=True, text=True)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def api(self, method, path, body=None):
        """(status, parsed body)."""
        status, _, answer = self.cfmd.call(method, path, body, base="/api/celld/v1")
        return status, answer

    def ok(self, method, path, body=None):
        status, answer = self.api(method, path, body)
        assert status in (200, 201, 204), f"{method} {path}: {status} {answer}"
        return answer

    def token(self, name, **members):
        return self.ok("POST", "/join-tokens", {"cellId": name, "approve": True, **members})["token"]

    def health(self, name):
        return self.ok("GET", f"/cells/{name}/health")

    def status(self, name):
        """None: it has not asked to join yet."""
        found, answer = self.api("GET", f"/cells/{name}/health")
        return answer["status"] if found == 200 else None

    def wait_status(self, name, status, deadline=30):
        wait_for(lambda: self.status(name) == status, deadline, f"{name} to be {status}")

    def is_heard(self, name):
        return self.status(name) in HEARD

    def wait_heard(self, name, deadline=20):
        wait_for(lambda: self.is_heard(name), deadline, f"{name} to be heard")

    # --- cells
    def cell(self, name, /, folder=None, token=True, **members):
        """A cell that is not started yet."""
        folder = self.folder / (folder or name)
        folder.mkdir(parents=True, exist_ok=True)
        cell = Cell(folder, workers=2)
        members.setdefault("endpoints", {"ingress": f"http://127.0.0.1:{cell.clear_port}"})
        (folder / "definition.json").write_text(json.dumps(definition(name, **members)))
        if token:
            path = folder / "join.token"
            path.write_text(self.token(name) if token is True else token)
            path.chmod(0o400)
        cell.config["fabric"] = {"url": f"http://127.0.0.1:{self.cfmd.port}", "definition_file": str(folder / "definition.json"),
            "token_file": str(folder / "join.token"), "retry_ms": 200}
        cell.config["nats"] = {"reconnect_ms": 50}
        self.cells[folder.name] = cell
        return cell

    def join(self, name, /, **members):
        cell = self.cell(name, **members).start()
        self.wait_heard(name)
        return cell

    def cell_status(self, cell):
        """What `cellctl status` shows; {}: it does not answer."""
        token = subprocess.run([PROGRAMS / "cellctl", "access-token", "--scopes", "management-api:admin", "--state", cell.state],
            check=True, capture_output=True, text=True).stdout.strip()
        answer = subprocess.run(["curl", "-s", "-m", "5", "-H", f"Authorization: Bearer {token}", f"http://127.0.0.1:{cell.admin_port}/api/cell/v1/status"],
            capture_output=True, text=True).stdout
        return json.loads(answer) if answer else {}

    def line(self, cell):
        """What the cell says of its place in the fabric."""
        return self.cell_status(cell).get("fabric", "")


def since(moment):
    return time.monotonic() - moment


def held_up(process):
    """Seconds that one of its threads, the one that waited longest, was ready and had no core: what a busy machine adds to its times."""
    return max(int(thread.read_text().split()[1]) for thread in pathlib.Path(f"/proc/{process.pid}/task").glob("*/schedstat")) / 1e9
