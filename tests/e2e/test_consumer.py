"""The consumer's side: a provider and a consumer in one cell; tokens held, renewed once for all, pulls that survive cuts."""
import base64
import concurrent.futures
import hashlib
import json
import os
import random
import socket
import subprocess
import threading
import time

import pytest
from cryptography.hazmat.primitives import serialization

from base64url import claims_of
from conftest import A, B, PROGRAMS, plain_answer, wait_for
from did import Key
from signaling import HTTP_PULL, ControlPlane, Signaling
from wire import H2

SIZE = 24 << 20
CONTENT = os.urandom(1 << 20) * (SIZE >> 20)
PROFILE = "https://w3id.org/dspace-sig/profile/http-pull"


class Proxy:
    """A TCP proxy that counts what goes to the client and cuts after as many bytes as `cuts` says, connection by connection."""

    def __init__(self, port):
        self.target, self.cuts, self.sent, self.connections = port, [], 0, 0
        self.pause, self.hook = 0, None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            limit = self.cuts.pop(0) if self.cuts else None
            server = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self.pump, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, limit), daemon=True).start()

    def pump(self, source, sink, limit):
        passed = 0
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                if limit is not None and passed + len(data) >= limit:
                    sink.sendall(data[:limit - passed])
                    self.sent += limit - passed
                    break
                sink.sendall(data)
                passed += len(data)
                if sink.getsockname()[1] == self.port:
                    self.sent += len(data)
                    if self.hook:
                        self.hook(self.sent)
                if self.pause:
                    time.sleep(self.pause)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.listener.close()


def add_participant(cell, ctx):
    identity = f"did:web:127.0.0.1%3A{cell.clear_port}:{ctx[:4]}"
    context = ["https://w3id.org/edc/connector/management/v2"]
    status, body = cell.call("POST", "/api/mgmt/v5beta/participants", {"@context": context, "@type": "ParticipantContext", "@id": ctx,
        "identity": identity, "properties": {}, "state": "ACTIVATED"})
    assert status == 200, body
    status, body = cell.call("PATCH", f"/api/mgmt/v5beta/participants/{ctx}/config", {"@context": context, "@type": "ParticipantContextConfig",
        "entries": {"celld.http.allow": "127.0.0.0/8", "celld.dps.clear": "true"}, "privateEntries": {}, "identity": ctx})
    assert status in (200, 204), body
    return identity


class Pair:
    """Provider A and consumer B of one cell."""

    def __init__(self, cell):
        self.cell = cell
        self.provider, self.consumer = (add_participant(cell, ctx) for ctx in (A, B))
        cell.file(A, "big.bin", CONTENT)
        cell.dataset(A, "big", "file", {"path": "big.bin"})
        self.count = 0

    def offer(self, flow, lifetime=None):
        wishes = {"renewable": True, **({"lifetimeSeconds": lifetime} if lifetime else {})}
        status, body = self.cell.call("POST", f"/api/cell/v1/participants/{A}/flows/{flow}/token", wishes)
        assert status == 201, body
        return body

    def take(self, flow, endpoint, **properties):
        """The consumer's flow with an address."""
        status, body = self.cell.call("POST", f"/api/cell/v1/participants/{B}/flows", {"id": flow, "datasetId": "big", "agreementId": f"agreement-{flow}",
            "counterParty": self.provider, "role": "consumer", "profile": PROFILE, "dataAddress": {"@type": "DataAddress", "endpointType": PROFILE,
                "endpoint": endpoint, "endpointProperties": [{"@type": "EndpointProperty", "name": name, "value": value}
                    for name, value in properties.items()]}})
        assert status == 201, body
        return body

    def flow(self, lifetime=None, port=None, renew_port=None, dataset="big", **changes):
        """A flow on both sides; the consumer's id."""
        self.count += 1
        flow = f"pair-{self.count}"
        self.cell.flow(A, dataset, flow, counterParty=self.consumer)
        offer = self.offer(flow, lifetime)
        base = f"http://127.0.0.1:{port or self.cell.clear_port}/api/public/{A}"
        properties = {"authorization": offer["token"], "authType": "bearer", "refreshToken": offer["refreshToken"], "expiresIn": str(lifetime or 300),
            "refreshEndpoint": f"http://127.0.0.1:{renew_port or self.cell.clear_port}/api/public/{A}/token", **changes}
        answer = self.take(flow, base, **{name: value for name, value in properties.items() if value is not None})
        for secret in (offer["token"], offer["refreshToken"]):
            assert secret not in json.dumps(answer)
        return flow

    def token(self, flow, expect=200, path=None, token=None, port=None):
        status, body = self.cell.call("GET", path or f"/tokens/{B}/{flow}", token=token)
        assert status == expect, body
        return body

    def pull(self, flow, method="GET", path="", headers=(), **arguments):
        with H2(self.cell.port) as connection:
            return connection.get(f"/api/local/{B}/{flow}{path}", method, [("authorization", f"Bearer {self.cell.token()}"), *headers], **arguments)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    from conftest import Cell
    cell = Cell(tmp_path_factory.mktemp("pair")).start()
    try:
        yield Pair(cell)
    finally:
        cell.stop()


