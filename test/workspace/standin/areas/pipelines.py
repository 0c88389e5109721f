"""pipelines.py: pipelines and their updates.

Separate because an update is neither a run nor a statement: it has states of
its own, and the pipeline shows the newest one's.
"""

import datetime
import re
import uuid

from .. import listing
from ..errors import ApiError, denied, invalid
from ..schema import ANY, BOOL, STR, check, query_int, query_text
from .permissions import EXISTS, TYPES

V = ("2.0",)
LEVELS = TYPES["pipelines"][1]
START = {"full_refresh": BOOL, "refresh_selection": [STR], "full_refresh_selection": [STR],
         "reset_checkpoint_selection": [STR], "validate_only": BOOL, "cause": STR, "parameters": ANY}
OVER = ("COMPLETED", "FAILED", "CANCELED")


class Pipeline:
    def __init__(self, pipeline_id, spec, creator, now):
        self.id = pipeline_id
        self.spec = spec
        self.creator = creator
        self.modified = now
        self.state = "IDLE"
        self.updates = []           # newest first
        self.events = []            # newest first
        self.result = "COMPLETED"   # of the updates that start from now on


class Pipelines:
    def __init__(self, ws):
        self.ws = ws
        self.by_id = {}

    def advance(self, now):
        for p in self.by_id.values():
            for u in p.updates:
                if u["state"] in ("QUEUED", "CREATED") and now >= u["_run"]:
                    self.shift(p, u, "RUNNING", u["_run"])
                if u["state"] == "RUNNING" and now >= u["_end"]:
                    self.shift(p, u, u["_result"], u["_end"])
                if u["state"] == "STOPPING" and now >= u["_end"]:
                    self.shift(p, u, "CANCELED", u["_end"])

    def shift(self, p, u, state, at):
        """An update gets to another state, and the pipeline with it."""
        u["state"] = state
        p.state = {"QUEUED": "STARTING", "COMPLETED": "IDLE", "CANCELED": "IDLE"}.get(state, state)
        p.events.insert(0, {
            "id": str(uuid.UUID(int=self.ws.rng.getrandbits(128), version=1)), "timestamp": iso(at),
            "level": "ERROR" if state == "FAILED" else "INFO", "maturity_level": "STABLE",
            "event_type": "create_update" if state == "QUEUED" else "update_progress",
            "message": "Update %s is %s." % (u["update_id"][:6], state),
            "origin": {"pipeline_id": p.id, "pipeline_name": p.spec["name"], "update_id": u["update_id"]}})


