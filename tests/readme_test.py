#!/usr/bin/python3
"""Every function, struct and file that README.md names exists."""
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
readme = (root / "README.md").read_text()
sources = "\n".join(path.read_text() for folder in ("server", "tenants", "router", "control", "bench") for path in (root / folder).rglob("*.[ch]"))
wrong = []
for name in sorted(set(re.findall(r"`(?:struct )?([a-z]+(?:_[a-z0-9]+)+)`", readme))):
    if not re.search(rf"\b{name}\b", sources):
        wrong.append(f"README.md names {name}, which is nowhere in the sources")
for name in sorted(set(re.findall(r"`((?:server|tenants|router|control|tests|config|docker|bench)/[A-Za-z0-9_./*-]*)`", readme))):
    if not list(root.glob(name.rstrip("/"))):
        wrong.append(f"README.md names the file {name}, which does not exist")
print("\n".join(wrong) or "README.md names only what exists")
sys.exit(bool(wrong))
