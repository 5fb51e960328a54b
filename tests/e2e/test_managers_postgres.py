"""Two replicas of the managers on one PostgreSQL and one broker: each sees what the other does, and either may go."""
import concurrent.futures
import os

import pytest

from agents import COMPLETE, DEPLOY, DISPOSE, Agent
from conftest import wait_for
from managers import Managers
from nats import NatsServer
from postgres import PROGRAMS as POSTGRES_PROGRAMS
from postgres import Postgres

pytestmark = pytest.mark.skipif(POSTGRES_PROGRAMS is None, reason="PostgreSQL is missing: apt-get install postgresql")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(replicas, broker)"""
    folder = tmp_path_factory.mktemp("replicas")
    database, server = Postgres().start(), NatsServer(folder / "nats").start()
    connection = folder / "connection"
    connection.write_text(database.options(database.database("fabric")))
    os.chmod(connection, 0o600)
    replicas = [Managers(folder / f"cfmd{number}", server.url, {"store": {"backend": "postgres", "connection_file": str(connection)}}).start() for number in range(2)]
    yield replicas, server
    for one in replicas:
        one.stop()
    server.stop()
    database.process.terminate()
    database.process.wait(30)


def test_two_replicas(world):
    (first, second), server = world

    def provide(context):
        context.outputs["participantContextId"] = "d" * 32
        return COMPLETE
    first.ok("POST", "/activity-definitions", {"type": "test-activity"})
    first.ok("POST", "/orchestration-definitions", {"activities": {type: [{"id": "one", "type": "test-activity"}] for type in (DEPLOY, DISPOSE)}})
    agent = Agent(server, "test-activity", provide)
    cell = first.cell(externalId="shared")
    dataspace = first.dataspace(cell)
    tenant = first.tenant({"shared": True})
    wait_for(lambda: second.call("GET", f"/tenants/{tenant}")[0] == 200 and second.ok("GET", "/dataspace-profiles") and second.ok("GET", "/cells"), what="the other's records")
    assert second.ok("GET", "/dataspace-profiles")[0]["id"] == dataspace

    # changes of one record by both at once: none is lost
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        changes = [pool.submit(replica.call, "PATCH", f"/tenants/{tenant}", {"properties": {f"p{number}": number}}) for number in range(10) for replica in (first, second)]
        results = [change.result() for change in changes]
    assert {status for status, _, _ in results} <= {200, 409}
    kept = {f"p{number // 2}" for number, (status, _, _) in enumerate(results) if status == 200}
    wait_for(lambda: kept <= set(first.ok("GET", f"/tenants/{tenant}")["properties"]), what="the changes")

    # participants through both
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        deployed = [pool.submit(replica.ok, "POST", f"/tenants/{tenant}/participant-profiles", {"identifier": f"did:web:{number}"})
            for number in range(10) for replica in (first, second)]
        ids = [one.result()["id"] for one in deployed]
    for id in ids:
        for replica in (first, second):
            wait_for(lambda: replica.call("GET", f"/tenants/{tenant}/participant-profiles/{id}")[0] == 200 and replica.states(tenant, id) == {"active"}, 60, "active VPAs")
    status, headers, _ = second.call("POST", "/participant-profiles/query", {"predicate": f"tenantId = '{tenant}' AND vpas.state = 'active'"})
    assert (status, headers["x-total-count"]) == (200, "20")

    # one goes; the other goes on
    first.kill()
    for id in ids[:3]:
        second.ok("DELETE", f"/tenants/{tenant}/participant-profiles/{id}")
        wait_for(lambda: second.states(tenant, id) == {"disposed"}, 90, "disposed VPAs")
    first.start()
    assert all(first.states(tenant, id) == {"disposed"} for id in ids[:3])
    agent.stop()


def test_the_last_slots_are_given_once(world):
    """Many clients ask both replicas at once for more than there is: exactly what there is is placed, none of it twice. CELLD_REAL_DEPLOYMENTS: how many ask."""
    replicas, _ = world
    asked = int(os.environ.get("CELLD_REAL_DEPLOYMENTS", "240"))
    room = {f"small-{number}": 4 * max(1, asked * (number + 1) // 24) for number in range(6)}  # VPAs; a participant has four, in one cell
    definition = {"name": "n", "type": "standalone", "region": "eu-1", "provider": "own"}
    cells = {replicas[0].cell(externalId=name, properties={"celld.definition": {"cellId": name, "capacity": {"maxVPAs": most}, **definition}}): name
        for name, most in room.items()}
    dataspace = replicas[0].dataspace(*cells)
    tenant = replicas[0].tenant()
    path = f"/tenants/{tenant}/participant-profiles"
    wait_for(lambda: replicas[1].call("GET", f"/tenants/{tenant}")[0] == 200 and len([one for one in replicas[1].ok("GET", "/cells") if one["id"] in cells]) == len(room), what="the other's records")
    replicas[0].token(), replicas[1].token()

    def deploy(number):
        """The profile's id, or None: no cell has room."""
        for turn in range(200):
            status, _, answer = replicas[(number + turn) % 2].call("POST", path, {"identifier": f"did:web:{number}", "dataspaceProfileIds": [dataspace]})
            if status == 202:
                return answer["id"]
            if "no active cell found" in answer["message"]:
                return None
            assert status in (409, 500, 503), (status, answer)  # overtaken too often, too much waits: it is asked again
        raise AssertionError(answer)
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        placed = [id for id in pool.map(deploy, range(asked)) if id is not None]
    assert 4 * len(placed) == sum(room.values()) < 4 * asked
    for replica in replicas:
        wait_for(lambda: len(replica.ok("GET", path)) == len(placed), 30, "the other's profiles")
        profiles = replica.ok("GET", path)
        assert sorted(profile["id"] for profile in profiles) == sorted(placed)
        vpas = [vpa for profile in profiles for vpa in profile["vpas"]]
        assert len({vpa["id"] for vpa in vpas}) == len(vpas)
        lives = {name: sum(cells[vpa["cellId"]] == name for vpa in vpas) for name in room}
        assert lives == room
        booked = {one["externalId"]: one["properties"]["celld.definition"]["capacity"]["currentVPAs"] for one in replica.ok("GET", "/cells") if one["id"] in cells}
        assert booked == room
