"""clients.py: service principals, and the tokens they are given.

Separate from areas/oauth.py, which speaks HTTP: who they are and what a token
is worth concerns every call.  A token given out is a principal of its own with
an end on the workspace's clock; another for the same user changes nothing
about it.
"""

import hmac

from .errors import ApiError

DATABRICKS = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"
MANAGEMENT = "https://management.core.windows.net/"


class Client:
    """One service principal.

    kind: databricks (client_secret over Basic, subject_tokens for exchange),
    azure (client_secret in the form) or identity (managed, no secret).
    resource_id: not a user of the workspace, comes in by a second token for
    the management of Azure.  The other members are those of an access token.
    """

    def __init__(self, client_id, user, kind="databricks", client_secret=None, subject_tokens=(), resource_id=None,
                 **rights):
        if kind not in ("databricks", "azure", "identity"):
            raise ValueError("kind must be databricks, azure or identity")
        self.client_id = client_id
        self.user = user
        self.kind = kind
        self.client_secret = client_secret
        self.subject_tokens = list(subject_tokens)
        self.resource_id = resource_id
        self.rights = rights

    def has_secret(self, secret):
        return bool(self.client_secret) and hmac.compare_digest(self.client_secret, secret)

    def describe(self):
        return {"client_id": self.client_id, "user": self.user, "kind": self.kind, "resource_id": self.resource_id,
                "subject_tokens": len(self.subject_tokens), **self.rights}


def default_clients():
    return [
        Client("standin-client", "robot@example.com", client_secret="dose0standin0secret0of0the0robot", admin=True,
               subject_tokens=["standin.jwt.robot"]),
        Client("standin-azure", "azure@example.com", "azure", client_secret="a~zure/standin+secret.0001", admin=True),
        Client("standin-identity", "machine@example.com", "identity", admin=True),
    ]


class Clients:
    def __init__(self):
        self.by_id = {c.client_id: c for c in default_clients()}
        self.management = {}            # second tokens: text -> (client, end)
        self.issued = 0

    def put(self, spec):
        client = Client(**spec)
        self.by_id[client.client_id] = client
        return client

    def find(self, client_id, *kinds):
        client = self.by_id.get(client_id)
        return client if client is not None and client.kind in kinds else None

    def issue(self, ws, client, resource=DATABRICKS):
        """A new token; (text, seconds it is good for)."""
        self.issued += 1
        life = ws.settings["oauth_lifetime_s"]
        end = ws.clock.now() + life * 1000
        if resource == MANAGEMENT:
            text = "standin-management-%06d" % self.issued
            self.management[text] = (client, end)
        else:
            text = "standin-oauth-%06d" % self.issued
            p = ws.principals.put(dict(client.rights, token=text, user=client.user, expires=end))
            p.resource_id = client.resource_id
        return text, life

    def revoke(self, ws, user):
        gone = [t for t, p in ws.principals.by_token.items()
                if p.expires is not None and user in (None, p.user)]
        for text in gone:
            del ws.principals.by_token[text]
        return len(gone)

    def admit(self, ws, req):
        """Who is no user of the workspace must prove his right on it in Azure."""
        want = req.principal.resource_id
        if want is None:
            return
        text = req.headers.get("x-databricks-azure-sp-management-token")
        client, end = self.management.get(text, (None, 0))
        if (req.headers.get("x-databricks-azure-workspace-resource-id") != want or client is None
                or client.user != req.principal.user or end <= ws.clock.now()):
            raise ApiError(403, "PERMISSION_DENIED", "%s is not a user of this workspace." % req.principal.user)
