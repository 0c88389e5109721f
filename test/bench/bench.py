"""bench.py: what the extension costs beside what people do instead.

Each workload is a function that measures both sides in one run, against the same
stand-in workspace, and reports a ratio; counts that do not depend on the machine
stand beside it.  Times are the best of several rounds.  Nothing here asserts: the
tests do that, of counts and never of times.

peers/ has what people use instead: a script with requests and psycopg2, the vendor's
JavaScript client with pg, COPY FROM PROGRAM 'curl' in PL/pgSQL.  One that is not
installed is left out.  With BENCH_JSON=file all figures go there as well.
"""

import base64
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "workspace"))
from harness import ADMIN, Client, Server  # noqa: E402

ROUNDS = 3


class Bench:
    def __init__(self):
        # JavaScript keeps numbers as doubles: with real ids the vendor's client finds no run
        self.workspace = Server("--set", 'ids="small"')
        self.port = self.workspace.port
        self.control = Client(self.port)
        self.sql("CREATE EXTENSION databricks")
        self.sql("SELECT databricks.connect('bench', host => 'http://127.0.0.1:%d', token => '%s', "
                 "server_options => '{\"rate_limit\": 0}')" % (self.port, ADMIN))
        self.sql("CREATE UNLOGGED TABLE peer_runs (run_id bigint, job_id bigint, run_name text, state text, result_state text, "
                 "start_time timestamptz, end_time timestamptz)")

    def sql(self, *statements):
        """Run statements in one session; the last line that psql prints."""
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"],
                              input=";\n".join(statements) + ";\n",
                              text=True, capture_output=True, env=dict(os.environ, PGOPTIONS="-c client_min_messages=warning"))
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout.strip().rsplit("\n", 1)[-1]

    def ms(self, statement, before=()):
        """Milliseconds one statement takes in the server, best of the rounds."""
        timed = ("SELECT clock_timestamp() AS begun \\gset\n%s;\n"
                 "SELECT extract(epoch FROM clock_timestamp() - :'begun') * 1000" % statement)
        return min(float(self.sql(*before, timed)) for _ in range(ROUNDS))

    def once(self, statement):
        """Milliseconds one statement takes in a new session, measured once: for what changes something."""
        return float(self.sql("SELECT clock_timestamp() AS begun \\gset\n%s;\nSELECT extract(epoch FROM clock_timestamp() - :'begun') * 1000" % statement))

    def do(self, method, path, body=None):
        return self.control.call(method, "/__control/" + path, body).json

    def calls(self, statement):
        """Requests that a statement sends."""
        before = self.do("GET", "counts")["total"]
        self.sql(statement)
        return self.do("GET", "counts")["total"] - before

    def slow(self, ms):
        """Let every answer of the API take so long."""
        self.do("DELETE", "faults")
        if ms:
            self.do("POST", "faults", {"path": "/api/2.2/*", "kind": "delay", "ms": ms, "count": None})

    def reset(self):
        self.do("POST", "reset", {})


def seconds(work):
    best = None
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        took = time.perf_counter() - begun
        best = took if best is None else min(best, took)
    return best


figures_of = {}


def report(name, **figures):
    figures_of.setdefault(name, []).append(figures)
    print("%-12s %s" % (name, "  ".join("%s=%s" % (key, value) for key, value in figures.items())), flush=True)


def many(bench):
    """400 calls at 50 ms: api_many, one after the other in SQL, and a script with 16 threads."""
    job = Client(bench.port).call("POST", "/api/2.2/jobs/create", {"name": "many", "tasks": [
        {"task_key": "a", "notebook_task": {"notebook_path": "/a"}}]}).json["job_id"]
    bench.slow(50)
    ours = bench.ms("SELECT count(response) FROM databricks.api_many((SELECT jsonb_agg(jsonb_build_object("
                    "'method', 'GET', 'path', '/api/2.2/jobs/get', 'body', jsonb_build_object('job_id', %d)))"
                    " FROM generate_series(1, 400)))" % job)
    single = bench.ms("SELECT count(databricks.get_job(%d)) FROM generate_series(1, 40)" % job) * 10

    def threads():
        def one(_):
            client = Client(bench.port)
            for _ in range(25):
                client.call("GET", "/api/2.2/jobs/get?job_id=%d" % job)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(one, range(16)))
    script = seconds(threads) * 1000
    bench.slow(0)
    ideal = 400 / 16 * 50
    report("many", ms=round(ours), over_ideal=round(ours / ideal, 2), one_by_one_over_ours=round(single / ours, 1),
           threads_over_ours=round(script / ours, 2), calls=400)


