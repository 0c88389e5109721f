"""workspace.py: notebooks, files and folders of the workspace, and Git folders.

Separate from the file systems: objects have ids, languages and formats.  The
prefix /Workspace is an alias.  A Git folder is an object too, so both live here.
"""

import base64
import binascii
import zlib

from .. import listing
from ..app_reply import Response
from ..errors import ApiError, invalid
from ..filetree import parent_of
from ..schema import ANY, BOOL, INT, STR, Enum, check, need, query_bool, query_int, query_text
from .permissions import EXISTS

V = ("2.0",)
MAX_CONTENT = 10 * 1024 * 1024
LANGUAGES = {"PYTHON": "py", "SQL": "sql", "SCALA": "scala", "R": "r"}
FORMATS = ("SOURCE", "AUTO", "HTML", "JUPYTER", "DBC", "R_MARKDOWN", "RAW")
HEADER = {"PYTHON": b"# Databricks notebook source", "SQL": b"-- Databricks notebook source",
          "SCALA": b"// Databricks notebook source", "R": b"# Databricks notebook source"}
PROVIDERS = ("gitHub", "gitHubEnterprise", "bitbucketCloud", "bitbucketServer", "azureDevOpsServices", "gitLab",
             "gitLabEnterpriseEdition", "awsCodeCommit")
KINDS = {"NOTEBOOK": "notebooks", "DIRECTORY": "directories", "FILE": "files", "REPO": "repos"}


class Object:
    def __init__(self, kind, object_id, now, content=b"", language=None):
        self.kind = kind
        self.id = object_id
        self.created = self.modified = now
        self.content = content
        self.language = language
        self.repo = None            # members of a Git folder


class Objects:
    def __init__(self, ws):
        self.ws = ws
        self.by_path = {}
        self.missing_branches = set()
        self.dirty = set()          # paths of Git folders with local changes
        for path in ("/", "/Users", "/Shared", "/Repos"):
            self.add(path, "DIRECTORY", 0)

    def advance(self, now):
        pass

    def add(self, path, kind, now, content=b"", language=None):
        some_id = self.ws.rng.randrange(10 ** 9, 10 ** 16)
        self.by_path[path] = Object(kind, some_id, now, content, language)
        return self.by_path[path]

    def mkdirs(self, path, now):
        todo = []
        while path not in self.by_path:
            todo.append(path)
            path = parent_of(path)
        for path in reversed(todo):
            self.add(path, "DIRECTORY", now)

    def children(self, path):
        top = "" if path == "/" else path
        return sorted(p for p in self.by_path if p != "/" and parent_of(p) == (top or "/"))

    def below(self, path):
        return [p for p in self.by_path if p.startswith(path.rstrip("/") + "/")]

    def repo(self, repo_id):
        for path, o in self.by_path.items():
            if o.kind == "REPO" and o.id == repo_id:
                return path, o
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", "Repo %d not found." % repo_id)


def exists(path):
    return ApiError(400, "RESOURCE_ALREADY_EXISTS", "Path (%s) already exists." % path)


def missing(path):
    return ApiError(404, "RESOURCE_DOES_NOT_EXIST", "Path (%s) doesn't exist." % path)


def clean(path):
    if not path:
        raise invalid("Missing required field: path")
    if path == "/Workspace" or path.startswith("/Workspace/"):
        path = path[10:] or "/"
    if not path.startswith("/") or "//" in path or any(p in (".", "..") for p in path.split("/")):
        raise invalid("Path (%s) should start with '/'" % path[:200])
    return path.rstrip("/") or "/"


def find(ws, path):
    found = ws.part(Objects).by_path.get(path)
    if found is None:
        raise missing(path)
    return found


def is_folder(o):
    return o.kind in ("DIRECTORY", "REPO")


def info(path, o):
    body = {"object_type": o.kind, "path": path, "object_id": o.id, "resource_id": str(o.id)}
    if o.kind == "NOTEBOOK":
        body["language"] = o.language
    if o.kind == "FILE":
        body["size"] = len(o.content)
    if not is_folder(o):
        body["created_at"] = o.created
        body["modified_at"] = o.modified
    if o.kind == "REPO":
        body["directory_info"] = {"is_git_folder": True}
    return body


def split_notebook(path, content, language):
    """AUTO: is it a notebook?  (path without extension, language) or None."""
    for name, extension in LANGUAGES.items():
        if path.endswith("." + extension) and content.startswith(HEADER[name]):
            return path[:-len(extension) - 1], name
    if path.endswith(".ipynb"):
        return path[:-6], language or "PYTHON"
    return None


