"""foreach.py: what a for-each task is made of: its inputs, its iterations, how they add up.

Separate from the engine for the same reason as flow.py: rules without time.
An iteration is a task run like any other, with its own id, plan, attempts and
output; it is known by its id and in its loop's iterations, never among the
tasks of the run.
"""

import json
import re
from collections import Counter

from . import flow
from .model import TERMINAL

REFERENCE = re.compile(r"\{\{\s*input(?:\.([A-Za-z0-9_]+))?\s*\}\}")
TOP_ERRORS = 3


def inputs(run, task):
    """The inputs as a list; None where they are no JSON array."""
    text = task.spec["for_each_task"]["inputs"]
    for parameter in run.parameters:
        text = text.replace("{{job.parameters.%s}}" % parameter["name"], parameter["value"])
    try:
        values = json.loads(text)
    except ValueError:
        return None
    return values if isinstance(values, list) else None


def spec_for(task, value):
    """The nested task with {{input}} and {{input.name}} filled in."""
    def one(found):
        part = value.get(found[1]) if found[1] and isinstance(value, dict) else value
        return part if isinstance(part, str) else json.dumps(part)

    def fill(x):
        if isinstance(x, str):
            return REFERENCE.sub(one, x)
        if isinstance(x, list):
            return [fill(y) for y in x]
        if isinstance(x, dict):
            return {k: fill(y) for k, y in x.items()}
        return x

    return fill(task.spec["for_each_task"]["task"])


def concurrency(task):
    return task.spec["for_each_task"].get("concurrency", 1)


def newest(task):
    """The last attempt at each iteration, in order of the inputs."""
    last = {}
    for one in task.iterations:
        last[one.index] = one
    return [last[i] for i in sorted(last)]


def active(task):
    return [one for one in newest(task) if one.life not in TERMINAL]


def ending(task):
    """How the loop ends once all its iterations have."""
    if task.plan["result"] != "SUCCESS":
        return flow.ending(task.plan["result"], task.plan)
    if task.inputs is None:
        return flow.ending("FAILED", {"message": "The inputs of the for-each task are not a JSON array."})
    results = {one.result for one in newest(task)}
    if results & set(flow.FAILED_LIKE):
        return flow.ending("FAILED", {})
    if results & set(flow.CANCELED_LIKE):
        return flow.ending("CANCELED", {})
    return flow.ending("SUCCESS", {})


def stats(task):
    """Member stats of the for-each task of a run."""
    last = newest(task)
    done = [one for one in last if one.life in TERMINAL]
    good = [one for one in done if one.result in ("SUCCESS", "SUCCESS_WITH_FAILURES")]
    errors = Counter((one.message, one.code) for one in done if one not in good)
    body = {"task_run_stats": {
        "total_iterations": len(task.inputs or ()), "scheduled_iterations": len(last),
        "active_iterations": len(last) - len(done), "completed_iterations": len(done),
        "succeeded_iterations": len(good), "failed_iterations": len(done) - len(good)}}
    if errors:
        body["error_message_stats"] = [
            {"count": count, "error_message": message, "termination_category": code}
            for (message, code), count in errors.most_common(TOP_ERRORS)]
    return body
