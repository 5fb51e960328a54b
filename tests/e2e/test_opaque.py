"""Opaque access tokens: made where dp.token_form says so, good wherever a JWT would be, refused whenever a JWT would be; the
record of the cell holds no token, outlives a kill, is seen by every process on the database, and goes when it is over."""
import hashlib
import re
import sqlite3

import pytest

from conftest import A, B, Cell, wait_for
from did import Party
from dps_fixture import set_up
from signaling import HTTP_PULL, HTTP_PUSH, ControlPlane, address_properties, random_id
from test_renewal import CONTENT, Lease, host  # noqa: F401 (host: a fixture)
from test_store_postgres import server, store_settings  # noqa: F401 (a fixture)
from wire import H2, h1

OPAQUE = {"dp": {"token_form": "opaque"}}
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    cell = Cell(tmp_path_factory.mktemp("cell"), settings=OPAQUE).start()
    try:
        for ctx in (A, B):
            furnish(cell, ctx)
        yield cell
    finally:
        cell.stop()


def furnish(cell, ctx):
    cell.participant(ctx, {"celld.dps.clear": "true", "celld.http.allow": "127.0.0.0/8"})
    cell.file(ctx, "data.bin", CONTENT)
    cell.dataset(ctx, "data", "file", {"path": "data.bin"})


def mint(cell, ctx, flow, **wishes):
    """(token, jti)"""
    status, body = cell.call("POST", f"/api/cell/v1/participants/{ctx}/flows/{flow}/token", wishes)
    assert status == 201, body
    assert TOKEN.fullmatch(body["token"]), body
    return body["token"], body["jti"]


def new_flow(cell, ctx=A, **members):
    return cell.flow(ctx, "data", random_id(), **members)


def records(cell):
    """Rows of tokens in the database, also of those that are deleted: ids and bodies."""
    with sqlite3.connect(f"file:{cell.state / 'cell.db'}?mode=ro", uri=True) as database:
        return dict(database.execute("SELECT id, body FROM record WHERE kind = 'token'").fetchall())


def digest(token):
    return hashlib.sha256(token.encode()).hexdigest()


def bytes_on_disk(cell):
    return b"".join(path.read_bytes() for path in [*cell.state.glob("cell.db*"), cell.folder / "cell.log"])


def test_it_opens_what_it_is_for_over_every_protocol(cell):
    token, _ = mint(cell, A, new_flow(cell))
    path = f"/api/public/{A}"
    for tls, port in ((True, cell.port), (False, cell.clear_port)):
        assert bytes(cell.pull(token, path, port=port, tls=tls).body) == CONTENT
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        assert h1(port, request.encode(), tls).endswith(CONTENT)
    with H2(cell.port) as connection:
        for value in (token, f"bearer {token}"):
            assert connection.get(path, headers=[("authorization", value)]).status == 200


def test_every_worker_knows_it_before_it_is_told(cell):
    flow = new_flow(cell)
    for _ in range(8):
        token, _ = mint(cell, A, flow)
        assert [cell.pull(token, f"/api/public/{A}").status for _ in range(6)] == [200] * 6


def test_what_is_not_a_token_is_refused(cell):
    token, _ = mint(cell, A, new_flow(cell))
    path = f"/api/public/{A}"
    assert cell.pull(token, path).status == 200
    other = ("B" if token[0] == "A" else "A") + token[1:]
    with H2(cell.port) as connection:
        for wrong in (other, token[:-1], token + "A", token.swapcase(), digest(token), "A" * 43, "*" * 43, token + "=", f"{token}.x.y"):
            response = connection.get(path, headers=[("authorization", f"Bearer {wrong}")])
            assert response.status == 401 and response.header("www-authenticate") == "Bearer", wrong
        twice = [("authorization", f"Bearer {token}")] * 2
        assert connection.get(path, headers=twice).status in (400, 401)
        assert connection.get(path, headers=[("authorization", f"Basic {token}")]).status == 401


def test_a_tenant_knows_its_own_alone(cell):
    token, _ = mint(cell, B, new_flow(cell, B))
    assert cell.pull(token, f"/api/public/{A}").status in (401, 403)
    assert cell.pull(token, f"/api/public/{B}").status == 200
    assert cell.pull(token, f"/api/public/{A}").status in (401, 403)  # also when it is remembered


def test_it_ends_with_what_ends_a_jwt(cell):
    flow = new_flow(cell)
    (token, jti), (other, _) = mint(cell, A, flow), mint(cell, A, flow)
    api, path = f"/api/cell/v1/participants/{A}/flows/{flow}", f"/api/public/{A}"

    def statuses(one):
        return {cell.pull(one, path).status for _ in range(4)}  # on whatever worker
    assert statuses(token) == statuses(other) == {200}
    assert cell.call("POST", f"{api}/suspend")[0] == 200
    assert statuses(token) == {403}
    assert cell.call("POST", f"{api}/resume")[0] == 200
    assert statuses(token) == {200}
    assert cell.call("DELETE", f"{api}/tokens/{jti}")[0] == 204
    assert (statuses(token), statuses(other)) == ({403}, {200})
    assert cell.call("POST", f"{api}/terminate")[0] == 200
    assert statuses(other) == {403}


