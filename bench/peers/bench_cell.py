"""Makes a cell ready to be measured: state, participants, datasets over files and over an HTTP source, one flow and its token."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "build/release/control"
CTX = "be" * 16
JSON_1K = json.dumps({"tenant": "t00042", "data": "x" * 988})[:1024].ljust(1024)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_tls(folder):
    """cert.pem and key.pem for localhost, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "cert.pem").exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,DNS:*.vpa.test,IP:127.0.0.1",
            "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    os.chmod(folder / "key.pem", 0o600)


def make_files(folder, sizes):
    """Files of these sizes that do not compress; missing ones are made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in sizes.items():
        path = folder / name
        if path.exists() and path.stat().st_size == size:
            continue
        block = os.urandom(1 << 20)
        with open(path, "wb") as file:
            for at in range(0, size, 1 << 20):
                file.write(block[:min(1 << 20, size - at)])


def place(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        if os.path.samefile(source, target):
            return
        target.unlink()
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def settings(folder, certificate, key, public, clear=(), admin=0, workers=1, form="opaque"):
    """A configuration as an operator of a loaded cell would have it: every protection on, the limits that count whole lifetimes
    or one source address widened, since the load generator is one address with few, long connections. form: of the tokens it makes."""
    listeners = [{"address": "127.0.0.1", "port": port, "protocol": "tls", "role": "public"} for port in public]
    listeners += [{"address": "127.0.0.1", "port": port, "protocol": "clear", "role": "public"} for port in clear]
    listeners.append({"address": "127.0.0.1", "port": admin, "protocol": "clear", "role": "admin"})
    return {
        "server": {"workers": workers, "listeners": listeners, "certificate_file": str(certificate), "key_file": str(key)},
        "limits": {"connections": 19000, "connections_per_source": 19000, "streams_per_lifetime": 1000000000},
        "tenant": {"requests_per_second": 1000000000, "streams": 1000000, "connections": 100000, "domain": "vpa.test"},
        "dp": {"token_form": form},
        "log": {"file": str(folder / "access.log")},
    }


class Cell:
    def __init__(self, folder, workers=1, prefix=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = self.folder / "state"
        self.workers, self.prefix = workers, list(prefix)
        self.process = None

    def start(self, config, pin=None):
        path = self.folder / "provision.json"
        path.write_text(json.dumps(config, indent="\t"))
        self.port = next(one["port"] for one in config["server"]["listeners"] if one["protocol"] == "tls")
        self.admin = next(one["port"] for one in config["server"]["listeners"] if one["role"] == "admin")
        self.log = open(self.folder / "cell.log", "wb")
        self.started = time.monotonic()
        self.process = subprocess.Popen([*self.prefix, PROGRAMS / "celld", "--config", path, "--state", self.state], stdout=self.log, stderr=self.log,
            preexec_fn=(lambda: os.sched_setaffinity(0, pin)) if pin else None)
        while True:
            if self.process.poll() is not None:
                raise SystemExit("celld ended at start:\n" + (self.folder / "cell.log").read_text()[-2000:])
            try:
                with socket.create_connection(("127.0.0.1", self.admin), 1) as probe:
                    probe.sendall(b"GET /healthz/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    if b" 200 " in probe.recv(100):
                        return self
            except OSError:
                pass
            if time.monotonic() - self.started > 90:
                raise SystemExit("celld was not ready within 90 s")
            time.sleep(0.001)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def ctl(self, *arguments, input=None):
        environment = dict(os.environ, CELLCTL_URL=f"https://localhost:{self.port}", CELLCTL_CA=str(self.certificate), CELLCTL_STATE=str(self.state))
        result = subprocess.run([PROGRAMS / "cellctl", "--json", *map(str, arguments)], env=environment, capture_output=True, text=True, input=input)
        if result.returncode:
            raise SystemExit(f"cellctl {' '.join(map(str, arguments))}: {result.stderr}")
        return json.loads(result.stdout) if result.stdout.strip() else None

    def provision(self, certificate, key, www, source_port, names):
        """Runs the cell on free ports for as long as it takes; afterwards its state holds everything. Returns the token."""
        self.certificate = certificate
        shutil.rmtree(self.state, ignore_errors=True)
        self.start(settings(self.folder, certificate, key, [free_port()], admin=free_port()))
        try:
            self.ctl("participants", "create", "--id", CTX, "--identity", "did:web:localhost:bench", "--state", "ACTIVATED")
            self.ctl("participants", "config-set", CTX, "celld.http.allow=127.0.0.0/8")
            dataset = {"id": "bench", "parts": [
                {"path": "/files", "type": "file", "properties": {"path": "www"}},
                {"path": "/json", "type": "http", "properties": {"baseUrl": f"http://127.0.0.1:{source_port}/json"}},
                {"path": "/up", "type": "http", "properties": {"baseUrl": f"http://127.0.0.1:{source_port}/up", "proxyPath": "true"}},
            ]}
            (self.folder / "dataset.json").write_text(json.dumps(dataset))
            self.ctl("datasets", "put", CTX, "bench", "--file", self.folder / "dataset.json")
            self.ctl("flows", "create", CTX, "--id", "bench", "--dataset", "bench", "--agreement", "bench", "--consumer", "did:web:consumer.example")
            token = self.make_token()
        finally:
            self.stop()
        for name in names:
            place(www / name, self.state / "sources" / CTX / "www" / name)
        return token

    def make_token(self):
        return self.ctl("tokens", "create", CTX, "bench", "--lifetime", 30 * 86400)["token"]

    def make_jwt(self, certificate, key):
        """Of a cell that is provisioned and stands still: the longer form of its token."""
        self.start(settings(self.folder, certificate, key, [free_port()], admin=free_port(), form="jwt"))
        try:
            return self.make_token()
        finally:
            self.stop()


def public(path):
    return f"/api/public/{CTX}{path}"
