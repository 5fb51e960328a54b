"""Cells join, are watched, and are told from impostors (control.md 2.3-2.5, F1, F2, F6, F37, F39, F40)."""
import itertools
import json
import re
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from conftest import A, wait_for
from fleet import Fleet, definition, held_up, since


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    one = Fleet(tmp_path_factory.mktemp("fleet")).start()
    yield one
    one.stop()


def test_a_cell_joins_and_the_panel_shows_it(fleet):
    cell = fleet.join("cell-panel", name="EU West Production")
    cell.participant(A)
    wait_for(lambda: fleet.health("cell-panel").get("vpas", {}).get("cfm.dataplane") == 1, 30, "the participant in a heartbeat")
    found = fleet.health("cell-panel")
    assert found["components"]["dp"]["ready"] == found["components"]["dp"]["desired"] == 1
    wait_for(lambda: all(one["status"] == "ok" for one in fleet.health("cell-panel")["infrastructure"].values()), 30, "what it needs")
    text = fleet.ctl("cell", "health", "cell-panel")
    assert re.match(r"Cell: cell-panel \(EU West Production\)\nStatus: (HEALTHY|DEGRADED) \(ready\)\n", text)
    for line in (r"  Control plane +1/1 replicas ready", r"  Data plane +1/1 replicas ready", r"  Database +ok, \d+\.\d ms", r"  Vault +ok, \d+\.\d ms",
            r"  NATS +ok, \d+\.\d ms", r"Capacity: 0/100 VPAs \(0%\)", r"Last heartbeat: [01]\.\d s ago"):
        assert re.search(f"^{line}", text, re.M), f"{line} in\n{text}"
    assert re.search(r"cell-panel +ready +(healthy|degraded) +active +1 ", fleet.ctl("cell", "list"))
    assert re.search(r"^cell-panel: joined, epoch 1, ready; connected to nats://", fleet.line(cell))
    assert fleet.api("GET", "/cells/cell-panel/health?format=xml")[0] == 400
    assert fleet.api("GET", "/cells/none/health")[0] == 404


def test_metrics_name_the_cell(fleet):
    name = "cell-metrics"
    cell = fleet.join(name)
    for _ in range(20):
        cell.call("GET", "/api/mgmt/v5beta/participants")
    body = ""

    def counted():
        nonlocal body
        body = fleet.cfmd.request("GET", "/metrics", port=fleet.cfmd.admin_port)[2].decode()
        return re.search(rf'^celld_request_rate\{{cell="{name}",component="cp"\}} [1-9]', body, re.M)
    wait_for(counted, 30, "requests in the metrics")
    assert re.search(rf'^celld_cell_health{{cell="{name}",state="(healthy|degraded)"}} 1$', body, re.M)
    for series in (rf'celld_cell_health{{cell="{name}",state="suspect"}} 0',
            rf'celld_cell_capacity{{cell="{name}",dim="vpas",kind="max"}} 100', rf'celld_cell_vpas{{cell="{name}",type="cfm.dataplane"}} 0',
            rf'celld_cell_store_up{{cell="{name}",store="db"}} 1', rf'celld_errors_ratio{{cell="{name}",component="cp"}} 0.000000', "celld_fabric_leads 1"):
        assert series + "\n" in body, series
    assert re.search(rf'^celld_request_duration_seconds\{{cell="{name}",component="cp",quantile="0.99"\}} 0\.\d*[1-9]', body, re.M)
    assert re.search(rf'^celld_resource_utilization\{{cell="{name}",resource="cpu"\}} 0\.\d+', body, re.M)


def test_the_cells_own_metrics_say_the_same(fleet):
    """VPAs, requests by component with their times and failures, utilisation."""
    cell = fleet.join("cell-own-metrics")
    cell.participant(A)
    share = cell.shared_file(A, "data", b"x")
    assert cell.pull(*share).status == 200

    def series():
        return dict(re.findall(r"^(celld_\S+) (\S+)$", cell.admin("/metrics")[1], re.M))
    wait_for(lambda: series().get('celld_vpas{type="cfm.dataplane"}') == "1", 15, "the participant")
    found = series()
    for component in ("cp", "dp"):
        assert int(found[f'celld_component_seconds_count{{component="{component}"}}']) >= 1
        assert any(name.startswith(f'celld_component_seconds_bucket{{component="{component}",le=') for name in found)
        assert found[f'celld_component_failures_total{{component="{component}"}}'] == "0"
    for resource in ("cpu", "memory"):
        assert 0 <= int(found[f'celld_resource_utilization_percent{{resource="{resource}"}}']) <= 100
    wait_for(lambda: fleet.health("cell-own-metrics")["vpas"]["cfm.dataplane"] == 1, 15, "the same in a heartbeat")


