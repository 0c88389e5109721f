"""clusters.py: all-purpose clusters, their events, node types and Spark versions.

Separate because clusters live on the clock: each has one change of state ahead
of it at most, carried out before any request is answered.  A failure arranged
by a test (/__control/clusters) ends the next start in TERMINATED.
"""

import random

from .. import listing
from ..errors import ApiError, invalid, invalid_state
from ..schema import ANY, BOOL, INT, INT32, MAP, STR, Enum, check, need, query_int, query_text

BOTH = ("2.0", "2.1")
DAY_MS = 86400 * 1000
LEVELS = ["CAN_ATTACH_TO", "CAN_RESTART", "CAN_MANAGE"]
STATES = ("PENDING", "RUNNING", "RESTARTING", "RESIZING", "TERMINATING", "TERMINATED", "ERROR", "UNKNOWN")
SOURCES = ("UI", "API", "JOB", "MODELS", "PIPELINE", "PIPELINE_MAINTENANCE", "SQL")

AUTOSCALE = {"min_workers": INT32, "max_workers": INT32}
SPEC = {
    "spark_version": STR, "node_type_id": STR, "driver_node_type_id": STR, "num_workers": INT32,
    "autoscale": AUTOSCALE, "cluster_name": STR, "autotermination_minutes": INT32, "spark_conf": MAP,
    "spark_env_vars": MAP, "custom_tags": MAP, "ssh_public_keys": [STR], "init_scripts": [ANY],
    "cluster_log_conf": ANY, "instance_pool_id": STR, "driver_instance_pool_id": STR, "policy_id": STR,
    "data_security_mode": STR, "single_user_name": STR, "runtime_engine": Enum("STANDARD", "PHOTON", "NULL"),
    "docker_image": ANY, "enable_elastic_disk": BOOL, "enable_local_disk_encryption": BOOL,
    "workload_type": ANY, "kind": STR, "is_single_node": BOOL, "use_ml_runtime": BOOL, "aws_attributes": ANY,
    "azure_attributes": ANY, "gcp_attributes": ANY,
}
VERSIONS = [
    ("16.4.x-scala2.12", "16.4 LTS (includes Apache Spark 3.5.2, Scala 2.12)"),
    ("15.4.x-scala2.12", "15.4 LTS (includes Apache Spark 3.5.0, Scala 2.12)"),
    ("14.3.x-scala2.12", "14.3 LTS (includes Apache Spark 3.5.0, Scala 2.12)"),
]
NODES = [("i3.xlarge", 31232, 4.0, "Storage Optimized", 950), ("m5d.large", 8192, 2.0, "General Purpose", 75),
         ("r5d.2xlarge", 65536, 8.0, "Memory Optimized", 300)]


class Cluster:
    def __init__(self, cluster_id, spec, creator, source, now):
        self.id = cluster_id
        self.spec = spec
        self.creator = creator
        self.source = source
        self.state = "PENDING"
        self.message = ""
        self.started = now
        self.terminated = 0
        self.restarted = 0
        self.reason = None
        self.pinned = False
        self.due = None             # (when, what)
        self.fail = None            # reason the next start ends with
        self.events = []            # oldest first
        self.context = random.Random(cluster_id).randrange(1 << 61, 1 << 62)
        self.forced = {}            # members a test put there

    def workers(self):
        scale = self.spec.get("autoscale")
        return scale["min_workers"] if scale else self.spec.get("num_workers", 0)


class Clusters:
    def __init__(self, ws):
        self.ws = ws
        self.by_id = {}

    def event(self, c, at, kind, **details):
        c.events.append({"cluster_id": c.id, "timestamp": at, "type": kind, "details": details})

    def begin(self, c, now, state, what, setting):
        c.state = state
        c.due = (now + self.ws.settings[setting], what)

    def advance(self, now):
        for c in self.by_id.values():
            while c.due and c.due[0] <= now:
                at, what = c.due
                c.due = None
                getattr(self, what)(c, at)

    def came_up(self, c, at):
        if c.fail:
            c.reason, c.fail = c.fail, None
            c.message = c.reason.pop("message", "Cluster start failed.")
            self.event(c, at, "TERMINATING", reason=c.reason)
            self.went_down(c, at)
            return
        c.state, c.message = "RUNNING", ""
        n = c.workers()
        self.event(c, at, "RUNNING", current_num_workers=n, target_num_workers=n)
        self.event(c, at, "DRIVER_HEALTHY")

    def went_down(self, c, at):
        c.state = "TERMINATED"
        c.terminated = at

    def resized(self, c, at):
        c.state = "RUNNING"
        n = c.workers()
        self.event(c, at, "UPSIZE_COMPLETED", current_num_workers=n, target_num_workers=n)

    def start(self, c, now, user):
        c.started, c.terminated, c.reason, c.message = now, 0, None, "Starting Spark"
        self.event(c, now, "STARTING", user=user)
        self.begin(c, now, "PENDING", "came_up", "cluster_start_ms")

    def stop(self, c, now, user):
        c.reason = {"code": "USER_REQUEST", "type": "SUCCESS", "parameters": {"username": user}}
        c.message = "Terminated by user"
        self.event(c, now, "TERMINATING", reason=c.reason)
        self.begin(c, now, "TERMINATING", "went_down", "cluster_stop_ms")


