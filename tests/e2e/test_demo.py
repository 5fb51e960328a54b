"""The demo's environment does what it says: config/demo/start, then what a newcomer types."""
import json
import os
import pathlib
import subprocess

import pytest

from conftest import PROGRAMS, free_port

DEMO = pathlib.Path(__file__).parents[2] / "config/demo"
NAMES = ["CTX", "TOKEN", "PULL_URL", "PULL_FILE", "HTTP_URL", "FLOW", "SIGNALING_URL", "SIGNALING_TOKEN"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    state = tmp_path_factory.mktemp("demo")
    try:
        result = subprocess.run([DEMO / "start", PROGRAMS, "--port", str(free_port()), "--admin-port", str(free_port()), "--state", state],
            capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
        environment = dict(line.split("=", 1) for line in (state / "demo.env").read_text().splitlines())
        environment["output"] = result.stdout
        yield environment
    finally:
        subprocess.run([DEMO / "stop", "--state", state, "--quiet"], timeout=60)


def curl(demo, *arguments, token=None, check=True):
    result = subprocess.run(["curl", "-sS", "--cacert", demo["CELL_CA"], "-H", "@-", "-w", "\n%{http_code}", *arguments],
        capture_output=True, text=True, input=f"authorization: Bearer {token}\n", timeout=60)
    assert not check or result.returncode == 0, result.stderr
    body, _, status = result.stdout.rpartition("\n")
    return int(status), body


def pull(demo, tenant, token=None):
    return curl(demo, "-r", "0-99", "-o", os.devnull, demo[f"PULL_URL_{tenant}"], token=token or demo[f"TOKEN_{tenant}"])[0]


def signal_flow(demo, tenant, verb, message, token=None):
    return curl(demo, "-X", "POST", "-d", json.dumps({"messageId": message}),
        f"{demo[f'SIGNALING_URL_{tenant}']}/{demo[f'FLOW_{tenant}']}/{verb}", token=token or demo[f"SIGNALING_TOKEN_{tenant}"])


def test_every_variable_is_there_and_pulls_work(demo):
    for tenant in "AB":
        assert all(demo[f"{name}_{tenant}"] for name in NAMES)
        assert pull(demo, tenant) == 206
        assert demo[f"SIGNALING_URL_{tenant}"] == f"{demo['CELL_URL']}/api/v1/{demo[f'CTX_{tenant}']}/dataflows"
    assert os.stat(pathlib.Path(demo["CELL_CA"]).parents[1] / "demo.env").st_mode & 0o077 == 0
    for word in ("SIGNALING_URL_A", "suspend", "resume", "want-repr-digest", "cellctl"):
        assert word in demo["output"]


def test_suspend_stops_what_is_under_way_and_resume_lets_it_go_on(demo):
    with subprocess.Popen(["curl", "-sS", "--cacert", demo["CELL_CA"], "-H", "@-", "--limit-rate", "1M", "-o", "/dev/stdout", demo["PULL_URL_A"]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as download:
        download.stdin.write(f"authorization: Bearer {demo['TOKEN_A']}\n".encode())
        download.stdin.close()
        got = len(download.stdout.read(100_000))
        status, body = signal_flow(demo, "A", "suspend", "1")
        assert status == 200, body
        while data := download.stdout.read1():
            got += len(data)
        assert download.wait() != 0 and got < os.stat(demo["PULL_FILE_A"]).st_size
    assert pull(demo, "A") == 403 and pull(demo, "B") == 206
    status, body = curl(demo, f"{demo['SIGNALING_URL_A']}/{demo['FLOW_A']}/status", token=demo["SIGNALING_TOKEN_A"])
    assert (status, json.loads(body)["state"]) == (200, "SUSPENDED")
    status, body = signal_flow(demo, "A", "resume", "2")
    address = json.loads(body)["dataAddress"]
    assert (status, json.loads(body)["state"]) == (200, "STARTED")
    assert address["endpoint"] == f"{demo['CELL_URL']}/api/public/{demo['CTX_A']}" and address["endpointType"]
    offered = {item["name"]: item["value"] for item in address["endpointProperties"]}
    # the old token is good again, and the address brings a new one
    assert pull(demo, "A") == 206
    assert offered["authorization"] != demo["TOKEN_A"] and pull(demo, "A", offered["authorization"]) == 206
    assert signal_flow(demo, "A", "resume", "2")[0] == 200, "a message that comes again"


def test_b_consumes_what_a_provides(demo, tmp_path):
    state = pathlib.Path(demo["CELL_CA"]).parents[1]
    result = subprocess.run([PROGRAMS / "cellctl", "pull", demo["CTX_B"], "from-a", "files/measurements.bin", "--output", tmp_path / "got"],
        env=dict(os.environ, CELLCTL_URL=demo["CELL_URL"], CELLCTL_CA=demo["CELL_CA"], CELLCTL_STATE=str(state / "cell")),
        capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "got").read_bytes() == pathlib.Path(demo["PULL_FILE_A"]).read_bytes()


def test_a_tenant_cannot_signal_the_others_flows(demo):
    for _ in range(20):
        assert signal_flow(demo, "A", "suspend", "9", token=demo["SIGNALING_TOKEN_B"])[0] == 403
    assert signal_flow(demo, "A", "suspend", "9", token=demo["TOKEN_A"])[0] in (401, 403)
    assert curl(demo, "-r", "0-9", "-o", os.devnull, demo["PULL_URL_A"], token=demo["TOKEN_B"])[0] in (401, 403)
    assert pull(demo, "A") == 206
