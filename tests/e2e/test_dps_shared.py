"""Callbacks of cells that share a database: one sends, another takes over; and what the clock has to do after a restart."""
import pytest

from conftest import A, wait_for
from dps_fixture import TARGET, control_plane, set_up  # noqa: F401 (control_plane: a fixture)
from signaling import HTTP_PUSH, random_id
from test_store_postgres import server, store_settings  # noqa: F401 (a fixture)

FAST = {"dp": {"callback_min_ms": 50, "callback_max_ms": 400, "callback_timeout_ms": 1000}}


@pytest.fixture
def cells(server, own_cell, tmp_path):  # noqa: F811
    settings = {**store_settings(server, tmp_path, server.database(f"d{random_id().replace('-', '')}")), **FAST}
    made = [own_cell(settings=settings)]
    (tmp_path / "cell1").mkdir()
    made.append(own_cell(settings=settings))
    for cell in made:
        cell.start()
    return made


def test_one_of_two_processes_sends(cells, control_plane):
    first = set_up(cells[0], A, control_plane)
    cells[0].dataset(A, "quick", "external", {"readyAfterMs": "30", "completeAfterMs": "200"})
    control_plane.answer = lambda *_: 200
    flows = [random_id() for _ in range(20)]
    for flow in flows:
        assert first.start(flow, HTTP_PUSH, datasetId="quick", dataAddress=TARGET).status == 202
    for flow in flows:
        control_plane.wait_taken(flow, ["started", "completed"], 30)
        first.wait_state(flow, "COMPLETED")
    sent = [cell.metric("celld_dp_callbacks_total") for cell in cells]
    assert sum(sent) == 2 * len(flows), sent
    assert len(control_plane.callbacks) == 2 * len(flows)


def test_the_other_takes_over(cells, control_plane):
    first = set_up(cells[0], A, control_plane)
    cells[0].dataset(A, "quick", "external", {"readyAfterMs": "30"})
    control_plane.answer = lambda *_: 503
    flows = [random_id() for _ in range(5)]
    for flow in flows:
        assert first.prepare(flow, datasetId="quick").status == 202
    wait_for(lambda: all(len(control_plane.of(flow)) >= 2 for flow in flows), 30, "tries")
    cells[0].kill()
    control_plane.answer = lambda *_: 200
    for flow in flows:
        wait_for(lambda: control_plane.taken(flow) == ["prepared"], 30, "the other process")
    wait_for(lambda: cells[1].metric("celld_dp_callbacks_total") >= len(flows), what="the count: it comes after the answer")


def test_the_clock_survives_a_restart(own_cell, control_plane):
    cell = own_cell(settings=FAST).start()
    signaling = set_up(cell, A, control_plane)
    cell.dataset(A, "later", "external", {"readyAfterMs": "1500", "completeAfterMs": "500"})
    control_plane.answer = lambda *_: 200
    prepared, started = random_id(), random_id()
    assert signaling.prepare(prepared, datasetId="later").body["state"] == "PREPARING"
    assert signaling.start(started, datasetId="later").body["state"] == "STARTING"
    for end in (cell.kill, cell.stop):
        end()
        cell.start()
    control_plane.wait_taken(prepared, ["prepared"], 30)
    control_plane.wait_taken(started, ["started", "completed"], 30)
    [callback] = [one for one in control_plane.of(started) if one.operation == "started"]
    assert callback.message["dataAddress"]["endpoint"].startswith("http://127.0.0.1"), callback
    signaling.wait_state(started, "COMPLETED")
