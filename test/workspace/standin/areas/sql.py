"""sql.py: SQL warehouses and statements on them.

Separate because a statement's whole life is here: what it answers is a script
that a test gave (/__control/statements), matched by text; without one only
"SELECT 1" is known.  Results are cut into chunks and have the real shapes.
"""

import json
import re
import uuid

from .. import listing
from ..app_reply import Later
from ..errors import ApiError, denied, invalid
from ..schema import ANY, BOOL, INT, INT32, STR, Enum, check, need, query_int, query_text
from . import transfers
from .permissions import EXISTS, TYPES
from .pipelines import iso

V = ("2.0",)
INLINE_LIMIT = 25 * 1024 * 1024
MAX_STATEMENT = 16 * 1024 * 1024
KEPT_MS = 12 * 3600 * 1000
RESULT_MS = 3600 * 1000
LINK_MS = 15 * 60 * 1000
LEVELS = TYPES["warehouses"][1]

WAREHOUSE = {"name": STR, "cluster_size": STR, "min_num_clusters": INT32, "max_num_clusters": INT32,
             "auto_stop_mins": INT32, "spot_instance_policy": STR, "enable_photon": BOOL,
             "enable_serverless_compute": BOOL, "warehouse_type": Enum("CLASSIC", "PRO", "TYPE_UNSPECIFIED"),
             "channel": ANY, "tags": ANY, "instance_profile_arn": STR, "creator_name": STR}
SIZES = ("2X-Small", "X-Small", "Small", "Medium", "Large", "X-Large", "2X-Large", "3X-Large", "4X-Large")
STATEMENT = {"statement": STR, "warehouse_id": STR, "catalog": STR, "schema": STR,
             "parameters": [{"name": STR, "value": STR, "type": STR}], "wait_timeout": STR,
             "on_wait_timeout": Enum("CONTINUE", "CANCEL"), "disposition": Enum("INLINE", "EXTERNAL_LINKS"),
             "format": Enum("JSON_ARRAY", "ARROW_STREAM", "CSV"), "row_limit": INT, "byte_limit": INT,
             "query_tags": [{"key": STR, "value": STR}]}
OVER = ("SUCCEEDED", "FAILED", "CANCELED", "CLOSED")


class Warehouse:
    def __init__(self, warehouse_id, spec, creator):
        self.id = warehouse_id
        self.spec = spec
        self.creator = creator
        self.state = "STARTING"
        self.due = None


class Statement:
    def __init__(self, now, user, body, script):
        self.id = "01f0%s" % str(uuid.uuid4())[4:]
        self.user = user
        self.body = body
        self.script = script
        self.state = "PENDING"
        self.due = now + script.get("pending_ms", 0)
        self.ended = 0
        self.cut = None             # its result in chunks, once asked for


class Sql:
    def __init__(self, ws):
        self.ws = ws
        self.warehouses = {}
        self.statements = {}
        self.scripts = []           # newest counts
        self.add("1234567890abcdef", {"name": "Starter"}, "admin@example.com").state = "RUNNING"

    def add(self, warehouse_id, spec, creator):
        w = self.warehouses[warehouse_id] = Warehouse(warehouse_id, spec, creator)
        self.ws.part(listing.Acls).created("warehouses", warehouse_id, creator, "IS_OWNER")
        return w

    def start(self, w, now):
        if w.state in ("STOPPED", "STOPPING"):
            w.state, w.due = "STARTING", now + self.ws.settings["warehouse_start_ms"]

    def advance(self, now):
        for w in self.warehouses.values():
            if w.due is not None and w.due <= now:
                w.state, w.due = {"STARTING": "RUNNING", "STOPPING": "STOPPED"}[w.state], None
        for s in self.statements.values():
            self.move(s, now)

    def move(self, s, now):
        w = self.warehouses.get(s.body["warehouse_id"])
        if s.state == "PENDING" and now >= s.due and w is not None and w.state == "RUNNING":
            s.state = "RUNNING"
            s.due = now + s.script.get("running_ms", 0)
        if s.state == "RUNNING" and now >= s.due and not s.script.get("hang"):
            s.state = s.script.get("state", "SUCCEEDED")
            s.ended = now
        if s.state == "SUCCEEDED" and now - s.ended > RESULT_MS:
            s.state = "CLOSED"


# warehouses

def show(ws, w):
    running = w.state == "RUNNING"
    body = {"id": w.id, "name": "", "cluster_size": "2X-Small", "min_num_clusters": 1, "max_num_clusters": 1,
            "num_clusters": 1 if running else 0, "num_active_sessions": 0, "auto_stop_mins": 10, "state": w.state,
            "creator_name": w.creator, "enable_photon": True, "enable_serverless_compute": True,
            "warehouse_type": "PRO", "spot_instance_policy": "COST_OPTIMIZED",
            "jdbc_url": "jdbc:spark://dbc-a1b2c3d4-e5f6.cloud.databricks.com:443/default",
            "odbc_params": {"hostname": "dbc-a1b2c3d4-e5f6.cloud.databricks.com",
                            "path": "/sql/1.0/warehouses/%s" % w.id, "protocol": "https", "port": 443},
            "health": {"status": "HEALTHY"} if running else {}, "tags": {}}
    body.update(w.spec)
    return body


