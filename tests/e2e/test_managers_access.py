"""Who may call the managers: tokens of an identity provider whose keys are fetched, and nobody asked at all."""
import http.server
import json
import threading
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from base64url import encode
from conftest import wait_for
from managers import API, own_managers  # noqa: F401 (fixture)

READ, WRITE = "tenant-manager-api:read", "tenant-manager-api:write"
NOWHERE = "nats://127.0.0.1:1"  # no broker: requests are taken all the same


class IdentityProvider:
    """Serves a discovery document and a key set, on loopback; both may be changed, and be missing."""

    def __init__(self):
        provider = self
        self.keys, self.asked, self.is_away = [], [], False

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                provider.asked.append(self.path)
                document = {"/.well-known/openid-configuration": {"issuer": provider.url, "jwks_uri": f"{provider.url}/keys"},
                    "/keys": {"keys": [key.jwk for key in provider.keys]}}.get(self.path)
                body = json.dumps(document).encode()
                self.send_response(503 if provider.is_away or document is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class SigningKey:
    """An RSA key as the existing managers' providers have them."""

    def __init__(self, kid):
        self.kid, self.key = kid, rsa.generate_private_key(65537, 2048)
        numbers = self.key.public_key().public_numbers()
        self.jwk = {"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", **{name: encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
            for name, value in (("n", numbers.n), ("e", numbers.e))}}

    def token(self, **claims):
        now = int(time.time())
        claims = {"sub": "operator", "scope": f"{READ} {WRITE}", "iat": now, "exp": now + 60, **claims}
        text = f'{encode({"alg": "RS256", "kid": self.kid})}.{encode(claims)}'
        return f"{text}.{encode(self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def test_an_identity_provider_is_discovered(own_managers):  # noqa: F811
    """Its keys are fetched, also those that came later; tokens are for us, of it, and of nobody else."""
    provider, old, new = IdentityProvider(), SigningKey("old"), SigningKey("new")
    provider.keys, provider.is_away = [old], True
    tm = own_managers(NOWHERE, {"fabric": {"provision_manager": False},
        "access": {"discovery_url": f"{provider.url}/.well-known/openid-configuration", "audience": "cfm"}}).start()

    def status(key, **claims):
        token = key.token(**{"iss": provider.url, "aud": "cfm", **claims})
        return tm.request("GET", f"{API}/tenants", headers={"Authorization": f"Bearer {token}"})[0]
    assert status(old) == 401
    provider.is_away = False
    wait_for(lambda: status(old) == 200, 30, "the keys")
    assert status(old, aud=["other", "cfm"]) == 200
    assert status(old, aud="other") == status(old, aud=None) == status(old, iss="https://other.example") == status(old, exp=1) == status(new) == 401
    assert status(old, scope=WRITE) == 403
    assert tm.call("GET", "/tenants")[0] == 200, "our own key is as good"
    provider.keys = [new]
    wait_for(lambda: status(new) == 200, 30, "the new key, which a token has named")
    assert status(old) == 401
    provider.is_away = True
    for _ in range(3):
        assert status(SigningKey("unknown")) == 401 and status(new) == 200, "what was fetched stays"
    asked = len(provider.asked)
    for _ in range(50):
        assert status(old) == 401
    assert len(provider.asked) - asked <= 2, "unknown keys do not make us hammer the provider"
    provider.stop()


def test_without_authentication(own_managers):  # noqa: F811
    """Only the managers' own API asks nobody, and says so in the log."""
    tm = own_managers(NOWHERE, {"fabric": {"authentication": False}}).start()
    assert tm.call("POST", "/tenants", {}, scopes=None)[0] == 201
    assert tm.call("GET", "/activity-definitions", scopes=None)[0] == 200
    assert tm.call("GET", "/cells", scopes=None, base="/api/celld/v1")[0] == 401
    assert any(line["event"] == "fabric.no_authentication" for line in tm.log_lines())
