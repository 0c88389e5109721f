"""runs.py: runs of jobs: trigger, read, output, cancel, repair, delete, export.

Separate from jobs.py because these calls start or look at work.
"""

from .. import jobspec, output, pagetoken, render
from ..errors import ApiError, invalid, invalid_state, no_job, no_run
from ..model import Job, Run
from ..principals import MANAGE_RUN, VIEW, require
from ..schema import BOOL, INT, check, need, query_bool, query_int, query_text
from ..store import ID_MASK
from .jobs import ALL, cursor_of, live_job, page_arrays, page_size, tokens, validate_acl, owned_acl

RUN_TYPES = ("JOB_RUN", "SUBMIT_RUN", "WORKFLOW_RUN")
PAGED = ("tasks", "job_clusters", "job_parameters", "repair_history")
DAY_MS = 86400000


# finding

def _gone(ws, run, now):
    days = ws.settings["retention_days"]
    return days > 0 and not run.active and (run.end or run.start) < now - days * DAY_MS


def find(ws, req, run_id, level):
    """(run, task): task is None when the id is that of a job run."""
    run, task = ws.store.run(run_id), None
    if run is None:
        run, task = ws.store.task_run(run_id) or (None, None)
    if run is None or _gone(ws, run, req.now):
        raise no_run(run_id)
    require(req.principal, run.job.job_id, run.job.acl, level)
    return run, task


def find_job_run(ws, req, run_id, level):
    run, task = find(ws, req, run_id, level)
    if task is not None:
        raise no_run(run_id)
    return run


# triggering

def _replayed(ws, body):
    """The run id a token already stands for, or None."""
    token = body.get("idempotency_token")
    if not token:
        return None
    run_id = ws.store.tokens.get(token)
    if run_id is not None and ws.store.run(run_id) is None:
        raise invalid_state("The run of idempotency token '%s' has been deleted." % token)
    return run_id


def _admit(ws, queue):
    """The limit of active runs of the whole workspace."""
    limit = ws.settings["active_run_limit"]
    if limit and not queue and len(ws.store.active) >= limit:
        raise ApiError(429, "RESOURCE_EXHAUSTED", "Too many requests. Please wait a moment and try again. "
                       "The limit of %d active runs has been reached." % limit)


def _select(tasks, only):
    """The specs of a run with an 'only' list: the others are disabled."""
    known = {t["task_key"]: t for t in tasks}
    down = {}
    for t in tasks:
        for dep in t.get("depends_on") or ():
            down.setdefault(dep["task_key"], []).append(t["task_key"])
    chosen = set()

    def spread(key, step):
        todo = [key]
        while todo:
            for other in step(todo.pop()):
                if other not in chosen:
                    chosen.add(other)
                    todo.append(other)

    for item in only:
        key = item.strip("+")
        if key not in known:
            raise invalid("The task '%s' of 'only' does not exist." % key)
        chosen.add(key)
        if item.startswith("+"):
            spread(key, lambda k: [d["task_key"] for d in known[k].get("depends_on") or ()])
        if item.endswith("+"):
            spread(key, lambda k: down.get(k, []))
    return [t if t["task_key"] in chosen else dict(t, disabled=True) for t in tasks]


def _job_parameters(job, given):
    defined = job.settings.get("parameters") or []
    names = {p["name"] for p in defined}
    for name in given:
        if name not in names:
            raise invalid("The job parameter '%s' is not defined in job %d." % (name, job.job_id))
    return [{"name": p["name"], "default": p["default"], "value": given.get(p["name"], p["default"])}
            for p in defined]


def start_job_run(ws, job, creator, t, body=None, trigger="ONE_TIME"):
    """One run of a saved job, however it was triggered."""
    body = body or {}
    if not job.settings.get("tasks"):
        raise invalid("Job %d has no task to run." % job.job_id)
    queue = body.get("queue", job.settings.get("queue") or {}).get("enabled", False)
    run = Run(ws.new_id(), job, creator, t)
    run.trigger = trigger
    run.parameters = _job_parameters(job, body.get("job_parameters") or {})
    run.overriding = {k: body[k] for k in jobspec.LEGACY_PARAMS if k in body} or None
    if "only" in body:
        run.specs = _select(run.specs, body["only"])
    if trigger == "PERIODIC":
        run.schedule = job.settings.get("schedule")
    _admit(ws, queue)
    ws.engine.launch(run, queue, t)
    return run


