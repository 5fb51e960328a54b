"""Siglet's management API, called as the fabric's agents call it (cfm.md 4.4 F and G)."""
import json
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from base64url import decode
from conftest import A, B
from wire import H2

C = "c" * 32
TYPES = {
    "https://w3id.org/dspace-sig/profile/http-pull": {
        "transferType": "https://w3id.org/dspace-sig/profile/http-pull",
        "endpointType": "https://w3id.org/dspace-sig/profile/http-pull", "tokenSource": "provider",
        "endpointMappings": [{"key": "region", "value": "eu", "endpoint": "https://eu.example/data"},
            {"key": "region", "value": "us", "endpoint": "https://us.example/data"}],
        "txRenewalSupport": True},
    "HttpData-PUSH": {"transferType": "HttpData-PUSH", "endpointType": "HttpData", "tokenSource": "client",
        "endpoint": "https://push.example/in", "txRenewalSupport": False},
}


@pytest.fixture(scope="module")
def tokens(cell):
    """(read, write) of a participant, as its token exchange gives them: sub is the participant context."""
    def make(ctx, subject=None):
        return tuple(cell.management_token(f"siglet-mgmt-api:{action}", subject or ctx) for action in ("read", "write"))
    return make


def types(ctx, **members):
    return {"participantContextId": ctx, "mappings": TYPES, **members}


def mapping(ctx, **members):
    return {"participantContextId": ctx, "keyName": "0b4ea3a1-7f29-4b0a-bb31-8d40a2d5b0f7", "kid": "did:web:example.com:a#key1", **members}


@pytest.mark.parametrize("prefix", ["", "/api/siglet"])
@pytest.mark.parametrize("resource,document", [("transfer-type-mappings", types), ("key-mappings", mapping)])
def test_life_of_a_document(cell, tokens, prefix, resource, document):
    read, write = tokens(A)
    base = f"{prefix}/{resource}"
    assert cell.call("GET", f"{base}/{A}", token=read)[0] == 404
    assert cell.call("DELETE", f"{base}/{A}", token=write)[0] == 404
    assert cell.call("POST", base, document(A), token=write) == (201, document(A))
    assert cell.call("POST", base, document(A), token=write)[0] == 201, "a create that comes again"
    assert cell.call("GET", f"{base}/{A}", token=read) == (200, document(A))
    changed = document(A)
    if resource == "key-mappings":
        changed["kid"] = "did:web:example.com:a#key2"
    else:
        changed["mappings"] = {"HttpData-PULL": {"transferType": "HttpData-PULL", "endpointType": "HttpData"}}
    assert cell.call("PUT", f"{base}/{A}", changed, token=write) == (204, "")
    assert cell.call("GET", f"{base}/{A}", token=read) == (200, changed)
    assert cell.call("DELETE", f"{base}/{A}", token=write) == (204, "")
    assert cell.call("GET", f"{base}/{A}", token=read)[0] == 404


def test_an_agent_behind_the_ingress_needs_no_other_path(cell):
    for path in ("/health", "/api/siglet/health"):
        status, body = cell.call("GET", path, token="")
        assert status == 200 and body
    assert cell.call("GET", "/health/x", token="")[0] == 404
    assert cell.call("POST", "/health", {}, token="")[0] == 405


@pytest.mark.parametrize("resource,document", [("transfer-type-mappings", types), ("key-mappings", mapping)])
def test_who_may(cell, tokens, resource, document):
    read, write = tokens(A)
    _, write_b = tokens(B)
    path = f"/{resource}/{A}"
    for token, status in (("x.y.z", 401), (write_b, 403), (read, 403), (cell.management_token("management-api:admin"), 403)):
        assert cell.call("PUT", path, document(A), token=token)[0] == status
        assert cell.call("DELETE", path, token=token)[0] == status
        assert cell.call("POST", f"/{resource}", document(A), token=token)[0] == status
    assert cell.call("GET", path, token=write_b)[0] == 403
    assert cell.call("GET", path, token="x.y.z")[0] == 401
    assert cell.call("GET", path, token=read)[0] == 404
    # the fabric's own account reaches everybody
    assert cell.call("PUT", path, document(A), token=cell.management_token("siglet-mgmt-api:admin", "fabric"))[0] == 204
    assert cell.call("DELETE", path, token=write)[0] == 204


def without(document, *path):
    copy = json.loads(json.dumps(document))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return copy


def put(document, value, *path):
    copy = json.loads(json.dumps(document))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return copy


