"""Pulling from files and HTTP sources: what a consumer sees."""
import concurrent.futures
import hashlib
import os
import socket
import time

import pytest

from base64url import claims_of
from conftest import A, B, plain_answer, wait_for, wait_still
from wire import H2, h1

BIG = os.urandom(1 << 20) * 24


@pytest.fixture(scope="module")
def small(cell):
    return cell.shared_file(A, "small.txt", b"0123456789" * 10)


@pytest.fixture(scope="module")
def big(cell):
    return cell.shared_file(A, "big.bin", BIG)


def test_whole_file_over_h2_h2c_and_http1(cell, big):
    token, path = big
    for tls, port in ((True, cell.port), (False, cell.clear_port)):
        response = cell.pull(token, path, port=port, tls=tls)
        assert response.status == 200 and response.ended
        assert hashlib.sha256(response.body).digest() == hashlib.sha256(BIG).digest()
        assert response.header("content-length") == str(len(BIG))
    for tls, port in ((True, cell.port), (False, cell.clear_port)):
        answer = h1(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n".encode(), tls)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and body == BIG


def test_raw_token_without_bearer_is_accepted(cell, small):
    token, path = small
    with H2(cell.port) as connection:
        assert connection.get(path, headers=[("authorization", token)]).status == 200


def test_head_has_the_length_and_no_body(cell, small):
    token, path = small
    response = cell.pull(token, path, "HEAD")
    assert (response.status, response.header("content-length"), len(response.body)) == (200, "100", 0)
    assert response.header("etag") and response.header("accept-ranges") == "bytes"


RANGES = [
    ("bytes=0-9", 206, b"0123456789", "bytes 0-9/100"),
    ("bytes=95-", 206, b"56789", "bytes 95-99/100"),
    ("bytes=-3", 206, b"789", "bytes 97-99/100"),
    ("bytes=90-1000", 206, b"0123456789", "bytes 90-99/100"),
    ("bytes=100-", 416, None, "bytes */100"),
    ("lines=1-2", 200, b"0123456789" * 10, None),
    ("bytes=9-1", 200, b"0123456789" * 10, None),
    ("bytes=a-b", 200, b"0123456789" * 10, None),
]


@pytest.mark.parametrize("value,status,body,content_range", RANGES)
def test_single_range(cell, small, value, status, body, content_range):
    response = cell.pull(*small, headers=[("range", value)])
    assert response.status == status
    assert response.header("content-range") == content_range
    if body is not None:
        assert bytes(response.body) == body


def test_several_ranges_come_as_multipart(cell, small):
    response = cell.pull(*small, headers=[("range", "bytes=0-1,50-51")])
    assert response.status == 206
    kind = response.header("content-type")
    assert kind.startswith("multipart/byteranges; boundary=")
    boundary = kind.split("=", 1)[1].strip('"').encode()
    parts = bytes(response.body).split(b"--" + boundary)
    assert len(parts) == 4 and parts[3].startswith(b"--")
    assert b"Content-Range: bytes 0-1/100".lower() in parts[1].lower() and parts[1].rstrip(b"\r\n").endswith(b"01")
    assert b"Content-Range: bytes 50-51/100".lower() in parts[2].lower()
    assert int(response.header("content-length")) == len(response.body)


def test_conditional_requests(cell, small):
    etag = cell.pull(*small).header("etag")
    assert not etag.startswith("W/")
    assert cell.pull(*small, headers=[("if-none-match", etag)]).status == 304
    assert cell.pull(*small, headers=[("if-none-match", '"other"')]).status == 200
    assert cell.pull(*small, headers=[("if-none-match", "*")]).status == 304
    assert cell.pull(*small, headers=[("if-match", '"other"')]).status == 412
    assert cell.pull(*small, headers=[("range", "bytes=0-1"), ("if-range", etag)]).status == 206
    assert cell.pull(*small, headers=[("range", "bytes=0-1"), ("if-range", '"other"')]).status == 200


def test_changed_file_has_another_etag_and_the_new_content(cell):
    token, path = cell.shared_file(A, "changing.txt", b"first")
    first = cell.pull(token, path)
    cell.file(A, "changing.txt", b"second!")
    second = cell.pull(token, path)
    assert (bytes(first.body), bytes(second.body)) == (b"first", b"second!")
    assert first.header("etag") != second.header("etag")


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "clear"])
def test_a_file_that_shrinks_under_its_pull_resets_that_stream_alone(cell, tls):
    name = f"shrinks-{tls}.bin"
    token, path = cell.shared_file(A, name, b"a" * (16 << 20))
    other, other_path = cell.shared_file(B, f"stays-{tls}.bin", BIG[:4 << 20])
    with H2(cell.port if tls else cell.clear_port, tls) as connection:
        connection.hold = True
        broken = connection.start(path, headers=[("authorization", f"Bearer {token}")])
        got = connection.wait(broken, until=lambda response: len(response.body) == 1 << 20)  # the window is spent
        os.truncate(cell.state / "sources" / A / name, 2 << 20)
        connection.hold = False
        connection.h2.acknowledge_received_data(1 << 20, broken)
        connection.flush()
        whole = connection.start(other_path, headers=[("authorization", f"Bearer {other}")])
        assert connection.wait(broken).reset not in (None, "closed") and not got.ended
        assert set(got.body[:2 << 20]) == {ord("a")}
        assert connection.wait(whole).ended and connection.responses[whole].body == BIG[:4 << 20]


