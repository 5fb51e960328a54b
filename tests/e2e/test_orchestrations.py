"""The provision manager of cfmd with a real broker and agents that behave as the existing ones."""
import json
import uuid

import pytest

from agents import BUCKET, COMPLETE, DEPLOY, DISPOSE, FATAL, SCHEDULE, STREAM, Agent, value_of
from conftest import wait_for
from managers import broker, managers, own_managers  # noqa: F401
from nats import NatsServer, server  # noqa: F401 (server: a fixture)
from postgres import Postgres

OWN = "/api/celld/v1"
QUICK = {"orchestration": {"sweep_ms": 100, "settle_ms": 300}}


@pytest.fixture
def agents():
    made = []

    def make(*arguments, **options):
        made.append(Agent(*arguments, **options))
        return made[-1]
    yield make
    for one in made:
        one.stop()


def define(cfmd, types, deploy, dispose=None, template=None):
    for type in types:
        cfmd.ok("POST", "/activity-definitions", {"type": type})
    activities = {DEPLOY: deploy, **({DISPOSE: dispose} if dispose else {})}
    return cfmd.ok("POST", "/orchestration-definitions", {"activities": activities, **({"id": template} if template else {})})["id"]


def activity(id, type, *needs):
    return {"id": id, "type": type, **({"dependsOn": list(needs)} if needs else {})}


def orchestrate(cfmd, payload=None, type=DEPLOY, id=None):
    id = id or str(uuid.uuid4())
    status, _, body = cfmd.call("POST", "/orchestrations", {"id": id, "correlationId": f"profile-{id}", "orchestrationType": type,
        "payload": payload or {}})
    assert status == 202, body
    return id


def state(cfmd, id):
    return cfmd.ok("GET", f"/orchestrations/{id}")["state"]


def compensations(cfmd, id):
    return [one for one in cfmd.ok("POST", "/orchestrations/query", {"predicate": f"correlationId = 'profile-{id}' AND orchestrationType = '{DISPOSE}'"})]


# --- REST shapes

def test_activity_definitions(managers):
    type = "shape.activity_1"
    schema = {"type": "object", "required": ["cfm.vpa.data"]}
    status, _, body = managers.call("POST", "/activity-definitions", {"type": type, "description": "d", "inputSchema": schema, "more": 1})
    assert (status, body) == (201, None)
    assert {"type": type, "description": "d", "inputSchema": schema} in managers.ok("GET", "/activity-definitions")
    managers.ok("POST", "/activity-definitions", {"type": type})  # upsert
    assert {"type": type} in managers.ok("GET", "/activity-definitions")
    assert managers.call("DELETE", f"/activity-definitions/{type}")[::2] == (200, None)
    status, _, body = managers.call("DELETE", f"/activity-definitions/{type}")
    assert (status, body) == (404, {"error": "Not Found", "message": "Not found", "code": 404})


@pytest.mark.parametrize("body, part", [({}, "type"), ({"type": "a b"}, "type"), ({"type": 1}, "type"), ({"type": "a", "inputSchema": []}, "inputSchema")])
def test_activity_definitions_refused(managers, body, part):
    status, _, answer = managers.call("POST", "/activity-definitions", body)
    assert status == 400 and part in answer["message"] and answer["message"].startswith("Invalid ")


