#!/usr/bin/env python3
"""selftest.py: proves the important rules of the stand-in workspace over real HTTP.

The clock stands still in most tests and is stepped, so nothing here waits.
"""

import base64
import json
import sys
import time
import unittest

from cases import NOTE, Case, task
from harness import ADMIN, Client, Server
from selftest_http import Http, Later

class Identity(Case):
    def test_tokens(self):
        a = self.c.call("GET", "/api/2.0/preview/scim/v2/Me?")
        self.assertEqual(a.json["userName"], "admin@example.com")
        for name in ("X-Request-Id", "Server", "Server-Timing", "Vary", "X-Databricks-Org-Id"):
            self.assertIn(name, a.headers)
        a = self.c.call("GET", "/api/2.2/jobs/list", token="wrong")
        self.assertEqual((a.status, a.json["error_code"]), (403, 403))
        self.assertEqual(a.headers["X-Databricks-Reason-Phrase"], "Invalid access token.")
        a = self.c.call("GET", "/api/2.2/jobs/list", token="")
        self.assertEqual((a.status, a.json["error_code"]), (401, 401))
        self.assertEqual(a.headers["WWW-Authenticate"], 'Bearer realm="DatabricksRealm"')
        a = self.c.call("GET", "/api/2.2/jobs/list", headers={"Authorization": "Basic eDp5"})
        self.assertEqual(a.status, 401)
        self.assertEqual(self.c.call("GET", "/api/2.2/jobs/list", token="dapi-standin-expired").status, 403)

    def test_discovery_needs_no_token(self):
        a = self.c.call("GET", "/.well-known/databricks-config?", token="")
        self.assertEqual(a.json["oidc_endpoint"], "http://127.0.0.1:%d/oidc" % self.server.port)

    def test_routes_and_bodies(self):
        self.refused(self.c.api("GET", "/jobs/xyz"), 404, "ENDPOINT_NOT_FOUND", "No API found for 'GET /jobs/xyz'")
        self.refused(self.c.api("PUT", "/jobs/list"), 404, "ENDPOINT_NOT_FOUND")
        for bad in ("{", "[1]", '{"job_id": NaN}', b'{"name": "\xff"}', "{} x"):
            self.refused(self.c.api("POST", "/jobs/create", bad), 400, "MALFORMED_REQUEST")
        self.refused(self.c.api("POST", "/jobs/run-now", {"job_id": "12"}), 400, "MALFORMED_REQUEST", "job_id")
        self.refused(self.c.api("POST", "/jobs/run-now", {"job_id": 1.5}), 400, "MALFORMED_REQUEST")
        self.refused(self.c.api("POST", "/jobs/run-now", {"job_id": 1 << 63}), 400, "MALFORMED_REQUEST")
        self.refused(self.c.api("POST", "/jobs/run-now", {}), 400, "INVALID_PARAMETER_VALUE", "job_id")
        job = self.job()
        self.refused(self.c.api("POST", "/jobs/run-now?job_id=%d" % job, {}), 400, "INVALID_PARAMETER_VALUE")
        self.refused(self.c.api("GET", "/jobs/get", {"job_id": job}), 400, "INVALID_PARAMETER_VALUE")
        self.refused(self.c.api("GET", "/jobs/list?limit=abc"), 400, "INVALID_PARAMETER_VALUE")
        self.refused(self.c.api("GET", "/jobs/list?expand_tasks=True"), 400, "INVALID_PARAMETER_VALUE")
        self.assertEqual(self.c.api("GET", "/jobs/list?unknown=1").status, 200)
        self.c.control("POST", "settings", {"api_versions": ["2.0", "2.1"]})
        a = self.c.api("GET", "/jobs/list")
        self.assertEqual((a.status, a.json["message"]), (404, "Bad Target: /api/2.2/jobs/list"))


