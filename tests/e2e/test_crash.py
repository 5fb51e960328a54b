"""kill -9 at any moment, and a full disk: what was acknowledged is there, nothing is there by half, and reads go on."""
import os
import random
import resource
import threading
import time


from conftest import A, B, wait_for

SEED = int(os.environ.get("CELLD_SEED", random.SystemRandom().randrange(1 << 30)))
ROUNDS = 12
PARTICIPANTS = "/api/mgmt/v5beta/participants"
CELL = "/api/cell/v1/participants"


class Tenant:
    """One thread changes one tenant, one call at a time: `sure` is what was acknowledged, `maybe` what the call without an answer may
    have made of it. Each is {name: value}; value None: not there."""

    def __init__(self, cell, ctx, seed):
        self.cell, self.ctx, self.random = cell, ctx, random.Random(seed)
        self.sure, self.maybe, self.calls, self.error = {}, None, 0, None

    def choose(self):
        """A call, and what will be true after it."""
        path, after = f"{PARTICIPANTS}/{self.ctx}", dict(self.sure)
        number = self.random.randrange(3)
        if "participant" not in self.sure:
            after["participant"] = state = self.random.choice(["CREATED", "ACTIVATED"])
            return "POST", PARTICIPANTS, {"@id": self.ctx, "identity": "did:web:x.example", "state": state}, after
        kind = self.random.choices(["state", "config", "dataset", "flow", "unflow", "delete"], [4, 2, 4, 4, 2, 1])[0]
        if kind == "state":
            after["participant"] = state = self.random.choice(["ACTIVATED", "DEACTIVATED"])
            return "PUT", path, {"state": state}, after
        if kind == "config":
            after["config"] = value = str(self.random.randrange(1, 1 << 40))
            return "PUT", f"{path}/config", {"entries": {"celld.limits.streams": value, "x": "y"}}, after
        if kind == "dataset":
            after[f"dataset-{number}"] = file = f"{self.random.randrange(1 << 40)}.bin"
            return "PUT", f"{CELL}/{self.ctx}/datasets/dataset-{number}", {"id": f"dataset-{number}", "type": "file", "properties": {"path": file}}, after
        if kind == "delete":
            return "DELETE", path, None, {}
        flow, dataset = f"flow-{number}", f"dataset-{number}"
        if flow in self.sure and kind == "unflow":
            del after[flow]
            return "DELETE", f"{CELL}/{self.ctx}/flows/{flow}", None, after
        if flow in self.sure and kind == "flow":
            after[flow] = state = "SUSPENDED" if self.sure[flow] == "STARTED" else "STARTED"
            return "POST", f"{CELL}/{self.ctx}/flows/{flow}/{'suspend' if state == 'SUSPENDED' else 'resume'}", {}, after
        if flow not in self.sure and dataset in self.sure:
            after[flow] = "STARTED"
            return "POST", f"{CELL}/{self.ctx}/flows", {"id": flow, "datasetId": dataset, "agreementId": "a", "counterParty": "did:web:y.example"}, after
        return self.choose()

    def change(self):
        """False: no answer came."""
        method, path, body, after = self.choose()
        self.maybe = after
        try:
            status, answer = self.cell.call(method, path, body)
        except (OSError, TimeoutError):
            return False
        if not status:
            return False
        assert 200 <= status < 300, (method, path, body, status, answer, self.sure)
        self.sure, self.maybe = after, None
        self.calls += 1
        return True

    def run(self):
        try:
            while self.change():
                pass
        except Exception as error:  # a thread's own would only be printed
            self.error = error

    def read(self):
        """What the cell says now."""
        found = {}
        status, body = self.cell.call("GET", f"{PARTICIPANTS}/{self.ctx}")
        if status == 404:
            assert self.cell.call("GET", f"{CELL}/{self.ctx}/flows")[0] == 404
            return found
        found["participant"] = body["state"]
        entries = self.cell.call("GET", f"{PARTICIPANTS}/{self.ctx}/config")[1]["entries"]
        if entries:
            assert entries["x"] == "y"
            found["config"] = entries["celld.limits.streams"]
        for item in self.cell.call("GET", f"{CELL}/{self.ctx}/datasets")[1]:
            found[item["id"]] = item["properties"]["path"]
        for item in self.cell.call("GET", f"{CELL}/{self.ctx}/flows")[1]:
            found[item["id"]] = item["state"]
        return found

    def check(self):
        if self.error:
            raise self.error
        found = self.read()
        assert found in (self.sure, self.maybe), f"{self.ctx}: found {found}\nacknowledged {self.sure}\nunder way {self.maybe}"
        self.sure, self.maybe = found, None


