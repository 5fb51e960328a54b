"""Participants that are driven by Data Plane Signaling, each with datasets, a control plane and a token; and the requests that
several files make."""
import time

import pytest

from conftest import A, B, Cell
from signaling import ABSENT, HTTP_PULL, HTTP_PUSH, ControlPlane, Signaling, changed, random_id

LONG = "3600000"
DATASETS = {
    "file": {"type": "file", "properties": {"path": "given.txt"}},
    "wire": {"type": "external"},
    "slow": {"type": "external", "properties": {"readyAfterMs": LONG}},
}
MOVES = ["started", "suspend", "resume", "terminate", "completed"]
TARGET = {"@type": "DataAddress", "endpointType": HTTP_PUSH, "endpoint": "http://localhost:1/ingest"}


def set_up(cell, ctx, control_plane, entries=None):
    """A participant with datasets and its control plane, which shares the name "cp" with those of other participants."""
    cell.participant(ctx, {"celld.dps.clear": "true", **(entries or {})})
    cell.file(ctx, "given.txt", b"given\n")
    for name, members in DATASETS.items():
        cell.dataset(ctx, name, **members)
    signaling = Signaling(cell, ctx, f"did:web:localhost:{ctx[:4]}", cell.management_token("signaling:admin", ctx))
    signaling.token = cell.management_token("signaling:dataflow:write signaling:controlplane:write", ctx)
    answer = signaling.register("cp", control_plane.url)
    assert answer.status == 200, answer
    return signaling


@pytest.fixture(scope="module")
def tenants(tmp_path_factory):
    """(A's signaling, B's signaling, their control plane); A requires that tokens can be renewed."""
    cell = Cell(tmp_path_factory.mktemp("cell")).start()
    control_plane = ControlPlane()
    try:
        yield set_up(cell, A, control_plane, {"celld.dps.renewal.required": "true"}), set_up(cell, B, control_plane), control_plane
    finally:
        control_plane.stop()
        cell.stop()


@pytest.fixture
def a(tenants):
    return tenants[0]


@pytest.fixture
def b(tenants):
    return tenants[1]


@pytest.fixture
def control_plane():
    one = ControlPlane()
    yield one
    one.stop()


def is_refused(answer, status):
    """A refusal says why, and is no status message."""
    assert answer.status == status, answer
    assert not isinstance(answer.body, dict) or "dataFlowId" not in answer.body, answer


def flow_in(signaling, state, dataset="file"):
    """A new flow in this state, as far as a control plane can bring it there."""
    process = random_id()
    if state in ("PREPARING", "PREPARED"):
        answer = signaling.prepare(process, datasetId="slow" if state == "PREPARING" else random_id())
    elif state == "STARTING":
        answer = signaling.start(process, datasetId="slow")
    else:
        answer = signaling.start(process, datasetId=dataset)
    assert answer.status in (200, 202), answer
    verb = {"SUSPENDED": "suspend", "COMPLETED": "completed", "TERMINATED": "terminate"}.get(state)
    if verb:
        answer = signaling.move(process, verb)
        assert answer.status == 200, answer
    assert signaling.state(process) == state
    return process


def renewable(**changes):
    values = {"authorization": "t", "authType": "bearer", "refreshToken": "r", "expiresIn": "300",
        "refreshEndpoint": "https://provider.example.com/token", **changes}
    return {"@type": "DataAddress", "endpointType": HTTP_PULL, "endpoint": "https://provider.example.com/data", "endpointProperties": [
        {"@type": "EndpointProperty", "name": name, "value": value} for name, value in values.items() if value is not ABSENT]}


def client_credentials(control_plane, **changes):
    return {"type": "oauth2_client_credentials", "tokenEndpoint": f"{control_plane.url}/token", "clientId": "cell",
        "clientSecret": "secret", "jwksUri": f"{control_plane.url}/jwks.json", **changes}


def token_exchange(control_plane, **changes):
    return {"type": "oauth2_token_exchange", "tokenExchangeEndpoint": f"{control_plane.url}/exchange", "issuer": control_plane.url,
        "jwksUri": f"{control_plane.url}/jwks.json", **changes}


def sign(control_plane, claims, key=None, header=None, **changes):
    """A JWT of the control plane's key, valid for five minutes."""
    now = int(time.time())
    claims = changed({"iat": now, "exp": now + 300, "jti": random_id(), **claims}, changes)
    return (key or control_plane.key).sign(claims, **(header or {}))
