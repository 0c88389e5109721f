"""engine.py: moves runs through their states.

Separate because it is the one place that knows the life cycle.  Nothing runs
in the background: planned events wait in a heap, and advance() carries out
those that are due before each request is answered, in time order.  So any
state can be asked for at any time and is exact, and 10 000 open runs cost
nothing between requests.

Invariants: an event planned for a task or run is void once its gen moved on;
a terminal run has no live events; job.active holds exactly the runs of the job
that are neither queued nor terminal.
"""

import heapq

from .model import TERMINAL, Run, TaskRun
from . import flow, foreach

QUEUE_LIMIT_MS = 48 * 3600 * 1000


class Engine:
    def __init__(self, ws):
        self.ws = ws
        self.heap = []
        self.seq = 0
        self.reached = 0

    def at(self, when, action, *args):
        """Plan an event; what should have been earlier happens now."""
        self.seq += 1
        heapq.heappush(self.heap, (max(when, self.reached), self.seq, action, args))

    def advance(self, now):
        heap = self.heap
        while heap and heap[0][0] <= now:
            when, _, action, args = heapq.heappop(heap)
            self.reached = when
            action(when, *args)
        self.reached = now

    # starting

    def launch(self, run, queue, t):
        """A trigger has been accepted: start, queue or skip the new run."""
        job = run.job
        limit = job.settings.get("max_concurrent_runs", 1)
        self.ws.store.add_run(run)
        if job.hidden or len(job.active) < limit:
            self._start(t, run)
        elif queue and limit > 0:
            run.life = "QUEUED"
            run.queue_ms = 0
            run.queue_reason = "Queued due to reaching maximum concurrent runs of %d." % limit
            job.queued.append(run)
            self.at(t + QUEUE_LIMIT_MS, self._queue_timeout, run)
        else:
            self._skip(t, run, limit)

    def _skip(self, t, run, limit):
        run.life, run.result = "SKIPPED", "MAXIMUM_CONCURRENT_RUNS_REACHED"
        run.code, run.ctype = "MAX_CONCURRENT_RUNS_EXCEEDED", "CLIENT_ERROR"
        run.message = ("Skipping this run because the limit of %d maximum concurrent runs has been reached."
                       % limit)
        run.end = t + 1
        run.run_ms = run.end - run.start
        self.ws.store.moved(run)

    def _queue_timeout(self, t, run):
        if run.life == "QUEUED":
            run.job.queued.remove(run)
            run.queue_ms = t - run.start
            self._skip(t, run, run.job.settings.get("max_concurrent_runs", 1))

    def _start(self, t, run):
        run.life = "PENDING"
        run.started = run.attempt_start = t
        if run.queue_ms is not None:
            run.queue_ms = t - run.start
        run.queue_reason = None
        run.job.active.add(run.run_id)
        same_id = self.ws.same_id_submit(run)
        for spec in run.specs:
            task = TaskRun(run.run_id if same_id else self.ws.new_id(), spec, 0)
            self.ws.store.add_task(run, task)
        self.watch_timeout(run)
        self._release(t, run)
        self._check_end(t, run)

    def watch_timeout(self, run):
        if run.timeout_s > 0 and run.started:
            self.at(run.attempt_start + run.timeout_s * 1000, self._run_timeout, run, run.gen)

    def _next_in_queue(self, t, job):
        limit = job.settings.get("max_concurrent_runs", 1)
        while job.queued and len(job.active) < limit:
            self._start(t, job.queued.pop(0))

    def queue_changed(self, t, job):
        """The limit of the job may have been raised."""
        self._next_in_queue(t, job)

    # one task

    def _release(self, t, run):
        """Let every blocked task go whose upstream is through, or skip it."""
        moved = True
        while moved and run.stopping is None:
            moved = False
            for task in list(run.latest.values()):
                if task.life != "BLOCKED":
                    continue
                verdict = flow.verdict(task, run.latest)
                if verdict is None:
                    continue
                moved = True
                if verdict == "RUN":
                    self._pending(t, run, task)
                else:
                    flow.skip(task, verdict, t)

    def _pending(self, t, run, task):
        task.plan = self.ws.plan_for(run, task)
        task.life = "PENDING"
        task.start = t
        task.message = "Waiting for cluster"
        task.cluster = self.ws.cluster_for(run, task)
        plan = task.plan
        if plan["result"] == "INTERNAL_ERROR":
            self.at(t + plan["setup_ms"], self._broken, run, task, task.gen)
        elif plan["setup_ms"] >= 0:
            self.at(t + plan["setup_ms"], self._running, run, task, task.gen)
        timeout = task.spec.get("timeout_seconds", 0)
        if timeout > 0:
            self.at(t + timeout * 1000, self._task_timeout, run, task, task.gen, timeout)

    def _running(self, t, run, task, gen):
        if gen != task.gen:
            return
        task.setup_ms = t - task.start
        task.running_since = t
        task.life, task.message = "RUNNING", "In run"
        self._in_run(run)
        if task.kind == "for_each_task":
            task.inputs = foreach.inputs(run, task)
            self._iterate(t, run, task)
        elif task.plan["duration_ms"] >= 0:
            self.at(t + task.plan["duration_ms"], self._done, run, task, gen)

    def _iterate(self, t, run, loop):
        """Let as many iterations go as may run at once; the loop is through when all are."""
        if loop.life != "RUNNING":
            return
        values = loop.inputs or []
        free = foreach.concurrency(loop) - len(foreach.active(loop))
        following = len(foreach.newest(loop))
        for index in range(following, min(following + free, len(values))):
            one = TaskRun(self.ws.new_id(), foreach.spec_for(loop, values[index]), 0)
            self.ws.store.add_iteration(run, loop, index, one)
            self._pending(t, run, one)
        if not foreach.active(loop):
            loop.execution_ms = t - loop.running_since
            self._terminating(t, run, loop, foreach.ending(loop), loop.plan["cleanup_ms"])

    def _stop_iterations(self, t, task):
        for one in foreach.active(task):
            self._stop_clock(t, one)
            one.gen += 1
            flow.end(one, flow.ending("CANCELED", {}), t)

    @staticmethod
    def _in_run(run):
        if run.life == "PENDING":
            run.life, run.message = "RUNNING", "In run"

    def _done(self, t, run, task, gen):
        """The code is through; cleaning up."""
        if gen != task.gen:
            return
        task.execution_ms = t - task.running_since
        plan = task.plan
        if task.kind == "condition_task":
            task.outcome = flow.condition(task, plan)
        self._terminating(t, run, task, flow.ending(plan["result"], plan), plan["cleanup_ms"])

    def _task_timeout(self, t, run, task, gen, timeout):
        if gen != task.gen or task.life not in ("PENDING", "RUNNING"):
            return
        self._stop_clock(t, task)
        ending = flow.ending("TIMEDOUT", {"message": "Run exceeded the timeout of %d seconds." % timeout})
        self._terminating(t, run, task, ending, task.plan["cleanup_ms"])

    def _broken(self, t, run, task, gen):
        """The platform failed before any code ran."""
        if gen != task.gen:
            return
        task.setup_ms = t - task.start
        self._terminated(t, run, task, gen, flow.ending("INTERNAL_ERROR", task.plan))

    def _stop_clock(self, t, task):
        if task.life == "PENDING":
            task.setup_ms = t - task.start
        elif task.life == "RUNNING":
            task.execution_ms = t - task.running_since

    def _terminating(self, t, run, task, ending, cleanup_ms):
        task.gen += 1
        self._stop_iterations(t, task)
        task.life, task.message = "TERMINATING", "Terminating the run"
        task.pending_result = ending
        task.cleanup_ms = cleanup_ms
        task.by_user = ending["by_user"]
        self.at(t + cleanup_ms, self._terminated, run, task, task.gen, ending)

    def _terminated(self, t, run, task, gen, ending):
        if gen != task.gen:
            return
        task.gen += 1
        flow.end(task, ending, t)
        task.pending_result = None
        if run.stopping is None and flow.wants_retry(task):
            self._retry(t, run, task)
            return
        if task.loop is not None:
            self._iterate(t, run, task.loop)
            return
        self._release(t, run)
        self._check_end(t, run)

    def _retry(self, t, run, task):
        again = TaskRun(self.ws.new_id(), task.spec, task.attempt + 1, task.first_id)
        again.life, again.message = "WAITING_FOR_RETRY", "Waiting for the next attempt"
        if task.loop is None:
            self.ws.store.add_task(run, again)
        else:
            self.ws.store.add_iteration(run, task.loop, task.index, again)
        self.at(t + task.spec.get("min_retry_interval_millis", 0), self._retry_now, run, again, again.gen)

    def _retry_now(self, t, run, task, gen):
        if gen == task.gen and task.life == "WAITING_FOR_RETRY":
            self._pending(t, run, task)

    # the end of a run

    def _check_end(self, t, run):
        if run.life in TERMINAL or run.stopping is not None:
            return
        if any(task.life not in TERMINAL for task in run.latest.values()):
            return
        run.life, run.message = "TERMINATING", "Terminating the run"
        self.at(t + self.ws.settings["job_cleanup_ms"], self._run_end, run, run.gen)

    def _run_end(self, t, run, gen):
        if gen != run.gen:
            return
        if run.stopping is not None:
            ending = run.stopping
            for task in run.latest.values():
                if task.life in TERMINAL:
                    continue
                if task.start == 0:
                    flow.skip(task, "UPSTREAM_CANCELED", t)
                else:
                    flow.end(task, flow.ending("CANCELED", {"message": ending["message"]}), t)
                task.gen += 1
        else:
            ending = flow.run_ending(run)
        run.stopping = None
        run.gen += 1
        for name in ("life", "result", "message", "code", "ctype", "by_user"):
            setattr(run, name, ending[name])
        run.end = t
        run.run_ms += t - run.attempt_start
        run.job.active.discard(run.run_id)
        self.ws.store.moved(run)
        self._next_in_queue(t, run.job)

    # commands

    def stop(self, run, ending, t):
        """Cancel or time out: asynchronous, a no-op on a run that is over or already stopping."""
        if run.life in TERMINAL or run.stopping is not None:
            return
        if run in run.job.queued:
            run.job.queued.remove(run)
            run.queue_ms = t - run.start
        run.stopping = ending
        run.by_user = ending["by_user"]
        run.gen += 1
        run.life, run.message = "TERMINATING", "Terminating the run"
        for task in run.latest.values():
            if task.life in ("PENDING", "RUNNING"):
                self._stop_clock(t, task)
                self._stop_iterations(t, task)
                task.gen += 1
                task.cleanup_ms = self.ws.settings["cancel_ms"]
                task.by_user = True
                task.life, task.message = "TERMINATING", "Terminating the run"
        self.at(t + self.ws.settings["cancel_ms"], self._run_end, run, run.gen)

    def cancel(self, run, t):
        self.stop(run, flow.ending("CANCELED", {}), t)

    def _run_timeout(self, t, run, gen):
        if gen == run.gen and run.timeout_s > 0 and t >= run.attempt_start + run.timeout_s * 1000:
            self.stop(run, flow.ending("TIMEDOUT", {"message": "Run exceeded the timeout of %d seconds."
                                                    % run.timeout_s}), t)

    def cancel_task(self, run, task, t):
        newest = foreach.newest(task.loop) if task.loop else run.latest.values()
        if run.stopping is not None or not any(task is one for one in newest):
            return
        ending = flow.ending("CANCELED", {})
        if task.life in ("PENDING", "RUNNING"):
            self._stop_clock(t, task)
            self._terminating(t, run, task, ending, self.ws.settings["cancel_ms"])
        elif task.life in ("BLOCKED", "WAITING_FOR_RETRY"):
            self._terminated(t, run, task, task.gen, ending)

    def finish(self, run, task, plan, t):
        """A test decides how a task (or all tasks of a run) ends, now."""
        if task is None:
            run.forced = plan
            tasks = list(run.latest.values())
        else:
            tasks = [task]
        for one in tasks:
            if one.life not in ("PENDING", "RUNNING"):
                continue
            if one.kind == "for_each_task":
                if one.life == "PENDING":
                    self._running(t, run, one, one.gen)
                for iteration in foreach.active(one):
                    self.finish(run, iteration, plan, t)
                continue
            one.plan = dict(one.plan, **plan)
            if one.life == "PENDING":
                one.setup_ms = t - one.start
                one.running_since = t
                one.life = "RUNNING"
                self._in_run(run)
            one.gen += 1
            if one.plan["result"] == "INTERNAL_ERROR":
                self._broken(t, run, one, one.gen)
            else:
                self._done(t, run, one, one.gen)

    def repair(self, run, keys, specs, t):
        """Reopen a finished run; the named tasks run again under new ids."""
        store = self.ws.store
        store.adopt(run)
        run.repairs[-1:] = [flow.attempt_record(run, run.repairs[-1:])]
        repair_id = self.ws.new_id()
        run.repairs.append({"type": "REPAIR", "id": repair_id})
        run.gen += 1
        run.attempt_start, run.attempt_ids = t, []
        run.end = 0
        run.result = run.code = run.ctype = None
        run.by_user = False
        run.forced = None
        run.life, run.message = "PENDING", ""
        run.job.active.add(run.run_id)
        for key in keys:
            old = run.latest[key]
            attempt = old.attempt + 1 if self.ws.settings["repair_attempt_numbers"] == "increasing" else 0
            store.add_task(run, TaskRun(self.ws.new_id(), specs.get(key, old.spec), attempt, old.first_id))
        store.moved(run)
        self.watch_timeout(run)
        self._release(t, run)
        self._check_end(t, run)
        return repair_id
