"""The cell on PostgreSQL: the store's suite, a cell that comes back, a server that dies amid work, two processes on one record."""
import json
import os
import pathlib
import subprocess
import threading
import time

import pytest

from conftest import A, B, PROGRAMS, plain_answer, wait_for
import postgres

TESTS = pathlib.Path(os.environ.get("CELLD_TESTS", PROGRAMS.parent / "tests"))


@pytest.fixture(scope="module")
def server():
    if postgres.PROGRAMS is None:
        pytest.fail("PostgreSQL 14 or newer is needed: apt-get install postgresql")
    made = postgres.Postgres()
    try:
        yield made.start()
    finally:
        made.stop()


def store_settings(server, folder, database, **options):
    file = folder / f"{database}.connection"
    file.write_text(server.options(database, **options))
    file.chmod(0o600)
    return {"store": {"backend": "postgres", "connection_file": str(file), "poll_ms": "20 ms", "statement_ms": "2 s"}}


@pytest.mark.parametrize("host", [None, "127.0.0.1"], ids=["socket", "tcp"])
def test_the_suite_of_the_store(server, host):
    database = server.database("suite_" + ("tcp" if host else "socket"))
    result = subprocess.run([TESTS / "store_postgres_suite"], env={**os.environ, "CELLD_POSTGRES": server.options(database, host)},
        capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_cell_comes_back_with_everything(server, own_cell, tmp_path):
    cell = own_cell(settings=store_settings(server, tmp_path, server.database("one"))).start()
    cell.participant(A)
    token, path = cell.shared_file(A, "file.txt", b"content")
    assert bytes(cell.pull(token, path).body) == b"content"
    assert not (cell.state / "cell.db").exists()
    for end in (cell.stop, cell.kill):
        end()
        cell.start()
        assert cell.call("GET", f"/api/mgmt/v5beta/participants/{A}")[1]["state"] == "ACTIVATED"
        response = cell.pull(token, path)
        assert (response.status, bytes(response.body)) == (200, b"content")
    assert cell.call("DELETE", f"/api/mgmt/v5beta/participants/{A}")[0] == 200
    assert cell.pull(token, path).status == 404
    assert server.sql("SELECT count(*) FROM record WHERE body IS NOT NULL", "one").stdout.strip() == "0"
    assert "first secret" not in (cell.folder / "cell.log").read_text()


def test_a_cell_without_its_server_says_so_in_one_line(server, own_cell, tmp_path):
    cell = own_cell(settings=store_settings(server, tmp_path, "no_such_database"))
    cell.start(wait=False)
    assert cell.process.wait(20) != 0
    assert "no_such_database" in cell.log_tail(1) and "first secret" not in cell.log_tail(10)


class Writers:
    """Threads that create participants without pause, and remember what they were told."""

    def __init__(self, cell, count=3):
        self.cell, self.acknowledged, self.statuses, self.stopping, self.unclear = cell, [], set(), threading.Event(), []
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(count)]
        cell.token()
        for thread in self.threads:
            thread.start()

    def run(self, number):
        count = 0
        while not self.stopping.is_set():
            count += 1
            ctx = f"{number:08x}{count:024x}"
            status, body = self.cell.call("POST", "/api/mgmt/v5beta/participants", {"@id": ctx, "identity": "did:web:x.example"})
            self.statuses.add(status)
            if status == 200:
                self.acknowledged.append(ctx)
            elif not (isinstance(body, list) and body[0]["message"]):
                self.unclear.append((status, body))

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert not self.unclear, self.unclear[:3]


def test_a_server_killed_amid_work_loses_nothing_acknowledged(server, own_cell, tmp_path):
    cell = own_cell(settings=store_settings(server, tmp_path, server.database("killed"))).start()
    cell.participant(B)
    token, path = cell.shared_file(B, "file.txt", b"content")
    process = cell.process.pid
    writers = Writers(cell)
    for _ in range(3):
        before = len(writers.acknowledged)
        wait_for(lambda: len(writers.acknowledged) > before + 20, 30, "writes")
        server.crash()
        writers.statuses.clear()
        wait_for(lambda: 503 in writers.statuses, 30, "a clear refusal")
        assert cell.pull(token, path).status == 200  # the data path does not care
        assert cell.admin("/healthz/ready")[0] == 503 and cell.admin("/healthz/live")[0] == 200
        server.start()
        wait_for(cell.is_ready, 30, "readiness")
    before = len(writers.acknowledged)
    wait_for(lambda: len(writers.acknowledged) > before + 20, 30, "writes")
    writers.stop()
    assert writers.statuses <= {200, 503}
    assert cell.process.poll() is None and cell.process.pid == process

    def listed():
        return {item["@id"] for item in cell.call("GET", "/api/mgmt/v5beta/participants?limit=100000")[1]}
    served = listed()
    assert served >= {*writers.acknowledged, B}
    cell.kill()
    cell.start()
    assert listed() == served  # what was in memory is what is stored


