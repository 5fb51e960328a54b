"""S3 as a source and as a sink, against a store that checks each signature itself."""
import os
import socket

import pytest

from conftest import A, B, Cell, wait_for
from s3 import Refusal, Store
from test_ingest import consumer, link, offset, segment, send
from test_push import completed, push, receiver  # noqa: F401 (a fixture)

BIG = os.urandom(1 << 20) * 36 + b"tail"
PART = 8 << 20


def make(folder):
    cell = Cell(folder, settings={"dp": {"push_pause_ms": 20, "push_retries": 20}})
    cell.config["client"] = {"ca_file": str(cell.certificate)}
    cell.start()
    cell.participant(A)
    cell.participant(B)
    cell.file(A, "big.bin", BIG)
    cell.dataset(A, "big", "file", {"path": "big.bin"})
    return cell


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    cell = make(tmp_path_factory.mktemp("s3"))
    yield cell
    cell.stop()


@pytest.fixture
def store():
    made = []

    def make(**arguments):
        made.append(Store(**arguments))
        return made[-1]
    yield make
    for one in made:
        one.stop()


def share(cell, store, name, secret=None, **properties):
    """A dataset on the store, its flow's token and path."""
    assert cell.call("PUT", f"/api/cell/v1/participants/{A}/secrets/s3-{name}", {"value": secret or store.secret_json()})[0] == 204
    cell.dataset(A, name, "s3", {"region": store.region, "bucketName": store.bucket, "endpointOverride": store.url,
        "keyName": f"s3-{name}", **properties})
    return cell.flow_token(A, cell.flow(A, name)), f"/api/public/{A}"


def test_one_object(cell, store):
    server = store(session="session/token+canary")
    server.put("folder/with space/ä+=&?.txt", b"0123456789" * 10, "text/plain")
    token, path = share(cell, server, "one", objectName="folder/with space/ä+=&?.txt")
    response = cell.pull(token, path)
    assert (response.status, bytes(response.body)) == (200, b"0123456789" * 10)
    assert response.header("content-type") == "text/plain" and response.header("accept-ranges") == "bytes"
    assert response.header("etag") and response.header("last-modified")
    assert response.header("x-amz-request-id") is None and response.header("server") != "AmazonS3"
    head = cell.pull(token, path, "HEAD")
    assert (head.status, head.header("content-length"), len(head.body)) == (200, "100", 0)
    assert cell.pull(token, f"{path}/below").status == 404
    assert cell.pull(token, path, "POST", body=b"x").status == 405
    sent = server.requests[0][2]
    assert {name.lower() for name in sent} <= {"host", "authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"}


def test_a_prefix(cell, store):
    server = store()
    server.put("base/year/a b.txt", b"one")
    server.put("base/year", b"two")
    server.put("secret/x", b"not shared")
    token, path = share(cell, server, "prefix", folderName="base")
    assert bytes(cell.pull(token, f"{path}/year/a%20b.txt").body) == b"one"
    assert bytes(cell.pull(token, f"{path}/year").body) == b"two"
    for escape in ("/../secret/x", "/%2e%2e/secret/x", "/year/../../secret/x", ""):
        assert cell.pull(token, path + escape).status in (400, 404)
    assert not any("secret" in target for _, target, _ in server.requests)


RANGES = [("bytes=0-9", 206, 0, 10), ("bytes=95-", 206, 95, 100), ("bytes=-3", 206, 97, 100), ("bytes=90-1000", 206, 90, 100)]


@pytest.mark.parametrize("value,status,first,last", RANGES)
def test_ranges(cell, store, value, status, first, last):
    server = store()
    server.put("o", bytes(range(100)))
    token, path = share(cell, server, "range" + value.replace("=", "-"), objectName="o")
    response = cell.pull(token, path, headers=[("range", value)])
    assert (response.status, bytes(response.body)) == (status, bytes(range(100))[first:last])
    assert response.header("content-range") == f"bytes {first}-{last - 1}/100"


