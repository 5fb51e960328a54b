"""What a connection is let in with: client certificates, the name TLS was opened for, PROXY headers, tickets."""
import signal
import socket
import ssl
import struct

import pytest

from conftest import A, free_port, make_certificate, plain_answer, wait_for
from wire import H2, connect, h1


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A cell with a listener for each way to ask for client certificates."""
    from conftest import Cell
    folder = tmp_path_factory.mktemp("guarded")
    authority = make_certificate(folder, "authority", "authority", san="DNS:authority")
    cell = Cell(folder, workers=2)
    cell.ports = {}
    for wanted in ("optional", "required"):
        cell.ports[wanted] = free_port()
        cell.config["server"]["listeners"].append({"address": "127.0.0.1", "port": cell.ports[wanted], "protocol": "tls", "client_certificates": wanted})
    cell.config["server"]["client_ca_file"] = str(authority[0])
    cell.client = make_certificate(folder, "client", "client", authority, "URI:spiffe://cell.test/ingress")
    cell.named = make_certificate(folder, "named", "named client", authority, "DNS:client.test")
    cell.stranger = make_certificate(folder, "stranger", "client", san="URI:spiffe://cell.test/ingress")
    cell.start()
    try:
        cell.participant(A)
        cell.small = cell.shared_file(A, "small.txt", b"small")
        yield cell
    finally:
        cell.stop()


def pulls(cell, port, certificate):
    """The status, or None when the connection was refused. TLS 1.3 tells a client only after its handshake."""
    token, path = cell.small
    try:
        with H2(port, certificate=certificate) as connection:
            return connection.get(path, headers=[("authorization", f"Bearer {token}")]).status
    except (ssl.SSLError, ConnectionError):
        return None


@pytest.mark.parametrize("wanted,which,status", [
    ("optional", None, 200), ("optional", "client", 200), ("optional", "stranger", None),
    ("required", None, None), ("required", "client", 200), ("required", "named", 200), ("required", "stranger", None),
])
def test_client_certificates(guarded, wanted, which, status):
    assert pulls(guarded, guarded.ports[wanted], which and getattr(guarded, which)) == status


def test_the_log_names_the_client(guarded):
    for which, name in (("client", "spiffe://cell.test/ingress"), ("named", "named client")):
        assert pulls(guarded, guarded.ports["required"], getattr(guarded, which)) == 200
        wait_for(lambda: any(line.get("client") == name for line in guarded.log_lines() if line["event"] == "request"), what="the log line")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_is_no_client_certificate(guarded, version):
    """A session of a listener that asked for no certificate does not open one that requires it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["http/1.1"])

    def ask(port, session):
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30), server_hostname="localhost", session=session) as secure:
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = secure.recv(1000)
            return answer, secure.session, secure.session_reused
    answer, session, _ = ask(guarded.port, None)
    assert answer.startswith(b"HTTP/1.1 404")
    answer, _, resumed = ask(guarded.port, session)
    assert resumed and answer.startswith(b"HTTP/1.1 404")
    try:
        answer, _, resumed = ask(guarded.ports["required"], session)
    except (ssl.SSLError, ConnectionError):
        return
    assert answer == b"" and not resumed


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_connection_that_slept_goes_on(own_cell, version):
    """Over h2 and HTTP/1.1, again and again; asleep it hears of the end of the cell, and its own end is seen."""
    cell = own_cell(workers=1, settings={"limits": {"sleep_ms": 1}}).start()
    cell.participant(A)
    token, path = cell.shared_file(A, "large.bin", b"0123456789" * 30000)
    asleep = lambda count: wait_for(lambda: cell.metric("celld_connections_asleep") == count, 30, f"{count} asleep")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["http/1.1"])
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    with H2(cell.port, authority="localhost") as connection, context.wrap_socket(socket.create_connection(("127.0.0.1", cell.port), timeout=30), server_hostname="localhost") as secure:
        for _ in range(3):
            assert len(connection.get(path, headers=[("authorization", f"Bearer {token}")]).body) == 300000
            secure.sendall(request)
            with secure.makefile("rb") as answer:
                while answer.readline().strip():
                    pass
                assert len(answer.read(300000)) == 300000
            asleep(2)
        connection.h2.ping(b"12345678")
        connection.flush()
        assert connection.pump(5)
        asleep(2)
        secure.close()
        asleep(1)
        cell.process.send_signal(signal.SIGTERM)
        while connection.goaway is None and not connection.closed:
            assert connection.pump(10)
        assert connection.goaway == 0


