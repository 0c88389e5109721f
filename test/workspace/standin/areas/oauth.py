"""oauth.py: where tokens are given out: the workspace's own endpoint, and
look-alikes of Azure's login and of a machine's metadata service.

Separate because nothing here needs a credential of the workspace, and errors
have the shape of OAuth.  One server plays all these hosts: their paths do not
meet.  Strict about grant types, headers and members, as the real ones are.
"""

import base64
import binascii
from urllib.parse import parse_qsl

from ..clients import DATABRICKS, MANAGEMENT
from ..errors import ApiError

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"


class OAuthError(ApiError):
    def __init__(self, status, error, description):
        super().__init__(status, error, description)

    def body(self):
        return {"error": self.code, "error_description": self.message}


class Moved(ApiError):
    """A redirect."""

    def __init__(self, location):
        super().__init__(302, None, "", {"Location": location, "Content-Type": "text/html"})

    def body(self):
        return {}


def invalid_request(text):
    return OAuthError(400, "invalid_request", text)


def form(req, required, optional=()):
    """The members of a form, all known, none twice."""
    if req.headers.get("content-type", "").split(";")[0] != "application/x-www-form-urlencoded":
        raise invalid_request("The content type must be application/x-www-form-urlencoded.")
    pairs = parse_qsl(req.body.decode("utf-8", "replace"), keep_blank_values=True)
    members = dict(pairs)
    if len(members) != len(pairs):
        raise invalid_request("A member occurs twice.")
    for name in required:
        if not members.get(name):
            raise invalid_request("The request body must contain the following parameter: '%s'." % name)
    for name in members:
        if name not in required and name not in optional:
            raise invalid_request("Unknown parameter '%s'." % name)
    return members


def basic(req):
    scheme, _, text = req.headers.get("authorization", "").partition(" ")
    if scheme != "Basic":
        raise OAuthError(401, "invalid_client", "Client authentication failed")
    try:
        client_id, colon, secret = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise OAuthError(401, "invalid_client", "Client authentication failed") from None
    return client_id, secret


def answer(ws, client, resource=DATABRICKS):
    text, life = ws.clients.issue(ws, client, resource)
    reply = {"access_token": text, "token_type": "Bearer", "expires_in": life}
    if ws.settings["oauth_text_times"]:
        reply["expires_in"] = str(life)
    return reply


# the workspace

def metadata(ws, req):
    host = "%s://%s" % (ws.base_url.partition("://")[0], req.headers.get("host") or ws.base_url.partition("://")[2])
    return {
        "issuer": host + "/oidc",
        "authorization_endpoint": host + "/oidc/v1/authorize",
        "token_endpoint": host + "/oidc/v1/token",
        "grant_types_supported": ["client_credentials", EXCHANGE],
    }


def token(ws, req):
    grant = dict(parse_qsl(req.body.decode("utf-8", "replace"))).get("grant_type")
    if grant == "client_credentials":
        members = form(req, ("grant_type", "scope"), ("assume_group",))
        client_id, secret = basic(req)
        client = ws.clients.find(client_id, "databricks")
        if client is None or not client.has_secret(secret):
            raise OAuthError(401, "invalid_client", "Client authentication failed")
    elif grant == EXCHANGE:
        members = form(req, ("grant_type", "subject_token_type", "subject_token", "scope"), ("client_id",))
        client = exchange(ws, req, members)
    else:
        form(req, ("grant_type",), ("scope",))
        raise OAuthError(400, "unsupported_grant_type", "The grant type is not supported.")
    if members["scope"] != "all-apis":
        raise OAuthError(400, "invalid_scope", "The requested scope is invalid.")
    return dict(answer(ws, client), scope="all-apis")


def exchange(ws, req, members):
    if "authorization" in req.headers:
        raise invalid_request("No client authentication is expected for this grant type.")
    if members["subject_token_type"] != JWT:
        raise invalid_request("The type of the subject token is not supported.")
    for client in ws.clients.by_id.values():
        if (members["subject_token"] in client.subject_tokens
                and members.get("client_id", client.client_id) == client.client_id):
            return client
    raise OAuthError(400, "invalid_grant", "No federation policy of the account matches the token.")


def directory(ws, req):
    raise Moved("https://login.microsoftonline.com/%s/oauth2/authorize?client_id=%s&response_type=code"
                % (ws.settings["azure_tenant"], DATABRICKS))


# Azure

def azure_times(ws, reply):
    """Azure writes numbers as text and says the time of the end as well."""
    life = int(reply["expires_in"])
    return dict(reply, expires_in=str(life), expires_on=str(ws.clock.now() // 1000 + life))


def azure_token(ws, req):
    return azure_grant(ws, req, "resource")


def azure_token_v2(ws, req):
    """The newer form: a scope, the resource and "/.default", takes the place of the resource."""
    return azure_grant(ws, req, "scope")


def azure_grant(ws, req, asked):
    members = form(req, ("grant_type", "client_id", "client_secret", asked))
    if "authorization" in req.headers:
        raise invalid_request("Credentials belong into the body.")
    if req.parts["tenant"] != ws.settings["azure_tenant"]:
        raise OAuthError(400, "invalid_request", "AADSTS90002: Tenant '%s' not found." % req.parts["tenant"])
    if members["grant_type"] != "client_credentials":
        raise OAuthError(400, "unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type.")
    client = ws.clients.find(members["client_id"], "azure")
    if client is None:
        raise OAuthError(400, "unauthorized_client", "AADSTS700016: Application with identifier '%s' was not found "
                         "in the directory." % members["client_id"])
    if not client.has_secret(members["client_secret"]):
        raise OAuthError(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
    resource = members[asked]
    if asked == "scope":
        if not resource.endswith("/.default"):
            raise OAuthError(400, "invalid_scope", "AADSTS1002012: The provided value for scope %s is not valid."
                             % resource)
        resource = resource[:-len("/.default")]
    if resource not in (DATABRICKS, MANAGEMENT):
        raise OAuthError(400, "invalid_resource", "AADSTS500011: The resource principal named %s was not found."
                         % resource)
    if asked == "scope":
        return answer(ws, client, resource)
    return azure_times(ws, dict(answer(ws, client, resource), resource=resource))


def identity_token(ws, req):
    if req.headers.get("metadata") != "true" or "x-forwarded-for" in req.headers:
        raise invalid_request("Required metadata header not specified")
    if req.query.get("api-version") != "2018-02-01":
        raise invalid_request("Required query variable 'api-version' is missing or wrong")
    if req.query.get("resource") not in (DATABRICKS, MANAGEMENT):
        raise invalid_request("Required audience parameter not specified")
    have = [c for c in ws.clients.by_id.values() if c.kind == "identity"]
    if "client_id" in req.query:
        have = [c for c in have if c.client_id == req.query["client_id"]]
    if len(have) != 1:
        raise invalid_request("Identity not found")
    return azure_times(ws, dict(answer(ws, have[0], req.query["resource"]), client_id=have[0].client_id,
                                resource=req.query["resource"]))


ROUTES = []
OPEN_ROUTES = [
    ("GET", "/oidc/.well-known/oauth-authorization-server", metadata),
    ("POST", "/oidc/v1/token", token),
    ("GET", "/aad/auth", directory),
    ("POST", "/{tenant}/oauth2/token", azure_token), ("POST", "/{tenant}/oauth2/v2.0/token", azure_token_v2),
    ("GET", "/metadata/identity/oauth2/token", identity_token),
]
