"""principals.py: access tokens, the users behind them, and job permissions.

Separate because authentication comes before any area, and areas only ask
"may this user do that to this job".  Levels are ordered; admins hold
CAN_MANAGE on every job by inheritance.
"""

import zlib

from .errors import ApiError, denied

LEVELS = {"NONE": 0, "CAN_VIEW": 1, "CAN_MANAGE_RUN": 2, "CAN_MANAGE": 3, "IS_OWNER": 4}
VIEW, MANAGE_RUN, MANAGE = 1, 2, 3

ADMIN_TOKEN = "dapi-standin-admin"


def default_principals():
    return [
        Principal(ADMIN_TOKEN, "admin@example.com", admin=True),
        Principal("dapi-standin-etl", "etl@example.com", groups=["analysts"]),
        Principal("dapi-standin-viewer", "viewer@example.com", default_level="CAN_VIEW"),
        Principal("dapi-standin-runner", "runner@example.com", default_level="CAN_MANAGE_RUN"),
        Principal("dapi-standin-none", "nobody@example.com"),
        Principal("dapi-standin-expired", "late@example.com", expired=True),
    ]


class Principal:
    """One access token.  jobs maps a job id to a level that applies besides the job's own list."""

    def __init__(self, token, user, admin=False, groups=None, jobs=None,
                 default_level="NONE", expired=False, display_name=None, expires=None):
        self.token = token
        self.user = user
        self.admin = bool(admin)
        self.groups = list(groups or [])
        self.jobs = {int(k): LEVELS[v] for k, v in (jobs or {}).items()}
        self.default_level = LEVELS[default_level]
        self.expired = bool(expired)
        self.expires = expires          # ms of the workspace, None: never
        self.resource_id = None         # of Azure, when a second token must prove the right to it
        self.display_name = display_name or user.split("@")[0].title()
        self.user_id = 7000000000000000 + zlib.crc32(user.encode())

    def level(self, job_id, acl):
        if self.admin:
            return LEVELS["IS_OWNER"]
        best = max(self.default_level, self.jobs.get(job_id, 0))
        for entry in acl or ():
            who = entry.get("user_name") or entry.get("service_principal_name")
            if who == self.user or entry.get("group_name") in self.groups:
                best = max(best, LEVELS.get(entry.get("permission_level"), 0))
        return best

    def describe(self):
        names = {v: k for k, v in LEVELS.items()}
        return {"token": self.token, "user": self.user, "admin": self.admin, "groups": self.groups,
                "jobs": {str(k): names[v] for k, v in self.jobs.items()},
                "default_level": names[self.default_level], "expired": self.expired}


class Principals:
    def __init__(self):
        self.by_token = {p.token: p for p in default_principals()}

    def put(self, spec):
        p = Principal(**spec)
        self.by_token[p.token] = p
        return p

    def authenticate(self, header, request_id, now=0, expired_status=403):
        """Return the principal of an Authorization header or raise 401/403."""
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ApiError(401, 401, "Credential was not sent or was of an unsupported type for this API.",
                           {"WWW-Authenticate": 'Bearer realm="DatabricksRealm"'})
        p = self.by_token.get(token.strip())
        if p is not None and p.expires is not None and p.expires <= now:
            raise ApiError(expired_status, expired_status, "Access token expired. [ReqId: %s]" % request_id,
                           {"WWW-Authenticate": 'Bearer realm="DatabricksRealm"'})
        if p is None or p.expired:
            raise ApiError(403, 403, "Invalid access token. [ReqId: %s]" % request_id,
                           {"X-Databricks-Reason-Phrase": "Invalid access token."})
        return p

    def name_of(self, header):
        """Who a credential belongs to, for the journal: never the credential itself."""
        if not header:
            return None
        scheme, _, token = header.partition(" ")
        p = self.by_token.get(token.strip())
        return p.user if p and scheme.lower() == "bearer" else "<unknown %s credential>" % scheme[:10]


def require(principal, job_id, acl, level):
    """Refuse with the real service's texts.  acl is None for a job that does not exist."""
    held = principal.level(job_id, acl)
    if held >= level:
        return
    if level == MANAGE and held >= VIEW:
        raise denied("User %s does not have Manage permissions on Job with ID: ElasticJobId(%s)"
                     % (principal.user, job_id))
    if level == MANAGE_RUN and held >= VIEW:
        raise denied("User %s does not have Admin or Manage Run or Owner permissions on job %s"
                     % (principal.user, job_id))
    raise denied("User %s does not have View or Admin or Manage Run or Owner permissions on job %s"
                 % (principal.user, job_id))
