"""The contract on the wire: what an agreement's policy allows, and what is booked and proven of it."""
import concurrent.futures
import datetime
import json
import os
import subprocess
import time

import pytest

from conftest import A, B, Source, wait_for
from wire import H2, h1

CONSUMER = "did:web:consumer.example"
MIB = 1 << 20
BIG = os.urandom(MIB) * 16


def constraint(left, operator, right, **members):
    return {"leftOperand": left, "operator": operator, "rightOperand": right, **members}


def policy(*constraints, **members):
    return {"@context": ["https://w3id.org/dspace/2025/1/context.jsonld"], "@type": "Agreement", "@id": "urn:agreement", "assignee": CONSUMER,
        "permission": [{"action": "use", "constraint": list(constraints)}], **members}


def iso(seconds_from_now):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds_from_now)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def put_agreement(cell, ctx, name, body, **members):
    return cell.call("PUT", f"/api/cell/v1/participants/{ctx}/agreements/{name}", {"policy": body, **members})


def book(cell, ctx, name):
    status, body = cell.call("GET", f"/api/cell/v1/participants/{ctx}/agreements/{name}/book")
    assert status == 200, body
    return body


class Bound:
    """A flow on a dataset under an agreement, and a token for it."""

    def __init__(self, cell, ctx, dataset, name, body, **members):
        self.cell, self.ctx, self.agreement, self.path = cell, ctx, f"agreement-{name}", f"/api/public/{ctx}"
        status, answer = put_agreement(cell, ctx, self.agreement, body)
        assert status == 204, answer
        self.flow = cell.flow(ctx, dataset, name, agreementId=self.agreement, **members)
        self.token = cell.flow_token(ctx, self.flow)
        self.headers = [("authorization", f"Bearer {self.token}")]

    def pull(self, *headers, **arguments):
        return self.cell.pull(self.token, self.path, headers=headers, **arguments)

    def change(self, body):
        status, answer = put_agreement(self.cell, self.ctx, self.agreement, body)
        assert status == 204, answer

    def start(self, connection):
        return connection.start(self.path, headers=self.headers)


@pytest.fixture(scope="module")
def small(cell):
    cell.file(A, "small.txt", b"0123456789")
    return cell.dataset(A, "small", "file", {"path": "small.txt"})


@pytest.fixture(scope="module")
def big(cell):
    cell.file(A, "big.bin", BIG)
    return cell.dataset(A, "big", "file", {"path": "big.bin"})


@pytest.fixture(scope="module")
def endless(cell):
    """An HTTP source that never ends."""
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"

    def forever(connection, head, buffered):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(chunk)
            time.sleep(0.002)
    source = Source(forever)
    cell.dataset(A, "endless", "http", {"baseUrl": source.url})
    yield "endless"
    source.stop()


def is_refused(response):
    assert response.status == 403, response
    assert json.loads(bytes(response.body))["detail"] == "the agreement does not allow this"
    return True


# --- what is said of who, where, what for

