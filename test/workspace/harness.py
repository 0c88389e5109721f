"""harness.py: starts the stand-in workspace for a Python test and talks to it.

Separate so that self-test, measurements and other Python tests share one way
in.  The server ends with its standard input, so it cannot outlive the test.
"""

import http.client
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ADMIN = "dapi-standin-admin"


class Server:
    def __init__(self, *flags):
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "server.py"), "--port", "0", "--exit-with-stdin", *flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on 127.0.0.1:"):
            raise RuntimeError("the stand-in workspace did not start: %r" % line)
        self.port = int(line.rsplit(":", 1)[1])

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(timeout=10)


class Answer:
    def __init__(self, status, headers, raw):
        self.status = status
        self.headers = headers
        self.raw = raw

    @property
    def json(self):
        return json.loads(self.raw)


class Client:
    """One keep-alive connection."""

    def __init__(self, port, token=ADMIN, version="2.2"):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.token = token
        self.version = version

    def close(self):
        self.http.close()

    def call(self, method, path, body=None, headers=None, token=None):
        sent = dict(headers or {})
        token = self.token if token is None else token
        if token:
            sent.setdefault("Authorization", "Bearer " + token)
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        self.http.request(method, path, body=body, headers=sent)
        r = self.http.getresponse()
        return Answer(r.status, dict(r.getheaders()), r.read())

    def api(self, method, path, body=None, **kw):
        return self.call(method, "/api/%s%s" % (self.version, path), body, **kw)

    def ok(self, method, path, body=None, **kw):
        a = self.api(method, path, body, **kw)
        if a.status != 200:
            raise AssertionError("%s %s: %d %s" % (method, path, a.status, a.raw[:400]))
        return a.json

    def control(self, method, name, body=None):
        a = self.call(method, "/__control/" + name, body, token="")
        if a.status != 200:
            raise AssertionError("control %s: %s" % (name, a.raw[:400]))
        return a.json