@pytest.fixture
def proxy(pair):
    proxy = Proxy(pair.cell.clear_port)
    yield proxy
    proxy.stop()


def renewals(pair):
    return pair.cell.metric("celld_dp_own_renewals_total")


def test_the_cell_serves_the_did_documents_of_its_participants(pair):
    flow = pair.flow(lifetime=1)
    time.sleep(1.1)
    pair.token(flow)  # so that the consumer has a key
    with H2(pair.cell.clear_port, tls=False, authority=f"127.0.0.1:{pair.cell.clear_port}") as connection:
        response = connection.get(f"/{B[:4]}/did.json")
        assert response.status == 200 and "max-age" in response.header("cache-control")
        document = json.loads(bytes(response.body))
        assert document["id"] == pair.consumer
        (method,) = document["verificationMethod"]
        assert method["id"].startswith(pair.consumer + "#") and method["id"] in document["authentication"]
        assert method["type"] == "JsonWebKey2020" and "d" not in method["publicKeyJwk"] and method["publicKeyJwk"]["crv"] == "P-256"
        for path in ("/cccc/did.json", "/did.json", "/.well-known/did.json", f"/{B[:4]}", f"/{B[:4]}/x/did.json"):
            assert connection.get(path).status == 404, path
        assert connection.get(f"/{B[:4]}/did.json", "POST").status == 404
    with H2(pair.cell.clear_port, tls=False, authority="localhost") as connection:
        assert connection.get(f"/{B[:4]}/did.json").status == 404


def test_the_token_is_given_to_applications(pair):
    flow = pair.flow()
    body = pair.token(flow)
    assert body["endpoint"].endswith(f"/api/public/{A}") and body["authType"] == "bearer" and body["endpointType"] == PROFILE
    assert 290 <= body["expiresIn"] <= 300 and body["expiresAt"] == claims_of(body["token"])["exp"] * 1000
    assert pair.cell.pull(body["token"], f"/api/public/{A}", headers=[("range", "bytes=0-9")]).status == 206
    assert pair.token(flow)["token"] == body["token"]
    assert pair.token(flow, path=f"/api/siglet/tokens/{B}/{flow}")["token"] == body["token"]
    status, text = pair.cell.admin(f"/tokens/{B}/{flow}")
    assert status == 401 and body["token"] not in text


def test_who_may_ask_for_tokens(pair):
    flow = pair.flow()
    own = pair.cell.management_token("management-api:tokens:read", B)
    for scopes in ("management-api:tokens:read", "siglet-mgmt-api:read"):
        assert pair.token(flow, token=pair.cell.management_token(scopes, B))["token"]
        pair.token(flow, 403, token=pair.cell.management_token(scopes, A))
    for scopes, subject, status in (("management-api:tokens:read", A, 403), ("management-api:flows:read", B, 403), ("other:read", B, 403)):
        pair.token(flow, status, token=pair.cell.management_token(scopes, subject))
    assert pair.cell.call("GET", f"/tokens/{B}/{flow}", token="")[0] == 401
    assert pair.cell.call("GET", f"/tokens/{B}/{flow}", token="", headers=[("x-api-key", own)])[0] == 200
    assert pair.cell.call("GET", f"/tokens/{B}/{flow}", token="", headers=[("x-api-key", own + "x")])[0] == 401
    assert pair.cell.call("GET", f"/tokens/{B}/{flow}", token="x", headers=[("x-api-key", own)])[0] == 401
    assert pair.cell.call("POST", f"/tokens/{B}/{flow}")[0] == 405
    pair.token("nothing", 404)
    pair.token(flow + "/more", 404)
    pair.token(flow, 404, path=f"/tokens/{A[::-1][:-1]}9/{flow}")
    pair.token(flow, 409, path=f"/tokens/{A}/{flow}")  # the provider's own flow of this name holds none


