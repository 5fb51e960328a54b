"""Data Plane Signaling against what control planes should not send: every refusal by its status, messages twice and out of
order; and what is taken although it could be better."""
import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import A
from dps_fixture import MOVES, TARGET, flow_in, is_refused, renewable, set_up
from signaling import ABSENT, HTTP_PULL, HTTP_PUSH, Signaling, check_status_message, random_id

# --- 400: malformed

BODIES = {"nothing": b"", "half": b'{"messageId":', "list": b"[]", "text": b'"text"', "null": b"null", "number": b"1",
    "two values": b"{} {}", "not UTF-8": b'{"messageId":"\xff"}', "too deep": b'{"metadata":' + b"[" * 2000 + b"]" * 2000 + b"}"}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("path", ["prepare", "start"])
def test_not_a_message(a, path, body):
    is_refused(a.call("POST", f"/dataflows/{path}", body), 400)


@pytest.mark.parametrize("body", [body for name, body in BODIES.items() if name != "nothing"],
    ids=[name for name in BODIES if name != "nothing"])
def test_not_a_message_to_a_flow(a, body):
    flow = flow_in(a, "STARTED")
    for verb in ("suspend", "terminate"):
        is_refused(a.call("POST", f"/dataflows/{flow}/{verb}", body), 400)
    is_refused(a.call("PUT", "/controlplanes", body), 400)
    assert a.state(flow) == "STARTED"


REQUIRED = ["participantId", "counterPartyId", "dataspaceContext", "processId", "agreementId", "datasetId", "profile", "claims"]
WRONG = [*[(name, value) for name in REQUIRED for value in (ABSENT, None, 7, [], True)],
    *[(name, "") for name in REQUIRED if name != "claims"], ("claims", "text"), ("profile", "http-pull-or-push"),
    ("profile", "ftp-pull"), ("profile", "pull"), ("processId", "../flow"), ("processId", "a/b"), ("processId", "a" * 10000),
    ("processId", "a\u0000b"), ("messageId", 7), ("messageId", {}), ("labels", "text"), ("labels", [7]), ("metadata", [])]


@pytest.mark.parametrize("name, value", WRONG, ids=[f"{name}-{'absent' if value is ABSENT else str(value)[:20]!r}" for name, value in WRONG])
def test_member_is_wrong(a, name, value):
    process = random_id()
    for verb, dataset in (("prepare", random_id()), ("start", "file")):
        changes = {"datasetId": dataset, name: value}
        is_refused(a.call("POST", f"/dataflows/{verb}", a.message(changes.pop("processId", process), changes.pop("profile", "http-pull"),
            **changes)), 400)
    assert a.call("GET", f"/dataflows/{process}/status").status == 404


def test_too_large(a):
    message = a.message(random_id(), "http-pull", metadata={"text": "x" * (2 << 20)})
    status, answer = a.cell.call("POST", f"/api/v1/{A}/dataflows/prepare", message, token=a.token)
    assert status == 413, answer
    is_refused(a.prepare(random_id(), metadata={"text": "x" * (40 << 10)}), 400)


# --- 400: addresses

def with_endpoint(endpoint, **changes):
    return {**TARGET, "endpoint": endpoint, **changes}


def test_a_pull_is_started_without_an_address(a):
    process = random_id()
    is_refused(a.start(process, datasetId="file", dataAddress=TARGET), 400)
    is_refused(a.start(process, HTTP_PULL, datasetId="file", dataAddress={**TARGET, "endpointType": HTTP_PULL}), 400)
    assert a.call("GET", f"/dataflows/{process}/status").status == 404


