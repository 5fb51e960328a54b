"""The 28 data plane cases of the public kit of Data Plane Signaling, by their ids: a real cell, and the kit's side played over
real sockets. What a case asks of the cell for itself (a slow answer, an end of the data) is its dataset's configuration."""
import re

import pytest

from conftest import A, Cell
from signaling import HTTP_PULL, ControlPlane, Signaling, address_properties, check_address, check_status_message, random_id, renew

PULL, PUSH = "http-pull", "http-push"
BYTES = b"what the provider has to give\n" * 100
DATASETS = {
    "file": {"type": "file", "properties": {"path": "case.txt"}},
    "wire": {"type": "external"},
    "slow": {"type": "external", "properties": {"readyAfterMs": "250"}},
    "finite": {"type": "external", "properties": {"completeAfterMs": "700"}},
}


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    cell = Cell(tmp_path_factory.mktemp("cell")).start()
    control_plane = ControlPlane()
    try:
        cell.participant(A, {"celld.dps.clear": "true", "celld.dps.renewal.required": "true"})
        cell.file(A, "case.txt", BYTES)
        for name, members in DATASETS.items():
            cell.dataset(A, name, **members)
        signaling = Signaling(cell, A, f"did:web:localhost:{A[:4]}", cell.management_token("signaling:controlplane:write", A))
        assert signaling.register("kit", control_plane.url).status == 200
        signaling.token = cell.management_token("signaling:dataflow:write", "kit")
        yield signaling, control_plane
    finally:
        control_plane.stop()
        cell.stop()


class Case:
    """One flow, driven step by step; every step checks what it is answered."""

    def __init__(self, signaling, control_plane):
        self.signaling, self.control_plane = signaling, control_plane
        self.process = random_id()
        self.dataset = random_id()
        self.address = None

    def of(self, dataset):
        self.dataset = dataset
        return self

    def first(self, verb, profile, state, with_address, **members):
        answer = getattr(self.signaling, verb)(self.process, profile, datasetId=self.dataset,
            counter_party=self.control_plane.did, **members)
        assert answer.status == (202 if state.endswith("ING") else 200), answer
        check_status_message(answer.body)
        assert answer.body["state"] == state, answer
        self.flow = answer.body["dataFlowId"]
        if answer.status == 202:
            assert answer.headers["Location"].endswith(f"/dataflows/{self.flow}/status"), answer.headers.items()
        else:
            assert ("dataAddress" in answer.body) == with_address, answer
        self.address = answer.body.get("dataAddress")
        return self

    def prepare(self, profile, state="PREPARED"):
        return self.first("prepare", profile, state, profile.endswith("-push"))

    def start(self, profile, state="STARTED"):
        target = {"endpointType": "https://w3id.org/idsa/v4.1/HTTP", "endpoint": self.control_plane.url}
        members = {"dataAddress": target} if profile.endswith("-push") else {}
        return self.first("start", profile, state, profile.endswith("-pull"), **members)

    def move(self, verb, **members):
        answer = self.signaling.move(self.flow, verb, **members)
        assert 200 <= answer.status < 300, answer
        return answer

    def started(self):
        self.move("started")
        return self.sees("STARTED")

    def suspend(self):
        self.move("suspend")
        return self.sees("SUSPENDED")

    def resume(self):
        answer = self.move("resume")
        check_status_message(answer.body)
        assert answer.body["state"] == "STARTED", answer
        return self.sees("STARTED")

    def terminate(self):
        self.move("terminate", reason="any")
        return self.sees("TERMINATED")

    def completed(self):
        assert 200 <= self.signaling.call("POST", f"/dataflows/{self.flow}/completed", {}).status < 300
        return self.sees("COMPLETED")

    def sees(self, state):
        self.signaling.wait_state(self.flow, state)
        return self

    def awaits(self, operation):
        """The cell says so by itself; what it said before anybody listened, it says again."""
        self.control_plane.expect(self.process, operation)
        self.control_plane.wait_taken(self.process, [operation])
        said = self.control_plane.of(self.process, 200)[0].message
        assert (said["dataFlowId"], said["state"]) == (self.flow, operation.upper()), said
        return self

    # --- pull over HTTP with renewable tokens

    def started_with(self, renewable):
        """started, with an address of the http-pull profile that can, or cannot, be renewed."""
        properties = {"authorization": "access", "authType": "bearer"}
        if renewable:
            properties |= {"refreshToken": "refresh", "expiresIn": "300", "refreshEndpoint": "https://provider.example.com/token"}
        answer = self.signaling.move(self.flow, "started", dataAddress={"@type": "DataAddress", "endpointType": HTTP_PULL,
            "endpoint": "https://provider.example.com/data",
            "endpointProperties": [{"name": name, "value": value} for name, value in properties.items()]})
        assert (200 <= answer.status < 300) == renewable, answer
        return self

    def is_renewable(self):
        check_address(self.address)
        self.properties = address_properties(self.address)
        assert self.address["endpointType"] == HTTP_PULL and re.match("https?://", self.address["endpoint"]), self.address
        assert self.properties["authType"].lower() == "bearer" and self.properties["authorization"].strip(), self.properties
        assert self.properties["refreshToken"].strip() and re.fullmatch(r"\d+", self.properties["expiresIn"]), self.properties
        assert re.match("https?://", self.properties["refreshEndpoint"]), self.properties
        return self

    def renew(self, refresh_token=None, audience=None):
        client = self.control_plane.client_token(audience or self.signaling.identity, self.properties["authorization"])
        return renew(self.properties["refreshEndpoint"], refresh_token or self.properties["refreshToken"], client)

    def renewed(self):
        answer = self.renew()
        assert answer.status == 200 and answer.body["token_type"], answer
        assert answer.body["access_token"] != self.properties["authorization"]
        pulled = self.signaling.cell.pull(answer.body["access_token"], f"/api/public/{A}")
        assert pulled.status == 200 and bytes(pulled.body) == BYTES, pulled
        return self

    def not_renewed(self, **wrong):
        answer = self.renew(**wrong)
        assert 400 <= answer.status < 500 and b"access_token" not in answer.body, answer
        return self


