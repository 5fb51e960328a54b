"""Pushes: a provider's flow sends its dataset to the receiver, whatever happens on the way."""
import hashlib
import json
import os
import random
import threading
import time

import pytest

from conftest import A, B, Cell, plain_answer, wait_for
from receiver import Receiver
from test_contract import book, constraint, policy, put_agreement

PROFILE = "https://w3id.org/dspace-sig/profile/http-push"
SEGMENT = 256 << 10
BIG = os.urandom(1 << 20) * 16
SETTINGS = {"dp": {"push_segment": SEGMENT, "push_pause_ms": 20, "push_retries": 20}}
random.seed(4711)


def address(url, token=None, **properties):
    if token is not None:
        properties.update(authorization=token, authType="bearer")
    return {"@type": "DataAddress", "endpointType": PROFILE, "endpoint": url, "endpointProperties": [
        {"@type": "EndpointProperty", "name": name, "value": value} for name, value in properties.items()]}


def push(cell, dataset, url, name=None, ctx=A, **members):
    return cell.flow(ctx, dataset, name or f"push-{dataset}-{random.randrange(1 << 40)}", profile=PROFILE,
        dataAddress=address(url), **members)


def state(cell, flow, ctx=A):
    return cell.call("GET", f"/api/cell/v1/participants/{ctx}/flows/{flow}")[1]["state"]


def move(cell, flow, verb, ctx=A):
    status, body = cell.call("POST", f"/api/cell/v1/participants/{ctx}/flows/{flow}/{verb}")
    assert status == 200, body


def completed(cell, flow, deadline=30, ctx=A):
    wait_for(lambda: state(cell, flow, ctx) == "COMPLETED", deadline, f"completion of {flow}")


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    cell = Cell(tmp_path_factory.mktemp("push"), settings=SETTINGS).start()
    cell.participant(A)
    cell.participant(B)
    cell.file(A, "big.bin", BIG)
    cell.dataset(A, "big", "file", {"path": "big.bin"})
    yield cell
    cell.stop()


@pytest.fixture
def receiver():
    made = []

    def make(**arguments):
        made.append(Receiver(**arguments))
        return made[-1]
    yield make
    for one in made:
        one.stop()
        assert not one.errors, one.errors