def test_orchestration_definitions(managers):
    for type in ("def-a", "def-b"):
        managers.ok("POST", "/activity-definitions", {"type": type})
    template = {"id": "template-1", "description": "d", "activities": {"custom.deploy": [activity("a", "def-a"), activity("b", "def-b", "a")],
        "custom.dispose": [activity("u", "def-a")]}}
    status, _, body = managers.call("POST", "/orchestration-definitions", template)
    assert (status, body) == (201, {"id": "template-1", "description": "ID of the Orchestration Template"})
    one = {"description": "d", "activities": {"custom.deploy": [{"id": "a", "type": "def-a"}, {"id": "b", "type": "def-b", "dependsOn": ["a"]}]},
        "templateRef": "template-1"}
    other = {"description": "d", "activities": {"custom.dispose": [{"id": "u", "type": "def-a"}]}, "templateRef": "template-1"}
    assert managers.ok("GET", "/orchestration-definitions/template-1") == [one, other]
    assert one in managers.ok("GET", "/orchestration-definitions")
    assert managers.ok("GET", "/orchestration-definitions/none") == []
    status, _, body = managers.call("DELETE", "/activity-definitions/def-b")
    assert status == 400 and "referenced by an orchestration definition: custom.deploy" in body["message"]
    assert managers.call("DELETE", "/orchestration-definitions/none")[0] == 404
    assert managers.call("DELETE", "/orchestration-definitions/template-1")[::2] == (200, None)
    assert managers.ok("GET", "/orchestration-definitions/template-1") == []
    generated = managers.ok("POST", "/orchestration-definitions", {**template, "id": ""})["id"]
    assert str(uuid.UUID(generated)) == generated
    assert managers.call("DELETE", f"/orchestration-definitions/{generated}")[0] == 200


@pytest.mark.parametrize("activities, part", [
    ({}, "Invalid payload"),
    ({DEPLOY: {}}, "Invalid payload"),
    ({DEPLOY: [{"type": "def-x"}]}, "id"),
    ({DEPLOY: [{"id": "a", "type": "a b"}]}, "Invalid payload"),
    ({DEPLOY: [{"id": "a", "type": "unknown"}]}, "Bad request: activity type 'unknown' not found"),
    ({DEPLOY: [{"id": "a", "type": "def-x", "dependsOn": ["b"]}]}, "Bad request: dependency not found: b"),
    ({DEPLOY: [{"id": "a", "type": "def-x", "dependsOn": ["b"]}, {"id": "b", "type": "def-x", "dependsOn": ["a"]}]}, "cycle"),
    ({DEPLOY: [{"id": "a", "type": "def-needs"}]}, "input 'ctx' is not offered by any dependency"),
])
def test_orchestration_definitions_refused(managers, activities, part):
    managers.ok("POST", "/activity-definitions", {"type": "def-x"})
    managers.ok("POST", "/activity-definitions", {"type": "def-needs", "inputSchema": {"required": ["ctx"]}})
    status, _, body = managers.call("POST", "/orchestration-definitions", {"activities": activities})
    assert status == 400 and part in body["message"], body


def test_scopes_and_health(managers):
    assert managers.call("GET", "/activity-definitions", scopes=None)[0] == 401
    status, _, body = managers.call("GET", "/activity-definitions", scopes="provision-manager-api:write")
    assert (status, body["message"]) == (403, "Access not granted: required scope 'provision-manager-api:read' not present")
    assert managers.call("POST", "/activity-definitions", {"type": "t"}, scopes="provision-manager-api:read")[0] == 403
    assert managers.call("POST", "/orchestrations/query", {"predicate": "true"}, scopes="provision-manager-api:read")[0] == 200
    status, _, body = managers.call("GET", "/health", base="", scopes=None)
    assert (status, body) == (200, {"message": "OK"})


