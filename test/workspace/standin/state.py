"""state.py: the workspace: everything that lives behind one server.

Separate so that HTTP, control and areas share one object and a test can reset
it as a whole.  Owns clock, store, engine, principals, settings and plans.
"""

import random

from .clock import Clock
from .engine import Engine
from .clients import Clients
from .errors import invalid
from .principals import Principals
from .store import Store

API_VERSIONS = ("2.0", "2.1", "2.2")

# name: default; README.md says what each does
SETTINGS = {
    "order": "end_time",                # of runs/list: end_time or start_time
    "api_versions": list(API_VERSIONS),  # versions of the Jobs API this workspace has
    "root_has_more": False,             # also in 2.2 lists
    "short_pages": "off",               # off, short, empty or mixed
    "runs_list_max": 25,
    "retention_days": 60,
    "setup_ms": 500,
    "duration_ms": 2000,
    "cleanup_ms": 100,
    "job_cleanup_ms": 50,
    "cancel_ms": 300,
    "ids": "large",                     # large: above 2^53; small: 15 digits
    "repair_attempt_numbers": "increasing",  # or zero
    "same_id_submit": "2.1",            # versions whose one-task submits share one id; never, always
    "output_of_one_task_run": False,    # get-output with the job run id of a one-task run
    "delete_twice": "error",            # or ok
    "active_run_limit": 0,              # of the workspace; 0 = none
    "saved_job_limit": 12000,
    "rate_limits": False,               # the published requests per second
    "gzip": True,
    "cluster_start_ms": 2000,           # PENDING or RESTARTING until RUNNING
    "cluster_stop_ms": 500,             # TERMINATING until TERMINATED
    "cluster_resize_ms": 500,
    "warehouse_start_ms": 1000,
    "pipeline_update_ms": 2000,
    "dbfs_delete_batch": 0,             # files removed by one dbfs/delete before it says 503 "call again"; 0: all
    "oauth_lifetime_s": 3600,           # of the tokens given out
    "oauth_text_times": False,          # expires_in as a text
    "oauth_expired_status": 403,        # or 401
    "azure_tenant": "5a3b1c2d-0000-4000-8000-00000000000a",
}

CHOICES = {
    "order": ("end_time", "start_time"), "short_pages": ("off", "short", "empty", "mixed"),
    "ids": ("large", "small"), "repair_attempt_numbers": ("increasing", "zero"),
    "same_id_submit": ("2.1", "never", "always"), "delete_twice": ("error", "ok"),
}

PLAN_MEMBERS = ("setup_ms", "duration_ms", "cleanup_ms", "result", "results", "output", "logs", "error", "trace",
                "message", "code", "type", "truncated", "outcome", "output_extra")
MATCH_MEMBERS = ("job_id", "job_name", "task_key", "run_id", "run_name")


