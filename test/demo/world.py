#!/usr/bin/env python3
"""world.py URL COMMAND: what happens in the demo's workspace, beside the database.

    seed            three jobs with some weeks of runs
    run JOB_NAME    somebody starts a job in the workspace itself
    lose-answer     the next start of a run is carried out, its answer lost
    starts          since then: how often a start was sent, and with what token

Separate from the session, which knows nothing of the stand-in's controls.
"""

import json
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "workspace"))

from harness import Client  # noqa: E402


def notebook(key, after=None):
    task = {"task_key": key, "notebook_task": {"notebook_path": "/Shop/" + key}}
    if after:
        task["depends_on"] = [{"task_key": after}]
    return task


def chain(*keys):
    return [notebook(key, before) for key, before in zip(keys, (None,) + keys)]


# name, settings, past runs: how many, over how many days, share that failed, seconds
JOBS = [
    ("nightly-sales-etl",
     {"tasks": chain("ingest_orders", "clean_orders", "load_warehouse"),
      "parameters": [{"name": "day", "default": "yesterday"}],
      "tags": {"team": "sales"}},
     (30, 30, 0.1, 540, 900)),
    ("customer-churn-model",
     {"tasks": chain("build_features", "train_model"), "tags": {"team": "science"}},
     (6, 42, 0.2, 2400, 4200)),
    ("inventory-sync",
     {"tasks": chain("sync_stock"), "tags": {"team": "logistics"}},
     (120, 30, 0.03, 20, 90)),
]

# Short enough to watch, long enough to see.
PACE = {"setup_ms": 300, "duration_ms": 1200, "cleanup_ms": 100}
FAULT = {"result": "FAILED", "error": "ValueError: column churn_score holds 312 nulls",
         "trace": "Traceback (most recent call last):\n  ...\nValueError: column churn_score holds 312 nulls"}


def seed(client):
    client.control("POST", "settings", PACE)
    for number, (name, settings, past) in enumerate(JOBS):
        runs, days, failed, least, most = past
        made = client.control("POST", "seed", {
            "jobs": 1, "tasks_per_job": len(settings["tasks"]), "runs": runs, "days": days, "failed": failed,
            "canceled": 0, "min_ms": least * 1000, "max_ms": most * 1000, "seed": 7 + number})
        client.ok("POST", "/jobs/reset", {"job_id": made["job_ids"][0],
                                          "new_settings": dict(settings, name=name)})
    client.control("POST", "plans", {"match": {"job_name": "customer-churn-model", "task_key": "train_model"},
                                     "plan": FAULT})


def run(client, name):
    jobs = client.ok("GET", "/jobs/list?" + urllib.parse.urlencode({"name": name}))["jobs"]
    client.ok("POST", "/jobs/run-now", {"job_id": jobs[0]["job_id"]}, token="dapi-standin-runner")


def lose_answer(client):
    client.control("DELETE", "journal")
    client.control("POST", "faults", {"path": "/api/*/jobs/run-now", "kind": "lost"})


def starts(client):
    for entry in client.control("GET", "journal?path=*/jobs/run-now")["entries"]:
        body = json.loads(entry["body"]) if isinstance(entry["body"], str) else entry["body"]
        print("%s  %s  job %s  token %s" % (
            entry["method"], str(entry["status"]).ljust(4), body["job_id"], body["idempotency_token"]))


def main():
    url, command, *rest = sys.argv[1:]
    client = Client(urllib.parse.urlsplit(url).port)
    {"seed": seed, "run": run, "lose-answer": lose_answer, "starts": starts}[command](client, *rest)
    client.close()


if __name__ == "__main__":
    main()