def run_now(ws, req):
    body = check(req.json(), jobspec.RUN_NOW)
    need(body, "job_id")
    jobspec.validate_params(body)
    job = live_job(ws, req, body["job_id"], MANAGE_RUN)
    run_id = _replayed(ws, body)
    if run_id is None:
        run = start_job_run(ws, job, req.principal.user, req.now, body)
        run_id = run.run_id
        if body.get("idempotency_token"):
            ws.store.tokens[body["idempotency_token"]] = run_id
        ws.tick()
    return {"run_id": run_id, "number_in_job": run_id}


def submit(ws, req):
    raw = req.json()
    body = check(raw, jobspec.SUBMIT)
    if len(body.get("idempotency_token", "")) > 64:
        raise invalid("The idempotency_token must have at most 64 characters.")
    single = False
    if req.version == "2.0" and "tasks" not in body:
        body["tasks"] = [dict(check(raw, jobspec.SINGLE), task_key="main")]
        single = True
    if not body.get("tasks"):
        raise invalid("Missing required field: tasks")
    if body.get("timeout_seconds", 0) < 0:
        raise invalid("The timeout_seconds must not be negative.")
    jobspec.validate_tasks(body["tasks"], (), req.version)
    acl = validate_acl(body.get("access_control_list") or [], "run")
    run_id = _replayed(ws, body)
    if run_id is not None:
        return {"run_id": run_id}
    settings = {k: v for k, v in body.items()
                if k not in ("run_name", "idempotency_token", "access_control_list")}
    settings["name"] = body.get("run_name", "Untitled")
    settings = jobspec.with_defaults(settings, "2.0")
    _admit(ws, body.get("queue", {}).get("enabled", False))
    job = Job(ws.new_id(), req.principal.user, req.now, settings, owned_acl(acl, req.principal.user),
              hidden=True, single=single)
    ws.store.add_job(job)
    run = Run(ws.new_id(), job, req.principal.user, req.now)
    run.run_type = "SUBMIT_RUN"
    ws.submit_version[run.run_id] = req.version
    if body.get("idempotency_token"):
        ws.store.tokens[body["idempotency_token"]] = run.run_id
    ws.engine.launch(run, False, req.now)
    ws.tick()
    return {"run_id": run.run_id}


# reading

def _limit(ws, req):
    top = ws.settings["runs_list_max"]
    limit = query_int(req, "limit", 20)
    if limit == 0:
        return top
    if limit < 0 or limit > top:
        raise invalid("Invalid limit %d - it has to be no more than %d." % (limit, top))
    return limit


def list_runs(ws, req):
    limit = _limit(ws, req)
    job_id = query_int(req, "job_id")
    active_only = query_bool(req, "active_only")
    completed_only = query_bool(req, "completed_only")
    if active_only and completed_only:
        raise invalid("Only one of active_only and completed_only may be true.")
    run_type = query_text(req, "run_type")
    if run_type is not None and run_type not in RUN_TYPES:
        raise invalid("Invalid value '%s' for parameter 'run_type'." % run_type[:60])
    start_from = query_int(req, "start_time_from")
    start_to = query_int(req, "start_time_to")
    expand = query_bool(req, "expand_tasks")
    offset = query_int(req, "offset", 0)
    if not 0 <= offset <= 10000:
        raise invalid("Invalid offset %d - it has to be no more than 10000. Use page_token instead." % offset)
    if job_id is not None:
        job = ws.store.jobs.get(job_id)
        if job is None or job.deleted:
            require(req.principal, job_id, None, VIEW)
            raise no_job(job_id)
        require(req.principal, job_id, job.acl, VIEW)
    bound = pagetoken.query_sum("runs/list", job_id, active_only, completed_only, run_type, start_from, start_to,
                               expand)
    cursor, back = cursor_of(ws, req, bound)
    days = ws.settings["retention_days"]
    may_see = None
    if not req.principal.admin and job_id is None:
        def may_see(job):
            return req.principal.level(job.job_id, job.acl) >= VIEW
    size = page_size(ws, limit)
    keys, more = ws.store.page_of_runs(
        size + offset, cursor, back, ws.settings["order"], job_id=job_id, run_type=run_type,
        active=True if active_only else False if completed_only else None,
        start_from=start_from, start_to=start_to,
        oldest=req.now - days * DAY_MS if days else 0, may_see=may_see)
    keys = keys[offset:]
    body = {}
    if keys:
        body["runs"] = [list_element(ws, ws.store.run(k & ID_MASK), expand, req) for k in keys]
    if req.version != "2.2" or ws.settings["root_has_more"]:
        body["has_more"] = more
    if req.version != "2.0":
        tokens(ws, body, keys, more, cursor, back, size, bound)
    return body


