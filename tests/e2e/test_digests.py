"""Digests on request (RFC 9530): of the file in the head, of the bytes sent in the trailer; never of anything else."""
import base64
import concurrent.futures
import hashlib
import os

import pytest

from conftest import A, plain_answer, wait_for
from wire import H2, h1

CONTENT = os.urandom(1 << 20) * 3


def field(algorithm, content):
    name = {"sha-256": "sha256", "sha-512": "sha512"}[algorithm]
    return f"{algorithm}=:{base64.b64encode(hashlib.new(name, content).digest()).decode()}:"


@pytest.fixture(scope="module")
def shared(cell):
    return cell.shared_file(A, "digested.bin", CONTENT)


@pytest.mark.parametrize("want,algorithm", [("sha-256=1", "sha-256"), ("sha-512=1", "sha-512"), ("sha-256=1, sha-512=9", "sha-512"),
    ("unixsum=10, sha-256=3;x", "sha-256")])
def test_repr_digest_is_of_the_whole_file(cell, shared, want, algorithm):
    for method in ("GET", "HEAD"):
        response = cell.pull(*shared, method=method, headers=[("want-repr-digest", want)])
        assert response.status == 200 and response.header("repr-digest") == field(algorithm, CONTENT)
    part = cell.pull(*shared, headers=[("want-repr-digest", want), ("range", "bytes=100-199")])
    assert part.status == 206 and part.header("repr-digest") == field(algorithm, CONTENT)
    several = cell.pull(*shared, headers=[("want-repr-digest", want), ("range", "bytes=0-9,20-29")])
    assert several.status == 206 and several.header("repr-digest") == field(algorithm, CONTENT)


@pytest.mark.parametrize("want", ["sha-256=0", "md5=1", "sha-256", "sha-256=11", "sha-256=1,", "sha-256=?1", ""])
def test_what_is_not_wanted_or_not_understood_brings_nothing(cell, shared, want):
    response = cell.pull(*shared, headers=[("want-repr-digest", want), ("want-content-digest", want)])
    assert response.status == 200 and bytes(response.body) == CONTENT
    assert response.header("repr-digest") is None and not response.trailers and response.header("trailer") is None


def test_nobody_asked(cell, shared):
    response = cell.pull(*shared)
    assert response.header("repr-digest") is None and not response.trailers


RANGES = [(None, CONTENT), ("bytes=5-1000004", CONTENT[5:1000005]), ("bytes=-1", CONTENT[-1:])]


@pytest.mark.parametrize("wanted,part", RANGES)
def test_content_digest_is_of_what_was_sent(cell, shared, wanted, part):
    headers = [("want-content-digest", "sha-256=1")] + ([("range", wanted)] if wanted else [])
    for tls, port in ((True, cell.port), (False, cell.clear_port)):
        response = cell.pull(*shared, headers=headers, port=port, tls=tls)
        assert response.ended and bytes(response.body) == part
        assert response.header("trailer") == "content-digest" and response.header("content-length") == str(len(part))
        assert dict(response.trailers)["content-digest"] == field("sha-256", part)


@pytest.mark.parametrize("tls", [True, False])
def test_content_digest_over_http1_follows_the_last_chunk(cell, shared, tls):
    token, path = shared
    answer = h1(cell.port if tls else cell.clear_port,
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nRange: bytes=10-100009\r\nWant-Content-Digest: sha-512=1\r\n"
        "Connection: close\r\n\r\n".encode(), tls)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206") and b"transfer-encoding: chunked" in head and b"content-length" not in head
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            break
        body, rest = body + rest[:int(size, 16)], rest[int(size, 16) + 2:]
    assert body == CONTENT[10:100010]
    assert rest == f"content-digest: {field('sha-512', body)}\r\n\r\n".encode()


