#!/usr/bin/python3
"""No include goes upwards, and each third-party library is included by its own room alone."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
# a room may include itself, what is listed, and what those may include
BELOW = {
    "server/base": [],
    "server": ["server/base"],
    "tenants/jose": ["server"],
    "tenants/vault": ["tenants/jose"],
    "tenants/store": ["server"],
    "tenants": ["tenants/store", "tenants/vault"],
    "tenants/dp": ["tenants"],
    "tenants/cp": ["tenants"],
    "router": ["tenants"],
    "control/bus": ["tenants/vault"],
    "control/state": ["tenants/store"],
    "control/command": ["tenants"],
    "control/orchestration": ["control/bus"],
    "control/fabric": ["control/orchestration", "control/command", "control/state"],
    "control/cell": ["control/orchestration", "control/command", "control/state", "router", "tenants/dp", "tenants/cp"],
    "control": ["control/fabric", "control/cell"],  # the programs
}


def rooms_below(room):
    return {below for one in BELOW[room] for below in {one} | rooms_below(one)}


ROOMS = {room: rooms_below(room) for room in BELOW}
LIBRARIES = {
    r"event2?/": ["server"], r"openssl/ssl\.h": ["server"], r"openssl/": ["server", "tenants/jose", "tenants/vault"],
    r"nghttp2/": ["server"], r"sqlite3\.h": ["tenants/store"], r"libpq": ["tenants/store"], r"cJSON|cjson/": ["server/base"],
    r"curl/": ["control", "control/cell"], r"nats/": ["control/bus"],
}
wrong = []


def room_of(path):
    parts = path.split("/")
    room = "/".join(parts[:2]) if "/".join(parts[:2]) in ROOMS else parts[0]
    if room == parts[0] and len(parts) > 1:
        wrong.append(f"{path} is no room this test knows")
    return room


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