PULL = ("mappings", "https://w3id.org/dspace-sig/profile/http-pull")
BAD_TYPES = [
    (without(types(A), "mappings"), "mappings"),
    (without(types(A), "participantContextId"), "participantContextId"),
    (put(types(A), "A" * 32, "participantContextId"), "participantContextId"),
    (put(types(A), [], "mappings"), "mappings"),
    (put(types(A), 1, "extra"), "extra"),
    (put(types(A), "x", "mappings", "HttpData-PUSH"), "mappings"),
    (put(types(A), "other", *PULL, "transferType"), "transferType"),
    (without(types(A), *PULL, "transferType"), "transferType"),
    (without(types(A), *PULL, "endpointType"), "endpointType"),
    (put(types(A), "", *PULL, "endpointType"), "endpointType"),
    (put(types(A), "x" * 257, *PULL, "endpointType"), "endpointType"),
    (put(types(A), "both", *PULL, "tokenSource"), "tokenSource"),
    (put(types(A), "ftp://x", *PULL, "endpoint"), "endpoint"),
    (put(types(A), "no url", *PULL, "endpoint"), "endpoint"),
    (put(types(A), {}, *PULL, "endpointMappings"), "endpointMappings"),
    (put(types(A), ["x"], *PULL, "endpointMappings"), "endpointMappings"),
    (put(types(A), [{"key": "k", "value": "v", "endpoint": "https://x/"}] * 65, *PULL, "endpointMappings"), "endpointMappings"),
    (without(types(A), *PULL, "endpointMappings", 0, "key"), "key"),
    (put(types(A), 5, *PULL, "endpointMappings", 0, "value"), "value"),
    (without(types(A), *PULL, "endpointMappings", 0, "endpoint"), "endpoint"),
    (put(types(A), 1, *PULL, "endpointMappings", 0, "other"), "other"),
    (put(types(A), "true", *PULL, "txRenewalSupport"), "txRenewalSupport"),
    (put(types(A), 1, *PULL, "other"), "other"),
    (put(types(A), {f"t{i}": {"transferType": f"t{i}", "endpointType": "x"} for i in range(65)}, "mappings"), "mappings"),
]
BAD_MAPPINGS = [
    (without(mapping(A), "keyName"), "keyName"),
    (without(mapping(A), "kid"), "kid"),
    (put(mapping(A), "", "kid"), "kid"),
    (put(mapping(A), "a b", "keyName"), "keyName"),
    (put(mapping(A), "x" * 257, "keyName"), "keyName"),
    (put(mapping(A), "x" * 513, "kid"), "kid"),
    (put(mapping(A), 1, "extra"), "extra"),
    (put(mapping(A), 1, "createdAt"), "createdAt"),
    (put(mapping(A), None, "participantContextId"), "participantContextId"),
]


def test_bad_documents_name_their_member(cell, tokens):
    _, write = tokens(A)
    for resource, cases in (("transfer-type-mappings", BAD_TYPES), ("key-mappings", BAD_MAPPINGS)):
        for document, member in cases:
            for method, path in (("POST", f"/{resource}"), ("PUT", f"/{resource}/{A}")):
                status, body = cell.call(method, path, document, token=write)
                assert status == 400 and body["detail"].startswith(member + ":"), (document, body)
        assert cell.call("PUT", f"/{resource}/{A}", {"participantContextId": B}, token=write)[0] == 400
        for text in (b"", b"[]", b"{", b"x" * 10):
            assert cell.call("POST", f"/{resource}", text, token=write)[0] == 400
        assert cell.call("POST", f"/{resource}", b'{"a":"' + b"x" * (300 * 1024) + b'"}', token=write)[0] == 413
        assert cell.call("GET", f"/{resource}/{A}", token=write)[0] == 404


def test_optional_members_may_be_null_or_absent(cell, tokens):
    _, write = tokens(A)
    document = put(put(types(A), None, *PULL, "endpointMappings"), None, *PULL, "tokenSource")
    assert cell.call("POST", "/transfer-type-mappings", document, token=write) == (201, document)
    assert cell.call("DELETE", f"/transfer-type-mappings/{A}", token=write)[0] == 204


def test_paths_and_methods(cell, tokens):
    _, write = tokens(A)
    for path, methods in (("/key-mappings", "POST"), (f"/key-mappings/{A}", "GET, PUT, DELETE")):
        with H2(cell.port) as connection:
            answer = connection.get(path, "PATCH", [("authorization", f"Bearer {write}")], b"{}")
        assert answer.status == 405 and answer.header("allow") == methods
    for path in (f"/key-mappings/{A}/x", "/key-mappings/short", f"/key-mappings/{A.upper()}", "/api/siglet", "/api/siglet/other",
            "/key-mappingsx"):
        assert cell.call("GET", path, token=write)[0] == 404