def test_a_participant_that_is_deactivated_or_deleted(own_cell):
    cell = own_cell(settings=OPAQUE).start()
    furnish(cell, A)
    token, _ = mint(cell, A, new_flow(cell))
    path, api = f"/api/public/{A}", f"/api/mgmt/v5beta/participants/{A}"
    assert cell.pull(token, path).status == 200
    for verb, expected in (("deactivate", 404), ("activate", 200)):
        cell.ctl("participants", verb, A)
        assert cell.pull(token, path).status == expected
    assert digest(token) in records(cell)
    assert cell.call("DELETE", api)[0] == 200
    assert cell.pull(token, path).status == 404
    assert records(cell) == {}
    furnish(cell, A)
    new_flow(cell)
    assert cell.pull(token, path).status == 401


def test_nothing_of_it_is_kept_but_its_digest_and_that_outlives_a_kill(own_cell):
    cell = own_cell(settings=OPAQUE).start()
    furnish(cell, A)
    flow = new_flow(cell)
    tokens = [mint(cell, A, flow)[0] for _ in range(5)]
    path = f"/api/public/{A}"
    assert {cell.pull(token, path).status for token in tokens} == {200}
    for end in (cell.kill, cell.stop):
        end()
        stored = bytes_on_disk(cell)
        for token in tokens:
            assert token.encode() not in stored and digest(token) in records(cell)
        cell.start()
        assert {cell.pull(token, path).status for token in tokens} == {200}


def test_what_is_over_leaves_no_trace(own_cell):
    cell = own_cell(settings=OPAQUE).start()
    furnish(cell, A)
    flow, doomed = new_flow(cell), new_flow(cell)
    live, lost = (mint(cell, A, name, lifetimeSeconds=600)[0] for name in (flow, doomed))
    path = f"/api/public/{A}"
    assert {cell.pull(token, path).status for token in (live, lost)} == {200}
    for seconds in (1, 2, 4, 8):  # as short as this machine lets it be used at all
        short, _ = mint(cell, A, flow, lifetimeSeconds=seconds)
        if cell.pull(short, path).status == 200:
            break
    else:
        pytest.fail("a token that was never good")
    wait_for(lambda: cell.pull(short, path).status == 401, 30, "the end of the token")
    assert cell.call("DELETE", f"/api/cell/v1/participants/{A}/flows/{doomed}")[0] == 204
    assert cell.pull(lost, path).status in (401, 403)
    # each pull is booked, so there are commits
    wait_for(lambda: cell.pull(live, path).status == 200 and set(records(cell)) == {digest(live)}, 30, "the end of the records")
    assert cell.pull(lost, path).status == 401


def test_renewal(cell, host):
    lease = Lease(cell, Party(host, f"party-{random_id()}"))
    first, refresh = lease.access, lease.refresh
    lost = lease.ask()[1]  # the answer that never arrived
    assert TOKEN.fullmatch(lost["access_token"]) and lost["access_token"] not in (first, refresh, lost["refresh_token"])
    status, again = lease.ask()
    assert status == 200 and {again[name] == lost[name] for name in ("access_token", "refresh_token")} == {True}
    assert {lease.pulls(token) for token in (first, again["access_token"])} == {200}
    lease.access, lease.refresh = again["access_token"], again["refresh_token"]
    lease.renew()
    assert lease.pulls() == lease.pulls(first) == 200  # as long as it is good
    assert lease.ask(refresh=refresh)[0] == 401
    # what is wrong is wrong as ever
    party, provider = lease.party, lease.provider
    for wrong in ("A" * 43, lease.refresh, digest(lease.access), lease.access[:-1]):
        assert lease.ask(proof=party.proof(provider, wrong)) == (401, {"error": "invalid_client"})
    other = Lease(cell, party)
    assert lease.ask(proof=party.proof(provider, other.access))[0] == 401
    # a revoked one renews nothing, another of the flow does
    spare, jti = mint(cell, A, lease.flow)
    assert cell.call("DELETE", f"/api/cell/v1/participants/{A}/flows/{lease.flow}/tokens/{jti}")[0] == 204
    assert lease.ask(proof=party.proof(provider, spare))[0] == 401
    lease.renew()
    assert cell.call("POST", f"/api/cell/v1/participants/{A}/flows/{lease.flow}/suspend")[0] == 200
    assert lease.ask()[0] == lease.pulls() == 403


