"""cellctl from a participant's birth to its end: every command, as a table for people and as JSON for scripts."""
import json

import pytest

from conftest import A, B, plain_answer

P = "7" * 32


def test_a_participants_life(cell, tmp_path):
    ctl, ctl_json = cell.ctl, cell.ctl_json
    made = ctl_json("participants", "create", "--id", P, "--identity", "did:web:seven.example")
    assert made["@id"] == P
    assert ctl_json("participants", "show", P)["state"] == "CREATED"
    assert "did:web:seven.example" in ctl("participants", "show", P).stdout
    ctl("participants", "activate", P)
    assert any(one["@id"] == P and one["state"] == "ACTIVATED" for one in ctl_json("participants", "list"))
    line = next(line for line in ctl("participants", "list").stdout.splitlines() if P in line)
    assert line.split() == [P, "ACTIVATED", "did:web:seven.example"]
    ctl("participants", "config-set", P, "celld.weight=3", "note=x=y", "celld.limits.streams=10")
    ctl("participants", "config-set", P, "celld.limits.streams=")
    assert ctl_json("participants", "config", P)["entries"] == {"celld.weight": "3", "note": "x=y"}

    cell.file(P, "data.txt", b"seven")
    document = tmp_path / "dataset.json"
    document.write_text(json.dumps({"id": "data", "type": "file", "properties": {"path": "data.txt"}}))
    ctl("datasets", "create", P, "--file", document)
    ctl("datasets", "put", P, "data", "--file", "-", input=document.read_text())
    assert [one["id"] for one in ctl_json("datasets", "list", P)] == ["data"]
    assert ctl_json("datasets", "show", P, "data")["id"] == "data"
    assert ctl("datasets", "list", P).stdout.splitlines()[1].split()[:2] == ["data", "file"]

    flow = ctl_json("flows", "create", P, "--dataset", "data", "--agreement", "agreement-7", "--consumer", "did:web:consumer.example", "--id", "flow-7")
    assert flow["id"] == "flow-7"
    token = ctl_json("tokens", "create", P, "flow-7", "--lifetime", "60")
    pull = lambda: cell.pull(token["token"], f"/api/public/{P}")
    assert bytes(pull().body) == b"seven"
    ctl("flows", "suspend", P, "flow-7")
    assert pull().status == 403
    ctl("flows", "resume", P, "flow-7")
    assert pull().status == 200
    shown = ctl_json("flows", "list", P)
    assert [one["id"] for one in shown] == ["flow-7"] and ctl_json("flows", "show", P, "flow-7")["agreementId"] == "agreement-7"
    ctl("tokens", "revoke", P, "flow-7", token["jti"])
    assert pull().status == 403
    ctl("flows", "complete", P, "flow-7")
    ctl("flows", "delete", P, "flow-7")
    ctl("datasets", "delete", P, "data")
    assert ctl_json("flows", "list", P) == [] and ctl_json("datasets", "list", P) == []
    ctl("secrets", "put", P, "key", input="canary-of-cellctl")
    ctl("secrets", "delete", P, "key")
    ctl("participants", "deactivate", P)
    assert ctl_json("participants", "show", P)["state"] == "DEACTIVATED"
    ctl("participants", "delete", P)
    gone = ctl("participants", "show", P, check=False)
    assert gone.returncode == 1 and len(gone.stderr.strip().splitlines()) == 1


def test_status(cell):
    status = cell.ctl_json("status")
    assert status["participants"] >= 2
    assert str(status["participants"]) in cell.ctl("status").stdout


@pytest.mark.parametrize("words", [["no-such"], ["participants"], ["participants", "show"], ["participants", "create"], ["flows", "list", A, "extra"],
    ["participants", "list", "--bogus"], ["participants", "config-set", A, "noequals"], ["flows", "create", A, "--dataset", "x"]], ids=" ".join)
def test_wrong_use_is_exit_2_and_one_line(cell, words):
    result = cell.ctl(*words, check=False)
    assert result.returncode == 2 and len(result.stderr.strip().splitlines()) == 1, result


def test_the_token_is_never_an_argument(cell):
    """Nor printed: it comes from the state directory, or from a file."""
    assert "--token " not in cell.ctl("--help").stdout and "--token-file" in cell.ctl("--help").stdout


def test_the_access_log_of_a_pull(cell, source):
    from conftest import wait_for
    server = source(plain_answer(b"twelve bytes"))
    token, path = cell.shared_http(B, "logged", server.url)
    assert cell.pull(token, path + "?q=canary-in-query").status == 200
    line = wait_for(lambda: next((one for one in cell.log_lines() if one["event"] == "request" and one.get("tenant") == B), None), what="the log line")
    assert {key: line[key] for key in ("level", "protocol", "method", "path", "status", "sent", "received", "outcome", "peer")} == {
        "level": "info", "protocol": "h2", "method": "GET", "path": path, "status": 200, "sent": 12, "received": 0, "outcome": "ok", "peer": "127.0.0.1"}
    assert line["us"] > 0
    # the trace is made when the caller brought none, and the source is told the same
    trace, _, span = line["trace"].partition("-")
    assert len(trace) == 32 and trace.encode() in server.requests[-1].lower()
    assert "canary-in-query" not in (cell.folder / "cell.log").read_text() and token not in (cell.folder / "cell.log").read_text()