def test_twenty_callers_cause_one_renewal(pair):
    flow = pair.flow(lifetime=1)
    before = renewals(pair)
    time.sleep(1.1)
    with concurrent.futures.ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _: pair.token(flow), range(20)))
    assert len({answer["token"] for answer in answers}) == 1
    assert renewals(pair) == before + 1
    assert answers[0]["expiresIn"] > 200
    assert pair.token(flow)["token"] == answers[0]["token"] and renewals(pair) == before + 1


def test_the_spelling_of_tractus_x(pair):
    space, auth = "https://w3id.org/edc/v0.0.1/ns/", "https://w3id.org/tractusx/auth/"
    pair.cell.flow(A, "big", "tractus", counterParty=pair.consumer)
    offer = pair.offer("tractus", 1)
    base = f"http://127.0.0.1:{pair.cell.clear_port}/api/public/{A}"
    pair.take("tractus", base, **{space + "authorization": offer["token"], auth + "authType": "bearer", auth + "refreshToken": offer["refreshToken"],
        auth + "expiresIn": "1", auth + "refreshEndpoint": base, auth + "refreshAudience": pair.provider})
    time.sleep(1.1)
    assert claims_of(pair.token("tractus")["token"])["exp"] > time.time() + 200


def test_a_lost_answer_is_asked_for_again(pair, proxy):
    flow = pair.flow(lifetime=1, renew_port=proxy.port)
    time.sleep(1.1)
    proxy.cuts = [0, 1]  # the provider has rotated, the consumer heard nothing
    before = pair.cell.metric("celld_dp_renewals_total")
    token = pair.token(flow)["token"]
    assert proxy.connections >= 2
    assert pair.cell.metric("celld_dp_renewals_total") >= before + 2
    assert pair.cell.pull(token, f"/api/public/{A}", headers=[("range", "bytes=0-0")]).status == 206


def test_what_was_renewed_survives_a_kill(own_cell):
    cell = own_cell()
    cell.start()
    pair = Pair(cell)
    flow = pair.flow(lifetime=1)
    time.sleep(1.1)
    token = pair.token(flow)["token"]
    cell.kill()
    cell.start()
    assert pair.token(flow)["token"] == token
    assert renewals(pair) == 0


def test_a_token_that_cannot_be_renewed(pair):
    flow = pair.flow(lifetime=1, refreshToken=None)
    time.sleep(1.1)
    pair.token(flow, 502)
    flow = pair.flow(lifetime=1, refreshToken="x" * 43)
    time.sleep(1.1)
    pair.token(flow, 502)
    flow = pair.flow(lifetime=1, renew_port=1)
    time.sleep(1.1)
    assert pair.cell.call("GET", f"/tokens/{B}/{flow}")[0] in (502, 503)


def test_an_ended_flow_holds_no_token(pair):
    flow = pair.flow()
    pair.token(flow)
    assert pair.cell.call("POST", f"/api/cell/v1/participants/{B}/flows/{flow}/suspend")[0] == 200
    pair.token(flow, 409)
    assert pair.cell.call("POST", f"/api/cell/v1/participants/{B}/flows/{flow}/resume")[0] == 200
    pair.token(flow)
    assert pair.cell.call("DELETE", f"/api/cell/v1/participants/{B}/flows/{flow}")[0] == 204
    pair.token(flow, 404)


# --- driven by control planes, and by the fabric

