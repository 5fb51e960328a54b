"""The management API as the fabric's agents call it, and cellctl."""
import json
import time

import pytest
from cryptography.hazmat.primitives import serialization

from base64url import decode, encode
from wire import H2

CONTEXT = ["https://w3id.org/edc/connector/management/v2"]
BASE = "/api/mgmt/v5beta/participants"
P = "5" * 32


def body(ctx=P, state="ACTIVATED"):
    return {"@context": CONTEXT, "@type": "ParticipantContext", "@id": ctx, "identity": "did:web:example.com", "properties": {}, "state": state}


def test_participant_life_as_the_agents_do_it(cell):
    status, answer = cell.call("POST", BASE, body())
    assert status == 200 and answer["@id"] == P and isinstance(answer["createdAt"], int)
    assert cell.call("POST", BASE, body()) == (200, answer)  # an agent says it again
    assert cell.call("POST", BASE, {**body(), "identity": "did:web:other"})[0] == 409
    status, answer = cell.call("GET", f"{BASE}/{P}")
    assert status == 200 and answer["@id"] == P and answer["identity"] == "did:web:example.com" and answer["state"] == "ACTIVATED"
    status, answer = cell.call("PATCH", f"{BASE}/{P}/config", {"@context": CONTEXT, "@type": "ParticipantContextConfig",
        "entries": {"edc.iam.issuer.id": "did:web:example.com", "edc.participant.id": "did:web:example.com"},
        "privateEntries": {"edc.vault.hashicorp.config": json.dumps({"config": {"vaultUrl": "http://vault", "folderPath": "canary-private"}})},
        "identity": P})
    assert 200 <= status < 400, answer
    status, answer = cell.call("GET", f"{BASE}/{P}/config")
    assert status == 200 and answer["entries"]["edc.participant.id"] == "did:web:example.com"
    assert "canary-private" not in json.dumps(answer)
    # merge: a new key joins, null deletes
    assert cell.call("PATCH", f"{BASE}/{P}/config", {"entries": {"a": "1", "edc.iam.issuer.id": None}})[0] in (200, 204)
    assert cell.call("GET", f"{BASE}/{P}/config")[1]["entries"] == {"a": "1", "edc.participant.id": "did:web:example.com"}
    # replace
    assert cell.call("PUT", f"{BASE}/{P}/config", {"entries": {"b": "2"}})[0] in (200, 204)
    assert cell.call("GET", f"{BASE}/{P}/config")[1]["entries"] == {"b": "2"}
    assert cell.call("PUT", f"{BASE}/{P}", body(state="DEACTIVATED"))[0] in (200, 204)
    assert cell.call("GET", f"{BASE}/{P}")[1]["state"] == "DEACTIVATED"
    assert any(one["@id"] == P for one in cell.call("GET", f"{BASE}?offset=0&limit=50")[1])
    assert cell.call("DELETE", f"{BASE}/{P}")[0] == 200
    assert cell.call("GET", f"{BASE}/{P}")[0] == 404
    assert cell.call("DELETE", f"{BASE}/{P}")[0] == 404


@pytest.mark.parametrize("change,where", [
    ({"@id": "UPPER"}, "@id"), ({"identity": 5}, "identity"), ({"state": "SLEEPING"}, "state"), ({"surprise": 1}, "surprise"),
    ({"properties": []}, "properties"), ({"identity": None}, "identity"),
])
def test_bad_bodies_name_the_member(cell, change, where):
    status, answer = cell.call("POST", BASE, {**body("6" * 32), **change})
    assert status == 400
    assert where in json.dumps(answer)