@pytest.mark.parametrize("address", [ABSENT, {}, "http://localhost:1", [], {"@type": "DataAddress", "endpointType": HTTP_PUSH},
    with_endpoint(""), with_endpoint("no URL"), with_endpoint("/relative"), with_endpoint("ftp://localhost/"), with_endpoint(7),
    with_endpoint("file:///etc/passwd"), with_endpoint("http://user:secret@localhost/"), with_endpoint("http://"),
    with_endpoint("http://localhost:99999/"), with_endpoint("http://local host/"), with_endpoint("http://localhost/\r\nX: y"),
    {**TARGET, "endpointType": HTTP_PULL}, {**TARGET, "endpointProperties": "text"}, {**TARGET, "endpointProperties": [{"name": "x"}]}])
def test_a_push_is_started_with_an_address(a, address):
    process = random_id()
    is_refused(a.start(process, HTTP_PUSH, datasetId="wire", dataAddress=address), 400)
    assert a.call("GET", f"/dataflows/{process}/status").status == 404


def test_a_push_that_has_started_takes_no_address(a):
    process = random_id()
    assert a.prepare(process, "http-push").status == 200
    is_refused(a.move(process, "started", dataAddress=TARGET), 400)
    assert a.state(process) == "PREPARED"


@pytest.mark.parametrize("changes", [{"refreshToken": ABSENT}, {"expiresIn": ABSENT}, {"expiresIn": "soon"}, {"expiresIn": "-1"},
    {"authType": ABSENT}, {"authType": "basic"}, {"authorization": ABSENT}, {"refreshEndpoint": "ftp://provider.example.com/"}],
    ids=str)
def test_a_token_that_cannot_be_renewed(a, changes):
    process = random_id()
    assert a.prepare(process, HTTP_PULL).status == 200
    is_refused(a.move(process, "started", dataAddress=renewable(**changes)), 400)
    assert a.state(process) == "PREPARED"
    assert a.move(process, "started", dataAddress=renewable()).status == 200
    assert a.state(process) == "STARTED"


def test_without_renewal_where_it_is_not_required(b):
    process = random_id()
    assert b.prepare(process, HTTP_PULL).status == 200
    answer = b.move(process, "started", dataAddress=renewable(refreshToken=ABSENT, expiresIn=ABSENT, refreshEndpoint=ABSENT))
    assert answer.status == 200, answer


def test_clear_endpoints_are_a_switch(tenants, control_plane):
    """Without celld.dps.clear only https will do, wherever an endpoint is named."""
    ctx = "c" * 32
    cell = tenants[0].cell
    cell.participant(ctx)
    cell.dataset(ctx, "wire", "external")
    strict = Signaling(cell, ctx, f"did:web:localhost:{ctx[:4]}",
        cell.management_token("signaling:dataflow:write signaling:controlplane:write", ctx))
    is_refused(strict.register("cp", control_plane.url), 400)
    assert strict.register("cp", "https://control.example/signaling").status == 200
    is_refused(strict.start(random_id(), HTTP_PUSH, datasetId="wire", dataAddress=with_endpoint("http://consumer.example/")), 400)
    assert strict.start(random_id(), HTTP_PUSH, datasetId="wire", dataAddress=with_endpoint("https://consumer.example/")).status == 200
    process = random_id()
    assert strict.prepare(process, HTTP_PULL).status == 200
    clear = {**renewable(), "endpoint": "http://provider.example.com/data"}
    is_refused(strict.move(process, "started", dataAddress=clear), 400)
    is_refused(strict.move(process, "started", dataAddress=renewable(refreshEndpoint="http://provider.example.com/token")), 400)
    assert strict.move(process, "started", dataAddress=renewable()).status == 200


# --- 404

@pytest.mark.parametrize("method, path", [*[("POST", verb) for verb in MOVES], ("GET", "status")])
def test_unknown_flow(a, b, method, path):
    """Never heard of, another tenant's, or no name at all: one answer."""
    foreign = flow_in(b, "STARTED")
    for flow in (random_id(), foreign, "..", "%2e%2e", "a%2Fb", "x" * 4000):
        answer = a.call(method, f"/dataflows/{flow}/{path}", {"messageId": random_id()} if method == "POST" else None)
        assert answer.status == 404 or (flow not in (foreign,) and answer.status == 400), (flow, answer)
    assert b.state(foreign) == "STARTED"


