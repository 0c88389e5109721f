"""pools.py: cluster policies and instance pools.

Separate from clusters.py because nothing here has a state that moves.
"""

import json

from .. import listing
from ..errors import ApiError, invalid
from ..schema import ANY, INT, INT32, MAP, STR, BOOL, check, need, query_text

V = ("2.0",)
POLICY = {"policy_id": STR, "name": STR, "definition": STR, "description": STR, "libraries": [ANY],
          "max_clusters_per_user": INT, "policy_family_id": STR, "policy_family_definition_overrides": STR}
POOL = {"instance_pool_id": STR, "instance_pool_name": STR, "node_type_id": STR, "min_idle_instances": INT32,
        "max_capacity": INT32, "idle_instance_autotermination_minutes": INT32, "custom_tags": MAP, "disk_spec": ANY,
        "preloaded_spark_versions": [STR], "preloaded_docker_images": [ANY], "enable_elastic_disk": BOOL,
        "aws_attributes": ANY, "azure_attributes": ANY, "gcp_attributes": ANY}
POLICY_LEVELS = ["CAN_USE"]
POOL_LEVELS = ["CAN_ATTACH_TO", "CAN_MANAGE"]


class Pools:
    def __init__(self, ws):
        self.policies = {}
        self.pools = {}

    def advance(self, now):
        pass


def admin_only(req):
    if not req.principal.admin:
        raise ApiError(403, "PERMISSION_DENIED", "%s is not an admin." % req.principal.user)


def find(rows, kind, key):
    if key is None:
        raise invalid("Missing required field: %s" % kind)
    if key not in rows:
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", "Can't find an object with %s: %s." % (kind, key))
    return rows[key]


def visible(ws, req, kind, key, levels):
    return listing.held(req.principal, ws.part(listing.Acls).of(kind, key), levels) >= 0


# policies

def policy_body(req, known=None):
    body = check(req.json(), POLICY)
    need(body, "name")
    if not 1 <= len(body["name"]) <= 100:
        raise invalid("The name of a policy must have between 1 and 100 characters.")
    if len(body.get("libraries") or []) > 500:
        raise invalid("A policy can have at most 500 libraries.")
    if "definition" in body:
        try:
            if not isinstance(json.loads(body["definition"]), dict):
                raise ValueError
        except ValueError:
            raise invalid("The definition of a policy must be a JSON document, given as a string.") from None
    return body


def policy_create(ws, req):
    admin_only(req)
    body = policy_body(req)
    rows = ws.part(Pools).policies
    if any(p["name"] == body["name"] for p in rows.values()):
        raise ApiError(400, "RESOURCE_ALREADY_EXISTS", "A policy named %s exists already." % body["name"])
    policy_id = "%016X" % ws.rng.getrandbits(64)
    rows[policy_id] = dict(body, policy_id=policy_id, creator_user_name=req.principal.user,
                           created_at_timestamp=req.now, is_default=False)
    return {"policy_id": policy_id}


def policy_edit(ws, req):
    admin_only(req)
    body = policy_body(req)
    old = find(ws.part(Pools).policies, "policy_id", body.get("policy_id"))
    keep = {k: old[k] for k in ("creator_user_name", "created_at_timestamp", "is_default")}
    ws.part(Pools).policies[body["policy_id"]] = dict(body, **keep)
    return {}


def policy_delete(ws, req):
    admin_only(req)
    body = check(req.json(), {"policy_id": STR})
    find(ws.part(Pools).policies, "policy_id", body.get("policy_id"))
    del ws.part(Pools).policies[body["policy_id"]]
    return {}


def policy_get(ws, req):
    return find(ws.part(Pools).policies, "policy_id", query_text(req, "policy_id"))


def policy_list(ws, req):
    column = query_text(req, "sort_column") or "POLICY_CREATION_TIME"
    order = query_text(req, "sort_order") or "DESC"
    if column not in ("POLICY_CREATION_TIME", "POLICY_NAME") or order not in ("ASC", "DESC"):
        raise invalid("Invalid sort_column or sort_order.")
    key = "name" if column == "POLICY_NAME" else "created_at_timestamp"
    rows = [p for p in ws.part(Pools).policies.values()
            if visible(ws, req, "cluster-policies", p["policy_id"], POLICY_LEVELS)]
    rows.sort(key=lambda p: (p[key], p["policy_id"]), reverse=order == "DESC")
    return {"policies": rows} if rows else {}


# pools

def pool_body(req):
    body = check(req.json(), POOL)
    need(body, "instance_pool_name", "node_type_id")
    if body.get("min_idle_instances", 0) < 0 or body.get("max_capacity", 1) < 1:
        raise invalid("min_idle_instances must not be negative and max_capacity must be positive.")
    return body


def pool_create(ws, req):
    admin_only(req)
    body = pool_body(req)
    pool_id = "1122-%06d-%s-pool-%s" % (req.now // 1000 % 1000000, "tiny", "%08x" % ws.rng.getrandbits(32))
    idle = body.get("min_idle_instances", 0)
    ws.part(Pools).pools[pool_id] = dict(
        body, instance_pool_id=pool_id, state="ACTIVE",
        stats={"used_count": 0, "idle_count": idle, "pending_used_count": 0, "pending_idle_count": 0},
        status={}, default_tags={"Vendor": "Databricks", "DatabricksInstancePoolCreatorId": str(req.principal.user_id),
                                 "DatabricksInstancePoolId": pool_id})
    ws.part(listing.Acls).created("instance-pools", pool_id, req.principal.user, "CAN_MANAGE")
    return {"instance_pool_id": pool_id}


def pool_edit(ws, req):
    admin_only(req)
    body = pool_body(req)
    old = find(ws.part(Pools).pools, "instance_pool_id", body.get("instance_pool_id"))
    if body["node_type_id"] != old["node_type_id"]:
        raise invalid("The node type of an instance pool cannot be changed.")
    old.update(body)
    return {}


def pool_delete(ws, req):
    admin_only(req)
    body = check(req.json(), {"instance_pool_id": STR})
    find(ws.part(Pools).pools, "instance_pool_id", body.get("instance_pool_id"))
    del ws.part(Pools).pools[body["instance_pool_id"]]
    return {}


def pool_get(ws, req):
    return find(ws.part(Pools).pools, "instance_pool_id", query_text(req, "instance_pool_id"))


def pool_list(ws, req):
    rows = [p for p in ws.part(Pools).pools.values()
            if visible(ws, req, "instance-pools", p["instance_pool_id"], POOL_LEVELS)]
    return {"instance_pools": rows} if rows else {}


ROUTES = [
    ("GET", "/policies/clusters/list", V, policy_list),
    ("GET", "/policies/clusters/get", V, policy_get),
    ("POST", "/policies/clusters/create", V, policy_create),
    ("POST", "/policies/clusters/edit", V, policy_edit),
    ("POST", "/policies/clusters/delete", V, policy_delete),
    ("GET", "/instance-pools/list", V, pool_list),
    ("GET", "/instance-pools/get", V, pool_get),
    ("POST", "/instance-pools/create", V, pool_create),
    ("POST", "/instance-pools/edit", V, pool_edit),
    ("POST", "/instance-pools/delete", V, pool_delete),
]
