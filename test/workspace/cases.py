"""cases.py: what the self-tests of the stand-in workspace share.

The clock stands still in most tests and is stepped, so nothing there waits.
"""

import unittest

from harness import Client

NOTE = {"notebook_path": "/Shared/n"}


def task(key, *deps, **more):
    return dict({"task_key": key, "notebook_task": NOTE, "depends_on": [{"task_key": d} for d in deps]}, **more)


class Case(unittest.TestCase):
    server = None                   # one for all, started by selftest.py

    def setUp(self):
        self.c = Client(self.server.port)
        self.c.control("POST", "reset", {})
        self.c.control("POST", "clock", {"speed": 0})
        self.addCleanup(self.c.close)

    def step(self, ms):
        return self.c.control("POST", "clock", {"advance_ms": ms})["now"]

    def job(self, *tasks, **settings):
        body = dict({"name": "j", "tasks": list(tasks) or [task("main")]}, **settings)
        return self.c.ok("POST", "/jobs/create", body)["job_id"]

    def run_now(self, job_id, **more):
        return self.c.ok("POST", "/jobs/run-now", dict({"job_id": job_id}, **more))["run_id"]

    def run_(self, run_id, query=""):
        return self.c.ok("GET", "/jobs/runs/get?run_id=%d%s" % (run_id, query))

    def state(self, run_id):
        r = self.run_(run_id)
        return (r["state"]["life_cycle_state"], r["state"].get("result_state"), r["status"]["state"])

    def refused(self, answer, status, code, text=""):
        self.assertEqual((answer.status, answer.json["error_code"]), (status, code), answer.raw)
        self.assertIn(text, answer.json["message"])

    def task_states(self, run_id):
        return {t["task_key"]: (t["state"]["life_cycle_state"], t["state"].get("result_state"))
                for t in self.run_(run_id)["tasks"]}
