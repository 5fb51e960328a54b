"""The runner of the public kit judges by what the kit prints: each case once, all of them, none failed, and an end."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tck"))
import dps  # noqa: E402


def lines_of(*verdicts, end="Test run complete", colour=""):
    yield f"{colour}Running DPS TCK v1.0"
    for case, verdict in verdicts:
        yield f"Started: {case}: Verify something"
        yield f"{verdict}: {case}"
    for case, verdict in verdicts:
        if verdict == "FAILED":
            yield f"- {case}: Verify something (java.lang.AssertionError: expected STARTED)"
            yield "\tat some.java.Frame(Frame.java:1)"
    if end:
        yield end


ALL = [(case, "SUCCESSFUL") for case in dps.EXPECTED]
RUNS = {
    "all passed": (ALL, "28 passed, 0 failed", True),
    "one failed": ([*ALL[1:], (ALL[0][0], "FAILED")], "27 passed, 1 failed", False),
    "one aborted": ([*ALL[1:], (ALL[0][0], "ABORTED")], "27 passed, 1 failed", False),
    "one not run": (ALL[1:], "27 passed, 1 failed", False),
    "one more": ([*ALL, ("DP_NEW:01-01", "FAILED")], "28 passed, 1 failed", False),
    "one more, passed": ([*ALL, ("DP_NEW:01-01", "SUCCESSFUL")], "29 passed, 0 failed", False),
    "nothing": ([], "0 passed, 28 failed", False),
}


@pytest.mark.parametrize("name", RUNS)
def test_judgement(name, capsys):
    verdicts, last, good = RUNS[name]
    found, reasons, ended = dps.judge(lines_of(*verdicts))
    assert (dps.report(found, reasons) and ended) == good
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == last and len(printed) == len({*found, *dps.EXPECTED}) + 1
    if name == "one failed":
        assert any(line.startswith("failed") and "expected STARTED" in line for line in printed), printed


def test_a_kit_that_dies_has_not_passed(capsys):
    assert not dps.judge(lines_of(*ALL, end=None))[2]
    assert "did not come to its end" in capsys.readouterr().err


@pytest.mark.parametrize("script, count", [
    ("printf '[2026-01-01T00:00:00] \\033[1mStarted: DP_C_PULL:01-01: x\\033[0m\\n[2026-01-01T00:00:00] SUCCESSFUL: DP_C_PULL:01-01: x\\n"
     "[2026-01-01T00:00:00] \\033[0mTest run complete\\n'; sleep 100", 1),
    ("echo 'Error: could not find the main class'; exit 1", 0)])
def test_what_is_printed_is_read(tmp_path, monkeypatch, script, count):
    """Time and colours are taken off; the kit's server is not waited for."""
    (tmp_path / "java").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    verdicts, _, ended = dps.judge(dps.run_kit(tmp_path, tmp_path / "config"))
    assert len(verdicts) == count and ended == bool(count)