def refuse_big(run, version):
    count = max(len(run.tasks or ()), len(run.specs))
    if version != "2.2" and count > 100:
        raise jobspec.too_many(count)


def list_element(ws, run, expand, req):
    if run.raw is not None:
        drop = () if expand else ("tasks", "job_clusters", "job_parameters")
        return {k: v for k, v in run.raw.items() if k not in drop}
    if run.tasks is None and expand:
        ws.store.tasks_of(run)
    body = render.run_head(ws, run, req.now)
    if run.format == "SINGLE_TASK":
        body.update(render.single_task_part(run))
    elif expand:
        refuse_big(run, req.version)
        arrays = render.run_arrays(ws, run)
        more = render.slice_arrays(arrays, ("tasks", "job_clusters", "job_parameters"), 0)
        body.update(arrays)
        if req.version == "2.2":
            body["has_more"] = more
    return render.patched(body, run.patch)


def get(ws, req):
    run_id = query_int(req, "run_id", required=True)
    history = query_bool(req, "include_history")
    resolved = query_bool(req, "include_resolved_values")
    run, task = find(ws, req, run_id, VIEW)
    if run.raw is not None:
        return run.raw
    if task is not None:
        body = output.task_run_body(ws, req, run, task)
        if req.version == "2.2":
            page_arrays(ws, req, body, body, ("iterations",), "runs/get", run_id)
        return body
    refuse_big(run, req.version)
    ws.store.tasks_of(run)
    body = render.run_head(ws, run, req.now)
    if run.format == "SINGLE_TASK":
        body.update(render.single_task_part(run))
    arrays = render.run_arrays(ws, run, history, resolved)
    if req.version == "2.2":
        page_arrays(ws, req, body, arrays, PAGED, "runs/get", run_id)
    body.update(arrays)
    return render.patched(body, run.patch)


def get_output(ws, req):
    run_id = query_int(req, "run_id", required=True)
    run, task = find(ws, req, run_id, VIEW)
    if task is None:
        several = len(ws.store.tasks_of(run)) != 1 and run.format != "SINGLE_TASK"
        alone = not several and (run.format == "SINGLE_TASK" or run.tasks[0].run_id == run_id
                                 or ws.settings["output_of_one_task_run"])
        if not alone:
            raise invalid("Retrieving the output of runs with multiple tasks is not supported. Please retrieve "
                          "the output of each individual task run instead.")
        task = run.tasks[-1]
    return output.of_task(ws, run, task)


def export(ws, req):
    run_id = query_int(req, "run_id", required=True)
    views = query_text(req, "views_to_export")
    if views is not None and views not in ("CODE", "DASHBOARDS", "ALL"):
        raise invalid("Invalid value '%s' for parameter 'views_to_export'." % views[:60])
    run, task = find(ws, req, run_id, VIEW)
    if task is None and len(ws.store.tasks_of(run)) == 1 and (
            run.format == "SINGLE_TASK" or run.tasks[0].run_id == run_id):
        task = run.tasks[0]
    if task is None:
        raise invalid("Exporting runs with multiple tasks is not supported. Please export each individual task run.")
    if task.kind != "notebook_task":
        raise invalid("Run %d is not a notebook run and cannot be exported." % run_id)
    return output.export(task, views or "CODE")


# commands

def cancel(ws, req):
    body = check(req.json(), {"run_id": INT})
    need(body, "run_id")
    run, task = find(ws, req, body["run_id"], MANAGE_RUN)
    if task is None:
        ws.engine.cancel(run, req.now)
    elif run.active:
        ws.engine.cancel_task(run, task, req.now)
    return {}


