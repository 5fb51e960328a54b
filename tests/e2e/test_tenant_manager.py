"""The Tenant Manager as its clients see it: every method and path, its body, status, headers and answer, written out."""
import json
import re
import signal
import sqlite3

import pytest

from conftest import wait_for
from managers import Managers, broker, managers, own_managers  # noqa: F401 (fixtures)
from nats import NatsServer

READ, WRITE = "tenant-manager-api:read", "tenant-manager-api:write"
NEVER = "0001-01-01T00:00:00Z"
NOWHERE = "nats://127.0.0.1:1"  # no broker: requests are taken all the same


class Pattern:
    def __init__(self, expression):
        self.expression = re.compile(expression)

    def __eq__(self, other):
        return isinstance(other, str) and self.expression.fullmatch(other) is not None

    def __repr__(self):
        return self.expression.pattern


UUID = Pattern("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = Pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def error(status, message):
    names = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 500: "Internal Server Error"}
    return status, {"error": names[status], "message": message, "code": status}


@pytest.fixture(scope="module")
def tm(tmp_path_factory, broker):  # noqa: F811
    """A Tenant Manager alone: what it sends is not taken by a Provision Manager."""
    one = Managers(tmp_path_factory.mktemp("tm"), broker.url, {"fabric": {"provision_manager": False, "stream": "cfm-stream"}}).start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def nats(tm, broker):  # noqa: F811
    client = broker.client()
    wait_for(lambda: "error" not in client.api("STREAM.INFO.cfm-stream"), what="the stream")
    client.consumer("cfm-stream", "cfm-orchestration", "event.cfm-orchestration")
    yield client
    client.close()


def shot(tm, method, path, body=None):
    """(status, body), the type checked."""
    status, headers, answer = tm.call(method, path, body)
    assert headers["content-type"] == "application/json", f"{method} {path}"
    return status, answer


def manifest(nats):
    """The next one, taken."""
    messages = nats.pull("cfm-stream", "cfm-orchestration", timeout=30)
    assert messages, "no manifest came"
    nats.ack(messages[0])
    return messages[0].json()


def respond(nats, order, success=True, properties=None, **members):
    answer = {"id": "11111111-2222-4333-8444-555555555555", "manifestId": order["id"], "correlationId": order["correlationId"],
        "orchestrationType": order["orchestrationType"], "success": success, "properties": properties or {}, **members}
    assert "error" not in nats.js_publish("event.cfm-orchestration-response", answer)


# --- tenants

def test_tenants(tm):
    status, tenant = shot(tm, "POST", "/tenants", {"id": "ignored", "properties": {"group": "suppliers", "n": 1, "deep": {"a": [1, None]}}, "unknown": 1})
    assert (status, tenant) == (201, {"id": UUID, "version": 0, "properties": {"group": "suppliers", "n": 1, "deep": {"a": [1, None]}}})
    path = f"/tenants/{tenant['id']}"
    assert shot(tm, "GET", path) == (200, tenant)
    assert shot(tm, "GET", path + "/") == (200, tenant)

    status, bare = shot(tm, "POST", "/tenants", {})
    assert (status, bare) == (201, {"id": UUID, "version": 0})
    assert shot(tm, "POST", "/tenants", {"properties": None}) == (201, {"id": UUID, "version": 0})

    assert shot(tm, "PATCH", path, {"properties": {"n": 2, "new": True}, "removed": ["deep", "missing"]}) == (200, None)
    assert shot(tm, "GET", path) == (200, {"id": tenant["id"], "version": 0, "properties": {"group": "suppliers", "n": 2, "new": True}})
    assert shot(tm, "PATCH", path, {"removed": ["group", "n", "new"]}) == (200, None)
    assert shot(tm, "GET", path) == (200, {"id": tenant["id"], "version": 0})
    assert shot(tm, "PATCH", path, {}) == (200, None)

    assert shot(tm, "DELETE", path) == (200, None)
    for method, body in (("GET", None), ("PATCH", {}), ("DELETE", None)):
        assert shot(tm, method, path, body) == error(404, "Not found")