def test_renewals_after_the_end_of_the_token_a_restart_and_a_kill(own_cell, host):
    cell = own_cell(settings={"dp": {"token_form": "opaque", "renewal_lifetime_ms": "1 s"}}).start()
    furnish(cell, A)
    lease = Lease(cell, Party(host, "chain"))
    for end in (None, cell.kill, cell.stop, None, None, None):
        wait_for(lambda: lease.pulls() == 401, 30, "the end of the token")
        refresh, lost = lease.refresh, lease.ask()[1]
        if end is not None:
            end()
            cell.start()
        wait_for(lambda: lease.pulls(lost["access_token"]) == 401, 30, "the end of the token nobody got")
        lease.renew(refresh=refresh)
        assert lease.access == lost["access_token"] and lease.pulls() == 200  # good for longer
    wait_for(lambda: cell.call("PUT", f"/api/cell/v1/participants/{A}/secrets/any", {"value": random_id()})[0] in (200, 201, 204)
        and cell.flow(A, "data", random_id()) and len(records(cell)) <= 2, 30, "the end of what its holder has replaced")
    assert digest(lease.access) in records(cell)
    lease.renew()


def test_one_form_renews_the_other(own_cell, host):
    cell = own_cell().start()
    furnish(cell, A)
    lease = Lease(cell, Party(host, "both"))
    assert lease.access.count(".") == 2
    for form in ("opaque", "jwt", "opaque"):
        cell.stop()
        cell.config["dp"] = {"token_form": form}
        cell.start()
        old = lease.access
        assert lease.pulls() == 200
        lease.renew()
        assert (TOKEN.fullmatch(lease.access) is not None) == (form == "opaque")
        assert lease.pulls() == lease.pulls(old) == 200


def test_offers_to_control_planes(own_cell):
    cell, control_plane = own_cell(settings=OPAQUE).start(), ControlPlane()
    try:
        signaling = set_up(cell, A, control_plane)
        process, message = random_id(), random_id()
        answers = [signaling.start(process, HTTP_PULL, datasetId="file", messageId=message) for _ in range(2)]  # the second is a repetition
        for answer in answers:
            assert answer.status == 200, answer
            token = address_properties(answer.body["dataAddress"])["authorization"]
            assert TOKEN.fullmatch(token)
            assert bytes(cell.pull(token, f"/api/public/{A}").body) == b"given\n"
        assert signaling.move(process, "suspend").status == 200
        assert cell.pull(token, f"/api/public/{A}").status == 403
        resumed = address_properties(signaling.move(process, "resume").body["dataAddress"])["authorization"]
        assert {cell.pull(one, f"/api/public/{A}").status for one in (token, resumed)} == {200}
        assert signaling.move(process, "terminate").status == 200
        assert {cell.pull(one, f"/api/public/{A}").status for one in (token, resumed)} == {403}
        # where this side receives
        process = random_id()
        address = signaling.prepare(process, HTTP_PUSH, datasetId="whatever").body["dataAddress"]
        token = address_properties(address)["authorization"]
        assert TOKEN.fullmatch(token)
        path = f"/api/ingest/{A}/{process}/got.txt"
        assert cell.pull("A" * 43, path, "PUT", body=b"pushed").status == 401
        assert cell.pull(token, path, "PUT", body=b"pushed").status in (200, 201, 204)
        assert cell.pull(token, f"/api/public/{A}").status == 403
    finally:
        control_plane.stop()


def test_two_processes_on_one_database(server, own_cell, tmp_path, host):  # noqa: F811
    settings = {**store_settings(server, tmp_path, server.database("opaque")), **OPAQUE}
    one = own_cell(settings=settings)
    (tmp_path / "cell1").mkdir()
    other = own_cell(settings=settings)
    for cell in (one, other):
        cell.start()
    furnish(one, A)
    other.file(A, "data.bin", CONTENT)
    lease = Lease(one, Party(host, "wanderer"))
    path = f"/api/public/{A}"

    def both(token, status):
        wait_for(lambda: {cell.pull(token, path).status for cell in (one, other)} == {status}, 30, f"{status} at both")
    both(lease.access, 200)
    old = lease.access
    lease.renew(port=other.port)
    both(lease.access, 200)
    both(old, 200)
    lease.renew(port=one.port)
    api = f"/api/cell/v1/participants/{A}/flows/{lease.flow}"
    for verb, status in (("suspend", 403), ("resume", 200)):
        assert other.call("POST", f"{api}/{verb}", token=other.token())[0] == 200
        both(lease.access, status)
    assert one.call("DELETE", api)[0] == 204
    wait_for(lambda: {cell.pull(lease.access, path).status for cell in (one, other)} <= {401, 403}, 30, "the end at both")
