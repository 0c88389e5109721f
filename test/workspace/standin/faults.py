"""faults.py: what can be made to go wrong, and when.

Separate from the application so that the list of kinds, with their members,
stands in one place.  A fault only decides; app.py carries it out.
"""

import base64
import fnmatch
import json
import time
from email.utils import formatdate

from .errors import invalid

# kind: does the work get done before the answer goes wrong
KINDS = {
    "status": False, "delay": True, "hang": False, "reset": False, "lost": True, "truncate": True,
    "bad_json": True, "html": False, "redirect": False, "dribble": True, "empty": True, "close": True,
    "chunked": True, "replace": True, "expire": False,
}

MEMBERS = ("kind", "method", "path", "query", "body_has", "user", "skip", "count", "work", "status", "code",
           "message", "shape", "json", "text", "body_b64", "headers", "retry_after", "retry_after_date_s", "ms",
           "bytes", "interval_ms", "location", "fin")

# what is looked for in texts; a number here means its digits
TEXT_MEMBERS = ("method", "path", "query", "body_has", "user")

SHAPES = ("json", "html", "text", "empty", "details", "scim", "api12", "oauth")

LOGIN = "<!DOCTYPE html><html><head><title>Databricks - Sign In</title></head><body></body></html>"

TEXTS = {
    400: ("INVALID_PARAMETER_VALUE", "The request is not valid."),
    401: (401, "Credential was not sent or was of an unsupported type for this API."),
    403: ("PERMISSION_DENIED", "The caller does not have permission."),
    404: ("RESOURCE_DOES_NOT_EXIST", "The resource does not exist."),
    409: ("RESOURCE_CONFLICT", "The resource was changed meanwhile."),
    429: ("REQUEST_LIMIT_EXCEEDED", "Your request was rejected since your organization has exceeded the rate limit. "
          "RPC token bucket limit has been exceeded."),
    499: ("CANCELLED", "The request was cancelled."),
    500: ("INTERNAL_ERROR", "An internal error occurred. [TraceId: -]"),
    501: ("NOT_IMPLEMENTED", "This is not implemented."),
    503: ("TEMPORARILY_UNAVAILABLE", "The service at %(path)s is temporarily unavailable. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The deadline was exceeded."),
}


class Fault:
    def __init__(self, fault_id, spec):
        for name in spec:
            if name not in MEMBERS:
                raise invalid("unknown fault member '%s'" % name)
        spec = {name: str(value) if name in TEXT_MEMBERS and value is not None else value
                for name, value in spec.items()}
        if spec.get("kind") not in KINDS:
            raise invalid("fault kind must be one of %s" % ", ".join(sorted(KINDS)))
        if spec.get("shape", "json") not in SHAPES:
            raise invalid("fault shape must be one of %s" % ", ".join(SHAPES))
        self.id = fault_id
        self.spec = spec
        self.kind = spec["kind"]
        self.skip = spec.get("skip", 0)
        self.left = spec.get("count", 1)        # None: for ever
        self.hits = 0
        self.work = spec.get("work", KINDS[self.kind])

    def wants(self, req, user):
        s = self.spec
        if self.left == 0 or (s.get("method") and s["method"] != req.method):
            return False
        if not fnmatch.fnmatchcase(req.path, s.get("path", "/api/*")):
            return False
        if s.get("query") and s["query"] not in req.raw_query or s.get("user") and s["user"] != user:
            return False
        if s.get("body_has") and s["body_has"].encode() not in req.body:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        self.hits += 1
        return True

    def describe(self):
        return dict(self.spec, id=self.id, hits=self.hits, left=self.left)

    def answer(self, req):
        """(status, body, headers) of the kinds that replace the answer."""
        s = self.spec
        headers = dict(s.get("headers") or {})
        if "retry_after" in s:
            headers["Retry-After"] = str(s["retry_after"])
        if "retry_after_date_s" in s:
            headers["Retry-After"] = formatdate(time.time() + s["retry_after_date_s"], usegmt=True)
        if self.kind == "html":
            headers.setdefault("Content-Type", "text/html")
            return s.get("status", 200), LOGIN.encode(), headers
        if self.kind == "redirect":
            headers.setdefault("Content-Type", "text/html")
            headers["Location"] = s.get("location", "/login.html?error=private-link-validation-error:3141592653589793")
            return s.get("status", 303), b"", headers
        status = s.get("status", 200 if self.kind == "replace" else 500)
        if "body_b64" in s:
            return status, base64.b64decode(s["body_b64"]), headers
        if "json" in s:
            return status, json.dumps(s["json"]).encode(), headers
        if "text" in s:
            headers.setdefault("Content-Type", "text/plain")
            return status, s["text"].encode(), headers
        return status, *self.shaped(status, req, headers)

    def shaped(self, status, req, headers):
        s = self.spec
        code, message = TEXTS.get(status, ("UNKNOWN", "Something went wrong."))
        code = s.get("code", code)
        message = s.get("message", message.replace("%(path)s", req.path))
        shape = s.get("shape", "json")
        if shape == "html":
            headers.setdefault("Content-Type", "text/html")
            return ("<html><head><title>%d</title></head><body><pre>%s</pre></body></html>"
                    % (status, message)).encode(), headers
        if shape == "text":
            headers.setdefault("Content-Type", "text/plain")
            return ("%s: %s" % (code, message)).encode(), headers
        if shape == "empty":
            headers.setdefault("Content-Type", "text/plain")
            return b"", headers
        body = {
            "json": {"error_code": code, "message": message},
            "details": {"error_code": code, "message": message, "details": [
                {"@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": req.request_id,
                 "serving_data": ""}]},
            "scim": {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "detail": message,
                     "status": str(status)},
            "api12": {"error": "%s: %s" % (code, message)},
            "oauth": {"error": "invalid_client", "error_description": message},
        }[shape]
        return json.dumps(body).encode(), headers


class Faults:
    def __init__(self):
        self.list = []
        self.next = 1

    def add(self, spec):
        fault = Fault(self.next, spec)
        self.next += 1
        self.list.append(fault)
        return fault

    def match(self, req, user):
        """The first fault that wants this request; each counts only what reaches it."""
        for fault in self.list:
            if fault.wants(req, user):
                return fault
        return None
