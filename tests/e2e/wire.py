"""The tests' side of the wire: a small HTTP/2 client on python3-h2, and a raw one that sends any frame."""
import select
import socket
import ssl
import time

import h2.config
import h2.connection
import h2.events
import h2.settings
from hpack import Encoder
from hyperframe import frame as frames

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def connect(port, tls=True, alpn=("h2",), authority="localhost", timeout=30, host="127.0.0.1", certificate=None):
    plain = socket.create_connection((host, port), timeout=timeout)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not tls:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(alpn))
    if certificate:
        context.load_cert_chain(*certificate)
    return context.wrap_socket(plain, server_hostname=authority)


def is_readable(connection, timeout):
    """Like select, for any descriptor number."""
    if getattr(connection, "pending", lambda: 0)():
        return True
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(max(0, timeout) * 1000))


class Response:
    def __init__(self):
        self.status = None
        self.headers = []
        self.body = bytearray()
        self.trailers = []
        self.ended = False
        self.reset = None

    def header(self, name, default=None):
        return next((value for key, value in self.headers if key == name), default)

    def __repr__(self):
        return f"<{self.status} {len(self.body)} bytes ended={self.ended} reset={self.reset} {bytes(self.body[:200])!r}>"


class H2:
    """One connection; responses by stream. Windows are opened as data arrives unless `hold` is set."""

    def __init__(self, port, tls=True, authority="localhost", window=1 << 20, validate=True, frame=16384, **arguments):
        self.socket = connect(port, tls, authority=authority, **arguments)
        self.scheme = "https" if tls else "http"
        self.authority = authority
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8",
            validate_outbound_headers=validate, normalize_outbound_headers=validate)
        self.h2 = h2.connection.H2Connection(config)
        # set before the preface, so that both sides count from the same window
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values={
            h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window, h2.settings.SettingCodes.ENABLE_PUSH: 0,
            h2.settings.SettingCodes.MAX_FRAME_SIZE: frame})
        self.h2.max_inbound_frame_size = frame
        self.largest = 0  # DATA frame so far
        self.h2.initiate_connection()
        if window > 65535:
            self.h2.increment_flow_control_window(window - 65535)
        self.responses = {}
        self.hold = False
        self.goaway = None
        self.closed = False
        # the library would refuse what still comes for streams that a GOAWAY lets finish
        self.h2._frame_dispatch_table[frames.GoAwayFrame] = self.on_goaway
        self.flush()

    def on_goaway(self, frame):
        self.goaway = frame.error_code
        return [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()
        self.closed = True

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.socket.sendall(data)

    def start(self, path, method="GET", headers=(), end=True, authority=None):
        stream = self.h2.get_next_available_stream_id()
        self.responses[stream] = Response()
        self.h2.send_headers(stream, [(":method", method), (":scheme", self.scheme), (":authority", authority or self.authority),
            (":path", path), *headers], end_stream=end)
        self.flush()
        return stream

    def send(self, stream, data, end=False, deadline=30):
        """Sends a body as the windows allow."""
        until = time.monotonic() + deadline
        view = memoryview(data)
        while len(view):
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(view))
            if room > 0:
                self.h2.send_data(stream, bytes(view[:room]))
                view = view[room:]
                self.flush()
            elif not self.pump(until - time.monotonic()):
                raise TimeoutError(f"the window stayed shut with {len(view)} bytes left")
            if self.responses[stream].ended or self.responses[stream].reset is not None:
                return len(data) - len(view)
        if end:
            self.h2.end_stream(stream)
            self.flush()
        return len(data)

    def pump(self, timeout):
        """Reads once; False when nothing came in time."""
        if not is_readable(self.socket, timeout):
            return False
        try:
            data = self.socket.recv(1 << 18)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if not data:
            self.closed = True
            for response in self.responses.values():
                if not response.ended and response.reset is None:
                    response.reset = "closed"
            return True
        for event in self.h2.receive_data(data):
            self.on_event(event)
        try:
            self.flush()
        except (ConnectionError, ssl.SSLError):
            self.closed = True
        return True

    def on_event(self, event):
        response = self.responses.get(getattr(event, "stream_id", None))
        if response is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            response.headers = event.headers
            response.status = int(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.DataReceived):
            response.body += event.data
            self.largest = max(self.largest, len(event.data))
            response.last = time.monotonic()
            if not self.hold and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            response.trailers = event.headers
        elif isinstance(event, h2.events.StreamEnded):
            response.ended = True
        elif isinstance(event, h2.events.StreamReset):
            response.reset = event.error_code

    def wait(self, stream, deadline=30, until=None):
        """Until the response is over, or until(response)."""
        response = self.responses[stream]
        end = time.monotonic() + deadline
        while not (response.ended or response.reset is not None or (until and until(response))):
            if not self.pump(end - time.monotonic()):
                raise TimeoutError(f"no end of stream {stream}: {response}")
        return response

    def get(self, path, method="GET", headers=(), body=None, authority=None, deadline=30):
        stream = self.start(path, method, headers, end=body is None, authority=authority)
        if body is not None:
            self.send(stream, body, end=True, deadline=deadline)
        return self.wait(stream, deadline)


class Raw:
    """Frames as given; reads what comes back."""

    def __init__(self, port, tls=True, preface=True, settings=None, **arguments):
        self.socket = connect(port, tls, **arguments)
        self.encoder = Encoder()
        self.buffer = b""
        self.closed = False
        self.scheme = "https" if tls else "http"
        if preface:
            self.raw(PREFACE + frames.SettingsFrame(0, settings=settings or {}).serialize())

    def raw(self, data):
        """False when the peer has gone."""
        try:
            self.socket.sendall(data)
            return True
        except (ConnectionError, ssl.SSLError, socket.timeout):
            self.closed = True
            return False

    def head(self, path="/", method="GET", extra=(), authority="localhost"):
        return self.encoder.encode([(":method", method), (":scheme", self.scheme), (":authority", authority), (":path", path), *extra])

    def headers(self, stream, path="/", end=True, **arguments):
        frame = frames.HeadersFrame(stream, self.head(path, **arguments), flags=["END_HEADERS"] + (["END_STREAM"] if end else []))
        return frame.serialize()

    def read(self, timeout=0.0):
        """Frames that have come, as (type, flags, stream, payload); notes the end."""
        found = []
        while True:
            if not is_readable(self.socket, timeout):
                break
            try:
                data = self.socket.recv(1 << 18)
            except (ConnectionError, ssl.SSLError):
                data = b""
            if not data:
                self.closed = True
                break
            self.buffer += data
            timeout = 0
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            found.append((self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF, self.buffer[9:9 + length]))
            self.buffer = self.buffer[9 + length:]
        return found

    def read_until_closed(self, deadline):
        """All frames until the peer closes; fails after `deadline` seconds."""
        end = time.monotonic() + deadline
        found = []
        while not self.closed:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"the connection is still open after {deadline} s")
            found += self.read(left)
        return found

    def close(self):
        self.socket.close()


def h1(port, request, tls=False, deadline=10, alpn=("http/1.1",)):
    """Sends bytes, reads until the peer closes or is silent for `deadline`."""
    connection = connect(port, tls, alpn=alpn, timeout=deadline)
    connection.sendall(request)
    answer = b""
    try:
        while True:
            data = connection.recv(1 << 16)
            if not data:
                break
            answer += data
    except (socket.timeout, ConnectionError):
        pass
    connection.close()
    return answer