class Jobs(Case):
    def test_create_get_defaults(self):
        before = self.c.control("GET", "clock")["now"]
        a = self.c.api("POST", "/jobs/create", {"name": "x", "tasks": [task("a")], "bogus": 1})
        job = a.json["job_id"]
        self.assertGreater(job, 1 << 53)
        got = self.c.ok("GET", "/jobs/get?job_id=%d" % job)
        self.assertEqual(got["created_time"], before)
        s = got["settings"]
        self.assertEqual((s["format"], s["max_concurrent_runs"], s["queue"], s["email_notifications"]),
                         ("MULTI_TASK", 1, {"enabled": True}, {}))
        self.assertEqual((s["tasks"][0]["run_if"], s["tasks"][0]["notebook_task"]["source"]),
                         ("ALL_SUCCESS", "WORKSPACE"))
        self.assertNotIn("bogus", s)
        self.c.version = "2.1"
        old = self.c.ok("POST", "/jobs/create", {"tasks": [task("a")]})["job_id"]
        s = self.c.ok("GET", "/jobs/get?job_id=%d" % old)["settings"]
        self.assertNotIn("queue", s)
        self.assertEqual(s["name"], "Untitled")

    def test_refused_settings(self):
        for bad in ({"tasks": [task("a", "b")]}, {"tasks": [task("a"), task("a")]},
                    {"tasks": [task("a", "b"), task("b", "a")]}, {"tasks": [{"task_key": "a"}]},
                    {"tasks": [task("a", job_cluster_key="none")]}, {"max_concurrent_runs": 1001},
                    {"schedule": {"quartz_cron_expression": "0 3 * * *", "timezone_id": "UTC"}},
                    {"tags": {str(n): "" for n in range(26)}}, {"name": "x" * 4097},
                    {"schedule": {"quartz_cron_expression": "0 99 3 * * ?", "timezone_id": "UTC"}},
                    {"schedule": {"quartz_cron_expression": "0 0 3 ? * MON-FRY", "timezone_id": "UTC"}},
                    {"schedule": {"quartz_cron_expression": "0 0 3 * * ?", "timezone_id": "Mars/North"}},
                    {"trigger": {"periodic": {"interval": 1}}}, {"trigger": {"pause_status": "PAUSED"}},
                    {"trigger": {"file_arrival": {"url": "/Volumes/a/", "wait_after_last_change_seconds": 5}}},
                    {"git_source": {"git_url": "x" * 301, "git_provider": "gitHub", "git_branch": "m"}},
                    {"git_source": {"git_url": "x", "git_provider": "gitHub", "git_commit": "m" * 65}},
                    {"webhook_notifications": {"on_start": [{"id": "a"}] * 4}},
                    {"tasks": [{"task_key": "a", "sql_task": {"warehouse_id": "x"}}]},
                    {"tasks": [{"task_key": "a", "python_wheel_task": {
                        "package_name": "p", "entry_point": "e", "parameters": ["a"], "named_parameters": {"a": "b"}}}]},
                    {"tasks": [{"task_key": "a", "notebook_task": {
                        "notebook_path": "/n", "base_parameters": {"a": "x" * 1048576}}}]}):
            self.refused(self.c.api("POST", "/jobs/create", bad), 400, "INVALID_PARAMETER_VALUE")
        for good in ("0 0/15 8-18 ? * MON-FRI", "0 0 3 L * ?", "0 0 3 ? * 6#3 2030", "0 0,30 * 1,15 JAN-MAR ?"):
            self.job(schedule={"quartz_cron_expression": good, "timezone_id": "Europe/Berlin"})
        for bad in ({"name": 1}, {"tasks": {}}, {"max_concurrent_runs": "1"}, {"tags": {"a": 1}}):
            self.refused(self.c.api("POST", "/jobs/create", bad), 400, "MALFORMED_REQUEST")

    def test_update_reset_delete(self):
        job = self.job(task("a"), task("b"), tags={"x": "1", "y": "2"}, timeout_seconds=5,
                       run_as={"user_name": "etl@example.com"})
        self.c.ok("POST", "/jobs/update", {
            "job_id": job, "fields_to_remove": ["timeout_seconds", "tasks/a"],
            "new_settings": {"tags": {"z": "3"}, "tasks": [task("b", max_retries=3), task("c")]}})
        s = self.c.ok("GET", "/jobs/get?job_id=%d" % job)["settings"]
        self.assertEqual(([t["task_key"] for t in s["tasks"]], s["tasks"][0]["max_retries"], s["tags"], s["timeout_seconds"]),
                         (["b", "c"], 3, {"z": "3"}, 0))
        self.c.ok("POST", "/jobs/reset", {"job_id": job, "new_settings": {"name": "new"}})
        got = self.c.ok("GET", "/jobs/get?job_id=%d" % job)
        self.assertEqual((got["settings"]["name"], got["run_as_user_name"]), ("new", "etl@example.com"))
        self.assertNotIn("tags", got["settings"])
        self.assertEqual(self.c.ok("POST", "/jobs/delete", {"job_id": job}), {})
        for call in (self.c.api("GET", "/jobs/get?job_id=%d" % job), self.c.api("POST", "/jobs/delete", {"job_id": job})):
            self.refused(call, 400, "INVALID_PARAMETER_VALUE", "Job %d does not exist." % job)

    def test_list_paging(self):
        self.assertEqual(self.c.ok("GET", "/jobs/list"), {})
        self.c.version = "2.1"
        self.assertEqual(self.c.ok("GET", "/jobs/list"), {"has_more": False})
        self.c.version = "2.2"
        ids = []
        for n in range(7):
            ids.insert(0, self.job(name="Job%d" % n))
            self.step(1)
        seen, token, pages = [], "", 0
        while token is not None:
            page = self.c.ok("GET", "/jobs/list?limit=3" + (token and "&page_token=" + token))
            seen += [j["job_id"] for j in page["jobs"]]
            if pages == 0:
                self.job(name="late")       # a row that arrives meanwhile shifts nothing
                self.assertNotIn("prev_page_token", page)
            pages += 1
            token = page.get("next_page_token")
            previous = page.get("prev_page_token")
        self.assertEqual((seen, pages), (ids, 3))
        back = self.c.ok("GET", "/jobs/list?limit=3&page_token=" + previous)
        self.assertEqual([j["job_id"] for j in back["jobs"]], ids[3:6])
        self.assertNotIn("tasks", back["jobs"][0]["settings"])
        self.assertIn("tasks", self.c.ok("GET", "/jobs/list?expand_tasks=true")["jobs"][0]["settings"])
        self.assertEqual([j["job_id"] for j in self.c.ok("GET", "/jobs/list?name=JOB3")["jobs"]], [ids[3]])
        self.assertEqual(self.c.ok("GET", "/jobs/list?name=JOB"), {})
        for limit in (0, 101, -1):
            self.refused(self.c.api("GET", "/jobs/list?limit=%d" % limit), 400, "INVALID_PARAMETER_VALUE")
        self.refused(self.c.api("GET", "/jobs/list?page_token=abc"), 400, "INVALID_PARAMETER_VALUE")
        self.refused(self.c.api("GET", "/jobs/list?name=Job1&page_token=" + previous), 400, "INVALID_PARAMETER_VALUE")

    def test_wide_jobs(self):
        job = self.job(*[task("t%03d" % n) for n in range(205)])
        keys, token = [], ""
        while token is not None:
            page = self.c.ok("GET", "/jobs/get?job_id=%d%s" % (job, token and "&page_token=" + token))
            keys += [t["task_key"] for t in page["settings"].get("tasks", [])]
            token = page.get("next_page_token")
        self.assertEqual(keys, ["t%03d" % n for n in range(205)])
        element = self.c.ok("GET", "/jobs/list?expand_tasks=true")["jobs"][0]
        self.assertEqual((element["has_more"], len(element["settings"]["tasks"])), (True, 100))
        run = self.run_now(job)
        first = self.run_(run)
        self.assertEqual(len(first["tasks"]), 100)
        self.assertEqual(len(self.run_(run, "&page_token=" + first["next_page_token"])["tasks"]), 100)
        self.c.version = "2.1"
        for call in ("/jobs/get?job_id=%d" % job, "/jobs/runs/get?run_id=%d" % run):
            self.refused(self.c.api("GET", call), 400, "INVALID_PARAMETER_VALUE", "Your resource has 205 tasks.")
        self.refused(self.c.api("POST", "/jobs/create", {"tasks": [task("t%d" % n) for n in range(101)]}),
                     400, "INVALID_PARAMETER_VALUE", "101")

    def test_permissions(self):
        job = self.job(access_control_list=[{"group_name": "analysts", "permission_level": "CAN_MANAGE_RUN"}])
        none, viewer, etl = (Client(self.server.port, "dapi-standin-" + n) for n in ("none", "viewer", "etl"))
        for c in (none, viewer, etl):
            self.addCleanup(c.close)
        text = "User nobody@example.com does not have View or Admin or Manage Run or Owner permissions on job "
        self.refused(none.api("GET", "/jobs/get?job_id=%d" % job), 403, "PERMISSION_DENIED", text + str(job))
        self.refused(none.api("GET", "/jobs/get?job_id=77"), 403, "PERMISSION_DENIED", text + "77")
        self.refused(self.c.api("GET", "/jobs/get?job_id=77"), 400, "INVALID_PARAMETER_VALUE", "Job 77 does not exist.")
        self.assertEqual(none.ok("GET", "/jobs/list"), {})
        self.assertEqual(len(viewer.ok("GET", "/jobs/list")["jobs"]), 1)
        self.refused(viewer.api("POST", "/jobs/run-now", {"job_id": job}), 403, "PERMISSION_DENIED")
        run = etl.ok("POST", "/jobs/run-now", {"job_id": job})["run_id"]
        self.refused(etl.api("POST", "/jobs/delete", {"job_id": job}), 403, "PERMISSION_DENIED", "ElasticJobId(%d)" % job)
        self.refused(viewer.api("POST", "/jobs/runs/cancel", {"run_id": run}), 403, "PERMISSION_DENIED")
        self.refused(none.api("GET", "/jobs/runs/get?run_id=%d" % run), 403, "PERMISSION_DENIED")
        self.assertEqual(none.ok("GET", "/jobs/runs/list"), {})

    def test_api_2_0(self):
        self.c.version = "2.0"
        job = self.c.ok("POST", "/jobs/create", {"name": "old", "notebook_task": NOTE, "existing_cluster_id": "c"})["job_id"]
        s = self.c.ok("GET", "/jobs/get?job_id=%d" % job)["settings"]
        self.assertEqual((s["format"], s["existing_cluster_id"]), ("SINGLE_TASK", "c"))
        self.assertNotIn("tasks", s)
        self.c.control("POST", "plans", {"plan": {"result": "FAILED"}})
        run = self.run_now(job)
        self.step(10000)
        self.assertEqual(self.state(run), ("TERMINATED", "FAILED", "TERMINATED"))
        self.assertIn("metadata", self.c.ok("GET", "/jobs/runs/get-output?run_id=%d" % run))


