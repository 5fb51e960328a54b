"""Commands of the fabric to its cells: in the life of a participant, as an operator sees them, and under faults (control.md F13-F16, F19-F21, F23)."""
import json
import os
import signal
import sqlite3
import statistics
import time

import pytest

import postgres
from conftest import wait_for
from faults import Faults, Ground, Life
from fleet import HEARD
from nats import SERVERS
from postgres import Postgres

STORES = ["sqlite", pytest.param("postgres", marks=pytest.mark.skipif(postgres.PROGRAMS is None, reason="PostgreSQL is missing"))]


@pytest.fixture
def make(tmp_path):
    made = []

    def build(store="sqlite", **arguments):
        database = None
        if store == "postgres":
            database = Postgres()
            made.append(database)
            database.start()
        made.append(Ground(tmp_path, postgres=database, **arguments))
        return made[-1]
    yield build
    for one in reversed(made):
        one.stop()


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    one = Ground(tmp_path_factory.mktemp("commands"))
    yield one
    one.stop()


def vpas(ground, name):
    """The cell's VPA records by id."""
    found = {}
    for kind, id, _, body in ground.books[name].rows():
        if kind == "vpa":
            found[id] = body
    return found


def records(ground, name, kind):
    return ground.books[name].rows(f"SELECT kind, id, revision, body FROM record WHERE kind = '{kind}' AND body IS NOT NULL")


def orders(ground, name):
    return ground.fleet.cell_status(ground.fleet.cells[name])["orders"]


# --- the life of a participant

def test_a_participant_lives_in_its_cells(ground):
    id = ground.deploy(is_spread=True)
    ground.wait(id, "active")
    profile = ground.profile(id)
    ctx = profile["properties"]["cfm.vpa.state"]["participantContextId"]
    cells = {cell["id"]: cell["externalId"] for cell in ground.managers.ok("GET", "/cells")}
    where = {vpa["id"]: (cells[vpa["cellId"]], vpa["type"]) for vpa in profile["vpas"]}
    assert len(where) == 5
    for vpa, (cell, kind) in where.items():
        found = wait_for(lambda: (one := vpas(ground, cell).get(vpa)) and one["state"] == "active" and one, 30, f"{kind} in {cell}")
        assert (found["type"], found["participant"], found["tenant"], found["profile"], found["ctx"], found["epoch"]) == (
            kind, profile["identifier"], ground.tenant, id, ctx, 1)
    # the control plane knows the data planes in both cells
    [home] = {cell for cell, kind in where.values() if kind == "cfm.connector"}
    planes = {id: body for _, id, _, body in records(ground, home, "data_plane") if id.startswith(ctx)}
    other = next(name for name in ground.names if name != home)
    assert sorted(planes) == sorted([f"{ctx}-siglet", f"{ctx}-siglet-{other}"]), planes
    for name, id_ in ((home, f"{ctx}-siglet"), (other, f"{ctx}-siglet-{other}")):
        assert planes[id_]["endpoint"] == f"http://127.0.0.1:{ground.fleet.cells[name].clear_port}/api/v1/{ctx}/dataflows" and planes[id_]["transferTypes"] == ["Test-PULL"]
    ground.dispose(id)
    ground.wait(id, "disposed")
    for vpa, (cell, _) in where.items():
        wait_for(lambda: vpas(ground, cell)[vpa]["state"] == "tombstone", 30, "a tombstone")
    assert not [one for name in ground.names for one in records(ground, name, "data_plane") if one[1].startswith(ctx)]
    wait_for(lambda: ground.waiting() == 0, 30, "every answer")
    totals, wrong = ground.judge()
    assert not wrong and totals["lost"] == totals["doubled"] == totals["disordered"] == 0 and totals["commands"] >= 15, wrong
    assert all(orders(ground, name)["refused"] == 0 for name in ground.names)


def test_cells_are_told_to_cordon_and_drain(ground):
    for action, wanted in (("cordon", (True, False)), ("drain", (True, True)), ("uncordon", (False, False))):
        ground.fleet.ctl("cell", action, "c1")
        wait_for(lambda: (orders(ground, "c1")["cordoned"], orders(ground, "c1")["draining"]) == wanted, 30, f"a cell that has heard of {action}")
    status, page = ground.fleet.cells["c1"].admin("/")
    assert status == 200 and '<td>orders<td>{"cordoned":false,"draining":false,"prepared":' in page
    assert "c1: joined" in page