def test_orchestration_shapes(managers, broker, agents):
    define(managers, ["shape-a"], [activity("a", "shape-a")], template="shapes")
    id = str(uuid.uuid4())
    manifest = {"id": id, "correlationId": "c-1", "orchestrationType": DEPLOY, "payload": {"cfm.participant.id": "did:web:p"}}
    status, _, body = managers.call("POST", "/orchestrations", manifest)
    assert status == 202
    assert body["steps"] == [{"activities": [{"id": "a", "type": "shape-a", "discriminator": DEPLOY, "dependsOn": None}]}]
    times = {"stateTimestamp": body["stateTimestamp"], "createdTimestamp": body["createdTimestamp"]}
    assert body == {"id": id, "correlationId": "c-1", "definitionId": DEPLOY, "state": 0, **times, "orchestrationType": DEPLOY,
        "steps": body["steps"], "processingData": {"cfm.participant.id": "did:web:p"}, "outputData": {}, "completed": {}}
    assert managers.call("POST", "/orchestrations", manifest)[::2] == (202, body)  # the same again: the one that is there
    shown = managers.ok("GET", f"/orchestrations/{id}")
    assert shown == {**body, "steps": [{"activities": [{"id": "a", "type": "shape-a"}]}]}
    status, headers, entries = managers.call("POST", "/orchestrations/query", {"predicate": f"correlationId = 'c-1' AND DefinitionID = '{DEPLOY}' AND state = 0"})
    assert entries == [{"id": id, "correlationId": "c-1", "definitionId": DEPLOY, "state": 0, **times, "orchestrationType": DEPLOY}]
    assert headers["x-total-count"] == "1" and 'rel="self"' in headers["link"]
    assert managers.call("GET", "/orchestrations/none")[0] == 404
    assert managers.call("POST", f"/orchestrations/{id}", {})[0] == 405
    for wrong, part in (({}, "id"), ({**manifest, "id": "a b"}, "id"), ({**manifest, "id": "x", "orchestrationType": "none"}, "none")):
        status, _, answer = managers.call("POST", "/orchestrations", wrong)
        assert status == 400 and part in answer["message"]
    assert managers.call("DELETE", "/orchestration-definitions/shapes")[0] == 400  # there is one of it
    agents(broker, "shape-a", lambda context: COMPLETE)
    wait_for(lambda: state(managers, id) == 2)


# --- with agents of others

def test_deploy_with_existing_agents(server, own_managers, agents):
    """Steps in order, what agents give arrives, siblings wait for each other, the value looks as the existing manager's."""
    cfmd = own_managers(server.url).start()
    define(cfmd, ["one.activity", "two-activity"], [activity("first", "one.activity"), activity("second", "two-activity", "first"),
        activity("third", "two-activity", "first")])
    order = []

    def process(context):
        order.append(context.activity["id"])
        context.values[f"by {context.activity['id']}"] = True
        context.outputs[context.activity["id"]] = "done"
        return COMPLETE
    agents(server, "one.activity", process)
    agents(server, "two-activity", process)
    id = orchestrate(cfmd, {"cfm.participant.id": "did:web:p"})
    wait_for(lambda: state(cfmd, id) == 2)
    assert order[0] == "first" and sorted(order[1:]) == ["second", "third"]
    shown = cfmd.ok("GET", f"/orchestrations/{id}")
    assert shown["outputData"] == {"first": "done", "second": "done", "third": "done"}
    assert shown["processingData"] == {"cfm.participant.id": "did:web:p", "by first": True, "by second": True, "by third": True}
    with_nats = server.client()
    value = value_of(with_nats, id)
    assert set(value) == {"id", "correlationId", "definitionId", "state", "stateTimestamp", "createdTimestamp", "orchestrationType", "steps",
        "processingData", "outputData", "completed"}
    assert value["steps"][1]["activities"][0] == {"id": "second", "type": "two-activity", "discriminator": DEPLOY, "dependsOn": ["first"]}
    with_nats.close()


@pytest.fixture(params=["sqlite", "postgres"])
def replicas(request, server, own_managers, tmp_path):
    """Two programs on one database."""
    if request.param == "sqlite":
        first = own_managers(server.url, QUICK).start()
        yield first, own_managers(server.url, {**QUICK, "store": {"file": str(first.state / "fabric.db")}}).start()
        return
    database = Postgres().start()
    options = tmp_path / "connection"
    options.write_text(database.options(database.database("fabric")))
    options.chmod(0o600)
    both = [own_managers(server.url, {**QUICK, "store": {"backend": "postgres", "connection_file": str(options)}}).start() for _ in range(2)]
    yield both
    for one in both:
        one.stop()
    database.stop()