def test_conditions(cell, store):
    server = store()
    server.put("o", b"0123456789")
    token, path = share(cell, server, "conditions", objectName="o")
    tag = cell.pull(token, path).header("etag")
    assert cell.pull(token, path, headers=[("if-none-match", tag)]).status == 304
    assert cell.pull(token, path, headers=[("if-match", '"other"')]).status == 412
    unsatisfiable = cell.pull(token, path, headers=[("range", "bytes=10-")])
    assert unsatisfiable.status == 416 and unsatisfiable.header("content-range") == "bytes */10"
    # the store does not know If-Range: it is answered rightly all the same
    part = [("range", "bytes=2-3")]
    same = cell.pull(token, path, headers=[*part, ("if-range", tag)])
    assert (same.status, bytes(same.body)) == (206, b"23")
    for guard in ('"other"', f"W/{tag}", "Sun, 06 Nov 1994 08:49:37 GMT"):
        other = cell.pull(token, path, headers=[*part, ("if-range", guard)])
        assert (other.status, bytes(other.body)) == (200, b"0123456789"), guard


REFUSALS = [("a wrong key", {"secret": '{"accessKeyId":"AKIDEXAMPLE","secretAccessKey":"wrong"}'}, {}, 403),
    ("an unknown object", {}, {"objectName": "nothing"}, 404), ("an unknown bucket", {}, {"bucketName": "other-bucket"}, 404),
    ("another region", {}, {"region": "eu-other-1"}, 400), ("no JSON", {"secret": "plain"}, {}, 502),
    ("half a key", {"secret": '{"accessKeyId":"AKIDEXAMPLE"}'}, {}, 502)]


@pytest.mark.parametrize("name,arguments,properties,status", REFUSALS)
def test_refusals_of_the_store_are_passed_on_without_its_words(cell, store, name, arguments, properties, status):
    server = store()
    server.put("o", b"content")
    token, path = share(cell, server, "refusal-" + name.replace(" ", "-"), **arguments, **{"objectName": "o", **properties})
    response = cell.pull(token, path)
    assert response.status == status
    for word in (b"<", b"Code", b"bucket", b"AKID", b"Signature"):
        assert word not in bytes(response.body), response.body


def test_inline_secrets_and_wrong_properties_are_refused(cell, store):
    good = {"region": "eu-1", "bucketName": "bucket", "keyName": "k", "objectName": "o"}
    for changed, name in (({"accessKeyId": "a"}, "accessKeyId"), ({"secretAccessKey": "a"}, "secretAccessKey"),
            ({"bucketName": "Bucket_"}, "bucketName"), ({"region": ""}, "region"), ({"keyName": ""}, "keyName"),
            ({"endpointOverride": "http://h/path"}, "endpointOverride"), ({"addressingStyle": "other"}, "addressingStyle"),
            ({"objectName": "x" * 1025}, "objectName")):
        status, body = cell.call("PUT", f"/api/cell/v1/participants/{A}/datasets/wrong", {"id": "wrong", "type": "s3", "properties": {**good, **changed}})
        assert status == 400 and body["detail"].startswith(name), (changed, body)


def test_a_new_secret_counts_at_once(cell, store):
    server = store()
    server.put("o", b"content")
    token, path = share(cell, server, "rotated", objectName="o", secret='{"accessKeyId":"AKIDEXAMPLE","secretAccessKey":"old"}')
    assert cell.pull(token, path).status == 403
    assert cell.call("PUT", f"/api/cell/v1/participants/{A}/secrets/s3-rotated", {"value": server.secret_json()})[0] == 204
    assert cell.pull(token, path).status == 200


def test_secrets_stay_in_the_vault(cell, store):
    server = store()
    server.put("o", b"content")
    token, path = share(cell, server, "kept", objectName="o")
    assert cell.pull(token, path).status == 200
    for file in cell.folder.rglob("*"):
        if file.is_file():
            assert b"canary-s3-secret" not in file.read_bytes(), file


