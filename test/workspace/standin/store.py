"""store.py: where jobs and runs are kept and how pages of them are found.

Separate because it is the only part that must stay quick with 100 000 runs.
Each index is a sorted list of single integers (time << 64 | id), so a page is
two bisections and a walk, whatever the depth of the page.

Seeded runs are not objects: a block holds their columns in arrays and makes a
Run when somebody looks at it.  A run that is changed (repaired, patched) is
taken over into the ordinary dictionary with adopt().

Invariants: a run is in the indexes exactly while it is listed; Run.end_key is
the time under which it stands in the by_end lists.
"""

from array import array
from bisect import bisect_left, bisect_right, insort

from .model import Run, TaskRun

ID_MASK = (1 << 64) - 1


def key_of(ms, row_id):
    return (ms << 64) | row_id


class Index:
    __slots__ = ("by_start", "by_end")

    def __init__(self):
        self.by_start = []
        self.by_end = []


def _remove(keys, key):
    at = bisect_left(keys, key)
    if at < len(keys) and keys[at] == key:
        del keys[at]


# what a seeded run can have ended as: life, result, message, code, type, by_user
SEED_ENDS = (
    ("TERMINATED", "SUCCESS", "", "SUCCESS", "SUCCESS", False),
    ("INTERNAL_ERROR", "FAILED", "Task %s failed with message: Workload failed, see run output for details.",
     "RUN_EXECUTION_ERROR", "CLIENT_ERROR", False),
    ("TERMINATED", "CANCELED", "Run cancelled.", "USER_CANCELED", "SUCCESS", True),
)