CASES = {
    "DP_C_PULL:01-01": lambda case: case.prepare(PULL).started(),
    "DP_C_PULL:01-02": lambda case: case.prepare(PULL).started().terminate(),
    "DP_C_PULL:02-01": lambda case: case.prepare(PULL).started().suspend().resume(),
    "DP_C_PULL:02-02": lambda case: case.prepare(PULL).started().suspend().terminate(),
    "DP_C_PULL:03-01": lambda case: case.of("finite").prepare(PULL).sees("PREPARED").started().awaits("completed"),
    "DP_C_PULL:04-01": lambda case: case.of("slow").prepare(PULL, "PREPARING").awaits("prepared").sees("PREPARED"),

    "DP_P_PULL:01-01": lambda case: case.of("file").start(PULL).sees("STARTED").completed(),
    "DP_P_PULL:01-02": lambda case: case.of("file").start(PULL).sees("STARTED").terminate(),
    "DP_P_PULL:02-01": lambda case: case.of("file").start(PULL).suspend().resume(),
    "DP_P_PULL:02-02": lambda case: case.of("file").start(PULL).suspend().terminate(),
    "DP_P_PULL:04-01": lambda case: case.of("slow").start(PULL, "STARTING").awaits("started").sees("STARTED"),

    "DP_C_PUSH:01-01": lambda case: case.prepare(PUSH).started(),
    "DP_C_PUSH:01-02": lambda case: case.prepare(PUSH).started().terminate(),
    "DP_C_PUSH:02-01": lambda case: case.prepare(PUSH).started().suspend().resume(),
    "DP_C_PUSH:02-02": lambda case: case.prepare(PUSH).started().suspend().terminate(),
    "DP_C_PUSH:03-01": lambda case: case.prepare(PUSH).started().completed(),
    "DP_C_PUSH:04-01": lambda case: case.of("slow").prepare(PUSH, "PREPARING").awaits("prepared").sees("PREPARED"),

    "DP_P_PUSH:01-01": lambda case: case.of("wire").start(PUSH).sees("STARTED"),
    "DP_P_PUSH:01-02": lambda case: case.of("wire").start(PUSH).sees("STARTED").terminate(),
    "DP_P_PUSH:02-01": lambda case: case.of("wire").start(PUSH).suspend().resume(),
    "DP_P_PUSH:02-02": lambda case: case.of("wire").start(PUSH).suspend().terminate(),
    "DP_P_PUSH:03-01": lambda case: case.of("finite").start(PUSH).sees("STARTED").awaits("completed").sees("COMPLETED"),
    "DP_P_PUSH:04-01": lambda case: case.of("slow").start(PUSH, "STARTING").awaits("started").sees("STARTED"),

    "DP_C_HTTP_PULL:01-01": lambda case: case.prepare(HTTP_PULL).started_with(renewable=True).sees("STARTED"),
    "DP_C_HTTP_PULL:02-01": lambda case: case.prepare(HTTP_PULL).started_with(renewable=False).sees("PREPARED"),

    "DP_P_HTTP_PULL:01-01": lambda case: case.of("file").start(HTTP_PULL).is_renewable().sees("STARTED").renewed(),
    "DP_P_HTTP_PULL:02-01": lambda case: case.of("file").start(HTTP_PULL).is_renewable().not_renewed(refresh_token="unknown"),
    "DP_P_HTTP_PULL:02-02": lambda case: case.of("file").start(HTTP_PULL).is_renewable().not_renewed(audience="did:web:invalid-audience"),
}


def test_all_28_are_here():
    assert len(CASES) == 28


@pytest.mark.parametrize("case", CASES)
def test_case(kit, case):
    signaling, control_plane = kit
    control_plane.renew_consumer_key()  # each case has a key of its own, under the same DID
    CASES[case](Case(signaling, control_plane))


# --- what the kit leaves open: who owns the address gives it, at each start anew

OWNERS = {"consumer of a push": ("prepare", PUSH, True), "provider of a pull": ("start", PULL, True),
    "consumer of a pull": ("prepare", PULL, False), "provider of a push": ("start", PUSH, False)}


@pytest.mark.parametrize("role", OWNERS)
def test_resume_gives_the_address(kit, role):
    verb, profile, is_owner = OWNERS[role]
    case = getattr(Case(*kit).of("wire"), verb)(profile)
    if verb == "prepare":
        case.started()
    answer = case.suspend().move("resume")
    check_status_message(answer.body)
    assert ("dataAddress" in answer.body) == is_owner, answer


@pytest.mark.parametrize("role", OWNERS)
def test_a_callback_gives_the_address(kit, role):
    verb, profile, is_owner = OWNERS[role]
    operation = "prepared" if verb == "prepare" else "started"
    case = getattr(Case(*kit).of("slow"), verb)(profile, operation[:-2].upper() + "ING").awaits(operation)
    said = kit[1].of(case.process, 200)[0].message
    assert ("dataAddress" in said) == is_owner, said