def iso(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") \
        + "%03dZ" % (ms % 1000)


def find(ws, req, level):
    key = req.parts["id"]
    p = ws.part(Pipelines).by_id.get(key)
    if p is None:
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", "The specified pipeline %s was not found." % key[:60])
    if listing.held(req.principal, ws.part(listing.Acls).of("pipelines", key), LEVELS) < LEVELS.index(level):
        raise denied("User %s does not have %s permission on pipeline %s." % (req.principal.user, level, key))
    return p


def latest(p):
    return [{"update_id": u["update_id"], "state": u["state"], "creation_time": iso(u["creation_time"])}
            for u in p.updates[:5]]


def health(p):
    return "UNHEALTHY" if p.updates and p.updates[0]["state"] == "FAILED" else "HEALTHY"


def create(ws, req):
    body = req.json()
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise invalid("Missing required field: name")
    part = ws.part(Pipelines)
    if any(p.spec["name"] == name for p in part.by_id.values()) and not body.get("allow_duplicate_names"):
        raise ApiError(409, "RESOURCE_CONFLICT", "The pipeline name '%s' is already used by another pipeline." % name)
    pipeline_id = str(uuid.UUID(int=ws.rng.getrandbits(128), version=4))
    part.by_id[pipeline_id] = Pipeline(pipeline_id, body, req.principal.user, req.now)
    ws.part(listing.Acls).created("pipelines", pipeline_id, req.principal.user, "IS_OWNER")
    return {"pipeline_id": pipeline_id}


def list_pipelines(ws, req):
    size = query_int(req, "max_results", 25)
    if not 1 <= size <= 100:
        raise invalid("max_results must be between 1 and 100.")
    wanted = query_text(req, "filter")
    pattern = None
    if wanted:
        words = wanted.split("'")
        if len(words) != 3 or words[0].split() != ["name", "LIKE"]:
            raise invalid("Invalid filter: %s" % wanted[:100])
        signs = {"%": ".*", "_": "."}
        pattern = re.compile("".join(signs.get(c) or re.escape(c) for c in words[1]), re.I | re.S)
    acls = ws.part(listing.Acls)
    rows = [p for _, p in sorted(ws.part(Pipelines).by_id.items())
            if (pattern is None or pattern.fullmatch(p.spec["name"]))
            and listing.held(req.principal, acls.of("pipelines", p.id), LEVELS) >= 0]
    rows, following, previous = listing.page(ws, rows, size, query_text(req, "page_token"), "pipelines", wanted)
    body = {}
    if rows:
        body["statuses"] = [{"pipeline_id": p.id, "name": p.spec["name"], "state": p.state, "health": health(p),
                             "creator_user_name": p.creator, "run_as_user_name": p.creator,
                             "latest_updates": latest(p)} for p in rows]
    if following:
        body["next_page_token"] = following
    if previous:
        body["prev_page_token"] = previous
    return body


def get(ws, req):
    p = find(ws, req, "CAN_VIEW")
    return {"pipeline_id": p.id, "name": p.spec["name"], "state": p.state, "health": health(p), "cause": "",
            "spec": dict(p.spec, id=p.id), "creator_user_name": p.creator, "run_as_user_name": p.creator,
            "last_modified": p.modified, "latest_updates": latest(p)}


def delete(ws, req):
    p = find(ws, req, "CAN_MANAGE")
    del ws.part(Pipelines).by_id[p.id]
    return {}


def start_update(ws, req):
    p = find(ws, req, "CAN_RUN")
    body = check(req.json(), START)
    if body.get("full_refresh") and (body.get("refresh_selection") or body.get("full_refresh_selection")):
        raise invalid("full_refresh cannot be combined with a selection.")
    if p.updates and p.updates[0]["state"] not in OVER:
        raise ApiError(409, "RESOURCE_CONFLICT", "An active update %s already exists." % p.updates[0]["update_id"])
    u = {"update_id": str(uuid.UUID(int=ws.rng.getrandbits(128), version=4)), "pipeline_id": p.id, "state": "CREATED",
         "creation_time": req.now, "cause": "API_CALL", "full_refresh": body.get("full_refresh", False),
         "_run": req.now + 200, "_end": req.now + ws.settings["pipeline_update_ms"],
         "_result": p.result}
    u.update({k: body[k] for k in ("refresh_selection", "full_refresh_selection", "validate_only") if k in body})
    p.updates.insert(0, u)
    ws.part(Pipelines).shift(p, u, "QUEUED", req.now)
    return {"update_id": u["update_id"]}


def show_update(u):
    return {k: v for k, v in u.items() if not k.startswith("_")}


def list_updates(ws, req):
    p = find(ws, req, "CAN_VIEW")
    size = query_int(req, "max_results", 25)
    rows, following, previous = listing.page(ws, p.updates, max(1, min(size, 100)), query_text(req, "page_token"),
                                             "updates", p.id)
    body = {"updates": [show_update(u) for u in rows]} if rows else {}
    if following:
        body["next_page_token"] = following
    if previous:
        body["prev_page_token"] = previous
    return body


def get_update(ws, req):
    p = find(ws, req, "CAN_VIEW")
    for u in p.updates:
        if u["update_id"] == req.parts["uid"]:
            return {"update": show_update(u)}
    raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", "The update %s was not found." % req.parts["uid"][:60])


def list_events(ws, req):
    p = find(ws, req, "CAN_VIEW")
    size = query_int(req, "max_results", 25)
    if not 1 <= size <= 250:
        raise invalid("max_results must be between 1 and 250.")
    order = query_text(req, "order_by") or "timestamp desc"
    if order not in ("timestamp asc", "timestamp desc"):
        raise invalid("Events cannot be ordered by %s." % order[:100])
    wanted = query_text(req, "filter") or ""
    levels = re.findall(r"'(\w+)'", wanted)
    if wanted and not re.fullmatch(r"level\s*(=\s*'\w+'|in\s*\(\s*'\w+'(\s*,\s*'\w+')*\s*\))", wanted):
        raise invalid("Invalid filter: %s" % wanted[:100])
    found = [e for e in p.events if not levels or e["level"] in levels]
    if order == "timestamp asc":
        found.reverse()
    rows, following, previous = listing.page(ws, found, size, query_text(req, "page_token"), "events", p.id, order, wanted)
    body = {"events": rows} if rows else {}
    if following:
        body["next_page_token"] = following
    if previous:
        body["prev_page_token"] = previous
    return body


def stop(ws, req):
    p = find(ws, req, "CAN_RUN")
    for u in p.updates:
        if u["state"] not in OVER + ("STOPPING",):
            u["_end"] = req.now + 300
            ws.part(Pipelines).shift(p, u, "STOPPING", req.now)
    return {}


def exists(ws, key):
    if key not in ws.part(Pipelines).by_id:
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", "The specified pipeline %s was not found." % key)


EXISTS["pipelines"] = exists


def control(app, args):
    """pipeline_id, result: how its next updates end."""
    app.ws.part(Pipelines).by_id[args["pipeline_id"]].result = args["result"]
    return {}


ROUTES = [
    ("GET", "/pipelines", V, list_pipelines), ("POST", "/pipelines", V, create), ("GET", "/pipelines/{id}", V, get),
    ("DELETE", "/pipelines/{id}", V, delete), ("POST", "/pipelines/{id}/updates", V, start_update),
    ("GET", "/pipelines/{id}/updates", V, list_updates), ("GET", "/pipelines/{id}/updates/{uid}", V, get_update),
    ("POST", "/pipelines/{id}/stop", V, stop), ("GET", "/pipelines/{id}/events", V, list_events),
]
CONTROL = {("POST", "pipelines"): control}
