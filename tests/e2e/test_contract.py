"""The contract on the wire: what an agreement's policy allows, and what is booked and proven of it."""
import concurrent.futures
import datetime
import json
import os
import time

import pytest

from base64url import decode, encode
from conftest import A, Source, wait_for
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
        response = connection.wait(flow.start(connection), deadline=30)
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
        results = [one.wait(stream, deadline=30) for one, stream in streams]
        assert all(response.reset is not None for response in results), "what had been sent before counts"
    flow.change(policy())
    with H2(cell.port) as connection:
        stream = flow.start(connection)
        connection.wait(stream, until=lambda response: len(response.body) > 100000)
        flow.change(policy(constraint("recipient", "eq", "did:web:other")))
        assert connection.wait(stream, deadline=30).reset is not None


# --- books

def booked(cell, ctx, agreement, **wanted):
    def ready():
        found = book(cell, ctx, agreement)
        return found if all(found[name] == value for name, value in wanted.items()) else None
    return wait_for(ready, what=f"the book to say {wanted}, not {book(cell, ctx, agreement)}")


def test_books_count_bytes_repeats_and_outcomes(cell, big, small):
    flow = Bound(cell, A, big, "books", policy(constraint("count", "lteq", 5)))
    assert flow.pull(("range", "bytes=0-999")).status == 206
    booked(cell, A, flow.agreement, bytesSent=1000, bytesRepeated=0, requests=1, uses=1, ok=1)
    assert flow.pull(("range", "bytes=500-1499")).status == 206
    assert flow.pull(("range", "bytes=0-99,200-299")).status == 206
    found = booked(cell, A, flow.agreement, requests=3, uses=3, ok=3)
    assert found["bytesRepeated"] == 500 + 100 + 100, found
    assert 2200 < found["bytesSent"] < 3000, "the parts' heads are bytes too"
    assert flow.pull(("range", "bytes=99999999-")).status == 416
    booked(cell, A, flow.agreement, requests=4, uses=3, refused=1)
    with H2(cell.port) as connection:
        connection.hold = True
        stream = flow.start(connection)
        connection.wait(stream, until=lambda response: len(response.body) > 100000)
    booked(cell, A, flow.agreement, broken=1, uses=4)
    assert flow.pull().ended
    assert is_refused(flow.pull())
    found = booked(cell, A, flow.agreement, refused=2, uses=5)
    assert found["bytesSent"] > len(BIG) and found["bytesPushed"] == 0
    assert "bytesSent" in cell.ctl("agreements", "book", A, flow.agreement).stdout


def test_books_tell_what_the_kernel_sends_while_it_sends(cell, big):
    flow = Bound(cell, A, big, "sendfile", policy())
    from wire import connect
    connection = connect(cell.clear_port, False)
    connection.sendall(f"GET {flow.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {flow.token}\r\n\r\n".encode())
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    wait_for(lambda: book(cell, A, flow.agreement)["bytesSent"] > 100000, what="bytes of a transfer under way")
    connection.close()
    booked(cell, A, flow.agreement, broken=1)


def test_books_survive_a_restart_and_quotas_go_on(own_cell):
    cell = own_cell().start()
    cell.participant(A)
    cell.file(A, "big.bin", BIG[:MIB])
    big = cell.dataset(A, "big", "file", {"path": "big.bin"})
    flow = Bound(cell, A, big, "restart", policy(constraint("volume", "lteq", "3 MiB"), constraint("count", "lteq", 6)))
    for _ in range(2):
        assert flow.pull().ended
    cell.stop()  # books what has not been flushed
    cell.start()
    assert book(cell, A, flow.agreement)["bytesSent"] == 2 * MIB
    assert flow.pull().ended
    assert is_refused(flow.pull())
    booked(cell, A, flow.agreement, bytesSent=3 * MIB, uses=3, refused=1)
    cell.kill()
    cell.start()
    assert is_refused(flow.pull())
    booked(cell, A, flow.agreement, bytesSent=3 * MIB, refused=2)


class Load:
    """Downloads without end on one connection; knows what has arrived, and when."""

    def __init__(self, cell, flow):
        self.cell, self.flow, self.received, self.marks, self.is_over = cell, flow, 0, [], False

    def run(self):
        try:
            connection = H2(self.cell.port)
            while not self.is_over:
                stream = self.flow.start(connection)
                response, seen = connection.responses[stream], 0
                while not response.ended and response.reset is None and connection.pump(5):
                    self.received += len(response.body) - seen
                    seen = len(response.body)
                    self.marks.append((time.monotonic(), self.received))
                del connection.responses[stream]
        except OSError:
            pass

    def received_before(self, moment):
        return max((received for when, received in self.marks if when <= moment), default=0)