ALLOWED = {
    "recipient": (constraint("recipient", "eq", CONSUMER), constraint("recipient", "neq", CONSUMER)),
    "recipients": (constraint("odrl:recipient", "odrl:isAnyOf", ["did:web:x", CONSUMER]), constraint("recipient", "isNoneOf", [CONSUMER])),
    "time": (constraint("dateTime", "lt", iso(3600)), constraint("dateTime", "gteq", iso(3600))),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_a_policy_allows_and_refuses(cell, small, name):
    allowed, refused = ALLOWED[name]
    flow = Bound(cell, A, small, f"yes-{name}", policy(allowed))
    assert flow.pull().status == 200
    before = cell.metric("celld_dp_policy_total")
    flow.change(policy(refused))
    assert is_refused(flow.pull())
    assert cell.metric("celld_dp_policy_total") == before + 1
    flow.change(policy(allowed))
    assert flow.pull().status == 200
    wait_for(lambda: any(line.get("note") == name.rstrip("s") and line["status"] == 403 for line in cell.log_lines() if line["event"] == "request"),
        what="the reason in the log")


def test_an_agreement_of_someone_else_or_something_else_allows_nothing(cell, small):
    flow = Bound(cell, A, small, "assignee", policy(assignee="did:web:someone.else"))
    assert is_refused(flow.pull())
    flow.change(policy(target=small))
    assert flow.pull().status == 200
    flow.change(policy(target="another"))
    assert is_refused(flow.pull())
    flow.change(policy(prohibition=[{"action": "use"}]))
    assert is_refused(flow.pull())


def test_region_comes_from_the_flow_or_the_participant(cell):
    ctx = cell.participant("1" * 32, {"celld.region": "EU-DE"})
    cell.file(ctx, "small.txt", b"0123456789")
    small = cell.dataset(ctx, "small", "file", {"path": "small.txt"})
    eu = policy(constraint("spatial", "isPartOf", "EU"))
    assert Bound(cell, ctx, small, "region-own", eu).pull().status == 200
    assert is_refused(Bound(cell, ctx, small, "region-label", eu, labels=["celld.region=US-CA"]).pull())
    assert Bound(cell, ctx, small, "region-both", policy(constraint("spatial", "eq", "us-ca")), labels=["x", "celld.region=US-CA"]).pull().status == 200
    nowhere = cell.participant("2" * 32)
    cell.file(nowhere, "small.txt", b"0123456789")
    cell.dataset(nowhere, "small", "file", {"path": "small.txt"})
    assert is_refused(Bound(cell, nowhere, "small", "region-none", policy(constraint("spatial", "neq", "US"))).pull())


def test_purpose_comes_from_the_flow_or_the_request(cell, small):
    research = policy(constraint("purpose", "isAnyOf", ["research", "teaching"]))
    flow = Bound(cell, A, small, "purpose", research)
    assert is_refused(flow.pull())
    assert flow.pull(("celld-purpose", "teaching")).status == 200
    assert is_refused(flow.pull(("celld-purpose", "sale")))
    assert is_refused(flow.pull(("celld-purpose", "teaching"), ("celld-purpose", "sale")))
    labelled = Bound(cell, A, small, "purpose-label", research, labels=["purpose=sale"])
    assert is_refused(labelled.pull(("celld-purpose", "teaching")))
    claimed = Bound(cell, A, small, "purpose-claim", research, claims={"purpose": "research"})
    assert claimed.pull().status == 200


# --- what cannot be enforced

UNENFORCEABLE = policy(constraint("payAmount", "eq", "5"), obligation=[{"action": "delete"}])


def test_what_cannot_be_enforced_is_refused_by_name(cell, small):
    status, answer = put_agreement(cell, A, "unenforceable", UNENFORCEABLE)
    assert status == 400
    assert "leftOperand payAmount" in answer["detail"] and "obligation delete" in answer["detail"]
    for body, what in (({"policy": {}}, "permission"), ({}, "policy"), ({"policy": policy(constraint("count", "lt", "few"))}, "count")):
        status, answer = cell.call("PUT", f"/api/cell/v1/participants/{A}/agreements/bad", body)
        assert status == 400 and what in answer["detail"], answer
    assert cell.call("GET", f"/api/cell/v1/participants/{A}/agreements/bad")[0] == 404
    result = cell.ctl("agreements", "put", A, "unenforceable", check=False, input=json.dumps({"policy": UNENFORCEABLE}))
    assert result.returncode == 1 and "payAmount" in result.stderr


def test_or_flagged_and_a_required_agreement_is_required(own_cell):
    cell = own_cell(settings={"dp": {"policy_unenforceable": "flag", "agreement_required": True}}).start()
    cell.participant(A)
    cell.file(A, "small.txt", b"0123456789")
    small = cell.dataset(A, "small", "file", {"path": "small.txt"})
    status, answer = cell.call("POST", f"/api/cell/v1/participants/{A}/flows",
        {"id": "f", "datasetId": small, "agreementId": "nowhere", "counterParty": CONSUMER})
    assert status == 409 and "agreement" in answer["detail"]
    flow = Bound(cell, A, small, "flagged", UNENFORCEABLE)
    assert flow.pull().status == 200
    status, view = cell.call("GET", f"/api/cell/v1/participants/{A}/agreements/{flow.agreement}")
    assert view["unenforceable"] == ["obligation delete", "leftOperand payAmount"]
    assert "payAmount" in cell.ctl("agreements", "list", A).stdout
    assert cell.ctl("agreements", "delete", A, flow.agreement, check=False).returncode == 1, "its flow has not ended"
    # the stricter setting does not serve what was taken under the other
    cell.stop()
    cell.config["dp"]["policy_unenforceable"] = "refuse"
    cell.start()
    assert is_refused(flow.pull())
    assert cell.ctl("flows", "suspend", A, flow.flow).returncode == 0
    assert cell.ctl("flows", "resume", A, flow.flow, check=False).returncode == 1
    cell.ctl("flows", "terminate", A, flow.flow)
    cell.ctl("agreements", "delete", A, flow.agreement)
    assert cell.ctl_json("agreements", "list", A) == []


# --- limits that are reached

def test_uses_are_counted_exactly(cell, small):
    flow = Bound(cell, A, small, "count", policy(constraint("count", "lteq", 20)))

    def pull(_):
        return flow.pull().status
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(pull, range(40)))
    assert sorted(statuses) == [200] * 20 + [403] * 20
    assert cell.pull(flow.token, flow.path, "HEAD").status == 403
    flow.change(policy(constraint("count", "lteq", 21)))
    assert cell.pull(flow.token, flow.path, "HEAD").status == 200, "a HEAD is no use"
    assert cell.pull(flow.token, flow.path + "/missing").status == 404, "nor is what brought nothing"
    assert flow.pull().status == 200
    assert is_refused(flow.pull())


