"""model.py: the objects a workspace holds: jobs, runs, task runs.

Separate so that the engine (which moves them), the store (which finds them)
and the renderer (which shows them) share one definition.  Plain data: no
method here changes state.

Invariants: a run's tasks list holds every attempt in order of creation;
latest maps a task key to its newest attempt; end is 0 while unfinished.
"""

TERMINAL = frozenset(("TERMINATED", "SKIPPED", "INTERNAL_ERROR"))

TASK_KINDS = (
    "notebook_task", "spark_jar_task", "spark_python_task", "python_wheel_task", "spark_submit_task",
    "sql_task", "dbt_task", "pipeline_task", "run_job_task", "condition_task", "for_each_task",
    "dashboard_task", "alert_task", "power_bi_task", "clean_rooms_notebook_task", "dbt_platform_task",
    "dbt_cloud_task", "python_operator_task", "ai_runtime_task", "gen_ai_compute_task",
)


class Job:
    __slots__ = ("job_id", "creator", "created", "settings", "acl", "single", "deleted", "hidden",
                 "active", "queued", "patch")

    def __init__(self, job_id, creator, created, settings, acl, hidden=False, single=False):
        self.job_id = job_id
        self.creator = creator
        self.created = created
        self.settings = settings
        self.acl = acl
        self.single = single        # made by API 2.0 in the single-task format
        self.deleted = False
        self.hidden = hidden        # the job behind a one-time run
        self.active = set()         # run ids that hold a slot
        self.queued = []            # runs that wait for one, oldest first
        self.patch = None

    def run_as(self):
        run_as = self.settings.get("run_as") or {}
        return run_as.get("user_name") or run_as.get("service_principal_name") or self.creator


class TaskRun:
    __slots__ = ("run_id", "key", "spec", "attempt", "first_id", "life", "result", "message", "by_user",
                 "code", "ctype", "start", "end", "setup_ms", "execution_ms", "cleanup_ms", "running_since",
                 "plan", "gen", "outcome", "cluster", "pending_result", "patch", "loop", "index", "inputs", "iterations")

    def __init__(self, run_id, spec, attempt, first_id=None):
        self.run_id = run_id
        self.key = spec["task_key"]
        self.spec = spec
        self.attempt = attempt
        self.first_id = first_id or run_id
        self.life = "BLOCKED"
        self.result = None
        self.message = ""
        self.by_user = False
        self.code = self.ctype = None
        self.start = self.end = 0
        self.setup_ms = self.execution_ms = self.cleanup_ms = 0
        self.running_since = 0
        self.plan = None
        self.gen = 0                # events planned under an older gen are void
        self.outcome = None
        self.cluster = None
        self.pending_result = None
        self.patch = None
        self.loop = None            # the for-each task this is an iteration of ...
        self.index = None           # ... and of which of its inputs
        self.inputs = None          # of a for-each task: what it goes through
        self.iterations = []        # of a for-each task: every attempt, in order of creation

    @property
    def kind(self):
        for kind in TASK_KINDS:
            if kind in self.spec:
                return kind
        return None


class Run:
    __slots__ = ("run_id", "job", "creator", "name", "description", "run_type", "trigger", "format",
                 "specs", "job_clusters", "parameters", "overriding", "schedule", "git_source", "timeout_s",
                 "start", "end", "started", "queue_ms", "life", "result", "message", "by_user", "code",
                 "ctype", "queue_reason", "tasks", "latest", "repairs", "attempt_start", "attempt_ids",
                 "run_ms", "gen", "forced", "end_key", "block", "patch", "raw", "stopping", "token")

    def __init__(self, run_id, job, creator, start):
        self.run_id = run_id
        self.job = job
        self.creator = creator
        self.name = job.settings.get("name", "Untitled")
        self.description = None
        self.run_type = "JOB_RUN"
        self.trigger = "ONE_TIME"
        self.format = "SINGLE_TASK" if job.single else "MULTI_TASK"
        self.specs = job.settings.get("tasks") or []
        self.job_clusters = job.settings.get("job_clusters") or []
        self.parameters = []
        self.overriding = None
        self.schedule = None
        self.git_source = job.settings.get("git_source")
        self.timeout_s = job.settings.get("timeout_seconds", 0)
        self.start = start
        self.end = 0
        self.started = 0            # when it left the queue
        self.queue_ms = None        # None: never queued
        self.life = "PENDING"
        self.result = None
        self.message = ""
        self.by_user = False
        self.code = self.ctype = None
        self.queue_reason = None
        self.tasks = []
        self.latest = {}
        self.repairs = []           # finished attempts: dicts of repair_history
        self.attempt_start = start
        self.attempt_ids = []       # task run ids of the current attempt
        self.run_ms = 0             # of finished attempts
        self.gen = 0
        self.forced = None          # a result a test asked for at once
        self.end_key = start
        self.block = None           # (seeded block, row) while not yet taken over
        self.patch = None
        self.raw = None             # a body loaded as it is
        self.stopping = None        # (result, message) while being cancelled or timed out
        self.token = None

    @property
    def active(self):
        return self.life not in TERMINAL