def import_object(ws, req):
    members, content = req.form_members("content")
    body = check(req.json() if members is None else members,
                 {"path": STR, "format": Enum(*FORMATS), "language": Enum(*LANGUAGES), "content": STR, "overwrite": BOOL})
    path = clean(body.get("path"))
    if members is None:
        try:
            content = base64.b64decode(body.get("content", ""), validate=True)
        except (binascii.Error, ValueError):
            raise invalid("content is not base64.") from None
    if len(content) > MAX_CONTENT:
        raise ApiError(400, "MAX_NOTEBOOK_SIZE_EXCEEDED", "The size of the notebook exceeds %d bytes." % MAX_CONTENT)
    form = body.get("format", "SOURCE")
    language = body.get("language")
    kind = "NOTEBOOK"
    if form == "SOURCE" and language is None:
        raise invalid("Missing required field: language")
    if form == "DBC" and body.get("overwrite"):
        raise invalid("Overwriting is not supported with the format DBC.")
    if form in ("AUTO", "RAW"):
        found = split_notebook(path, content, language) if form == "AUTO" else None
        if found:
            path, language = found
        else:
            kind, language = "FILE", None
    elif language is None:
        language = "R" if form == "R_MARKDOWN" else "PYTHON"
    part = ws.part(Objects)
    above = part.by_path.get(parent_of(path))
    if above is None:
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", "The parent folder (%s) does not exist." % parent_of(path))
    old = part.by_path.get(path)
    if not is_folder(above) or old is not None and (is_folder(old) or not body.get("overwrite", False)):
        raise exists(path)
    if kind == "NOTEBOOK" and form == "SOURCE" and content.startswith(HEADER[language] + b"\n"):
        content = content[len(HEADER[language]) + 1:]
    made = part.add(path, kind, req.now, content, language)
    if old is not None:
        made.id, made.created = old.id, old.created
    return {}


def import_file(ws, req):
    """The raw bytes of a file, or of a notebook that names itself one."""
    path = clean("/" + req.parts["path"])
    content = req.file.read() if req.file else req.body
    if len(content) > MAX_CONTENT:
        raise ApiError(400, "MAX_NOTEBOOK_SIZE_EXCEEDED", "The size of the file exceeds %d bytes." % MAX_CONTENT)
    path, language = split_notebook(path, content, None) or (path, None)
    part = ws.part(Objects)
    above, old = part.by_path.get(parent_of(path)), part.by_path.get(path)
    if above is None or not is_folder(above):
        raise ApiError(404, "NOT_FOUND", "The parent folder (%s) does not exist." % parent_of(path))
    if old is not None and (is_folder(old) or not query_bool(req, "overwrite")):
        raise ApiError(409, "ALREADY_EXISTS", "Path (%s) already exists." % path)
    made = part.add(path, "NOTEBOOK" if language else "FILE", req.now, content, language)
    if old is not None:
        made.id, made.created = old.id, old.created
    return {}


def export_object(ws, req):
    path = clean(query_text(req, "path"))
    form = query_text(req, "format") or "SOURCE"
    if form not in FORMATS:
        raise invalid("Invalid value '%s' for parameter 'format'." % form[:60])
    o = find(ws, path)
    if is_folder(o):
        if form != "DBC":
            raise invalid("Folders can only be exported with the format DBC.")
        content, kind = b"DBC of " + path.encode(), "dbc"
    elif o.kind == "FILE":
        content, kind = o.content, path.rsplit(".", 1)[-1] if "." in path else ""
    else:
        content = o.content
        kind = LANGUAGES[o.language]
        if form in ("SOURCE", "AUTO"):
            content = HEADER[o.language] + b"\n" + content
    if query_bool(req, "direct_download"):
        return Response(200, content, {"Content-Type": "application/octet-stream"})
    return {"content": base64.b64encode(content).decode(), "file_type": kind}


def list_objects(ws, req):
    path = clean(query_text(req, "path"))
    since = query_int(req, "notebooks_modified_after", 0)
    o = find(ws, path)
    part = ws.part(Objects)
    rows = [(p, part.by_path[p]) for p in part.children(path)] if is_folder(o) else [(path, o)]
    rows = [info(p, x) for p, x in rows if x.kind != "NOTEBOOK" or x.modified >= since]
    return {"objects": rows} if rows else {}


def get_status(ws, req):
    path = clean(query_text(req, "path"))
    return info(path, find(ws, path))


def mkdirs(ws, req):
    path = clean(check(req.json(), {"path": STR}).get("path"))
    part = ws.part(Objects)
    at = path
    while at != "/":
        o = part.by_path.get(at)
        if o is not None and not is_folder(o):
            raise exists(at)
        at = parent_of(at)
    part.mkdirs(path, req.now)
    return {}


def delete(ws, req):
    body = check(req.json(), {"path": STR, "recursive": BOOL})
    path = clean(body.get("path"))
    find(ws, path)
    part = ws.part(Objects)
    below = part.below(path)
    if below and not body.get("recursive", False):
        raise ApiError(400, "DIRECTORY_NOT_EMPTY", "Folder (%s) is not empty" % path)
    if path in ("/", "/Users", "/Shared", "/Repos"):
        raise invalid("Folder (%s) is protected" % path)
    for p in below + [path]:
        del part.by_path[p]
    return {}


# Git folders