def test_what_was_acknowledged_outlives_kill_9_at_any_moment(own_cell):
    print(f"CELLD_SEED={SEED}")
    chance = random.Random(SEED)
    cell = own_cell().start()
    cell.participant(B)
    token, path = cell.shared_file(B, "file.txt", b"content")
    tenants = [Tenant(cell, f"{number + 1:032x}", SEED + number) for number in range(4)]
    for _ in range(ROUNDS):
        threads = [threading.Thread(target=tenant.run) for tenant in tenants]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0.02, 0.4))
        cell.kill()
        for thread in threads:
            thread.join()
        cell.start()
        for tenant in tenants:
            tenant.check()
        assert cell.pull(token, path).status == 200
        listed = {item["@id"] for item in cell.call("GET", PARTICIPANTS + "?limit=1000")[1]}
        assert listed == {B} | {tenant.ctx for tenant in tenants if tenant.sure}
    calls = sum(tenant.calls for tenant in tenants)
    print(f"{calls} acknowledged changes")
    assert calls > ROUNDS * 4


def test_a_cell_killed_at_its_very_start_starts_again(own_cell):
    cell = own_cell()
    chance = random.Random(SEED)
    for _ in range(ROUNDS):
        cell.start(wait=False)
        time.sleep(chance.uniform(0, 0.05))  # keys, vault and schema are being made
        cell.kill()
    cell.start()
    cell.participant(A)
    token, path = cell.shared_file(A, "file.txt", b"content")
    assert cell.pull(token, path).status == 200


def limit_files(cell, size):
    resource.prlimit(cell.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_refuses_changes_and_serves_on(own_cell):
    cell = own_cell(settings={"store": {"poll_ms": 20}}).start()
    cell.participant(A)
    content = os.urandom(300000)
    token, path = cell.shared_file(A, "file.bin", content)
    limit_files(cell, (cell.state / "cell.db-wal").stat().st_size + 20000)
    stored, refusals = [], 0
    for number in range(40):
        name = f"dataset-{number}"
        status, body = cell.call("PUT", f"{CELL}/{A}/datasets/{name}", {"id": name, "type": "file", "properties": {"path": "x" * 2000}})
        if status in (503, 507):
            refusals += 1
            assert body["status"] == status and body["title"], body
        else:
            assert status in (200, 201, 204), (status, body)
            stored.append(name)
    assert refusals > 20
    for method, target, body in [("POST", PARTICIPANTS, {"@id": B, "identity": "did:web:x.example"}), ("DELETE", f"{PARTICIPANTS}/{A}", None),
            ("PUT", f"{PARTICIPANTS}/{A}", {"state": "DEACTIVATED"}), ("PUT", f"{PARTICIPANTS}/{A}/config", {"entries": {"x": "y" * 5000}})]:
        status, answer = cell.call(method, target, body)
        assert status in (503, 507) and answer[0]["message"] and answer[0]["type"] == "Unavailable", (method, status, answer)
    limit_files(cell, 4096)  # not even the store's own probe fits, which takes what the larger changes left
    assert cell.call("PUT", f"{PARTICIPANTS}/{A}", {"state": "DEACTIVATED"})[0] in (503, 507)
    # the data path and what reads go on; readiness says what is wrong
    response = cell.pull(token, path)
    assert response.status == 200 and bytes(response.body) == content
    assert cell.call("GET", f"{PARTICIPANTS}/{A}")[1]["state"] == "ACTIVATED"
    assert cell.call("GET", f"{PARTICIPANTS}/{B}")[0] == 404
    for _ in range(20):  # through many polls
        assert cell.admin("/healthz/ready")[0] == 503 and cell.admin("/healthz/live")[0] == 200
    limit_files(cell, resource.RLIM_INFINITY)
    wait_for(cell.is_ready, 30, "readiness once there is room")
    cell.participant(B)
    cell.dataset(A, "late", "file", {"path": "late"})
    for end in (lambda: None, cell.kill):
        end()
        if cell.process.poll() is not None:
            cell.start()
        names = {item["id"] for item in cell.call("GET", f"{CELL}/{A}/datasets")[1]}
        assert names == {*stored, "file.bin", "late"}
        assert cell.pull(token, path).status == 200


def test_a_disk_full_at_the_start_is_one_line(own_cell):
    cell = own_cell()
    cell.state.mkdir(parents=True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        cell.start(wait=False)
        assert cell.process.wait(20) != 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert cell.process.returncode > 0 and "cell.db" in cell.log_tail(1), cell.log_tail()
    cell.start()
    cell.participant(A)