def test_a_big_object_whole_and_in_parts(cell, store):
    server = store()
    server.put("big", BIG)
    token, path = share(cell, server, "big-object", objectName="big")
    assert bytes(cell.pull(token, path, deadline=60).body) == BIG
    third = len(BIG) // 3
    pieces = [cell.pull(token, path, headers=[("range", f"bytes={at}-{at + third - 1}")], deadline=60) for at in range(0, len(BIG), third)]
    assert b"".join(bytes(piece.body) for piece in pieces) == BIG


def test_a_store_that_breaks_off_is_never_a_success(cell, store):
    server = store()
    server.put("o", b"content")
    token, path = share(cell, server, "broken", objectName="o")

    def refuse(request):
        raise ConnectionError("ordered")
    server.before = refuse
    assert cell.pull(token, path).status == 502


def test_an_object_is_pushed_through_cuts(cell, store, receiver):  # noqa: F811
    server, target = store(), receiver()
    server.put("big", BIG)
    share(cell, server, "pushed", objectName="big")
    cuts = [0]

    def cut(total):
        if cuts[0] < 3 and total > (cuts[0] + 1) * (9 << 20):
            cuts[0] += 1
            raise ConnectionError("ordered")
    target.on_bytes = cut
    completed(cell, push(cell, "pushed", target.url), 60)
    assert target.whole["/in"] == BIG and cuts[0] == 3
    ranges = [headers.get("range") for method, _, headers in server.requests if method == "GET"]
    assert ranges[0] is None and len(ranges) == 4 and all(ranges[1:]), ranges


# --- as a sink

def sink(cell, server, name, **properties):
    assert cell.call("PUT", f"/api/cell/v1/participants/{B}/secrets/s3-{name}", {"value": server.secret_json()})[0] == 204
    status, body = cell.call("PUT", f"/api/cell/v1/participants/{B}/datasets/{name}", {"id": name, "sink": {"type": "s3", "properties": {
        "region": server.region, "bucketName": server.bucket, "endpointOverride": server.url, "keyName": f"s3-{name}", **properties}}})
    assert status == 201, body
    return name


def parts_sent(server):
    return [target for method, target, _ in server.requests if method == "PUT" and "partNumber" in target]


def test_a_push_becomes_a_multipart_upload(cell, store):
    server = store()
    completed(cell, link(cell, "multipart", sink=sink(cell, server, "multipart", folderName="in box")), 60)
    assert server.objects["in box/multipart/data"][0] == BIG and not server.uploads and not server.aborted
    assert len(parts_sent(server)) == len(BIG) // PART + 1 and server.most_busy <= 2


def test_whole_objects_of_all_sizes(cell, store):
    server = store()
    path, token = consumer(cell, "sizes", sink(cell, server, "sizes", objectName="o&<>.bin"))
    for size in (0, 1, PART - 1, PART, PART + 1, 3 * PART):
        response = send(cell, path, token, "POST", BIG[:size], [("content-type", "text/x")])
        assert response.status == 204, size
        assert server.objects["o&<>.bin"][0] == BIG[:size] and server.objects["o&<>.bin"][1] == "text/x"
    assert not server.uploads and not server.aborted and server.most_busy <= 2
    assert offset(cell, path, token) == 3 * PART
    assert send(cell, f"{path}/below", token, body=b"x").status == 400


