"""jobspec.py: the shape of job settings and tasks, their limits, defaults and merge rules.

Separate from the area that serves the calls because create, reset, update and
submit share all of it.
"""

import json
import re
import zoneinfo

from .errors import invalid
from .model import TASK_KINDS
from .schema import ANY, BOOL, INT, INT32, MAP, STR, Enum, check

PAUSE = Enum("PAUSED", "UNPAUSED")
LEVEL = Enum("CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER")
PERFORMANCE = Enum("STANDARD", "PERFORMANCE_OPTIMIZED")
RUN_IF = Enum("ALL_SUCCESS", "ALL_DONE", "NONE_FAILED", "AT_LEAST_ONE_SUCCESS", "ALL_FAILED",
              "AT_LEAST_ONE_FAILED")
CONDITION_OP = Enum("EQUAL_TO", "NOT_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL", "LESS_THAN",
                    "LESS_THAN_OR_EQUAL")
SOURCE = Enum("WORKSPACE", "GIT")

ACL = [{"user_name": STR, "group_name": STR, "service_principal_name": STR, "permission_level": LEVEL}]

PIPELINE_PARAMS = {"full_refresh": BOOL, "full_refresh_selection": [STR], "refresh_selection": [STR],
                   "refresh_flow_selection": [STR], "reset_checkpoint_selection": [STR]}

LEGACY_PARAMS = {"notebook_params": MAP, "jar_params": [STR], "python_params": [STR],
                 "python_named_params": MAP, "spark_submit_params": [STR], "sql_params": MAP,
                 "dbt_commands": [STR], "pipeline_params": PIPELINE_PARAMS}

# the kinds a test is likely to use are typed; the others are kept as they come
KINDS = {
    "notebook_task": {"notebook_path": STR, "source": SOURCE, "base_parameters": MAP, "warehouse_id": STR},
    "spark_jar_task": {"main_class_name": STR, "parameters": [STR], "jar_uri": STR, "run_as_repl": BOOL},
    "spark_python_task": {"python_file": STR, "parameters": [STR], "source": SOURCE},
    "python_wheel_task": {"package_name": STR, "entry_point": STR, "parameters": [STR], "named_parameters": MAP},
    "spark_submit_task": {"parameters": [STR]},
    "sql_task": {"warehouse_id": STR, "parameters": MAP, "query": {"query_id": STR},
                 "file": {"path": STR, "source": SOURCE}, "alert": ANY, "dashboard": ANY},
    "dbt_task": {"commands": [STR], "project_directory": STR, "profiles_directory": STR, "schema": STR,
                 "catalog": STR, "warehouse_id": STR, "source": SOURCE},
    "pipeline_task": dict(PIPELINE_PARAMS, pipeline_id=STR, parameters=MAP),
    "run_job_task": dict(LEGACY_PARAMS, job_id=INT, job_parameters=MAP),
    "condition_task": {"op": CONDITION_OP, "left": STR, "right": STR},
    "for_each_task": {"inputs": STR, "task": ANY, "concurrency": INT32},
}

REQUIRED = {
    "notebook_task": ("notebook_path",), "spark_python_task": ("python_file",),
    "python_wheel_task": ("package_name", "entry_point"), "sql_task": ("warehouse_id",),
    "dbt_task": ("commands",), "pipeline_task": ("pipeline_id",), "run_job_task": ("job_id",),
    "condition_task": ("op", "left", "right"), "for_each_task": ("inputs", "task"),
    "clean_rooms_notebook_task": ("clean_room_name", "notebook_name"),
    "ai_runtime_task": ("experiment", "deployments"),
}

HEALTH = {"rules": [{"metric": STR, "op": Enum("GREATER_THAN"), "value": INT}]}

TASK = {
    "task_key": STR, "depends_on": [{"task_key": STR, "outcome": STR}], "run_if": RUN_IF,
    "description": STR, "disabled": BOOL, "timeout_seconds": INT32, "max_retries": INT32,
    "min_retry_interval_millis": INT32, "retry_on_timeout": BOOL, "existing_cluster_id": STR,
    "new_cluster": ANY, "job_cluster_key": STR, "environment_key": STR, "libraries": [ANY],
    "compute": ANY, "disable_auto_optimization": BOOL, "email_notifications": ANY,
    "webhook_notifications": ANY, "health": HEALTH, "notification_settings": ANY,
}
TASK.update({kind: KINDS.get(kind, ANY) for kind in TASK_KINDS})

