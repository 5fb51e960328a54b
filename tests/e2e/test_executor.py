"""Our executor with a real broker, under a Provision Manager that does what the existing one does, beside agents that do what the existing ones do."""
import os
import pathlib
import subprocess
import uuid

import pytest

from agents import BUCKET, COMPLETE, DEPLOY, STREAM, Agent, start_orchestration, value_of
from conftest import PROGRAMS, wait_for
from nats import server  # noqa: F401 (server: a fixture)

AGENT = pathlib.Path(os.environ.get("CELLD_TESTS", PROGRAMS.parent / "tests")) / "executor_agent"


class Ours:
    def __init__(self, server, folder, *types):
        self.path = folder / f"agent-{uuid.uuid4()}.log"
        self.command = [AGENT, server.url, *types]
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=open(self.path, "ab"), stderr=subprocess.STDOUT)
        return self

    def lines(self, start=""):
        return [line for line in self.path.read_text().splitlines() if line.startswith(start)]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        return self.process.returncode


@pytest.fixture
def ours(server, tmp_path):
    made = []

    def make(*types):
        made.append(Ours(server, tmp_path, *types))
        return made[-1]
    yield make
    for one in made:
        assert one.stop() in (0, 9), one.path.read_text()


@pytest.fixture
def nats(server):
    one = server.client()
    one.consumer_is_made = False
    yield one
    one.close()


def responses(nats, count=1, timeout=30):
    if not nats.consumer_is_made:
        nats.consumer(STREAM, "cfm-orchestration-response", "event.cfm-orchestration-response")
        nats.consumer_is_made = True
    found = []
    while len(found) < count:
        messages = nats.pull(STREAM, "cfm-orchestration-response", count - len(found), timeout)
        if not messages:
            break
        for message in messages:
            nats.ack(message)
            found.append(message.json())
    return found


def one_id():
    return str(uuid.uuid4())


def test_steps_with_an_existing_agent_between(server, ours, nats):
    id = one_id()
    ours("first.type", "third.type")
    other = Agent(server, "second.type", lambda context: context.outputs.update(b="theirs") or COMPLETE)
    start_orchestration(nats, id, DEPLOY, [[("a", "first.type")], [("b", "second.type"), ("c", "first.type")], [("d", "third.type")]])
    (response,) = responses(nats)
    assert response == {"id": response["id"], "manifestId": id, "correlationId": f"profile-{id}", "orchestrationType": DEPLOY, "success": True,
        "properties": {"a": "done", "b": "theirs", "c": "done", "d": "done"}}
    value = value_of(nats, id)
    assert value["state"] == 2 and value["completed"] == {one: {} for one in "abcd"}
    assert value["processingData"]["activity.a.attempt"] == 1
    other.stop()


def test_what_was_missing_in_the_response_is_said(server, ours, nats):
    """T2: errorDetail."""
    id = one_id()
    ours("x")
    start_orchestration(nats, id, DEPLOY, [[("a", "x")]], {"script": {"a": ["fatal"]}})
    (response,) = responses(nats)
    assert (response["success"], response["errorDetail"]) == (False, "the script says so")
    value = value_of(nats, id)
    assert value["state"] == 3 and value["processingData"]["error"] == "the script says so"


def test_attempts_are_counted_whoever_resets_the_consumer(server, ours, nats):
    """F17: the count is in the orchestration; polling is no failure."""
    id, patient = one_id(), one_id()
    agent = ours("x")
    start_orchestration(nats, patient, DEPLOY, [[("p", "x")]], {"script": {"p": ["schedule"] * 6 + ["complete"]}})
    start_orchestration(nats, id, DEPLOY, [[("a", "x")]], {"script": {"a": ["retry"]}})
    wait_for(lambda: agent.lines("run a 1"))
    nats.api(f"CONSUMER.DELETE.{STREAM}.x")
    nats.consumer(STREAM, "x", "event.x")
    by_id = {one["manifestId"]: one for one in responses(nats, 2, 40)}
    assert by_id[patient]["success"] and not by_id[id]["success"]
    assert by_id[id]["errorDetail"] == "a: given up after 3 attempts: the script says so"
    assert len(agent.lines("run a")) == 3 and len(agent.lines("run p")) == 7


