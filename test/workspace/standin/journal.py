"""journal.py: every request the workspace got, for tests that count calls.

Separate because it must see requests that never reach an area: refused,
reset, hanging.  Credentials are never kept, only the user they stand for.
"""

from collections import Counter, deque
import fnmatch
import re

KEEP = 20000
BODY_KEEP = 16384
# what holds a credential, in forms and among headers
SECRET_MEMBERS = re.compile(r"((?:^|&)(?:client_secret|subject_token)=)[^&]*")
SECRET_HEADERS = ("x-databricks-azure-sp-management-token",)


class Journal:
    def __init__(self):
        self.reset()

    def reset(self):
        self.entries = deque(maxlen=KEEP)
        self.counts = Counter()
        self.next = 1

    def begin(self, conn_id, req, user, now):
        headers = dict(req.headers)
        if "authorization" in headers:
            headers["authorization"] = "<%s>" % user
        for name in SECRET_HEADERS:
            if name in headers:
                headers[name] = "<credential>"
        body = req.body[:BODY_KEEP].decode("utf-8", "replace") if req.body else None
        if body and "form" in headers.get("content-type", ""):
            body = SECRET_MEMBERS.sub(r"\1<credential>", body)
        entry = {"n": self.next, "time": now, "connection": conn_id, "method": req.method, "path": req.path,
                 "query": req.raw_query, "user": user, "headers": headers, "body": body,
                 "request_id": req.request_id, "status": None, "fault": None, "ms": None}
        self.next += 1
        self.entries.append(entry)
        self.counts["%s %s" % (req.method, req.path)] += 1
        return entry

    def find(self, method=None, path=None, status=None, user=None, since=0, query=None, body=None):
        found = []
        for e in self.entries:
            if (e["n"] > since and (not method or e["method"] == method)
                    and (not path or fnmatch.fnmatchcase(e["path"], path))
                    and (not status or str(e["status"]) == status) and (not user or e["user"] == user)
                    and (not query or query in e["query"]) and (not body or body in (e["body"] or ""))):
                found.append(e)
        return found