def pages_of(bench, query=""):
    """The list of runs page after page, as a script reads it: text and runs of each."""
    client, token = Client(bench.port), ""
    while token is not None:
        answer = client.call("GET", "/api/2.2/jobs/runs/list?limit=25" + query + token)
        page = answer.json
        yield answer.raw, page.get("runs", [])
        token = "&page_token=" + page["next_page_token"] if page.get("next_page_token") else None


def scan(bench):
    """10 000 runs at 50 ms a page: the table runs, and page after page by a script."""
    bench.reset()
    bench.do("POST", "seed", {"jobs": 20, "runs": 10000})
    bench.slow(50)
    statement = "SELECT count(run_id) FROM databricks.runs"
    ours = bench.ms(statement)

    begun = time.perf_counter()
    rows = sum(len(runs) for _, runs in pages_of(bench))
    assert rows == 10000, rows
    script = (time.perf_counter() - begun) * 1000
    bench.slow(0)
    report("scan", ms=round(ours), one_page_after_the_other_over_ours=round(script / ours, 1),
           calls=bench.calls(statement), pages_needed=400)


def tracking(bench):
    """Runs watched: calls and time of a sweep, and how soon the end of a run is known, with slow and quick calls."""
    client = Client(bench.port)

    def sweeps():
        return int(bench.sql("SELECT coalesce(max(sweeps), 0) FROM databricks.tracking"))

    for active in (10, 100, 1000):
        for ms in (0, 100):
            bench.reset()
            bench.do("POST", "settings", {"duration_ms": 3600000, "cleanup_ms": 0, "job_cleanup_ms": 0})
            job = client.call("POST", "/api/2.2/jobs/create", {"name": "tracked", "max_concurrent_runs": 1000, "tasks": [
                {"task_key": "a", "notebook_task": {"notebook_path": "/a"}}]}).json["job_id"]
            runs = [client.call("POST", "/api/2.2/jobs/run-now", {"job_id": job}).json["run_id"] for _ in range(active)]
            bench.slow(ms)
            bench.sql("SELECT databricks.track('bench', poll_interval => '10 s', backfill => '0')")
            while int(bench.sql("SELECT count(*) FROM databricks.active_runs")) < active or sweeps() < 2:
                time.sleep(0.1)

            # Another interval makes a sweep due at once.
            first, before, took, seen = sweeps(), bench.do("GET", "counts")["total"], 0.0, 0.0
            for interval in ("10001 ms", "10 s"):
                begun, count = time.perf_counter(), sweeps()
                bench.sql("SELECT databricks.track('bench', poll_interval => '%s', backfill => '0')" % interval)
                while sweeps() == count:
                    time.sleep(0.01)
                took = max(took, time.perf_counter() - begun)
            looks, calls = sweeps() - first, bench.do("GET", "counts")["total"] - before
            ends = []
            for run in runs[:3]:
                begun = time.perf_counter()
                bench.do("POST", "finish", {"run_id": run})
                while bench.sql("SELECT state FROM databricks.run_history WHERE run_id = %d" % run) != "TERMINATED":
                    time.sleep(0.02)
                ends.append(time.perf_counter() - begun)
            bench.slow(0)
            report("tracking", active=active, ms_per_call=ms, calls_per_sweep=round(calls / looks, 1), one_poll_per_run=active,
                   sweep_s=round(took, 2), end_known_after_s="%.1f..%.1f" % (min(ends), max(ends)))
            bench.sql("SELECT databricks.untrack('bench')")
            bench.sql("TRUNCATE databricks.run_history, databricks.task_history, databricks.run_transitions, databricks.history_fetches")