class Workspace:
    org_id = "3141592653589793"
    account_id = "a0b1c2d3-e4f5-6789-abcd-ef0123456789"

    def __init__(self, seed=1, speed=1.0):
        self.seed = seed
        self.base_url = "http://127.0.0.1"
        self.clock = Clock(speed)
        self.given_settings = {}        # of the command line: a reset keeps them
        self.given_tokens = []
        self.reset()

    def reset(self):
        """Back to how the program was started; the clock keeps its time and speed."""
        self.rng = random.Random(self.seed)
        self.settings = {k: (list(v) if isinstance(v, list) else v) for k, v in SETTINGS.items()}
        self.settings.update(self.given_settings)
        self.principals = Principals()
        self.clients = Clients()
        for spec in self.given_tokens:
            self.principals.put(spec)
        self.store = Store()
        self.engine = Engine(self)
        self.plans = []
        self.page_generation = 0
        self.pages_served = 0
        self.submit_version = {}        # run id -> API version of a submit
        self.used_blocks = []           # id ranges given to seeded runs
        self.parts = {}                 # what areas other than jobs and runs keep

    def tick(self):
        """Bring everything up to now; returns now."""
        now = self.clock.now()
        self.engine.advance(now)
        return now

    def part(self, kind):
        """What an area keeps, brought up to now: one object of its class for each workspace."""
        part = self.parts.get(kind)
        if part is None:
            part = self.parts[kind] = kind(self)
        part.advance(self.clock.now())
        return part

    def change_settings(self, changes):
        for name, value in changes.items():
            if name not in SETTINGS:
                raise invalid("unknown setting '%s'" % name)
            if name in CHOICES and value not in CHOICES[name]:
                raise invalid("setting '%s' must be one of %s" % (name, ", ".join(CHOICES[name])))
            default = SETTINGS[name]
            if isinstance(default, bool) != isinstance(value, bool) or not isinstance(value, type(default)):
                raise invalid("setting '%s' must be of type %s" % (name, type(default).__name__))
        self.settings.update(changes)

    def new_id(self):
        """An id as the service makes them: not in order, and odd, so that a double above 2^53 cannot hold it."""
        store = self.store
        while True:
            if self.settings["ids"] == "large":
                some_id = self.rng.randrange(9007199254740993, 10 ** 18) | 1
            else:
                some_id = self.rng.randrange(10 ** 14, 10 ** 15) | 1
            if (some_id not in store.jobs and some_id not in store.runs and some_id not in store.task_runs
                    and not any(a <= some_id < b for a, b in self.used_blocks)):
                return some_id

    def same_id_submit(self, run):
        if run.run_type != "SUBMIT_RUN" or len(run.specs) != 1:
            return False
        mode = self.settings["same_id_submit"]
        return mode == "always" or self.submit_version.get(run.run_id) == mode

    # how tasks run

    def plan_for(self, run, task):
        """Times and result of one attempt: defaults, then the newest matching plan, then a forced end."""
        s = self.settings
        quick = task.kind in ("condition_task", "run_job_task")
        plan = {"setup_ms": 0 if quick else s["setup_ms"], "duration_ms": 0 if quick else s["duration_ms"],
                "cleanup_ms": s["cleanup_ms"], "result": "SUCCESS"}
        for entry in reversed(self.plans):
            if entry["count"] != 0 and self._plan_matches(entry["match"], run, task):
                entry["count"] -= 1 if entry["count"] > 0 else 0
                entry["used"] += 1
                plan.update(entry["plan"])
                break
        if run.forced:
            plan.update({"setup_ms": 0, "duration_ms": 0, "cleanup_ms": 0}, **run.forced)
        results = plan.get("results")
        if results:
            plan["result"] = results[min(task.attempt, len(results) - 1)]
        return plan

    @staticmethod
    def _plan_matches(match, run, task):
        have = {"job_id": run.job.job_id, "job_name": run.job.settings.get("name"), "task_key": task.key,
                "run_id": run.run_id, "run_name": run.name}
        return all(have[name] == value for name, value in match.items())

    def add_plan(self, match, plan, count):
        for name in match:
            if name not in MATCH_MEMBERS:
                raise invalid("unknown match member '%s'" % name)
        for name in plan:
            if name not in PLAN_MEMBERS:
                raise invalid("unknown plan member '%s'" % name)
        self.plans.append({"match": match, "plan": plan, "count": -1 if count is None else count, "used": 0})

    def cluster_for(self, run, task):
        spec = task.spec
        if "existing_cluster_id" in spec:
            return spec["existing_cluster_id"]
        if "new_cluster" not in spec and "job_cluster_key" not in spec:
            return None
        tail = task.key if "new_cluster" in spec else spec["job_cluster_key"]
        name = random.Random("%d/%s" % (run.run_id, tail))
        return "1001-%06d-%s" % (name.randrange(240000), "".join(name.choices("abcdefghijkmnpqrstuvwxyz0123456789", k=8)))