def test_an_error_is_undone_once_what_had_begun(server, replicas, agents):
    """F47, T6: only what was begun is undone; the cause stays to be seen."""
    first, second = replicas
    define(first, ["good", "bad", "never"], [activity("a", "good"), activity("b", "bad", "a"), activity("c", "never", "b")],
        [activity("undo-a", "good"), activity("undo-b", "bad"), activity("undo-c", "never")])
    wait_for(lambda: second.ok("GET", "/orchestration-definitions"), what="the definitions at the other one")

    def bad(context):
        return FATAL if context.activity["discriminator"] == DEPLOY else COMPLETE

    def good(context):
        context.values["participantContextId"] = "p" * 32
        return COMPLETE
    undone = [agents(server, "good", good), agents(server, "bad", bad), agents(server, "never", lambda context: COMPLETE)]
    ids = [orchestrate(first if i % 2 else second) for i in range(20)]
    wait_for(lambda: all(state(first, id) == 3 and [one["state"] for one in compensations(first, id)] == [2] for id in ids), 60, "compensations")
    wait_for(lambda: all([one["state"] for one in compensations(second, id)] == [2] for id in ids), 30, "what the other one has done")
    for id in ids:
        (compensation,) = compensations(second, id)
        shown = second.ok("GET", f"/orchestrations/{compensation['id']}")
        assert shown["processingData"]["participantContextId"] == "p" * 32
        assert "error" not in shown["processingData"] and not any(key.endswith(".attempt") for key in shown["processingData"])
        assert sorted(shown["completed"]) == ["undo-a", "undo-b"]
        assert first.ok("GET", f"/orchestrations/{id}")["processingData"]["error"] == "the agent says no"
    assert sum(run[2] == DISPOSE for agent in undone for run in agent.runs) == 40


def test_without_a_disposal_the_error_stays(server, own_managers, agents):
    cfmd = own_managers(server.url, QUICK).start()
    define(cfmd, ["bad"], [activity("a", "bad")])
    is_well = []
    agents(server, "bad", lambda context: COMPLETE if is_well else FATAL)
    id = orchestrate(cfmd)
    wait_for(lambda: state(cfmd, id) == 3)
    assert compensations(cfmd, id) == []
    assert cfmd.call("POST", f"/orchestrations/{id}:compensate", base=OWN)[0] == 409
    is_well.append(True)
    assert cfmd.call("POST", f"/orchestrations/{id}:retry", base=OWN)[0] == 202
    wait_for(lambda: state(cfmd, id) == 2)
    assert cfmd.call("POST", f"/orchestrations/{id}:retry", base=OWN)[0] == 409


def test_cancel(server, own_managers, agents):
    cfmd = own_managers(server.url, {**QUICK, "fabric": {"tenant_manager": False}}).start()
    define(cfmd, ["slow"], [activity("a", "slow")], [activity("undo", "slow")])
    id = orchestrate(cfmd)
    # 503 while the first step's records are on their way: an operator asks again
    wait_for(lambda: cfmd.call("POST", f"/orchestrations/{id}:cancel", base=OWN)[0] == 202)
    wait_for(lambda: state(cfmd, id) == 3)
    assert cfmd.call("POST", f"/orchestrations/{id}:cancel", base=OWN)[0] == 409
    assert cfmd.call("POST", f"/orchestrations/{id}:fly", base=OWN)[0] == 404
    assert cfmd.call("POST", "/orchestrations/none:cancel", base=OWN)[0] == 404
    nats = server.client()
    nats.consumer(STREAM, "look", "event.cfm-orchestration-response")
    (response,) = nats.pull(STREAM, "look", 1, 5)
    assert (response.json()["success"], response.json()["errorDetail"]) == (False, "cancelled by the operator")
    agents(server, "slow", lambda context: COMPLETE)
    wait_for(lambda: [one["state"] for one in compensations(cfmd, id)] == [2], 30, "the compensation")
    nats.close()


def test_orchestrations_end_by_the_clock(server, own_managers, agents):
    """F17: the consumer's own limits are gone, as soon as a real agent starts: ours hold."""
    cfmd = own_managers(server.url, {"orchestration": {"sweep_ms": 100, "orchestration_ms": 1000}}).start()
    define(cfmd, ["endless"], [activity("a", "endless")])
    agent = agents(server, "endless", lambda context: (SCHEDULE, 0.05))
    nats = server.client()
    config = agent.reset_consumer(nats)["config"]
    nats.close()
    assert config["max_deliver"] == -1 and "backoff" not in config
    id = orchestrate(cfmd)
    wait_for(lambda: state(cfmd, id) == 3)
    assert cfmd.ok("GET", f"/orchestrations/{id}")["processingData"]["error"] == "not done within 1 s"


