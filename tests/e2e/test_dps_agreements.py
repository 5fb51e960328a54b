"""Agreements that a cell asks the control plane for: fetched, checked, kept and enforced; and what becomes of the flow when it cannot be
had."""
import http.client
import json
import threading

import pytest

from conftest import A, B, Cell, free_port, wait_for
from dps_fixture import client_credentials, is_refused, renewable, set_up
from signaling import ABSENT, ControlPlane, address_properties, changed, random_id

CONSUMER = "did:web:consumer.example"
PROVIDER = "did:web:provider.example"
ONCE = {"leftOperand": "count", "operator": "lteq", "rightOperand": 1}
PAID = {"leftOperand": "payAmount", "operator": "eq", "rightOperand": 5}
MODES = ["optional", "required"]


def own_name(ctx):
    return f"did:web:localhost:{ctx[:4]}"


def agreement(name, *constraints, **changes):
    """An AgreementResponse; A provides."""
    return changed({"@context": ["https://w3id.org/dspace/2025/1/context.jsonld"], "@type": "Agreement", "@id": name, "target": "file",
        "assigner": own_name(A), "assignee": CONSUMER, "permission": [{"action": "use", "constraint": list(constraints)}]}, changes)


def consumed(name, *constraints, **changes):
    """The same where A consumes."""
    return agreement(name, *constraints, **{"assigner": PROVIDER, "assignee": own_name(A), **changes})


def path_of(ctx, name):
    return f"/api/cell/v1/participants/{ctx}/agreements/{name}"


class Tenant:
    """A participant and its control plane, on a cell that asks."""

    def __init__(self, cell, ctx, control_plane, entries=None):
        self.cell, self.ctx, self.control_plane = cell, ctx, control_plane
        self.signaling = set_up(cell, ctx, control_plane, entries)

    def record(self, name):
        status, body = self.cell.call("GET", path_of(self.ctx, name))
        assert status in (200, 404), body
        return body if status == 200 else None

    def put(self, name, body):
        status, answer = self.cell.call("PUT", path_of(self.ctx, name), {"policy": body})
        assert status == 204, answer

    def start(self, answer=None, name=None, **changes):
        """(process, agreement, what the cell answered) when the control plane gives this for the agreement."""
        return self.begin(self.signaling.start, answer, name, datasetId="file", **changes)

    def prepare(self, answer=None, name=None, **changes):
        return self.begin(self.signaling.prepare, answer, name, counter_party=PROVIDER, **changes)

    def begin(self, verb, answer, name, **changes):
        process, name = random_id(), name or f"urn:uuid:{random_id()}"
        if answer is not None:
            self.control_plane.agreements[process] = answer(name)
        return process, name, verb(process, agreementId=name, **changes)

    def has_flow(self, process):
        return self.signaling.call("GET", f"/dataflows/{process}/status").status == 200

    def pull(self, started):
        assert started.status == 200 and started.body["state"] == "STARTED", started
        token = address_properties(started.body["dataAddress"])["authorization"]
        return self.cell.pull(token, f"/api/public/{self.ctx}").status


def given(*constraints, **changes):
    return lambda name: (200, agreement(name, *constraints, **changes))


@pytest.fixture(scope="module")
def tenants(tmp_path_factory):
    """By mode: a tenant of a cell that asks in this way."""
    cells, control_planes, made = [], [], {}
    try:
        for mode in MODES:
            cells.append(Cell(tmp_path_factory.mktemp(mode),
                settings={"dp": {"agreement_from_control_plane": mode, "callback_timeout_ms": 1000}}).start())
            control_planes.append(ControlPlane())
            made[mode] = Tenant(cells[-1], A, control_planes[-1])
        yield made
    finally:
        for one in control_planes + cells:
            one.stop()


@pytest.fixture(params=MODES)
def tenant(request, tenants):
    """In each mode."""
    return tenants[request.param]


@pytest.fixture
def optional(tenants):
    return tenants["optional"]


