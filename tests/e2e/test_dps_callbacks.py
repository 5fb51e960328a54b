"""What the cell says to control planes by itself: in order, again and again while nobody listens, and never to our own ports."""
import base64
import time
import urllib.parse

import pytest

from conftest import A, B, wait_for
from dps_fixture import DATASETS, TARGET, client_credentials, renewable, set_up
from signaling import HTTP_PULL, HTTP_PUSH, ControlPlane, Key, Signaling, random_id

def test_control_plane_is_down_for_an_hour(own_cell, control_plane):
    """An hour in which it refuses, then is gone altogether, then the cell is killed: its callbacks wait, further and further apart,
    and come in order when it is back. The clock runs faster: what starts at a second here starts at milliseconds."""
    cell = own_cell(settings={"dp": {"callback_min_ms": 20, "callback_max_ms": 1000}})
    cell.start()
    signaling = set_up(cell, A, control_plane)
    cell.dataset(A, "quick", "external", {"readyAfterMs": "30", "completeAfterMs": "30"})
    control_plane.answer = lambda *_: 503
    flows = [random_id() for _ in range(5)]
    for flow in flows:
        answer = signaling.start(flow, HTTP_PUSH, datasetId="quick", dataAddress=TARGET)
        assert answer.status == 202 and answer.body["state"] == "STARTING", answer
    wait_for(lambda: all(len(control_plane.of(flow)) >= 7 for flow in flows), 60, "seven tries")
    for flow in flows:
        tries = control_plane.of(flow)
        assert {one.operation for one in tries} == {"started"}, "something came before what was first"
        assert len({one.message["messageId"] for one in tries}) == 1, "the same callback has another messageId"
        gaps = [later.at - earlier.at for earlier, later in zip(tries, tries[1:])]
        assert gaps[-1] > 3 * gaps[0] and gaps[-1] < 3, gaps
        assert signaling.state(flow) in ("STARTING", "STARTED")
    ended = flows.pop()
    assert signaling.move(ended, "terminate").status == 200
    control_plane.stop()
    control_plane.answer = None
    assert signaling.move(flows[0], "terminate").status == 200 and signaling.state(flows[0]) == "TERMINATED"
    cell.kill()
    cell.start()
    refused = {flow: len(control_plane.of(flow)) for flow in (ended, flows[0])}
    control_plane.answer = lambda *_: 200
    control_plane.start()
    for flow in flows[1:]:
        control_plane.wait_taken(flow, ["started", "completed"], 60)
        signaling.wait_state(flow, "COMPLETED")
    assert {flow: len(control_plane.of(flow)) for flow in refused} == refused, "a flow that had ended was still talked about"


def test_a_silent_control_plane_holds_nobody_up(own_cell, control_plane):
    """One takes connections and says nothing; another tenant's callbacks go on."""
    silent = ControlPlane()
    wait = []
    silent.answer = lambda *_: wait_for(lambda: wait, 60) and 200
    cell = own_cell()
    cell.start()
    try:
        first, second = set_up(cell, A, silent), set_up(cell, B, control_plane)
        for signaling in (first, second):
            cell.dataset(signaling.ctx, "soon", "external", {"readyAfterMs": "20"})
        held = [random_id() for _ in range(100)]
        for flow in held:
            assert first.start(flow, datasetId="soon").status == 202
        flow = random_id()
        control_plane.expect(flow, "started")
        assert second.start(flow, datasetId="soon").status == 202
        control_plane.wait_taken(flow, ["started"])
        second.wait_state(flow, "STARTED")
        assert not silent.callbacks
        assert first.move(held[0], "terminate").status == 200, "the silent one's own flows can still be moved"
    finally:
        wait.append(True)
        silent.stop()


def test_callbacks_follow_the_registration(own_cell, control_plane):
    cell = own_cell(settings={"dp": {"callback_min_ms": 20, "callback_max_ms": 200}})
    cell.start()
    signaling = set_up(cell, A, control_plane)
    cell.dataset(A, "soon", "external", {"readyAfterMs": "20"})
    control_plane.answer = lambda *_: 500
    flow = random_id()
    assert signaling.prepare(flow, datasetId="soon").status == 202
    wait_for(lambda: control_plane.of(flow), what="a first try")
    successor = ControlPlane()
    try:
        successor.expect(flow, "prepared")
        assert signaling.register("cp", successor.url).status == 200
        successor.wait_taken(flow, ["prepared"])
        signaling.wait_state(flow, "PREPARED")
    finally:
        successor.stop()