class SeedBlock:
    """Finished runs in columns.  Ids are base + row * stride; the task runs follow their run."""

    def __init__(self, base, stride, jobs):
        self.base = base
        self.stride = stride
        self.jobs = jobs
        self.job_of = array("L")
        self.start = array("q")
        self.end = array("q")
        self.ended = array("B")
        self.gone = bytearray()

    def row(self, some_id):
        """(row, offset) of a run id or task run id, or None."""
        row, offset = divmod(some_id - self.base, self.stride)
        if 0 <= row < len(self.start) and not self.gone[row]:
            return row, offset
        return None

    def run(self, row):
        job = self.jobs[self.job_of[row]]
        run = Run(self.base + row * self.stride, job, job.creator, self.start[row])
        life, run.result, message, run.code, run.ctype, run.by_user = SEED_ENDS[self.ended[row]]
        run.life = life
        specs = run.specs[:self.stride - 1]
        if "%s" in message:
            message = message % (specs[-1]["task_key"] if specs else "main")
        run.message = message
        run.end = run.end_key = self.end[row]
        run.started = run.start
        run.run_ms = run.end - run.start
        run.block = (self, row)
        run.tasks = None
        return run

    def tasks(self, run):
        """One task run for each task of the job, sharing the run's time between them."""
        specs = run.specs[:self.stride - 1]
        tasks = []
        at = run.start
        share = (run.end - run.start) // max(1, len(specs))
        for n, spec in enumerate(specs):
            task = TaskRun(run.run_id + 1 + n, spec, 0)
            last = n == len(specs) - 1
            task.life = "TERMINATED"
            task.start = at
            at = run.end if last else at + share
            task.end = at
            length = task.end - task.start
            task.setup_ms = length // 5
            task.cleanup_ms = min(50, length // 20)
            task.execution_ms = length - task.setup_ms - task.cleanup_ms
            task.running_since = task.start + task.setup_ms
            task.plan = {}
            if last:
                _, task.result, _, task.code, task.ctype, task.by_user = SEED_ENDS[self.ended[run.block[1]]]
                if task.result == "FAILED":
                    task.message = "Workload failed, see run output for details"
                elif task.result != "SUCCESS":
                    task.message = run.message
            else:
                task.result = task.code = task.ctype = "SUCCESS"
            tasks.append(task)
        return tasks


class Store:
    def __init__(self):
        self.jobs = {}
        self.job_keys = []          # saved jobs: created << 64 | id
        self.runs = {}
        self.task_runs = {}         # task run id -> (Run, TaskRun)
        self.blocks = []
        self.active = {}            # run id -> Run
        self.all = Index()
        self.of_job = {}
        self.of_type = {}
        self.tokens = {}            # idempotency token -> run id, kept for ever
        self.longest = 0            # longest run so far: bounds start time by end time

    # jobs

    def add_job(self, job):
        self.jobs[job.job_id] = job
        if not job.hidden:
            insort(self.job_keys, key_of(job.created, job.job_id))

    def drop_job(self, job):
        """The job and the history of its runs leave the lists; the runs stay readable by id."""
        job.deleted = True
        _remove(self.job_keys, key_of(job.created, job.job_id))
        index = self.of_job.pop(job.job_id, None)
        if index is None:
            return
        starts, ends = set(index.by_start), set(index.by_end)
        for other in [self.all, *self.of_type.values()]:
            other.by_start = [k for k in other.by_start if k not in starts]
            other.by_end = [k for k in other.by_end if k not in ends]

    # runs

    def _indexes(self, run):
        found = [self.all]
        for table, name in ((self.of_job, run.job.job_id), (self.of_type, run.run_type)):
            if name not in table:
                table[name] = Index()
            found.append(table[name])
        return found

    def add_run(self, run):
        self.runs[run.run_id] = run
        if run.active:
            self.active[run.run_id] = run
        run.end_key = run.end or run.start
        self.longest = max(self.longest, run.end - run.start)
        for index in self._indexes(run):
            insort(index.by_start, key_of(run.start, run.run_id))
            insort(index.by_end, key_of(run.end_key, run.run_id))

    def add_task(self, run, task):
        run.tasks.append(task)
        run.latest[task.key] = task
        run.attempt_ids.append(task.run_id)
        self.task_runs[task.run_id] = (run, task)

    def add_iteration(self, run, loop, index, task):
        task.loop, task.index = loop, index
        loop.iterations.append(task)
        self.task_runs[task.run_id] = (run, task)

    def moved(self, run):
        """The run ended or came back to life: put it where it now belongs."""
        if run.active:
            self.active[run.run_id] = run
        else:
            self.active.pop(run.run_id, None)
        now_at = run.end or run.start
        self.longest = max(self.longest, run.end - run.start)
        if now_at == run.end_key:
            return
        old, run.end_key = run.end_key, now_at
        if run.job.deleted:
            return
        for index in self._indexes(run):
            _remove(index.by_end, key_of(old, run.run_id))
            insort(index.by_end, key_of(now_at, run.run_id))

    def drop_run(self, run):
        for index in self._indexes(run):
            _remove(index.by_start, key_of(run.start, run.run_id))
            _remove(index.by_end, key_of(run.end_key, run.run_id))
        self.runs.pop(run.run_id, None)
        for task in self.tasks_of(run):
            for one in [task] + task.iterations:
                self.task_runs.pop(one.run_id, None)
        if run.block:
            run.block[0].gone[run.block[1]] = 1

    def tasks_of(self, run):
        if run.tasks is None:
            run.tasks = run.block[0].tasks(run)
            run.latest = {t.key: t for t in run.tasks}
            run.attempt_ids = [t.run_id for t in run.tasks]
        return run.tasks

    def adopt(self, run):
        """Take a seeded run over as an ordinary object, because it is about to change."""
        if run.block is None:
            return
        for task in self.tasks_of(run):
            self.task_runs[task.run_id] = (run, task)
        block, row = run.block
        block.gone[row] = 1
        run.block = None
        self.runs[run.run_id] = run

    def run(self, run_id):
        found = self.runs.get(run_id)
        if found is None:
            for block in self.blocks:
                at = block.row(run_id)
                if at and at[1] == 0:
                    return block.run(at[0])
        return found

    def task_run(self, run_id):
        """(run, task) of a task run id, or None."""
        found = self.task_runs.get(run_id)
        if found is None:
            for block in self.blocks:
                at = block.row(run_id)
                if at and at[1] > 0:
                    run = block.run(at[0])
                    for task in self.tasks_of(run):
                        if task.run_id == run_id:
                            return run, task
        return found

    def _start_of(self, run_id):
        run = self.runs.get(run_id)
        if run is not None:
            return run.start
        for block in self.blocks:
            at = block.row(run_id)
            if at:
                return block.start[at[0]]
        return 0

    def _job_of(self, run_id):
        run = self.runs.get(run_id)
        if run is not None:
            return run.job
        for block in self.blocks:
            at = block.row(run_id)
            if at:
                return block.jobs[block.job_of[at[0]]]
        return None

    # pages

    def page_of_jobs(self, limit, cursor, back, accept):
        """Newest created first.  Returns (keys, more)."""
        return _walk(self.job_keys, 0, len(self.job_keys), limit, cursor, back,
                     lambda row_id: accept(self.jobs[row_id]))

    def page_of_runs(self, limit, cursor, back, order, job_id=None, run_type=None, active=None,
                     start_from=None, start_to=None, oldest=0, may_see=None):
        """Newest first in the given order ('start_time' or 'end_time').  Returns (keys, more)."""
        by_end = order == "end_time"
        if job_id is not None:
            index = self.of_job.get(job_id)
        elif run_type is not None:
            index = self.of_type.get(run_type)
        else:
            index = self.all
        if index is None:
            return [], False
        checks = []
        if active:
            keys = sorted(key_of(r.start, r.run_id) for r in self.active.values()
                          if not r.job.deleted and (job_id is None or r.job.job_id == job_id))
            oldest = 0
        else:
            keys = index.by_end if by_end else index.by_start
            if active is False:
                checks.append(lambda i: i not in self.active)
        if run_type is not None and (job_id is not None or active):
            checks.append(lambda i: self.run(i).run_type == run_type)
        if may_see is not None:
            checks.append(lambda i: may_see(self._job_of(i)))
        lo = bisect_left(keys, key_of(max(oldest, start_from or 0), 0))
        hi = len(keys)
        if start_to is not None:
            late = start_to + 1 + (self.longest if by_end else 0)
            hi = bisect_left(keys, key_of(late, 0))
        if by_end and (start_from is not None or start_to is not None):
            a, b = start_from or 0, (1 << 62) if start_to is None else start_to
            checks.append(lambda i: a <= self._start_of(i) <= b)
        if checks:
            return _walk(keys, lo, hi, limit, cursor, back, lambda i: all(check(i) for check in checks))
        return _walk(keys, lo, hi, limit, cursor, back, None)


def _walk(keys, lo, hi, limit, cursor, back, accept):
    found = []
    if back:
        at = max(lo, bisect_right(keys, cursor)) if cursor is not None else lo
        places = range(at, hi)
    else:
        at = min(hi, bisect_left(keys, cursor)) if cursor is not None else hi
        places = range(at - 1, lo - 1, -1)
    for at in places:
        key = keys[at]
        if accept is None or accept(key & ID_MASK):
            found.append(key)
            if len(found) > limit:
                break
    more = len(found) > limit
    found = found[:limit]
    if back:
        found.reverse()
    return found, more
