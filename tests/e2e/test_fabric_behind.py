"""A database that is older than its cells (F24): what is under way waits too, until an operator says that the copy holds."""
import json
import re
import shutil
import threading

import pytest

from agents import BUCKET, COMPLETE, DEPLOY, DISPOSE, STREAM, Agent
from conftest import wait_for
from fleet import Fleet


@pytest.fixture
def fleet(tmp_path):
    one = Fleet(tmp_path)
    one.cfmd.config["orchestration"] = {"sweep_ms": "500 ms"}
    one.start()
    yield one
    one.stop()


def join(fleet, name):
    """Up, if not well: on a machine with much to do its own figures are bad."""
    cell = fleet.cell(name).start()
    wait_for(lambda: fleet.status(name) in ("HEALTHY", "DEGRADED"), 60, f"{name} to be up")
    return cell


def is_behind(fleet):
    return any(one["brake"] == "behind" for one in fleet.ok("GET", "/fleet")["brakeDetails"])


def go_back(fleet, cell):
    """The database as it was before two more leaders, of whom the cell has heard."""
    managers = fleet.cfmd
    managers.stop()
    kept = managers.folder / "kept"
    shutil.copytree(managers.state, kept)
    for _ in range(2):
        managers.start()
        wait_for(lambda: fleet.ok("GET", "/fleet")["leads"], 10, "a leader")
        term = fleet.ok("GET", "/fleet")["term"]
        wait_for(lambda: fleet.health("c1").get("lastHeartbeatAgeMs", 9999) < 300 and "not answered" not in fleet.line(cell), 20, f"a lease of term {term}")
        managers.stop()
    shutil.rmtree(managers.state)
    shutil.move(kept, managers.state)
    managers.start()
    wait_for(lambda: is_behind(fleet), 20, "the brake")


def test_what_is_under_way_waits(fleet):
    managers, cell = fleet.cfmd, join(fleet, "c1")
    for type in ("slow-activity", "siglet-activity"):
        managers.ok("POST", "/activity-definitions", {"type": type})
    managers.ok("POST", "/orchestration-definitions", {"activities": {
        DEPLOY: [{"id": "slow", "type": "slow-activity", "dependsOn": []}, {"id": "edge", "type": "siglet-activity", "dependsOn": ["slow"]}],
        DISPOSE: [{"id": "undo", "type": "siglet-activity", "dependsOn": []}]}})
    may_go = threading.Event()

    def provide(context):
        assert may_go.wait(120)
        context.values["participantContextId"] = "d" * 32
        return COMPLETE
    agent = Agent(fleet.broker, "slow-activity", provide)
    dataspace, tenant = managers.dataspace(*(one["id"] for one in managers.ok("GET", "/cells"))), managers.tenant()
    types = {"transferTypeMappings": {"Test-PULL": {"transferType": "Test-PULL", "endpointType": "HttpData", "tokenSource": "provider"}}}
    profile = managers.ok("POST", f"/tenants/{tenant}/participant-profiles", {"identifier": "did:web:a.example", "dataspaceProfileIds": [dataspace],
        "participantRoles": {}, "vpaProperties": {"cfm.dataplane": types}})["id"]
    wait_for(lambda: agent.runs, 20, "the first step")
    go_back(fleet, cell)
    wait_for(lambda: "nothing new is done until its operator says that it holds (cellctl fabric adopt)" in fleet.line(cell), 20, "what the cell says")
    assert [line["held"] for line in cell.log_lines() if line["event"] == "cell.held"] == [True]
    assert "none goes on while the database is behind its cells" in managers.page()

    # the first step ends, and its agent, which is not ours, sends the next one's message
    nats = fleet.broker.client()
    [id] = {run[0] for run in agent.runs}

    def value():
        return json.loads(nats.kv_get(BUCKET, id)[0])

    def waiting(subject):
        return nats.api(f"STREAM.INFO.{STREAM}", {"subjects_filter": subject})["state"].get("subjects", {}).get(subject, 0)
    may_go.set()
    wait_for(lambda: "slow" in value()["completed"], 20, "the first step's end")
    wait_for(lambda: waiting("event.siglet-activity--c1") == 1, 10, "the second step's message")
    consumer = "CONSUMER.INFO.cfm-stream.siglet-activity--c1"
    wait_for(lambda: nats.api(consumer)["delivered"]["consumer_seq"] >= 3, 20, "the cell to give it back more than once")
    assert list(value()["completed"]) == ["slow"] and waiting("event.siglet-activity--c1") == 1
    assert managers.states(tenant, profile) == {"pending"}

    fleet.ctl("fabric", "adopt")
    wait_for(lambda: managers.states(tenant, profile) == {"active"}, 40, "active VPAs")
    assert sorted(value()["completed"]) == ["edge--c1", "slow"]
    wait_for(lambda: re.match(r"c1: joined, epoch \d+, ready; connected to \S+, round trip \S+ ms$", fleet.line(cell)), 20, "a line as usual")
    assert [line["held"] for line in cell.log_lines() if line["event"] == "cell.held"] == [True, False]
    assert fleet.ok("GET", "/parked") == []
    agent.stop()
    nats.close()