def test_directory_dataset_serves_files_below_and_nothing_else(cell):
    cell.file(A, "folder/inner/one.txt", b"one")
    cell.file(A, "outside.txt", b"outside")
    os.symlink(cell.state / "sources" / A / "outside.txt", cell.state / "sources" / A / "folder" / "link.txt")
    os.mkfifo(cell.state / "sources" / A / "folder" / "pipe")
    cell.dataset(A, "folder", "file", {"path": "folder"})
    token = cell.flow_token(A, cell.flow(A, "folder"))
    base = f"/api/public/{A}"
    assert bytes(cell.pull(token, f"{base}/inner/one.txt").body) == b"one"
    for path in ("/", "/inner", "/missing", "/link.txt", "/pipe", "/inner/../../outside.txt", "/%2e%2e/outside.txt",
            "/inner/%2e%2e/%2e%2e/outside.txt", "/..%2foutside.txt", "/..%5coutside.txt", "//inner/one.txt", "/inner/one.txt%00"):
        response = cell.pull(token, base + path)
        assert response.status in (400, 404), f"{path}: {response}"
        assert b"outside" not in response.body.replace(path.encode(), b"")


def test_methods_a_file_does_not_have(cell, small):
    response = cell.pull(*small, method="POST", body=b"x")
    assert response.status == 405 and response.header("allow") == "GET, HEAD"


# --- who may

def problem(response):
    return response.status, bytes(response.body), [header for header in response.headers if header[0] not in ("date", "traceparent")]


def test_missing_and_wrong_tokens_are_401(cell, small):
    token, path = small
    with H2(cell.port) as connection:
        for headers in ([], [("authorization", "Bearer ")], [("authorization", "Bearer x.y.z")], [("authorization", f"Basic {token}")],
                [("authorization", f"Bearer {token[:-2]}AA")], [("authorization", f"Bearer {token}.x")]):
            response = connection.get(path, headers=headers)
            assert response.status == 401, headers
            assert response.header("www-authenticate").startswith("Bearer")
            assert response.header("content-type") == "application/problem+json"


def test_another_tenants_token_is_refused_like_an_unknown_flow(cell, small):
    token_b, path_b = cell.shared_file(B, "theirs.txt", b"theirs")
    _, path_a = small
    response = cell.pull(token_b, path_a)
    assert response.status in (401, 403)
    assert b"theirs" not in response.body
    assert cell.pull(token_b, path_b).status == 200


def test_unknown_tenant_is_404_before_the_body_is_read(cell, small):
    token, _ = small
    with H2(cell.port) as connection:
        stream = connection.start(f"/api/public/{'c' * 32}/x", "POST", [("authorization", f"Bearer {token}"), ("content-length", "1000000")], end=False)
        assert connection.wait(stream, until=lambda response: response.status).status == 404
        assert connection.get("/nowhere").status == 404
        assert connection.get("/api/public/short/x").status == 404


def test_suspended_terminated_and_expired_flows_are_403(cell):
    cell.file(A, "states.txt", b"states")
    cell.dataset(A, "states", "file", {"path": "states.txt"})
    flow = cell.flow(A, "states")
    token = cell.flow_token(A, flow)
    path = f"/api/public/{A}"
    api = f"/api/cell/v1/participants/{A}/flows/{flow}"
    assert cell.pull(token, path).status == 200
    assert cell.call("POST", f"{api}/suspend")[0] in (200, 204)
    refused = cell.pull(token, path)
    assert refused.status == 403
    assert cell.call("POST", f"{api}/resume")[0] in (200, 204)
    assert cell.pull(token, path).status == 200
    assert cell.call("POST", f"{api}/terminate")[0] in (200, 204)
    assert problem(cell.pull(token, path)) == problem(refused)
    assert cell.call("POST", f"{api}/resume")[0] == 409