def test_the_manager_shows_the_cell_as_before(fleet):
    fleet.join("cell-shape")
    wait_for(lambda: state_of(fleet, "cell-shape") == "active", 30, "the record, which follows what is heard")
    [found] = [one for one in fleet.cfmd.ok("GET", "/cells") if one["externalId"] == "cell-shape"]
    assert sorted(found) == ["externalId", "id", "properties", "state", "stateTimestamp", "version"]
    assert found["state"] == "active" and found["properties"]["celld.definition"]["cellId"] == "cell-shape"


# --- F39: tokens

def refused(fleet, name, token, status, message):
    """The cell is not let in, and says why."""
    cell = fleet.cell(name, token=token).start()
    found = wait_for(lambda: [line for line in cell.log_lines() if line["event"] == "cell.join_refused"], 30, "the refusal")[0]
    assert (found["status"], found["why"]) == (status, message)
    assert message in fleet.line(cell)
    cell.stop()


def test_tokens_that_do_not_open(fleet):
    used = fleet.cell("cell-used").start()
    fleet.wait_heard("cell-used")
    replayed = (used.folder / "join.token").read_text()
    refused(fleet, "cell-replay", replayed, 401, "the join token is unknown, or has been used")
    refused(fleet, "cell-wrong", fleet.token("cell-other"), 401, "the join token is for another cell")
    expired = fleet.token("cell-late", lifetimeSeconds=1)
    time.sleep(1.1)
    refused(fleet, "cell-late", expired, 401, "the join token has expired")
    refused(fleet, "cell-none", "", 401, "a join token is needed")
    audit = [(one["what"], one["cell"], one.get("detail")) for one in fleet.ok("GET", "/audit")]
    assert ("join.refused", "cell-wrong", "the join token is for another cell") in audit
    for name in ("cell-replay", "cell-wrong", "cell-late", "cell-none"):
        assert fleet.api("GET", f"/cells/{name}")[0] == 404


def test_tokens_are_listed_without_themselves_and_can_be_taken_back(fleet):
    made = fleet.ok("POST", "/join-tokens", {"cellId": "cell-later"})
    assert made["approved"] is False
    listed = fleet.ok("GET", "/join-tokens")
    [found] = [one for one in listed if one["cellId"] == "cell-later"]
    assert made["token"] not in json.dumps(listed)
    fleet.ok("DELETE", f"/join-tokens/{found['id']}")
    assert fleet.api("DELETE", f"/join-tokens/{found['id']}")[0] == 404
    refused(fleet, "cell-later", made["token"], 401, "the join token is unknown, or has been used")


@pytest.mark.parametrize("body", [{}, {"cellId": "a.b"}, {"cellId": ""}, {"cellId": "x" * 65}, {"cellId": "a", "lifetimeSeconds": 86401},
    {"cellId": "a", "lifetimeSeconds": 0}, {"cellId": "a", "lifetimeSeconds": "1"}, {"cellId": "a", "approve": 1}])
def test_tokens_that_are_not_made(fleet, body):
    assert fleet.api("POST", "/join-tokens", body)[0] == 400


@pytest.mark.parametrize("change", [{"cellId": "a b"}, {"nkey": "U" * 56}, {"incarnation": "x"}, {"definition": []}, {"protocolVersions": [2]}, {"epoch": -1},
    {"signature": "AA"}, {"nonce": ""}, {"token": 1}])
def test_joins_that_cannot_be_read(fleet, change):
    body = {"cellId": "cell-x", "nkey": "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4", "incarnation": "0" * 32, "definition": {},
        "protocolVersions": [1], "nonce": "n", "signature": "A" * 86, **change}
    status, _, answer = fleet.cfmd.call("POST", "/join", body, scopes=None, base="/api/celld/v1")
    assert status == 400 and next(iter(change)) in answer["message"]


