"""permissions.py: the access lists of all kinds of objects.

Separate because one set of calls serves every kind.  Those of jobs are part of
the job; the others are kept in listing.Acls.  Objects of kinds that have no
area here (dashboards, experiments, ...) exist as soon as they are named.
"""

from .. import listing
from ..errors import ApiError, denied, invalid, no_job, no_route
from ..principals import MANAGE, VIEW
from ..principals import require as require_job
from ..schema import STR, check
from .clusters import Clusters, no_cluster
from .pools import Pools

V = ("2.0",)
ENTRY = {"user_name": STR, "group_name": STR, "service_principal_name": STR, "permission_level": STR}
EDIT = ["CAN_READ", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE"]

# type in the URL: (type in replies, levels from low to high)
TYPES = {
    "jobs": ("job", ["CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"]),
    "clusters": ("cluster", ["CAN_ATTACH_TO", "CAN_RESTART", "CAN_MANAGE"]),
    "cluster-policies": ("cluster-policy", ["CAN_USE"]),
    "instance-pools": ("instance-pool", ["CAN_ATTACH_TO", "CAN_MANAGE"]),
    "pipelines": ("pipelines", ["CAN_VIEW", "CAN_RUN", "CAN_MANAGE", "IS_OWNER"]),
    "notebooks": ("notebook", EDIT), "directories": ("directory", EDIT), "files": ("file", EDIT),
    "repos": ("repo", EDIT),
    "warehouses": ("warehouses", ["CAN_USE", "CAN_MONITOR", "CAN_VIEW", "CAN_MANAGE", "IS_OWNER"]),
    "dashboards": ("dashboard", EDIT), "dbsql-dashboards": ("dbsql-dashboard", EDIT), "sql/alerts": ("alert", EDIT),
    "sql/queries": ("query", EDIT), "alertsv2": ("alertv2", EDIT), "genie": ("genie", EDIT),
    "experiments": ("mlflowExperiment", ["CAN_READ", "CAN_EDIT", "CAN_MANAGE"]),
    "registered-models": ("registered-model", ["CAN_READ", "CAN_EDIT", "CAN_MANAGE_STAGING_VERSIONS",
                                               "CAN_MANAGE_PRODUCTION_VERSIONS", "CAN_MANAGE"]),
    "serving-endpoints": ("serving-endpoint", ["CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"]),
    "authorization/tokens": ("tokens", ["CAN_USE", "CAN_MANAGE"]),
    "authorization/passwords": ("passwords", ["CAN_USE"]),
}
TYPES["sql/warehouses"] = TYPES["warehouses"]
TYPES["alerts"] = TYPES["sql/alerts"]
TYPES["queries"] = TYPES["sql/queries"]
OWNED = ("jobs", "pipelines")
SINGLE = ("authorization/tokens", "authorization/passwords")    # no id in the path
WORDS = {"CAN_VIEW": "Can view the %s", "CAN_MANAGE_RUN": "Can view, trigger and cancel runs",
         "CAN_MANAGE": "Can change the %s", "IS_OWNER": "Owner of the %s"}

# how other areas say that an object is there: type -> function(ws, id) that raises if not
EXISTS = {}


def job_of(ws, req, key, level):
    job = ws.store.jobs.get(int(key)) if key.isdigit() else None
    if job is not None and job.deleted:
        job = None
    require_job(req.principal, key, job.acl if job else None, level)
    if job is None:
        raise no_job(key)
    return job


def cluster_exists(ws, key):
    if key not in ws.part(Clusters).by_id:
        raise no_cluster(key)


def row_exists(name, what):
    def look(ws, key):
        if key not in getattr(ws.part(Pools), name):
            raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", "%s %s does not exist." % (what, key))
    return look


EXISTS["clusters"] = cluster_exists
EXISTS["cluster-policies"] = row_exists("policies", "Policy")
EXISTS["instance-pools"] = row_exists("pools", "Instance pool")


def target(req):
    """(type, id) of the URL; types of two words are joined again."""
    kind, key = req.parts["type"], req.parts["id"]
    if "under" in req.parts:
        kind = "%s/%s" % (req.parts["under"], kind)
        if kind in SINGLE:
            raise no_route(req.method, "/permissions/%s/%s" % (kind, key))
    elif "%s/%s" % (kind, key) in SINGLE:
        kind = "%s/%s" % (kind, key)
    if kind not in TYPES:
        raise invalid("'%s' is not a supported object type. Supported object types: %s."
                      % (kind[:60], ", ".join(sorted(TYPES))))
    return "warehouses" if kind == "sql/warehouses" else kind, key


def acl_of(ws, req, kind, key, change):
    """The list of an object that exists, after the check of rights."""
    if kind == "jobs":
        return job_of(ws, req, key, MANAGE if change else VIEW).acl
    if kind in EXISTS:
        EXISTS[kind](ws, key)
    levels = TYPES[kind][1]
    acl = ws.part(listing.Acls).of(kind, key)
    wanted = "CAN_MANAGE" if change and "CAN_MANAGE" in levels else levels[0]
    if listing.held(req.principal, acl, levels) < levels.index(wanted):
        raise denied("%s does not have %s permissions on %s/%s." % (req.principal.user, wanted, kind, key))
    return acl


def store(ws, kind, key, acl):
    if kind == "jobs":
        ws.store.jobs[int(key)].acl = acl
    else:
        ws.part(listing.Acls).lists[kind, key] = acl


def show(kind, key, acl):
    reply_type, _ = TYPES[kind]
    rows = []
    for entry in acl:
        who = {k: v for k, v in entry.items() if k != "permission_level"}
        if "group_name" not in who:
            name = who.get("user_name") or who.get("service_principal_name")
            who["display_name"] = name.split("@")[0].title()
        rows.append(dict(who, all_permissions=[{"permission_level": entry["permission_level"], "inherited": False}]))
    top = TYPES[kind][1][-1]
    rows.append({"group_name": "admins", "all_permissions": [
        {"permission_level": "CAN_MANAGE" if top == "IS_OWNER" else top, "inherited": True,
         "inherited_from_object": ["/%s/" % kind]}]})
    return {"object_id": "/%s" % kind if kind in SINGLE else "/%s/%s" % (kind, key), "object_type": reply_type, "access_control_list": rows}


def principal_of(entry):
    names = [n for n in ("user_name", "group_name", "service_principal_name") if n in entry]
    if len(names) != 1:
        raise invalid("Each entry of access_control_list must have exactly one principal.")
    return names[0], entry[names[0]]


def entries(req, kind):
    body = check(req.json(), {"access_control_list": [ENTRY]})
    levels = TYPES[kind][1]
    for entry in body.get("access_control_list") or []:
        principal_of(entry)
        level = entry.get("permission_level")
        if level not in levels:
            raise invalid("%s is not a valid permission level for %s. Valid levels: %s."
                          % (level, kind, ", ".join(levels)))
        if level == "IS_OWNER" and "group_name" in entry:
            raise invalid("A group cannot be the owner.")
    return body.get("access_control_list") or []


def owners(kind, acl):
    if kind in OWNED and sum(e["permission_level"] == "IS_OWNER" for e in acl) != 1:
        raise invalid("The %s must have exactly one owner." % TYPES[kind][0].rstrip("s"))


def get(ws, req):
    kind, key = target(req)
    return show(kind, key, acl_of(ws, req, kind, key, False))


def put(ws, req):
    kind, key = target(req)
    acl_of(ws, req, kind, key, True)
    acl = entries(req, kind)
    owners(kind, acl)
    store(ws, kind, key, acl)
    return show(kind, key, acl)


def patch(ws, req):
    kind, key = target(req)
    acl = list(acl_of(ws, req, kind, key, True))
    for entry in entries(req, kind):
        if entry["permission_level"] == "IS_OWNER":
            acl = [e for e in acl if e["permission_level"] != "IS_OWNER"]
        acl = [e for e in acl if principal_of(e) != principal_of(entry)] + [entry]
    owners(kind, acl)
    store(ws, kind, key, acl)
    return show(kind, key, acl)


def levels(ws, req):
    kind, key = target(req)
    acl_of(ws, req, kind, key, False)
    what = TYPES[kind][0]
    return {"permission_levels": [
        {"permission_level": level, "description": WORDS.get(level, level.replace("_", " ").capitalize()).replace("%s", what)}
        for level in TYPES[kind][1]]}


ROUTES = []
for _path in ("/permissions/{type}/{id}", "/permissions/{under}/{type}/{id}"):
    ROUTES += [("GET", _path + "/permissionLevels", V, levels), ("GET", _path, V, get), ("PUT", _path, V, put),
               ("PATCH", _path, V, patch)]
