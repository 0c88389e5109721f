"""script.py: what people write today, with requests and psycopg2.

    script.py history THREADS | last COUNT | trigger COUNT THREADS | run_now COUNT
              | poll RUNS... (one runs/get each, for ever, every 10 s)

The workspace is in WORKSPACE_URL and WORKSPACE_TOKEN, the database in PG*.  Prints
the milliseconds the work took, without starting and connecting; rows go into table
peer_runs(run_id, job_id, run_name, state, result_state, start_time, end_time).
"""

import concurrent.futures
import os
import sys
import threading
import time

import psycopg2
import psycopg2.extras
import requests

URL = os.environ["WORKSPACE_URL"] + "/api/2.2/jobs/"
local = threading.local()


def session():
    if not hasattr(local, "session"):
        local.session = requests.Session()
        local.session.headers["Authorization"] = "Bearer " + os.environ["WORKSPACE_TOKEN"]
    return local.session


def call(method, path, **arguments):
    answer = session().request(method, URL + path, timeout=60, **arguments)
    answer.raise_for_status()
    return answer.json()


def row(run):
    status = run.get("status") or {}
    return (run["run_id"], run["job_id"], run.get("run_name"), status.get("state"), run.get("state", {}).get("result_state"),
            run.get("start_time"), run.get("end_time"))


def store(connection, rows):
    with connection.cursor() as cursor:
        psycopg2.extras.execute_values(
            cursor, "INSERT INTO peer_runs VALUES %s", rows, page_size=1000,
            template="(%s, %s, %s, %s, %s, to_timestamp(%s / 1000.0), to_timestamp(%s / 1000.0))")
    connection.commit()


def pages(**query):
    while True:
        page = call("GET", "runs/list", params=dict(query, limit=25))
        yield [row(run) for run in page.get("runs", [])]
        if not page.get("next_page_token"):
            return
        query["page_token"] = page["next_page_token"]


def history(connection, threads):
    if threads == 1:
        for rows in pages():
            store(connection, rows)
        return
    # page after page is all a token allows: threads can only share out days
    now, hour = int(time.time() * 1000), 3600 * 1000
    windows = [(start, start + 12 * hour - 1) for start in range(now - 61 * 24 * hour, now + 48 * hour, 12 * hour)]

    def window(limits):
        return [r for rows in pages(start_time_from=limits[0], start_time_to=limits[1]) for r in rows]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for rows in pool.map(window, windows):
            if rows:
                store(connection, rows)


def run_now(job, number):
    return call("POST", "run-now", json={"job_id": job, "idempotency_token": "peer %s %s %d" % (os.getpid(), time.time(), number)})["run_id"]


def main():
    task, arguments = sys.argv[1], [int(a) for a in sys.argv[2:]]
    connection = psycopg2.connect("")
    job = int(os.environ.get("WORKSPACE_JOB", 0))
    begun = time.perf_counter()
    if task == "history":
        history(connection, arguments[0])
    elif task == "last":
        found = call("GET", "runs/list", params={"limit": arguments[0]})
        store(connection, [row(run) for run in found["runs"]])
    elif task == "trigger":
        with concurrent.futures.ThreadPoolExecutor(arguments[1]) as pool:
            list(pool.map(lambda n: run_now(job, n), range(arguments[0])))
    elif task == "run_now":
        for n in range(arguments[0]):
            run_now(job, n)
    print((time.perf_counter() - begun) * 1000)


main()
