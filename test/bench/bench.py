"""bench.py: what the extension costs beside what people do instead.

Each workload is a function that measures both sides in one run, against the same
stand-in workspace, and reports a ratio; counts that do not depend on the machine
stand beside it.  Times are the best of several rounds.  Nothing here asserts: the
tests do that, of counts and never of times.
"""

import base64
import concurrent.futures
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "workspace"))
from harness import ADMIN, Client, Server  # noqa: E402

ROUNDS = 3


class Bench:
    def __init__(self):
        self.workspace = Server()
        self.port = self.workspace.port
        self.control = Client(self.port)
        self.sql("CREATE EXTENSION databricks")
        self.sql("SELECT databricks.connect('bench', host => 'http://127.0.0.1:%d', token => '%s', "
                 "server_options => '{\"rate_limit\": 0}')" % (self.port, ADMIN))

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


def report(name, **figures):
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


def scan(bench):
    """10 000 runs at 50 ms a page: the table runs, and page after page by a script."""
    bench.reset()
    bench.do("POST", "seed", {"jobs": 20, "runs": 10000})
    bench.slow(50)
    statement = "SELECT count(run_id) FROM databricks.runs"
    ours = bench.ms(statement)

    def pages():
        client, token, rows = Client(bench.port), "", 0
        while token is not None:
            page = client.call("GET", "/api/2.2/jobs/runs/list?limit=25" + token).json
            rows += len(page.get("runs", []))
            token = "&page_token=" + page["next_page_token"] if page.get("next_page_token") else None
        assert rows == 10000, rows
    begun = time.perf_counter()
    pages()
    script = (time.perf_counter() - begun) * 1000
    bench.slow(0)
    report("scan", ms=round(ours), one_page_after_the_other_over_ours=round(script / ours, 1),
           calls=bench.calls(statement), pages_needed=400)


def tracking(bench):
    """200 runs watched for ten looks: calls of the tracker and of one poll per run."""
    bench.reset()
    bench.do("POST", "settings", {"duration_ms": 3600000})
    client = Client(bench.port)
    job = client.call("POST", "/api/2.2/jobs/create", {"name": "tracked", "max_concurrent_runs": 1000, "tasks": [
        {"task_key": "a", "notebook_task": {"notebook_path": "/a"}}]}).json["job_id"]
    for _ in range(200):
        client.call("POST", "/api/2.2/jobs/run-now", {"job_id": job})
    bench.sql("SELECT databricks.track('bench', poll_interval => '500 ms')")

    def sweeps():
        return int(bench.sql("SELECT coalesce(max(sweeps), 0) FROM databricks.tracking"))
    while int(bench.sql("SELECT count(*) FROM databricks.active_runs")) < 200:
        time.sleep(0.1)
    first, before = sweeps(), bench.do("GET", "counts")["total"]
    while sweeps() < first + 10:
        time.sleep(0.1)
    looks, calls = sweeps() - first, bench.do("GET", "counts")["total"] - before
    bench.sql("SELECT databricks.untrack('bench')")
    report("tracking", calls_per_look=round(calls / looks, 1), one_poll_per_run=200,
           per_run_over_ours=round(200 * looks / calls, 1))


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


def requests(bench):
    """1 000 requests of one commit at 50 ms a call, no rate limit, until the last one's run is known; beside a script with 16 threads."""
    bench.reset()
    bench.do("POST", "settings", {"duration_ms": 3600000})
    job = Client(bench.port).call("POST", "/api/2.2/jobs/create", {"name": "asked for", "max_concurrent_runs": 1000, "tasks": [
        {"task_key": "a", "notebook_task": {"notebook_path": "/a"}}]}).json["job_id"]
    bench.slow(50)
    begun = time.perf_counter()
    bench.sql("SELECT count(databricks.enqueue_run_now(%d)) FROM generate_series(1, 1000)" % job)
    asked = time.perf_counter() - begun
    while bench.sql("SELECT count(*) FROM databricks.run_requests WHERE job_id = %d AND run_id IS NULL" % job) != "0":
        time.sleep(0.05)
    ours = time.perf_counter() - begun

    def threads():
        def one(_):
            client = Client(bench.port)
            for _ in range(1000 // 16):
                client.call("POST", "/api/2.2/jobs/run-now", {"job_id": job})
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(one, range(16)))
    begun = time.perf_counter()
    threads()
    script = time.perf_counter() - begun
    bench.slow(0)
    report("requests", seconds=round(ours, 2), of_which_enqueuing=round(asked, 2), threads_over_ours=round(script / ours, 2),
           runs=bench.sql("SELECT count(DISTINCT run_id) FROM databricks.run_requests WHERE job_id = %d" % job))


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


WORKLOADS = {work.__name__: work for work in (latency, many, scan, tracking, memory, files, requests, trigger)}


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


if __name__ == "__main__":
    main()
