"""./dev bench peers: celld beside other servers in one run, one worker on one core, load and source on the other; a table of ratios.

Options: --peers nginx,haproxy,... (all), --rounds N (3), --seconds S (2, a row), --rows NAME,NAME, --json FILE. Every request to every server
carries the same authorization header; celld checks it. CPU is the server processes' own time. Medians over the rounds; a ratio is taken
round by round between neighbours in time. Quote ratios, not absolute figures. Run as root it takes a network of its own, whose congestion
control does not pace: pacing on loopback would measure timers."""
import argparse
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
import cell_rows
from measures import CELLBENCH, cpu_seconds, h2load, rss_kib, stolen_seconds
from peer_servers import LOAD_CORE, PEERS, Celld, pinned, render, wait_port

SIZES = {"tiny.txt": 100, "1m.bin": 1 << 20, "64m.bin": 64 << 20}
GIB = 1 << 30
IDLE_S = 5
CALM_PERCENT, CALM_TRIES = 2, 12
BARE_MODES = {"64 MiB file h2+TLS": "file-tls", "64 MiB file HTTP/1.1+TLS": "file-tls", "64 MiB proxied h2+TLS": "proxy-tls", "64 MiB file h2c": "file-frames",
    "64 MiB file HTTP/1.1": "file-clear", "64 MiB proxied h2c": "proxy-clear", "64 MiB proxied h2c, frames to 64K": "proxy-clear",
    "64 MiB proxied h2c, frames to 1M": "proxy-clear"}