def test_another_name_than_the_connections_is_misdirected(guarded):
    token, path = guarded.small
    header = [("authorization", f"Bearer {token}")]
    with H2(guarded.port, authority="localhost") as connection:
        assert connection.get(path, headers=header, authority="other.test").status == 421
        assert connection.get(path, headers=header, authority="LOCALHOST:443").status == 200
        assert connection.get("/api/public", headers=header, authority=f"{A}.vpa.test").status == 421
    with H2(guarded.port, authority=f"{A}.vpa.test") as connection:
        assert connection.get("/api/public", headers=header).status == 200
    answer = h1(guarded.port, f"GET {path} HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n".encode(), tls=True)
    assert answer.startswith(b"HTTP/1.1 421")


def test_a_created_participant_is_not_served_yet(guarded):
    ctx = guarded.participant("c" * 32, state="CREATED")
    token, path = guarded.shared_file(ctx, "early.txt", b"early")
    created, unknown = guarded.pull(token, path), guarded.pull(token, f"/api/public/{'9' * 32}")
    assert created.status == unknown.status == 404 and bytes(created.body) == bytes(unknown.body)
    assert guarded.call("PUT", f"/api/mgmt/v5beta/participants/{ctx}", {"state": "ACTIVATED"})[0] == 204
    assert bytes(guarded.pull(token, path).body) == b"early"


PROXY = b"\r\n\r\n\x00\r\nQUIT\n"


@pytest.mark.parametrize("head,peer", [
    (PROXY + b"\x21\x21" + struct.pack(">H", 36) + socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + struct.pack(">HH", 5555, 443), "2001:db8::7"),
    (PROXY + b"\x21\x11" + struct.pack(">H", 17) + socket.inet_aton("198.51.100.9") * 2 + struct.pack(">HH", 1, 2) + b"\x04\x00\x02ab", "198.51.100.9"),
    (PROXY + b"\x20\x00\x00\x00", "127.0.0.1"),
    (b"PROXY TCP4 198.51.100.7 192.0.2.1 5555 443\r\n", None),
    (PROXY + b"\x31\x11" + struct.pack(">H", 12) + b"\0" * 12, None),
    (PROXY + b"\x21\x11" + struct.pack(">H", 11) + b"\0" * 11, None),
], ids=["v6", "with more", "local", "version 1", "version 3", "too short"])
def test_proxy_headers(guarded, head, peer):
    answer = h1(guarded.proxy_port, head + b"GET /proxied HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404") if peer else answer == b""
    if peer:
        wait_for(lambda: any(line.get("peer") == peer and line["path"] == "/proxied" for line in guarded.log_lines() if line["event"] == "request"), what="the log line")


def test_trailers_of_a_source_reach_the_consumer(guarded, source):
    """Over HTTP/2 and HTTP/1.1; none that frames, routes or vouches."""
    server = source(lambda connection, head, buffered: connection.sendall(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum:  42 \r\nConnection: close\r\nSet-Cookie: a=b\r\nContent-Length: 7\r\n\r\n"))
    token, path = guarded.shared_http(A, "trailers", server.url)
    response = guarded.pull(token, path)
    assert bytes(response.body) == b"hello" and response.ended
    assert response.trailers == [("x-sum", "42")]
    answer = h1(guarded.clear_port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n".encode())
    assert answer.endswith(b"5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n")


def test_trailers_cut_short_are_no_clean_end(guarded, source):
    server = source(lambda connection, head, buffered: connection.sendall(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n"))
    token, path = guarded.shared_http(A, "cut-trailers", server.url)
    response = guarded.pull(token, path)
    assert not response.ended and response.reset is not None


def test_expect_100_continue(guarded, source):
    """Asked for when the source is ready for the body; a refusal comes without it."""
    server = source(plain_answer(b"taken"))
    token, path = guarded.shared_http(A, "expecting", server.url, proxyMethod="true", proxyBody="true")
    _, other = guarded.small
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n".encode()
    with connect(guarded.port, alpn=("http/1.1",)) as connection:
        connection.sendall(head)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 100")
        connection.sendall(b"hello")
        while chunk := connection.recv(1000):
            answer += chunk
        assert b"HTTP/1.1 200" in answer and answer.endswith(b"taken")
    refused = h1(guarded.port, head.replace(token.encode(), b"x.y.z"), tls=True, deadline=3)
    assert refused.startswith(b"HTTP/1.1 401") and b"100 Continue" not in refused
