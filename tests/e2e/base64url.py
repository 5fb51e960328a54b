"""base64url without padding, as JWS and its like have it (RFC 7515)."""
import base64
import json


def encode(data):
    """Of bytes; of anything else its JSON."""
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims_of(token):
    return json.loads(decode(token.split(".")[1]))
