"""./dev bench peers: celld beside nginx, HAProxy, h2o, nghttpx and nghttpd in one run, one worker on one core, load and source on the other.

Options: --rounds N (3), --seconds S (3, a row), --rows NAME,NAME, --peers NAME,NAME, --json FILE. Every request to every server carries the same
authorization header; celld checks it. CPU is the server processes' own time. Medians over the rounds; quote ratios, not absolute figures.
Run as root it takes a network of its own, whose congestion control does not pace: pacing on loopback would measure timers."""
import argparse
import getpass
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import bench_cell as bench

HERE = pathlib.Path(__file__).resolve().parent
SERVER_CORE, LOAD_CORE = {0}, {min(1, (os.cpu_count() or 1) - 1)}
SIZES = {"tiny.txt": 100, "64m.bin": 64 << 20}
GIB = 1 << 30


def pinned(core):
    return lambda: os.sched_setaffinity(0, core)


def family(pid):
    found = [pid]
    for entry in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            for child in (entry / "children").read_text().split():
                found += family(int(child))
        except OSError:
            pass
    return found


def cpu_seconds(pid):
    total = 0
    for member in family(pid):
        for task in pathlib.Path(f"/proc/{member}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                pass
    return total / 1e9


def rss_kib(pid):
    total = 0
    for member in family(pid):
        for line in open(f"/proc/{member}/smaps_rollup"):
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


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
    """Another server: its configuration is rendered into the run's folder, its process pinned like celld's."""
    paths = {"tiny": "/tiny.txt", "json": "/json", "file": "/64m.bin", "proxied": "/up/64m.bin"}
    rows = frozenset(paths)

    def __init__(self, run, source_port):
        self.port, self.clear = bench.free_port(), bench.free_port()
        config = render(self.config, run, WORKERS=1, TLS_PORT=self.port, CLEAR_PORT=self.clear, JSON_PORT=source_port, USER=getpass.getuser()) if self.config else None
        both = run / "tls/both.pem"
        if not both.exists():
            both.write_bytes((run / "tls/cert.pem").read_bytes() + (run / "tls/key.pem").read_bytes())
            both.chmod(0o600)
        self.log = open(run / f"{self.name}.log", "ab")
        self.process = subprocess.Popen(self.command(run, config), preexec_fn=pinned(SERVER_CORE), stdout=self.log, stderr=self.log)
        wait_port(self.port, self.process, self.name)
        time.sleep(0.2)

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
        self.log.close()


class Nginx(Peer):
    name, config = "nginx", "nginx.conf"

    def command(self, run, config):
        return ["/usr/sbin/nginx", "-e", run / "nginx.err", "-c", config]


class HAProxy(Peer):
    name, config = "haproxy", "haproxy.cfg"
    rows = frozenset(["tiny", "json", "proxied"])  # it serves no files; the small one is in its configuration

    def command(self, run, config):
        return ["/usr/sbin/haproxy", "-db", "-f", config]


class H2o(Peer):
    name, config = "h2o", "h2o.conf"

    def command(self, run, config):
        return ["/usr/bin/h2o", "-m", "worker", "-c", config]


class Nghttpx(Peer):
    name, config = "nghttpx", "nghttpx.conf"
    rows = frozenset(["json", "proxied"])

    def command(self, run, config):
        return ["/usr/sbin/nghttpx", f"--conf={config}"]


class Nghttpd(Peer):
    name, config = "nghttpd", None
    rows = frozenset(["tiny", "file"])

    def command(self, run, config):
        return ["/usr/sbin/nghttpd", "-a", "127.0.0.1", "-d", run / "www", "-n", "1", "--max-concurrent-streams=256", str(self.port), run / "tls/key.pem", run / "tls/cert.pem"]


PEERS = {kind.name: kind for kind in (Nginx, HAProxy, H2o, Nghttpx, Nghttpd)}


class Celld:
    name = "celld"
    rows = Peer.rows
    paths = {"tiny": bench.public("/files/tiny.txt"), "json": bench.public("/json"), "file": bench.public("/files/64m.bin"), "proxied": bench.public("/up/64m.bin")}

    def __init__(self, run, source_port):
        self.cell = bench.Cell(run / "celld")
        self.port, self.clear = bench.free_port(), bench.free_port()
        config = bench.settings(run / "celld", run / "tls/cert.pem", run / "tls/key.pem", [self.port], [self.clear], bench.free_port())
        self.cell.start(config, pin=SERVER_CORE)

    @property
    def pid(self):
        return self.cell.process.pid

    def stop(self):
        self.cell.stop()


def h2load(url, token, requests, connections, streams, options=()):
    command = ["/usr/bin/h2load", "-c", str(connections), "-m", str(streams), "-t", "1", "-n", str(requests), "-H", f"authorization: {token}",
        "--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519:P-256", "-w", "24", "-W", "24", *options, url]
    output = subprocess.run(command, preexec_fn=pinned(LOAD_CORE), capture_output=True, text=True, timeout=120).stdout
    rate = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", output)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", output)
    if not rate or not counts or int(counts[2]) or int(counts[3]) or int(counts[1]) != requests:
        raise RuntimeError(f"{url}: {output[-600:]}")
    return float(rate[1])