class Runs(Case):
    def test_life(self):
        job = self.job(task("a"), task("b", "a"))
        run = self.run_now(job)
        self.assertGreater(run, 1 << 53)
        self.assertEqual(self.state(run), ("PENDING", None, "PENDING"))
        self.assertEqual(self.run_(run)["end_time"], 0)
        self.step(600)
        self.assertEqual(self.state(run), ("RUNNING", None, "RUNNING"))
        self.assertEqual(self.run_(run)["state"]["state_message"], "In run")
        self.assertEqual(self.task_states(run), {"a": ("RUNNING", None), "b": ("BLOCKED", None)})
        self.step(1950)
        self.assertEqual(self.task_states(run)["a"], ("TERMINATING", None))
        self.step(60)
        self.assertEqual(self.task_states(run)["a"], ("TERMINATED", "SUCCESS"))
        self.step(10000)
        self.assertEqual(self.state(run), ("TERMINATED", "SUCCESS", "TERMINATED"))
        r = self.run_(run)
        self.assertEqual(r["run_duration"], r["end_time"] - r["start_time"])
        self.assertEqual(r["run_duration"], 2 * 2600 + 50)
        t = r["tasks"][0]
        self.assertEqual((t["setup_duration"], t["execution_duration"], t["cleanup_duration"]), (500, 2000, 100))
        self.assertEqual(r["status"]["termination_details"], {"code": "SUCCESS", "type": "SUCCESS", "message": ""})
        one = self.run_(t["run_id"])
        self.assertEqual((one["job_run_id"], one["parent_run_id"], one["task_key"]), (run, run, "a"))

    def test_failure_quirk_and_output(self):
        job = self.job(task("a"), task("b", "a"), task("c", "a", run_if="ALL_DONE"))
        self.c.control("POST", "plans", {"match": {"task_key": "a"},
                                         "plan": {"result": "FAILED", "error": "boom", "trace": "\x1b[0mT", "output": "x"}})
        run = self.run_now(job)
        self.step(20000)
        r = self.run_(run)
        self.assertEqual(self.state(run), ("INTERNAL_ERROR", "FAILED", "TERMINATED"))
        self.assertEqual(r["status"]["termination_details"]["code"], "RUN_EXECUTION_ERROR")
        self.assertEqual(r["state"]["state_message"], "Task a failed with message: Workload failed, see run output "
                         "for details. This caused all downstream tasks to get skipped.")
        self.assertEqual(self.task_states(run), {"a": ("TERMINATED", "FAILED"), "b": ("SKIPPED", "UPSTREAM_FAILED"),
                                                 "c": ("TERMINATED", "SUCCESS")})
        self.refused(self.c.api("GET", "/jobs/runs/get-output?run_id=%d" % run), 400, "INVALID_PARAMETER_VALUE",
                     "Retrieving the output of runs with multiple tasks is not supported.")
        ids = {t["task_key"]: t["run_id"] for t in r["tasks"]}
        out = self.c.ok("GET", "/jobs/runs/get-output?run_id=%d" % ids["a"])
        self.assertEqual((out["error"], out["error_trace"], out["notebook_output"]["result"]), ("boom", "\x1b[0mT", "x"))
        self.assertEqual(self.c.ok("GET", "/jobs/runs/export?run_id=%d" % ids["a"])["views"][0]["type"], "NOTEBOOK")

    def test_retry_timeout_condition(self):
        cond = {"task_key": "if", "condition_task": {"op": "EQUAL_TO", "left": "12.0", "right": "12"}}
        job = self.job(task("r", max_retries=2, min_retry_interval_millis=1000), cond,
                       dict(task("yes"), depends_on=[{"task_key": "if", "outcome": "true"}]),
                       dict(task("no"), depends_on=[{"task_key": "if", "outcome": "false"}]))
        self.c.control("POST", "plans", {"match": {"task_key": "r"}, "plan": {"results": ["FAILED", "SUCCESS"]}})
        run = self.run_now(job)
        self.step(3000)
        attempts = [t for t in self.run_(run)["tasks"] if t["task_key"] == "r"]
        self.assertEqual([(t["attempt_number"], t["state"]["life_cycle_state"]) for t in attempts],
                         [(0, "TERMINATED"), (1, "WAITING_FOR_RETRY")])
        self.step(20000)
        self.assertEqual(self.state(run)[1], "SUCCESS")
        self.assertEqual(self.task_states(run)["yes"], ("SKIPPED", "EXCLUDED"))
        self.assertEqual(self.task_states(run)["no"], ("TERMINATED", "SUCCESS"))
    def test_for_each(self):
        inner = {"task_key": "one", "max_retries": 1, "notebook_task": dict(NOTE, base_parameters={"r": "{{input.r}}"})}
        loop = {"task_key": "loop", "for_each_task": {"inputs": "{{job.parameters.list}}", "concurrency": 2, "task": inner}}
        job = self.job(loop, task("after", "loop"), parameters=[{"name": "list", "default": "[]"}])
        self.c.control("POST", "plans", {"match": {"task_key": "loop"}, "plan": {"setup_ms": 1000}})
        many = json.dumps([{"r": "x%d" % i} for i in range(5)])
        self.c.control("POST", "plans", {"match": {"task_key": "one"}, "plan": {"setup_ms": 0, "duration_ms": 1000, "cleanup_ms": 0}})
        self.c.control("POST", "plans", {"match": {"task_key": "one"}, "count": 2, "plan": {
            "setup_ms": 0, "duration_ms": 500, "cleanup_ms": 0, "results": ["FAILED", "SUCCESS"]}})
        run = self.run_now(job, job_parameters={"list": many})
        self.step(1001)
        loop_id = self.run_(run)["tasks"][0]["run_id"]
        seen = self.run_(loop_id)
        self.assertEqual([t["task_key"] for t in seen["tasks"]], ["loop"])
        self.assertEqual([t["notebook_task"]["base_parameters"]["r"] for t in seen["iterations"]], ["x0", "x1"])
        stats = seen["tasks"][0]["for_each_task"]["stats"]["task_run_stats"]
        self.assertEqual((stats["total_iterations"], stats["active_iterations"]), (5, 2))
        for _ in range(200):
            if self.state(run)[2] == "TERMINATED":
                break
            self.step(100)
            self.assertLessEqual(self.run_(loop_id)["tasks"][0]["for_each_task"]["stats"]["task_run_stats"]["active_iterations"], 2)
        self.assertEqual(self.state(run)[1], "SUCCESS")
        seen = self.run_(loop_id)
        self.assertEqual(sorted(t["attempt_number"] for t in seen["iterations"]), [0, 0, 0, 0, 0, 1, 1])
        self.assertEqual(seen["tasks"][0]["for_each_task"]["stats"]["task_run_stats"]["succeeded_iterations"], 5)
        self.assertEqual(len({t["run_id"] for t in seen["iterations"]}), 7)
        self.assertEqual(len(self.run_(run)["tasks"]), 2)
        self.assertIn("metadata", self.c.ok("GET", "/jobs/runs/get-output?run_id=%d" % seen["iterations"][0]["run_id"]))
        self.assertEqual(self.run_(seen["iterations"][0]["run_id"])["task_key"], "one")

    def test_for_each_that_fails(self):
        inner = {"task_key": "one", "notebook_task": NOTE}

        def loop(inputs):
            return self.job({"task_key": "loop", "for_each_task": {"inputs": inputs, "concurrency": 100, "task": inner}}, task("after", "loop"))
        self.c.control("POST", "plans", {"match": {"task_key": "one"}, "count": 2, "plan": {"result": "FAILED"}})
        run = self.run_now(loop(json.dumps(list(range(150)))))
        self.step(600000)
        self.assertEqual(self.state(run)[1], "FAILED")
        self.assertEqual(self.task_states(run)["after"], ("SKIPPED", "UPSTREAM_FAILED"))
        loop_id = self.run_(run)["tasks"][0]["run_id"]
        first = self.run_(loop_id)
        rest = self.run_(loop_id, "&page_token=" + first["next_page_token"])
        self.assertEqual((len(first["iterations"]), len(rest["iterations"])), (100, 50))
        self.assertNotIn("next_page_token", rest)
        stats = first["tasks"][0]["for_each_task"]["stats"]
        self.assertEqual(stats["task_run_stats"]["failed_iterations"], 2)
        self.assertEqual(stats["error_message_stats"][0]["count"], 2)
        broken = self.run_now(loop("{{tasks.a.values.list}}"))
        self.step(600000)
        self.assertEqual(self.task_states(broken)["loop"], ("TERMINATED", "FAILED"))
        self.c.control("POST", "plans", {"match": {"task_key": "one"}, "plan": {"duration_ms": -1}})
        stopped = self.run_now(loop("[1, 2]"))
        self.step(100000)
        self.assertEqual(self.task_states(stopped)["loop"][0], "RUNNING")
        self.c.ok("POST", "/jobs/runs/cancel", {"run_id": stopped})
        self.step(100000)
        self.assertEqual(self.state(stopped)[1], "CANCELED")
        loop_id = self.run_(stopped)["tasks"][0]["run_id"]
        self.assertEqual({t["state"]["result_state"] for t in self.run_(loop_id)["iterations"]}, {"CANCELED"})

    def test_task_timeout(self):
        slow = self.job(task("s", timeout_seconds=1))
        run = self.run_now(slow)
        self.step(5000)
        self.assertEqual(self.state(run), ("INTERNAL_ERROR", "TIMEDOUT", "TERMINATED"))
        self.assertTrue(self.run_(run)["state"]["user_cancelled_or_timedout"])
        run = self.run_now(self.job(timeout_seconds=1))
        self.step(5000)
        self.assertEqual(self.state(run), ("TERMINATED", "TIMEDOUT", "TERMINATED"))

    def test_queue_and_skip(self):
        job = self.job()
        first = self.run_now(job)
        second, third = self.run_now(job), self.run_now(job)
        self.assertEqual(self.state(second), ("QUEUED", None, "QUEUED"))
        r = self.run_(second)
        self.assertEqual(r["status"]["queue_details"]["code"], "MAX_CONCURRENT_RUNS_REACHED")
        self.assertEqual(r["tasks"], [])
        skipped = self.run_now(job, queue={"enabled": False})
        self.assertEqual(self.state(skipped), ("SKIPPED", "MAXIMUM_CONCURRENT_RUNS_REACHED", "TERMINATED"))
        self.step(2700)
        self.assertEqual([self.state(x)[0] for x in (first, second, third)], ["TERMINATED", "PENDING", "QUEUED"])
        self.assertEqual(self.run_(second)["queue_duration"], 2650)
        self.c.ok("POST", "/jobs/runs/cancel-all", {"all_queued_runs": True})
        self.step(400)
        self.assertEqual(self.state(third), ("TERMINATED", "CANCELED", "TERMINATED"))
        self.step(20000)
        self.assertEqual(self.state(second)[1], "SUCCESS")
        never = self.job(max_concurrent_runs=0)
        self.assertEqual(self.state(self.run_now(never))[0], "SKIPPED")

    def test_cancel_delete(self):
        job = self.job(task("a"), task("b", "a"))
        run = self.run_now(job)
        self.step(600)
        self.refused(self.c.api("POST", "/jobs/runs/delete", {"run_id": run}), 400, "INVALID_STATE")
        self.assertEqual(self.c.ok("POST", "/jobs/runs/cancel", {"run_id": run}), {})
        self.assertEqual(self.state(run), ("TERMINATING", None, "TERMINATING"))
        self.step(400)
        self.assertEqual(self.state(run), ("TERMINATED", "CANCELED", "TERMINATED"))
        self.assertEqual(self.task_states(run), {"a": ("TERMINATED", "CANCELED"), "b": ("SKIPPED", "UPSTREAM_CANCELED")})
        self.assertEqual(self.run_(run)["status"]["termination_details"]["code"], "USER_CANCELED")
        self.assertEqual(self.c.ok("POST", "/jobs/runs/cancel", {"run_id": run}), {})
        self.assertEqual(self.c.ok("POST", "/jobs/runs/delete", {"run_id": run}), {})
        self.refused(self.c.api("GET", "/jobs/runs/get?run_id=%d" % run), 400, "INVALID_PARAMETER_VALUE",
                     "Run %d does not exist." % run)

    def test_tokens_of_a_trigger(self):
        job = self.job(max_concurrent_runs=10)
        a, b = self.run_now(job, idempotency_token="t"), self.run_now(job, idempotency_token="t")
        self.assertEqual(a, b)
        self.assertNotEqual(self.run_now(job), a)
        self.refused(self.c.api("POST", "/jobs/run-now", {"job_id": job, "idempotency_token": "x" * 65}), 400,
                     "INVALID_PARAMETER_VALUE")
        self.step(10000)
        self.assertEqual(self.run_now(job, idempotency_token="t"), a)
        self.c.ok("POST", "/jobs/runs/delete", {"run_id": a})
        self.refused(self.c.api("POST", "/jobs/run-now", {"job_id": job, "idempotency_token": "t"}), 400, "INVALID_STATE")

    def test_parameters(self):
        job = self.job(parameters=[{"name": "day", "default": "d"}])
        run = self.run_now(job, job_parameters={"day": "x"})
        self.assertEqual(self.run_(run)["job_parameters"], [{"name": "day", "default": "d", "value": "x"}])
        for bad in ({"job_parameters": {"nope": "x"}}, {"notebook_params": {"a": "x" * 10000}},
                    {"jar_params": [], "notebook_params": {}}, {"python_params": ["\u00e4"]}, {"only": ["zzz"]}):
            self.refused(self.c.api("POST", "/jobs/run-now", dict(bad, job_id=job)), 400, "INVALID_PARAMETER_VALUE")
        self.refused(self.c.api("POST", "/jobs/run-now", {"job_id": job, "job_parameters": {"day": 1}}), 400,
                     "MALFORMED_REQUEST")

    def test_submit(self):
        body = {"run_name": "once", "tasks": [task("a")], "idempotency_token": "s"}
        run = self.c.ok("POST", "/jobs/runs/submit", body)["run_id"]
        self.assertEqual(self.c.ok("POST", "/jobs/runs/submit", body)["run_id"], run)
        self.assertEqual(self.c.ok("GET", "/jobs/list"), {})
        r = self.c.ok("GET", "/jobs/runs/list?run_type=SUBMIT_RUN")["runs"][0]
        self.assertEqual((r["run_id"], r["run_name"], r["run_type"]), (run, "once", "SUBMIT_RUN"))
        self.assertEqual(self.c.ok("GET", "/jobs/runs/list?run_type=JOB_RUN"), {})
        self.refused(self.c.api("POST", "/jobs/runs/submit", {"tasks": []}), 400, "INVALID_PARAMETER_VALUE")
        self.c.version = "2.1"
        run = self.c.ok("POST", "/jobs/runs/submit", {"tasks": [task("a")]})["run_id"]
        self.assertEqual(self.run_(run)["tasks"][0]["run_id"], run)

    def test_repair(self):
        job = self.job(task("a"), task("b", "a"), task("c", "b"))
        self.c.control("POST", "plans", {"match": {"task_key": "b"}, "plan": {"result": "FAILED"}, "count": 2})
        run = self.run_now(job)
        self.refused(self.c.api("POST", "/jobs/runs/repair", {"run_id": run, "rerun_all_failed_tasks": True}), 400,
                     "INVALID_STATE")
        self.step(20000)
        before = self.run_(run)
        first = self.c.ok("POST", "/jobs/runs/repair", {"run_id": run, "rerun_all_failed_tasks": True})["repair_id"]
        now = self.run_(run)
        self.assertEqual((now["end_time"], now["status"]["state"]), (0, "PENDING"))
        self.assertEqual(len(self.c.ok("GET", "/jobs/runs/list?active_only=true")["runs"]), 1)
        self.step(20000)
        self.assertEqual(self.state(run)[1], "FAILED")
        again = {"run_id": run, "rerun_tasks": ["b"], "rerun_dependent_tasks": True}
        self.refused(self.c.api("POST", "/jobs/runs/repair", again), 400, "INVALID_PARAMETER_VALUE", "latest_repair_id")
        self.c.ok("POST", "/jobs/runs/repair", dict(again, latest_repair_id=first))
        self.step(20000)
        self.assertEqual(self.state(run), ("TERMINATED", "SUCCESS", "TERMINATED"))
        r = self.run_(run, "&include_history=true")
        self.assertEqual([(h["type"], h["state"]["result_state"], len(h["task_run_ids"])) for h in r["repair_history"]],
                         [("ORIGINAL", "FAILED", 3), ("REPAIR", "FAILED", 2), ("REPAIR", "SUCCESS", 2)])
        self.assertEqual(r["repair_history"][0]["end_time"], before["end_time"])
        self.assertEqual(len({t["run_id"] for t in r["tasks"]}), 7)
        self.assertEqual(max(t["attempt_number"] for t in r["tasks"] if t["task_key"] == "b"), 2)

    def test_repair_without_dependents(self):
        job = self.job(task("a"), task("b", "a"))
        self.c.control("POST", "plans", {"match": {"task_key": "a"}, "plan": {"result": "FAILED"}, "count": 1})
        run = self.run_now(job)
        self.step(20000)
        self.c.ok("POST", "/jobs/runs/repair", {"run_id": run, "rerun_tasks": ["a"]})
        self.step(20000)
        self.assertEqual(self.state(run), ("INTERNAL_ERROR", "FAILED", "TERMINATED"))
        self.assertEqual(self.task_states(run), {"a": ("TERMINATED", "SUCCESS"), "b": ("SKIPPED", "UPSTREAM_FAILED")})

    def test_timeout_reaches_active_runs(self):
        job = self.job()
        self.c.control("POST", "plans", {"plan": {"duration_ms": -1}})
        run = self.run_now(job)
        now = self.step(60000)
        self.assertEqual(self.state(run)[0], "RUNNING")
        self.c.ok("POST", "/jobs/update", {"job_id": job, "new_settings": {"timeout_seconds": 30}})
        self.step(300)
        self.assertEqual(self.state(run), ("TERMINATED", "TIMEDOUT", "TERMINATED"))
        self.assertGreater(self.run_(run)["end_time"], now)

    def test_cancel_of_one_task(self):
        job = self.job(task("a"), task("b"), task("c", "a"))
        run = self.run_now(job)
        self.step(600)
        ids = {t["task_key"]: t["run_id"] for t in self.run_(run)["tasks"]}
        self.c.ok("POST", "/jobs/runs/cancel", {"run_id": ids["a"]})
        self.step(20000)
        self.assertEqual(self.task_states(run), {"a": ("TERMINATED", "CANCELED"), "b": ("TERMINATED", "SUCCESS"),
                                                 "c": ("SKIPPED", "UPSTREAM_CANCELED")})
        self.assertEqual(self.state(run)[1], "CANCELED")

    def test_platform_fault_and_unknown_result(self):
        run = self.run_now(self.job())
        self.c.control("POST", "finish", {"run_id": run, "result": "INTERNAL_ERROR"})
        self.step(50)
        r = self.run_(run)
        self.assertEqual(self.state(run), ("INTERNAL_ERROR", "FAILED", "TERMINATED"))
        self.assertEqual(r["status"]["termination_details"]["type"], "CLOUD_FAILURE")
        self.assertEqual(r["tasks"][0]["state"]["life_cycle_state"], "INTERNAL_ERROR")
        run = self.run_now(self.job())
        self.c.control("POST", "finish", {"run_id": run, "result": "PARTLY"})
        self.step(50)
        self.assertEqual(self.state(run), ("TERMINATED", "PARTLY", "TERMINATED"))

    def test_only(self):
        job = self.job(task("a"), task("b", "a"), task("c", "b"), task("d"))
        run = self.run_now(job, only=["+b"])
        self.step(20000)
        self.assertEqual({k: v[1] for k, v in self.task_states(run).items()},
                         {"a": "SUCCESS", "b": "SUCCESS", "c": "DISABLED", "d": "DISABLED"})
        self.assertEqual(self.state(run)[1], "SUCCESS")

    def test_list_filters_and_orders(self):
        long_job, short_job = self.job(), self.job()
        self.c.control("POST", "plans", {"match": {"job_id": long_job}, "plan": {"duration_ms": 60000}})
        t0 = self.c.control("GET", "clock")["now"]
        a = self.run_now(long_job)
        t1 = self.step(1000)
        b = self.run_now(short_job)
        ids = lambda q="": [r["run_id"] for r in self.c.ok("GET", "/jobs/runs/list?" + q).get("runs", [])]
        self.assertEqual(ids(), [b, a])
        self.step(10000)
        self.assertEqual((ids("active_only=true"), ids("completed_only=true")), ([a], [b]))
        self.step(100000)
        self.assertEqual(ids(), [a, b])
        self.assertEqual(ids("start_time_from=%d" % t1), [b])
        self.assertEqual(ids("start_time_to=%d" % t0), [a])
        self.assertEqual(ids("job_id=%d" % short_job), [b])
        self.c.control("POST", "settings", {"order": "start_time"})
        self.assertEqual(ids(), [b, a])
        self.assertEqual(ids("start_time_to=%d" % t0), [a])
        self.assertNotIn("tasks", self.c.ok("GET", "/jobs/runs/list")["runs"][0])
        token = self.c.ok("GET", "/jobs/runs/list?limit=1")["next_page_token"]
        self.assertEqual(ids("limit=1&page_token=" + token), [a])
        self.refused(self.c.api("GET", "/jobs/runs/list?limit=1&expand_tasks=true&page_token=" + token), 400,
                     "INVALID_PARAMETER_VALUE")
        self.assertIn("tasks", self.c.ok("GET", "/jobs/runs/list?expand_tasks=true")["runs"][0])
        self.refused(self.c.api("GET", "/jobs/runs/list?limit=27"), 400, "INVALID_PARAMETER_VALUE",
                     "Invalid limit 27 - it has to be no more than 25.")
        self.refused(self.c.api("GET", "/jobs/runs/list?active_only=true&completed_only=true"), 400,
                     "INVALID_PARAMETER_VALUE")
        self.refused(self.c.api("GET", "/jobs/runs/list?job_id=5"), 400, "INVALID_PARAMETER_VALUE", "Job 5 does not exist.")
        self.step(61 * 86400000)
        self.assertEqual(ids(), [])

    def test_seed_and_pages(self):
        made = self.c.control("POST", "seed", {"jobs": 3, "runs": 120, "tasks_per_job": 2})
        for order in ("end_time", "start_time"):
            self.c.control("POST", "settings", {"order": order})
            for short in ("off", "short", "empty", "mixed"):
                self.c.control("POST", "settings", {"short_pages": short})
                for extra in ("", "&job_id=%d" % made["job_ids"][0], "&completed_only=true",
                              "&start_time_from=%d" % (made["first_start_time"] + 10 ** 9)):
                    seen, times, token = [], [], ""
                    while token is not None:
                        page = self.c.ok("GET", "/jobs/runs/list?limit=25%s%s" % (extra, token and "&page_token=" + token))
                        seen += [r["run_id"] for r in page.get("runs", [])]
                        times += [r[order] for r in page.get("runs", [])]
                        self.assertNotEqual(page.get("runs"), [])
                        token = page.get("next_page_token")
                    self.assertEqual(len(seen), len(set(seen)))
                    self.assertEqual(times, sorted(times, reverse=True))
                    if extra in ("", "&completed_only=true"):
                        self.assertEqual(len(seen), 120)
        one = self.run_(seen[0])
        self.assertEqual(len(one["tasks"]), 2)
        self.assertEqual(one["tasks"][1]["end_time"], one["end_time"])
        self.assertEqual(self.run_(one["tasks"][0]["run_id"])["job_run_id"], seen[0])
        self.c.ok("POST", "/jobs/runs/repair", {"run_id": seen[0], "rerun_tasks": ["main"]})
        self.assertEqual(self.state(seen[0])[0], "PENDING")
        self.step(20000)
        self.assertEqual(self.state(seen[0])[0], "TERMINATED" if one["state"]["result_state"] != "FAILED" else "INTERNAL_ERROR")


