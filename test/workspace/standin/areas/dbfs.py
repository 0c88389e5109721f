"""dbfs.py: the old file system: blocks of base64 in JSON.

Separate from volumes.py: other rules, other errors, another root.  Both keep
their tree in filetree.py.
"""

import base64
import binascii

from ..blob import Blob
from ..errors import ApiError, invalid
from ..filetree import Tree, parent_of
from ..schema import BOOL, INT, STR, check, need, query_int, query_text
from .volumes import Volumes

V = ("2.0",)
MAX_BLOCK = 1024 * 1024
IDLE_MS = 10 * 60 * 1000


class Dbfs:
    def __init__(self, ws):
        self.tree = Tree()
        self.handles = {}           # id -> [path, blob, last used]

    def advance(self, now):
        for handle in [h for h, (_, _, used) in self.handles.items() if now - used > IDLE_MS]:
            del self.handles[handle]


def exists(path):
    return ApiError(400, "RESOURCE_ALREADY_EXISTS", "A file or directory already exists at the input path dbfs:%s."
                    % path)


def missing(path):
    return ApiError(404, "RESOURCE_DOES_NOT_EXIST", "No file or directory exists on path %s." % path)


def clean(path, name="path"):
    if path is None or path == "":
        raise invalid("Missing required field: %s" % name)
    if path.startswith("dbfs:"):
        path = path[5:]
    if not path.startswith("/") or "//" in path or any(p in (".", "..") for p in path.split("/")):
        raise invalid("Path must be absolute: %s" % path[:200])
    return path.rstrip("/") or "/"


def info(path, node):
    return {"path": path, "is_dir": node.is_dir, "file_size": 0 if node.is_dir else node.blob.size,
            "modification_time": node.modified}


def decoded(text, name):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("%s is not base64." % name) from None
    if len(data) > MAX_BLOCK:
        raise ApiError(400, "MAX_BLOCK_SIZE_EXCEEDED", "The size of %s exceeds the limit of %d bytes."
                       % (name, MAX_BLOCK))
    return data


def check_target(tree, path, overwrite):
    """Refuse a path no file can be written to."""
    node = tree.get(path)
    if node is not None and (node.is_dir or not overwrite):
        raise exists(path)
    above = parent_of(path)
    while above != "/":
        node = tree.get(above)
        if node is not None and not node.is_dir:
            raise exists(above)
        above = parent_of(above)


def put(ws, req):
    body, data = req.form_members("contents")
    if body is None:
        body = check(req.json(), {"path": STR, "contents": STR, "overwrite": BOOL})
        data = decoded(body.get("contents", ""), "contents")
    path = clean(body.get("path"))
    tree = writable(ws, path)
    check_target(tree, path, body.get("overwrite", False))
    tree.write(path, Blob(data), req.now)
    return {}


def create(ws, req):
    body = check(req.json(), {"path": STR, "overwrite": BOOL})
    path = clean(body.get("path"))
    tree = writable(ws, path)
    check_target(tree, path, body.get("overwrite", False))
    # the file is there at once, empty, and grows with its blocks
    blob = Blob()
    tree.write(path, blob, req.now)
    handle = ws.rng.randrange(10 ** 6, 10 ** 15)
    ws.part(Dbfs).handles[handle] = [path, blob, req.now]
    return {"handle": handle}


def stream(ws, req, spec):
    body = check(req.json(), spec)
    need(body, "handle")
    found = ws.part(Dbfs).handles.get(body["handle"])
    if found is None:
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", "No open stream has the handle %d." % body["handle"])
    return body, found


def add_block(ws, req):
    body, found = stream(ws, req, {"handle": INT, "data": STR})
    need(body, "data")
    found[1].add(decoded(body["data"], "data"))
    found[2] = req.now
    return {}


def close(ws, req):
    body, found = stream(ws, req, {"handle": INT})
    node = ws.part(Dbfs).tree.get(found[0])
    if node is not None:
        node.modified = req.now
    del ws.part(Dbfs).handles[body["handle"]]
    return {}


def readable(ws, path):
    """The tree a path is read from: volumes can be read like this, too."""
    return ws.part(Volumes if path.startswith("/Volumes/") else Dbfs).tree


def writable(ws, path):
    if path == "/Volumes" or path.startswith("/Volumes/"):
        raise invalid("Volumes cannot be changed by this API: %s" % path)
    return ws.part(Dbfs).tree


def find(ws, path):
    node = readable(ws, path).get(path)
    if node is None:
        raise missing(path)
    return node


def read(ws, req):
    path = clean(query_text(req, "path"))
    offset = query_int(req, "offset", 0)
    length = query_int(req, "length", MAX_BLOCK // 2)
    if offset < 0 or length < 0:
        raise invalid("offset and length must not be negative.")
    if length > MAX_BLOCK:
        raise ApiError(400, "MAX_READ_SIZE_EXCEEDED", "The length of a read must not exceed %d bytes." % MAX_BLOCK)
    node = find(ws, path)
    if node.is_dir:
        raise invalid("%s is a directory and cannot be read." % path)
    data = node.blob.read(min(offset, node.blob.size), max(0, min(length, node.blob.size - offset)))
    return {"bytes_read": len(data), "data": base64.b64encode(data).decode()}


def get_status(ws, req):
    path = clean(query_text(req, "path"))
    return info(path, find(ws, path))


def list_files(ws, req):
    path = clean(query_text(req, "path"))
    node = find(ws, path)
    if not node.is_dir:
        return {"files": [info(path, node)]}
    rows = [info(p, n) for p, n in readable(ws, path).children(path)]
    return {"files": rows} if rows else {}


def mkdirs(ws, req):
    path = clean(check(req.json(), {"path": STR}).get("path"))
    tree = writable(ws, path)
    node = tree.get(path)
    if node is None or not node.is_dir:
        check_target(tree, path, False)
    tree.mkdirs(path, req.now)
    return {}


def move(ws, req):
    body = check(req.json(), {"source_path": STR, "destination_path": STR})
    source = clean(body.get("source_path"), "source_path")
    target = clean(body.get("destination_path"), "destination_path")
    find(ws, source)
    writable(ws, source)
    tree = writable(ws, target)
    check_target(tree, target, False)
    if (target + "/").startswith(source.rstrip("/") + "/"):
        raise invalid("%s cannot be moved into itself." % source)
    tree.move(source, target, req.now)
    return {}


def delete(ws, req):
    body = check(req.json(), {"path": STR, "recursive": BOOL})
    path = clean(body.get("path"))
    tree = writable(ws, path)
    node = tree.get(path)
    if node is None:
        return {}
    if node.is_dir and tree.children(path) and not body.get("recursive", False):
        raise ApiError(400, "IO_ERROR", "%s is a non-empty directory." % path)
    batch = ws.settings["dbfs_delete_batch"]
    gone = tree.remove(path, batch or None)
    if tree.children(path) if path == "/" else tree.get(path) is not None:
        raise ApiError(503, "PARTIAL_DELETE", "The requested operation has deleted %d files. There are more files "
                       "remaining. You must make another request to delete more." % gone)
    return {}


ROUTES = [
    ("POST", "/dbfs/put", V, put), ("POST", "/dbfs/create", V, create), ("POST", "/dbfs/add-block", V, add_block),
    ("POST", "/dbfs/close", V, close), ("GET", "/dbfs/read", V, read), ("GET", "/dbfs/list", V, list_files),
    ("GET", "/dbfs/get-status", V, get_status), ("POST", "/dbfs/mkdirs", V, mkdirs), ("POST", "/dbfs/move", V, move),
    ("POST", "/dbfs/delete", V, delete),
]