def test_http10_gets_its_bytes_without(cell, shared):
    token, path = shared
    answer = h1(cell.clear_port, f"GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nRange: bytes=0-99\r\nWant-Content-Digest: sha-256=1\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-length: 100" in head and body == CONTENT[:100]


def test_an_empty_file_has_both_in_its_head(cell):
    shared = cell.shared_file(A, "empty.bin", b"")
    response = cell.pull(*shared, headers=[("want-content-digest", "sha-256=1"), ("want-repr-digest", "sha-256=1")])
    assert response.status == 200 and response.header("content-digest") == response.header("repr-digest") == field("sha-256", b"")


def test_answers_without_the_file_have_none(cell, shared):
    etag = cell.pull(*shared, method="HEAD").header("etag")
    wants = [("want-repr-digest", "sha-256=1"), ("want-content-digest", "sha-256=1")]
    for status, headers in ((304, [("if-none-match", etag)]), (412, [("if-match", '"x"')]), (416, [("range", "bytes=99999999-")])):
        response = cell.pull(*shared, headers=wants + headers)
        assert response.status == status and response.header("repr-digest") is None and not response.trailers


def test_a_changed_file_has_the_digest_of_its_content(cell):
    token, path = cell.shared_file(A, "changing-digest.bin", b"first")
    want = [("want-repr-digest", "sha-256=1")]
    for content in (b"first", b"second", b"third!", b"other!"):
        cell.file(A, "changing-digest.bin", content)
        for _ in range(3):
            response = cell.pull(token, path, headers=want)
            assert bytes(response.body) == content and response.header("repr-digest") == field("sha-256", content)


def test_many_ask_at_once(cell):
    shared = [cell.shared_file(A, f"many-{i}.bin", os.urandom(200_000 + i)) for i in range(20)]

    def ask(i):
        token, path = shared[i % 20]
        response = cell.pull(token, path, headers=[("want-repr-digest", "sha-256=1")])
        got = response.header("repr-digest")
        return response.status, got is None or got == field("sha-256", bytes(response.body)), got is not None
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(160)))
    assert all(status == 200 and is_true for status, is_true, _ in answers)
    assert sum(given for _, _, given in answers) > 80  # a tenant's queue is short; who does not fit goes without


def test_the_wait_is_bounded_and_the_next_finds_it(own_cell):
    cell = own_cell(workers=1, settings={"dp": {"digest_wait_ms": 1}}).start()
    cell.participant(A)
    size = 300 << 20
    path = cell.file(A, "large.bin", b"")
    with open(path, "r+b") as file:
        file.truncate(size)
    cell.dataset(A, "large", "file", {"path": "large.bin"})
    token = cell.flow_token(A, cell.flow(A, "large"))
    want = [("want-repr-digest", "sha-256=1")]
    first = cell.pull(token, f"/api/public/{A}", method="HEAD", headers=want)
    assert first.status == 200 and first.header("repr-digest") is None
    got = wait_for(lambda: cell.pull(token, f"/api/public/{A}", method="HEAD", headers=want).header("repr-digest"), 30, "the digest")
    digest = hashlib.sha256()
    for _ in range(size >> 20):
        digest.update(b"\0" * (1 << 20))
    assert got == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"


def test_an_http_sources_own_digests_come_through(cell, source):
    upstream = source(plain_answer(b"far away", headers=f"Repr-Digest: {field('sha-256', b'far away')}\r\n"))
    token, path = cell.shared_http(A, "digested-far", upstream.url)
    response = cell.pull(token, path, headers=[("want-repr-digest", "sha-256=1")])
    assert response.header("repr-digest") == field("sha-256", b"far away")
    assert b"want-repr-digest: sha-256=1" in upstream.requests[-1].lower()


def test_the_cell_ends_while_digests_are_under_way(own_cell):
    cell = own_cell().start()
    cell.participant(A)
    path = cell.file(A, "huge.bin", b"")
    with open(path, "r+b") as file:
        file.truncate(4 << 30)
    cell.dataset(A, "huge", "file", {"path": "huge.bin"})
    token = cell.flow_token(A, cell.flow(A, "huge"))
    with H2(cell.port) as connection:
        for _ in range(3):
            connection.start(f"/api/public/{A}", "HEAD", [("authorization", f"Bearer {token}"), ("want-repr-digest", "sha-256=1")])
        before = cell.cpu_seconds()
        wait_for(lambda: cell.cpu_seconds() > before + 0.2, what="the digest's work")
        cell.stop()
