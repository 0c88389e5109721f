"""httpd.py: HTTP/1.1 over asyncio, just as much as a workspace needs.

Separate because it owns sockets and bytes and nothing else.  Written on
asyncio.Protocol, for a page of 25 runs must cost about a millisecond.

Invariant: a connection works on one request at a time; what arrives meanwhile
waits in its buffer, so pipelined requests are answered in order.
"""

import asyncio
import socket
import struct
import time
import zlib
from email.utils import formatdate
from http import HTTPStatus

from .app import Request
from .blob import Blob

REASONS = {s.value: s.phrase for s in HTTPStatus}
REASONS[499] = "Client Closed Request"
MAX_HEAD = 65536
MAX_BUFFER = 32 * 1024 * 1024
MAX_FILE = 5 * 1024 ** 3
FILES = ("/api/2.0/fs/files/", "/storage/")     # uploads below these paths are not kept in memory
GZIP_FROM = 1024

_date = (0, "")


def http_date():
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


class BadRequest(Exception):
    pass


class Connection(asyncio.Protocol):
    def __init__(self, app, loop):
        self.app = app
        self.loop = loop
        self.buffer = bytearray()
        self.transport = None
        self.busy = False
        self.timer = None
        self.continued = False
        self.upload = None              # (words, headers, blob, length) of an upload under way
        self.sending = None             # (request, slice, close then) of a download under way
        self.paused = False
        app.connections += 1
        self.id = app.connections

    # bytes in

    def connection_made(self, transport):
        self.transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc):
        if self.timer:
            self.timer.cancel()
        self.transport = None

    def data_received(self, data):
        if self.upload and not self.buffer:
            _, _, blob, length = self.upload
            take = min(len(data), length - blob.size)
            blob.add(data[:take])
            data = data[take:]
            if blob.size < length:
                return
        self.buffer += data
        if not self.busy:
            self.pump()

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        if self.sending:
            self.stream(*self.sending)

    def pump(self):
        try:
            while not self.busy and self.transport is not None:
                req = self.parse()
                if req is None:
                    return
                self.busy = True
                self.app.handle(self, req)
        except BadRequest as e:
            body = str(e).encode()
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                                 b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            self.transport.close()

    def parse(self):
        """The next whole request of the buffer, or None while it is incomplete."""
        if self.upload:
            words, headers, blob, length = self.upload
            take = min(len(self.buffer), length - blob.size)
            blob.add(bytes(self.buffer[:take]))
            del self.buffer[:take]
            if blob.size < length:
                return None
            self.upload = None
            return self.request(words, headers, b"", blob)
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self.buffer) > MAX_HEAD:
                raise BadRequest("header too long")
            return None
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequest("bad request line")
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip():
                raise BadRequest("bad header")
            headers[name.lower()] = value.strip()
        length = headers.get("content-length", "0")
        if (words[0] == "PUT" and words[1].startswith(FILES) and length.isdigit()
                and MAX_BUFFER // 32 < int(length) <= MAX_FILE):
            del self.buffer[:end + 4]
            if headers.get("expect", "").lower() == "100-continue":
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.upload = (words, headers, Blob(), int(length))
            return self.parse()
        body, used = self.body(headers, end + 4)
        if body is None:
            return None
        del self.buffer[:used]
        self.continued = False
        return self.request(words, headers, body, None)

    @staticmethod
    def request(words, headers, body, blob):
        req = Request(words[0], words[1], headers, body, blob)
        asked = headers.get("connection", "").lower()
        req.close = asked == "close" or (words[2] == "HTTP/1.0" and asked != "keep-alive")
        return req

    def body(self, headers, start):
        chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BUFFER:
            raise BadRequest("bad Content-Length")
        if len(self.buffer) > MAX_BUFFER:
            raise BadRequest("request too large")
        whole = self.chunks(start) if chunked else None
        if not chunked and len(self.buffer) >= start + int(length):
            whole = bytes(self.buffer[start:start + int(length)]), start + int(length)
        if whole is None and headers.get("expect", "").lower() == "100-continue" and not self.continued:
            self.continued = True
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return whole or (None, 0)

    def chunks(self, at):
        parts = []
        while True:
            eol = self.buffer.find(b"\r\n", at)
            if eol < 0:
                return None
            try:
                size = int(bytes(self.buffer[at:eol]).split(b";")[0], 16)
            except ValueError:
                raise BadRequest("bad chunk") from None
            at = eol + 2
            if size == 0:
                eol = self.buffer.find(b"\r\n", at)
                return None if eol < 0 else (b"".join(parts), eol + 2)
            if len(self.buffer) < at + size + 2:
                return None
            parts.append(bytes(self.buffer[at:at + size]))
            at += size + 2

    # bytes out

    def send(self, req, answer, entry, cut=None, dribble=None, chunked=None, hang_up=False):
        if entry is not None:
            entry["status"] = answer.status
            entry["ms"] = round((time.monotonic() - req.received) * 1000, 3)
        if self.transport is None:
            return
        body = answer.body
        blob = answer.blob
        if blob and (cut is not None or dribble or chunked):
            body, blob = blob.blob.read(blob.at, blob.length), None
        head = ["HTTP/1.1 %d %s" % (answer.status, REASONS.get(answer.status, "Unknown"))]
        headers = {
            "Content-Type": "application/json",
            "Server": "databricks",
            "Date": http_date(),
            "X-Request-Id": req.request_id,
            "X-Databricks-Org-Id": self.app.ws.org_id,
            "Server-Timing": 'request_id;dur=0;desc="%s", client_protocol;dur=0;desc="HTTP/1.1", '
                             'request_ttfb_msec;dur=%d' % (req.request_id, (time.monotonic() - req.received) * 1000),
            "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
            "X-Content-Type-Options": "nosniff",
            "Alt-Svc": "clear",
            "Vary": "Accept-Encoding",
        }
        headers.update(answer.headers)
        if (len(body) > GZIP_FROM and headers["Content-Type"] != "application/octet-stream" and self.app.ws.settings["gzip"]
                and "gzip" in req.headers.get("accept-encoding", "")):
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            body = packer.compress(body) + packer.flush()
            headers["Content-Encoding"] = "gzip"
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
            parts = [body[n:n + chunked] for n in range(0, len(body), chunked)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
        elif answer.status != 204:
            headers["Content-Length"] = str(blob.length if blob else len(body))
        if req.close:
            headers["Connection"] = "close"
        head += ["%s: %s" % pair for pair in headers.items()]
        data = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n"
        if req.method == "HEAD":
            body = b""
        if cut is not None:
            self.transport.write(data + body[:cut])
            self.transport.close()
        elif dribble is not None:
            self.transport.write(data)
            self.drip(req, body, 0, *dribble)
        elif blob and req.method != "HEAD":
            self.transport.write(data)
            self.stream(req, blob, hang_up)
        else:
            self.transport.write(data + body)
            self.finish(req.close or hang_up)

    def drip(self, req, body, at, size, interval_ms):
        if self.transport is None:
            return
        if at >= len(body):
            self.finish(req.close)
            return
        self.transport.write(body[at:at + size])
        self.timer = self.loop.call_later(interval_ms / 1000, self.drip, req, body, at + size, size, interval_ms)

    def stream(self, req, piece, hang_up=False):
        """Send stored bytes as fast as the client takes them."""
        self.sending = (req, piece, hang_up)
        while piece.left and not self.paused and self.transport is not None:
            self.transport.write(piece.next())
        if piece.left and self.transport is not None:
            return
        self.sending = None
        if self.transport is not None:
            self.finish(req.close or hang_up)

    def finish(self, close):
        self.busy = False
        if close:
            self.transport.close()
        elif self.buffer:
            self.loop.call_soon(self.pump_again)

    def pump_again(self):
        if self.transport is not None and not self.busy:
            self.pump()

    def later(self, ms, action):
        self.timer = self.loop.call_later(ms / 1000, action)

    def drop(self, fin):
        """End the connection without an answer: a reset, or an ordinary close."""
        if self.transport is None:
            return
        if fin:
            self.transport.close()
            return
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
