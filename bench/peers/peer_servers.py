"""The servers that are measured side by side: how each is started, and where it keeps the common paths.

Every one runs with one worker on one core, connections kept, no access log of its own (celld writes its log: it is part of what a tenant needs)."""
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time

import bench_cell as bench

HERE = pathlib.Path(__file__).resolve().parent
SERVER_CORE, LOAD_CORE = {0}, {min(1, (os.cpu_count() or 1) - 1)}


def pinned(core, ahead=False):
    """ahead: of everything else on the core, where that is allowed. For a process that sleeps most of the time."""
    def prepare():
        os.sched_setaffinity(0, core)
        if ahead:
            with contextlib.suppress(PermissionError):
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return prepare


def wait_port(port, process, name):
    end = time.monotonic() + 15
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"{name} ended at start")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.005)
    sys.exit(f"{name} did not listen on {port}")


def render(name, run, **values):
    text = (HERE / "conf" / name).read_text()
    for key, value in dict(values, RUN=run).items():
        text = text.replace(f"@{key}@", str(value))
    path = run / name
    path.write_text(text)
    return path


class Peer:
    """One server process. Ports: port (TLS: h2 and http/1.1), h2c, h1 (clear); 0: it has none."""
    paths = {"tiny": "/tiny.txt", "json": "/json", "file": "/64m.bin", "proxied": "/up/64m.bin"}
    can = {"tiny", "json", "file", "proxied", "h2c", "h1", "h1tls"}
    environment = {}

    def __init__(self, run, source_port):
        self.run, self.source_port = run, source_port
        self.port, self.h2c, self.h1 = (bench.free_port() for _ in range(3))
        with open(run / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(self.command(), preexec_fn=pinned(SERVER_CORE), stdout=log, stderr=log,
                env=dict(os.environ, **{key: str(value).replace("@RUN@", str(run)) for key, value in self.environment.items()}))
        wait_port(self.port, self.process, self.name)
        time.sleep(0.2)

    def render(self, name, **more):
        return render(name, self.run, TLS_PORT=self.port, H2C_PORT=self.h2c, H1_PORT=self.h1, SOURCE_PORT=self.source_port, **more)

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def url(self, path, protocol="h2"):
        port = {"h2": self.port, "h1tls": self.port, "h2c": self.h2c, "h1": self.h1}[protocol]
        return f"{'https' if protocol in ('h2', 'h1tls') else 'http'}://localhost:{port}{self.paths[path]}"


class Nginx(Peer):
    name = "nginx"

    def command(self):
        return ["/usr/sbin/nginx", "-e", self.run / "nginx.err", "-c", self.render("nginx.conf")]


class Haproxy(Peer):
    name = "haproxy"
    paths = {"tiny": "/tiny", "json": "/json", "proxied": "/up/64m.bin"}  # keeps no files: the tiny answer is built in
    can = {"tiny", "json", "proxied", "h2c", "h1", "h1tls"}

    def command(self):
        (self.run / "both.pem").write_text((self.run / "tls/cert.pem").read_text() + (self.run / "tls/key.pem").read_text())
        return ["/usr/sbin/haproxy", "-db", "-f", self.render("haproxy.cfg")]


class H2o(Peer):
    name = "h2o"

    def command(self):
        return ["/usr/bin/h2o", "-m", "worker", "-c", self.render("h2o.conf")]


class Nghttpx(Peer):
    name = "nghttpx"
    paths = {"json": "/json", "proxied": "/up/64m.bin"}
    can = {"json", "proxied", "h2c"}

    def command(self):
        return ["/usr/sbin/nghttpx", f"--conf={self.render('nghttpx.conf')}"]


class Nghttpd(Peer):
    name = "nghttpd"
    paths = {"tiny": "/tiny.txt", "file": "/64m.bin"}
    can = {"tiny", "file"}

    def command(self):
        return ["/usr/sbin/nghttpd", "-n", "1", "-d", self.run / "www", "-m", "256", "-a", "127.0.0.1", str(self.port), self.run / "tls/key.pem",
            self.run / "tls/cert.pem"]


class Caddy(Peer):
    name = "caddy"
    can = {"tiny", "json", "file", "proxied", "h2c", "h1tls"}
    environment = {"GOMAXPROCS": 1, "HOME": "@RUN@", "XDG_DATA_HOME": "@RUN@", "XDG_CONFIG_HOME": "@RUN@"}

    def command(self):
        return ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", self.render("Caddyfile")]


class Apache(Peer):
    name = "apache"
    can = {"tiny", "json", "file", "proxied", "h2c", "h1tls"}

    def command(self):
        return ["/usr/sbin/apache2", "-D", "FOREGROUND", "-f", self.render("apache.conf")]


class Celld(Peer):
    name = "celld"
    paths = {"tiny": bench.public("/files/tiny.txt"), "json": bench.public("/json"), "file": bench.public("/files/64m.bin"), "proxied": bench.public("/up/64m.bin")}

    def __init__(self, run, source_port):
        self.cell = bench.Cell(run / "celld")
        self.port, self.h2c = bench.free_port(), bench.free_port()
        self.h1 = self.h2c
        config = bench.settings(run / "celld", run / "tls/cert.pem", run / "tls/key.pem", [self.port], [self.h2c], bench.free_port())
        self.cell.start(config, pin=SERVER_CORE)

    @property
    def pid(self):
        return self.cell.process.pid

    def stop(self):
        self.cell.stop()


PEERS = (Nginx, Haproxy, H2o, Nghttpx, Nghttpd, Caddy, Apache)
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "h2o": "h2o", "nghttpx": "nghttp2-proxy", "nghttpd": "nghttp2-server", "caddy": "caddy", "apache": "apache2-bin"}
