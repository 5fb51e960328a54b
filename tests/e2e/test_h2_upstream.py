"""HTTP sources that speak HTTP/2: one connection for many pulls, and what may go wrong on it."""
import concurrent.futures
import hashlib
import os
import socket
import ssl
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import pytest

from conftest import A, Cell, make_certificate, wait_for
from wire import H2

BODY = os.urandom(1 << 20) * 8


class Upstream:
    """HTTP/2 over TLS; the path says how it behaves."""

    def __init__(self, certificate, streams=100):
        self.certificate, self.key = certificate
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, self.key)
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.streams, self.connections = streams, 0
        self.resets, self.uploads, self.seen = [], {}, set()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"https://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                plain, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def serve(self, plain):
        try:
            with self.context.wrap_socket(plain, server_side=True) as wire:
                assert wire.selected_alpn_protocol() == "h2"
                self.connections += 1
                self.run(wire)
        except (OSError, h2.exceptions.ProtocolError, ssl.SSLError):
            pass

    def run(self, wire):
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, validate_outbound_headers=False))
        connection.local_settings = h2.settings.Settings(client=False, initial_values={
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.streams})
        connection.initiate_connection()
        bodies, paths = {}, {}
        while True:
            wire.sendall(connection.data_to_send())
            data = wire.recv(65536)
            if not data:
                return
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    path = paths[event.stream_id] = dict(event.headers)[b":path"].decode()
                    if not path.startswith("/upload") and self.answer(connection, event.stream_id, path, bodies, wire):
                        return
                elif isinstance(event, h2.events.DataReceived):
                    self.uploads.setdefault(paths[event.stream_id], hashlib.sha256()).update(event.data)
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded) and paths[event.stream_id].startswith("/upload"):
                    digest = self.uploads[paths[event.stream_id]].hexdigest().encode()
                    self.begin(connection, event.stream_id, len(digest), bodies, digest)
                elif isinstance(event, h2.events.StreamReset):
                    self.resets.append(paths.get(event.stream_id))
                    bodies.pop(event.stream_id, None)
            for stream in list(bodies):
                self.send(connection, stream, bodies)

    def begin(self, connection, stream, length, bodies, body):
        connection.send_headers(stream, [(":status", "200"), ("content-length", str(length)), ("x-over", "h2")])
        bodies[stream] = memoryview(body)

    def answer(self, connection, stream, path, bodies, wire):
        name = path.split("/")[1].split("?")[0]
        first = path not in self.seen
        self.seen.add(path)
        if name == "refuse" and first:
            connection.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        elif name == "goaway" and first:
            connection.close_connection(last_stream_id=0)
            wire.sendall(connection.data_to_send())
            return True
        elif name == "reset":
            connection.send_headers(stream, [(":status", "200"), ("content-length", "1000")])
            connection.send_data(stream, b"x" * 500)
            connection.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        elif name == "short":
            connection.send_headers(stream, [(":status", "200"), ("content-length", "1000")])
            connection.send_data(stream, b"x" * 500, end_stream=True)
        elif name == "flood":
            for _ in range(3000):
                connection.ping(b"12345678")
        elif name == "heads":
            connection.send_headers(stream, [(":status", "200")] + [(f"x-{i}", "y" * 50) for i in range(300)], end_stream=True)
        elif name == "trailers":
            connection.send_headers(stream, [(":status", "200")])
            connection.send_data(stream, b"hello")
            connection.send_headers(stream, [("x-sum", "42"), ("set-cookie", "a=b"), ("x-empty", "")], end_stream=True)
        elif name == "interim":
            connection.send_headers(stream, [(":status", "103"), ("link", "x")])
            self.begin(connection, stream, 7, bodies, b"interim")
        else:
            self.begin(connection, stream, len(BODY) if name == "big" else 5, bodies, BODY if name == "big" else b"small")
        return False

    def send(self, connection, stream, bodies):
        while stream in bodies:
            room = min(connection.local_flow_control_window(stream), 16384, len(bodies[stream]))
            if room == 0:
                return
            connection.send_data(stream, bodies[stream][:room].tobytes())
            bodies[stream] = bodies[stream][room:]
            if not bodies[stream]:
                connection.end_stream(stream)
                del bodies[stream]

    def close(self):
        self.socket.close()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    server = Upstream(make_certificate(tmp_path_factory.mktemp("upstream"), "upstream"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def cell(tmp_path_factory, upstream):
    made = Cell(tmp_path_factory.mktemp("cell"), workers=1, settings={"client": {"ca_file": str(upstream.certificate)}})
    made.start()
    made.participant(A)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shared(cell, upstream):
    return cell.shared_http(A, "h2", upstream.url, proxyPath="true", proxyMethod="true", proxyBody="true")


def pull(cell, shared, path, **arguments):
    token, base = shared
    return cell.pull(token, base + path, **arguments)


def test_large_body_arrives_whole(cell, shared):
    response = pull(cell, shared, "/big")
    assert response.status == 200 and response.ended and response.header("x-over") == "h2"
    assert hashlib.sha256(response.body).digest() == hashlib.sha256(BODY).digest()


def test_many_pulls_share_one_connection(cell, shared, upstream):
    before = upstream.connections
    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda i: pull(cell, shared, f"/s{i}"), range(100)))
    assert all(bytes(answer.body) == b"small" and answer.ended for answer in answers)
    assert upstream.connections - before <= 1


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("how", ["refuse", "goaway"])
def test_what_was_not_processed_is_tried_again(cell, shared, how, method):
    response = pull(cell, shared, f"/{how}/{method}", method=method)
    assert response.status == 200 and bytes(response.body) == b"small"


