"""An agent as the existing ones are (cfm.md 3.5): one message at a time, no message ids, its consumer set to defaults, what it read overwrites
what its siblings wrote; and a Provision Manager as the existing one is."""
import copy
import datetime
import json
import threading
import uuid

STREAM, BUCKET = "cfm-stream", "cfm-bucket"
DEPLOY, DISPOSE = "cfm.orchestration.vpa.deploy", "cfm.orchestration.vpa.dispose"
COMPLETE, SCHEDULE, RETRY, FATAL = 1, 2, -1, -2


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat().replace("+00:00", "Z")


def queue_of(type):
    return type.replace(".", "-")


def make_stream(nats):
    """What the first of managers and agents does."""
    answer = nats.api(f"STREAM.INFO.{STREAM}")
    if "error" in answer:
        nats.api(f"STREAM.CREATE.{STREAM}", {"name": STREAM, "subjects": ["event.*"], "retention": "workqueue"})
    nats.api(f"STREAM.CREATE.KV_{BUCKET}", {"name": f"KV_{BUCKET}", "subjects": [f"$KV.{BUCKET}.>"], "max_msgs_per_subject": 1,
        "deny_delete": True, "allow_rollup_hdrs": True, "discard": "new", "allow_direct": True})


def update(nats, id, change):
    """Reads, changes and writes until nobody was faster."""
    while True:
        value, revision = nats.kv_get(BUCKET, id)
        orchestration = json.loads(value)
        change(orchestration)
        if "error" not in nats.kv_put(BUCKET, id, orchestration, revision):
            return orchestration


class Context:
    def __init__(self, orchestration, activity):
        self.id, self.activity = orchestration["id"], activity
        self.values, self.outputs = copy.deepcopy(orchestration["processingData"] or {}), copy.deepcopy(orchestration["outputData"] or {})


class Agent:
    """process(context) gives COMPLETE, FATAL, RETRY, or (SCHEDULE, seconds); context.error says why."""

    def __init__(self, server, type, process, **options):
        self.nats, self.type, self.process = server.client(**options), type, process
        self.runs = []
        make_stream(self.nats)
        self.reset_consumer(self.nats)
        self.is_stopped = False
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def reset_consumer(self, nats):
        """Every existing component does this at its start: whatever somebody else had set is gone (F17)."""
        return nats.consumer(STREAM, queue_of(self.type), f"event.{queue_of(self.type)}")

    def stop(self):
        self.is_stopped = True
        self.thread.join(5)
        self.nats.close()

    def loop(self):
        while not self.is_stopped:
            try:
                for message in self.nats.pull(STREAM, queue_of(self.type), 1, 0.2):
                    self.take(message)
            except (OSError, AttributeError):  # the broker has gone: this agent's reader ends with it
                return

    def take(self, message):
        try:
            body = message.json()
        except ValueError:
            self.nats.ack(message)
            return
        value, _ = self.nats.kv_get(BUCKET, body["orchestrationID"])
        if value is None:
            return  # neither ack nor nak: it comes again
        context = Context(json.loads(value), body["activity"])
        self.runs.append((context.id, body["activity"]["id"], body["activity"]["discriminator"]))
        result = self.process(context)
        if result == FATAL:
            self.fail(message, context)
        elif result == COMPLETE:
            self.complete(message, context)
        else:
            update(self.nats, context.id, lambda orchestration: self.persist(orchestration, context))
            self.nats.nak(message, result[1] if result != RETRY else None)

    def persist(self, orchestration, context):
        orchestration["processingData"].update(context.values)
        orchestration["outputData"].update(context.outputs)

    def complete(self, message, context):
        def change(orchestration):
            self.persist(orchestration, context)
            orchestration["completed"][context.activity["id"]] = {}
        orchestration = update(self.nats, context.id, change)
        steps = orchestration["steps"]
        own = next(i for i, step in enumerate(steps) if any(one["id"] == context.activity["id"] for one in step["activities"]))
        if orchestration["state"] != 3 and all(one["id"] in orchestration["completed"] for one in steps[own]["activities"]):
            if own + 1 < len(steps):
                for one in steps[own + 1]["activities"]:
                    self.nats.js_publish(f"event.{queue_of(one['type'])}", {"orchestrationID": context.id, "activity": one})
            else:
                orchestration = update(self.nats, context.id, lambda one: one.update(state=2, stateTimestamp=now()))
                self.respond(orchestration)
        self.nats.ack(message)

    def fail(self, message, context):
        def change(orchestration):
            self.persist(orchestration, context)
            orchestration.update(state=3, stateTimestamp=now())
            orchestration["processingData"]["error"] = getattr(context, "error", "the agent says no")
        self.respond(update(self.nats, context.id, change))
        self.nats.ack(message)

    def respond(self, orchestration):
        """Without errorDetail, as they do (T2)."""
        self.nats.js_publish("event.cfm-orchestration-response", {"id": str(uuid.uuid4()), "manifestId": orchestration["id"],
            "correlationId": orchestration["correlationId"], "orchestrationType": orchestration["orchestrationType"],
            "success": orchestration["state"] != 3, "properties": orchestration["outputData"]})


def start_orchestration(nats, id, type, steps, data=None):
    """As the existing Provision Manager does: steps is [[(activity id, type)]]."""
    make_stream(nats)
    steps = [{"activities": [{"id": one, "type": kind, "discriminator": type, "dependsOn": None} for one, kind in step]} for step in steps]
    value = {"id": id, "correlationId": f"profile-{id}", "definitionId": type, "state": 0, "stateTimestamp": now(), "createdTimestamp": now(),
        "orchestrationType": type, "steps": steps, "processingData": data or {}, "outputData": {}, "completed": {}}
    assert "error" not in nats.kv_put(BUCKET, id, value, 0)
    for one in steps[0]["activities"]:
        nats.js_publish(f"event.{queue_of(one['type'])}", {"orchestrationID": id, "activity": one})


def value_of(nats, id):
    value, _ = nats.kv_get(BUCKET, id)
    return json.loads(value) if value else None
