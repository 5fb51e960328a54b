"""What a server's processes cost, and load for it."""
import os
import pathlib
import re
import subprocess

import bench_cell as bench
from peer_servers import LOAD_CORE, pinned

CELLBENCH = bench.ROOT / "build/release/bench/cellbench"


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


def stolen_seconds():
    """What the hypervisor took from this machine's cores to run others: a wait that no server here can help."""
    return int(open("/proc/stat").readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def rss_kib(pid):
    total = 0
    for member in family(pid):
        for line in open(f"/proc/{member}/smaps_rollup"):
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def h2load(url, token, requests, connections, streams, frame="16K"):
    command = ["/usr/bin/h2load", "-c", str(connections), "-m", str(streams), "-t", "1", "-n", str(requests), "-H", f"authorization: {token}",
        "--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519:P-256", "-w", "24", "-W", "24", "-f", frame, url]
    output = subprocess.run(command, preexec_fn=pinned(LOAD_CORE), capture_output=True, text=True, timeout=120).stdout
    rate = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", output)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", output)
    if not rate or not counts or int(counts[2]) or int(counts[3]) or int(counts[1]) != requests:
        raise RuntimeError(f"{url}: {output[-600:]}")
    return float(rate[1])