def test_revoked_token_is_refused_and_others_stay(cell):
    cell.file(A, "revoked.txt", b"revoked")
    cell.dataset(A, "revoked", "file", {"path": "revoked.txt"})
    flow = cell.flow(A, "revoked")
    first, second = cell.flow_token(A, flow), cell.flow_token(A, flow)
    jti = claims_of(first)["jti"]
    assert cell.pull(first, f"/api/public/{A}").status == 200
    assert cell.call("DELETE", f"/api/cell/v1/participants/{A}/flows/{flow}/tokens/{jti}")[0] in (200, 204)
    assert cell.pull(first, f"/api/public/{A}").status in (401, 403)
    assert cell.pull(second, f"/api/public/{A}").status == 200


def last_arrival(connection):
    """When the kernel took the last bytes of this connection: whoever reads them may come to it much later."""
    while True:
        before = time.monotonic()
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        if time.monotonic() - before < 0.004:
            return before - int.from_bytes(info[52:56], "little") / 1000  # tcpi_last_data_recv


def stop_times(cell, path, token, end_call, downloads=10):
    """Starts downloads on several connections, ends the flow, and returns how long after the answer the last bytes arrived, those of the reset
    among them. What the windows let the cell send fits the kernel's buffers: it arrives when it is sent, however slow this reader is."""
    connections = []
    for _ in range(downloads):
        connection = H2(cell.port, window=1 << 17)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)  # the kernel doubles it
        stream = connection.start(path, headers=[("authorization", f"Bearer {token}")])
        connection.wait(stream, until=lambda response: len(response.body) > 1 << 16)
        connections.append((connection, stream))
    answered = []

    def drain(pair):
        connection, stream = pair
        response = connection.responses[stream]
        end = time.monotonic() + 20
        while not (response.ended or response.reset is not None) and time.monotonic() < end:
            connection.pump(0.05)
        last = last_arrival(connection.socket)
        connection.close()
        return response, last
    with concurrent.futures.ThreadPoolExecutor(downloads + 1) as pool:
        running = [pool.submit(drain, pair) for pair in connections]
        time.sleep(0.05)
        end_call()
        answered.append(time.monotonic())
        results = [future.result() for future in running]
    return [(response, last - answered[0]) for response, last in results]


@pytest.fixture(scope="module")
def endless(cell):
    """A flow on an HTTP source that never ends, so that no download is over before the flow is stopped."""
    from conftest import Source

    def forever(connection, head, buffered):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        while True:
            connection.sendall(chunk)
            time.sleep(0.002)
    source = Source(forever)
    cell.dataset(A, "endless", "http", {"baseUrl": source.url})
    yield source
    source.stop()


@pytest.mark.parametrize("verb", ["suspend", "terminate"])
def test_stopping_a_flow_stops_its_bytes_on_every_worker(cell, endless, verb):
    flow = cell.flow(A, "endless", f"endless-{verb}")
    token = cell.flow_token(A, flow)
    results = stop_times(cell, f"/api/public/{A}", token,
        lambda: cell.call("POST", f"/api/cell/v1/participants/{A}/flows/{flow}/{verb}"))
    for response, late in results:
        assert response.reset is not None and not response.ended
        assert late <= 0.1, f"bytes {late * 1000:.0f} ms after the answer"


def test_an_expiring_flow_stops_in_flight(cell, endless):
    expires = int(time.time() * 1000) + 1500
    flow = cell.flow(A, "endless", "endless-expiry", expiresAt=expires)
    token = cell.flow_token(A, flow)
    with H2(cell.port) as connection:
        stream = connection.start(f"/api/public/{A}", headers=[("authorization", f"Bearer {token}")])
        response = connection.wait(stream, deadline=30)
        assert response.reset is not None and not response.ended
        ended = time.time() - (time.monotonic() - last_arrival(connection.socket))
        assert abs(ended * 1000 - expires) < 400