def backfill(bench):
    """100 000 runs read back at 50 ms a call without the limiter, with it at 30 calls a second for 20 s; memory of the worker."""
    bench.reset()
    bench.do("POST", "seed", {"jobs": 100, "runs": 100000, "days": 59})

    def worker():
        """Memory of its own in kB, without what it shares, and seconds of processor."""
        pid = bench.sql("SELECT max(pid) FROM databricks.stat_worker")
        try:
            with open("/proc/%s/statm" % pid) as statm, open("/proc/%s/stat" % pid) as stat:
                pages, ticks = statm.read().split(), stat.read().rsplit(")", 1)[1].split()
            return (int(pages[1]) - int(pages[2])) * 4, (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            return 0, 0
    bench.slow(50)
    for limit in ("0", "1"):
        bench.sql("ALTER SERVER bench OPTIONS (SET rate_limit '%s')" % limit)
        before, memory, cpu, begun = bench.do("GET", "counts")["total"], 0, 0, time.perf_counter()
        bench.sql("SELECT databricks.track('bench', poll_interval => '1 hour')")
        while True:
            own, cpu = worker()
            memory = max(memory, own)
            took = time.perf_counter() - begun
            if limit == "1" and took > 20 or bench.sql("SELECT backfill_finished_at IS NOT NULL FROM databricks.tracking") == "t":
                break
            time.sleep(0.2)
        calls = bench.do("GET", "counts")["total"] - before
        runs = int(bench.sql("SELECT count(*) FROM databricks.run_history"))
        bench.sql("SELECT databricks.untrack('bench')")
        report("backfill", limited=limit, runs=runs, seconds=round(took, 1), calls=calls, calls_per_second=round(calls / took, 1),
               worker_kb=memory, worker_cpu_s=round(cpu, 1))
        while int(bench.sql("SELECT count(*) FROM databricks.stat_worker")):
            time.sleep(0.1)
        bench.sql("TRUNCATE databricks.run_history, databricks.task_history, databricks.run_transitions, databricks.history_fetches")
    bench.slow(0)
    bench.sql("ALTER SERVER bench OPTIONS (SET rate_limit '0')")


def visibility(bench):
    """500 000 runs, read through the row policy by a role with USAGE on one workspace, and without the policy by a superuser."""
    bench.reset()
    bench.sql("CREATE SERVER other FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://127.0.0.1:9')",
              "CREATE ROLE reader", "GRANT USAGE ON FOREIGN SERVER bench TO reader",
              "INSERT INTO databricks.run_history (workspace, run_id, job_id, state, result_state, life_cycle_state, start_time, end_time,"
              " first_seen_at, updated_at) SELECT CASE WHEN i % 10 = 0 THEN 'other' ELSE 'bench' END, i, i % 200, 'TERMINATED', 'SUCCESS',"
              " 'TERMINATED', now() - i * interval '10 s', now() - i * interval '10 s' + interval '1 min', now(), now()"
              " FROM generate_series(1, 500000) AS i",
              "CREATE TABLE business (day int, workspace text, run_id bigint, FOREIGN KEY (workspace, run_id) REFERENCES databricks.run_history)",
              "VACUUM ANALYZE databricks.run_history")
    for name, statement in (("one_run", "SELECT count(*) FROM databricks.run_history WHERE workspace = 'bench' AND run_id = 4711"),
                            ("last_day", "SELECT count(*) FROM databricks.run_history WHERE start_time > now() - interval '1 day'"),
                            ("all", "SELECT count(*) FROM databricks.run_history"),
                            ("stats", "SELECT count(*) FROM databricks.run_stats")):
        all_rows = bench.ms(statement)
        visible = bench.ms(statement, ["SET ROLE reader"])
        report("visibility", query=name, ms=round(visible, 1), without_policy_ms=round(all_rows, 1))
    report("visibility", query="100_000_rows_with_foreign_keys", ms=round(bench.ms(
        "INSERT INTO business SELECT i, CASE WHEN i % 10 = 0 THEN 'other' ELSE 'bench' END, i FROM generate_series(1, 100000) AS i", ["TRUNCATE business"]), 1))
    bench.sql("DROP TABLE business", "DROP OWNED BY reader", "DROP ROLE reader", "DROP SERVER other CASCADE")
    bench.sql("TRUNCATE databricks.run_history")


def latency(bench):
    """One call to a quick service: a warm session, a new session, and a script that connects anew."""
    bench.reset()
    warm = bench.ms("SELECT count(databricks.api('GET', '/api/2.2/jobs/list')) FROM generate_series(1, 200)",
                    ["SELECT databricks.api('GET', '/api/2.2/jobs/list')"]) / 200

    def anew():
        for _ in range(200):
            client = Client(bench.port)
            client.call("GET", "/api/2.2/jobs/list")
            client.close()
    script = seconds(anew) * 1000 / 200
    report("latency", ms_per_call=round(warm, 3), new_connection_over_ours=round(script / warm, 1))


def memory(bench):
    """Memory of one backend after 1 000 and after 100 000 calls."""
    bench.reset()
    resident = ("SELECT (string_to_array(pg_read_file('/proc/' || pg_backend_pid() || '/statm'), ' '))[2]::int * 4")
    psql = subprocess.Popen(["psql", "-X", "-q", "-A", "-t"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(statement):
        psql.stdin.write(statement + ";\n")
        psql.stdin.flush()
        return int(psql.stdout.readline())

    def call(times):
        for _ in range(times // 1000):
            ask("SELECT count(databricks.api('GET', '/api/2.2/jobs/list')) FROM generate_series(1, 1000)")
    call(1000)
    first = ask(resident)
    call(100000)
    last = ask(resident)
    psql.stdin.close()
    psql.wait()
    report("memory", kb_after_1000=first, kb_grown_by_100000=last - first)


def files(bench):
    """100 MB to a volume and to DBFS and back: curl with the same calls, one after the other (1: as quick as curl)."""
    bench.reset()
    size, block = 100 * 1000 * 1000, 1024 * 1024
    url = "http://127.0.0.1:%d/api/2.0/" % bench.port
    path = "/Volumes/main/default/landing/bench"
    bench.sql("DROP TABLE IF EXISTS content", "CREATE TABLE content (bytes bytea)",
              "ALTER TABLE content ALTER bytes SET STORAGE EXTERNAL",
              "INSERT INTO content SELECT string_agg(sha512(n::text::bytea), '') FROM generate_series(1, %d) AS n" % (size // 64))
    with tempfile.TemporaryDirectory() as folder:
        whole = os.path.join(folder, "whole")
        data = os.urandom(size)
        with open(whole, "wb") as f:
            f.write(data)
        blocks = []
        for at in range(0, size, block):
            blocks.append(os.path.join(folder, str(at)))
            with open(blocks[-1], "w") as f:
                f.write('{"handle": HANDLE, "data": "%s"}' % base64.b64encode(data[at:at + block]).decode())

        def curl(*requests):
            """All requests (lines of a configuration each) by one curl."""
            common = ["silent", "output = \"%s\"" % os.devnull, 'header = "Authorization: Bearer %s"' % ADMIN]
            text = "\nnext\n".join("\n".join(common + list(r)) for r in requests)
            subprocess.run(["curl", "-K", "-"], input=text, text=True, check=True)

        def dbfs_up():
            client = Client(bench.port, version="2.0")
            handle = client.ok("POST", "/dbfs/create", {"path": "/bench", "overwrite": True})["handle"]
            client.close()
            for name in blocks:
                with open(name, "r+") as f:
                    # the handle has as many digits as fit; blanks mean nothing in JSON
                    f.write('{"handle":%-18d,"data": "' % handle)
            begun = time.perf_counter()
            curl(*[('url = "%sdbfs/add-block"' % url, 'data-binary = "@%s"' % name) for name in blocks])
            return time.perf_counter() - begun

        # room for a handle of any length
        for name in blocks:
            with open(name, "r+") as f:
                text = f.read()
                f.seek(0)
                f.write(text.replace('{"handle": HANDLE, "data": "', '{"handle":%-18d,"data": "' % 0))
        there = [seconds(lambda: curl(('url = "%sfs/files%s?overwrite=true"' % (url, path), 'upload-file = "%s"' % whole))),
                 seconds(lambda: curl(('url = "%sfs/files%s"' % (url, path),))),
                 min(dbfs_up() for _ in range(ROUNDS)),
                 seconds(lambda: curl(*[('url = "%sdbfs/read?path=/bench&offset=%d&length=%d"' % (url, at, block),)
                                        for at in range(0, size, block)]))]
    ours = []
    for place in (path, "dbfs:/bench2"):
        ours.append(bench.ms("SELECT databricks.upload_file('%s', bytes, true) FROM content" % place) / 1000)
        ours.append(bench.ms("SELECT length(databricks.download_file('%s'))" % place) / 1000)
    report("files", **{name + "_speed": round(t / o, 2) for name, t, o in
                       zip(("volume_up", "volume_down", "dbfs_up", "dbfs_down"), there, ours)})


def peers(bench):
    """What is installed here, as name -> function(task, job, arguments...) -> milliseconds."""
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
    modules = os.path.join(os.environ.get("BENCH_CACHE", ""), "node_modules")
    python = "/usr/bin/python3"

    def program(*command):
        def run(task, job, *arguments):
            env = dict(os.environ, WORKSPACE_URL="http://127.0.0.1:%d" % bench.port, WORKSPACE_TOKEN=ADMIN,
                       WORKSPACE_JOB=str(job), NODE_PATH=modules)
            done = subprocess.run(command + (task,) + tuple(str(a) for a in arguments), env=env, text=True, capture_output=True)
            if done.returncode:
                sys.exit("%s %s: %s" % (command[-1], task, done.stderr))
            return float(done.stdout.strip().rsplit("\n", 1)[-1])
        return run

    found = {}
    if not subprocess.run([python, "-c", "import psycopg2, requests"], capture_output=True).returncode:
        found["script"] = program(python, os.path.join(here, "script.py"))
    if shutil.which("node") and os.path.isdir(os.path.join(modules, "@databricks")):
        found["sdk"] = program("node", os.path.join(here, "sdk.js"))
    if shutil.which("curl"):
        with open(os.path.join(here, "curl.sql")) as f:
            bench.sql(f.read().strip().rstrip(";"))

        def curl(task, job, *arguments):
            url = "http://127.0.0.1:%d" % bench.port
            statement = {
                "history": "CALL curl_history('%s', '%s')" % (url, ADMIN),
                "last": "CALL curl_history('%s', '%s', %s)" % (url, ADMIN, arguments[0] if arguments else 0),
                "run_now": "SELECT count(curl('POST', '%s/api/2.2/jobs/run-now', '%s', "
                           "json_build_object('job_id', %d, 'idempotency_token', random()::text || n)::text)) FROM generate_series(1, %s) AS n"
                           % (url, ADMIN, job, arguments[0] if arguments else 0),
            }
            statement["trigger"] = statement["run_now"]
            return bench.once(statement[task])
        found["curl"] = curl
    return found


def compare(bench, name, what, ours, others, rows=None, each=1):
    """Measure ours and all others once, check what they have brought, print a table."""
    print("%s: %s" % (name, what), flush=True)
    base = None
    for who, work in [("extension", ours)] + others:
        bench.sql("TRUNCATE peer_runs")
        before = bench.do("GET", "counts")["total"]
        ms = work()
        calls = bench.do("GET", "counts")["total"] - before
        if rows is not None and int(bench.sql("SELECT count(DISTINCT run_id) FROM peer_runs")) != rows:
            sys.exit("%s, %s: not the rows that there are" % (name, who))
        base = ms if base is None else base
        figures_of.setdefault(name, []).append(
            {"what": what, "who": who, "ms": round(ms / each, 2), "over_ours": round(ms / base, 2), "calls": calls})
        print("    %-22s %12.2f ms %8.1f times  %6d calls" % (who, ms / each, ms / base, calls), flush=True)


HISTORY = "INSERT INTO peer_runs SELECT run_id, job_id, run_name, state, result_state, start_time, end_time FROM databricks.runs"
# more than this many milliseconds of pure waiting for pages, one after the other, only when asked for
PATIENCE = 30000


def history(bench):
    """All runs of a workspace into a table (BENCH_LONG=1: also where page after page takes minutes)."""
    others = peers(bench)
    for runs in (10000, 100000):
        bench.reset()
        bench.do("POST", "seed", {"jobs": 20, "runs": runs})
        for ms in (0, 20, 100):
            slow = runs / 25 * ms > PATIENCE and not os.environ.get("BENCH_LONG")
            bench.slow(ms)
            programs = []
            if "script" in others:
                if not slow:
                    programs.append(("script", lambda: others["script"]("history", 0, 1)))
                programs.append(("script, 16 threads", lambda: others["script"]("history", 0, 16)))
            programs += [(who, lambda who=who: others[who]("history", 0)) for who in ("sdk", "curl") if who in others and not slow]
            compare(bench, "history", "%d runs, %d ms a page" % (runs, ms), lambda: bench.once(HISTORY), programs, rows=runs)
            bench.slow(0)


def last(bench):
    """The last 10 runs of 10 000 at 50 ms; the others take the service's order, which need not be that of start_time."""
    others = peers(bench)
    bench.reset()
    bench.do("POST", "seed", {"jobs": 20, "runs": 10000})
    bench.slow(50)
    compare(bench, "last", "10 runs, 50 ms a page", lambda: bench.once(HISTORY + " ORDER BY start_time DESC LIMIT 10"),
            [(who, lambda who=who: others[who]("last", 0, 10)) for who in others], rows=10)
    bench.slow(0)


def some_job(bench, name):
    return Client(bench.port).call("POST", "/api/2.2/jobs/create", {"name": name, "max_concurrent_runs": 1000, "tasks": [
        {"task_key": "a", "notebook_task": {"notebook_path": "/a"}}]}).json["job_id"]


def requests(bench):
    """1 000 runs started at 50 ms a call: requests of one transaction until the last is triggered, and calls by the others."""
    others = peers(bench)
    bench.reset()
    bench.do("POST", "settings", {"duration_ms": 3600000})
    job = some_job(bench, "triggered")
    bench.slow(50)

    def ours():
        begun = time.perf_counter()
        bench.sql("SELECT count(databricks.enqueue_run_now(%d)) FROM generate_series(1, 1000)" % job)
        while int(bench.sql("SELECT count(*) FROM databricks.run_requests WHERE run_id IS NULL")):
            time.sleep(0.05)
        return (time.perf_counter() - begun) * 1000
    programs = []
    for who, tasks in (("script", (1, 16)), ("sdk", (1, 16)), ("curl", (1,))):
        if who in others:
            programs += [("%s, %d at once" % (who, n), lambda who=who, n=n: others[who]("trigger", job, 1000, n)) for n in tasks]
    compare(bench, "requests", "1000 runs, 50 ms a call", ours, programs)
    bench.slow(0)
    # what is not at its end would be looked after beside the next workload
    bench.sql("SELECT count(databricks.cancel_request(request_id)) FROM databricks.run_requests WHERE finished_at IS NULL")
    while int(bench.sql("SELECT count(*) FROM databricks.run_requests WHERE finished_at IS NULL")):
        time.sleep(0.1)
    bench.reset()


def run_now(bench):
    """run_now 200 times, one after the other, each call on a fresh connection here (a change is never sent twice unseen)."""
    others = peers(bench)
    bench.reset()
    bench.do("POST", "settings", {"duration_ms": 3600000})
    job = some_job(bench, "run_now")
    compare(bench, "run_now", "one call, mean of 200", lambda: bench.once("SELECT count(databricks.run_now(%d)) FROM generate_series(1, 200)" % job),
            [(who, lambda who=who: others[who]("run_now", job, 200)) for who in others], each=200)
    bench.reset()


def tracked(bench):
    """1 000 active runs watched: calls in a minute, and how long after its end a run is known to have ended."""
    bench.reset()
    bench.do("POST", "settings", {"duration_ms": 3600000})
    job = some_job(bench, "tracked")
    client = Client(bench.port)
    runs = [client.call("POST", "/api/2.2/jobs/run-now", {"job_id": job}).json["run_id"] for _ in range(1000)]
    bench.sql("SELECT databricks.track('bench', poll_interval => '10 s', backfill => '0')")
    while int(bench.sql("SELECT count(*) FROM databricks.active_runs")) < 1000:
        time.sleep(0.2)
    before = bench.do("GET", "counts")["total"]
    time.sleep(60)
    calls = bench.do("GET", "counts")["total"] - before
    for run in runs[:20]:
        bench.do("POST", "finish", {"run_id": run})
        time.sleep(0.7)
    ended = "run_id = ANY ('{%s}') AND state = 'TERMINATED'" % ",".join(str(run) for run in runs[:20])
    while int(bench.sql("SELECT count(*) FROM databricks.run_history WHERE " + ended)) < 20:
        time.sleep(0.1)
    mean, worst = bench.sql("SELECT avg(d), max(d) FROM (SELECT extract(epoch FROM t.observed_at - h.end_time) AS d FROM databricks.run_transitions t "
                            "JOIN databricks.run_history h USING (workspace, run_id) WHERE t.state = 'TERMINATED' AND %s) AS x"
                            % ended.replace("run_id", "t.run_id").replace("state =", "h.state =")).split("|")
    bench.sql("SELECT databricks.untrack('bench')")
    report("tracked", calls_per_minute=calls, a_poll_of_each_run_every_10_s=6000, detected_after_mean_s=round(float(mean), 1), worst_s=round(float(worst), 1))
    bench.reset()


# Columns of a run row, and the query of the page that has them all.
RUN_ROWS = (("no_jsonb", "run_id, job_id, run_name, state, result_state, start_time, end_time, run_page_url", ""),
            ("all_columns", "*", "&expand_tasks=true"))


def read_rows(columns):
    return "SELECT count(r) FROM (SELECT %s FROM databricks.runs OFFSET 0) AS r" % columns


def texts_of(bench, query):
    """All pages of the list of runs, a line each: what a scan of it has to parse."""
    return b"".join(text.strip() + b"\n" for text, _ in pages_of(bench, query))


def build_parser(folder):
    """A program that parses the lines of its input so many times with cJSON alone."""
    parse = os.path.join(folder, "parse")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parse.c")
    subprocess.run(["cc", "-O2", "-o", parse, source, "-lcjson"], check=True)
    return parse


def cpu(bench):
    """CPU time of a backend per run row, network and all, beside what cJSON alone needs for the same text."""
    bench.reset()
    bench.do("POST", "seed", {"jobs": 20, "runs": 10000})
    spent = "(string_to_array(pg_read_file('/proc/' || pg_backend_pid() || '/schedstat'), ' '))[1]::bigint"
    with tempfile.TemporaryDirectory() as folder:
        parse = build_parser(folder)
        for what, columns, query in RUN_ROWS:
            pages = texts_of(bench, query)
            alone = min(int(subprocess.run([parse, "5"], input=pages, capture_output=True, check=True).stdout) for _ in range(ROUNDS)) / 10000
            statement = read_rows(columns)
            ours = min(int(bench.sql(statement, "SELECT %s AS begun \\gset\n%s;\nSELECT %s - :begun" % (spent, statement, spent))) for _ in range(ROUNDS)) / 10000
            report("cpu", columns=what, text_bytes=len(pages) // 10000, us_per_row=round(ours / 1000, 1), cjson_alone_us=round(alone / 1000, 1),
                   over_cjson=round(ours / alone, 1))


def instructions(bench):
    """Instructions per run row, network and all, counted by callgrind in a server of one process, beside cJSON alone; needs valgrind."""
    if not shutil.which("valgrind"):
        print("instructions left out: there is no valgrind")
        return
    with tempfile.TemporaryDirectory() as folder:
        data, out = os.path.join(folder, "data"), os.path.join(folder, "callgrind")

        def count(command, text):
            subprocess.run(["valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=" + out] + command, input=text, capture_output=True, check=True)
            with open(out) as f:
                return int(next(line for line in f if line.startswith(("summary:", "totals:"))).split()[1])

        server = ["postgres", "--single", "-D", data, "-c", "fsync=off", "postgres"]
        subprocess.run(["initdb", "-D", data, "-A", "trust", "-N"], check=True, capture_output=True)
        subprocess.run(server, text=True, check=True, capture_output=True, input="CREATE EXTENSION databricks\n"
                       "SELECT databricks.connect('bench', host => 'http://127.0.0.1:%d', token => '%s', "
                       "server_options => '{\"rate_limit\": 0, \"max_parallel\": 1}')\n" % (bench.port, ADMIN))
        parse = build_parser(folder)
        for what, columns, query in RUN_ROWS:
            def both(rows):
                bench.reset()
                bench.do("POST", "seed", {"jobs": 20, "runs": rows})
                return count(server, (read_rows(columns) + "\n").encode()), count([parse], texts_of(bench, query))
            few, many = both(500), both(2500)
            # what it takes to begin is in both figures
            row, alone = ((many[i] - few[i]) / 2000 for i in range(2))
            report("instructions", columns=what, per_row=round(row), cjson_alone=round(alone), over_cjson=round(row / alone, 1))


def trigger(bench):
    """INSERT and COMMIT of one row, 1 000 times: a table with the statement trigger beside one without (medians)."""
    bench.reset()
    job = Client(bench.port).call("POST", "/api/2.2/jobs/create", {"name": "triggered", "max_concurrent_runs": 1000, "tasks": [
        {"task_key": "a", "notebook_task": {"notebook_path": "/a"}}]}).json["job_id"]
    bench.sql("DROP TABLE IF EXISTS bare, watched, taken",
              "CREATE TABLE bare (n int)", "CREATE TABLE watched (n int)", "CREATE TABLE taken (what text, ms float8)",
              "CREATE TRIGGER run AFTER INSERT ON watched FOR EACH STATEMENT"
              " EXECUTE FUNCTION databricks.run_job_on_change('%d', 'bench')" % job)
    # one after the other, so that whatever else the machine does falls on both
    bench.sql("""DO $$
        DECLARE t timestamptz; last timestamptz;
        BEGIN
            FOR i IN 1..1000 LOOP
                t := clock_timestamp();
                INSERT INTO bare VALUES (i); COMMIT;
                last := clock_timestamp();
                INSERT INTO taken VALUES ('bare', extract(epoch FROM last - t) * 1000); COMMIT;
                t := clock_timestamp();
                INSERT INTO watched VALUES (i); COMMIT;
                last := clock_timestamp();
                INSERT INTO taken VALUES ('watched', extract(epoch FROM last - t) * 1000); COMMIT;
            END LOOP;
        END $$""")
    bare, watched = (float(bench.sql("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FROM taken WHERE what = '%s'" % what))
                     for what in ("bare", "watched"))
    report("trigger", ms_more=round(watched - bare, 3), bare_ms=round(bare, 3), watched_ms=round(watched, 3))


WORKLOADS = {work.__name__: work for work in (
    latency, run_now, many, scan, last, history, requests, trigger, tracking, tracked, backfill, visibility, cpu, instructions, memory, files)}


def main():
    names = sys.argv[1:] or list(WORKLOADS)
    for name in names:
        if name not in WORKLOADS:
            sys.exit("no workload %s; there are: %s" % (name, ", ".join(WORKLOADS)))
    bench = Bench()
    try:
        for name in names:
            print("# %s" % WORKLOADS[name].__doc__)
            WORKLOADS[name](bench)
    finally:
        bench.workspace.close()
        if os.environ.get("BENCH_JSON"):
            with open(os.environ["BENCH_JSON"], "w") as f:
                json.dump(figures_of, f, indent=1)


if __name__ == "__main__":
    main()
