"""volumes.py: the Files API below /Volumes: raw bytes, ranges, directories in pages.

Separate from dbfs.py: the path is part of the URL, bodies are not JSON.
A volume is made by a test (/__control/volumes); main.default.landing is there
from the start.
"""

import re
from email.utils import formatdate, parsedate_to_datetime

from .. import listing
from ..app_reply import Response
from ..blob import Blob, Slice
from ..errors import ApiError, invalid
from ..filetree import Tree, parent_of
from ..schema import query_bool, query_int, query_text

V = ("2.0",)
MAX_PAGE = 1000


class Volumes:
    def __init__(self, ws):
        self.tree = Tree()
        self.volumes = set()
        self.add("main.default.landing", 0)

    def add(self, name, now):
        path = "/Volumes/" + name.replace(".", "/")
        self.volumes.add(path)
        self.tree.mkdirs(path, now)

    def advance(self, now):
        pass


def missing(path):
    return ApiError(404, "NOT_FOUND", "The file or directory %s does not exist." % path)


def target(ws, req):
    """The path of the URL, which must lie in a volume."""
    raw = "/" + req.parts["path"].strip("/")
    if "//" in raw or any(p in (".", "..") for p in raw.split("/")):
        raise invalid("Invalid path: %s" % raw[:200])
    volume = "/".join(raw.split("/")[:5])
    if not re.match(r"/Volumes/[^/]+/[^/]+/[^/]+", raw):
        raise invalid("Path must begin with /Volumes/<catalog>/<schema>/<volume>: %s" % raw[:200])
    if volume not in ws.part(Volumes).volumes:
        raise ApiError(404, "NOT_FOUND", "Volume '%s' does not exist." % ".".join(volume.split("/")[2:]))
    return raw, ws.part(Volumes).tree


def file_head(node):
    return {"Content-Type": "application/octet-stream", "Last-Modified": formatdate(node.modified // 1000, usegmt=True),
            "Accept-Ranges": "bytes"}


def writable(ws, req, overwrite):
    """The path of the URL, which a file may be written to."""
    path, tree = target(ws, req)
    node = tree.get(path)
    if node is not None and (node.is_dir or not overwrite):
        raise ApiError(409, "ALREADY_EXISTS", "The file being created already exists.")
    above = tree.get(parent_of(path))
    at = parent_of(path)
    while above is None:
        at = parent_of(at)
        above = tree.get(at)
    if not above.is_dir:
        raise ApiError(409, "ALREADY_EXISTS", "A file is in the way of the path.")
    return path, tree


def upload(ws, req):
    path, tree = writable(ws, req, query_bool(req, "overwrite", True))
    tree.write(path, req.file or Blob(req.body), req.now)
    return Response(204, b"")


def file_of(ws, req):
    path, tree = target(ws, req)
    node = tree.get(path)
    if node is None or node.is_dir:
        raise missing(path)
    since = req.headers.get("if-unmodified-since")
    if since:
        try:
            limit = parsedate_to_datetime(since).timestamp()
        except (TypeError, ValueError):
            raise invalid("Invalid header If-Unmodified-Since.") from None
        if node.modified // 1000 > limit:
            raise ApiError(412, "PRECONDITION_FAILED", "The file was changed.")
    return path, tree, node


def download(ws, req):
    return bytes_of(req, file_of(ws, req)[2])


def bytes_of(req, node):
    """A file or the range of it that the request asks for."""
    size = node.blob.size
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", req.headers.get("range", ""))
    if not match or match.group(0) == "bytes=-" or all(match.groups()) and int(match[1]) > int(match[2]):
        return Response(200, b"", file_head(node), Slice(node.blob))
    first, last = match.groups()
    if first == "":
        start, end = max(0, size - int(last)), size - 1
    else:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
    if start >= size or end < start:
        return Response(416, b"", {"Content-Range": "bytes */%d" % size})
    head = dict(file_head(node), **{"Content-Range": "bytes %d-%d/%d" % (start, end, size)})
    return Response(206, b"", head, Slice(node.blob, start, end - start + 1))


def head(ws, req):
    _, _, node = file_of(ws, req)
    return Response(200, b"", file_head(node), Slice(node.blob))


def delete(ws, req):
    path, tree, _ = file_of(ws, req)
    tree.remove(path)
    return Response(204, b"")


def make_directory(ws, req):
    path, tree = target(ws, req)
    at = path
    while at not in ("/", ""):
        node = tree.get(at)
        if node is not None and not node.is_dir:
            raise ApiError(409, "ALREADY_EXISTS", "A file exists at %s." % at)
        at = parent_of(at)
    tree.mkdirs(path, req.now)
    return Response(204, b"")


def directory_of(ws, req):
    path, tree = target(ws, req)
    node = tree.get(path)
    if node is None or not node.is_dir:
        raise missing(path)
    return path, tree


def delete_directory(ws, req):
    path, tree = directory_of(ws, req)
    if tree.children(path):
        raise ApiError(400, "INVALID_PARAMETER_VALUE", "The directory is not empty.", details=[
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "FILES_API_DIRECTORY_IS_NOT_EMPTY",
             "domain": "filesystem.databricks.com", "metadata": {}}])
    if path in ws.part(Volumes).volumes:
        raise invalid("The root of a volume cannot be deleted.")
    tree.remove(path)
    return Response(204, b"")


def head_directory(ws, req):
    directory_of(ws, req)
    return Response(200, b"")


def list_directory(ws, req):
    path, tree = directory_of(ws, req)
    size = query_int(req, "page_size", MAX_PAGE)
    if size < 0:
        raise invalid("Invalid page_size %d." % size)
    rows = []
    for child, node in tree.children(path):
        row = {"path": child, "is_directory": node.is_dir, "name": child.rsplit("/", 1)[1],
               "last_modified": node.modified}
        if not node.is_dir:
            row["file_size"] = node.blob.size
        rows.append(row)
    rows, following, _ = listing.page(ws, rows, min(size or MAX_PAGE, MAX_PAGE), query_text(req, "page_token"),
                                      "fs/directories", path)
    body = {}
    if rows:
        body["contents"] = rows
    if following:
        body["next_page_token"] = following
    return body


def control(app, args):
    """name: catalog.schema.volume to make."""
    app.ws.part(Volumes).add(args["name"], app.ws.clock.now())
    return {"volumes": sorted(app.ws.part(Volumes).volumes)}


ROUTES = [
    ("PUT", "/fs/files/{*path}", V, upload), ("GET", "/fs/files/{*path}", V, download),
    ("HEAD", "/fs/files/{*path}", V, head), ("DELETE", "/fs/files/{*path}", V, delete),
    ("PUT", "/fs/directories/{*path}", V, make_directory), ("GET", "/fs/directories/{*path}", V, list_directory),
    ("HEAD", "/fs/directories/{*path}", V, head_directory),
    ("DELETE", "/fs/directories/{*path}", V, delete_directory),
]
CONTROL = {("POST", "volumes"): control}