WAITS = {"min_time_between_triggers_seconds": INT32, "wait_after_last_change_seconds": INT32}
TRIGGER = {
    "pause_status": PAUSE,
    "periodic": {"interval": INT32, "unit": Enum("MINUTES", "HOURS", "DAYS", "WEEKS")},
    "file_arrival": dict(WAITS, url=STR),
    "table_update": dict(WAITS, table_names=[STR], condition=Enum("ANY_UPDATED", "ALL_UPDATED")),
    "model": dict(WAITS, condition=Enum("MODEL_CREATED", "MODEL_VERSION_READY", "MODEL_ALIAS_SET"), securable_name=STR,
                  aliases=[STR]),
}
TRIGGER_NEEDS = {"periodic": ("interval", "unit"), "file_arrival": ("url",), "table_update": ("table_names",),
                 "model": ("condition",)}

# of each field of a quartz expression: lowest and highest number, names, other forms
QUARTZ = (
    (0, 59, (), None), (0, 59, (), None), (0, 23, (), None),
    (1, 31, (), r"\?|L(-[0-9]{1,2})?W?|[0-9]{1,2}W"),
    (1, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), None),
    (1, 7, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), r"\?|L|([1-7]|[A-Z]{3})(L|#[1-5])"),
    (1970, 2099, (), None),
)
ZONES = zoneinfo.available_timezones()     # none on a machine without the database: then any text will do

SCHEDULE = {"quartz_cron_expression": STR, "timezone_id": STR, "pause_status": PAUSE, "sql_condition": ANY}

SETTINGS = {
    "name": STR, "description": STR, "tags": MAP, "tasks": [TASK],
    "job_clusters": [{"job_cluster_key": STR, "new_cluster": ANY, "serverless_compute_id": STR}],
    "environments": [{"environment_key": STR, "spec": ANY}],
    "parameters": [{"name": STR, "default": STR}], "schedule": SCHEDULE, "trigger": TRIGGER,
    "continuous": {"pause_status": PAUSE, "task_retry_mode": Enum("NEVER", "ON_FAILURE")},
    "triggers": [ANY], "max_concurrent_runs": INT32, "timeout_seconds": INT32,
    "email_notifications": ANY, "webhook_notifications": ANY, "notification_settings": ANY,
    "health": HEALTH, "queue": {"enabled": BOOL},
    "run_as": {"user_name": STR, "service_principal_name": STR, "group_name": STR},
    "git_source": {"git_url": STR, "git_provider": STR, "git_branch": STR, "git_tag": STR,
                   "git_commit": STR, "sparse_checkout": ANY, "job_source": ANY},
    "performance_target": PERFORMANCE, "edit_mode": Enum("EDITABLE", "UI_LOCKED"), "deployment": ANY,
    "parent_path": STR, "budget_policy_id": STR, "usage_policy_id": STR,
}

SUBMIT = {name: SETTINGS[name] for name in (
    "tasks", "timeout_seconds", "email_notifications", "webhook_notifications", "notification_settings",
    "health", "git_source", "environments", "queue", "run_as", "budget_policy_id", "usage_policy_id",
    "performance_target")}
SUBMIT.update(run_name=STR, idempotency_token=STR, access_control_list=ACL)

RUN_NOW = dict(LEGACY_PARAMS, job_id=INT, job_parameters=MAP, queue={"enabled": BOOL}, only=[STR],
               performance_target=PERFORMANCE, idempotency_token=STR)

REPAIR = dict(LEGACY_PARAMS, run_id=INT, rerun_tasks=[STR], rerun_all_failed_tasks=BOOL,
              rerun_dependent_tasks=BOOL, latest_repair_id=INT, job_parameters=MAP,
              performance_target=PERFORMANCE)

# API 2.0: one task, its members at the top of the settings
SINGLE = {name: TASK[name] for name in (
    "existing_cluster_id", "new_cluster", "libraries", "max_retries", "min_retry_interval_millis",
    "retry_on_timeout", "notebook_task", "spark_jar_task", "spark_python_task", "spark_submit_task",
    "python_wheel_task", "dbt_task", "pipeline_task", "sql_task")}

