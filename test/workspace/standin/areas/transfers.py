"""transfers.py: large files of volumes in parts, through URLs that carry their own right.

Separate from volumes.py: an upload in parts is a session with a life of its
own, and its bytes do not go to the workspace but to a cloud store.  That store
is played here too, below /storage, and it refuses a credential of the
workspace as a real one does.
"""

import datetime
import json
import re
import uuid
import zlib

from ..app_reply import Response
from ..blob import Blob, Slice
from ..errors import ApiError, invalid
from ..schema import INT, STR, check, need, query_bool, query_text
from . import volumes

V = ("2.0",)
MIN_PART = 5 * 1024 * 1024          # of every part but the last
MAX_PARTS = 10000
MAX_URLS = 1000                     # of one call
LIFETIME_MS = 3600 * 1000           # of a URL, at most


class Upload:
    def __init__(self, path):
        self.path = path
        self.parts = {}             # number: (etag, blob)


class Transfers:
    def __init__(self, ws):
        self.uploads = {}           # session token: upload
        self.urls = {}              # token of a URL: (what it is for, when it ends)

    def advance(self, now):
        pass


def session(ws, path, token):
    found = ws.part(Transfers).uploads.get(token)
    if found is None or found.path != path:
        raise ApiError(404, "NOT_FOUND", "No upload of %s has this session token." % path)
    return found


def post_file(ws, req):
    action = query_text(req, "action")
    if action == "initiate-upload":
        return begin(ws, req)
    if action == "complete-upload":
        return complete(ws, req)
    raise invalid("Unknown action '%s'." % (action or "")[:60])


def begin(ws, req):
    path, _ = volumes.writable(ws, req, query_bool(req, "overwrite", True))
    token = uuid.uuid4().hex
    ws.part(Transfers).uploads[token] = Upload(path)
    return {"multipart_upload": {"session_token": token}}


def complete(ws, req):
    path, tree = volumes.target(ws, req)
    if query_text(req, "upload_type") != "multipart":
        raise invalid("upload_type must be multipart.")
    token = query_text(req, "session_token")
    upload = session(ws, path, token)
    body = check(req.json(), {"parts": [{"part_number": INT, "etag": STR}]})
    need(body, "parts")
    whole, before = Blob(), 0
    for n, part in enumerate(body["parts"]):
        number = part.get("part_number", 0)
        etag, blob = upload.parts.get(number, (None, None))
        if number <= before or blob is None or etag != part.get("etag"):
            raise invalid("Part %d is missing, out of order or another one than was uploaded." % number)
        before = number
        if blob.size < MIN_PART and n + 1 < len(body["parts"]):
            raise invalid("Part %d is smaller than %d bytes." % (number, MIN_PART))
        piece = Slice(blob)
        while piece.left:
            whole.add(piece.next())
    tree.write(path, whole, req.now)
    del ws.part(Transfers).uploads[token]
    return {}


def make_url(ws, req, what, expires):
    """A URL for one purpose, good until expires (ISO 8601) or an hour from now."""
    try:
        wanted = datetime.datetime.fromisoformat(expires.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        raise invalid("expire_time must be a time such as 2026-01-31T12:00:00Z.") from None
    if wanted.tzinfo is None:
        raise invalid("expire_time needs a time zone.")
    until = min(int(wanted.timestamp() * 1000), req.now + LIFETIME_MS)
    return link(ws, what, until)


def link(ws, what, until):
    token = uuid.uuid4().hex
    ws.part(Transfers).urls[token] = (what, until)
    return "%s/storage/%s?X-Signature=%s%%2F%s" % (ws.base_url, token, token[:4], token[4:])


def path_of(ws, text):
    if not re.match(r"/Volumes/[^/]+/[^/]+/[^/]+/.", text or ""):
        raise invalid("path must be that of a file in a volume.")
    return text


def part_urls(ws, req):
    body = check(req.json(), {"path": STR, "session_token": STR, "start_part_number": INT, "count": INT,
                              "expire_time": STR})
    need(body, "path", "session_token", "start_part_number", "count", "expire_time")
    session(ws, path_of(ws, body["path"]), body["session_token"])
    first, count = body["start_part_number"], body["count"]
    if first < 1 or not 1 <= count <= MAX_URLS or first + count - 1 > MAX_PARTS:
        raise invalid("Parts are numbered from 1 to %d, and one call gives at most %d URLs." % (MAX_PARTS, MAX_URLS))
    return {"upload_part_urls": [
        {"part_number": n, "url": make_url(ws, req, ("part", body["session_token"], n), body["expire_time"]),
         "headers": [{"name": "x-standin-part", "value": str(n)}]} for n in range(first, first + count)]}


def abort_url(ws, req):
    body = check(req.json(), {"path": STR, "session_token": STR, "expire_time": STR})
    need(body, "path", "session_token", "expire_time")
    session(ws, path_of(ws, body["path"]), body["session_token"])
    return {"abort_upload_url": {"url": make_url(ws, req, ("abort", body["session_token"]), body["expire_time"]),
                                 "headers": []}}


def download_url(ws, req):
    path = path_of(ws, query_text(req, "path"))
    node = ws.part(volumes.Volumes).tree.get(path)
    if node is None or node.is_dir:
        raise volumes.missing(path)
    return {"url": make_url(ws, req, ("file", path), query_text(req, "expire_time")), "headers": []}


# the cloud store

def refuse(status, code):
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code></Error>' % code
    return Response(status, text.encode(), {"Content-Type": "application/xml"})


def store(ws, req):
    if "authorization" in req.headers:
        return refuse(400, "InvalidArgument")
    what, until = ws.part(Transfers).urls.get(req.parts["token"], (None, 0))
    if what is None or until < ws.clock.now():
        return refuse(403, "AccessDenied")
    if what[0] == "rows" and req.method == "GET" and req.headers.get("x-standin-rows") == what[2]:
        return Response(200, json.dumps(what[1]).encode(), {"Content-Type": "application/octet-stream"})
    if what[0] == "file" and req.method == "GET":
        node = ws.part(volumes.Volumes).tree.get(what[1])
        if node is None:
            return refuse(404, "NoSuchKey")
        return volumes.bytes_of(req, node)
    upload = ws.part(Transfers).uploads.get(what[1])
    if upload is None:
        return refuse(404, "NoSuchUpload")
    if what[0] == "abort" and req.method == "DELETE":
        del ws.part(Transfers).uploads[what[1]]
        return Response(204, b"")
    if what[0] == "part" and req.method == "PUT":
        if req.headers.get("x-standin-part") != str(what[2]):
            return refuse(403, "SignatureDoesNotMatch")
        blob = req.file or Blob(req.body)
        etag = '"%08x%s"' % (zlib.crc32(blob.read()), uuid.uuid4().hex[:8])
        upload.parts[what[2]] = (etag, blob)
        return Response(200, b"", {"ETag": etag})
    return refuse(403, "SignatureDoesNotMatch")


ROUTES = [
    ("POST", "/fs/files/{*path}", V, post_file), ("POST", "/fs/create-upload-part-urls", V, part_urls),
    ("POST", "/fs/create-abort-upload-url", V, abort_url), ("POST", "/fs/create-download-url", V, download_url),
]
OPEN_ROUTES = [(method, "/storage/{token}", store) for method in ("GET", "PUT", "DELETE")]
