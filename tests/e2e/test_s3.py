"""S3 as a source, against a store that checks each signature itself."""
import os

import pytest

from conftest import A, Cell, wait_for
from s3 import Store
from test_push import SETTINGS, address, completed, push, receiver  # noqa: F401 (a fixture)

BIG = os.urandom(1 << 20) * 24


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    cell = Cell(tmp_path_factory.mktemp("s3"), settings=SETTINGS).start()
    cell.participant(A)
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
    token, path = share(cell, server, "big", objectName="big")
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
        if cuts[0] < 4 and total > (cuts[0] + 1) * (4 << 20):
            cuts[0] += 1
            raise ConnectionError("ordered")
    target.on_bytes = cut
    completed(cell, push(cell, "pushed", target.url), 60)
    assert target.whole["/in"] == BIG and cuts[0] == 4
    assert [headers.get("Range") or headers.get("range") for method, _, headers in server.requests if method == "GET"][1:] != [None] * 4