PARAM_BYTES = 10000
BASE_PARAM_BYTES = 1024 * 1024
GIT_LENGTHS = {"git_url": 300, "git_branch": 255, "git_tag": 255, "git_commit": 64}
GIT_PROVIDERS = ("gitHub", "gitHubEnterprise", "gitLab", "gitLabEnterpriseEdition", "bitbucketCloud",
                 "bitbucketServer", "azureDevOpsServices", "awsCodeCommit")


def _length(value, limit, what):
    if len(value.encode("utf-8", "surrogatepass")) > limit:
        raise invalid("The %s must not be longer than %d bytes." % (what, limit))


def _json(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _unique(names, what):
    seen = set()
    for name in names:
        if name in seen:
            raise invalid("Duplicate %s: '%s'." % (what, name))
        seen.add(name)


def max_tasks(version):
    return 1000 if version == "2.2" else 100


def too_many(count):
    return invalid("Resources with more than 100 tasks can only be handled by API 2.2 and above. "
                   "Your resource has %d tasks." % count)


def validate_tasks(tasks, cluster_keys, version):
    if len(tasks) > max_tasks(version):
        if version != "2.2":
            raise too_many(len(tasks))
        raise invalid("The number of tasks must not exceed 1000, but was %d." % len(tasks))
    for task in tasks:
        key = task.get("task_key")
        if key is None:
            raise invalid("Missing required field: tasks.task_key")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", key):
            raise invalid("The task key '%s' is invalid: 1 to 100 letters, digits, '_' and '-' are allowed."
                          % key[:120])
        validate_task(task, key, cluster_keys)
    _unique([t["task_key"] for t in tasks], "task key")
    known = {t["task_key"]: t for t in tasks}
    for task in tasks:
        for dep in task.get("depends_on") or ():
            if dep.get("task_key") not in known:
                raise invalid("Task '%s' depends on the unknown task '%s'."
                              % (task["task_key"], dep.get("task_key")))
    _acyclic(known)


def validate_task(task, key, cluster_keys):
    kinds = [k for k in TASK_KINDS if k in task]
    if len(kinds) != 1:
        raise invalid("Task '%s' must specify exactly one task type, but has %d." % (key, len(kinds)))
    for name in REQUIRED.get(kinds[0], ()):
        if name not in task[kinds[0]]:
            raise invalid("Missing required field: %s.%s of task '%s'" % (kinds[0], name, key))
    compute = [c for c in ("existing_cluster_id", "new_cluster", "job_cluster_key", "environment_key") if c in task]
    if len(compute) > 1:
        raise invalid("Task '%s' must specify at most one of %s." % (key, ", ".join(compute)))
    if "job_cluster_key" in task and task["job_cluster_key"] not in cluster_keys:
        raise invalid("Task '%s' uses the job cluster '%s', which is not defined." % (key, task["job_cluster_key"]))
    _length(task.get("description", ""), 1000, "task description")
    if task.get("max_retries", 0) < -1:
        raise invalid("The max_retries of task '%s' must be -1 or more." % key)
    for name in ("timeout_seconds", "min_retry_interval_millis"):
        if task.get(name, 0) < 0:
            raise invalid("The %s of task '%s' must not be negative." % (name, key))
    if "for_each_task" in task:
        each = task["for_each_task"]
        each["task"] = check(each["task"], TASK, "for_each_task.task")
        if "for_each_task" in each["task"]:
            raise invalid("The task of for_each_task '%s' must not be a for_each_task." % key)
        if not 1 <= each.get("concurrency", 1) <= 100:
            raise invalid("The concurrency of for_each_task '%s' must be between 1 and 100." % key)
        validate_task(each["task"], each["task"].get("task_key", key), cluster_keys)
    validate_kind(task, key)
    validate_webhooks(task)


def validate_kind(task, key):
    """Rules of one kind of task each."""
    _length(_json(task.get("notebook_task", {}).get("base_parameters", {})), BASE_PARAM_BYTES, "base_parameters")
    _length(_json(task.get("pipeline_task", {}).get("parameters", {})), PARAM_BYTES, "parameters of a pipeline_task")
    if {"parameters", "named_parameters"} <= set(task.get("python_wheel_task", ())):
        raise invalid("The python_wheel_task of '%s' must not have both parameters and named_parameters." % key)
    if "sql_task" in task and sum(n in task["sql_task"] for n in ("query", "file", "alert", "dashboard")) != 1:
        raise invalid("The sql_task of '%s' must have exactly one of query, file, alert and dashboard." % key)
    commands = task.get("dbt_task", {}).get("commands")
    if commands is not None and (len(commands) > 10 or not all(c.startswith("dbt") for c in commands)):
        raise invalid("Task '%s' needs at most 10 commands, each starting with dbt." % key)


def validate_webhooks(owner):
    for event, targets in owner.get("webhook_notifications", {}).items():
        if isinstance(targets, list) and len(targets) > 3:
            raise invalid("At most 3 webhook notifications are allowed for %s." % event)


def _acyclic(known):
    done, doing = set(), set()
    for root in known:
        stack = [(root, False)]
        while stack:
            key, leaving = stack.pop()
            if leaving:
                doing.discard(key)
                done.add(key)
            elif key not in done:
                if key in doing:
                    raise invalid("The dependencies of task '%s' form a cycle." % key)
                doing.add(key)
                stack.append((key, True))
                for dep in known[key].get("depends_on") or ():
                    if dep["task_key"] in doing:
                        raise invalid("The dependencies of task '%s' form a cycle." % key)
                    stack.append((dep["task_key"], False))


def validate_settings(s, version):
    """Limits and cross rules of checked settings."""
    _length(s.get("name", ""), 4096, "job name")
    _length(s.get("description", ""), 27700, "job description")
    if len(s.get("tags", ())) > 25:
        raise invalid("A job must not have more than 25 tags.")
    if not 0 <= s.get("max_concurrent_runs", 1) <= 1000:
        raise invalid("The max_concurrent_runs must be between 0 and 1000.")
    if s.get("timeout_seconds", 0) < 0:
        raise invalid("The timeout_seconds must not be negative.")
    clusters = s.get("job_clusters") or []
    if len(clusters) > 100:
        raise invalid("A job must not have more than 100 job clusters.")
    for cluster in clusters:
        if "job_cluster_key" not in cluster:
            raise invalid("Missing required field: job_clusters.job_cluster_key")
    keys = [c["job_cluster_key"] for c in clusters]
    _unique(keys, "job cluster key")
    for p in s.get("parameters") or ():
        if "name" not in p or "default" not in p:
            raise invalid("Missing required field: parameters.%s" % ("default" if "name" in p else "name"))
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", p["name"]):
            raise invalid("The parameter name '%s' is invalid: letters, digits, '_', '-' and '.' are allowed."
                          % p["name"][:100])
    _unique([p["name"] for p in s.get("parameters") or ()], "parameter")
    starters = [n for n in ("schedule", "trigger", "continuous") if n in s]
    if len(starters) > 1 or (starters and s.get("triggers")):
        raise invalid("Only one of schedule, trigger, continuous and triggers may be set.")
    if "schedule" in s:
        validate_schedule(s["schedule"])
    if "trigger" in s:
        validate_trigger(s["trigger"])
    validate_webhooks(s)
    if version != "2.2" and len(s.get("environments", ())) > 10:
        raise invalid("A job must not have more than 10 environments.")
    if "run_as" in s and len(s["run_as"]) != 1:
        raise invalid("The run_as must have exactly one of user_name, service_principal_name and group_name.")
    if "git_source" in s:
        validate_git(s["git_source"])
    validate_tasks(s.get("tasks") or [], keys, version)


def validate_schedule(schedule):
    for name in ("quartz_cron_expression", "timezone_id"):
        if name not in schedule:
            raise invalid("Missing required field: schedule.%s" % name)
    fields = schedule["quartz_cron_expression"].upper().split()
    if (len(fields) not in (6, 7) or (fields[3] == "?") == (fields[5] == "?")
            or not all(_quartz(f, *rule) for f, rule in zip(fields, QUARTZ))):
        raise invalid("Invalid quartz cron expression: '%s'." % schedule["quartz_cron_expression"][:100])
    if ZONES and schedule["timezone_id"] not in ZONES:
        raise invalid("Invalid timezone: '%s'." % schedule["timezone_id"][:100])


def _quartz(field, low, high, names, special):
    """Whether one field of a quartz expression holds lists, ranges and steps of what it may hold."""
    def known(text):
        return text.isdigit() and low <= int(text) <= high or text in names

    for part in field.split(","):
        what, slash, step = part.partition("/")
        if slash and not step.isdigit():
            return False
        if what == "*" or special and re.fullmatch(special, what) and not slash:
            continue
        if not all(known(end) for end in what.split("-", 1)):
            return False
    return True


def validate_trigger(trigger):
    kinds = [k for k in TRIGGER_NEEDS if k in trigger]
    if len(kinds) != 1:
        raise invalid("The trigger must have exactly one of %s." % ", ".join(TRIGGER_NEEDS))
    what = trigger[kinds[0]]
    for name in TRIGGER_NEEDS[kinds[0]]:
        if name not in what:
            raise invalid("Missing required field: trigger.%s.%s" % (kinds[0], name))
    for name in WAITS:
        if what.get(name, 60) < 60:
            raise invalid("The %s of the trigger must be at least 60." % name)
    if what.get("interval", 1) < 1:
        raise invalid("The interval of the trigger must be at least 1.")


def validate_git(git):
    for name, limit in GIT_LENGTHS.items():
        _length(git.get(name, ""), limit, name)
    if "git_url" not in git:
        raise invalid("Missing required field: git_source.git_url")
    if git.get("git_provider", "").lower() not in [p.lower() for p in GIT_PROVIDERS]:
        raise invalid("The git provider must be one of: %s." % ", ".join(GIT_PROVIDERS))
    if sum(n in git for n in ("git_branch", "git_tag", "git_commit")) != 1:
        raise invalid("Exactly one of git_branch, git_tag and git_commit must be set.")


def with_defaults(s, version):
    """What the service writes back on read."""
    out = {"name": "Untitled", "email_notifications": {}, "webhook_notifications": {},
           "timeout_seconds": 0, "max_concurrent_runs": 1, "format": "MULTI_TASK"}
    out.update(s)
    if version == "2.2":
        out.setdefault("queue", {"enabled": True})
    if "tasks" in out:
        git = "git_source" in out
        out["tasks"] = [task_with_defaults(t, git) for t in out["tasks"]]
    if "schedule" in out:
        out["schedule"] = dict({"pause_status": "UNPAUSED"}, **out["schedule"])
    return out


def task_with_defaults(task, git):
    out = {"task_key": task["task_key"], "run_if": "ALL_SUCCESS"}
    out.update(task)
    out.setdefault("timeout_seconds", 0)
    out.setdefault("email_notifications", {})
    for kind in ("notebook_task", "spark_python_task", "dbt_task"):
        if kind in out and (kind == "notebook_task" or git):
            out[kind] = dict(out[kind])
            out[kind].setdefault("source", "GIT" if git else "WORKSPACE")
    return out


MERGED = {"tasks": "task_key", "job_clusters": "job_cluster_key"}


def merge(old, new, remove):
    """The settings after update: removals first, then top-level members replace, keyed arrays merge."""
    out = dict(old)
    for name in remove:
        top, _, key = name.partition("/")
        if key and top in MERGED:
            out[top] = [e for e in out.get(top) or [] if e.get(MERGED[top]) != key]
        elif not key:
            out.pop(top, None)
    for name, value in new.items():
        if name in MERGED:
            elements = {e[MERGED[name]]: e for e in out.get(name) or []}
            for element in value:
                if MERGED[name] not in element:
                    raise invalid("Missing required field: %s.%s" % (name, MERGED[name]))
                elements[element[MERGED[name]]] = element
            out[name] = list(elements.values())
        else:
            out[name] = value
    return out


def validate_params(body):
    """Size and character rules of the parameters of run-now and repair."""
    for name in list(LEGACY_PARAMS) + ["job_parameters"]:
        if name in body:
            _length(_json({name: body[name]}), PARAM_BYTES, "JSON representation of %s" % name)
    if "jar_params" in body and "notebook_params" in body:
        raise invalid("jar_params cannot be specified in conjunction with notebook_params.")
    for name in ("python_params", "spark_submit_params"):
        if not all(p.isascii() for p in body.get(name, ())):
            raise invalid("%s must hold ASCII characters only." % name)
    if len(body.get("idempotency_token", "")) > 64:
        raise invalid("The idempotency_token must have at most 64 characters.")