def test_a_flow_of_data_plane_signaling_from_start_to_end(own_cell):
    cell = own_cell(settings={"dp": {"renewal_lifetime_ms": "1 s"}})
    cell.start()
    pair, plane = Pair(cell), ControlPlane()
    try:
        sides = [Signaling(cell, ctx, identity, cell.management_token("signaling:dataflow:write signaling:controlplane:write", ctx))
            for ctx, identity in ((A, pair.provider), (B, pair.consumer))]
        provider, consumer = sides
        for side in sides:
            assert side.register("cp", plane.url).status == 200
        assert consumer.prepare("p1", HTTP_PULL, counterPartyId=pair.provider).status == 200
        started = provider.start("p1", HTTP_PULL, counterPartyId=pair.consumer, datasetId="big")
        assert started.status == 200, started
        assert consumer.move("p1", "started", dataAddress=started.body["dataAddress"]).status == 200
        given = {one["name"]: one["value"] for one in started.body["dataAddress"]["endpointProperties"]}
        time.sleep(1.1)
        first = pair.token("p1")["token"]  # the offered one has ended
        assert first != given["authorization"]
        assert hashlib.sha256(pair.pull("p1").body).digest() == hashlib.sha256(CONTENT).digest()
        # a resume brings a new address: the old tokens are worth nothing, the new ones are renewed
        for side in sides:
            assert side.move("p1", "suspend").status == 200
        pair.token("p1", 409)
        resumed = provider.move("p1", "resume")
        assert resumed.status == 200 and consumer.move("p1", "resume", dataAddress=resumed.body["dataAddress"]).status == 200
        time.sleep(1.1)
        assert pair.token("p1")["token"] != first
        assert pair.pull("p1", headers=[("range", "bytes=0-9")]).status == 206
        for side in sides:
            assert side.move("p1", "terminate").status == 200
        pair.token("p1", 409)
        assert pair.pull("p1").status == 409
    finally:
        plane.stop()


def test_proofs_name_the_key_as_the_fabric_mapped_it(own_cell):
    cell = own_cell()
    cell.start()
    pair = Pair(cell)
    kid = f"{pair.consumer}#key-1"
    pem = Key().private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    assert cell.call("PUT", f"/api/cell/v1/participants/{B}/keys/signing", {"privateKey": pem.decode()})[0] == 201
    status, body = cell.call("POST", "/key-mappings", {"participantContextId": B, "keyName": "signing", "kid": kid},
        token=cell.management_token("siglet-mgmt-api:admin"))
    assert status == 201, body
    flow = pair.flow(lifetime=1)
    time.sleep(1.1)
    assert pair.token(flow)["expiresIn"] > 200
    with H2(cell.clear_port, tls=False, authority=f"127.0.0.1:{cell.clear_port}") as connection:
        document = json.loads(bytes(connection.get(f"/{B[:4]}/did.json").body))
    assert [method["id"] for method in document["verificationMethod"]] == [kid] == document["assertionMethod"]


# --- local pulls

def test_a_local_pull_brings_the_data(pair):
    flow = pair.flow()
    # the first answers may come before the file's digest is known
    response = wait_for(lambda: (answer := pair.pull(flow)).header("repr-digest") and answer, 60, "an answer with its digest")
    assert response.status == 200 and response.ended and hashlib.sha256(response.body).digest() == hashlib.sha256(CONTENT).digest()
    assert response.header("content-length") == str(SIZE) and response.header("etag")
    assert response.header("repr-digest") == f"sha-256=:{base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()}:"
    head = pair.pull(flow, "HEAD")
    assert (head.status, head.header("content-length"), len(head.body)) == (200, str(SIZE), 0)
    part = pair.pull(flow, headers=[("range", "bytes=5-14")])
    assert part.status == 206 and bytes(part.body) == CONTENT[5:15]
    assert pair.pull(flow, headers=[("if-none-match", response.header("etag"))]).status == 304
    assert pair.pull(flow, path="/no/such/part").status == 404
    assert pair.pull(flow, "DELETE").status == 405
    assert pair.pull("nothing").status == 404


def test_a_local_pull_needs_management_rights(pair):
    flow = pair.flow()
    for token, status in (("", 401), (pair.cell.management_token("management-api:tokens:read", A), 403)):
        assert pair.cell.call("GET", f"/api/local/{B}/{flow}", token=token)[0] == status


def test_pulls_go_on_where_they_were_cut(pair, proxy):
    flow = pair.flow(port=proxy.port)
    cuts = sorted(random.sample(range(1 << 16, SIZE), 6))
    proxy.cuts = [cuts[0]] + [b - a for a, b in zip(cuts, cuts[1:])] + [0, 40]
    before = pair.cell.metric("celld_dp_local_resumes_total")
    response = pair.pull(flow, deadline=60)
    assert response.ended and len(response.body) == SIZE
    assert hashlib.sha256(response.body).digest() == hashlib.sha256(CONTENT).digest()
    assert pair.cell.metric("celld_dp_local_resumes_total") >= before + 6
    assert proxy.sent < SIZE + (8 << 20), f"{proxy.sent - SIZE} bytes came twice"


def test_a_range_that_is_cut_goes_on_inside_the_range(pair, proxy):
    flow = pair.flow(port=proxy.port)
    proxy.cuts = [500000, 500000]
    response = pair.pull(flow, headers=[("range", "bytes=1000-1999999")], deadline=60)
    assert response.status == 206 and response.ended and bytes(response.body) == CONTENT[1000:2000000]


