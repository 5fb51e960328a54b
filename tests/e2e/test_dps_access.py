"""Who may signal: tokens of the cell and of control planes, forged ones, those of other tenants on every endpoint, and how control
planes are registered."""
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from base64url import encode
from conftest import A, B, wait_for
from dps_fixture import MOVES, client_credentials, flow_in, is_refused, set_up, sign, token_exchange
from signaling import ABSENT, ControlPlane, Key, changed, random_id

# --- 401 and 403

ENDPOINTS = {
    "prepare": ("POST", "/dataflows/prepare", lambda s, flow: s.message(random_id(), "http-pull")),
    "start": ("POST", "/dataflows/start", lambda s, flow: s.message(random_id(), "http-pull", datasetId="file")),
    **{verb: ("POST", f"/dataflows/{{}}/{verb}", lambda s, flow: {"messageId": random_id()}) for verb in MOVES},
    "status": ("GET", "/dataflows/{}/status", lambda s, flow: None),
    "register": ("PUT", "/controlplanes", lambda s, flow: {"controlplaneId": "cp", "endpoint": "https://evil.example", "authorization": {}}),
    "unregister": ("DELETE", "/controlplanes/cp", lambda s, flow: None),
}


def call_endpoint(signaling, name, flow, token):
    method, path, body = ENDPOINTS[name]
    return signaling.call(method, path.format(flow), body(signaling, flow), token)


def forged_tokens(cell):
    good = cell.management_token("signaling:admin", A)
    head, claims, signature = good.split(".")
    now = int(time.time())
    own = {"iss": "urn:celld:cell", "sub": A, "scope": "signaling:admin", "iat": now, "exp": now + 600, "jti": random_id()}
    return {"no token": None, "garbage": "garbage", "empty": "", "unsigned": f"{encode({'alg': 'none'})}.{claims}.",
        "cut": f"{head}.{claims}.{signature[:-4]}", "other claims": f"{head}.{encode(own)}.{signature}",
        "another key": Key("cell").sign(own)}


@pytest.fixture(scope="module")
def victim(tenants):
    return flow_in(tenants[0], "STARTED")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_no_or_forged_token(a, victim, endpoint):
    for name, token in forged_tokens(a.cell).items():
        answer = call_endpoint(a, endpoint, victim, token)
        assert answer.status == 401 and answer.headers["WWW-Authenticate"], (name, answer)
    assert a.state(victim) == "STARTED"


def test_no_bearer(a, victim):
    for value in ("Basic dXNlcjpwYXNz", "Bearer", "Bearer ", f"Token {a.token}"):
        is_refused(a.call("GET", f"/dataflows/{victim}/status", token=None, headers={"Authorization": value}), 401)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_token_of_another_tenant(a, b, victim, endpoint):
    """403, and alike for what is and what is not there."""
    strangers = {"the other tenant": b.token, "another subject": a.cell.management_token("signaling:dataflow:write", "nobody"),
        "another api": a.cell.management_token("management-api:admin"),
        "another resource": a.cell.management_token("signaling:credential:write", A)}
    if endpoint != "status":
        strangers["only reading"] = a.cell.management_token("signaling:dataflow:read signaling:controlplane:read", A)
    for name, token in strangers.items():
        is_refused(call_endpoint(a, endpoint, victim, token), 403)
        is_refused(call_endpoint(a, endpoint, random_id(), token), 403)
    assert a.state(victim) == "STARTED", name


def test_scopes_go_as_far_as_they_say(a, victim):
    token = a.cell.management_token
    flows = token("signaling:dataflow:write", A)
    is_refused(call_endpoint(a, "register", victim, flows), 403)
    is_refused(call_endpoint(a, "unregister", victim, flows), 403)
    is_refused(call_endpoint(a, "suspend", victim, token("signaling:controlplane:write", A)), 403)
    for good in (token("signaling:dataflow:read", A), token("signaling:admin"), flows):
        assert call_endpoint(a, "status", victim, good).status == 200


def test_control_plane_of_another_tenant(a, b, victim):
    """Both have a control plane "cp"; a third is B's alone."""
    assert b.register("cp-of-b", "https://control.example").status == 200
    token = a.cell.management_token("signaling:dataflow:write", "cp-of-b")
    assert b.call("GET", f"/dataflows/{flow_in(b, 'STARTED')}/status", token=token).status == 200
    is_refused(a.call("GET", f"/dataflows/{victim}/status", token=token), 403)
    is_refused(call_endpoint(a, "terminate", victim, token), 403)


def test_message_in_the_name_of_another_tenant(a, b):
    process = random_id()
    is_refused(a.prepare(process, participantId=b.identity), 403)
    is_refused(a.start(process, datasetId="file", participantId=b.identity), 403)
    assert a.call("GET", f"/dataflows/{process}/status").status == 404


def test_same_process_of_two_tenants(a, b):
    process = random_id()
    for one in (a, b):
        assert one.start(process, datasetId="file").status == 200
    assert a.move(process, "suspend").status == 200
    assert (a.state(process), b.state(process)) == ("SUSPENDED", "STARTED")


