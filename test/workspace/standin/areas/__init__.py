"""areas: one module for each area of the API.

A module lists its calls in ROUTES: (method, path after /api/<version>,
versions, handler).  A handler takes (workspace, request) and returns the
members of the reply, or raises ApiError.  A path may hold {name} parts; they
arrive in request.parts, and {*name} at its end takes the rest of the path.  What a module
keeps is an object of a class with advance(now), had by ws.part(class).  CONTROL
holds what tests may tell it, as in control.py.  Add a module to MODULES and it
is served.
"""

from . import (clusters, dbfs, identity, jobs, oauth, permissions, pipelines, pools, runs, secrets, sql, transfers,
               volumes, workspace)

MODULES = (identity, jobs, runs, oauth, clusters, pools, secrets, permissions, dbfs, volumes, transfers, workspace,
           sql, pipelines)