def find(ws, req, level, key=None):
    key = key or req.parts["id"]
    w = ws.part(Sql).warehouses.get(key)
    if w is None:
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", "SQL warehouse %s does not exist." % key[:60])
    if listing.held(req.principal, ws.part(listing.Acls).of("warehouses", key), LEVELS) < LEVELS.index(level):
        raise denied("%s does not have %s permissions on SQL warehouse %s." % (req.principal.user, level, key))
    return w


def spec_of(req):
    body = check(req.json(), WAREHOUSE)
    need(body, "name")
    if body.get("cluster_size", SIZES[0]) not in SIZES:
        raise invalid("%s is not a valid cluster size. Valid sizes: %s." % (body["cluster_size"][:60], ", ".join(SIZES)))
    stop = body.get("auto_stop_mins", 10)
    if stop != 0 and stop < 5:
        raise invalid("auto_stop_mins must be 0 or at least 5.")
    return body


def warehouse_create(ws, req):
    spec = spec_of(req)
    part = ws.part(Sql)
    if any(w.spec["name"] == spec["name"] for w in part.warehouses.values()):
        raise ApiError(400, "INVALID_PARAMETER_VALUE", "SQL warehouse with name `%s` already exists" % spec["name"])
    w = part.add("%016x" % ws.rng.getrandbits(64), spec, req.principal.user)
    w.state, w.due = "STARTING", req.now + ws.settings["warehouse_start_ms"]
    return {"id": w.id}


def warehouse_list(ws, req):
    size = query_int(req, "page_size", 0)
    if size < 0:
        raise invalid("Invalid page_size %d." % size)
    acls = ws.part(listing.Acls)
    rows = [w for _, w in sorted(ws.part(Sql).warehouses.items())
            if listing.held(req.principal, acls.of("warehouses", w.id), LEVELS) >= 0]
    following = None
    if size:
        rows, following, _ = listing.page(ws, rows, size, query_text(req, "page_token"), "warehouses")
    body = {}
    if rows:
        body["warehouses"] = [show(ws, w) for w in rows]
    if following:
        body["next_page_token"] = following
    return body


def warehouse_get(ws, req):
    return show(ws, find(ws, req, "CAN_USE"))


def warehouse_edit(ws, req):
    w = find(ws, req, "CAN_MANAGE")
    w.spec = spec_of(req)
    return {}


def warehouse_delete(ws, req):
    w = find(ws, req, "CAN_MANAGE")
    del ws.part(Sql).warehouses[w.id]
    return {}


def warehouse_start(ws, req):
    ws.part(Sql).start(find(ws, req, "CAN_MONITOR"), req.now)
    return {}


def warehouse_stop(ws, req):
    w = find(ws, req, "CAN_MONITOR")
    if w.state in ("RUNNING", "STARTING"):
        w.state, w.due = "STOPPING", req.now + 300
    return {}


def warehouse_exists(ws, key):
    if key not in ws.part(Sql).warehouses:
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", "SQL warehouse %s does not exist." % key)


EXISTS["warehouses"] = warehouse_exists


# statements

# What is known without being told: one, and one question about one table.
KNOWN = [
    (r"select\s+1", {"columns": [{"name": "1", "type_name": "INT", "type_text": "INT"}], "rows": [["1"]]}),
    (r"select customer, sum\(amount\) from shop\.orders where day = :day group by customer", {
        "columns": [{"name": "customer", "type_name": "STRING", "type_text": "STRING"},
                    {"name": "sum(amount)", "type_name": "DECIMAL", "type_text": "DECIMAL(10,2)",
                     "type_precision": 10, "type_scale": 2}],
        "rows": [["Acme", "8.00"], ["Blimp", "3.00"]]})]
UNKNOWN = {"state": "FAILED", "sql_state": "42P01", "error": {
    "error_code": "BAD_REQUEST",
    "message": "[TABLE_OR_VIEW_NOT_FOUND] The table or view cannot be found. SQLSTATE: 42P01"}}


def script_for(part, body):
    for entry in reversed(part.scripts):
        if entry["count"] != 0 and entry.get("match", "") in body["statement"]:
            entry["count"] -= 1 if entry["count"] > 0 else 0
            return entry
    for pattern, script in KNOWN:
        if re.fullmatch(r"\s*%s\s*;?\s*" % pattern, body["statement"], re.I):
            return script
    return UNKNOWN


