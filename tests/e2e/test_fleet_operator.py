"""NATS operator mode: each cell may do its own and nothing else (control.md 2.3, F38); credentials are short-lived and renewed."""
import json
import time

import pytest

from conftest import wait_for
from fleet import Fleet, read_credentials, sign_with
from nats import SERVERS


@pytest.fixture(scope="module", params=SERVERS)
def fleet(tmp_path_factory, request):
    one = Fleet(tmp_path_factory.mktemp("operator"), has_operator=True, binary=request.param).start()
    one.join("cell-a")
    one.join("cell-b")
    yield one
    one.stop()


def client_of(fleet, cell):
    """A connection with a cell's own credentials: what somebody has who has taken the cell over."""
    jwt, seed = read_credentials(fleet.cells[cell].state / "cell.nk.creds")
    return fleet.broker.client(jwt=jwt, sign=sign_with(seed), inbox=f"_INBOX_{cell}")


def violations(client, word):
    return [one for one in client.errors if "Permissions Violation" in one and word in one]


def test_cells_work_without_a_refusal(fleet):
    for name in ("cell-a", "cell-b"):
        cell = fleet.cells[name]
        wait_for(lambda: "round trip 0.00" not in fleet.line(cell), 30, "a measured round trip")
        # a queue that the manager has not made yet, it would make: that is not its to do, and it asks again
        refused = [line["detail"] for line in cell.log_lines() if line["event"] == "bus.error" and "DURABLE.CREATE" not in line["detail"]]
        assert not refused, "all it needs is allowed"


def test_a_heartbeat_of_another_cell_is_refused(fleet):
    client = client_of(fleet, "cell-a")
    shown = fleet.ok("GET", "/cells/cell-b")
    beat = {"v": 1, "c": "cell-b", "inc": shown["incarnation"], "ep": shown["epoch"], "n": 10**9, "st": "degraded"}
    client.publish("celld.hb.cell-b", beat)
    wait_for(lambda: violations(client, "celld.hb.cell-b"), 30, "the refusal")
    # within its own subject it cannot speak for another either
    client.publish("celld.hb.cell-a", beat)
    time.sleep(1)
    assert fleet.is_heard("cell-b") and fleet.health("cell-b")["says"] == "ok"
    wait_for(lambda: fleet.health("cell-b")["lastHeartbeatAgeMs"] < 500, 10, "its own, which the forged number would have made old ones")
    client.close()


def test_a_word_in_the_name_of_another_cell_is_refused(fleet):
    """About a silent cell: neither as another cell nor as a replica of the manager, and nobody is sent to try an address."""
    client, asker = client_of(fleet, "cell-a"), "0123456789abcdef" * 2
    word = {"v": 1, "q": 1, "cell": "cell-b", "alive": False}
    client.publish(f"celld.word.{asker}.cell-a", word)
    client.subscribe("celld.probe.cell-a")
    for subject in (f"celld.word.{asker}.cell-b", f"celld.view.{asker}.{asker}", "celld.doubt", "celld.probe.cell-b"):
        client.publish(subject, word)
        wait_for(lambda: violations(client, f'Publish to "{subject}"'), 5, f"the refusal of {subject}")
    for subject in ("celld.probe.cell-b", "celld.probe.*", f"celld.word.{asker}.*", "celld.doubt"):
        client.subscribe(subject)
        wait_for(lambda: violations(client, f'Subscription to "{subject}"'), 5, f"the refusal of {subject}")
    assert len(client.errors) == 8, client.errors
    client.close()


def test_commands_of_another_cell_cannot_be_read(fleet):
    client = client_of(fleet, "cell-a")
    wait_for(lambda: "error" not in client.api("CONSUMER.INFO.celld-cmd.cell-cell-a"), 30, "its own queue")
    for subject, body in (("CONSUMER.MSG.NEXT.celld-cmd.cell-cell-b", {"batch": 1}), ("CONSUMER.INFO.celld-cmd.cell-cell-b", b""),
            ("CONSUMER.CREATE.celld-cmd", {"stream_name": "celld-cmd", "config": {"filter_subject": "celld.cmd.cell-b.*"}}),
            ("CONSUMER.DURABLE.CREATE.celld-cmd.cell-cell-a", {"stream_name": "celld-cmd", "config": {"durable_name": "cell-cell-a", "filter_subject": "celld.cmd.cell-b.*"}}),
            ("STREAM.MSG.GET.celld-cmd", {"seq": 1}), ("STREAM.DELETE.celld-cmd", b""), ("STREAM.PURGE.celld-cmd", b"")):
        client.publish(f"$JS.API.{subject}", body, reply=f"{client.inbox}.x")
        wait_for(lambda: violations(client, subject), 30, f"the refusal of {subject}")
    client.subscribe("celld.cmd.cell-b.*")
    client.subscribe("celld.hb.*")
    client.subscribe("_INBOX_cell-b.>")
    client.subscribe(">")
    for subject in ("celld.cmd.cell-b", "celld.hb.*", "_INBOX_cell-b", '">"'):
        wait_for(lambda: violations(client, subject), 30, f"the refusal of {subject}")
    client.publish("celld.cmd.cell-a.cp", b"{}")
    wait_for(lambda: violations(client, "celld.cmd.cell-a.cp"), 30, "a cell gives no commands, not even to itself")
    client.close()


