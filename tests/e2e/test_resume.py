"""A transfer that was cut goes on: with a new token, after a restart, on another cell; never as a mixture of two contents."""
import hashlib
import os
import shutil

import pytest

from conftest import A, B
from wire import H2

CONTENT = os.urandom(1 << 20) * 6


def pull_part(cell, token, path, wanted, headers=()):
    """Reads at least `wanted` bytes and hangs up; (bytes, etag)."""
    with H2(cell.port) as connection:
        stream = connection.start(path, headers=[("authorization", f"Bearer {token}"), *headers])
        response = connection.wait(stream, until=lambda answer: len(answer.body) >= wanted)
        assert not response.ended
        return bytes(response.body), response.header("etag")


def go_on(cell, token, path, got, etag):
    """The rest, as a client asks for it that wants all if it changed."""
    response = cell.pull(token, path, headers=[("range", f"bytes={len(got)}-"), ("if-range", etag)])
    assert response.ended
    return response


def same(*parts):
    return hashlib.sha256(b"".join(bytes(part) for part in parts)).digest() == hashlib.sha256(CONTENT).digest()


def share(cell, name="resumed", **properties):
    cell.file(A, "resumed.bin", CONTENT)
    cell.dataset(A, name, "file", {"path": "resumed.bin", **properties})
    return cell.flow(A, name), f"/api/public/{A}"


