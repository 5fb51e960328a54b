#!/usr/bin/python3
"""bench/instructions.py PROGRAMS BUILD [--update]: counts, with callgrind, the instructions that celld itself spends
on one proxied request, with a token of either form, and on one 16 KiB DATA frame of a proxied body over HTTP/2 and TLS, and compares with bench/instructions.json (tolerance 5 %).

Wall time on a shared machine hides a slow-down of a tenth; instructions do not. The C library, OpenSSL and the kernel are left out: what they
spend depends on the processor. (Files are no row: valgrind does not know openat2.) BUILD (debug, release) picks the figures to compare with; --update writes them after a change that is meant."""
import json
import pathlib
import re
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
import bench_cell as bench

KEPT = pathlib.Path(__file__).resolve().parent / "instructions.json"
TOLERANCE = 0.05
COUNTED = re.compile(r"/celld$")
SAMPLES = 3
FRAME = 16384 - 9
LARGE = 4 << 20
# name, path, form of the token, requests, units of one request
ROWS = (
    ("1 KiB proxied, one request", "/json", "jwt", 200, 1),
    ("1 KiB proxied, opaque token", "/json", "opaque", 200, 1),
    ("16 KiB frame, proxied", "/up/large.bin", "opaque", 2, LARGE / FRAME),
)


class Source(socketserver.ThreadingTCPServer):
    """Answers every GET: 1 KiB, or the large body below /up/."""
    allow_reuse_address = daemon_threads = True

    class RequestHandlerClass(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self):
            while line := self.rfile.readline():
                while self.rfile.readline() not in (b"\r\n", b""):
                    pass
                body = bytes(LARGE if b"/up/" in line else 1024)
                self.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.RequestHandlerClass)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def own_instructions(path):
    """Of a callgrind dump: self cost of what is counted. Cost lines after `calls=` are the callee's."""
    total, counts, is_callee = 0, False, False
    for line in open(path):
        if line.startswith("ob="):
            counts = bool(COUNTED.search(line.strip()))
        elif line.startswith("calls="):
            is_callee = True
        elif line[:1].isdigit() or line[:1] in "+-*":
            if counts and not is_callee:
                total += int(line.split()[1])
            is_callee = False
    return total


class Counted:
    def __init__(self, folder):
        self.folder = folder
        self.dumps = 0
        bench.make_tls(folder / "tls")
        self.source = Source()
        certificate, key = folder / "tls/cert.pem", folder / "tls/key.pem"
        cell = bench.Cell(folder / "celld")
        self.tokens = {"opaque": cell.provision(certificate, key, folder / "www", self.source.server_address[1], ()),
            "jwt": cell.make_jwt(certificate, key)}
        self.out = folder / "callgrind.out"
        self.cell = bench.Cell(folder / "celld", prefix=["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.out}",
            "--compress-strings=no", "--compress-pos=no", "--fair-sched=yes", "--quiet"])
        settings = bench.settings(folder / "celld", certificate, key, [bench.free_port()], admin=bench.free_port())
        settings["dp"]["flush_ms"] = 60000  # books and receipts cost by the clock, and a busy machine takes longer for a frame
        self.cell.start(settings)

    def dump(self):
        """What was spent since the last one."""
        subprocess.run(["vgdb", f"--pid={self.cell.process.pid}", "dump"], check=True, capture_output=True, timeout=60)
        self.dumps += 1
        return own_instructions(f"{self.out}.{self.dumps}")

    def pull(self, path, form, count):
        url = f"https://127.0.0.1:{self.cell.port}{bench.public(path)}"
        output = subprocess.run(["h2load", "-c1", "-m1", "-t1", f"-n{count}", "-w24", "-W24", "-H", f"authorization: Bearer {self.tokens[form]}",
            "--tls13-ciphers=TLS_AES_128_GCM_SHA256", url], capture_output=True, text=True, timeout=120).stdout
        if f"{count} succeeded" not in output or f"{count} 2xx" not in output:
            raise SystemExit(f"{path}: {output[-600:]}")

    def row(self, path, form, requests, units):
        """The difference of many and few requests: the connection's own cost falls out. The least of some samples: a busy machine makes
        more and smaller turns, never fewer."""
        self.pull(path, form, requests)
        self.dump()
        samples = []
        for _ in range(SAMPLES):
            self.pull(path, form, requests)
            few = self.dump()
            self.pull(path, form, 3 * requests)
            samples.append((self.dump() - few) / (2 * requests * units))
        return min(samples)

    def stop(self):
        self.cell.stop()
        self.source.shutdown()


def measure():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="celld-instructions-"))
    folder.chmod(0o755)
    counted = Counted(folder)
    try:
        return {name: round(counted.row(*row)) for name, *row in ROWS}
    finally:
        counted.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main(programs, build, update):
    missing = [name for name in ("valgrind", "vgdb", "h2load") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)}; apt-get install valgrind nghttp2-client")
    bench.PROGRAMS = pathlib.Path(programs)
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    if build not in kept and not update:
        print(f"no figures are kept for a {build} build")
        return 0
    found, wrong = measure(), 0
    for name, count in found.items():
        expected = kept.get(build, {}).get(name)
        off = count / expected - 1 if expected else 0
        wrong += abs(off) > TOLERANCE
        print(f"{name:32}{count:10,}  kept {expected or 0:10,}  {off:+.1%}{'  <-- out of tolerance' if abs(off) > TOLERANCE else ''}")
    if update:
        kept[build] = found
        KEPT.write_text(json.dumps(kept, indent="\t") + "\n")
        return 0
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], "--update" in sys.argv[3:]))
