"""app_reply.py: an answer that is more than the members of a JSON object.

Separate because app.py makes them and so do the areas it imports.
"""


class Response:
    """blob: a slice of stored bytes instead of a body, sent piece by piece."""

    __slots__ = ("status", "body", "headers", "blob")

    def __init__(self, status, body, headers=None, blob=None):
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.blob = blob
