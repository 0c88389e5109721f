"""secrets.py: scopes, values and who may read them.

Separate because its rights are its own: an order READ < WRITE < MANAGE per
scope, and values never leave but through get.
"""

import base64
import binascii
import re

from ..errors import ApiError, denied, invalid
from ..schema import ANY, STR, Enum, check, need, query_text

V = ("2.0",)
RIGHTS = ("READ", "WRITE", "MANAGE")
MAX_VALUE = 128 * 1024
MAX_SECRETS = 1000
MAX_SCOPES = 1000
NAME = re.compile(r"[A-Za-z0-9_.@-]{1,128}\Z")


class Scope:
    def __init__(self, name, backend, keyvault, acl):
        self.name = name
        self.backend = backend
        self.keyvault = keyvault
        self.acl = acl              # principal -> right
        self.values = {}            # key -> (bytes, ms)


class Secrets:
    def __init__(self, ws):
        self.scopes = {}

    def advance(self, now):
        pass


def gone(text):
    return ApiError(404, "RESOURCE_DOES_NOT_EXIST", text)


def check_name(value, what):
    if not NAME.match(value):
        raise invalid("The %s name must consist of at most 128 letters, digits, dashes, underscores and periods: %s."
                      % (what, value[:60]))


def right(principal, scope):
    if principal.admin:
        return len(RIGHTS)
    names = [principal.user, "users"] + list(principal.groups)
    return max([RIGHTS.index(scope.acl[n]) + 1 for n in names if n in scope.acl] or [0])


def find(ws, req, name, wanted):
    if name is None:
        raise invalid("Missing required field: scope")
    scope = ws.part(Secrets).scopes.get(name)
    if scope is None:
        raise gone("Scope %s does not exist" % name)
    if right(req.principal, scope) <= RIGHTS.index(wanted):
        raise denied("User %s does not have %s permission on scope %s" % (req.principal.user, wanted, name))
    return scope


def create_scope(ws, req):
    body = check(req.json(), {"scope": STR, "initial_manage_principal": STR,
                              "scope_backend_type": Enum("DATABRICKS", "AZURE_KEYVAULT"),
                              "backend_azure_keyvault": ANY})
    need(body, "scope")
    check_name(body["scope"], "scope")
    scopes = ws.part(Secrets).scopes
    if body["scope"] in scopes:
        raise ApiError(400, "RESOURCE_ALREADY_EXISTS", "Scope %s already exists!" % body["scope"])
    first = body.get("initial_manage_principal")
    if first not in (None, "", "users"):
        raise invalid("The only allowed value of initial_manage_principal is 'users'.")
    if len(scopes) >= MAX_SCOPES:
        raise ApiError(400, "RESOURCE_LIMIT_EXCEEDED", "There are %d scopes already." % MAX_SCOPES)
    backend = body.get("scope_backend_type", "DATABRICKS")
    keyvault = body.get("backend_azure_keyvault")
    if backend == "AZURE_KEYVAULT" and not (keyvault and keyvault.get("resource_id") and keyvault.get("dns_name")):
        raise invalid("backend_azure_keyvault must have resource_id and dns_name.")
    acl = {first or req.principal.user: "MANAGE"}
    scopes[body["scope"]] = Scope(body["scope"], backend, keyvault, acl)
    return {}


def delete_scope(ws, req):
    body = check(req.json(), {"scope": STR})
    scope = find(ws, req, body.get("scope"), "MANAGE")
    del ws.part(Secrets).scopes[scope.name]
    return {}


def list_scopes(ws, req):
    rows = []
    for scope in ws.part(Secrets).scopes.values():
        if right(req.principal, scope):
            row = {"name": scope.name, "backend_type": scope.backend}
            if scope.keyvault:
                row["keyvault_metadata"] = scope.keyvault
            rows.append(row)
    return {"scopes": rows} if rows else {}


def writable(scope):
    if scope.backend != "DATABRICKS":
        raise ApiError(400, "BAD_REQUEST", "Scope %s is read-only: its secrets are in a key vault." % scope.name)