def drain(flow, connection, streams):
    """Bytes of bodies until every stream has ended."""
    responses = [connection.responses[stream] for stream in streams]
    while not all(response.ended or response.reset is not None for response in responses):
        if not connection.pump(20):
            raise TimeoutError("the streams do not end")
    return responses


def parallel(cell, flow, connections, streams):
    """Pulls on so many connections at once, each with so many streams; all responses."""
    opened = [H2(cell.port) for _ in range(connections)]
    started = [(connection, [flow.start(connection) for _ in range(streams)]) for connection in opened]
    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        results = [response for responses in pool.map(lambda pair: drain(flow, *pair), started) for response in responses]
    for connection in opened:
        connection.close()
    return results


def test_a_quota_of_bytes_is_never_overshot_by_more_than_a_credit(cell, big):
    limit = 40 * MIB
    flow = Bound(cell, A, big, "volume", policy(constraint("celld:volume", "lteq", 40, unit="MiB")))
    results = parallel(cell, flow, 25, 2)
    received = sum(len(response.body) for response in results if response.status == 200)
    served = [response for response in results if response.status == 200]
    assert served and all("celld-volume-remaining" in dict(response.headers) for response in served)
    assert any(response.reset is not None for response in served), "streams are cut"
    assert received <= limit + 4 * MIB
    # what other workers had been lent is given back: all of it can be used, no more
    for _ in range(30):
        response = flow.pull()
        if response.status == 403:
            break
        received += len(response.body)
    assert is_refused(response)
    assert limit - 4 * MIB <= received <= limit, received
    for tls, port in ((True, cell.port), (False, cell.clear_port)):
        answer = h1(port, f"GET {flow.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {flow.token}\r\nConnection: close\r\n\r\n".encode(), tls)
        assert answer.startswith(b"HTTP/1.1 403")


def test_a_quota_holds_where_the_kernel_would_send(cell, big):
    flow = Bound(cell, A, big, "volume-clear", policy(constraint("volume", "lteq", "5 MiB")))
    answer = h1(cell.clear_port, f"GET {flow.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {flow.token}\r\nConnection: close\r\n\r\n".encode(), False)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and b"celld-volume-remaining: 5242880" in head
    assert len(body) <= 5 * MIB
    exact = Bound(cell, A, big, "volume-exact", policy(constraint("volume", "lteq", len(BIG))))
    response = exact.pull()
    assert response.ended and bytes(response.body) == BIG
    assert is_refused(exact.pull())


def test_another_permission_takes_over(cell, small, big):
    end = iso(3600)
    flow = Bound(cell, A, big, "either", policy(permission=[
        {"action": "use", "constraint": [constraint("volume", "lteq", "1 MiB")]},
        {"action": "use", "constraint": [constraint("dateTime", "lt", end)]}]))
    response = flow.pull()
    assert response.ended and bytes(response.body) == BIG


def test_a_window_ends_in_flight(cell, endless):
    end = time.time() + 1.5
    flow = Bound(cell, A, endless, "window", policy(constraint("dateTime", "lt", iso(1.5))))
    with H2(cell.port) as connection:
        response = connection.wait(flow.start(connection), deadline=10)
        assert response.reset is not None and not response.ended and len(response.body) > 0
        assert abs(time.time() - end) < 0.4
    assert is_refused(flow.pull())


def test_a_policy_that_changes_stops_what_it_no_longer_allows(cell, endless):
    flow = Bound(cell, A, endless, "change", policy())
    with H2(cell.port) as connection, H2(cell.clear_port, tls=False) as other:
        streams = [(one, flow.start(one)) for one in (connection, other)]
        for one, stream in streams:
            one.wait(stream, until=lambda response: len(response.body) > 100000)
        flow.change(policy(constraint("volume", "lteq", "3 MiB")))
        results = [one.wait(stream, deadline=20) for one, stream in streams]
        assert all(response.reset is not None for response in results), "what had been sent before counts"
    flow.change(policy())
    with H2(cell.port) as connection:
        stream = flow.start(connection)
        connection.wait(stream, until=lambda response: len(response.body) > 100000)
        flow.change(policy(constraint("recipient", "eq", "did:web:other")))
        assert connection.wait(stream, deadline=2).reset is not None