@pytest.mark.parametrize("method, path, body, expected", [
    ("POST", "/tenants", b"", (400, "Invalid JSON: the body is empty")),
    ("POST", "/tenants", b"{", (400, "Invalid JSON: at byte 1")),
    ("POST", "/tenants", b"[]", (400, "Invalid JSON: must be an object")),
    ("POST", "/tenants", b'{"a":1,"a":2}', (400, "Invalid JSON: at byte 7")),
    ("POST", "/tenants", {"properties": []}, (400, "Invalid JSON: properties: must be an object")),
    ("PATCH", "/tenants/x", {"removed": [1]}, (400, "Invalid JSON: removed: must be an array of texts")),
    ("PUT", "/tenants", {}, (405, "Method not allowed")),
    ("POST", "/tenants/query/more", {}, (404, "Not found")),
    ("GET", "/", None, (404, "Not found")),
    ("GET", "/nothing", None, (404, "Not found")),
    ("GET", "/tenants/a%2Fb", None, (400, "Invalid path")),
    ("GET", "/tenants?offset=x", None, (400, "Invalid offset: must be a number from 0 to 2147483647")),
    ("GET", "/tenants?limit=-1", None, (400, "Invalid limit: must be a number from 0 to 2147483647")),
    ("POST", "/tenants/query", {"predicate": "id ="}, (400, "Client error: parse error: line 1:4 a value is expected: 'text', a number, true, false or null")),
    ("POST", "/tenants/query", {"predicate": 1}, (400, "Invalid JSON: predicate: must be a text")),
    ("POST", "/tenants/query", {"offset": -1}, (400, "Invalid JSON: offset: must be a number from 0 on")),
    ("POST", "/tenants/query", {"limit": "1"}, (400, "Invalid JSON: limit: must be a number from 0 on")),
    ("POST", "/cells", {"state": "alive"}, (400, "Invalid payload: state: must be initial, pending, active, disposing, disposed, locked, offline or error")),
    ("POST", "/cells", {}, (400, "Invalid payload: state: must be initial, pending, active, disposing, disposed, locked, offline or error")),
    ("POST", "/cells", {"state": "active", "stateTimestamp": "now"}, (400, "Invalid JSON: stateTimestamp: must be an RFC 3339 time")),
    ("POST", "/cells", {"state": 1}, (400, "Invalid JSON: state: must be a text")),
    ("DELETE", "/cells/none", None, (404, "Not found")),
    ("GET", "/cells/none", None, (405, "Method not allowed")),
    ("POST", "/dataspace-profiles", {"dataspaceSpec": {"protocolStack": "dsp"}}, (400, "Invalid JSON: dataspaceSpec.protocolStack: must be an array of texts")),
    ("POST", "/dataspace-profiles", {"dataspaceSpec": {"credentialSpecs": [{"id": 1}]}}, (400, "Invalid JSON: dataspaceSpec.credentialSpecs[].id: must be a text")),
    ("GET", "/dataspace-profiles/none", None, (404, "Not found")),
    ("DELETE", "/dataspace-profiles/none", None, (404, "Not found")),
    ("POST", "/dataspace-profiles/none/deployments", {"profileId": "none", "cellId": "none"}, (404, "Not found")),
    ("POST", "/tenants/none/participant-profiles", {"identifier": "did:web:a"}, (404, "Not found")),
    ("POST", "/tenants/none/participant-profiles", {}, (400, "Invalid payload: identifier: is required")),
    ("POST", "/tenants/none/participant-profiles", {"identifier": "d", "participantRoles": {"a": "b"}}, (400, "Invalid JSON: participantRoles: must be an object of arrays of texts")),
    ("POST", "/tenants/none/participant-profiles", {"identifier": "d", "vpaProperties": {"cfm.connector": 1}}, (400, "Invalid JSON: vpaProperties: must be an object of objects")),
    ("GET", "/tenants/none/participant-profiles/none", None, (404, "Not found")),
    ("DELETE", "/tenants/none/participant-profiles/none", None, (404, "Not found")),
    ("POST", "/participant-profiles/query", {"predicate": "who = 1"}, (400, "Client error: parse error: line 1:0 no such field")),
])
def test_refusals(tm, method, path, body, expected):
    assert shot(tm, method, path, body) == error(*expected)


def test_allow_header(tm):
    status, headers, _ = tm.call("PUT", "/tenants")
    assert (status, headers["allow"]) == (405, "GET, POST")
    status, headers, _ = tm.call("PUT", "/tenants/query")
    assert (status, headers["allow"]) == (405, "POST, GET, PATCH, DELETE")  # "query" may be a tenant's id


# --- pages