def test_cells_of_another_database_want_the_operators_word_once(tmp_path):
    """A new, empty database: a cell that knew another one says so, and so do the panel, the page and its own line; one word, and all is as usual."""
    fleet = Fleet(tmp_path).start()
    try:
        cell = join(fleet, "c1")
        for command in ("cordon", "uncordon"):
            fleet.ctl("cell", command, "c1")
        wait_for(lambda: "0 commands wait" in fleet.cfmd.page(), 20, "their answers")
        for _ in range(2):
            fleet.cfmd.stop()
            fleet.cfmd.start()
            wait_for(lambda: fleet.ok("GET", "/fleet")["leads"], 10, "a leader")
        wait_for(lambda: fleet.health("c1").get("lastHeartbeatAgeMs", 9999) < 300 and "not answered" not in fleet.line(cell), 20, "a lease of that term")
        fleet.cfmd.stop()
        (fleet.cfmd.state / "fabric.db").unlink()
        for rest in fleet.cfmd.state.glob("fabric.db-*"):
            rest.unlink()
        fleet.cfmd.start()
        wait_for(lambda: "the manager does not know this cell (any more)" in fleet.line(cell), 20, "what the cell says")
        fleet.cfmd.tokens.clear()
        token = cell.folder / "join.token"
        token.chmod(0o600)
        token.write_text(fleet.token("c1"))
        cell.kill()
        cell.start()  # it joins: it is let in, for nobody can know yet
        wait_for(lambda: is_behind(fleet), 20, "the brake")
        says = "the manager's database is older than its cells, or another one: nothing new is done until its operator says that it holds (cellctl fabric adopt)"
        wait_for(lambda: says in fleet.line(cell), 20, "what the cell says")
        why = "the database is older than what the cells know, or another one (cellctl fabric adopt)"
        assert f"! no fail-over: {why}: c1 knows command " in fleet.cfmd.page() and why in fleet.ctl("fabric", "status")
        assert f"! brake: {why}\n" in fleet.ctl("cell", "health", "c1")
        status, _, answer = fleet.cfmd.call("POST", "/tenants", {})
        assert status == 503 and "or another one; an operator must say whether it holds: cellctl fabric adopt" in answer["message"]
        fleet.ctl("fabric", "adopt")
        wait_for(lambda: not is_behind(fleet) and says not in fleet.line(cell), 20, "an end of it")
        fleet.cfmd.ok("POST", "/tenants", {})
        fleet.ctl("cell", "cordon", "c1")  # a command with a number that is new to the cell
        wait_for(lambda: "0 commands wait" in fleet.cfmd.page(), 20, "its answer")
        assert fleet.ok("GET", "/parked") == [] and not is_behind(fleet)
    finally:
        fleet.stop()
