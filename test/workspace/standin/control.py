"""control.py: what tests tell the workspace beside the API, under /__control.

Separate because nothing of it exists in a real workspace.  No credential: the
server listens on loopback only.  README.md has the table.
"""

from . import areas, seed
from .areas.runs import start_job_run
from .errors import ApiError, invalid
from .faults import Faults
from .principals import ADMIN_TOKEN


def handle(app, req):
    """(status, value) of a control request."""
    try:
        parts = req.path.split("/")
        name = parts[2] if len(parts) > 2 else ""
        handler = COMMANDS.get((req.method, name)) if len(parts) <= 3 else None
        if handler is None:
            raise ApiError(404, "ENDPOINT_NOT_FOUND", "no control command '%s %s'" % (req.method, req.path))
        if name not in ("journal", "counts", "faults", "clock"):
            app.ws.tick()
        return 200, handler(app, req.json() if req.method == "POST" else req.query)
    except ApiError as e:
        return e.status, e.body()
    except (TypeError, ValueError, KeyError, AttributeError) as e:
        return 400, {"error_code": "CONTROL", "message": "%s: %s" % (type(e).__name__, e)}


def overview(app, args):
    store = app.ws.store
    index = store.all
    return {"now": app.ws.clock.now(), "speed": app.ws.clock.speed, "settings": app.ws.settings,
            "jobs": len(store.job_keys), "runs": len(index.by_start), "active_runs": len(store.active),
            "base_url": app.ws.base_url, "admin_token": ADMIN_TOKEN, "requests": app.journal.next - 1,
            "connections": app.connections}


def reset(app, args):
    """what: state, journal, faults; all of them when left out."""
    what = args.get("what") or ["state", "journal", "faults"]
    if "state" in what:
        app.ws.reset()
        app.buckets.clear()
    if "journal" in what:
        app.journal.reset()
    if "faults" in what:
        app.faults = Faults()
    return {}


def get_settings(app, args):
    return app.ws.settings


def set_settings(app, args):
    app.ws.change_settings(args)
    return app.ws.settings


def clock(app, args):
    """speed, advance_ms; both optional."""
    c = app.ws.clock
    if "speed" in args:
        app.ws.tick()
        c.set_speed(args["speed"])
    if "advance_ms" in args:
        c.advance(args["advance_ms"])
    return {"now": app.ws.tick(), "speed": c.speed}


def list_tokens(app, args):
    return {"tokens": [p.describe() for p in app.ws.principals.by_token.values()]}


def put_token(app, args):
    """token, user, admin, groups, jobs {id: level}, default_level, expired, display_name; or {token, remove: true}."""
    if args.pop("remove", False):
        app.ws.principals.by_token.pop(args["token"], None)
        return {}
    return app.ws.principals.put(args).describe()


def list_plans(app, args):
    return {"plans": app.ws.plans}


def add_plan(app, args):
    app.ws.add_plan(args.get("match") or {}, args.get("plan") or {}, args.get("count"))
    return {"plans": len(app.ws.plans)}


def drop_plans(app, args):
    app.ws.plans = []
    return {}


def finish(app, args):
    """run_id of a run or task run; result and the other members of a plan: it ends now."""
    ws = app.ws
    run_id = args.pop("run_id")
    task = None
    run = ws.store.runs.get(run_id)
    if run is None:
        run, task = ws.store.task_runs.get(run_id) or (None, None)
    if run is None or not run.active:
        raise invalid("run %s is not active" % run_id)
    plan = {"result": "SUCCESS", "cleanup_ms": 0}
    plan.update(args)
    ws.engine.finish(run, task, plan, ws.clock.now())
    ws.tick()
    return {}


def trigger(app, args):
    """job_id, trigger: start a run as its schedule, file arrival, ... would."""
    ws = app.ws
    job = ws.store.jobs[args["job_id"]]
    run = start_job_run(ws, job, job.creator, ws.clock.now(), args.get("body"), args.get("trigger", "PERIODIC"))
    ws.tick()
    return {"run_id": run.run_id}


