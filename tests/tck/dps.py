#!/usr/bin/python3
"""Runs the public kit of Data Plane Signaling against a cell: dps.py KIT, where KIT is the folder of the kit's jars; CELLD_PROGRAMS
is the folder of celld and cellctl.

The cell is an embedded one on free ports in a temporary folder. What the kit expects of its counterpart is ordinary
configuration: a participant, datasets whose bytes travel elsewhere, the kit registered as a control plane. The kit ends with 0
whatever happened, so what it prints is what counts. Exit 1: a case failed or did not run."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
from conftest import Cell, free_port  # noqa: E402

CASES = {group: names.split() for group, names in {
    "DP_C_PULL": "01-01 01-02 02-01 02-02 03-01 04-01",
    "DP_P_PULL": "01-01 01-02 02-01 02-02 04-01",
    "DP_C_PUSH": "01-01 01-02 02-01 02-02 03-01 04-01",
    "DP_P_PUSH": "01-01 01-02 02-01 02-02 03-01 04-01",
    "DP_C_HTTP_PULL": "01-01 02-01",
    "DP_P_HTTP_PULL": "01-01 02-01 02-02",
}.items()}
EXPECTED = [f"{group}:{case}" for group, cases in CASES.items() for case in cases]
CTX = "c" * 32
CONTROL_PLANE = "kit"
RUN_S = 600
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
VERDICT = re.compile(r"(SUCCESSFUL|FAILED|ABORTED): ([A-Z_]+:\d\d-\d\d)")
REASON = re.compile(r"^- ([A-Z_]+:\d\d-\d\d).*?\(([\w.$]+(?:Exception|Error)\b.*)")

# What a case needs of its dataset; a case that is not named gets "file" as provider of a pull and "wire" elsewhere.
DATASETS = {
    "file": {"type": "file", "properties": {"path": "kit.txt"}},
    "wire": {"type": "external", "properties": {}},
    "slow": {"type": "external", "properties": {"readyAfterMs": "250"}},
    "finite": {"type": "external", "properties": {"completeAfterMs": "700"}},
}
NEEDS = {"slow": "DP_C_PULL:04-01 DP_P_PULL:04-01 DP_C_PUSH:04-01 DP_P_PUSH:04-01", "finite": "DP_C_PULL:03-01 DP_P_PUSH:03-01"}


def dataset_of(case):
    for name, cases in NEEDS.items():
        if case in cases.split():
            return name
    return "file" if case.startswith("DP_P_") and "PULL" in case else "wire"


def prepare_cell(cell, kit_url):
    """The participant, its datasets and its control plane; what the kit has to be told."""
    did = f"did:web:localhost%3A{cell.clear_port}"
    cell.ctl("participants", "create", "--id", CTX, "--identity", did, "--participant-state", "ACTIVATED")
    cell.ctl("participants", "config-set", CTX, "celld.http.allow=127.0.0.0/8", "celld.dps.clear=true",
        "celld.dps.renewal.required=true")
    cell.file(CTX, "kit.txt", b"bytes of the provider\n")
    for name, members in DATASETS.items():
        cell.dataset(CTX, name, **members)
    status, body = cell.call("PUT", f"/api/v1/{CTX}/controlplanes", {"controlplaneId": CONTROL_PLANE, "endpoint": kit_url,
        "authorization": {}}, token=cell.management_token("signaling:controlplane:write", CTX))
    assert status in (200, 204), f"the control plane was not registered: {status} {body}"
    return {
        "dataspacetck.dps.dataplane.url": f"http://127.0.0.1:{cell.clear_port}/api/v1/{CTX}",
        "dataspacetck.dps.dataplane.authorization": f"Bearer {cell.management_token('signaling:dataflow:write', CONTROL_PLANE)}",
        "dataspacetck.dps.dataplane.provider.id": did,
    }


def write_config(folder, port, properties):
    properties = {
        "dataspacetck.test.package": "org.eclipse.dataspacetck.dps.verification.dataplane",
        "dataspacetck.callback.address": f"http://localhost:{port}",
        "dataspacetck.host": "127.0.0.1",
        "dataspacetck.port": str(port),
        "dataspacetck.ansi": "false",
        "dataspacetck.dps.dataplane.counterparty.id": f"did:web:localhost%3A{port}",
        **properties,
        **{re.sub("[:-]", "_", case) + "_DATASETID": dataset_of(case) for case in EXPECTED},
    }
    path = folder / "kit.properties"
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.writelines(f"{name}={value}\n" for name, value in properties.items())
    return path


def run_kit(kit, config):
    """Yields the kit's lines, without colours and time, until it says that it is done."""
    process = subprocess.Popen(["java", "-cp", f"{kit}/*", "org.eclipse.dataspacetck.dps.DpsTckSuite", "-config", str(config)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    limit = threading.Timer(RUN_S, process.send_signal, [signal.SIGKILL])
    limit.start()
    try:
        for line in process.stdout:
            line = re.sub(r"^\[[^\]]*\] ?", "", COLOUR.sub("", line).strip())
            yield line
            if "Test run complete" in line:
                break
    finally:  # its server would linger
        limit.cancel()
        process.kill()
        process.wait()


def judge(lines):
    """The verdict of each case, and for what failed the reason as far as the kit gives one."""
    verdicts, reasons, ended = {}, {}, False
    rest = []
    for line in lines:
        rest = [*rest[-30:], line]
        if found := VERDICT.search(line):
            verdicts[found[2]] = found[1]
        elif found := REASON.match(line):
            reasons[found[1]] = found[2].rstrip(")")
        ended = ended or "Test run complete" in line
    if not ended:
        print(*rest, "the kit did not come to its end", sep="\n", file=sys.stderr)
    return verdicts, reasons, ended


def report(verdicts, reasons):
    """True: all that was expected ran, nothing else did, and all passed."""
    passed = failed = 0
    for case in [*EXPECTED, *sorted(set(verdicts) - set(EXPECTED))]:
        verdict = verdicts.get(case, "NOT RUN")
        if verdict == "SUCCESSFUL":
            passed += 1
            print(f"passed  {case}")
        else:
            failed += 1
            print(f"failed  {case}  {verdict}  {reasons.get(case, '')}".rstrip())
    print(f"{passed} passed, {failed} failed")
    return failed == 0 and passed == len(EXPECTED)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: dps.py KIT")
    kit = pathlib.Path(sys.argv[1]).resolve()
    if not list(kit.glob("*.jar")):
        sys.exit(f"{kit} holds no jars")
    with tempfile.TemporaryDirectory(prefix="celld-tck-") as name:
        folder = pathlib.Path(name)
        cell = Cell(folder).start()
        try:
            port = free_port()
            config = write_config(folder, port, prepare_cell(cell, f"http://localhost:{port}"))
            verdicts, reasons, ended = judge(run_kit(kit, config))
            if set(verdicts.values()) != {"SUCCESSFUL"}:
                complaints = [line for line in cell.log_lines() if line["level"] != "info" or line.get("status", 0) >= 400]
                print(*map(json.dumps, complaints[-40:]), sep="\n", file=sys.stderr, flush=True)
            good = report(verdicts, reasons) and ended
        finally:
            cell.stop(expect=None)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
