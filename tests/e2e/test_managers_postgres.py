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