def test_callbacks_prove_who_sends_them(own_cell, control_plane):
    """With client credentials registered, a token is fetched once and shown on each callback."""
    asked = []

    def give_token(body, headers):
        asked.append((urllib.parse.parse_qs(body.decode()), headers.get("Authorization", "")))
        return 200, {"access_token": f"token-{len(asked)}", "token_type": "Bearer", "expires_in": 300}
    control_plane.routes["/token"] = give_token
    control_plane.answer = lambda *_: 200
    cell = own_cell()
    cell.start()
    signaling = set_up(cell, A, control_plane)
    cell.dataset(A, "soon", "external", {"readyAfterMs": "20"})
    assert signaling.register("cp", control_plane.url, authorization=client_credentials(control_plane)).status == 200
    for flow in [random_id() for _ in range(3)]:
        assert signaling.start(flow, datasetId="soon").status == 202
        control_plane.wait_taken(flow, ["started"])
        assert [one.headers.get("Authorization") for one in control_plane.of(flow)] == ["Bearer token-1"]
    form, basic = asked[0]
    assert len(asked) == 1 and form["grant_type"] == ["client_credentials"], asked
    assert form.get("client_secret") == ["secret"] or basic == "Basic " + base64.b64encode(b"cell:secret").decode(), asked


# --- endpoints that point at ourselves

def admin_requests(cell, mark):
    return [line for line in cell.log_lines() if line["event"] == "request" and mark in line.get("path", "")]


NARROW, WIDE = "10.99.0.0/16", "127.0.0.0/8,0.0.0.0/32,::1/128"


@pytest.mark.parametrize("networks", [NARROW, WIDE], ids=["public addresses only", "this machine too"])
@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "127.1"])
def test_endpoints_at_our_admin_port(tenants, address, networks):
    """Whatever names our admin port, and whatever networks the participant may use: no request arrives there."""
    cell, mark = tenants[0].cell, f"trap-{random_id()}"
    trap = f"http://{address}:{cell.admin_port}/{mark}"
    ctx = random_id().replace("-", "")
    cell.participant(ctx, {"celld.dps.clear": "true", "celld.http.allow": networks})
    cell.dataset(ctx, "soon", "external", {"readyAfterMs": "10", "endpoint": "https://provider.example"})
    cell.file(ctx, "given.txt", b"given\n")
    cell.dataset(ctx, "file", **DATASETS["file"])
    signaling = Signaling(cell, ctx, f"did:web:localhost:{ctx[:4]}",
        cell.management_token("signaling:dataflow:write signaling:controlplane:write", ctx))
    refused = cell.metric("celld_upstream_failures_total")
    # where keys are
    keys = {"type": "oauth2_client_credentials", "tokenEndpoint": trap, "clientId": "c", "clientSecret": "s", "jwksUri": trap}
    answers = [signaling.register("trapped", "https://control.example", authorization=keys)]
    now = int(time.time())
    token = Key("x").sign({"iss": "x", "sub": "trapped", "aud": signaling.identity, "iat": now, "exp": now + 60})
    assert signaling.call("GET", "/dataflows/x/status", token=token).status in (401, 503)
    # where callbacks go
    answers.append(signaling.register("trapped", trap))
    assert signaling.start(random_id(), datasetId="soon").status == 202
    # where bytes are pushed to, and where they are fetched from
    answers.append(signaling.start(random_id(), HTTP_PUSH, datasetId="file", dataAddress={**TARGET, "endpoint": trap}))
    process = random_id()
    assert signaling.prepare(process, HTTP_PULL).status == 200
    answers.append(signaling.move(process, "started", dataAddress={**renewable(refreshEndpoint=trap), "endpoint": trap}))
    assert all(answer.status in (200, 202, 400) for answer in answers), answers
    if answers[1].status == 200:  # else the address was refused as soon as it was named
        wait_for(lambda: cell.metric("celld_upstream_failures_total") > refused, what="a refusal")
    assert not admin_requests(cell, mark)