def test_unknown_dataset(a):
    process = random_id()
    is_refused(a.start(process), 404)
    is_refused(a.start(process, HTTP_PUSH, dataAddress=TARGET), 404)
    is_refused(a.call("GET", f"/dataflows/{process}/status"), 404)


def test_unknown_path(a):
    flow = flow_in(a, "STARTED")
    for method, path in (("POST", f"/dataflows/{flow}/frobnicate"), ("POST", f"/dataflows/{flow}"), ("GET", "/nothing"),
            ("POST", f"/dataflows/{flow}/suspend/now"), ("GET", f"/dataflows/{flow}")):
        is_refused(a.call(method, path), 404)
    for method, path in (("GET", "/dataflows/prepare"), ("DELETE", "/dataflows/start"), ("GET", f"/dataflows/{flow}/suspend"),
            ("POST", f"/dataflows/{flow}/status"), ("POST", "/controlplanes"), ("GET", "/controlplanes/cp")):
        assert a.call(method, path).status in (404, 405), (method, path)
    assert a.state(flow) == "STARTED"


def test_unknown_tenant(a):
    nobody = Signaling(a.cell, "e" * 32, "did:web:localhost:eeee", a.cell.management_token("signaling:admin"))
    is_refused(nobody.prepare(random_id()), 404)
    deactivated = "d" * 32
    a.cell.participant(deactivated, state="DEACTIVATED")
    is_refused(Signaling(a.cell, deactivated, "did:web:localhost:dddd", nobody.token).prepare(random_id()), 404)


# --- 409

ILLEGAL = {
    "PREPARING": ["started", "suspend", "resume", "completed"],
    "PREPARED": ["suspend", "resume", "completed"],
    "STARTING": ["started", "suspend", "resume", "completed"],
    "STARTED": ["started", "resume"],
    "SUSPENDED": ["started", "suspend", "completed"],
    "COMPLETED": ["started", "suspend", "resume", "terminate"],
    "TERMINATED": ["started", "suspend", "resume", "completed"],
}


@pytest.mark.parametrize("state, verb", [(state, verb) for state, verbs in ILLEGAL.items() for verb in verbs])
def test_illegal_transition(a, state, verb):
    flow = flow_in(a, state)
    is_refused(a.move(flow, verb), 409)
    assert a.state(flow) == state


@pytest.mark.parametrize("state", ["PREPARING", "PREPARED", "STARTING", "STARTED", "SUSPENDED"])
def test_terminate_ends_whatever_lives(a, state):
    flow = flow_in(a, state)
    assert a.move(flow, "terminate", reason="any").status == 200
    assert a.state(flow) == "TERMINATED"


@pytest.mark.parametrize("state", ["PREPARING", "PREPARED", "STARTING", "STARTED", "SUSPENDED", "COMPLETED", "TERMINATED"])
def test_process_exists(a, state):
    flow = flow_in(a, state)
    is_refused(a.start(flow, datasetId="file"), 409)
    is_refused(a.prepare(flow), 409)
    assert a.state(flow) == state


def test_one_of_many_first_messages_wins(a):
    """The same process started many times at once, on connections of their own."""
    for _ in range(5):
        process = random_id()
        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(lambda _: a.start(process, datasetId="file").status, range(16)))
        assert sorted(statuses) == [200] + [409] * 15, statuses


# --- what is taken although it could be better

LENIENT = {"no messageId": {"messageId": ABSENT}, "unknown members": {"later": {"draft": [1]}, "labels": ["a"], "metadata": {"x": 1}},
    "callbackAddress": {"callbackAddress": "http://control.example/api"}, "transferType": {"profile": ABSENT, "transferType": "HttpData-PULL"},
    "dataFlowId": {"dataFlowId": "as-process"}, "upper case": {"profile": "HttpData-PULL"}, "claims": {"claims": {"a": {"b": 1}}}}


