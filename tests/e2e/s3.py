"""A strict stand-in for an S3 store: path style, Signature Version 4 checked from its specification, ranges, conditions,
multipart uploads. Errors have the XML bodies that stores send."""
import hashlib
import hmac
import http.server
import re
import threading
import time
import urllib.parse
import uuid

UNSIGNED = "UNSIGNED-PAYLOAD"


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Refusal(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


class Store:
    def __init__(self, bucket="bucket", region="eu-test-1", access="AKIDEXAMPLE", secret="canary-s3-secret/+=", session=None):
        self.bucket, self.region, self.access, self.secret, self.session = bucket, region, access, secret, session
        self.objects, self.uploads, self.requests, self.aborted = {}, {}, [], []
        self.honours_if_range = False  # not all stores do
        self.before = lambda request: None  # may raise a Refusal or ConnectionError
        self.on_bytes = lambda count: None
        self.busy, self.most_busy = 0, 0
        self.lock = threading.Lock()
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def run(self):
                store.serve(self)
            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = run
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def put(self, key, content, content_type="application/x-test"):
        self.objects[key] = (content, content_type, time.time())

    def secret_json(self):
        extra = f',"sessionToken":"{self.session}"' if self.session else ""
        return f'{{"accessKeyId":"{self.access}",\n "secretAccessKey":"{self.secret}"{extra}}}'

    # --- Signature Version 4
    def check_signature(self, request, path, query, body):
        given = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, SignedHeaders=([a-z0-9;-]+), "
            r"Signature=([0-9a-f]{64})", request.headers.get("authorization", ""))
        if given is None:
            raise Refusal(403, "AccessDenied")
        access, day, region, names, signature = given.groups()
        names, date = names.split(";"), request.headers["x-amz-date"]
        if access != self.access:
            raise Refusal(403, "InvalidAccessKeyId")
        if region != self.region:
            raise Refusal(400, "AuthorizationHeaderMalformed")
        moment = time.mktime(time.strptime(date, "%Y%m%dT%H%M%SZ")) - time.timezone
        if abs(time.time() - moment) > 900 or not date.startswith(day):
            raise Refusal(403, "RequestTimeTooSkewed")
        needed = {"host"} | {name.lower() for name in request.headers if name.lower().startswith("x-amz-")}
        if names != sorted(names) or not needed <= set(names):
            raise Refusal(403, "AccessDenied")
        if self.session is not None and request.headers.get("x-amz-security-token") != self.session:
            raise Refusal(403, "InvalidToken")
        payload = request.headers["x-amz-content-sha256"]
        if payload != UNSIGNED and payload != hashlib.sha256(body).hexdigest():
            raise Refusal(400, "XAmzContentSHA256Mismatch")
        quote = lambda text: urllib.parse.quote(text, safe="-_.~")
        pairs = sorted((quote(name), quote(value)) for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True))
        canonical = "\n".join([request.command, urllib.parse.quote(urllib.parse.unquote(path), safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{re.sub(' +', ' ', request.headers[name].strip())}" for name in names), "", ";".join(names), payload])
        scope = f"{day}/{region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = sign(sign(sign(sign(b"AWS4" + self.secret.encode(), day), region), "s3"), "aws4_request")
        if not hmac.compare_digest(sign(key, text).hex(), signature):
            raise Refusal(403, "SignatureDoesNotMatch")

    # --- requests
    def read_body(self, request):
        left, pieces = int(request.headers.get("content-length", "0")), []
        while left:
            piece = request.rfile.read(min(left, 1 << 16))
            if not piece:
                raise ConnectionError("cut by the sender")
            self.on_bytes(len(piece))
            left -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def count_body(self, request):
        """How many bodies are on their way at once: an answer that has been sent is over for its client."""
        with self.lock:
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        try:
            return self.read_body(request)
        finally:
            with self.lock:
                self.busy -= 1

    def serve(self, request):
        path, _, query = request.path.partition("?")
        self.requests.append((request.command, request.path, dict(request.headers)))
        try:
            self.before(request)
            body = self.count_body(request)
            self.check_signature(request, path, query, body)
            _, bucket, key = (urllib.parse.unquote(path).split("/", 2) + [""])[:3]
            if bucket != self.bucket:
                raise Refusal(404, "NoSuchBucket")
            self.dispatch(request, key, dict(urllib.parse.parse_qsl(query, keep_blank_values=True)), body)
        except Refusal as refusal:
            xml = f"<?xml version=\"1.0\"?><Error><Code>{refusal.code}</Code><Resource>{path}</Resource></Error>".encode()
            self.reply(request, refusal.status, [("x-amz-request-id", "INTERNAL")], xml, "application/xml")
        except ConnectionError:
            request.close_connection = True

    def reply(self, request, status, headers=(), body=b"", content_type=None):
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        if content_type:
            request.send_header("Content-Type", content_type)
        if status != 304:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD" and status != 304:
            request.wfile.write(body)

    def dispatch(self, request, key, query, body):
        method = request.command
        if method in ("GET", "HEAD") and not query:
            self.get(request, key)
        elif method == "PUT" and not query:
            self.put(key, body, request.headers.get("content-type"))
            self.reply(request, 200, [("ETag", f'"{hashlib.md5(body).hexdigest()}"')])
        elif method == "GET" and "uploads" in query:
            self.list_uploads(request, query)
        elif method == "POST" and "uploads" in query:
            upload = uuid.uuid4().hex
            self.uploads[upload] = (key, {}, request.headers.get("content-type"))
            self.xml(request, f"<InitiateMultipartUploadResult><Bucket>{self.bucket}</Bucket><Key>{key}</Key><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        else:
            self.multipart(request, key, query, body)

    def xml(self, request, text):
        self.reply(request, 200, (), b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode(), "application/xml")

    def list_uploads(self, request, query):
        found = [(key, upload) for upload, (key, _, _) in self.uploads.items() if key.startswith(query.get("prefix", ""))]
        self.xml(request, "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>" + "".join(
            f"<Upload><Key>{key}</Key><UploadId>{upload}</UploadId><Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload>"
            for key, upload in found) + "</ListMultipartUploadsResult>")

    def multipart(self, request, key, query, body):
        upload = query.get("uploadId")
        if upload not in self.uploads or self.uploads[upload][0] != key:
            raise Refusal(404, "NoSuchUpload")
        parts = self.uploads[upload][1]
        if request.command == "PUT":
            tag = hashlib.md5(body).hexdigest()
            parts[int(query["partNumber"])] = (tag, body)
            self.reply(request, 200, [("ETag", f'"{tag}"')])
        elif request.command == "GET":
            after = int(query.get("part-number-marker", "0"))
            numbers = [number for number in sorted(parts) if number > after]
            page, more = numbers[:1000], len(numbers) > 1000
            self.xml(request, f"<ListPartsResult><IsTruncated>{str(more).lower()}</IsTruncated><NextPartNumberMarker>{page[-1] if page else 0}</NextPartNumberMarker>" + "".join(
                f"<Part><PartNumber>{number}</PartNumber><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;{parts[number][0]}&quot;</ETag><Size>{len(parts[number][1])}</Size></Part>"
                for number in page) + "</ListPartsResult>")
        elif request.command == "DELETE":
            self.aborted.append(upload)
            del self.uploads[upload]
            self.reply(request, 204)
        elif request.command == "POST":
            self.complete(request, key, upload, body)
        else:
            raise Refusal(405, "MethodNotAllowed")

    def complete(self, request, key, upload, body):
        _, parts, content_type = self.uploads[upload]
        named = re.findall(r"<Part><PartNumber>(\d+)</PartNumber><ETag>(?:&quot;|\")?([0-9a-f]{32})(?:&quot;|\")?</ETag></Part>", body.decode())
        if [int(number) for number, _ in named] != sorted(parts) or any(parts[int(number)][0] != tag for number, tag in named):
            raise Refusal(400, "InvalidPart")
        if any(len(parts[number][1]) < 5 << 20 for number in sorted(parts)[:-1]):
            raise Refusal(400, "EntityTooSmall")
        self.put(key, b"".join(parts[number][1] for number in sorted(parts)), content_type)
        del self.uploads[upload]
        self.xml(request, f"<CompleteMultipartUploadResult><Key>{key}</Key></CompleteMultipartUploadResult>")

    def get(self, request, key):
        if key not in self.objects:
            raise Refusal(404, "NoSuchKey")
        content, content_type, changed = self.objects[key]
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        headers = [("ETag", tag), ("Last-Modified", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(changed))),
            ("Accept-Ranges", "bytes"), ("x-amz-request-id", "INTERNAL"), ("Server", "AmazonS3")]
        if request.headers.get("if-match") not in (None, tag, "*"):
            raise Refusal(412, "PreconditionFailed")
        if request.headers.get("if-none-match") == tag:
            return self.reply(request, 304, headers)
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
        if wanted is None or (self.honours_if_range and request.headers.get("if-range") not in (None, tag)):
            return self.reply(request, 200, headers, content, content_type)
        first, last = wanted.groups()
        if first == "":
            first, last = max(len(content) - int(last), 0), len(content) - 1
        else:
            first, last = int(first), min(int(last or len(content) - 1), len(content) - 1)
        if first >= len(content):
            xml = b"<?xml version=\"1.0\"?><Error><Code>InvalidRange</Code></Error>"
            return self.reply(request, 416, [("Content-Range", f"bytes */{len(content)}")], xml, "application/xml")
        headers.append(("Content-Range", f"bytes {first}-{last}/{len(content)}"))
        return self.reply(request, 206, headers, content[first:last + 1], content_type)