def test_a_refused_token_is_renewed_once(pair):
    flow = pair.flow()
    jti = claims_of(pair.token(flow)["token"])["jti"]
    before = renewals(pair)
    assert pair.pull(flow, headers=[("range", "bytes=0-9")]).status == 206
    # the provider revokes the token: a proof may not name it either, so that nothing can be renewed
    assert pair.cell.call("DELETE", f"/api/cell/v1/participants/{A}/flows/{flow}/tokens/{jti}")[0] == 204
    assert pair.pull(flow).status == 502
    assert renewals(pair) == before + 1


def test_a_token_that_ends_midway_is_renewed_for_the_rest(pair, proxy):
    flow = pair.flow(lifetime=2, port=proxy.port)
    proxy.cuts = [4 << 20, 4 << 20]

    def outlive(sent):
        if sent > 4 << 20 and proxy.hook:
            proxy.hook = None
            time.sleep(2.5)
    proxy.hook = outlive
    before = renewals(pair)
    response = pair.pull(flow, deadline=60)
    assert response.ended and hashlib.sha256(response.body).digest() == hashlib.sha256(CONTENT).digest()
    assert renewals(pair) == before + 1


def test_the_providers_end_ends_the_pull(pair, proxy):
    flow = pair.flow(port=proxy.port)
    proxy.pause = 0.01

    def stop(sent):
        if sent > 2 << 20 and proxy.hook:
            proxy.hook = None
            pair.cell.call("POST", f"/api/cell/v1/participants/{A}/flows/{flow}/suspend")
    proxy.hook = stop
    response = pair.pull(flow, deadline=60)
    assert not response.ended and response.reset is not None and 0 < len(response.body) < SIZE


def test_the_consumers_own_end_ends_the_pull(pair, proxy):
    flow = pair.flow(port=proxy.port)
    proxy.pause = 0.01

    def stop(sent):
        if sent > 2 << 20 and proxy.hook:
            proxy.hook = None
            pair.cell.call("POST", f"/api/cell/v1/participants/{B}/flows/{flow}/suspend")
    proxy.hook = stop
    response = pair.pull(flow, deadline=60)
    assert not response.ended and response.reset is not None and 0 < len(response.body) < SIZE


def foreign(pair, url, **properties):
    pair.count += 1
    pair.take(f"foreign-{pair.count}", url, **properties)
    return f"foreign-{pair.count}"


def test_digests_are_checked(pair, source):
    body = b"proven " * 10000
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    wrong = base64.b64encode(hashlib.sha256(b"else").digest()).decode()
    for field, value, good in (("Repr-Digest", digest, True), ("Content-Digest", digest, True), ("Repr-Digest", wrong, False),
            ("Content-Digest", wrong, False), ("Repr-Digest", "sha-256=:AAAA:", True)):
        flow = foreign(pair, source(plain_answer(body, headers=f"{field}: {value if '=' in value and ':' in value else f'sha-256=:{value}:'}\r\n")).url)
        response = pair.pull(flow)
        assert response.status == 200
        assert response.ended is good and (bytes(response.body) == body) >= good, (field, value)
    assert pair.cell.metric("celld_dp_local_corrupt_total") == 2


def test_the_providers_answer_passes(pair, source):
    provider = source(plain_answer(b"gone", "410 Gone", "X-Why: moved\r\nETag: \"x\"\r\nConnection: x-hop\r\nX-Hop: 1\r\n"))
    flow = foreign(pair, provider.url + "/base/?a=1", authorization="secret-token", authType="bearer")
    response = pair.pull(flow, path="/below?b=2")
    assert (response.status, bytes(response.body), response.header("x-why"), response.header("x-hop")) == (410, b"gone", "moved", None)
    head = provider.requests[0].decode().lower()
    assert head.startswith("get /base/below?a=1&b=2 ") and "authorization: bearer secret-token" in head
    assert "want-repr-digest: sha-256=10" in head and pair.cell.token().lower() not in head


def test_a_provider_that_refuses_or_is_not_there(pair, source):
    provider = source(plain_answer(b"no", "401 Unauthorized"))
    assert pair.pull(foreign(pair, provider.url, authorization="x", authType="bearer")).status == 502
    assert len(provider.requests) == 1
    assert pair.pull(foreign(pair, "http://127.0.0.1:1/")).status == 502
    assert pair.pull(foreign(pair, "http://192.168.1.1/")).status == 502
    assert pair.pull(foreign(pair, f"http://[::1]:{pair.cell.admin_port}/metrics")).status == 502


