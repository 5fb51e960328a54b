"""Placement: cells with definitions, participants that are placed, dry runs, explanations, replay, and what is left after kill -9."""
import json
import sqlite3
import subprocess
import threading

import pytest

from conftest import PROGRAMS, wait_for
from managers import Managers, broker  # noqa: F401
import postgres

OWN = "/api/celld/v1"


@pytest.fixture()
def fabric(tmp_path, broker):  # noqa: F811
    one = Managers(tmp_path, broker.url).start()
    yield one
    if one.process.poll() is None:
        one.stop()


def define(fabric, name, most, **members):
    definition = {"cellId": name, "name": name, "type": "standalone", "region": "eu-1", "provider": "own",
        "capacity": {"maxVPAs": most}, **members}
    return fabric.cell(externalId=name, properties={"celld.definition": definition})


def post(fabric, path, body, query=""):
    return fabric.call("POST", path + query, body, base=OWN)


def text(fabric, method, path, body=None):
    headers = {"Authorization": f"Bearer {fabric.token()}"}
    status, answer, body = fabric.request(method, OWN + path, json.dumps(body).encode() if body is not None else None, headers)
    assert answer["content-type"].startswith("text/plain"), (status, body)
    return status, body.decode()


def edges(fabric):
    cells = [define(fabric, "central", 40, jurisdictions=["EU"])]
    for number in (1, 2):
        cells.append(define(fabric, f"edge-{number}", 5, type="edge", jurisdictions=["EU"], components=["cfm.dataplane"],
            connectivity="intermittent", topology={"site": f"plant-{number}"}, taints=[{"key": "edge", "value": "", "effect": "NoPlace"}]))
    return cells


def deploy(fabric, tenant, dataspace, placement=None):
    properties = {"celld.placement": placement} if placement else {}
    return fabric.call("POST", f"/tenants/{tenant}/participant-profiles",
        {"identifier": "did:web:x.example", "dataspaceProfileIds": [dataspace], "properties": properties})


def test_the_users_example_spans_three_cells(fabric):
    cells = edges(fabric)
    tenant, dataspace = fabric.tenant(), fabric.dataspace(*cells)
    edge = {"require": {"type": "edge"}, "tolerations": [{"key": "edge"}]}
    placement = {"dataplanes": [{**edge, "require": {"type": "edge", "site": "plant-1"}}, {**edge, "require": {"type": "edge", "site": "plant-2"}}]}
    status, _, profile = deploy(fabric, tenant, dataspace, placement)
    assert status == 202, profile
    names = dict(zip(cells, ("central", "edge-1", "edge-2")))
    assert sorted((vpa["type"], names[vpa["cellId"]]) for vpa in profile["vpas"]) == [("cfm.connector", "central"), ("cfm.credentialservice", "central"),
        ("cfm.dataplane", "edge-1"), ("cfm.dataplane", "edge-2"), ("cfm.issuer", "central")]


def test_a_dry_run_says_of_each_cell_why(fabric):
    edges(fabric)
    request = {"type": "cfm.dataplane", "require": {"labels": {"tier": "gold"}}}
    status, _, answer = post(fabric, "/placements", request)
    assert status == 200 and answer["chosen"] == [] and answer["dryRun"]
    explain = answer["explain"]
    assert explain["evaluated"] == 3 and explain["feasible"] == 0 and explain["filtered"] == {"labels": 3}
    assert "nearest miss: central lacks label tier=gold" in explain["reason"]
    assert {cell["cell"]: cell["filters"] for cell in explain["cells"]} == {"central": ["labels"], "edge-1": ["labels", "taints"], "edge-2": ["labels", "taints"]}
    assert explain["chosen"] is None and explain["conflicts"] == 0 and explain["micros"] < 20000
    status, lines = text(fabric, "POST", "/placements?format=text", request)
    assert lines.splitlines()[0] == "no cell fits"
    assert any(line.split() == "edge-1 lacks label tier=gold and has taint edge".split() for line in lines.splitlines())
    # as a group, and with the cell pinned by either of its names
    status, _, answer = post(fabric, "/placements", {"dryRun": True, "requests": [{"type": "cfm.connector"},
        {"type": "cfm.dataplane", "tolerations": [{"key": "edge"}], "require": {"cell": "edge-2"}}]})
    assert status == 200 and answer["chosen"] == ["central", "edge-2"]
    assert [decision["chosen"] for decision in answer["explain"]["decisions"]] == ["central", "edge-2"]
    for bad, member in (({"type": "cfm.dataplane", "regoin": "x"}, "regoin"), ({"requests": []}, "requests"), ({"requests": [{}]}, "type"),
            ({"requests": [{"type": "cfm.issuer"}], "dryRun": False}, "dryRun")):
        status, _, answer = post(fabric, "/placements", bad)
        assert status == 400 and member in answer["message"], answer
    assert post(fabric, "/placements", request, "?format=xml")[0] == 400
    assert fabric.call("POST", "/placements", request, scopes=None, base=OWN)[0] == 401
    assert fabric.call("POST", "/placements", request, scopes="provision-manager-api:read", base=OWN)[0] == 403