# --- what the broker does

def test_a_wiped_store_is_filled_again(server, own_managers, agents):
    """F14: stream, bucket and messages come back from the records, at each stage."""
    cfmd = own_managers(server.url, QUICK).start()
    define(cfmd, ["one", "two"], [activity("a", "one"), activity("b", "two", "a")])
    waiting = orchestrate(cfmd)  # nobody has begun
    half = orchestrate(cfmd)
    agent = agents(server, "one", lambda context: COMPLETE if context.id == half else (SCHEDULE, 60))
    wait_for(lambda: cfmd.ok("GET", f"/orchestrations/{half}")["completed"] == {"a": {}})
    agent.stop()
    server.kill()
    server.wipe()
    server.start()
    nats = server.client()
    wait_for(lambda: value_of(nats, waiting) and value_of(nats, half), 30, "the bucket")
    assert value_of(nats, half)["completed"] == {"a": {}}
    agents(server, "one", lambda context: COMPLETE)
    agents(server, "two", lambda context: COMPLETE)
    wait_for(lambda: state(cfmd, waiting) == 2 and state(cfmd, half) == 2, 30, "both ends")
    nats.close()


def test_restarts_of_broker_and_manager_under_load(server, own_managers, agents):
    """F13, F15: kills and restarts of both while orchestrations come in; consumers deleted in between. Each comes to its end."""
    cfmd = own_managers(server.url, QUICK).start()
    define(cfmd, ["one", "two"], [activity("a", "one"), activity("b", "two", "a")])
    ids = []
    for round in range(6):
        ids += [orchestrate(cfmd) for _ in range(5)]
        if round % 3 == 0:
            server.kill()
            ids += [orchestrate(cfmd) for _ in range(2)]  # taken although the broker is away
            server.start()
        elif round % 3 == 1:
            cfmd.kill()
            cfmd.start()
        else:
            nats = server.client()
            for durable in ("cfm-orchestration",):
                nats.api(f"CONSUMER.DELETE.{STREAM}.{durable}")
            nats.api(f"CONSUMER.DELETE.KV_{BUCKET}.celld-orchestrations")
            nats.close()
        living = [Agent(server, "one", lambda context: COMPLETE), Agent(server, "two", lambda context: COMPLETE)]
        wait_for(lambda: sum(state(cfmd, id) == 2 for id in ids) > len(ids) // 2, 30, "progress")
        for agent in living:
            agent.stop()
    agents(server, "one", lambda context: COMPLETE)
    agents(server, "two", lambda context: COMPLETE)
    wait_for(lambda: all(state(cfmd, id) == 2 for id in ids), 60, "all ends")


def test_a_stream_in_the_way(server, own_managers):
    """F18: overlapping subjects, and another retention: cfmd says so and ends."""
    nats = server.client()
    nats.api("STREAM.CREATE.other", {"name": "other", "subjects": ["event.>"]})
    cfmd = own_managers(server.url).start(wait=False)
    wait_for(lambda: cfmd.process.poll() is not None, 30, "the end")
    assert cfmd.process.returncode == 2
    assert [line for line in cfmd.log_lines() if line["event"] == "stream.refused" and "overlap" in line["why"]], cfmd.log()
    nats.api("STREAM.DELETE.other")
    nats.api(f"STREAM.CREATE.{STREAM}", {"name": STREAM, "subjects": ["event.*"], "retention": "limits"})
    again = own_managers(server.url).start(wait=False)
    wait_for(lambda: again.process.poll() is not None, 30, "the end")
    assert again.process.returncode == 2
    assert [line for line in again.log_lines() if line["event"] == "stream.refused" and "retention" in line["why"]], again.log()
    nats.close()


def test_poison_is_parked(server, own_managers, agents):
    """F21: it blocks nobody, is seen, and can be sent again or dropped."""
    cfmd = own_managers(server.url, QUICK).start()
    define(cfmd, ["one"], [activity("a", "one")])
    nats = server.client()
    wait_for(lambda: all("error" not in nats.api(f"STREAM.INFO.{stream}") for stream in (STREAM, f"KV_{BUCKET}")))
    for body in (b"not json", b"{}", b'{"id":"> *","correlationId":"c","orchestrationType":"t"}', b"\xff\xfe{", b'{"id":"' + b"x" * 1000 + b'"}'):
        nats.js_publish("event.cfm-orchestration", body)
    nats.kv_put(BUCKET, "poison", b"not json")
    agents(server, "one", lambda context: COMPLETE)
    id = orchestrate(cfmd)
    wait_for(lambda: state(cfmd, id) == 2)
    parked = wait_for(lambda: len(cfmd.call("GET", "/parked", base=OWN)[2]) == 6 and cfmd.call("GET", "/parked", base=OWN)[2])
    assert {one["subject"] for one in parked} == {"event.cfm-orchestration", f"$KV.{BUCKET}.poison"}
    assert all(one["reason"] for one in parked)
    assert nats.api(f"STREAM.INFO.{STREAM}", {"subjects_filter": "event.cfm-orchestration"})["state"].get("subjects") in (None, {})
    nats.close()


def test_the_existing_order_of_a_disposal_works(server, own_managers, agents):
    """T3: the payload nests what agents look for at the top; the manager puts it there."""
    cfmd = own_managers(server.url, QUICK).start()
    define(cfmd, ["one"], [activity("a", "one")], [activity("undo", "one")])
    seen = {}

    def process(context):
        if context.activity["discriminator"] == DEPLOY:
            context.outputs["participantContextId"] = "c" * 32
        else:
            seen.update(context.values)
        return COMPLETE
    agents(server, "one", process)
    nats = server.client()
    deploy, dispose = str(uuid.uuid4()), str(uuid.uuid4())
    nats.js_publish("event.cfm-orchestration", {"id": deploy, "correlationId": "p", "orchestrationType": DEPLOY,
        "payload": {"cfm.participant.id": "did:web:p", "cfm.vpa.credentials": [{"id": "m"}]}})
    wait_for(lambda: cfmd.call("GET", f"/orchestrations/{deploy}")[0] == 200 and state(cfmd, deploy) == 2)
    nats.js_publish("event.cfm-orchestration", {"id": dispose, "correlationId": "p", "orchestrationType": DISPOSE,
        "payload": {"cfm.participant.id": "did:web:p", "cfm.vpa.state": {"participantContextId": "c" * 32}}})
    wait_for(lambda: cfmd.call("GET", f"/orchestrations/{dispose}")[0] == 200 and state(cfmd, dispose) == 2)
    assert seen["participantContextId"] == "c" * 32 and seen["cfm.vpa.credentials"] == [{"id": "m"}]
    nats.close()


def test_a_trace_goes_on(server, own_managers):  # noqa: F811
    """cfm.md 1.4, 3.1: who asked is in the value, and in the headers of what follows; never in what clients are shown."""
    cfmd = own_managers(server.url, QUICK).start()
    define(cfmd, ["one"], [activity("a", "one")])
    nats = server.client()
    wait_for(lambda: "error" not in nats.api(f"STREAM.INFO.{STREAM}"))
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "vendor=1"}
    for id, headers, expected in (("with", trace, trace), ("without", {}, None), ("bad", {"traceparent": "x" * 600}, None)):
        nats.js_publish("event.cfm-orchestration", {"id": id, "correlationId": "p", "orchestrationType": DEPLOY}, headers=headers)
        wait_for(lambda: value_of(nats, id))
        assert value_of(nats, id).get("originTraceContext") == expected
        nats.consumer(STREAM, "one", "event.one")
        message = wait_for(lambda: next((one for one in nats.pull(STREAM, "one", 10, 1) if one.json()["orchestrationID"] == id), None), what="the activity")
        assert {name: value for name, value in message.headers.items() if name in trace} == (expected or {})
        assert "originTraceContext" not in cfmd.ok("GET", f"/orchestrations/{id}")
    nats.close()