@pytest.mark.parametrize("name", LENIENT)
def test_lenient(a, name):
    process = random_id()
    changes = dict(LENIENT[name])
    message = a.message(process, changes.pop("profile", "http-pull"), datasetId="file", **changes)
    if name == "dataFlowId":
        message["dataFlowId"] = message.pop("processId")
    answer = a.call("POST", "/dataflows/start", message)
    assert answer.status == 200 and answer.body["state"] == "STARTED" and answer.body["dataFlowId"] == process, answer
    check_status_message(answer.body)


def test_lenient_bodies(a):
    """completed comes with {} or with nothing; other moves without a messageId."""
    for body in (b"", {}, {"messageId": random_id()}):
        flow = flow_in(a, "STARTED")
        assert a.call("POST", f"/dataflows/{flow}/completed", body).status == 200
        assert a.state(flow) == "COMPLETED"
    flow = flow_in(a, "STARTED")
    for verb, state in (("suspend", "SUSPENDED"), ("resume", "STARTED"), ("terminate", "TERMINATED")):
        assert a.move(flow, verb, messageId=ABSENT).status == 200
        assert a.state(flow) == state


def test_lenient_address(a):
    """Without @type, with no or empty properties, and the empty one that examples show in resume."""
    for address in ({"endpointType": HTTP_PUSH, "endpoint": "http://localhost:1/x"}, {**TARGET, "endpointProperties": []},
            {**TARGET, "endpointProperties": [{"name": "authorization", "value": "t"}, {"name": "authType", "value": "bearer"}]}):
        answer = a.start(random_id(), HTTP_PUSH, datasetId="wire", dataAddress=address)
        assert answer.status == 200, (address, answer)
    flow = flow_in(a, "SUSPENDED")
    assert a.move(flow, "resume", dataAddress={}).status == 200


# --- twice, and out of order

def test_same_message_again(a):
    """Not even another message of the same process is taken for it, and what came between is not undone."""
    process, first = random_id(), random_id()
    answers = [a.start(process, HTTP_PULL, datasetId="file", messageId=first) for _ in range(3)]
    for answer in answers:
        assert answer.status == 200 and answer.body["state"] == "STARTED" and answer.body["dataAddress"], answer
    suspend, resume = random_id(), random_id()
    for _ in range(2):
        assert a.move(process, "suspend", messageId=suspend).status == 200
        assert a.state(process) == "SUSPENDED"
    for _ in range(2):
        assert a.move(process, "resume", messageId=resume).status == 200
        assert a.state(process) == "STARTED"
    assert a.move(process, "suspend", messageId=suspend).status == 200
    assert a.state(process) == "STARTED", "an old message was carried out again"
    assert a.move(process, "suspend").status == 200
    assert a.move(process, "resume", messageId=resume).status == 200
    assert a.state(process) == "SUSPENDED", "an old message was carried out again"


def test_same_prepare_again(a):
    for profile, with_address in (("http-pull", False), ("http-push", True)):
        process, message = random_id(), random_id()
        for _ in range(2):
            answer = a.prepare(process, profile, messageId=message)
            assert answer.status == 200 and answer.body["state"] == "PREPARED" and ("dataAddress" in answer.body) == with_address, answer
        started = random_id()
        for _ in range(2):
            assert a.move(process, "started", messageId=started).status == 200
        assert a.prepare(process, profile, messageId=message).status == 200
        assert a.state(process) == "STARTED"


@pytest.mark.parametrize("state, verb", [("COMPLETED", "completed"), ("TERMINATED", "terminate")])
def test_same_end_again(a, state, verb):
    flow = flow_in(a, state)
    for _ in range(3):
        assert a.move(flow, verb).status == 200
    assert a.state(flow) == state


def test_out_of_order(a):
    process = random_id()
    for verb in MOVES:
        is_refused(a.move(process, verb), 404)
    assert a.prepare(process).status == 200
    for verb in ("completed", "resume", "suspend"):
        is_refused(a.move(process, verb), 409)
    assert a.move(process, "started").status == 200
    assert a.state(process) == "STARTED"
    assert a.move(process, "completed").status == 200
    for verb in ("started", "suspend", "resume", "terminate"):
        is_refused(a.move(process, verb), 409)
    assert a.state(process) == "COMPLETED"