def test_a_signature_of_another_key_is_refused(fleet):
    nonce = fleet.cfmd.call("GET", "/join/nonce?cellId=cell-x", scopes=None, base="/api/celld/v1")[2]["nonce"]
    body = {"cellId": "cell-x", "nkey": "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4", "incarnation": "0" * 32, "definition": {},
        "protocolVersions": [1], "nonce": nonce, "signature": "A" * 86}
    for change, message in (({}, "the signature is not of this key"), ({"nonce": "forged"}, "the nonce is none of ours, or has expired"),
            ({"cellId": "cell-y"}, "the nonce is none of ours, or has expired")):
        status, _, answer = fleet.cfmd.call("POST", "/join", {**body, **change}, scopes=None, base="/api/celld/v1")
        assert (status, answer["message"]) == (401, message)


# --- approval and the operator's hand

def test_an_operator_approves(fleet):
    made = fleet.ok("POST", "/join-tokens", {"cellId": "cell-pending"})
    cell = fleet.cell("cell-pending", token=made["token"]).start()
    wait_for(lambda: "waits for an operator's approval" in fleet.line(cell), 30, "pending")
    shown = fleet.ok("GET", "/cells/cell-pending")
    assert (shown["mode"], shown["state"], shown["approved"], shown["epoch"] if "epoch" in shown else 0) == ("registering", "pending", False, 0)
    assert shown["definition"]["cellId"] == "cell-pending"
    assert fleet.api("POST", "/cells/cell-pending/cordon")[0] == 409
    fleet.ctl("cell", "approve", "cell-pending")
    fleet.wait_heard("cell-pending")


def test_a_rule_approves(tmp_path):
    fleet = Fleet(tmp_path, cells={"auto_approve": ["edge-*"]}).start()
    try:
        fleet.cell("edge-7", token=fleet.ok("POST", "/join-tokens", {"cellId": "edge-7"})["token"]).start()
        fleet.wait_heard("edge-7")
    finally:
        fleet.stop()


def state_of(fleet, name):
    return fleet.ok("GET", f"/cells/{name}")["state"]


def test_cordon_drain_offline_remove(fleet):
    name = "cell-modes"
    cell = fleet.join(name)
    fleet.ctl("cell", "cordon", name)
    assert state_of(fleet, name) == "locked"
    fleet.ctl("cell", "drain", name)
    wait_for(lambda: fleet.health(name)["says"] == "draining", 30, "the cell to know")
    fleet.ctl("cell", "uncordon", name)
    assert state_of(fleet, name) == "active"
    fleet.ctl("cell", "offline", name)
    assert state_of(fleet, name) == "offline"
    wait_for(lambda: fleet.line(cell).startswith(f"{name}: fenced"), 30, "the cell to be fenced")
    assert cell.admin("/healthz/ready")[0] == 503
    cell.stop()
    cell.start(wait=False)
    wait_for(lambda: "waits for an operator's approval" in fleet.line(cell), 30, "pending after offline")
    fleet.ctl("cell", "approve", name)
    fleet.wait_heard(name)
    cell.stop()
    fleet.ctl("cell", "remove", name)
    assert fleet.api("GET", f"/cells/{name}")[0] == 404
    assert "cellctl: 404" in subprocess.run([*fleet_ctl(fleet), "cell", "health", name], capture_output=True, text=True).stderr


def fleet_ctl(fleet):
    from conftest import PROGRAMS
    return [PROGRAMS / "cellctl", "--url", f"http://127.0.0.1:{fleet.cfmd.port}", "--state", str(fleet.cfmd.state)]


def test_another_key_is_refused_until_the_operator_allows_it(fleet):
    name = "cell-key"
    cell = fleet.join(name)
    cell.stop()
    (cell.state / "cell.nk").unlink()
    cell.start()
    (cell.folder / "join.token").chmod(0o600)
    wait_for(lambda: "the cell has another key; an operator may allow a new one" in fleet.line(cell) or "has been used" in fleet.line(cell), 30, "the refusal")
    (cell.folder / "join.token").write_text(fleet.token(name))
    wait_for(lambda: [line for line in cell.log_lines() if line["event"] == "cell.join_refused" and line["status"] == 409], 30, "409")
    fleet.ctl("cell", "rotate-key", name)
    wait_for(lambda: fleet.line(cell).startswith(f"{name}: joined, epoch 2"), 30, "the new key")