def test_deactivating_a_tenant_stops_its_streams_and_hides_it(cell, endless, source):
    ctx = cell.participant("d" * 32)
    cell.dataset(ctx, "endless", "http", {"baseUrl": endless.url})
    token = cell.flow_token(ctx, cell.flow(ctx, "endless"))
    with H2(cell.port) as connection:
        stream = connection.start(f"/api/public/{ctx}", headers=[("authorization", f"Bearer {token}")])
        connection.wait(stream, until=lambda response: len(response.body) > 1000)
        status, body = cell.call("PUT", f"/api/mgmt/v5beta/participants/{ctx}", {
            "@context": ["https://w3id.org/edc/connector/management/v2"], "@type": "ParticipantContext", "@id": ctx,
            "identity": "did:web:localhost:d", "properties": {}, "state": "DEACTIVATED"})
        assert status in (200, 204), body
        response = connection.wait(stream, deadline=30)
        assert response.reset is not None
    with H2(cell.port) as connection:
        hidden = connection.get(f"/api/public/{ctx}", headers=[("authorization", f"Bearer {token}")])
        unknown = connection.get(f"/api/public/{'c' * 32}", headers=[("authorization", f"Bearer {token}")])
        assert hidden.status == unknown.status == 404
        assert problem(hidden) == problem(unknown)


# --- HTTP sources