def cancel_all(ws, req):
    body = check(req.json(), {"job_id": INT, "all_queued_runs": BOOL})
    queued_only = body.get("all_queued_runs", False)
    if "job_id" in body:
        job = live_job(ws, req, body["job_id"], MANAGE_RUN)
        runs = [r for r in ws.store.active.values() if r.job is job]
    elif queued_only:
        runs = [r for r in ws.store.active.values()
                if req.principal.level(r.job.job_id, r.job.acl) >= MANAGE_RUN]
    else:
        raise invalid("Missing required field: job_id")
    # queued ones first, or ending an active run would start a queued one
    runs.sort(key=lambda r: (r.life != "QUEUED", r.start))
    for run in runs:
        if not queued_only or run.life == "QUEUED":
            ws.engine.cancel(run, req.now)
    return {}


def delete(ws, req):
    body = check(req.json(), {"run_id": INT})
    need(body, "run_id")
    run = find_job_run(ws, req, body["run_id"], MANAGE_RUN)
    if run.active:
        raise invalid_state("Run %d is active and cannot be deleted. Cancel it first." % run.run_id)
    ws.store.drop_run(run)
    return {}


def _dependents(latest, keys):
    """The keys and all tasks that depend on them, in the order of the run."""
    wanted = set(keys)
    grown = True
    while grown:
        grown = False
        for task in latest.values():
            if task.key not in wanted and any(d["task_key"] in wanted for d in task.spec.get("depends_on") or ()):
                wanted.add(task.key)
                grown = True
    return [k for k in latest if k in wanted]


def repair(ws, req):
    body = check(req.json(), jobspec.REPAIR)
    need(body, "run_id")
    jobspec.validate_params(body)
    run = find_job_run(ws, req, body["run_id"], MANAGE_RUN)
    if run.active:
        raise invalid_state("Run %d is in progress and cannot be repaired." % run.run_id)
    ids = [r["id"] for r in run.repairs if "id" in r]
    if ids and body.get("latest_repair_id") != ids[-1]:
        raise invalid("The latest_repair_id must be the id of the latest repair of run %d." % run.run_id)
    if not ids and "latest_repair_id" in body:
        raise invalid("Run %d has not been repaired yet: latest_repair_id must not be set." % run.run_id)
    ws.store.tasks_of(run)
    failed_only = body.get("rerun_all_failed_tasks", False)
    if failed_only == bool(body.get("rerun_tasks")):
        raise invalid("Exactly one of rerun_tasks and rerun_all_failed_tasks must be set.")
    if failed_only:
        keys = [k for k, t in run.latest.items()
                if t.result not in ("SUCCESS", "SUCCESS_WITH_FAILURES", "EXCLUDED", "DISABLED")]
    else:
        keys = []
        for key in body["rerun_tasks"]:
            if key not in run.latest:
                raise invalid("The task '%s' is not part of run %d." % (key, run.run_id))
        keys = [k for k in run.latest if k in body["rerun_tasks"]]
    if body.get("rerun_dependent_tasks"):
        keys = _dependents(run.latest, keys)
    if not keys:
        raise invalid("Run %d has no task to repair." % run.run_id)
    current = {t["task_key"]: t for t in run.job.settings.get("tasks") or ()}
    if not run.job.hidden:
        for key in keys:
            if key not in current:
                raise invalid("The task '%s' is no longer part of job %d." % (key, run.job.job_id))
    if body.get("job_parameters"):
        run.parameters = _job_parameters(run.job, body["job_parameters"])
    over = {k: body[k] for k in jobspec.LEGACY_PARAMS if k in body}
    if over:
        run.overriding = dict(run.overriding or {}, **over)
    repair_id = ws.engine.repair(run, keys, current, req.now)
    ws.tick()
    return {"repair_id": repair_id}


ROUTES = [
    ("POST", "/jobs/run-now", ALL, run_now),
    ("POST", "/jobs/runs/submit", ALL, submit),
    ("GET", "/jobs/runs/list", ALL, list_runs),
    ("GET", "/jobs/runs/get", ALL, get),
    ("GET", "/jobs/runs/get-output", ALL, get_output),
    ("GET", "/jobs/runs/export", ALL, export),
    ("POST", "/jobs/runs/cancel", ALL, cancel),
    ("POST", "/jobs/runs/cancel-all", ALL, cancel_all),
    ("POST", "/jobs/runs/repair", ("2.1", "2.2"), repair),
    ("POST", "/jobs/runs/delete", ALL, delete),
]
