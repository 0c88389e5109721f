"""httpd.py: HTTP/1.1 over asyncio, just as much as a workspace needs.

Separate because it owns sockets and bytes and nothing else.  Written on
asyncio.Protocol, for a page of 25 runs must cost about a millisecond.

Invariant: a connection works on one request at a time; what arrives meanwhile
waits in its buffer, so pipelined requests are answered in order.
"""

import asyncio
import re
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
MAX_MEMORY = 32 * 1024 * 1024
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


def members(header):
    """The members of a comma list, in small letters."""
    return [m.strip().lower() for m in header.split(",")]


def takes_gzip(header):
    """Whether a client that sent this Accept-Encoding can read gzip."""
    return any(re.fullmatch(r"gzip\s*(;\s*q=(1(\.0*)?|0\.0*[1-9][0-9]*))?", m) for m in members(header))


class BadRequest(Exception):
    """What no later request of the same connection can be told apart from: answered, then closed."""

    def __init__(self, text, status=400):
        super().__init__(text)
        self.status = status


class Body:
    """The body of a request while it arrives, of a length told in advance or in chunks (length None).

    What is above "most" bytes is read and dropped, so that the answer reaches
    a client that is still writing.
    """

    def __init__(self, length, most, blob):
        self.left = length              # of the body, or of the chunk under way; None: a chunk's size comes next
        self.chunked = length is None
        self.blob = blob
        self.most = most
        self.data = bytearray()
        self.size = 0
        self.trailer = False

    @property
    def too_large(self):
        return self.size > self.most

    def keep(self, piece):
        self.size += len(piece)
        if self.too_large:
            self.data.clear()
        elif self.blob is not None:
            self.blob.add(piece)
        else:
            self.data += piece

    def take(self, buffer):
        """Move what has arrived out of the buffer.  Returns whether the body is whole."""
        while True:
            if self.left:
                piece = bytes(buffer[:self.left])
                del buffer[:self.left]
                self.keep(piece)
                self.left -= len(piece)
                if self.left:
                    return False
                if self.chunked:
                    self.left = -2          # the line end behind the data
            if not self.chunked:
                return True
            if self.left == -2:
                if len(buffer) < 2:
                    return False
                if buffer[:2] != b"\r\n":
                    raise BadRequest("bad chunk")
                del buffer[:2]
                self.left = None
            line = self.line(buffer)
            if line is None:
                return False
            if self.trailer:
                if not line:
                    return True
                continue
            size = line.split(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size):
                raise BadRequest("bad chunk")
            self.left = int(size, 16)
            self.trailer = self.left == 0

    @staticmethod
    def line(buffer):
        """The next line of chunk sizes and trailers, or None while it is incomplete."""
        eol = buffer.find(b"\r\n")
        if eol > MAX_HEAD or eol < 0 and len(buffer) > MAX_HEAD:
            raise BadRequest("bad chunk")
        if eol < 0:
            return None
        line = bytes(buffer[:eol])
        del buffer[:eol + 2]
        return line


class Connection(asyncio.Protocol):
    def __init__(self, app, loop):
        self.app = app
        self.loop = loop
        self.buffer = bytearray()
        self.transport = None
        self.busy = False
        self.timer = None
        self.arriving = None            # (words, headers, body) of a request whose body is under way
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
            body = str(e)
            self.transport.write(("HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                                  "Content-Length: %d\r\n\r\n%s"
                                  % (e.status, REASONS[e.status], len(body), body)).encode())
            self.transport.close()

    def parse(self):
        """The next whole request of the buffer, or None while it is incomplete."""
        if self.arriving is None:
            head = self.head()
            if head is None:
                return None
            words, headers = head
            self.arriving = words, headers, self.body_of(words, headers)
            if self.arriving[2].take(self.buffer):
                return self.whole()
            if headers.get("expect", "").lower() == "100-continue":
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        return self.whole() if self.arriving[2].take(self.buffer) else None

    def head(self):
        """(words of the first line, headers) taken out of the buffer, or None while they are incomplete."""
        while self.buffer.startswith(b"\r\n"):
            del self.buffer[:2]             # an empty line in front of a request is to be ignored
        end = self.buffer.find(b"\r\n\r\n")
        if end > MAX_HEAD or end < 0 and len(self.buffer) > MAX_HEAD:
            raise BadRequest("header too long", 431)
        if end < 0:
            return None
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        del self.buffer[:end + 4]
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequest("bad request line")
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            name = name.lower()
            value = value.strip()
            if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9a-z-]+", name):
                raise BadRequest("bad header")
            if headers.get(name, value) != value and name in ("content-length", "transfer-encoding", "host"):
                raise BadRequest("%s is there twice" % name)
            headers[name] = value
        return words, headers

    @staticmethod
    def body_of(words, headers):
        coding = headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length", "0")
        if coding not in ("", "chunked"):
            raise BadRequest("unknown Transfer-Encoding", 501)
        if not re.fullmatch("[0-9]{1,15}", length):
            raise BadRequest("bad Content-Length")
        length = None if coding else int(length)
        upload = words[0] == "PUT" and words[1].startswith(FILES)
        blob = Blob() if upload and (length is None or length > MAX_MEMORY // 32) else None
        return Body(length, MAX_FILE if upload else MAX_MEMORY, blob)

    def whole(self):
        words, headers, body = self.arriving
        self.arriving = None
        target = re.sub(r"^https?://[^/?]*", "", words[1]) or "/"
        req = Request(words[0], target, headers, bytes(body.data), body.blob)
        req.too_large = body.too_large
        asked = members(headers.get("connection", ""))
        req.old = words[2] == "HTTP/1.0"
        req.close = "close" in asked or req.old and "keep-alive" not in asked
        return req

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
                and takes_gzip(req.headers.get("accept-encoding", ""))):
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
        elif req.old:
            headers["Connection"] = "keep-alive"
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