def chunks_of(s):
    """([(row offset, rows)], rows, truncated), cut by chunk_rows; INLINE results end at 25 MiB or byte_limit."""
    if s.cut is not None:
        return s.cut
    rows = s.script.get("rows") or []
    if "generate" in s.script:
        n = s.script["generate"]
        rows = [[str(i), "row %d" % i] for i in range(1, n + 1)]
    limit = s.body.get("row_limit")
    truncated = s.script.get("truncated", False)
    if limit is not None and len(rows) > limit:
        rows, truncated = rows[:limit], True
    most = s.body.get("byte_limit") or INLINE_LIMIT
    used = 0
    for n, row in enumerate(rows if not by_links(s) or s.body.get("byte_limit") else ()):
        used += size_of(row)
        if used > most:
            rows, truncated = rows[:n], True
            break
    size = s.script.get("chunk_rows") or 10000
    s.cut = [(at, rows[at:at + size]) for at in range(0, len(rows), size)], len(rows), truncated
    return s.cut


def size_of(row):
    """Bytes of a row in the JSON of a result."""
    return 4 + sum(len(v) + 3 if v is not None else 5 for v in row)


def columns_of(s):
    columns = s.script.get("columns") or []
    if "generate" in s.script:
        columns = [{"name": "id", "type_name": "LONG", "type_text": "BIGINT"},
                   {"name": "name", "type_name": "STRING", "type_text": "STRING"}]
    return [dict({"position": n, "type_text": c["type_name"]}, **c) for n, c in enumerate(columns)]


def by_links(s):
    return s.body.get("disposition") == "EXTERNAL_LINKS"


def chunk(ws, s, cut, index):
    at, rows = cut[index]
    body = {"chunk_index": index, "row_offset": at, "row_count": len(rows)}
    if index + 1 < len(cut):
        body["next_chunk_index"] = index + 1
        body["next_chunk_internal_link"] = "/api/2.0/sql/statements/%s/result/chunks/%d?row_offset=%d" % (
            s.id, index + 1, cut[index + 1][0])
    if not by_links(s):
        return dict(body, data_array=rows)
    until = ws.clock.now() + LINK_MS
    link = dict(body, byte_count=len(json.dumps(rows)), expiration=iso(until),
                external_link=transfers.link(ws, ("rows", rows, str(index)), until),
                http_headers={"x-standin-rows": str(index)})
    return {"external_links": [link]}


def reply(ws, s):
    body = {"statement_id": s.id, "status": {"state": s.state}}
    if s.state == "FAILED":
        body["status"]["error"] = s.script.get("error") or {"error_code": "UNKNOWN", "message": "failed"}
        if s.script.get("sql_state"):
            body["status"]["sql_state"] = s.script["sql_state"]
    if s.state == "SUCCEEDED":
        cut, total, truncated = chunks_of(s)
        columns = columns_of(s)
        body["manifest"] = {
            "format": "JSON_ARRAY", "schema": {"column_count": len(columns), "columns": columns},
            "total_chunk_count": len(cut), "total_row_count": total, "truncated": truncated,
            "chunks": [{"chunk_index": n, "row_offset": at, "row_count": len(rows), "byte_count": sum(map(size_of, rows))}
                       for n, (at, rows) in enumerate(cut)]}
        body["manifest"]["total_byte_count"] = sum(c["byte_count"] for c in body["manifest"]["chunks"])
        body["result"] = chunk(ws, s, cut, 0) if cut else {}
    return body