def test_an_operator_defines_what_a_cell_is(fleet):
    name = "cell-defined"
    cell = fleet.join(name, compliance=[{"id": "gdpr"}])
    assert "compliance" not in fleet.ok("GET", f"/cells/{name}")["definition"], "a cell does not attest itself"
    status, answer = fleet.api("PUT", f"/cells/{name}/definition", definition(name, capacity={"maxVPAs": -1}))
    assert status == 400 and "capacity.maxVPAs" in answer["message"]
    assert fleet.api("PUT", f"/cells/{name}/definition", definition("other"))[0] == 400
    fleet.ok("PUT", f"/cells/{name}/definition", definition(name, capacity={"maxVPAs": 7}, compliance=[{"id": "gdpr"}]))
    cell.stop()
    cell.start()
    wait_for(lambda: fleet.ok("GET", f"/cells/{name}")["epoch"] == 2, 30, "the second join")
    shown = fleet.ok("GET", f"/cells/{name}")
    assert shown["maxVPAs"] == 7 and shown["definition"]["compliance"][0]["id"] == "gdpr", "the operator's stays"


def test_a_restart_is_a_new_epoch(fleet):
    name = "cell-restart"
    cell = fleet.join(name)
    before = fleet.ok("GET", f"/cells/{name}")
    cell.kill()
    cell.start()
    wait_for(lambda: fleet.ok("GET", f"/cells/{name}")["epoch"] == 2, 30, "the next epoch")
    after = fleet.ok("GET", f"/cells/{name}")
    assert after["key"] == before["key"] and after["incarnation"] != before["incarnation"]
    wait_for(lambda: fleet.health(name).get("lastHeartbeatAgeMs", 9999) < 500, 30, "its heartbeats")


# --- F37

def test_a_clone_fences_the_one_before(fleet):
    name = "cell-clone"
    first = fleet.join(name)
    first.participant("c" * 32)
    share = first.shared_file("c" * 32, "data", b"x" * 100)
    assert first.pull(*share).status == 200
    clone = fleet.cell(name, folder="clone-of-it", token=False)
    clone.state.mkdir()
    (clone.state / "cell.nk").write_bytes((first.state / "cell.nk").read_bytes())
    (clone.state / "cell.nk").chmod(0o400)
    clone.start()
    wait_for(lambda: fleet.line(first) == f"{name}: fenced: another process of this cell has joined", 30, "the first to fence itself")
    wait_for(lambda: fleet.line(clone).startswith(f"{name}: joined, epoch 2"), 30, "the clone")
    assert first.admin("/healthz/ready") == (503, '{"status":"fenced: another process of this cell has joined"}')
    assert first.call("GET", "/api/mgmt/v5beta/participants")[0] == 503 and first.pull(*share).status == 503, "it serves nobody any more"
    status, said = first.call("GET", "/api/cell/v1/status")
    assert status == 200 and said["fabric"] == f"{name}: fenced: another process of this cell has joined", "and says so to its operator"
    assert [line for line in fleet.cfmd.log_lines() if line["event"] == "cell.heartbeat_refused" and line["why"] == "stale"], "and the fabric says so"
    first.stop()
    assert fleet.is_heard(name)


# --- F1, F2

def moves_of(manager, name):
    return [line for line in manager.log_lines() if line["event"] == "cell.health" and line["cell"] == name]


def test_a_killed_cell_is_suspect_then_unreachable(fleet):
    name = "cell-killed"
    cell = fleet.join(name)
    cell.kill()
    killed, waited = time.monotonic(), held_up(fleet.cfmd.process)
    fleet.wait_status(name, "UNREACHABLE", 60)
    # the tests' interval is a fifth of the usual one; a probe's time on top
    assert since(killed) < 12 * 0.4 / 2 + 3 + held_up(fleet.cfmd.process) - waited
    wait_for(lambda: [line["to"] for line in moves_of(fleet.cfmd, name)][-2:] == ["suspect", "unreachable"], 30, "both in the log")
    assert state_of(fleet, name) == "offline"
    assert fleet.health(name)["capacity"]["max"] == 100
    cell.start()
    fleet.wait_heard(name, 40)
    wait_for(lambda: state_of(fleet, name) == "active", 30, "its record")


