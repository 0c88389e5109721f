#!/usr/bin/env python3
"""show.py PSQL SCRIPT: run a psql script and show it as a session at a prompt.

psql itself echoes the lines of the script (-a) and prints the results; only
the prompts, which it leaves out when nobody types, are put in front of those
lines here. Lines between "\\set ECHO none" and "\\set ECHO all" are carried out
but not shown. Exits as psql does.
"""

import os
import subprocess
import sys

HIDE, SHOW = "\\set ECHO none", "\\set ECHO all"


class Prompt:
    """What stands before a line of the script: as psql, by what is still open."""

    def __init__(self, database):
        self.database = database
        self.in_body = False
        self.in_statement = False

    def before(self, line):
        if not self.in_statement and (line.startswith("--") or not line):
            return ""
        sign = "$" if self.in_body else "-" if self.in_statement else "="
        if not self.in_statement and line.startswith("\\"):
            return "%s=# " % self.database
        if line.count("$$") % 2:
            self.in_body = not self.in_body
        # a statement ends with a semicolon or with \gset and its like
        ended = line.rstrip().endswith(";") or "\\g" in line
        self.in_statement = self.in_body or not ended
        return "%s%s# " % (self.database, sign)


def shown_lines(script):
    """The lines psql will echo, in their order."""
    shown = True
    for line in script.splitlines():
        if line == SHOW:
            shown = True
        elif shown and line:
            yield line
        if line == HIDE:
            shown = False


def main():
    psql, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        expected = list(shown_lines(file.read()))
    prompt = Prompt(os.environ["PGDATABASE"])
    paint = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    title, typed, plain = ("\033[36m", "\033[1m", "\033[0m") if paint else ("", "", "")
    comment_before = False
    with open(path, encoding="utf-8") as script:
        process = subprocess.Popen([psql, "-X", "-a", "-v", "ON_ERROR_STOP=1", "-P", "pager=off"],
                                   stdin=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for raw in process.stdout:
        line = raw.decode("utf-8", "replace").rstrip("\n")
        if expected and line == expected[0]:
            expected.pop(0)
            if line == HIDE:
                continue
            start = prompt.before(line)
            if not start:
                line = "%s%s%s%s" % ("" if comment_before else "\n", title, line, plain)
            else:
                line = "%s%s%s%s" % (start, typed, line, plain)
            comment_before = not start
        elif line == SHOW:
            continue
        else:
            comment_before = False
        print(line, flush=True)
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