class Control(Case):
    def test_journal(self):
        self.c.control("DELETE", "journal")
        job = self.job()
        self.c.api("GET", "/jobs/get?job_id=%d" % job, token="secret-of-nobody")
        j = self.c.control("GET", "journal?path=/api/2.2/jobs/*")
        self.assertEqual([(e["method"], e["status"], e["user"]) for e in j["entries"]],
                         [("POST", 200, "admin@example.com"), ("GET", 403, "<unknown Bearer credential>")])
        self.assertEqual(json.loads(j["entries"][0]["body"])["name"], "j")
        self.assertNotIn("secret-of-nobody", json.dumps(j))
        self.assertNotIn(ADMIN, json.dumps(j))
        self.assertEqual(self.c.control("GET", "counts?status=403")["count"], 1)
        self.assertEqual(self.c.control("GET", "counts")["counts"]["POST /api/2.2/jobs/create"], 1)

    def test_status_faults(self):
        job = self.job()
        fault = {"kind": "status", "path": "*/jobs/get", "status": 429, "retry_after": 2, "count": 2, "skip": 1}
        self.c.control("POST", "faults", fault)
        got = [self.c.api("GET", "/jobs/get?job_id=%d" % job) for _ in range(4)]
        self.assertEqual([a.status for a in got], [200, 429, 429, 200])
        self.assertEqual((got[1].headers["Retry-After"], got[1].json["error_code"]), ("2", "REQUEST_LIMIT_EXCEEDED"))
        for spec, status, want in (
                ({"kind": "status", "status": 503, "shape": "html"}, 503, b"<pre>"),
                ({"kind": "status", "status": 429, "shape": "text"}, 429, b"REQUEST_LIMIT_EXCEEDED: "),
                ({"kind": "status", "status": 500, "shape": "empty"}, 500, b""),
                ({"kind": "html"}, 200, b"Sign In"), ({"kind": "empty"}, 200, b""),
                ({"kind": "replace", "json": {"a": 1}}, 200, b'{"a": 1}'), ({"kind": "expire"}, 403, b"Invalid access token")):
            self.c.control("POST", "faults", spec)
            a = self.c.api("GET", "/jobs/list")
            self.assertEqual(a.status, status)
            self.assertIn(want, a.raw)
        self.c.control("POST", "faults", {"kind": "redirect"})
        a = self.c.api("GET", "/jobs/list")
        self.assertEqual((a.status, a.headers["Location"][:11]), (303, "/login.html"))
        self.c.control("POST", "faults", {"kind": "bad_json"})
        with self.assertRaises(ValueError):
            self.c.api("GET", "/jobs/list?expand_tasks=true").json
        self.c.control("POST", "faults", {"kind": "chunked", "bytes": 7})
        self.assertEqual(self.c.ok("GET", "/jobs/get?job_id=%d" % job)["job_id"], job)
        self.c.control("POST", "faults", {"kind": "dribble", "bytes": 100, "interval_ms": 1})
        self.assertEqual(self.c.ok("GET", "/jobs/get?job_id=%d" % job)["job_id"], job)

    def test_faults_by_number(self):
        job = self.job()
        self.c.control("POST", "faults", {"kind": "status", "status": 418, "query": job})
        self.assertEqual(self.c.api("GET", "/jobs/get?job_id=%d" % job).status, 418)
        self.c.control("POST", "faults", {"kind": "status", "status": 418, "body_has": job})
        self.assertEqual(self.c.api("POST", "/jobs/run-now", {"job_id": job}).status, 418)
        self.assertEqual(self.c.api("POST", "/jobs/run-now", {"job_id": job}).status, 200)

    def test_connection_faults(self):
        job = self.job(max_concurrent_runs=5)
        for kind, runs in (("reset", 0), ("lost", 1)):
            self.c.control("POST", "faults", {"kind": kind, "method": "POST", "path": "*/run-now"})
            c = Client(self.server.port)
            with self.assertRaises(ConnectionError):
                c.ok("POST", "/jobs/run-now", {"job_id": job, "idempotency_token": kind})
            c.close()
            self.assertEqual(len(self.c.ok("GET", "/jobs/runs/list").get("runs", [])), runs)
        again = self.run_now(job, idempotency_token="lost")
        self.assertEqual([r["run_id"] for r in self.c.ok("GET", "/jobs/runs/list")["runs"]], [again])
        self.c.control("POST", "faults", {"kind": "truncate", "path": "*/jobs/get"})
        c = Client(self.server.port)
        with self.assertRaises(Exception) as caught:
            c.api("GET", "/jobs/get?job_id=%d" % job)
        self.assertEqual(type(caught.exception).__name__, "IncompleteRead")
        c.close()
        self.c.control("POST", "faults", {"kind": "hang", "path": "*/jobs/get"})
        c = Client(self.server.port)
        c.http.timeout = 0.2
        with self.assertRaises(TimeoutError):
            c.api("GET", "/jobs/get?job_id=%d" % job)
        c.close()
        self.c.control("POST", "faults", {"kind": "delay", "ms": 100, "path": "*/jobs/list"})
        before = time.monotonic()
        self.c.ok("GET", "/jobs/list")
        self.assertGreaterEqual(time.monotonic() - before, 0.1)

    def test_patch_load_finish_trigger(self):
        job = self.job()
        run = self.c.control("POST", "trigger", {"job_id": job, "trigger": "PERIODIC"})["run_id"]
        self.assertEqual(self.run_(run)["trigger"], "PERIODIC")
        self.c.control("POST", "finish", {"run_id": run, "result": "FAILED"})
        self.step(50)
        self.assertEqual(self.state(run)[1], "FAILED")
        self.c.control("POST", "patch", {"run_id": run, "merge": {"state": {"result_state": "ODD"}, "extra": [1]}})
        r = self.c.ok("GET", "/jobs/runs/list")["runs"][0]
        self.assertEqual((r["state"]["result_state"], r["extra"]), ("ODD", [1]))
        big = {"run_id": 9223372036854775807, "job_id": 9007199254740993, "start_time": r["start_time"] + 5,
               "end_time": r["start_time"] + 10, "state": {"life_cycle_state": "TERMINATED"}, "tasks": [], "x": None}
        self.c.control("POST", "load", {"run": big})
        self.assertIn(b"9223372036854775807", self.c.api("GET", "/jobs/runs/get?run_id=9223372036854775807").raw)
        self.assertEqual(len(self.c.ok("GET", "/jobs/runs/list")["runs"]), 2)

    def test_page_tokens_expire(self):
        self.c.control("POST", "seed", {"jobs": 1, "runs": 30})
        token = self.c.ok("GET", "/jobs/runs/list")["next_page_token"]
        self.c.control("POST", "expire-pages", {})
        self.refused(self.c.api("GET", "/jobs/runs/list?page_token=" + token), 400, "INVALID_PARAMETER_VALUE", "expired")

    def test_rate_limits(self):
        self.c.control("POST", "settings", {"rate_limits": True})
        got = [self.c.api("POST", "/jobs/runs/cancel-all", {"all_queued_runs": True}).status for _ in range(12)]
        self.assertIn(429, got)
        # together, whatever their paths are, and apart from others
        got = [self.c.call("GET", "/api/2.0/repos/%d" % n).status for n in range(22)]
        self.assertIn(429, got)
        self.assertEqual(self.c.call("GET", "/api/2.0/workspace/list?path=/").status, 200)