def test_data_planes_as_the_agents_put_them(cell):
    ctx = "d" * 32
    participant = {"@context": CONTEXT, "@type": "ParticipantContext", "@id": ctx, "identity": "did:web:d", "properties": {}, "state": "ACTIVATED"}
    plane = {"dataplaneId": f"{ctx}-siglet", "transferTypes": ["HttpData-PULL"], "endpoint": f"http://siglet:8081/api/v1/{ctx}/dataflows"}
    path = f"{BASE}/{ctx}/dataplanes"
    assert cell.call("PUT", path, plane)[0] == 404  # no participant yet
    assert cell.call("POST", BASE, participant)[0] == 200
    for body in (plane, plane, {**{k: v for k, v in plane.items() if k != "dataplaneId"}, "id": "older", "labels": ["a"]}):
        assert cell.call("PUT", path, body)[0] == 200
    for change, where in (({"endpoint": "nowhere"}, "endpoint"), ({"transferTypes": "x"}, "transferTypes"), ({"dataplaneId": "a b"}, "dataplaneId"), ({"more": 1}, "more")):
        status, answer = cell.call("PUT", path, {**plane, **change})
        assert status == 400 and answer[0]["path"] == where
    assert cell.call("PUT", path, plane, token=cell.management_token("management-api:dataplanes:write", subject=ctx))[0] == 200
    assert cell.call("PUT", path, plane, token=cell.management_token("management-api:dataplanes:read", subject=ctx))[0] == 403
    for _ in range(2):  # one that is gone is gone
        assert cell.call("DELETE", f"{path}/{ctx}-siglet")[0] == 200
    assert cell.call("DELETE", BASE + "/" + ctx)[0] == 200


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"a":1,"a":2}', b'{"a":"\\u0000"}', b"\xff", b"{} x", b"[" * 40 + b"]" * 40])
def test_bad_json_is_400(cell, raw):
    assert cell.call("POST", BASE, raw)[0] == 400


def test_large_body_is_413(cell):
    assert cell.call("POST", BASE, b'{"a":"' + b"x" * (2 << 20) + b'"}')[0] == 413


def test_who_may(cell):
    assert cell.call("GET", BASE, token="")[0] == 401
    assert cell.call("GET", BASE, token="x.y.z")[0] == 401
    from conftest import A, B
    status, answer = cell.call("GET", BASE, token=cell.management_token("management-api:read", subject=A))
    assert status == 403 and answer == "Required scope 'management-api:admin' missing"
    assert cell.call("GET", BASE, token=cell.management_token("identity-api:admin", subject=A))[0] == 403
    own = cell.management_token("management-api:write", subject=A)
    assert cell.call("GET", f"/api/cell/v1/participants/{A}/datasets", token=own)[0] == 200
    theirs = cell.call("GET", f"/api/cell/v1/participants/{B}/datasets", token=own)
    nobody = cell.call("GET", f"/api/cell/v1/participants/{'c' * 32}/datasets", token=own)
    assert theirs[0] == nobody[0] == 403 and str(theirs[1]).replace(B, "") == str(nobody[1]).replace("c" * 32, "")


def resigned(cell, **changes):
    """A management token with other claims, signed with the cell's own key."""
    head, claims, _ = cell.management_token().split(".")
    claims = json.loads(decode(claims))
    claims.update(changes)
    signed = head + "." + encode(claims)
    key = serialization.load_der_private_key((cell.state / "cell.key").read_bytes(), None)
    return signed + "." + encode(key.sign(signed.encode()))


def test_a_caller_who_is_no_participant_is_told_so(cell):
    status, answer = cell.call("GET", f"/api/cell/v1/participants/{'c' * 32}/datasets", token=cell.management_token("management-api:read", subject="c" * 32))
    assert status == 401 and answer == f"Not authorized: No participant for 'sub = {'c' * 32}' found"


def test_expired_management_token(cell):
    now = int(time.time())
    assert cell.call("GET", BASE, token=resigned(cell, iat=now - 120, exp=now + 60))[0] == 200
    assert cell.call("GET", BASE, token=resigned(cell, iat=now - 120, exp=now - 5))[0] == 200, "within the leeway"
    assert cell.call("GET", BASE, token=resigned(cell, iat=now - 120, exp=now - 61))[0] == 401
    assert cell.call("GET", BASE, token=resigned(cell, iat=now - 120, exp=now + 60, iss="someone"))[0] == 401


def test_cellctl_tables_and_errors(cell):
    table = cell.ctl("participants", "list").stdout
    assert "a" * 32 in table and "ACTIVATED" in table
    assert isinstance(cell.ctl_json("participants", "list"), list)
    missing = cell.ctl("participants", "show", "c" * 32, check=False)
    assert missing.returncode != 0 and len(missing.stderr.strip().splitlines()) == 1
    assert cell.ctl("status").stdout
    assert cell.ctl("no-such-command", check=False).returncode == 2