def test_same_message_at_once(a):
    """A control plane that lost patience: every copy is answered alike, and one is obeyed."""
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            process, start, suspend = random_id(), random_id(), random_id()
            answers = list(pool.map(lambda _: a.start(process, datasetId="file", messageId=start), range(8)))
            assert {(answer.status, answer.body["state"]) for answer in answers} == {(200, "STARTED")}, answers
            assert {a.move(process, "resume", messageId=random_id()).status for _ in range(2)} == {409}
            assert {answer.status for answer in pool.map(lambda _: a.move(process, "suspend", messageId=suspend), range(8))} == {200}
            assert a.state(process) == "SUSPENDED"


NEXT = {"PREPARED": {"started": "STARTED"}, "STARTED": {"suspend": "SUSPENDED", "completed": "COMPLETED"},
    "SUSPENDED": {"resume": "STARTED"}, "COMPLETED": {"completed": "COMPLETED"}, "TERMINATED": {"terminate": "TERMINATED"}}


def test_any_order(own_cell, control_plane):
    """Moves at random, new ones and ones that were obeyed before, with a kill -9 in between: the model's state, always."""
    cell = own_cell()
    cell.start()
    signaling = set_up(cell, A, control_plane)
    seed = int.from_bytes(os.urandom(4), "big")
    dice = random.Random(seed)
    flows = {flow_in(signaling, state): state for state in ("PREPARED", "STARTED") * 10}
    obeyed = {flow: [] for flow in flows}
    for step in range(1000):
        flow = dice.choice(list(flows))
        state, context = flows[flow], f"seed {seed}, step {step}"
        if obeyed[flow] and dice.random() < 0.3:
            verb, message = dice.choice(obeyed[flow][-8:])
            assert signaling.move(flow, verb, messageId=message).status == 200, context
        else:
            verb, message = dice.choices(MOVES, [4, 4, 4, 1, 1])[0], random_id()
            legal = {"terminate": "TERMINATED", **NEXT[state]} if state != "COMPLETED" else NEXT[state]
            answer = signaling.move(flow, verb, messageId=message)
            assert answer.status == (200 if verb in legal else 409), (context, state, verb, answer)
            if verb in legal and legal[verb] != state:
                flows[flow] = legal[verb]
                obeyed[flow].append((verb, message))
        assert signaling.state(flow) == flows[flow], (context, verb)
        if step == 500:
            cell.kill()
            cell.start()
    assert {flow: signaling.state(flow) for flow in flows} == flows


def test_an_id_under_another_verb_is_another_message(a):
    flow, message = flow_in(a, "STARTED"), random_id()
    for verb, state in (("suspend", "SUSPENDED"), ("resume", "STARTED"), ("terminate", "TERMINATED")):
        assert a.move(flow, verb, messageId=message).status == 200
        assert a.state(flow) == state


def test_a_flow_survives_all_this(own_cell, control_plane):
    """kill -9 and a new start: states, and which messages were seen, are what was answered."""
    cell = own_cell()
    cell.start()
    signaling = set_up(cell, A, control_plane)
    states = ["PREPARED", "STARTED", "SUSPENDED", "COMPLETED", "TERMINATED", "PREPARING", "STARTING"]
    flows = {flow_in(signaling, state): state for state in states}
    twice, message = flow_in(signaling, "STARTED"), random_id()
    assert signaling.move(twice, "suspend", messageId=message).status == 200
    assert signaling.move(twice, "resume").status == 200
    cell.kill()
    cell.start()
    assert {flow: signaling.state(flow) for flow in flows} == flows
    assert signaling.move(twice, "suspend", messageId=message).status == 200
    assert signaling.state(twice) == "STARTED"
