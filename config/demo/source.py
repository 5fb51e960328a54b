#!/usr/bin/env python3
"""The demo's HTTP source: a small keep-alive server on loopback that stands for a provider's own API."""
import http.server
import json
import sys

DOCUMENT = {"measurements": [{"sensor": f"s{i:02d}", "celsius": 20 + i % 7} for i in range(24)]}


class Source(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self):
        body = json.dumps({"path": self.path, **DOCUMENT}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Source)
    with open(sys.argv[1], "w") as file:
        file.write(str(server.server_address[1]))
    server.serve_forever()
