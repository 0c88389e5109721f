#!/usr/bin/env python3
"""server.py: the stand-in Databricks workspace as a program of its own.

Prints "listening on 127.0.0.1:PORT" when it is ready, listens on loopback
only, ends on SIGTERM or SIGINT, and with --exit-with-stdin also when its
standard input closes, so that no harness leaves it behind.
"""

import argparse
import asyncio
import json
import os
import signal
import ssl
import stat
import sys

from standin.app import App
from standin.httpd import Connection
from standin.state import Workspace


def arguments():
    p = argparse.ArgumentParser(description="A stand-in Databricks workspace on loopback.")
    p.add_argument("--port", type=int, default=0, help="0 (default) takes a free one and prints it")
    p.add_argument("--speed", type=float, default=1.0, help="factor of the clock; 0 stops it")
    p.add_argument("--seed", type=int, default=1, help="of ids and seeded data")
    p.add_argument("--token", action="append", default=[], metavar="JSON",
                   help='an access token, e.g. {"token": "t", "user": "a@b.c", "admin": true}')
    p.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help="a setting (README.md)")
    p.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="serve HTTPS with these PEM files")
    p.add_argument("--exit-with-stdin", action="store_true", help="end when standard input closes")
    return p.parse_args()


def workspace(args):
    ws = Workspace(args.seed, args.speed)
    ws.given_tokens = [json.loads(text) for text in args.token]
    for pair in args.set:
        name, _, value = pair.partition("=")
        try:
            value = json.loads(value)
        except ValueError:
            pass
        ws.change_settings({name: value})
        ws.given_settings[name] = value
    ws.reset()
    return ws


async def serve(args):
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop.set)
    ws = workspace(args)
    app = App(ws)
    context = None
    if args.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*args.tls)
    server = await loop.create_server(lambda: Connection(app, loop), "127.0.0.1", args.port, ssl=context, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    ws.base_url = "%s://127.0.0.1:%d" % ("https" if context else "http", port)
    if args.exit_with_stdin:
        await watch_stdin(loop, stop)
    print("listening on 127.0.0.1:%d" % port, flush=True)
    await stop.wait()
    server.close()


async def watch_stdin(loop, stop):
    class Watcher(asyncio.Protocol):
        def connection_lost(self, exc):
            stop.set()

        def eof_received(self):
            stop.set()

    if sys.stdin is None:
        sys.exit("--exit-with-stdin needs an open standard input")
    # a file or /dev/null can never close
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or sys.stdin.isatty():
        await loop.connect_read_pipe(Watcher, sys.stdin)


if __name__ == "__main__":
    try:
        asyncio.run(serve(arguments()))
    except KeyboardInterrupt:
        pass