def test_who_has_no_credentials_is_not_let_in(fleet):
    with pytest.raises(PermissionError):
        fleet.broker.client()
    jwt, _ = read_credentials(fleet.cells["cell-a"].state / "cell.nk.creds")
    _, other = read_credentials(fleet.cells["cell-b"].state / "cell.nk.creds")
    with pytest.raises(PermissionError):
        fleet.broker.client(jwt=jwt, sign=sign_with(other))


def test_an_agent_works_with_the_managers_stream_alone(fleet):
    jwt, seed = fleet.broker.agent(f"agent{time.monotonic_ns()}")
    client = fleet.broker.client(jwt=jwt, sign=sign_with(seed))
    wait_for(lambda: "error" not in client.api("STREAM.INFO.cfm-stream"), 30, "the stream")
    assert "error" not in client.consumer("cfm-stream", "agent-activity", "event.agent-activity")
    assert client.js_publish("event.agent-activity", {"processingId": "x"})["stream"] == "cfm-stream"
    [message] = client.pull("cfm-stream", "agent-activity")
    client.ack(message)
    client.publish("celld.hb.cell-a", b"{}")
    client.publish("celld.cmd.cell-a.cp", b"{}")
    client.publish("$JS.API.CONSUMER.MSG.NEXT.celld-cmd.cell-cell-a", b"", reply=f"{client.inbox}.x")
    for word in ("celld.hb.cell-a", "celld.cmd.cell-a.cp", "MSG.NEXT.celld-cmd"):
        wait_for(lambda: violations(client, word), 30, word)
    client.close()


def test_secrets_lie_in_files_of_their_owner_and_in_no_log(fleet):
    for name, cell in (("cell-a", fleet.cells["cell-a"]), ("cfmd", None)):
        folder = cell.state if cell else fleet.cfmd.state
        key, credentials = (folder / "cell.nk", folder / "cell.nk.creds") if cell else (folder / "cfmd.nk", folder / "cfmd.nk.creds")
        assert key.stat().st_mode & 0o777 == 0o400 and credentials.stat().st_mode & 0o777 == 0o600
        jwt, seed = read_credentials(credentials)
        log = (cell.folder / "cell.log").read_text() if cell else fleet.cfmd.log()
        assert seed not in log and jwt not in log and key.read_text().strip() == seed


@pytest.mark.parametrize("binary", SERVERS)
def test_credentials_end_and_are_renewed(tmp_path, binary):
    own = Fleet(tmp_path, has_operator=True, binary=binary, cells={"credentials_ms": "6 s"}).start()
    try:
        cell = own.join("cell-1")
        jwt, seed = read_credentials(cell.state / "cell.nk.creds")
        begun = time.monotonic()
        wait_for(lambda: read_credentials(cell.state / "cell.nk.creds")[0] != jwt, 30, "the cell's renewal")
        wait_for(lambda: [line for line in own.cfmd.log_lines() if line["event"] == "fabric.credentials_renewed"], 30, "the manager's own")
        wait_for(lambda: time.monotonic() - begun > 7, 30)
        with pytest.raises(PermissionError):
            own.broker.client(jwt=jwt, sign=sign_with(seed), inbox="_INBOX_cell-1")
        fresh, _ = read_credentials(cell.state / "cell.nk.creds")
        assert fresh != jwt
        for _ in range(8):
            assert own.is_heard("cell-1"), own.health("cell-1")
            time.sleep(0.5)
        assert own.ok("GET", "/cells/cell-1")["epoch"] == 1
    finally:
        own.stop()


def test_credentials_that_ended_while_the_manager_was_away(tmp_path):
    own = Fleet(tmp_path, has_operator=True, cells={"credentials_ms": "3 s"}).start()
    try:
        cell = own.join("cell-1")
        own.cfmd.stop()
        time.sleep(4)
        assert cell.is_ready(), "it serves all the same"
        own.cfmd.start()
        wait_for(lambda: own.health("cell-1").get("lastHeartbeatAgeMs", 9999) < 500, 30, "heartbeats with new credentials")
        assert own.ok("GET", "/cells/cell-1")["epoch"] == 1
    finally:
        own.stop()


def test_credentials_over_rest(fleet):
    _, seed = fleet.broker.agent(f"agent{time.monotonic_ns()}")
    public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
    made = fleet.ok("POST", "/credentials", {"name": "onboarding", "nkey": public, "lifetimeSeconds": 60})
    assert made["natsUserJwt"].count(".") == 2 and abs(made["natsExpiresAt"] / 1000 - time.time() - 60) < 10
    for body in ({}, {"name": "a", "nkey": seed}, {"name": "a b", "nkey": public}, {"name": "a", "nkey": public, "lifetimeSeconds": 0}):
        assert fleet.api("POST", "/credentials", body)[0] == 400
    assert json.dumps(made).find(seed) < 0