def repo_info(path, o):
    return dict({"id": o.id, "path": path}, **{k: v for k, v in o.repo.items() if k != "patterns"})


def commit_of(ref):
    return "%08x" % zlib.crc32(ref.encode()) * 5


def repo_create(ws, req):
    body = check(req.json(), {"url": STR, "provider": STR, "path": STR, "sparse_checkout": ANY,
                              "git_credential_id": INT})
    need(body, "url", "provider")
    provider = [p for p in PROVIDERS if p.lower() == body["provider"].lower()]
    if not provider:
        raise invalid("Unknown Git provider '%s'. Allowed values: %s." % (body["provider"][:60], ", ".join(PROVIDERS)))
    name = body["url"].rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")
    path = clean(body.get("path") or "/Repos/%s/%s" % (req.principal.user, name))
    if path.startswith("/Repos") and len(path.split("/")) != 4:
        raise invalid("Path must be /Repos/{folder}/{name}: %s" % path)
    part = ws.part(Objects)
    if path in part.by_path:
        raise exists(path)
    part.mkdirs(parent_of(path), req.now)
    o = part.add(path, "REPO", req.now)
    o.repo = {"url": body["url"], "provider": provider[0], "branch": "main", "head_commit_id": commit_of("main")}
    if "sparse_checkout" in body:
        o.repo["sparse_checkout"] = body["sparse_checkout"]
    ws.part(listing.Acls).created("repos", o.id, req.principal.user, "CAN_MANAGE")
    return repo_info(path, o)


def repo_list(ws, req):
    prefix = query_text(req, "path_prefix")
    prefix = clean(prefix) if prefix else "/Repos"
    part = ws.part(Objects)
    rows = sorted((o.id, p) for p, o in part.by_path.items() if o.kind == "REPO" and p.startswith(prefix))
    rows, following, _ = listing.page(ws, rows, 20, query_text(req, "next_page_token"), "repos", prefix)
    body = {}
    if rows:
        body["repos"] = [repo_info(p, part.by_path[p]) for _, p in rows]
    if following:
        body["next_page_token"] = following
    return body


def repo_of(ws, req):
    text = req.parts["id"]
    if not text.isdigit():
        raise invalid("Invalid repo id: %s" % text[:60])
    return ws.part(Objects).repo(int(text))


def repo_get(ws, req):
    return dict(repo_info(*repo_of(ws, req)), git_cli_enabled=False)


def repo_update(ws, req):
    path, o = repo_of(ws, req)
    body = check(req.json(), {"branch": STR, "tag": STR, "sparse_checkout": ANY, "git_credential_id": INT,
                              "dangerously_force_discard_all": BOOL})
    if "branch" in body and "tag" in body:
        raise invalid("Only one of branch and tag can be set.")
    if "sparse_checkout" in body and "sparse_checkout" not in o.repo:
        raise invalid("Sparse checkout cannot be switched on after creation.")
    part = ws.part(Objects)
    ref = body.get("branch") or body.get("tag")
    if ref in part.missing_branches:
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", "Branch or tag '%s' does not exist." % ref)
    if path in part.dirty and ref:
        if not body.get("dangerously_force_discard_all"):
            raise ApiError(409, "GIT_CONFLICT", "Cannot check out '%s': the folder has local changes." % ref)
        part.dirty.discard(path)
    if "branch" in body:
        o.repo["branch"] = body["branch"]
    elif "tag" in body:
        o.repo.pop("branch", None)
    if ref:
        o.repo["head_commit_id"] = commit_of(ref)
    return {}


def repo_delete(ws, req):
    path, _ = repo_of(ws, req)
    part = ws.part(Objects)
    for p in part.below(path) + [path]:
        del part.by_path[p]
    return {}


def known(kind):
    def look(ws, key):
        for path, o in ws.part(Objects).by_path.items():
            if str(o.id) == key and KINDS[o.kind] == kind:
                return
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", "No object of type %s has the id %s." % (kind, key))
    return look


for _kind in KINDS.values():
    EXISTS[_kind] = known(_kind)


def control(app, args):
    """missing_branches: refs no Git folder has; dirty: paths of Git folders with local changes."""
    part = app.ws.part(Objects)
    part.missing_branches |= set(args.get("missing_branches") or ())
    part.dirty |= set(args.get("dirty") or ())
    return {}


ROUTES = [
    ("POST", "/workspace/import", V, import_object), ("GET", "/workspace/export", V, export_object),
    ("GET", "/workspace/list", V, list_objects), ("GET", "/workspace/get-status", V, get_status),
    ("POST", "/workspace/mkdirs", V, mkdirs), ("POST", "/workspace/delete", V, delete),
    ("POST", "/workspace-files/import-file/{*path}", V, import_file),
    ("POST", "/repos", V, repo_create), ("GET", "/repos", V, repo_list), ("GET", "/repos/{id}", V, repo_get),
    ("PATCH", "/repos/{id}", V, repo_update), ("DELETE", "/repos/{id}", V, repo_delete),
]
CONTROL = {("POST", "repos"): control}
