"""A participant whose control plane lives in one cell and whose data planes live in two edge cells: config/demo/fabric on real programs, then what
a newcomer does with what it leaves."""
import json
import os
import pathlib
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from conftest import PROGRAMS, wait_for
from nats import Nats

DEMO = pathlib.Path(__file__).parents[2] / "config/demo/fabric"


def is_running(pid):
    try:
        return "Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    state = tmp_path_factory.mktemp("demo")
    try:
        result = subprocess.run([DEMO, PROGRAMS, "--state", state], capture_output=True, text=True, timeout=240)
        assert result.returncode == 0, result.stdout + result.stderr
        environment = dict(line.split("=", 1) for line in (state / "fabric.env").read_text().splitlines())
        yield {**environment, "output": result.stdout, "state": state}
    finally:
        subprocess.run([DEMO, "--stop", "--state", state], timeout=120, capture_output=True)


def call(demo, name, path):
    request = urllib.request.Request(demo[name] + path, headers={"Authorization": f"Bearer {demo['CFM_TOKEN']}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def test_it_says_what_happened(demo):
    for words in ("cfm.connector            in central", "cfm.dataplane            in edge-munich", "cfm.dataplane            in edge-turin", "bytes from edge-munich",
            "bytes from edge-turin", "placed and provisioned in"):
        assert words in demo["output"]
    assert os.stat(demo["state"] / "fabric.env").st_mode & 0o077 == 0


def test_the_managers_answer(demo):
    cells = call(demo, "TM_URL", "/cells")
    assert {cell["externalId"]: cell["state"] for cell in cells} == {"central": "active", "edge-munich": "active", "edge-turin": "active"}
    used = {cell["externalId"]: cell["properties"]["celld.definition"]["capacity"]["currentVPAs"] for cell in cells}
    assert used == {"central": 3, "edge-munich": 1, "edge-turin": 1}
    assert {one["type"] for one in call(demo, "PM_URL", "/activity-definitions")} == {"edcv-activity", "siglet-activity"}


def test_an_agent_can_log_in(demo):
    """With NATS_URL alone: it makes its consumer, is given its activity and answers, as the existing agents do."""
    url = urllib.parse.urlsplit(demo["NATS_URL"])
    agent = Nats(url.port, user=url.username, password=url.password)
    try:
        assert agent.api("STREAM.INFO.cfm-stream")["config"]["retention"] == "workqueue"
        assert "error" not in agent.consumer("cfm-stream", "probe-activity", "event.probe-activity")
        assert "error" not in agent.js_publish("event.probe-activity", b"{}")
        [message] = agent.pull("cfm-stream", "probe-activity", timeout=30)
        agent.ack(message)
    finally:
        agent.close()


def test_a_cell_that_dies_is_seen(demo):
    pids = json.loads((demo["state"] / "pids.json").read_text())
    os.kill(pids["edge-turin"][0], 9)
    died = time.monotonic()

    def state():
        return next(cell["state"] for cell in call(demo, "TM_URL", "/cells") if cell["externalId"] == "edge-turin")
    wait_for(lambda: state() == "offline", 40, "edge-turin to be offline")
    assert time.monotonic() - died >= 2  # a lost heartbeat is no silence
    others = {cell["externalId"]: cell["state"] for cell in call(demo, "TM_URL", "/cells") if cell["externalId"] != "edge-turin"}
    assert set(others.values()) == {"active"}


def test_stop_ends_all_of_it(demo):
    pids = [pid for pid, _ in json.loads((demo["state"] / "pids.json").read_text()).values()]
    database = pathlib.Path((demo["state"] / "postgres.folder").read_text())
    assert sum(map(is_running, pids)) == len(pids) - 1  # one was killed
    subprocess.run([DEMO, "--stop", "--state", demo["state"]], check=True, timeout=120, capture_output=True)
    assert not any(map(is_running, pids))
    assert not database.exists()
