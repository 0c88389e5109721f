"""render.py: jobs and runs as the JSON members the service sends.

Separate so that the order and presence of members is decided in one place.
Nothing here changes state.
"""

from . import foreach
from .jobspec import SINGLE
from .model import TERMINAL, TASK_KINDS

ARRAY_PAGE = 100

_NEW_STATE = {"WAITING_FOR_RETRY": "WAITING", "SKIPPED": "TERMINATED", "INTERNAL_ERROR": "TERMINATED"}


def states(x, queue_reason=None):
    """The old pair and the new status of a run, task run or repair record."""
    state = {"life_cycle_state": x["life"]}
    if x["result"]:
        state["result_state"] = x["result"]
    state["state_message"] = x["message"]
    state["user_cancelled_or_timedout"] = x["by_user"]
    status = {"state": _NEW_STATE.get(x["life"], x["life"])}
    if queue_reason:
        state["queue_reason"] = queue_reason
        status["queue_details"] = {"code": "MAX_CONCURRENT_RUNS_REACHED", "message": queue_reason}
    if x["life"] in TERMINAL:
        status["termination_details"] = {"code": x["code"], "type": x["ctype"], "message": x["message"]}
    return state, status


def _slots(x):
    return {"life": x.life, "result": x.result, "message": x.message, "by_user": x.by_user,
            "code": x.code, "ctype": x.ctype}


def patched(body, patch):
    """Deep merge of what a test adds to a reply: unknown members, unknown enum values."""
    if patch:
        body = dict(body)
        for name, value in patch.items():
            if isinstance(value, dict) and isinstance(body.get(name), dict):
                body[name] = patched(body[name], value)
            elif value is None:
                body.pop(name, None)
            else:
                body[name] = value
    return body


def page_url(ws, job_id, run_id):
    return "%s/?o=%s#job/%d/run/%d" % (ws.base_url, ws.org_id, job_id, run_id)


def run_head(ws, run, now):
    """A run without its arrays: what runs/list shows."""
    state, status = states(_slots(run), run.queue_reason)
    body = {
        "job_id": run.job.job_id, "run_id": run.run_id, "creator_user_name": run.creator,
        "number_in_job": run.run_id, "original_attempt_run_id": run.run_id, "state": state, "status": status,
        "start_time": run.start, "setup_duration": 0, "execution_duration": 0, "cleanup_duration": 0,
        "end_time": run.end, "run_duration": run.run_ms if run.end else 0, "trigger": run.trigger,
        "run_name": run.name, "run_page_url": page_url(ws, run.job.job_id, run.run_id),
        "run_type": run.run_type, "format": run.format, "job_run_id": run.run_id,
    }
    if run.description:
        body["description"] = run.description
    one = run.tasks[0] if run.tasks and len(run.tasks) == 1 else None
    if one and (run.format == "SINGLE_TASK" or one.run_id == run.run_id):
        body.update(setup_duration=one.setup_ms, execution_duration=one.execution_ms,
                    cleanup_duration=one.cleanup_ms)
        del body["run_duration"]
    if run.schedule:
        body["schedule"] = run.schedule
    if run.git_source:
        body["git_source"] = run.git_source
    if run.overriding:
        body["overriding_parameters"] = run.overriding
    if run.queue_ms is not None:
        body["queue_duration"] = run.queue_ms if run.life != "QUEUED" else now - run.start
    return body


def _cluster(task):
    if task.cluster is None:
        return None
    instance = {"cluster_id": task.cluster}
    if task.running_since:
        instance["spark_context_id"] = "4348585301701786933"
    return instance


def task_body(ws, run, task, resolved=False):
    """One element of a run's tasks."""
    body = dict(task.spec)
    if task.kind == "condition_task" and task.outcome:
        body["condition_task"] = dict(body["condition_task"], outcome=task.outcome)
    if task.kind == "for_each_task" and task.running_since:
        body["for_each_task"] = dict(body["for_each_task"], stats=foreach.stats(task))
    state, status = states(_slots(task))
    body.update({
        "run_id": task.run_id, "state": state, "status": status,
        "run_page_url": page_url(ws, run.job.job_id, task.run_id), "start_time": task.start,
        "setup_duration": task.setup_ms, "execution_duration": task.execution_ms,
        "cleanup_duration": task.cleanup_ms if task.end else 0, "end_time": task.end,
        "attempt_number": task.attempt,
    })
    instance = _cluster(task)
    if instance:
        body["cluster_instance"] = instance
    if resolved:
        body["resolved_values"] = resolved_values(run, task)
    return patched(body, task.patch)


