"""A silent cell is asked after before anything may follow (control.md 2.5 c, e): other cells try its ingress, other replicas say what they hear."""
import re
import signal

import pytest

from conftest import wait_for
from fleet import TIMES, Fleet
from nats import SERVERS
from proxy import Proxy

SOON = {**TIMES, "fail_over_ms": 1000}
SILENT = "it is silent to this replica; others: {} replicas and {} of {} cells asked say so too, {} replicas and {} cells reach it"


def wait_up(fleet, name, deadline=60):
    """On a machine with much to do a cell's own figures are bad: it is up all the same."""
    wait_for(lambda: fleet.status(name) in ("HEALTHY", "DEGRADED"), deadline, f"{name} to be up")


def join(fleet, name):
    cell = fleet.cell(name).start()
    wait_up(fleet, name)
    return cell


def metric(manager, series):
    body = manager.request("GET", "/metrics", port=manager.admin_port)[2].decode()
    return int(re.search(rf"^{re.escape(series)} (\d+)$", body, re.M).group(1))


@pytest.mark.parametrize("binary", SERVERS)
def test_a_dead_cell_is_eligible_when_another_cell_agrees(tmp_path, binary):
    """In operator mode: what the cells need for it they may do."""
    fleet = Fleet(tmp_path, has_operator=True, binary=binary, cells=SOON).start()
    try:
        dead, other = join(fleet, "dead"), join(fleet, "other")
        dead.kill()
        fleet.wait_status("dead", "FAILOVER_ELIGIBLE", 30)
        found = fleet.health("dead")
        assert found["failoverEligible"] and found["brakes"] == []
        assert found["witnesses"] == {"replicas": {"silent": 0, "alive": 0}, "cells": {"asked": 1, "silent": 1, "alive": 0}}
        text = fleet.ctl("cell", "health", "dead")
        assert "Status: FAILOVER_ELIGIBLE (ready)\n" in text and SILENT.format(0, 1, 1, 0, 0) in text
        wait_for(lambda: fleet.ok("GET", "/cells/dead")["state"] == "offline", 5, "its record")
        assert fleet.ok("GET", "/fleet")["health"]["failover_eligible"] == 1
        assert metric(fleet.cfmd, 'celld_cell_health{cell="dead",state="failover_eligible"}') == 1
        assert metric(fleet.cfmd, 'celld_cell_brake{cell="dead",brake="agreement"}') == 0
        since = fleet.health("dead")["vpasOfflineSince"]
        fleet.ctl("fabric", "freeze", "an operator looks after it")
        fleet.wait_status("dead", "UNREACHABLE", 5)
        assert not fleet.health("dead")["failoverEligible"]
        fleet.ctl("fabric", "unfreeze")
        fleet.wait_status("dead", "FAILOVER_ELIGIBLE", 10)
        assert fleet.health("dead")["vpasOfflineSince"] == since, "its record has changed twice, and it is gone since then"
        dead.start()
        wait_up(fleet, "dead")
        assert "witnesses" not in fleet.health("dead")
        refused = [line["detail"] for cell in (dead, other) for line in cell.log_lines()
            if line["event"] == "bus.error" and "DURABLE.CREATE" not in line["detail"]]
        assert not refused
    finally:
        fleet.stop()


def test_one_replica_alone_decides_nothing_and_a_second_agrees(tmp_path):
    fleet = Fleet(tmp_path, cells=SOON).start()
    try:
        cell = join(fleet, "only")
        cell.kill()
        wait_for(lambda: [one for one in fleet.ok("GET", "/fleet")["brakeDetails"] if one["brake"] == "agreement"], 30, "the brake")
        [brake] = [one for one in fleet.ok("GET", "/fleet")["brakeDetails"] if one["brake"] == "agreement"]
        assert brake["cells"] == ["only"] and fleet.status("only") == "UNREACHABLE"
        why = "no other replica and no other cell says that it is gone too"
        text = fleet.ctl("cell", "health", "only")
        assert f"! brake: {why}\n" in text and SILENT.format(0, 0, 0, 0, 0) in text
        page = fleet.cfmd.request("GET", "/", port=fleet.cfmd.admin_port)[2].decode()
        assert f"! no fail-over of 1 cells: {why}\n" in page
        assert metric(fleet.cfmd, 'celld_cell_brake{cell="only",brake="agreement"}') == metric(fleet.cfmd, 'celld_fabric_brake{brake="agreement"}') == 1
        # another replica, which has not heard it either
        second = fleet.manager("cfmd2", fleet.cfmd.config["cells"], store={"file": str(fleet.cfmd.state / "fabric.db")})
        fleet.managers.append(second)
        second.start()
        fleet.wait_status("only", "FAILOVER_ELIGIBLE", 40)
        assert fleet.health("only")["witnesses"]["replicas"] == {"silent": 1, "alive": 0}
        assert metric(fleet.cfmd, 'celld_fabric_brake{brake="agreement"}') == 0
        # it lives no more, and its word is soon forgotten
        second.process.send_signal(signal.SIGKILL)
        second.process.wait()
        fleet.managers.pop()
        fleet.wait_status("only", "UNREACHABLE", 60)
    finally:
        fleet.stop()


def test_what_another_cell_reaches_is_not_gone(tmp_path):
    """The manager hears nothing of it and may not even try its ingress: the other cell's word alone counts."""
    fleet = Fleet(tmp_path, cells={**SOON, "probe_networks": ["10.0.0.0/8"]}).start()
    try:
        bus = Proxy(fleet.broker.port)
        join(fleet, "other")
        cell = fleet.cell("cut")
        cell.config["nats"]["urls"] = [f"nats://127.0.0.1:{bus.port}"]
        cell.start()
        wait_up(fleet, "cut")
        bus.cut()
        fleet.wait_status("cut", "ISOLATED", 20)
        found = fleet.health("cut")
        assert found["witnesses"]["cells"] == {"asked": 1, "silent": 0, "alive": 1} and not found["failoverEligible"]
        assert not [line for line in fleet.cfmd.log_lines() if line["event"] == "cell.health" and line["to"] == "unreachable"]
        cell.kill()
        fleet.wait_status("cut", "FAILOVER_ELIGIBLE", 60)
        bus.close()
    finally:
        fleet.stop()


def test_who_asks_for_nonsense_is_not_answered(tmp_path):
    """A cell tries what is an http address within its networks, of another cell, and says nothing else."""
    fleet = Fleet(tmp_path).start()
    try:
        cell = fleet.cell("careful")
        cell.config["fabric"]["probe_networks"] = ["127.0.0.0/8"]
        cell.start()
        wait_up(fleet, "careful")
        client = fleet.broker.client()
        asker = "0123456789abcdef" * 2
        heard = client.subscribe(f"celld.word.{asker}.*")
        good = {"v": 1, "from": asker, "q": 1, "cell": "cell-x", "url": f"http://127.0.0.1:{cell.clear_port}"}
        for body in (b"", b"{}", {**good, "url": "file:///etc/passwd"}, {**good, "url": "http://10.1.2.3:1"}, {**good, "cell": "careful"}, {**good, "q": 0},
                {**good, "from": "x.y"}, {**good, "q": 7}, {**good, "q": 8, "url": "http://127.0.0.1:1"}):
            client.publish("celld.probe.careful", body)
        words = [heard.get(timeout=10) for _ in range(2)]
        assert {one.subject for one in words} == {f"celld.word.{asker}.careful"}
        assert sorted((one.json()["q"], one.json()["alive"]) for one in words) == [(7, True), (8, False)]
        assert heard.empty() and cell.is_ready()
        client.close()
    finally:
        fleet.stop()