def test_a_stopped_cell_comes_back(fleet):
    name = "cell-stopped"
    cell = fleet.join(name)
    cell.process.send_signal(signal.SIGSTOP)
    fleet.wait_status(name, "UNREACHABLE", 60)
    cell.process.send_signal(signal.SIGCONT)
    fleet.wait_heard(name, 40)
    assert fleet.ok("GET", f"/cells/{name}")["epoch"] == 1, "it was not followed by another"


def test_an_edge_cell_only_alarms(fleet):
    name = "cell-edge"
    cell = fleet.cell(name, connectivity="intermittent").start()
    wait_for(lambda: fleet.line(cell).startswith(f"{name}: joined"), 30, "joined")
    shown = fleet.ok("GET", f"/cells/{name}")
    assert shown["mode"] == "ready"


# --- F51

def test_a_flood_of_heartbeats_hurts_nobody_else(fleet):
    calm, loud = fleet.join("cell-calm"), "cell-loud"
    fleet.join(loud)
    shown = fleet.ok("GET", f"/cells/{loud}")
    beat = json.dumps({"v": 1, "c": loud, "inc": shown["incarnation"], "ep": shown["epoch"], "n": 1, "st": "ok"}).encode()
    giant = b'{"v":1,"x":"' + b"x" * 60000 + b'"}'
    client = fleet.broker.client()
    begun, waited = time.monotonic(), held_up(fleet.cfmd.process)
    while since(begun) < 4:
        for _ in range(500):
            client.publish(f"celld.hb.{loud}", beat)
        client.publish(f"celld.hb.{loud}", giant)
        client.publish(f"celld.hb.{loud}", b"[" * 3000)
        assert fleet.health("cell-calm")["lastHeartbeatAgeMs"] < 2000 + 1000 * (held_up(fleet.cfmd.process) - waited)
    assert fleet.is_heard("cell-calm")
    body = fleet.cfmd.request("GET", "/metrics", port=fleet.cfmd.admin_port)[2].decode()
    limited = int(re.search(r'^celld_heartbeats_total\{verdict="limited"\} (\d+)', body, re.M)[1])
    assert limited > 1000, "what is too much is dropped before it is read"
    fleet.wait_heard(loud, 40)
    assert calm.is_ready()
    client.close()


# --- brakes

def test_an_operator_freezes_fail_over(fleet):
    """control.md 2.5 f: shown to all, with his words, until he takes it off."""
    def page():
        return fleet.cfmd.request("GET", "/", port=fleet.cfmd.admin_port)[2].decode()

    def details():
        return {one["brake"]: one["why"] for one in fleet.ok("GET", "/fleet")["brakeDetails"]}
    assert fleet.api("POST", "/fabric/freeze", {})[0] == 400 and fleet.api("POST", "/fabric/freeze", {"why": "a\nb"})[0] == 400
    assert "nothing is frozen" in fleet.ctl("fabric", "unfreeze", check=False)
    fleet.ctl("fabric", "freeze", "the racks are being moved")
    assert details()["freeze"] == "the racks are being moved" and any("since" in one for one in fleet.ok("GET", "/fleet")["brakeDetails"]) and "an operator has frozen it" in fleet.ctl("fabric", "status")
    assert "! no fail-over: an operator has frozen it (cellctl fabric unfreeze): the racks are being moved" in page()
    wait_for(lambda: 'celld_fabric_brake{brake="freeze"} 1' in fleet.cfmd.request("GET", "/metrics", port=fleet.cfmd.admin_port)[2].decode(), 30, "a metric")
    wait_for(lambda: [line for line in fleet.cfmd.log_lines() if line["event"] == "fabric.brake" and line["brake"] == "freeze" and line["on"]], 30, "a line in the log")
    fleet.ctl("fabric", "unfreeze")
    assert "freeze" not in details() and "frozen" not in page()
    wait_for(lambda: [line for line in fleet.cfmd.log_lines() if line["event"] == "fabric.brake" and line["brake"] == "freeze" and not line["on"]], 30, "another line")
    audit = [(one["what"], one.get("detail"), one.get("by")) for one in fleet.ok("GET", "/audit")]
    assert ("fabric.frozen", "the racks are being moved", "cellctl") in audit and ("fabric.unfrozen", None, "cellctl") in audit