def test_pages_and_queries(own_managers):  # noqa: F811
    tm = own_managers(NOWHERE, {"fabric": {"provision_manager": False}}).start()
    ids = sorted(tm.tenant({"n": number, "group": "even" if number % 2 == 0 else "odd"}) for number in range(5))

    def page(method, path, body=None):
        status, headers, answer = tm.call(method, path, body)
        assert status == 200
        return [ids.index(one["id"]) for one in answer], headers["x-total-count"], headers["link"].split(", ")

    assert page("GET", "/tenants") == ([0, 1, 2, 3, 4], "5", ['</tenants?offset=0&limit=0>; rel="self"', '</tenants?offset=0&limit=0>; rel="first"'])
    assert page("GET", "/tenants?limit=2") == ([0, 1], "5", ['</tenants?offset=0&limit=2>; rel="self"', '</tenants?offset=2&limit=2>; rel="next"',
        '</tenants?offset=0&limit=2>; rel="first"', '</tenants?offset=4&limit=2>; rel="last"'])
    assert page("GET", "/tenants?offset=2&limit=2") == ([2, 3], "5", ['</tenants?offset=2&limit=2>; rel="self"', '</tenants?offset=4&limit=2>; rel="next"',
        '</tenants?offset=0&limit=2>; rel="prev"', '</tenants?offset=0&limit=2>; rel="first"', '</tenants?offset=4&limit=2>; rel="last"'])
    assert page("GET", "/tenants?offset=4&limit=2") == ([4], "5", ['</tenants?offset=4&limit=2>; rel="self"', '</tenants?offset=2&limit=2>; rel="prev"',
        '</tenants?offset=0&limit=2>; rel="first"', '</tenants?offset=4&limit=2>; rel="last"'])
    assert page("GET", "/tenants?offset=9") == ([], "5", ['</tenants?offset=9&limit=0>; rel="self"', '</tenants?offset=0&limit=0>; rel="prev"',
        '</tenants?offset=0&limit=0>; rel="first"'])

    everything = (['</tenants/query?offset=0&limit=10000>; rel="self"', '</tenants/query?offset=0&limit=10000>; rel="first"',
        '</tenants/query?offset=0&limit=10000>; rel="last"'])
    for predicate in ("true", "", " TRUE "):
        assert page("POST", "/tenants/query", {"predicate": predicate}) == ([0, 1, 2, 3, 4], "5", everything)
    assert page("POST", "/tenants/query", {}) == ([0, 1, 2, 3, 4], "5", everything)
    assert page("POST", "/tenants/query", {"limit": 99999})[2] == everything
    even, total, _ = page("POST", "/tenants/query", {"predicate": "properties.group = 'even'"})
    assert (len(even), total) == (3, "3")
    assert page("POST", "/tenants/query", {"predicate": "properties.group = 'even'", "offset": 1, "limit": 1}) == ([even[1]], "3", [
        '</tenants/query?offset=1&limit=1>; rel="self"', '</tenants/query?offset=2&limit=1>; rel="next"', '</tenants/query?offset=0&limit=1>; rel="prev"',
        '</tenants/query?offset=0&limit=1>; rel="first"', '</tenants/query?offset=2&limit=1>; rel="last"'])
    assert page("POST", "/tenants/query", {"predicate": f"id = '{ids[3]}' or id = '{ids[1]}'"})[:2] == ([1, 3], "2")
    assert page("POST", "/tenants/query", {"predicate": "properties.n > 99"})[:2] == ([], "0")

    # one array, each element ended by a newline
    _, _, text = tm.request("GET", "/api/v1alpha1/tenants?limit=2", headers={"Authorization": f"Bearer {tm.token()}"})
    assert re.fullmatch(rb'\[\{"id":"[^\n]+\}\n,\{"id":"[^\n]+\}\n\]', text), text


# --- cells

def definition(name, **members):
    return {"cellId": name, "name": "EU West Production", "type": "kubernetes", "region": "eu-west-1", "provider": "aws",
        "capacity": {"maxVPAs": 100},
        "infrastructure": {"kubernetes": {"cluster": "arn:aws:eks:eu-west-1:1:cluster/c", "namespace": "dataspace"},
            "vault": {"address": "https://vault.example", "path": "dataspace/eu-west-1"}, "database": {"host": "db.example", "database": "dataspace_eu_west_1"}},
        "labels": {"environment": "production", "gdpr-compliant": "true", "tier": "standard"}, **members}


def test_cells(tm):
    before = len(tm.ok("GET", "/cells"))
    status, bare = shot(tm, "POST", "/cells", {"externalId": "", "state": "ACTIVE", "stateTimestamp": "2026-07-24T12:00:00.120+02:00", "properties": {}})
    assert (status, bare) == (201, {"id": UUID, "version": 0, "externalId": "", "state": "active", "stateTimestamp": "2026-07-24T10:00:00.12Z"})
    status, named = shot(tm, "POST", "/cells", {"externalId": "one", "state": "offline", "properties": {"newCellKey": "newCellValue"}})
    assert (status, named) == (201, {"id": UUID, "version": 0, "externalId": "one", "state": "offline", "stateTimestamp": NEVER,
        "properties": {"newCellKey": "newCellValue"}})
    assert shot(tm, "POST", "/cells", {"externalId": "one", "state": "active"}) == error(409, "Conflict")
    status, cells = shot(tm, "GET", "/cells")
    assert status == 200 and bare in cells and named in cells and len(cells) == before + 2
    assert [cell["id"] for cell in cells] == sorted(cell["id"] for cell in cells)
    for cell in (bare, named):
        assert shot(tm, "DELETE", f"/cells/{cell['id']}") == (200, None)
        assert shot(tm, "DELETE", f"/cells/{cell['id']}") == error(404, "Not found")