# --- tokens of control planes with keys of their own

class Signer:
    """A control plane of A's that signs its own tokens; they are good but for what is changed."""

    def __init__(self, signaling, kind):
        self.control_plane = ControlPlane()
        self.signaling, self.name = signaling, f"{kind}-{random_id()}"
        if kind == "exchange":
            authorization = token_exchange(self.control_plane)
            self.claims = {"iss": self.control_plane.url, "sub": "principal:1", "scope": "signaling:dataflow", "participant_context": A}
        else:
            keys = {} if kind == "keys-by-url" else {"jwksUri": ABSENT, "jwks": {"keys": [self.control_plane.key.jwk()]}}
            authorization = changed(client_credentials(self.control_plane), keys)
            self.claims = {"iss": "any", "sub": self.name}
        answer = signaling.register(self.name, self.control_plane.url, authorization=authorization)
        assert answer.status == 200, answer

    def token(self, **changes):
        return sign(self.control_plane, {"aud": self.signaling.identity, **self.claims}, **changes)

    def close(self):
        assert self.signaling.call("DELETE", f"/controlplanes/{self.name}").status == 204
        self.control_plane.stop()


@pytest.fixture(scope="module", params=["keys-inline", "keys-by-url", "exchange"])
def signer(request, tenants):
    one = Signer(tenants[0], request.param)
    yield one
    one.close()


@pytest.fixture
def exchange(tenants):
    one = Signer(tenants[0], "exchange")
    yield one
    one.close()


def test_token_of_a_control_plane(a, signer, victim):
    for audience in (a.identity, A, [a.identity, "another"]):
        answer = call_endpoint(a, "status", victim, signer.token(aud=audience))
        assert answer.status == 200, answer
    process = random_id()
    assert a.start(process, token=signer.token(), datasetId="file").status == 200
    assert a.move(process, "suspend", token=signer.token()).status == 200


def test_token_of_an_rsa_key(a, victim):
    """What many identity providers sign with by default."""
    private = rsa.generate_private_key(65537, 2048)
    numbers = private.public_key().public_numbers()
    name, now = f"rsa-{random_id()}", int(time.time())

    def number(value):
        return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
    jwk = {"kty": "RSA", "kid": "r", "alg": "RS256", "use": "sig", "n": number(numbers.n), "e": number(numbers.e)}
    assert a.register(name, "https://control.example", authorization={**CREDENTIALS, "jwks": {"keys": [jwk]}}).status == 200
    text = f"{encode({'alg': 'RS256', 'kid': 'r'})}.{encode({'sub': name, 'aud': A, 'iat': now, 'exp': now + 60})}"
    good = private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    for signature, status in ((good, 200), (good[:-1] + bytes([good[-1] ^ 1]), 401), (good[:64], 401)):
        assert call_endpoint(a, "status", victim, f"{text}.{encode(signature)}").status == status
    assert a.call("DELETE", f"/controlplanes/{name}").status == 204


FORGERIES = {"expired": {"exp": 1700000000}, "no end": {"exp": ABSENT}, "for another": {"aud": "did:web:another"}, "for nobody": {"aud": ABSENT},
    "not yet": {"nbf": 4000000000}, "another key": {"key": Key("control-plane-1")}, "unknown key": {"key": Key("unknown")},
    "HS256": {"header": {"alg": "HS256"}}, "end is no number": {"exp": "soon"}, "nobody": {"sub": "nobody", "iss": "nobody"},
    "critical extension": {"header": {"crit": ["b64"], "b64": False}}}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_token_of_a_control_plane(a, signer, victim, forgery):
    is_refused(call_endpoint(a, "terminate", victim, signer.token(**FORGERIES[forgery])), 401)
    assert a.state(victim) == "STARTED"


