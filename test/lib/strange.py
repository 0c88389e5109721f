#!/usr/bin/env python3
"""strange.py: a service that lists runs and jobs in ways its documents do not tell of.

Separate from the stand-in workspace, which behaves as the real one does: here order,
lengths of pages, meaning of bounds and parameters that are taken notice of can be
chosen, and runs change places between any two requests.  GET /set?name=value&...
chooses and makes the data anew; the port is printed first.
"""

import json
import random
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

NOW = 1790000000000
BIG = 9007199254740993      # beyond what a double holds
DEFAULTS = {"runs": "0", "days": "30", "order": "end", "pages": "25", "bounds": "inclusive", "ignore": "",
            "moves": "0", "again": "0", "flip": "0", "bare": "0"}


class Service:
    def __init__(self):
        self.lock = threading.Lock()
        self.make({})

    def make(self, options):
        self.options = dict(DEFAULTS, **options)
        self.random = random.Random(1)
        self.now = NOW + 7200000
        self.calls = 0
        self.moved = set()
        self.repaired = []
        self.runs = []
        count, days = int(self.options["runs"]), float(self.options["days"])
        for n in range(count):
            start = NOW - int(days * 86400000 * (n // 3 * 3 + 1) / (count + 1))     # three at a time
            self.runs.append({"run_id": BIG + n * 2, "job_id": 1 + n % 5, "start_time": start,
                              "end_time": 0 if n % 97 == 5 else start + self.random.randrange(1, 7200000)})

    def move(self):
        """Between requests runs end, or are repaired and some time later end again: each once, or at once and often."""
        for _ in range(int(self.options["moves"])):
            self.now += 1
            run = self.random.choice(self.runs)
            if int(self.options["again"]):
                run["end_time"] = self.now
                continue
            if run["run_id"] in self.moved:
                continue
            self.moved.add(run["run_id"])
            if run["end_time"] == 0:
                run["end_time"] = self.now
            else:
                run["end_time"] = 0
                self.repaired.append((self.calls + self.random.randrange(1, 40), run))
        while self.repaired and min(self.repaired, key=lambda r: r[0])[0] <= self.calls:
            due = min(self.repaired, key=lambda r: r[0])
            self.repaired.remove(due)
            self.now += 1
            due[1]["end_time"] = self.now

    def key(self, run):
        if self.options["order"].startswith("end"):
            return run["end_time"] or run["start_time"], run["run_id"]
        return run["start_time"], run["run_id"]

    def heeds(self, query, name):
        return name in query and name not in self.options["ignore"].split(",")

    def wanted(self, run, query):
        edge = 1 if self.options["bounds"] == "exclusive" else 0
        return not (
            self.heeds(query, "job_id") and run["job_id"] != int(query["job_id"])
            or self.heeds(query, "start_time_from") and run["start_time"] < int(query["start_time_from"]) + edge
            or self.heeds(query, "start_time_to") and run["start_time"] > int(query["start_time_to"]) - edge
            or self.heeds(query, "active_only") and run["end_time"] != 0
            or self.heeds(query, "completed_only") and run["end_time"] == 0)

    def shown(self, run):
        if int(self.options["bare"]):
            return {k: v for k, v in run.items() if k != "end_time" or v != 0}
        return dict(run, new_member={"of": ["tomorrow"]}, run_type="NEW_KIND",
                    status={"state": "RUNNING" if run["end_time"] == 0 else "TERMINATED"})

    def list_runs(self, query):
        self.calls += 1
        self.move()
        if self.calls == int(self.options["flip"]):
            self.options["order"] = "start" if self.options["order"] == "end" else "end"
        down = not self.options["order"].endswith("_up")
        rows = sorted((r for r in self.runs if self.wanted(r, query)), key=self.key, reverse=down)
        if "page_token" in query:
            at = tuple(int(part) for part in query["page_token"].split("-")[:2])
            rows = [r for r in rows if (self.key(r) < at if down else self.key(r) > at)]
        lengths = [int(n) for n in self.options["pages"].split(",")]
        length = lengths[self.calls % len(lengths)]
        reply = {"runs": [self.shown(r) for r in rows[:length]]} if length else {}
        if length < len(rows):
            last = self.key(rows[length - 1]) if length else (
                tuple(int(p) for p in query["page_token"].split("-")[:2]) if "page_token" in query
                else ((1 << 62, 0) if down else (0, 0)))
            reply["next_page_token"] = "%d-%d-%d" % (*last, self.calls)
        return reply


SERVICE = Service()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlparse(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        status, reply = 200, {}
        with SERVICE.lock:
            if url.path == "/set":
                SERVICE.make(query)
            elif url.path == "/calls":
                reply = SERVICE.calls
            elif url.path.endswith("/jobs/runs/list"):
                reply = SERVICE.list_runs(query)
            else:
                status, reply = 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": "No API found"}
        body = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Whoever has read enough goes away."""


def main():
    server = Server(("127.0.0.1", 0), Handler)
    print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