def test_cell_with_definition(tm):
    status, cell = shot(tm, "POST", "/cells", {"properties": {"celld.definition": definition("cell-eu-west-1"), "other": 1}})
    shown = definition("cell-eu-west-1", capacity={"maxVPAs": 100, "currentVPAs": 0})
    assert (status, cell) == (201, {"id": UUID, "version": 0, "externalId": "cell-eu-west-1", "state": "pending", "stateTimestamp": NEVER,
        "properties": {"celld.definition": shown, "other": 1}})
    assert [one for one in tm.ok("GET", "/cells") if one["id"] == cell["id"]] == [cell]
    assert shot(tm, "POST", "/cells", {"state": "active", "properties": {"celld.definition": definition("cell-eu-west-1")}}) == error(409, "Conflict")

    status, headers, other = tm.call("POST", "/cells", {"state": "active", "externalId": "cell-2",
        "properties": {"celld.definition": definition("cell-2", capacity={"maxVPAs": 5, "currentVPAs": 42})}})
    assert status == 201 and other["properties"]["celld.definition"]["capacity"] == {"maxVPAs": 5, "currentVPAs": 0}
    assert headers["warning"].startswith('199 - "') and "currentVPAs" in headers["warning"]

    for wrong, message in (
            ({**definition("x"), "capacity": {"maxVPAs": -1}}, "Invalid payload: properties.celld.definition.capacity.maxVPAs: "),
            ({**definition("x"), "regoin": "eu"}, "Invalid payload: properties.celld.definition.regoin: "),
            ({key: value for key, value in definition("x").items() if key != "name"}, "Invalid payload: properties.celld.definition.name: ")):
        status, answer = shot(tm, "POST", "/cells", {"state": "active", "properties": {"celld.definition": wrong}})
        assert status == 400 and answer["message"].startswith(message), answer
    assert shot(tm, "POST", "/cells", {"state": "active", "externalId": "y", "properties": {"celld.definition": definition("x")}}) == error(400,
        "Invalid payload: externalId: must be the cellId of properties.celld.definition, or be left out")
    for one in (cell, other):
        assert shot(tm, "DELETE", f"/cells/{one['id']}") == (200, None)


# --- dataspace profiles

def test_dataspace_profiles(tm):
    spec = {"protocolStack": ["dsp-2025-1", "dcp-2025-1"], "credentialSpecs": [
        {"id": "membership", "type": "MembershipCredential", "issuer": "did:web:issuer.com", "format": "VC1_0_JWT"},
        {"type": "GovernanceCredential", "issuer": "did:web:issuer.com", "format": "VC1_0_JWT", "role": "oem"}]}
    shown = {"protocolStack": spec["protocolStack"], "credentialSpecs": [spec["credentialSpecs"][0], {"id": "", **spec["credentialSpecs"][1]}]}
    status, profile = shot(tm, "POST", "/dataspace-profiles", {"dataspaceSpec": spec, "artifacts": ["a"], "properties": {"p": 1}})
    assert (status, profile) == (201, {"id": UUID, "version": 0, "dataspaceSpec": shown, "artifacts": ["a"], "properties": {"p": 1}})
    status, bare = shot(tm, "POST", "/dataspace-profiles", {"artifacts": [], "properties": {}})
    assert (status, bare) == (201, {"id": UUID, "version": 0, "dataspaceSpec": {}})
    path = f"/dataspace-profiles/{profile['id']}"
    assert shot(tm, "GET", path) == (200, profile)
    listed = tm.ok("GET", "/dataspace-profiles")
    assert profile in listed and bare in listed

    cell = tm.cell(externalId="of-profile")
    assert shot(tm, "POST", path + "/deployments", {"profileId": profile["id"], "cellId": cell}) == (202, None)
    deployed = {**profile, "deployments": [{"id": UUID, "version": 0, "state": "active", "stateTimestamp": NEVER, "cellId": cell, "externalCellId": "of-profile"}]}
    assert shot(tm, "GET", path) == (200, deployed)
    assert shot(tm, "POST", "/dataspace-profiles/whatever/deployments", {"profileId": profile["id"], "cellId": "of-profile"}) == (202, None)
    assert shot(tm, "GET", path) == (200, deployed), "the same cell once"
    assert shot(tm, "POST", path + "/deployments", {"cellId": tm.cell()}) == (202, None)
    assert len(tm.ok("GET", path)["deployments"]) == 2
    assert shot(tm, "POST", path + "/deployments", {"cellId": "none"}) == error(404, "Not found")
    for one in (profile, bare):
        assert shot(tm, "DELETE", f"/dataspace-profiles/{one['id']}") == (200, None)
    assert shot(tm, "GET", path) == error(404, "Not found")