def test_an_object_of_unknown_length(cell, store):
    server = store()
    path, token = consumer(cell, "unknown", sink(cell, server, "unknown"))
    with socket.create_connection(("127.0.0.1", cell.clear_port)) as plain:
        plain.sendall(f"POST {path}/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for at in range(0, len(BIG), 1 << 20):
            piece = BIG[at:at + (1 << 20)]
            plain.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n")
        plain.sendall(b"0\r\n\r\n")
        assert plain.recv(100).startswith(b"HTTP/1.1 204")
    assert server.objects["unknown/x"][0] == BIG and len(parts_sent(server)) == 3


def test_segments_must_fit(cell, store):
    server = store()
    path, token = consumer(cell, "fit", sink(cell, server, "fit"))
    for first, last in ((0, 1 << 20), (1 << 20, 2 * PART), (PART, PART + 5)):
        assert segment(cell, path, token, BIG, first, last).status == 400
    assert segment(cell, path, token, BIG, 0, PART).status == 204
    assert segment(cell, path, token, BIG, 2 * PART, 3 * PART).status == 409
    assert offset(cell, path, token) == PART
    # a small object in one segment needs no upload
    assert segment(cell, f"{path}/small", token, b"small", 0, 5).status == 204
    assert server.objects["fit/small"][0] == b"small" and offset(cell, f"{path}/small", token) == 5
    # from 0: what was begun is given up
    assert segment(cell, path, token, BIG, 0, PART).status == 204
    assert len(server.aborted) == 1 and offset(cell, path, token) == PART


def test_a_cut_whole_is_aborted_and_a_cut_segment_is_not(cell, store):
    server = store()
    path, token = consumer(cell, "half", sink(cell, server, "half"))
    for extra, aborted in (("", 1), (f"Content-Range: bytes 0-{4 * PART - 1}/{len(BIG)}\r\n", 1)):
        parts = len(parts_sent(server))
        with socket.create_connection(("127.0.0.1", cell.clear_port)) as plain:
            plain.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: {4 * PART}\r\n{extra}\r\n".encode())
            plain.sendall(BIG[:PART + 1000])
            wait_for(lambda: len(parts_sent(server)) > parts and server.busy == 0, what="the first part")
        wait_for(lambda: len(server.aborted) == aborted, what="the abort")
    assert wait_for(lambda: offset(cell, path, token), what="the offset") == PART and len(server.uploads) == 1


def test_a_store_with_moods(cell, store):
    server = store()
    moods = iter([True, False, True, False, False, True] + [False] * 1000)

    def mood(request):
        if request.command == "PUT" and next(moods):
            raise Refusal(503, "SlowDown")
    server.before = mood
    completed(cell, link(cell, "moods", sink=sink(cell, server, "moods")), 60)
    assert server.objects["moods/data"][0] == BIG


def test_a_store_that_stays_down(cell, store):
    server = store()

    def down(request):
        if "uploadId" in request.path and request.command in ("PUT", "POST"):
            raise Refusal(500, "InternalError")
    server.before = down
    path, token = consumer(cell, "down", sink(cell, server, "down"))
    assert send(cell, path, token, "POST", BIG).status == 503
    wait_for(lambda: server.aborted and not server.uploads, what="the abort")
    server.before = lambda request: None
    assert send(cell, path, token, "POST", BIG).status == 204 and server.objects["down/data"][0] == BIG


def test_a_wrong_key_is_no_room(cell, store):
    server = store()
    name = sink(cell, server, "wrong-key")
    assert cell.call("PUT", f"/api/cell/v1/participants/{B}/secrets/s3-wrong-key", {"value": '{"accessKeyId":"AKIDEXAMPLE","secretAccessKey":"x"}'})[0] == 204
    path, token = consumer(cell, "wrong-key", name)
    assert send(cell, path, token, body=b"x").status == 502
    assert send(cell, path, token, "HEAD").status == 502


def test_kill_and_restart_with_an_s3_sink(store, tmp_path):
    server, cell = store(), make(tmp_path)
    try:
        flow = link(cell, "killed", sink=sink(cell, server, "killed"))
        for kill in range(2):
            goal = kill * 2 + 1
            wait_for(lambda: any(len(parts) >= goal for _, parts, _ in server.uploads.values()) or server.objects, 30, "parts")
            cell.kill()
            cell.start()
        completed(cell, flow, 60)
        assert server.objects["killed/data"][0] == BIG and not server.uploads
        assert len(parts_sent(server)) <= len(BIG) // PART + 1 + 2 * 2
    finally:
        cell.stop()