@pytest.fixture
def required(tenants):
    return tenants["required"]


# --- it is there

def test_fetched_and_enforced(tenant):
    process, name, started = tenant.start(given(ONCE))
    assert len(tenant.control_plane.questions(process)) == 1
    record = tenant.record(name)
    assert record["id"] == name and record["policy"] == agreement(name, ONCE) and record["unenforceable"] == [], record
    assert [tenant.pull(started) for _ in range(2)] == [200, 403]
    other, _, started = tenant.start(given(), name)
    assert tenant.pull(started) == 403, "the agreement is used up, whichever flow asks"
    assert not tenant.control_plane.questions(other), "what is known is not asked for"


@pytest.mark.parametrize("names", [
    {"@type": "odrl:Agreement", "assigner": ABSENT, "assignee": ABSENT, "odrl:assigner": {"@id": own_name(A)}, "odrl:assignee": [CONSUMER]},
    {"assigner": ABSENT, "assignee": ABSENT},
])
def test_spellings_and_what_may_be_missing(required, names):
    _, name, started = required.start(given(ONCE, **names))
    assert [required.pull(started) for _ in range(2)] == [200, 403]
    assert required.record(name)


def test_a_consumer_asks_at_prepare(tenant):
    process, name, prepared = tenant.prepare(lambda name: (200, consumed(name, ONCE)))
    assert prepared.status == 200 and prepared.body["state"] == "PREPARED", prepared
    assert tenant.record(name)["policy"] == consumed(name, ONCE)
    assert tenant.signaling.move(process, "started", dataAddress=renewable()).status == 200
    assert len(tenant.control_plane.questions(process)) == 1


def test_and_again_at_started(optional):
    process, name, prepared = optional.prepare()
    assert prepared.status == 200 and optional.record(name) is None, prepared
    optional.control_plane.agreements[process] = 200, consumed(name)
    assert optional.signaling.move(process, "started", dataAddress=renewable()).status == 200
    assert optional.record(name)["policy"] == consumed(name) and len(optional.control_plane.questions(process)) == 2
    optional.signaling.wait_state(process, "STARTED")


def test_a_message_that_comes_again_asks_no_more(required):
    process, name, message = random_id(), random_id(), random_id()
    required.control_plane.agreements[process] = 200, agreement(name)
    for _ in range(2):
        answer = required.signaling.start(process, datasetId="file", agreementId=name, messageId=message)
        assert answer.status == 200 and answer.body["state"] == "STARTED", answer
    assert len(required.control_plane.questions(process)) == 1


def test_callers_that_are_refused_anyway_make_no_question(required):
    wrong = [{"participantId": "did:web:someone.else"}, {"profile": "unknown-pull"}, {"datasetId": "no-such"},
        {"dataAddress": renewable()}]
    for changes in wrong:
        process = random_id()
        answer = required.signaling.start(process, **{"datasetId": "file", **changes})
        assert answer.status in (400, 403, 404), answer
        assert not required.control_plane.questions(process), changes


# --- it is not

def is_without_record(tenant, process, name, started):
    """A flow that is not limited, as before."""
    assert [tenant.pull(started) for _ in range(2)] == [200, 200]
    assert tenant.record(name) is None
    wait_for(lambda: [line for line in tenant.cell.log_lines() if line["event"] == "agreement.fetch" and line["flow"] == process],
        what="a line about it")


def is_not_begun(tenant, process, name, answer, status):
    is_refused(answer, status)
    assert tenant.record(name) is None and not tenant.has_flow(process)
    assert (answer.headers.get("Retry-After") is not None) == (status == 503)