# --- participant profiles

@pytest.fixture(scope="module")
def ground(tm):
    """(tenant, cell, dataspace profile) that participants are deployed to."""
    cell = tm.cell()
    dataspace = tm.dataspace(cell, specs=[
        {"id": "m", "type": "MembershipCredential", "issuer": "did:web:issuer.com", "format": "VC1_0_JWT"},
        {"id": "g", "type": "GovernanceCredential", "issuer": "did:web:issuer.com", "format": "VC1_0_JWT", "role": "oem"}])
    return tm.tenant(), cell, dataspace


TYPES = ["cfm.connector", "cfm.credentialservice", "cfm.dataplane", "cfm.issuer"]


def deploy(tm, ground, **members):
    tenant, cell, dataspace = ground
    return tm.ok("POST", f"/tenants/{tenant}/participant-profiles", {"identifier": "did:web:foo.com", "cellId": cell, "dataspaceProfileIds": [dataspace], **members})


def test_participant_lives_and_dies(tm, nats, ground):
    tenant, cell, dataspace = ground
    body = {"identifier": "did:web:foo.com", "cellId": cell, "participantRoles": {dataspace: ["oem"]}, "dataspaceProfileIds": [dataspace],
        "vpaProperties": {"cfm.connector": {"connectorkey": "connectorvalue"}}, "properties": {"mine": True}}
    status, profile = shot(tm, "POST", f"/tenants/{tenant}/participant-profiles", body)

    def vpas(state):
        return [{"id": UUID, "version": 0, "state": state, "stateTimestamp": TIME, "type": type, "cellId": cell,
            **({"properties": {"connectorkey": "connectorvalue"}} if type == "cfm.connector" else {})} for type in TYPES]
    shown = {"id": UUID, "version": 0, "identifier": "did:web:foo.com", "tenantId": tenant, "participantRoles": {dataspace: ["oem"]},
        "vpas": vpas("pending"), "properties": {"mine": True}, "error": False}
    assert (status, profile) == (202, shown)
    path = f"/tenants/{tenant}/participant-profiles/{profile['id']}"
    assert shot(tm, "GET", path) == (200, profile)
    assert profile in tm.ok("GET", f"/tenants/{tenant}/participant-profiles")
    assert shot(tm, "GET", f"/tenants/other/participant-profiles/{profile['id']}") == error(404, "Not found")
    assert shot(tm, "GET", "/tenants/other/participant-profiles") == (200, [])

    # the manifest
    order = manifest(nats)
    data = [{"id": vpa["id"], "vpaType": vpa["type"], "cellId": cell, "externalCellId": "",
        **({"properties": {"connectorkey": "connectorvalue"}} if vpa["type"] == "cfm.connector" else {})} for vpa in profile["vpas"]]
    credentials = [
        {"id": "m", "type": "MembershipCredential", "issuer": "did:web:issuer.com", "format": "VC1_0_JWT", "role": ""},
        {"id": "g", "type": "GovernanceCredential", "issuer": "did:web:issuer.com", "format": "VC1_0_JWT", "role": "oem"}]
    assert order == {"id": UUID, "correlationId": profile["id"], "orchestrationType": "cfm.orchestration.vpa.deploy",
        "payload": {"cfm.participant.id": "did:web:foo.com", "cfm.vpa.data": data, "cfm.vpa.credentials": credentials}}

    # not before it is deployed, nor while it is
    ids = [vpa["id"] for vpa in profile["vpas"]]
    assert shot(tm, "DELETE", path) == error(500, f"Operation failed: cannot dispose VPAs {profile['id']} in states: " + ",".join(f"{id}:pending" for id in ids))
    assert shot(tm, "DELETE", f"/tenants/{tenant}") == error(400, "Bad request: the tenant has participant profiles")

    # the response
    respond(nats, order, properties={"participantContextId": "a" * 32, "agent.test.output": "test output"})
    wait_for(lambda: tm.states(tenant, profile["id"]) == {"active"}, what="active VPAs")
    active = {**shown, "vpas": vpas("active"), "properties": {"mine": True, "cfm.vpa.state": {"participantContextId": "a" * 32, "agent.test.output": "test output"}}}
    assert shot(tm, "GET", path) == (200, active)
    found = tm.ok("POST", "/participant-profiles/query", {"predicate": "vpas.type='cfm.connector' AND vpas.properties.connectorkey='connectorvalue'"})
    assert [one["id"] for one in found] == [profile["id"]]
    for predicate in ("identifier like '%foo%' AND error = false", f"dataspaceProfileIds CONTAINS '{dataspace}' AND vpas.state = 'active'",
            f"tenantId = '{tenant}' AND vpas.cellId = '{cell}'", "properties.\"cfm.vpa.state\".\"agent.test.output\" = 'test output'"):
        assert profile["id"] in [one["id"] for one in tm.ok("POST", "/participant-profiles/query", {"predicate": predicate})], predicate

    # the dispose manifest: what the deployment gave out stands at the top too
    assert shot(tm, "DELETE", path) == (202, None)
    assert tm.states(tenant, profile["id"]) == {"disposing"}
    disposal = manifest(nats)
    state = {"participantContextId": "a" * 32, "agent.test.output": "test output"}
    assert disposal == {"id": UUID, "correlationId": profile["id"], "orchestrationType": "cfm.orchestration.vpa.dispose",
        "payload": {"cfm.participant.id": "did:web:foo.com", "cfm.vpa.data": data, "cfm.vpa.credentials": credentials, "cfm.vpa.state": state, **state}}
    assert disposal["id"] != order["id"]
    assert shot(tm, "DELETE", path)[0] == 500
    respond(nats, disposal)
    wait_for(lambda: tm.states(tenant, profile["id"]) == {"disposed"}, what="disposed VPAs")

    # a response that comes again changes nothing
    respond(nats, order, properties={"late": 1})
    respond(nats, order, success=False, errorDetail="late")
    wait_for(lambda: tm.profile(tenant, profile["id"])["error"], what="the late failure")
    assert tm.states(tenant, profile["id"]) == {"disposed"}
    assert "late" not in tm.profile(tenant, profile["id"])["properties"]["cfm.vpa.state"]
    assert shot(tm, "DELETE", f"/tenants/{tenant}") == error(400, "Bad request: the tenant has participant profiles")


