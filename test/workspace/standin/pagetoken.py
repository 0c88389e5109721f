"""pagetoken.py: opaque page tokens.

Separate so that no area invents a token format of its own.  A token is
URL-safe base64 of a small tagged binary message: direction, time and id of the
last row (a keyset cursor, so rows that arrive during paging shift nothing), a
check sum of the query it belongs to, and a generation that lets a test expire
every token handed out so far.
"""

import base64
import binascii
import zlib

from .errors import invalid

NEXT = 1
PREV = 0

_DIRECTION, _TIME, _ID, _QUERY, _GENERATION, _SALT = 1, 5, 6, 7, 8, 9


def _varint(n):
    out = bytearray()
    while True:
        low = n & 0x7F
        n >>= 7
        if n:
            out.append(low | 0x80)
        else:
            out.append(low)
            return bytes(out)


def query_sum(*parts):
    return zlib.crc32(repr(parts).encode())


def encode(direction, time_ms, row_id, query, generation, salt=None):
    """A token; "salt" tells apart tokens of the same place, which no client may take for a circle."""
    raw = bytearray()
    for field, value in ((_DIRECTION, direction), (_TIME, time_ms), (_ID, row_id),
                         (_QUERY, query), (_GENERATION, generation), (_SALT, salt)):
        if value is not None:
            raw += _varint(field << 3) + _varint(value)
    return base64.urlsafe_b64encode(bytes(raw)).decode()


def decode(token, query, generation):
    """Return (direction, time, id); refuse what is not a live token of this query."""
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError, UnicodeEncodeError):
        raise invalid("Invalid page token: %s" % token[:40]) from None
    fields = {}
    at = 0
    try:
        while at < len(raw):
            pair = []
            for _ in range(2):
                shift = value = 0
                while True:
                    byte = raw[at]
                    at += 1
                    value |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                    if shift > 70:
                        raise IndexError
                pair.append(value)
            fields[pair[0] >> 3] = pair[1]
        key = fields[_DIRECTION], fields[_TIME], fields[_ID]
        bound = fields[_QUERY], fields[_GENERATION]
    except (IndexError, KeyError):
        raise invalid("Invalid page token: %s" % token[:40]) from None
    if bound[1] != generation:
        raise invalid("The page token has expired.")
    if bound[0] != query:
        raise invalid("The page token does not belong to this request.")
    return key
