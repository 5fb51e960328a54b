"""What an operator sees of orchestrations in cfmd's metrics."""
import re

import pytest

from agents import COMPLETE, DEPLOY, DISPOSE, FATAL, RETRY, Agent
from conftest import wait_for
from managers import broker, own_managers  # noqa: F401 (fixtures)
from test_orchestrations import activity, compensations, define, orchestrate, state

SWEEP = {"orchestration": {"sweep_ms": 100, "settle_ms": 300}}


@pytest.fixture
def agents():
    made = []

    def make(*arguments):
        made.append(Agent(*arguments))
        return made[-1]
    yield make
    for one in made:
        one.stop()


def series(cfmd):
    """{name with labels: value}; each family has its help and its type before it, and stands in one place."""
    status, _, text = cfmd.request("GET", "/metrics", port=cfmd.admin_port)
    assert status == 200
    values, families, family = {}, [], None
    for line in text.decode().splitlines():
        if line.startswith("# TYPE "):
            family = line.split()[2]
            families.append(family)
        elif not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert re.sub("_(bucket|sum|count)$", "", name.split("{")[0]) in (family, name.split("{")[0])
            assert name not in values, f"{name} twice"
            values[name] = float(value)
    assert len(families) == len(set(families))
    return values


def test_orchestrations_are_counted(broker, own_managers, agents):
    cfmd = own_managers(broker.url, SWEEP).start()
    define(cfmd, ["good", "moody"], [activity("a", "good"), activity("b", "moody", "a")], [activity("undo-a", "good"), activity("undo-b", "moody")])
    runs = []

    def moody(context):
        """The first orchestration needs three runs, the second fails."""
        if context.activity["discriminator"] == DISPOSE:
            return COMPLETE
        runs.append(context.id)
        context.values["activity.b.attempt"] = runs.count(context.id)  # as the existing executors count
        return FATAL if context.id != runs[0] else RETRY if len(runs) < 3 else COMPLETE
    first = orchestrate(cfmd)
    wait_for(lambda: series(cfmd).get(f'celld_orchestrations{{type="{DEPLOY}",state="running"}}') == 1, what="the running one")
    agents(broker, "good", lambda context: COMPLETE)
    agents(broker, "moody", moody)
    wait_for(lambda: state(cfmd, first) == 2)
    second = orchestrate(cfmd)
    wait_for(lambda: state(cfmd, second) == 3 and [one["state"] for one in compensations(cfmd, second)] == [2], 30, "the compensation")
    deploy, dispose = f'type="{DEPLOY}"', f'type="{DISPOSE}"'
    expected = {f'celld_orchestrations{{{deploy},state="running"}}': 0, f'celld_orchestrations{{{deploy},state="completed"}}': 1,
        f'celld_orchestrations{{{deploy},state="errored"}}': 1, f'celld_orchestrations{{{dispose},state="completed"}}': 1,
        f"celld_orchestrations_started_total{{{deploy}}}": 2, f"celld_orchestrations_started_total{{{dispose}}}": 1,
        f'celld_orchestration_duration_seconds_count{{{deploy},result="completed"}}': 1,
        f'celld_orchestration_duration_seconds_count{{{deploy},result="errored"}}': 1,
        f'celld_orchestration_duration_seconds_count{{{dispose},result="completed"}}': 1,
        'celld_activity_duration_seconds_count{type="good",result="completed"}': 3,
        'celld_activity_duration_seconds_count{type="moody",result="completed"}': 2,
        'celld_activity_attempts_total{type="good"}': 3, 'celld_activity_attempts_total{type="moody"}': 4,
        'celld_orchestration_events_total{event="compensation"}': 1, "celld_parked_messages": 0}

    def differs():
        found = series(cfmd)
        return {name: (found.get(name), value) for name, value in expected.items() if found.get(name) != value}
    try:
        wait_for(lambda: not differs(), 30, "the figures")
    except TimeoutError:
        raise AssertionError(differs())
    # what makes no sense is parked, and counted so
    client = broker.client()
    client.js_publish("event.cfm-orchestration", b"no manifest")
    wait_for(lambda: series(cfmd)["celld_parked_messages"] == 1, what="the parked message")
    client.close()
    # a new process counts anew, and knows what is there
    cfmd.stop()
    cfmd.start()
    found = series(cfmd)
    assert found[f'celld_orchestrations{{{deploy},state="errored"}}'] == 1 and found[f"celld_orchestrations_started_total{{{deploy}}}"] == 0
    assert found["celld_parked_messages"] == 1
