#!/usr/bin/python3
"""Every function, struct, file and setting that README.md names exists, and every test that tests/README.md names."""
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
for section in set(re.findall(r'program_section\([^,]+, "(\w+)"', sources)):
    for name in sorted(set(re.findall(rf"`{section}\.([a-z_]+)`", readme))):
        if not re.search(rf"\b{name}\b", sources):
            wrong.append(f"README.md names the setting {section}.{name}, which is not there")
tests = {str(path.relative_to(root / "tests")): path.read_text() for path in (root / "tests").rglob("*") if path.suffix in (".c", ".py")}
for line in (root / "tests/README.md").read_text().splitlines():
    files = []
    for name in re.findall(r"`([A-Za-z0-9_./]+)`", line):
        if name.endswith((".c", ".py")):
            files = files[-1:] if re.search(rf", `{re.escape(name)}`: ", line) else []
            files.append(name.removeprefix("tests/"))
            if files[-1] not in tests:
                wrong.append(f"tests/README.md names the file {name}, which does not exist")
        elif files and not all(re.search(rf"\b{name}\b", tests.get(file, "")) for file in files):
            wrong.append(f"tests/README.md names {name}, which is not in {' and '.join(files)}")
print("\n".join(wrong) or "README.md names only what exists")
sys.exit(bool(wrong))
