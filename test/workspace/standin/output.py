"""output.py: what a task run leaves behind: runs/get-output and runs/export.

Separate from the runs area because the shape depends on the kind of task only.
The texts come from the test's plan; without one a run leaves the least the
service would show.
"""

from html import escape

from . import render
from .model import TERMINAL

FIVE_MB = 5 * 1024 * 1024

FAILED_TEXT = "Workload failed"
FAILED_TRACE = ("\x1b[0;31m---------------------------------------------------------------------------\x1b[0m\n"
                "\x1b[0;31mRuntimeError\x1b[0m                              Traceback (most recent call last)\n"
                "\x1b[0;31mRuntimeError\x1b[0m: Workload failed")


def task_run_body(ws, req, run, task):
    """runs/get with the id of a task run; that of a for-each task has its iterations too."""
    body = render.task_run(ws, run, task)
    if task.kind == "for_each_task":
        body["tasks"] = [render.task_body(ws, run, task)]
        body["iterations"] = [render.task_body(ws, run, one) for one in task.iterations]
    return render.patched(body, task.patch)


def _cut_head(text, limit):
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) <= limit:
        return text, False
    return raw[:limit].decode("utf-8", "ignore"), True


def _cut_tail(text, limit):
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) <= limit:
        return text, False
    return raw[-limit:].decode("utf-8", "ignore"), True


def of_task(ws, run, task):
    body = {"metadata": render.task_run(ws, run, task)}
    if task.life not in TERMINAL:
        return body
    plan = task.plan or {}
    if task.result != "SUCCESS":
        body["error"] = plan.get("error", FAILED_TEXT if task.result == "FAILED" else task.message)
        if "trace" in plan or task.result == "FAILED" and task.life == "TERMINATED":
            body["error_trace"] = plan.get("trace", FAILED_TRACE)
    if task.life == "SKIPPED":
        return body
    ran = task.running_since > 0
    if task.kind == "notebook_task":
        result = {}
        if ran and plan.get("output") is not None:
            text, cut = _cut_head(plan["output"], FIVE_MB)
            result = {"result": text, "truncated": plan.get("truncated", cut)}
        body["notebook_output"] = result
    elif task.kind in ("spark_jar_task", "spark_python_task", "python_wheel_task", "dbt_task") and ran:
        text, cut = _cut_tail(plan.get("logs", plan.get("output") or ""), FIVE_MB)
        body["logs"] = text
        body["logs_truncated"] = plan.get("truncated", cut)
        if task.kind == "dbt_task":
            body["dbt_output"] = {"artifacts_link": "%s/artifacts/%d.tar.gz" % (ws.base_url, task.run_id),
                                  "artifacts_headers": {}}
    elif task.kind == "sql_task" and ran:
        spec = task.spec["sql_task"]
        query = (spec.get("query") or {}).get("query_id", "")
        body["sql_output"] = {"query_output": {
            "query_text": plan.get("output", "SELECT 1"), "warehouse_id": spec["warehouse_id"],
            "endpoint_id": spec["warehouse_id"], "output_link": "%s/sql/queries/%s" % (ws.base_url, query),
            "sql_statements": [{"lookup_key": "CikKJDAx%d" % task.run_id}]}}
    return render.patched(body, plan.get("output_extra"))


def export(task, views):
    """The notebook as a page; no dashboards are simulated."""
    if views == "DASHBOARDS":
        return {}
    name = task.spec["notebook_task"]["notebook_path"].rsplit("/", 1)[-1]
    page = ("<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%s</h1><pre>%s</pre></body></html>"
            % (escape(name), escape(task.key), escape(str((task.plan or {}).get("output") or ""))))
    return {"views": [{"content": page, "name": name, "type": "NOTEBOOK"}]}
