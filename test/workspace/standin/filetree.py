"""filetree.py: directories and files by path.

Separate because DBFS and volumes keep the same thing under different rules.
Paths are absolute and clean; "/" always exists.
"""


def parent_of(path):
    return path.rsplit("/", 1)[0] or "/"


class Node:
    __slots__ = ("is_dir", "blob", "modified", "names")

    def __init__(self, is_dir, blob, modified):
        self.is_dir = is_dir
        self.blob = blob
        self.modified = modified
        self.names = set() if is_dir else None


class Tree:
    def __init__(self):
        self.nodes = {"/": Node(True, None, 0)}

    def get(self, path):
        return self.nodes.get(path)

    def mkdirs(self, path, now):
        missing = []
        while path not in self.nodes:
            missing.append(path)
            path = parent_of(path)
        for path in reversed(missing):
            self.nodes[path] = Node(True, None, now)
            self.nodes[parent_of(path)].names.add(path.rsplit("/", 1)[1])

    def write(self, path, blob, now):
        self.mkdirs(parent_of(path), now)
        self.nodes[path] = Node(False, blob, now)
        self.nodes[parent_of(path)].names.add(path.rsplit("/", 1)[1])

    def children(self, path):
        """(path, node) of what lies directly below, in order of names."""
        top = "" if path == "/" else path
        return [(top + "/" + name, self.nodes[top + "/" + name]) for name in sorted(self.nodes[path].names)]

    def remove(self, path, limit=None):
        """Take a file or tree away, at most "limit" files of it; how many went."""
        gone = 0
        node = self.nodes[path]
        if node.is_dir:
            for child, _ in self.children(path):
                if limit is not None and gone >= limit:
                    return gone
                gone += self.remove(child, None if limit is None else limit - gone)
            if node.names or path == "/":
                return gone
        del self.nodes[path]
        self.nodes[parent_of(path)].names.discard(path.rsplit("/", 1)[1])
        return gone + (0 if node.is_dir else 1)

    def move(self, source, target, now):
        self.mkdirs(parent_of(target), now)
        moved = [(p, n) for p, n in self.nodes.items() if p == source or p.startswith(source + "/")]
        for p, _ in moved:
            del self.nodes[p]
        self.nodes[parent_of(source)].names.discard(source.rsplit("/", 1)[1])
        for p, n in moved:
            self.nodes[target + p[len(source):]] = n
        self.nodes[parent_of(target)].names.add(target.rsplit("/", 1)[1])