BESIDES = ("celld", "bare loop", "celld with few", "limit")  # no peers
BARE_LOOP = bench.ROOT / "build/release/bench/bare_loop"
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def h2_request(path, authorization):
    """A GET on stream 1: a HEADERS frame without a state to share."""
    def string(text):
        length = len(text)
        return (bytes([length]) if length < 127 else bytes([127, (length - 127) % 128 | 128, (length - 127) // 128])) + text.encode()
    block = b"\x82\x87\x01" + string("localhost") + b"\x04" + string(path) + b"\x0f\x08" + string(authorization)
    return len(block).to_bytes(3, "big") + b"\x01\x05\0\0\0\x01" + block


def is_answered(connection):
    """Has the answer to h2_request come to its end?"""
    end, answer = b"\0\x01\0\0\0\x01", b""  # the head of a DATA frame with END_STREAM
    while end not in answer:
        more = connection.recv(16384)
        if not more:
            return False
        answer += more
    return True


def tls_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.run = pathlib.Path(tempfile.mkdtemp(prefix="celld-peers-"))
        self.run.chmod(0o755)
        bench.make_tls(self.run / "tls")
        bench.make_files(self.run / "www", SIZES)
        self.source_port = bench.free_port()
        config = render("upstream.conf", self.run, SOURCE_PORT=self.source_port, JSON=bench.JSON_1K.replace("'", ""))
        self.source = subprocess.Popen(["/usr/sbin/nginx", "-e", self.run / "upstream.err", "-c", config], preexec_fn=pinned(LOAD_CORE))
        wait_port(self.source_port, self.source, "the source")
        token = bench.Cell(self.run / "celld").provision(self.run / "tls/cert.pem", self.run / "tls/key.pem", self.run / "www", self.source_port, SIZES)
        self.token = f"Bearer {token}"
        (self.run / "authorization").write_text(self.token)
        self.results = {}

    def close(self):
        self.source.terminate()
        self.source.wait()
        shutil.rmtree(self.run, ignore_errors=True)

    def note(self, row, server, value):
        self.results.setdefault(row, {}).setdefault(server, []).append(value)

    # --- rows that every server gets, as far as it can

    def rate(self, row, server, path, protocol="h2", connections=32, streams=10):
        url = server.url(path, protocol)
        speed = h2load(url, self.token, 6000, connections, streams)
        requests = max(6000, int(speed * self.arguments.seconds))
        before = cpu_seconds(server.pid)
        speed = h2load(url, self.token, requests, connections, streams)
        self.note(f"{row}, requests/s", server.name, speed)
        self.note(f"{row}, CPU us/request", server.name, (cpu_seconds(server.pid) - before) / requests * 1e6)

    def bulk(self, row, server, path, protocol, streams, frame="16K"):
        url = server.url(path, protocol)
        h2load(url, self.token, streams, 1, streams, frame)
        count = 16 * max(1, streams // 4)
        before = cpu_seconds(server.pid)
        h2load(url, self.token, count, 1, streams, frame)
        self.note_bulk(row, f"{row}, {streams} stream{'s' if streams > 1 else ''}, CPU-s/GiB", server,
            (cpu_seconds(server.pid) - before) / (count * SIZES["64m.bin"] / GIB))

    def note_bulk(self, kind, row, server, value):
        """celld's with what the bare loop takes right after it: neighbours in time, in every round."""
        self.note(row, server.name, value)
        if server.name == "celld":
            self.note(row, "bare loop", self.bare(BARE_MODES[kind]))

    def cellbench(self, server, path, protocol, ahead=False, **tenant):
        scenario = {"url": re.match(r"https?://[^/]+", server.url(path, protocol))[0], "http": "1.1" if protocol.startswith("h1") else "2",
            "ca_file": str(self.run / "tls/cert.pem"), "warmup_ms": 500, "duration_ms": int(max(self.arguments.seconds, 2) * 1000), "sleeps": ahead,
            "tenants": [{"name": "load", "path": server.paths[path], "authorization_file": str(self.run / "authorization"), **tenant}]}
        return self.scenario(server.pid, scenario, ahead)

    def scenario(self, pid, scenario, ahead):
        file = self.run / "scenario.json"
        file.write_text(json.dumps(scenario))
        output = subprocess.run([CELLBENCH, "--pid", str(pid), "--json", "-", file], preexec_fn=pinned(LOAD_CORE, ahead), capture_output=True, text=True,
            timeout=120)
        if output.returncode:
            raise RuntimeError(f"{scenario['url']}: {output.stderr}{output.stdout[-600:]}")
        return json.loads(output.stdout)

    def bulk_h1(self, row, server, path, protocol):
        self.note_bulk(row, f"{row}, CPU-s/GiB", server, self.cellbench(server, path, protocol)["server"]["cpu_seconds_per_gib"])

    def steady(self, row, server, path):
        """An open loop of 3,000 requests a second: latency counts from when a request was due. The load generator sleeps
        meanwhile: the source is on its core. A core that the hypervisor gives to others for tens of milliseconds is a p99
        of tens of milliseconds, whoever serves: such a measurement is made again, and the one with the least of it counts."""
        tries = []
        while not tries or (len(tries) < CALM_TRIES and min(tries)[0] > CALM_PERCENT):
            stolen, began = stolen_seconds(), time.monotonic()
            result = self.cellbench(server, path, "h2", ahead=True, rate=3000, connections=30, streams=10)["groups"][0]
            tries.append(((stolen_seconds() - stolen) / (time.monotonic() - began) * 100, result["latency_ms"]["p99"]))
        self.note(f"{row}, p99 ms", server.name, min(tries)[1])
        self.note(f"{row}, % of a core stolen meanwhile", server.name, min(tries)[0])

    def handshakes(self, server, resumed):
        """CPU of a new connection: TLS 1.3 and the first frames, every ticket used once."""
        context, session, count = tls_context(), None, 300
        before, reused = cpu_seconds(server.pid), 0
        for index in range(count + 1):
            plain = socket.create_connection(("127.0.0.1", server.port))
            with context.wrap_socket(plain, server_hostname="localhost", session=session if resumed else None) as secure:
                secure.sendall(HELLO)
                secure.recv(100)
                reused += secure.session_reused
                session = secure.session
            if index == 0:
                before, reused = cpu_seconds(server.pid), 0
        if resumed and reused < count * 0.9:
            return  # it does not resume
        self.note(f"new TLS connection, {'resumed' if resumed else 'full'}, CPU us", server.name, (cpu_seconds(server.pid) - before) / count * 1e6)

    def idle(self, server, count=2000):
        """Memory per idle TLS h2 connection: of ones that only said hello, then of the same after one request each; at rest for some seconds."""
        context = tls_context()
        path = "tiny" if "tiny" in server.can else "json"
        h2load(server.url(path), self.token, 200, 2, 10)
        time.sleep(0.3)
        before, sockets = rss_kib(server.pid), []
        for _ in range(count):
            secure = context.wrap_socket(socket.create_connection(("127.0.0.1", server.port)), server_hostname="localhost")
            secure.sendall(HELLO)
            secure.recv(100)
            sockets.append(secure)
        time.sleep(IDLE_S)
        self.note("idle TLS h2 connection, KiB", server.name, (rss_kib(server.pid) - before) / count)
        for one in sockets:
            one.sendall(h2_request(server.paths[path], self.token))
            one.settimeout(10)
            if not is_answered(one):
                return  # it closes idle connections, or says no
        time.sleep(IDLE_S)
        self.note("idle TLS h2 connection after a request, KiB", server.name, (rss_kib(server.pid) - before) / count)
        for one in sockets:
            one.close()

    def rows(self):
        """(name to ask for, what the server must be able to, what to do)"""
        yield "small", {"tiny"}, lambda server: self.rate("small file h2+TLS", server, "tiny")
        yield "proxied", {"json"}, lambda server: self.rate("1 KiB proxied h2+TLS", server, "json")
        for streams in (1, 10):
            yield "file", {"file"}, lambda server, n=streams: self.bulk("64 MiB file h2+TLS", server, "file", "h2", n)
            yield "body", {"proxied"}, lambda server, n=streams: self.bulk("64 MiB proxied h2+TLS", server, "proxied", "h2", n)
            yield "h2c", {"file", "h2c"}, lambda server, n=streams: self.bulk("64 MiB file h2c", server, "file", "h2c", n)
            yield "h2c", {"proxied", "h2c"}, lambda server, n=streams: self.bulk("64 MiB proxied h2c", server, "proxied", "h2c", n)
            for frame in ("64K", "1M"):  # what the client takes in one frame
                yield "frames", {"proxied", "h2c"}, lambda server, n=streams, f=frame: self.bulk(f"64 MiB proxied h2c, frames to {f}", server, "proxied",
                    "h2c", n, f)
        yield "h1", {"file", "h1"}, lambda server: self.bulk_h1("64 MiB file HTTP/1.1", server, "file", "h1")
        yield "h1", {"file", "h1tls"}, lambda server: self.bulk_h1("64 MiB file HTTP/1.1+TLS", server, "file", "h1tls")
        yield "steady", {"json"}, lambda server: self.steady("1 KiB proxied h2+TLS at 3,000/s", server, "json")
        yield "handshakes", set(), lambda server: self.handshakes(server, False)
        yield "handshakes", set(), lambda server: self.handshakes(server, True)
        yield "idle", set(), self.idle

    def one_server(self, kind):
        server = kind(self.run, self.source_port)
        try:
            for name, needs, measure in self.rows():
                if self.wants(name) and needs <= server.can:
                    self.attempt(server, name, measure)
        finally:
            server.stop()

    def attempt(self, server, name, measure):
        """A peer that can't finish a row lacks that row; what celld can't is the run's failure."""
        try:
            measure(server)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            if server.name == "celld":
                raise
            print(f"{server.name}, {name}: {str(error)[:200]}", file=sys.stderr)

    # --- celld alone

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

    def bare(self, mode):
        """The same bytes through nothing but system calls and OpenSSL: what no server can beat by much."""
        output = subprocess.run([BARE_LOOP, mode, self.run / "tls/cert.pem", self.run / "tls/key.pem", self.run / "www/64m.bin"], capture_output=True,
            text=True, timeout=60)
        if output.returncode:
            raise RuntimeError(f"bare loop: {output.stderr}")
        return float(output.stdout)

    def measure(self):
        kinds = [kind for kind in PEERS if not self.arguments.peers or kind.name in self.arguments.peers.split(",")] + [Celld]
        for round in range(self.arguments.rounds):
            for kind in kinds if round % 2 == 0 else kinds[::-1]:
                self.one_server(kind)
        counts = (10000, 100000) if self.arguments.many else (10000,)
        if self.wants("tenants") or self.wants("change"):
            cell_rows.tenants(self, counts, self.wants("tenants"), self.wants("change"))
        if self.wants("fairness"):
            for _ in range(self.arguments.rounds):
                cell_rows.fairness(self)
        if self.wants("start"):
            self.first_byte()

    def wants(self, row):
        return not self.arguments.rows or row in self.arguments.rows.split(",")

    # --- the table

    def best(self, row, by_server):
        others = {name: statistics.median(values) for name, values in by_server.items() if name not in BESIDES}
        return (max if "requests/s" in row else min)(others.items(), key=lambda item: item[1]) if others else None

    def ratios(self):
        """{row: {"best peer": name, "of best peer": [of each round], "of bare loop": [of each round]}}, as far as they are there."""
        found = {}
        for row, by_server in self.results.items():
            best = self.best(row, by_server)
            for key, other in (("of best peer", best and best[0]), ("of bare loop", "bare loop")):
                if "celld" in by_server and other in by_server:
                    found.setdefault(row, {})[key] = [own / its for own, its in zip(by_server["celld"], by_server[other])]
            if "of best peer" in found.get(row, ()):
                found[row]["best peer"] = best[0]
        return found

    def report(self):
        def summed(ratios, name=""):
            return f"{statistics.median(ratios):17.3f} {name:10}{f'{min(ratios):.2f}..{max(ratios):.2f}':>14}"
        names = [kind.name for kind in (Celld, *PEERS)] + list(BESIDES[1:])
        names = [name for name in names if any(name in by_server for by_server in self.results.values())]
        print(f"\n{'':58}" + "".join(f"{name:>11.11}" for name in names) + f"{'celld / best peer':>28}{'spread':>14}{'celld / bare loop':>28}{'spread':>14}")
        ratios = self.ratios()
        for row, by_server in self.results.items():
            line = f"{row:58}" + "".join(f"{statistics.median(by_server[name]):11.2f}" if name in by_server else f"{'-':>11}" for name in names)
            of = ratios.get(row, {})
            line += summed(of["of best peer"], of["best peer"]) if "best peer" in of else f"{'-':>28}{'':14}"
            line += summed(of["of bare loop"]) if "of bare loop" in of else ""
            print(line.rstrip())


def take_own_network():
    """Again, in a network namespace with a congestion control that does not pace; where that is not allowed, as it is."""
    enter = 'ip link set lo up && echo reno >/proc/sys/net/ipv4/tcp_congestion_control && exec "$@"'
    if os.environ.get("CELLD_BENCH_NETWORK") or subprocess.run(["unshare", "-n", "sh", "-c", enter, "sh", "true"], capture_output=True).returncode:
        return
    os.environ["CELLD_BENCH_NETWORK"] = "own"
    os.execvp("unshare", ["unshare", "-n", "sh", "-c", enter, "sh", sys.executable, *sys.argv])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help=",".join(kind.name for kind in PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rows", help="small,proxied,file,body,h2c,frames,h1,steady,handshakes,idle,tenants,change,fairness,start")
    parser.add_argument("--many", action="store_true", help="also 100,000 participants")
    parser.add_argument("--json", type=pathlib.Path, default=bench.ROOT / "build/bench/peers.json")
    arguments = parser.parse_args()
    take_own_network()
    run = Bench(arguments)
    try:
        run.measure()
        run.report()
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(dict(run.results, ratios=run.ratios()), indent="\t"))
        print(f"\nraw figures: {arguments.json}")
    finally:
        run.close()


if __name__ == "__main__":
    main()