def test_bad_datasets_and_flows_name_the_member(cell):
    from conftest import A
    base = f"/api/cell/v1/participants/{A}"
    for path, document, where in [
        ("datasets", {"id": "x", "type": "ftp", "properties": {}}, "type"),
        ("datasets", {"id": "x", "type": "http", "properties": {}}, "baseUrl"),
        ("datasets", {"id": "x", "type": "http", "properties": {"baseUrl": "gopher://x"}}, "baseUrl"),
        ("datasets", {"id": "x", "type": "file", "properties": {"path": "../up"}}, "path"),
        ("datasets", {"id": "a/b", "type": "file", "properties": {"path": "x"}}, "id"),
        ("datasets", {"id": "x", "type": "file", "properties": {"path": "x"}, "extra": 1}, "extra"),
        ("flows", {"id": "f", "datasetId": "no-such", "agreementId": "a", "counterParty": "did:web:c"}, "datasetId"),
        ("flows", {"id": "f", "agreementId": "a", "counterParty": "did:web:c"}, "datasetId"),
    ]:
        status, answer = cell.call("POST", f"{base}/{path}", document)
        assert status == 400, (document, answer)
        assert where in json.dumps(answer), (document, answer)


def test_a_refusal_does_not_reset_a_small_body_on_its_way(cell):
    """curl 7.88 takes a reset without error that comes before its body has left for a failure of the whole call."""
    path = f"/api/cell/v1/participants/{P}/flows"
    with H2(cell.port) as connection:
        stream = connection.start(path, "POST", [("content-length", "5")], end=False)
        answer = connection.wait(stream, until=lambda response: response.ended)
        assert answer.status == 401 and answer.reset is None
        connection.send(stream, b"12345", end=True)
        again = connection.get("/health")
        assert again.status == 200 and answer.reset is None
        # a large one is told to stop at once, one that never comes after a while
        large = connection.start(path, "POST", [("content-length", "5000000")], end=False)
        late = connection.start(path, "POST", [("content-length", "5")], end=False)
        for stream in (large, late):
            while connection.responses[stream].reset is None:
                assert connection.pump(10)
            assert connection.responses[stream].reset == 0 and connection.responses[stream].status == 401


def test_tokens_of_a_configured_identity_provider(own_cell):
    """Its keys come from a file that SIGHUP reads again."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    from conftest import wait_for
    import signal

    def publish(cell, *keys):
        def jwk(kid, key):
            numbers = key.public_key().public_numbers()
            return {"kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "use": "sig", "x": encode(numbers.x.to_bytes(32, "big")), "y": encode(numbers.y.to_bytes(32, "big"))}
        (cell.folder / "keys.json").write_text(json.dumps({"keys": [jwk(*key) for key in keys]}))

    def sign(kid, key, **claims):
        now = int(time.time())
        claims = {"iss": "https://idp.example", "sub": "operator", "scope": "management-api:admin", "iat": now, "exp": now + 60, **claims}
        text = f'{encode({"alg": "ES256", "kid": kid})}.{encode(claims)}'
        r, s = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
    old, new = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    cell = own_cell()
    cell.config["access"] = {"jwks_file": str(cell.folder / "keys.json"), "issuer": "https://idp.example"}
    publish(cell, ("old", old))
    cell.start()
    status = lambda token: cell.call("GET", BASE, token=token)[0]
    assert status(sign("old", old)) == 200
    assert status(sign("old", new)) == status(sign("new", new)) == 401
    assert status(sign("old", old, iss="https://other.example")) == 401
    assert status(sign("old", old, iss="urn:celld:cell")) == 401
    assert status(sign("old", old, scope="management-api:read")) == 401  # no participant
    publish(cell, ("new", new))
    cell.process.send_signal(signal.SIGHUP)
    wait_for(lambda: status(sign("new", new)) == 200, what="the new key")
    assert status(sign("old", old)) == 401
    (cell.folder / "keys.json").write_text("{}")
    cell.process.send_signal(signal.SIGHUP)
    wait_for(lambda: any(line["event"] == "cell.reload_refused" for line in cell.log_lines()), what="the refusal")
    assert status(sign("new", new)) == 200 and status(cell.token()) == 200
