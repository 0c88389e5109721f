"""selftest_http.py: the self-tests of what goes over the wire: framing, compression, sizes, waiting.

Separate from selftest.py, which runs them, because they speak in bytes.
"""

import gzip
import json
import socket

from cases import Case, task
from harness import ADMIN


class Http(Case):
    HEAD = b"Host: x\r\nAuthorization: Bearer %s\r\n" % ADMIN.encode()
    GET = b"GET /api/2.2/jobs/list HTTP/1.1\r\n" + HEAD
    CREATE = b"POST /api/2.2/jobs/create HTTP/1.1\r\n" + HEAD

    def talk(self, data):
        """Everything the server says to these bytes until it closes the connection."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=5) as s:
            s.sendall(data)
            said = b""
            while chunk := s.recv(65536):
                said += chunk
        return said

    def test_gzip_and_pipelining(self):
        self.c.control("POST", "seed", {"jobs": 1, "runs": 25})
        a = self.c.api("GET", "/jobs/runs/list", headers={"Accept-Encoding": "gzip"})
        self.assertEqual(a.headers["Content-Encoding"], "gzip")
        self.assertEqual(len(json.loads(gzip.decompress(a.raw))["runs"]), 20)
        one = b"GET /.well-known/databricks-config HTTP/1.1\r\nHost: x\r\n\r\n"
        data = self.talk(one * 3 + one[:-2] + b"Connection: close\r\n\r\n")
        self.assertEqual(data.count(b"HTTP/1.1 200 OK"), 4)

    def test_request_forms(self):
        body = json.dumps({"name": "c", "tasks": [task("a")]}).encode()
        head = ("POST /api/2.2/jobs/create HTTP/1.1\r\nHost: x\r\nAuthorization: bearer %s\r\nConnection: close\r\n"
                "Content-Type: text/plain\r\n" % ADMIN).encode()
        chunked = b"".join(b"%x\r\n%s\r\n" % (len(body[n:n + 9]), body[n:n + 9]) for n in range(0, len(body), 9))
        for request in (head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked + b"0\r\n\r\n",
                        head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)):
            self.assertIn(b"job_id", self.talk(request))
        self.assertEqual(self.c.api("POST", "/jobs/create", "{\"description\": \"" + "x" * 10500000 + "\"}").status, 413)

    def test_framing(self):
        last = self.GET + b"Connection: TE, Close\r\n\r\n"
        for good in (b"\r\n" + last, last.replace(b" /api", b" http://x/api", 1),
                     self.CREATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n" + last,
                     self.GET.replace(b"1.1", b"1.0") + b"\r\n"):
            said = self.talk(good)
            self.assertEqual(said.count(b"HTTP/1.1 200 OK"), said.count(b"\r\nServer: "), said)
            self.assertIn(b"Connection: close", said)
        self.assertIn(b"Connection: keep-alive", self.talk(
            self.GET.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n\r\n" + last))

    def test_bad_framing(self):
        chunked = self.CREATE + b"Transfer-Encoding: chunked\r\n\r\n"
        for status, bad in ((400, chunked + b"2\r\n{}XX0\r\n\r\n"), (400, chunked + b"-2\r\n{}\r\n0\r\n\r\n"),
                            (501, self.CREATE + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
                            (400, self.CREATE + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} "),
                            (400, self.GET + b"Bad Name: x\r\n\r\n"), (431, self.GET + b"X: %s\r\n\r\n" % (b"x" * 70000))):
            self.assertEqual(self.talk(bad).split()[1], b"%d" % status, bad[-80:])

    def test_gzip_refused(self):
        self.c.control("POST", "seed", {"jobs": 20, "runs": 0})
        for accept, packed in (("gzip;q=0, identity", False), ("identity", False), ("br, GZIP;q=0.5", True)):
            a = self.c.api("GET", "/jobs/list", headers={"Accept-Encoding": accept})
            self.assertEqual("Content-Encoding" in a.headers, packed, accept)

    def test_large_bodies(self):
        # too large even to be kept: still read, so that the client hears the answer
        self.refused(self.c.api("POST", "/jobs/create", b" " * 40000000), 413, "BAD_REQUEST")
        path = "/api/2.0/fs/files/Volumes/main/default/landing/chunked"
        piece = b"y" * 1048576
        a = self.c.call("PUT", path, b"", headers={"Content-Length": "0"})
        self.assertEqual(a.status, 204)
        self.c.http.request("PUT", path, (piece for _ in range(40)), {"Authorization": "Bearer " + ADMIN},
                            encode_chunked=True)
        answer = self.c.http.getresponse()
        answer.read()
        self.assertEqual(answer.status, 204)
        a = self.c.call("GET", path, headers={"Range": "bytes=41943030-"})
        self.assertEqual((a.status, a.raw), (206, b"y" * 10))


class Later(Case):
    """A statement's wait_timeout: the one call that is answered later.  The clock runs here."""

    def run_statement(self, **more):
        return self.c.call("POST", "/api/2.0/sql/statements", dict({"statement": "q", "warehouse_id": "1234567890abcdef"},
                                                                **more)).json["status"]["state"]

    def test_wait(self):
        self.c.control("POST", "clock", {"speed": 20})
        self.c.control("POST", "statements", {"match": "q", "pending_ms": 1000, "running_ms": 1000})
        self.assertEqual(self.run_statement(), "SUCCEEDED")
        self.assertEqual(self.run_statement(on_wait_timeout="CANCEL"), "SUCCEEDED")
        self.assertEqual(self.run_statement(wait_timeout="0s", on_wait_timeout="CANCEL"), "PENDING")
        self.c.control("POST", "statements", {"match": "q", "hang": True})
        before = self.c.control("GET", "clock")["now"]
        self.assertEqual(self.run_statement(wait_timeout="5s"), "RUNNING")
        self.assertGreaterEqual(self.c.control("GET", "clock")["now"] - before, 5000)
        self.assertEqual(self.run_statement(wait_timeout="5s", on_wait_timeout="CANCEL"), "CANCELED")