def test_roles_choose_credentials(tm, nats, ground):
    profile = deploy(tm, ground, participantRoles={ground[2]: ["other"]})
    order = manifest(nats)
    assert order["correlationId"] == profile["id"]
    assert [one["id"] for one in order["payload"]["cfm.vpa.credentials"]] == ["m"]


def test_failed_deployment(tm, nats, ground):
    """The error's detail is filled: from the response, else from the orchestration in the bucket."""
    tenant = ground[0]
    for detail, bucket, expected in (("the agent said no", None, "the agent said no"),
            (None, {"processingData": {"error": "401 from the vault"}}, "401 from the vault"),
            (None, None, "no cause was given")):
        profile = deploy(tm, ground)
        order = manifest(nats)
        if bucket is not None:
            nats.api("STREAM.CREATE.KV_cfm-bucket", {"name": "KV_cfm-bucket", "subjects": ["$KV.cfm-bucket.>"], "max_msgs_per_subject": 1})
            assert "error" not in nats.kv_put("cfm-bucket", order["id"], {"id": order["id"], **bucket})
        respond(nats, order, success=False, properties={"half": 1}, **({"errorDetail": detail} if detail else {}))
        wait_for(lambda: tm.states(tenant, profile["id"]) == {"error"}, what="the failure")
        failed = tm.profile(tenant, profile["id"])
        assert failed["error"] is True and expected in failed["errorDetail"]
        # what a compensation disposes of
        respond(nats, {**order, "id": "99999999-2222-4333-8444-555555555555", "orchestrationType": "cfm.orchestration.vpa.dispose"})
        wait_for(lambda: tm.states(tenant, profile["id"]) == {"disposed"}, what="the compensation")