def test_token_is_taken_often(a, signer, victim):
    """Control planes keep a token as long as it is good."""
    token = signer.token()
    assert [call_endpoint(a, "status", victim, token).status for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize("kind", ["keys-inline", "keys-by-url", "exchange"])
def test_token_is_taken_once(own_cell, control_plane, kind):
    """Where replays are looked for, a jti that comes again is one; a token without a jti is none, a body comes with its head."""
    cell = own_cell(settings={"dp": {"replay_detection": True}})
    cell.start()
    signaling = set_up(cell, A, control_plane)
    signer, flow = Signer(signaling, kind), flow_in(signaling, "STARTED")
    try:
        once, often = signer.token(), signer.token(jti=ABSENT)
        statuses = [[call_endpoint(signaling, "status", flow, one).status for _ in range(3)] for one in (once, often)]
        assert statuses == [[200, 401, 401], [200, 200, 200]]
        once = signer.token()
        assert [call_endpoint(signaling, verb, flow, once).status for verb in ("suspend", "resume")] == [200, 401]
        assert signaling.state(flow) == "SUSPENDED"
    finally:
        signer.close()


def test_exchanged_token_reaches_its_tenant_alone(a, b, exchange, victim):
    is_refused(call_endpoint(a, "suspend", victim, exchange.token(participant_context=B)), 403)
    is_refused(call_endpoint(a, "suspend", victim, exchange.token(scope="openid")), 403)
    assert call_endpoint(a, "suspend", victim, exchange.token(participant_context=ABSENT)).status in (401, 403)
    assert call_endpoint(b, "status", victim, exchange.token(participant_context=B)).status in (401, 403)
    assert a.state(victim) == "STARTED"


# --- registrations

CREDENTIALS = {"type": "oauth2_client_credentials", "tokenEndpoint": "https://idp.example/token", "clientId": "c", "clientSecret": "s"}
EXCHANGE = {"type": "oauth2_token_exchange", "tokenExchangeEndpoint": "https://idp.example/token", "issuer": "https://idp.example",
    "jwksUri": "https://idp.example/jwks"}
KEYS = {"keys": [Key("one").jwk()]}
BAD_REGISTRATIONS = {
    "no id": {"controlplaneId": ABSENT}, "empty id": {"controlplaneId": ""}, "id no text": {"controlplaneId": 7},
    "id with slash": {"controlplaneId": "a/b"}, "no endpoint": {"endpoint": ABSENT}, "endpoint no text": {"endpoint": []},
    "endpoint no URL": {"endpoint": "control"}, "endpoint ftp": {"endpoint": "ftp://control.example"},
    "endpoint with secret": {"endpoint": "https://user:secret@control.example"}, "authorization no object": {"authorization": "bearer"},
    "unknown type": {"authorization": {"type": "magic"}}, "no type": {"authorization": {"clientId": "c"}},
    "keys twice": {"authorization": {**CREDENTIALS, "jwks": KEYS, "jwksUri": "https://idp.example/jwks"}},
    "no key at all": {"authorization": CREDENTIALS}, "keys no set": {"authorization": {**CREDENTIALS, "jwks": {"keys": "none"}}},
    "keys by ftp": {"authorization": {**CREDENTIALS, "jwksUri": "ftp://idp.example/jwks"}},
    "no secret": {"authorization": {**CREDENTIALS, "clientSecret": ABSENT, "jwks": KEYS}},
    "no client": {"authorization": {**CREDENTIALS, "clientId": ABSENT, "jwks": KEYS}},
    "no token endpoint": {"authorization": {**CREDENTIALS, "tokenEndpoint": ABSENT, "jwks": KEYS}},
    "exchange with keys inline": {"authorization": {**EXCHANGE, "jwks": KEYS}},
    "exchange without issuer": {"authorization": {**EXCHANGE, "issuer": ABSENT}},
    "exchange without keys": {"authorization": {**EXCHANGE, "jwksUri": ABSENT}},
    "exchange without endpoint": {"authorization": {**EXCHANGE, "tokenExchangeEndpoint": ABSENT}},
}


@pytest.mark.parametrize("name", BAD_REGISTRATIONS)
def test_bad_registration(a, name):
    changes = dict(BAD_REGISTRATIONS[name])
    if isinstance(changes.get("authorization"), dict):
        changes["authorization"] = changed({}, changes["authorization"])
    identity = random_id()
    is_refused(a.register(changes.pop("controlplaneId", identity), changes.pop("endpoint", "https://control.example"), **changes), 400)
    is_refused(a.call("DELETE", f"/controlplanes/{identity}"), 404)


def test_registration_comes_and_goes(a, control_plane):
    """PUT replaces the whole: a key that is not in the new one opens nothing any more."""
    token = sign(control_plane, {"iss": "x", "sub": "brief", "aud": a.identity, "jti": ABSENT})
    flow = flow_in(a, "STARTED")
    keys = changed(client_credentials(control_plane), {"jwks": {"keys": [control_plane.key.jwk()]}, "jwksUri": ABSENT})
    assert a.register("brief", control_plane.url, authorization=keys).status == 200
    assert call_endpoint(a, "status", flow, token).status == 200
    keys["jwks"] = {"keys": [Key(control_plane.key.kid).jwk()]}
    assert a.register("brief", control_plane.url, authorization=keys).status == 200
    wait_for(lambda: call_endpoint(a, "status", flow, token).status == 401, what="the end of the old key")
    assert a.call("DELETE", "/controlplanes/brief").status == 204
    is_refused(a.call("DELETE", "/controlplanes/brief"), 404)


def test_secrets_of_a_registration_are_not_told(a):
    secret = "never-to-be-seen-" + random_id()
    answer = a.register("secretive", "https://control.example", authorization={**CREDENTIALS, "clientSecret": secret, "jwks": KEYS})
    assert answer.status == 200 and secret not in str(answer)
    assert secret not in (a.cell.folder / "cell.log").read_text()
    assert secret.encode() not in b"".join(path.read_bytes() for path in a.cell.state.glob("cell.db*"))
    assert a.call("DELETE", "/controlplanes/secretive").status == 204
