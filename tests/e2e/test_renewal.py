"""Renewal of access tokens: the consumer proves its DID, refresh tokens rotate with acknowledgement."""
import concurrent.futures
import json
import time
import urllib.parse

import pytest

from base64url import claims_of
from conftest import A, B, wait_for
from did import DidHost, Key, Party
from wire import H2

CONTENT = b"renewed " * 1000


@pytest.fixture(scope="module")
def host():
    host = DidHost()
    yield host
    host.stop()


@pytest.fixture(scope="module")
def renewing(cell):
    """The cell with both tenants on speaking terms with http."""
    for ctx in (A, B):
        allow_clear(cell, ctx)
        cell.file(ctx, "data.bin", CONTENT)
        cell.dataset(ctx, "data", "file", {"path": "data.bin"})
    return cell


def allow_clear(cell, ctx, value="true"):
    status, body = cell.call("PATCH", f"/api/mgmt/v5beta/participants/{ctx}/config", {
        "@context": ["https://w3id.org/edc/connector/management/v2"], "@type": "ParticipantContextConfig",
        "entries": {"celld.dps.clear": value, "celld.http.allow": "127.0.0.0/8"}, "privateEntries": {}, "identity": ctx})
    assert status in (200, 204), body


class Lease:
    """A flow of one tenant for one party, with its tokens as its holder knows them."""
    count = 0

    def __init__(self, cell, party, ctx=A, **members):
        Lease.count += 1
        self.cell, self.party, self.ctx = cell, party, ctx
        self.provider = f"did:web:localhost:{ctx[:4]}"
        self.flow = cell.flow(ctx, "data", f"lease-{Lease.count}-{time.monotonic_ns()}", counterParty=party.did, **members)
        self.issue()

    def issue(self, **wishes):
        status, body = self.cell.call("POST", f"/api/cell/v1/participants/{self.ctx}/flows/{self.flow}/token", {"renewable": True, **wishes})
        assert status == 201, body
        self.access, self.refresh = body["token"], body["refreshToken"]
        return body

    def ask(self, refresh=None, proof=None, path=None, query=None, form=None, headers=(), port=None):
        """(status, answer); nothing is remembered."""
        if proof is None:
            proof = self.party.proof(self.provider, self.access)
        fields = {"grant_type": "refresh_token", "refresh_token": refresh or self.refresh} if form is None else form
        path = path or f"/api/public/{self.ctx}/token"
        if query is not None:
            path += "?" + urllib.parse.urlencode(query)
        authorization = [("authorization", f"Bearer {proof}")] if proof else []
        with H2(port or self.cell.port) as connection:
            response = connection.get(path, "POST", [*authorization, ("content-type", "application/x-www-form-urlencoded"), *headers],
                urllib.parse.urlencode(fields).encode())
        text = bytes(response.body).decode()
        self.last = response
        return response.status, json.loads(text) if text.startswith("{") else text

    def renew(self, **arguments):
        status, body = self.ask(**arguments)
        assert status == 200, body
        assert body["access_token"] != self.access
        self.access, self.refresh = body["access_token"], body["refresh_token"]
        return body

    def pulls(self, token=None):
        return self.cell.pull(token or self.access, f"/api/public/{self.ctx}").status


@pytest.fixture
def lease(renewing, host):
    return Lease(renewing, Party(host, f"consumer{time.monotonic_ns()}"))


@pytest.mark.parametrize("kind", ["ES256", "EdDSA"])
def test_a_token_is_renewed_for_who_proves_the_did(renewing, host, kind):
    lease = Lease(renewing, Party(host, f"path/{kind}", kind))
    first = lease.access
    body = lease.renew()
    assert body["token_type"].lower() == "bearer" and body["expires_in"] == 300 and body["expires"] == 300
    assert lease.last.header("cache-control") == "no-store"
    claims = claims_of(lease.access)
    assert claims["aud"] == lease.party.did and claims["flow"] == lease.flow and claims["exp"] - claims["iat"] == 300
    assert lease.pulls() == 200
    assert lease.pulls(first) == 200  # until its own end


def test_a_did_without_a_path_and_other_spellings_of_the_endpoint(renewing, host):
    lease = Lease(renewing, Party(host, ""))
    lease.renew(path=f"/api/public/{A}/token/refresh")
    lease.renew(form={}, query={"grant_type": "refresh_token", "refresh_token": lease.refresh})
    fields = {"grant_type": "refresh_token", "refresh_token": lease.refresh}
    lease.renew(form=fields, query=fields)
    lease.renew(headers=[("accept", "application/json")])


def test_rotation_waits_for_the_new_token_to_be_used(lease):
    old, old_access = lease.refresh, lease.access
    lost = lease.ask()[1]  # the answer that never arrived
    status, again = lease.ask()
    assert status == 200 and again["refresh_token"] == lost["refresh_token"] != old
    assert again["access_token"] not in (lost["access_token"], old_access)
    lease.access, lease.refresh = again["access_token"], again["refresh_token"]
    lease.renew()
    assert lease.ask(refresh=old)[0] == 401  # the new one has been seen
    assert lease.ask(refresh=lost["refresh_token"])[1]["refresh_token"] == lease.refresh


