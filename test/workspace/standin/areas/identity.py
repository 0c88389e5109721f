"""identity.py: who am I, and the discovery document that clients ask for first.

Separate because these two calls belong to no resource.  The discovery
document needs no credential, so it stands in OPEN_ROUTES with its full path.
"""


def me(ws, req):
    p = req.principal
    groups = list(p.groups) + (["admins"] if p.admin else [])
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": str(p.user_id),
        "userName": p.user,
        "displayName": p.display_name,
        "active": True,
        "emails": [{"type": "work", "value": p.user, "primary": True}],
        "groups": [{"display": g, "type": "direct", "value": str(100000 + n), "$ref": "Groups/%d" % (100000 + n)}
                   for n, g in enumerate(groups)],
    }


def discovery(ws, req):
    host = "%s://%s" % (ws.base_url.partition("://")[0], req.headers.get("host") or ws.base_url.partition("://")[2])
    return {
        "oidc_endpoint": host + "/oidc",
        "account_id": ws.account_id,
        "workspace_id": ws.org_id,
        "cloud": "AWS",
        "host_type": "WORKSPACE",
    }


ROUTES = [("GET", "/preview/scim/v2/Me", ("2.0",), me)]
OPEN_ROUTES = [("GET", "/.well-known/databricks-config", discovery)]