@pytest.mark.parametrize("resumable", [True, False])
def test_a_file_arrives_whole(cell, receiver, resumable):
    target = receiver(resumable=resumable)
    completed(cell, push(cell, "big", target.url))
    assert target.whole["/in"] == BIG and target.received == len(BIG)
    methods = [method for method, _, _ in target.requests]
    assert methods == (["HEAD"] + ["PUT"] * (len(BIG) // SEGMENT) if resumable else ["HEAD", "POST"])


def test_an_empty_file_arrives(cell, receiver):
    cell.file(A, "empty", b"")
    cell.dataset(A, "empty", "file", {"path": "empty"})
    for resumable in (True, False):
        target = receiver(resumable=resumable)
        completed(cell, push(cell, "empty", target.url))
        assert target.whole == {"/in": b""}


def test_the_token_comes_from_the_vault_and_is_kept_nowhere_else(cell, receiver):
    target = receiver(token="canary-push-0815")
    flow = cell.flow(A, "big", "with-secret", profile=PROFILE, dataAddress=address(target.url, "canary-push-0815"))
    completed(cell, flow)
    assert target.whole["/in"] == BIG
    for file in cell.folder.rglob("*"):
        if file.is_file():
            assert b"canary-push-0815" not in file.read_bytes(), file


def test_every_part_is_pushed_below_the_endpoint(cell, receiver):
    cell.file(A, "one", b"first")
    cell.file(A, "two", b"second" * 1000)
    status, body = cell.call("PUT", f"/api/cell/v1/participants/{A}/datasets/parts", {"id": "parts", "parts": [
        {"path": "/one", "type": "file", "properties": {"path": "one"}},
        {"path": "/deep/two", "type": "file", "properties": {"path": "two"}}]})
    assert status == 201, body
    for resumable in (True, False):
        target = receiver(resumable=resumable)
        completed(cell, push(cell, "parts", target.url))
        assert target.whole == {"/in/one": b"first", "/in/deep/two": b"second" * 1000}


@pytest.mark.parametrize("resumable", [True, False])
def test_an_http_source_is_pushed_with_and_without_length(cell, receiver, source, resumable):
    body = BIG[:3 << 20]

    def chunked(connection, head, buffered):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 1 << 16):
            connection.sendall(b"10000\r\n" + body[at:at + (1 << 16)] + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        return buffered
    for name, behaviour in (("chunked", chunked), ("sized", plain_answer(body))):
        server, target = source(behaviour), receiver(resumable=resumable)
        cell.dataset(A, f"http-{name}", "http", {"baseUrl": server.url})
        completed(cell, push(cell, f"http-{name}", target.url))
        assert target.whole["/in"] == body


def test_cuts_at_random_points_cost_less_than_a_segment_each(cell, receiver):
    target = receiver()
    cuts = [0]

    def cut(total, next_cut=[random.randrange(1, 1 << 20)]):
        if total >= next_cut[0] and cuts[0] < 12:
            cuts[0] += 1
            next_cut[0] = total + random.randrange(1, 2 << 20)
            raise ConnectionError("ordered")
    target.on_bytes = cut
    completed(cell, push(cell, "big", target.url))
    assert cuts[0] >= 8 and target.whole["/in"] == BIG
    assert target.received - len(BIG) < cuts[0] * SEGMENT


def test_a_receiver_that_keeps_no_part_of_a_cut_segment(cell, receiver):
    target = receiver(partial=False)
    cuts = [0]

    def cut(total):
        if cuts[0] < 5 and total > (cuts[0] + 1) * 900_000:
            cuts[0] += 1
            raise ConnectionError("ordered")
    target.on_bytes = cut
    completed(cell, push(cell, "big", target.url))
    assert cuts[0] == 5 and target.whole["/in"] == BIG
    assert target.received - len(BIG) <= 5 * SEGMENT


def test_a_plain_receiver_gets_it_again_from_the_start(cell, receiver):
    target = receiver(resumable=False)
    cuts = [0]

    def cut(total):
        if cuts[0] == 0 and total > 5 << 20:
            cuts[0] += 1
            raise ConnectionError("ordered")
    target.on_bytes = cut
    completed(cell, push(cell, "big", target.url))
    assert target.whole["/in"] == BIG
    assert [method for method, _, _ in target.requests].count("POST") == 2


def test_server_errors_are_tried_again(cell, receiver):
    target = receiver()
    answers = iter([500, 503, 503, None, 500])
    target.before_body = lambda path, head: next(answers, None)
    retries = cell.metric("celld_dp_push_retries_total")
    completed(cell, push(cell, "big", target.url))
    assert target.whole["/in"] == BIG and cell.metric("celld_dp_push_retries_total") == retries + 4


def test_a_refusal_ends_the_push_and_leaves_the_flow(cell, receiver):
    target = receiver()
    target.before_body = lambda path, head: 404
    failed = cell.metric('celld_dp_pushes_total')
    flow = push(cell, "big", target.url)
    wait_for(lambda: cell.metric("celld_dp_pushes_total") == failed + 1, 30, "the end of the push")
    requests = len(target.requests)
    assert state(cell, flow) == "STARTED" and requests == 2
    # a resumption is a new start
    target.before_body = lambda path, head: None
    move(cell, flow, "suspend")
    move(cell, flow, "resume")
    completed(cell, flow)
    assert target.whole["/in"] == BIG


def test_retries_end(own_cell, receiver):
    cell = own_cell(settings={"dp": {"push_segment": SEGMENT, "push_pause_ms": 5, "push_retries": 3}}).start()
    cell.participant(A)
    cell.file(A, "small", b"x")
    cell.dataset(A, "small", "file", {"path": "small"})
    target = receiver()
    target.before_body = lambda path, head: 503
    push(cell, "small", target.url)
    wait_for(lambda: cell.metric("celld_dp_pushes_total") == 1, 30, "the end of the push")
    assert [method for method, _, _ in target.requests].count("PUT") == 4


def test_a_receiver_that_restarts(cell, receiver):
    target = receiver()
    restarted = threading.Event()

    def restart():
        target.stop()
        time.sleep(0.2)
        target.start()
        restarted.set()

    def on_bytes(total):
        if total > 6 << 20 and not target.restarting:
            target.restarting = True
            threading.Thread(target=restart).start()
    target.restarting = False
    target.on_bytes = on_bytes
    completed(cell, push(cell, "big", target.url))
    assert restarted.is_set() and target.whole["/in"] == BIG
    assert target.received - len(BIG) < 2 * SEGMENT


def test_suspension_stops_the_bytes_and_resumption_goes_on(cell, receiver):
    target = receiver()
    target.on_bytes = lambda total: time.sleep(0.001)
    flow = push(cell, "big", target.url)
    wait_for(lambda: target.received > 2 << 20, what="bytes")
    move(cell, flow, "suspend")
    answered = time.monotonic()
    time.sleep(0.5)
    assert target.last_byte - answered <= 0.1, f"bytes {target.last_byte - answered:.3f} s after the answer"
    held, before = len(target.stored["/in"]), target.received
    assert 0 < held < len(BIG)
    target.on_bytes = lambda total: None
    move(cell, flow, "resume")
    completed(cell, flow)
    assert target.whole["/in"] == BIG and target.received - before <= len(BIG) - held + SEGMENT


def test_resumption_takes_the_new_address(cell, receiver):
    first, second = receiver(), receiver()
    first.on_bytes = lambda total: time.sleep(0.001)
    flow = push(cell, "big", first.url)
    wait_for(lambda: first.received > 2 << 20, what="bytes")
    move(cell, flow, "suspend")
    assert cell.call("PUT", f"/api/cell/v1/participants/{A}/secrets/flow:{flow}:address", {"value": json.dumps(address(second.url))})[0] == 204
    move(cell, flow, "resume")
    completed(cell, flow)
    assert second.whole["/in"] == BIG and "/in" not in first.whole


def test_termination_ends_a_push_that_waits_for_its_next_attempt(cell, receiver):
    target = receiver()
    target.before_body = lambda path, head: 503
    flow = push(cell, "big", target.url)
    wait_for(lambda: len(target.requests) >= 2, what="an attempt")
    move(cell, flow, "terminate")
    seen = len(target.requests)
    time.sleep(0.5)
    assert len(target.requests) <= seen + 1 and state(cell, flow) == "TERMINATED"


def test_deactivation_stops_and_activation_goes_on(cell, receiver):
    ctx = cell.participant("d" * 32)
    cell.file(ctx, "big.bin", BIG)
    cell.dataset(ctx, "big", "file", {"path": "big.bin"})
    target = receiver()
    target.on_bytes = lambda total: time.sleep(0.001)
    flow = push(cell, "big", target.url, ctx=ctx)
    wait_for(lambda: target.received > 1 << 20, what="bytes")

    def activate(new):
        status, body = cell.call("PUT", f"/api/mgmt/v5beta/participants/{ctx}", {
            "@context": ["https://w3id.org/edc/connector/management/v2"], "@type": "ParticipantContext", "@id": ctx,
            "identity": "did:web:localhost:d", "properties": {}, "state": new})
        assert status in (200, 204), body
        return time.monotonic()
    answered = activate("DEACTIVATED")
    time.sleep(0.4)
    assert target.last_byte - answered <= 0.1
    target.on_bytes = lambda total: None
    activate("ACTIVATED")
    completed(cell, flow, ctx=ctx)
    assert target.whole["/in"] == BIG


def test_a_source_that_changes_is_sent_afresh(cell, receiver):
    cell.file(A, "changing", b"1" * (4 << 20))
    cell.dataset(A, "changing", "file", {"path": "changing"})
    target = receiver()
    target.on_bytes = lambda total: time.sleep(0.001)
    flow = push(cell, "changing", target.url)
    wait_for(lambda: target.received > 1 << 20, what="bytes")
    move(cell, flow, "suspend")
    cell.file(A, "changing", b"2" * (4 << 20))
    target.on_bytes = lambda total: None
    move(cell, flow, "resume")
    completed(cell, flow)
    assert target.whole["/in"] == b"2" * (4 << 20)


def test_a_slow_receiver_costs_no_memory(cell, receiver):
    content = BIG * 4
    cell.file(A, "larger", content)
    cell.dataset(A, "larger", "file", {"path": "larger"})
    wait_for(lambda: cell.metric("celld_http_open_exchanges") <= 1, what="quiet")
    pulled = cell.shared_file(A, "warm", b"x")
    cell.pull(*pulled)
    before = cell.rss_kib()
    targets = [receiver() for _ in range(3)]
    for target in targets:
        target.on_bytes = lambda total: time.sleep(0.01)
    flows = [push(cell, "larger", target.url) for target in targets]
    wait_for(lambda: all(target.received > 2 << 20 for target in targets), 60, "bytes")
    # the mapped file is not memory of the cell's own; what is private must not grow with what waits
    private = int(next(line for line in open(f"/proc/{cell.process.pid}/status") if line.startswith("RssAnon")).split()[1])
    assert private < before + (8 << 10), (before, private)
    for flow in flows:
        move(cell, flow, "terminate")


def test_at_most_so_many_at_once(cell, receiver):
    gate = threading.Event()
    target = receiver()
    target.on_bytes = lambda total: gate.wait(20)
    flows = [push(cell, "big", f"{target.url}/{i}") for i in range(7)]
    wait_for(lambda: len({path for _, path, _ in target.requests}) == 4, what="four pushes")
    time.sleep(0.3)
    assert len({path for _, path, _ in target.requests}) == 4
    gate.set()
    for flow in flows:
        completed(cell, flow)
    assert len(target.whole) == 7 and all(content == BIG for content in target.whole.values())


def test_kill_in_the_middle_and_restart(own_cell, receiver):
    cell = own_cell(settings=SETTINGS).start()
    cell.participant(A)
    cell.file(A, "big.bin", BIG)
    cell.dataset(A, "big", "file", {"path": "big.bin"})
    target = receiver()
    target.on_bytes = lambda total: time.sleep(0.0005)
    flow = push(cell, "big", target.url)
    for kills in range(1, 4):
        wait_for(lambda: target.received > kills * (3 << 20), what="bytes")
        cell.kill()
        cell.start()
    completed(cell, flow)
    assert hashlib.sha256(target.whole["/in"]).digest() == hashlib.sha256(BIG).digest()
    assert target.received - len(BIG) < 3 * SEGMENT
    # and it is over for good
    seen = len(target.requests)
    cell.kill()
    cell.start()
    time.sleep(0.3)
    assert len(target.requests) == seen


def test_an_address_that_is_not_allowed_is_no_receiver(cell, receiver):
    ctx = cell.participant("e" * 32, {"celld.http.allow": ""})
    cell.file(ctx, "x", b"x")
    cell.dataset(ctx, "x", "file", {"path": "x"})
    target = receiver()
    failed = cell.metric("celld_dp_pushes_total")
    push(cell, "x", target.url, ctx=ctx)
    wait_for(lambda: cell.metric("celld_dp_pushes_total") == failed + 1, 30, "the end of the push")
    assert not target.requests


# --- the agreement

def agreed(cell, target, name, *constraints):
    """A push under an agreement with these constraints."""
    status, body = put_agreement(cell, A, f"agreement-{name}", policy(*constraints))
    assert status == 204, body
    return push(cell, "big", target.url, name, agreementId=f"agreement-{name}")


def test_a_push_is_one_use_however_often_it_is_begun_again(cell, receiver):
    target = receiver()
    cuts = [0]

    def cut(total):
        if cuts[0] < 5 and total > (cuts[0] + 1) * (2 << 20):
            cuts[0] += 1
            raise ConnectionError("ordered")
    target.on_bytes = cut
    flow = agreed(cell, target, "once", constraint("count", "lteq", 1))
    completed(cell, flow)
    assert cuts[0] == 5 and target.whole["/in"] == BIG
    booked = wait_for(lambda: (entries := book(cell, A, "agreement-once"))["ok"] + entries["broken"] >= 6 and entries, what="the books")
    assert booked["uses"] == 1 and booked["bytesSent"] + booked["bytesPushed"] >= len(BIG), booked
    # the next is one too many
    failed = cell.metric("celld_dp_pushes_total")
    push(cell, "big", target.url, "twice", agreementId="agreement-once")
    wait_for(lambda: cell.metric("celld_dp_pushes_total") == failed + 1, 30, "the end of the push")
    assert target.received < 2 * len(BIG)


def test_a_quota_ends_a_push(cell, receiver):
    target = receiver()
    failed = cell.metric("celld_dp_pushes_total")
    flow = agreed(cell, target, "quota", constraint("volume", "lteq", "6 MiB"))
    wait_for(lambda: cell.metric("celld_dp_pushes_total") == failed + 1, 30, "the end of the push")
    assert state(cell, flow) == "STARTED" and "/in" not in target.whole
    assert target.received <= (6 << 20) + (4 << 20)


def test_what_is_pushed_is_booked_apart(cell, receiver):
    """A plain receiver that breaks off once: the second time is a repeat, and the receipts say so."""
    target = receiver(resumable=False)
    cuts = []

    def cut(total):
        if total > 5 << 20 and not cuts:
            cuts.append(total)
            raise ConnectionError("ordered")
    target.on_bytes = cut
    flow = push(cell, "big", target.url, "push-booked", agreementId="agreement-push-booked")
    completed(cell, flow)

    def book():
        found = cell.call("GET", f"/api/cell/v1/participants/{A}/agreements/agreement-push-booked/book")[1]
        return found if found["ok"] == 1 else None
    found = wait_for(book, what="the book of the push")
    assert found["bytesSent"] == 0 and found["uses"] == 1 and cuts
    assert found["bytesPushed"] - found["bytesRepushed"] == len(BIG), found
    assert 0 < found["bytesRepushed"] <= found["bytesPushed"] // 2
    lines = cell.ctl("receipt", "export", A, "--flow", flow).stdout
    receipts = [json.loads(line)["receipt"] for line in lines.splitlines() if '"receipt"' in line]
    assert sum(receipt["bytes"] for receipt in receipts) == found["bytesPushed"]
    assert sum(receipt["repeated"] for receipt in receipts) == found["bytesRepushed"]
    assert cell.ctl("receipt", "verify", "-", input=lines).returncode == 0