def no_cluster(cluster_id):
    return invalid("Cluster %s does not exist" % cluster_id)


def find(ws, req, cluster_id, level):
    c = ws.part(Clusters).by_id.get(cluster_id)
    if c is None or (c.terminated and not c.pinned and req.now - c.terminated > 60 * DAY_MS):
        raise no_cluster(cluster_id)
    listing.require(ws, req.principal, "clusters", c.id, LEVELS, level, "cluster " + c.id)
    return c


def wrong_state(c, verb):
    return invalid_state("Cluster %s is in state %s and cannot be %s." % (c.id, c.state.capitalize(), verb))


def sizes(spec):
    if "num_workers" in spec and "autoscale" in spec:
        raise invalid("Only one of num_workers and autoscale can be set.")
    if spec.get("num_workers", 0) < 0:
        raise invalid("num_workers must not be negative.")
    scale = spec.get("autoscale")
    if scale is not None:
        need(scale, "min_workers", "max_workers")
        if not 0 <= scale["min_workers"] <= scale["max_workers"] or scale["max_workers"] < 1:
            raise invalid("The autoscale range %d to %d is not valid." % (scale["min_workers"], scale["max_workers"]))


def validate(spec):
    need(spec, "spark_version")
    if "node_type_id" not in spec and "instance_pool_id" not in spec:
        raise invalid("Missing required field: node_type_id")
    sizes(spec)
    if spec["spark_version"] not in [k for k, _ in VERSIONS]:
        raise invalid("Invalid spark version %s." % spec["spark_version"])
    minutes = spec.get("autotermination_minutes", 0)
    if minutes != 0 and not 10 <= minutes <= 10000:
        raise invalid("autotermination_minutes must be 0 or between 10 and 10000.")
    if len(spec.get("custom_tags") or {}) > 45:
        raise invalid("A cluster can have at most 45 custom tags.")
    if len(spec.get("ssh_public_keys") or []) > 10:
        raise invalid("A cluster can have at most 10 SSH keys.")
    return spec