def test_the_proof_may_name_any_token_of_the_flow_that_is_not_revoked(lease):
    first = lease.access
    lease.renew()
    lease.renew(proof=lease.party.proof(lease.provider, first))
    jti = claims_of(first)["jti"]
    status, _ = lease.cell.call("DELETE", f"/api/cell/v1/participants/{A}/flows/{lease.flow}/tokens/{jti}")
    assert status == 204
    assert lease.ask(proof=lease.party.proof(lease.provider, first))[0] == 401
    lease.renew()


def test_expired_token_is_renewed(lease):
    lease.issue(lifetimeSeconds=1)
    wait_for(lambda: lease.pulls() == 401, 30, "the end of the token")
    lease.renew()
    assert lease.pulls() == 200


def test_a_token_that_ended_long_ago_is_not(own_cell, host):
    cell = own_cell(settings={"dp": {"renewal_grace_ms": "1 s"}})
    cell.start()
    cell.participant(A, {"celld.dps.clear": "true"})
    cell.file(A, "data.bin", CONTENT)
    cell.dataset(A, "data", "file", {"path": "data.bin"})
    lease = Lease(cell, Party(host, "late"))
    lease.issue(lifetimeSeconds=1)
    lease.renew()
    lease.issue(lifetimeSeconds=1)
    end = claims_of(lease.access)["exp"] + 2
    wait_for(lambda: time.time() > end, 30, "the end of the grace")
    assert lease.ask() == (401, {"error": "invalid_client"})


def test_a_crowd_gets_one_and_the_same_refresh_token(lease):
    with concurrent.futures.ThreadPoolExecutor(16) as crowd:
        answers = list(crowd.map(lambda _: lease.ask(), range(16)))
    assert {status for status, _ in answers} == {200}, answers
    assert len({body["refresh_token"] for _, body in answers}) == 1
    assert len({body["access_token"] for _, body in answers}) == 16


def wrong_proofs(lease, host):
    party, provider, access = lease.party, lease.provider, lease.access
    other = Party(host, "other")
    stranger = Lease(lease.cell, Party(host, "stranger"))
    foreign = Lease(lease.cell, party, B)
    now = int(time.time())
    head, payload, signature = access.split(".")
    return {
        "none": "",
        "garbage": "a.b.c",
        "audience": party.proof("did:web:invalid-audience", access),
        "audience of another tenant": party.proof(foreign.provider, access),
        "no audience": party.proof(None, access),
        "another key under the kid": party.proof(provider, access, key=Key()),
        "another algorithm": party.proof(provider, access, key=Key("EdDSA")),
        "unknown kid": party.proof(provider, access, header={"kid": party.did + "#nobody"}),
        "kid of another did": party.proof(provider, access, header={"kid": other.kid}),
        "no kid": party.proof(provider, access, header={"kid": None}),
        "algorithm none": party.proof(provider, access, header={"alg": "none"}),
        "issuer": other.proof(provider, access),
        "subject": party.proof(provider, access, sub=other.did),
        "no subject": party.proof(provider, access, sub=None),
        "expired": party.proof(provider, access, exp=now - 60),
        "no end": party.proof(provider, access, exp=None),
        "endless": party.proof(provider, access, exp=now + 86400),
        "from the future": party.proof(provider, access, nbf=now + 600),
        "no token": party.proof(provider, None),
        "token of another flow": party.proof(provider, stranger.access),
        "token of another tenant": party.proof(provider, foreign.access),
        "broken token": party.proof(provider, ".".join((head, payload, signature[::-1]))),
        "token that is the proof": party.proof(provider, party.proof(provider, access)),
    }


def test_every_wrong_proof_gets_the_same_answer(lease, host):
    for what, proof in wrong_proofs(lease, host).items():
        status, body = lease.ask(proof=proof)
        assert (status, body) == (401, {"error": "invalid_client"}), what
    lease.renew()  # none of them used anything up


def test_wrong_refresh_tokens(lease, renewing, host):
    other = Lease(renewing, Party(host, "other"))
    for token in (other.refresh, lease.refresh[::-1], lease.refresh[:-1], lease.refresh + "A", "x", "A" * 400):
        assert lease.ask(refresh=token) == (401, {"error": "invalid_client"}), token
    lease.renew()


def test_only_holders_of_tokens_make_us_fetch_documents(lease, host):
    fresh = Party(host, "never-asked")
    before = len(host.requests)
    for proof in (fresh.proof(lease.provider, lease.access), fresh.proof(lease.provider, "a.b.c")):
        assert lease.ask(proof=proof)[0] == 401
    assert lease.ask(refresh="B" * 43)[0] == 401
    assert len(host.requests) == before