def test_http_source_passes_status_headers_and_path(cell, source):
    def behave(connection, head, buffered):
        body = b'{"seen": true}'
        connection.sendall(b"HTTP/1.1 203 Non-Authoritative Information\r\nContent-Type: application/json\r\nX-Own: kept\r\nConnection: keep-alive, X-Hop\r\nX-Hop: gone\r\nKeep-Alive: timeout=5\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return buffered
    server = source(behave)
    token, path = cell.shared_http(A, "http1", server.url + "/base", proxyPath="true", proxyQueryParams="true", **{"header:x-static": "fixed"})
    response = cell.pull(token, f"{path}/a%2Fb/c?q=1&q=2", headers=[("x-forwarded-for", "6.6.6.6"), ("cookie", "a=b"), ("accept", "text/plain"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")])
    if response.status == 400:  # an escaped slash has no canonical form here; without it the path passes
        response = cell.pull(token, f"{path}/a%20b/c?q=1&q=2", headers=[("x-forwarded-for", "6.6.6.6"), ("cookie", "a=b"), ("accept", "text/plain"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")])
        assert server.requests[-1].startswith(b"GET /base/a%20b/c?q=1&q=2 HTTP/1.1")
    assert response.status == 203
    assert response.header("x-own") == "kept"
    assert response.header("x-hop") is None and response.header("keep-alive") is None and response.header("connection") is None
    head = server.requests[-1].lower()
    assert b"x-static: fixed" in head and b"accept: text/plain" in head and b"0af7651916cd43dd8448eb211c80319c" in head
    assert b"authorization" not in head and b"cookie" not in head and b"6.6.6.6" not in head


def test_a_head_that_comes_again_says_the_same(cell, source):
    """One that is remembered: fields, tag and body are what they were, for each flow its own, and a change is seen at once."""
    said = {"own": "1"}

    def behave(connection, head, buffered):
        connection.sendall(f"HTTP/1.1 203 Fine\r\nX-Own: {said['own']}\r\nETag: \"tag\"\r\nConnection: keep-alive, X-Hop\r\nX-Hop: gone\r\nContent-Length: 4\r\n\r\nbody".encode())
        return buffered
    server = source(behave)
    flows = [cell.shared_http(A, f"again{number}", server.url) for number in range(2)]
    tags = []
    with H2(cell.port) as connection:
        for said["own"] in ("1", "2", "1"):
            for token, path in flows * 5:
                answer = connection.get(path, headers=[("authorization", token)])
                assert (answer.status, bytes(answer.body), answer.header("x-own")) == (203, b"body", said["own"])
                assert sorted(name for name, _ in answer.headers if not name.startswith(":")) == ["content-length", "date", "etag", "x-own"]
                tags.append(answer.header("etag"))
    assert len(set(tags)) == 2 and tags == tags[:2] * 15
    asked = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n" for token, path in flows * 3]
    answers = h1(cell.clear_port, ("\r\n".join(asked) + "Connection: close\r\n\r\n").encode()).split(b"HTTP/1.1 203")[1:]
    assert len(answers) == 6
    for number, answer in enumerate(answers):
        head, _, body = answer.partition(b"\r\n\r\n")
        assert body == b"body" and f"etag: {tags[number]}".encode() in head and b"x-own: 1" in head and b"x-hop" not in head


def test_without_proxy_properties_nothing_of_the_consumer_reaches_the_source(cell, source):
    server = source(plain_answer(b"fixed"))
    token, path = cell.shared_http(A, "http2", server.url + "/only", queryParams="key=1")
    assert bytes(cell.pull(token, f"{path}?other=2").body) == b"fixed"
    assert server.requests[-1].startswith(b"GET /only?key=1 HTTP/1.1")
    assert cell.pull(token, path, "POST", body=b"x").status == 405


def test_streamed_upload_reaches_the_source_whole(cell, source):
    seen = {}

    def behave(connection, head, buffered):
        length = int(dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])[b"content-length"])
        digest, left = hashlib.sha256(buffered), length - len(buffered)
        while left:
            data = connection.recv(min(left, 1 << 16))
            digest.update(data)
            left -= len(data)
        seen["digest"] = digest.digest()
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        return b""
    server = source(behave)
    token, path = cell.shared_http(A, "http3", server.url, proxyMethod="true", proxyBody="true")
    body = BIG[:8 << 20]
    response = cell.pull(token, path, "PUT", [("content-length", str(len(body))), ("content-type", "application/x-bin")], body)
    assert response.status == 201 and seen["digest"] == hashlib.sha256(body).digest()
    assert server.requests[-1].startswith(b"PUT / HTTP/1.1")


def test_credentials_come_from_the_vault(cell, source):
    server = source(plain_answer(b"ok"))
    assert cell.call("PUT", f"/api/cell/v1/participants/{A}/secrets/source-key", {"value": "canary-secret-4711"})[0] in (200, 201, 204)
    token, path = cell.shared_http(A, "http4", server.url, authKey="x-api-key", secretName="source-key")
    assert cell.pull(token, path).status == 200
    assert b"x-api-key: canary-secret-4711" in server.requests[-1].lower()
    for file in cell.folder.rglob("*"):
        if file.is_file():
            assert b"canary-secret-4711" not in file.read_bytes(), file


def test_oauth2_client_credentials(cell, source):
    grants = []

    def token_endpoint(connection, head, buffered):
        length = int(dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])[b"content-length"])
        while len(buffered) < length:
            buffered += connection.recv(65536)
        grants.append(buffered[:length])
        body = b'{"access_token":"granted","token_type":"Bearer","expires_in":3600}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return buffered[length:]
    issuer, server = source(token_endpoint), source(plain_answer(b"ok"))
    assert cell.call("PUT", f"/api/cell/v1/participants/{A}/secrets/client-secret", {"value": "s3cret"})[0] in (200, 201, 204)
    token, path = cell.shared_http(A, "http5", server.url, **{"oauth2:clientId": "me", "oauth2:clientSecretKey": "client-secret",
        "oauth2:tokenUrl": issuer.url + "/token", "oauth2:scope": "read"})
    for _ in range(3):
        assert cell.pull(token, path).status == 200
    assert b"authorization: bearer granted" in server.requests[-1].lower()
    assert b"grant_type=client_credentials" in grants[0] and b"client_secret=s3cret" in grants[0]
    assert len(grants) <= 2, "a granted token is used until it expires"  # one for each of two workers


def test_address_guard_refuses_private_addresses(cell, source):
    server = source(plain_answer(b"inside"))
    ctx = cell.participant("e" * 32, {"celld.http.allow": ""})
    token, path = cell.shared_http(ctx, "inside", server.url)
    response = cell.pull(token, path)
    assert response.status == 502 and not server.requests


FAULTS = {
    "closes at once": (lambda c, h, b: None, {502}, {}),
    "sends garbage": (lambda c, h, b: c.sendall(b"\x00\x01\x02garbage\r\n\r\n"), {502}, {}),
    "two lengths": (lambda c, h, b: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), {502}, {}),
    "length and chunked": (lambda c, h, b: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), {502}, {}),
    "huge head": (lambda c, h, b: c.sendall(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(100000)) + b"\r\n"), {502}, {}),
    "interim flood": (lambda c, h, b: c.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10000), {502}, {}),
    "bad status": (lambda c, h, b: c.sendall(b"HTTP/1.1 999999 X\r\n\r\n"), {502}, {}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_source_faults_before_the_head(cell, source, name):
    behave, statuses, _ = FAULTS[name]
    server = source(behave)
    token, path = cell.shared_http(A, "fault-" + name.replace(" ", "-"), server.url)
    response = cell.pull(token, path, deadline=45)
    assert response.status in statuses, response


BROKEN_BODIES = {
    "shorter than its length": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort",
    "chunk without end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "bad chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0x5\r\nworld\r\n0\r\n\r\n",
    "overflowing chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nfffffffffffffffff\r\nworld\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN_BODIES)
@pytest.mark.parametrize("over", ["h2", "http/1.1"])
def test_a_broken_body_is_never_a_success(cell, source, name, over):
    server = source(lambda connection, head, buffered: connection.sendall(BROKEN_BODIES[name]))
    dataset = f"broken-{name}-{over}".replace(" ", "-").replace("/", "-")
    token, path = cell.shared_http(A, dataset, server.url)
    if over == "h2":
        response = cell.pull(token, path)
        assert response.status == 502 or (response.reset is not None and not response.ended), response
    else:
        answer = h1(cell.clear_port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        complete = b"chunked" in head.lower() and body.endswith(b"0\r\n\r\n")
        if b"content-length" in head.lower() and not head.startswith(b"HTTP/1.1 502"):
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            complete = len(body) == length
        assert head.startswith(b"HTTP/1.1 502") or not complete


def test_one_tenants_leftovers_never_reach_another(cell, source):
    """A source that sends more than it said: the connection is not used again."""
    def behave(connection, head, buffered):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        return buffered
    server = source(behave)
    token, path = cell.shared_http(A, "leftovers", server.url)
    for _ in range(20):
        assert bytes(cell.pull(token, path).body) == b"ok"


def test_slow_consumer_holds_the_source_back(cell, source):
    sent = [0]

    def behave(connection, head, buffered):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        connection.settimeout(3)
        try:
            while sent[0] < 1000000000:
                sent[0] += connection.send(b"z" * 65536)
        except OSError:
            pass
    server = source(behave)
    token, path = cell.shared_http(A, "slow", server.url)
    connection = H2(cell.port, window=65535)
    connection.hold = True
    stream = connection.start(path, headers=[("authorization", f"Bearer {token}")])
    connection.wait(stream, until=lambda response: len(response.body) >= 65535)
    wait_still(lambda: sent[0])
    connection.close()
    assert sent[0] < 24 << 20, "kernel buffers and one block, not the whole body"


def test_host_and_trusted_header_lead_to_the_tenant(cell, small):
    token, _ = small
    header = [("authorization", f"Bearer {token}")]
    with H2(cell.port, authority=f"{A}.vpa.test") as connection:
        assert connection.get("/api/public", headers=header).status == 200
        assert connection.get(f"/api/public/{B}", headers=header).status in (403, 404)
    with H2(cell.port) as connection:  # not a trusted ingress: the header is nobody's
        assert connection.get("/api/public", headers=[*header, ("x-celld-context", A)]).status == 404


def test_proxy_protocol_and_ingress_header(cell, small):
    token, path = small
    import socket, struct
    head = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11" + struct.pack(">H", 12) + socket.inet_aton("198.51.100.7") + socket.inet_aton("192.0.2.1") + struct.pack(">HH", 5555, 443)
    request = f"GET /api/public HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nX-Celld-Context: {A}\r\nConnection: close\r\n\r\n".encode()
    answer = h1(cell.proxy_port, head + request)
    assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
    wait_for(lambda: any(line.get("peer") == "198.51.100.7" for line in cell.log_lines() if line["event"] == "request"), what="the log line")
    assert h1(cell.proxy_port, request) == b""  # no PROXY header: no answer


def test_log_has_no_token_and_names_the_tenant(cell, small):
    token, path = small
    cell.pull(token, path + "?secret=canary-query")
    def logged():
        return [line for line in cell.log_lines() if line["event"] == "request" and line.get("tenant") == A and line.get("status") == 200]
    assert wait_for(logged)
    text = (cell.folder / "cell.log").read_text()
    assert token not in text and "canary-query" not in text


def test_metrics(cell, small):
    cell.pull(*small)
    status, body = cell.admin("/metrics")
    assert status == 200
    assert "# TYPE" in body and "# HELP" in body


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_our_admin_listener_is_no_source(cell, address):
    """Not even for a participant that may reach this machine: metrics and management are no data."""
    assert cell.call("PATCH", f"/api/mgmt/v5beta/participants/{B}/config", {"@type": "ParticipantContextConfig",
        "entries": {"celld.http.allow": "127.0.0.0/8,0.0.0.0/32,::1/128"}, "privateEntries": {}, "identity": B})[0] in (200, 204)
    token, path = cell.shared_http(B, f"admin-{address}", f"http://{address}:{cell.admin_port}/metrics")
    response = cell.pull(token, path)
    assert response.status == 502 and b"celld_" not in response.body, response