def test_types_need_a_participant_a_key_may_come_before_it(cell, tokens):
    """The agents: the key's event may be there before the connector's participant context; the types come after it."""
    read, write = tokens(C)
    assert cell.call("POST", "/transfer-type-mappings", types(C), token=write)[0] == 404
    assert cell.call("POST", "/key-mappings", mapping(C), token=write)[0] == 201
    assert cell.call("GET", f"/key-mappings/{C}", token=read) == (200, mapping(C))
    cell.participant(C)
    assert cell.call("GET", f"/key-mappings/{C}", token=read) == (200, mapping(C))
    changed = mapping(C, kid="did:web:example.com:c#2")
    assert cell.call("PUT", f"/key-mappings/{C}", changed, token=write)[0] == 204
    assert cell.call("POST", "/transfer-type-mappings", types(C), token=write)[0] == 201
    assert cell.call("GET", f"/key-mappings/{C}", token=read) == (200, changed)
    # what belongs to the participant ends with it
    assert cell.call("DELETE", f"/api/mgmt/v5beta/participants/{C}")[0] in (200, 204)
    assert cell.call("GET", f"/key-mappings/{C}", token=read)[0] == 404
    assert cell.call("GET", f"/transfer-type-mappings/{C}", token=read)[0] == 404
    # and one that waits can be taken back
    assert cell.call("POST", "/key-mappings", mapping(C), token=write)[0] == 201
    assert cell.call("DELETE", f"/key-mappings/{C}", token=write)[0] == 204
    assert cell.call("GET", f"/key-mappings/{C}", token=read)[0] == 404


def test_a_waiting_key_moves_to_its_participant(cell, tokens):
    d, e = "d" * 32, "e" * 32
    read, write = tokens(d)
    assert cell.call("POST", "/key-mappings", mapping(d), token=write)[0] == 201
    cell.participant(d)
    assert cell.call("POST", "/key-mappings", mapping(e), token=tokens(e)[1])[0] == 201  # the next one that comes moves it
    assert cell.call("GET", f"/key-mappings/{d}", token=read) == (200, mapping(d))
    assert cell.call("DELETE", f"/api/mgmt/v5beta/participants/{d}")[0] in (200, 204)
    assert cell.call("GET", f"/key-mappings/{d}", token=read)[0] == 404


def test_documents_survive_a_restart(own_cell):
    cell = own_cell().start()
    cell.participant(A)
    token = cell.management_token("siglet-mgmt-api:admin", "fabric")
    assert cell.call("POST", "/transfer-type-mappings", types(A), token=token)[0] == 201
    assert cell.call("POST", "/key-mappings", mapping(A), token=token)[0] == 201
    assert cell.call("POST", "/key-mappings", mapping(C), token=token)[0] == 201
    cell.kill()
    cell.start()
    assert cell.call("GET", f"/transfer-type-mappings/{A}", token=token) == (200, types(A))
    assert cell.call("GET", f"/key-mappings/{A}", token=token) == (200, mapping(A))
    assert cell.call("GET", f"/key-mappings/{C}", token=token) == (200, mapping(C))