def test_failed_disposal_is_no_disposal(tm, nats, ground):
    tenant = ground[0]
    profile = deploy(tm, ground)
    respond(nats, manifest(nats), properties={"participantContextId": "b" * 32})
    wait_for(lambda: tm.states(tenant, profile["id"]) == {"active"}, what="active VPAs")
    path = f"/tenants/{tenant}/participant-profiles/{profile['id']}"
    tm.ok("DELETE", path)
    respond(nats, manifest(nats), success=False, errorDetail="the cell is away")
    wait_for(lambda: tm.states(tenant, profile["id"]) == {"error"}, what="the failure")
    failed = tm.profile(tenant, profile["id"])
    assert failed["error"] is True and failed["errorDetail"] == "the cell is away"
    tm.ok("DELETE", path)  # and once more
    respond(nats, manifest(nats))
    wait_for(lambda: tm.states(tenant, profile["id"]) == {"disposed"}, what="the second disposal")


def test_no_place(own_managers):  # noqa: F811
    empty = own_managers(NOWHERE, {"fabric": {"provision_manager": False}}).start()
    tenant = empty.tenant()
    path = f"/tenants/{tenant}/participant-profiles"
    assert shot(empty, "POST", path, {"identifier": "did:web:a"}) == error(500, "Operation failed: no dataspace profiles found")
    dataspace = empty.dataspace()
    assert shot(empty, "POST", path, {"identifier": "did:web:a", "dataspaceProfileIds": ["none"]}) == error(500, "Operation failed: no dataspace profiles found")
    assert shot(empty, "POST", path, {"identifier": "did:web:a", "cellId": "none"}) == error(400, "Bad request: cellId: there is no such cell")
    cell = empty.cell(state="offline")
    status, answer = shot(empty, "POST", path, {"identifier": "did:web:a"})
    assert status == 500 and answer["message"].startswith("Operation failed: no active cell found: "), answer
    empty.ok("POST", f"/dataspace-profiles/{dataspace}/deployments", {"cellId": cell})
    status, answer = shot(empty, "POST", path, {"identifier": "did:web:a"})
    assert status == 500 and answer["message"].startswith("Operation failed: no active cell found: "), answer
    assert empty.ok("GET", path) == [] and empty.ok("DELETE", f"/tenants/{tenant}") is None


def test_responses_that_it_has_when_it_ends(own_managers, tmp_path):  # noqa: F811
    """What was asked of the database when it ends is answered: nothing is lost or left, and the responses come again."""
    server = NatsServer(tmp_path / "nats").start()
    try:
        one = own_managers(server.url, {"fabric": {"provision_manager": False, "stream": "cfm-stream"}}).start()
        client = server.client()
        wait_for(lambda: "error" not in client.api("STREAM.INFO.cfm-stream"), what="the stream")
        client.consumer("cfm-stream", "cfm-orchestration", "event.cfm-orchestration")
        tenant, cell = one.tenant(), one.cell()
        place = (tenant, cell, one.dataspace(cell))
        profiles = [deploy(one, place)["id"] for _ in range(2)]
        orders = [manifest(client) for _ in profiles]
        lock = sqlite3.connect(one.state / "fabric.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        for number, order in enumerate(orders):  # the first one's change waits for the lock, the second's question behind it
            respond(client, order)
            wait_for(lambda: client.api("CONSUMER.INFO.cfm-stream.cfm-orchestration-response").get("num_ack_pending") == number + 1, what="a response that it has")
        one.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.connections() == 1, 30, "a program that has left")  # this test's own
        lock.execute("ROLLBACK")
        lock.close()
        assert one.process.wait(60) == 0, one.log()
        one.start()
        wait_for(lambda: all(one.states(tenant, id) == {"active"} for id in profiles), 60, "both responses")
    finally:
        server.stop()


# --- messages that make no sense

def test_poison_is_parked(tm, nats):
    parked = {one["id"] for one in parked_of(tm)}
    for body in (b"{", b"[]", b'{"id":"x"}', json.dumps({"id": "x", "manifestId": "m", "correlationId": "c", "orchestrationType": "cfm.orchestration.key.rotate",
            "success": True}).encode()):
        assert "error" not in nats.js_publish("event.cfm-orchestration-response", body)
    wait_for(lambda: len({one["id"] for one in parked_of(tm)} - parked) == 4, what="what is parked")
    wait_for(lambda: nats.api("CONSUMER.INFO.cfm-stream.cfm-orchestration-response")["num_ack_pending"] == 0, what="the acknowledgements")


def parked_of(tm):
    status, _, answer = tm.call("GET", "/parked", base="/api/celld/v1")
    assert status == 200, answer
    return answer if isinstance(answer, list) else answer["parked"]


# --- tokens