def test_changed_data_is_never_glued_together(pair, source):
    served = []

    def behave(connection, head, buffered):
        served.append(head)
        tag = f'"v{len(served)}"'
        if len(served) == 1:
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nETag: {tag}\r\n\r\n".encode() + b"a" * 300000)
            return None
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nETag: {tag}\r\n\r\n".encode() + b"b" * 1000000)
        return buffered
    response = pair.pull(foreign(pair, source(behave).url))
    assert not response.ended and response.reset is not None and b"b" not in response.body
    assert b'if-range: "v1"' in served[1].lower() and b"range: bytes=300000-999999" in served[1].lower()


# --- cellctl pull

def ctl_pull(pair, flow, *arguments, port=None, check=0):
    environment = dict(os.environ, CELLCTL_STATE=str(pair.cell.state), CELLCTL_URL=f"http://127.0.0.1:{port or pair.cell.clear_port}")
    result = subprocess.run([PROGRAMS / "cellctl", "pull", B, flow, *map(str, arguments)], env=environment, capture_output=True)
    assert result.returncode == check, result.stderr
    return result


def test_cellctl_pulls_into_a_file(pair, tmp_path):
    flow, file = pair.flow(), tmp_path / "data"
    result = ctl_pull(pair, flow, "--output", file)
    assert file.read_bytes() == CONTENT and sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    assert result.stdout == f"{SIZE} bytes, digest checked\n".encode() and result.stderr == b""
    assert ctl_pull(pair, flow).stdout == CONTENT
    assert b"404" in ctl_pull(pair, "nothing", "--output", file, check=1).stderr
    assert b"404" in ctl_pull(pair, flow, "/no/part", "--output", tmp_path / "other", check=1).stderr
    assert ctl_pull(pair, flow, "--output", tmp_path / "no" / "folder", check=1).stderr


def test_cellctl_survives_cuts_between_it_and_the_cell(pair, proxy, tmp_path):
    flow, file = pair.flow(), tmp_path / "data"
    proxy.cuts = [5 << 20, 3 << 20, 0, 100, 1 << 20]
    ctl_pull(pair, flow, "--output", file, port=proxy.port)
    assert file.read_bytes() == CONTENT and proxy.connections == 6
    assert proxy.sent < SIZE + (2 << 20)


def test_cellctl_goes_on_where_a_killed_run_ended(pair, proxy, tmp_path):
    flow, file = pair.flow(), tmp_path / "data"
    part = tmp_path / "data.part"
    proxy.pause = 0.005
    environment = dict(os.environ, CELLCTL_STATE=str(pair.cell.state), CELLCTL_URL=f"http://127.0.0.1:{proxy.port}")
    run = subprocess.Popen([PROGRAMS / "cellctl", "pull", B, flow, "--output", file], env=environment)
    wait_for(lambda: part.exists() and part.stat().st_size > 4 << 20, 30, "some data")
    run.kill()
    run.wait()
    size = part.stat().st_size
    proxy.pause, proxy.sent = 0, 0
    ctl_pull(pair, flow, "--output", file, port=proxy.port)
    assert file.read_bytes() == CONTENT and SIZE - size <= proxy.sent < SIZE - size + (1 << 20)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("size,tag", [(1000, '"other"'), (1000, ""), (SIZE + 1, None)])
def test_cellctl_takes_up_no_foreign_part(pair, tmp_path, size, tag):
    flow, file = pair.flow(), tmp_path / "data"
    (tmp_path / "data.part").write_bytes(b"x" * size)
    (tmp_path / "data.tag").write_text(pair.pull(flow, "HEAD").header("etag") if tag is None else tag)
    ctl_pull(pair, flow, "--output", file)
    assert file.read_bytes() == CONTENT


def test_cellctl_takes_no_corrupt_data(pair, source, tmp_path):
    body, wrong = b"proven " * 10000, base64.b64encode(hashlib.sha256(b"else").digest()).decode()
    flow = foreign(pair, source(plain_answer(body, headers=f"Repr-Digest: sha-256=:{wrong}:\r\n")).url)
    result = ctl_pull(pair, flow, "--output", tmp_path / "data", check=1)
    assert result.stderr and not (tmp_path / "data").exists()
