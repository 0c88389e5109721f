#!/usr/bin/env python3
"""measure.py: how quick the stand-in workspace is with 100 000 runs.

Not a test: prints seeding time, memory, and milliseconds for a page of 25 runs
over one keep-alive connection, as the client sees it and as the server
journals it.
"""

import statistics
import time

from harness import Client, Server


def rss_mb(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def series(c, url, count=300):
    times = []
    token = ""
    for _ in range(count):
        at = time.perf_counter()
        page = c.api("GET", url + (token and "&page_token=" + token))
        times.append((time.perf_counter() - at) * 1000)
        token = page.json.get("next_page_token", "")
    server = [e["ms"] for e in c.control("GET", "journal?limit=%d" % count)["entries"]]
    return statistics.median(times), max(times), statistics.median(server), len(page.raw)


def main():
    s = Server()
    c = Client(s.port)
    print("memory empty %.0f MB" % rss_mb(s.process.pid))
    at = time.perf_counter()
    made = c.control("POST", "seed", {"jobs": 500, "runs": 100000})
    print("seeding 100000 runs %.2f s, memory %.0f MB" % (time.perf_counter() - at, rss_mb(s.process.pid)))
    first = made["first_start_time"]
    job = made["job_ids"][0]
    for name, url in (
            ("all", "/jobs/runs/list?limit=25"), ("expanded", "/jobs/runs/list?limit=25&expand_tasks=true"),
            ("one job", "/jobs/runs/list?limit=25&job_id=%d" % job),
            ("completed only", "/jobs/runs/list?limit=25&completed_only=true"),
            ("old range", "/jobs/runs/list?limit=25&start_time_from=%d&start_time_to=%d"
             % (first + 86400000, first + 6 * 86400000)),
            ("jobs of 100", "/jobs/list?limit=100"), ("runs/get", "/jobs/runs/get?run_id=%d" % made["first_run_id"])):
        mid, worst, server, size = series(c, url)
        print("%-15s client median %.2f ms, max %.2f ms; server median %.2f ms; last body %d bytes"
              % (name, mid, worst, server, size))
    c.close()
    s.close()


if __name__ == "__main__":
    main()