def test_what_was_decided_is_explained_and_decided_again(fabric):
    cells = edges(fabric)
    tenant, dataspace = fabric.tenant(), fabric.dataspace(*cells)
    status, _, profile = deploy(fabric, tenant, dataspace)
    assert status == 202
    database = sqlite3.connect(next(fabric.state.glob("*.db")))
    record, body = database.execute("SELECT id, body FROM record WHERE kind = 'decision' ORDER BY id DESC LIMIT 1").fetchone()
    stored = json.loads(body)
    assert stored["decisions"][0]["chosen"] == ["central"] * 4
    status, _, explain = fabric.call("GET", f"/placements/{record}-0/explain", base=OWN)
    assert status == 200 and explain["decisions"][0]["chosen"] == "central"
    status, lines = text(fabric, "GET", f"/placements/{record}-0/explain?format=text")
    assert "cfm.connector + cfm.credentialservice + cfm.dataplane + cfm.issuer: central, of 1 of 3 cells" in lines
    assert "chosen" in lines and "edge-1" in lines
    # others come and go: the decision of then stays the same
    for _ in range(3):
        assert deploy(fabric, tenant, dataspace)[0] == 202
    define(fabric, "better", 1000, jurisdictions=["EU"])
    status, _, answer = post(fabric, "/placements:replay", {"decisionId": f"{record}-0"})
    assert status == 200 and answer["same"] and answer["replayed"] == ["central"] * 4
    for id in ("0" * 32 + "-0", f"{record}-9", "nonsense", record):
        assert fabric.call("GET", f"/placements/{id}/explain", base=OWN)[0] == 404
    assert post(fabric, "/placements:replay", {})[0] == 400
    fabric.kill()
    fabric.start()  # another process, which makes that snapshot from what was stored
    with sqlite3.connect(fabric.state / "fabric.db") as database:
        stored = dict(database.execute("SELECT id, body FROM record WHERE kind = 'decision'"))
    assert len(stored) >= 4 and all(json.loads(body)["process"] for body in stored.values())
    for one, body in stored.items():
        chosen = json.loads(body)["decisions"][0]["chosen"]
        status, _, answer = post(fabric, "/placements:replay", {"decisionId": f"{one}-0"})
        assert status == 200 and answer["same"] and answer["replayed"] == chosen, answer
    assert text(fabric, "POST", "/placements:replay?format=text", {"decisionId": f"{record}-0"}) == (200, "the same: central, central, central, central\n")
    assert fabric.call("GET", f"/placements/{record}-0/explain", base=OWN)[0] == 200
    with sqlite3.connect(fabric.state / "fabric.db") as database:
        database.execute("UPDATE record SET body = replace(body, '\"image\"', '\"gone\"') WHERE kind = 'decision'")
    status, _, answer = post(fabric, "/placements:replay", {"decisionId": f"{record}-0"})
    assert status == 410 and answer["message"] == "what this decision was made on is no longer stored"


def test_capacity_holds_through_kill_and_never_overflows(fabric):
    """F25, F27: whoever was answered has its room, nobody else has."""
    cell = define(fabric, "small", 40)
    tenant, dataspace = fabric.tenant(), fabric.dataspace(cell)
    statuses = [deploy(fabric, tenant, dataspace)[0] for _ in range(6)]
    assert statuses == [202] * 6
    fabric.kill()
    fabric.start()
    statuses = [deploy(fabric, tenant, dataspace) for _ in range(8)]
    assert [status for status, _, _ in statuses] == [202] * 4 + [500] * 4
    assert "small is full (40 of 40 VPAs booked, 4 asked)" in statuses[-1][2]["message"]
    shown = [cell for cell in fabric.ok("GET", "/cells") if cell["externalId"] == "small"][0]
    assert shown["properties"]["celld.definition"]["capacity"]["currentVPAs"] == 40
    profiles = fabric.ok("GET", f"/tenants/{tenant}/participant-profiles")
    assert sum(len(profile["vpas"]) for profile in profiles) == 40