def test_a_processor_that_ends_its_process_is_counted(server, ours, nats):
    id = one_id()
    nats_stream = {"ack_wait": int(0.3e9)}
    start_orchestration(nats, id, DEPLOY, [[("a", "x")]], {"script": {"a": ["crash"]}})
    nats.consumer(STREAM, "x", "event.x", **nats_stream)
    agent = ours("x")
    for crash in range(1, 4):
        wait_for(lambda: agent.process.poll() == 9, 30, "the crash")
        agent.start()
    (response,) = responses(nats)
    assert response["errorDetail"] == "a: given up after 3 attempts"
    assert len(agent.lines("run a")) == 3


def test_a_stuck_processor_does_not_hold_the_orchestration(server, ours, nats):
    id = one_id()
    agent = ours("x")
    start_orchestration(nats, id, DEPLOY, [[("a", "x")]], {"script": {"a": ["hang"]}})
    wait_for(lambda: value_of(nats, id)["processingData"].get("celld.activity.a", {}).get("error") == "the run took too long", 30)
    assert len(agent.lines("run a")) == 1  # not a second time beside the stuck one


def test_fifty_writers(server, ours, nats):
    """F22: fifty activities of one step write the same value, three programs at once."""
    id = one_id()
    types = [f"t{i}" for i in range(5)]
    ours(*types[:2]), ours(*types[2:4]), ours(types[4])
    step = [(f"a{i}", types[i % 5]) for i in range(50)]
    start_orchestration(nats, id, DEPLOY, [step, [("end", "t0")]])
    (response,) = responses(nats, 1, 60)
    assert response["success"] and response["properties"] == {**{name: "done" for name, _ in step}, "end": "done"}
    assert responses(nats, 1, 1) == []


def test_a_sibling_of_others_may_not_lose_what_ours_gave(server, ours, nats):
    """T5: an existing agent writes back what it read; ours notes its results and gives them again with the next write of the step."""
    id = one_id()
    ours("x")

    def slow(context):
        wait_for(lambda: "b" in value_of(watch, id)["completed"])
        context.values["mine"] = 1
        return COMPLETE
    watch = server.client()
    other = Agent(server, "theirs", slow)
    start_orchestration(nats, id, DEPLOY, [[("a", "theirs"), ("b", "x")], [("c", "x")]], {"b": "before", "script": {}})
    (response,) = responses(nats)
    data = value_of(nats, id)["processingData"]
    assert response["success"] and data["mine"] == 1 and data["celld.activity.b"]["values"] == {"b": "seen"}
    other.stop()
    watch.close()


def test_poison(server, ours, nats):
    """F21: parked and acknowledged; what comes behind it is done."""
    id = one_id()
    agent = ours("x")
    wait_for(lambda: agent.lines("ready"))
    start_orchestration(nats, id, DEPLOY, [[("a", "x")]])
    for body in (b"", b"\xff", b"[]", b'{"orchestrationID":"o","activity":{}}', {"orchestrationID": id, "activity": {"id": "unknown", "type": "x"}}):
        nats.js_publish("event.x", body)
    nats.kv_put(BUCKET, "broken", b"{")
    nats.js_publish("event.x", {"orchestrationID": "broken", "activity": {"id": "a", "type": "x"}})
    (response,) = responses(nats)
    assert response["success"]
    wait_for(lambda: len(agent.lines("parked event.x")) == 6)
    wait_for(lambda: not nats.api(f"STREAM.INFO.{STREAM}", {"subjects_filter": "event.x"})["state"].get("subjects"))


def test_kills_of_the_broker(server, ours, nats):
    """F13: nothing is lost while the broker is killed again and again; what ends, ends once for the orchestration."""
    ours("x", "y")
    ids = []
    for _ in range(5):
        client = server.client()
        for _ in range(4):
            ids.append(one_id())
            start_orchestration(client, ids[-1], DEPLOY, [[("a", "x"), ("b", "y")], [("c", "x")]])
        client.close()
        server.kill()
        server.start()
    client = server.client()
    wait_for(lambda: all(value_of(client, id)["state"] == 2 for id in ids), 60, "all ends")
    client.consumer_is_made = False
    assert {one["manifestId"] for one in responses(client, 200, 3)} == set(ids)
    client.close()
