#!/usr/bin/python3
"""No include goes upwards, and each third-party library is included by its own room alone."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
# a room may include itself and what is listed
ROOMS = {
    "server/base": [],
    "server": ["server/base"],
    "tenants/jose": ["server/base"],
    "tenants/vault": ["tenants/jose", "server", "server/base"],
    "tenants/store": ["server", "server/base"],
    "tenants": ["tenants/store", "tenants/vault", "tenants/jose", "server", "server/base"],
    "tenants/dp": ["tenants", "tenants/store", "tenants/vault", "tenants/jose", "server", "server/base"],
    "tenants/cp": ["tenants", "tenants/store", "tenants/vault", "tenants/jose", "server", "server/base"],
    "router": ["tenants", "tenants/store", "tenants/jose", "server", "server/base"],
    "control/bus": ["tenants/vault", "tenants/jose", "server", "server/base"],
    "control/orchestration": ["control/bus", "server", "server/base"],
    "control": ["control/orchestration", "control/bus", "router", "tenants/dp", "tenants/cp", "tenants", "tenants/store", "tenants/vault", "tenants/jose", "server", "server/base"],
}
LIBRARIES = {
    r"event2?/": ["server"], r"openssl/ssl\.h": ["server"], r"openssl/": ["server", "tenants/jose", "tenants/vault"],
    r"nghttp2/": ["server"], r"sqlite3\.h": ["tenants/store"], r"libpq": ["tenants/store"], r"cJSON|cjson/": ["server/base"],
    r"curl/": ["control"], r"nats/": ["control/bus"],
}
wrong = []


def room_of(path):
    parts = path.split("/")
    return "/".join(parts[:2]) if "/".join(parts[:2]) in ROOMS else parts[0]


for folder in ("server", "tenants", "router", "control"):
    for path in sorted((root / folder).rglob("*.[ch]")):
        name = str(path.relative_to(root))
        room = room_of(str(path.parent.relative_to(root)))
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'#\s*include\s+(["<])([^">]+)', line)
            if not found:
                continue
            if found[1] == '"':
                other = room_of(str(pathlib.PurePosixPath(found[2]).parent))
                if other != room and other not in ROOMS[room]:
                    wrong.append(f"{name}:{number}: {room} may not include {found[2]}")
                continue
            for pattern, rooms in LIBRARIES.items():
                if re.match(pattern, found[2]):
                    if room not in rooms:
                        wrong.append(f"{name}:{number}: {found[2]} belongs to {' and '.join(rooms)}")
                    break
print("\n".join(wrong) or "every include goes downwards")
sys.exit(bool(wrong))
