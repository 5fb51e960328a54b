"""A consumer as others see it: keys, a DID document served over http, and proofs signed with the keys."""
import http.server
import json
import threading
import time
import uuid

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from base64url import encode


class Key:
    def __init__(self, kind="ES256"):
        self.kind = kind
        self.private = ec.generate_private_key(ec.SECP256R1()) if kind == "ES256" else ed25519.Ed25519PrivateKey.generate()

    def jwk(self):
        if self.kind == "EdDSA":
            return {"kty": "OKP", "crv": "Ed25519", "x": encode(self.raw())}
        numbers = self.private.public_key().public_numbers()
        return {"kty": "EC", "crv": "P-256", "x": encode(numbers.x.to_bytes(32, "big")), "y": encode(numbers.y.to_bytes(32, "big"))}

    def raw(self):
        from cryptography.hazmat.primitives import serialization
        return self.private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def sign(self, header, claims):
        text = encode(header) + "." + encode(claims)
        if self.kind == "EdDSA":
            return text + "." + encode(self.private.sign(text.encode()))
        r, s = utils.decode_dss_signature(self.private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return text + "." + encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


class DidHost:
    """Serves what `documents` holds by path; counts."""

    def __init__(self):
        self.documents, self.requests, self.status = {}, [], 200
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                host.requests.append(self.path)
                document = host.documents.get(self.path)
                body = b"" if document is None else document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(404 if document is None else host.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Party:
    """A DID on a host, with one key at a time."""

    def __init__(self, host, path="consumer", kind="ES256", name="127.0.0.1"):
        self.host, self.path = host, path
        self.did = f"did:web:{name}%3A{host.port}" + "".join(f":{part}" for part in path.split("/") if part)
        self.new_key(kind)

    def new_key(self, kind="ES256", kid=None):
        self.key = Key(kind)
        self.kid = kid or f"{self.did}#{uuid.uuid4()}"
        self.publish()

    def publish(self, **changes):
        self.host.documents["/" + (self.path or ".well-known") + "/did.json"] = {"@context": ["https://www.w3.org/ns/did/v1"], "id": self.did,
            "verificationMethod": [{"id": self.kid, "type": "JsonWebKey2020", "controller": self.did, "publicKeyJwk": self.key.jwk()}], **changes}

    def proof(self, audience, token, key=None, header=None, **changes):
        now = int(time.time())
        claims = {"iss": self.did, "sub": self.did, "aud": audience, "jti": str(uuid.uuid4()), "iat": now, "exp": now + 600,
            "token": token, **changes}
        header = {"alg": (key or self.key).kind, "kid": self.kid, "typ": "JWT", **(header or {})}
        return (key or self.key).sign({k: v for k, v in header.items() if v is not None}, {k: v for k, v in claims.items() if v is not None})