def resolved_values(run, task):
    values = {p["name"]: p["value"] for p in run.parameters}

    def fill(text):
        for name, value in values.items():
            text = text.replace("{{job.parameters.%s}}" % name, value)
        return text

    over = run.overriding or {}
    spec = task.spec.get(task.kind) or {}
    if task.kind == "notebook_task":
        merged = dict(spec.get("base_parameters") or {}, **over.get("notebook_params", {}))
        return {task.kind: {"base_parameters": {k: fill(v) for k, v in merged.items()}}}
    if task.kind in ("spark_jar_task", "spark_python_task", "spark_submit_task", "python_wheel_task"):
        given = {"spark_jar_task": "jar_params", "spark_submit_task": "spark_submit_params"}.get(task.kind, "python_params")
        return {task.kind: {"parameters": [fill(v) for v in over.get(given, spec.get("parameters") or [])]}}
    if task.kind == "sql_task":
        merged = dict(spec.get("parameters") or {}, **over.get("sql_params", {}))
        return {task.kind: {"parameters": {k: fill(v) for k, v in merged.items()}}}
    if task.kind == "condition_task":
        return {task.kind: {"left": fill(spec["left"]), "right": fill(spec["right"])}}
    return {}


def task_run(ws, run, task):
    """runs/get of a task run id, and metadata of runs/get-output."""
    state, status = states(_slots(task))
    body = {
        "job_id": run.job.job_id, "run_id": task.run_id, "parent_run_id": run.run_id,
        "creator_user_name": run.creator, "number_in_job": task.run_id,
        "original_attempt_run_id": task.first_id, "state": state, "status": status,
        "start_time": task.start, "setup_duration": task.setup_ms, "execution_duration": task.execution_ms,
        "cleanup_duration": task.cleanup_ms if task.end else 0, "end_time": task.end, "trigger": run.trigger,
        "run_name": task.key, "run_page_url": page_url(ws, run.job.job_id, task.run_id),
        "run_type": run.run_type, "task_key": task.key, "attempt_number": task.attempt,
        "job_run_id": run.run_id, "format": run.format,
    }
    spec = {n: task.spec[n] for n in ("existing_cluster_id", "new_cluster", "job_cluster_key", "libraries")
            if n in task.spec}
    for cluster in run.job_clusters:
        if cluster["job_cluster_key"] == spec.get("job_cluster_key") and "new_cluster" in cluster:
            spec["new_cluster"] = cluster["new_cluster"]
    if spec:
        body["cluster_spec"] = spec
    instance = _cluster(task)
    if instance:
        body["cluster_instance"] = instance
    if run.parameters:
        body["job_parameters"] = run.parameters
    return patched(body, task.patch)


def repair_history(run):
    items = []
    current = dict(run.repairs[-1]) if run.repairs else {"type": "ORIGINAL"}
    current.update(_slots(run), start_time=run.attempt_start, end_time=run.end,
                   task_run_ids=list(run.attempt_ids))
    for record in run.repairs[:-1] + [current]:
        state, status = states(record)
        item = {"type": record["type"]}
        if "id" in record:
            item["id"] = record["id"]
        item.update(start_time=record["start_time"], end_time=record["end_time"], state=state, status=status,
                    task_run_ids=record["task_run_ids"])
        items.append(item)
    return items


def run_arrays(ws, run, history=False, resolved=False):
    """The arrays of a run, each whole."""
    arrays = {}
    if run.job_clusters:
        arrays["job_clusters"] = run.job_clusters
    tasks = ws.store.tasks_of(run)
    if run.format == "MULTI_TASK":
        arrays["tasks"] = [task_body(ws, run, t, resolved) for t in tasks]
    if run.parameters:
        arrays["job_parameters"] = run.parameters
    if history:
        arrays["repair_history"] = repair_history(run)
    return arrays


def single_task_part(run):
    """What a run in the old format shows at its top level."""
    body = {}
    task = run.tasks[-1] if run.tasks else None
    spec = task.spec if task else (run.specs[0] if run.specs else {})
    body["task"] = {k: spec[k] for k in TASK_KINDS if k in spec}
    cluster = {n: spec[n] for n in ("existing_cluster_id", "new_cluster", "libraries") if n in spec}
    if cluster:
        body["cluster_spec"] = cluster
    if task and _cluster(task):
        body["cluster_instance"] = _cluster(task)
    return body


def job_settings(job, version):
    """Settings as one API version shows them."""
    settings = job.settings
    if version == "2.0" and job.single:
        settings = {k: v for k, v in settings.items() if k not in ("tasks", "job_clusters")}
        for task in job.settings.get("tasks") or ():
            settings.update({k: v for k, v in task.items() if k in SINGLE})
        settings["format"] = "SINGLE_TASK"
    return settings


def job_head(job, version):
    return {"job_id": job.job_id, "creator_user_name": job.creator,
            "settings": job_settings(job, version), "created_time": job.created}


def slice_arrays(owner, names, offset):
    """Cut the arrays of owner to one page in place of the whole.  Returns whether anything is left."""
    more = False
    for name in names:
        array = owner.get(name)
        if array is None:
            continue
        if len(array) > offset + ARRAY_PAGE:
            more = True
        if offset == 0:
            owner[name] = array[:ARRAY_PAGE]
        elif len(array) > offset:
            owner[name] = array[offset:offset + ARRAY_PAGE]
        else:
            del owner[name]
    return more
