"""A fabric that is broken on purpose while participants come and go, and the judge who compares what was intended with what was done.

Both are append-only: triggers in the databases of the manager and of the cells write down each command and each effect, in the transaction of
either. So whatever is lost, doubled or out of order shows, wherever it happened."""
import collections
import http.client
import json
import os
import random
import signal
import sqlite3
import threading
import time

from agents import DEPLOY, DISPOSE
from conftest import wait_for
from fleet import Fleet
from managers import SCOPES
from nats import Nats
from proxy import Proxy

AWAY = (OSError, http.client.HTTPException, AssertionError)
LOGGED = {"fabric": "NEW.kind = 'command' AND NEW.body IS NOT NULL",
    "cell": "NEW.body IS NOT NULL AND (NEW.kind = 'vpa' OR (NEW.kind = 'cell_state' AND NEW.id = 'orders'))"}


class Book:
    """The append-only log in one program's database, SQLite or PostgreSQL."""

    def __init__(self, what, file=None, postgres=None, database=None):
        self.file, self.postgres, self.database = file, postgres, database
        when = LOGGED[what]
        if file is not None:
            self.run(f"""CREATE TABLE effect_log (n INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, id TEXT, revision BIGINT, body TEXT);
                CREATE TRIGGER log_insert AFTER INSERT ON record WHEN {when} BEGIN
                    INSERT INTO effect_log (kind, id, revision, body) VALUES (NEW.kind, NEW.id, NEW.revision, NEW.body); END;
                CREATE TRIGGER log_update AFTER UPDATE ON record WHEN {when} BEGIN
                    INSERT INTO effect_log (kind, id, revision, body) VALUES (NEW.kind, NEW.id, NEW.revision, NEW.body); END;""")
        else:
            postgres.sql(f"""CREATE TABLE effect_log (n BIGSERIAL PRIMARY KEY, kind TEXT, id TEXT, revision BIGINT, body TEXT);
                CREATE FUNCTION log_effect() RETURNS trigger AS $$ BEGIN
                    INSERT INTO effect_log (kind, id, revision, body) VALUES (NEW.kind, NEW.id, NEW.revision, NEW.body); RETURN NEW; END $$ LANGUAGE plpgsql;
                CREATE TRIGGER log_effects AFTER INSERT OR UPDATE ON record FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION log_effect();""", database)

    def run(self, script):
        with sqlite3.connect(self.file, timeout=30) as link:
            link.executescript(script)
        link.close()

    def rows(self, query="SELECT kind, id, revision, body FROM effect_log ORDER BY n"):
        if self.file is not None:
            link = sqlite3.connect(self.file, timeout=30)
            try:
                return [(kind, id, int(revision), json.loads(body)) for kind, id, revision, body in link.execute(query)]
            finally:
                link.close()
        lines = self.postgres.sql(f"SELECT json_build_array(kind, id, revision, body) FROM ({query}) AS found", self.database).stdout.splitlines()
        return [(kind, id, int(revision), json.loads(body)) for kind, id, revision, body in map(json.loads, lines)]

    def count(self):
        query = "SELECT coalesce(max(n), 0) FROM effect_log"
        if self.file is None:
            return int(self.postgres.sql(query, self.database).stdout)
        link = sqlite3.connect(self.file, timeout=30)
        try:
            return link.execute(query).fetchone()[0]
        finally:
            link.close()