def submit(ws, req):
    body = check(req.json(), STATEMENT)
    need(body, "warehouse_id", "statement")
    if not body["statement"].strip():
        raise invalid("The statement must not be empty.")
    if len(body.get("query_tags", ())) > 20:
        raise invalid("A statement must not have more than 20 query tags.")
    if len(body["statement"].encode()) > MAX_STATEMENT:
        raise invalid("The statement must not exceed 16 MiB.")
    wait = body.get("wait_timeout", "10s")
    if not re.fullmatch(r"\d{1,3}s", wait) or not (wait == "0s" or 5 <= int(wait[:-1]) <= 50):
        raise invalid("The wait_timeout field must be 0 seconds (disables wait), or between 5 seconds and 50 seconds.")
    if body.get("format", "JSON_ARRAY") != "JSON_ARRAY" and body.get("disposition", "INLINE") == "INLINE":
        raise invalid("The format %s is only supported with the disposition EXTERNAL_LINKS." % body["format"])
    if body.get("format", "JSON_ARRAY") != "JSON_ARRAY":
        raise invalid("The format %s is not available here." % body["format"])
    if not 1 <= body.get("byte_limit", 1) <= INLINE_LIMIT or body.get("row_limit", 1) < 1:
        raise invalid("byte_limit or row_limit is out of bounds.")
    names = [p.get("name") for p in body.get("parameters") or []]
    if None in names or len(set(names)) != len(names):
        raise invalid("Each parameter must have a name, and each name can be given once.")
    if not re.fullmatch(r"[0-9a-f]{16}", body["warehouse_id"]):
        raise invalid("%s is not a valid endpoint id." % body["warehouse_id"][:60])
    part = ws.part(Sql)
    w = part.warehouses.get(body["warehouse_id"])
    if w is None or listing.held(req.principal, ws.part(listing.Acls).of("warehouses", w.id), LEVELS) < 0:
        raise denied("You do not have permission to use the SQL Warehouse. Please contact your administrator.")
    script = script_for(part, body)
    for name in script.get("markers") or ():
        if name not in names:
            script = {"state": "FAILED", "sql_state": "42P02", "error": {
                "error_code": "BAD_REQUEST", "message": "[UNBOUND_SQL_PARAMETER] Found the unbound parameter: %s. "
                "SQLSTATE: 42P02" % name}}
    for old in [k for k, s in part.statements.items() if s.ended and req.now - s.ended > KEPT_MS]:
        del part.statements[old]
    s = Statement(req.now, req.principal.user, body, script)
    part.statements[s.id] = s
    part.start(w, req.now)
    part.advance(req.now)
    if wait == "0s":
        return {"statement_id": s.id, "status": {"state": "PENDING"}}
    until = req.now + int(wait[:-1]) * 1000

    def look():
        now = ws.tick()
        ws.part(Sql)
        # nothing becomes ready while the clock stands, so nobody is kept waiting then
        if s.state not in OVER and now < until and ws.clock.speed:
            return None
        if s.state not in OVER and body.get("on_wait_timeout") == "CANCEL":
            s.state, s.ended = "CANCELED", now
        return reply(ws, s)

    return Later(reply(ws, s), look)


def statement_of(ws, req):
    key = req.parts["id"]
    if not re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", key):
        raise invalid("Error while parsing type: statement_id.")
    s = ws.part(Sql).statements.get(key)
    if s is None or s.ended and req.now - s.ended > KEPT_MS or not req.principal.admin and s.user != req.principal.user:
        raise ApiError(404, "NOT_FOUND", "The statement %s was not found." % key, details=[
            {"@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": req.request_id, "serving_data": ""}])
    return s


def poll(ws, req):
    return reply(ws, statement_of(ws, req))


def get_chunk(ws, req):
    s = statement_of(ws, req)
    if s.state != "SUCCEEDED":
        raise invalid("The statement %s is in state %s and has no result." % (s.id, s.state))
    index = req.parts["n"]
    cut, _, _ = chunks_of(s)
    if not index.isdigit() or int(index) >= len(cut):
        raise invalid("The chunk_index %s is out of bounds." % index[:20])
    return chunk(ws, s, cut, int(index))


def cancel(ws, req):
    s = statement_of(ws, req)
    if s.state not in OVER:
        s.state, s.ended = "CANCELED", req.now
    return {}


def control(app, args):
    """match (text in the statement), columns[{name, type_name, ...}], rows[[text or null]], or generate (number of rows
    of id and name); chunk_rows; pending_ms, running_ms, hang; state, error{error_code, message}, sql_state; truncated;
    markers[] that must be bound; count.  Or statement_id and state: change one under way."""
    part = app.ws.part(Sql)
    if "statement_id" in args:
        s = part.statements[args["statement_id"]]
        s.state, s.ended = args["state"], app.ws.clock.now()
        return reply(app.ws, s)
    part.scripts.append(dict(args, count=args.get("count", -1)))
    return {"scripts": len(part.scripts)}


def list_statements(app, args):
    return {"statements": [{"statement_id": s.id, "state": s.state, "body": s.body, "user": s.user}
                           for s in app.ws.part(Sql).statements.values()]}


ROUTES = [
    ("GET", "/sql/warehouses", V, warehouse_list), ("POST", "/sql/warehouses", V, warehouse_create),
    ("GET", "/sql/warehouses/{id}", V, warehouse_get), ("POST", "/sql/warehouses/{id}/edit", V, warehouse_edit),
    ("DELETE", "/sql/warehouses/{id}", V, warehouse_delete),
    ("POST", "/sql/warehouses/{id}/start", V, warehouse_start),
    ("POST", "/sql/warehouses/{id}/stop", V, warehouse_stop),
    ("POST", "/sql/statements", V, submit), ("POST", "/sql/statements/", V, submit),
    ("GET", "/sql/statements/{id}", V, poll), ("GET", "/sql/statements/{id}/result/chunks/{n}", V, get_chunk),
    ("POST", "/sql/statements/{id}/cancel", V, cancel),
]
CONTROL = {("POST", "statements"): control, ("GET", "statements"): list_statements}
