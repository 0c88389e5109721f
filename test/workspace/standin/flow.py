"""flow.py: what follows from what: dependencies, endings, the result of a run.

Separate from the engine because these are pure rules without time: they can be
read side by side with the facts on states and run_if.
"""

from .model import TERMINAL

FAILED_LIKE = ("FAILED", "TIMEDOUT", "UPSTREAM_FAILED")
CANCELED_LIKE = ("CANCELED", "UPSTREAM_CANCELED")

WORKLOAD_FAILED = "Workload failed, see run output for details"
CLOUD_TEXT = ("Cluster is in unexpected state Terminated: CLOUD_PROVIDER_LAUNCH_FAILURE(CLOUD_FAILURE): "
              "the cloud provider could not launch the requested instances.")

# result -> life, result_state, message, code, type, user_cancelled_or_timedout
ENDINGS = {
    "SUCCESS": ("TERMINATED", "SUCCESS", "", "SUCCESS", "SUCCESS", False),
    "SUCCESS_WITH_FAILURES": ("TERMINATED", "SUCCESS_WITH_FAILURES", "", "SUCCESS_WITH_FAILURES", "SUCCESS", False),
    "FAILED": ("TERMINATED", "FAILED", WORKLOAD_FAILED, "RUN_EXECUTION_ERROR", "CLIENT_ERROR", False),
    "TIMEDOUT": ("TERMINATED", "TIMEDOUT", "Run exceeded its timeout.", "CANCELED", "CLIENT_ERROR", True),
    "CANCELED": ("TERMINATED", "CANCELED", "Run cancelled.", "USER_CANCELED", "SUCCESS", True),
    "INTERNAL_ERROR": ("INTERNAL_ERROR", "FAILED", CLOUD_TEXT, "CLUSTER_ERROR", "CLOUD_FAILURE", False),
}

SKIPS = {
    "UPSTREAM_FAILED": ("An upstream task failed.", "CLIENT_ERROR"),
    "UPSTREAM_CANCELED": ("An upstream task was canceled.", "SUCCESS"),
    "EXCLUDED": ("The condition of the task was not met.", "SUCCESS"),
    "DISABLED": ("The task is disabled.", "SUCCESS"),
}


def ending(result, plan):
    """How something ends, as a dict; members of plan override texts and codes."""
    life, state, message, code, ctype, by_user = ENDINGS.get(
        result, ("TERMINATED", result, "", "RUN_EXECUTION_ERROR", "CLIENT_ERROR", False))
    return {"life": life, "result": state, "message": plan.get("message", message),
            "code": plan.get("code", code), "ctype": plan.get("type", ctype), "by_user": by_user}


def end(task, how, t):
    for name in ("life", "result", "message", "code", "ctype", "by_user"):
        setattr(task, name, how[name])
    task.end = t


def skip(task, why, t):
    message, ctype = SKIPS[why]
    task.life, task.result, task.message = "SKIPPED", why, message
    task.code, task.ctype = "DISABLED" if why == "DISABLED" else "SKIPPED", ctype
    task.start = 0
    task.end = t


def verdict(task, latest):
    """None: still waits.  'RUN', or the result_state of a skip."""
    if task.spec.get("disabled"):
        return "DISABLED"
    outcomes = []
    for dep in task.spec.get("depends_on") or ():
        up = latest.get(dep["task_key"])
        if up is None:
            continue
        if up.life not in TERMINAL:
            return None
        if up.result == "DISABLED":
            continue
        want = dep.get("outcome")
        if want is not None and up.result == "SUCCESS" and up.outcome is not None and up.outcome != want:
            outcomes.append("EXCLUDED")
        else:
            outcomes.append(up.result)
    if not outcomes:
        return "RUN"
    failed = sum(o in FAILED_LIKE for o in outcomes)
    success = sum(o in ("SUCCESS", "SUCCESS_WITH_FAILURES") for o in outcomes)
    rule = task.spec.get("run_if", "ALL_SUCCESS")
    met = {
        "ALL_SUCCESS": success == len(outcomes),
        "ALL_DONE": True,
        "NONE_FAILED": failed == 0 and success > 0,
        "AT_LEAST_ONE_SUCCESS": success > 0,
        "ALL_FAILED": failed == len(outcomes),
        "AT_LEAST_ONE_FAILED": failed > 0,
    }[rule]
    if met:
        return "RUN"
    if rule in ("ALL_FAILED", "AT_LEAST_ONE_FAILED"):
        return "EXCLUDED"
    if failed:
        return "UPSTREAM_FAILED"
    if any(o in CANCELED_LIKE for o in outcomes):
        return "UPSTREAM_CANCELED"
    return "EXCLUDED"


