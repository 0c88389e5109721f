"""seed.py: many jobs and finished runs at once, the same for the same seed.

Separate because it fills the store's columns directly instead of going through
the engine.
"""

import gc
import random

from . import jobspec
from .errors import invalid
from .model import Job
from .store import Index, SeedBlock, key_of

MEMBERS = {"jobs": 1, "runs": 0, "seed": 1, "days": 30.0, "until_ms": None, "tasks_per_job": 1,
           "failed": 0.1, "canceled": 0.02, "min_ms": 1000, "max_ms": 600000, "name": "seeded-job",
           "user": "etl@example.com", "tags": None}


def fill(ws, spec):
    for name in spec:
        if name not in MEMBERS:
            raise invalid("unknown seed member '%s'" % name)
    want = dict(MEMBERS, **spec)
    rng = random.Random(want["seed"])
    now = ws.tick()
    until = want["until_ms"] or now - 3600000
    since = until - int(want["days"] * 86400000)
    jobs = [_job(ws, want, n, since - 1000 * (want["jobs"] - n)) for n in range(want["jobs"])]
    made = {"SUCCESS": 0, "FAILED": 0, "CANCELED": 0}
    reply = {"jobs": len(jobs), "runs": want["runs"], "results": made,
             "job_ids": [j.job_id for j in jobs[:1000]]}
    if want["runs"]:
        block = _block(ws, want, rng, jobs, since, until)
        for n, name in enumerate(made):
            made[name] = block.ended.count(n)
        _index(ws.store, block)
        reply.update(first_run_id=block.base, run_id_step=block.stride,
                     first_start_time=min(block.start), last_start_time=max(block.start))
    # the columns and keys live as long as the workspace: keep the collector off them
    gc.collect()
    gc.freeze()
    return reply


def _job(ws, want, n, created):
    tasks = []
    for k in range(want["tasks_per_job"]):
        task = {"task_key": "task_%d" % k if k else "main",
                "notebook_task": {"notebook_path": "/Shared/seeded/%d" % n}}
        if k:
            task["depends_on"] = [{"task_key": tasks[-1]["task_key"]}]
        tasks.append(task)
    settings = {"name": "%s-%05d" % (want["name"], n), "tasks": tasks}
    if want["tags"]:
        settings["tags"] = want["tags"]
    job = Job(ws.new_id(), want["user"], created, jobspec.with_defaults(settings, "2.2"),
              [{"user_name": want["user"], "permission_level": "IS_OWNER"}])
    ws.store.add_job(job)
    return job


def _block(ws, want, rng, jobs, since, until):
    count = want["runs"]
    stride = want["tasks_per_job"] + 1
    while True:
        base = ws.new_id()
        end = base + count * stride
        if end < 1 << 63 and not any(a < end and base < b for a, b in ws.used_blocks):
            break
    ws.used_blocks.append((base, end))
    block = SeedBlock(base, stride, jobs)
    block.gone = bytearray(count)
    span = max(1, (until - since) // count)
    failed, canceled = want["failed"], want["failed"] + want["canceled"]
    for n in range(count):
        start = since + n * span + rng.randrange(span)
        block.start.append(start)
        block.end.append(start + rng.randint(want["min_ms"], want["max_ms"]))
        block.job_of.append(rng.randrange(len(jobs)))
        x = rng.random()
        block.ended.append(1 if x < failed else 2 if x < canceled else 0)
    return block


def _index(store, block):
    groups = {None: ([], [])}
    for row, (start, end, job) in enumerate(zip(block.start, block.end, block.job_of)):
        run_id = block.base + row * block.stride
        a, b = key_of(start, run_id), key_of(end, run_id)
        for group in (groups[None], groups.setdefault(job, ([], []))):
            group[0].append(a)
            group[1].append(b)
        store.longest = max(store.longest, end - start)
    store.blocks.append(block)
    for job, (starts, ends) in groups.items():
        if job is None:
            targets = [store.all, store.of_type.setdefault("JOB_RUN", Index())]
        else:
            targets = [store.of_job.setdefault(block.jobs[job].job_id, Index())]
        for index in targets:
            index.by_start.extend(starts)
            index.by_start.sort()
            index.by_end.extend(ends)
            index.by_end.sort()


def load_run(ws, raw):
    """A run whose body is given as it is: for values no rule of ours would make."""
    from .model import Run
    if not isinstance(raw.get("run_id"), int) or not isinstance(raw.get("job_id"), int):
        raise invalid("a raw run needs run_id and job_id")
    if ws.store.run(raw["run_id"]) is not None:
        raise invalid("run %d exists" % raw["run_id"])
    job = ws.store.jobs.get(raw["job_id"])
    if job is None:
        job = Job(raw["job_id"], raw.get("creator_user_name"), raw.get("start_time", 0),
                  jobspec.with_defaults({"name": raw.get("run_name", "Untitled")}, "2.2"), [])
        ws.store.add_job(job)
    run = Run(raw["run_id"], job, raw.get("creator_user_name"), raw.get("start_time", ws.tick()))
    run.raw = raw
    run.run_type = raw.get("run_type", "JOB_RUN")
    run.end = raw.get("end_time", 0)
    run.life = raw.get("state", {}).get("life_cycle_state", "TERMINATED")
    ws.store.add_run(run)
    return run