def test_with_a_new_token_after_kill_and_restart(own_cell):
    cell = own_cell().start()
    cell.participant(A)
    flow, path = share(cell)
    got, etag = pull_part(cell, cell.flow_token(A, flow), path, len(CONTENT) // 2)
    assert not etag.startswith("W/")
    cell.kill()
    cell.start()
    rest = go_on(cell, cell.flow_token(A, flow), path, got, etag)
    assert rest.status == 206 and rest.header("etag") == etag
    assert rest.header("content-range") == f"bytes {len(got)}-{len(CONTENT) - 1}/{len(CONTENT)}"
    assert same(got, rest.body)


@pytest.mark.parametrize("version,with_times", [(None, True), ("2026-11", False)])
def test_on_a_second_cell_with_a_copy_of_the_file(own_cell, version, with_times):
    properties = {"version": version} if version else {}
    cells = [own_cell(workers=1).start() for _ in range(2)]
    for cell in cells:
        cell.participant(A)
        flow, path = share(cell, **properties)
    copy = shutil.copy2 if with_times else shutil.copyfile
    target = cells[1].state / "sources" / A / "resumed.bin"
    target.unlink()
    copy(cells[0].state / "sources" / A / "resumed.bin", target)
    got, etag = pull_part(cells[0], cells[0].flow_token(A, flow), path, len(CONTENT) // 2)
    cells[0].kill()
    rest = go_on(cells[1], cells[1].flow_token(A, flow), path, got, etag)
    assert rest.status == 206 and rest.header("etag") == etag
    assert same(got, rest.body)


def test_ranges_by_several_tokens_make_one_whole(cell):
    flow, path = share(cell, "ranges")
    etag = cell.pull(cell.flow_token(A, flow), path, "HEAD").header("etag")
    parts, step = [], len(CONTENT) // 5 + 1
    for at in range(0, len(CONTENT), step):
        response = cell.pull(cell.flow_token(A, flow), path, headers=[("range", f"bytes={at}-{at + step - 1}"), ("if-match", etag)])
        assert response.status == 206 and response.header("etag") == etag
        parts.append(response.body)
    assert same(*parts)


def test_a_suspended_flow_goes_on_with_the_same_token(cell):
    flow, path = share(cell, "suspended")
    token = cell.flow_token(A, flow)
    got, etag = pull_part(cell, token, path, len(CONTENT) // 3)
    base = f"/api/cell/v1/participants/{A}/flows/{flow}"
    assert cell.call("POST", f"{base}/suspend")[0] == 200
    assert go_on(cell, token, path, got, etag).status == 403
    assert cell.call("POST", f"{base}/resume")[0] == 200
    rest = go_on(cell, token, path, got, etag)
    assert rest.status == 206 and same(got, rest.body)


def test_a_changed_file_or_version_begins_anew(cell):
    flow, path = share(cell, "changed", version="1")
    got, etag = pull_part(cell, cell.flow_token(A, flow), path, len(CONTENT) // 2)
    cell.dataset(A, "changed", "file", {"path": "resumed.bin", "version": "2"})
    again = go_on(cell, cell.flow_token(A, flow), path, got, etag)
    assert again.status == 200 and same(again.body) and again.header("etag") != etag
    cell.dataset(A, "changed", "file", {"path": "resumed.bin"})
    got, etag = pull_part(cell, cell.flow_token(A, flow), path, len(CONTENT) // 2)
    other = CONTENT[::-1]
    cell.file(A, "resumed.bin", other)
    again = go_on(cell, cell.flow_token(A, flow), path, got, etag)
    assert again.status == 200 and bytes(again.body) == other
    assert go_on(cell, cell.flow_token(A, flow), path, got, f"W/{again.header('etag')}").status == 200, "weak is not enough"


def test_two_datasets_of_one_file_share_no_validator(cell):
    cell.file(A, "shared.bin", b"x" * 100)
    seen = {}
    for ctx, name in ((A, "one"), (A, "two"), (B, "one")):
        if ctx == B:
            (cell.state / "sources" / B).mkdir(parents=True, exist_ok=True)
            shutil.copy2(cell.state / "sources" / A / "shared.bin", cell.state / "sources" / B / "shared.bin")
        cell.dataset(ctx, name, "file", {"path": "shared.bin"})
        token = cell.flow_token(ctx, cell.flow(ctx, name, f"share-{name}"))
        seen[ctx, name] = cell.pull(token, f"/api/public/{ctx}").header("etag")
    assert len(set(seen.values())) == 3


# --- HTTP sources

def ranged(content, etag):
    """A source that knows ETag, If-Range, If-None-Match, If-Match and one range."""
    def behave(connection, head, buffered):
        fields = {}
        for line in head.decode().split("\r\n")[1:]:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        status, body, more = "200 OK", content, ""
        if "if-match" in fields and etag not in fields["if-match"]:
            status, body = "412 Precondition Failed", b""
        elif etag in fields.get("if-none-match", ""):
            status, body = "304 Not Modified", b""
        elif "range" in fields and fields.get("if-range", etag) == etag:
            first = int(fields["range"].split("=")[1].split("-")[0])
            status, body = "206 Partial Content", content[first:]
            more = f"Content-Range: bytes {first}-{len(content) - 1}/{len(content)}\r\n"
        length = "" if status.startswith("304") else f"Content-Length: {len(body)}\r\n"
        connection.sendall(f"HTTP/1.1 {status}\r\nETag: {etag}\r\n{more}{length}\r\n".encode() + (b"" if head.startswith(b"HEAD") else body))
        return buffered
    return behave


def test_an_http_source_goes_on_too(cell, source):
    upstream = source(ranged(CONTENT, '"v7"'))
    token, path = cell.shared_http(A, "far", upstream.url)
    got, etag = pull_part(cell, token, path, len(CONTENT) // 2)
    assert etag.endswith('.v7"') and etag != '"v7"'
    rest = go_on(cell, cell.flow_token(A, "flow-far"), path, got, etag)
    assert rest.status == 206 and rest.header("etag") == etag and same(got, rest.body)
    assert b'if-range: "v7"' in upstream.requests[-1].lower()
    assert cell.pull(token, path, headers=[("if-none-match", etag)]).status == 304
    assert cell.pull(token, path, headers=[("if-none-match", '"v7"')]).status == 200, "the source's own tag is not ours"
    assert cell.pull(token, path, headers=[("if-match", etag)]).status == 200
    assert cell.pull(token, path, headers=[("if-match", '"v7"')]).status == 412
    other_token, _ = cell.shared_http(A, "far2", upstream.url)
    other = go_on(cell, other_token, path, got, etag)
    assert other.status == 200 and same(other.body), "another dataset's tag does not continue this one"
    cell.dataset(A, "far", "http", {"baseUrl": upstream.url, "version": "8"})
    assert go_on(cell, token, path, got, etag).status == 200


def test_weak_tags_of_a_source_stay_weak(cell, source):
    upstream = source(ranged(CONTENT, 'W/"v1"'))
    token, path = cell.shared_http(A, "weak", upstream.url)
    etag = cell.pull(token, path, "HEAD").header("etag")
    assert etag.startswith('W/"') and etag.endswith('.v1"')
    assert go_on(cell, token, path, CONTENT[:10], etag).status == 200
    assert cell.pull(token, path, headers=[("if-none-match", etag)]).status == 304
