"""schema.py: types of request members, checked as strictly as the service's own JSON mapping.

Separate because every area checks bodies the same way.  A spec is:
  STR BOOL INT INT32 ANY      one value (INT is int64; ANY is any object, kept as it is)
  MAP                         object of string to string
  [spec]                      array
  {name: spec}                object; members it does not name are dropped, as the service ignores them
  Enum("A", "B")              string out of a closed list

null means absent.  A wrong type is MALFORMED_REQUEST and names the member.
"""

import re

from .errors import invalid, malformed

STR, BOOL, INT, INT32, ANY, MAP = "string", "bool", "int64", "int32", "object", "map"

_RANGE = {INT: 1 << 63, INT32: 1 << 31}


class Enum:
    def __init__(self, *values):
        self.values = values


def _wrong(path, want, value):
    kinds = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    return malformed("Could not parse request object: expected %s for field '%s' but got %s."
                     % (want, path, kinds.get(type(value), "null")))


def check(value, spec, path=""):
    """The value with unknown members dropped; raises ApiError on a wrong type."""
    if isinstance(spec, dict):
        if not isinstance(value, dict):
            raise _wrong(path, "object", value)
        out = {}
        for name, member in value.items():
            if member is not None and name in spec:
                out[name] = check(member, spec[name], "%s.%s" % (path, name) if path else name)
        return out
    if isinstance(spec, list):
        if not isinstance(value, list):
            raise _wrong(path, "array", value)
        return [check(v, spec[0], "%s[%d]" % (path, n)) for n, v in enumerate(value)]
    if isinstance(spec, Enum):
        if not isinstance(value, str):
            raise _wrong(path, "string", value)
        if value not in spec.values:
            raise invalid("Invalid value '%s' for field '%s'. Allowed values: %s."
                          % (value[:60], path, ", ".join(spec.values)))
        return value
    if spec in (INT, INT32):
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(path, spec, value)
        if not -_RANGE[spec] <= value < _RANGE[spec]:
            raise malformed("Could not parse request object: value of field '%s' is out of range for %s."
                            % (path, spec))
        return value
    if spec == MAP:
        if not isinstance(value, dict):
            raise _wrong(path, "object", value)
        for name, member in value.items():
            if not isinstance(member, str):
                raise _wrong("%s.%s" % (path, name), "string", member)
        return value
    kind = {STR: str, BOOL: bool, ANY: dict}[spec]
    if not isinstance(value, kind):
        raise _wrong(path, spec, value)
    return value


# query parameters

def query_int(req, name, default=None, required=False):
    text = req.query.get(name)
    if text is None or text == "":
        if required:
            raise invalid("Missing required field: %s" % name)
        return default
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not -(1 << 63) <= int(text) < 1 << 63:
        raise invalid("Could not parse query parameter '%s' as an integer: '%s'." % (name, text[:60]))
    return int(text)


def query_bool(req, name, default=False):
    text = req.query.get(name)
    if text is None or text == "":
        return default
    if text not in ("true", "false"):
        raise invalid("Could not parse query parameter '%s' as a boolean: '%s'." % (name, text[:60]))
    return text == "true"


def query_text(req, name):
    return req.query.get(name) or None


def need(body, *names):
    for name in names:
        if name not in body:
            raise invalid("Missing required field: %s" % name)