def test_cellctl_places(fabric, tmp_path):
    edges(fabric)

    def ctl(*arguments, check=True, **options):
        return subprocess.run([PROGRAMS / "cellctl", *arguments, "--url", f"http://127.0.0.1:{fabric.port}", "--state", fabric.state],
            capture_output=True, text=True, check=check, **options)
    assert ctl("place", "cfm.connector").stdout.splitlines()[0] == "chosen: central"
    lines = ctl("place", "cfm.dataplane", "require.type=edge", "tolerate=edge", "--explain").stdout.splitlines()
    assert lines[0].startswith("chosen: edge-") and any(line.split()[:2] == ["central", "is"] for line in lines)
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"type": "cfm.dataplane", "require": {"jurisdictions": ["US"]}}))
    result = ctl("place", "--file", file, "--explain", check=False)
    assert result.returncode == 1 and "0 of 3 cells" in result.stdout and "central  is outside US" in result.stdout
    assert json.loads(ctl("place", "--file", "-", "--json", input='{"type":"cfm.issuer"}').stdout)["chosen"] == ["central"]
    assert ctl("place", check=False).returncode == 2


def test_two_managers_on_one_database_never_book_a_slot_twice(tmp_path, broker):  # noqa: F811
    """F25 with replicas: both place at once for cells that cannot take them all, one of them is killed and comes back."""
    server = postgres.Postgres()
    try:
        server.start()
        file = tmp_path / "connection"
        file.write_text(server.options(server.database("fabric")))
        file.chmod(0o600)
        settings = {"store": {"backend": "postgres", "connection_file": str(file), "statement_ms": "20 s"}}
        pair = [Managers(tmp_path / name, broker.url, settings).start() for name in ("one", "two")]
        room = {f"c{number}": 36 + 12 * number for number in range(3)}  # 144 VPAs, 36 participants of four
        cells = [define(pair[0], name, most) for name, most in room.items()]
        tenant, dataspace = pair[0].tenant(), pair[0].dataspace(*cells)
        wait_for(lambda: pair[1].call("GET", f"/dataspace-profiles/{dataspace}")[0] == 200, 30, "the other's news")
        answers, lock = [], threading.Lock()

        def client(number, count):
            for _ in range(count):
                try:
                    answer = deploy(pair[number], tenant, dataspace)
                except OSError:
                    continue  # it was killed: whether it was stored is for the database to say
                with lock:
                    answers.append(answer)
        threads = [threading.Thread(target=client, args=(number % 2, 10)) for number in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(answers) > 8, 60, "placements")
        pair[1].kill()
        pair[1].start()
        for thread in threads:
            thread.join()
        while (last := deploy(pair[1], tenant, dataspace))[0] == 202:
            answers.append(last)
        assert "0 of 3 cells: 3 full" in last[2]["message"], last
        assert {status for status, _, _ in answers} <= {202, 500}, [answer for answer in answers if answer[0] not in (202, 500)]
        used = json.loads("[" + server.sql("SELECT string_agg(body, ',') FROM record WHERE kind = 'cell_capacity' AND body LIKE '{\"used%'",
            "fabric").stdout + "]")
        assert sum(one["used"]["VPAs"] for one in used) == sum(room.values())
        booked = server.sql("SELECT sum(json_array_length(body::json -> 'vpas')) FROM record WHERE kind = 'participant_profile'", "fabric").stdout
        assert int(booked) == sum(room.values())  # as many as live there, and no more
        for one in pair:
            def profiles():
                return one.ok("GET", f"/tenants/{tenant}/participant-profiles")

            def lives():
                where = [vpa["cellId"] for profile in profiles() for vpa in profile["vpas"]]
                return {name: where.count(cell) for name, cell in zip(room, cells)}
            wait_for(lambda: lives() == room, 30, "the other's news")
            shown = {cell["externalId"]: cell["properties"]["celld.definition"]["capacity"]["currentVPAs"] for cell in one.ok("GET", "/cells")}
            assert shown == room
        stored = {profile["id"] for profile in profiles()}
        assert {answer["id"] for status, _, answer in answers if status == 202} <= stored
        for one in pair:
            one.stop()
    finally:
        server.stop()
