"""blob.py: the bytes of a stored file, in memory while small, else in a temporary file.

Separate because uploads of a gigabyte must not make the program as large.  A
blob is written once, front to back; slices of it are read any number of times.
"""

import tempfile

SMALL = 1024 * 1024
PIECE = 256 * 1024


class Blob:
    def __init__(self, data=b""):
        self.file = tempfile.SpooledTemporaryFile(max_size=SMALL)
        self.size = 0
        self.add(data)

    def add(self, data):
        self.file.seek(self.size)
        self.file.write(data)
        self.size += len(data)

    def read(self, at=0, length=None):
        self.file.seek(at)
        return self.file.read(self.size - at if length is None else length)


class Slice:
    """A part of a blob, on its way to a client."""

    def __init__(self, blob, at=0, length=None):
        self.blob = blob
        self.at = at
        self.left = blob.size - at if length is None else length
        self.length = self.left

    def next(self):
        data = self.blob.read(self.at, min(PIECE, self.left))
        self.at += len(data)
        self.left -= len(data)
        return data