# option of --rows, row, path, where, h2load's options (with any: one connection, one request at a time)
BULK = (
    ("file", "64 MiB file h2+TLS", "file", "https://127.0.0.1:{port}", ()),
    ("body", "64 MiB proxied h2+TLS", "proxied", "https://127.0.0.1:{port}", ()),
    ("clear", "64 MiB file h2c", "file", "http://127.0.0.1:{clear}", ()),
    ("clear", "64 MiB proxied h2c", "proxied", "http://127.0.0.1:{clear}", ()),
    ("h1", "64 MiB file HTTP/1.1+TLS", "file", "https://127.0.0.1:{port}", ("--h1",)),
)


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.run = pathlib.Path(tempfile.mkdtemp(prefix="celld-peers-"))
        self.run.chmod(0o755)
        bench.make_tls(self.run / "tls")
        bench.make_files(self.run / "www", SIZES)
        self.source_port = bench.free_port()
        config = render("upstream.conf", self.run, JSON_PORT=self.source_port, JSON=bench.JSON_1K.replace("'", ""))
        self.source = subprocess.Popen(["/usr/sbin/nginx", "-e", self.run / "upstream.err", "-c", config], preexec_fn=pinned(LOAD_CORE))
        wait_port(self.source_port, self.source, "the source")
        token = bench.Cell(self.run / "celld").provision(self.run / "tls/cert.pem", self.run / "tls/key.pem", self.run / "www", self.source_port, SIZES)
        self.token = f"Bearer {token}"
        self.results = {}

    def close(self):
        self.source.terminate()
        self.source.wait()
        shutil.rmtree(self.run, ignore_errors=True)

    def note(self, row, server, value):
        self.results.setdefault(row, {}).setdefault(server, []).append(value)

    def rate(self, row, server, path, connections=32, streams=10):
        url = f"https://127.0.0.1:{server.port}{server.paths[path]}"
        speed = h2load(url, self.token, 6000, connections, streams)
        requests = max(6000, int(speed * self.arguments.seconds))
        before = cpu_seconds(server.pid)
        speed = h2load(url, self.token, requests, connections, streams)
        self.note(f"{row}, requests/s", server.name, speed)
        self.note(f"{row}, CPU us/request", server.name, (cpu_seconds(server.pid) - before) / requests * 1e6)

    def bulk(self, row, server, path, streams, url="https://127.0.0.1:{port}", options=()):
        url = url.format(port=server.port, clear=server.clear) + server.paths[path]
        h2load(url, self.token, streams, 1, streams, options)
        count = 16 * max(1, streams // 4)
        before = cpu_seconds(server.pid)
        h2load(url, self.token, count, 1, streams, options)
        self.note(f"{row}, {streams} stream{'s' if streams > 1 else ''}, CPU-s/GiB", server.name,
            (cpu_seconds(server.pid) - before) / (count * SIZES["64m.bin"] / GIB))

    def idle(self, server, count=2000):
        """Memory per idle TLS h2 connection after one answered request each."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
        h2load(f"https://127.0.0.1:{server.port}{server.paths['tiny']}", self.token, 200, 2, 10)
        time.sleep(0.3)
        before, sockets = rss_kib(server.pid), []
        for _ in range(count):
            plain = socket.create_connection(("127.0.0.1", server.port))
            secure = context.wrap_socket(plain, server_hostname="localhost")
            secure.sendall(hello)
            secure.recv(100)
            sockets.append(secure)
        time.sleep(0.7)
        self.note("idle TLS h2 connection, KiB", server.name, (rss_kib(server.pid) - before) / count)
        for one in sockets:
            one.close()

    def tenants(self, count):
        """celld alone: many participants instead of one; start, memory, requests/s."""
        cell = bench.Cell(self.run / "celld")
        cell.certificate = self.run / "tls/cert.pem"
        port, clear, admin = bench.free_port(), bench.free_port(), bench.free_port()
        config = bench.settings(self.run / "celld", cell.certificate, self.run / "tls/key.pem", [port], [clear], admin)
        cell.start(config, pin=SERVER_CORE)
        few = rss_kib(cell.process.pid)
        rate_few = [h2load(f"https://127.0.0.1:{port}{Celld.paths['tiny']}", self.token, 60000, 32, 10) for _ in range(5)]
        few = rss_kib(cell.process.pid)
        management = cell.ctl("access-token", "--scopes", "management-api:admin")
        management = management["token"] if isinstance(management, dict) else management
        create_participants(port, management, count)
        cell.stop()
        cell.start(config, pin=SERVER_CORE)
        rate_many = [h2load(f"https://127.0.0.1:{port}{Celld.paths['tiny']}", self.token, 60000, 32, 10) for _ in range(5)]
        many = rss_kib(cell.process.pid)
        cell.stop()
        self.note(f"{count:,} more participants, requests/s", "celld", statistics.median(rate_many))
        self.note(f"{count:,} more participants, requests/s", "celld with few", statistics.median(rate_few))
        self.note(f"{count:,} more participants, KiB each", "celld", (many - few) / count)

    def first_byte(self):
        """From exec to the first byte of a pulled file, over TLS, by a client that tries every millisecond."""
        for _ in range(5):
            cell = bench.Cell(self.run / "celld")
            port, admin = bench.free_port(), bench.free_port()
            config = bench.settings(self.run / "celld", self.run / "tls/cert.pem", self.run / "tls/key.pem", [port], admin=admin)
            took = {}

            def pull():
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                request = f"GET {Celld.paths['tiny']} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {self.token}\r\n\r\n".encode()
                while True:
                    try:
                        with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost") as connection:
                            connection.sendall(request)
                            if connection.recv(100).startswith(b"HTTP/1.1 200"):
                                took["ms"] = (time.monotonic() - started) * 1000
                                return
                    except OSError:
                        time.sleep(0.001)
            thread = threading.Thread(target=pull, daemon=True)
            started = time.monotonic()
            thread.start()
            cell.start(config)
            thread.join(20)
            cell.stop()
            self.note("start to first byte served, ms", "celld", took.get("ms", float("nan")))

    def measure_one(self, server):
        if self.wants("small") and "tiny" in server.rows:
            self.rate("small file h2+TLS", server, "tiny")
        if self.wants("proxied") and "json" in server.rows:
            self.rate("1 KiB proxied h2+TLS", server, "json")
        for name, row, path, url, options in BULK:
            if self.wants(name) and path in server.rows:
                for streams in (1,) if options else (1, 10):
                    self.bulk(row, server, path, streams, url, options)
        if self.wants("idle") and server.name != "nghttpd":
            self.idle(server)

    def measure(self):
        kinds = [Celld] + [PEERS[name] for name in self.arguments.peers.split(",")]
        for round in range(self.arguments.rounds):
            for kind in kinds if round % 2 == 0 else kinds[::-1]:
                server = kind(self.run, self.source_port)
                try:
                    self.measure_one(server)
                finally:
                    server.stop()
        if self.wants("tenants"):
            self.tenants(10000)
        if self.wants("start"):
            self.first_byte()

    def wants(self, row):
        return not self.arguments.rows or row in self.arguments.rows.split(",")

    def report(self):
        """Medians; the last two columns compare with the best of the others, round by round."""
        names = [name for name in ("celld", *self.arguments.peers.split(",")) if any(name in row for row in self.results.values())]
        print(f"\n{'':44}" + "".join(f"{name:>12}" for name in names) + f"{'celld/best':>12}{'spread':>14}")
        for row, by_server in self.results.items():
            medians = {name: statistics.median(values) for name, values in by_server.items()}
            line = f"{row:44}" + "".join(f"{medians[name]:12.2f}" if name in medians else f"{'':12}" for name in names)
            others = {name: median for name, median in medians.items() if name != "celld"}
            if others:
                best = (max if "requests/s" in row else min)(others, key=others.get)
                ratios = sorted(a / b for a, b in zip(by_server["celld"], by_server[best]))
                line += f"{statistics.median(ratios):12.3f}{f'{ratios[0]:.2f}..{ratios[-1]:.2f}':>14}"
            print(line)
        if any("celld with few" in by_server for by_server in self.results.values()):
            print("(more participants: compared with the same cell with one participant)")


def create_participants(port, management, count):
    """Over one HTTP/1.1 connection a thread, as fast as the store makes them durable."""
    import http.client
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    failures = []

    def create(start):
        connection = http.client.HTTPSConnection("localhost", port, context=context)
        for index in range(start, count, 64):
            body = json.dumps({"@id": f"{index:032x}", "identity": f"did:web:p{index}.example", "properties": {}, "state": "ACTIVATED"})
            connection.request("POST", "/api/mgmt/v5beta/participants", body, {"Authorization": f"Bearer {management}", "Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            if response.status not in (200, 409):
                failures.append(response.status)
                return
    threads = [threading.Thread(target=create, args=(start,)) for start in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit(f"participants could not be created: {failures[:3]}")


def take_own_network():
    """Again, in a network namespace with a congestion control that does not pace; where that is not allowed, as it is."""
    enter = 'ip link set lo up && echo reno >/proc/sys/net/ipv4/tcp_congestion_control && exec "$@"'
    if os.environ.get("CELLD_BENCH_NETWORK") or subprocess.run(["unshare", "-n", "sh", "-c", enter, "sh", "true"], capture_output=True).returncode:
        return
    os.environ["CELLD_BENCH_NETWORK"] = "own"
    os.execvp("unshare", ["unshare", "-n", "sh", "-c", enter, "sh", sys.executable, *sys.argv])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rows", help="small,proxied,file,body,clear,h1,idle,tenants,start")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--json", type=pathlib.Path, default=bench.ROOT / "build/bench/peers.json")
    arguments = parser.parse_args()
    unknown = set(arguments.peers.split(",")) - set(PEERS)
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    take_own_network()
    run = Bench(arguments)
    try:
        run.measure()
        run.report()
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(run.results, indent="\t"))
        print(f"\nraw figures: {arguments.json}")
    finally:
        run.close()


if __name__ == "__main__":
    main()
