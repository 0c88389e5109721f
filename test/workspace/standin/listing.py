"""listing.py: what lists of the lesser areas share: pages, and access lists of objects other than jobs.

Separate because jobs and runs page by a key of their own store, while these
lists are short and whole in memory.
"""

import zlib

from . import pagetoken
from .errors import denied


def mark(row):
    """What tells a row from the others of its list, as a number."""
    if isinstance(row, dict):
        row = next((row[n] for n in ("id", "update_id", "path") if n in row), row)
    return zlib.crc32(repr(getattr(row, "id", row)).encode())


def resume(rows, place, anchor):
    """Where to go on behind the row a page ended with, which rows that came or went may have moved."""
    found = [n + 1 for n, row in enumerate(rows) if mark(row) == anchor] if anchor else []
    return min(found, key=lambda at: abs(at - place), default=place)


def page(ws, rows, size, token, *query):
    """(rows of the page, next token or None, previous token or None) of a whole list in a fixed order."""
    from .areas.jobs import page_size
    bound = pagetoken.query_sum(*query)
    at = resume(rows, *pagetoken.decode(token, bound, ws.page_generation)[1:]) if token else 0
    asked, size = size, page_size(ws, size)

    def make(place, salt=None, anchor=0):
        return pagetoken.encode(pagetoken.NEXT, place, anchor, bound, ws.page_generation, salt)

    cut = rows[at:at + size]
    following = None
    if at + size < len(rows):
        following = make(at + size, ws.pages_served if size == 0 else None,
                         mark(rows[at + size - 1]) if at + size else 0)
    return cut, following, make(max(0, at - asked)) if at else None


class Acls:
    """Access lists by (type of the URL, id): entries as a client gives them."""

    def __init__(self, ws):
        self.lists = {}

    def advance(self, now):
        pass

    def of(self, kind, key):
        return self.lists.setdefault((kind, str(key)), [])

    def created(self, kind, key, user, level):
        self.lists[kind, str(key)] = [{"user_name": user, "permission_level": level}]

    def forget(self, kind, key):
        self.lists.pop((kind, str(key)), None)


def held(principal, acl, levels):
    """Place of the highest level this user has in an access list, -1 for none."""
    if principal.admin:
        return len(levels) - 1
    best = -1
    for entry in acl or ():
        who = entry.get("user_name") or entry.get("service_principal_name")
        if (who == principal.user or entry.get("group_name") in principal.groups) \
                and entry.get("permission_level") in levels:
            best = max(best, levels.index(entry["permission_level"]))
    return best


def require(ws, principal, kind, key, levels, level, what):
    if held(principal, ws.part(Acls).of(kind, key), levels) < levels.index(level):
        raise denied("%s does not have %s permissions on %s. Please contact the owner or an administrator for access."
                     % (principal.user, level, what))