def test_after_a_kill_the_books_are_behind_by_a_flush_at_most(own_cell):
    cell = own_cell(settings={"dp": {"flush_ms": "200 ms"}}).start()
    cell.participant(A)
    cell.file(A, "big.bin", BIG[:4 * MIB])
    big = cell.dataset(A, "big", "file", {"path": "big.bin"})
    flow = Bound(cell, A, big, "kill", policy())
    total = 0
    for _ in range(3):
        loads = [Load(cell, flow) for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor(len(loads)) as pool:
            running = [pool.submit(load.run) for load in loads]
            wait_for(lambda: all(load.received > 4 * MIB for load in loads), 30, "some load")
            killed = time.monotonic()
            cell.kill()
            for load in loads:
                load.is_over = True
            for future in running:
                future.result()
        cell.start()
        found = book(cell, A, flow.agreement)["bytesSent"]
        received = sum(load.received for load in loads)
        # a flush, and what the machine takes to collect and commit it
        flushed = sum(load.received_before(killed - 0.2 - 0.6) for load in loads)
        assert total + flushed <= found, (flushed, found - total, received)
        # what was in the sockets when it died is sent, not received
        assert found <= total + received + len(loads) * 24 * MIB
        total = found


# --- receipts

def export(cell, *arguments):
    return cell.ctl("receipt", "export", *arguments).stdout


def verify(cell, text, *arguments):
    return cell.ctl("receipt", "verify", "-", *arguments, check=False, input=text)


@pytest.fixture(scope="module")
def receipts(cell):
    """An export with several receipts of two flows."""
    ctx = cell.participant("3" * 32, {"celld.region": "EU"})
    cell.file(ctx, "small.txt", b"0123456789")
    small = cell.dataset(ctx, "small", "file", {"path": "small.txt"})
    flows = [Bound(cell, ctx, small, f"receipt-{i}", policy()) for i in range(2)]
    for i in range(3):
        for flow in flows:
            assert flow.pull().ended
        wait_for(lambda: sum(receipt["bytes"] for receipt in found(cell, ctx)) == (i + 1) * 20, what="the receipts")
    return ctx, flows


def found(cell, *arguments):
    return [json.loads(line)["receipt"] for line in export(cell, *arguments).splitlines() if '"receipt"' in line]


def test_receipts_say_what_was_sent_and_verify(cell, receipts):
    ctx, flows = receipts
    text = export(cell, ctx)
    lines = [json.loads(line)["receipt"] for line in text.splitlines() if '"receipt"' in line]
    assert [receipt["sequence"] for receipt in lines] == list(range(1, len(lines) + 1))
    first = lines[0]
    assert first["agreement"].startswith("agreement-receipt-") and first["dataset"] == "small" and first["consumer"] == CONSUMER
    assert first["provider"] == f"did:web:localhost:{ctx[:4]}" and first["region"] == "EU" and first["flags"] == []
    assert first["entities"][0]["ranges"] == [[0, 9]] and first["outcomes"] == {"broken": 0, "ok": 1, "refused": 0, "stopped": 0}
    assert sum(receipt["repeated"] for receipt in lines) == 40, "the second and third time"
    result = verify(cell, text)
    assert result.returncode == 0, result.stdout
    assert "proven" in result.stdout and "60 bytes" in result.stdout
    of_one = export(cell, ctx, "--flow", flows[0].flow)
    assert all(receipt["flow"] == flows[0].flow for receipt in found(cell, ctx, "--flow", flows[0].flow))
    result = verify(cell, of_one)
    assert result.returncode == 0 and "not whether there are more" in result.stdout
    assert flows[0].flow in cell.ctl("receipt", "list", ctx).stdout


def test_receipts_verify_with_other_tools(cell, receipts):
    """The format is nobody's own: RFC 8785, SHA-256, a detached JWS."""
    import hashlib
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    lines = [json.loads(line) for line in export(cell, receipts[0]).splitlines()]
    keys = {line["jwk"]["kid"]: line["jwk"] for line in lines if "jwk" in line}
    previous = "0" * 64
    for line in lines:
        if "receipt" not in line:
            continue
        text = json.dumps(line["receipt"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert hashlib.sha256(text).hexdigest() == line["hash"] and line["receipt"]["previous"] == previous
        previous = line["hash"]
        header, payload, signature = line["signature"].split(".")
        key = keys[json.loads(decode(header))["kid"]]
        public = ec.EllipticCurvePublicNumbers(int.from_bytes(decode(key["x"]), "big"), int.from_bytes(decode(key["y"]), "big"), ec.SECP256R1())
        raw = decode(signature)
        public.public_key().verify(utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")),
            (header + "." + encode(text)).encode(), ec.ECDSA(hashes.SHA256()))
        assert payload == ""


def change(lines, index, **members):
    line = json.loads(lines[index])
    line["receipt"].update(members)
    return [*lines[:index], json.dumps(line), *lines[index + 1:]]


def rehash(lines, index, **members):
    """Changed, and its hash with it: only the signature and what follows can tell."""
    import hashlib
    line = json.loads(change(lines, index, **members)[index])
    line["hash"] = hashlib.sha256(json.dumps(line["receipt"], sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return [*lines[:index], json.dumps(line), *lines[index + 1:]]


def unsign(lines, index):
    line = json.loads(rehash(lines, index, bytes=999)[index])
    line["signature"] = None
    return [*lines[:index], json.dumps(line), *lines[index + 1:]]


TAMPERING = {
    "a changed field": (lambda head, lines: head + change(lines, 1, bytes=1), "changed"),
    "an added field": (lambda head, lines: head + change(lines, 1, note=1), "changed"),
    "a changed time": (lambda head, lines: head + rehash(lines, 1, last="2020-01-01T00:00:00.000Z"), "signature"),
    "the last changed": (lambda head, lines: head + rehash(lines, len(lines) - 1, bytes=1), "signature"),
    "changed and not signed": (lambda head, lines: head + unsign(lines, 1), "does not follow"),
    "the last not signed": (lambda head, lines: head + unsign(lines, len(lines) - 1), "not signed"),
    "a removed line": (lambda head, lines: head + lines[:1] + lines[2:], "missing"),
    "swapped lines": (lambda head, lines: head + [lines[1], lines[0], *lines[2:]], "order"),
    "a line twice": (lambda head, lines: head + [lines[0], *lines], "twice"),
    "no key": (lambda head, lines: lines, "key"),
    "nothing": (lambda head, lines: head, "no receipts"),
    "garbage": (lambda head, lines: head + ["{}", *lines], "no receipt"),
    "signatures exchanged": (lambda head, lines: head + [json.dumps({**json.loads(lines[0]), "signature": json.loads(lines[1])["signature"]}), *lines[1:]], "signature"),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_tampering_is_found(cell, receipts, name):
    lines = export(cell, receipts[0]).splitlines()
    head, lines = [line for line in lines if '"receipt"' not in line], [line for line in lines if '"receipt"' in line]
    tamper, what = TAMPERING[name]
    result = verify(cell, "\n".join(tamper(head, lines)) + "\n")
    assert result.returncode == 1 and "broken at" in result.stdout and what in result.stdout, result.stdout


def test_a_foreign_key_is_found_with_the_right_one(cell, receipts, tmp_path):
    ctx, _ = receipts
    text = export(cell, ctx)
    keys = [json.loads(line)["jwk"] for line in text.splitlines() if '"jwk"' in line]
    right, other = tmp_path / "right.jwk", tmp_path / "other.jwk"
    right.write_text(json.dumps(keys[0]))
    assert verify(cell, text, "--key", right).returncode == 0
    token = cell.flow_token(A, cell.flow(A, cell.dataset(A, "foreign", "file", {"path": "small.txt"})))
    foreign = [json.loads(line)["jwk"] for line in export(cell, A).splitlines() if '"jwk"' in line][0]
    assert token and foreign != keys[0]
    other.write_text(json.dumps(foreign))
    result = verify(cell, text, "--key", other)
    assert result.returncode == 1 and "given key" in result.stdout
    # its own key among the lines proves nothing of another's
    forged = text.replace(json.dumps(keys[0], separators=(",", ":")), json.dumps({**foreign, "kid": keys[0]["kid"]}, separators=(",", ":")))
    assert forged != text and verify(cell, forged).returncode == 1


def test_old_receipts_go_and_the_rest_still_verifies(own_cell):
    cell = own_cell(settings={"dp": {"flush_ms": "20 ms", "receipts_kept": 5}}).start()
    cell.participant(A)
    cell.file(A, "small.txt", b"0123456789")
    small = cell.dataset(A, "small", "file", {"path": "small.txt"})
    flow = Bound(cell, A, small, "kept", policy())
    for i in range(9):
        assert flow.pull().ended
        wait_for(lambda: len(found(cell, A)) >= min(i + 1, 5), what="its receipt")
        booked(cell, A, flow.agreement, ok=i + 1)
    lines = wait_for(lambda: found(cell, A) if found(cell, A)[-1]["sequence"] == 9 else None, what="the last receipt")
    assert [receipt["sequence"] for receipt in lines] == [5, 6, 7, 8, 9]
    result = verify(cell, export(cell, A))
    assert result.returncode == 0 and "no longer kept" in result.stdout
    cell.kill()
    cell.start()
    assert flow.pull().ended
    wait_for(lambda: found(cell, A)[-1]["sequence"] == 10, what="a receipt that follows")
    assert verify(cell, export(cell, A)).returncode == 0