ANSWERS = {
    "unknown": (lambda name: (404,), 409),
    "refused": (lambda name: (403, {"detail": "no"}), 409),
    "another id": (given(**{"@id": "urn:uuid:another"}), 409),
    "no id": (given(**{"@id": ABSENT}), 409),
    "an offer": (given(**{"@type": "Offer"}), 409),
    "another consumer": (given(assignee="did:web:someone.else"), 409),
    "another provider": (given(assigner="did:web:someone.else"), 409),
    "two consumers": (given(assignee=[CONSUMER, "did:web:someone.else"]), 409),
    "no rules": (given(permission="everything"), 409),
    "a list": (lambda name: (200, [agreement(name)]), 409),
    "no JSON": (lambda name: (200, b"<agreement/>"), 409),
    "nothing": (lambda name: (200,), 409),
    "too large": (given(filler="x" * 256 * 1024), 409),
    "out of order": (lambda name: (500,), 503),
    "busy": (lambda name: (429,), 503),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_without_it_an_optional_flow_begins(optional, case):
    is_without_record(optional, *optional.start(ANSWERS[case][0]))


@pytest.mark.parametrize("case", ANSWERS)
def test_without_it_a_required_flow_does_not(required, case):
    process, name, answer = required.start(ANSWERS[case][0])
    is_not_begun(required, process, name, answer, ANSWERS[case][1])
    required.control_plane.agreements[process] = 200, agreement(name, ONCE)
    started = required.signaling.start(process, datasetId="file", agreementId=name)
    assert [required.pull(started) for _ in range(2)] == [200, 403], "the control plane tries again"


def test_a_required_agreement_of_a_consumer(required):
    process, name, answer = required.prepare()
    is_not_begun(required, process, name, answer, 409)


def test_what_cannot_be_enforced(tenants):
    for mode, tenant in tenants.items():
        process, name, answer = tenant.start(given(PAID))
        is_not_begun(tenant, process, name, answer, 409)
        assert "payAmount" in str(answer.body), answer
        process, name, answer = tenant.prepare(lambda name: (200, consumed(name, PAID)))
        if mode == "required":
            is_not_begun(tenant, process, name, answer, 409)
        else:
            assert answer.status == 200 and tenant.record(name) is None, answer


def test_unless_it_is_to_be_flagged(own_cell, control_plane):
    cell = own_cell(settings={"dp": {"agreement_from_control_plane": "required", "policy_unenforceable": "flag"}}).start()
    tenant = Tenant(cell, A, control_plane)
    _, name, started = tenant.start(given(ONCE, PAID))
    assert started.status == 200, started
    assert any("payAmount" in one for one in tenant.record(name)["unenforceable"])


def without_answer(tenant, mode, process, name, answer):
    if mode == "required":
        is_not_begun(tenant, process, name, answer, 503)
    else:
        is_without_record(tenant, process, name, answer)


def test_a_silent_control_plane(tenants):
    for mode, tenant in tenants.items():
        release = threading.Event()

        def silent():
            release.wait(30)
            return (404,)
        try:
            without_answer(tenant, mode, *tenant.start(lambda name: silent))
        finally:
            release.set()


def test_a_control_plane_that_is_away(tenants):
    for mode, tenant in tenants.items():
        assert tenant.signaling.register("cp", f"http://localhost:{free_port()}").status == 200
        try:
            process, name, answer = tenant.start(given())
            without_answer(tenant, mode, process, name, answer)
            assert not tenant.control_plane.questions(process)
        finally:
            assert tenant.signaling.register("cp", tenant.control_plane.url).status == 200


def test_a_caller_that_gives_up(required):
    """The question goes on without it, and what comes is kept."""
    process, name, release = random_id(), random_id(), threading.Event()

    def late():
        assert release.wait(30)
        return 200, agreement(name)
    required.control_plane.agreements[process] = late
    body = required.signaling.message(process, "http-pull", datasetId="file", agreementId=name)
    connection = http.client.HTTPConnection("127.0.0.1", required.cell.clear_port, timeout=60)
    connection.request("POST", f"/api/v1/{A}/dataflows/start", json.dumps(body), {"Authorization": f"Bearer {required.signaling.token}"})
    wait_for(lambda: required.control_plane.questions(process), what="the question")
    connection.close()
    release.set()
    wait_for(lambda: required.record(name), what="the record")
    assert not required.has_flow(process)


# --- whose it is

def test_an_existing_record_stays(required):
    """Put by management while the question is under way."""
    name = random_id()
    kept = agreement(name, ONCE)

    def answer(_):
        def late():
            required.put(name, kept)
            return 200, agreement(name)
        return late
    _, _, started = required.start(answer, name)
    assert required.record(name)["policy"] == kept
    assert [required.pull(started) for _ in range(2)] == [200, 403]


def test_another_tenants_record_is_untouched(required, control_plane):
    other, name = Tenant(required.cell, B, control_plane), random_id()
    theirs = agreement(name, ONCE, assigner=own_name(B))
    other.put(name, theirs)
    _, _, started = required.start(given(), name)
    assert [required.pull(started) for _ in range(3)] == [200] * 3
    assert other.record(name)["policy"] == theirs and required.record(name)["policy"] == agreement(name)
    _, _, started = other.start(None, name)
    assert [other.pull(started) for _ in range(2)] == [200, 403]
    assert not control_plane.asked


# --- how it is asked

def test_the_question_proves_who_asks(own_cell, control_plane):
    """The token of callbacks, of whichever worker; one that is refused is not shown twice."""
    tokens = []

    def give_token(body, headers):
        tokens.append(f"token-{len(tokens) + 1}")
        return 200, {"access_token": tokens[-1], "token_type": "Bearer", "expires_in": 300}
    control_plane.routes["/token"] = give_token
    cell = own_cell(workers=1, settings={"dp": {"agreement_from_control_plane": "required"}}).start()
    tenant = Tenant(cell, A, control_plane)
    assert tenant.signaling.register("cp", control_plane.url, authorization=client_credentials(control_plane)).status == 200
    asked = []
    for answer, status in ((given(), 200), (given(), 200), (lambda name: (401,), 503), (given(), 200)):
        process, _, started = tenant.start(answer)
        assert started.status == status, started
        asked += [one.get("Authorization") for one in control_plane.questions(process)]
    assert asked == ["Bearer token-1"] * 3 + ["Bearer token-2"], asked
    control_plane.routes["/token"] = lambda body, headers: (500,)
    assert tenant.signaling.register("cp", control_plane.url, authorization=client_credentials(control_plane)).status == 200
    process, name, answer = tenant.start(given())
    is_not_begun(tenant, process, name, answer, 503)
    assert not control_plane.questions(process)


def test_only_where_the_tenant_may_reach(own_cell, control_plane):
    cell = own_cell(settings={"dp": {"agreement_from_control_plane": "required"}}).start()
    tenant = Tenant(cell, A, control_plane, {"celld.http.allow": "10.0.0.0/8"})
    process, name, answer = tenant.start(given())
    is_not_begun(tenant, process, name, answer, 503)
    assert not control_plane.requests


def test_nobody_to_ask(own_cell, control_plane):
    cell = own_cell(settings={"dp": {"agreement_from_control_plane": "required"}}).start()
    tenant = Tenant(cell, A, control_plane)
    assert tenant.signaling.call("DELETE", "/controlplanes/cp").status == 204
    process, name, answer = tenant.start(given())
    is_not_begun(tenant, process, name, answer, 409)
    tenant.put(name, agreement(name))
    assert tenant.signaling.start(process, datasetId="file", agreementId=name).status == 200


def test_never_asks_by_default_and_required_records_are_required(own_cell, control_plane):
    cell = own_cell().start()
    tenant = Tenant(cell, A, control_plane)
    process, name, started = tenant.start(given(ONCE))
    assert [tenant.pull(started) for _ in range(2)] == [200, 200] and not control_plane.asked
    cell.stop()
    cell.config["dp"] = {"agreement_from_control_plane": "optional", "agreement_required": True}
    cell.start()
    process, name, answer = tenant.start()
    is_not_begun(tenant, process, name, answer, 409)
    assert len(control_plane.questions(process)) == 1