class OAuth(Case):
    FORM = {"Content-Type": "application/x-www-form-urlencoded"}
    BASIC = "Basic c3RhbmRpbi1jbGllbnQ6ZG9zZTBzdGFuZGluMHNlY3JldDBvZjB0aGUwcm9ib3Q="
    RESOURCE = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"

    def ask(self, body, path="/oidc/v1/token", **headers):
        return self.c.call("POST", path, body, headers=dict(self.FORM, **headers), token="")

    def me(self, token, **headers):
        return self.c.call("GET", "/api/2.0/preview/scim/v2/Me", token=token, headers=headers)

    def test_secret(self):
        body = "grant_type=client_credentials&scope=all-apis"
        a = self.ask(body, Authorization=self.BASIC).json
        self.assertEqual((a["token_type"], a["expires_in"]), ("Bearer", 3600))
        self.assertEqual(self.me(a["access_token"]).json["userName"], "robot@example.com")
        self.step(3599000)
        self.assertEqual(self.me(a["access_token"]).status, 200)
        self.step(1000)
        self.assertEqual(self.me(a["access_token"]).status, 403)
        for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Basic !"}):
            b = self.ask(body, **headers)
            self.assertEqual((b.status, b.json["error"]), (401, "invalid_client"))
        for bad in ("grant_type=password", "grant_type=client_credentials&scope=x", "scope=all-apis",
                    body + "&scope=all-apis", body + "&x=y"):
            self.assertEqual(self.ask(bad, Authorization=self.BASIC).status, 400, bad)
        entry = self.c.control("GET", "journal")["entries"][-1]
        self.assertNotIn("c3RhbmRp", json.dumps(entry))

    def test_exchange(self):
        body = ("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&scope=all-apis"
                "&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&subject_token=")
        a = self.ask(body + "standin.jwt.robot").json
        self.assertEqual(self.me(a["access_token"]).status, 200)
        self.assertEqual(self.ask(body + "other").json["error"], "invalid_grant")
        self.assertEqual(self.ask(body + "standin.jwt.robot", Authorization=self.BASIC).status, 400)
        self.assertNotIn("jwt.robot", json.dumps(self.c.control("GET", "journal")))
        self.c.control("POST", "revoke", {})
        self.assertEqual(self.me(a["access_token"]).status, 403)

    def test_azure(self):
        tenant = self.c.control("GET", "settings")["azure_tenant"]
        a = self.c.call("GET", "/aad/auth", token="")
        self.assertEqual(a.status, 302)
        self.assertIn("/%s/" % tenant, a.headers["Location"])
        resource = "/subscriptions/1/x"
        self.c.control("POST", "clients", {"client_id": "standin-azure", "kind": "azure", "client_secret": "s",
                                           "user": "azure@example.com", "resource_id": resource})
        body = "grant_type=client_credentials&client_id=standin-azure&client_secret=s&resource="
        path = "/%s/oauth2/token" % tenant
        token = self.ask(body + self.RESOURCE, path).json["access_token"]
        second = self.ask(body + "https%3A%2F%2Fmanagement.core.windows.net%2F", path).json["access_token"]
        self.assertEqual(self.me(token).status, 403)
        both = {"X-Databricks-Azure-Workspace-Resource-Id": resource, "X-Databricks-Azure-SP-Management-Token": second}
        self.assertEqual(self.me(token, **both).status, 200)
        self.assertEqual(self.ask(body + "x", path).json["error"], "invalid_resource")
        newer = body.replace("resource", "scope") + self.RESOURCE, "/%s/oauth2/v2.0/token" % tenant
        self.assertEqual(self.ask(*newer).json["error"], "invalid_scope")
        token = self.ask(newer[0] + "%2F.default", newer[1]).json["access_token"]
        self.assertEqual(self.me(token, **both).status, 200)
        self.assertEqual(self.ask(body + self.RESOURCE, "/x/oauth2/token").status, 400)

    def test_metadata(self):
        path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=" + self.RESOURCE
        self.assertEqual(self.c.call("GET", path, token="").status, 400)
        a = self.c.call("GET", path, token="", headers={"Metadata": "true"}).json
        self.assertEqual(self.me(a["access_token"]).json["userName"], "machine@example.com")
        self.assertEqual(a["expires_in"], "3600")
        self.assertEqual(self.c.call("GET", path + "&client_id=x", token="", headers={"Metadata": "true"}).status, 400)


