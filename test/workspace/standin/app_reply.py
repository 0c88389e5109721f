"""app_reply.py: answers that are more than the members of a JSON object.

Separate because app.py makes them and so do the areas it imports.
"""


class Response:
    """blob: a slice of stored bytes instead of a body, sent piece by piece; later: see Later."""

    __slots__ = ("status", "body", "headers", "blob", "later")

    def __init__(self, status, body, headers=None, blob=None):
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.blob = blob
        self.later = None


class Later:
    """The answer of a call that waits: look() gives its members, or None while there is more to wait for."""

    def __init__(self, members, look):
        self.members = members          # what it would say without waiting
        self.look = look