def test_scopes(tm):
    tenant = tm.tenant()
    cases = [("GET", "/tenants", None, READ), ("POST", "/tenants", {}, WRITE), ("POST", "/tenants/query", {}, READ), ("GET", f"/tenants/{tenant}", None, READ),
        ("PATCH", f"/tenants/{tenant}", {}, WRITE), ("GET", f"/tenants/{tenant}/participant-profiles", None, READ),
        ("POST", f"/tenants/{tenant}/participant-profiles", {}, WRITE), ("GET", f"/tenants/{tenant}/participant-profiles/x", None, READ),
        ("DELETE", f"/tenants/{tenant}/participant-profiles/x", None, WRITE), ("POST", "/participant-profiles/query", {}, READ), ("GET", "/cells", None, READ),
        ("POST", "/cells", {}, WRITE), ("DELETE", "/cells/x", None, WRITE), ("GET", "/dataspace-profiles", None, READ), ("POST", "/dataspace-profiles", {}, WRITE),
        ("GET", "/dataspace-profiles/x", None, READ), ("DELETE", "/dataspace-profiles/x", None, WRITE), ("POST", "/dataspace-profiles/x/deployments", {}, WRITE),
        ("DELETE", f"/tenants/{tenant}", None, WRITE)]
    for method, path, body, scope in cases:
        status, headers, answer = tm.call(method, path, body, scopes=None)
        assert (status, answer) == (401, {"error": "Unauthorized", "message": "missing or invalid bearer token"}), path
        assert headers["www-authenticate"] == "Bearer"
        # word for word: neither the other one, nor more, nor a wildcard
        for wrong in (READ if scope == WRITE else WRITE, "tenant-manager-api:*", "tenant-manager-api:admin", scope + "s"):
            status, _, answer = tm.call(method, path, body, scopes=wrong)
            assert (status, answer) == error(403, f"Access not granted: required scope '{scope}' not present"), path
        assert tm.call(method, path, body, scopes=f"other:read {scope}")[0] not in (401, 403), path


def test_bad_tokens(tm):
    good = tm.token()
    for header in ("Basic eDp5", "Bearer", "Bearer ", f"Bearer {good}x", f"Bearer {good[:-2]}", "Bearer a.b.c"):
        status, _, answer = tm.request("GET", "/api/v1alpha1/tenants", headers={"Authorization": header})
        assert status == 401 and json.loads(answer)["error"] == "Unauthorized", header
    # a path that does not exist is 404 with or without one, as its router answers first
    assert tm.call("GET", "/nothing", scopes=None)[0] == 404


# --- the program

def test_admin_pages(tm):
    for path, expected in (("/healthz/live", 200), ("/healthz/ready", 200), ("/healthz/startup", 200), ("/healthz/x", 404), ("/metrics", 200), ("/", 200)):
        assert tm.request("GET", path, port=tm.admin_port)[0] == expected, path
    assert b"connected to nats://" in tm.request("GET", "/", port=tm.admin_port)[2]
    assert tm.request("GET", "/metrics")[0] == 404, "not on the public listener"
    assert tm.request("GET", "/health")[0] == 404, "the Tenant Manager has none"


def test_what_is_stored_comes_back(own_managers):  # noqa: F811
    tm = own_managers(NOWHERE, {"fabric": {"provision_manager": False}}).start()
    cell = tm.cell(externalId="kept")
    dataspace = tm.dataspace(cell, properties={"a": 1})
    tenant = tm.tenant({"b": 2})
    profile = tm.ok("POST", f"/tenants/{tenant}/participant-profiles", {"identifier": "did:web:kept"})
    before = [tm.ok("GET", path) for path in ("/tenants", "/cells", "/dataspace-profiles", f"/tenants/{tenant}/participant-profiles")]
    assert before[3] == [profile] and before[2][0]["id"] == dataspace
    tm.kill()
    tm.start()
    assert [tm.ok("GET", path) for path in ("/tenants", "/cells", "/dataspace-profiles", f"/tenants/{tenant}/participant-profiles")] == before


def test_bad_configuration(tmp_path, broker):  # noqa: F811
    import subprocess

    from conftest import PROGRAMS
    for config, message in (({"server": {"workers": 2}, "nats": {"urls": [broker.url]}}, "server.workers: cfmd runs on one worker"),
            ({"nats": {"urls": ["http://x"]}}, "nats.urls"), ({"fabric": {"strem": "x"}}, "fabric.strem"), ({}, "nats.urls")):
        path = tmp_path / "cfmd.json"
        path.write_text(json.dumps(config))
        run = subprocess.run([PROGRAMS / "cfmd", "--config", path, "--state", tmp_path / "state"], capture_output=True, text=True, timeout=60)
        assert run.returncode == 2 and message in run.stderr, run.stderr
    run = subprocess.run([PROGRAMS / "cfmd", "--print-config"], capture_output=True, text=True)
    assert run.returncode == 0 and '"tenant_manager": true' in run.stdout
