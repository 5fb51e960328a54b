"""The other side of Data Plane Signaling, over real sockets: the control plane with its callbacks, the consumer with its DID
and keys, and the calls to a cell."""
import collections
import http.client
import http.server
import json
import re
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from base64url import encode
from conftest import wait_for

STATES = "INITIALIZED PREPARING PREPARED STARTING STARTED COMPLETED SUSPENDED TERMINATED".split()
ABSENT = object()
HTTP_PULL = "https://w3id.org/dspace-sig/profile/http-pull"
HTTP_PUSH = "https://w3id.org/dspace-sig/profile/http-push"
Answer = collections.namedtuple("Answer", "status headers body")
Callback = collections.namedtuple("Callback", "process operation message headers at status")


def random_id():
    return str(uuid.uuid4())


def changed(message, changes):
    """The message with members replaced; ABSENT takes one away."""
    return {name: value for name, value in {**message, **changes}.items() if value is not ABSENT}


# --- keys and tokens

class Key:
    """A P-256 key that signs JWTs."""

    def __init__(self, kid):
        self.kid = kid
        self.private = ec.generate_private_key(ec.SECP256R1())

    def jwk(self):
        numbers = self.private.public_key().public_numbers()
        return {"kty": "EC", "crv": "P-256", "x": encode(numbers.x.to_bytes(32, "big")), "y": encode(numbers.y.to_bytes(32, "big")),
            "kid": self.kid, "use": "sig"}

    def sign(self, claims, **header):
        text = encode(changed({"alg": "ES256", "typ": "JWT", "kid": self.kid}, header)) + "." + encode(claims)
        r, s = decode_dss_signature(self.private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return text + "." + encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


# --- what a data plane may send

def check_address(address):
    """The mandatory serialization of a DataAddress."""
    assert address["@type"] == "DataAddress" and isinstance(address["endpointType"], str), address
    assert "endpointProperties" not in address or address["endpointProperties"], address
    for one in address.get("endpointProperties", ()):
        assert one["@type"] == "EndpointProperty" and isinstance(one["name"], str) and isinstance(one["value"], str), address


def check_status_message(message):
    """DataFlowStatusMessage, to the letter: members that are there have a value."""
    assert isinstance(message, dict) and None not in message.values(), message
    assert all(isinstance(message[name], str) and message[name] for name in ("messageId", "dataFlowId", "state")), message
    assert message["state"] in STATES, message
    if "dataAddress" in message:
        check_address(message["dataAddress"])
    assert isinstance(message.get("error", ""), str), message


def address_properties(address):
    return {one["name"]: one["value"] for one in address.get("endpointProperties", ())}


# --- the control plane

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass  # the peer has gone


class ControlPlane:
    """Takes callbacks, and publishes a DID document with the consumer's key and a JWK set with the control plane's.

    A callback is taken once, when it is expected; any other is answered 404, a wrong message 400. `answer`, when it is set,
    decides instead: a function of (process, operation, message) that gives the status.

    `agreements`: by process, what it answers when it is asked for the agreement: (status, body), or a function that gives them."""

    def __init__(self):
        self.lock = threading.Lock()
        self.callbacks = []
        self.requests = []
        self.expected = set()
        self.answer = None
        self.agreements = {}
        self.asked = []
        self.routes = {}
        self.server = None
        self.port = 0
        self.start()
        self.url = f"http://localhost:{self.port}"
        self.did = f"did:web:localhost%3A{self.port}"
        self.key = Key("control-plane-1")
        self.renew_consumer_key()

    def start(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                body = self.read_body()
                with outer.lock:
                    outer.requests.append((self.command, self.path))
                found = re.fullmatch(r"/transfers/([^/]+)/dataflow/([a-z]+)", self.path)
                if self.command == "POST" and found:
                    self.say(outer.on_callback(urllib.parse.unquote(found[1]), found[2], body, self.headers))
                elif self.command == "GET" and (found := re.fullmatch(r"/transfers/([^/]+)/agreement", self.path)):
                    self.say(*outer.on_question(urllib.parse.unquote(found[1]), self.headers))
                elif self.path in outer.routes:
                    self.say(*outer.routes[self.path](body, dict(self.headers)))
                else:
                    self.say(404)

            do_GET = do_POST = do_PUT = handle_one

            def read_body(self):
                if "chunked" not in self.headers.get("transfer-encoding", ""):
                    return self.rfile.read(int(self.headers.get("content-length", 0)))
                whole = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    whole += self.rfile.read(size)
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass
                return whole

            def say(self, status, answer=b""):
                """No content type, and chunks even for nothing: a data plane has to live with both."""
                self.send_response_only(status)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.wfile.write((b"%x\r\n%s\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n")

            def log_message(self, *_):
                pass
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        """Nobody listens any more; start() listens at the same port again."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def renew_consumer_key(self):
        """A new key in the DID document; the old one is gone from it."""
        self.consumer_key = Key(f"{self.did}#{random_id()}")
        self.routes["/.well-known/did.json"] = lambda body, headers: (200, {"@context": ["https://www.w3.org/ns/did/v1"],
            "id": self.did, "verificationMethod": [{"id": self.consumer_key.kid, "type": "JsonWebKey2020",
            "controller": self.did, "publicKeyJwk": self.consumer_key.jwk()}], "authentication": [self.consumer_key.kid]})
        self.routes["/jwks.json"] = lambda body, headers: (200, {"keys": [self.key.jwk()]})

    def on_callback(self, process, operation, body, headers):
        try:
            message = json.loads(body)
            check_status_message(message)
        except (ValueError, KeyError, AssertionError):
            message, status = body, 400
        else:
            with self.lock:
                if self.answer:
                    status = self.answer(process, operation, message)
                else:
                    status = 200 if (process, operation) in self.expected else 404
                    self.expected.discard((process, operation))
        with self.lock:
            self.callbacks.append(Callback(process, operation, message, headers, time.monotonic(), status))
        return status

    def on_question(self, process, headers):
        with self.lock:
            self.asked.append((process, headers))
            answer = self.agreements.get(process, (404,))
        return answer() if callable(answer) else answer

    def questions(self, process):
        """The headers of each."""
        with self.lock:
            return [headers for one, headers in self.asked if one == process]

    def expect(self, process, operation):
        with self.lock:
            self.expected.add((process, operation))

    def of(self, process, status=None):
        """Callbacks of one process, in the order they came."""
        with self.lock:
            return [one for one in self.callbacks if one.process == process and status in (None, one.status)]

    def taken(self, process):
        return [one.operation for one in self.of(process, 200)]

    def wait_taken(self, process, operations, deadline=30):
        try:
            wait_for(lambda: self.taken(process) == operations, deadline)
        except TimeoutError:
            raise TimeoutError(f"callbacks taken of {process}: {self.taken(process)}, not {operations}; all: {self.of(process)}") from None

    def client_token(self, audience, access_token, **changes):
        """What a consumer proves itself with when it renews."""
        now = int(time.time())
        return self.consumer_key.sign(changed({"iss": self.did, "sub": self.did, "aud": audience, "token": access_token,
            "jti": random_id(), "iat": now, "exp": now + 600}, changes))


# --- the calls to a cell

class Signaling:
    """One tenant's signaling as its control plane calls it: HTTP/1.1, a new connection for each call."""

    def __init__(self, cell, ctx, identity, token=None):
        self.cell, self.ctx, self.identity, self.token = cell, ctx, identity, token

    def call(self, method, path, body=None, token=ABSENT, headers=None):
        """token None: no Authorization."""
        token = self.token if token is ABSENT else token
        headers = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.cell.clear_port, timeout=60)
        try:
            connection.request(method, f"/api/v1/{self.ctx}{path}", data, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        try:
            return Answer(response.status, response.headers, json.loads(text) if text else None)
        except ValueError:
            return Answer(response.status, response.headers, text)

    def message(self, process, profile, counter_party="did:web:consumer.example", **changes):
        """DataFlowPrepareMessage, or DataFlowStartMessage."""
        return changed({"messageId": random_id(), "participantId": self.identity, "counterPartyId": counter_party,
            "dataspaceContext": "tck-dataspace", "processId": process, "agreementId": random_id(), "datasetId": random_id(),
            "profile": profile, "claims": {}}, changes)

    def prepare(self, process, profile="http-pull", token=ABSENT, **changes):
        return self.call("POST", "/dataflows/prepare", self.message(process, profile, **changes), token)

    def start(self, process, profile="http-pull", token=ABSENT, **changes):
        return self.call("POST", "/dataflows/start", self.message(process, profile, **changes), token)

    def move(self, flow, verb, token=ABSENT, **changes):
        """started, suspend, resume, terminate, completed."""
        return self.call("POST", f"/dataflows/{flow}/{verb}", changed({"messageId": random_id()}, changes), token)

    def state(self, flow):
        answer = self.call("GET", f"/dataflows/{flow}/status")
        assert answer.status == 200 and answer.body["dataFlowId"] == flow and None not in answer.body.values(), answer
        return answer.body["state"]

    def wait_state(self, flow, state, deadline=30):
        wait_for(lambda: self.state(flow) == state, deadline, f"state {state} of {flow}")

    def register(self, name, endpoint, token=ABSENT, **changes):
        return self.call("PUT", "/controlplanes", changed({"controlplaneId": name, "endpoint": endpoint, "authorization": {}}, changes),
            token)


def renew(endpoint, refresh_token, client_token):
    """A token renewal, as a consumer asks for it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(endpoint, urllib.parse.urlencode({"grant_type": "refresh_token",
        "refresh_token": refresh_token}).encode(), {"Authorization": f"Bearer {client_token}",
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as response:
            return Answer(response.status, response.headers, json.load(response))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())