class Areas(Case):
    """The areas beside jobs and runs, by what is peculiar to each."""

    def setUp(self):
        super().setUp()
        self.c.version = "2.0"

    def other(self, name):
        c = Client(self.server.port, "dapi-standin-" + name, version="2.0")
        self.addCleanup(c.close)
        return c

    def test_clusters(self):
        spec = {"spark_version": "15.4.x-scala2.12", "node_type_id": "i3.xlarge", "num_workers": 1, "cluster_name": "a"}
        self.refused(self.c.api("POST", "/clusters/create", {"num_workers": 1}), 400, "INVALID_PARAMETER_VALUE")
        c = self.c.ok("POST", "/clusters/create", spec)["cluster_id"]
        state = lambda: self.c.ok("GET", "/clusters/get?cluster_id=" + c)["state"]
        self.assertEqual(state(), "PENDING")
        self.refused(self.c.api("POST", "/clusters/resize", {"cluster_id": c, "num_workers": 2}), 400, "INVALID_STATE")
        self.step(2000)
        self.assertEqual(state(), "RUNNING")
        self.c.ok("POST", "/clusters/resize", {"cluster_id": c, "num_workers": 2})
        self.assertEqual(state(), "RESIZING")
        self.step(500)
        for mask in ("custom_tags.a", "init_scripts.0", "num_workers, custom_tags", "nosuch"):
            self.refused(self.c.api("POST", "/clusters/update", {"cluster_id": c, "update_mask": mask, "cluster": spec}),
                         400, "INVALID_PARAMETER_VALUE", "update_mask")
        self.refused(self.c.api("POST", "/clusters/events", {"cluster_id": c, "limit": 501}), 400, "INVALID_PARAMETER_VALUE")
        self.c.ok("POST", "/clusters/update", {"cluster_id": c, "update_mask": "custom_tags",
                                               "cluster": {"custom_tags": {"x": "1"}}})
        self.assertEqual(state(), "RESTARTING")
        self.step(2000)
        self.c.ok("POST", "/clusters/delete", {"cluster_id": c})
        self.step(500)
        got = self.c.ok("GET", "/clusters/get?cluster_id=" + c)
        self.assertEqual((got["state"], got["termination_reason"]["code"], got["num_workers"], got["custom_tags"]),
                         ("TERMINATED", "USER_REQUEST", 2, {"x": "1"}))
        self.c.control("POST", "clusters", {"cluster_id": c, "fail": {"code": "INVALID_ARGUMENT", "type": "CLIENT_ERROR"}})
        self.c.ok("POST", "/clusters/start", {"cluster_id": c})
        self.step(2000)
        self.assertEqual(state(), "TERMINATED")
        page = self.c.ok("POST", "/clusters/events", {"cluster_id": c, "page_size": 5})
        rest = self.c.ok("POST", "/clusters/events", {"cluster_id": c, "page_size": 500,
                                                      "page_token": page["next_page_token"]})
        self.assertEqual((len(page["events"]), len(rest["events"])), (5, page["total_count"] - 5))
        self.assertEqual(self.c.ok("POST", "/clusters/events", page["next_page"])["events"], rest["events"][:5])
        self.refused(self.c.api("POST", "/clusters/events", {"cluster_id": c, "offset": 1}), 400,
                     "INVALID_PARAMETER_VALUE", "end_time")
        self.refused(self.other("etl").api("GET", "/clusters/get?cluster_id=" + c), 403, "PERMISSION_DENIED")
        self.assertEqual(self.other("etl").ok("GET", "/clusters/list"), {})
        self.assertEqual(self.c.ok("GET", "/clusters/list?filter_by.cluster_states=RUNNING"), {})
        self.assertEqual(len(self.c.ok("GET", "/clusters/list?filter_by.cluster_states=RUNNING"
                                              "&filter_by.cluster_states=TERMINATED")["clusters"]), 1)
        self.refused(self.c.api("GET", "/clusters/get?cluster_id=x"), 400, "INVALID_PARAMETER_VALUE", "does not exist")

    def test_secrets(self):
        self.c.ok("POST", "/secrets/scopes/create", {"scope": "s"})
        self.refused(self.c.api("POST", "/secrets/scopes/create", {"scope": "s"}), 400, "RESOURCE_ALREADY_EXISTS")
        self.refused(self.c.api("POST", "/secrets/put", {"scope": "s", "key": "k"}), 400, "INVALID_PARAMETER_VALUE")
        self.refused(self.c.api("POST", "/secrets/put", {"scope": "s", "key": "k", "string_value": "x" * 131073}), 400,
                     "INVALID_PARAMETER_VALUE")
        self.refused(self.c.api("GET", "/secrets/list?scope=nosuch"), 404, "RESOURCE_DOES_NOT_EXIST",
                     "Scope nosuch does not exist")
        self.c.ok("POST", "/secrets/put", {"scope": "s", "key": "k", "bytes_value": "AP8="})
        self.assertEqual(self.c.ok("GET", "/secrets/get?scope=s&key=k"), {"key": "k", "value": "AP8="})
        etl = self.other("etl")
        self.refused(etl.api("GET", "/secrets/get?scope=s&key=k"), 403, "PERMISSION_DENIED")
        self.c.ok("POST", "/secrets/acls/put", {"scope": "s", "principal": "analysts", "permission": "READ"})
        self.assertEqual(etl.ok("GET", "/secrets/get?scope=s&key=k")["value"], "AP8=")
        self.refused(etl.api("POST", "/secrets/delete", {"scope": "s", "key": "k"}), 403, "PERMISSION_DENIED")

    def test_permissions(self):
        job = self.c.call("POST", "/api/2.2/jobs/create", {"name": "j", "tasks": [task("a")]}).json["job_id"]
        path = "/permissions/jobs/%d" % job
        entry = {"group_name": "analysts", "permission_level": "CAN_MANAGE_RUN"}
        self.assertEqual(len(self.c.ok("PATCH", path, {"access_control_list": [entry]})["access_control_list"]), 3)
        self.refused(self.c.api("PUT", path, {"access_control_list": [entry]}), 400, "INVALID_PARAMETER_VALUE",
                     "The job must have exactly one owner.")
        self.refused(self.c.api("PATCH", path, {"access_control_list": [dict(entry, permission_level="CAN_RUN")]}), 400,
                     "INVALID_PARAMETER_VALUE")
        self.assertEqual(len(self.c.ok("GET", path + "/permissionLevels")["permission_levels"]), 4)
        self.assertEqual(self.other("etl").ok("GET", path)["object_id"], "/jobs/%d" % job)

    def test_files(self):
        text = base64.b64encode(b"x" * 1048576).decode()
        self.c.ok("POST", "/dbfs/put", {"path": "/d/a", "contents": text})
        self.refused(self.c.api("POST", "/dbfs/put", {"path": "/d/a", "contents": ""}), 400, "RESOURCE_ALREADY_EXISTS")
        self.refused(self.c.api("POST", "/dbfs/put", {"path": "/d/b", "contents": base64.b64encode(b"x" * 1048577).decode()}),
                     400, "MAX_BLOCK_SIZE_EXCEEDED")
        handle = self.c.ok("POST", "/dbfs/create", {"path": "/d/a", "overwrite": True})["handle"]
        self.c.ok("POST", "/dbfs/add-block", {"handle": handle, "data": text})
        self.c.ok("POST", "/dbfs/add-block", {"handle": handle, "data": "eQ=="})
        self.c.ok("POST", "/dbfs/close", {"handle": handle})
        self.refused(self.c.api("POST", "/dbfs/close", {"handle": handle}), 404, "RESOURCE_DOES_NOT_EXIST")
        self.assertEqual(self.c.ok("GET", "/dbfs/read?path=/d/a&offset=1048575&length=9"),
                         {"bytes_read": 2, "data": "eHk="})
        self.refused(self.c.api("GET", "/dbfs/read?path=/d/a&length=1048577"), 400, "MAX_READ_SIZE_EXCEEDED")
        self.c.ok("POST", "/dbfs/mkdirs", {"path": "/e"})
        for source, target in (("/d", "/d/x"), ("/d/a", "/d/a/x"), ("/d/a", "/e"), ("/d", "/e")):
            a = self.c.api("POST", "/dbfs/move", {"source_path": source, "destination_path": target})
            self.assertEqual(a.status, 400, a.raw)
        self.assertEqual(len(self.c.ok("GET", "/dbfs/list?path=/d")["files"]), 1)
        volume = "/Volumes/main/default/landing"
        self.assertEqual(self.c.ok("GET", "/dbfs/get-status?path=" + volume)["is_dir"], True)
        self.refused(self.c.api("POST", "/dbfs/put", {"path": volume + "/x", "contents": ""}), 400, "INVALID_PARAMETER_VALUE")
        self.refused(self.c.api("POST", "/dbfs/delete", {"path": "/d"}), 400, "IO_ERROR")
        self.c.control("POST", "settings", {"dbfs_delete_batch": 1})
        self.c.ok("POST", "/dbfs/put", {"path": "/d/b", "contents": ""})
        self.refused(self.c.api("POST", "/dbfs/delete", {"path": "/d", "recursive": True}), 503, "PARTIAL_DELETE")
        self.c.control("POST", "settings", {"dbfs_delete_batch": 0})
        self.c.ok("POST", "/dbfs/delete", {"path": "/", "recursive": True})
        self.assertEqual(self.c.ok("GET", "/dbfs/list?path=/"), {})

        where = "/fs/files/Volumes/main/default/landing/"
        big = b"0123456789" * 300000
        self.assertEqual(self.c.api("PUT", where + "a%20b?overwrite=false", big).status, 204)
        self.assertEqual(self.c.api("PUT", where + "a%20b?overwrite=false", big).status, 409)
        self.assertEqual(self.c.api("GET", where + "a%20b").raw, big)
        part = self.c.api("GET", where + "a%20b", headers={"Range": "bytes=10-14"})
        self.assertEqual((part.status, part.raw), (206, b"01234"))
        self.assertEqual(self.c.api("GET", where + "a%20b", headers={"Range": "bytes=14-10"}).status, 200)
        self.assertEqual(self.c.api("HEAD", where + "a%20b").headers["Content-Length"], "3000000")
        self.assertEqual(self.c.api("HEAD", where + "none").status, 404)
        self.c.control("POST", "settings", {"short_pages": "empty"})
        where = "/fs/directories/Volumes/main/default/landing"
        page = self.c.ok("GET", where)
        self.assertNotIn("contents", page)
        page = self.c.ok("GET", where + "?page_token=" + page["next_page_token"])
        self.assertEqual([e["name"] for e in page["contents"]], ["a b"])

    def test_files_in_parts(self):
        path = "/Volumes/main/default/landing/parts"
        until = "2099-01-01T00:00:00Z"
        token = self.c.ok("POST", "/fs/files%s?action=initiate-upload" % path)["multipart_upload"]["session_token"]
        ask = {"path": path, "session_token": token, "start_part_number": 1, "count": 2, "expire_time": until}
        etags = []
        for url, size in zip(self.c.ok("POST", "/fs/create-upload-part-urls", ask)["upload_part_urls"], (5242880, 3)):
            where = url["url"][url["url"].index("/storage/"):]
            headers = {h["name"]: h["value"] for h in url["headers"]}
            self.assertEqual(self.c.call("PUT", where, b"x" * size, headers=headers).status, 400)
            done = self.c.call("PUT", where, b"x" * size, headers=headers, token="")
            etags.append({"part_number": url["part_number"], "etag": done.headers["ETag"]})
        end = "/fs/files%s?action=complete-upload&upload_type=multipart&session_token=%s" % (path, token)
        self.refused(self.c.api("POST", end, {"parts": etags[:1] * 2}), 400, "INVALID_PARAMETER_VALUE", "out of order")
        self.assertEqual(self.c.api("HEAD", "/fs/files" + path).status, 404)
        self.c.ok("POST", end, {"parts": etags})
        self.assertEqual(self.c.api("HEAD", "/fs/files" + path).headers["Content-Length"], "5242883")
        url = self.c.ok("POST", "/fs/create-download-url?path=%s&expire_time=%s" % (path, until))["url"]
        url = url[url.index("/storage/"):]
        self.assertEqual(self.c.call("GET", url, token="", headers={"Range": "bytes=5242879-"}).raw, b"xxxx")
        self.step(3601000)
        self.assertEqual(self.c.call("GET", url, token="").status, 403)
        token = self.c.ok("POST", "/fs/files%s?action=initiate-upload" % path)["multipart_upload"]["session_token"]
        ask = {"path": path, "session_token": token, "expire_time": until}
        url = self.c.ok("POST", "/fs/create-abort-upload-url", ask)["abort_upload_url"]["url"]
        self.assertEqual(self.c.call("DELETE", url[url.index("/storage/"):], token="").status, 204)
        self.refused(self.c.api("POST", "/fs/create-abort-upload-url", ask), 404, "NOT_FOUND")

    def form(self, where, **parts):
        body = b"".join(b'--edge\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (k.encode(), v)
                        for k, v in parts.items()) + b"--edge--\r\n"
        return self.c.api("POST", where, body, headers={"Content-Type": "multipart/form-data; boundary=edge"})

    def test_forms(self):
        self.assertEqual(self.form("/dbfs/put", path=b"/f", contents=b"\0\r\n\xff").status, 200)
        self.assertEqual(self.c.ok("GET", "/dbfs/read?path=/f")["data"], base64.b64encode(b"\0\r\n\xff").decode())
        self.refused(self.form("/dbfs/put", path=b"/f", contents=b""), 400, "RESOURCE_ALREADY_EXISTS")
        self.assertEqual(self.form("/dbfs/put", path=b"/f", contents=b"", overwrite=b"true").status, 200)
        note = {"path": b"/Shared/n", "format": b"SOURCE", "language": b"PYTHON", "content": b"print(1)"}
        self.assertEqual(self.form("/workspace/import", **note).status, 200)
        self.refused(self.form("/workspace/import", **note), 400, "RESOURCE_ALREADY_EXISTS")
        self.refused(self.form("/workspace/import", **dict(note, format=b"XML")), 400, "INVALID_PARAMETER_VALUE")

    def test_workspace_objects(self):
        body = {"path": "/Shared/x/n", "language": "SQL", "content": base64.b64encode(b"SELECT 1").decode()}
        self.refused(self.c.api("POST", "/workspace/import", body), 404, "RESOURCE_DOES_NOT_EXIST", "parent folder")
        self.c.ok("POST", "/workspace/mkdirs", {"path": "/Workspace/Shared/x"})
        self.c.ok("POST", "/workspace/import", body)
        self.refused(self.c.api("POST", "/workspace/import", body), 400, "RESOURCE_ALREADY_EXISTS")
        self.assertEqual(base64.b64decode(self.c.ok("GET", "/workspace/export?path=/Shared/x/n")["content"]),
                         b"-- Databricks notebook source\nSELECT 1")
        raw = "/workspace-files/import-file/Shared%s?overwrite=%s"
        self.assertEqual(self.c.api("POST", raw % ("/x/b%20c.txt", "false"), b"a").status, 200)
        self.refused(self.c.api("POST", raw % ("/x/b%20c.txt", "false"), b"a"), 409, "ALREADY_EXISTS")
        self.assertEqual(self.c.api("POST", raw % ("/x/b%20c.txt", "true"), b"abc").status, 200)
        self.refused(self.c.api("POST", raw % ("/none/b.txt", "false"), b"a"), 404, "NOT_FOUND")
        self.assertEqual(self.c.ok("GET", "/workspace/get-status?path=/Shared/x/b%20c.txt")["size"], 3)
        self.refused(self.c.api("POST", "/workspace/delete", {"path": "/Shared/x"}), 400, "DIRECTORY_NOT_EMPTY")
        repo = self.c.ok("POST", "/repos", {"url": "https://git.example.com/e/x.git", "provider": "GITHUB"})
        self.assertEqual((repo["provider"], repo["path"]), ("gitHub", "/Repos/admin@example.com/x"))
        path = "/repos/%d" % repo["id"]
        self.refused(self.c.api("PATCH", path, {"branch": "a", "tag": "b"}), 400, "INVALID_PARAMETER_VALUE")
        self.c.ok("PATCH", path, {"tag": "v1"})
        self.assertNotIn("branch", self.c.ok("GET", path))

    def test_sql(self):
        def run(statement, **more):
            return self.c.api("POST", "/sql/statements/", dict({"statement": statement,
                                                                "warehouse_id": "1234567890abcdef"}, **more))
        self.assertEqual(run("select 1").json["result"]["data_array"], [["1"]])
        self.assertEqual(run("select nope").json["status"]["state"], "FAILED")
        for bad in ({"wait_timeout": "3s"}, {"query_tags": [{"key": str(n)} for n in range(21)]}, {"statement": " "}):
            self.refused(run("select 1", **bad) if "statement" not in bad else run(**bad), 400, "INVALID_PARAMETER_VALUE")
        self.c.control("POST", "statements", {"match": "big", "generate": 5, "chunk_rows": 2, "running_ms": 100})
        first = run("big").json
        self.assertEqual((first["status"]["state"], "manifest" in first), ("RUNNING", False))
        self.step(100)
        path = "/sql/statements/" + first["statement_id"]
        done = self.c.ok("GET", path)
        self.assertEqual((done["manifest"]["total_chunk_count"], done["result"]["next_chunk_index"]), (3, 1))
        self.assertEqual(sum(c["byte_count"] for c in done["manifest"]["chunks"]), done["manifest"]["total_byte_count"])
        self.assertEqual(self.c.ok("GET", path + "/result/chunks/2")["data_array"], [["5", "row 5"]])
        self.refused(self.c.api("GET", path + "/result/chunks/3"), 400, "INVALID_PARAMETER_VALUE", "out of bounds")
        self.c.control("POST", "statements", {"match": "slow", "hang": True})
        slow = run("slow", wait_timeout="0s").json["statement_id"]
        self.assertEqual(self.c.ok("POST", "/sql/statements/%s/cancel" % slow), {})
        self.assertEqual(self.c.ok("GET", "/sql/statements/" + slow)["status"]["state"], "CANCELED")
        self.refused(self.other("etl").api("GET", path), 404, "NOT_FOUND")
        self.step(13 * 3600000)
        self.refused(self.c.api("GET", path), 404, "NOT_FOUND")
        self.c.ok("POST", "/sql/warehouses/1234567890abcdef/stop", {})
        self.step(300)
        self.assertEqual(run("select 1").json["status"]["state"], "PENDING")

    def test_pipelines(self):
        p = self.c.ok("POST", "/pipelines", {"name": "orders"})["pipeline_id"]
        self.c.ok("POST", "/pipelines/%s/updates" % p, {"full_refresh": True})
        self.refused(self.c.api("POST", "/pipelines/%s/updates" % p, {}), 409, "RESOURCE_CONFLICT")
        self.step(2000)
        got = self.c.ok("GET", "/pipelines/" + p)
        self.assertEqual((got["state"], got["latest_updates"][0]["state"]), ("IDLE", "COMPLETED"))
        path = "/pipelines/%s/events" % p
        states = [e["message"].split()[-1] for e in self.c.ok("GET", path + "?order_by=timestamp+asc")["events"]]
        self.assertEqual(states, ["QUEUED.", "RUNNING.", "COMPLETED."])
        newest = self.c.ok("GET", path + "?max_results=1")
        self.assertEqual((newest["events"][0]["event_type"], newest["events"][0]["level"]), ("update_progress", "INFO"))
        rest = self.c.ok("GET", path + "?max_results=2&page_token=" + newest["next_page_token"])
        self.assertEqual((len(rest["events"]), "next_page_token" in rest), (2, False))
        # rows that arrive in front of a page do not move it
        self.c.ok("POST", "/pipelines/%s/updates" % p, {})
        again = self.c.ok("GET", path + "?max_results=2&page_token=" + newest["next_page_token"])
        self.assertEqual(again["events"], rest["events"])
        self.assertEqual(self.c.ok("GET", path + "?filter=level%3D'ERROR'"), {})
        self.refused(self.c.api("GET", path + "?filter=nonsense"), 400, "INVALID_PARAMETER_VALUE")
        for pattern, found in (("%25rde%25", 1), ("rde", 0), ("%25rd_%25", 1), ("%25r.e%25", 0)):
            rows = self.c.ok("GET", "/pipelines?filter=name+LIKE+'%s'" % pattern).get("statuses", [])
            self.assertEqual(len(rows), found, pattern)


if __name__ == "__main__":
    Case.server = Server()
    try:
        result = unittest.main(exit=False, verbosity=1).result
    finally:
        Case.server.close()
    sys.exit(0 if result.wasSuccessful() else 1)