@pytest.mark.parametrize("how", ["reset", "short"])
def test_a_cut_body_is_never_a_success(cell, shared, how):
    response = pull(cell, shared, f"/{how}")
    assert response.status >= 500 or not response.ended
    assert bytes(pull(cell, shared, "/after").body) == b"small"


@pytest.mark.parametrize("how", ["flood", "heads"])
def test_hostile_upstream_is_refused(cell, shared, how):
    assert pull(cell, shared, f"/{how}").status == 502
    assert bytes(pull(cell, shared, "/after").body) == b"small"


def test_interim_answers_are_skipped(cell, shared):
    assert bytes(pull(cell, shared, "/interim").body) == b"interim"


def test_slow_reader_stops_only_itself(cell, shared, upstream):
    token, base = shared
    with H2(cell.port, window=1 << 16) as slow:
        stream = slow.start(base + "/big", headers=[("authorization", f"Bearer {token}")])
        slow.wait(stream, until=lambda response: response.status)
        before = upstream.connections
        for i in range(3):
            assert hashlib.sha256(pull(cell, shared, "/big").body).digest() == hashlib.sha256(BODY).digest()
        assert upstream.connections == before


def test_upload_arrives_whole(cell, shared):
    body = os.urandom(3 << 20)
    response = pull(cell, shared, "/upload/1", method="POST", body=body)
    assert bytes(response.body).decode() == hashlib.sha256(body).hexdigest()


def test_cancelled_pull_resets_its_stream_alone(cell, shared, upstream):
    token, base = shared
    with H2(cell.port, window=1 << 16) as gone:
        stream = gone.start(base + "/big?gone", headers=[("authorization", f"Bearer {token}")])
        gone.wait(stream, until=lambda response: response.status)
    wait_for(lambda: any(path and path.startswith("/big") for path in upstream.resets), what="the reset")
    before = upstream.connections
    assert bytes(pull(cell, shared, "/after").body) == b"small"
    assert upstream.connections == before


def test_full_connections_make_another(cell, upstream):
    narrow = Upstream((upstream.certificate, upstream.key), streams=2)
    token, base = cell.shared_http(A, "narrow", narrow.url, proxyPath="true")
    readers = []
    for i in range(5):
        reader = H2(cell.port, window=1 << 16)
        stream = reader.start(f"{base}/big?{i}", headers=[("authorization", f"Bearer {token}")])
        assert reader.wait(stream, until=lambda response: response.status).status == 200
        readers.append(reader)
    assert narrow.connections == 3
    for reader in readers:
        reader.close()
    narrow.close()


def test_trailers_reach_the_consumer(cell, upstream):
    token, path = cell.shared_http(A, "trailers", f"{upstream.url}/trailers")
    response = cell.pull(token, path)
    assert response.status == 200 and bytes(response.body) == b"hello" and response.ended
    assert response.trailers == [("x-sum", "42"), ("x-empty", "")]
