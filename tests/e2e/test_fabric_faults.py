"""What breaks around a fabric (control.md 3): cables, brokers, databases, managers and their clocks. One fabric on SQLite, one of two replicas on PostgreSQL."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from agents import COMPLETE, DEPLOY, DISPOSE, Agent
from conftest import A, PROGRAMS, wait_for
from fleet import TIMES, Fleet, since
from nats import NatsServer
from postgres import PROGRAMS as POSTGRES_PROGRAMS
from postgres import Postgres
from proxy import Proxy

MB = 1 << 20
FAKETIME = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


def wait_up(fleet, deadline=60):
    fleet.wait_heard("c1", deadline)


def activities(managers, types):
    """Orchestrations of these activities, one after the other; the other way round at the end."""
    for type in types:
        managers.ok("POST", "/activity-definitions", {"type": type})
    managers.ok("POST", "/orchestration-definitions", {"activities": {
        DEPLOY: [{"id": f"a{i}", "type": type, "dependsOn": [f"a{i - 1}"] if i else []} for i, type in enumerate(types)],
        DISPOSE: [{"id": f"b{i}", "type": type, "dependsOn": [f"b{i - 1}"] if i else []} for i, type in enumerate(reversed(types))]}})


class World:
    """A manager on SQLite, a broker with little room, and a cell that does the activities itself; the cables of the cell can be pulled."""

    def __init__(self, folder):
        self.fleet = Fleet(folder)
        self.fleet.broker.limits = "max_file_store: 160MB"
        self.managers = self.fleet.cfmd
        self.managers.config["orchestration"] = {"sweep_ms": "500 ms", "settle_ms": "2 s"}
        self.fleet.start()
        self.bus, self.ingress = Proxy(self.fleet.broker.port), Proxy()
        self.cell = self.fleet.cell("c1", endpoints={"ingress": f"http://127.0.0.1:{self.ingress.port}"})
        self.ingress.target = self.cell.clear_port
        self.cell.config["nats"]["urls"] = [f"nats://127.0.0.1:{self.bus.port}"]
        self.cell.start()
        self.cell.participant(A)
        self.share = self.cell.shared_file(A, "data", b"x" * 1000)
        wait_up(self.fleet)
        activities(self.managers, ["edcv-activity", "siglet-activity"])
        self.dataspace = self.managers.dataspace(*(cell["id"] for cell in self.managers.ok("GET", "/cells")))
        self.tenant = self.managers.tenant()
        self.first = self.deploy()
        self.wait(self.first, "active")
        wait_for(lambda: self.commands() == 0, 30, "every answer")

    def deploy(self):
        types = {"transferTypeMappings": {"Test-PULL": {"transferType": "Test-PULL", "endpointType": "HttpData", "tokenSource": "provider"}}}
        profile = {"identifier": f"did:web:{time.monotonic_ns()}.example", "dataspaceProfileIds": [self.dataspace], "participantRoles": {},
            "vpaProperties": {"cfm.dataplane": types}}

        def ask():
            status, _, answer = self.managers.call("POST", f"/tenants/{self.tenant}/participant-profiles", profile)
            if status == 500 and "no active cell found" in answer["message"]:
                return None  # a cell that was late a moment ago: its next heartbeats make it good
            assert status == 202, f"{status} {answer}"
            return answer["id"]
        return wait_for(ask, 60, "a cell that takes it")

    def wait(self, id, state, deadline=30):
        wait_for(lambda: self.managers.states(self.tenant, id) == {state}, deadline, f"VPAs that are {state}")

    def pulls(self):
        return self.cell.pull(*self.share).status == 200

    def revisions(self):
        """Of every profile's record."""
        with contextlib.closing(sqlite3.connect(f"file:{self.managers.state}/fabric.db?mode=ro", uri=True)) as database:
            return dict(database.execute("SELECT id, revision FROM record WHERE kind = 'participant_profile'").fetchall())

    def commands(self):
        return int(next(line for line in self.managers.page().splitlines() if "commands wait" in line).split()[0])

    def stop(self):
        for proxy in (self.bus, self.ingress):
            proxy.mend()
        self.fleet.stop()
        for proxy in (self.bus, self.ingress):
            proxy.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    one = World(tmp_path_factory.mktemp("world"))
    yield one
    one.stop()