def test_public_keys_verify_what_was_signed(cell):
    token, _ = cell.shared_file(A, "signed.txt", b"x")
    head, claims, signature = token.split(".")
    kid = json.loads(decode(head))["kid"]
    for path in ("/keys", f"/keys/{A}", "/api/siglet/keys"):
        end = time.monotonic() + 5
        while True:  # /keys is printed at most once a second
            status, keys = cell.call("GET", path, token="")
            found = [key for key in keys["keys"] if key["kid"] == kid]
            if found or time.monotonic() > end:
                break
        assert status == 200 and "d" not in found[0]
        numbers = ec.EllipticCurvePublicNumbers(*(int.from_bytes(decode(found[0][part]), "big") for part in "xy"), ec.SECP256R1())
        raw = decode(signature)
        numbers.public_key().verify(utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")),
            f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    assert cell.call("GET", f"/keys/{'9' * 32}", token="")[0] == 404


# --- the key that a mapping names signs

def parts(token):
    head, claims, _ = token.split(".")
    return json.loads(decode(head)), json.loads(decode(claims))


def import_key(cell, ctx, alias, private=None):
    private = private or ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    assert cell.call("PUT", f"/api/cell/v1/participants/{ctx}/keys/{alias}", {"privateKey": pem.decode()})[0] == 201
    return private


def is_signed_by(token, private):
    head, claims, signature = token.split(".")
    raw = decode(signature)
    try:
        if isinstance(private, ed25519.Ed25519PrivateKey):
            private.public_key().verify(raw, f"{head}.{claims}".encode())
        else:
            private.public_key().verify(utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")),
                f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
        return True
    except InvalidSignature:
        return False


def test_the_mapped_key_signs_under_its_kid(own_cell):
    cell = own_cell().start()
    cell.participant(A)
    fabric = cell.management_token("siglet-mgmt-api:admin", "fabric")
    before, path = cell.shared_file(A, "mapped.txt", b"mapped")
    flow = "flow-mapped.txt"
    assert parts(before)[0]["kid"].startswith(f"{A}#dataplane-")
    first, second = import_key(cell, A, "key-1"), import_key(cell, A, "key-2", ed25519.Ed25519PrivateKey.generate())
    kids = ["did:web:example.com:a#key1", "did:web:example.com:a#key2"]
    tokens = [before]
    for alias, kid, private, algorithm in (("key-1", kids[0], first, "ES256"), ("key-2", kids[1], second, "EdDSA")):
        assert cell.call("PUT", f"/key-mappings/{A}", {"participantContextId": A, "keyName": alias, "kid": kid}, token=fabric)[0] == 204
        tokens.append(cell.flow_token(A, flow))
        assert parts(tokens[-1])[0] == {"alg": algorithm, "typ": "JWT", "kid": kid}
        assert is_signed_by(tokens[-1], private)
        # what was signed before the rotation stays good
        assert [cell.pull(token, path).status for token in tokens] == [200] * len(tokens)
    cell.stop()
    cell.start()
    assert [cell.pull(token, path).status for token in tokens] == [200] * len(tokens)
    assert parts(cell.flow_token(A, flow))[0]["kid"] == kids[1]
    # taken back: its tokens, and those of the keys before it, are no longer good; the cell's own key signs again
    assert cell.call("DELETE", f"/key-mappings/{A}", token=fabric)[0] == 204
    assert [cell.pull(token, path).status for token in tokens] == [200, 401, 401]
    again = cell.flow_token(A, flow)
    assert parts(again)[0]["kid"].startswith(f"{A}#dataplane-") and cell.pull(again, path).status == 200


def test_a_mapped_key_that_is_not_in_this_vault_stops_nothing(cell, tokens):
    _, write = tokens(A)
    token, path = cell.shared_file(A, "unmapped.txt", b"unmapped")
    assert cell.call("PUT", f"/key-mappings/{A}", mapping(A), token=write)[0] == 204
    token = cell.flow_token(A, "flow-unmapped.txt")
    assert parts(token)[0]["kid"].startswith(f"{A}#dataplane-") and cell.pull(token, path).status == 200
    # it comes later
    private = import_key(cell, A, mapping(A)["keyName"])
    token = cell.flow_token(A, "flow-unmapped.txt")
    assert parts(token)[0]["kid"] == mapping(A)["kid"] and is_signed_by(token, private)
    assert cell.pull(token, path).status == 200
    assert cell.call("DELETE", f"/key-mappings/{A}", token=write)[0] == 204


def test_keys_can_be_made_and_brought_but_not_replaced(cell):
    path = f"/api/cell/v1/participants/{B}/keys"
    for algorithm, kind in (("ES256", "EC"), ("EdDSA", "OKP")):
        status, jwk = cell.call("PUT", f"{path}/made-{algorithm}", {"algorithm": algorithm})
        assert status == 201 and jwk["kty"] == kind and "d" not in jwk
        assert cell.call("PUT", f"{path}/made-{algorithm}", {"algorithm": algorithm})[0] == 409
    assert cell.call("PUT", f"{path}/dataplane", {"algorithm": "ES256"})[0] == 409
    for body in ({}, {"algorithm": "RS256"}, {"algorithm": "ES256", "privateKey": "x"}, {"privateKey": "x"}, {"privateKey": ""}, {"other": 1},
            {"privateKey": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}):
        assert cell.call("PUT", f"{path}/bad", body)[0] == 400, body
    cell.call("PUT", f"/api/cell/v1/participants/{B}/secrets/taken", {"value": "secret"})
    assert cell.call("PUT", f"{path}/taken", {"algorithm": "ES256"})[0] == 409