def test_bad_forms(lease):
    good = {"grant_type": "refresh_token", "refresh_token": lease.refresh}
    cases = [({}, "invalid_request"), ({"grant_type": "refresh_token"}, "invalid_request"), ({"refresh_token": "x"}, "invalid_request"),
        ({**good, "grant_type": "client_credentials"}, "unsupported_grant_type"), ({**good, "refresh_token": ""}, "invalid_request"),
        ([*good.items(), *good.items()], "invalid_request"), ({**good, "refresh_token": "y" * 20000}, None)]
    for form, error in cases:
        status, body = lease.ask(form=form)
        assert (status, body) == (400, {"error": error}) if error else status in (400, 413), form
    assert lease.ask(path=f"/api/public/{'f' * 32}/token")[0] == 404
    lease.renew()


def test_two_authorization_headers_are_none(lease):
    assert lease.ask(headers=[("authorization", "Bearer x")])[0] == 401


def test_a_flow_that_does_not_run_renews_nothing(lease):
    flows = f"/api/cell/v1/participants/{A}/flows/{lease.flow}"
    assert lease.cell.call("POST", f"{flows}/suspend")[0] == 200
    assert lease.ask() == (403, {"error": "access_denied"})
    assert lease.cell.call("POST", f"{flows}/resume")[0] == 200
    lease.renew()
    assert lease.cell.call("POST", f"{flows}/terminate")[0] == 200
    assert lease.ask()[0] == 401


def test_a_new_flow_of_the_same_name_knows_no_old_tokens(lease):
    assert lease.cell.call("DELETE", f"/api/cell/v1/participants/{A}/flows/{lease.flow}")[0] == 204
    access, refresh = lease.access, lease.refresh
    time.sleep(1.1)  # tokens tell their second
    lease.cell.flow(A, "data", lease.flow, counterParty=lease.party.did)
    assert lease.ask()[0] == 401
    lease.issue()
    assert lease.ask(refresh=refresh)[0] == 401
    assert lease.ask(proof=lease.party.proof(lease.provider, access))[0] == 401
    lease.renew()


def test_a_changed_key_is_found_and_a_kept_document_is_not_fetched_again(lease, host):
    lease.renew()
    count = len(host.requests)
    for _ in range(5):
        lease.renew()
    assert len(host.requests) <= count + 1  # the other worker's own
    lease.party.new_key()
    lease.renew()
    lease.party.new_key("EdDSA")
    lease.renew()


def test_unknown_kids_do_not_make_a_storm(lease, host):
    count = len(host.requests)
    for number in range(60):
        assert lease.ask(proof=lease.party.proof(lease.provider, lease.access, header={"kid": f"{lease.party.did}#no-{number}"}))[0] == 401
    assert len(host.requests) - count < 30


@pytest.mark.parametrize("change", [{"id": "did:web:somebody.else"}, {"verificationMethod": []}, {"verificationMethod": {}}, b"{", b"[]",
    b"x" * 100000])
def test_documents_that_prove_nothing(renewing, host, change):
    lease = Lease(renewing, Party(host, f"broken{time.monotonic_ns()}"))
    if isinstance(change, bytes):
        host.documents[f"/{lease.party.path}/did.json"] = change
    else:
        lease.party.publish(**change)
    assert lease.ask() == (401, {"error": "invalid_client"})


def test_a_did_host_that_is_down_is_said_so(renewing, host):
    lease = Lease(renewing, Party(host, "elsewhere"))
    gone = DidHost()
    lease = Lease(renewing, Party(gone, "elsewhere"))
    gone.stop()
    assert lease.ask() == (503, {"error": "temporarily_unavailable"})


def test_https_is_asked_for_unless_the_tenant_says_otherwise(renewing, host):
    party = Party(host, "strict")
    lease = Lease(renewing, party)
    allow_clear(renewing, A, "false")
    try:
        count = len(host.requests)
        assert lease.ask()[0] in (401, 503)
        assert len(host.requests) == count
    finally:
        allow_clear(renewing, A)


def test_tokens_survive_a_restart_and_a_kill(own_cell, host):
    cell = own_cell()
    cell.start()
    cell.participant(A, {"celld.dps.clear": "true"})
    cell.file(A, "data.bin", CONTENT)
    cell.dataset(A, "data", "file", {"path": "data.bin"})
    lease = Lease(cell, Party(host, "restart"))
    lease.renew()
    old = lease.refresh
    lost = lease.ask()[1]
    cell.kill()
    cell.start()
    assert lease.ask(refresh=old)[1]["refresh_token"] == lost["refresh_token"]
    lease.refresh = lost["refresh_token"]
    lease.renew()
    cell.stop()
    cell.start()
    lease.renew()
    assert lease.pulls() == 200
    # nothing of a token is in the database
    database = b"".join(path.read_bytes() for path in cell.state.glob("cell.db*"))
    for token in (old, lease.refresh, lost["refresh_token"]):
        assert token.encode() not in database