def test_a_trace_goes_from_a_request_to_the_activities(server, own_managers):  # noqa: F811
    """Of what the Tenant Manager's API is asked: into the manifest's letter, the value and its activities, whether the letter arrives or is lost."""
    cfmd = own_managers(server.url, QUICK).start()
    define(cfmd, ["one"], [activity("a", "one")])
    nats = server.client()
    wait_for(lambda: "error" not in nats.api(f"STREAM.INFO.{STREAM}"))
    tenant, cell = cfmd.tenant(), cfmd.cell()
    cfmd.dataspace(cell)
    nats.consumer(STREAM, "one", "event.one")
    letters = nats.subscribe("event.cfm-orchestration")
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for trace, expected in (({"traceparent": parent, "tracestate": "vendor=1"},) * 2, ({"traceparent": parent},) * 2, ({}, {}), ({"tracestate": "vendor=1"}, {}),
            ({"traceparent": "x" * 600}, {})):
        headers = {"Authorization": f"Bearer {cfmd.token()}", **trace}
        status, _, answer = cfmd.request("POST", f"/api/v1alpha1/tenants/{tenant}/participant-profiles", b'{"identifier": "did:web:p"}', headers)
        profile = json.loads(answer)["id"]
        assert status == 202
        letter = wait_for(lambda: letters.get(timeout=10))
        assert {name: value for name, value in letter.headers.items() if name in ("traceparent", "tracestate")} == expected
        message = wait_for(lambda: next(iter(nats.pull(STREAM, "one", 1, 1)), None), what="the activity")
        assert {name: value for name, value in message.headers.items() if name in ("traceparent", "tracestate")} == expected
        value = value_of(nats, message.json()["orchestrationID"])
        assert value["correlationId"] == profile and value.get("originTraceContext", {}) == expected
        nats.ack(message)
    # asked of the Provision Manager
    headers = {"Authorization": f"Bearer {cfmd.token()}", "traceparent": parent}
    body = json.dumps({"id": "direct", "correlationId": "p", "orchestrationType": DEPLOY, "payload": {}}).encode()
    assert cfmd.request("POST", "/api/v1alpha1/orchestrations", body, headers)[0] == 202
    wait_for(lambda: value_of(nats, "direct"))
    assert value_of(nats, "direct")["originTraceContext"] == {"traceparent": parent}
    nats.close()