def patch(app, args):
    """job_id or run_id (also of a task run), merge: members to merge into every reply that shows it."""
    store = app.ws.store
    if "job_id" in args:
        store.jobs[args["job_id"]].patch = args["merge"]
        return {}
    run = store.run(args["run_id"])
    if run is not None:
        store.adopt(run)
        run.patch = args["merge"]
        return {}
    found = store.task_run(args["run_id"])
    if found is None:
        raise invalid("no run %s" % args["run_id"])
    store.adopt(found[0])
    found[1].patch = args["merge"]
    return {}


def load(app, args):
    """run: the body of a run, served as it is."""
    return {"run_id": seed.load_run(app.ws, args["run"]).run_id}


def seed_all(app, args):
    return seed.fill(app.ws, args)


def expire_pages(app, args):
    """Every page token handed out so far is refused from now on."""
    app.ws.page_generation += 1
    return {}


def list_faults(app, args):
    return {"faults": [f.describe() for f in app.faults.list]}


def add_fault(app, args):
    if "faults" in args:
        return {"ids": [app.faults.add(spec).id for spec in args["faults"]]}
    return {"id": app.faults.add(args).id}


def drop_faults(app, args):
    if "id" in args:
        app.faults.list = [f for f in app.faults.list if str(f.id) != args["id"]]
    else:
        app.faults = Faults()
    return {}


def _filters(args):
    known = ("method", "path", "status", "user", "query", "body")
    found = {k: args[k] for k in known if k in args}
    found["since"] = int(args.get("since", 0))
    for name in args:
        if name not in known + ("since", "limit"):
            raise invalid("unknown filter '%s'" % name)
    return found


def journal(app, args):
    """Newest last; limit keeps the newest."""
    entries = app.journal.find(**_filters(args))
    limit = int(args.get("limit", 1000))
    return {"count": len(entries), "entries": entries[-limit:] if limit else [], "last": app.journal.next - 1}


def counts(app, args):
    if args:
        return {"count": len(app.journal.find(**_filters(args)))}
    return {"counts": dict(app.journal.counts), "total": app.journal.next - 1}


def drop_journal(app, args):
    app.journal.reset()
    return {}


def list_clients(app, args):
    return {"clients": [c.describe() for c in app.ws.clients.by_id.values()]}


def put_client(app, args):
    """A service principal, members as in clients.py; {client_id, remove: true} takes it away."""
    if args.pop("remove", False):
        app.ws.clients.by_id.pop(args["client_id"], None)
        return {}
    return app.ws.clients.put(args).describe()


def revoke(app, args):
    """Tokens given out so far are refused from now on: those of one user, or all."""
    return {"revoked": app.ws.clients.revoke(app.ws, args.get("user"))}


COMMANDS = {
    ("GET", ""): overview,
    ("POST", "reset"): reset,
    ("GET", "settings"): get_settings, ("POST", "settings"): set_settings,
    ("GET", "clock"): clock, ("POST", "clock"): clock,
    ("GET", "tokens"): list_tokens, ("POST", "tokens"): put_token,
    ("GET", "clients"): list_clients, ("POST", "clients"): put_client, ("POST", "revoke"): revoke,
    ("GET", "plans"): list_plans, ("POST", "plans"): add_plan, ("DELETE", "plans"): drop_plans,
    ("POST", "finish"): finish, ("POST", "trigger"): trigger, ("POST", "patch"): patch,
    ("POST", "load"): load, ("POST", "seed"): seed_all, ("POST", "expire-pages"): expire_pages,
    ("GET", "faults"): list_faults, ("POST", "faults"): add_fault, ("DELETE", "faults"): drop_faults,
    ("GET", "journal"): journal, ("GET", "counts"): counts, ("DELETE", "journal"): drop_journal,
}
for _module in areas.MODULES:
    COMMANDS.update(getattr(_module, "CONTROL", {}))