class Ground:
    """Broker, manager, cells that execute the activities themselves, and the books of all of them."""

    def __init__(self, folder, binary=None, postgres=None, cells=("c0", "c1"), seed=1):
        self.fleet, self.postgres, self.names = Fleet(folder, binary=binary), postgres, cells
        self.random = random.Random(seed)
        self.broker, self.managers = self.fleet.broker, self.fleet.cfmd
        self.managers.config["orchestration"] = {"sweep_ms": "500 ms", "settle_ms": "2 s"}
        self.cuts, self.books = {}, {}
        if postgres is not None:
            self.managers.config["store"] = self.store("cfmd")
        self.fleet.start()
        self.managers.tokens[SCOPES,] = self.managers.token(SCOPES, "--lifetime", "86400")  # for long runs
        self.books["cfmd"] = self.book("fabric", "cfmd", self.managers.state / "fabric.db")
        for name in cells:
            self.cuts[name] = Proxy(self.broker.port)
            cell = self.fleet.cell(name, topology={"site": name}, capacity={"maxVPAs": 1000000})
            cell.config["nats"] |= {"urls": [f"nats://127.0.0.1:{self.cuts[name].port}"]}
            cell.config["server"]["workers"] = 1
            if postgres is not None:
                cell.config["store"] = self.store(name)
            cell.start()
            self.books[name] = self.book("cell", name, cell.state / "cell.db")
            self.fleet.wait_heard(name, 40)
        self.prepare()

    def store(self, name):
        file = self.fleet.folder / f"{name}.connection"
        file.write_text(self.postgres.options(self.postgres.database(name)))
        file.chmod(0o600)
        return {"backend": "postgres", "connection_file": str(file)}

    def book(self, what, name, file):
        return Book(what, file) if self.postgres is None else Book(what, postgres=self.postgres, database=name)

    def prepare(self):
        one = self.managers
        for kind in ("edcv-activity", "siglet-activity"):
            one.ok("POST", "/activity-definitions", {"type": kind})
        one.ok("POST", "/orchestration-definitions", {"activities": {
            DEPLOY: [{"id": "connector", "type": "edcv-activity"}, {"id": "siglet", "type": "siglet-activity", "dependsOn": ["connector"]}],
            DISPOSE: [{"id": "siglet-end", "type": "siglet-activity"}, {"id": "connector-end", "type": "edcv-activity", "dependsOn": ["siglet-end"]}]}})
        self.dataspace = one.dataspace(*(cell["id"] for cell in one.ok("GET", "/cells")))
        self.tenant = one.tenant()

    def stop(self):
        for cut in self.cuts.values():
            cut.mend()
        self.fleet.stop()
        for cut in self.cuts.values():
            cut.close()

    # --- participants
    def deploy(self, is_spread=False, **members):
        """The new profile's id. is_spread: a data plane in each cell."""
        types = {"transferTypeMappings": {"Test-PULL": {"transferType": "Test-PULL", "endpointType": "HttpData", "tokenSource": "provider"}}}
        placement = {"dataplanes": [{"require": {"site": [name]}} for name in self.names]}
        return self.managers.ok("POST", f"/tenants/{self.tenant}/participant-profiles", {"identifier": f"did:web:p{self.random.getrandbits(64):x}.example",
            "dataspaceProfileIds": [self.dataspace], "participantRoles": {}, "vpaProperties": {"cfm.dataplane": types},
            "properties": {"celld.placement": placement} if is_spread else {}, **members})["id"]

    def has_room(self):
        """Would a participant with a data plane in each cell be placed now?"""
        types = [{"type": type} for type in ("cfm.connector", "cfm.credentialservice")]
        return bool(self.fleet.ok("POST", "/placements", {"requests": types + [{"type": "cfm.dataplane", "require": {"site": [name]}} for name in self.names]})["chosen"])

    def profile(self, id):
        return self.managers.profile(self.tenant, id)

    def dispose(self, id):
        self.managers.ok("DELETE", f"/tenants/{self.tenant}/participant-profiles/{id}")

    def wait(self, id, state, deadline=30):
        wait_for(lambda: self.managers.states(self.tenant, id) == {state}, deadline, f"VPAs that are {state}")

    def waiting(self):
        return sum(one["waiting"] for one in self.fleet.ok("GET", "/commands"))

    def parked(self):
        return self.fleet.ok("GET", "/parked")

    # --- the judge
    def effects(self):
        """How many there are by now."""
        return sum(self.books[name].count() for name in self.names)

    def judge(self):
        """{"commands", "effects", "lost", "doubled", "disordered"}: of all cells, after nothing waits any more."""
        intended, totals = collections.defaultdict(list), collections.Counter()
        for _, id, revision, body in self.books["cfmd"].rows():
            intended[body["cell"], body["vpa"]].append((revision, body["op"]))
        wrong = []
        for name in self.names:
            done, last = collections.defaultdict(list), None
            for kind, id, revision, body in self.books[name].rows():
                if kind == "vpa":
                    done[id].append((body["seq"], body["state"]))
                elif body["seq"] > 0 and (last is None or last["seq"] != body["seq"] or last["term"] == body["term"] and last["floor"] == body["floor"]):
                    done[""].append((body["seq"], "draining" if body["draining"] else "cordoned" if body["cordoned"] else "open"))
                last = body if kind == "cell_state" else last
            for (cell, vpa), commands in intended.items():
                if cell != name:
                    continue
                wanted, found = [seq for seq, _ in sorted(commands)], [seq for seq, _ in done.pop(vpa, [])]
                totals["commands"] += len(wanted)
                totals["effects"] += len(found)
                totals["lost"] += len(set(wanted) - set(found))
                totals["doubled"] += len(found) - len(set(found))
                totals["disordered"] += found != sorted(found)
                totals["unordered"] += len(set(found) - set(wanted))
                if found != wanted:
                    wrong.append((name, vpa, sorted(commands), found))
            totals["unordered"] += sum(len(found) for found in done.values())
        return dict(totals), wrong


