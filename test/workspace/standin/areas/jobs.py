"""jobs.py: saved jobs: create, list, get, reset, update, delete.

Separate from runs.py because these calls change definitions only.
"""

from .. import jobspec, pagetoken, render
from ..errors import ApiError, invalid, invalid_state, no_job
from ..model import Job
from ..principals import MANAGE, VIEW, require
from ..schema import ANY, INT, STR, check, need, query_bool, query_int, query_text
from ..store import ID_MASK

ALL = ("2.0", "2.1", "2.2")

PAGED = ("tasks", "job_clusters", "environments", "parameters")


def live_job(ws, req, job_id, level):
    """The saved job, after the permission check, which comes before existence."""
    job = ws.store.jobs.get(job_id)
    if job is not None and job.deleted:
        job = None
    require(req.principal, job_id, job.acl if job else None, level)
    if job is None:
        raise no_job(job_id)
    return job


def body_settings(body, version):
    """(checked settings, single) from what a client sent."""
    settings = check(body, jobspec.SETTINGS)
    single = False
    if version == "2.0" and "tasks" not in settings:
        task = check(body, jobspec.SINGLE)
        if task:
            single = True
            settings["tasks"] = [dict(task, task_key="main")]
    jobspec.validate_settings(settings, version)
    return settings, single


def validate_acl(acl, kind="job"):
    for entry in acl:
        if sum(n in entry for n in ("user_name", "group_name", "service_principal_name")) != 1:
            raise invalid("Each entry of access_control_list must have exactly one principal.")
        if "permission_level" not in entry:
            raise invalid("Missing required field: access_control_list.permission_level")
    owners = [e for e in acl if e["permission_level"] == "IS_OWNER"]
    if len(owners) > 1 or any("group_name" in e for e in owners):
        raise invalid("The %s must have exactly one owner." % kind)
    return acl


def owned_acl(acl, user):
    if any(e["permission_level"] == "IS_OWNER" for e in acl):
        return acl
    return [{"user_name": user, "permission_level": "IS_OWNER"}] + acl


def create(ws, req):
    body = req.json()
    settings, single = body_settings(body, req.version)
    acl = validate_acl(check(body.get("access_control_list") or [], jobspec.ACL, "access_control_list"))
    if len(ws.store.job_keys) >= ws.settings["saved_job_limit"]:
        raise ApiError(400, "QUOTA_EXCEEDED", "The quota for the number of jobs has been reached. "
                       "The current quota is %d." % ws.settings["saved_job_limit"])
    job = Job(ws.new_id(), req.principal.user, req.now, jobspec.with_defaults(settings, req.version),
              owned_acl(acl, req.principal.user), single=single)
    ws.store.add_job(job)
    return {"job_id": job.job_id}


def refuse_big(job, version):
    count = len(job.settings.get("tasks") or ())
    if version != "2.2" and count > 100:
        raise jobspec.too_many(count)


def get(ws, req):
    job_id = query_int(req, "job_id", required=True)
    query_bool(req, "include_trigger_state")
    job = live_job(ws, req, job_id, VIEW)
    refuse_big(job, req.version)
    body = render.job_head(job, req.version)
    body["run_as_user_name"] = job.run_as()
    body["settings"] = dict(body["settings"])
    if req.version == "2.2":
        page_arrays(ws, req, body, body["settings"], PAGED, "jobs/get", job_id)
    if body["settings"].get("job_clusters") == []:
        del body["settings"]["job_clusters"]
    return render.patched(body, job.patch)


def page_arrays(ws, req, body, owner, names, call, row_id):
    """Array paging of 2.2: 100 elements of each array a page, a token at the root while any has more."""
    bound = pagetoken.query_sum(call, row_id)
    token = query_text(req, "page_token")
    offset = pagetoken.decode(token, bound, ws.page_generation)[1] if token else 0
    if render.slice_arrays(owner, names, offset):
        body["next_page_token"] = pagetoken.encode(pagetoken.NEXT, offset + render.ARRAY_PAGE, row_id,
                                                   bound, ws.page_generation)