def test_the_audit_is_a_chain(fleet):
    """Sealed by who leads, and verified by the operator, also against an entry that he noted."""
    with sqlite3.connect(fleet.cfmd.state / "fabric.db", isolation_level=None) as database:  # as earlier versions left it
        database.execute("INSERT INTO record VALUES ('', 'audit', '01764146000000-abcdef12', -1, ?)", ('{"at":"2026-01-01T00:00:00Z","what":"cell.joined","cell":"old"}',))
    fleet.ctl("fabric", "freeze", "the chain is looked at")
    fleet.ctl("fabric", "unfreeze")
    wait_for(lambda: fleet.ok("GET", "/audit:verify")["waiting"] == 0, 10, "all to be sealed")
    lines = fleet.ctl("fabric", "audit", "verify").splitlines()
    found = re.fullmatch(r"all (\d+) entries are good; note the last: (\d+):([0-9a-f]{64})", lines[0])
    assert found and found[1] == found[2] and lines[1:] == ["1 older entries are from before the chain, and not covered by it"]
    fleet.ctl("fabric", "audit", "verify", f"{found[2]}:{found[3]}")
    assert "is another than the one that is known" in fleet.ctl("fabric", "audit", "verify", f"{found[2]}:{'0' * 64}", check=False)
    assert "is missing" in fleet.ctl("fabric", "audit", "verify", f"{int(found[2]) + 1}:{found[3]}", check=False)
    assert "noted: must be the sequence" in fleet.ctl("fabric", "audit", "verify", found[2], check=False)
    assert {"sequence": int(found[2]), "hash": found[3]} in [{name: line[name] for name in ("sequence", "hash")} for line in fleet.cfmd.log_lines() if line["event"] == "audit.sealed"]
    assert "the chain is looked at" in fleet.ctl("fabric", "audit")


# --- what placement hears of it

class Beating(threading.Thread):
    """Heartbeats in the name of a cell that is no more, with the figures that the test wants."""

    def __init__(self, fleet, name):
        super().__init__(daemon=True)
        shown = fleet.ok("GET", f"/cells/{name}")
        self.client, self.is_over, self.cpu, self.planes = fleet.broker.client(), threading.Event(), 0, 1
        self.subject, self.beat = f"celld.hb.{name}", {"v": 1, "c": name, "inc": shown["incarnation"], "ep": shown["epoch"], "st": "ok"}
        self.start()

    def run(self):
        for number in itertools.count(10**6):
            self.client.publish(self.subject, {**self.beat, "n": number, "comp": {"cp": [self.planes, 1], "dp": [1, 1]},
                "load": {"cpu": self.cpu, "mem": 0, "rps": 0, "mbps": 0, "conn": 0}})
            if self.is_over.wait(0.2):
                return

    def end(self):
        self.is_over.set()
        self.join(10)
        self.client.close()


def test_placement_sees_what_heartbeats_measure(fleet):
    """control.md 2.7.2, 2.7.3: the load is the balance score, what is not ready takes nothing of its type."""
    name = "cell-measured"
    fleet.join(name).kill()
    beating = Beating(fleet, name)

    def place(type):
        """(The cells chosen, the balance score, why not this one.)"""
        answer = fleet.ok("POST", "/placements", {"type": type, "require": {"cell": name}})
        top = answer["explain"].get("top")
        why = [one["why"] for one in answer["explain"]["cells"] if one["cell"] == name and "why" in one]
        return answer["chosen"], top[0]["parts"]["balance"] if top else None, why
    wait_for(lambda: place("cfm.dataplane")[1] == 1000, 60, "no load: whatever was told of the cell before, 44 is now a step away")
    beating.cpu = 44
    wait_for(lambda: place("cfm.dataplane")[1] == 600, 60, "the load in the score, in steps of 50")
    beating.planes = 0
    wait_for(lambda: place("cfm.connector")[2] == ["has no cfm.connector ready"], 30, "no control plane, no connector")
    wait_for(lambda: place("cfm.dataplane")[:2] == ([name], 600), 30, "what has no control plane still has data planes")
    beating.cpu, beating.planes = 88, 1
    wait_for(lambda: place("cfm.dataplane")[1] == 150 and place("cfm.connector")[0] == [name], 60, "another load, and all of it ready")
    beating.end()