def test_a_full_disk_of_the_broker(own_managers, tmp_path, agents):
    """F16: what cannot be stored waits, and goes on when there is room."""
    server = NatsServer(tmp_path / "full", config="").start()
    cfmd = own_managers(server.url, QUICK).start()
    define(cfmd, ["one"], [activity("a", "one")])
    nats = server.client()
    wait_for(lambda: "error" not in nats.api(f"STREAM.INFO.{STREAM}"))
    config = nats.api(f"STREAM.INFO.{STREAM}")["config"]
    nats.api(f"STREAM.UPDATE.{STREAM}", {**config, "max_msgs": 1, "discard": "new"})
    nats.js_publish("event.nobody", b"{}")
    id = orchestrate(cfmd)
    tenant, cell = cfmd.tenant(), cfmd.cell()
    cfmd.dataspace(cell)
    profile = cfmd.ok("POST", f"/tenants/{tenant}/participant-profiles", {"identifier": "did:web:p"})["id"]
    wait_for(lambda: any(line["event"] == "letter.waits" for line in cfmd.log_lines()))
    nats.api(f"STREAM.UPDATE.{STREAM}", {**config, "max_msgs": -1, "discard": "old"})
    agents(server, "one", lambda context: COMPLETE)
    wait_for(lambda: state(cfmd, id) == 2 and cfmd.states(tenant, profile) == {"active"}, 30, "both")
    nats.close()
    server.stop()
