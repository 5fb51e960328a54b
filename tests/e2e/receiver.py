"""A receiver of pushes, strict about what it is sent, with faults on order."""
import socket
import threading
import time

REASONS = {200: "OK", 204: "No Content", 308: "Permanent Redirect", 401: "Unauthorized", 404: "Not Found", 409: "Conflict", 413: "Content Too Large", 507: "Insufficient Storage",
    500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable"}


class Receiver:
    """Stores by path. `resumable`: takes segments and tells offsets; else one body a request. `before_body(path, head)` may
    return a status to answer with, or None; `on_bytes(received)` is called with each piece and may raise ConnectionError to cut."""

    def __init__(self, resumable=True, token=None, partial=True):
        self.resumable, self.token, self.partial = resumable, token, partial
        self.stored, self.whole, self.requests, self.errors = {}, {}, [], []
        self.received = 0
        self.last_byte = 0.0
        self.before_body = lambda path, head: None
        self.on_bytes = lambda total: None
        self.window = 1 << 16
        self.port = 0
        self.open = set()
        self.lock = threading.Lock()
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/in"

    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64, reuse_port=True)
        self.port = self.listener.getsockname()[1]
        self.running = True
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        self.running = False
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept(self, listener):
        while self.running:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.open.add(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        buffered = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffered:
                    data = connection.recv(65536)
                    if not data:
                        return
                    buffered += data
                head, _, buffered = buffered.partition(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split(" ")
                fields = {}
                for line in lines[1:]:
                    name, _, value = line.partition(": ")
                    fields[name.lower()] = value
                self.requests.append((method, path, fields))
                buffered = self.answer(connection, method, path, fields, buffered)
                if buffered is None:
                    return
        except OSError:
            pass
        except Exception as error:  # shown by the test, not lost in a thread
            self.errors.append(error)
        finally:
            self.open.discard(connection)
            connection.close()

    def reply(self, connection, status, headers=(), body=b""):
        text = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Length: {len(body)}\r\n"
        text += "".join(f"{name}: {value}\r\n" for name, value in headers)
        connection.sendall(text.encode() + b"\r\n" + body)

    def pieces(self, connection, fields, buffered):
        """Yields the body's pieces; returns what follows it."""
        if fields.get("transfer-encoding") == "chunked":
            while True:
                while b"\r\n" not in buffered:
                    buffered += self.take(connection)
                size, _, buffered = buffered.partition(b"\r\n")
                left = int(size, 16) + 2
                while len(buffered) < left:
                    buffered += self.take(connection)
                yield buffered[:left - 2]
                buffered = buffered[left:]
                if left == 2:
                    return buffered
        left = int(fields.get("content-length", "0"))
        while left:
            if not buffered:
                buffered = self.take(connection)
            piece, buffered = buffered[:left], buffered[left:]
            left -= len(piece)
            yield piece
        return buffered

    def take(self, connection):
        data = connection.recv(self.window)
        if not data:
            raise ConnectionError("cut by the sender")
        return data

    def answer(self, connection, method, path, fields, buffered):
        if self.token is not None:
            assert fields.get("authorization") == f"Bearer {self.token}", fields
        with self.lock:
            stored = self.stored.setdefault(path, bytearray())
        if method == "HEAD":
            if not self.resumable:
                self.reply(connection, 501)
            else:
                connection.sendall(f"HTTP/1.1 204 No Content\r\nUpload-Offset: {len(stored)}\r\n\r\n".encode())
            return buffered
        status = self.before_body(path, fields)
        if status is not None:
            self.reply(connection, status)
            connection.shutdown(socket.SHUT_WR)  # what comes is read, so that no reset overtakes the answer
            connection.settimeout(2)
            while connection.recv(65536):
                pass
            return None
        assert method in ("PUT", "POST"), method
        total = None
        if "content-range" in fields:
            unit, _, rest = fields["content-range"].partition(" ")
            span, _, total = rest.partition("/")
            first, last = (int(part) for part in span.split("-"))
            total = int(total)
            assert unit == "bytes" and last - first + 1 == int(fields["content-length"]) and last < total
            if first != len(stored):
                if first != 0:
                    self.reply(connection, 409, [("Upload-Offset", len(stored))])
                    return None
                stored.clear()
        else:
            stored.clear()
        kept = len(stored)
        pieces = self.pieces(connection, fields, buffered)
        try:
            while True:
                piece = next(pieces)
                stored += piece
                self.received += len(piece)
                self.last_byte = time.monotonic()
                self.on_bytes(self.received)
        except StopIteration as end:
            buffered = end.value
        except OSError:
            if not self.partial or total is None:
                del stored[kept:]
            raise
        if total is None or len(stored) == total:
            self.whole[path] = bytes(stored)
        self.reply(connection, 200)
        return buffered