class Pulling(threading.Thread):
    """A participant's peer, who goes on; what went wrong."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.is_over, self.count, self.wrong = world, False, 0, []
        self.start()

    def run(self):
        while not self.is_over:
            try:
                self.wrong += [] if self.world.pulls() else ["refused"]
            except OSError as error:
                self.wrong.append(error)
            self.count += 1
            time.sleep(0.02)

    def end(self):
        self.is_over = True
        self.join(30)
        assert self.count > 0 and not self.wrong, self.wrong


# --- the cables of a cell

def test_a_cell_cut_from_the_broker_is_isolated_and_serves(world):
    """F3: what was ordered meanwhile is done afterwards, in order."""
    pulling = Pulling(world)
    world.bus.cut()
    ids = [world.deploy() for _ in range(2)]  # before anybody can know
    world.fleet.wait_status("c1", "ISOLATED")
    health = world.fleet.health("c1")
    assert not health["failoverEligible"] and health["epoch"] == 1
    assert "no connection for" in world.fleet.line(world.cell)
    assert all(world.managers.states(world.tenant, id) == {"pending"} for id in ids) and world.commands() >= 8
    world.bus.mend()
    for id in ids:
        world.wait(id, "active")
    wait_for(lambda: world.commands() == 0, 30, "every answer")  # each VPA was prepared before it was activated: else it would be parked
    assert world.fleet.ok("GET", "/parked") == []
    pulling.end()
    assert world.fleet.ok("GET", "/cells/c1")["epoch"] == 1


# --- a database from yesterday

def test_a_database_that_is_older_than_its_cells(world):
    """F24: the manager does not run on as if nothing had been. It orders nothing until an operator says that the older copy holds; then numbers,
    terms and epochs go on above what the cells know, without a restart of any."""
    fleet, managers, cell, epoch, id = world.fleet, world.managers, world.cell, world.fleet.ok("GET", "/cells/c1")["epoch"], world.first
    path = f"/tenants/{world.tenant}/participant-profiles/{id}"

    def behind():
        return [one["why"] for one in fleet.ok("GET", "/fleet")["brakeDetails"] if one["brake"] == "behind"]
    managers.stop()
    kept = managers.folder / "kept"
    shutil.copytree(managers.state, kept)
    for _ in range(2):  # terms that will be forgotten
        managers.start()
        wait_for(lambda: fleet.ok("GET", "/fleet")["leads"], 30, "a leader")
        managers.stop()
    managers.start()
    cell.kill()
    cell.start()
    wait_for(lambda: fleet.line(cell).startswith(f"c1: joined, epoch {epoch + 1}"), 30, "another epoch")
    for _ in range(40):  # commits that will be forgotten
        managers.tenant()
    managers.ok("DELETE", path)
    world.wait(id, "disposed")
    wait_for(lambda: world.commands() == 0, 30, "every answer")
    wait_for(lambda: re.match(r"c1: joined, epoch \d+, ready;", fleet.line(cell)), 30, "a lease of that term")
    term = fleet.ok("GET", "/fleet")["term"]
    managers.stop()
    shutil.rmtree(managers.state)
    shutil.move(kept, managers.state)
    managers.start()
    wait_for(behind, 30, "a brake")
    assert re.match(r"c1 knows (epoch|term|command) \d+, the records \d+$", behind()[0])
    wait_for(lambda: f"the cell has epoch {epoch + 1}, and its record {epoch}" in fleet.ctl("cell", "health", "c1"), 30, "what the panel says")
    assert fleet.ok("GET", "/fleet")["aheadCells"] == ["c1"] and "cellctl fabric adopt" in fleet.ctl("fabric", "status")
    wait_for(lambda: "the manager's records are older than this cell" in fleet.line(cell), 30, "what the cell says")
    assert world.pulls() and not fleet.health("c1")["failoverEligible"]
    # nothing is changed, ordered or let in, by whatever process
    managers.stop()
    managers.start()
    assert behind() and "! no fail-over: the database is older than what the cells know" in managers.page()
    for method, where, body in (("DELETE", path, None), ("POST", "/tenants", {}), ("POST", "/activity-definitions", {"type": "other"})):
        status, _, answer = managers.call(method, where, body)
        assert status == 503 and "cellctl fabric adopt" in answer["message"]
    assert managers.states(world.tenant, id) == {"active"}, "what the copy says can be read"
    assert managers.call("POST", "/participant-profiles/query", {"predicate": "true"})[0] == 200
    other = fleet.cell("c2").start()
    wait_for(lambda: "the database is older than what the cells know" in fleet.line(other), 30, "why it is not let in")
    fleet.ctl("cell", "cordon", "c1")
    wait_for(lambda: fleet.ok("GET", "/fleet")["leads"] and world.commands() == 1, 30, "a command that waits")
    assert "none is sent while the database is behind its cells" in managers.page()
    time.sleep(2)  # it would have been sent long ago
    assert world.commands() == 1 and fleet.ok("GET", "/parked") == []
    # the operator's word
    fleet.ctl("fabric", "adopt")
    wait_for(lambda: fleet.ok("GET", "/fleet")["aheadCells"] == [] and not behind(), 30, "an end of it")
    assert "the database is not behind its cells" in fleet.ctl("fabric", "adopt", check=False)
    wait_for(lambda: world.commands() == 0, 30, "the answer to what had waited")
    wait_for(lambda: re.match(rf"c1: joined, epoch {epoch + 1}, cordoned; connected to \S+, round trip \S+ ms$", fleet.line(cell)), 30, "a lease again, of the same epoch")
    assert fleet.ok("GET", "/fleet")["term"] > term and fleet.ok("GET", "/cells/c1")["epoch"] == epoch + 1
    fleet.ctl("cell", "uncordon", "c1")
    fleet.wait_heard("c2", 30)
    other.stop()
    fleet.ctl("cell", "remove", "c2", "--force")
    # commands are newer to the cell than what was forgotten: done, not taken for done
    managers.ok("DELETE", path)
    world.wait(id, "disposed")
    wait_for(lambda: world.commands() == 0, 30, "every answer")
    assert fleet.ok("GET", "/parked") == [] and not behind()
    assert {"fabric.behind", "fabric.adopted", "cell.epoch_adopted"} <= {one["what"] for one in fleet.ok("GET", "/audit")}


# --- no cable at all, no manager at all

def test_a_cell_cut_from_everything_serves_who_is_near(world):
    """F4, pinned: it does not fence itself, and nobody follows it. Its VPAs are shown offline meanwhile, and no record of theirs changes."""
    wait_up(world.fleet)
    id = world.deploy()
    world.wait(id, "active")
    pulling, epoch, before = Pulling(world), world.fleet.ok("GET", "/cells/c1")["epoch"], world.revisions()
    for proxy in (world.bus, world.ingress):
        proxy.silence()
    world.fleet.wait_status("c1", "UNREACHABLE")
    world.wait(id, "offline", 5)
    found = world.managers.ok("POST", "/participant-profiles/query", {"predicate": "vpas.state = 'offline'"})
    assert id in [one["id"] for one in found]
    since = {vpa["stateTimestamp"] for vpa in world.managers.profile(world.tenant, id)["vpas"]}
    assert since == {world.fleet.health("c1")["vpasOfflineSince"]}
    assert f"Its VPAs: offline since {since.pop()}\n" in world.fleet.ctl("cell", "health", "c1")
    assert "offline" in world.fleet.ctl("fabric", "participant", world.tenant, id)
    wait_for(lambda: "its heartbeats are not answered" in world.fleet.line(world.cell), 30, "what the cell says of its lease")
    assert world.cell.is_ready()
    pulling.end()
    for proxy in (world.bus, world.ingress):
        proxy.mend()
    wait_for(lambda: "not answered" not in world.fleet.line(world.cell), 30, "a lease again")
    world.wait(id, "active", 40)
    assert world.fleet.ok("GET", "/cells/c1")["epoch"] == epoch and world.revisions() == before
    assert "Its VPAs" not in world.fleet.ctl("cell", "health", "c1")


def test_cells_live_without_managers(world):
    """F7: no error on the data path, a restart without them, and no fencing of what is pinned."""
    pulling, epoch = Pulling(world), world.fleet.ok("GET", "/cells/c1")["epoch"]
    world.managers.kill()
    wait_for(lambda: "its heartbeats are not answered" in world.fleet.line(world.cell), 30, "a lease that has lapsed")
    assert world.cell.is_ready()
    pulling.end()
    world.cell.kill()
    world.cell.start()
    assert world.pulls() and world.fleet.line(world.cell).startswith("c1: asking to join; ")
    pulling = Pulling(world)
    world.managers.start()
    wait_for(lambda: world.fleet.line(world.cell).startswith(f"c1: joined, epoch {epoch + 1}"), 30, "a cell that has joined again")
    wait_up(world.fleet)
    pulling.end()


def test_a_manager_that_slept_blames_itself(world):
    """F12: long enough for every cell to be unreachable, if it were they who had been silent."""
    def falls():
        return [line for line in world.managers.log_lines() if line["event"] == "cell.health" and line["to"] in ("suspect", "unreachable", "isolated")]
    wait_up(world.fleet)
    before = len(falls())
    world.managers.process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    world.managers.process.send_signal(signal.SIGCONT)
    wait_for(lambda: "this process itself was late or cut off a moment ago" in world.fleet.ok("GET", "/fleet")["brakes"], 30, "its word about itself")
    wait_for(lambda: world.fleet.health("c1")["lastHeartbeatAgeMs"] < TIMES["heartbeat_ms"], 30, "a heartbeat")
    assert world.fleet.is_heard("c1") and len(falls()) == before


# --- brokers

def test_another_empty_broker_at_the_same_address(world, tmp_path):
    """Neither the managers nor the cell are restarted; what was under way comes to its end."""
    wait_up(world.fleet)
    old, new = world.fleet.broker, NatsServer(tmp_path / "other")
    new.port, new.limits = old.port, old.limits
    old.kill()
    id = world.deploy()
    wait_for(lambda: "no connection for" in world.managers.page(), 30, "a line about the broker")
    new.start()
    world.fleet.broker = new
    world.wait(id, "active", 15)
    wait_for(lambda: world.commands() == 0, 30, "every answer")
    world.managers.ok("DELETE", f"/tenants/{world.tenant}/participant-profiles/{id}")
    world.wait(id, "disposed")
    wait_up(world.fleet)


def test_a_broker_whose_disk_is_full(world):
    """F16: letters wait, and say so; heartbeats need no disk."""
    wait_up(world.fleet)
    nats = world.fleet.broker.client()
    nats.api("STREAM.CREATE.hog", {"name": "hog", "subjects": ["hog"], "storage": "file"})
    filling = bytes(MB - 100)
    wait_for(lambda: nats.js_publish("hog", filling).get("error"), 60, "a full disk")
    id = world.deploy()
    wait_for(lambda: "letters wait: event.cfm-orchestration: " in world.managers.page(), 30, "a line about it")
    for _ in range(3):
        time.sleep(0.3)
        wait_for(lambda: world.fleet.health("c1")["lastHeartbeatAgeMs"] < TIMES["heartbeat_ms"], 30, "a heartbeat")
    assert world.fleet.is_heard("c1") and world.managers.states(world.tenant, id) == {"pending"}
    nats.api("STREAM.DELETE.hog")
    nats.close()
    world.wait(id, "active", 40)
    wait_for(lambda: "no letters wait" in world.managers.page() and world.commands() == 0, 40, "an end of the waiting")


# --- clocks

class Clock:
    """The wall clock of whatever is started within `with`, now and later: `step` moves it."""

    def __init__(self, file):
        self.file = file
        self.step("+0")

    def step(self, by):
        self.file.write_text(by)

    def __enter__(self):
        self.before = dict(os.environ)
        os.environ |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}

    def __exit__(self, *_):
        os.environ.clear()
        os.environ.update(self.before)


def is_sanitized(program):
    return b"libasan" in subprocess.run(["ldd", PROGRAMS / program], capture_output=True).stdout


@pytest.mark.skipif(os.environ.get("CELLD_SANITIZE") == "thread", reason="libfaketime hides what waits and wakes from this sanitizer")
@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is missing: apt-get install libfaketime")
@pytest.mark.skipif(is_sanitized("cfmd"), reason="the sanitizer must be the first library")
def test_optional_clock_of_a_manager_steps(tmp_path):
    """F9: an hour on, two hours back: leases, heartbeats and leadership go by another clock."""
    own, clock = Fleet(tmp_path), Clock(tmp_path / "clock")
    own.broker.start()
    with clock:
        own.cfmd.start()
    try:
        cell = own.cell("c1").start()
        wait_up(own)
        for step in ("+3600", "-3600"):
            clock.step(step)

            def is_believed():  # the library looks at the new time now and then: a token is made until both agree
                own.cfmd.tokens.clear()
                with clock:
                    own.cfmd.token()
                # of every worker: each connection may be another's
                return all(own.cfmd.call("GET", "/fleet", base="/api/celld/v1")[0] == 200 for _ in range(20))
            wait_for(is_believed, 30, "a token of the stepped clock")
            for _ in range(4):
                time.sleep(0.4)
                assert own.health("c1")["lastHeartbeatAgeMs"] < 3 * TIMES["heartbeat_ms"] and own.is_heard("c1")
            assert own.ok("GET", "/fleet")["leads"] and own.ok("GET", "/fleet")["term"] == 1
            assert "not answered" not in own.line(cell)
        assert [line["held"] for line in own.cfmd.log_lines() if line["event"] == "fabric.lease"] == [True]
    finally:
        own.stop()


# --- databases

class Replicas:
    """Two managers on one PostgreSQL, the first behind a proxy; an agent that does nothing; a cell that joins."""

    def __init__(self, folder):
        self.postgres, self.proxy = Postgres().start(), None
        self.proxy = Proxy(self.postgres.port)
        self.postgres.database("fabric")
        self.fleet = Fleet(folder)
        self.fleet.broker.start()
        names = ["cfmd", "cfmd2"]
        self.fleet.managers = [self.fleet.manager(name, TIMES, store=self.store(folder, name, port)) for name, port in zip(names, (self.proxy.port, self.postgres.port))]
        self.first, self.second = self.fleet.managers
        self.first.start()
        self.first.token()
        self.second.state.mkdir(parents=True)
        shutil.copy(self.first.state / "cfm.key", self.second.state / "cfm.key")
        self.second.tokens = self.first.tokens
        wait_for(lambda: self.fleet_of(self.first)["leads"], 30, "the first to lead")
        self.second.start()
        activities(self.second, ["test-activity"])
        self.agent = Agent(self.fleet.broker, "test-activity", self.provide)
        self.tenant = self.second.tenant()

    @staticmethod
    def provide(context):
        context.outputs["participantContextId"] = "d" * 32
        return COMPLETE

    def store(self, folder, name, port):
        file = pathlib.Path(folder) / f"{name}.connection"
        file.write_text(f"host=127.0.0.1 port={port} user=cell password='first secret' dbname=fabric")
        file.chmod(0o600)
        return {"backend": "postgres", "connection_file": str(file)}

    @staticmethod
    def fleet_of(managers):
        return managers.call("GET", "/fleet", base="/api/celld/v1")[2]

    def room(self, name, maximum):
        """A cell of so many VPAs, and the dataspace profile in it: (cell, dataspace profile)."""
        cell = self.second.cell(externalId=name, properties={"celld.definition": {"cellId": name, "name": name, "type": "kubernetes", "region": "eu", "provider": "test",
            "capacity": {"maxVPAs": maximum}, "infrastructure": {}, "labels": {}}})
        return cell, self.second.dataspace(cell)

    def used(self, cell):
        found = next(one for one in self.second.ok("GET", "/cells") if one["id"] == cell)
        return found["properties"]["celld.definition"]["capacity"].get("currentVPAs", 0)

    def profiles(self, cell):
        found = self.second.ok("GET", f"/tenants/{self.tenant}/participant-profiles")
        return [one for one in found if one["vpas"][0]["cellId"] == cell]

    def is_all(self, id, state):
        """As the second knows it, who may hear of it later."""
        status, _, found = self.second.call("GET", f"/tenants/{self.tenant}/participant-profiles/{id}")
        return status == 200 and {vpa["state"] for vpa in found["vpas"]} == {state}

    def stop(self):
        self.proxy.mend()
        self.agent.stop()
        self.fleet.stop()
        self.proxy.close()
        self.postgres.stop()


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    if POSTGRES_PROGRAMS is None:
        pytest.skip("PostgreSQL is missing: apt-get install postgresql")
    one = Replicas(tmp_path_factory.mktemp("replicas"))
    yield one
    one.stop()


def order(replica, tenant, dataspace, identifier):
    status, _, answer = replica.call("POST", f"/tenants/{tenant}/participant-profiles",
        {"identifier": identifier, "dataspaceProfileIds": [dataspace], "participantRoles": {}, "vpaProperties": {}})
    return status, answer


def audit_of(replica, query=""):
    status, _, verdict = replica.call("GET", f"/audit:verify{query}", base="/api/celld/v1")
    assert status == 200, verdict
    return verdict


def test_two_managers_write_one_audit(replicas):
    """Both at once: one chain, none lost; the other goes on with it; what is changed in the database is found."""
    before = audit_of(replicas.first)["good"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit((replicas.first, replicas.second)[i % 2].call, "POST", "/join-tokens", {"cellId": f"audited-{i}"}, base="/api/celld/v1") for i in range(40)]
        assert {one.result()[0] for one in asked} == {201}
    wait_for(lambda: audit_of(replicas.second)["good"] >= before + 40 and audit_of(replicas.second)["waiting"] == 0, 10, "all to be sealed")
    verdict = audit_of(replicas.first)
    assert verdict["isWhole"] and verdict["outside"] == 0
    listed = replicas.second.call("GET", "/audit", base="/api/celld/v1")[2]
    assert [one["sequence"] for one in listed] == list(range(1, len(listed) + 1))
    assert sorted(one["cell"] for one in listed if one["cell"].startswith("audited-")) == sorted(f"audited-{i}" for i in range(40))
    noted = f"?noted={verdict['good']}:{verdict['last']['hash']}"
    assert audit_of(replicas.second, noted)["isWhole"]
    assert audit_of(replicas.second, noted[:-64] + "0" * 64)["firstBad"] == {"sequence": verdict["good"], "why": "is another than the one that is known"}
    assert replicas.first.call("GET", "/audit:verify?noted=1", base="/api/celld/v1")[0] == 400

    def sql(statement):
        replicas.postgres.sql(statement, "fabric")
    middle = f"kind = 'audit' AND id = 'c{verdict['good'] // 2:014d}'"
    sql(f"UPDATE record SET body = replace(body, 'audited', 'alluded') WHERE {middle}")
    assert audit_of(replicas.first)["firstBad"] == {"sequence": verdict["good"] // 2, "why": "has been changed"}
    sql(f"UPDATE record SET body = replace(body, 'alluded', 'audited') WHERE {middle}")
    assert audit_of(replicas.first)["isWhole"]
    sql(f"UPDATE record SET id = 'x' || id WHERE {middle}")
    assert audit_of(replicas.first)["firstBad"]["why"] == "is missing"
    sql("UPDATE record SET id = substr(id, 2) WHERE kind = 'audit' AND id LIKE 'x%'")
    assert audit_of(replicas.second)["isWhole"]


def test_who_loses_the_race_for_a_record_tries_again(replicas):
    """F25, F26: both replicas at once, for room for five of twenty: five have it, whole; nothing is kept for the others."""
    cell, dataspace = replicas.room("narrow", 20)
    for replica in (replicas.first, replicas.second):
        wait_for(lambda: any(one["id"] == dataspace for one in replica.ok("GET", "/dataspace-profiles")), 30, "the other's records")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(order, (replicas.first, replicas.second)[i % 2], replicas.tenant, dataspace, f"did:web:r{i}.example") for i in range(20)]
        answers = [one.result() for one in asked]
    assert {status for status, _ in answers} <= {202, 500, 409, 503}, answers
    taken = [answer["id"] for status, answer in answers if status == 202]
    again = 0
    while len(taken) < 5:  # whom a conflict made wait may ask again
        status, answer = order(replicas.second, replicas.tenant, dataspace, f"did:web:again{again}.example")
        again += 1
        taken += [answer["id"]] if status == 202 else []
        assert again < 20, answers
    assert len(taken) == 5
    wait_for(lambda: replicas.used(cell) == 20, 30, "what the other has taken")
    for id in taken:
        wait_for(lambda: replicas.is_all(id, "active"), 30, "active VPAs")
    for id in taken:
        replicas.second.ok("DELETE", f"/tenants/{replicas.tenant}/participant-profiles/{id}")
    wait_for(lambda: replicas.used(cell) == 0, 30, "room again")


def test_a_name_is_one_cells_whoever_lets_it_in(replicas):
    """Both replicas at once: cells that are made with one external id, and a cell that joins by it."""
    def make(replica, name):
        return replica.call("POST", "/cells", {"externalId": name, "state": "active", "stateTimestamp": "2026-01-01T00:00:00Z"})[0]

    def named(name):
        """As both of them know it."""
        return [[one["id"] for one in replica.ok("GET", "/cells") if one.get("externalId") == name] for replica in (replicas.first, replicas.second)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for i in range(15):
            asked = [pool.submit(make, (replicas.first, replicas.second)[j % 2], f"one-of-{i}") for j in range(8)]
            assert sorted(one.result() for one in asked) == [201] + 7 * [409], i
            wait_for(lambda: len(named(f"one-of-{i}")[0]) == 1 and named(f"one-of-{i}")[0] == named(f"one-of-{i}")[1], 30, "one cell, known to both")
    # given back by one, taken by the other
    replicas.first.ok("DELETE", f"/cells/{named('one-of-0')[0][0]}")
    wait_for(lambda: named("one-of-0") == [[], []], 30, "both to know")
    assert make(replicas.second, "one-of-0") == 201
    # a join at one while the other makes it
    for i in range(3):
        name = f"joining-{i}"
        cell = replicas.fleet.cell(name)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            asked = pool.submit(lambda: [make(replicas.second, name) for _ in range(40)])
            cell.start()
            made = asked.result()
        assert set(made) <= {201, 409} and made.count(201) <= 1, made
        wait_for(lambda: len(named(name)[0]) == 1 and named(name)[0] == named(name)[1], 30, "one cell of that name")
        cell.stop()


def test_a_leader_without_its_database_leads_no_more(replicas):
    """F8: it can be heard by the cells all the while. Nobody else begins before it has ended."""
    cell = replicas.fleet.cell("c1").start()
    wait_up(replicas.fleet)
    assert replicas.fleet_of(replicas.first)["leads"] and not replicas.fleet_of(replicas.second)["leads"]
    begun = replicas.fleet_of(replicas.first)["term"]
    replicas.proxy.silence()
    cut, ended, followed = time.monotonic(), None, None
    while ended is None or followed is None:
        assert since(cut) < 15, (ended, followed)
        follows = replicas.fleet_of(replicas.second)["leads"]  # asked first: who follows now must not meet a leader afterwards
        if not replicas.fleet_of(replicas.first)["leads"] and ended is None:
            ended = since(cut)
        if follows and followed is None:
            followed = since(cut)
        assert followed is None or ended is not None, "two leaders"
    assert ended <= 5.5, f"it went on granting for {ended:.1f} s"
    wait_for(lambda: "the store cannot be reached" in replicas.first.page(), 30, "a line about the store")
    assert "this process does not lead the fabric" in replicas.fleet_of(replicas.first)["brakes"]
    replicas.fleet.managers.reverse()  # ask the second
    wait_for(lambda: replicas.fleet.health("c1").get("lastHeartbeatAgeMs", 9999) < 1000, 30, "heartbeats")
    assert replicas.fleet_of(replicas.second)["term"] > begun and replicas.fleet.is_heard("c1")
    wait_for(lambda: "not answered" not in replicas.fleet.line(cell), 30, "a lease of the second")
    replicas.proxy.mend()
    wait_for(lambda: "the store is healthy" in replicas.first.page(), 30, "the first to find its database again")
    assert not replicas.fleet_of(replicas.first)["leads"] and replicas.fleet_of(replicas.second)["leads"]
    assert replicas.fleet.ok("GET", "/cells/c1")["epoch"] == 1 and cell.is_ready()
    assert not [line for line in cell.log_lines() if line["event"] == "cell.fenced"]


def test_a_database_that_dies_while_participants_are_placed(replicas):
    """F23, F27: what was answered is there, what was not is there whole or not at all; who asks again gets one."""
    cell, dataspace = replicas.room("wide", 400)
    told, is_over = {}, threading.Event()

    def ask(name):
        """Until it is answered; what is there already is not asked for again."""
        identifier = f"did:web:{name}.example"
        while not is_over.is_set() and identifier not in told:
            try:
                found = [one for one in replicas.profiles(cell) if one["identifier"] == identifier]
                status, answer = (202, found[0]) if found else order(replicas.second, replicas.tenant, dataspace, identifier)
                if status == 202:
                    told[identifier] = answer["id"]
            except (OSError, AssertionError):
                pass
            time.sleep(0.02)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, f"p{i}") for i in range(24)]
        try:
            wait_for(lambda: len(told) >= 4, 30, "some that are placed")
            replicas.postgres.crash()
            time.sleep(0.3)
            path = f"/tenants/{replicas.tenant}/participant-profiles"
            for method, where, body in (("GET", path, None), ("GET", f"{path}/{next(iter(told.values()))}", None), ("POST", "/participant-profiles/query", {"predicate": "true"})):
                status, headers, answer = replicas.second.call(method, where, body)
                assert (status, headers.get("retry-after"), answer["message"]) == (503, "2", "Service unavailable: the database cannot be reached now")
            assert replicas.second.call("GET", "/cells")[0] == 200
            replicas.postgres.start()
            for one in waiting:
                one.result(40)
        finally:
            is_over.set()
    profiles = replicas.profiles(cell)
    by_identifier = {one["identifier"]: one["id"] for one in profiles}
    assert len(profiles) == len(by_identifier) == len(told) == 24 and set(told.values()) == set(by_identifier.values())
    assert all(len(one["vpas"]) == 4 for one in profiles) and replicas.used(cell) == 4 * len(profiles)
    for id in told.values():
        wait_for(lambda: replicas.is_all(id, "active"), 40, "active VPAs")


def verdict_of(replica):
    return audit_of(replica)["decisions"]


def cellctl(replica, *words):
    """(exit, all that it says), of this replica."""
    done = subprocess.run([PROGRAMS / "cellctl", *words, "--url", f"http://127.0.0.1:{replica.port}", "--state", replica.state], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def stored_decisions(replicas):
    """{decision: (chosen, explanation)} of what lies in the database."""
    lines = replicas.postgres.sql("SELECT id || ' ' || body FROM record WHERE kind = 'decision' ORDER BY id", "fabric").stdout.splitlines()
    records = {line[:32]: json.loads(line[33:])["decisions"] for line in lines}
    return {f"{record}-{index}": (one["chosen"], one["explain"]) for record, decisions in records.items() for index, one in enumerate(decisions)}


def test_decisions_are_in_the_audit_of_both(replicas):
    """Both replicas decide; changed, taken away and added decisions are found by either, and named."""
    cell, dataspace = replicas.room("audited", 400)
    for replica in (replicas.first, replicas.second):
        wait_for(lambda: any(one["id"] == dataspace for one in replica.ok("GET", "/dataspace-profiles")), 30, "the other's records")
    before = len(stored_decisions(replicas))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(order, (replicas.first, replicas.second)[i % 2], replicas.tenant, dataspace, f"did:web:a{i}.example") for i in range(12)]
        assert {one.result()[0] for one in asked} <= {202, 409, 500}
    assert len(stored_decisions(replicas)) > before
    wait_for(lambda: audit_of(replicas.first)["waiting"] == 0, 10, "all to be sealed")
    told = [one for one in replicas.first.call("GET", "/audit", base="/api/celld/v1")[2] if one["what"] == "placement.decided"]
    whole = verdict_of(replicas.first)
    assert whole == verdict_of(replicas.second) == {"whole": len(told), "noLongerKept": 0, "outside": 0} and whole["whole"] >= 4
    assert sum(one["decisions"] for one in told) == len(stored_decisions(replicas))
    victim = told[len(told) // 2]
    record = victim["first"][:32]

    def sql(statement):
        replicas.postgres.sql(statement, "fabric")

    def bad(replica=replicas.second):
        verdict = audit_of(replica)
        assert not verdict["isWhole"] and "firstBad" not in verdict  # the chain itself is as it was
        found = verdict["decisions"]["firstBad"]
        return found["why"], found["first"][:32], found.get("entry")
    of_it = f"kind = 'decision' AND id = '{record}'"
    sql(f"UPDATE record SET body = replace(body, '\"chosen\"', '\"Chosen\"') WHERE {of_it}")
    assert bad() == bad(replicas.first) == ("have been changed", record, victim["sequence"])
    exit, said = cellctl(replicas.second, "fabric", "audit", "verify")
    assert exit == 1 and f"the decisions of the commit that begins with {record} have been changed (entry {victim['sequence']})" in said
    sql(f"UPDATE record SET body = replace(body, '\"Chosen\"', '\"chosen\"') WHERE {of_it}")
    sql(f"UPDATE record SET kind = 'gone' WHERE {of_it}")
    assert bad() == ("are missing", record, victim["sequence"])
    exit, said = cellctl(replicas.second, "fabric", "audit", "verify")
    assert exit == 1 and f"begins with {victim['first']} and ends with {victim['last']} are missing (entry {victim['sequence']})" in said
    sql(f"UPDATE record SET kind = 'decision' WHERE kind = 'gone'")
    forged = record[:12] + "f" * 20
    sql(f"INSERT INTO record SELECT ctx, kind, '{forged}', revision, body FROM record WHERE {of_it}")
    assert bad() == ("are in no entry of the audit", forged, None)
    sql(f"DELETE FROM record WHERE id = '{forged}'")
    exit, said = cellctl(replicas.first, "fabric", "audit", "verify")
    assert exit == 0 and f"the decisions of {whole['whole']} commits are as they were decided" in said
    assert verdict_of(replicas.second) == whole


def test_a_decision_is_made_again_by_another_replica(replicas):
    """What the first has decided, the second explains and decides again, word for word; also when the first is dead."""
    cells = [replicas.room(f"replayed-{i}", 40 + i) for i in range(3)]
    dataspace = replicas.second.dataspace(*(cell for cell, _ in cells))
    wait_for(lambda: any(one["id"] == dataspace for one in replicas.first.ok("GET", "/dataspace-profiles")), 30, "the other's records")
    before = set(stored_decisions(replicas))
    for i in range(8):  # one after another, so that each looks at what those before it have booked
        assert order(replicas.first, replicas.tenant, dataspace, f"did:web:again-{i}.example")[0] == 202
    decided = {id: said for id, said in stored_decisions(replicas).items() if id not in before}
    assert len(decided) == 8 and len({json.dumps(chosen) for chosen, _ in decided.values()}) > 1
    assert {explain["process"] for _, explain in decided.values()} == {next(iter(decided.values()))[1]["process"]}

    def told(replica):
        """All that a replica says of them."""
        said = {}
        for id, (chosen, explain) in decided.items():
            status, _, again = replica.call("POST", "/placements:replay", {"decisionId": id}, base="/api/celld/v1")
            assert status == 200 and again == {"same": True, "chosen": chosen, "replayed": chosen}, again
            assert replica.call("GET", f"/placements/{id}/explain", base="/api/celld/v1")[2] == explain
            said[id] = (cellctl(replica, "place", "replay", id), cellctl(replica, "place", "explain", id))
            assert said[id][0] == (0, f"the same: {', '.join(chosen)}\n") and said[id][1][0] == 0
        return said
    by_first = told(replicas.first)
    assert told(replicas.second) == by_first
    # the second has decided meanwhile what changes the cells
    for i in range(3):
        assert order(replicas.second, replicas.tenant, dataspace, f"did:web:other-{i}.example")[0] == 202
    replicas.first.kill()
    assert told(replicas.second) == by_first
    assert verdict_of(replicas.second).get("firstBad") is None