def page_size(ws, limit):
    """Rows of the next page: fewer than asked for when a test wants short pages."""
    mode = ws.settings["short_pages"]
    ws.pages_served += 1
    nth = ws.pages_served
    if mode == "off":
        return limit
    if mode == "empty":
        return 0 if nth % 2 else limit
    if mode == "mixed":
        return (max(1, limit // 2), 0, limit, 1)[nth % 4]
    return max(1, limit // 2) if nth % 2 else limit


def tokens(ws, body, keys, more, cursor, back, size, bound):
    """Put the page tokens of a list reply into its body."""
    def token(direction, key, salt=None):
        return pagetoken.encode(direction, key >> 64, key & ID_MASK, bound, ws.page_generation, salt)

    if size == 0:
        # an empty page in the middle of a list: the same place, but a token of its own
        if more:
            at = cursor if cursor is not None else ((1 << 62) << 64)
            body["next_page_token"] = token(pagetoken.PREV if back else pagetoken.NEXT, at,
                                            ws.pages_served)
        return
    if keys and (more or back):
        body["next_page_token"] = token(pagetoken.NEXT, keys[-1])
    if keys and (more if back else cursor is not None):
        body["prev_page_token"] = token(pagetoken.PREV, keys[0])


def cursor_of(ws, req, bound):
    token = query_text(req, "page_token")
    if token is None:
        return None, False
    direction, ms, row_id = pagetoken.decode(token, bound, ws.page_generation)
    return (ms << 64) | row_id, direction == pagetoken.PREV


def list_jobs(ws, req):
    old = req.version == "2.0"
    limit = query_int(req, "limit", 3000 if old else 20)
    if not 1 <= limit <= (3000 if old else 100):
        raise invalid("Invalid limit %d - it has to be between 1 and 100." % limit)
    name = query_text(req, "name")
    expand = query_bool(req, "expand_tasks")
    offset = query_int(req, "offset", 0)
    if not 0 <= offset <= 1000:
        raise invalid("Invalid offset %d - it has to be between 0 and 1000. Use page_token instead." % offset)
    wanted = name.lower() if name else None
    bound = pagetoken.query_sum("jobs/list", wanted, expand)
    cursor, back = cursor_of(ws, req, bound)

    def accept(job):
        if wanted is not None and job.settings.get("name", "").lower() != wanted:
            return False
        return req.principal.level(job.job_id, job.acl) >= VIEW

    size = page_size(ws, limit) if not old else limit
    keys, more = ws.store.page_of_jobs(size + offset, cursor, back, accept)
    keys = keys[offset:]
    if old and more and "limit" not in req.query:
        raise ApiError(400, "QUOTA_EXCEEDED", "There are more than 3000 jobs. Use limit and offset, or a newer API.")
    body = {}
    if keys:
        body["jobs"] = [list_element(ws.store.jobs[k & ID_MASK], expand or old, req.version) for k in keys]
    if req.version != "2.2" or ws.settings["root_has_more"]:
        body["has_more"] = more
    if not old:
        tokens(ws, body, keys, more, cursor, back, size, bound)
    return body


def list_element(job, expand, version):
    body = render.job_head(job, version)
    settings = body["settings"] = dict(body["settings"])
    if expand:
        refuse_big(job, version)
        more = render.slice_arrays(settings, ("tasks", "job_clusters"), 0)
        if version == "2.2":
            body["has_more"] = more
    else:
        settings.pop("tasks", None)
        settings.pop("job_clusters", None)
    return render.patched(body, job.patch)


def apply(ws, req, job, settings):
    """New settings take effect: only a changed timeout reaches runs that are active."""
    old_timeout = job.settings.get("timeout_seconds", 0)
    job.settings = settings
    if settings.get("timeout_seconds", 0) != old_timeout:
        for run_id in list(job.active) + [r.run_id for r in job.queued]:
            run = ws.store.runs[run_id]
            run.timeout_s = settings.get("timeout_seconds", 0)
            ws.engine.watch_timeout(run)
    ws.engine.queue_changed(req.now, job)
    ws.tick()


def reset(ws, req):
    body = check(req.json(), {"job_id": INT, "new_settings": ANY})
    need(body, "job_id", "new_settings")
    job = live_job(ws, req, body["job_id"], MANAGE)
    settings, single = body_settings(body["new_settings"], req.version)
    if "run_as" not in settings and "run_as" in job.settings:
        settings["run_as"] = job.settings["run_as"]
    job.single = single
    apply(ws, req, job, jobspec.with_defaults(settings, req.version))
    return {}


def update(ws, req):
    body = check(req.json(), {"job_id": INT, "new_settings": ANY, "fields_to_remove": [STR]})
    need(body, "job_id")
    job = live_job(ws, req, body["job_id"], MANAGE)
    new = check(body.get("new_settings") or {}, jobspec.SETTINGS, "new_settings")
    merged = jobspec.merge(job.settings, new, body.get("fields_to_remove") or [])
    jobspec.validate_settings(merged, "2.2" if len(job.settings.get("tasks") or ()) > 100 else req.version)
    apply(ws, req, job, jobspec.with_defaults(merged, "2.0"))
    return {}


def delete(ws, req):
    body = check(req.json(), {"job_id": INT})
    need(body, "job_id")
    known = ws.store.jobs.get(body["job_id"])
    if known is not None and known.deleted and not known.hidden and ws.settings["delete_twice"] == "ok":
        require(req.principal, known.job_id, known.acl, MANAGE)
        return {}
    job = live_job(ws, req, body["job_id"], MANAGE)
    if job.hidden:
        raise invalid_state("Job %d belongs to a one-time run and cannot be deleted." % job.job_id)
    for run_id in list(job.active) + [r.run_id for r in job.queued]:
        ws.engine.cancel(ws.store.runs[run_id], req.now)
    ws.store.drop_job(job)
    return {}


ROUTES = [
    ("POST", "/jobs/create", ALL, create),
    ("GET", "/jobs/list", ALL, list_jobs),
    ("GET", "/jobs/get", ALL, get),
    ("POST", "/jobs/reset", ALL, reset),
    ("POST", "/jobs/update", ALL, update),
    ("POST", "/jobs/delete", ALL, delete),
]