# --- the broker

def test_a_broker_that_is_away_then_wiped(tmp_path):
    own = Fleet(tmp_path).start()
    try:
        cell = own.join("cell-1")
        own.broker.stop()
        wait_for(lambda: "no connection for" in own.line(cell), 30, "a clear line of the cell")
        assert "no connection for" in own.ok("GET", "/fleet")["broker"]
        time.sleep(3)
        assert own.is_heard("cell-1"), "a manager that hears nobody blames itself"
        assert "this process itself was late or cut off a moment ago" in own.ok("GET", "/fleet")["brakes"]
        own.broker.wipe()
        own.broker.start()
        wait_for(lambda: own.health("cell-1").get("lastHeartbeatAgeMs", 9999) < 500, 30, "heartbeats again")
        assert own.is_heard("cell-1") and own.ok("GET", "/cells/cell-1")["epoch"] == 1
    finally:
        own.stop()


def test_a_broker_that_is_down_at_start(tmp_path):
    own = Fleet(tmp_path)
    own.cfmd.start()
    try:
        assert "no connection for" in own.ok("GET", "/fleet")["broker"]
        cell = own.cell("cell-1").start()
        wait_for(lambda: own.line(cell).startswith("cell-1: joined, epoch 1; no connection for"), 30, "the cell's line")
        own.broker.start()
        own.wait_heard("cell-1")
    finally:
        own.stop()


def test_a_manager_that_is_away_is_a_normal_state(tmp_path):
    own = Fleet(tmp_path).start()
    try:
        token = own.token("cell-1")
        cell = own.cell("cell-1", token=token)
        own.cfmd.stop()
        cell.start()
        assert cell.participant(A) == A, "it serves without the fabric"
        wait_for(lambda: re.match(r"cell-1: asking to join; .*(refused|connect)", own.line(cell)), 30, "why it has not joined")
        own.cfmd.start()
        own.wait_heard("cell-1")
    finally:
        own.stop()


# --- F6

def test_another_manager_takes_over(tmp_path):
    own = Fleet(tmp_path).start()
    try:
        cell = own.join("cell-1")
        second = own.manager("cfmd2", own.cfmd.config["cells"], store={"file": str(own.cfmd.state / "fabric.db")},
            access={"key_file": str(own.cfmd.state / "cfm.key")})
        own.managers.append(second)
        second.state.mkdir(parents=True)
        second.start()
        first = own.managers.pop(0)
        first.kill()
        killed, waited = time.monotonic(), held_up(second.process)
        (second.state / "cfm.key").write_bytes((first.state / "cfm.key").read_bytes())
        (second.state / "cfm.key").chmod(0o400)
        wait_for(lambda: own.ok("GET", "/fleet")["leads"], 60, "the second to lead")
        assert since(killed) < 6.5 + held_up(second.process) - waited
        assert own.ok("GET", "/fleet")["term"] == 2
        wait_for(lambda: own.health("cell-1").get("lastHeartbeatAgeMs", 9999) < 500, 30, "heartbeats")
        assert not {line["to"] for line in moves_of(second, "cell-1")} - {"degraded"}, "it was heard all the time"
        assert cell.is_ready()
    finally:
        own.stop()


def test_a_manager_that_ends_hands_over(tmp_path):
    own = Fleet(tmp_path).start()
    try:
        own.cfmd.stop()
        own.cfmd.start()
        ready, waited = time.monotonic(), held_up(own.cfmd.process)
        wait_for(lambda: own.ok("GET", "/fleet")["leads"], 60, "to lead")
        assert since(ready) < 3 + held_up(own.cfmd.process) - waited, "without waiting"
    finally:
        own.stop()


def test_a_cell_that_was_removed_says_so(fleet):
    name = "cell-removed"
    cell = fleet.join(name)
    fleet.ctl("cell", "remove", name)
    wait_for(lambda: "the manager does not know this cell (any more)" in fleet.line(cell), 30, "its line")
    assert cell.is_ready(), "it serves what it has"
    assert len([line for line in cell.log_lines() if line["event"] == "cell.heartbeat_refused"]) == 1