def condition(task, plan):
    """'true' or 'false' for a condition task; a plan may decide what references cannot."""
    if plan.get("outcome") is not None:
        return str(plan["outcome"]).lower()
    spec = task.spec["condition_task"]
    left, right, op = spec["left"], spec["right"], spec["op"]
    if op in ("EQUAL_TO", "NOT_EQUAL"):
        return "true" if (left == right) == (op == "EQUAL_TO") else "false"
    try:
        a, b = float(left), float(right)
    except ValueError:
        return "false"
    return "true" if {"GREATER_THAN": a > b, "GREATER_THAN_OR_EQUAL": a >= b,
                      "LESS_THAN": a < b, "LESS_THAN_OR_EQUAL": a <= b}[op] else "false"


def wants_retry(task):
    limit = task.spec.get("max_retries", 0)
    if limit != -1 and task.attempt >= limit:
        return False
    if task.result == "TIMEDOUT":
        return bool(task.spec.get("retry_on_timeout"))
    return task.result == "FAILED"


def run_ending(run):
    """The result of a run from the newest attempt of each task: the leaves decide."""
    tasks = list(run.latest.values())
    if run.format == "SINGLE_TASK":
        one = tasks[0]
        return {n: getattr(one, n) for n in ("life", "result", "message", "code", "ctype", "by_user")}
    upstream = {d["task_key"] for t in tasks for d in t.spec.get("depends_on") or ()}
    leaves = [t for t in tasks if t.key not in upstream]
    bad = [t for t in tasks if t.life != "SKIPPED" and t.result in FAILED_LIKE]
    if any(t.result in FAILED_LIKE for t in leaves):
        timed_out = [t for t in bad if t.result == "TIMEDOUT"]
        failed = [t for t in bad if t.result != "TIMEDOUT"]
        if not failed and not timed_out:
            # a skipped leaf whose upstream was repaired without it
            skipped = [t for t in leaves if t.result in FAILED_LIKE][0]
            return {"life": "INTERNAL_ERROR", "result": "FAILED", "code": "SKIPPED", "ctype": "CLIENT_ERROR",
                    "message": "Task %s was skipped: An upstream task failed." % skipped.key, "by_user": False}
        if not failed:
            how = ending("TIMEDOUT", {"message": "Task %s timed out." % timed_out[0].key})
            how["life"] = "INTERNAL_ERROR"
            return how
        first = failed[0]
        message = "Task %s failed with message: %s." % (first.key, first.message.rstrip("."))
        if any(t.result == "UPSTREAM_FAILED" for t in tasks):
            message += " This caused all downstream tasks to get skipped."
        return {"life": "INTERNAL_ERROR", "result": "FAILED", "message": message,
                "code": first.code, "ctype": first.ctype, "by_user": False}
    if any(t.result in CANCELED_LIKE for t in leaves):
        return ending("CANCELED", {})
    odd = [t for t in leaves if t.result not in ENDINGS and t.life == "TERMINATED"]
    if odd:
        return ending(odd[0].result, {"code": odd[0].code, "type": odd[0].ctype})
    if bad:
        return ending("SUCCESS_WITH_FAILURES", {})
    return ending("SUCCESS", {})


def attempt_record(run, current):
    """The finished attempt as an entry of repair_history; keeps the run's end before it is reopened."""
    record = dict(current[0]) if current else {"type": "ORIGINAL"}
    record.update(start_time=run.start if record["type"] == "ORIGINAL" else run.attempt_start,
                  end_time=run.end, life=run.life, result=run.result, message=run.message,
                  code=run.code, ctype=run.ctype, by_user=run.by_user, task_run_ids=list(run.attempt_ids))
    return record