def is_connected(port):
    return any(line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "01" for line in open("/proc/net/tcp"))


def test_a_command_is_committed_after_its_cell_has_left(ground):
    """The store answers when the broker is no more: whom it answers is still there."""
    cell, client = ground.fleet.cells["c0"], ground.broker.client()
    lock = sqlite3.connect(cell.state / "cell.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    ground.fleet.ok("POST", "/cells/c0/cordon")
    wait_for(lambda: client.api("CONSUMER.INFO.celld-cmd.cell-c0")["num_ack_pending"] > 0, 20, "a command that the cell has")
    cell.process.send_signal(signal.SIGTERM)
    wait_for(lambda: not is_connected(ground.cuts["c0"].port), 30, "a cell that has left")
    lock.execute("ROLLBACK")
    lock.close()
    assert cell.process.wait(60) == 0, cell.log_tail()
    cell.start()
    wait_for(lambda: ground.waiting() == 0, 30, "its answer")
    assert orders(ground, "c0")["cordoned"]
    ground.fleet.ok("POST", "/cells/c0/uncordon")
    wait_for(lambda: ground.waiting() == 0, 30, "the next answer")
    ground.fleet.wait_heard("c0", 60)
    client.close()


# --- what an operator sees

def test_commands_that_wait(ground):
    assert ground.fleet.ctl("commands").split("\n")[0].split() == ["cell", "waiting", "oldestAgeMs", "oldestOp", "isAsked"]
    cell = ground.fleet.cells["c1"]
    cell.kill()
    ground.fleet.wait_status("c1", "UNREACHABLE")
    ground.fleet.ok("POST", "/cells/c1/cordon")
    ground.fleet.ok("POST", "/cells/c1/uncordon")
    [line] = [line.split() for line in ground.fleet.ctl("commands").splitlines() if line.startswith("c1 ")]
    assert line[1] == "2" and int(line[2]) >= 0 and line[3:] == ["cell.cordon", "false"], line
    lines = [line.split() for line in ground.fleet.ctl("commands", "of", "c1").splitlines()]
    assert lines[0] == ["ageMs", "op", "vpa", "vpaEpoch", "seq", "sent", "failed", "id"] and sorted(line[1] for line in lines[1:]) == ["cell.cordon", "cell.uncordon"]
    assert b"2 commands wait for their cells" in ground.managers.request("GET", "/", port=ground.managers.admin_port)[2]
    cell.start()
    wait_for(lambda: ground.waiting() == 0, 30, "its answers")
    assert ground.fleet.ctl("commands").splitlines()[1:] == []
    ground.fleet.wait_heard("c1", 60)


@pytest.mark.parametrize("body", [b"", b"\xff\xfe{", b"{}", b"null", b"[" * 5000, b'{"v":1,"cmdId":"x","cell":"c0","cellEpoch":1}'])
def test_poison_is_parked_shown_replayed_and_dropped(ground, body):
    before = {one["id"] for one in ground.parked()}
    client = ground.broker.client()
    client.js_publish("celld.cmd.c0.cp", body)
    client.js_publish("celld.ack.c0", body)
    found = wait_for(lambda: (new := [one for one in ground.parked() if one["id"] not in before]) and len(new) == 2 and new, 30, "two parked messages")
    assert sorted(one["subject"] for one in found) == ["celld.ack.c0", "celld.cmd.c0.cp"]
    [command] = [one for one in found if one["subject"] == "celld.cmd.c0.cp"]
    [answer] = [one for one in found if one["subject"] == "celld.ack.c0"]
    assert command["reason"].startswith("the cell cannot read it: ") and answer["reason"] == "an answer that makes no sense"
    listed = ground.fleet.ctl("parked", "list")
    assert command["id"] in listed and command["reason"] in listed
    shown = json.loads(ground.fleet.ctl("parked", "show", command["id"], "--json"))
    if body.isascii():
        assert shown["body"] == body.decode()
    # the queue is not blocked
    ground.fleet.ok("POST", "/cells/c0/cordon")
    ground.fleet.ok("POST", "/cells/c0/uncordon")
    wait_for(lambda: ground.waiting() == 0, 30, "the commands behind it")
    # again: it goes, and comes back as another
    ground.fleet.ctl("parked", "replay", command["id"])
    again = wait_for(lambda: [one for one in ground.parked() if one["id"] not in before | {command["id"], answer["id"]}], 30, "what was replayed")
    assert [one["subject"] for one in again] == ["celld.cmd.c0.cp"] and command["id"] not in {one["id"] for one in ground.parked()}
    for one in (answer, *again):
        ground.fleet.ctl("parked", "drop", one["id"])
    assert {one["id"] for one in ground.parked()} == before
    assert "cellctl: 404" in ground.fleet.ctl("parked", "show", command["id"], check=False)
    client.close()



# --- what comes late, or twice, or from before

def last_order(ground, name, op):
    """(seq, cmdId, vpa) of the last command of this kind for the cell."""
    return max((seq, id, body["vpa"]) for _, id, seq, body in ground.books["cfmd"].rows() if body["cell"] == name and body["op"] == op)


def test_what_is_said_again_is_answered_again_and_done_once(ground):
    id = ground.deploy()
    ground.wait(id, "active")
    wait_for(lambda: ground.waiting() == 0, 30, "every answer")
    client = ground.broker.client()
    answers = client.subscribe("celld.ack.>")
    [home] = {body["cell"] for _, _, _, body in ground.books["cfmd"].rows() if body["args"].get("profile") == id}
    seq, command, vpa = last_order(ground, home, "vpa.activate")
    before, told = len(ground.books[home].rows()), orders(ground, home)
    epoch = ground.fleet.ok("GET", f"/cells/{home}")["epoch"]
    message = {"v": 1, "cmdId": command, "cell": home, "cellEpoch": epoch, "term": 0, "seq": seq, "vpa": vpa, "vpaEpoch": 1, "op": "vpa.activate",
        "args": {"participantContextId": "f" * 32}}
    for _ in range(3):
        client.js_publish(f"celld.cmd.{home}.cp", message)
        assert json.loads(answers.get(timeout=30).body) == {"v": 1, "cmdId": command, "cell": home, "cellEpoch": epoch, "seq": seq, "status": "done", "code": ""}
    cases = [  # later than what was applied: judged by term and epochs
        ({"seq": seq + 10 ** 9}, "retry", "STALE_TERM"),
        ({"seq": seq + 10 ** 9, "term": 10 ** 6, "cellEpoch": epoch + 1}, "retry", "STALE_CELL_EPOCH"),
        ({"seq": seq + 10 ** 9, "term": 10 ** 6, "vpaEpoch": 0}, "rejected", "STALE_EPOCH"),
        ({"seq": seq + 10 ** 9, "term": 10 ** 6, "cell": "other"}, "rejected", "FOREIGN_CELL"),
        ({"seq": seq + 10 ** 9, "term": 10 ** 6, "vpa": ""}, "rejected", "VPA_AND_OP_DISAGREE"),
        ({"seq": seq + 10 ** 9, "term": 10 ** 6, "vpa": "nobody"}, "rejected", "NOT_PREPARED"),
        ({"seq": seq + 10 ** 9, "term": 10 ** 6, "args": {}}, "rejected", "NO_CONTEXT")]
    repeats = 3
    for number, (change, status, code) in enumerate(cases):
        client.js_publish(f"celld.cmd.{home}.cp", message | {"cmdId": f"stranger-{number}"} | change)
        answer = json.loads(answers.get(timeout=30).body)
        while answer["cmdId"] == command:  # what the broker says once more, as when the machine is slow, is answered once more
            repeats += 1
            answer = json.loads(answers.get(timeout=30).body)
        assert answer["cmdId"] == f"stranger-{number}"
        assert (answer["status"], answer["code"]) == (status, code)
    assert len(ground.books[home].rows()) == before
    now = orders(ground, home)
    assert (now["repeated"], now["refused"], now["applied"]) == (told["repeated"] + repeats, told["refused"] + 5, told["applied"])
    client.close()


def test_answers_that_come_again_give_no_command_up(ground):
    """That a cell has failed is counted once for each sending, however often it is heard."""
    cell = ground.fleet.cells["c0"]
    before = {one["id"] for one in ground.parked()}
    cell.kill()
    ground.fleet.ok("POST", "/cells/c0/uncordon")
    [waiting] = wait_for(lambda: (found := ground.fleet.ok("GET", "/commands/c0")) and found[0]["sent"] > 0 and found, 30, "a command that was sent")
    client = ground.broker.client()
    for _ in range(30):
        client.js_publish("celld.ack.c0", {"v": 1, "cmdId": waiting["id"], "cell": "c0", "cellEpoch": 1, "seq": waiting["seq"], "status": "failed", "code": "unavailable"})
    client.close()
    wait_for(lambda: ground.fleet.ok("GET", "/commands/c0")[0]["failed"] > 0, 30, "an answer that is heard")
    cell.start()
    wait_for(lambda: ground.waiting() == 0, 40, "the answer of the cell itself")
    assert {one["id"] for one in ground.parked()} == before
    ground.fleet.wait_heard("c0", 60)


@pytest.mark.skipif(postgres.PROGRAMS is None, reason="PostgreSQL is missing")
def test_a_cell_without_its_database_fails_at_nothing(make):
    """What it cannot do now is said again until it can: a command that was given up would be missing for ever."""
    ground = make("postgres", cells=("c0",))
    for action in ("cordon", "uncordon"):
        ground.fleet.ok("POST", f"/cells/c0/{action}")
    wait_for(lambda: ground.waiting() == 0, 30, "every answer")
    epoch = ground.fleet.ok("GET", "/cells/c0")["epoch"]
    term = max(body["term"] for kind, _, _, body in ground.books["c0"].rows() if kind == "cell_state")
    message = {"v": 1, "cmdId": "x", "cell": "c0", "cellEpoch": epoch, "term": term, "seq": 10 ** 9, "vpa": "", "vpaEpoch": 0, "op": "cell.cordon", "args": {}}
    client = ground.broker.client()
    answers = client.subscribe("celld.ack.c0")
    ground.postgres.crash()

    def answer_to_it():
        while True:  # what was said again of earlier ones may come between
            answer = json.loads(answers.get(timeout=30).body)
            if answer["cmdId"] == "x":
                return answer
    client.js_publish("celld.cmd.c0.cp", message)
    answer = answer_to_it()
    assert (answer["status"], answer["code"]) == ("retry", "unavailable")
    ground.postgres.start()

    def is_done():
        client.js_publish("celld.cmd.c0.cp", message)
        return answer_to_it()["status"] == "done"
    wait_for(is_done, 30, "a cell that has its database again")
    client.close()


def test_a_tombstone_of_what_was_never_here_is_remembered(ground):
    client = ground.broker.client()
    answers = client.subscribe("celld.ack.c0")
    cell = ground.fleet.ok("GET", "/cells/c0")
    seq, term = max((body["seq"], body["term"]) for kind, _, _, body in ground.books["c0"].rows() if kind == "cell_state")
    # a number that was given: one that was not would say that the database lies behind
    message = {"v": 1, "cmdId": "t", "cell": "c0", "cellEpoch": cell["epoch"], "term": term, "seq": seq, "vpa": "never-here", "vpaEpoch": 1, "op": "vpa.tombstone", "args": {}}
    told = orders(ground, "c0")
    for _ in range(3):
        client.js_publish("celld.cmd.c0.cp", message)
        assert json.loads(answers.get(timeout=30).body)["status"] == "done"
    now = orders(ground, "c0")
    assert (now["applied"], now["tombstones"]) == (told["applied"] + 1, told["tombstones"] + 1)
    assert now["repeated"] >= told["repeated"] + 2  # and what the outbox asked for again meanwhile
    client.close()


def test_tombstones_are_forgotten_after_a_week(make):
    """What was buried before stays applied: the floor remembers."""
    ground = make(cells=("c0",))
    ids = [ground.deploy() for _ in range(3)]
    for id in ids:
        ground.wait(id, "active")
    for id in ids[:2]:
        ground.dispose(id)
        ground.wait(id, "disposed")
    wait_for(lambda: ground.waiting() == 0, 30, "every answer")
    buried = {id: body for id, body in vpas(ground, "c0").items() if body["state"] == "tombstone"}
    assert len(buried) == 8
    cell = ground.fleet.cells["c0"]
    cell.stop()
    old = [id for _, id, _, body in ground.books["cfmd"].rows() if body["op"] == "vpa.prepare" and body["args"]["profile"] == ids[0]]
    profiles = {vpa: body["profile"] for vpa, body in buried.items() if "profile" in body}
    of_first = [vpa for vpa, profile in profiles.items() if profile == ids[0]]
    assert len(of_first) == len(old) == 4
    with sqlite3.connect(cell.state / "cell.db", timeout=30) as link:  # a week and a minute ago
        for vpa in of_first:
            body = buried[vpa] | {"at": buried[vpa]["at"] - (7 * 86400 + 60) * 1000}
            link.execute("UPDATE record SET body = ? WHERE kind = 'vpa' AND id = ?", (json.dumps(body), vpa))
    link.close()
    cell.start()
    ground.fleet.wait_heard("c0", 60)
    now = wait_for(lambda: (found := orders(ground, "c0"))["tombstones"] == 4 and found, 30, "four tombstones left")
    assert now["floor"] == max(buried[vpa]["seq"] for vpa in of_first) and now["active"] == 4
    assert {id for _, id, _, _ in records(ground, "c0", "vpa")} == set(vpas(ground, "c0")) - set(of_first)
    client = ground.broker.client()
    answers = client.subscribe("celld.ack.c0")
    term = max(body["term"] for kind, _, _, body in ground.books["c0"].rows() if kind == "cell_state")
    message = {"v": 1, "cmdId": "again", "cell": "c0", "cellEpoch": 2, "term": term, "seq": buried[of_first[0]]["seq"], "vpa": of_first[0], "vpaEpoch": 1,
        "op": "vpa.prepare", "args": {"type": "cfm.issuer"}}
    client.js_publish("celld.cmd.c0.cp", message)
    assert json.loads(answers.get(timeout=30).body)["status"] == "done"
    assert of_first[0] not in {id for _, id, _, _ in records(ground, "c0", "vpa")} and orders(ground, "c0")["repeated"] == 1
    client.close()
    # and new ones come as before
    id = ground.deploy()
    ground.wait(id, "active")
    wait_for(lambda: orders(ground, "c0")["active"] == 8, 30, "the new VPAs")


# --- the broker says no (F16), or has lost what nobody else makes

def test_a_full_stream_is_waited_for(ground):
    client = ground.broker.client()
    config = client.api("STREAM.INFO.celld-cmd")["config"]
    assert "error" not in client.api("STREAM.UPDATE.celld-cmd", config | {"max_bytes": 1})
    ground.fleet.ok("POST", "/cells/c0/cordon")
    wait_for(lambda: b"were not taken at once by the stream" in ground.managers.request("GET", "/", port=ground.managers.admin_port)[2], 30, "the line about it")
    assert ground.waiting() == 1 and ground.fleet.is_heard("c0")
    assert "error" not in client.api("STREAM.UPDATE.celld-cmd", config)
    wait_for(lambda: orders(ground, "c0")["cordoned"], 40, "the command")
    ground.fleet.ok("POST", "/cells/c0/uncordon")
    wait_for(lambda: ground.waiting() == 0, 30, "every answer")
    client.close()


@pytest.mark.parametrize("lost", ["STREAM.DELETE.celld-cmd", "STREAM.DELETE.celld-evt", "CONSUMER.DELETE.celld-evt.cfm-evt"])
def test_what_somebody_deletes_is_made_again(ground, lost):
    client = ground.broker.client()
    assert client.api(lost)["success"]
    ground.fleet.ok("POST", "/cells/c0/cordon")
    ground.fleet.ok("POST", "/cells/c1/cordon")
    for name in ("c0", "c1"):
        ground.fleet.ok("POST", f"/cells/{name}/uncordon")
    wait_for(lambda: ground.waiting() == 0, 40, "every answer")
    client.close()


# --- faults

def rage(ground, faults, life, count):
    """So many faults; each hits what is under way again, or what has not come back yet."""
    for number in range(count):
        before = ground.effects()
        faults.one()
        deadline = time.monotonic() + (60 if number % 8 == 0 else 2)
        while ground.effects() == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert number % 8 or ground.effects() > before, "nothing goes on"
        if number % 50 == 49:
            print(f"\n{number + 1} faults: {dict(life.counts)}, {ground.effects()} effects, {ground.waiting()} wait", flush=True)


def compare(ground, faults):
    """After the faults: every command is answered, and what was done is what was intended."""
    def judge():
        made = ground.books["cfmd"].count()
        judged = ground.judge()
        return judged if ground.waiting() == 0 and ground.books["cfmd"].count() == made else None
    wait_for(lambda: ground.waiting() == 0, 120, "the answer to every command")
    totals, wrong = wait_for(judge, 60, "a judgement while nothing goes on")
    print(f"\n{dict(faults.counts)}\n{totals}", flush=True)
    assert not wrong, wrong
    assert totals["commands"] == totals["effects"] > faults.counts.total()
    assert totals["lost"] == totals["doubled"] == totals["disordered"] == totals["unordered"] == 0
    assert not [one for one in ground.parked() if "command" in ground.fleet.ok("GET", f"/parked/{one['id']}")], "a command was given up"


def storm(ground, count, part=100):
    """So many faults while participants come and go, compared after each part of them."""
    faults = Faults(ground)
    while count > 0:
        life, started = Life(ground), time.monotonic()
        life.start()
        rage(ground, faults, life, min(count, part))
        life.end()
        compare(ground, faults)
        print(f"{min(count, part)} faults in {time.monotonic() - started:.0f} s: {dict(life.counts)}", flush=True)
        count -= part
    # and everything still works
    for name in ground.names:
        wait_for(lambda: ground.fleet.status(name) in (*HEARD, "FLAPPING"), 90, f"{name} to be heard")
        ground.fleet.ok("POST", f"/cells/{name}/uncordon")
    if all(map(ground.fleet.is_heard, ground.names)):
        # placement hears at once that components are not ready, and after a while that they are again
        wait_for(lambda: ground.has_room(), 60, "components that are ready")
        id = ground.deploy(is_spread=len(ground.names) > 1)
        ground.wait(id, "active", 60)


@pytest.mark.parametrize("binary", SERVERS)
@pytest.mark.parametrize("store", STORES)
def test_every_command_is_done_once_whatever_breaks(make, store, binary):
    storm(make(store, binary=binary, seed=int(os.environ.get("CELLD_SEED", "7"))), 8)


@pytest.mark.skipif("CELLD_REAL_FAULTS" not in os.environ, reason="takes long: CELLD_REAL_FAULTS is how many, for each store and broker")
@pytest.mark.parametrize("binary", SERVERS)
@pytest.mark.parametrize("store", STORES)
def test_very_many_faults(make, store, binary):
    storm(make(store, binary=binary, seed=int(os.environ.get("CELLD_SEED", "11"))), int(os.environ["CELLD_REAL_FAULTS"]))


# --- figures: CELLD_FIGURES=1, CELLD_PROGRAMS of a release build, a quiet machine

@pytest.mark.skipif("CELLD_FIGURES" not in os.environ, reason="figures for people: CELLD_FIGURES=1")
@pytest.mark.parametrize("store", STORES)
def test_figures(make, store):
    ground = make(store, cells=("c0",))
    active, told = [], []
    for number in range(60):
        start, done = time.monotonic(), orders(ground, "c0")["active"]
        begun = time.monotonic()
        id = ground.deploy()
        while ground.managers.states(ground.tenant, id) != {"active"}:
            assert time.monotonic() - start < 20
        active.append((time.monotonic() - begun) * 1000)
        while orders(ground, "c0")["active"] < done + 4:
            assert time.monotonic() - start < 20
        told.append((time.monotonic() - begun) * 1000)
    print(f"\n{store}: four VPAs active after {statistics.median(active[10:]):.1f} ms (median of 50), most {max(active[10:]):.1f}; "
        f"and their cell has been told after {statistics.median(told[10:]):.1f} ms")
    client = ground.broker.client()
    config = client.api("STREAM.INFO.celld-cmd")["config"]
    client.api("STREAM.UPDATE.celld-cmd", config | {"max_bytes": 1})
    before = ground.effects()
    ids = [ground.deploy() for _ in range(300)]
    for id in ids:
        ground.wait(id, "active", 120)
    waiting = ground.waiting()
    client.api("STREAM.UPDATE.celld-cmd", config)
    ground.fleet.ok("POST", "/cells/c0/cordon")
    begun = time.monotonic()
    wait_for(lambda: ground.waiting() == 0, 120, "every answer")
    took = time.monotonic() - begun
    print(f"{store}: {waiting} commands sent, done and answered in {took:.2f} s: {waiting / took:.0f}/s ({ground.effects() - before} effects)")