def test_a_server_that_hangs_is_given_up(server, own_cell, tmp_path):
    settings = store_settings(server, tmp_path, server.database("hangs"), host="127.0.0.1")
    cell = own_cell(settings=settings).start()
    cell.participant(B)
    token, path = cell.shared_file(B, "file.txt", b"content")
    server.freeze(True)
    try:
        begun = time.monotonic()
        status, body = cell.call("POST", "/api/mgmt/v5beta/participants", {"@id": A, "identity": "did:web:x.example"})
        assert status == 503 and body[0]["type"] == "Unavailable"
        assert time.monotonic() - begun < 10
        assert cell.pull(token, path).status == 200
    finally:
        server.freeze(False)
    wait_for(cell.is_ready, 30, "readiness")
    assert cell.call("POST", "/api/mgmt/v5beta/participants", {"@id": A, "identity": "did:web:x.example"})[0] in (200, 409)


def test_two_processes_share_one_record(server, own_cell, tmp_path, source):
    upstream = source(plain_answer(b"shared"))
    settings = store_settings(server, tmp_path, server.database("shared"))
    cells = [own_cell(settings=settings)]
    second = tmp_path / "cell1"
    second.mkdir()
    cells.append(own_cell(settings=settings))
    for cell in cells:
        cell.start()
    cells[0].participant(A)
    token, path = cells[0].shared_http(A, "one", upstream.url)
    # LISTEN/NOTIFY, then the poll
    response = wait_for(lambda: (answer := cells[1].pull(token, path + "/x")).status == 200 and answer, 30, "the other process")
    assert bytes(response.body) == b"shared"
    assert cells[1].call("DELETE", f"/api/mgmt/v5beta/participants/{A}", token=cells[1].token())[0] == 200
    wait_for(lambda: cells[0].pull(token, path + "/x").status == 404, 30, "the end everywhere")


def test_the_books_of_two_processes_add_up(server, own_cell, tmp_path):
    """Each keeps its own totals and its own chain of receipts; a quota counts both."""
    settings = store_settings(server, tmp_path, server.database("books"))
    one = own_cell(settings={**settings, "dp": {"flush_ms": "100 ms", "source_root": str(tmp_path / "sources")}}).start()
    one.participant(A)
    other = own_cell(settings={**settings, "dp": {"flush_ms": "100 ms", "source_root": str(tmp_path / "sources")}}).start()
    path = tmp_path / "sources" / A / "file.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(1 << 20))
    one.dataset(A, "file", "file", {"path": "file.bin"})
    policy = {"@type": "Set", "permission": [{"action": "use", "constraint": [
        {"leftOperand": "volume", "operator": "lteq", "rightOperand": "5 MiB"}]}]}
    assert one.call("PUT", f"/api/cell/v1/participants/{A}/agreements/shared", {"policy": policy})[0] == 204
    token = one.flow_token(A, one.flow(A, "file", agreementId="shared"))
    url = f"/api/public/{A}"

    def book(cell):
        return cell.call("GET", f"/api/cell/v1/participants/{A}/agreements/shared/book")[1]["bytesSent"] >> 20
    # the keys and the flow reach the other by the record
    wait_for(lambda: other.pull(token, url).status == 200, what="a pull at the other")
    wait_for(lambda: book(one) == book(other) == 1, what="one MiB in both books")
    for sum_of_both in (3, 5):
        for cell in (one, other):
            assert cell.pull(token, url).status == 200
        wait_for(lambda: book(one) == book(other) == sum_of_both, what="the same in both books")
    assert one.pull(token, url).status == other.pull(token, url).status == 403
    lines = wait_for(lambda: (text := one.ctl("receipt", "export", A).stdout) and text.count('"hash"') == 5 and text, what="five receipts")
    # a chain of each; the other's vault has not the participant's key, and its receipts do not pretend
    signed = [json.loads(line)["signature"] is not None for line in lines.splitlines() if '"hash"' in line]
    assert sorted(signed) == [False] * 3 + [True] * 2
    result = other.ctl("receipt", "verify", "-", check=False, input=lines)
    assert result.returncode == 1 and "the last 3 receipts" in result.stdout and "not signed" in result.stdout
