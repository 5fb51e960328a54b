"""A push as control planes drive it: the consumer's prepare gives the address, the provider's start sends, the callback says
that all has arrived, a suspension on either side stops the bytes and a resumption goes on."""
import os
import time

import pytest

from conftest import A, B, Cell, wait_for, wait_still
from dps_fixture import control_plane, set_up  # noqa: F401 (a fixture)
from receiver import Receiver
from signaling import HTTP_PUSH, ControlPlane, address_properties, random_id
from test_push import SEGMENT

BIG = os.urandom(1 << 20) * 16


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    cell = Cell(tmp_path_factory.mktemp("cell"), settings={"dp": {"push_segment": SEGMENT, "push_pause_ms": 20, "push_retries": 8}})
    cell.start()
    yield cell
    cell.stop()


@pytest.fixture(scope="module")
def planes(cell):
    """(the provider's signaling, the consumer's, the control plane of both)"""
    plane = ControlPlane()
    provider, consumer = set_up(cell, A, plane), set_up(cell, B, plane)
    cell.file(A, "big.bin", BIG)
    cell.dataset(A, "big", "file", {"path": "big.bin"})
    yield provider, consumer, plane
    plane.stop()


def target(url):
    return {"@type": "DataAddress", "endpointType": HTTP_PUSH, "endpoint": url}


def received(cell, process):
    return cell.state / "sources" / B / "received" / process / "data"


def test_from_prepare_to_completed(cell, planes):
    provider, consumer, plane = planes
    process = random_id()
    prepared = consumer.prepare(process, HTTP_PUSH)
    assert prepared.status == 200 and prepared.body["state"] == "PREPARED", prepared
    address = prepared.body["dataAddress"]
    assert address["endpointType"] == HTTP_PUSH and address["endpoint"].endswith(f"/api/ingest/{B}/{process}")
    assert address_properties(address)["authType"] == "bearer"
    plane.expect(process, "completed")
    started = provider.start(process, HTTP_PUSH, datasetId="big", dataAddress=address)
    assert started.status == 200 and started.body["state"] == "STARTED" and "dataAddress" not in started.body, started
    assert consumer.move(process, "started").status == 200
    plane.wait_taken(process, ["completed"], 30)
    provider.wait_state(process, "COMPLETED")
    assert received(cell, process).read_bytes() == BIG
    assert consumer.move(process, "completed").status == 200 and consumer.state(process) == "COMPLETED"
    # the flow is over: its token opens nothing
    assert send_again(cell, address) == 403


def send_again(cell, address):
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", cell.clear_port, timeout=60)
    path = address["endpoint"].split("/", 3)[3]
    connection.request("PUT", "/" + path, b"late", {"Authorization": "Bearer " + address_properties(address)["authorization"]})
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("side", ["provider", "consumer"])
def test_suspend_and_resume(cell, planes, side):
    provider, consumer, plane = planes
    process = random_id()
    cell.file(A, "huge.bin", BIG * 8)
    cell.dataset(A, "huge", "file", {"path": "huge.bin"})
    address = consumer.prepare(process, HTTP_PUSH).body["dataAddress"]
    assert provider.start(process, HTTP_PUSH, datasetId="huge", dataAddress=address).status == 200
    assert consumer.move(process, "started").status == 200
    part = received(cell, process).with_name("data.part")
    wait_for(lambda: part.exists() and part.stat().st_size > 4 << 20, what="bytes")
    first, second = (provider, consumer) if side == "provider" else (consumer, provider)
    assert first.move(process, "suspend", reason="a pause").status == 200
    held = wait_still(lambda: part.stat().st_size)
    assert held < 128 << 20
    assert second.move(process, "suspend").status == 200
    assert not plane.of(process)
    # the address travels from the consumer's resumption into the provider's
    resumed = consumer.move(process, "resume")
    assert resumed.status == 200 and resumed.body["state"] == "STARTED", resumed
    plane.expect(process, "completed")
    assert provider.move(process, "resume", dataAddress=resumed.body["dataAddress"]).status == 200
    plane.wait_taken(process, ["completed"], 60)
    assert received(cell, process).read_bytes() == BIG * 8


def test_resumption_at_another_address(cell, planes):
    provider, _, plane = planes
    process, first, second = random_id(), Receiver(), Receiver()
    try:
        first.on_bytes = lambda total: time.sleep(0.001)
        assert provider.start(process, HTTP_PUSH, datasetId="big", dataAddress=target(first.url)).status == 200
        wait_for(lambda: first.received > 2 << 20, what="bytes")
        assert provider.move(process, "suspend").status == 200
        plane.expect(process, "completed")
        assert provider.move(process, "resume", dataAddress=target(second.url)).status == 200
        plane.wait_taken(process, ["completed"], 30)
        assert second.whole["/in"] == BIG and "/in" not in first.whole
    finally:
        first.stop()
        second.stop()


def test_a_wire_error_is_told_and_changes_nothing(cell, planes):
    provider, _, plane = planes
    process, receiver = random_id(), Receiver()
    try:
        receiver.before_body = lambda path, head: 404
        plane.expect(process, "errored")
        assert provider.start(process, HTTP_PUSH, datasetId="big", dataAddress=target(receiver.url)).status == 200
        plane.wait_taken(process, ["errored"], 30)
        assert "404" in plane.of(process, 200)[0].message["error"]
        assert provider.state(process) == "STARTED"
        requests = len(receiver.requests)
        time.sleep(0.5)
        assert len(receiver.requests) == requests
    finally:
        receiver.stop()


def test_a_receiver_that_stays_away_is_given_up(cell, planes):
    provider, _, plane = planes
    process, receiver = random_id(), Receiver()
    receiver.stop()
    plane.expect(process, "errored")
    assert provider.start(process, HTTP_PUSH, datasetId="big", dataAddress=target(receiver.url)).status == 200
    plane.wait_taken(process, ["errored"], 30)
    assert provider.state(process) == "STARTED"