def create(ws, req):
    body = req.json()
    spec = validate(check(body, SPEC))
    part = ws.part(Clusters)
    moment = (req.now // 1000) % 86400
    while True:
        cluster_id = "1122-%02d%02d%02d-%s" % (moment // 3600, moment // 60 % 60, moment % 60,
                                               "".join(ws.rng.choices("abcdefghijkmnpqrstuvwxyz0123456789", k=8)))
        if cluster_id not in part.by_id:
            break
    c = part.by_id[cluster_id] = Cluster(cluster_id, spec, req.principal.user, "API", req.now)
    ws.part(listing.Acls).created("clusters", cluster_id, req.principal.user, "CAN_MANAGE")
    part.event(c, req.now, "CREATING", user=req.principal.user, cluster_size={"num_workers": c.workers()})
    c.message = "Finding instances for new nodes, acquiring more instances if necessary"
    part.begin(c, req.now, "PENDING", "came_up", "cluster_start_ms")
    part.advance(req.now)
    return {"cluster_id": cluster_id}


def edited(ws, req, c, spec):
    part = ws.part(Clusters)
    if c.state not in ("RUNNING", "TERMINATED"):
        raise wrong_state(c, "edited")
    if c.source != "API":
        raise invalid_state("Cluster %s was not made by a user and cannot be edited." % c.id)
    c.spec = validate(spec)
    part.event(c, req.now, "EDITED", user=req.principal.user)
    if c.state == "RUNNING":
        c.restarted = req.now
        part.begin(c, req.now, "RESTARTING", "came_up", "cluster_start_ms")
    return {}


def edit(ws, req):
    body = req.json()
    cluster_id = check(body, {"cluster_id": STR})
    need(cluster_id, "cluster_id")
    c = find(ws, req, cluster_id["cluster_id"], "CAN_MANAGE")
    return edited(ws, req, c, check(body, SPEC))


def update(ws, req):
    body = check(req.json(), {"cluster_id": STR, "update_mask": STR, "cluster": SPEC})
    need(body, "cluster_id", "update_mask")
    c = find(ws, req, body["cluster_id"], "CAN_MANAGE")
    new = body.get("cluster") or {}
    if body["update_mask"] == "*":
        return edited(ws, req, c, new)
    spec = dict(c.spec)
    for field in body["update_mask"].split(","):
        top, _, below = field.partition(".")
        # below the top a field may be named, but neither a key of a map nor an element of an array
        if top not in SPEC or field != field.strip() or "." in field and not (below and SPEC[top] in (ANY, AUTOSCALE)):
            raise invalid("Invalid field '%s' in update_mask." % field)
        if below:
            inner = dict(spec.get(top) or {})
            inner.pop(below, None)
            if below in (new.get(top) or {}):
                inner[below] = new[top][below]
            spec[top] = inner
            continue
        spec.pop(top, None)
        if top in new:
            spec[top] = new[top]
        # a size of one kind takes the place of the other
        if top in ("num_workers", "autoscale") and top in new:
            spec.pop("autoscale" if top == "num_workers" else "num_workers", None)
    return edited(ws, req, c, spec)


def by_id(level):
    """A command whose body is a cluster id."""
    def wrap(command):
        def handler(ws, req):
            body = check(req.json(), {"cluster_id": STR, "restart_user": STR, "num_workers": INT32,
                                      "autoscale": AUTOSCALE, "owner_username": STR})
            need(body, "cluster_id")
            c = find(ws, req, body["cluster_id"], level)
            return command(ws, req, ws.part(Clusters), c, body) or {}
        return handler
    return wrap


@by_id("CAN_RESTART")
def start(ws, req, part, c, body):
    if c.source == "JOB":
        raise invalid_state("Cluster %s belongs to a job run and cannot be started." % c.id)
    if c.state == "TERMINATED":
        part.start(c, req.now, req.principal.user)
    elif c.state == "TERMINATING":
        raise wrong_state(c, "started")


@by_id("CAN_RESTART")
def restart(ws, req, part, c, body):
    if c.state != "RUNNING":
        raise wrong_state(c, "restarted")
    c.restarted = req.now
    part.event(c, req.now, "RESTARTING", user=req.principal.user)
    part.begin(c, req.now, "RESTARTING", "came_up", "cluster_start_ms")


@by_id("CAN_MANAGE")
def resize(ws, req, part, c, body):
    if ("num_workers" in body) == ("autoscale" in body):
        raise invalid("Exactly one of num_workers and autoscale must be set.")
    if c.state != "RUNNING":
        raise wrong_state(c, "resized")
    sizes({k: body[k] for k in ("num_workers", "autoscale") if k in body})
    before = c.workers()
    c.spec = {k: v for k, v in c.spec.items() if k not in ("num_workers", "autoscale")}
    c.spec.update({k: body[k] for k in ("num_workers", "autoscale") if k in body})
    part.event(c, req.now, "RESIZING", current_num_workers=before, target_num_workers=c.workers(),
               cause="USER_REQUEST", user=req.principal.user)
    part.begin(c, req.now, "RESIZING", "resized", "cluster_resize_ms")


@by_id("CAN_RESTART")
def terminate(ws, req, part, c, body):
    if c.state not in ("TERMINATED", "TERMINATING", "ERROR"):
        part.stop(c, req.now, req.principal.user)


@by_id("CAN_MANAGE")
def permanent_delete(ws, req, part, c, body):
    del part.by_id[c.id]
    ws.part(listing.Acls).forget("clusters", c.id)


def admin_only(req):
    if not req.principal.admin:
        raise ApiError(403, "PERMISSION_DENIED", "Only admins can do this: %s is none." % req.principal.user)


@by_id("CAN_ATTACH_TO")
def pin(ws, req, part, c, body):
    admin_only(req)
    if not c.pinned:
        part.event(c, req.now, "PINNED", user=req.principal.user)
    c.pinned = True


@by_id("CAN_ATTACH_TO")
def unpin(ws, req, part, c, body):
    admin_only(req)
    if c.pinned:
        part.event(c, req.now, "UNPINNED", user=req.principal.user)
    c.pinned = False


@by_id("CAN_MANAGE")
def change_owner(ws, req, part, c, body):
    admin_only(req)
    need(body, "owner_username")
    if c.state != "TERMINATED":
        raise wrong_state(c, "given to another owner")
    c.creator = body["owner_username"]


def node(c, name, at):
    r = random.Random("%s/%s/%d" % (c.id, name, at))
    return {"node_id": "%032x" % r.getrandbits(128), "instance_id": "i-%017x" % r.getrandbits(68),
            "start_timestamp": at, "private_ip": "10.12.0.%d" % r.randrange(2, 250), "public_dns": "",
            "host_private_ip": "10.12.0.%d" % r.randrange(2, 250), "node_aws_attributes": {"is_spot": False}}


def render(c, with_spec=False):
    body = {"cluster_id": c.id, "creator_user_name": c.creator}
    if c.state in ("RUNNING", "RESIZING"):
        body["driver"] = node(c, "driver", c.started)
        body["executors"] = [node(c, "executor%d" % n, c.started) for n in range(c.workers())]
        body["jdbc_port"] = 10000
        body["cluster_cores"] = 4.0 * (c.workers() + 1)
        body["cluster_memory_mb"] = 31232 * (c.workers() + 1)
    if c.state != "TERMINATED":
        body["spark_context_id"] = c.context
    body.update({"cluster_name": "", "spark_conf": {}, "autotermination_minutes": 0, "enable_elastic_disk": False,
                 "driver_node_type_id": c.spec.get("node_type_id", "")})
    body.update({k: v for k, v in c.spec.items()})
    body.update({
        "cluster_source": c.source,
        "default_tags": {"Vendor": "Databricks", "Creator": c.creator, "ClusterName": c.spec.get("cluster_name", ""),
                         "ClusterId": c.id},
        "state": c.state, "state_message": c.message, "start_time": c.started, "last_state_loss_time": 0,
    })
    if c.terminated:
        body["terminated_time"] = c.terminated
    if c.restarted:
        body["last_restarted_time"] = c.restarted
    if c.reason:
        body["termination_reason"] = c.reason
    if with_spec:
        body["spec"] = c.spec
    body.update(c.forced)
    return body


def get(ws, req):
    cluster_id = query_text(req, "cluster_id")
    if cluster_id is None:
        raise invalid("Missing required field: cluster_id")
    return render(find(ws, req, cluster_id, "CAN_ATTACH_TO"), True)


def choices(req, name, allowed):
    values = req.all(name)
    for value in values:
        if value not in allowed:
            raise invalid("Invalid value '%s' for parameter '%s'." % (value[:60], name))
    return values


def list_clusters(ws, req):
    states = choices(req, "filter_by.cluster_states", STATES)
    sources = choices(req, "filter_by.cluster_sources", SOURCES)
    pinned = query_text(req, "filter_by.is_pinned")
    if pinned not in (None, "true", "false"):
        raise invalid("Could not parse query parameter 'filter_by.is_pinned' as a boolean: '%s'." % pinned[:60])
    policy = query_text(req, "filter_by.policy_id")
    field = (choices(req, "sort_by.field", ("DEFAULT", "CLUSTER_NAME")) or ["DEFAULT"])[-1]
    direction = (choices(req, "sort_by.direction", ("ASC", "DESC")) or ["ASC"])[-1]
    size = query_int(req, "page_size", 20)
    if size < 0:
        raise invalid("Invalid page_size %d." % size)
    size = min(size or 20, 100)
    acls = ws.part(listing.Acls)

    def wanted(c):
        return ((not states or c.state in states) and (not sources or c.source in sources)
                and (pinned is None or c.pinned == (pinned == "true"))
                and (policy is None or c.spec.get("policy_id") == policy)
                and (c.pinned or not c.terminated or req.now - c.terminated <= 30 * DAY_MS)
                and listing.held(req.principal, acls.of("clusters", c.id), LEVELS) >= 0)

    found = [c for c in ws.part(Clusters).by_id.values() if wanted(c)]

    def name(c):
        return c.spec.get("cluster_name", ""), c.id
    key = name if field == "CLUSTER_NAME" else lambda c: (c.state == "TERMINATED", not c.pinned) + name(c)
    found.sort(key=key, reverse=direction == "DESC")
    rows, following, previous = listing.page(ws, found, size, query_text(req, "page_token"), "clusters/list", states,
                                             sources, pinned, policy, field, direction)
    body = {}
    if rows:
        body["clusters"] = [render(c) for c in rows]
    if following:
        body["next_page_token"] = following
    if previous:
        body["prev_page_token"] = previous
    return body


def events(ws, req):
    body = check(req.json(), {"cluster_id": STR, "start_time": INT, "end_time": INT, "order": Enum("ASC", "DESC"),
                              "event_types": [STR], "page_size": INT, "page_token": STR, "limit": INT, "offset": INT})
    need(body, "cluster_id")
    c = find(ws, req, body["cluster_id"], "CAN_ATTACH_TO")
    if body.get("limit", 0) > 500:
        raise invalid("Invalid limit %d - it has to be no more than 500." % body["limit"])
    size = body.get("page_size", 0) or body.get("limit", 0) or 50
    if size < 0:
        raise invalid("Invalid page_size %d." % size)
    kinds = body.get("event_types") or []
    since, until = body.get("start_time", 0), body.get("end_time")
    found = [e for e in c.events if e["timestamp"] >= since and (until is None or e["timestamp"] <= until)
             and (not kinds or e["type"] in kinds)]
    if body.get("order", "DESC") == "DESC":
        found.reverse()
        if body.get("offset") and until is None:
            raise invalid("end_time is needed for an offset in descending order.")
    reply = {"total_count": len(found)}
    offset = body.get("offset", 0)
    rows, following, previous = listing.page(ws, found[offset:], min(size, 500), body.get("page_token"),
                                             "clusters/events", c.id, since, until, kinds, offset,
                                             body.get("order", "DESC"))
    if following and "page_token" not in body:
        # the older way to go on: the next request as a whole
        reply["next_page"] = dict(body, offset=offset + len(rows), end_time=req.now if until is None else until)
    if rows:
        reply["events"] = rows
    if following:
        reply["next_page_token"] = following
    if previous:
        reply["prev_page_token"] = previous
    return reply


def node_types(ws, req):
    return {"node_types": [
        {"node_type_id": name, "memory_mb": memory, "num_cores": cores, "description": name,
         "instance_type_id": name, "is_deprecated": False, "category": category, "support_ebs_volumes": True,
         "support_cluster_tags": True, "num_gpus": 0,
         "node_instance_type": {"instance_type_id": name, "local_disks": 1, "local_disk_size_gb": disk},
         "is_hidden": False, "support_port_forwarding": True, "display_order": 0, "is_io_cache_enabled": True,
         "photon_worker_capable": True, "photon_driver_capable": True}
        for name, memory, cores, category, disk in NODES]}


def spark_versions(ws, req):
    return {"versions": [{"key": k, "name": n} for k, n in VERSIONS]}


def zones(ws, req):
    return {"zones": ["us-west-2a", "us-west-2b"], "default_zone": "us-west-2b"}


# what tests arrange

def control(app, args):
    """cluster_id and any of: fail {code, type, parameters, message}: how the next start ends; state; terminated_time;
    source; merge: members put into every reply."""
    part = app.ws.part(Clusters)
    c = part.by_id[args["cluster_id"]]
    if "fail" in args:
        c.fail = args["fail"]
    if "state" in args:
        c.state, c.due = args["state"], None
    if "terminated_time" in args:
        c.terminated = args["terminated_time"]
    if "source" in args:
        c.source = args["source"]
    c.forced.update(args.get("merge") or {})
    return render(c)


ROUTES = [
    ("POST", "/clusters/create", BOTH, create),
    ("POST", "/clusters/edit", BOTH, edit),
    ("POST", "/clusters/update", BOTH, update),
    ("POST", "/clusters/start", BOTH, start),
    ("POST", "/clusters/restart", BOTH, restart),
    ("POST", "/clusters/resize", BOTH, resize),
    ("POST", "/clusters/delete", BOTH, terminate),
    ("POST", "/clusters/permanent-delete", BOTH, permanent_delete),
    ("POST", "/clusters/pin", BOTH, pin),
    ("POST", "/clusters/unpin", BOTH, unpin),
    ("POST", "/clusters/change-owner", BOTH, change_owner),
    ("GET", "/clusters/get", BOTH, get),
    ("GET", "/clusters/list", BOTH, list_clusters),
    ("POST", "/clusters/events", BOTH, events),
    ("GET", "/clusters/list-node-types", BOTH, node_types),
    ("GET", "/clusters/spark-versions", BOTH, spark_versions),
    ("GET", "/clusters/list-zones", BOTH, zones),
]
CONTROL = {("POST", "clusters"): control}