def put(ws, req):
    body = check(req.json(), {"scope": STR, "key": STR, "string_value": STR, "bytes_value": STR})
    need(body, "scope", "key")
    check_name(body["key"], "key")
    scope = find(ws, req, body["scope"], "WRITE")
    writable(scope)
    if ("string_value" in body) == ("bytes_value" in body):
        raise invalid("Exactly one of string_value and bytes_value must be set.")
    if "string_value" in body:
        value = body["string_value"].encode("utf-8", "surrogatepass")
    else:
        try:
            value = base64.b64decode(body["bytes_value"], validate=True)
        except (binascii.Error, ValueError):
            raise invalid("bytes_value is not base64.") from None
    if len(value) > MAX_VALUE:
        raise invalid("The value of a secret must not exceed %d bytes." % MAX_VALUE)
    if body["key"] not in scope.values and len(scope.values) >= MAX_SECRETS:
        raise ApiError(400, "RESOURCE_LIMIT_EXCEEDED", "Scope %s has %d secrets already." % (scope.name, MAX_SECRETS))
    scope.values[body["key"]] = (value, req.now)
    return {}


def get(ws, req):
    scope = find(ws, req, query_text(req, "scope"), "READ")
    key = query_text(req, "key")
    if key is None:
        raise invalid("Missing required field: key")
    if key not in scope.values:
        raise gone("Secret does not exist with scope: %s and key: %s" % (scope.name, key))
    return {"key": key, "value": base64.b64encode(scope.values[key][0]).decode()}


def list_secrets(ws, req):
    scope = find(ws, req, query_text(req, "scope"), "READ")
    rows = [{"key": k, "last_updated_timestamp": at} for k, (_, at) in sorted(scope.values.items())]
    return {"secrets": rows} if rows else {}


def delete(ws, req):
    body = check(req.json(), {"scope": STR, "key": STR})
    need(body, "scope", "key")
    scope = find(ws, req, body["scope"], "WRITE")
    writable(scope)
    if body["key"] not in scope.values:
        raise gone("Secret does not exist with scope: %s and key: %s" % (scope.name, body["key"]))
    del scope.values[body["key"]]
    return {}


def acl_put(ws, req):
    body = check(req.json(), {"scope": STR, "principal": STR, "permission": Enum(*RIGHTS)})
    need(body, "scope", "principal", "permission")
    find(ws, req, body["scope"], "MANAGE").acl[body["principal"]] = body["permission"]
    return {}


def acl_missing(scope, principal):
    return gone("Failed to get secret acl for principal %s for scope %s." % (principal, scope.name))


def acl_get(ws, req):
    scope = find(ws, req, query_text(req, "scope"), "MANAGE")
    principal = query_text(req, "principal")
    if principal is None:
        raise invalid("Missing required field: principal")
    if principal not in scope.acl:
        raise acl_missing(scope, principal)
    return {"principal": principal, "permission": scope.acl[principal]}


def acl_list(ws, req):
    scope = find(ws, req, query_text(req, "scope"), "MANAGE")
    rows = [{"principal": p, "permission": r} for p, r in scope.acl.items()]
    return {"items": rows} if rows else {}


def acl_delete(ws, req):
    body = check(req.json(), {"scope": STR, "principal": STR})
    need(body, "scope", "principal")
    scope = find(ws, req, body["scope"], "MANAGE")
    if body["principal"] not in scope.acl:
        raise acl_missing(scope, body["principal"])
    del scope.acl[body["principal"]]
    return {}


ROUTES = [
    ("POST", "/secrets/scopes/create", V, create_scope),
    ("POST", "/secrets/scopes/delete", V, delete_scope),
    ("GET", "/secrets/scopes/list", V, list_scopes),
    ("POST", "/secrets/put", V, put),
    ("GET", "/secrets/get", V, get),
    ("GET", "/secrets/list", V, list_secrets),
    ("POST", "/secrets/delete", V, delete),
    ("POST", "/secrets/acls/put", V, acl_put),
    ("GET", "/secrets/acls/get", V, acl_get),
    ("GET", "/secrets/acls/list", V, acl_list),
    ("POST", "/secrets/acls/delete", V, acl_delete),
]