class Life(threading.Thread):
    """Participants come and go, cells are cordoned and opened again, until `end`. What cannot be asked now is asked later."""

    def __init__(self, ground, most=40):
        super().__init__(daemon=True)
        self.ground, self.most, self.is_over, self.there, self.counts = ground, most, False, [], collections.Counter()

    def end(self):
        self.is_over = True
        self.join(60)
        assert not self.is_alive()

    def run(self):
        while not self.is_over:
            try:
                self.step()
            except AWAY:
                self.counts["away"] += 1
                time.sleep(0.02)

    def step(self):
        ground, luck = self.ground, self.ground.random.random()
        if ground.waiting() > 200:  # what is asked for does not outrun what is done
            time.sleep(0.05)
        elif luck < 0.25:
            name = ground.random.choice(ground.names)
            ground.fleet.ok("POST", f"/cells/{name}/{'drain' if luck < 0.05 else 'cordon'}")
            self.counts["cordons"] += 1
            for _ in range(200):  # it must be open again, whatever happens in between
                try:
                    ground.fleet.ok("POST", f"/cells/{name}/uncordon")
                    break
                except AWAY:
                    time.sleep(0.05)
        elif luck < 0.6 and len(self.there) < self.most:
            self.there.append(ground.deploy(is_spread=luck < 0.35))
            self.counts["deployed"] += 1
        elif self.there:
            id = ground.random.choice(self.there)
            states = ground.managers.states(ground.tenant, id)
            if states & {"active", "error"} and "pending" not in states:
                ground.dispose(id)
                self.counts["disposed"] += 1
                self.there.remove(id)
            elif states <= {"disposed", "disposing"}:
                self.there.remove(id)
            elif luck > 0.99:  # its orchestration may hang for long: it is not waited for
                self.there.remove(id)


class Faults:
    """Each fault is over when it returns: everything runs again."""

    def __init__(self, ground):
        self.ground, self.heard, self.counts = ground, collections.deque(maxlen=400), collections.Counter()
        self.kinds = [self.kill_manager, self.restart_manager, self.kill_cell, self.kill_broker, self.restart_broker, self.wipe_broker, self.lose_consumer, self.lose_stream,
            self.pause, self.cut_off, self.repeat, self.poison]
        self.weights = [1, 1, 5, 3, 1, 2, 4, 2, 4, 4, 5, 3]
        if ground.postgres is not None:
            self.kinds.append(self.crash_database)
            self.weights.append(1)

    def one(self):
        kind = self.ground.random.choices(self.kinds, self.weights)[0]
        self.counts[kind.__name__] += 1
        kind()

    def client(self):
        return Nats(self.ground.broker.port)

    def kill_manager(self):
        self.ground.managers.kill()
        self.ground.managers.start()

    def restart_manager(self):
        self.ground.managers.stop()
        self.ground.managers.start()

    def kill_cell(self):
        cell = self.ground.fleet.cells[self.ground.random.choice(self.ground.names)]
        cell.kill()
        cell.start()

    def kill_broker(self):
        self.ground.broker.kill()
        self.ground.broker.start()

    def restart_broker(self):
        self.ground.broker.stop()
        self.ground.broker.start()

    def wipe_broker(self):
        self.ground.broker.kill()
        self.ground.broker.wipe()
        self.ground.broker.start()

    def lose_consumer(self):
        name = self.ground.random.choice(self.ground.names)
        stream, consumer = self.ground.random.choice([("celld-cmd", f"cell-{name}"), ("celld-evt", "cfm-evt"), ("cfm-stream", "cfm-orchestration-response")])
        client = self.client()
        client.api(f"CONSUMER.DELETE.{stream}.{consumer}")
        client.close()

    def lose_stream(self):
        client = self.client()
        client.api(f"STREAM.DELETE.{self.ground.random.choice(['celld-cmd', 'celld-evt'])}")
        client.close()

    def crash_database(self):
        self.ground.postgres.crash()
        self.ground.postgres.start()

    def pause(self):
        process = self.ground.random.choice([self.ground.managers, self.ground.broker, *self.ground.fleet.cells.values()]).process
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(self.ground.random.uniform(0.05, 1.2))  # so long it is gone
        os.kill(process.pid, signal.SIGCONT)

    def cut_off(self):
        cut = self.ground.cuts[self.ground.random.choice(self.ground.names)]
        cut.cut()
        time.sleep(self.ground.random.uniform(0.05, 1.0))
        cut.mend()

    def repeat(self):
        """What was heard a moment or long ago is said again: commands and answers."""
        client = self.client()
        messages = client.subscribe("celld.cmd.>"), client.subscribe("celld.ack.>")
        end = time.monotonic() + 0.3
        for queue in messages:
            while (left := end - time.monotonic()) > 0:
                try:
                    message = queue.get(timeout=left)
                except Exception:
                    break
                if message is None:
                    break
                self.heard.append((message.subject, message.body))
        for subject, body in self.ground.random.sample(list(self.heard), min(len(self.heard), 20)):
            client.publish(subject, body)
        client.request("$JS.API.INFO", timeout=5)
        client.close()

    def poison(self):
        client = self.client()
        name = self.ground.random.choice(self.ground.names)
        for body in (b"\xff\xfe{", b"{}", b'{"v":1,"cmdId":"x","cell":"%s"}' % name.encode(), b"[" * 3000):
            client.publish(f"celld.cmd.{name}.cp", body)
            client.publish(f"celld.ack.{name}", body)
        client.request("$JS.API.INFO", timeout=5)
        client.close()
